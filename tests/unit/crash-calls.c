/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "crash-calls.h"
#include "crash-power.h"
#include "fake-cfs.h"

Calls *calls;

const int calls_errors[CALLS_ERRORS + 1] = { EIO, ENOSPC, EROFS, ENOMEM, EMFILE, EINTR, 0 };

#define E_IO (1U << 0)
#define E_NOSPC (1U << 1)
#define E_ROFS (1U << 2)
#define E_NOMEM (1U << 3)
#define E_MFILE (1U << 4)
#define E_INTR (1U << 5)
#define E_CHANGE (E_IO | E_NOSPC | E_ROFS | E_NOMEM)    /* of a directory or a file */
#define E_KERNEL (E_IO | E_NOMEM | E_INTR)              /* of configfs */

static pid_t client;            /* the test itself, whose calls are nobody's business */

void calls_init(void) {
        client = getpid();
        calls = mmap(NULL, sizeof *calls, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        g_assert_true(calls != MAP_FAILED);
}

void calls_arm(CallsMode mode, unsigned nth, int error) {
        calls->nth = nth;
        calls->error = error;
        calls->hit = false;
        __atomic_store_n(&calls->made, 0, __ATOMIC_SEQ_CST);
        __atomic_store_n(&calls->mode, mode, __ATOMIC_SEQ_CST);
}

bool calls_disarm(void) {
        __atomic_store_n(&calls->mode, CALLS_OFF, __ATOMIC_SEQ_CST);
        return calls->hit;
}

int __real_kill(pid_t pid, int sig);

/* Between two of the fake kernel's operations: a process of the real one is not killed in the middle of one either. */
static void die(bool all) {
        fake_freeze();
        (void) __real_kill(all ? 0 : getpid(), SIGKILL);
        for (;;)
                pause();
}

G_NORETURN void __real__exit(int status);
G_NORETURN void __wrap__exit(int status);

/* Nor one whose end is its own doing: its other threads may be inside. Of the daemon all ends here, for when the kernel kills the passes because
 * their parent has died (PR_SET_PDEATHSIG), nobody keeps the fake still any more. */
void __wrap__exit(int status) {
        if (getpid() == calls->daemon)
                die(true);
        if (getpid() != client)
                fake_freeze();
        __real__exit(status);
}

static bool can_fail(unsigned errors) {
        for (size_t i = 0; calls_errors[i] != 0; i++)
                if (calls_errors[i] == calls->error)
                        return errors & 1U << i;

        return false;
}

/* Before each call. The errno that it shall give, or 0. */
static int point(const char *name, unsigned errors) {
        CallsMode mode = calls ? __atomic_load_n(&calls->mode, __ATOMIC_SEQ_CST) : CALLS_OFF;
        bool fail = mode == CALLS_FAIL;

        if (mode == CALLS_OFF || mode == CALLS_RECORD || getpid() == client)
                return 0;
        if ((fail && !can_fail(errors)) || (mode == CALLS_KILL_PASS && getpid() == calls->daemon))
                return 0;

        if (__atomic_add_fetch(&calls->made, 1, __ATOMIC_SEQ_CST) != calls->nth)
                return 0;

        g_strlcpy(calls->name, name, sizeof calls->name);
        calls->hit = true;
        if (!fail)
                die(mode == CALLS_KILL);
        return calls->error;
}

static bool recording(void) {
        return calls && calls->mode == CALLS_RECORD && getpid() == calls->daemon;
}

/* ---- files ---- */

#define WRAP(type, name, ...)                   \
        type __real_##name(__VA_ARGS__);        \
        type __wrap_##name(__VA_ARGS__);        \
        type __wrap_##name(__VA_ARGS__)

#define FAIL_POINT(name, errors, failed)        \
        do {                                    \
                int _e = point(name, errors);   \
                                                \
                if (_e != 0) {                  \
                        errno = _e;             \
                        return failed;          \
                }                               \
        } while (false)

static mode_t mode_argument(int flags, va_list ap) {
        return flags & O_CREAT ? va_arg(ap, mode_t) : 0;
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __real_openat64(int dirfd, const char *path, int flags, ...);
int __wrap_openat64(int dirfd, const char *path, int flags, ...);

static unsigned open_errors(int flags) {
        return E_IO | E_NOMEM | E_MFILE | E_INTR | (flags & O_CREAT ? E_NOSPC | E_ROFS : 0);
}

int __wrap_open64(const char *path, int flags, ...) {
        mode_t mode;
        va_list ap;

        va_start(ap, flags);
        mode = mode_argument(flags, ap);
        va_end(ap);
        FAIL_POINT("open", open_errors(flags), -1);
        return __real_open64(path, flags, mode);
}

int __wrap_openat64(int dirfd, const char *path, int flags, ...) {
        mode_t mode;
        va_list ap;
        int fd;

        va_start(ap, flags);
        mode = mode_argument(flags, ap);
        va_end(ap);
        FAIL_POINT("openat", open_errors(flags), -1);
        fd = __real_openat64(dirfd, path, flags, mode);
        if (fd >= 0 && recording())
                power_open(dirfd, path, flags, fd);
        return fd;
}

WRAP(ssize_t, read, int fd, void *buf, size_t size) {
        FAIL_POINT("read", E_IO | E_NOMEM | E_INTR, -1);
        return __real_read(fd, buf, size);
}

WRAP(ssize_t, write, int fd, const void *buf, size_t size) {
        ssize_t n;

        FAIL_POINT("write", E_CHANGE | E_INTR, -1);
        n = __real_write(fd, buf, size);
        if (n > 0 && recording())
                power_write(fd, buf, (size_t) n);
        return n;
}

WRAP(int, fsync, int fd) {
        FAIL_POINT("fsync", E_CHANGE | E_INTR, -1);
        if (recording())
                power_sync(fd);
        return __real_fsync(fd);
}

WRAP(int, close, int fd) {
        int e = point("close", E_IO | E_INTR), r;

        if (recording())
                power_close(fd);
        r = __real_close(fd);
        if (e == 0)
                return r;

        errno = e;      /* it is closed all the same: close(2) */
        return -1;
}

WRAP(int, renameat, int from_fd, const char *from, int to_fd, const char *to) {
        int r;

        FAIL_POINT("renameat", E_CHANGE, -1);
        r = __real_renameat(from_fd, from, to_fd, to);
        if (r >= 0 && recording())
                power_rename(from_fd, from, to_fd, to);
        return r;
}

WRAP(int, linkat, int from_fd, const char *from, int to_fd, const char *to, int flags) {
        int r;

        FAIL_POINT("linkat", E_CHANGE, -1);
        r = __real_linkat(from_fd, from, to_fd, to, flags);
        if (r >= 0 && recording())
                power_link(from_fd, from, to_fd, to);
        return r;
}

WRAP(int, symlinkat, const char *target, int dirfd, const char *path) {
        int r;

        FAIL_POINT("symlinkat", E_CHANGE, -1);
        r = __real_symlinkat(target, dirfd, path);
        if (r >= 0 && recording())
                power_symlink(target, dirfd, path);
        return r;
}

WRAP(int, unlinkat, int dirfd, const char *path, int flags) {
        int r;

        FAIL_POINT("unlinkat", (E_CHANGE & ~E_NOSPC), -1);
        r = __real_unlinkat(dirfd, path, flags);
        if (r >= 0 && recording())
                power_unlink(dirfd, path);
        return r;
}

WRAP(int, mkdirat, int dirfd, const char *path, mode_t mode) {
        FAIL_POINT("mkdirat", E_CHANGE, -1);
        return __real_mkdirat(dirfd, path, mode);
}

WRAP(int, faccessat, int dirfd, const char *path, int mode, int flags) {
        FAIL_POINT("faccessat", E_IO | E_NOMEM, -1);
        return __real_faccessat(dirfd, path, mode, flags);
}

WRAP(int, fstatat64, int dirfd, const char *path, struct stat64 *st, int flags) {
        FAIL_POINT("fstatat", E_IO | E_NOMEM, -1);
        return __real_fstatat64(dirfd, path, st, flags);
}

WRAP(ssize_t, readlinkat, int dirfd, const char *path, char *buf, size_t size) {
        FAIL_POINT("readlinkat", E_IO | E_NOMEM, -1);
        return __real_readlinkat(dirfd, path, buf, size);
}

WRAP(DIR *, fdopendir, int fd) {
        FAIL_POINT("fdopendir", E_NOMEM, NULL);
        return __real_fdopendir(fd);
}

WRAP(struct dirent64 *, readdir64, DIR *d) {
        FAIL_POINT("readdir", E_IO, NULL);
        return __real_readdir64(d);
}

/* ---- processes ---- */

WRAP(pid_t, fork, void) {
        FAIL_POINT("fork", E_NOMEM, -1);
        return __real_fork();
}

WRAP(int, socketpair, int domain, int type, int protocol, int fds[2]) {
        FAIL_POINT("socketpair", E_NOMEM | E_MFILE, -1);
        return __real_socketpair(domain, type, protocol, fds);
}

WRAP(ssize_t, send, int fd, const void *buf, size_t size, int flags) {
        FAIL_POINT("send", E_NOMEM | E_INTR, -1);
        return __real_send(fd, buf, size, flags);
}

WRAP(ssize_t, recv, int fd, void *buf, size_t size, int flags) {
        FAIL_POINT("recv", E_NOMEM | E_INTR, -1);
        return __real_recv(fd, buf, size, flags);
}

WRAP(int, kill, pid_t pid, int sig) {
        int r;

        (void) point("kill", 0);
        if (sig != SIGKILL || getpid() == client)
                return __real_kill(pid, sig);

        /* Nor one that is killed: it is dead before the others go on. */
        fake_freeze();
        r = __real_kill(pid, sig);
        if (r >= 0)
                (void) waitid(P_PID, (id_t) pid, &(siginfo_t) {}, WEXITED | WNOWAIT);
        fake_thaw();
        return r;
}

WRAP(int, close_range, unsigned first, unsigned last, int flags) {
        FAIL_POINT("close_range", E_NOMEM | E_MFILE, -1);
        return __real_close_range(first, last, flags);
}

WRAP(int, memfd_create, const char *name, unsigned flags) {
        FAIL_POINT("memfd_create", E_NOMEM | E_MFILE, -1);
        return __real_memfd_create(name, flags);
}

WRAP(int, pthread_create, pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *userdata) {
        return point("pthread_create", E_NOMEM) != 0 ? EAGAIN : __real_pthread_create(thread, attributes, run, userdata);
}

/* ---- the event loop: epoll, timerfd, pidfd ---- */

WRAP(int, sd_event_add_io, sd_event *e, sd_event_source **ret, int fd, uint32_t events, sd_event_io_handler_t handler, void *userdata) {
        int error = point("sd_event_add_io", E_NOMEM | E_NOSPC);

        return error != 0 ? -error : __real_sd_event_add_io(e, ret, fd, events, handler, userdata);
}

WRAP(int, sd_event_add_child, sd_event *e, sd_event_source **ret, pid_t pid, int options, sd_event_child_handler_t handler, void *userdata) {
        int error = point("sd_event_add_child", E_NOMEM | E_MFILE);

        return error != 0 ? -error : __real_sd_event_add_child(e, ret, pid, options, handler, userdata);
}

WRAP(int, sd_event_add_time_relative, sd_event *e, sd_event_source **ret, clockid_t clock, uint64_t usec, uint64_t accuracy,
     sd_event_time_handler_t handler, void *userdata) {
        int error = point("sd_event_add_time", E_NOMEM | E_MFILE);

        return error != 0 ? -error : __real_sd_event_add_time_relative(e, ret, clock, usec, accuracy, handler, userdata);
}

/* ---- configfs ---- */

#define WRAP_CFS(name, errors, parameters, arguments)           \
        int __real_##name parameters;                           \
        int __wrap_##name parameters;                           \
        int __wrap_##name parameters {                          \
                int error = point(#name, errors);               \
                                                                \
                return error != 0 ? -error : __real_##name arguments; \
        }

WRAP_CFS(cfs_mkdir, E_KERNEL | E_NOSPC, (Cfs *c, const char *path), (c, path))
WRAP_CFS(cfs_rmdir, E_KERNEL, (Cfs *c, const char *path), (c, path))
WRAP_CFS(cfs_symlink, E_KERNEL | E_NOSPC, (Cfs *c, const char *target, const char *path), (c, target, path))
WRAP_CFS(cfs_unlink, E_KERNEL, (Cfs *c, const char *path), (c, path))
WRAP_CFS(cfs_write, E_KERNEL | E_MFILE | E_NOSPC, (Cfs *c, const char *path, const char *value), (c, path, value))
WRAP_CFS(cfs_read, E_KERNEL | E_MFILE, (Cfs *c, const char *path, char **ret), (c, path, ret))
WRAP_CFS(cfs_list, E_KERNEL | E_MFILE, (Cfs *c, const char *path, bool directories, bool links, char ***ret), (c, path, directories, links, ret))
WRAP_CFS(cfs_readlink, E_KERNEL, (Cfs *c, const char *path, char **ret), (c, path, ret))
WRAP_CFS(cfs_exists, E_KERNEL, (Cfs *c, const char *path), (c, path))
WRAP_CFS(cfs_block_diskseq, E_KERNEL | E_MFILE, (Cfs *c, dev_t devnum, uint64_t *ret), (c, devnum, ret))
