/* SPDX-License-Identifier: GPL-2.0-only */
#define _GNU_SOURCE
#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define WANTED ((1ULL << VIRTIO_F_VERSION_1) | (1ULL << VIRTIO_RING_F_INDIRECT_DESC) | (1ULL << VIRTIO_RING_F_EVENT_IDX) | \
                (1ULL << VIRTIO_SCSI_F_HOTPLUG))

void die(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        vfprintf(stderr, format, ap);
        va_end(ap);
        fputc('\n', stderr);
        exit(2);
}

int device_ioctl(struct device *d, unsigned long request, void *argument) {
        return ioctl(d->fd, request, argument) < 0 ? -errno : 0;
}

static void must(struct device *d, unsigned long request, void *argument, const char *what) {
        int r = device_ioctl(d, request, argument);

        if (r < 0)
                die("%s: %s", what, strerror(-r));
}

static size_t ring_room(void) {
        return (vring_size(RING, 4096) + 4095) & ~4095UL;
}

static struct vhost_vring_addr ring_addr(struct device *d, unsigned i, unsigned view) {
        const struct vring *r = &d->q[i].ring;
        ptrdiff_t off = d->view[view] - d->view[0];

        return (struct vhost_vring_addr) {
                .index = i,
                .desc_user_addr = (uintptr_t) r->desc + (uintptr_t) off,
                .avail_user_addr = (uintptr_t) r->avail + (uintptr_t) off,
                .used_user_addr = (uintptr_t) r->used + (uintptr_t) off,
        };
}

void device_rings(struct device *d) {
        for (unsigned i = 0; i < d->nqueues; i++) {
                struct queue *q = &d->q[i];
                struct vhost_vring_state num = {i, RING}, base = {i, 0};
                struct vhost_vring_addr addr = ring_addr(d, i, 0);

                memset(q->ring.desc, 0, vring_size(RING, 4096));
                for (unsigned k = 0; k < RING; k++)
                        q->ring.desc[k].next = (uint16_t) (k + 1);
                q->free_head = 0;
                q->nfree = RING;
                q->used_seen = 0;
                must(d, VHOST_SET_VRING_NUM, &num, "SET_VRING_NUM");
                must(d, VHOST_SET_VRING_BASE, &base, "SET_VRING_BASE");
                must(d, VHOST_SET_VRING_ADDR, &addr, "SET_VRING_ADDR");
        }
}

int device_table(struct device *d, unsigned view, unsigned regions) {
        struct {
                struct vhost_memory h;
                struct vhost_memory_region r[64];
        } t = {.h.nregions = 2 * regions};

        if (t.h.nregions > 64 || GUEST_HALF % regions)
                die("%u regions", regions);
        for (unsigned i = 0; i < regions; i++) {
                uint64_t size = GUEST_HALF / regions, at_view = (uintptr_t) d->view[view] + i * size;

                t.r[i] = (struct vhost_memory_region) {GUEST_BASE + i * size, size, at_view + GUEST_HALF, 0};
                t.r[regions + i] = (struct vhost_memory_region) {BORDER + i * size, size, at_view, 0};
        }
        return device_ioctl(d, VHOST_SET_MEM_TABLE, &t);
}

int device_move_rings(struct device *d, unsigned view) {
        for (unsigned i = 0; i < d->nqueues; i++) {
                struct vhost_vring_addr addr = ring_addr(d, i, view);
                int r = device_ioctl(d, VHOST_SET_VRING_ADDR, &addr);

                if (r < 0)
                        return r;
        }
        return 0;
}

