/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"
#include "kernel/lio-statistics.h"

/* What the kernel has counted, for whoever asks: read by a child, one at a time, and by none while nobody asks. */

/* Called exactly once, later. counters: those of one LUN, or of the fabric, stand together. error: 0, or a negative errno if nothing could
 * be read. */
typedef void (*statistics_done_t)(const Counter *counters, size_t n, int error, void *userdata);

/* Of a whole target, or of one LUN. A LUN that is not up has none, and one that the kernel does not let go is left out. */
int statistics_read(Engine *e, const Target *t, const Lun *only, statistics_done_t done, void *userdata);

/* Whoever still waits hears -ECANCELED. */
void statistics_stop(Engine *e);
