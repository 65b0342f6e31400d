/* SPDX-License-Identifier: GPL-2.0-only */
#include "checks.h"

#include <stdio.h>
#include <string.h>

#define MAX_PIECES 1100

struct device dev;
unsigned failures;
const char *current;
bool current_failed;

bool check_that(bool condition, const char *what, int line) {
        if (!condition && !current_failed) {
                printf("not ok %s: line %d: %s\n", current, line, what);
                current_failed = true;
                failures++;
        }
        return condition;
}

/* A command, how it is laid out, and what came of it. */
struct command {
        uint8_t cdb[32], target;
        uint16_t lun;
        uint64_t data;
        uint32_t out, in;       /* bytes */
        uint32_t piece;         /* size of the pieces of data; 0: one */
        uint32_t head_piece;    /* size of the pieces of request and response */
        bool indirect;
        struct virtio_scsi_cmd_resp resp;
        uint32_t used;
};

static unsigned cut(struct piece *p, unsigned n, uint64_t gpa, uint32_t len, uint32_t size, bool in) {
        while (len > 0) {
                uint32_t part = size && size < len ? size : len;

                if (n == MAX_PIECES)
                        die("too many pieces");
                p[n++] = (struct piece) {gpa, part, in};
                gpa += part;
                len -= part;
        }
        return n;
}

static void command_write(const struct command *c, uint64_t gpa, uint64_t tag) {
        struct virtio_scsi_cmd_req h = {.lun = {1, c->target, (uint8_t) (0x40 | c->lun >> 8), (uint8_t) c->lun}, .tag = tag};

        memcpy(h.cdb, c->cdb, sizeof(h.cdb));
        guest_write(&dev, gpa, &h, sizeof(h));
}

static bool run_on(struct command *c, unsigned q) {
        static struct piece p[MAX_PIECES];
        struct vring_used_elem e;
        unsigned n = 0;
        uint16_t head;

        command_write(c, REQ_AT, 1);
        guest_fill(&dev, RESP_AT, 0xee, RESP);
        n = cut(p, n, REQ_AT, REQ, c->head_piece, false);
        n = cut(p, n, c->data, c->out, c->piece, false);
        n = cut(p, n, RESP_AT, RESP, c->head_piece, true);
        n = cut(p, n, c->data, c->in, c->piece, true);
        head = queue_offer(&dev, q, p, n, c->indirect ? TABLE_AT : 0);
        queue_kick(&dev, q);
        if (!check(queue_wait(&dev, q, &e, DEADLINE)))
                return false;
        check(e.id == head);
        c->used = e.len;
        queue_free(&dev, q, head);
        guest_read(&dev, RESP_AT, &c->resp, sizeof(c->resp));
        return true;
}

static bool run(struct command *c) {
        return run_on(c, IO);
}

static void rw(struct command *c, bool write, uint32_t block, uint32_t blocks) {
        c->cdb[0] = write ? 0x2a : 0x28;
        c->cdb[2] = (uint8_t) (block >> 24);
        c->cdb[3] = (uint8_t) (block >> 16);
        c->cdb[4] = (uint8_t) (block >> 8);
        c->cdb[5] = (uint8_t) block;
        c->cdb[7] = (uint8_t) (blocks >> 8);
        c->cdb[8] = (uint8_t) blocks;
        c->target = 1;
        if (write)
                c->out = blocks * 512;
        else
                c->in = blocks * 512;
}

static bool good(const struct command *c) {
        return check(c->resp.response == VIRTIO_SCSI_S_OK) && check(c->resp.status == 0) && check(c->resp.sense_len == 0);
}

static uint8_t pattern(uint64_t i, unsigned seed) {
        return (uint8_t) (i * 31 + (i >> 8) * 7 + (i >> 16) + seed);
}

