/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"
#include "engine/refusal.h"

/* What somebody removed by hand stays removed, whatever udev's rules wish, until somebody adds it by hand. Kept in
 * store/removed.h. A tombstone of what exists says nothing: it is looked at only where a rule would make something.
 * */

/* Before a removal is stored; does nothing for what no rule made and no rule wishes. 0, REFUSED or -ENOMEM. */
int tombstone_set_luns(Engine *e, const Target *t, Refusal *refusal);          /* those that are LUN_REMOVED (engine/draft.h) */
int tombstone_set_target(Engine *e, const Target *t, Refusal *refusal);        /* and its LUNs */

/* What an addition by hand is to clear: appends to *names those under which something was removed, and returns whether there is one. Of a source by
 * any name of its device; NULL: of the one that the source leads to. A disk without its map is found by a path, which it does not lead to. */
bool tombstone_find(Engine *e, const char *name, char ***names);
bool tombstone_find_source(Engine *e, const char *source, const Device *d, char ***names);
/* After the addition was stored: if it was not to be, what was removed is to stay so. */
void tombstone_clear(Engine *e, char *const *names);

/* Before it is stored that an addition is taken back. */
void tombstone_restore(Engine *e, const char *name);

bool tombstone_covers(const Engine *e, const Device *d);
