/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

#include <stdbool.h>

struct bench {
        const char *node, *wwpn;
        unsigned queues, depth, bytes, ms;
        bool write;
};

/* Says "open"; after a line it attaches and keeps each queue filled to the depth, from a thread of its own, for so long; then says how many
 * requests a second were answered but for the beginning (RAMP_MS), and waits for another line with all still attached. */
int bench(const struct bench *b);
