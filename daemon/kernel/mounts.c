/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <glob.h>
#include <libmount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/strv.h"
#include "base/text.h"
#include "kernel/mounts.h"
#include "kernel/sysfs.h"

typedef struct libmnt_table MountTable;
typedef struct libmnt_iter MountIterator;

DEFINE_CLEANUP(MountTable *, mnt_unref_table);
DEFINE_CLEANUP(MountIterator *, mnt_free_iter);

static void globfreep(glob_t *g) {
        globfree(g);
}

typedef struct Use {
        dev_t devnum;
        size_t order;           /* as the kernel lists them: the first mount of several is the one that people know */
        char *text;
} Use;

struct Mounts {
        char **swap_files;
        Use *uses;              /* sorted by number, then order */
        size_t n, room;
};

/* Takes the text over, in every case; NULL is -ENOMEM. */
static int mounts_add(Mounts *m, dev_t devnum, char *text) {
        if (!text)
                return -ENOMEM;

        if (m->n == m->room) {
                size_t room = MAX(m->room * 2, (size_t) 32);
                Use *p = reallocarray(m->uses, room, sizeof *p);

                if (!p) {
                        free(text);
                        return -ENOMEM;
                }
                m->uses = p;
                m->room = room;
        }

        m->uses[m->n] = (Use) { .devnum = devnum, .order = m->n, .text = text };
        m->n++;
        return 0;
}

/* Looks only under /dev: a stat() elsewhere may wait for a dead server. */
static bool block_device_number(const char *path, dev_t *ret) {
        struct stat st;

        if (!startswith(path, "/dev/") || stat(path, &st) < 0 || !S_ISBLK(st.st_mode))
                return false;

        *ret = st.st_rdev;
        return true;
}

static char *mounted_text(const char *target) {
        _cleanup_free_ char *printable = NULL;
        char *text;

        if (text_printable(strempty(target), &printable) < 0)
                return NULL;

        return asprintf(&text, "mounted on %s", printable) < 0 ? NULL : text;
}

static int add_mount(Mounts *m, struct libmnt_fs *fs) {
        const char *target = mnt_fs_get_target(fs), *source = mnt_fs_get_source(fs);
        _cleanup_free_ char *sources = NULL;
        dev_t devnum = mnt_fs_get_devno(fs);
        char *state = NULL;
        int r;

        if (major(devnum) != 0) {
                r = mounts_add(m, devnum, mounted_text(target));
                if (r < 0)
                        return r;
        }

        if (!source || !startswith(source, "/dev/"))
                return 0;

        /* bcachefs lists its members with colons between them. No device's name has one where that matters. */
        sources = strdup(source);
        if (!sources)
                return -ENOMEM;

        for (char *s = strtok_r(sources, ":", &state); s; s = strtok_r(NULL, ":", &state)) {
                dev_t member;

                if (!block_device_number(s, &member) || member == devnum)
                        continue;

                r = mounts_add(m, member, mounted_text(target));
                if (r < 0)
                        return r;
        }

        return 0;
}

static int add_swap(Mounts *m, struct libmnt_fs *fs) {
        const char *source = mnt_fs_get_source(fs);
        dev_t devnum;

        if (!source)
                return 0;
        /* A swap file's disk is in use by being mounted. */
        if (!block_device_number(source, &devnum))
                return strv_extend(&m->swap_files, source);

        return mounts_add(m, devnum, strdup("in use as swap"));
}

/* Every member of a mounted btrfs: the mount table names only one of them. No directory: there is none. */
static int add_btrfs_members(Mounts *m) {
        _cleanup_(globfreep) glob_t members = {};

        if (glob("/sys/fs/btrfs/*-*/devices/*/dev", 0, NULL, &members) == GLOB_NOSPACE)
                return -ENOMEM;

        for (size_t i = 0; i < members.gl_pathc; i++) {
                dev_t devnum;
                int r;

                r = sysfs_read_devnum(AT_FDCWD, members.gl_pathv[i], &devnum);
                if (r > 0)
                        r = mounts_add(m, devnum, strdup("in use by a mounted btrfs"));
                if (r < 0)
                        return r;
        }

        return 0;
}

