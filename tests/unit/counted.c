/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "counted.h"

uint64_t counted_blocks;

/* What -fsanitize-coverage=trace-pc calls. */
void __sanitizer_cov_trace_pc(void);

void __sanitizer_cov_trace_pc(void) {
        counted_blocks++;
}
