/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

/* A driver's side of a split ring in one piece of memory, for the unit tests and the fuzzer: the guest's memory is the window. */

#include "request.h"
#include "ring.h"

#define DRIVER_MEMORY 0x40000
#define DRIVER_GPA 0x100000u

struct driver {
        uint8_t *memory;
        unsigned num;
        struct vring vring;
        struct vhscsi_ring ring;
        struct vhscsi_mem *mem;
        struct vhscsi_chain *chain;
};

/* Memory is mapped in that many regions of equal size, one after the other for the guest and in reverse order for the owner. */
void driver_init(struct driver *d, unsigned num, unsigned regions, bool event_idx);
void driver_done(struct driver *d);

/* Where a guest address is. */
void *driver_at(struct driver *d, uint64_t gpa);
void driver_write(struct driver *d, uint64_t gpa, const void *from, size_t n);
/* The first guest address that neither the ring nor the tests' own layout uses. */
#define DRIVER_DATA (DRIVER_GPA + 0x20000)

void driver_desc(struct driver *d, unsigned i, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next);
void driver_offer(struct driver *d, uint16_t head);
