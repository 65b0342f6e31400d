/* SPDX-License-Identifier: GPL-2.0-only */
#include "driver.h"

struct shim_window shim_window;

/* The ring lies in a part of the window that no region covers: rings are given by the owner's addresses, data by the guest's. */
#define RING_ROOM 0x40000

void driver_init(struct driver *d, unsigned num, unsigned regions, bool event_idx) {
        size_t piece = DRIVER_MEMORY / regions;

        *d = (struct driver) {.num = num};
        d->memory = aligned_alloc(4096, DRIVER_MEMORY + RING_ROOM);
        d->mem = malloc(sizeof(*d->mem) + regions * sizeof(d->mem->r[0]));
        d->chain = malloc(sizeof(*d->chain));
        if (!d->memory || !d->mem || !d->chain)
                abort();
        memset(d->memory, 0, DRIVER_MEMORY + RING_ROOM);
        shim_window = (struct shim_window) {d->memory, DRIVER_MEMORY + RING_ROOM};

        d->mem->n = regions;
        for (unsigned i = 0; i < regions; i++)
                d->mem->r[i] = (struct vhscsi_region) {
                        .gpa = DRIVER_GPA + i * piece,
                        .size = piece,
                        .uva = (uintptr_t) d->memory + (regions - 1 - i) * piece,
                };
        if (vhscsi_mem_seal(d->mem) < 0)
                abort();

        vring_init(&d->vring, num, d->memory + DRIVER_MEMORY, 4096);
        d->ring = (struct vhscsi_ring) {
                .num = num, .event_idx = event_idx, .desc = d->vring.desc, .avail = d->vring.avail, .used = d->vring.used,
        };
        if (vhscsi_ring_start(&d->ring) < 0)
                abort();
}

void driver_done(struct driver *d) {
        free(d->memory);
        free(d->mem);
        free(d->chain);
        shim_window = (struct shim_window) {};
}

void *driver_at(struct driver *d, uint64_t gpa) {
        struct vhscsi_seg s;

        if (vhscsi_mem_translate(d->mem, gpa, 1, &s, 1) != 1)
                abort();
        return (void *) (uintptr_t) s.uva;
}

void driver_write(struct driver *d, uint64_t gpa, const void *from, size_t n) {
        struct vhscsi_seg s[16];
        int k = vhscsi_mem_translate(d->mem, gpa, n, s, 16);

        if (k < 0)
                abort();
        for (int i = 0; i < k; i++) {
                memcpy((void *) (uintptr_t) s[i].uva, from, s[i].len);
                from = (const uint8_t *) from + s[i].len;
        }
}

void driver_desc(struct driver *d, unsigned i, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next) {
        d->vring.desc[i] = (struct vring_desc) {gpa, len, flags, next};
}

void driver_offer(struct driver *d, uint16_t head) {
        d->vring.avail->ring[d->vring.avail->idx & (d->num - 1)] = head;
        d->vring.avail->idx++;
}
