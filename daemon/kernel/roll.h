/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <libudev.h>
#include <pthread.h>
#include <stdatomic.h>

#include "kernel/hearsay.h"
#include "model/device.h"

/* A list of device numbers, and the devices that stand behind them. */

typedef struct udev Udev;
typedef struct udev_device UdevDevice;
typedef struct udev_monitor UdevMonitor;

DEFINE_CLEANUP(Udev *, udev_unref);
DEFINE_CLEANUP(UdevDevice *, udev_device_unref);

#define ROLL_NUMBER_SIZE 24

typedef struct RollEntry {
        dev_t devnum;
        char number[ROLL_NUMBER_SIZE];  /* "8:16" */
        uint64_t event_diskseq; /* of the event that the reading follows; 0: none */
        int valid_paths;        /* as Heard has it */
        Device *device;         /* NULL: error tells; -ENODEV: there is none */
        char **names;           /* of roll_glance(); NULL and no error: the device is to be read */
        int error;
} RollEntry;

typedef struct Roll {
        int root_fd;            /* /sys/dev/block; the caller's */
        int data_fd;            /* roll_glance() only */
        RollEntry *entries;
        size_t n, room;
        atomic_size_t next;     /* the first that no thread took */
        pthread_t early;        /* of roll_glance_begin(), if begun */
        bool begun;
        atomic_bool listed;     /* by that thread: the others may help */
        int error;              /* of its list; for who has joined it */
} Roll;

void roll_done(Roll *roll);

/* heard: NULL if nothing was. */
int roll_add(Roll *roll, dev_t devnum, const Heard *heard);

/* Every block device that the kernel has. */
int roll_add_all(Roll *roll);

/* Reads them all, in threads if it is worth it. -ENOMEM: not every one was read; all other errors stand in the entries. */
int roll_call(Roll *roll);

/* The names of every block device that the kernel has (kernel/glance.h). begin: in the background, while the caller does something else; the
 * roll, which is empty, stays where it is then, until roll_glance() has done the rest. -ENOMEM as above, or that it has no list of them. */
void roll_glance_begin(Roll *roll);
int roll_glance(Roll *roll);

/* One alone. udev: of the thread that calls. */
int roll_read(int root_fd, Udev *udev, const RollEntry *entry, Device **ret);

/* The links that udev made: allocated, NULL-terminated. */
int roll_links(UdevDevice *device, char ***ret);
