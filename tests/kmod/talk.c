/* SPDX-License-Identifier: GPL-2.0-only */
/* An initiator that does what a test tells it, a line a command, so that the test can do something to the host in between:
 *
 *      read TAG LUN [QUEUE]    offers a read of 4 KiB (queue 0: the first for requests); "sent"
 *      write TAG LUN [QUEUE]
 *      batch TAG COUNT LUN     as many reads at once, of tags from TAG on; "sent"
 *      large TAG COUNT LUN     as many reads of 256 KiB at once, all into one place; "sent"
 *      silent TAG COUNT LUN    the same, and the device is not told; "sent"
 *      bounce TAG LUN KIB      a read of that much into a buffer that no backend can use as it is; "sent"
 *      tmf SUBTYPE LUN TAG     offers a task management function; "sent"
 *      inquiry LUN [PAGE]      the standard data, or that page of the vital product data, in hexadecimal; with nothing else in flight
 *      next                    waits for an answer: "io TAG response R status S" or "tmf SUBTYPE response R" or "nothing"
 *      set | clear             the endpoint: 0 or the negative errno
 *      exit                    as it is, without a word to the device
 */
#include "talk.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "checks.h"

#define SLOTS 80
#define INQUIRY 1024

/* What a head in flight is; by queue, for there are as many heads in each. */
static struct {
        unsigned what;
        unsigned slot;
} inflight[QUEUES][RING];
static bool slot_used[SLOTS];

static unsigned slot_take(void) {
        for (unsigned i = 0; i < SLOTS; i++)
                if (!slot_used[i]) {
                        slot_used[i] = true;
                        return i;
                }
        die("too many in flight");
}

static uint64_t head_of(unsigned slot) {
        return GUEST_BASE + 0x10000 + slot * 512;
}

static void offer(unsigned q, const struct piece *p, unsigned n, unsigned what, unsigned slot) {
        uint16_t head = queue_offer(&dev, q, p, n, GUEST_BASE + 0x20000 + slot * 64);

        inflight[q][head].what = what;
        inflight[q][head].slot = slot;
}

static void sent(unsigned q) {
        queue_kick(&dev, q);
        printf("sent\n");
}

static void offer_io(bool write, unsigned tag, unsigned lun, unsigned q, uint64_t at, uint32_t bytes) {
        unsigned slot = slot_take();
        struct virtio_scsi_cmd_req h = {
                .lun = {1, 1, (uint8_t) (0x40 | lun >> 8), (uint8_t) lun}, .tag = tag,
                .cdb = {write ? 0x2a : 0x28, [7] = (uint8_t) (bytes / 512 >> 8), (uint8_t) (bytes / 512)},
        };
        struct piece data = {at ? at : DATA_AT + slot * 4096, bytes, !write}, resp = {head_of(slot) + 256, RESP, true};
        struct piece p[3] = {{head_of(slot), REQ, false}, write ? data : resp, write ? resp : data};

        guest_write(&dev, head_of(slot), &h, sizeof(h));
        offer(IO + q, p, 3, tag, slot);
}

static void offer_tmf(unsigned subtype, unsigned lun, unsigned tag) {
        unsigned slot = slot_take();
        struct virtio_scsi_ctrl_tmf_req h = {
                .type = VIRTIO_SCSI_T_TMF, .subtype = subtype, .lun = {1, 1, (uint8_t) (0x40 | lun >> 8), (uint8_t) lun}, .tag = tag,
        };
        struct piece p[2] = {{head_of(slot), sizeof(h), false}, {head_of(slot) + 256, 1, true}};

        guest_write(&dev, head_of(slot), &h, sizeof(h));
        offer(CTL, p, 2, subtype, slot);
        sent(CTL);
}

static void inquire(unsigned lun, bool vital, unsigned page) {
        unsigned slot = slot_take();
        struct virtio_scsi_cmd_req h = {
                .lun = {1, 1, (uint8_t) (0x40 | lun >> 8), (uint8_t) lun}, .cdb = {0x12, vital, (uint8_t) page, INQUIRY >> 8, INQUIRY & 0xff},
        };
        uint64_t data = DATA_AT + slot * 4096;
        struct piece p[3] = {{head_of(slot), REQ, false}, {head_of(slot) + 256, RESP, true}, {data, INQUIRY, true}};
        struct virtio_scsi_cmd_resp resp;
        struct vring_used_elem e;
        uint8_t bytes[INQUIRY];

        guest_write(&dev, head_of(slot), &h, sizeof(h));
        queue_offer(&dev, IO, p, 3, 0);
        queue_kick(&dev, IO);
        if (!queue_wait(&dev, IO, &e, DEADLINE))
                die("no answer");
        guest_read(&dev, head_of(slot) + 256, &resp, sizeof(resp));
        if (resp.response || resp.status)
                die("response %u status %u", resp.response, resp.status);

        guest_read(&dev, data, bytes, sizeof(bytes));
        for (unsigned i = 0; i < INQUIRY - resp.resid; i++)
                printf("%02x", bytes[i]);
        printf("\n");
        slot_used[slot] = false;
        queue_free(&dev, IO, (uint16_t) e.id);
}

