/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "base/errno.h"
#include "base/log.h"
#include "engine/drift.h"
#include "engine/edit.h"
#include "engine/hotplug.h"
#include "engine/queue.h"
#include "engine/report.h"

#define RETRY_FIRST_USEC UINT64_C(1000000)
#define RETRY_MOST_USEC (UINT64_C(300) * 1000000)
#define TOLD_MAX 16U            /* lines of a pass in the journal */

/* 1 s, 2 s, 4 s, … 5 min. */
static uint64_t retry_at(Engine *e, unsigned failures) {
        uint64_t delay = failures < 20 ? RETRY_FIRST_USEC << (failures - 1) : RETRY_MOST_USEC;
        uint64_t at = engine_now(e) + MIN(delay, RETRY_MOST_USEC);

        queue_retry_by(e, at);
        return at;
}

/* In "SIZE MOUNT PATH". */
static const char *file_of(const PassReport *report) {
        const char *p = strchr(report->value, '/');

        return p ?: report->path;
}

static void describe(const PassReport *report, char *ret, size_t size) {
        if (report->path[0] == 0 && report->error == -EADDRINUSE)
                snprintf(ret, size, "The LUN's place in configfs is taken by somebody else");
        else if (report->path[0] == 0)
                snprintf(ret, size, "Cannot look at configfs: %s", strerror(-report->error));
        else if (report->op == STEP_OPEN_FILE && report->error == -ESTALE)
                snprintf(ret, size, "%s: the file is smaller than its guests know, or not on the filesystem that was meant", file_of(report));
        else if (report->op == STEP_OPEN_FILE)
                snprintf(ret, size, "Cannot export the file %s: %s%s", file_of(report), strerror(-report->error),
                         report->error == -EACCES ? "; it must be root's, or writable for all" : "");
        else if (report->op == STEP_VERIFY)
                snprintf(ret, size, "%s: the device that was opened is not the one that was meant (%s)", report->path, report->value);
        else if (report->value[0] != 0)
                snprintf(ret, size, "%s %s \"%s\": %s", step_op_to_string(report->op), report->path, report->value, strerror(-report->error));
        else
                snprintf(ret, size, "%s %s: %s", step_op_to_string(report->op), report->path, strerror(-report->error));
}

/* The exclusive open of the device happens when the backstore is enabled (facts 1.6). */
static bool is_device_busy(const PassReport *report) {
        const char *end = strrchr(report->path, '/');

        return report->error == -EBUSY && report->op == STEP_WRITE && end && streq(end, "/enable");
}

static void apply_target(Engine *e, Target *t, const PassReport *report) {
        _cleanup_free_ char *use = NULL;
        char text[1280];

        if (report->other_nexus && !t->other_nexus)
                log_warning("Target %s has another nexus in the kernel than %s, made by somebody else; it stays, and guests' persistent reservations "
                            "under the old one do not hold", t->wwn, t->nexus);
        t->present = report->present;
        t->up = report->up;
        t->other_nexus = report->other_nexus;
        if (t->up && t->wanted)
                drift_watch(e, t);
        t->mended = t->mended || (t->wanted && report->steps > 0);
        if (!report->present)
                t->endpoint = ENDPOINT_UNKNOWN;
        if (report->attached)
                t->endpoint = ENDPOINT_ATTACHED;

        if (report->error < 0) {
                describe(report, text, sizeof text);
                log_warning("Target %s: %s", t->wwn, text);
                if (report->attached && target_describe_use(t, &use) >= 0)
                        snprintf(text, sizeof text, "%s; it goes when the guest stops", use);
                target_set_error(t, refusal_short_name(report->attached ? REFUSAL_IN_USE : REFUSAL_KERNEL), text);
                t->failures++;
                t->retry_at = retry_at(e, t->failures);
        } else {
                target_set_error(t, NULL, NULL);
                t->retry_at = 0;
                /* Of one that is gone from the kernel they are the store's. */
                if (t->wanted || t->present)
                        t->failures = 0;
        }
}

