/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "engine/adopt.h"
#include "engine/edit.h"
#include "engine/queue.h"
#include "engine/report.h"
#include "engine/settle.h"
#include "engine/undo.h"
#include "engine/worker.h"

/* The pass that the caller's change asked for has not reported yet. */
static bool lun_is_pending(const Lun *l) {
        return l->dirty || l->worker;
}

/* Answers with what went wrong before it was taken back, if that is known, else with this. */
static void fail_with(Request *r, RefusalKind kind, const char *text) {
        if (!r->failure.text)
                (void) refuse(&r->failure, kind, "%s", strempty(text));
        request_fail(r, &r->failure);
}

/* Keeps what went wrong; it is the answer once it has been taken back. */
static void begin_undo(Request *r, const char *code, const char *text) {
        (void) refuse(&r->failure, refusal_from_short_name(code), "%s", strempty(text));
        r->undoing = true;
}

/* It cannot be stored that it is taken back: then it is not, and that is the answer. */
static void fail_undo(Request *r, int error) {
        _cleanup_(refusal_done) Refusal failure = {};

        (void) refuse(&failure, REFUSAL_STORE_FAILED, "%s. That could not be taken back: %s", strempty(r->failure.text), strerror(-error));
        request_fail(r, &failure);
}

/* Several may wait for it, and all hear the same. */
static void take_back_destroy(Engine *e, Target *t, Request *r, const char *code, const char *text) {
        Request *other;
        int k;

        LIST_FOREACH(&t->requests, other, Request, link)
                if (other->kind == REQUEST_DESTROY_TARGET && !other->undoing)
                        begin_undo(other, code, text);

        k = undo_destroy(e, t);
        if (k < 0)
                fail_undo(r, k);
}

/* Answered when the target is gone, or when even that fails. */
static void settle_undone_create(const Target *t, Request *r) {
        if (!t->wanted && !t->dirty && !t->worker && t->error_code)
                fail_with(r, REFUSAL_KERNEL, NULL);
}

static void settle_create(Engine *e, Target *t, Request *r) {
        if (r->undoing) {
                settle_undone_create(t, r);
                return;
        }

        if (t->up)
                request_succeed(r);
        else if (t->error_code && !t->dirty && !t->worker) {
                begin_undo(r, t->error_code, t->error_text);
                undo_create(e, t);
        }
}

static void settle_destroy(Engine *e, Target *t, Request *r) {
        if (r->undoing) {
                if (!t->dirty && !t->worker)
                        fail_with(r, REFUSAL_KERNEL, NULL);
                return;
        }

        if (t->dirty || t->worker)
                return;

        /* By force the LUNs go at once; the kernel keeps the portal group until the guest lets go of it. */
        if (target_count_unfinished(t) == 0 && t->force && t->error_code) {
                request_succeed(r);
                return;
        }

        for (size_t i = 0; i < t->n_luns; i++) {
                const Lun *l = t->luns[i];

                if (!lun_is_pending(l) && l->error_code) {
                        take_back_destroy(e, t, r, l->error_code, l->error_text);
                        return;
                }
        }

        if (t->error_code)
                take_back_destroy(e, t, r, t->error_code, t->error_text);
}

static void take_back_add_lun(Engine *e, Lun *l, Request *r, const char *code, const char *text) {
        int k;

        begin_undo(r, code, text);
        k = undo_add_lun(e, l);
        if (k < 0)
                fail_undo(r, k);
}

static void settle_add_lun(Engine *e, Target *t, Request *r) {
        Lun *l = target_lun(t, r->lun);

        if (!l) {
                /* Undone, or removed by another call meanwhile. A target that was made for it goes as well, and answers when it is gone. */
                if (r->made_target && r->undoing) {
                        if (t->wanted)
                                undo_create(e, t);
                        else
                                settle_undone_create(t, r);
                } else
                        fail_with(r, REFUSAL_NOT_FOUND, "The LUN was removed meanwhile");
                return;
        }

        /* It went with its target, which may yet stay. */
        if (l->finished)
                return;

        /* Its LUNs were not begun then. */
        if (!r->undoing && !t->up && t->error_code && !t->worker) {
                take_back_add_lun(e, l, r, t->error_code, t->error_text);
                return;
        }

        if (lun_is_pending(l))
                return;

        if (r->undoing) {
                /* The kernel does not let go either: it stays unwanted, and is tried again. */
                if (l->error_code)
                        fail_with(r, REFUSAL_KERNEL, NULL);
                return;
        }

        if (l->error_code)
                take_back_add_lun(e, l, r, l->error_code, l->error_text);
        else if (t->up)
                request_succeed(r);
}

/* It was all there a moment ago. true: it is not as it was seen, and is left to whoever changes it. */
static bool settle_adopt(Target *t, Request *r) {
        const char *code = t->error_code, *text = t->error_text;

        if (t->dirty || t->worker)
                return false;

        for (size_t i = 0; i < t->n_luns; i++) {
                const Lun *l = t->luns[i];

                if (lun_is_pending(l))
                        return false;
                if (!code && l->error_code) {
                        code = l->error_code;
                        text = l->error_text;
                }
        }

        if (!code) {
                request_succeed(r);
                return false;
        }

        fail_with(r, refusal_from_short_name(code), text);
        return true;
}

