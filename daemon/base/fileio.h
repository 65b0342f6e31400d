/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

#include "base/cleanup.h"

/* Reads a whole small file, relative to dirfd, without its trailing newlines, at most max bytes (-EFBIG beyond). */
int read_file_at(int dirfd, const char *path, size_t max, char **ret, size_t *ret_size);

/* The same, of a file that nobody else may have written: a regular one, of our own user, that group and others cannot write. -EPERM with *ret_why,
 * a phrase for people, if it is not; then nothing is read. */
int read_private_file_at(int dirfd, const char *path, size_t max, char **ret, size_t *ret_size, const char **ret_why);

/* The same for an attribute in sysfs or configfs, which the kernel makes up at the first read and gives whole, as far as there is room
 * (seq_read_iter(), fs/seq_file.c; configfs_read_iter(), fs/configfs/file.c): half the calls. */
int read_attribute_at(int dirfd, const char *path, size_t max, char **ret);

/* A directory's entries, relative to dirfd; no symbolic link. directory_read(): 1; 0: that was the last one. */
int directory_open_at(int dirfd, const char *path, DIR **ret);
int directory_read(DIR *d, const struct dirent **ret);

/* The whole of it, however many calls that takes. */
int write_all(int fd, const void *data, size_t size);

/* Makes the file's content durable or leaves the old one: temporary file of mode 0600 in the same directory, fsync, renameat, fsync of
 * the directory. Returns 0 only when all of that was done; on an error the old content is what a reader sees, and the next start. (After an
 * error of the last fsync a loss of power may still bring either one; and where there are no hard links, a reader sees the new.) */
int write_file_atomic_at(int dirfd, const char *name, const void *data, size_t size);

/* What it left behind if it was killed. Best effort: the next one of that name does it as well. */
void remove_temporaries_at(int dirfd);

/* Durable removal; a missing file is fine. */
int unlink_durable_at(int dirfd, const char *name);
