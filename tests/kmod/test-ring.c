/* SPDX-License-Identifier: GPL-2.0-only */
/* The module's ring, memory table and request parser, as they are in the kernel, compiled here. */
#include <glib.h>

#include "driver.h"

#define IN VRING_DESC_F_WRITE
#define NEXT VRING_DESC_F_NEXT
#define INDIRECT VRING_DESC_F_INDIRECT

static void assert_fault(struct driver *d, enum vhscsi_fault fault) {
        g_assert_cmpint(vhscsi_ring_next(&d->ring, d->mem, d->chain), ==, -EBADMSG);
        g_assert_cmpstr(vhscsi_fault_name(d->ring.fault), ==, vhscsi_fault_name(fault));
        /* And it stays broken. */
        g_assert_cmpint(vhscsi_ring_next(&d->ring, d->mem, d->chain), ==, -EBADMSG);
        g_assert_false(vhscsi_ring_listen(&d->ring));
}

static struct vhscsi_mem *mem_new(unsigned n, const struct vhscsi_region *r) {
        struct vhscsi_mem *mem = g_malloc(sizeof(*mem) + n * sizeof(*r));

        mem->n = n;
        if (n > 0)
                memcpy(mem->r, r, n * sizeof(*r));
        return mem;
}

static void test_mem_seal(void) {
        static const struct {
                int expected;
                unsigned n;
                struct vhscsi_region r[3];
        } cases[] = {
                {0, 0, {}},
                {0, 1, {{0, UINT64_MAX, 0}}},
                {0, 3, {{0x3000, 0x1000, 0}, {0x1000, 0x1000, 0}, {0x2000, 0x1000, 0}}},
                {0, 1, {{UINT64_MAX - 0xfff, 0x1000, 0}}},
                {-EFAULT, 1, {{0x1000, 0, 0}}},
                {-EFAULT, 1, {{UINT64_MAX - 0xfff, 0x1001, 0}}},
                {-EFAULT, 1, {{0, 0x1001, UINT64_MAX - 0xfff}}},
                {-EINVAL, 2, {{0x2000, 0x1000, 0}, {0x1000, 0x1001, 0}}},
                {-EINVAL, 2, {{0x1000, 0x1000, 0}, {0x1000, 0x1000, 0}}},
                {-EINVAL, 3, {{0, 0x10000, 0}, {0x20000, 1, 0}, {0x8000, 1, 0}}},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree struct vhscsi_mem *mem = mem_new(cases[i].n, cases[i].r);

                g_assert_cmpint(vhscsi_mem_seal(mem), ==, cases[i].expected);
                for (unsigned k = 1; cases[i].expected == 0 && k < mem->n; k++)
                        g_assert_cmpuint(mem->r[k - 1].gpa, <, mem->r[k].gpa);
        }
}

