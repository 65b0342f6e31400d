/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "model/backstore.h"
#include "model/device.h"

/* A numbered place in a target with a disk in it: what is wanted of it, what was seen of it, and the state that follows from both. */

#define LUN_NUMBER_MAX 16383    /* the kernel accepts more, which no guest can address (facts 1.2) */

typedef struct Target Target;

typedef enum LunState {
        LUN_WAITING,            /* wanted, and there is no usable device. Left when the device comes, or by RemoveLun. */
        LUN_ATTACHING,          /* wanted, device usable, a pass will or does bring it up. Left by that pass. */
        LUN_ONLINE,             /* the guest can use it */
        LUN_DEGRADED,           /* up, but its device has no path, is suspended or went read-only. Left when the device recovers. */
        LUN_DRAINING,           /* not wanted any more; the kernel waits for its I/O, or for the guest to let go. Left by vanishing. */
        LUN_FAILED,             /* A step failed, or its device came back smaller, read-only or as another; the error says which. Tried again on
                                 * news of the device and, after a failed step, ever more rarely, by time. */
        _LUN_STATE_MAX,
} LunState;

typedef enum LunOrigin {
        LUN_MANUAL,
        LUN_UDEV,
        LUN_IMPORT,
        LUN_ADOPTED,
        _LUN_ORIGIN_MAX,
} LunOrigin;

/* What was done to it and is not stored yet (engine/draft.h). */
typedef enum LunDraft {
        LUN_AS_STORED,
        LUN_ADDED,
        LUN_REMOVED,
} LunDraft;

/* What the bus was last told, so that a change is a difference and not a guess. */
typedef struct LunPublished {
        bool exists;
        LunState state;
        DeviceHealth health;
        uint64_t size;
        uint32_t block_size;
        char *device;
        char *error_code, *error_text;
        char *place;
} LunPublished;

typedef struct Lun {
        Target *target;
        uint32_t number;
        Backstore *backstore;
        List backstore_link;

        /* Intent, stored. */
        LunOrigin origin;
        bool wanted;            /* false: to be taken down; the entry stays until the kernel is clean */
        bool force;             /* of an unwanted one: even while a guest is attached */
        bool with_target;       /* of an unwanted one: it goes because its target does; not stored */
        bool revived;           /* adding it took back a removal by hand (store/removed.h); not stored */
        bool finished;          /* Of an unwanted one: the kernel is clean, and it is no longer written to the file. Kept only until that is
                                 * written, or as long as its target goes and may yet stay. Not stored. */
        LunDraft draft;
        bool was_wanted, was_forced;    /* of a LUN_REMOVED */
        struct json_object *unknown;    /* keys of the file that this version does not know; kept */

        /* Observed. */
        bool present;           /* lun_<number> exists, or may exist */
        bool linked;            /* a guest can see it */
        bool watched;           /* its directory is, for what others do in it (engine/drift.h) */
        bool misfit;            /* what its source names now is not what its guests know; the error says why */

        /* Activity. */
        bool dirty;             /* the next pass looks at it */
        void *worker;           /* the child that has it in its hands now, or NULL */
        unsigned failures;      /* in a row */
        uint64_t retry_at;      /* CLOCK_MONOTONIC µs, 0: not by time */

        List publish_link;      /* Target.publishing */

        char *error_code;       /* the last error's short name ("Kernel"), NULL if there is none */
        char *error_text;

        LunPublished published;
} Lun;

Lun *lun_new(uint32_t number, Backstore *b);                    /* stands on b from now on */
Lun *lun_free(Lun *l);                                          /* returns NULL; leaves the backstore, and frees it if it was the last */
DEFINE_CLEANUP(Lun *, lun_free);

/* Moves the LUN to another backstore; frees the old one if nobody else stands on it. */
void lun_set_backstore(Lun *l, Backstore *b);

/* The instance of the device that is or was open has been removed from the host. instance_there: what the inventory says of it. */
bool lun_is_gone(const Lun *l, bool instance_there);

/* Is the device, which is usable, the one that was promised to the LUN's guests? If not, *ret_why (may be NULL) says why not, for people;
 * out of memory it is NULL. */
bool lun_fits(const Lun *l, const Device *d, char **ret_why);

/* device: what the source resolves to now, or NULL. gone: as lun_is_gone(). The only place where a state comes from. */
LunState lun_state(const Lun *l, const Device *device, bool gone);
DeviceHealth lun_health(const Lun *l, const Device *device, bool gone);

/* A NULL code clears, and so does any the misfit. On -ENOMEM the code is set and the text may be missing. */
void lun_set_error(Lun *l, const char *code, const char *text);

const char *lun_state_to_string(LunState s);
const char *lun_origin_to_string(LunOrigin o);
int lun_origin_from_string(const char *s, LunOrigin *ret);      /* -EINVAL */
