/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"
#include "engine/refusal.h"

/* Every change of a target is a draft at first: made in the registry, with a note of what was before (Target.draft, Lun.draft). It is stored with one
 * write of the target's file, however much it is, or taken back. Either comes in the same turn of the loop: neither a pass nor the bus sees a
 * draft. */

/* 0, REFUSED or -ENOMEM. On an error it is taken back, so that memory is what is stored. */
int draft_store(Engine *e, Target *t, Refusal *refusal);

/* Takes it back. A target that it made is freed; one that was adopted is freed as well, and is foreign again. */
void draft_drop(Engine *e, Target *t);
