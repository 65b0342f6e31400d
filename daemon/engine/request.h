/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"
#include "engine/refusal.h"

/* A method call that changes something. Its message is held until everything is true that the reply says: stored, done in the kernel,
 * published. However a request ends, its caller is answered exactly once; the destructor sees to that. */

typedef enum RequestKind {
        REQUEST_CREATE_TARGET,
        REQUEST_DESTROY_TARGET,
        REQUEST_ADD_LUN,
        REQUEST_REMOVE_LUN,
        REQUEST_PROBE,          /* a question first (Endpoint, or before a removal); the message is handled again after it */
        REQUEST_SURVEY,         /* a close look at what is foreign first (before Adopt); the message is handled again after it */
        REQUEST_ADOPT_TARGET,
        REQUEST_APPLY,          /* the changes of a document, to many targets */
        REQUEST_RESCAN,
        REQUEST_ACQUIRE,        /* until the target is ready for its owner (engine/acquire.h) */
        REQUEST_RELEASE,        /* the kernel has no part in it, nor in the next */
        REQUEST_SET_LABEL,
        _REQUEST_KIND_MAX,
} RequestKind;

/* What APPLY has changed of a target, and the kernel is to make so. */
typedef struct Awaited {
        char wwn[WWN_SIZE];
        int64_t number;         /* of the LUN; -1: the target itself */
} Awaited;

typedef struct Request {
        Engine *engine;
        RequestKind kind;
        List link;              /* Target.requests, Engine.rescans, Engine.acquiring or Engine.answered */
        sd_bus_message *message;
        sd_bus_message *reply;  /* what is sent on success; made at once, so that success cannot fail later */
        Target *target;         /* NULL once answered */
        uint32_t lun;           /* ADD_LUN, REMOVE_LUN */
        bool made_target;       /* Export, Acquire: the target is undone with the rest */
        bool force;
        uint64_t survey_serial; /* RESCAN, SURVEY: the survey that will do */
        bool and_passes;        /* SURVEY: wait for all passes as well */
        Awaited *awaited;       /* APPLY */
        size_t n_awaited;
        struct Owner *owner;    /* ACQUIRE: who wants it, and pidfd: of its process, or negative */
        int pidfd;
        bool patient;           /* ACQUIRE: what is missing is waited for */
        bool running;           /* ACQUIRE: the guest runs already */
        bool waited;            /* ACQUIRE: who is attached was asked before the waiting */
        bool asked;             /* ACQUIRE: and is asked again */
        sd_bus_track *caller;   /* ACQUIRE: ends with it */
        bool undoing;           /* the change failed and is being taken back; then failure is the answer */
        bool begun;             /* PROBE: the pass that answers it runs */
        uint64_t since;         /* PROBE: when it was asked, CLOCK_MONOTONIC µs */
        Refusal failure;
        sd_event_source *timeout;
} Request;

/* Holds the message for the target (NULL: RESCAN, SURVEY, APPLY). reply (taken, may be NULL) is sent on success. timeout_usec UINT64_MAX: none. */
int request_new(Engine *e, RequestKind kind, sd_bus_message *message, sd_bus_message *reply, Target *t, uint64_t timeout_usec, Request **ret);
Request *request_free(Request *r);                              /* answers with an error if nobody did; returns NULL */

/* Somebody waits for Destroy: what the kernel refuses of it is taken back as a whole. */
bool request_may_undo_destroy(const Target *t);

/* The caller's answer; it goes out with request_flush(), after the signals. The request is done with afterwards. */
void request_succeed(Request *r);
void request_fail(Request *r, Refusal *failure);                /* takes what is in failure */
/* Hands the message back to the bus: its handler runs again from its first line. */
void request_again(Request *r);

/* Sends what is answered. Called by publish when its signals are out. */
void request_flush(Engine *e);

/* "What was asked first for this very message is answered": set by request_again() for a PROBE or a SURVEY, taken (once) by the handler. */
bool request_take_probed(Engine *e, sd_bus_message *message);
/* How long that took, µs; before it is taken. 0: nothing was asked. */
uint64_t request_time_probed(Engine *e, const sd_bus_message *message);
