/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kernel/cfs.h"

/* What the kernel counts, read from configfs: may wait for ever where a LUN drains (facts 1.5), so only in a child. */

typedef struct Counter {
        int64_t lun;            /* its number, or COUNTER_FABRIC */
        char name[24];
        uint64_t value;
} Counter;

#define COUNTER_FABRIC INT64_C(-1)

typedef void (*lio_counter_t)(const Counter *c, void *userdata);

/* The portal group's, as vhscsi(4) has them; none with vhost_scsi. */
int lio_count_group(Cfs *c, const char *wwn, uint32_t portal_group, lio_counter_t on_counter, void *userdata);

/* A LUN's, and those of its backstore, which is at core/PLACE. What is not there is left out. */
int lio_count_lun(Cfs *c, const char *wwn, uint32_t portal_group, uint32_t number, const char *place, lio_counter_t on_counter,
                  void *userdata);
