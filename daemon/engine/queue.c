/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "engine/acquire.h"
#include "engine/autoexport.h"
#include "engine/foreign.h"
#include "engine/hotplug.h"
#include "engine/queue.h"
#include "engine/settle.h"
#include "engine/worker.h"

uint64_t engine_now(Engine *e) {
        uint64_t usec;

        return sd_event_now(e->event, CLOCK_MONOTONIC, &usec) < 0 ? 0 : usec;
}

static bool has_dirty(const Target *t) {
        if (t->dirty || t->probe)
                return true;

        for (size_t i = 0; i < t->n_luns; i++)
                if (t->luns[i]->dirty)
                        return true;

        return false;
}

static int on_post(sd_event_source *source, void *userdata) {
        Engine *e = userdata;
        uint64_t now = engine_now(e);
        Target *t;
        int r;

        hotplug_save_settled(e);
        acquire_sweep(e);
        if (e->running)
                autoexport_sweep(e);

        if ((e->survey_wanted || e->survey_closely) && !e->survey) {
                r = foreign_start_survey(e);
                if (r < 0) {
                        /* Not again and again: who waits for it hears so. */
                        e->survey_done = ++e->survey_serial;
                        e->survey_wanted = false;
                        e->survey_closely = strv_free(e->survey_closely);
                        log_warning_errno(r, "Cannot look for foreign targets");
                }
        }

        LIST_FOREACH(&e->registry.queued, t, Target, queue_link) {
                if (e->n_passes >= WORKERS_MAX)
                        break;
                if (t->worker || (t->retry_at > now && !t->probe))
                        continue;

                r = worker_start_pass(e, t);
                if (r < 0) {
                        /* Out of memory or processes: not again at once. */
                        t->failures++;
                        t->retry_at = now + UINT64_C(1000000) * MIN(t->failures, 60U);
                        queue_retry_by(e, t->retry_at);
                        continue;
                }

                if (!has_dirty(t))
                        list_unlink(&t->queue_link);
                if (r == 0)
                        (void) settle_target(e, t);
        }

        settle_rescans(e);
        return 0;
}

/* What failed and is due is marked again; the timer is set for the earliest of the rest. */
static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        Engine *e = userdata;
        uint64_t now = engine_now(e);
        Target *t;

        e->retry_at = 0;
        if (e->autoexport_at <= now)
                e->autoexport_at = 0;
        queue_retry_by(e, e->autoexport_at);

        REGISTRY_FOREACH(&e->registry, t) {
                if (t->retry_at != 0 && t->retry_at <= now) {
                        t->retry_at = 0;
                        registry_mark_target(&e->registry, t);
                }
                queue_retry_by(e, t->retry_at);

                for (size_t i = 0; i < t->n_luns; i++) {
                        Lun *l = t->luns[i];

                        if (l->retry_at != 0 && l->retry_at <= now) {
                                l->retry_at = 0;
                                registry_mark_lun(&e->registry, l);
                        }
                        queue_retry_by(e, l->retry_at);
                }
        }

        return 0;
}

void queue_retry_by(Engine *e, uint64_t at) {
        if (!e->retry_timer || at == 0 || (e->retry_at != 0 && e->retry_at <= at))
                return;

        e->retry_at = at;
        (void) sd_event_source_set_time(e->retry_timer, at);
        (void) sd_event_source_set_enabled(e->retry_timer, SD_EVENT_ONESHOT);
}

/* No pass but one that hangs has a LUN in hand, when queue_is_idle() asks: who needs the same backstore waits with it. */
static bool is_in_hand(const Lun *l) {
        const Lun *other;

        LIST_FOREACH(&l->backstore->luns, other, const Lun, backstore_link)
                if (other->worker)
                        return true;

        return false;
}

bool queue_is_idle(const Engine *e) {
        const Target *t;

        if (autoexport_is_pending(e) || e->n_passes > 0 || e->survey || e->survey_wanted || e->survey_closely ||
            !list_is_empty(&e->registry.unsaved))
                return false;

        LIST_FOREACH(&e->registry.queued, t, const Target, queue_link)
                if (t->retry_at == 0)
                        for (size_t i = 0; i <= t->n_luns; i++)
                                if (i == t->n_luns ? t->dirty || t->probe : t->luns[i]->dirty && !is_in_hand(t->luns[i]))
                                        return false;

        return true;
}

int queue_start(Engine *e) {
        int r;

        r = sd_event_add_post(e->event, &e->queue_post, on_post, e);
        if (r < 0)
                return r;
        r = sd_event_source_set_priority(e->queue_post, QUEUE_PRIORITY);
        if (r < 0)
                return r;

        r = sd_event_add_time(e->event, &e->retry_timer, CLOCK_MONOTONIC, 0, 1000000, on_retry, e);
        if (r < 0)
                return r;

        return sd_event_source_set_enabled(e->retry_timer, SD_EVENT_OFF);
}

void queue_stop(Engine *e) {
        e->queue_post = sd_event_source_disable_unref(e->queue_post);
        e->retry_timer = sd_event_source_disable_unref(e->retry_timer);
}