int device_eventfds(struct device *d) {
        static const unsigned long requests[] = {VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL, VHOST_SET_VRING_ERR};

        for (unsigned i = 0; i < d->nqueues; i++) {
                int *fds[] = {&d->q[i].kick, &d->q[i].call, &d->q[i].err};

                for (unsigned k = 0; k < 3; k++) {
                        /* What the old one was told and nobody has heard yet, the new one says. */
                        struct vhost_vring_file file = {i, eventfd(k < 2 && *fds[k] >= 0, EFD_CLOEXEC | EFD_NONBLOCK)};
                        int r = device_ioctl(d, requests[k], &file);

                        if (r < 0)
                                return r;
                        if (*fds[k] >= 0)
                                close(*fds[k]);
                        *fds[k] = file.fd;
                }
        }
        return 0;
}

void device_hide_ring(struct device *d, unsigned q, bool hide) {
        if (mprotect(d->q[q].ring.desc, ring_room(), hide ? PROT_NONE : PROT_READ | PROT_WRITE) < 0)
                die("mprotect: %s", strerror(errno));
}

static void device_setup(struct device *d, const char *node) {
        int abi = -1, r;

        d->fd = open(node, O_RDWR | O_CLOEXEC);
        if (d->fd < 0)
                die("%s: %s", node, strerror(errno));
        must(d, VHOST_SET_OWNER, NULL, "SET_OWNER");
        must(d, VHOST_SCSI_GET_ABI_VERSION, &abi, "GET_ABI_VERSION");
        if (abi != VHOST_SCSI_ABI_VERSION)
                die("ABI version %d", abi);
        must(d, VHOST_GET_FEATURES, &d->offered, "GET_FEATURES");
        d->features = d->offered & WANTED;
        if (d->features != WANTED)
                die("features %#llx are missing", (unsigned long long) (WANTED & ~d->features));
        must(d, VHOST_SET_FEATURES, &d->features, "SET_FEATURES");

        r = device_table(d, 0, 1);
        if (r < 0)
                die("SET_MEM_TABLE: %s", strerror(-r));
        r = device_eventfds(d);
        if (r < 0)
                die("eventfds: %s", strerror(-r));
        device_rings(d);
}

void device_open(struct device *d, const char *node, const char *wwpn, unsigned nqueues) {
        size_t size = 2 * GUEST_HALF + nqueues * ring_room();
        int fd;

        memset(d, 0, sizeof(*d));
        snprintf(d->wwpn, sizeof(d->wwpn), "%s", wwpn);
        d->nqueues = nqueues;

        fd = memfd_create("guest", MFD_CLOEXEC);
        if (fd < 0 || ftruncate(fd, (off_t) size) < 0)
                die("memfd: %s", strerror(errno));
        for (unsigned i = 0; i < 2; i++) {
                d->view[i] = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
                if (d->view[i] == MAP_FAILED)
                        die("mmap: %s", strerror(errno));
        }
        close(fd);
        d->memory = d->view[0];
        for (unsigned i = 0; i < nqueues; i++) {
                vring_init(&d->q[i].ring, RING, d->memory + 2 * GUEST_HALF + i * ring_room(), 4096);
                d->q[i].kick = d->q[i].call = d->q[i].err = -1;
        }
        device_setup(d, node);
}

void device_reopen(struct device *d, const char *node) {
        close(d->fd);
        device_setup(d, node);
}

void device_close(struct device *d) {
        close(d->fd);
        for (unsigned i = 0; i < d->nqueues; i++) {
                close(d->q[i].kick);
                close(d->q[i].call);
                close(d->q[i].err);
        }
        for (unsigned i = 0; i < 2; i++)
                munmap(d->view[i], 2 * GUEST_HALF + d->nqueues * ring_room());
}

int device_endpoint(struct device *d, unsigned long request, const char *wwpn) {
        struct vhost_scsi_target t = {.abi_version = VHOST_SCSI_ABI_VERSION, .vhost_tpgt = 1};

        memcpy(t.vhost_wwpn, wwpn, strlen(wwpn));
        return device_ioctl(d, request, &t);
}

/* How much of a range is in one place. */
static size_t run_of(uint64_t gpa, size_t n) {
        return gpa < BORDER && n > BORDER - gpa ? BORDER - gpa : n;
}

