/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

/* Block devices in sysfs. root_fd: /sys/dev/block. dirfd: a device's directory there, which stays that very instance's:
 * when it is removed, all reads fail, even if its number is given out again. */

int sysfs_open_block(int root_fd, dev_t devnum);                /* a dirfd, or -ENODEV */

/* An attribute without its newlines. One that cannot be read is NULL (or the value to use otherwise, or 0 for "is" and
 * "there is one") and no error: a driver need not have it, and the device may vanish between two reads. -ENOMEM. */
int sysfs_read(int dirfd, const char *path, char **ret);
int sysfs_read_u64(int dirfd, const char *path, uint64_t otherwise, uint64_t *ret);
int sysfs_read_is(int dirfd, const char *path, const char *value);              /* 1 or 0 */
int sysfs_read_devnum(int dirfd, const char *path, dev_t *ret);                 /* 1, or 0 and *ret untouched */

/* Names in a directory but those with a dot in front, sorted. No directory: no names. */
int sysfs_list(int dirfd, const char *path, char ***ret);

/* What holds the device or a partition of it, fit for people: kernel names, of maps the dm name, "LVM volume vg0/data". */
int sysfs_holders(int dirfd, char ***ret);

/* The dm name of the multipath map that holds the device, or the disk that it is a partition of: 1 and *ret, else 0. */
int sysfs_multipath_holder(int dirfd, char **ret);

/* The numbers of the device and of everything that stands on it, each once; at most 4096. */
int sysfs_stack(int root_fd, dev_t devnum, dev_t **ret, size_t *ret_n);
