/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"
#include "engine/refusal.h"
#include "model/owner.h"

/* Who has which target, one owner a target, and the ends of their processes. Kept over restarts of the service, and no longer than the
 * host is up: what is on /run ends with the guests. */

typedef struct Owners Owners;

/* Reads who had what, as far as they are there still. The directory is made if it is not there. */
int owners_new(Engine *e, const char *runtime_dir, Owners **ret);
Owners *owners_free(Owners *o);                                 /* returns NULL */
DEFINE_CLEANUP(Owners *, owners_free);

/* NULL: nobody. wwn: as the registry has it; there need be no such target any more. */
const Owner *owners_get(const Engine *e, const char *wwn);
/* Another number whenever something of the owner is another; 0: there is none. */
uint64_t owners_serial(const Engine *e, const char *wwn);

/* InUse, by whom. */
int owners_refuse(const Owner *o, Refusal *refusal);
/* The same, unless it is the one of that key, and this user may speak for it. */
int owners_check_same(const Owner *o, const char *key, uint32_t uid, Refusal *refusal);
/* Whoever loses something with this LUN (l NULL: all of the target), its owner or a guest that is just attached, in words. NULL: nobody, as far as
 * we know. */
int owners_find_user(const Engine *e, const Target *t, const Lun *l, char **ret);
/* May it be taken from them? */
int owners_check_idle(const Engine *e, const Target *t, const Lun *l, bool force, Refusal *refusal);

/* A copy of o has its target from now on, instead of whoever had it; of the same owner, what o does not say stays as it was. pidfd is taken
 * over: that of o->pid. Stored when they return 0, else nothing is changed. */
int owners_take(Engine *e, const Owner *o, int pidfd);
int owners_release(Engine *e, const char *wwn);
