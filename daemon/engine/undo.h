/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"

/* Taking back what failed in the kernel, or in the store after that. On an error, which is the store's, nothing is taken back: what is wanted stays
 * as it is stored, and the passes go on with it. */

void undo_create(Engine *e, Target *t);
int undo_destroy(Engine *e, Target *t);
int undo_add_lun(Engine *e, Lun *l);
int undo_remove_lun(Engine *e, Lun *l);