/* Writes a pattern, reads it back elsewhere, and compares; the bytes around stay as they were. */
static void write_read(uint32_t bytes, uint64_t data, uint32_t piece, bool indirect, unsigned seed) {
        struct command w = {.data = data, .piece = piece, .indirect = indirect}, r = w;

        for (uint32_t i = 0; i < bytes; i++)
                *(uint8_t *) at(&dev, data + i) = pattern(i, seed);
        rw(&w, true, 3, bytes / 512);
        if (!run(&w) || !good(&w))
                return;
        check(w.resp.resid == 0);

        guest_fill(&dev, data - 16, 0x55, bytes + 32);
        rw(&r, false, 3, bytes / 512);
        if (!run(&r) || !good(&r))
                return;
        check(r.resp.resid == 0);
        for (uint32_t i = 0; i < bytes; i++)
                if (!check(*(uint8_t *) at(&dev, data + i) == pattern(i, seed)))
                        return;
        for (unsigned i = 1; i <= 16; i++) {
                check(*(uint8_t *) at(&dev, data - i) == 0x55);
                check(*(uint8_t *) at(&dev, data + bytes + i - 1) == 0x55);
        }
}

void check_inquiry(void) {
        struct command c = {.cdb = {0x12, 0, 0, 0, 36}, .target = 1, .data = DATA_AT, .in = 36};
        char vendor[9] = "";

        if (!run(&c) || !good(&c))
                return;
        guest_read(&dev, DATA_AT + 8, vendor, 8);
        check(strcmp(vendor, "LIO-ORG ") == 0);
        check(c.resp.resid == 0);
}

/* More room than the device has to say. */
static void check_inquiry_underflow(void) {
        struct command c = {.cdb = {0x12, 0, 0, 0, 36}, .target = 1, .data = DATA_AT, .in = 255};

        if (run(&c) && good(&c))
                check(c.resp.resid == 255 - 36);
}

/* In pieces that no block layer would like; the core maps them as one. */
static void check_inquiry_pieces(void) {
        struct command c = {.cdb = {0x12, 0, 0, 0, 96}, .target = 1, .data = DATA_AT + 3, .in = 96, .piece = 7};
        char vendor[9] = "";

        if (!run(&c) || !good(&c))
                return;
        guest_read(&dev, DATA_AT + 3 + 8, vendor, 8);
        check(strcmp(vendor, "LIO-ORG ") == 0);
}

void check_ready(void) {
        struct command c = {.target = 1};

        if (run(&c))
                good(&c);
}

static void check_capacity(uint32_t blocks) {
        struct command c = {.cdb = {0x25}, .target = 1, .data = DATA_AT, .in = 8};
        uint8_t d[8];

        if (!run(&c) || !good(&c))
                return;
        guest_read(&dev, DATA_AT, d, 8);
        check(((uint32_t) d[0] << 24 | d[1] << 16 | d[2] << 8 | d[3]) == blocks - 1);
        check(d[4] == 0 && d[5] == 0 && d[6] == 2 && d[7] == 0);
}

static void check_report_luns(void) {
        struct command c = {.cdb = {0xa0, 0, 0, 0, 0, 0, 0, 0, 2}, .target = 1, .data = DATA_AT, .in = 512};
        uint8_t d[16];

        if (!run(&c) || !good(&c))
                return;
        guest_read(&dev, DATA_AT, d, 16);
        check(d[2] == 0 && d[3] == 8);
        check(d[8] == 0 && d[9] == 0);
}

/* An illegal request, and its sense data has nothing in it but what it says of that. */
static void illegal(const struct command *c, uint8_t code) {
        const uint8_t *s = c->resp.sense;

        check(c->resp.response == VIRTIO_SCSI_S_OK);
        check(c->resp.status == 2);
        check(c->resp.sense_len >= 14 && s[0] == 0x70 && s[2] == 5 && s[12] == code);
        for (unsigned i = 0; i < sizeof(c->resp.sense); i++)
                if (i != 0 && i != 2 && i != 7 && i != 12)
                        check(s[i] == 0);
}

static void check_past_end(uint32_t blocks) {
        struct command c = {.data = DATA_AT};

        rw(&c, false, blocks, 1);
        if (!run(&c))
                return;
        illegal(&c, 0x21);
}

static void check_wrong_lun(void) {
        struct command c = {.target = 1, .lun = 9};

        if (!run(&c))
                return;
        illegal(&c, 0x25);
}