static bool answer(unsigned q) {
        struct virtio_scsi_cmd_resp resp;
        struct vring_used_elem e;
        unsigned slot;

        if (!queue_wait(&dev, q, &e, 0))
                return false;
        slot = inflight[q][e.id].slot;
        guest_read(&dev, head_of(slot) + 256, &resp, sizeof(resp));
        if (q == CTL)
                printf("tmf %u response %u\n", inflight[q][e.id].what, *(uint8_t *) &resp);
        else
                printf("io %u response %u status %u\n", inflight[q][e.id].what, resp.response, resp.status);
        slot_used[slot] = false;
        queue_free(&dev, q, (uint16_t) e.id);
        return true;
}

/* Requests before functions: one that was answered first is told first. */
static void next(void) {
        struct pollfd p[QUEUES];

        for (unsigned i = 0; i < QUEUES; i++)
                p[i] = (struct pollfd) {.fd = dev.q[i].call, .events = POLLIN};
        for (;;) {
                for (unsigned q = IO; q < QUEUES; q++)
                        if (answer(q))
                                return;
                if (answer(CTL))
                        return;
                if (poll(p, QUEUES, DEADLINE) <= 0)
                        break;
                for (unsigned i = 0; i < QUEUES; i++) {
                        eventfd_t n;

                        if (p[i].revents)
                                (void) !eventfd_read(p[i].fd, &n);
                }
        }
        printf("nothing\n");
}

int talk(const char *node, const char *wwpn) {
        char line[256];

        attach(node, wwpn);
        take_attention();
        setvbuf(stdout, NULL, _IOLBF, 0);
        printf("ready\n");
        while (fgets(line, sizeof(line), stdin)) {
                unsigned a, b, c = 0;

                if (sscanf(line, "read %u %u %u", &a, &b, &c) >= 2) {
                        offer_io(false, a, b, c, 0, 4096);
                        sent(IO + c);
                } else if (sscanf(line, "write %u %u %u", &a, &b, &c) >= 2) {
                        offer_io(true, a, b, c, 0, 4096);
                        sent(IO + c);
                } else if (sscanf(line, "batch %u %u %u", &a, &b, &c) == 3) {
                        for (unsigned i = 0; i < b; i++)
                                offer_io(false, a + i, c, 0, 0, 4096);
                        sent(IO);
                } else if (sscanf(line, "large %u %u %u", &a, &b, &c) == 3) {
                        for (unsigned i = 0; i < b; i++)
                                offer_io(false, a + i, c, 0, DATA_AT, 256 << 10);
                        sent(IO);
                } else if (sscanf(line, "silent %u %u %u", &a, &b, &c) == 3) {
                        for (unsigned i = 0; i < b; i++)
                                offer_io(false, a + i, c, 0, 0, 4096);
                        printf("sent\n");
                } else if (sscanf(line, "bounce %u %u %u", &a, &b, &c) == 3) {
                        offer_io(false, a, b, 0, DATA_AT + 1, c << 10);
                        sent(IO);
                } else if (sscanf(line, "tmf %u %u %u", &a, &b, &c) == 3)
                        offer_tmf(a, b, c);
                else if (sscanf(line, "inquiry %u %x", &a, &b) == 2)
                        inquire(a, true, b);
                else if (sscanf(line, "inquiry %u", &a) == 1)
                        inquire(a, false, 0);
                else if (strcmp(line, "next\n") == 0)
                        next();
                else if (strcmp(line, "set\n") == 0)
                        printf("%d\n", device_endpoint(&dev, VHOST_SCSI_SET_ENDPOINT, wwpn));
                else if (strcmp(line, "clear\n") == 0)
                        printf("%d\n", device_endpoint(&dev, VHOST_SCSI_CLEAR_ENDPOINT, wwpn));
                else if (strcmp(line, "exit\n") == 0)
                        _exit(0);
                else
                        die("what is %s", line);
        }
        return 0;
}
