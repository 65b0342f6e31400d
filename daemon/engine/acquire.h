/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/edit.h"

/* A target is acquired before a guest is started on it: what a guest has acquired is not free while it is paused, reboots or has not
 * begun, and nobody takes something from under it but by force. */

typedef struct AcquireOptions {
        EditOptions common;     /* force: from whoever has it */
        const char *kind, *name, *uuid; /* NULL: not said */
        const char *seed;       /* NULL: the target must be there, or is waited for */
        uint32_t pid;
        uint32_t uid;           /* who asks; 0 may speak for everybody's owners */
        bool has_wait;
        uint64_t wait;          /* µs for what is missing; without it, only what a pass is about to do is waited for */
        bool running;           /* the guest runs already: registered, whatever is missing */
} AcquireOptions;

/* Holds the message until the target is the owner's and ready for it, or the time is over. What is refused at once: a form that is wrong,
 * InUse, NotFound. wwn: canonical, or a foreign target's. A dry run is answered by the caller. */
int acquire_target(Engine *e, sd_bus_message *m, const char *wwn, const char *key, const AcquireOptions *o, Refusal *refusal);

/* Fine if nobody has it. InUse if another one has, or another user's, unless by force. Stored when it returns. */
int acquire_release(Engine *e, const char *wwn, const char *key, uint32_t uid, const EditOptions *o, Refusal *refusal);

/* Looks again at what callers wait for. Called after each turn of the loop. */
void acquire_sweep(Engine *e);
/* The caller's time is over. */
void acquire_time_out(Request *r);
