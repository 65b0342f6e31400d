/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <limits.h>
#include <sys/sysmacros.h>

#include "base/errno.h"
#include "base/fileio.h"
#include "base/parse.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/sysfs.h"

#define ATTRIBUTE_MAX 4096
#define STACK_MAX 4096

int sysfs_read(int dirfd, const char *path, char **ret) {
        char *text = NULL;
        int r;

        r = read_attribute_at(dirfd, path, ATTRIBUTE_MAX, &text);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                text = NULL;

        *ret = text;
        return 0;
}

int sysfs_read_u64(int dirfd, const char *path, uint64_t otherwise, uint64_t *ret) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = sysfs_read(dirfd, path, &text);
        if (r < 0)
                return r;

        if (!text || parse_u64(text, ret) < 0)
                *ret = otherwise;
        return 0;
}

int sysfs_read_is(int dirfd, const char *path, const char *value) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = sysfs_read(dirfd, path, &text);
        if (r < 0)
                return r;

        return streq_ptr(text, value);
}

/* "8:16" */
static int devnum_parse(const char *s, dev_t *ret) {
        _cleanup_free_ char *copy = strdup(s);
        uint32_t ma, mi;
        char *colon;

        if (!copy)
                return -ENOMEM;

        colon = strchr(copy, ':');
        if (!colon)
                return -EINVAL;

        *colon = 0;
        if (parse_u32(copy, &ma) < 0 || parse_u32(colon + 1, &mi) < 0)
                return -EINVAL;

        *ret = makedev(ma, mi);
        return 0;
}

int sysfs_read_devnum(int dirfd, const char *path, dev_t *ret) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = sysfs_read(dirfd, path, &text);
        if (r < 0)
                return r;
        if (!text)
                return 0;

        r = devnum_parse(text, ret);
        return r == -EINVAL ? 0 : r < 0 ? r : 1;
}

int sysfs_open_block(int root_fd, dev_t devnum) {
        char number[24];
        int fd;

        (void) snprintf(number, sizeof number, "%u:%u", major(devnum), minor(devnum));
        fd = openat(root_fd, number, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) {
                int r = negative_errno();

                return errno_is_device_absent(r) ? -ENODEV : r;
        }

        return fd;
}

int sysfs_list(int dirfd, const char *path, char ***ret) {
        _cleanup_(strv_freep) char **names = NULL;
        _cleanup_closedir_ DIR *dir = NULL;
        _cleanup_close_ int fd = -EBADF;
        int r;

        names = calloc(1, sizeof *names);
        if (!names)
                return -ENOMEM;

        fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) {
                r = negative_errno();
                if (!errno_is_device_absent(r) && r != -ENOTDIR)
                        return r;

                *ret = TAKE_PTR(names);
                return 0;
        }

        dir = fdopendir(fd);
        if (!dir)
                return negative_errno();
        TAKE_FD(fd);

        for (;;) {
                struct dirent *e;

                errno = 0;
                e = readdir(dir);
                if (!e && errno > 0 && !errno_is_device_absent(-errno))
                        return negative_errno();
                if (!e)
                        break;
                if (e->d_name[0] == '.')
                        continue;

                r = strv_extend(&names, e->d_name);
                if (r < 0)
                        return r;
        }

        strv_sort(names);
        *ret = TAKE_PTR(names);
        return 0;
}

/* "vg--a-data" and "vg--a-data-real" to "vg-a/data": the dash between group and volume is single, those in the names are
 * doubled (lvm2, lib/misc/lvm-string.c, dm_build_dm_name()). What follows one more is an inner layer. */
static int lvm_volume(const char *dm_name, char **ret) {
        _cleanup_free_ char *text = NULL;
        unsigned separators = 0;
        size_t n = 0;

        text = malloc(strlen(dm_name) + 1);
        if (!text)
                return -ENOMEM;

        for (const char *p = dm_name; *p; p++) {
                if (p[0] == '-' && p[1] != '-') {
                        if (++separators > 1)
                                break;
                        text[n++] = '/';
                        continue;
                }
                text[n++] = *p;
                p += p[0] == '-';
        }
        text[n] = 0;

        *ret = TAKE_PTR(text);
        return 0;
}

/* What people call it. */
static int holder_name(int dirfd, const char *holders, const char *kernel_name, char **ret) {
        _cleanup_free_ char *name = NULL, *uuid = NULL, *volume = NULL, *words = NULL;
        char path[2 * NAME_MAX + 32];
        int r;

        (void) snprintf(path, sizeof path, "%s/%s/dm/name", holders, kernel_name);
        r = sysfs_read(dirfd, path, &name);
        if (r < 0)
                return r;
        (void) snprintf(path, sizeof path, "%s/%s/dm/uuid", holders, kernel_name);
        r = sysfs_read(dirfd, path, &uuid);
        if (r < 0)
                return r;

        if (!isempty(name) && uuid && startswith(uuid, "LVM-")) {
                r = lvm_volume(name, &volume);
                if (r < 0)
                        return r;
                if (asprintf(&words, "LVM volume %s", volume) < 0) {
                        words = NULL;
                        return -ENOMEM;
                }
        }

        return text_printable(words ?: (isempty(name) ? kernel_name : name), ret);
}

