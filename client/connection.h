/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "arguments.h"

/* Connects to the bus that the arguments name, and waits until it has let us in, so long at most: whether ssh gets there is known only then,
 * and a call that was never sent has no unknown outcome. */
int connection_open(const Arguments *a, uint64_t usec, sd_bus **ret);

uint64_t monotonic_usec(void);                  /* CLOCK_MONOTONIC */
