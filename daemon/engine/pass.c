/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <pthread.h>
#include <time.h>

#include "base/errno.h"
#include "base/log.h"
#include "engine/pass.h"
#include "kernel/lio.h"
#include "kernel/qemu-process.h"

#define THREADS_MAX 32U
/* The host's processes are seen in a moment as a rule; but one of them may be in the way, and the caller waits. */
#define SEARCH_USEC UINT64_C(10000000)

typedef struct Pass {
        Cfs *cfs;
        const PassJob *job;
        pass_report_t report;
        void *userdata;
        bool attached;          /* a guest is, or is about to be: LUNs go down by force only */
        bool only_down;         /* the target could not be made: no LUN can come up */

        pthread_mutex_t lock;
        pthread_cond_t progress;
        size_t next;            /* index of the first LUN that nobody took */
        uint64_t ticks;         /* counts progress */
        unsigned running;       /* threads */
        bool stalled;           /* nothing new is begun any more */
        bool luns_left;         /* something of a LUN is still there */
} Pass;

void pass_job_done(PassJob *job) {
        free(job->luns);
        *job = (PassJob) {};
}

static void set_failure(PassReport *r, const Step *s, int error) {
        r->error = error;
        r->op = s->op;
        snprintf(r->path, sizeof r->path, "%s", s->path);
        snprintf(r->value, sizeof r->value, "%s", strempty(s->value));
}

static int perform(Pass *p, const Plan *plan, PassReport *report) {
        for (size_t i = 0; i < plan->n; i++) {
                int r = lio_perform(p->cfs, plan->steps + i);

                if (r < 0) {
                        set_failure(report, plan->steps + i, r);
                        return r;
                }

                report->steps++;
        }

        return 0;
}

/* Takes down what a bring-up left behind that failed half-way: an enabled backstore would keep the device from everybody else. */
static void clean_up(Pass *p, const LunWant *want) {
        _cleanup_(plan_done) Plan plan = {};
        _cleanup_(lun_seen_done) LunSeen seen = {};
        LunWant unwanted = *want;
        PassReport ignored = {};

        unwanted.wanted = false;
        if (lio_observe_lun(p->cfs, &unwanted, &seen) < 0 || seen.link)
                return;

        if (plan_lun(&unwanted, &seen, &plan) >= 0)
                (void) perform(p, &plan, &ignored);
}

/* The instance that the backstore has open, asked of the kernel itself: what the daemon missed or misread is no reason to take a disk from
 * a guest. */
static int is_gone(Pass *p, const LunSeen *seen) {
        uint64_t diskseq;
        int r;

        if (seen->devnum == 0)
                return 1;

        r = cfs_block_diskseq(p->cfs, seen->devnum, &diskseq);
        if (r < 0)
                return errno_is_device_absent(r) ? 1 : r;

        return seen->diskseq != 0 && diskseq != seen->diskseq;
}

/* What a look found, in the report's words. */
static void fill_seen(const LunWant *want, const LunSeen *seen, PassReport *report) {
        bool theirs = plan_backstore_is_theirs(want, seen);

        /* What is somebody else's does not count: nothing will be done about it. */
        report->up = seen->link && !plan_link_is_theirs(want, seen);
        report->backstore = seen->backstore_dir && !theirs;
        report->present = report->up || (seen->dir && !seen->link) || (!want->others && report->backstore) ||
                          (!want->others && seen->hba_dir && !seen->hba_others && !theirs);
        report->devnum = seen->devnum;
        report->diskseq = seen->diskseq;
        report->marked = seen->enabled && plan_is_marked(seen);
}

static void fill_altered(const LunWant *want, const LunSeen *seen, PassReport *report) {
        _cleanup_free_ char *path = NULL, *text = NULL;

        report->altered = report->error == 0 && plan_find_alteration(want, seen, &path, &text) > 0;
        if (!report->altered)
                return;

        (void) snprintf(report->path, sizeof report->path, "%s", path);
        (void) snprintf(report->value, sizeof report->value, "%s", text);
}

/* Somebody else has brought it up: nothing is to be done, but to remember where it is. */
static void fill_taken_over(const LunSeen *seen, PassReport *report) {
        report->up = report->present = report->backstore = report->taken_over = true;
        report->hba = seen->hba;
        report->devnum = seen->devnum;
}

/* What is there when every step of the plan went well: the kernel said so, and a second look at each LUN would double the cost of a
 * restore. */
static void fill_done(const LunWant *want, const LunSeen *before, const Plan *plan, PassReport *report) {
        bool same = want->others && before->enabled;    /* the other LUNs' instance, whatever the source means now */

        report->up = plan->steps[plan->n - 1].op == STEP_SYMLINK;
        report->present = report->up;
        report->backstore = report->up || (want->others && before->backstore_dir);
        report->devnum = same ? before->devnum : report->up ? want->devnum : 0;
        report->diskseq = same ? before->diskseq : report->up ? want->diskseq : 0;
        report->marked = report->up && (!before->enabled || plan_is_marked(before));
}