static void check_wrong_target(void) {
        struct command c = {.target = 2};

        if (run(&c))
                check(c.resp.response == VIRTIO_SCSI_S_BAD_TARGET);
}

static void check_sizes(bool indirect) {
        static const uint32_t sizes[] = {512, 4096, 65536, 131072};

        for (unsigned i = 0; i < 4; i++)
                write_read(sizes[i], DATA_AT, 4096, indirect, i);
}

static void check_large(void) {
        write_read(1 << 20, DATA_AT, 4096, true, 5);
        write_read(2 << 20, DATA_AT, 4096, true, 6);
        write_read(4 << 20, DATA_AT, 0, false, 7);
}

/* More pieces than an iovec may have in Linux, and as many pages as there are in the largest transfer. */
static void check_huge(void) {
        write_read(4 << 20, DATA_AT, 4096, true, 13);
        write_read(8 << 20, DATA_AT + 512, 8192, true, 14);
}

static void check_border(void) {
        write_read(65536, BORDER - 20 * 512, 0, false, 8);
        write_read(65536, BORDER - 20 * 512, 4096 + 512, true, 9);
}

/* Not whole blocks: nothing that could be handed on as it is. */
static void check_unaligned(void) {
        write_read(4096, DATA_AT + 1, 0, false, 10);
        write_read(65536, DATA_AT + 512, 1000, true, 11);
        write_read(8192, BORDER - 100, 333, true, 12);
}

/* A CDB that fills a buffer, with one that is only to be read. */
static void check_wrong_way(void) {
        struct command c = {.cdb = {0x12, 0, 0, 0, 36}, .target = 1, .data = DATA_AT, .out = 36};

        guest_fill(&dev, DATA_AT, 0x55, 36);
        if (!run(&c))
                return;
        for (unsigned i = 0; i < 36; i++)
                check(*(uint8_t *) at(&dev, DATA_AT + i) == 0x55);
        check_ready();
}

/* No block at all, with room for some: nothing goes over. */
static void check_no_blocks(void) {
        struct command r = {.data = DATA_AT};

        guest_fill(&dev, DATA_AT, 0x55, 4096);
        rw(&r, false, 0, 0);
        r.in = 4096;
        if (run(&r) && good(&r))
                check(r.resp.resid == 4096 && r.used == RESP);
        check(*(uint8_t *) at(&dev, DATA_AT) == 0x55);
}

/* A write whose CDB and buffer differ is refused by the target core, which cannot know which of them is meant. */
static void check_odd_write(void) {
        struct command w = {.data = DATA_AT};

        for (uint32_t blocks = 0; blocks <= 8; blocks += 4) {
                rw(&w, true, 0, blocks);
                w.out = 1024;
                if (run(&w))
                        check(w.resp.response == VIRTIO_SCSI_S_OK && w.resp.status == 2);
        }
        check_ready();
}

static void check_split_heads(void) {
        struct command c = {.cdb = {0x12, 0, 0, 0, 36}, .target = 1, .data = DATA_AT, .in = 36, .head_piece = 5};

        if (!run(&c) || !good(&c))
                return;
        c.indirect = true;
        if (run(&c))
                good(&c);
}

/* A CDB that asks for less than there is room for. */
static void check_short_read(void) {
        struct command w = {.data = DATA_AT}, r = {.data = DATA_AT};

        guest_fill(&dev, DATA_AT, 0x77, 4096);
        rw(&w, true, 0, 8);
        if (!run(&w) || !good(&w))
                return;
        guest_fill(&dev, DATA_AT, 0x55, 4096);
        rw(&r, false, 0, 1);
        r.in = 4096;
        if (!run(&r) || !good(&r))
                return;
        check(r.resp.resid == 4096 - 512);
        check(*(uint8_t *) at(&dev, DATA_AT + 511) == 0x77);
        check(*(uint8_t *) at(&dev, DATA_AT + 512) == 0x55);
}

