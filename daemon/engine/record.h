/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdarg.h>

#include "engine/engine.h"
#include "engine/refusal.h"

/* Every change of what is wanted goes through here on its way to the store, so that the history (store/history.h) has what was before, and
 * who changed it and why. What is stored without changing what is wanted (a promise, the end of a removal) does not. */

/* Reads the history. Generations go on where it ends, whatever the clock says. -ENOMEM. */
int record_start(Engine *e, const char *state_dir);

/* Up to record_end() whatever is stored is one change, made by the caller whose message is being handled, if there is one. Within another
 * one it is a part of that. Returns e. */
Engine *record_begin(Engine *e, const char *format, ...) _printf_(2, 3);
Engine *record_beginv(Engine *e, const char *format, va_list ap) _printf_(2, 0);
void record_end(Engine *e);
DEFINE_CLEANUP(Engine *, record_end);

/* Between the two. Durable when they return 0; else nothing has changed, with the exceptions of base/fileio.h. */
int record_save(Engine *e, const Target *t);
int record_remove(Engine *e, const char *wwn);

/* A change that is complete, unless somebody has begun a larger one. The generation is counted. 0, or REFUSED or -ENOMEM: the caller takes it
 * back in the registry. */
int record_store(Engine *e, Target *t, Refusal *refusal, const char *format, ...) _printf_(4, 5);
/* The same for what is taken back. 0, or what the store said. */
int record_undo(Engine *e, Target *t, const char *format, ...) _printf_(3, 4);
