/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"

/* Devices that a udev rule wishes to be exported (model/wish.h). News of them leave a mark; once a turn of the loop the
 * marks are swept, and what can be exported is, one save of the store for each target. What cannot is said once, and
 * tried again at the device's next event; if it was the store or memory that failed, by time as well. A wish only ever
 * adds: without it, or with another one, a LUN stays what it is. */

typedef struct Autoexport Autoexport;

int autoexport_new(Autoexport **ret);
Autoexport *autoexport_free(Autoexport *a);                     /* returns NULL */
DEFINE_CLEANUP(Autoexport *, autoexport_free);

void autoexport_mark(Engine *e, const Device *d);
void autoexport_forget(Engine *e, dev_t devnum);                /* the device is gone */

/* Called by the queue before it starts passes, and once by the daemon's start. */
void autoexport_sweep(Engine *e);
bool autoexport_is_pending(const Engine *e);                    /* the next turn sweeps something */