static void test_mem_translate(void) {
        static const struct vhscsi_region r[] = {
                {0x3000, 0x1000, 0x90000}, {0x1000, 0x1000, 0x70000}, {0x2000, 0x1000, 0x50000}, {UINT64_MAX - 0xfff, 0x1000, 0x10000},
        };
        g_autofree struct vhscsi_mem *mem = mem_new(G_N_ELEMENTS(r), r), *none = mem_new(0, NULL);
        struct vhscsi_seg s[4];

        g_assert_cmpint(vhscsi_mem_seal(mem), ==, 0);

        g_assert_cmpint(vhscsi_mem_translate(mem, 0x1800, 0x100, s, 4), ==, 1);
        g_assert_cmphex(s[0].uva, ==, 0x70800);
        g_assert_cmphex(s[0].len, ==, 0x100);

        /* All three, whole. */
        g_assert_cmpint(vhscsi_mem_translate(mem, 0x1000, 0x3000, s, 4), ==, 3);
        g_assert_cmphex(s[0].uva, ==, 0x70000);
        g_assert_cmphex(s[1].uva, ==, 0x50000);
        g_assert_cmphex(s[2].uva, ==, 0x90000);
        g_assert_cmphex(s[2].len, ==, 0x1000);

        /* The last byte of one and the first of the next. */
        g_assert_cmpint(vhscsi_mem_translate(mem, 0x1fff, 2, s, 4), ==, 2);
        g_assert_cmphex(s[0].uva, ==, 0x70fff);
        g_assert_cmphex(s[0].len, ==, 1);
        g_assert_cmphex(s[1].uva, ==, 0x50000);
        g_assert_cmphex(s[1].len, ==, 1);

        g_assert_cmpint(vhscsi_mem_translate(mem, 0x1fff, 2, s, 1), ==, -ENOBUFS);
        g_assert_cmpint(vhscsi_mem_translate(mem, 0x1000, 1, s, 0), ==, -ENOBUFS);
        g_assert_cmpint(vhscsi_mem_translate(mem, 0xfff, 2, s, 4), ==, -EFAULT);
        g_assert_cmpint(vhscsi_mem_translate(mem, 0x3fff, 2, s, 4), ==, -EFAULT);
        g_assert_cmpint(vhscsi_mem_translate(mem, 0x4000, 1, s, 4), ==, -EFAULT);
        g_assert_cmpint(vhscsi_mem_translate(mem, UINT64_MAX, 1, s, 4), ==, 1);
        g_assert_cmpint(vhscsi_mem_translate(mem, UINT64_MAX, 2, s, 4), ==, -EFAULT);
        g_assert_cmpint(vhscsi_mem_translate(mem, 0x1000, UINT32_MAX, s, 4), ==, -EFAULT);
        g_assert_cmpint(vhscsi_mem_translate(mem, 0, 0, s, 4), ==, 0);
        g_assert_cmpint(vhscsi_mem_translate(none, 0, 1, s, 4), ==, -EFAULT);
}

static void test_empty(void) {
        struct driver d;

        driver_init(&d, 8, 1, false);
        g_assert_cmpint(vhscsi_ring_next(&d.ring, d.mem, d.chain), ==, 0);
        g_assert_false(vhscsi_ring_publish(&d.ring));
        g_assert_false(vhscsi_ring_listen(&d.ring));
        driver_done(&d);
}

/* Direct chains, more of them than the 16 bits of an index, so that everything wraps more than once. */
static void test_direct(gconstpointer event_idx) {
        struct driver d;
        unsigned told = 0;

        driver_init(&d, 4, 4, GPOINTER_TO_INT(event_idx));
        for (unsigned i = 0; i < 150000; i++) {
                unsigned a = i & 1 ? 3 : 0, b = i & 1 ? 1 : 2;

                driver_desc(&d, a, DRIVER_DATA, 51, NEXT, b);
                driver_desc(&d, b, DRIVER_DATA + 0x1000, 108, IN, 0);
                driver_offer(&d, a);
                g_assert_cmpint(vhscsi_ring_next(&d.ring, d.mem, d.chain), ==, 1);
                g_assert_cmpuint(d.chain->head, ==, a);
                g_assert_cmpuint(d.chain->nout, ==, 1);
                g_assert_cmpuint(d.chain->nin, ==, 1);
                g_assert_cmpuint(d.chain->out_len, ==, 51);
                g_assert_cmpuint(d.chain->in_len, ==, 108);
                g_assert_true((void *) (uintptr_t) d.chain->segs[0].uva == driver_at(&d, DRIVER_DATA));
                g_assert_true((void *) (uintptr_t) d.chain->segs[1].uva == driver_at(&d, DRIVER_DATA + 0x1000));
                g_assert_cmpint(vhscsi_ring_next(&d.ring, d.mem, d.chain), ==, 0);

                vring_used_event(&d.vring) = (uint16_t) i;
                vhscsi_ring_put(&d.ring, a, i);
                told += vhscsi_ring_publish(&d.ring);
                g_assert_cmpuint(d.vring.used->idx, ==, (uint16_t) (i + 1));
                g_assert_cmpuint(d.vring.used->ring[i & 3].id, ==, a);
                g_assert_cmpuint(d.vring.used->ring[i & 3].len, ==, i);
        }
        g_assert_cmpuint(told, ==, 150000);
        driver_done(&d);
}

