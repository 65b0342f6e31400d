/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/cleanup.h"

/* How a LUN names its disk. Canonical text: "dm-uuid=mpath-3600…", "wwid=3600…", "by-id=NAME" (under /dev/disk/by-id), "path=/dev/…",
 * "by-path=NAME" (under /dev/disk/by-path) for one path to a disk, wherever that leads,
 * and "file=/…" for a regular file.
 * Two sources are the same disk for certain if their texts are equal; different texts may still turn out to be one disk, which only
 * the inventory can tell. */

#define SOURCE_MAX 480          /* bytes of a text: LIO's udev_path takes 512 and its control file 4095 with other words */

typedef enum SourceKind {
        SOURCE_DM_UUID,
        SOURCE_WWID,
        SOURCE_BY_ID,
        SOURCE_PATH,
        SOURCE_FILE,
        SOURCE_BY_PATH,
        _SOURCE_KIND_MAX,
} SourceKind;

/* Checks the form and canonicalises: a bare absolute path is path=…, a path under /dev/disk/by-id/ is by-id=…. Refuses what could
 * inject an option into LIO's control file (comma, control characters, facts 1.7), text that is not UTF-8, devices outside and files
 * inside /dev, "." and ".." and empty components, "/" in an id, empty values, over-long texts. Looks at no file. Returns 0 or -EINVAL; ret_why (may
 * be NULL) gets a static sentence that says what is wrong. */
int source_parse(const char *s, SourceKind *ret_kind, char **ret_text, const char **ret_why);

SourceKind source_kind(const char *text);               /* of a canonical text */
const char *source_value(const char *text);             /* of a canonical text: what stands behind '=' */
