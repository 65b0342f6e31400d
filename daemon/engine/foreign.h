/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"

/* Targets that the store does not name: looked at in a child (a draining LUN makes every reader wait, facts 1.5), published, never
 * touched. */

/* The next survey finds out everything of it; what an earlier one saw does not count. */
int foreign_look_closely(Engine *e, Target *t);

int foreign_start_survey(Engine *e);
void foreign_stop(Engine *e);
