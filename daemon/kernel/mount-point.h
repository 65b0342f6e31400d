/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"

/* Which filesystem a path is on, by the mount table alone (libmount): no file is looked at, for a look may wait for a disk or a server. */

typedef struct MountPoint {
        char *target;           /* the directory */
        /* What is mounted there, the same after a reboot: "uuid=…" if udev knows one, else "TYPE:SOURCE"; of one in memory, which is
         * another each time, with a number of that instance. ":/DIRECTORY" follows if it is not all of it, but a part that was bound there,
         * or a subvolume. */
        char *filesystem;
        dev_t awaited;          /* the disk, if udev has not processed it yet: then filesystem may have another name soon; else 0 */
        uint64_t id;            /* stx_mnt_id of statx() */
        dev_t devnum;
        bool pseudo;            /* no files of anybody's: proc, sysfs, … */
        bool network;           /* a look at a file there may wait for a server */
} MountPoint;

void mount_point_done(MountPoint *p);

/* A snapshot of the mount table. */
typedef struct MountTable MountTable;

int mount_table_new(MountTable **ret);
int mount_table_read(const char *mountinfo, MountTable **ret);  /* a file of that form */
MountTable *mount_table_free(MountTable *t);                    /* returns NULL */
DEFINE_CLEANUP(MountTable *, mount_table_free);

/* path: absolute, without links in it. -ENOENT: nothing is mounted on / even. */
int mount_table_find(const MountTable *t, const char *path, MountPoint *ret);

/* Calls when something was mounted, moved or unmounted. */
typedef struct MountWatch MountWatch;
typedef void (*mount_watch_t)(void *userdata);

int mount_watch_new(sd_event *event, mount_watch_t changed, void *userdata, MountWatch **ret);
MountWatch *mount_watch_free(MountWatch *w);                    /* returns NULL */
DEFINE_CLEANUP(MountWatch *, mount_watch_free);
