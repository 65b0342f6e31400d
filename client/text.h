/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"

/* Text for a terminal: whatever came from a device, a label or an argument must not move the cursor, and columns are not bytes. */

#define TEXT_SIZE_MAX 16

/* Sets LC_CTYPE. Before any other function here. */
void text_init(void);
bool text_is_utf8(void);                /* does the user's terminal take UTF-8? */

/* A copy in which control characters, bidi overrides and bytes that are no UTF-8 are shown as \n, \t or \xNN. NULL: no memory. */
char *text_escape(const char *s);

/* Both take escaped text. */
size_t text_width(const char *s);
/* A copy that fills at most that many columns, its end replaced by an ellipsis if need be. NULL: no memory. */
char *text_shorten(const char *s, size_t columns);

/* 512B, 10G, 1.5T: powers of 1024, at most one decimal, rounded down so that no size is shown larger than it is. */
void text_format_size(uint64_t bytes, char ret[static TEXT_SIZE_MAX]);

/* "5", "5s", "500ms", "2min 30s". Plain numbers are seconds. -EINVAL, or -ERANGE beyond 64 bits of microseconds. */
int text_parse_timespan(const char *s, uint64_t *ret_usec);

/* "ManagedBy" -> "managed_by". NULL: no memory. */
char *text_snake_case(const char *s);
