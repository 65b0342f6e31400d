/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/cleanup.h"

/* The attributes of a backstore (facts 1.13), for whoever reads them where nobody wrote down which of them an admin has set. */

typedef enum AttributeKind {
        ATTRIBUTE_SETTABLE,     /* we write it if an admin says so */
        ATTRIBUTE_OF_DISK,      /* The kernel takes it from the disk each time it opens that: what a file has of it is how the disk was then.
                                 * Written back, it may be refused: more queue_depth than the disk has now, or an unmap_zeroes_data that reads as
                                 * 4294967295. */
        ATTRIBUTE_IDLE,         /* old kernels had a use for it; this one says so in its log and does nothing */
        ATTRIBUTE_FIXED,        /* we never write it */
        ATTRIBUTE_UNKNOWN,
        _ATTRIBUTE_KIND_MAX,
} AttributeKind;

AttributeKind attribute_kind(const char *name);

/* One that may be written: settable, or of the disk. */
bool attribute_is_settable(const char *name);
/* One of those, with a decimal value. */
bool attribute_is_valid(const char *name, const char *value);

/* All that we know by name, sorted; NULL behind the last. */
const char *attribute_name(size_t i);

/* What it is on a backstore of ours for which nobody has set it; NULL: there is no such value. */
const char *attribute_default(const char *name);
