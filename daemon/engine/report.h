/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"
#include "engine/pass.h"

/* What a pass reports, into the model: observed fields, errors, when to try again, marks for publishing. Frees a LUN of which nothing is
 * left and that nobody wants; a target goes in settle_target(). */
void report_apply(Engine *e, Target *t, const PassReport *report);

/* Nothing of the target (the LUN) is left in the kernel, and the store cannot be made to forget it: tried again by time. error: negative errno. */
void report_unstored_lun(Engine *e, Lun *l, int error);
void report_unstored(Engine *e, Target *t, int error);

/* The pass is over: stores what was noted in it. */
void report_finish(Engine *e, Target *t);
