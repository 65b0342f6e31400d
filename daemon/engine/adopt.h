/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/edit.h"

/* Taking a foreign target over by looking: its nexus, numbers, names, serials and attributes become what is wanted, as they are. The kernel is
 * not touched: the pass that follows finds that everything is there. */

/* t is foreign, and a survey has looked at it closely (Engine.survey_closely) just now. What could not be brought up again just so after a
 * reboot is refused, with the reason. *ret takes t's place; on a dry run it is NULL. */
int adopt_look(Engine *e, Target *t, Target **ret, Refusal *refusal);      /* only what it would be: *ret is in no registry, and the caller's */
int adopt_target(Engine *e, Target *t, const EditOptions *o, Target **ret, Refusal *refusal);

/* The kernel would not agree: it is as foreign as it was. The target is freed; its requests must have been answered. */
int adopt_undo(Engine *e, Target *t);

/* Back to whoever made it: foreign again, and as it is in the kernel, where nothing is touched. Of one that was adopted, and has got nothing from us
 * that its maker would not know. The target is freed; on a dry run it is only looked at. 0, REFUSED or -ENOMEM. */
int adopt_release(Engine *e, Target *t, const EditOptions *o, Refusal *refusal);