static void test_batch(void) {
        struct driver d;

        driver_init(&d, 8, 1, false);
        for (unsigned i = 0; i < 8; i++) {
                driver_desc(&d, i, DRIVER_DATA, 64, 0, 0);
                driver_offer(&d, i);
        }
        for (unsigned i = 0; i < 8; i++) {
                g_assert_cmpint(vhscsi_ring_next(&d.ring, d.mem, d.chain), ==, 1);
                g_assert_cmpuint(d.chain->head, ==, i);
                vhscsi_ring_put(&d.ring, d.chain->head, 0);
                /* Not before it is published. */
                g_assert_cmpuint(d.vring.used->idx, ==, 0);
        }
        g_assert_true(vhscsi_ring_publish(&d.ring));
        g_assert_cmpuint(d.vring.used->idx, ==, 8);
        g_assert_false(vhscsi_ring_publish(&d.ring));
        driver_done(&d);
}

static void test_indirect(void) {
        struct vring_desc table[5];
        struct driver d;

        /* Sixteen regions: the table and the data cross borders. */
        driver_init(&d, 4, 16, true);
        uint64_t border = DRIVER_GPA + 10 * (DRIVER_MEMORY / 16), at = border - 24;

        table[0] = (struct vring_desc) {border + 0x2000, 20, NEXT, 3};
        table[3] = (struct vring_desc) {border + 0x3000, 31, NEXT, 1};
        table[1] = (struct vring_desc) {border - 4, 8, IN | NEXT, 2};
        table[2] = (struct vring_desc) {border, 0, IN | NEXT, 4};
        table[4] = (struct vring_desc) {border + 100, 100, IN, 9};
        driver_write(&d, at, table, sizeof(table));
        driver_desc(&d, 2, at, sizeof(table), INDIRECT, 0);
        driver_offer(&d, 2);

        g_assert_cmpint(vhscsi_ring_next(&d.ring, d.mem, d.chain), ==, 1);
        g_assert_cmpuint(d.chain->nout, ==, 2);
        g_assert_cmpuint(d.chain->nin, ==, 3);
        g_assert_cmpuint(d.chain->out_len, ==, 51);
        g_assert_cmpuint(d.chain->in_len, ==, 108);
        g_assert_true((void *) (uintptr_t) d.chain->segs[2].uva == driver_at(&d, border - 4));
        g_assert_true((void *) (uintptr_t) d.chain->segs[3].uva == driver_at(&d, border));
        g_assert_cmpuint(d.chain->segs[2].len, ==, 4);
        g_assert_cmpuint(d.chain->segs[3].len, ==, 4);

        /* A direct descriptor may lead to a table that ends the chain. */
        driver_desc(&d, 0, DRIVER_DATA, 10, NEXT, 2);
        driver_offer(&d, 0);
        g_assert_cmpint(vhscsi_ring_next(&d.ring, d.mem, d.chain), ==, 1);
        g_assert_cmpuint(d.chain->out_len, ==, 61);
        driver_done(&d);
}

/* The longest table, a segment an entry; with one region border more it is too much. */
static void test_long(void) {
        g_autofree struct vring_desc *table = g_new0(struct vring_desc, VHSCSI_MAX_TABLE);
        uint64_t border = DRIVER_GPA + DRIVER_MEMORY / 2;
        struct driver d;

        driver_init(&d, 4, 2, false);
        for (unsigned i = 0; i < VHSCSI_MAX_TABLE; i++)
                table[i] = (struct vring_desc) {border, 1, IN | (i + 1 < VHSCSI_MAX_TABLE ? NEXT : 0), i + 1};
        driver_write(&d, DRIVER_GPA, table, VHSCSI_MAX_TABLE * sizeof(*table));
        driver_desc(&d, 0, DRIVER_GPA, VHSCSI_MAX_TABLE * sizeof(*table), INDIRECT, 0);
        driver_offer(&d, 0);
        g_assert_cmpint(vhscsi_ring_next(&d.ring, d.mem, d.chain), ==, 1);
        g_assert_cmpuint(d.chain->nin, ==, VHSCSI_MAX_SEGS);
        g_assert_cmpuint(d.chain->in_len, ==, VHSCSI_MAX_TABLE);

        table[1].addr = border - 1;
        table[1].len = 2;
        driver_write(&d, DRIVER_GPA, table, VHSCSI_MAX_TABLE * sizeof(*table));
        driver_offer(&d, 0);
        assert_fault(&d, VHSCSI_FAULT_SEGMENTS);
        driver_done(&d);
}