void guest_write(struct device *d, uint64_t gpa, const void *from, size_t n) {
        for (size_t part; n > 0; n -= part, gpa += part, from = (const uint8_t *) from + part) {
                part = run_of(gpa, n);
                memcpy(at(d, gpa), from, part);
        }
}

void guest_read(struct device *d, uint64_t gpa, void *to, size_t n) {
        for (size_t part; n > 0; n -= part, gpa += part, to = (uint8_t *) to + part) {
                part = run_of(gpa, n);
                memcpy(to, at(d, gpa), part);
        }
}

void guest_fill(struct device *d, uint64_t gpa, uint8_t byte, size_t n) {
        for (size_t part; n > 0; n -= part, gpa += part) {
                part = run_of(gpa, n);
                memset(at(d, gpa), byte, part);
        }
}

void queue_offer_head(struct device *d, unsigned i, uint16_t head) {
        struct queue *q = &d->q[i];
        uint16_t idx = q->ring.avail->idx;

        q->ring.avail->ring[idx % RING] = head;
        __atomic_store_n(&q->ring.avail->idx, (uint16_t) (idx + 1), __ATOMIC_RELEASE);
}

uint16_t queue_offer(struct device *d, unsigned i, const struct piece *p, unsigned n, uint64_t table) {
        struct queue *q = &d->q[i];
        uint16_t head = q->free_head, k = head;

        if (q->nfree < (table ? 1 : n))
                die("no free descriptors");
        for (unsigned j = 0; j < n; j++) {
                struct vring_desc desc = {
                        p[j].gpa, p[j].len,
                        (uint16_t) ((p[j].in ? VRING_DESC_F_WRITE : 0) | (j + 1 < n ? VRING_DESC_F_NEXT : 0)), (uint16_t) (j + 1),
                };

                if (table) {
                        guest_write(d, table + j * sizeof(desc), &desc, sizeof(desc));
                        continue;
                }
                desc.next = q->ring.desc[k].next;
                q->ring.desc[k] = desc;
                q->free_head = desc.next;
                q->nfree--;
                k = desc.next;
        }
        if (table) {
                q->free_head = q->ring.desc[head].next;
                q->nfree--;
                q->ring.desc[head] = (struct vring_desc) {table, n * (uint32_t) sizeof(struct vring_desc), VRING_DESC_F_INDIRECT, 0};
        }
        queue_offer_head(d, i, head);
        return head;
}

void queue_free(struct device *d, unsigned i, uint16_t head) {
        struct queue *q = &d->q[i];
        uint16_t k = head;

        q->nfree++;
        while (q->ring.desc[k].flags & VRING_DESC_F_NEXT) {
                k = q->ring.desc[k].next;
                q->nfree++;
        }
        q->ring.desc[k].next = q->free_head;
        q->free_head = head;
}

void queue_kick(struct device *d, unsigned i) {
        if (eventfd_write(d->q[i].kick, 1) < 0)
                die("kick: %s", strerror(errno));
}

static int64_t now_ms(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* By the interrupt, not by looking: one that is missing is a failure. */
bool queue_wait(struct device *d, unsigned i, struct vring_used_elem *ret, int timeout_ms) {
        struct queue *q = &d->q[i];
        int64_t end = now_ms() + timeout_ms;

        for (;;) {
                struct pollfd p = {.fd = q->call, .events = POLLIN};
                int64_t left;
                eventfd_t n;

                vring_used_event(&q->ring) = q->used_seen;
                __atomic_thread_fence(__ATOMIC_SEQ_CST);
                if (__atomic_load_n(&q->ring.used->idx, __ATOMIC_ACQUIRE) != q->used_seen) {
                        *ret = q->ring.used->ring[q->used_seen % RING];
                        q->used_seen++;
                        return true;
                }
                left = end - now_ms();
                if (left <= 0 || poll(&p, 1, (int) left) < 0)
                        return false;
                (void) !eventfd_read(q->call, &n);
        }
}
