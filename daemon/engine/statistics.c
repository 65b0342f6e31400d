/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <signal.h>
#include <sys/socket.h>

#include "base/errno.h"
#include "base/log.h"
#include "engine/statistics.h"
#include "engine/worker.h"

/* A LUN that does not answer for so long is left out, and what comes behind it; the child is given up. */
#define STALL_USEC UINT64_C(1000000)

typedef struct Reading {
        Engine *engine;
        List link;              /* Engine.readings; the first is the one that runs */
        char *wwn;
        int64_t lun;            /* COUNTER_FABRIC: all */
        statistics_done_t done;
        void *userdata;
        pid_t pid;
        int fd;                 /* the child's end is closed here */
        sd_event_source *io, *stall;
        Counter *counters;
        size_t n, room;
} Reading;

static void reading_free(Reading *r) {
        list_unlink(&r->link);
        sd_event_source_disable_unref(r->io);
        sd_event_source_disable_unref(r->stall);
        safe_close(r->fd);
        free(r->counters);
        free(r->wwn);
        free(r);
}

DEFINE_CLEANUP(Reading *, reading_free);

/* ---- the child ---- */

static void send_counter(const Counter *c, void *userdata) {
        int fd = *(int *) userdata;

        while (send(fd, c, sizeof *c, MSG_NOSIGNAL) < 0)
                if (errno != EINTR)
                        _exit(EXIT_FAILURE);    /* nobody listens */
}

static void run_child(Engine *e, const Target *t, int64_t only, int fd) {
        char place[BACKSTORE_PLACE_SIZE];

        if (only == COUNTER_FABRIC)
                (void) lio_count_group(e->cfs, t->wwn, t->portal_group, send_counter, &fd);

        for (size_t i = 0; i < t->n_luns; i++) {
                const Lun *l = t->luns[i];
                const char *at = place;

                /* Its directory must be left alone while it drains. */
                if (!l->linked || l->worker || (only != COUNTER_FABRIC && only != l->number))
                        continue;

                if (t->foreign)
                        at = l->backstore->place;
                else
                        backstore_place(l->backstore, place);
                (void) lio_count_lun(e->cfs, t->wwn, t->portal_group, l->number, at, send_counter, &fd);
        }

        /* Without a name: the end. */
        send_counter(&(Counter) {}, &fd);
}

/* ---- the daemon ---- */

static void start_next(Engine *e);

/* Who asked the same meanwhile is answered as well. */
static void finish(Reading *r, int error) {
        Engine *e = r->engine;
        Reading *other;

        LIST_FOREACH(&e->readings, other, Reading, link) {
                if (other == r || !streq(other->wwn, r->wwn) || other->lun != r->lun)
                        continue;

                other->done(r->counters, r->n, error, other->userdata);
                reading_free(other);
        }

        r->done(r->counters, r->n, error, r->userdata);
        reading_free(r);
        start_next(e);
}

static int take(Reading *r, const Counter *c) {
        if (r->n == r->room) {
                size_t room = MAX(r->room * 2, (size_t) 16);
                Counter *counters = reallocarray(r->counters, room, sizeof *counters);

                if (!counters)
                        return -ENOMEM;
                r->counters = counters;
                r->room = room;
        }

        r->counters[r->n] = *c;
        r->counters[r->n++].name[sizeof c->name - 1] = 0;
        return 0;
}

static int on_datagram(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Reading *r = userdata;
        Counter c;

        for (unsigned i = 0; i < 64; i++) {
                ssize_t n = recv(fd, &c, sizeof c, MSG_DONTWAIT);
                int k;

                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        break;
                if (n != (ssize_t) sizeof c || c.name[0] == 0) {
                        finish(r, n == (ssize_t) sizeof c ? 0 : -EIO);
                        return 0;
                }

                k = take(r, &c);
                if (k < 0) {
                        finish(r, k);
                        return 0;
                }
        }

        (void) sd_event_source_set_time_relative(r->stall, STALL_USEC);
        return 0;
}

static int on_stall(sd_event_source *source, uint64_t usec, void *userdata) {
        Reading *r = userdata;

        log_debug("Target %s: a LUN does not tell what it has counted", r->wwn);
        (void) kill(r->pid, SIGKILL);
        finish(r, 0);
        return 0;
}

static int start(Reading *r) {
        const Target *t = registry_target(&r->engine->registry, r->wwn);
        _cleanup_close_ int child_fd = -EBADF;
        Engine *e = r->engine;
        int fds[2], k;

        if (!t)
                return -ENOENT;

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
                return negative_errno();
        r->fd = fds[0];
        child_fd = fds[1];

        k = sd_event_add_io(e->event, &r->io, r->fd, EPOLLIN, on_datagram, r);
        if (k >= 0)
                k = sd_event_add_time_relative(e->event, &r->stall, CLOCK_MONOTONIC, STALL_USEC, 0, on_stall, r);
        if (k < 0)
                return k;

        r->pid = worker_fork(e, child_fd);
        if (r->pid < 0)
                return r->pid;
        if (r->pid == 0) {
                run_child(e, t, r->lun, child_fd);
                _exit(EXIT_SUCCESS);
        }

        worker_leave(e, r->pid);
        return 0;
}

static void start_next(Engine *e) {
        while (!list_is_empty(&e->readings)) {
                Reading *r = list_entry(e->readings.next, Reading, link);
                int k = start(r);

                if (k >= 0)
                        return;
                r->done(NULL, 0, k, r->userdata);
                reading_free(r);
        }
}

int statistics_read(Engine *e, const Target *t, const Lun *only, statistics_done_t done, void *userdata) {
        _cleanup_(reading_freep) Reading *r = NULL;
        bool idle = list_is_empty(&e->readings);

        r = calloc(1, sizeof *r);
        if (!r)
                return -ENOMEM;

        *r = (Reading) { .engine = e, .lun = only ? only->number : COUNTER_FABRIC, .done = done, .userdata = userdata, .fd = -EBADF };
        list_init(&r->link);
        r->wwn = strdup(t->wwn);
        if (!r->wwn)
                return -ENOMEM;

        if (idle) {
                int k = start(r);

                if (k < 0)
                        return k;
        }

        list_append(&e->readings, &r->link);
        TAKE_PTR(r);
        return 0;
}

void statistics_stop(Engine *e) {
        while (!list_is_empty(&e->readings)) {
                Reading *r = list_entry(e->readings.next, Reading, link);

                if (r->pid > 0)
                        (void) kill(r->pid, SIGKILL);
                r->done(NULL, 0, -ECANCELED, r->userdata);
                reading_free(r);
        }
}
