/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <libudev.h>
#include <stdatomic.h>

#include "kernel/hearsay.h"
#include "model/device.h"

/* A list of device numbers, and the devices that stand behind them. */

typedef struct udev Udev;
typedef struct udev_device UdevDevice;
typedef struct udev_monitor UdevMonitor;

DEFINE_CLEANUP(Udev *, udev_unref);
DEFINE_CLEANUP(UdevDevice *, udev_device_unref);

typedef struct RollEntry {
        dev_t devnum;
        uint64_t event_diskseq; /* of the event that the reading follows; 0: none */
        int valid_paths;        /* as Heard has it */
        Device *device;         /* NULL: error tells; -ENODEV: there is none */
        int error;
} RollEntry;

typedef struct Roll {
        int root_fd;            /* /sys/dev/block; the caller's */
        RollEntry *entries;
        size_t n, room;
        atomic_size_t next;     /* the first that no thread took */
} Roll;

void roll_done(Roll *roll);

/* heard: NULL if nothing was. */
int roll_add(Roll *roll, dev_t devnum, const Heard *heard);

/* Every block device that the kernel has. */
int roll_add_all(Roll *roll);

/* Reads them all, in threads if it is worth it. -ENOMEM: not every one was read; all other errors stand in the entries. */
int roll_call(Roll *roll);

/* One alone. udev: of the thread that calls. */
int roll_read(int root_fd, Udev *udev, const RollEntry *entry, Device **ret);

/* The links that udev made: allocated, NULL-terminated. */
int roll_links(UdevDevice *device, char ***ret);
