/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/errno.h"
#include "base/log.h"
#include "engine/hotplug.h"
#include "engine/queue.h"
#include "engine/report.h"
#include "engine/request.h"
#include "engine/settle.h"
#include "engine/worker.h"
#include "model/source.h"

/* One LUN costs two RCU grace periods, mostly waiting (facts 1.15): so many that two CPUs have something to do all the time, and no more. */
#define LUN_THREADS 32U
#define STALL_USEC UINT64_C(2000000)

typedef struct Worker {
        Engine *engine;
        List link;              /* Engine.workers */
        pid_t pid;
        Target *target;         /* NULL when it is gone; it stays as long as a LUN of it is in our hands */
        bool stalled;
        bool ended;             /* PASS_END came */
        int fd;
        sd_event_source *io, *child;
} Worker;

static void worker_free(Worker *w) {
        list_unlink(&w->link);
        sd_event_source_disable_unref(w->io);
        sd_event_source_disable_unref(w->child);
        safe_close(w->fd);
        free(w);
}

DEFINE_CLEANUP(Worker *, worker_free);

pid_t worker_fork(Engine *e, int report_fd) {
        pid_t parent = getpid(), pid;
        int low, high, root;
        sigset_t none;

        pid = fork();
        if (pid < 0)
                return negative_errno();
        if (pid > 0)
                return pid;

        for (int i = 1; i < _NSIG; i++)
                (void) signal(i, SIG_DFL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        (void) prctl(PR_SET_NAME, "vhscsid-pass");
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(EXIT_FAILURE);

        root = cfs_root_fd(e->cfs);
        low = root < 0 ? report_fd : MIN(report_fd, root);
        high = MAX(report_fd, root);
        if (low > 3)
                (void) close_range(3, (unsigned) low - 1, 0);
        if (high > low + 1)
                (void) close_range((unsigned) low + 1, (unsigned) high - 1, 0);
        (void) close_range((unsigned) high + 1, ~0U, 0);
        return 0;
}

int worker_watch(Engine *e, pid_t pid, sd_event_child_handler_t handler, void *userdata, sd_event_source **ret) {
        sd_event_source *s;
        int r;

        r = sd_event_add_child(e->event, &s, pid, WEXITED, handler, userdata);
        if (r < 0)
                return r;

        /* Not once: of a child that somebody traces (strace -f), the first news is that it cannot be reaped yet. Only a source that was off is
         * watched anew. */
        r = sd_event_source_set_enabled(s, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_source_set_enabled(s, SD_EVENT_ON);
        if (r < 0) {
                sd_event_source_disable_unref(s);
                return r;
        }

        *ret = s;
        return 0;
}

static int on_left(sd_event_source *source, const siginfo_t *si, void *userdata) {
        /* Sinking drops the loop's reference, and with it the source. */
        return sd_event_source_set_floating(source, false);
}

void worker_leave(Engine *e, pid_t pid) {
        sd_event_source *reaper;

        if (worker_watch(e, pid, on_left, NULL, &reaper) < 0)
                return;

        (void) sd_event_source_set_floating(reaper, true);
        sd_event_source_unref(reaper);
}

/* A LUN goes into the job when it is dirty and nobody has it, or its backstore, in hand. */
static bool lun_is_free(const Lun *l) {
        const Lun *other;

        if (l->worker)
                return false;

        LIST_FOREACH(&l->backstore->luns, other, Lun, backstore_link)
                if (other->worker)
                        return false;

        return true;
}

/* Does the backstore have to stay for another LUN: one that is up, or that this one makes way for? gone: the instance is; then none stays. */
static bool has_others(const Lun *l, const Device *d, bool gone) {
        bool wanted = !l->wanted && !gone && d && device_verdict(d, NULL) == DEVICE_USABLE && lun_fits(l, d, NULL);
        const Lun *other;
        bool before = true;

        LIST_FOREACH(&l->backstore->luns, other, Lun, backstore_link) {
                if (other == l) {
                        before = false;
                        continue;
                }

                if (other->linked || (wanted && other->wanted))
                        /* In one job they run in this order: one before us that goes is gone when it is our turn. */
                        if (!(before && (gone || !other->wanted) && other->dirty && other->target == l->target))
                                return true;
        }

        return false;
}

/* A backstore that was taken over may have LUNs of targets that were not. */
static bool has_foreign_others(Engine *e, const Backstore *b) {
        char place[BACKSTORE_PLACE_SIZE];
        const Backstore *other = NULL;

        if (!b->unmarked)
                return false;

        backstore_place(b, place);
        while ((other = finder_next_name(&e->registry.finder, b->name, other)))
                if (!other->source && streq_ptr(other->place, place))
                        return true;

        return false;
}

/* false: nothing to do for it, now. */
static bool fill_lun(Engine *e, Lun *l, PassLun *ret) {
        const Backstore *b = l->backstore;
        Device *d = NULL;
        bool fits, usable, gone;

        if (inventory_resolve(e->inventory, b->source, &d) < 0)
                d = NULL;

        gone = lun_is_gone(l, inventory_has_instance(e->inventory, b->devnum, b->diskseq));
        fits = hotplug_judge(e, l, d);
        usable = fits && d && device_verdict(d, NULL) == DEVICE_USABLE;
        if (l->wanted && !usable && !l->present && !b->present)
                return false;

        *ret = (PassLun) {
                .force = l->force || l->target->force,
                .want = {
                        .wwn = l->target->wwn,
                        .number = l->number,
                        .wanted = l->wanted,
                        .others = has_others(l, d, gone) || has_foreign_others(e, b),
                        .hba = b->hba,
                        .unmarked = b->unmarked,
                        .fresh = b->hba_fresh,
                        .name = b->name,
                        .serial = b->serial,
                        .readonly = b->readonly,
                        .attributes = b->attributes,
                        .file = backstore_is_file(b),
                        .size = b->size,
                        .usable = usable,
                        .gone = gone,
                        .node = d ? d->node : NULL,
                        .link = d ? (d->place && source_kind(b->source) == SOURCE_BY_PATH ? d->place : d->link) : NULL,
                        .devnum = d ? d->devnum : 0,
                        .diskseq = d ? d->diskseq : 0,
                },
        };
        return true;
}

/* The LUNs in the job, those of one backstore next to each other. taken: what the worker has in hand from now on. */
static int fill_luns(Engine *e, Target *t, PassJob *job, Lun ***ret_taken) {
        _cleanup_free_ Lun **taken = NULL;
        _cleanup_free_ PassLun *luns = NULL;
        size_t n = 0, room = 0;

        for (size_t i = 0; i < t->n_luns; i++)
                room += t->luns[i]->dirty;

        luns = calloc(room + 1, sizeof *luns);
        taken = calloc(room + 1, sizeof *taken);
        if (!luns || !taken)
                return -ENOMEM;

        for (size_t i = 0; i < t->n_luns; i++) {
                Backstore *b = t->luns[i]->backstore;
                Lun *l;

                /* Once for each backstore: at the first of its dirty LUNs that stands in this target. */
                if (!t->luns[i]->dirty || !lun_is_free(t->luns[i]))
                        continue;

                LIST_FOREACH(&b->luns, l, Lun, backstore_link) {
                        if (l->target != t || !l->dirty)
                                continue;

                        if (fill_lun(e, l, luns + n)) {
                                luns[n].group = (unsigned) i;
                                l->finished = false;
                                taken[n++] = l;
                        }
                }

                LIST_FOREACH(&b->luns, l, Lun, backstore_link)
                        if (l->target == t)
                                l->dirty = false;
        }

        job->luns = TAKE_PTR(luns);
        job->n_luns = n;
        *ret_taken = TAKE_PTR(taken);
        return 0;
}

static void send_report(const PassReport *report, void *userdata) {
        int fd = *(int *) userdata;

        while (send(fd, report, sizeof *report, MSG_NOSIGNAL) < 0)
                if (errno != EINTR)
                        _exit(EXIT_FAILURE);    /* nobody listens: the daemon is gone */
}

/* Nothing more will come for these. What was made for them is there, as far as we know: the next pass looks, even without a device. */
static void release_luns(Worker *w) {
        Target *t = w->target;

        for (size_t i = 0; t && i < t->n_luns; i++) {
                Lun *l = t->luns[i];

                if (l->worker != w)
                        continue;

                l->worker = NULL;
                l->present = l->backstore->present = true;
                registry_mark_lun(&w->engine->registry, l);
        }
}

static void leave_target(Worker *w) {
        if (w->target && w->target->worker == w) {
                w->target->worker = NULL;
                w->engine->n_passes--;
        }
}

static void worker_finish(Worker *w) {
        Engine *e = w->engine;
        Target *t = w->target;

        if (!w->ended && t) {
                /* Killed, or out of memory: what it did is found by the next look, not at once, lest it happens again and again. */
                log_warning("A pass over target %s ended early", t->wwn);
                t->failures++;
                t->retry_at = engine_now(e) + UINT64_C(1000000) * MIN(t->failures, 60U);
                queue_retry_by(e, t->retry_at);
        }

        leave_target(w);
        release_luns(w);
        worker_free(w);
        if (t) {
                report_finish(e, t);
                settle_target(e, t);
        }
        settle_rescans(e);
}

static void take_report(Worker *w, const PassReport *report) {
        Engine *e = w->engine;
        Target *t = w->target;
        Lun *l;

        if (report->kind == PASS_END) {
                w->ended = true;
                return;
        }

        if (!t)
                return;

        if (report->kind == PASS_STALLED) {
                log_notice("Target %s: a LUN's step waits in the kernel; the others go on", t->wwn);
                w->stalled = true;
                leave_target(w);
        } else if (report->kind == PASS_LUN || report->kind == PASS_SKIPPED) {
                l = target_lun(t, report->number);
                if (!l || l->worker != w)
                        return;
                l->worker = NULL;
        }

        report_apply(e, t, report);
        /* While it is the target's own pass the target cannot go. */
        if (settle_target(e, t))
                w->target = NULL;
}

static int on_report(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        Worker *w = userdata;
        PassReport report;

        /* In bounded bursts: others want to be served as well. */
        for (unsigned i = 0; i < 64; i++) {
                ssize_t n = recv(fd, &report, sizeof report, MSG_DONTWAIT);

                if (n == (ssize_t) sizeof report) {
                        report.path[sizeof report.path - 1] = report.value[sizeof report.value - 1] = 0;
                        take_report(w, &report);
                        continue;
                }

                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        break;

                /* The end; the rest is done when the child is reaped. */
                w->io = sd_event_source_disable_unref(w->io);
                if (!w->child) {
                        worker_finish(w);
                        return 0;
                }
                break;
        }

        return 0;
}

static int on_child(sd_event_source *source, const siginfo_t *si, void *userdata) {
        Worker *w = userdata;

        w->child = sd_event_source_disable_unref(w->child);
        if (!w->io)
                worker_finish(w);

        return 0;
}

int worker_start_pass(Engine *e, Target *t) {
        _cleanup_(pass_job_done) PassJob job = {};
        _cleanup_(worker_freep) Worker *w = NULL;
        _cleanup_close_ int child_fd = -EBADF;
        _cleanup_free_ Lun **taken = NULL;
        Request *q;
        int fds[2], r;

        w = calloc(1, sizeof *w);
        if (!w)
                return -ENOMEM;
        *w = (Worker) { .engine = e, .target = t, .fd = -EBADF };
        list_init(&w->link);

        r = fill_luns(e, t, &job, &taken);
        if (r < 0)
                return r;

        job.target = (TargetWant) { .wwn = t->wwn, .nexus = t->nexus, .wanted = t->wanted };
        /* It can go only with its last LUNs. */
        job.look_at_target = t->wanted ? t->dirty || !t->up : job.n_luns == target_count_unfinished(t);
        job.probe = job.search = t->probe;
        job.threads = LUN_THREADS;
        job.stall_usec = STALL_USEC;
        if (job.n_luns == 0 && !job.probe && !(job.look_at_target && (t->dirty || (!t->up && !t->error_code)))) {
                t->dirty = false;
                return 0;
        }

        /* Endpoint is news then: it is known from the first look on, and by guests_new() after it. */
        job.probe = job.probe || (job.look_at_target && fabric_is_bundled(&e->fabric));

        r = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0 ? negative_errno() : 0;
        if (r >= 0) {
                w->fd = fds[0];
                child_fd = fds[1];
                w->pid = worker_fork(e, child_fd);
                r = w->pid < 0 ? w->pid : 0;
        }
        if (r >= 0 && w->pid == 0) {
                pass_run(e->cfs, &job, send_report, &child_fd);
                _exit(EXIT_SUCCESS);
        }
        if (r >= 0)
                r = sd_event_add_io(e->event, &w->io, w->fd, EPOLLIN, on_report, w);
        if (r >= 0)
                r = worker_watch(e, w->pid, on_child, w, &w->child);
        if (r < 0) {
                for (size_t i = 0; i < job.n_luns; i++)
                        taken[i]->dirty = true;
                if (w->pid > 0) {
                        (void) kill(w->pid, SIGKILL);
                        (void) waitpid(w->pid, NULL, WNOHANG);
                }
                return log_warning_errno(r, "Cannot start a pass over target %s", t->wwn);
        }

        for (size_t i = 0; i < job.n_luns; i++) {
                taken[i]->worker = w;
                taken[i]->backstore->hba_fresh = false;
        }
        LIST_FOREACH(&t->requests, q, Request, link)
                q->begun = true;

        t->dirty = t->probe = false;
        t->worker = w;
        e->n_passes++;
        list_append(&e->workers, &w->link);
        TAKE_PTR(w);
        return 1;
}

void worker_forget_target(Engine *e, const Target *t) {
        Worker *w;

        LIST_FOREACH(&e->workers, w, Worker, link)
                if (w->target == t)
                        w->target = NULL;
}

void worker_stop_all(Engine *e) {
        Worker *w;

        LIST_FOREACH(&e->workers, w, Worker, link) {
                /* One that waits in the kernel dies when the kernel lets it go; its LUN is found draining by the next start. */
                (void) kill(w->pid, SIGKILL);
                leave_target(w);
                worker_free(w);
        }
}
