/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdalign.h>
#include <sys/epoll.h>
#include <sys/inotify.h>

#include "base/errno.h"
#include "base/log.h"
#include "base/parse.h"
#include "engine/drift.h"
#include "engine/queue.h"

/* Before the reports of passes: their own doing is told apart by a pass that is still there. */
#define PRIORITY (SD_EVENT_PRIORITY_NORMAL - 30)

/* So long without a change by somebody else, and the next one is the first again. */
#define CALM_USEC (UINT64_C(600) * 1000000)
/* Whoever changes something is let finish: a LUN that comes back in the middle of `targetctl clear` makes that fail, and with it what it would
 * have restored for others. */
#define DELAY_FIRST_USEC UINT64_C(2000000)
#define PATIENCE_USEC (UINT64_C(60) * 1000000)
#define DELAY_MOST_USEC (UINT64_C(300) * 1000000)

typedef struct Watch {
        Drift *drift;
        char *wwn;
        sd_event_source *source;
} Watch;

/* Of lun_<number>. Thousands of them, so they have no event source each, which would open the directory, and keep it open for a turn. */
typedef struct LunWatch {
        char key[MAP_NUMBER_SIZE];      /* what inotify calls it */
        char wwn[WWN_SIZE];
        uint32_t number;
} LunWatch;

struct Drift {
        Engine *engine;
        char *path;
        sd_event_source *targets, *luns;
        int luns_fd;            /* inotify, of the LunWatches */
        Map *watches;           /* WWN -> Watch */
        Map *lun_watches;       /* LunWatch.key -> LunWatch */
        bool full;              /* no more watches were to be had, which was said */
};

static void watch_free(Watch *w) {
        sd_event_source_disable_unref(w->source);
        free(w->wwn);
        free(w);
}

DEFINE_CLEANUP(Watch *, watch_free);

Drift *drift_free(Drift *d) {
        LunWatch *lw;
        Watch *w;

        if (!d)
                return NULL;

        if (d->watches)
                MAP_FOREACH(d->watches, w)
                        watch_free(w);
        map_free(d->watches);
        if (d->lun_watches)
                MAP_FOREACH(d->lun_watches, lw)
                        free(lw);
        map_free(d->lun_watches);
        sd_event_source_disable_unref(d->targets);
        sd_event_source_disable_unref(d->luns);
        safe_close(d->luns_fd);
        free(d->path);
        free(d);
        return NULL;
}

static void look_after(Engine *e, Target *t, uint64_t at) {
        for (size_t i = 0; i < t->n_luns; i++)
                registry_mark_lun(&e->registry, t->luns[i]);
        registry_mark_target(&e->registry, t);
        t->retry_at = at;
        queue_retry_by(e, t->retry_at);
}

static uint64_t delay_of(const Target *t) {
        uint64_t delay = t->drifts < 16 ? DELAY_FIRST_USEC << t->drifts : DELAY_MOST_USEC;

        return MIN(delay, DELAY_MOST_USEC);
}

/* Somebody else did something to it. One look for all that comes until it is calm. */
static void note(Engine *e, Target *t) {
        uint64_t now = engine_now(e), latest;

        if (!t->drifting) {
                if (t->drift_at == 0 || t->drift_at + CALM_USEC < now)
                        t->drifts = 0;
                t->drift_at = now;
                t->drifting = true;
                log_notice("Somebody else changes target %s in the kernel; it will be as it is wanted again", t->wwn);
        }

        latest = MAX(now, t->drift_at + PATIENCE_USEC);
        look_after(e, t, MIN(now + delay_of(t), latest));
}

void drift_settle(Engine *e, Target *t, bool repaired) {
        if (!t->drifting)
                return;

        if (repaired) {
                t->drifts++;
                t->drift_at = engine_now(e);
        }
        /* Another look is due, or comes at once. */
        if (t->retry_at > engine_now(e) || t->dirty)
                return;

        if (repaired)
                look_after(e, t, t->drift_at + delay_of(t));
        else
                t->drifting = false;
}

/* The kernel's queue was full. */
static void lost(Engine *e) {
        log_notice("So much was changed in the kernel that news were lost; everything is looked at");
        e->survey_wanted = true;
        registry_mark_all(&e->registry);
}

static void say_full(Drift *d, int error, const char *path) {
        if (d->full)
                return;

        d->full = true;
        log_warning_errno(error, "Cannot watch %s: what others change there is seen by Rescan() only", path);
}

static int on_target(sd_event_source *source, const struct inotify_event *event, void *userdata) {
        Drift *d = userdata;
        Engine *e = d->engine;
        Target *t = event->len > 0 ? registry_target(&e->registry, event->name) : NULL;

        /* All that have a share in the queue are told, this one among them. */
        if (event->mask & IN_Q_OVERFLOW)
                lost(e);
        else if (!t || t->foreign)
                e->survey_wanted = true;
        else if (t->wanted && (event->mask & IN_DELETE || !t->worker))
                /* No pass removes what is wanted. */
                note(e, t);

        return 0;
}

/* What just happened to this LUN was no doing of a pass, and is not what is wanted. */
static bool is_by_others(const Lun *l) {
        return l->wanted && !l->worker && !(l->dirty && l->target->worker);
}

