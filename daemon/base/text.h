/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/cleanup.h"

/* Text for people out of bytes that anybody may have chosen: the name of a map, the model of a disk, a mount point. */

/* A copy that is well-formed UTF-8 without control characters: every other byte is a question mark. */
int text_printable(const char *s, char **ret);
