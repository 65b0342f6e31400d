/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"

/* Other people's hands in configfs, by inotify (facts 1.11): targets that come and go, LUNs of ours that somebody else takes away or makes, and
 * links that are removed while their lun_<N> stays. What is ours is looked at and made as it is wanted again when they are done, and ever more
 * rarely where somebody keeps changing it, for there is no winning that. Where events were lost, everything is looked at. An attribute that is
 * written is not watched: the next look finds it, and it is said and left as it is (engine/report.c), for a guest would see its disk
 * change. */

typedef struct Drift Drift;

/* path: <configfs>/target. */
int drift_new(Engine *e, const char *path, Drift **ret);
Drift *drift_free(Drift *d);                                    /* returns NULL */
DEFINE_CLEANUP(Drift *, drift_free);

/* The target's directory was made, or found: from now on its LUNs are watched. */
void drift_watch(Engine *e, const Target *t);

/* The LUN is up: from now on its link is watched. */
void drift_watch_lun(Engine *e, Lun *l);

/* A pass over the target is over. One that had to repair something is followed by another look, since what came meanwhile may have been taken
 * for its own doing. */
void drift_settle(Engine *e, Target *t, bool repaired);
