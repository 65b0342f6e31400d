/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

/* What a backstore's `info` file says of what it has open. The kernel words it for people: iblock_show_configfs_dev_params() in
 * drivers/target/target_core_iblock.c ("Major: 253 Minor: 3"), fd_show_configfs_dev_params() in target_core_file.c
 * ("File: /srv/disk  Size: 1048576"). */

typedef struct BackstoreInfo {
        dev_t devnum;           /* of the block device; 0: none is open */
        bool readonly;
        char *file;             /* of a file: its path, as it was given; NULL: none */
        uint64_t size;          /* of a file, bytes */
} BackstoreInfo;

/* -EBADMSG: it is neither of the two, or nothing is open. */
int backstore_info_parse(const char *text, BackstoreInfo *ret);
void backstore_info_done(BackstoreInfo *i);
