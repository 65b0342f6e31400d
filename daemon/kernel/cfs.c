/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/errno.h"
#include "base/fileio.h"
#include "base/parse.h"
#include "base/strv.h"
#include "kernel/cfs.h"

#define VALUE_MAX 4095                  /* SIMPLE_ATTR_SIZE - 1, fs/configfs/file.c: the rest is a second command */
#define ATTRIBUTE_MAX (64 * 1024)       /* the largest page of any architecture: what one attribute can say at most */

struct Cfs {
        int root_fd;
        char *root;             /* where root_fd is mounted, for the one call that takes no fd */
};

int cfs_new(int root_fd, Cfs **ret) {
        _cleanup_(cfs_freep) Cfs *c = NULL;
        char link[sizeof "/proc/self/fd/" + 3 * sizeof(int)], root[PATH_MAX];
        ssize_t n;

        assert(root_fd >= 0);

        c = calloc(1, sizeof *c);
        if (!c)
                return -ENOMEM;
        c->root_fd = -EBADF;

        snprintf(link, sizeof link, "/proc/self/fd/%d", root_fd);
        n = readlink(link, root, sizeof root);
        if (n < 0)
                return negative_errno();
        if ((size_t) n >= sizeof root)
                return -ENAMETOOLONG;

        c->root = strndup(root, (size_t) n);
        if (!c->root)
                return -ENOMEM;

        c->root_fd = root_fd;
        *ret = TAKE_PTR(c);
        return 0;
}

Cfs *cfs_free(Cfs *c) {
        if (!c)
                return NULL;

        safe_close(c->root_fd);
        free(c->root);
        free(c);
        return NULL;
}

int cfs_root_fd(const Cfs *c) {
        return c->root_fd;
}

/* The *at() calls leave the root at an absolute path and at "..": no name of ours has either. */
static int path_check(const char *path) {
        if (isempty(path) || path[0] == '/')
                return -EINVAL;

        for (const char *p = path; p; p = strchr(p, '/')) {
                p += *p == '/';
                if (p[0] == '.' && p[1] == '.' && (p[2] == '/' || !p[2]))
                        return -EINVAL;
        }

        return 0;
}

int cfs_mkdir(Cfs *c, const char *path) {
        int r;

        r = path_check(path);
        if (r < 0)
                return r;

        if (mkdirat(c->root_fd, path, 0755) < 0)
                return negative_errno();

        return 0;
}

int cfs_rmdir(Cfs *c, const char *path) {
        int r;

        r = path_check(path);
        if (r < 0)
                return r;

        if (unlinkat(c->root_fd, path, AT_REMOVEDIR) < 0)
                return negative_errno();

        return 0;
}

int cfs_symlink(Cfs *c, const char *target, const char *path) {
        _cleanup_free_ char *absolute = NULL;
        int r;

        r = path_check(path);
        if (r < 0)
                return r;
        r = path_check(target);
        if (r < 0)
                return r;

        /* The kernel looks the target up from the caller's root, not from the link's directory: get_target(),
         * fs/configfs/symlink.c. */
        if (asprintf(&absolute, "%s/%s", c->root, target) < 0)
                return -ENOMEM;

        if (symlinkat(absolute, c->root_fd, path) < 0)
                return negative_errno();

        return 0;
}

int cfs_unlink(Cfs *c, const char *path) {
        int r;

        r = path_check(path);
        if (r < 0)
                return r;

        if (unlinkat(c->root_fd, path, 0) < 0)
                return negative_errno();

        return 0;
}

int cfs_write(Cfs *c, const char *path, const char *value) {
        _cleanup_close_ int fd = -EBADF;
        size_t size = strlen(value);
        ssize_t n;
        int r;

        r = path_check(path);
        if (r < 0)
                return r;
        if (size > VALUE_MAX)
                return -E2BIG;

        fd = openat(c->root_fd, path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW);
        if (fd < 0)
                return negative_errno();

        /* Not again after EINTR: the kernel may have done it already, and the next plan will tell. */
        n = write(fd, value, size);
        if (n < 0)
                return negative_errno();
        if ((size_t) n != size)
                return -EIO;

        return 0;
}

