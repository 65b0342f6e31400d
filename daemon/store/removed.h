/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "base/cleanup.h"

/* <state>/removed.json: what was removed by hand and that no udev rule may bring back, be it a disk (by its source) or
 * a whole target (by its WWN). One file for all, for it must outlive the target's own. Format 1:
 * {"version":1,"removed":["dm-uuid=…","naa.…"]}, the oldest first; keys that we do not know are kept and written
 * back. */

#define REMOVED_MAX 32768U      /* beyond that the oldest is forgotten */

typedef struct RemovedList RemovedList;

/* Reads the file. One that cannot be used is renamed to removed.json.bad; one that cannot be read now, or not be renamed, or that somebody else may
 * have written, is left and tried again by whatever needs it; all are said loudly, see removed_is_known(). */
int removed_new(const char *state_dir, RemovedList **ret);
RemovedList *removed_free(RemovedList *l);                      /* returns NULL */
DEFINE_CLEANUP(RemovedList *, removed_free);

/* false while a removed.json.bad lies there, or the file cannot be read: then nobody knows what was removed, and rules make nothing. */
bool removed_is_known(RemovedList *l);

/* Why it is not known: a sentence for people; NULL: it is, as far as was seen last. */
const char *removed_problem(const RemovedList *l);

bool removed_contains(const RemovedList *l, const char *name);

/* Durable when they return >= 0, written once for all names; on an error nothing is changed: also if the file cannot be read, which is not written
 * over then. 1: one of them was not there (was there) before; 0: nothing to do. */
int removed_add(RemovedList *l, char *const *names);
int removed_forget(RemovedList *l, char *const *names);
