/* SPDX-License-Identifier: GPL-2.0-only */
/* Many requests at once: each is answered, once, and with its own data, whatever is changed meanwhile. */
#include "checks.h"

/* A batch of requests in flight at once. */
struct batch {
        unsigned depth;
        uint32_t bytes;
        bool ordered;           /* now and then one is to come after all before it */
};

static const struct batch small = {64, 4096, false}, large = {16, 512 << 10, false}, large_ordered = {16, 512 << 10, true};

static uint8_t page_pattern(unsigned i, uint32_t page, unsigned round) {
        return (uint8_t) (i * 3 + page * 5 + round);
}

static void batch_offer(const struct batch *b, unsigned i, unsigned round, bool write) {
        uint64_t head_at = GUEST_BASE + 0x10000 + i * 512, data = DATA_AT + i * (uint64_t) b->bytes;
        uint32_t block = i * (b->bytes / 512), blocks = b->bytes / 512;
        struct virtio_scsi_cmd_req h = {
                .lun = {1, 1, 0x40, 0}, .tag = i, .task_attr = b->ordered && i % 5 == 4 ? VIRTIO_SCSI_S_ORDERED : VIRTIO_SCSI_S_SIMPLE,
                .cdb = {write ? 0x2a : 0x28, [3] = (uint8_t) (block >> 16), (uint8_t) (block >> 8), (uint8_t) block,
                        [7] = (uint8_t) (blocks >> 8), (uint8_t) blocks},
        };
        struct piece p[3] = {{head_at, REQ, false}};

        guest_write(&dev, head_at, &h, sizeof(h));
        guest_fill(&dev, head_at + 256, 0xee, RESP);
        for (uint32_t page = 0; page < b->bytes / 4096; page++)
                guest_fill(&dev, data + page * 4096, write ? page_pattern(i, page, round) : 0, 4096);
        p[write ? 1 : 2] = (struct piece) {data, b->bytes, !write};
        p[write ? 2 : 1] = (struct piece) {head_at + 256, RESP, true};
        queue_offer(&dev, IO, p, 3, GUEST_BASE + 0x20000 + i * 64);
}

static void batch_compare(const struct batch *b, unsigned i, unsigned round) {
        uint64_t data = DATA_AT + i * (uint64_t) b->bytes;
        struct virtio_scsi_cmd_resp resp;

        guest_read(&dev, GUEST_BASE + 0x10000 + i * 512 + 256, &resp, sizeof(resp));
        check(resp.response == 0 && resp.status == 0);
        for (uint32_t page = 0; page < b->bytes / 4096; page++)
                check(*(uint8_t *) at(&dev, data + page * 4096 + 4095) == page_pattern(i, page, round));
}

/* A batch of writes or reads, every page another; `change` is called while they are under way. */
static bool depth_round(const struct batch *b, unsigned round, bool write, unsigned change) {
        for (unsigned i = 0; i < b->depth; i++)
                batch_offer(b, i, round, write);
        queue_kick(&dev, IO);
        if (change & 1)
                check(device_table(&dev, change >> 3 & 1, 1U << (change >> 4 & 3)) == 0);
        if (change & 2)
                check(device_move_rings(&dev, change >> 3 & 1) == 0);
        if (change & 4)
                check(device_eventfds(&dev) == 0);

        for (unsigned i = 0; i < b->depth; i++) {
                struct vring_used_elem e;

                if (!check(queue_wait(&dev, IO, &e, DEADLINE)))
                        return false;
                queue_free(&dev, IO, (uint16_t) e.id);
        }
        for (unsigned i = 0; i < b->depth; i++)
                batch_compare(b, i, round);
        return true;
}

/* A ring full of writes, then of reads; many times around the ring. */
void check_depth(void) {
        for (unsigned round = 0; round < 20; round++)
                if (!depth_round(&small, round, true, 0) || !depth_round(&small, round, false, 0))
                        return;
}

/* Then by a driver that minds the order, and last by one that, after a reset, may not. */
void check_large_depth(void) {
        for (unsigned round = 0; round < 6; round++) {
                const struct batch *b = round < 4 ? &large : &large_ordered;

                if (!depth_round(b, round, true, 0) || !depth_round(b, round, false, 0))
                        return;
        }
        check(device_endpoint(&dev, VHOST_SCSI_CLEAR_ENDPOINT, dev.wwpn) == 0);
        check(device_endpoint(&dev, VHOST_SCSI_SET_ENDPOINT, dev.wwpn) == 0);
        if (depth_round(&large, 6, true, 0))
                depth_round(&large, 6, false, 0);
}

void check_depth_while(unsigned round) {
        const struct batch *b = round % 4 == 3 ? &large : &small;

        if (depth_round(b, round, true, round))
                depth_round(b, round, false, round * 7);
}