int cfs_read(Cfs *c, const char *path, char **ret) {
        int r;

        r = path_check(path);
        if (r < 0)
                return r;

        return read_attribute_at(c->root_fd, path, ATTRIBUTE_MAX, ret);
}

static int entry_wanted(int dirfd, const struct dirent *e, bool directories, bool links) {
        unsigned char type = e->d_type;

        if (streq(e->d_name, ".") || streq(e->d_name, ".."))
                return 0;
        if (!directories && !links)
                return 1;

        if (type == DT_UNKNOWN) {
                struct stat st;

                if (fstatat(dirfd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        return errno == ENOENT ? 0 : negative_errno();
                type = (unsigned char) IFTODT(st.st_mode);
        }

        return (directories && type == DT_DIR) || (links && type == DT_LNK);
}

int cfs_list(Cfs *c, const char *path, bool directories, bool links, char ***ret) {
        _cleanup_(strv_freep) char **names = NULL;
        _cleanup_closedir_ DIR *d = NULL;
        const struct dirent *e;
        int r;

        r = path_check(path);
        if (r >= 0)
                r = directory_open_at(c->root_fd, path, &d);
        if (r < 0)
                return r;

        while ((r = directory_read(d, &e)) > 0) {
                r = entry_wanted(dirfd(d), e, directories, links);
                if (r < 0)
                        return r;
                if (r == 0)
                        continue;

                r = strv_extend(&names, e->d_name);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;

        if (!names) {
                names = calloc(1, sizeof *names);
                if (!names)
                        return -ENOMEM;
        }

        strv_sort(names);
        *ret = TAKE_PTR(names);
        return 0;
}

int cfs_readlink(Cfs *c, const char *path, char **ret) {
        char buf[PATH_MAX];
        const char *p = buf;
        ssize_t n;
        char *s;
        int r;

        r = path_check(path);
        if (r < 0)
                return r;

        n = readlinkat(c->root_fd, path, buf, sizeof buf);
        if (n < 0)
                return negative_errno();
        if ((size_t) n >= sizeof buf)
                return -ENAMETOOLONG;
        buf[n] = 0;

        /* "../../../../../../target/core/iblock_7/NAME": up to the top of configfs, then down through the subsystem's
         * directory, configfs_get_target_path(), fs/configfs/symlink.c. */
        while (startswith(p, "../"))
                p += strlen("../");
        p = startswith(p, "target/");
        if (!p)
                return -EINVAL;

        s = strdup(p);
        if (!s)
                return -ENOMEM;

        *ret = s;
        return 0;
}

int cfs_exists(Cfs *c, const char *path) {
        struct stat st;
        int r;

        r = path_check(path);
        if (r < 0)
                return r;

        if (fstatat(c->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0) {
                r = negative_errno();
                return r == -ENOENT || r == -ENOTDIR ? 0 : r;
        }

        return 1;
}

int cfs_user(Cfs *c, const char *path, uid_t *ret) {
        struct stat st;
        int r;

        r = path_check(path);
        if (r < 0)
                return r;
        if (fstatat(c->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return negative_errno();

        *ret = st.st_uid;
        return 0;
}

int cfs_block_diskseq(Cfs *c, dev_t devnum, uint64_t *ret) {
        char directory[sizeof "/sys/dev/block/:" + 2 * 3 * sizeof(unsigned)];
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *text = NULL;
        int r;

        snprintf(directory, sizeof directory, "/sys/dev/block/%u:%u", major(devnum), minor(devnum));
        fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) {
                r = negative_errno();
                return r == -ENOENT ? -ENODEV : r;
        }

        /* A partition has no number of its own, it is as old as its disk, whose directory it is in: block/genhd.c. */
        r = read_attribute_at(fd, faccessat(fd, "partition", F_OK, 0) == 0 ? "../diskseq" : "diskseq", 32, &text);
        if (r == -ENOENT) {
                /* No such attribute before Linux 5.15; or the device left between the two lines. */
                if (faccessat(fd, "dev", F_OK, 0) < 0)
                        return -ENODEV;
                *ret = 0;
                return 0;
        }
        if (r < 0)
                return r;

        return parse_u64(text, ret);
}