static void run_lun(Pass *p, const PassLun *l) {
        PassReport report = { .kind = PASS_LUN, .number = l->want.number };
        _cleanup_(lun_seen_done) LunSeen before = {}, after = {};
        _cleanup_(plan_done) Plan plan = {};
        LunWant want = l->want;
        bool looked, over;
        int r;

        if (p->only_down && want.wanted) {
                report.kind = PASS_SKIPPED;
                p->report(&report, p->userdata);
                return;
        }

        r = lio_observe_lun(p->cfs, &want, &before);
        looked = r >= 0;
        over = looked && plan_can_take_over(&want, &before);
        /* Without our mark only the kernel knows what became of the disk that is open. */
        if (looked && want.unmarked && before.enabled && before.devnum != 0 && before.devnum != want.devnum)
                want.gone = true;
        if (looked && want.gone && before.enabled) {
                r = is_gone(p, &before);
                want.gone = r > 0;
        }
        /* A dead disk is of no use to a guest, and keeps the backstore from the living. */
        if (r >= 0 && !want.wanted && !want.gone && before.link && p->attached && !l->force) {
                report.attached = true;
                r = -EBUSY;
        } else if (r >= 0 && !over) {
                r = plan_lun(&want, &before, &plan);
                report.taken = r == -EADDRINUSE && !before.link;
        }

        if (r >= 0 && plan.n > 0) {
                r = perform(p, &plan, &report);
                report.taken = r == -EEXIST && report.steps == 0 && !before.hba_dir;
                want.fresh = want.fresh && report.taken;
                if (r < 0 && want.wanted && !report.taken)
                        clean_up(p, &want);
        }

        if (r < 0 && report.error == 0)
                report.error = r;

        if (over)
                fill_taken_over(&before, &report);
        else if (plan.n == 0 && looked) {
                fill_seen(&want, &before, &report);
                fill_altered(&want, &before, &report);
        } else if (r >= 0)
                fill_done(&want, &before, &plan, &report);
        else if (looked && lio_observe_lun(p->cfs, &want, &after) >= 0)
                fill_seen(&want, &after, &report);
        else
                report.unseen = true;

        if (report.present || report.error < 0) {
                pthread_mutex_lock(&p->lock);
                p->luns_left = true;
                pthread_mutex_unlock(&p->lock);
        }

        p->report(&report, p->userdata);
}

static void *thread(void *userdata) {
        Pass *p = userdata;

        pthread_mutex_lock(&p->lock);
        while (!p->stalled && p->next < p->job->n_luns) {
                size_t first = p->next, end = first + 1;

                while (end < p->job->n_luns && p->job->luns[end].group == p->job->luns[first].group)
                        end++;
                p->next = end;
                pthread_mutex_unlock(&p->lock);

                for (size_t i = first; i < end; i++) {
                        run_lun(p, p->job->luns + i);

                        pthread_mutex_lock(&p->lock);
                        p->ticks++;
                        pthread_cond_signal(&p->progress);
                        pthread_mutex_unlock(&p->lock);
                }

                pthread_mutex_lock(&p->lock);
        }

        p->running--;
        pthread_cond_signal(&p->progress);
        pthread_mutex_unlock(&p->lock);
        return NULL;
}

/* What nobody has begun needs another pass. */
static void skip_the_rest(Pass *p) {
        for (; p->next < p->job->n_luns; p->next++)
                p->report(&(PassReport) { .kind = PASS_SKIPPED, .number = p->job->luns[p->next].want.number }, p->userdata);
}

static void wait_for_threads(Pass *p) {
        pthread_mutex_lock(&p->lock);
        while (p->running > 0) {
                uint64_t seen = p->ticks;
                struct timespec t;
                int r = 0;

                clock_gettime(CLOCK_MONOTONIC, &t);
                t.tv_sec += (time_t) (p->job->stall_usec / 1000000);
                t.tv_nsec += (long) (p->job->stall_usec % 1000000) * 1000;
                if (t.tv_nsec >= 1000000000) {
                        t.tv_sec++;
                        t.tv_nsec -= 1000000000;
                }

                while (p->running > 0 && p->ticks == seen && r == 0)
                        r = p->stalled ? pthread_cond_wait(&p->progress, &p->lock) :
                                         pthread_cond_timedwait(&p->progress, &p->lock, &t);

                if (r == ETIMEDOUT && p->running > 0 && p->ticks == seen && !p->stalled) {
                        p->stalled = true;
                        skip_the_rest(p);
                        p->report(&(PassReport) { .kind = PASS_STALLED }, p->userdata);
                }
        }
        pthread_mutex_unlock(&p->lock);
}