static void apply_probe(Engine *e, Target *t, const PassReport *report) {
        t->endpoint = report->error == 1 ? ENDPOINT_ATTACHED : report->error == 0 ? ENDPOINT_IDLE : ENDPOINT_UNKNOWN;
        /* Who wants to know asks again, if this was not all that there is to know. */
        t->endpoint_at = report->whole ? engine_now(e) : 0;
        if (report->whole)
                t->guest = report->guest;
        if (report->error == -EAGAIN)
                registry_mark_target(&e->registry, t);
}

/* The target whose LUNs are all that stand on it, or NULL. */
static const Target *only_target(const Backstore *b) {
        const Target *t = NULL;
        const Lun *l;

        LIST_FOREACH(&b->luns, l, const Lun, backstore_link) {
                if (t && t != l->target)
                        return NULL;
                t = l->target;
        }

        return t;
}

/* The backstore stands elsewhere from now on, and every LUN on it looks there. */
static void set_hba(Engine *e, Backstore *b, uint32_t hba, bool fresh) {
        const Target *only = only_target(b);
        Lun *l;

        b->hba = hba;
        b->hba_fresh = fresh;
        b->present = true;

        /* The number may be one that another target's file still claims. What a single file has to say is said once, before the next pass. */
        hotplug_save_others(e, only);
        LIST_FOREACH(&b->luns, l, Lun, backstore_link) {
                registry_mark_unsaved(&e->registry, l->target);
                l->present = true;
                registry_mark_lun(&e->registry, l);
        }
        if (!only)
                hotplug_save_others(e, NULL);
        e->registry.generation++;
        e->registry.publish_self = true;
}

/* Somebody took the HBA number that the store had reserved, while we were not there: another number, stored before it is used. */
static int choose_other_hba(Engine *e, Backstore *b) {
        uint32_t old = b->hba, hba;
        int r;

        r = registry_note_foreign_hba(&e->registry, old);
        if (r >= 0)
                r = registry_reserve_hba(&e->registry, &hba);
        if (r < 0)
                return log_warning_errno(r, "Cannot reserve another HBA number than %" PRIu32, old);

        log_info("core/%s_%" PRIu32 " is somebody else's, using number %" PRIu32 " for %s", backstore_plugin(b), old, hba, b->source);
        set_hba(e, b, hba, true);
        registry_release_hba(&e->registry, old);
        return 0;
}

/* What stands in our LUN's place was made by somebody else and is just what is wanted: ours from now on, as it is. */
static void take_over(Engine *e, Backstore *b, uint32_t hba) {
        Backstore *holder = hba != b->hba ? registry_backstore_by_hba(&e->registry, hba) : NULL;
        uint32_t old = b->hba;
        Lun *l;
        int r = 0;

        /* It had reserved the number, and somebody gave that to this one: out of the way first, so that no two share a number in the store. */
        if (holder)
                r = choose_other_hba(e, holder);
        if (r >= 0 && hba != old)
                r = registry_claim_hba(&e->registry, hba);
        if (r < 0) {
                log_warning_errno(r, "Cannot take core/%s_%" PRIu32 " over for %s", backstore_plugin(b), hba, b->source);
                return;
        }

        log_info("Somebody else brought %s up as core/%s_%" PRIu32 "/%s; it is ours, as it is", b->source, backstore_plugin(b), hba, b->name);
        b->unmarked = true;
        if (hba != old) {
                set_hba(e, b, hba, false);
                registry_release_hba(&e->registry, old);
                return;
        }

        LIST_FOREACH(&b->luns, l, Lun, backstore_link) {
                registry_mark_unsaved(&e->registry, l->target);
                registry_mark_lun(&e->registry, l);
        }
}

/* The disk went away while the kernel was to open it: no fault of anybody's, and its remove event is on its way. */
static bool is_device_absent(const PassReport *report) {
        const char *end = strrchr(report->path, '/');

        return errno_is_device_absent(report->error) &&
               (report->op == STEP_VERIFY || (report->op == STEP_WRITE && end && streq(end, "/enable")));
}