static int add_all(Mounts *m, MountTable *table, int (*add)(Mounts *, struct libmnt_fs *)) {
        _cleanup_(mnt_free_iterp) MountIterator *i = mnt_new_iter(MNT_ITER_FORWARD);
        struct libmnt_fs *fs;
        int r;

        if (!i)
                return -ENOMEM;

        for (;;) {
                r = mnt_table_next_fs(table, i, &fs);
                if (r != 0)
                        return MIN(r, 0);

                r = add(m, fs);
                if (r < 0)
                        return r;
        }
}

static int use_compare(const void *a, const void *b) {
        const Use *x = a, *y = b;

        if (x->devnum != y->devnum)
                return x->devnum < y->devnum ? -1 : 1;

        return x->order < y->order ? -1 : x->order > y->order;
}

int mounts_new(Mounts **ret) {
        _cleanup_(mnt_unref_tablep) MountTable *mounted = NULL, *swaps = NULL;
        _cleanup_(mounts_freep) Mounts *m = NULL;
        int r;

        m = calloc(1, sizeof *m);
        mounted = mnt_new_table();
        swaps = mnt_new_table();
        if (!m || !mounted || !swaps)
                return -ENOMEM;

        r = mnt_table_parse_mtab(mounted, NULL);
        if (r < 0)
                return r;

        r = add_all(m, mounted, add_mount);
        if (r < 0)
                return r;

        r = add_btrfs_members(m);
        if (r < 0)
                return r;

        /* A kernel without swap has no such file. */
        r = mnt_table_parse_swaps(swaps, NULL);
        if (r < 0 && r != -ENOENT)
                return r;
        if (r >= 0) {
                r = add_all(m, swaps, add_swap);
                if (r < 0)
                        return r;
        }

        if (m->n > 0)
                qsort(m->uses, m->n, sizeof *m->uses, use_compare);

        *ret = TAKE_PTR(m);
        return 0;
}

Mounts *mounts_free(Mounts *m) {
        if (!m)
                return NULL;

        for (size_t i = 0; i < m->n; i++)
                free(m->uses[i].text);
        free(m->uses);
        strv_free(m->swap_files);
        free(m);
        return NULL;
}

int mounts_use(const Mounts *m, dev_t devnum, char **ret) {
        size_t low = 0, high = m->n;
        char *text;

        /* The first of several, so not bsearch(). */
        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (m->uses[middle].devnum < devnum)
                        low = middle + 1;
                else
                        high = middle;
        }

        if (low == m->n || m->uses[low].devnum != devnum)
                return 0;

        text = strdup(m->uses[low].text);
        if (!text)
                return -ENOMEM;

        *ret = text;
        return 1;
}

int mounts_use_file(const Mounts *m, const char *path, char **ret) {
        _cleanup_(globfreep) glob_t loops = {};

        if (strv_contains(m->swap_files, path)) {
                *ret = strdup("in use as swap");
                return *ret ? 1 : -ENOMEM;
        }

        if (glob("/sys/block/loop*/loop/backing_file", 0, NULL, &loops) == GLOB_NOSPACE)
                return -ENOMEM;

        for (size_t i = 0; i < loops.gl_pathc; i++) {
                _cleanup_free_ char *backing = NULL;
                const char *name = loops.gl_pathv[i] + strlen("/sys/block/");
                int r;

                r = sysfs_read(AT_FDCWD, loops.gl_pathv[i], &backing);
                if (r < 0)
                        return r;
                if (!streq_ptr(backing, path))
                        continue;

                return asprintf(ret, "in use by /dev/%.*s", (int) strcspn(name, "/"), name) < 0 ? -ENOMEM : 1;
        }

        return 0;
}
