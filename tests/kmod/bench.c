/* SPDX-License-Identifier: GPL-2.0-only */
#include "bench.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "checks.h"

#define SLOT 512                /* of a request: header, response, table */
#define BLOCKS_USED (8u << 11)  /* of the disk: 8 MiB */
#define RAMP_MS 100             /* until all threads have found their CPUs; not counted */

struct runner {
        const struct bench *b;
        unsigned q;
        _Atomic uint64_t done;
        pthread_t thread;
};

static _Atomic bool over;

static uint64_t now_ns(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

static uint64_t slot_at(const struct runner *r, unsigned slot) {
        return GUEST_BASE + 0x10000 + ((r->q - IO) * RING + slot) * SLOT;
}

/* Writes what stays the same of a request: header, table, and its descriptor, which is the slot's for good. */
static void slot_prepare(const struct runner *r, unsigned slot) {
        uint32_t blocks = r->b->bytes / 512;
        uint64_t head = slot_at(r, slot), data = DATA_AT + (uint64_t) slot * r->b->bytes % (GUEST_HALF / 2);
        struct virtio_scsi_cmd_req h = {
                .lun = {1, 1, 0x40, 0}, .cdb = {r->b->write ? 0x2a : 0x28, [7] = (uint8_t) (blocks >> 8), [8] = (uint8_t) blocks},
        };
        struct vring_desc resp = {head + 128, RESP, VRING_DESC_F_WRITE, 0}, buffer = {data, r->b->bytes, 0, 0};
        struct vring_desc table[3] = {{head, REQ, 0, 0}};

        buffer.flags = r->b->write ? 0 : VRING_DESC_F_WRITE;
        table[1] = r->b->write ? buffer : resp;
        table[2] = r->b->write ? resp : buffer;
        for (uint16_t i = 0; i < 2; i++) {
                table[i].flags |= VRING_DESC_F_NEXT;
                table[i].next = i + 1;
        }
        guest_write(&dev, head, &h, sizeof(h));
        guest_write(&dev, head + 256, table, sizeof(table));
        dev.q[r->q].ring.desc[slot] = (struct vring_desc) {head + 256, sizeof(table), VRING_DESC_F_INDIRECT, 0};
}

static void slot_aim(const struct runner *r, unsigned slot, uint64_t number) {
        struct virtio_scsi_cmd_req *h = at(&dev, slot_at(r, slot));
        uint32_t block = (uint32_t) (number * (r->b->bytes / 512) % BLOCKS_USED);

        h->cdb[2] = (uint8_t) (block >> 24);
        h->cdb[3] = (uint8_t) (block >> 16);
        h->cdb[4] = (uint8_t) (block >> 8);
        h->cdb[5] = (uint8_t) block;
}

/* A driver as a guest's is: kicks when asked to, and wants no interrupt while it looks by itself. */
static void *runner_run(void *userdata) {
        struct runner *r = userdata;
        struct queue *q = &dev.q[r->q];
        struct vring *v = &q->ring;
        uint64_t number = 0, done = 0;
        uint16_t avail = 0, kicked = 0, seen = 0;

        for (unsigned i = 0; i < r->b->depth; i++) {
                slot_prepare(r, i);
                slot_aim(r, i, number++);
                v->avail->ring[avail++ % RING] = (uint16_t) i;
        }
        for (;;) {
                struct pollfd p = {.fd = q->call, .events = POLLIN};
                eventfd_t n;

                __atomic_store_n(&v->avail->idx, avail, __ATOMIC_RELEASE);
                atomic_thread_fence(memory_order_seq_cst);
                if (vring_need_event(__atomic_load_n(&vring_avail_event(v), __ATOMIC_RELAXED), avail, kicked))
                        queue_kick(&dev, r->q);
                kicked = avail;

                if (__atomic_load_n(&v->used->idx, __ATOMIC_ACQUIRE) == seen) {
                        __atomic_store_n(&vring_used_event(v), seen, __ATOMIC_RELAXED);
                        atomic_thread_fence(memory_order_seq_cst);
                        if (__atomic_load_n(&v->used->idx, __ATOMIC_ACQUIRE) == seen) {
                                if (poll(&p, 1, DEADLINE) <= 0)
                                        die("queue %u does not answer", r->q);
                                (void) !eventfd_read(q->call, &n);
                                continue;
                        }
                }
                while (__atomic_load_n(&v->used->idx, __ATOMIC_ACQUIRE) != seen) {
                        unsigned slot = v->used->ring[seen++ % RING].id;
                        const struct virtio_scsi_cmd_resp *resp = at(&dev, slot_at(r, slot) + 128);

                        if (resp->response != 0 || resp->status != 0)
                                die("response %u status %u", resp->response, resp->status);
                        atomic_store_explicit(&r->done, ++done, memory_order_relaxed);
                        slot_aim(r, slot, number++);
                        v->avail->ring[avail++ % RING] = (uint16_t) slot;
                }
                if (over)
                        return NULL;
        }
}

static uint64_t sum_of_done(struct runner *r, unsigned n) {
        uint64_t sum = 0;

        for (unsigned i = 0; i < n; i++)
                sum += atomic_load_explicit(&r[i].done, memory_order_relaxed);
        return sum;
}

static void sleep_ms(unsigned ms) {
        struct timespec t = {ms / 1000, ms % 1000 * 1000000L};

        clock_nanosleep(CLOCK_MONOTONIC, 0, &t, NULL);
}

int bench(const struct bench *b) {
        struct runner r[MAX_QUEUES] = {};
        uint64_t begin, took, done;
        int e;

        if (b->queues < 1 || b->queues > MAX_QUEUES - IO || b->depth < 1 || b->depth > RING)
                die("at most %u queues and %u requests", MAX_QUEUES - IO, RING);
        device_open(&dev, b->node, b->wwpn, IO + b->queues);
        printf("open\n");
        fflush(stdout);
        if (getchar() == EOF)
                return 1;

        e = device_endpoint(&dev, VHOST_SCSI_SET_ENDPOINT, b->wwpn);
        if (e < 0)
                die("SET_ENDPOINT: %s", strerror(-e));
        take_attention();
        device_endpoint(&dev, VHOST_SCSI_CLEAR_ENDPOINT, b->wwpn);
        device_rings(&dev);
        e = device_endpoint(&dev, VHOST_SCSI_SET_ENDPOINT, b->wwpn);
        if (e < 0)
                die("SET_ENDPOINT: %s", strerror(-e));

        for (unsigned i = 0; i < b->queues; i++) {
                r[i].b = b;
                r[i].q = IO + i;
                if (pthread_create(&r[i].thread, NULL, runner_run, &r[i]) != 0)
                        die("no thread");
        }
        sleep_ms(RAMP_MS);
        begin = now_ns();
        done = sum_of_done(r, b->queues);
        sleep_ms(b->ms);
        done = sum_of_done(r, b->queues) - done;
        took = now_ns() - begin;
        over = true;
        for (unsigned i = 0; i < b->queues; i++)
                pthread_join(r[i].thread, NULL);
        printf("%.0f\n", (double) done * 1e9 / (double) took);
        fflush(stdout);
        (void) getchar();
        return 0;
}
