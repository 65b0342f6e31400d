/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

/* The few system calls that reach LIO's configfs, and nothing else does. All paths are relative to <configfs>/target. Tests link another
 * file with these functions (tests/unit/fake-cfs.c) that obeys the same rules from memory. All functions are thread-safe.
 * Return: 0 or more on success, else a negative errno exactly as the kernel gave it. */

typedef struct Cfs Cfs;

int cfs_new(int root_fd, Cfs **ret);            /* takes the fd over on success */
Cfs *cfs_free(Cfs *c);                          /* returns NULL */
DEFINE_CLEANUP(Cfs *, cfs_free);
int cfs_root_fd(const Cfs *c);                  /* for the child that closes all other fds; -EBADF for the fake */

int cfs_mkdir(Cfs *c, const char *path);
int cfs_rmdir(Cfs *c, const char *path);
/* A link at path to the item at target (also relative to the root; configfs itself needs it absolute). */
int cfs_symlink(Cfs *c, const char *target, const char *path);
int cfs_unlink(Cfs *c, const char *path);
/* One write() of the whole value and a newline is not added; more than 4095 bytes is -E2BIG, a short write -EIO (facts 1.7). */
int cfs_write(Cfs *c, const char *path, const char *value);

/* Without trailing newlines. */
int cfs_read(Cfs *c, const char *path, char **ret);
/* Names in a directory but . and .., sorted, NULL-terminated. directories/links select; both false: everything. */
int cfs_list(Cfs *c, const char *path, bool directories, bool links, char ***ret);
/* Where a link points, relative to the root ("core/iblock_7/d-12…"); -EINVAL if it is no link. */
int cfs_readlink(Cfs *c, const char *path, char **ret);
int cfs_exists(Cfs *c, const char *path);       /* 1 or 0 */
int cfs_user(Cfs *c, const char *path, uid_t *ret);     /* whose it is */

/* The instance number of a block device from sysfs, 0 if this kernel has none; -ENODEV if there is no such device. Not configfs, but
 * the one other thing that a pass must know from the kernel at that moment. */
int cfs_block_diskseq(Cfs *c, dev_t devnum, uint64_t *ret);

