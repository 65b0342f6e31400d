/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/cleanup.h"

/* Everything that a call can be refused with: org.vhostscsi.Error.<name>. One table, in refusal.c. */

typedef enum RefusalKind {
        REFUSAL_NOT_FOUND,              /* no such target or LUN */
        REFUSAL_ALREADY_EXISTS,
        REFUSAL_IN_USE,                 /* a guest is attached */
        REFUSAL_FOREIGN,                /* not made by us; only looked at */
        REFUSAL_INVALID_ARGS,           /* the standard org.freedesktop.DBus.Error.InvalidArgs */
        REFUSAL_INVALID_WWN,
        REFUSAL_INVALID_SOURCE,
        REFUSAL_LUN_CONFLICT,           /* the number is taken, or the disk is exported otherwise */
        REFUSAL_LUN_OUT_OF_RANGE,
        REFUSAL_DEVICE_NOT_FOUND,
        REFUSAL_DEVICE_BUSY,            /* says who holds it */
        REFUSAL_DEVICE_IS_PATH_MEMBER,  /* names the map */
        REFUSAL_DEVICE_UNSAFE,          /* mounted, swap, the host's own disk */
        REFUSAL_SERIAL_CONFLICT,
        REFUSAL_NOT_READY,
        REFUSAL_TIMED_OUT,              /* the change goes on */
        REFUSAL_GENERATION_MISMATCH,
        REFUSAL_CONFIG_CORRUPT,         /* the target's file is set aside */
        REFUSAL_IMPORT_REJECTED,        /* what is there cannot be kept as it is */
        REFUSAL_KERNEL,                 /* step, path, value, errno */
        REFUSAL_STORE_FAILED,           /* nothing was changed */
        _REFUSAL_MAX,
} RefusalKind;

typedef struct Refusal {
        RefusalKind kind;
        char *text;             /* one sentence for people; NULL: there is no refusal */
} Refusal;

void refusal_done(Refusal *r);

/* What refuse() returns: tells a refusal from an errno of our own machinery. */
#define REFUSED (-ECANCELED)

/* Sets *ret (which must be empty) and returns REFUSED, or -ENOMEM. */
int refuse(Refusal *ret, RefusalKind kind, const char *format, ...) _printf_(3, 4);

const char *refusal_bus_name(RefusalKind kind);         /* org.vhostscsi.Error.… */
const char *refusal_short_name(RefusalKind kind);       /* what stands behind the prefix: LastError's code */
RefusalKind refusal_from_short_name(const char *name);  /* KERNEL if there is no such name */
