/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "engine/acquire.h"
#include "engine/hotplug.h"
#include "engine/owners.h"
#include "engine/queue.h"
#include "engine/ready.h"
#include "engine/undo.h"
#include "kernel/process.h"

#define PROBLEMS_TOLD 3U        /* in the text of an error */
#define SILENT_USEC UINT64_C(1000000)   /* until it is looked again for what nobody tells of */

static int check_free(Engine *e, const char *wwn, const char *key, uint32_t uid, bool force, bool running, Refusal *refusal) {
        const Target *t = registry_target(&e->registry, wwn);
        const Owner *o = owners_get(e, wwn);
        _cleanup_free_ char *use = NULL;
        int r;

        if (force)
                return 0;
        if (o)
                return owners_check_same(o, key, uid, refusal);
        /* Whoever says that its guest runs already is taken for the one that is seen. */
        if (!t || !target_is_used(t) || running)
                return 0;

        r = target_describe_use(t, &use);
        return r < 0 ? r : refuse(refusal, REFUSAL_IN_USE, "%s, which it has not acquired; stop it first", use);
}

/* Those who came first have it as good as acquired. */
static int check_waiting(Engine *e, const char *wwn, const char *key, uint32_t uid, Refusal *refusal) {
        Request *other;
        int r = 0;

        LIST_FOREACH(&e->acquiring, other, Request, link)
                if (r >= 0 && streq(other->owner->wwn, wwn))
                        r = owners_check_same(other->owner, key, uid, refusal);

        return r;
}

static int check_texts(const char *key, const AcquireOptions *o, Refusal *refusal) {
        const char *texts[] = { key, strempty(o->kind), strempty(o->name), strempty(o->uuid) };

        if (isempty(key))
                return refuse(refusal, REFUSAL_INVALID_ARGS, "The owner is empty");
        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                if (!owner_text_is_valid(texts[i]))
                        return refuse(refusal, REFUSAL_INVALID_ARGS, "Owner, kind, name and uuid are UTF-8 without control characters, of %u bytes at most",
                                      OWNER_TEXT_MAX);

        return 0;
}

/* What is in the way, in one sentence. */
static int describe_problems(const ProblemList *l, char **ret) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *f;

        f = open_memstream(&text, &size);
        if (!f)
                return -ENOMEM;

        for (size_t i = 0; i < MIN(l->n, (size_t) PROBLEMS_TOLD); i++)
                fprintf(f, "%s%s", i > 0 ? "; " : "", l->problems[i].detail);
        if (l->n > PROBLEMS_TOLD)
                fprintf(f, "; and %zu more", l->n - PROBLEMS_TOLD);
        if (fclose(f) != 0)
                return -ENOMEM;

        *ret = TAKE_PTR(text);
        return 0;
}

static int refuse_problems(const char *wwn, const ProblemList *l, RefusalKind kind, Refusal *refusal) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = describe_problems(l, &text);
        return r < 0 ? r : refuse(refusal, kind, "Target %s is not ready%s: %s", wwn, kind == REFUSAL_TIMED_OUT ? " in time" : "", text);
}

/* What was made for this one goes with it, unless somebody has it, or will have. */
static void take_back(Request *r) {
        Engine *e = r->engine;
        Target *t = registry_target(&e->registry, r->owner->wwn);
        Request *other;

        if (!r->made_target || !t || t->n_luns > 0 || owners_get(e, t->wwn))
                return;

        LIST_FOREACH(&e->acquiring, other, Request, link)
                if (other != r && streq(other->owner->wwn, t->wwn)) {
                        other->made_target = true;
                        return;
                }

        undo_create(e, t);
}

static void fail(Request *r, Refusal *refusal) {
        take_back(r);
        request_fail(r, refusal);
}

/* The guest that was looked for first may have come since. */
static bool is_fresh(Engine *e, Request *r) {
        Target *t = registry_target(&e->registry, r->owner->wwn);

        if (!r->waited || r->running || r->force || !t || owners_get(e, t->wwn) || t->foreign)
                return true;
        if (!r->asked) {
                registry_mark_probe(&e->registry, t);
                r->asked = true;
        }
        if (t->probe || t->worker)
                return false;

        r->waited = r->asked = false;
        return true;
}

/* 1: it is the caller's. 0: it is too early to say. */
static int settle(Engine *e, Request *r, bool is_over, Refusal *refusal) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        int k;

        k = check_free(e, r->owner->wwn, r->owner->key, r->owner->uid, r->force, r->running, refusal);
        if (k >= 0)
                k = ready_check(e, r->owner->wwn, r->force ? NULL : r->owner->key, &problems);
        if (k < 0)
                return k;

        if (problems.n > 0 && !r->running) {
                r->waited = true;
                r->asked = false;
                if (is_over)
                        return refuse_problems(r->owner->wwn, &problems, REFUSAL_TIMED_OUT, refusal);
                if (problems.lasting && !r->patient)
                        return refuse_problems(r->owner->wwn, &problems, REFUSAL_NOT_READY, refusal);
                if (problems.silent)
                        queue_retry_by(e, engine_now(e) + SILENT_USEC);
                return 0;
        }

        if (!is_fresh(e, r))
                return is_over ? refuse(refusal, REFUSAL_TIMED_OUT, "The kernel has not answered whether a guest is attached to target %s",
                                        r->owner->wwn) : 0;

        k = owners_take(e, r->owner, TAKE_FD(r->pidfd));
        if (k >= 0)
                return 1;

        return k == -ENOMEM ? k : refuse(refusal, REFUSAL_STORE_FAILED, "Cannot store who has target %s: %s", r->owner->wwn, strerror(-k));
}

