/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/edit.h"
#include "life-world.h"

/* What the rules say (design.md 2 and 4, issue "Devices come, fail, go and return"), in their plainest form and without a line of the
 * engine: what is wanted after which call, what a rule of udev makes, and what is linked on what when nothing is left to do.
 *
 * Nearly everything is exact at once. What depends on when the daemon tried is not: while it was told less than the truth, or the kernel
 * refused by a fault. Then a LUN is dubious: only what must never happen is checked, the rest is taken as it is, until everything was told
 * and tried again (oracle_settle() with healed). */

#define ORACLE_LUNS 64U

typedef struct OracleLun {
        bool there, wanted, force, readonly, by_rule;
        char source[WORLD_TEXT];
        bool linked;
        bool noticed;                   /* the daemon knows that it is */
        unsigned minor;                 /* the instance it is linked on */
        uint64_t diskseq;
        bool dubious;
        bool busy;                      /* tried, and somebody else had the device: until it is tried again, it may stay failed */
        const char *code;               /* why it has failed; NULL: it has not */
} OracleLun;

typedef struct OracleTarget {
        bool there, wanted, force, attached, dubious;
        char label[WORLD_TEXT];
        OracleLun luns[ORACLE_LUNS];
} OracleTarget;

/* What guests of a source were shown. What the daemon saw is stored at the end of the loop's turn: one that is killed before has seen nothing. */
typedef struct Promise {
        uint64_t size, stored_size;
        char identity[WORLD_TEXT], stored_identity[WORLD_TEXT];
} Promise;

typedef struct Oracle {
        OracleTarget targets[WORLD_TARGETS];
        GHashTable *promises;           /* source -> Promise */
        GHashTable *removed;            /* tombstones */
        bool told[WORLD_MINORS];        /* news that rules have not been applied to */
} Oracle;

/* What the kernel has, as test and fake see it. */
typedef struct SeenLun {
        bool dir, linked;
        bool known;                     /* the daemon has an entry for it */
        bool noticed;                   /* and knows that it is linked */
        unsigned unlinked;              /* how often a link went since the last look */
        unsigned minor;
        uint64_t diskseq;
} SeenLun;

typedef struct Seen {
        struct {
                bool known;
                SeenLun luns[ORACLE_LUNS];
        } targets[WORLD_TARGETS];
} Seen;

typedef struct AddCall {
        const char *source;
        int number;                     /* -1: the lowest free */
        bool readonly, shareable, by_rule;
} AddCall;

extern Oracle oracle;

void oracle_init(void);
void oracle_done(void);

/* Each returns the reasons to refuse, 1 << RefusalKind; 0: it is done, and the oracle has done it too. ORACLE_EITHER: it depends on which of
 * two LUNs is looked at first; the caller says what happened. */
#define ORACLE_EITHER (1U << 31)
unsigned oracle_create(unsigned target, const char *label);
unsigned oracle_destroy(unsigned target, bool force, bool seen_attached);
unsigned oracle_add(unsigned target, const AddCall *call, bool either_refused, unsigned *ret_number);
unsigned oracle_remove(unsigned target, unsigned number, bool force, bool seen_attached);

void oracle_told(unsigned minor);       /* world.view has changed */
void oracle_restarted(void);            /* nothing was told yet */
/* And this is what was found in the store, which may have been written before the last news. */
void oracle_loaded(const char *source, uint64_t size, const char *identity);
void oracle_sweep(void);                /* the loop's turn: rules are applied */

/* Everything has been done that can be. faulty: the kernel refused by chance. Returns NULL, or what is wrong. */
char *oracle_settle(const Seen *seen, bool faulty, bool healed);

/* Of a LUN that is not dubious. */
LunState oracle_state(const OracleLun *l);
DeviceHealth oracle_health(const OracleLun *l);
const Promise *oracle_promise(const char *source);
bool oracle_is_exact(void);             /* no LUN, no target is dubious */

/* ---- between life-oracle.c and life-settle.c ---- */

#define FOREACH_LUN(t, l) \
        for (OracleLun *l = (t)->luns; l < (t)->luns + ORACLE_LUNS; l++) \
                if (l->there)

#define FOREACH_TARGET(t) for (OracleTarget *t = oracle.targets; t < oracle.targets + WORLD_TARGETS; t++)

unsigned oracle_resolve(const char *source);            /* the minor that the daemon's view has for a name, or WORLD_MINORS */
bool oracle_is_usable(const Disk *d);
bool oracle_instance_exists(unsigned minor, uint64_t diskseq);
bool oracle_fits(const OracleLun *l, const Disk *d, unsigned minor);
const OracleLun *oracle_lun_on(const char *source);
void oracle_note(const OracleLun *l);                   /* what its guests see is promised */
void oracle_stored(void);                               /* all promises */
