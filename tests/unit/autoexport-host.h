/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>
#include <sys/sysmacros.h>

#include "engine-fixture.h"

/* The host of test-autoexport.c: stands for kernel/uevents.c and kernel/mounts.c. */

#define HOST_MAJOR 250U

extern Uevents *const host;
extern dev_t mounted;                   /* on /srv; 0: nothing */
extern unsigned n_mounts;               /* how often the mounts were asked for */
extern bool disk_is_full, mounts_fail;  /* the one that the store is on; for want of memory */
extern GHashTable *paths;               /* numbers of what sysfs shows below a multipath map; may be NULL */

void host_init(void);

typedef struct Disk {
        const char *target, *number, *readonly;
        const char *wwid;       /* NULL: made of the number */
        bool map, path, read_only;
} Disk;

void add_disk(Fixture *f, unsigned n, const Disk *disk);
void poke(Fixture *f, unsigned n);      /* the next event of it, which brings nothing new */
