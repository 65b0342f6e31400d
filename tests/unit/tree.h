/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <ftw.h>
#include <glib.h>
#include <stdio.h>
#include <sys/stat.h>

/* What a test writes by hand stands for a file of the service's own, which only its user may write, whatever the caller's umask. */
static inline void __attribute__((constructor)) tree_umask(void) {
        umask(022);
}

static inline int tree_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
        return remove(path);
}

/* A directory, or a file, with all that is in it; links are not followed. */
static inline void tree_remove(const char *path) {
        g_assert_cmpint(nftw(path, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS), ==, 0);
}