static void run_luns(Pass *p) {
        size_t n = MIN(p->job->threads, THREADS_MAX);
        pthread_attr_t attributes;

        n = MIN(n, p->job->n_luns);
        if (n == 0)
                return;

        pthread_attr_init(&attributes);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attributes, 256 * 1024);

        for (size_t i = 0; i < n; i++) {
                pthread_t t;

                pthread_mutex_lock(&p->lock);
                p->running++;
                pthread_mutex_unlock(&p->lock);

                if (pthread_create(&t, &attributes, thread, p) != 0) {
                        pthread_mutex_lock(&p->lock);
                        p->running--;
                        pthread_mutex_unlock(&p->lock);
                        break;
                }
        }

        pthread_attr_destroy(&attributes);
        wait_for_threads(p);
        if (p->next < p->job->n_luns && !p->stalled) {
                /* Not one thread could be had. */
                pthread_mutex_lock(&p->lock);
                skip_the_rest(p);
                pthread_mutex_unlock(&p->lock);
        }
}

/* true: go on with the LUNs. */
static bool target_up(Pass *p) {
        _cleanup_(target_seen_done) TargetSeen seen = {};
        PassReport report = { .kind = PASS_TARGET, .present = true };
        _cleanup_(plan_done) Plan plan = {};
        int r;

        r = lio_observe_target(p->cfs, p->job->target.wwn, &seen);
        if (r >= 0) {
                r = plan_target_up(&p->job->target, &seen, &plan);
                if (r >= 0)
                        r = perform(p, &plan, &report);
                report.present = seen.wwn_dir || report.steps > 0;
                report.other_nexus = seen.nexus && !streq(seen.nexus, p->job->target.nexus);
                report.up = (seen.tpg_dir && seen.nexus) || (p->job->target.wanted && r >= 0);
        }

        if (r < 0 && report.error == 0)
                report.error = r;

        p->report(&report, p->userdata);
        return r >= 0;
}

static void target_down(Pass *p) {
        _cleanup_(target_seen_done) TargetSeen seen = {};
        PassReport report = { .kind = PASS_TARGET, .present = true };
        _cleanup_(plan_done) Plan plan = {};
        int r;

        r = lio_observe_target(p->cfs, p->job->target.wwn, &seen);
        if (r >= 0) {
                report.present = seen.wwn_dir;
                report.up = seen.tpg_dir && seen.nexus;
                r = plan_target_down(&p->job->target, &seen, &plan);
                if (r >= 0)
                        r = perform(p, &plan, &report);
                if (r >= 0)
                        report.present = report.up = false;
        }

        if (r < 0 && report.error == 0)
                report.error = r;
        report.attached = r == -EBUSY;

        p->report(&report, p->userdata);
}

static void probe(Pass *p, bool search) {
        PassReport report = { .kind = PASS_PROBE };
        const char *wwn = p->job->target.wwn;
        int r = 0;

        report.error = lio_probe_attached(p->cfs, wwn, &report.guest);
        if (report.guest.pid > 0)
                qemu_process_name("/proc", &report.guest);
        else if (search)
                r = qemu_process_find("/proc", wwn, lio_target_user(p->cfs, wwn), SEARCH_USEC, &report.guest);
        if (r < 0)
                log_warning_errno(r, "Target %s: cannot see whether there is a QEMU whose guest is paused, the kernel's word is all there is", wwn);

        report.whole = search || report.guest.pid > 0;
        p->attached = report.error == 1 || report.guest.pid > 0;
        p->report(&report, p->userdata);
}

void pass_run(Cfs *c, const PassJob *job, pass_report_t report, void *userdata) {
        Pass p = { .cfs = c, .job = job, .report = report, .userdata = userdata };
        pthread_condattr_t monotonic;
        bool downwards = false;

        pthread_mutex_init(&p.lock, NULL);
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&p.progress, &monotonic);
        pthread_condattr_destroy(&monotonic);

        if (job->look_at_target && job->target.wanted)
                p.only_down = !target_up(&p);

        for (size_t i = 0; i < job->n_luns; i++)
                downwards = downwards || (!job->luns[i].want.wanted && !job->luns[i].force);
        if (downwards || job->probe)
                probe(&p, downwards || job->search);

        run_luns(&p);
        if (job->look_at_target && !job->target.wanted && !p.stalled && !p.luns_left)
                target_down(&p);

        report(&(PassReport) { .kind = PASS_END }, userdata);
        pthread_cond_destroy(&p.progress);
        pthread_mutex_destroy(&p.lock);
}
