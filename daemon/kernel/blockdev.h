/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "model/device.h"

/* A Device from what udev says of it and what sysfs shows. No device node is ever opened: closing one that was opened
 * for writing makes a "change" event, and opening a map may wait for it to be resumed. */

typedef enum BlockdevProperty {
        BLOCKDEV_DISKSEQ,
        BLOCKDEV_DM_MULTIPATH_DEVICE_PATH,
        BLOCKDEV_DM_NAME,
        BLOCKDEV_DM_SUSPENDED,
        BLOCKDEV_DM_UDEV_DISABLE_OTHER_RULES_FLAG,
        BLOCKDEV_DM_UDEV_PRIMARY_SOURCE_FLAG,
        BLOCKDEV_DM_UUID,
        BLOCKDEV_ID_BUS,
        BLOCKDEV_ID_IGNORE_DISKSEQ,
        BLOCKDEV_ID_MODEL,
        BLOCKDEV_ID_SCSI,
        BLOCKDEV_ID_SERIAL,
        BLOCKDEV_ID_WWN,
        BLOCKDEV_VHOSTSCSI_IGNORE,
        BLOCKDEV_VHOSTSCSI_LUN,
        BLOCKDEV_VHOSTSCSI_READONLY,
        BLOCKDEV_VHOSTSCSI_TARGET,
        _BLOCKDEV_PROPERTY_MAX,
} BlockdevProperty;

extern const char *const blockdev_property_names[_BLOCKDEV_PROPERTY_MAX];

/* udev's part. All of it is input. */
typedef struct BlockdevFacts {
        dev_t devnum;
        const char *name;
        const char *node;
        bool partition;
        bool initialized;
        char *const *links;             /* NULL-terminated, may be NULL */
        const char *properties[_BLOCKDEV_PROPERTY_MAX];         /* NULL where udev has none */
        int valid_paths;                /* that the last event of the map told; -1: none did */
        uint64_t event_diskseq;         /* of the event that this reading follows; 0: none */
} BlockdevFacts;

/* dirfd: of sysfs_open_block(). -ENODEV: it vanished, also while we read. */
int blockdev_read(int dirfd, const BlockdevFacts *facts, Device **ret);
