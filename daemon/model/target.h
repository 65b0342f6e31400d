/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "model/guest.h"
#include "model/lun.h"
#include "model/wwn.h"

/* One vhost-scsi target: ours (in the store) or foreign (seen in configfs, read-only for us). */

#define TARGET_LABEL_MAX 255    /* bytes of UTF-8 */

typedef enum TargetState {
        TARGET_ONLINE,          /* every wanted LUN is up */
        TARGET_INCOMPLETE,      /* some wanted LUN is not up; the LUN's own state says why */
        TARGET_REMOVING,        /* Destroy was called; the kernel still has some of it */
        TARGET_FAILED,          /* a step of the target itself failed; the error says which. Tried again, ever more rarely. */
        TARGET_FOREIGN,         /* not ours */
        _TARGET_STATE_MAX,
} TargetState;

typedef enum TargetEndpoint {
        ENDPOINT_UNKNOWN,       /* not asked, or nothing to ask by: the probe needs a LUN (facts 1.3) */
        ENDPOINT_IDLE,          /* no guest driver runs on it now; no proof that nobody needs it (facts 1.4) */
        ENDPOINT_ATTACHED,
        _TARGET_ENDPOINT_MAX,
} TargetEndpoint;

typedef struct TargetPublished {
        bool exists;
        bool foreign;
        TargetState state;
        TargetEndpoint endpoint;
        uint64_t owner;         /* owners_serial() */
        uint32_t portal_group;
        char *label;
        char *nexus;
        char *error_code, *error_text;
        uint64_t luns;          /* Target.membership that Luns was told from */
} TargetPublished;

/* What was done to it and is not stored yet (engine/draft.h). */
typedef struct TargetDraft {
        bool made;
        char *label;            /* what it was; NULL: it is the same */
        Target *foreign;        /* in whose place it is; NULL: in nobody's. In no registry meanwhile. */
        char **revived;         /* names of what was removed by hand, and is there again */
} TargetDraft;

struct Target {
        char *wwn;              /* canonical; a foreign one may have any name that the kernel took */

        /* Intent, stored. */
        char *label;            /* never NULL */
        char nexus[WWN_SIZE];
        bool wanted;
        bool force;
        bool adopted;           /* somebody else made it, and it was taken over */
        bool revived;           /* making it took back a removal by hand (store/removed.h); not stored */
        TargetDraft draft;
        struct json_object *unknown;

        Lun **luns;             /* sorted by number */
        size_t n_luns, room_luns;
        uint64_t membership;    /* counts changes of the array */

        bool foreign;
        uint32_t portal_group;
        char *seen_nexus;       /* of a foreign one; may be NULL */
        bool several_groups;    /* of a foreign one: portal_group is but the first */
        bool whole;             /* of a foreign one: the last look at it saw all of it */

        /* Observed. */
        bool present;           /* its directory exists, or may exist */
        bool up;                /* portal group and nexus are there */
        bool other_nexus;       /* the nexus in the kernel is somebody else's: with LUNs on it nobody can replace it */
        TargetEndpoint endpoint;
        uint64_t endpoint_at;   /* when, CLOCK_MONOTONIC µs */
        Guest guest;            /* whose target it is by what the host shows, whatever the endpoint is */

        /* Activity. */
        bool dirty;             /* the next pass looks at the target itself */
        bool probe;             /* the next pass asks who is attached */
        void *worker;           /* the pass that runs, or NULL; one that hangs is not counted */
        bool drifting;          /* somebody else changed it in the kernel, and no look since then found all as it is wanted */
        unsigned drifts;        /* looks at it for that reason in the last time: how often it was repaired in vain */
        uint64_t drift_at;      /* when that began, CLOCK_MONOTONIC µs */
        bool mended;            /* something of it was made in this pass */
        unsigned told;          /* LUNs that went up or down in this pass */
        unsigned failures;
        uint64_t retry_at;      /* CLOCK_MONOTONIC µs, 0: not by time */
        List queue_link;        /* Registry.queued */
        List publish_link;      /* Registry.publishing */
        List publishing;        /* Lun.publish_link: those of its LUNs that may differ from what the bus was told */
        bool publish_luns;      /* all of them may */
        List save_link;         /* Registry.unsaved */
        List requests;          /* calls that wait for its passes (engine/request.h) */

        char *error_code, *error_text;
        TargetPublished published;
};

Target *target_new(const char *wwn);
Target *target_free(Target *t);                                 /* with its LUNs; returns NULL */
DEFINE_CLEANUP(Target *, target_free);

Lun *target_lun(const Target *t, uint32_t number);              /* or NULL */
int target_add_lun(Target *t, Lun *l);                          /* takes it over; -EEXIST, -ENOMEM: not taken */
void target_remove_lun(Target *t, Lun *l);                      /* frees it */
/* Not wanted any more, nor are its LUNs; and wanted again, with those that went with it. */
void target_let_go(Target *t, bool force);
void target_let_stay(Target *t);
size_t target_count_unfinished(const Target *t);                /* LUNs that the kernel may still have */
int target_lowest_free_number(const Target *t, uint32_t *ret);  /* -ENOSPC */

/* A guest is attached, or there is one that has the target without its driver running. */
bool target_is_used(const Target *t);
/* By whom, for the start of a sentence: "Guest web1 (pid 4711) is attached to target naa.…". */
int target_describe_use(const Target *t, char **ret);

TargetState target_state(const Target *t);
void target_set_error(Target *t, const char *code, const char *text);

const char *target_state_to_string(TargetState s);
const char *target_endpoint_to_string(TargetEndpoint e);
