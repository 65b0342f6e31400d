/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-event.h>

#include "model/device.h"

/* udev's monitor and database: turns them into Devices. Uses the "udev" group, never "kernel" (facts 2.5). */

typedef struct Uevents Uevents;

/* The device as it is now (the caller takes it), or NULL with devnum when it was removed. The kernel's verb is not passed on: state is
 * what counts. devnum and device refer to block devices only. An error (no memory to keep it): as good as lost. */
typedef int (*uevents_device_t)(dev_t devnum, Device *device, void *userdata);

/* Something was lost (ENOBUFS, a netlink error). What is there is looked at again in any case, by and by; the caller names what shall be read
 * at once, and what may be there no more, by uevents_suspect(). An error is as good as another loss. */
typedef int (*uevents_lost_t)(void *userdata);

/* Does anybody wait for the device now, or use it? keys: the names by which its event knows it. */
typedef bool (*uevents_wanted_t)(dev_t devnum, char *const *keys, void *userdata);

/* Starts the monitor, and in the background a look at the names of all devices; enumerating comes after both, so that nothing falls in between.
 * receive_buffer 0: 128 MiB with CAP_NET_ADMIN. Without it, and so in the unit that we ship, as much as net.core.rmem_max allows (208 KiB if
 * nobody has changed that, which the kernel doubles: some hundred events). More than that in one burst are lost, and made good. */
int uevents_new(sd_event *event, size_t receive_buffer, uevents_device_t on_device, uevents_lost_t on_lost, void *userdata, Uevents **ret);
Uevents *uevents_free(Uevents *u);                              /* returns NULL */
DEFINE_CLEANUP(Uevents *, uevents_free);

/* From now on, a device that nobody wants is not read when its event comes, but by uevents_flush(). */
void uevents_defer_unwanted(Uevents *u, uevents_wanted_t is_wanted);

/* Takes in all news that udev has sent: for one who is about to ask for devices in general. May call on_device and on_lost. */
void uevents_flush(Uevents *u);

/* Something may have happened to the device. wanted: it is read as soon as the caller is back in the event loop, and on_device is called,
 * whether it is there or not. */
int uevents_suspect(Uevents *u, dev_t devnum, bool wanted);

/* Calls on_device for every block device that udev's database and sysfs have. */
int uevents_enumerate(Uevents *u);

/* At a start, once: for those that somebody wants. The others count as unread, until uevents_flush(), or after uevents_catch_up(), when it is
 * over and the loop has nothing else to do. */
int uevents_enumerate_wanted(Uevents *u);
int uevents_catch_up(Uevents *u);

/* That one now, if it is unread: on_device is called. */
void uevents_read_unread(Uevents *u, dev_t devnum);

/* Reads one device now (its event may still be on the way). -ENODEV if there is none. */
int uevents_read_device(Uevents *u, dev_t devnum, Device **ret);

/* Is the map suspended now, as the kernel has it? 1 or 0; -ENODEV if there is none. Of a resume there is an event, of a suspend there is
 * none (drivers/md/dm.c, dm_suspend(); do_resume() of dm-ioctl.c). */
int uevents_is_suspended(Uevents *u, const Device *d);

/* Names (kernel names; for maps the dm name) of what holds the device: sysfs holders/. ret: NULL-terminated, maybe empty. */
int uevents_holders(Uevents *u, const Device *d, char ***ret);

/* The dm name of the multipath map that holds the device, if one does: 1 and *ret, else 0. */
int uevents_multipath_holder(Uevents *u, const Device *d, char **ret);

/* The numbers of everything that stands on the device: its partitions, its holders, theirs, and so on (each once, at most 4096).
 * *ret is an allocated array with *ret_n elements, the device itself first. */
int uevents_stack(Uevents *u, const Device *d, dev_t **ret, size_t *ret_n);