static void set_lun_error(Engine *e, Lun *l, const PassReport *report) {
        _cleanup_free_ char *use = NULL;
        char text[1280];

        describe(report, text, sizeof text);
        if (report->attached) {
                /* The pass has told of the guest before. */
                if (target_describe_use(l->target, &use) >= 0)
                        snprintf(text, sizeof text, "%s; the LUN goes when it stops, or by force", use);
                lun_set_error(l, refusal_short_name(REFUSAL_IN_USE), text);
        } else if (is_device_busy(report))
                lun_set_error(l, refusal_short_name(REFUSAL_DEVICE_BUSY), "The device is in use by somebody else: the kernel could not open it alone");
        else if (report->taken || (report->error == -EADDRINUSE && report->path[0] == 0))
                lun_set_error(l, refusal_short_name(REFUSAL_LUN_CONFLICT), "The LUN's place in configfs is taken by somebody else");
        else
                lun_set_error(l, refusal_short_name(REFUSAL_KERNEL), text);

        if (!report->attached)
                log_warning("Target %s, LUN %" PRIu32 ": %s", l->target->wwn, l->number, text);
        l->failures++;
        l->retry_at = retry_at(e, l->failures);
}

/* Repaired it would be under a guest, which would see its disk change; when the LUN comes up anew it is as it is wanted. */
static void set_altered(Lun *l, const PassReport *report) {
        _cleanup_free_ char *text = NULL;

        if (asprintf(&text, "Somebody else changed it: %s %s. It stays so until the LUN comes up anew", report->path, report->value) < 0) {
                text = NULL;
                log_oom();
                return;
        }
        if (!streq_ptr(l->error_text, text))
                log_notice("Target %s, LUN %" PRIu32 ": %s", l->target->wwn, l->number, text);
        lun_set_error(l, refusal_short_name(REFUSAL_LUN_CONFLICT), text);
}

/* A line each, but a restore of thousands is not worth a line each. */
static void say_linked(const Lun *l) {
        Target *t = l->target;

        if (t->told++ < TOLD_MAX)
                log_info("Target %s: LUN %" PRIu32 " (%s) is %s", t->wwn, l->number, l->backstore->source, l->linked ? "up" : "down");
}

void report_unstored_lun(Engine *e, Lun *l, int error) {
        char text[256];

        snprintf(text, sizeof text, "The LUN is down, which cannot be stored: %s", strerror(-error));
        lun_set_error(l, refusal_short_name(REFUSAL_STORE_FAILED), text);
        l->finished = false;
        l->failures++;
        l->retry_at = retry_at(e, l->failures);
        registry_mark_publish_lun(&e->registry, l);
}

void report_unstored(Engine *e, Target *t, int error) {
        char text[256];

        snprintf(text, sizeof text, "The target is gone from the kernel, which cannot be stored: %s", strerror(-error));
        target_set_error(t, refusal_short_name(REFUSAL_STORE_FAILED), text);
        t->failures++;
        t->retry_at = retry_at(e, t->failures);
        registry_mark_publish_target(&e->registry, t);
}

