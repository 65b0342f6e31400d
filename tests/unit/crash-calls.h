/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* What the daemon asks of the system, at the linker's doors (--wrap): each call of the C library that has to do with files and processes, what
 * of the event loop needs them, and each of the fake kernel. A call is a point at which the daemon can be killed, or the call fail. Shared with
 * all children, so that whoever makes the nth one is the one; nothing counts while it is off. */

typedef enum CallsMode {
        CALLS_OFF,
        CALLS_KILL,             /* before the nth call everything of the daemon is killed, as a crash or the OOM killer of a unit does */
        CALLS_KILL_PASS,        /* before the nth call of a pass that pass alone is killed */
        CALLS_FAIL,             /* the nth of the calls that can fail so does, without effect */
        CALLS_RECORD,           /* what is done to files is written down: crash-power.h */
} CallsMode;

typedef struct Calls {
        CallsMode mode;
        unsigned nth, made;
        int error;              /* of a FAIL, positive */
        pid_t daemon;
        bool hit;
        char name[32];          /* of the call that was hit */
} Calls;

extern Calls *calls;            /* in shared memory */

/* Every error that is tried, and 0 after the last. */
#define CALLS_ERRORS 6
extern const int calls_errors[CALLS_ERRORS + 1];

void calls_init(void);
void calls_arm(CallsMode mode, unsigned nth, int error);
bool calls_disarm(void);        /* has it hit? */