/* What the used ring says was written (virtio 1.2, 2.7.8.2). */
static void check_used_length(void) {
        struct command r = {.data = DATA_AT}, c = {.cdb = {0x12, 0, 0, 0, 36}, .target = 1, .data = DATA_AT, .in = 255};

        rw(&r, false, 0, 8);
        if (run(&r))
                check(r.used == RESP + 4096);
        if (run(&c))
                check(c.used == RESP + 36);
}

static void check_two_queues(void) {
        for (unsigned i = 0; i < 200; i++) {
                struct command c = {.data = DATA_AT};

                rw(&c, false, i, 1);
                if (!run_on(&c, IO + i % 2) || !good(&c))
                        return;
        }
}

static void control(const void *request, size_t n, uint8_t *ret, size_t ret_size) {
        struct piece p[2] = {{REQ_AT, (uint32_t) n, false}, {RESP_AT, (uint32_t) ret_size, true}};
        struct vring_used_elem e;
        uint16_t head;

        guest_write(&dev, REQ_AT, request, n);
        guest_fill(&dev, RESP_AT, 0xee, 16);
        head = queue_offer(&dev, CTL, p, 2, 0);
        queue_kick(&dev, CTL);
        if (!check(queue_wait(&dev, CTL, &e, DEADLINE)))
                return;
        queue_free(&dev, CTL, head);
        guest_read(&dev, RESP_AT, ret, ret_size);
}

static uint8_t task_management(uint32_t subtype, uint8_t target, uint8_t lun, uint64_t tag) {
        struct virtio_scsi_ctrl_tmf_req h = {
                .type = VIRTIO_SCSI_T_TMF, .subtype = subtype, .lun = {1, target, 0x40, lun}, .tag = tag,
        };
        uint8_t r = 0xff;

        control(&h, sizeof(h), &r, 1);
        return r;
}

static void check_lun_reset(void) {
        struct command c = {.target = 1};

        check(task_management(VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 1, 0, 0) == VIRTIO_SCSI_S_FUNCTION_SUCCEEDED);
        check(task_management(VIRTIO_SCSI_T_TMF_CLEAR_ACA, 1, 0, 0) == VIRTIO_SCSI_S_FUNCTION_REJECTED);
        check(task_management(99, 1, 0, 0) == VIRTIO_SCSI_S_FUNCTION_REJECTED);
        /* The target core says that it was reset, once; then it works. */
        if (run(&c) && c.resp.status == 2)
                check(c.resp.sense[2] == 6);
        if (run(&c))
                good(&c);
}

static void check_reset_wrong_target(void) {
        check(task_management(VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 2, 0, 0) == VIRTIO_SCSI_S_BAD_TARGET);
}

/* Nothing is in flight, which is what the guest wants of some, and what it asks others. */
static void check_task_set(void) {
        static const uint8_t aborting[] = {
                VIRTIO_SCSI_T_TMF_ABORT_TASK, VIRTIO_SCSI_T_TMF_ABORT_TASK_SET, VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET,
                VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET,
        };

        for (unsigned i = 0; i < 4; i++) {
                check(task_management(aborting[i], 1, 0, 12345) == VIRTIO_SCSI_S_FUNCTION_SUCCEEDED);
                check(task_management(aborting[i], 2, 0, 12345) == VIRTIO_SCSI_S_BAD_TARGET);
                if (aborting[i] != VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET)
                        check(task_management(aborting[i], 1, 9, 12345) == VIRTIO_SCSI_S_INCORRECT_LUN);
        }
        check(task_management(VIRTIO_SCSI_T_TMF_QUERY_TASK, 1, 0, 12345) == VIRTIO_SCSI_S_OK);
        check(task_management(VIRTIO_SCSI_T_TMF_QUERY_TASK_SET, 1, 0, 0) == VIRTIO_SCSI_S_OK);
        check(task_management(VIRTIO_SCSI_T_TMF_QUERY_TASK_SET, 1, 9, 0) == VIRTIO_SCSI_S_INCORRECT_LUN);
        check(task_management(VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 1, 9, 0) == VIRTIO_SCSI_S_INCORRECT_LUN);
        check_ready();
}

