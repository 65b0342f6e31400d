/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"

/* One block device of the host, as udev's database and sysfs described it when we last looked. Values only: whoever reads udev fills it
 * (kernel/uevents.c). */

typedef enum DeviceKind {
        DEVICE_DISK,            /* a whole disk: sd, nvme, vd, nullb, loop, ram, … */
        DEVICE_PARTITION,
        DEVICE_MULTIPATH,       /* a device-mapper map whose DM_UUID starts with mpath- */
        DEVICE_MAP,             /* any other device-mapper map */
        DEVICE_FILE,            /* a regular file, as far as the mount table tells: the right filesystem or none at all is where it is */
        _DEVICE_KIND_MAX,
} DeviceKind;

/* Why a device can or cannot be exported. The order is the order of the tests: the first that holds is the answer. */
typedef enum DeviceVerdict {
        DEVICE_USABLE,
        DEVICE_NOT_READY,       /* udev has not seen it through, no table, size 0, suspended before first use */
        DEVICE_IGNORED,         /* VHOSTSCSI_IGNORE=1 */
        DEVICE_PATH_MEMBER,     /* a path of a multipath map; detail: the map's name */
        DEVICE_IN_USE,          /* mounted, swap, the host's own disk, itself or by what stands on it; detail: says which */
        DEVICE_HELD,            /* held by another driver: LVM, md, another map; detail: the holder */
        DEVICE_UNSUITABLE,      /* a kind that cannot be exported: CD-ROM, floppy, a zoned or zram disk */
        _DEVICE_VERDICT_MAX,
} DeviceVerdict;

/* What a LUN that stands on the device has of it. ok: can be read and written. */
typedef enum DeviceHealth {
        HEALTH_OK,
        HEALTH_DEGRADED,        /* some paths of the map have failed */
        HEALTH_NO_PATH,
        HEALTH_SUSPENDED,
        HEALTH_READ_ONLY,       /* the device went read-only under a LUN that may write */
        HEALTH_GONE,            /* the block device was removed */
        HEALTH_UNKNOWN,
        _HEALTH_MAX,
} DeviceHealth;

typedef struct Device {
        dev_t devnum;
        dev_t disk;             /* partitions: the whole disk's number; 0: not known */
        DeviceKind kind;
        char *name;             /* kernel name: sdb, dm-3, nvme0n1p1 */
        char *node;             /* /dev/… of the kernel name */
        char *identity;         /* the most stable source that names it, canonical text (model/source.h); never NULL */
        char **keys;            /* every canonical source text that names it, NULL-terminated; identity is the first */
        char *link;             /* what goes into LIO's udev_path: the stable /dev/disk/by-id/… link, else node */
        char *place;            /* its /dev/disk/by-path/… link, which says where it is and not who; may be NULL */
        char *dm_name;          /* maps only */
        char *mount;            /* files only: the directory that its filesystem is mounted on */
        char *path_of;          /* paths only: the map's dm name, "" when it is not known (yet) */
        char *model;            /* for people; may be NULL */
        char *wish_target;      /* what a udev rule asks for, as it stands there (model/wish.h); NULL: nothing */
        char *wish_number;
        char *wish_readonly;
        uint64_t diskseq;       /* the kernel's instance number, 0 if it has none; of a file: the mount's id */
        uint64_t size;          /* bytes */
        uint32_t block_size;    /* logical, bytes */
        int valid_paths;        /* of a multipath map; -1: not said */
        int total_paths;        /* of a multipath map, as sysfs slaves/ counts; -1: not known */
        bool stable;            /* identity survives a reboot (false: identity is path=<node>) */
        bool initialized;       /* udev has processed it */
        bool ready;             /* dm: has a live table and udev's flags are clear; others: true when initialized */
        bool suspended;
        bool read_only;
        bool path_member;       /* DM_MULTIPATH_DEVICE_PATH=1 */
        bool ignored;           /* VHOSTSCSI_IGNORE=1 */
        bool unsuitable;
} Device;

Device *device_new(void);
Device *device_free(Device *d);                                 /* returns NULL */
DEFINE_CLEANUP(Device *, device_free);

/* The first of its keys of that kind ("wwid"), or NULL. */
const char *device_key(const Device *d, const char *kind);

bool device_equal(const Device *a, const Device *b);            /* every field */
bool device_is_map(const Device *d);                            /* of device-mapper, multipath's or another */

/* From the device's own fields only: NOT_READY, IGNORED, PATH_MEMBER, UNSUITABLE or USABLE. Who mounted or holds it is added by the one
 * who asked the outside world (engine/survey.c). ret_detail (may be NULL): text for people, NULL for USABLE. */
DeviceVerdict device_verdict(const Device *d, char **ret_detail);

/* d NULL: HEALTH_GONE if the device was there before (gone), else HEALTH_UNKNOWN. writable: the LUN may write. */
DeviceHealth device_health(const Device *d, bool writable, bool gone);

const char *device_kind_to_string(DeviceKind k);                /* disk partition multipath map file */
const char *device_verdict_to_string(DeviceVerdict v);          /* usable not-ready ignored path-member in-use held unsuitable */
const char *device_health_to_string(DeviceHealth h);            /* as design.md's Health: ok degraded no-path … */
