/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"
#include "engine/acquire.h"
#include "model/owner.h"

/* More than one connection may have in flight; messages whose handler never came for its answer are dropped beyond that. */
#define PROBED_MAX 1024U

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        _cleanup_(refusal_done) Refusal refusal = {};
        Request *r = userdata;
        Engine *e = r->engine;
        Target *destroyed = r->kind == REQUEST_DESTROY_TARGET ? r->target : NULL;

        if (r->kind == REQUEST_ACQUIRE) {
                acquire_time_out(r);
                return 0;
        }

        if (r->kind == REQUEST_PROBE || r->kind == REQUEST_SURVEY)
                (void) refuse(&refusal, REFUSAL_TIMED_OUT, "The kernel has not answered what had to be asked first; nothing was changed");
        else
                (void) refuse(&refusal, REFUSAL_TIMED_OUT, "The kernel has not finished yet; the change is stored and goes on");
        request_fail(r, &refusal);

        /* Nobody takes it back any more: what is down already need not be kept for that. */
        if (destroyed)
                registry_mark_target(&e->registry, destroyed);
        return 0;
}

int request_new(Engine *e, RequestKind kind, sd_bus_message *message, sd_bus_message *reply, Target *t, uint64_t timeout_usec,
                Request **ret) {
        _cleanup_free_ Request *r = NULL;
        int k;

        r = calloc(1, sizeof *r);
        if (!r) {
                sd_bus_message_unref(reply);
                return -ENOMEM;
        }

        if (timeout_usec != UINT64_MAX) {
                k = sd_event_add_time_relative(e->event, &r->timeout, CLOCK_MONOTONIC, timeout_usec, 0, on_timeout, r);
                if (k < 0) {
                        sd_bus_message_unref(reply);
                        return k;
                }
        }

        r->engine = e;
        r->kind = kind;
        r->message = sd_bus_message_ref(message);
        r->reply = reply;
        r->target = t;
        r->lun = UINT32_MAX;
        r->since = engine_now(e);
        r->pidfd = -EBADF;
        list_init(&r->link);
        list_append(t ? &t->requests : &e->rescans, &r->link);

        if (ret)
                *ret = r;
        TAKE_PTR(r);
        return 0;
}

Request *request_free(Request *r) {
        if (!r)
                return NULL;

        /* Whoever forgot it, the caller shall not wait for ever. */
        if (r->message)
                (void) sd_bus_reply_method_errorf(r->message, SD_BUS_ERROR_FAILED, "The service gave the request up");

        list_unlink(&r->link);
        sd_event_source_disable_unref(r->timeout);
        sd_bus_message_unref(r->message);
        sd_bus_message_unref(r->reply);
        refusal_done(&r->failure);
        free(r->awaited);
        owner_free(r->owner);
        safe_close(r->pidfd);
        sd_bus_track_unref(r->caller);
        free(r);
        return NULL;
}

static void answer(Request *r) {
        r->timeout = sd_event_source_disable_unref(r->timeout);
        r->target = NULL;
        list_unlink(&r->link);
        list_append(&r->engine->answered, &r->link);
}

bool request_may_undo_destroy(const Target *t) {
        const Request *r;

        LIST_FOREACH(&t->requests, r, const Request, link)
                if (r->kind == REQUEST_DESTROY_TARGET)
                        return true;

        return false;
}

void request_succeed(Request *r) {
        if (!r->reply)
                (void) sd_bus_message_new_method_return(r->message, &r->reply);
        answer(r);
}

void request_fail(Request *r, Refusal *failure) {
        _cleanup_free_ char *text = NULL;

        /* It may quote names that anybody gave a device; the bus takes UTF-8 only. */
        (void) text_printable(failure->text ?: "Out of memory", &text);

        r->reply = sd_bus_message_unref(r->reply);
        (void) sd_bus_message_new_method_errorf(r->message, &r->reply, refusal_bus_name(failure->kind), "%s", text ?: "Out of memory");
        answer(r);
}

void request_again(Request *r) {
        Engine *e = r->engine;

        r->timeout = sd_event_source_disable_unref(r->timeout);
        r->target = NULL;
        list_unlink(&r->link);
        list_append(&e->probed, &r->link);

        if (sd_bus_enqueue_for_read(sd_bus_message_get_bus(r->message), r->message) < 0)
                request_free(r);
}

bool request_take_probed(Engine *e, sd_bus_message *message) {
        Request *r;
        size_t n = 0;

        LIST_FOREACH(&e->probed, r, Request, link) {
                bool found = r->message == message;

                if (found || ++n > PROBED_MAX) {
                        r->message = sd_bus_message_unref(r->message);
                        request_free(r);
                }
                if (found)
                        return true;
        }

        return false;
}

uint64_t request_time_probed(Engine *e, const sd_bus_message *message) {
        const Request *r;

        LIST_FOREACH(&e->probed, r, const Request, link)
                if (r->message == message)
                        return engine_now(e) - r->since;

        return 0;
}

void request_flush(Engine *e) {
        Request *r;

        LIST_FOREACH(&e->answered, r, Request, link) {
                /* The caller may be gone: nothing to do about it, and nothing depends on it. */
                if (r->reply && sd_bus_send(sd_bus_message_get_bus(r->message), r->reply, NULL) >= 0)
                        r->message = sd_bus_message_unref(r->message);
                request_free(r);
        }
}
