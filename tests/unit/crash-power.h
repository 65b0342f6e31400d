/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* What a loss of power leaves of the state directory. The daemon's calls are written down (crash-calls.h); after each of them the file system
 * may have kept, of what no fsync() has made durable, anything: each name of a directory is what it was at the last fsync() of the directory
 * or what any call has made of it since, each on its own; and of a file the bytes after its last fsync() are there, not there, cut, or
 * zeroes. */

void power_init(void);
void power_begin(const char *state_dir);        /* before the daemon's start; its directories are there, and empty */
void power_mark(unsigned acknowledged);         /* by the caller: so many changes are acknowledged */

/* By the daemon, of calls that were made. */
void power_open(int dirfd, const char *path, int flags, int fd);
void power_write(int fd, const void *data, size_t size);
void power_sync(int fd);
void power_close(int fd);
void power_rename(int from_fd, const char *from, int to_fd, const char *to);
void power_link(int from_fd, const char *from, int to_fd, const char *to);
void power_symlink(const char *target, int dirfd, const char *path);
void power_unlink(int dirfd, const char *path);

/* States that are possible after each call (everything kept, nothing kept, and of those between some at random), each once, built in dir.
 * Returns how many. */
unsigned power_each(const char *dir, void (*check)(const char *dir, unsigned acknowledged, void *userdata), void *userdata);
