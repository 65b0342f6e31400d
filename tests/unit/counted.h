/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <inttypes.h>
#include <stdint.h>

/* What is linked from the library "counted" (meson.build) reports each block of code that it runs: a measure of work that is the same on any
 * machine. Other libraries' work is not in it. */

extern uint64_t counted_blocks;