/* A CDB that asks for more than there is room for: the target core refuses it, and nothing is written. */
static void check_overflow(void) {
        struct command c = {.data = DATA_AT};

        guest_fill(&dev, DATA_AT, 0x55, 8192);
        rw(&c, false, 0, 8);
        c.in = 512;
        if (!run(&c))
                return;
        check(c.resp.response == VIRTIO_SCSI_S_OK && c.resp.status == 2);
        check(c.resp.sense[2] == 5 && c.resp.sense[12] == 0x24);
        check(*(uint8_t *) at(&dev, DATA_AT) == 0x55 && *(uint8_t *) at(&dev, DATA_AT + 512) == 0x55);
}

/* What the medium holds, without a comparison: no data, and none missing. */
static void check_verify(void) {
        struct command c = {.data = DATA_AT};

        rw(&c, false, 0, 8);
        c.cdb[0] = 0x2f;
        c.in = 0;
        if (run(&c) && good(&c))
                check(c.resp.resid == 0 && c.used == RESP);
}

static void check_notification(void) {
        struct virtio_scsi_ctrl_an_req h = {.type = VIRTIO_SCSI_T_AN_QUERY, .lun = {1, 1, 0x40, 0}, .event_requested = 2};
        struct virtio_scsi_ctrl_an_resp r;

        control(&h, sizeof(h), (uint8_t *) &r, sizeof(r));
        check(r.event_actual == 0);
        check(r.response == VIRTIO_SCSI_S_OK);
}

void attach(const char *node, const char *wwpn) {
        int r;

        device_open(&dev, node, wwpn, QUEUES);
        r = device_endpoint(&dev, VHOST_SCSI_SET_ENDPOINT, wwpn);
        if (r < 0)
                die("SET_ENDPOINT: %s", strerror(-r));
}

/* A unit that is new to the initiator, or one whose LUNs changed, says so once. */
void take_attention(void) {
        struct command c = {.target = 1};

        current = "first";
        run(&c);
}

#define RUN(name, call) do { \
                if (is_among(name, without)) \
                        break; \
                current = name; \
                current_failed = false; \
                call; \
                if (!current_failed) \
                        printf("ok %s\n", name); \
                fflush(stdout); \
        } while (0)

static bool is_among(const char *name, char *const *list) {
        for (; *list; list++)
                if (strcmp(*list, name) == 0)
                        return true;
        return false;
}

int checks(const char *node, const char *wwpn, uint32_t blocks, char *const *without) {
        attach(node, wwpn);
        take_attention();
        RUN("inquiry", check_inquiry());
        RUN("inquiry-underflow", check_inquiry_underflow());
        RUN("inquiry-pieces", check_inquiry_pieces());
        RUN("test-unit-ready", check_ready());
        RUN("read-capacity", check_capacity(blocks));
        RUN("report-luns", check_report_luns());
        RUN("sizes-direct", check_sizes(false));
        RUN("sizes-indirect", check_sizes(true));
        RUN("large", check_large());
        RUN("huge", check_huge());
        RUN("region-border", check_border());
        RUN("unaligned", check_unaligned());
        RUN("split-heads", check_split_heads());
        RUN("wrong-way", check_wrong_way());
        RUN("no-blocks", check_no_blocks());
        RUN("odd-write", check_odd_write());
        RUN("short-read", check_short_read());
        RUN("overflow", check_overflow());
        RUN("verify", check_verify());
        RUN("used-length", check_used_length());
        RUN("past-end", check_past_end(blocks));
        RUN("wrong-lun", check_wrong_lun());
        RUN("wrong-target", check_wrong_target());
        RUN("two-queues", check_two_queues());
        RUN("depth", check_depth());
        RUN("large-depth", check_large_depth());
        RUN("lun-reset", check_lun_reset());
        RUN("reset-wrong-target", check_reset_wrong_target());
        RUN("task-set", check_task_set());
        RUN("notification", check_notification());
        RUN("ioctls", check_ioctls());
        RUN("workers", check_workers());
        RUN("endpoint", check_endpoint(node));
        RUN("attach-again", check_attach_again());
        device_close(&dev);
        return failures ? 1 : 0;
}