static void settle_remove_lun(Engine *e, Target *t, Request *r) {
        Lun *l = target_lun(t, r->lun);
        int k;

        if (!l) {
                request_succeed(r);
                return;
        }

        if (lun_is_pending(l))
                return;

        if (r->undoing)
                fail_with(r, REFUSAL_KERNEL, NULL);
        else if (l->error_code) {
                begin_undo(r, l->error_code, l->error_text);
                k = undo_remove_lun(e, l);
                if (k < 0)
                        fail_undo(r, k);
        }
}

/* The last requests on a target that is no more. */
static void settle_gone(Target *t) {
        Request *r;

        LIST_FOREACH(&t->requests, r, Request, link)
                if (r->kind == REQUEST_PROBE)
                        request_again(r);       /* its handler finds no target, and says so */
                else if (r->undoing)
                        fail_with(r, REFUSAL_KERNEL, NULL);
                else if (r->kind == REQUEST_DESTROY_TARGET || r->kind == REQUEST_REMOVE_LUN)
                        request_succeed(r);
                else
                        fail_with(r, REFUSAL_NOT_FOUND, "The target was removed meanwhile");
}

/* The kernel has nothing of the target any more, and its file is still there. */
static void settle_unstored(Engine *e, Target *t, int error) {
        Request *r;

        report_unstored(e, t, error);
        LIST_FOREACH(&t->requests, r, Request, link)
                if (r->kind == REQUEST_DESTROY_TARGET && !r->undoing)
                        take_back_destroy(e, t, r, t->error_code, t->error_text);
                else if (r->kind != REQUEST_DESTROY_TARGET && r->undoing)
                        fail_with(r, REFUSAL_STORE_FAILED, NULL);
}

bool settle_target(Engine *e, Target *t) {
        bool undo = false;
        Request *r;
        int k;

        LIST_FOREACH(&t->requests, r, Request, link)
                switch (r->kind) {
                case REQUEST_CREATE_TARGET:
                        settle_create(e, t, r);
                        break;
                case REQUEST_DESTROY_TARGET:
                        settle_destroy(e, t, r);
                        break;
                case REQUEST_ADD_LUN:
                        settle_add_lun(e, t, r);
                        break;
                case REQUEST_REMOVE_LUN:
                        settle_remove_lun(e, t, r);
                        break;
                case REQUEST_PROBE:
                        if (r->begun && !t->worker)
                                request_again(r);
                        break;
                case REQUEST_ADOPT_TARGET:
                        undo = settle_adopt(t, r) || undo;
                        break;
                case REQUEST_APPLY:
                case REQUEST_SURVEY:
                case REQUEST_RESCAN:
                case REQUEST_ACQUIRE:
                case REQUEST_RELEASE:
                case REQUEST_SET_LABEL:
                case _REQUEST_KIND_MAX:
                        break;
                }

        if (undo) {
                settle_gone(t);
                return adopt_undo(e, t) >= 0;
        }

        if (t->foreign || t->wanted)
                return false;

        if (!request_may_undo_destroy(t))
                edit_forget_finished(e, t);
        if (t->present || target_count_unfinished(t) > 0 || t->worker || t->dirty)
                return false;

        k = edit_finish_target(e, t);
        if (k < 0) {
                settle_unstored(e, t, k);
                return false;
        }

        settle_gone(t);
        worker_forget_target(e, t);
        registry_remove_target(&e->registry, t);
        return true;
}

/* What went wrong with the target itself, if that is of this. What it is of otherwise was so before, and nobody has asked for it. */
static bool target_has_failed(const Target *t, const Awaited *a) {
        if (!t->error_code || (a->number >= 0 && t->wanted && t->up))
                return false;

        /* By force the LUNs go at once; the kernel keeps the portal group until the guest lets go of it. */
        return t->wanted || !t->force || target_count_unfinished(t) > 0;
}

/* 1: it went wrong, which is said in the refusal. */
static int check_awaited(const Engine *e, const Awaited *a, Refusal *refusal) {
        const Target *t = registry_target(&e->registry, a->wwn);

        if (!t)
                return 0;

        for (size_t i = 0; i < t->n_luns; i++) {
                const Lun *l = t->luns[i];

                /* A target takes its LUNs along. */
                if (!l->error_code || (a->number >= 0 ? l->number != (uint32_t) a->number : t->wanted))
                        continue;
                (void) refuse(refusal, refusal_from_short_name(l->error_code), "It is stored, but target %s, LUN %" PRIu32 ": %s", t->wwn, l->number,
                              strempty(l->error_text));
                return 1;
        }

        if (!target_has_failed(t, a))
                return 0;

        (void) refuse(refusal, refusal_from_short_name(t->error_code), "It is stored, but target %s: %s", t->wwn, strempty(t->error_text));
        return 1;
}

/* What the kernel refused stays wanted, as the document says, and is tried again. */
static void settle_apply(Engine *e, Request *r) {
        for (size_t i = 0; i < r->n_awaited; i++)
                if (check_awaited(e, r->awaited + i, &r->failure) > 0) {
                        request_fail(r, &r->failure);
                        return;
                }

        request_succeed(r);
}

void settle_rescans(Engine *e) {
        Request *r;

        bool idle = !list_is_empty(&e->rescans) && queue_is_idle(e);

        LIST_FOREACH(&e->rescans, r, Request, link) {
                if (e->survey_done < r->survey_serial)
                        continue;
                if (r->kind == REQUEST_SURVEY ? !idle && r->and_passes : !idle)
                        continue;

                if (r->kind == REQUEST_SURVEY)
                        request_again(r);
                else if (r->kind == REQUEST_APPLY)
                        settle_apply(e, r);
                else
                        request_succeed(r);
        }
}
