/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

struct udev_device;

/* The names that udev has for a device, as Device.keys has them, and no more: enough to tell whether somebody wants it. Both return 1 and the
 * names, or 0: only reading the device can tell. -ENODEV: there is none; -ENOMEM. */

int glance_udev(struct udev_device *device, char ***ret);

/* The same in four calls instead of forty, out of udev's own files. Nobody has promised what these look like (udev 252: "V:1", and
 * a letter, a colon and a value in each line), so what is not understood is to be read, and what it says is for nothing but to
 * read one device sooner than another. root_fd: /sys/dev/block; data_fd: of glance_open(); number: "8:16". */
int glance_files(int root_fd, int data_fd, const char *number, char ***ret);

int glance_open(void);                  /* udev's database: a descriptor */
