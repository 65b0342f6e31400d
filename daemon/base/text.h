/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/cleanup.h"

/* Text for people out of bytes that anybody may have chosen: the name of a map, the model of a disk, a mount point. */

/* A copy that is well-formed UTF-8 without control characters: every other byte is a question mark. */
int text_printable(const char *s, char **ret);

/* The same of its first bytes, with "…" where it was cut. */
#define TEXT_EXCERPT 64
int text_excerpt(const char *s, char **ret);

/* Says why something that came from outside is refused: *ret_why gets an allocated sentence, or NULL if there is no memory for it. Returns
 * -EINVAL. */
int text_refuse(char **ret_why, const char *format, ...) _printf_(2, 3);