struct bad {
        const char *name;
        enum vhscsi_fault fault;
        struct vring_desc desc[4], table[4];
        uint16_t head;
};

static const struct bad bad_chains[] = {
        {"head", VHSCSI_FAULT_HEAD, {}, {}, 4},
        {"head-far", VHSCSI_FAULT_HEAD, {}, {}, 0xffff},
        {"next", VHSCSI_FAULT_NEXT, {{DRIVER_DATA, 1, NEXT, 4}}, {}, 0},
        {"loop", VHSCSI_FAULT_LOOP, {{DRIVER_DATA, 1, NEXT, 1}, {DRIVER_DATA, 1, NEXT, 0}}, {}, 0},
        {"itself", VHSCSI_FAULT_LOOP, {{DRIVER_DATA, 1, NEXT, 0}}, {}, 0},
        {"empty-loop", VHSCSI_FAULT_LOOP, {{0, 0, NEXT, 0}}, {}, 0},
        {"order", VHSCSI_FAULT_ORDER, {{DRIVER_DATA, 1, IN | NEXT, 1}, {DRIVER_DATA, 1, 0, 0}}, {}, 0},
        {"address", VHSCSI_FAULT_ADDRESS, {{DRIVER_GPA - 1, 2, 0, 0}}, {}, 0},
        {"address-end", VHSCSI_FAULT_ADDRESS, {{DRIVER_GPA + DRIVER_MEMORY - 1, 2, 0, 0}}, {}, 0},
        {"address-wrap", VHSCSI_FAULT_ADDRESS, {{UINT64_MAX, 2, 0, 0}}, {}, 0},
        {"length", VHSCSI_FAULT_ADDRESS, {{DRIVER_DATA, UINT32_MAX, 0, 0}}, {}, 0},
        {"table-empty", VHSCSI_FAULT_INDIRECT, {{DRIVER_DATA, 0, INDIRECT, 0}}, {}, 0},
        {"table-odd", VHSCSI_FAULT_INDIRECT, {{DRIVER_DATA, 17, INDIRECT, 0}}, {}, 0},
        {"table-long", VHSCSI_FAULT_INDIRECT, {{DRIVER_DATA, (VHSCSI_MAX_TABLE + 1) * 16, INDIRECT, 0}}, {}, 0},
        {"table-huge", VHSCSI_FAULT_INDIRECT, {{DRIVER_DATA, 0xfffffff0, INDIRECT, 0}}, {}, 0},
        {"table-goes-on", VHSCSI_FAULT_INDIRECT, {{DRIVER_DATA, 16, INDIRECT | NEXT, 1}}, {{DRIVER_DATA, 1, 0, 0}}, 0},
        {"table-address", VHSCSI_FAULT_ADDRESS, {{DRIVER_GPA - 16, 32, INDIRECT, 0}}, {}, 0},
        {"table-nested", VHSCSI_FAULT_INDIRECT, {{DRIVER_DATA, 16, INDIRECT, 0}}, {{DRIVER_DATA, 16, INDIRECT, 0}}, 0},
        {"table-next", VHSCSI_FAULT_NEXT, {{DRIVER_DATA, 32, INDIRECT, 0}}, {{DRIVER_DATA, 1, NEXT, 2}}, 0},
        {"table-loop", VHSCSI_FAULT_LOOP, {{DRIVER_DATA, 32, INDIRECT, 0}}, {{DRIVER_DATA, 1, NEXT, 1}, {DRIVER_DATA, 1, NEXT, 0}}, 0},
        {"table-order", VHSCSI_FAULT_ORDER, {{DRIVER_DATA, 32, INDIRECT, 0}}, {{DRIVER_DATA, 1, IN | NEXT, 1}, {DRIVER_DATA, 1, 0, 0}}, 0},
};

