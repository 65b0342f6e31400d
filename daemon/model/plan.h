/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/strv.h"

/* wanted + device + observed -> ordered steps. Pure: no system call, no clock, no bus. The same functions serve boot, restart, a crash in
 * the middle, a device's return, a retry and a dry run: a step that was done is simply no longer in the next plan.
 *
 * A plan is made in three parts, since LUNs on different backstores do not depend on each other and run at the same time:
 * the target's own steps up, each LUN's, the target's steps down. */

typedef enum StepOp {
        STEP_MKDIR,
        STEP_WRITE,
        STEP_OPEN_FILE,         /* fileio: configures and enables the backstore in the directory on a file, which is never made */
        STEP_VERIFY,            /* no change: what the kernel opened must be the instance that was meant */
        STEP_SYMLINK,
        STEP_UNLINK,
        STEP_RMDIR,
        _STEP_OP_MAX,
} StepOp;

typedef struct Step {
        StepOp op;
        char *path;             /* relative to <configfs>/target */
        char *value;            /* WRITE: the bytes; SYMLINK: what it points to, relative as well; VERIFY: the mark; OPEN_FILE: "SIZE MOUNT PATH": bytes
                                 * to export, which it has, and the id of the mount that it is on */
} Step;

typedef struct Plan {
        Step *steps;
        size_t n, room;
} Plan;

void plan_done(Plan *p);
const char *step_op_to_string(StepOp op);

typedef struct TargetWant {
        const char *wwn;
        const char *nexus;
        bool wanted;
} TargetWant;

typedef struct TargetSeen {
        bool wwn_dir, tpg_dir;
        char *nexus;            /* NULL: none */
} TargetSeen;

void target_seen_done(TargetSeen *s);

typedef struct LunWant {
        const char *wwn;
        uint32_t number;
        bool wanted;
        bool others;            /* the backstore must stay for another LUN: one that is linked, or (if this one is not wanted) wanted */
        uint32_t hba;
        bool unmarked;          /* the backstore was taken over: it is ours without our mark, if its serial and what it has open are right */
        bool fresh;             /* nobody of us has made the HBA's directory: if it is there, it is somebody else's */
        const char *name;
        const char *serial;
        bool readonly;
        char *const *attributes;        /* "name=value" */

        /* The device. usable: it may be brought up on it now; if not, what is half-made and not linked goes. gone: the instance that is open was removed. */
        bool usable, gone;
        bool file;              /* a regular file: the backstore is of fileio */
        uint64_t size;          /* of a file, bytes */
        const char *node;       /* /dev/… to open, or the file */
        const char *link;       /* its stable name */
        dev_t devnum;
        uint64_t diskseq;
} LunWant;

typedef struct LunSeen {
        bool dir;               /* lun_<number> */
        char *link;             /* name of the link in it, NULL: none */
        char *link_target;      /* relative to the root */
        uint32_t hba;           /* of the backstore that was looked at: LunWant's, or that of one with the wanted name that the LUN is linked to */
        bool hba_dir;
        bool hba_others;        /* something else than our backstore is in it, or it is another's altogether */
        bool backstore_dir;
        bool enabled;
        char *serial;
        char *alias;
        dev_t devnum;           /* what it has open, by our mark in alias, or (without one) by the kernel */
        uint64_t diskseq;       /* from our mark in alias; 0: not known */
        char *file;             /* what it has open, if that is a file and there is no mark */
        char **attributes;      /* those of LunWant, as they are */
} LunSeen;

void lun_seen_done(LunSeen *s);

/* iblock, or fileio: what stands before the number in core/. */
const char *plan_plugin(const LunWant *want);

/* Steps that make the target's directory, portal group and nexus. */
int plan_target_up(const TargetWant *want, const TargetSeen *seen, Plan *p);
/* Steps that remove them; to be asked when no LUN is left. */
int plan_target_down(const TargetWant *want, const TargetSeen *seen, Plan *p);

/* -EADDRINUSE: the HBA directory or the LUN's directory is somebody else's; nothing was added. */
int plan_lun(const LunWant *want, const LunSeen *seen, Plan *p);

/* What stands in the LUN's places and is not ours: nothing of it is touched, up or down. */
bool plan_link_is_theirs(const LunWant *want, const LunSeen *seen);
bool plan_backstore_is_theirs(const LunWant *want, const LunSeen *seen);

/* The wanted LUN is up, and it was somebody else who made it (targetctl, from a file that holds our targets as well): the same disk under the same
 * name with the same serial. Nothing is left to do but to take it over: its HBA is seen->hba from then on, and it is unmarked. */
bool plan_can_take_over(const LunWant *want, const LunSeen *seen);

/* Of a wanted LUN that is up and ours: the first attribute (attrib/…) or serial of its backstore that somebody else has made another. Nothing is
 * planned for it, for a guest would see its disk change. *ret_path is relative to the root, *ret_text "is 1, and not 0". 1; 0: there is none. */
int plan_find_alteration(const LunWant *want, const LunSeen *seen, char **ret_path, char **ret_text);

/* The text that is written to a backstore's alias: who made it, and of which device instance. */
int plan_mark(uint64_t diskseq, dev_t devnum, char **ret);
/* Reads it. false: not ours. */
bool plan_parse_mark(const char *alias, uint64_t *ret_diskseq, dev_t *ret_devnum);

/* Of an enabled backstore. */
bool plan_is_marked(const LunSeen *seen);

/* Attributes that we set on every backstore unless the admin says otherwise: XCOPY off, which would reach other backstores by their NAA
 * (CVE-2020-28374, facts 1.13); and the backstore's name as the model that the guest sees, as targetcli has it (facts 1.9). */
extern const char *const plan_default_attributes[];
