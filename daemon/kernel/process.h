/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"

/* A process of this host, by a descriptor that stays its own and becomes readable when it ends, and the time at which it began (in clock
 * ticks since the boot), which tells it from another one that gets its number later; 0 where /proc does not show others' processes.
 * -ESRCH: there is none. */
int process_open(uint32_t pid, int *ret_pidfd, uint64_t *ret_started);