static void test_bad(gconstpointer data) {
        const struct bad *b = data;
        struct driver d;

        driver_init(&d, 4, 1, true);
        memcpy(d.vring.desc, b->desc, sizeof(b->desc));
        driver_write(&d, DRIVER_DATA, b->table, sizeof(b->table));
        driver_offer(&d, b->head);
        assert_fault(&d, b->fault);
        /* The bad one was not taken, and nothing was given back. */
        g_assert_cmpuint(d.ring.last_avail, ==, 0);
        g_assert_cmpuint(d.vring.used->idx, ==, 0);

        /* Set up anew it works. */
        driver_desc(&d, 1, DRIVER_DATA, 1, 0, 0);
        d.vring.avail->ring[0] = 1;
        g_assert_cmpint(vhscsi_ring_start(&d.ring), ==, 0);
        g_assert_cmpint(vhscsi_ring_next(&d.ring, d.mem, d.chain), ==, 1);
        driver_done(&d);
}

/* One region of 4 GiB, so that two descriptors can be too much while each is fine. */
static void test_total_length(void) {
        struct driver d;

        driver_init(&d, 4, 1, false);
        d.mem->r[0].size = 1ULL << 32;
        driver_desc(&d, 0, DRIVER_GPA, 0x80000000, NEXT, 1);
        driver_desc(&d, 1, DRIVER_GPA, 0x7fffffff, NEXT, 2);
        driver_desc(&d, 2, DRIVER_GPA, 0xffffffff, IN, 0);
        driver_offer(&d, 0);
        g_assert_cmpint(vhscsi_ring_next(&d.ring, d.mem, d.chain), ==, 1);
        g_assert_cmphex(d.chain->out_len, ==, 0xffffffff);
        g_assert_cmphex(d.chain->in_len, ==, 0xffffffff);

        driver_desc(&d, 1, DRIVER_GPA, 0x80000000, 0, 0);
        driver_offer(&d, 0);
        assert_fault(&d, VHSCSI_FAULT_LENGTH);
        driver_done(&d);
}

static void test_avail_index(void) {
        struct driver d;

        driver_init(&d, 4, 1, false);
        d.vring.avail->idx = 5;
        assert_fault(&d, VHSCSI_FAULT_AVAIL_INDEX);
        driver_done(&d);

        driver_init(&d, 4, 1, false);
        d.vring.avail->idx = 0xffff;
        assert_fault(&d, VHSCSI_FAULT_AVAIL_INDEX);
        driver_done(&d);
}

/* A head that is offered while the device has it: by the index alone the driver has more requests than descriptors. */
static void test_overcommit(void) {
        struct driver d;

        driver_init(&d, 4, 1, false);
        driver_desc(&d, 0, DRIVER_DATA, 1, 0, 0);
        for (unsigned i = 0; i < 4; i++) {
                driver_offer(&d, 0);
                g_assert_cmpint(vhscsi_ring_next(&d.ring, d.mem, d.chain), ==, 1);
        }
        /* One that was given back may come again. */
        vhscsi_ring_put(&d.ring, 0, 0);
        driver_offer(&d, 0);
        g_assert_cmpint(vhscsi_ring_next(&d.ring, d.mem, d.chain), ==, 1);
        driver_offer(&d, 0);
        g_assert_cmpint(vhscsi_ring_next(&d.ring, d.mem, d.chain), <, 0);
        g_assert_cmpint(d.ring.fault, ==, VHSCSI_FAULT_OVERCOMMIT);
        g_assert_cmpstr(vhscsi_fault_name(d.ring.fault), ==, "overcommit");
        driver_done(&d);
}

