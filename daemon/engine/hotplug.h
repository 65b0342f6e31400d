/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"

/* News of devices into the model: which targets need a pass. */

/* For uevents_new(). */
int hotplug_on_device(dev_t devnum, Device *device, void *userdata);
int hotplug_on_lost(void *userdata);
bool hotplug_is_wanted(dev_t devnum, char *const *keys, void *userdata);

/* For guests_new(). */
void hotplug_on_guest(const char *wwn, void *userdata);

/* Before anything looks at devices in general, not at one that a LUN names: those have been read. */
void hotplug_flush(Engine *e);

/* Asks the kernel whether maps are suspended: of that there is no news (uevents_is_suspended()). For whoever is about to tell how they are.
 * Pointers to what was known of them are invalid afterwards. */
void hotplug_look_at_map(Engine *e, const Device *d);           /* any device: others are left alone */
void hotplug_look_at_maps(Engine *e);                           /* of the host */
void hotplug_look_at_luns(Engine *e, const Target *t);          /* that its LUNs stand on */

/* A file that a LUN stands on: takes the device over; NULL: its filesystem is not there. */
void hotplug_on_file(Engine *e, const char *source, Device *device);

/* Is the device that the LUN's source names now, or NULL, one that it may come up on, as far as its guests are concerned? If not, the LUN has
 * failed with the reason; if it is so again, it has not. */
bool hotplug_judge(Engine *e, Lun *l, const Device *d);

/* Notes what the guests of the LUN's backstore are shown, if the device is what it has open. Registry.unsaved says what is to be stored then. */
void hotplug_note(Engine *e, Lun *l, const Device *d);

/* Stores what was marked as unsaved. One file holds a whole target, so this waits for the end of a turn, and of the target's pass. */
void hotplug_save_settled(Engine *e);                           /* all but those that a pass has news for */
void hotplug_save_others(Engine *e, const Target *t);           /* all but t, which may be NULL */

/* At a start: reads what somebody wants. The others are read by and by after hotplug_catch_up(), or when somebody flushes. */
int hotplug_start(Engine *e);
void hotplug_catch_up(Engine *e);

/* A device that the kernel's targets have open is known from here on, if it is there: it may have no name that is wanted, and not have been
 * read. Without it, it would count as gone. */
void hotplug_know(Engine *e, dev_t devnum);

/* Reads everything again; what is not there any more is taken as removed. */
int hotplug_enumerate(Engine *e);

/* LUNs whose device the keys name. */
void hotplug_mark_device(Engine *e, const Device *d);
