/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"

/* Starts passes for what is marked, after each turn of the loop; and again, ever more rarely, for what failed. */

/* Before publish, and both before the next message: a caller who keeps the bus busy must not hold up passes and replies. */
#define QUEUE_PRIORITY (SD_EVENT_PRIORITY_NORMAL - 20)

int queue_start(Engine *e);
void queue_stop(Engine *e);

/* Nothing is marked, all is stored, and no pass runs but what hangs. */
bool queue_is_idle(const Engine *e);

/* Something is to be tried again at that time (CLOCK_MONOTONIC µs); 0: nothing new. */
void queue_retry_by(Engine *e, uint64_t at);
