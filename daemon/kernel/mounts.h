/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

#include "base/cleanup.h"

/* What the host has mounted and swaps to, by device number (libmount). A snapshot: take a new one for each question. */

typedef struct Mounts Mounts;

int mounts_new(Mounts **ret);
Mounts *mounts_free(Mounts *m);                                 /* returns NULL */
DEFINE_CLEANUP(Mounts *, mounts_free);

/* "mounted on /srv", "in use as swap" in *ret (allocated) and 1; 0 if neither. Btrfs and others with an anonymous device number are
 * found by their mount source. */
int mounts_use(const Mounts *m, dev_t devnum, char **ret);

/* The same for a regular file: "in use as swap", "in use by /dev/loop0". */
int mounts_use_file(const Mounts *m, const char *path, char **ret);
