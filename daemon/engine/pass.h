/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kernel/cfs.h"
#include "model/guest.h"
#include "model/plan.h"

/* One pass over one target: look, plan, perform. The only code that touches configfs; it runs in a forked child (engine/worker.c), for
 * any step may wait in the kernel for ever. The job points into the model as it was at the fork. */

typedef struct PassLun {
        LunWant want;
        bool force;             /* unwanted: take it down even while a guest is attached */
        unsigned group;         /* LUNs of one backstore have the same group, and stand one after the other */
} PassLun;

typedef struct PassJob {
        TargetWant target;
        bool look_at_target;    /* make it, or (not wanted) remove it once no LUN is left; false: only the LUNs */
        bool probe;             /* ask who is attached */
        bool search;            /* and look for a QEMU whose guest's driver does not run: dear, it is all of /proc */
        unsigned threads;       /* at most so many LUNs at a time */
        uint64_t stall_usec;    /* so long without progress: say so, and leave what hangs to this child */
        PassLun *luns;
        size_t n_luns;
} PassJob;

void pass_job_done(PassJob *job);

typedef enum PassReportKind {
        PASS_TARGET,            /* the target's own state; error: a step failed */
        PASS_PROBE,             /* endpoint: error 0 idle, 1 attached, negative: not known; and whose guest it is, running or not */
        PASS_LUN,               /* a LUN is done with, well or not */
        PASS_SKIPPED,           /* a LUN was not begun: it needs another pass */
        PASS_STALLED,           /* LUNs that were not reported hang; the target may have other passes meanwhile */
        PASS_END,               /* everything was reported */
} PassReportKind;

/* One datagram from the child to the daemon. */
typedef struct PassReport {
        PassReportKind kind;
        uint32_t number;        /* PASS_LUN, PASS_SKIPPED */
        int error;              /* 0 or negative errno of the step below */
        bool unseen;            /* PASS_LUN: there was no looking at it; of what follows nothing is known */
        bool present;           /* PASS_TARGET: its directory exists, as far as is known; PASS_LUN: something of it does */
        bool other_nexus;       /* PASS_TARGET: the one in the kernel is not the wanted one, and stays */
        bool up;                /* PASS_TARGET: group and nexus exist; PASS_LUN: linked */
        bool backstore;         /* PASS_LUN: its directory exists */
        bool altered;           /* PASS_LUN: it is up, but path below is not as it is wanted: value says how; nothing was done about it */
        bool attached;          /* PASS_LUN: left alone because a guest is attached; error is -EBUSY */
        bool marked;            /* PASS_LUN: the backstore bears our mark */
        bool taken_over;        /* PASS_LUN: somebody else has made what is wanted, under hba below */
        uint32_t hba;
        bool taken;             /* PASS_LUN: the HBA directory is somebody else's; error is -EADDRINUSE */
        dev_t devnum;           /* PASS_LUN: what the backstore has open, 0: nothing */
        uint64_t diskseq;
        unsigned steps;         /* performed: 0 means that wanted equalled observed */
        Guest guest;            /* PASS_PROBE */
        bool whole;             /* PASS_PROBE: without a guest there is none; else it was not looked for */
        StepOp op;              /* that failed, if path is not empty */
        char path[768];
        char value[256];
} PassReport;

typedef void (*pass_report_t)(const PassReport *report, void *userdata);

/* report may be called from several threads at once. Returns when everything is done, which may be never. */
void pass_run(Cfs *c, const PassJob *job, pass_report_t report, void *userdata);
