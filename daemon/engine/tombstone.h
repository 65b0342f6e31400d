/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"
#include "engine/refusal.h"

/* What somebody removed by hand stays removed, whatever udev's rules wish, until somebody adds it by hand. Kept in
 * store/removed.h. A tombstone of what exists says nothing: it is looked at only where a rule would make something.
 * */

/* Before a removal is stored; does nothing for what no rule made and no rule wishes. 0, REFUSED or -ENOMEM. */
int tombstone_set_lun(Engine *e, const Lun *l, Refusal *refusal);
int tombstone_set_target(Engine *e, const Target *t, Refusal *refusal);        /* and its LUNs */

/* After an addition by hand was stored. Returns whether there was one. */
bool tombstone_clear(Engine *e, const char *name);
/* By any name of its device; NULL: of the one that the source leads to. A disk without its map is found by a path, which it does not lead to. */
bool tombstone_clear_source(Engine *e, const char *source, const Device *d);

/* The addition failed and was taken back. */
void tombstone_restore(Engine *e, const char *name);

bool tombstone_covers(const Engine *e, const Device *d);
