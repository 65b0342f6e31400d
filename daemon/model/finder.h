/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "model/backstore.h"

/* Finds backstores that LUNs stand on, ours and foreign ones, by other things than the source: with thousands of them nobody can look at
 * each for every device and every call. Part of the registry, which keeps it. */

typedef struct Finder {
        Index *names;           /* as in configfs */
        Index *guests;          /* what guests tell disks apart by: digits of the serial */
        Index *disks;           /* what is under it, where its source does not say so: a path's disk, a foreign one's device */
        Index *open;            /* number of the device that one of ours has open */
} Finder;

int finder_init(Finder *f);
void finder_done(Finder *f);

/* By all that is known of it and did not find it yet. -ENOMEM: by some of it. */
int finder_enter(Finder *f, Backstore *b);
void finder_leave(Finder *f, Backstore *b);
/* Before and after what it has open becomes something else. */
void finder_leave_open(Finder *f, Backstore *b);
int finder_enter_open(Finder *f, Backstore *b);

/* One after the other: NULL begins, NULL ends. No LUN may come or go meanwhile. */
Backstore *finder_next_name(const Finder *f, const char *name, const Backstore *before);
Backstore *finder_next_guest(const Finder *f, const char *serial, const Backstore *before);
Backstore *finder_next_disk(const Finder *f, const char *source, const Backstore *before);
Backstore *finder_next_open(const Finder *f, dev_t devnum, const Backstore *before);