static void settle_or_fail(Engine *e, Request *r, bool is_over) {
        _cleanup_(refusal_done) Refusal refusal = {};
        int k;

        k = settle(e, r, is_over, &refusal);
        if (k > 0)
                request_succeed(r);
        else if (k < 0)
                fail(r, &refusal);
}

void acquire_sweep(Engine *e) {
        Request *r;

        LIST_FOREACH(&e->acquiring, r, Request, link)
                settle_or_fail(e, r, false);
}

void acquire_time_out(Request *r) {
        settle_or_fail(r->engine, r, true);
}

/* Nobody is there any more who would release it. */
static int on_caller_gone(sd_bus_track *track, void *userdata) {
        take_back(userdata);
        request_free(userdata);
        return 0;
}

static int watch_caller(Request *r) {
        int k;

        k = sd_bus_track_new(sd_bus_message_get_bus(r->message), &r->caller, on_caller_gone, r);
        return k < 0 ? k : sd_bus_track_add_sender(r->caller, r->message);
}

static int hold(Engine *e, sd_bus_message *m, Owner *taken, int pidfd, bool made, const AcquireOptions *o) {
        _cleanup_(owner_freep) Owner *owner = taken;
        _cleanup_close_ int fd = pidfd;
        Request *request;
        int r;

        r = request_new(e, REQUEST_ACQUIRE, m, NULL, NULL, MIN(o->has_wait ? o->wait : UINT64_MAX, o->common.timeout), &request);
        if (r < 0)
                return r;

        request->owner = TAKE_PTR(owner);
        request->pidfd = TAKE_FD(fd);
        request->force = o->common.force;
        request->patient = o->has_wait;
        request->running = o->running;
        request->made_target = made;
        list_unlink(&request->link);
        /* A guest that runs is not behind those that are to start: they hear of it. */
        list_append(o->running || o->common.force ? e->acquiring.next : &e->acquiring, &request->link);

        r = watch_caller(request);
        if (r < 0) {
                request->message = sd_bus_message_unref(request->message);
                request_free(request);
        }

        return r;
}

static int ensure_target(Engine *e, const char *wwn, const AcquireOptions *o, bool *ret_made, Refusal *refusal) {
        CreateOptions create = { .common = o->common, .label = o->name, .seed = o->seed, .if_absent = true };
        char canonical[WWN_SIZE];
        bool existing;
        Target *t;
        int r;

        *ret_made = false;
        if (registry_target(&e->registry, wwn))
                return 0;
        if (!o->seed)
                /* Somebody may be about to make it. */
                return o->has_wait && !o->common.dry_run ? 0 : edit_find_target(e, wwn, &t, refusal);

        r = edit_create_target(e, "", &create, &t, &existing, canonical, refusal);
        *ret_made = r >= 0 && t && !existing;
        return r;
}

int acquire_target(Engine *e, sd_bus_message *m, const char *wwn, const char *key, const AcquireOptions *o, Refusal *refusal) {
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(owner_freep) Owner *owner = NULL;
        _cleanup_close_ int pidfd = -EBADF;
        const Target *t;
        bool made;
        int r;

        r = check_texts(key, o, refusal);
        if (r >= 0)
                r = edit_check_generation(e, &o->common, refusal);
        if (r >= 0)
                r = check_free(e, wwn, key, o->uid, o->common.force, o->running, refusal);
        if (r >= 0 && !o->common.force && !o->running)
                r = check_waiting(e, wwn, key, o->uid, refusal);
        if (r < 0)
                return r;

        owner = owner_new(wwn, key, o->kind, o->name, o->uuid);
        if (!owner)
                return -ENOMEM;
        owner->uid = o->uid;
        if (o->pid > 0) {
                owner->pid = o->pid;
                r = process_open(o->pid, &pidfd, &owner->started);
                if (r < 0)
                        return refuse(refusal, REFUSAL_INVALID_ARGS, "There is no process %" PRIu32, o->pid);
        }

        r = ensure_target(e, wwn, o, &made, refusal);
        if (r < 0)
                return r;

        t = registry_target(&e->registry, wwn);
        if (t)
                hotplug_look_at_luns(e, t);
        if (!o->common.dry_run)
                return hold(e, m, TAKE_PTR(owner), TAKE_FD(pidfd), made, o);

        /* What would be made would be ready. */
        if (o->running || !t)
                return 0;
        r = ready_check(e, wwn, o->common.force ? NULL : key, &problems);
        return r < 0 || problems.n == 0 ? r : refuse_problems(wwn, &problems, REFUSAL_NOT_READY, refusal);
}

int acquire_release(Engine *e, const char *wwn, const char *key, uint32_t uid, const EditOptions *o, Refusal *refusal) {
        _cleanup_(refusal_done) Refusal gone = {};
        const Owner *owner = owners_get(e, wwn);
        Request *request;
        Target *t;
        int r;

        r = edit_check_generation(e, o, refusal);
        if (r >= 0 && !owner)
                r = edit_find_target(e, wwn, &t, refusal);
        if (r >= 0 && owner && !o->force)
                r = owners_check_same(owner, key, uid, refusal);
        if (r < 0)
                return r;
        if (o->dry_run)
                return 0;

        /* Who gives it back does not want it any more. */
        LIST_FOREACH(&e->acquiring, request, Request, link)
                if (streq(request->owner->wwn, wwn) && owner_is(request->owner, key, o->force ? 0 : uid) &&
                    refuse(&gone, REFUSAL_NOT_READY, "Target %s was released meanwhile", wwn) == REFUSED) {
                        fail(request, &gone);
                        refusal_done(&gone);
                }

        r = owners_release(e, wwn);
        return r < 0 ? refuse(refusal, REFUSAL_STORE_FAILED, "Cannot store that nobody has target %s: %s", wwn, strerror(-r)) : 0;
}