static int holders_add(int dirfd, const char *holders, char ***names) {
        _cleanup_(strv_freep) char **kernel_names = NULL;
        int r;

        r = sysfs_list(dirfd, holders, &kernel_names);
        if (r < 0)
                return r;

        for (char **k = kernel_names; *k; k++) {
                _cleanup_free_ char *text = NULL;

                r = holder_name(dirfd, holders, *k, &text);
                if (r < 0)
                        return r;

                r = strv_consume(names, TAKE_PTR(text));
                if (r < 0)
                        return r;
        }

        return 0;
}

int sysfs_holders(int dirfd, char ***ret) {
        _cleanup_(strv_freep) char **entries = NULL, **names = NULL;
        int r;

        names = calloc(1, sizeof *names);
        if (!names)
                return -ENOMEM;

        r = holders_add(dirfd, "holders", &names);
        if (r >= 0)
                r = sysfs_list(dirfd, ".", &entries);
        if (r < 0)
                return r;

        /* Who has a partition keeps others from the disk (block/bdev.c, bd_may_claim()). */
        for (char **e = entries; *e; e++) {
                char path[NAME_MAX + 32];

                (void) snprintf(path, sizeof path, "%s/partition", *e);
                if (faccessat(dirfd, path, F_OK, 0) < 0)
                        continue;

                (void) snprintf(path, sizeof path, "%s/holders", *e);
                r = holders_add(dirfd, path, &names);
                if (r < 0)
                        return r;
        }

        /* sysfs has them in an order of its own, and the first one is named. */
        strv_sort(names);
        *ret = TAKE_PTR(names);
        return 0;
}

static int multipath_holder_in(int dirfd, const char *holders, char **ret) {
        _cleanup_(strv_freep) char **names = NULL;
        int r;

        r = sysfs_list(dirfd, holders, &names);
        if (r < 0)
                return r;

        for (char **n = names; *n; n++) {
                _cleanup_free_ char *uuid = NULL, *raw = NULL;
                char path[NAME_MAX + 32];

                (void) snprintf(path, sizeof path, "%s/%s/dm/uuid", holders, *n);
                r = sysfs_read(dirfd, path, &uuid);
                if (r < 0)
                        return r;
                if (!uuid || !startswith(uuid, "mpath-"))
                        continue;

                (void) snprintf(path, sizeof path, "%s/%s/dm/name", holders, *n);
                r = sysfs_read(dirfd, path, &raw);
                if (r < 0)
                        return r;

                r = text_printable(isempty(raw) ? *n : raw, ret);
                return r < 0 ? r : 1;
        }

        return 0;
}

int sysfs_multipath_holder(int dirfd, char **ret) {
        int r;

        r = multipath_holder_in(dirfd, "holders", ret);
        if (r != 0)
                return r;

        /* A partition of a path is as little a disk of its own as the path is. */
        if (faccessat(dirfd, "partition", F_OK, 0) < 0)
                return 0;

        return multipath_holder_in(dirfd, "../holders", ret);
}

typedef struct Stack {
        dev_t *devnums;
        size_t n, room;
} Stack;

static int stack_push(Stack *s, dev_t devnum) {
        for (size_t i = 0; i < s->n; i++)
                if (s->devnums[i] == devnum)
                        return 0;

        if (s->n == STACK_MAX)
                return 0;

        if (s->n == s->room) {
                size_t room = MAX(s->room * 2, (size_t) 8);
                dev_t *p = reallocarray(s->devnums, room, sizeof *p);

                if (!p)
                        return -ENOMEM;
                s->devnums = p;
                s->room = room;
        }

        s->devnums[s->n++] = devnum;
        return 0;
}

/* One that stands directly on the device; what vanished meanwhile does not stand any more. */
static int stack_push_attribute(Stack *s, int dirfd, const char *path) {
        dev_t devnum;
        int r;

        r = sysfs_read_devnum(dirfd, path, &devnum);
        return r > 0 ? stack_push(s, devnum) : r;
}

static int stack_push_children(Stack *s, int root_fd, dev_t devnum) {
        _cleanup_(strv_freep) char **names = NULL, **holders = NULL;
        _cleanup_close_ int dirfd = -EBADF;
        char path[NAME_MAX + 32];
        int r;

        dirfd = sysfs_open_block(root_fd, devnum);
        if (dirfd == -ENODEV)
                return 0;
        if (dirfd < 0)
                return dirfd;

        r = sysfs_list(dirfd, "holders", &holders);
        if (r < 0)
                return r;
        for (char **n = holders; *n; n++) {
                (void) snprintf(path, sizeof path, "holders/%s/dev", *n);
                r = stack_push_attribute(s, dirfd, path);
                if (r < 0)
                        return r;
        }

        r = sysfs_list(dirfd, ".", &names);
        if (r < 0)
                return r;
        for (char **n = names; *n; n++) {
                (void) snprintf(path, sizeof path, "%s/partition", *n);
                if (faccessat(dirfd, path, F_OK, 0) < 0)
                        continue;

                (void) snprintf(path, sizeof path, "%s/dev", *n);
                r = stack_push_attribute(s, dirfd, path);
                if (r < 0)
                        return r;
        }

        return 0;
}

int sysfs_stack(int root_fd, dev_t devnum, dev_t **ret, size_t *ret_n) {
        _cleanup_free_ dev_t *devnums = NULL;
        Stack s = {};
        int r;

        r = stack_push(&s, devnum);
        for (size_t i = 0; r >= 0 && i < s.n; i++)
                r = stack_push_children(&s, root_fd, s.devnums[i]);

        devnums = s.devnums;
        if (r < 0)
                return r;

        *ret = TAKE_PTR(devnums);
        *ret_n = s.n;
        return 0;
}

