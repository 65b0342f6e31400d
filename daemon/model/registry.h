/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/map.h"
#include "model/finder.h"
#include "model/target.h"

/* Everything we know of targets: ours and foreign ones, the backstores under them, and the marks on them. Lower code sets a mark; the
 * post sources of queue and publish sweep them after each turn of the loop. */

typedef struct Removed {
        char *wwn;
        int64_t number;         /* of a LUN; -1: the target itself */
} Removed;

typedef struct Registry {
        Map *targets;           /* WWN -> Target */
        Map *backstores;        /* source -> Backstore, ours only */
        Finder finder;          /* those that LUNs stand on, foreign ones too, by other things */
        uint64_t generation;    /* counts stored changes; starts at the time of day, so that it never repeats over restarts */
        List queued;            /* Target.queue_link: has something dirty */
        List publishing;        /* Target.publish_link: may differ from what the bus was told */
        List unsaved;           /* Target.save_link: there is news that its file does not have yet */
        bool publish_self;      /* something may have failed, or does no more: the manager's own state */
        Removed *removed;       /* objects that the bus knew and that are no more */
        size_t n_removed, room_removed;
        uint8_t *hbas;          /* by number: bit 0 reserved by us, bit 1 seen with somebody else */
        size_t n_hbas;
        uint32_t hba_hint;      /* no free number below */
        char **bad;             /* WWNs whose file is set aside: nobody touches these */
        char **bad_reasons;     /* of each of them: a sentence for people */
} Registry;

/* The file of that target cannot be used, and why. */
int registry_note_bad(Registry *r, const char *wwn, const char *why);

int registry_init(Registry *r, uint64_t generation);
void registry_done(Registry *r);

Target *registry_target(const Registry *r, const char *wwn);
/* Takes the target over. Its LUNs' backstores are merged with those that are known: one for each source. -EEXIST: the WWN is there;
 * -ENOTUNIQ: a LUN names a known source with another name, serial or number (ret_lun says which). Nothing is taken on an error. */
int registry_add_target(Registry *r, Target *t, uint32_t *ret_lun);
void registry_remove_target(Registry *r, Target *t);            /* frees it */
void registry_take_foreign(Registry *r, Target *t);             /* out of the registry, which knows nothing of it any more; the caller's */

/* Adds a LUN on the backstore of that source, which is made if there is none. Marks. */
int registry_add_lun(Registry *r, Target *t, uint32_t number, Backstore *b, Lun **ret);
void registry_remove_lun(Registry *r, Lun *l);                  /* frees it */
void registry_forget_finished(Registry *r, Target *t);          /* its file was written, without them */

Backstore *registry_backstore(const Registry *r, const char *source);
int registry_new_backstore(Registry *r, const char *source, Backstore **ret);   /* known by its source from now on, hba reserved */
void registry_put_backstore(Registry *r, Backstore *b);         /* frees it if no LUN stands on it */
bool registry_has_backstore_name(const Registry *r, const char *name);
/* What it has open, from now on; 0: nothing. -ENOMEM: that is so, but registry.finder does not know it. */
int registry_set_open(Registry *r, Backstore *b, dev_t devnum, uint64_t diskseq);
/* As backstore_promise(). */
int registry_promise(Registry *r, Backstore *b, uint64_t size, const char *identity);

/* HBA numbers: core/iblock_<N>. */
int registry_reserve_hba(Registry *r, uint32_t *ret);           /* the lowest that nobody has */
/* One that somebody else used until now. -EEXIST: it is ours already. */
int registry_claim_hba(Registry *r, uint32_t hba);
void registry_release_hba(Registry *r, uint32_t hba);
bool registry_hba_is_ours(const Registry *r, uint32_t hba);
Backstore *registry_backstore_by_hba(const Registry *r, uint32_t hba);  /* of ours, or NULL; looks at all of them */
int registry_note_foreign_hba(Registry *r, uint32_t hba);
void registry_forget_foreign_hbas(Registry *r);

/* Marks. */
void registry_mark_target(Registry *r, Target *t);              /* the target itself needs a pass, and telling */
void registry_mark_lun(Registry *r, Lun *l);                    /* this LUN needs a pass, and telling */
void registry_mark_all(Registry *r);                            /* every target and LUN of ours */
void registry_mark_probe(Registry *r, Target *t);               /* somebody wants to know who is attached */
/* Telling only: the target's own properties, this LUN and the target's own, the target with all its LUNs. */
void registry_mark_publish_target(Registry *r, Target *t);
void registry_mark_publish_lun(Registry *r, Lun *l);
void registry_mark_publish(Registry *r, Target *t);
void registry_mark_unsaved(Registry *r, Target *t);             /* its file is to be written, when nothing runs that has more for it */
int registry_note_removed(Registry *r, const char *wwn, int64_t number);

#define REGISTRY_FOREACH(registry, t) MAP_FOREACH((registry)->targets, t)
