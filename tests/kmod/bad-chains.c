/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>

#include "device.h"

struct bad_chain {
        const char *name;
        struct vring_desc desc[2], table[2];
        uint16_t head;
        uint16_t skip;          /* added to the available index on top of the one */
};

static const struct bad_chain bad_chains[] = {
        {.name = "head", .head = RING},
        {.name = "next", .desc = {{REQ_AT, 8, VRING_DESC_F_NEXT, RING}}},
        {.name = "loop", .desc = {{REQ_AT, 8, VRING_DESC_F_NEXT, 0}}},
        {.name = "order", .desc = {{REQ_AT, 8, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1}, {REQ_AT, 8, 0, 0}}},
        {.name = "address", .desc = {{GUEST_BASE - 8, 16, 0, 0}}},
        {.name = "address-wrap", .desc = {{UINT64_MAX - 4, 16, 0, 0}}},
        {.name = "length", .desc = {{REQ_AT, UINT32_MAX, 0, 0}}},
        {.name = "indirect-odd", .desc = {{TABLE_AT, 17, VRING_DESC_F_INDIRECT, 0}}},
        {.name = "indirect-nested", .desc = {{TABLE_AT, 32, VRING_DESC_F_INDIRECT, 0}},
         .table = {{TABLE_AT, 16, VRING_DESC_F_INDIRECT, 0}}},
        {.name = "indirect-loop", .desc = {{TABLE_AT, 16, VRING_DESC_F_INDIRECT, 0}}, .table = {{REQ_AT, 8, VRING_DESC_F_NEXT, 0}}},
        {.name = "indirect-empty", .desc = {{TABLE_AT, 0, VRING_DESC_F_INDIRECT, 0}}},
        {.name = "indirect-next",
         .desc = {{TABLE_AT, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1}, {RESP_AT, RESP, VRING_DESC_F_WRITE, 0}},
         .table = {{REQ_AT, REQ, 0, 0}}},
        {.name = "indirect-address", .desc = {{GUEST_BASE - 64, 64, VRING_DESC_F_INDIRECT, 0}}},
        {.name = "indirect-long", .desc = {{TABLE_AT, 16 * 65536, VRING_DESC_F_INDIRECT, 0}}},
        {.name = "empty", .desc = {{REQ_AT, 0, 0, 0}}},
        {.name = "no-room", .desc = {{REQ_AT, REQ, VRING_DESC_F_NEXT, 1}, {RESP_AT, 8, VRING_DESC_F_WRITE, 0}}},
        /* Poor ones, but they can be answered. */
        {.name = "short-request", .desc = {{REQ_AT, 20, VRING_DESC_F_NEXT, 1}, {RESP_AT, RESP, VRING_DESC_F_WRITE, 0}}},
        {.name = "short-response", .desc = {{REQ_AT, REQ, VRING_DESC_F_NEXT, 1}, {RESP_AT, 20, VRING_DESC_F_WRITE, 0}}},
        {.name = "no-response", .desc = {{REQ_AT, REQ, 0, 0}}},
        {.name = "avail-index", .desc = {{REQ_AT, REQ, 0, 0}}, .skip = RING},
};

void bad_chain_offer(struct device *d, unsigned q, const char *name) {
        const struct bad_chain *b = NULL;

        for (size_t i = 0; i < sizeof(bad_chains) / sizeof(bad_chains[0]); i++)
                if (strcmp(bad_chains[i].name, name) == 0)
                        b = &bad_chains[i];
        if (!b)
                die("no such chain: %s", name);

        memcpy(d->q[q].ring.desc, b->desc, sizeof(b->desc));
        guest_write(d, TABLE_AT, b->table, sizeof(b->table));
        d->q[q].ring.avail->ring[0] = b->head;
        __atomic_store_n(&d->q[q].ring.avail->idx, (uint16_t) (1 + b->skip), __ATOMIC_RELEASE);
}
