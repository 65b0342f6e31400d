/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-bus.h>

/* A daemon in a process of its own, to be killed: the engine and its bus interface on the fake kernel and a real state directory, with one
 * caller, ourselves. What it has answered it has acknowledged, to somebody who outlives it. */

#define WWN_A "naa.5001405c00000001"
#define WWN_B "naa.5001405c00000002"
#define WWN_C "naa.5001405c00000003"
#define WWN_FOREIGN "naa.5001405c0000000f"      /* nobody may touch it */
#define WWN_ADOPTED "naa.5001405c0000000a"      /* made by somebody else, and taken over */

typedef struct Host {
        unsigned n_disks;       /* numbers 1 to n: "wwid=3600<n>" */
        unsigned n_wished;      /* the first of them, which a udev rule wishes in target A */
        bool adoptable;         /* there is WWN_ADOPTED */
} Host;

/* A kernel as after a boot, but for what is somebody else's. */
void host_make(const Host *h);
char *host_theirs(const Host *h);                       /* all of that, to compare. malloc()ed. */

typedef enum OrderKind {
        ORDER_CREATE,
        ORDER_LABEL,
        ORDER_ADD,
        ORDER_REMOVE,
        ORDER_DESTROY,
        ORDER_APPLY,
        ORDER_PRUNE,            /* apply with prune */
        ORDER_ADOPT,
        ORDER_ROLLBACK,         /* to generation number */
} OrderKind;

typedef struct Order {
        OrderKind kind;
        const char *wwn;
        const char *text;       /* label, source, document */
        uint32_t number;
} Order;

bool order_is_list(const Order *o);     /* of changes to several targets, each of which is done or not */

typedef enum Answer {
        ANSWER_DONE,
        ANSWER_REFUSED,         /* the caller was told of an error */
        ANSWER_NONE,            /* there is no daemon any more */
} Answer;

typedef struct CrashDaemon {
        pid_t pid;
        sd_bus *bus;
        char *error;            /* of the last REFUSED */
} CrashDaemon;

/* Returns at once; the first call waits for its start. */
void daemon_spawn(CrashDaemon *d, const Host *h, const char *state_dir);
void daemon_reap(CrashDaemon *d);                       /* kill -9, if it lives; all of its processes are dead then */

Answer daemon_order(CrashDaemon *d, const Order *o);
Answer daemon_settle(CrashDaemon *d);                   /* what failed was tried again, all is done that can be */
uint64_t daemon_generation(CrashDaemon *d);
char *daemon_dump(CrashDaemon *d);                      /* what it wants, as a document; NULL: there is no answer. malloc()ed. */