static void test_ring_memory(void) {
        static const size_t parts[] = {
                offsetof(struct vhscsi_ring, desc), offsetof(struct vhscsi_ring, avail), offsetof(struct vhscsi_ring, used),
        };

        for (size_t i = 0; i < G_N_ELEMENTS(parts); i++) {
                struct driver d;

                driver_init(&d, 4, 1, i & 1);
                driver_desc(&d, 0, DRIVER_DATA, 1, 0, 0);
                driver_offer(&d, 0);
                /* Behind the window: a pointer like any other, and a fault. */
                *(void **) ((uint8_t *) &d.ring + parts[i]) = (void *) UINT64_C(0x1000);
                if (i < 2)
                        assert_fault(&d, VHSCSI_FAULT_RING_MEMORY);
                else {
                        g_assert_cmpint(vhscsi_ring_start(&d.ring), ==, -EFAULT);
                        vhscsi_ring_put(&d.ring, 0, 0);
                        assert_fault(&d, VHSCSI_FAULT_RING_MEMORY);
                }
                driver_done(&d);
        }
}

/* Every combination of what was signalled, what is used now and what the driver waits for, against the definition. */
static void test_event_idx(void) {
        struct driver d;

        driver_init(&d, 64, 1, true);
        for (unsigned start = 65500; start < 65500 + 64; start += 7)
                for (unsigned n = 1; n <= 40; n += 3)
                        for (int event = -5; event < 50; event++) {
                                /* The driver waits for the entry start + event to be used. */
                                bool expected = event >= 0 && (unsigned) event < n;

                                d.ring.used_idx = d.ring.published = d.ring.signalled = (uint16_t) start;
                                d.ring.signalled_valid = true;
                                vring_used_event(&d.vring) = (uint16_t) (start + (unsigned) event);
                                for (unsigned i = 0; i < n; i++)
                                        vhscsi_ring_put(&d.ring, 0, 0);
                                g_assert_cmpint(vhscsi_ring_publish(&d.ring), ==, expected);
                        }

        /* The first after a start is always told, whatever the driver's memory says. */
        vring_used_event(&d.vring) = (uint16_t) (d.ring.used_idx + 100);
        g_assert_cmpint(vhscsi_ring_start(&d.ring), ==, 0);
        vhscsi_ring_put(&d.ring, 0, 0);
        g_assert_true(vhscsi_ring_publish(&d.ring));
        vhscsi_ring_put(&d.ring, 0, 0);
        g_assert_false(vhscsi_ring_publish(&d.ring));
        driver_done(&d);
}

static void test_quiet(void) {
        struct driver d;

        driver_init(&d, 4, 1, false);
        vhscsi_ring_quiet(&d.ring);
        g_assert_cmpuint(d.vring.used->flags, ==, VRING_USED_F_NO_NOTIFY);
        g_assert_false(vhscsi_ring_listen(&d.ring));
        g_assert_cmpuint(d.vring.used->flags, ==, 0);

        /* One that came before we listened is seen. */
        vhscsi_ring_quiet(&d.ring);
        driver_desc(&d, 0, DRIVER_DATA, 1, 0, 0);
        driver_offer(&d, 0);
        g_assert_true(vhscsi_ring_ready(&d.ring));
        g_assert_true(vhscsi_ring_listen(&d.ring));

        d.vring.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
        vhscsi_ring_put(&d.ring, 0, 0);
        g_assert_false(vhscsi_ring_publish(&d.ring));
        driver_done(&d);

        driver_init(&d, 4, 1, true);
        driver_desc(&d, 0, DRIVER_DATA, 1, 0, 0);
        driver_offer(&d, 0);
        g_assert_cmpint(vhscsi_ring_next(&d.ring, d.mem, d.chain), ==, 1);
        g_assert_false(vhscsi_ring_listen(&d.ring));
        g_assert_cmpuint(vring_avail_event(&d.vring), ==, 1);

        /* It knows already, and one that comes then has kicked; told again it is when there is something new to tell. */
        g_assert_false(vhscsi_ring_listen(&d.ring));
        driver_offer(&d, 0);
        g_assert_false(vhscsi_ring_listen(&d.ring));
        vhscsi_ring_put(&d.ring, 0, 0);
        g_assert_cmpint(vhscsi_ring_next(&d.ring, d.mem, d.chain), ==, 1);
        driver_offer(&d, 0);
        g_assert_true(vhscsi_ring_listen(&d.ring));
        g_assert_cmpuint(vring_avail_event(&d.vring), ==, 2);
        driver_done(&d);
}