static void apply_lun(Engine *e, Lun *l, const PassReport *report) {
        Backstore *b = l->backstore;
        Target *t = l->target;
        const Device *d;
        unsigned failures = l->failures;
        bool gone, doubtful, was_linked = l->linked, instance = b->devnum != report->devnum || b->diskseq != report->diskseq;
        Lun *other;
        int r;

        if (report->unseen) {
                /* It is as it was, as far as we know. The next pass looks again, for what may be there. */
                l->present = b->present = true;
                set_lun_error(e, l, report);
                return;
        }

        l->present = report->present;
        l->linked = report->up;
        b->present = report->backstore;
        hotplug_know(e, report->devnum);
        if (report->devnum != 0 || b->devnum != 0)
                b->removed = report->devnum == 0 && !inventory_has_instance(e->inventory, b->devnum, b->diskseq);
        if (registry_set_open(&e->registry, b, report->devnum, report->diskseq) < 0)
                log_oom();

        /* The pass has asked the kernel, which has the instance that we were told is gone. Nobody may tell again when it really goes. */
        gone = lun_is_gone(l, inventory_has_instance(e->inventory, b->devnum, b->diskseq));
        doubtful = gone && l->linked && !instance;

        if (report->error < 0 && l->wanted && is_device_absent(report)) {
                log_info("Target %s, LUN %" PRIu32 ": the device of %s went away just now", t->wwn, l->number, b->source);
                lun_set_error(l, NULL, NULL);
                l->failures++;
                l->retry_at = retry_at(e, l->failures);
        } else if (report->error < 0)
                set_lun_error(e, l, report);
        else {
                /* A misfit is judged by its device, not by a pass that left it alone. */
                if (report->altered)
                        set_altered(l, report);
                else if (l->linked || !l->misfit)
                        lun_set_error(l, NULL, NULL);
                l->failures = doubtful ? l->failures + 1 : 0;
                l->retry_at = doubtful ? retry_at(e, l->failures) : 0;
        }

        if (was_linked != l->linked)
                say_linked(l);
        t->mended = t->mended || (l->wanted && l->linked && report->steps > 0);
        if (l->linked && l->wanted)
                drift_watch_lun(e, l);

        d = l->linked && !backstore_is_file(b) ? inventory_by_devnum(e->inventory, b->devnum) : NULL;
        if (d)
                hotplug_note(e, l, d);

        if (report->taken && l->wanted)
                (void) choose_other_hba(e, b);
        if (report->taken_over)
                take_over(e, b, report->hba);
        else if (report->marked && b->unmarked) {
                b->unmarked = false;
                registry_mark_unsaved(&e->registry, t);
        }

        /* A new instance was opened, or an old one let go: the other LUNs on it stand in the same place. */
        if (instance)
                LIST_FOREACH(&b->luns, other, Lun, backstore_link) {
                        registry_mark_publish_lun(&e->registry, other);
                        if (other != l && (other->wanted != other->linked))
                                registry_mark_lun(&e->registry, other);
                }

        /* After a start the first look tells which instance is open; its removal was news before us. */
        if (instance && l->wanted && report->error >= 0 && gone)
                registry_mark_lun(&e->registry, l);

        if (!l->wanted && !l->present && report->error >= 0) {
                r = edit_finish_lun(e, l);
                if (r < 0) {
                        l->failures = failures;
                        report_unstored_lun(e, l, r);
                } else if (!t->wanted && target_count_unfinished(t) == 0)
                        /* A LUN that hung may be the last thing that kept the target. */
                        registry_mark_target(&e->registry, t);
        }
}

void report_apply(Engine *e, Target *t, const PassReport *report) {
        Lun *l;

        switch (report->kind) {
        case PASS_TARGET:
                apply_target(e, t, report);
                break;
        case PASS_PROBE:
                apply_probe(e, t, report);
                break;
        case PASS_LUN:
                l = target_lun(t, report->number);
                if (l) {
                        registry_mark_publish_lun(&e->registry, l);
                        apply_lun(e, l, report);
                }
                break;
        case PASS_SKIPPED:
                l = target_lun(t, report->number);
                if (l)
                        registry_mark_lun(&e->registry, l);
                break;
        case PASS_STALLED:
        case PASS_END:
                break;
        }

        registry_mark_publish_target(&e->registry, t);
}

void report_finish(Engine *e, Target *t) {
        drift_settle(e, t, t->mended);
        t->mended = false;
        if (t->told > TOLD_MAX)
                log_info("Target %s: %u LUNs more went up or down", t->wwn, t->told - TOLD_MAX);
        t->told = 0;

        registry_mark_publish_target(&e->registry, t);
}
