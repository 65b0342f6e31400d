/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/request.h"

/* After a pass reported: which of the target's calls have their answer now, and which have to be taken back. t may be freed by it when it
 * returns true. */
bool settle_target(Engine *e, Target *t);

/* Rescan() calls whose survey and passes are over. */
void settle_rescans(Engine *e);