static void test_request(void) {
        static const struct {
                uint8_t lun[8];
                uint32_t out, in;
                int expected;
                enum vhscsi_dir dir;
                uint32_t bytes;
                uint16_t number;
        } cases[] = {
                {{1, 7, 0x40, 3}, 51, 108, 0, VHSCSI_DIR_NONE, 0, 3},
                {{1, 7, 0, 3}, 51, 108, 0, VHSCSI_DIR_NONE, 0, 3},
                {{1, 7, 0x7f, 0xff}, 51, 109, 0, VHSCSI_DIR_IN, 1, 16383},
                {{1, 7, 0x41, 0}, 52, 108, 0, VHSCSI_DIR_OUT, 1, 256},
                {{1, 7}, UINT32_MAX, 108, 0, VHSCSI_DIR_OUT, UINT32_MAX - 51, 0},
                {{1, 7}, 51, UINT32_MAX, 0, VHSCSI_DIR_IN, UINT32_MAX - 108, 0},
                {{1, 7}, 52, 109, VIRTIO_SCSI_S_FAILURE, 0, 0, 0},
                {{1, 7}, 50, 108, VIRTIO_SCSI_S_FAILURE, 0, 0, 0},
                {{1, 7}, 51, 107, VIRTIO_SCSI_S_FAILURE, 0, 0, 0},
                {{1, 7}, 0, 0, VIRTIO_SCSI_S_FAILURE, 0, 0, 0},
                {{0, 7}, 51, 108, VIRTIO_SCSI_S_BAD_TARGET, 0, 0, 0},
                {{0xc1, 1}, 51, 108, VIRTIO_SCSI_S_BAD_TARGET, 0, 0, 0},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct virtio_scsi_cmd_req h = {.tag = htole64(0x1122334455667788), .task_attr = 2, .cdb = {0x12}};
                struct vhscsi_request r;

                memcpy(h.lun, cases[i].lun, 8);
                g_assert_cmpint(vhscsi_request_parse(&h, cases[i].out, cases[i].in, &r), ==, cases[i].expected);
                if (cases[i].expected)
                        continue;
                g_assert_cmpint(r.dir, ==, cases[i].dir);
                g_assert_cmpuint(r.bytes, ==, cases[i].bytes);
                g_assert_cmpuint(r.target, ==, 7);
                g_assert_cmpuint(r.lun, ==, cases[i].number);
                g_assert_cmphex(r.tag, ==, 0x1122334455667788);
                g_assert_cmpuint(r.attr, ==, VIRTIO_SCSI_S_HEAD);
                g_assert_cmphex(r.cdb[0], ==, 0x12);
        }
}

