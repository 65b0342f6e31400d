/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

/* A vhost-scsi device without a guest: this process is the owner, its memory the guest's, its rings the driver's. */

#include <linux/vhost.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_scsi.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAX_QUEUES 16
#define QUEUES 4        /* that checks have */
#define RING 128
#define CTL 0
#define EVT 1
#define IO 2

/* Younger than some <linux/vhost.h>. */
#ifndef VHOST_NEW_WORKER
struct vhost_worker_state {
        unsigned int worker_id;
};

struct vhost_vring_worker {
        unsigned int index, worker_id;
};

#define VHOST_NEW_WORKER _IOR(VHOST_VIRTIO, 0x8, struct vhost_worker_state)
#define VHOST_FREE_WORKER _IOW(VHOST_VIRTIO, 0x9, struct vhost_worker_state)
#define VHOST_ATTACH_VRING_WORKER _IOW(VHOST_VIRTIO, 0x15, struct vhost_vring_worker)
#define VHOST_GET_VRING_WORKER _IOWR(VHOST_VIRTIO, 0x16, struct vhost_vring_worker)
#endif

/* The guest's memory: two regions, neighbours for the guest and swapped for us, so what crosses BORDER is in two places. */
#define GUEST_BASE UINT64_C(0x100000000)
#define GUEST_HALF (UINT64_C(16) << 20)
#define BORDER (GUEST_BASE + GUEST_HALF)

#define REQ sizeof(struct virtio_scsi_cmd_req)
#define RESP sizeof(struct virtio_scsi_cmd_resp)

/* Where things are in it. */
#define REQ_AT GUEST_BASE
#define RESP_AT (GUEST_BASE + 0x1000)
#define TABLE_AT (GUEST_BASE + 0x2000)
#define DATA_AT (GUEST_BASE + 0x100000)

struct queue {
        struct vring ring;
        int kick, call, err;
        uint16_t used_seen, free_head;
        unsigned nfree;
};

struct device {
        int fd;
        uint8_t *view[2];       /* two mappings of the one memory: the guest's, then the rings */
        uint8_t *memory;        /* the first of them */
        char wwpn[224];
        uint64_t offered, features;
        unsigned nqueues;
        struct queue q[MAX_QUEUES];
};

/* A piece of a request, by guest address. */
struct piece {
        uint64_t gpa;
        uint32_t len;
        bool in;
};

void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Opens and sets everything up but the endpoint. */
void device_open(struct device *d, const char *node, const char *wwpn, unsigned nqueues);
void device_close(struct device *d);
/* The same memory at another file of the node. */
void device_reopen(struct device *d, const char *node);
/* Sets the rings up anew, empty. Only without an endpoint. */
void device_rings(struct device *d);

/* What may happen at any time, with requests in flight: the same memory, in so many regions and seen through the other mapping; the
 * same rings at other addresses; other eventfds. 0 or the negative errno. */
int device_table(struct device *d, unsigned view, unsigned regions);
int device_move_rings(struct device *d, unsigned view);
int device_eventfds(struct device *d);
/* Makes a ring unreadable for everybody, and readable again. */
void device_hide_ring(struct device *d, unsigned q, bool hide);

/* SET or CLEAR: 0 or the negative errno. */
int device_endpoint(struct device *d, unsigned long request, const char *wwpn);
int device_ioctl(struct device *d, unsigned long request, void *argument);

/* Where a byte of the guest's is. */
static inline void *at(struct device *d, uint64_t gpa) {
        if (gpa < GUEST_BASE || gpa >= GUEST_BASE + 2 * GUEST_HALF)
                die("%#llx is not the guest's", (unsigned long long) gpa);
        return gpa < BORDER ? d->memory + GUEST_HALF + (gpa - GUEST_BASE) : d->memory + (gpa - BORDER);
}

void guest_write(struct device *d, uint64_t gpa, const void *from, size_t n);
void guest_read(struct device *d, uint64_t gpa, void *to, size_t n);
void guest_fill(struct device *d, uint64_t gpa, uint8_t byte, size_t n);

/* Puts a chain into the ring, as one indirect table (at that guest address) or, with 0, as descriptors. Returns its head. */
uint16_t queue_offer(struct device *d, unsigned q, const struct piece *p, unsigned n, uint64_t table);
void queue_offer_head(struct device *d, unsigned q, uint16_t head);
void queue_kick(struct device *d, unsigned q);
/* Waits until the device gives something back; false after the deadline. */
bool queue_wait(struct device *d, unsigned q, struct vring_used_elem *ret, int timeout_ms);
/* Returns the descriptors of what came back. */
void queue_free(struct device *d, unsigned q, uint16_t head);

/* Puts a chain that is none into an empty ring, by name. */
void bad_chain_offer(struct device *d, unsigned q, const char *name);
