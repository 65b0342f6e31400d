/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"

/* Targets that the store does not name: looked at in a child (a draining LUN makes every reader wait, facts 1.5), published, never
 * touched. */

int foreign_start_survey(Engine *e);
void foreign_stop(Engine *e);