static void test_response(void) {
        static const uint8_t sense[200] = {0x70, 0, 5};
        static const uint8_t read[32] = {0x28}, verify[32] = {0x2f}, verify_compare[32] = {0x2f, 0x02}, verify_16[32] = {0x8f, 0xe0};
        static const struct {
                struct vhscsi_request req;
                struct vhscsi_result res;
                uint32_t used, resid, sense_len;
                uint8_t response, status;
        } cases[] = {
                {{.dir = VHSCSI_DIR_IN, .bytes = 4096}, {}, 108 + 4096, 0, 0, VIRTIO_SCSI_S_OK, 0},
                /* INQUIRY into more room than it has bytes. */
                {{.dir = VHSCSI_DIR_IN, .bytes = 255}, {.residual = 219}, 108 + 36, 219, 0, VIRTIO_SCSI_S_OK, 0},
                /* READ of more than the buffer holds. */
                {{.dir = VHSCSI_DIR_IN, .bytes = 512, .cdb = read}, {.overflow = true, .residual = 3584}, 108 + 512, 0, 0, VIRTIO_SCSI_S_OVERRUN, 0},
                /* What is not to be compared has no data, though the target core counts its blocks. */
                {{.dir = VHSCSI_DIR_NONE, .cdb = verify}, {.overflow = true, .residual = 4096}, 108, 0, 0, VIRTIO_SCSI_S_OK, 0},
                {{.dir = VHSCSI_DIR_NONE, .cdb = verify_16}, {.overflow = true, .residual = 4096}, 108, 0, 0, VIRTIO_SCSI_S_OK, 0},
                {{.dir = VHSCSI_DIR_NONE, .cdb = verify_compare}, {.overflow = true, .residual = 4096}, 108, 0, 0, VIRTIO_SCSI_S_OVERRUN, 0},
                {{.dir = VHSCSI_DIR_OUT, .bytes = 4096}, {}, 108, 0, 0, VIRTIO_SCSI_S_OK, 0},
                {{.dir = VHSCSI_DIR_OUT, .bytes = 4096}, {.residual = 1024}, 108, 1024, 0, VIRTIO_SCSI_S_OK, 0},
                {{.dir = VHSCSI_DIR_NONE}, {.residual = 77}, 108, 0, 0, VIRTIO_SCSI_S_OK, 0},
                {{.dir = VHSCSI_DIR_IN, .bytes = 10}, {.residual = 77}, 108, 10, 0, VIRTIO_SCSI_S_OK, 0},
                {{.dir = VHSCSI_DIR_IN, .bytes = 4096}, {.status = 2, .sense = sense, .sense_len = 18}, 108, 0, 18, VIRTIO_SCSI_S_OK, 2},
                {{.dir = VHSCSI_DIR_IN, .bytes = 4096}, {.status = 2, .sense = sense, .sense_len = 200, .overflow = true}, 108, 0, 96,
                 VIRTIO_SCSI_S_OK, 2},
                {{.dir = VHSCSI_DIR_IN, .bytes = 4096}, {.status = 2, .sense = sense, .sense_len = 18, .response = VIRTIO_SCSI_S_ABORTED},
                 108, 4096, 0, VIRTIO_SCSI_S_ABORTED, 0},
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                struct virtio_scsi_cmd_resp r;

                memset(&r, 0xaa, sizeof(r));
                g_assert_cmpuint(vhscsi_response_fill(&r, &cases[i].req, &cases[i].res), ==, cases[i].used);
                g_assert_cmpuint(le32toh(r.resid), ==, cases[i].resid);
                g_assert_cmpuint(le32toh(r.sense_len), ==, cases[i].sense_len);
                g_assert_cmpuint(r.response, ==, cases[i].response);
                g_assert_cmpuint(r.status, ==, cases[i].status);
                g_assert_cmpuint(r.sense[0], ==, cases[i].sense_len ? 0x70 : 0);
                /* Nothing of the kernel's memory goes to the guest. */
                g_assert_cmpuint(r.sense[95], ==, 0);
        }
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/kmod/mem/seal", test_mem_seal);
        g_test_add_func("/kmod/mem/translate", test_mem_translate);
        g_test_add_func("/kmod/ring/empty", test_empty);
        g_test_add_data_func("/kmod/ring/direct", GINT_TO_POINTER(0), test_direct);
        g_test_add_data_func("/kmod/ring/direct-event-idx", GINT_TO_POINTER(1), test_direct);
        g_test_add_func("/kmod/ring/batch", test_batch);
        g_test_add_func("/kmod/ring/indirect", test_indirect);
        g_test_add_func("/kmod/ring/long", test_long);
        g_test_add_func("/kmod/ring/total-length", test_total_length);
        g_test_add_func("/kmod/ring/avail-index", test_avail_index);
        g_test_add_func("/kmod/ring/overcommit", test_overcommit);
        g_test_add_func("/kmod/ring/memory", test_ring_memory);
        g_test_add_func("/kmod/ring/event-idx", test_event_idx);
        g_test_add_func("/kmod/ring/quiet", test_quiet);
        for (size_t i = 0; i < G_N_ELEMENTS(bad_chains); i++) {
                g_autofree char *path = g_strdup_printf("/kmod/ring/bad/%s", bad_chains[i].name);

                g_test_add_data_func(path, &bad_chains[i], test_bad);
        }
        g_test_add_func("/kmod/request/parse", test_request);
        g_test_add_func("/kmod/request/response", test_response);
        return g_test_run();
}
