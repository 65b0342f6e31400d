/* SPDX-License-Identifier: GPL-2.0-only */
#include <assert.h>

#include "driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define RING 16
#define REGIONS 3

/* The input is the ring: an options byte, the available index, RING heads, RING descriptors, then what lies at DRIVER_DATA (tables, requests).
 * Raw 64-bit addresses would nearly all be nowhere, so most are folded into the guest's memory and a little over its end. */
struct input {
        uint8_t options;        /* 1: event idx, 2: addresses as they are, 4: lengths as they are, 8: the driver wants no interrupt */
        uint8_t offered;
        uint16_t start;
        uint32_t unused;
        uint8_t heads[RING];
        struct vring_desc desc[RING];
        struct vring_desc table[64];
};

static struct driver driver;

static void fold(struct vring_desc *d, unsigned n, uint8_t options) {
        for (unsigned i = 0; i < n; i++) {
                /* A table's address is what matters most: half of them point at it. */
                if (d[i].flags & VRING_DESC_F_INDIRECT && d[i].addr & 1)
                        d[i].addr = DRIVER_DATA + (d[i].addr >> 8) % 64 * 8;
                else if (!(options & 2))
                        d[i].addr = DRIVER_GPA + d[i].addr % (DRIVER_MEMORY + 16);
                if (!(options & 4))
                        d[i].len &= d[i].flags & VRING_DESC_F_INDIRECT ? 0x3f0 : 0x1fff;
        }
}

/* What a chain says about itself agrees with itself, and every byte of it is the guest's. Touches each, for the sanitizers to see. */
static void check_chain(const struct vhscsi_chain *c) {
        uint64_t out = 0, in = 0;
        uint8_t sum = 0;

        assert(c->head < RING);
        assert(c->nout + c->nin <= VHSCSI_MAX_SEGS);
        for (unsigned i = 0; i < c->nout + c->nin; i++) {
                const struct vhscsi_seg *s = &c->segs[i];
                const uint8_t *p = (const uint8_t *) (uintptr_t) s->uva;

                assert(s->len > 0);
                assert(p >= driver.memory && s->len <= DRIVER_MEMORY && (size_t) (p - driver.memory) <= DRIVER_MEMORY - s->len);
                sum ^= p[0] ^ p[s->len - 1];
                *(i < c->nout ? &out : &in) += s->len;
        }
        __asm__ volatile("" : : "r"(sum));
        assert(out == c->out_len && in == c->in_len);
}

static void check_request(const struct vhscsi_chain *c) {
        struct virtio_scsi_cmd_req h;
        struct virtio_scsi_cmd_resp resp;
        struct vhscsi_request req;
        uint8_t *to = (uint8_t *) &h;
        size_t got = 0;
        int r;

        memset(&h, 0, sizeof(h));
        for (unsigned i = 0; i < c->nout && got < sizeof(h); i++) {
                size_t n = min_t(size_t, c->segs[i].len, sizeof(h) - got);

                memcpy(to + got, (const void *) (uintptr_t) c->segs[i].uva, n);
                got += n;
        }

        r = vhscsi_request_parse(&h, c->out_len, c->in_len, &req);
        assert(r >= 0 && r <= VIRTIO_SCSI_S_INCORRECT_LUN);
        if (r != 0)
                return;

        assert(got == sizeof(h));
        assert(req.lun <= 0x3fff && req.attr <= VIRTIO_SCSI_S_ACA && req.cdb == h.cdb);
        assert((req.dir == VHSCSI_DIR_NONE) == (req.bytes == 0));
        assert((uint64_t) req.bytes + VHSCSI_REQ_SIZE + VHSCSI_RESP_SIZE == (uint64_t) c->out_len + c->in_len);

        struct vhscsi_result res = {
                .status = h.cdb[1], .response = h.cdb[2] & 1 ? VIRTIO_SCSI_S_OK : h.cdb[2] % 13, .overflow = h.cdb[3] & 1,
                .residual = h.cdb[4] * 257u, .sense = (const uint8_t *) &h, .sense_len = h.cdb[5] % (sizeof(h) + 1),
        };
        uint32_t used = vhscsi_response_fill(&resp, &req, &res);

        /* Never more than the guest gave room for. */
        assert(used >= VHSCSI_RESP_SIZE && used <= c->in_len);
        assert(le32toh(resp.resid) <= req.bytes && le32toh(resp.sense_len) <= sizeof(resp.sense));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct input in = {};
        struct vhscsi_ring *r = &driver.ring;
        unsigned told = 0, taken = 0, offered;
        int n;

        if (!driver.memory)
                driver_init(&driver, RING, REGIONS, false);

        memcpy(&in, data, min_t(size_t, size, sizeof(in)));
        fold(in.desc, RING, in.options);
        fold(in.table, 64, in.options);
        memcpy(driver.vring.desc, in.desc, sizeof(in.desc));
        driver_write(&driver, DRIVER_DATA, in.table, sizeof(in.table));

        offered = in.offered % (RING + 2);
        for (unsigned i = 0; i < RING; i++)
                driver.vring.avail->ring[i] = in.heads[i] % (RING + 1);
        driver.vring.avail->idx = (uint16_t) (in.start + offered);
        driver.vring.avail->flags = in.options & 8 ? VRING_AVAIL_F_NO_INTERRUPT : 0;
        vring_used_event(&driver.vring) = in.start;
        driver.vring.used->idx = in.start;

        r->last_avail = in.start;
        r->event_idx = in.options & 1;
        n = vhscsi_ring_start(r);
        assert(n == 0);

        for (;;) {
                bool ready = vhscsi_ring_ready(r);

                n = vhscsi_ring_next(r, driver.mem, driver.chain);
                /* Who only looked saw the same: something, which may turn out to be bad, or nothing. */
                assert(n > 0 ? ready : n < 0 || !ready);
                if (n <= 0)
                        break;
                taken++;
                assert(r->last_avail == (uint16_t) (in.start + taken) && !r->fault);
                check_chain(driver.chain);
                check_request(driver.chain);
                vhscsi_ring_put(r, driver.chain->head, driver.chain->in_len);
                if (driver.chain->head & 1)
                        told += vhscsi_ring_publish(r);
        }

        assert(taken <= RING && r->last_avail == (uint16_t) (in.start + taken));
        assert((n < 0) == (r->fault != VHSCSI_FAULT_NONE) && r->fault < VHSCSI_FAULT_MAX);
        assert((offered > RING) <= (r->fault == VHSCSI_FAULT_AVAIL_INDEX));
        if (n == 0)
                assert(taken == offered && !vhscsi_ring_listen(r));
        told += vhscsi_ring_publish(r);
        assert(driver.vring.used->idx == (uint16_t) (in.start + taken));
        /* With event idx, the first is always told, and the event lies on it: one interrupt. */
        assert(r->event_idx ? told == (taken > 0) : in.options & 8 ? told == 0 : (told > 0) == (taken > 0));
        return 0;
}