static int on_lun(sd_event_source *source, const struct inotify_event *event, void *userdata) {
        Watch *w = userdata;
        Engine *e = w->drift->engine;
        Target *t = registry_target(&e->registry, w->wwn);
        const char *number;
        uint32_t n;
        Lun *l;

        if (event->mask & IN_IGNORED) {
                map_remove(w->drift->watches, w->wwn);
                watch_free(w);
                return 0;
        }

        number = event->len > 0 ? startswith(event->name, "lun_") : NULL;
        if (!t || t->foreign || !number || parse_u32(number, &n) < 0)
                return 0;

        l = target_lun(t, n);
        if (l && is_by_others(l))
                note(e, t);
        else if (!l && !t->worker && event->mask & IN_CREATE)
                log_notice("Somebody else made LUN %" PRIu32 " in target %s; it is left alone", n, t->wwn);

        return 0;
}

void drift_watch(Engine *e, const Target *t) {
        Drift *d = e->drift;
        _cleanup_(watch_freep) Watch *w = NULL;
        _cleanup_free_ char *path = NULL;
        int r;

        if (!d || map_get(d->watches, t->wwn))
                return;

        w = calloc(1, sizeof *w);
        if (!w || asprintf(&path, "%s/vhost/%s/tpgt_1/lun", d->path, t->wwn) < 0) {
                log_oom();
                return;
        }

        w->drift = d;
        w->wwn = strdup(t->wwn);
        r = w->wwn ? sd_event_add_inotify(e->event, &w->source, path, IN_CREATE | IN_DELETE | IN_ONLYDIR, on_lun, w) : -ENOMEM;
        if (r >= 0)
                r = sd_event_source_set_priority(w->source, PRIORITY);
        if (r >= 0)
                r = map_put(d->watches, w->wwn, w);
        if (r >= 0)
                TAKE_PTR(w);
        else if (r != -ENOENT)
                say_full(d, r, path);
}

static void on_link(Drift *d, const struct inotify_event *event) {
        char key[MAP_NUMBER_SIZE];
        LunWatch *w;
        Target *t;
        Lun *l;

        if (event->mask & IN_Q_OVERFLOW) {
                lost(d->engine);
                return;
        }

        map_number((uint64_t) event->wd, key);
        w = map_get(d->lun_watches, key);
        if (!w)
                return;

        t = registry_target(&d->engine->registry, w->wwn);
        l = t && !t->foreign ? target_lun(t, w->number) : NULL;
        if (event->mask & IN_IGNORED) {
                if (l)
                        l->watched = false;
                map_remove(d->lun_watches, w->key);
                free(w);
        } else if (l && is_by_others(l))
                note(d->engine, t);
}

static int on_links(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        alignas(struct inotify_event) char buffer[4096];
        ssize_t n = read(fd, buffer, sizeof buffer);

        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : log_warning_errno(negative_errno(), "Cannot read what others change in configfs");

        for (ssize_t at = 0; at < n;) {
                const struct inotify_event *event = (const struct inotify_event *) (buffer + at);

                on_link(userdata, event);
                at += (ssize_t) (sizeof *event + event->len);
        }

        return 0;
}

void drift_watch_lun(Engine *e, Lun *l) {
        _cleanup_free_ char *path = NULL;
        _cleanup_free_ LunWatch *w = NULL;
        Drift *d = e->drift;
        int wd, r;

        if (!d || l->watched || d->full)
                return;

        w = calloc(1, sizeof *w);
        if (!w || asprintf(&path, "%s/vhost/%s/tpgt_1/lun/lun_%" PRIu32, d->path, l->target->wwn, l->number) < 0) {
                log_oom();
                return;
        }

        wd = inotify_add_watch(d->luns_fd, path, IN_CREATE | IN_DELETE | IN_ONLYDIR);
        if (wd < 0) {
                r = negative_errno();
                if (r != -ENOENT)
                        say_full(d, r, path);
                return;
        }

        memcpy(w->wwn, l->target->wwn, WWN_SIZE);
        w->number = l->number;
        map_number((uint64_t) wd, w->key);
        r = map_put(d->lun_watches, w->key, w);
        if (r == -ENOMEM) {
                (void) inotify_rm_watch(d->luns_fd, wd);
                log_oom();
                return;
        }

        /* Or it was watched as another LUN of the same number was that is no more. */
        l->watched = true;
        if (r >= 0)
                TAKE_PTR(w);
}

int drift_new(Engine *e, const char *path, Drift **ret) {
        _cleanup_(drift_freep) Drift *d = NULL;
        _cleanup_free_ char *vhost = NULL;
        int r;

        d = calloc(1, sizeof *d);
        if (!d)
                return -ENOMEM;

        d->engine = e;
        d->luns_fd = -EBADF;
        d->path = strdup(path);
        d->watches = map_new();
        d->lun_watches = map_new();
        if (!d->path || !d->watches || !d->lun_watches || asprintf(&vhost, "%s/vhost", path) < 0)
                return -ENOMEM;

        r = sd_event_add_inotify(e->event, &d->targets, vhost, IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_ONLYDIR, on_target, d);
        if (r >= 0)
                r = sd_event_source_set_priority(d->targets, PRIORITY);
        if (r < 0)
                return r;

        d->luns_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        if (d->luns_fd < 0)
                return negative_errno();
        r = sd_event_add_io(e->event, &d->luns, d->luns_fd, EPOLLIN, on_links, d);
        if (r >= 0)
                r = sd_event_source_set_priority(d->luns, PRIORITY);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(d);
        return 0;
}
