/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/request.h"
#include "kernel/mounts.h"

/* Changes of what is wanted: refused, or stored. Each looks at everything first and changes nothing when it refuses. All return 0,
 * REFUSED with *refusal set, or -ENOMEM. The kernel's part is a pass that the marks cause. Memory equals disk at every return. */

typedef struct EditOptions {
        bool force;
        bool dry_run;           /* all checks, no change; *ret is then NULL */
        bool has_generation;
        uint64_t generation;
        uint64_t timeout;       /* µs, UINT64_MAX: none */
        bool later;             /* not stored yet: the caller does that next, once for many, with draft_store(). Not of Destroy. */
} EditOptions;

typedef struct CreateOptions {
        EditOptions common;
        const char *label;      /* NULL: "" */
        const char *seed;
        const char *nexus;      /* NULL: generated */
        bool if_absent;
} CreateOptions;

typedef struct LunOptions {
        EditOptions common;
        bool has_number;
        uint32_t number;
        bool readonly;
        bool shareable;
        bool path;              /* one path of a disk, by its place (engine/serial.h) */
        const char *name;
        const char *serial;
        char **attributes;      /* "name=value", checked here */
        LunOrigin origin;
        const Mounts *mounts;   /* NULL: looked at now */
        /* On a dry run: what else is about to be, with which it must agree. It is in planned_target afterwards. NULL: nothing. */
        Registry *planned;
        Target *planned_target;
} LunOptions;

/* wwn "": generated, or from options->seed. *ret_existing: if_absent found it. dry_run: *ret is NULL and ret_wwn holds the name. */
int edit_create_target(Engine *e, const char *wwn, const CreateOptions *o, Target **ret, bool *ret_existing, char ret_wwn[static WWN_SIZE],
                       Refusal *refusal);
int edit_destroy_target(Engine *e, Target *t, const EditOptions *o, Refusal *refusal);
int edit_set_label(Engine *e, Target *t, const char *label, const EditOptions *o, Refusal *refusal);

/* ret_number: also on a dry run. t NULL, on a dry run with a number only: of a target that is not made yet. */
int edit_add_lun(Engine *e, Target *t, const char *source, const LunOptions *o, uint32_t *ret_number, Refusal *refusal);
int edit_remove_lun(Engine *e, Lun *l, const EditOptions *o, Refusal *refusal);

/* GenerationMismatch if the caller named another generation than this. */
int edit_check_generation(Engine *e, const EditOptions *o, Refusal *refusal);

/* The kernel has nothing of it any more: the entry goes, from the store first. If nobody waits for this LUN alone it is kept (Lun.finished) until its
 * target's file is written next, once for many. That of a LUN which goes with its target is kept as long as the target may be brought back, and
 * goes with it, or when it is forgotten. */
int edit_finish_lun(Engine *e, Lun *l);
void edit_forget_finished(Engine *e, Target *t);
/* Of the store only: it is for the caller to remove it from the registry. */
int edit_finish_target(Engine *e, Target *t);

/* Looks up by any spelling of the WWN: NotFound, InvalidWwn or ConfigCorrupt as refusal. */
int edit_find_target(Engine *e, const char *wwn, Target **ret, Refusal *refusal);
