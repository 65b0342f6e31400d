/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"

/* News of devices into the model: which targets need a pass. */

/* For uevents_new(). */
void hotplug_on_device(dev_t devnum, Device *device, void *userdata);
void hotplug_on_lost(void *userdata);

/* Reads everything again; what is not there any more is taken as removed. */
int hotplug_enumerate(Engine *e);

/* LUNs whose device the keys name. */
void hotplug_mark_device(Engine *e, const Device *d);
