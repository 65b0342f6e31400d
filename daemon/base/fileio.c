/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>

#include "base/errno.h"
#include "base/fileio.h"

static int open_at(int dirfd, const char *path, int flags) {
        int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | flags);

        return fd < 0 ? negative_errno() : fd;
}

/* whole_at_once: a read that does not fill the buffer has seen the end. */
static int read_all(int fd, size_t max, bool whole_at_once, char **ret, size_t *ret_size) {
        _cleanup_free_ char *buf = NULL;
        size_t size = 0, room = 0;
        bool end = false;

        while (!end) {
                ssize_t n;

                if (room - size < 2) {
                        char *p;

                        room = room > 0 ? room * 2 : 4096;
                        p = realloc(buf, room);
                        if (!p)
                                return -ENOMEM;
                        buf = p;
                }

                n = read(fd, buf + size, room - size - 1);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return negative_errno();

                size += (size_t) n;
                if (size > max)
                        return -EFBIG;
                end = n == 0 || (whole_at_once && size < room - 1);
        }

        buf[size] = 0;
        while (size > 0 && buf[size - 1] == '\n')
                buf[--size] = 0;

        *ret = TAKE_PTR(buf);
        if (ret_size)
                *ret_size = size;
        return 0;
}

int read_file_at(int dirfd, const char *path, size_t max, char **ret, size_t *ret_size) {
        _cleanup_close_ int fd = open_at(dirfd, path, 0);

        return fd < 0 ? fd : read_all(fd, max, false, ret, ret_size);
}

static const char *why_not_private(const struct stat *st) {
        return !S_ISREG(st->st_mode) ? "it is not a regular file" :
                st->st_uid != geteuid() ? "it belongs to another user" :
                st->st_mode & (S_IWGRP | S_IWOTH) ? "others may write it" : NULL;
}

int read_private_file_at(int dirfd, const char *path, size_t max, char **ret, size_t *ret_size, const char **ret_why) {
        _cleanup_close_ int fd = open_at(dirfd, path, O_NOFOLLOW);
        struct stat st;

        *ret_why = NULL;
        if (fd < 0) {
                /* Without a capability not even root reads what another user keeps for himself. */
                if (fd == -EACCES && fstatat(dirfd, path, &st, AT_SYMLINK_NOFOLLOW) >= 0)
                        *ret_why = why_not_private(&st);
                return *ret_why ? -EPERM : fd;
        }
        if (fstat(fd, &st) < 0)
                return negative_errno();

        *ret_why = why_not_private(&st);
        return *ret_why ? -EPERM : read_all(fd, max, false, ret, ret_size);
}

int read_attribute_at(int dirfd, const char *path, size_t max, char **ret) {
        _cleanup_close_ int fd = open_at(dirfd, path, 0);

        return fd < 0 ? fd : read_all(fd, max, true, ret, NULL);
}

int directory_open_at(int dirfd, const char *path, DIR **ret) {
        _cleanup_close_ int fd = -EBADF;
        DIR *d;

        fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return negative_errno();

        d = fdopendir(fd);
        if (!d)
                return negative_errno();

        TAKE_FD(fd);
        *ret = d;
        return 0;
}

int directory_read(DIR *d, const struct dirent **ret) {
        errno = 0;
        *ret = readdir(d);
        if (*ret)
                return 1;

        return errno != 0 ? negative_errno() : 0;
}

int write_all(int fd, const void *data, size_t size) {
        const char *p = data;

        while (size > 0) {
                ssize_t n = write(fd, p, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return negative_errno();
                if (n == 0)
                        return -EIO;

                p += n;
                size -= (size_t) n;
        }

        return 0;
}

static int fsync_dir(int dirfd) {
        if (fsync(dirfd) < 0)
                return negative_errno();

        return 0;
}

/* A second name for the old content, to go back to. 1: it has one; 0: there is no old content. */
static int keep_at(int dirfd, const char *name, const char *old) {
        int r;

        r = linkat(dirfd, name, dirfd, old, 0) < 0 ? negative_errno() : 1;
        if (r == -EEXIST && unlinkat(dirfd, old, 0) >= 0)
                r = linkat(dirfd, name, dirfd, old, 0) < 0 ? negative_errno() : 1;

        return r == -ENOENT ? 0 : r;
}

int write_file_atomic_at(int dirfd, const char *name, const void *data, size_t size) {
        char temporary[300], old[300];
        _cleanup_close_ int fd = -EBADF;
        int r, kept;

        /* Fixed names: one writer, and what a crash leaves behind is overwritten by the next save. */
        r = snprintf(temporary, sizeof temporary, ".%s.new", name);
        if (r < 0 || (size_t) r >= sizeof temporary)
                return -ENAMETOOLONG;
        (void) snprintf(old, sizeof old, ".%s.old", name);

        if (unlinkat(dirfd, temporary, 0) < 0 && errno != ENOENT)
                return negative_errno();

        fd = openat(dirfd, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return negative_errno();

        r = write_all(fd, data, size);
        if (r >= 0 && fsync(fd) < 0)
                r = negative_errno();
        kept = r < 0 ? r : keep_at(dirfd, name, old);
        if (r >= 0 && renameat(dirfd, temporary, dirfd, name) < 0)
                r = negative_errno();
        if (r < 0)
                (void) unlinkat(dirfd, temporary, 0);
        else {
                r = fsync_dir(dirfd);
                /* Nobody is told that it is stored: then it shall not be found either. */
                if (r < 0 && kept > 0)
                        (void) renameat(dirfd, old, dirfd, name);
                else if (r < 0 && kept == 0)
                        (void) unlinkat(dirfd, name, 0);
        }
        if (kept > 0)
                (void) unlinkat(dirfd, old, 0);

        return r;
}

void remove_temporaries_at(int dirfd) {
        _cleanup_closedir_ DIR *d = NULL;
        const struct dirent *e;

        if (directory_open_at(dirfd, ".", &d) < 0)
                return;

        while (directory_read(d, &e) > 0)
                if (fnmatch(".*.new", e->d_name, 0) == 0 || fnmatch(".*.old", e->d_name, 0) == 0)
                        (void) unlinkat(dirfd, e->d_name, 0);
}

int unlink_durable_at(int dirfd, const char *name) {
        if (unlinkat(dirfd, name, 0) < 0)
                return errno == ENOENT ? 0 : negative_errno();

        return fsync_dir(dirfd);
}
