/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <time.h>

#include "base/errno.h"
#include "base/fileio.h"
#include "base/parse.h"
#include "kernel/qemu-process.h"
#include "model/qemu-argv.h"

#define STATUS_SIZE 4096
#define COMMAND_LINE_MAX (4U * 1024 * 1024)     /* more than the kernel lets anybody have with the usual limits */

/* Of the real user: a program that is root's for whoever starts it has the arguments that he wrote. */
static int read_user(int proc_fd, uint32_t pid, uid_t *ret) {
        char path[32], status[STATUS_SIZE + 1];
        _cleanup_close_ int fd = -EBADF;
        unsigned long user;
        const char *line;
        ssize_t n;

        snprintf(path, sizeof path, "%" PRIu32 "/status", pid);
        fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return negative_errno();
        n = read(fd, status, STATUS_SIZE);
        if (n < 0)
                return negative_errno();
        status[n] = 0;

        /* It stands in the first lines. The name, in the first, cannot make one: the kernel escapes what ends a line (proc_task_name(),
         * fs/proc/array.c). */
        line = strstr(status, "\nUid:\t");
        if (!line || sscanf(line, "\nUid:\t%lu", &user) != 1)
                return -EBADMSG;

        *ret = (uid_t) user;
        return 0;
}

static int read_command_line(int proc_fd, uint32_t pid, char **ret, size_t *ret_size) {
        char path[32];

        snprintf(path, sizeof path, "%" PRIu32 "/cmdline", pid);
        return read_file_at(proc_fd, path, COMMAND_LINE_MAX, ret, ret_size);
}

static int set_name(Guest *g, const char *argv, size_t size) {
        char name[512];

        qemu_argv_name(argv, size, name, sizeof name);
        return guest_set_name(g, name);
}

/* 1: it is one. What cannot be read is gone, or nobody's that we know. */
static int look_at(int proc_fd, uint32_t pid, const char *wwn, uid_t user, Guest *ret) {
        _cleanup_free_ char *argv = NULL;
        Guest g = { .pid = pid };
        size_t size;
        uid_t uid;
        int r;

        /* First of all: what strangers do with their memory shall not hold us up. */
        if (read_user(proc_fd, pid, &uid) < 0 || (uid != 0 && uid != user))
                return 0;

        r = read_command_line(proc_fd, pid, &argv, &size);
        if (r < 0)
                return r == -ENOMEM ? r : 0;
        if (!qemu_argv_has_target(argv, size, wwn))
                return 0;

        r = set_name(&g, argv, size);
        if (r < 0)
                return r;

        *ret = g;
        return 1;
}

/* The last one counts: what started it (sudo, systemd-run) has the same words on its own command line, and came before. */
static int look_at_all(const char *proc, const char *wwn, uid_t user, Guest *ret) {
        _cleanup_closedir_ DIR *d = NULL;
        const struct dirent *e;
        Guest found = {};
        uint32_t pid;
        int r;

        r = directory_open_at(AT_FDCWD, proc, &d);
        if (r < 0)
                return r;

        while ((r = directory_read(d, &e)) > 0) {
                if (parse_u32(e->d_name, &pid) < 0 || pid == 0 || pid < found.pid)
                        continue;
                r = look_at(dirfd(d), pid, wwn, user, &found);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;

        *ret = found;
        return found.pid > 0;
}

typedef struct Search {
        const char *proc, *wwn;
        uid_t user;
        pthread_mutex_t lock;
        pthread_cond_t over;
        bool is_over;
        bool is_abandoned;      /* nobody waits for it any more: it is the thread's */
        int result;
        Guest found;
} Search;

static void search_free(Search *s) {
        pthread_cond_destroy(&s->over);
        pthread_mutex_destroy(&s->lock);
        free(s);
}

static void *search(void *userdata) {
        Search *s = userdata;
        bool is_abandoned;
        Guest found = {};
        int r;

        r = look_at_all(s->proc, s->wwn, s->user, &found);

        pthread_mutex_lock(&s->lock);
        s->found = found;
        s->result = r;
        s->is_over = true;
        is_abandoned = s->is_abandoned;
        pthread_cond_signal(&s->over);
        pthread_mutex_unlock(&s->lock);
        if (is_abandoned)
                search_free(s);
        return NULL;
}

static Search *search_new(const char *proc, const char *wwn, uid_t user) {
        Search *s = calloc(1, sizeof *s);
        pthread_condattr_t monotonic;

        if (!s)
                return NULL;

        *s = (Search) { .proc = proc, .wwn = wwn, .user = user };
        pthread_mutex_init(&s->lock, NULL);
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&s->over, &monotonic);
        pthread_condattr_destroy(&monotonic);
        return s;
}

/* false: it is not over, and the thread's from now on. */
static bool search_wait(Search *s, uint64_t timeout_usec) {
        struct timespec t;
        bool is_over;
        int r = 0;

        clock_gettime(CLOCK_MONOTONIC, &t);
        t.tv_sec += (time_t) (timeout_usec / 1000000);
        t.tv_nsec += (long) (timeout_usec % 1000000) * 1000;
        if (t.tv_nsec >= 1000000000) {
                t.tv_sec++;
                t.tv_nsec -= 1000000000;
        }

        pthread_mutex_lock(&s->lock);
        while (!s->is_over && r == 0)
                r = pthread_cond_timedwait(&s->over, &s->lock, &t);
        is_over = s->is_over;
        s->is_abandoned = !is_over;
        pthread_mutex_unlock(&s->lock);
        return is_over;
}

int qemu_process_find(const char *proc, const char *wwn, uid_t user, uint64_t timeout_usec, Guest *ret) {
        pthread_t t;
        Search *s;
        int r;

        s = search_new(proc, wwn, user);
        if (!s)
                return -ENOMEM;

        r = pthread_create(&t, NULL, search, s);
        if (r != 0) {
                search_free(s);
                return -r;
        }

        /* The thread has the caller's texts until it or the process ends. */
        if (!search_wait(s, timeout_usec)) {
                pthread_detach(t);
                return -ETIMEDOUT;
        }

        pthread_join(t, NULL);
        r = s->result;
        if (r > 0)
                *ret = s->found;
        search_free(s);
        return r;
}

void qemu_process_name(const char *proc, Guest *g) {
        _cleanup_closedir_ DIR *d = NULL;
        _cleanup_free_ char *argv = NULL;
        size_t size;

        if (directory_open_at(AT_FDCWD, proc, &d) >= 0 && read_command_line(dirfd(d), g->pid, &argv, &size) >= 0 && size > 0)
                (void) set_name(g, argv, size);
}
