/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/sysmacros.h>

#include "base/strv.h"
#include "model/inventory.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>

/* keys: separated by blanks, the first is the identity */
static Device *make(unsigned mi, DeviceKind kind, bool path_member, const char *keys) {
        Device *d = device_new();
        g_auto(GStrv) split = g_strsplit(keys, " ", -1);

        d->devnum = makedev(8, mi);
        d->kind = kind;
        d->path_member = path_member;
        d->initialized = true;
        for (char **k = split; *k; k++)
                g_assert_cmpint(strv_extend(&d->keys, *k), ==, 0);
        d->identity = strdup(d->keys[0]);
        return d;
}

static InventoryChange put(Inventory *i, Device *d) {
        InventoryChange change;

        g_assert_cmpint(inventory_put(i, d, &change, NULL), ==, 0);
        return change;
}

static void assert_resolves(Inventory *i, const char *source, int expected) {
        Device *d = NULL;
        int r = inventory_resolve(i, source, &d);

        if (expected < 0) {
                g_assert_cmpint(r, ==, expected);
                g_assert_null(d);
        } else {
                g_assert_cmpint(r, ==, 0);
                g_assert_cmpint(minor(d->devnum), ==, expected);
        }
}

static void test_put(void) {
        _cleanup_(inventory_freep) Inventory *i = inventory_new();
        _cleanup_(device_freep) Device *first = NULL, *taken = NULL;
        InventoryChange change;
        Device *d, *old;

        d = make(1, DEVICE_DISK, false, "wwid=1 path=/dev/sda");
        g_assert_cmpint(inventory_put(i, d, &change, &old), ==, 0);
        g_assert_cmpint(change, ==, INVENTORY_CHANGED);
        g_assert_null(old);
        g_assert_true(inventory_by_devnum(i, makedev(8, 1)) == d);

        d = make(1, DEVICE_DISK, false, "wwid=1 path=/dev/sda");
        g_assert_cmpint(inventory_put(i, d, &change, &old), ==, 0);
        g_assert_cmpint(change, ==, INVENTORY_SAME);
        g_assert_null(old);
        g_assert_true(inventory_by_devnum(i, makedev(8, 1)) == d);

        /* Another disk under the number: the old names go with the old one. */
        d = make(1, DEVICE_DISK, false, "wwid=2 path=/dev/sda");
        g_assert_cmpint(inventory_put(i, d, &change, &first), ==, 0);
        g_assert_cmpint(change, ==, INVENTORY_CHANGED);
        g_assert_cmpstr(first->identity, ==, "wwid=1");
        assert_resolves(i, "wwid=1", -ENODEV);
        assert_resolves(i, "wwid=2", 1);
        assert_resolves(i, "path=/dev/sda", 1);
        g_assert_cmpuint(inventory_size(i), ==, 1);

        taken = inventory_take(i, makedev(8, 1));
        g_assert_true(taken == d);
        g_assert_null(inventory_take(i, makedev(8, 1)));
        g_assert_null(inventory_by_devnum(i, makedev(8, 1)));
        assert_resolves(i, "wwid=2", -ENODEV);
        g_assert_cmpuint(inventory_size(i), ==, 0);
}

static void test_ranks(void) {
        _cleanup_(inventory_freep) Inventory *i = inventory_new();

        /* Paths first, as at boot: the disk is not there before its map is. */
        put(i, make(1, DEVICE_DISK, true, "wwid=1 by-id=wwn-1 by-id=path-only path=/dev/sda"));
        assert_resolves(i, "wwid=1", -ENODEV);
        put(i, make(2, DEVICE_DISK, true, "wwid=1 by-id=wwn-1 path=/dev/sdb"));
        assert_resolves(i, "wwid=1", -ENODEV);
        assert_resolves(i, "by-id=wwn-1", -ENODEV);
        assert_resolves(i, "by-id=path-only", 1);
        assert_resolves(i, "path=/dev/sda", 1);

        put(i, make(3, DEVICE_MULTIPATH, false, "dm-uuid=mpath-1 wwid=1 by-id=wwn-1 path=/dev/dm-0"));
        assert_resolves(i, "wwid=1", 3);
        assert_resolves(i, "by-id=wwn-1", 3);
        assert_resolves(i, "dm-uuid=mpath-1", 3);
        assert_resolves(i, "path=/dev/sdb", 2);

        /* A disk that multipath has not claimed yet does not compete with the map. */
        put(i, make(4, DEVICE_DISK, false, "wwid=1 by-id=wwn-1 path=/dev/sdc"));
        assert_resolves(i, "wwid=1", 3);
        put(i, make(5, DEVICE_MAP, false, "dm-uuid=x wwid=1 path=/dev/dm-1"));
        assert_resolves(i, "wwid=1", 3);

        device_free(inventory_take(i, makedev(8, 3)));
        assert_resolves(i, "wwid=1", 5);
        device_free(inventory_take(i, makedev(8, 5)));
        assert_resolves(i, "wwid=1", 4);

        /* Not a path any more: now two claim it with the same right. */
        put(i, make(2, DEVICE_DISK, false, "wwid=1 by-id=wwn-1 path=/dev/sdb"));
        assert_resolves(i, "wwid=1", -ENOTUNIQ);
        put(i, make(2, DEVICE_DISK, true, "wwid=1 by-id=wwn-1 path=/dev/sdb"));
        assert_resolves(i, "wwid=1", 4);

        put(i, make(6, DEVICE_MULTIPATH, false, "dm-uuid=mpath-1 path=/dev/dm-2"));
        put(i, make(7, DEVICE_MULTIPATH, false, "dm-uuid=mpath-1 path=/dev/dm-3"));
        assert_resolves(i, "dm-uuid=mpath-1", -ENOTUNIQ);
        assert_resolves(i, "by-id=nobody", -ENODEV);
}

static void test_instance(void) {
        _cleanup_(inventory_freep) Inventory *i = inventory_new();
        Device *d = make(1, DEVICE_DISK, false, "path=/dev/sda");

        d->diskseq = 14;
        put(i, d);
        g_assert_true(inventory_has_instance(i, makedev(8, 1), 14));
        g_assert_true(inventory_has_instance(i, makedev(8, 1), 0));
        g_assert_false(inventory_has_instance(i, makedev(8, 1), 15));
        g_assert_false(inventory_has_instance(i, makedev(8, 2), 0));
}

static void test_marks(void) {
        _cleanup_(inventory_freep) Inventory *i = inventory_new();
        unsigned n = 0;
        Device *d;

        for (unsigned k = 0; k < 10; k++) {
                g_autofree char *keys = g_strdup_printf("path=/dev/sd%u", k);

                put(i, make(k, DEVICE_DISK, false, keys));
        }
        g_assert_null(inventory_take_unmarked(i));

        inventory_unmark(i);
        for (unsigned k = 0; k < 20; k += 2) {
                g_autofree char *keys = g_strdup_printf("path=/dev/sd%u", k);

                put(i, make(k, DEVICE_DISK, false, keys));
        }

        while ((d = inventory_take_unmarked(i))) {
                g_assert_cmpuint(minor(d->devnum) % 2, ==, 1);
                device_free(d);
                n++;
        }
        g_assert_cmpuint(n, ==, 5);
        g_assert_cmpuint(inventory_size(i), ==, 10);

        n = 0;
        INVENTORY_FOREACH(i, d) {
                g_assert_cmpuint(minor(d->devnum) % 2, ==, 0);
                n++;
        }
        g_assert_cmpuint(n, ==, 10);

        /* Forgotten twice is forgotten once; and what is left unmarked is freed with the inventory. */
        inventory_unmark(i);
        inventory_unmark(i);
}

/* All of them under one name as well: neither may cost a walk. */
static void test_many(void) {
        _cleanup_(inventory_freep) Inventory *i = inventory_new();
        const unsigned n = 16384;
        Device *d;
        gint64 start = g_get_monotonic_time(), took;

        for (int round = 0; round < 2; round++) {
                inventory_unmark(i);
                for (unsigned k = 0; k < n; k++) {
                        g_autofree char *keys = g_strdup_printf("wwid=%u by-id=wwn-%u by-id=same path=/dev/sd%u", k, k, k);

                        put(i, make(k, DEVICE_DISK, k % 2 == 0, keys));
                }
                g_assert_null(inventory_take_unmarked(i));
        }

        for (unsigned k = 0; k < n; k++) {
                g_autofree char *source = g_strdup_printf("by-id=wwn-%u", k);

                assert_resolves(i, source, (int) k);
                assert_resolves(i, "by-id=same", -ENOTUNIQ);
        }

        inventory_unmark(i);
        while ((d = inventory_take_unmarked(i)))
                device_free(d);
        g_assert_cmpuint(inventory_size(i), ==, 0);

        took = g_get_monotonic_time() - start;
        g_test_message("%u devices put twice, resolved twice and taken in %" G_GINT64_FORMAT " ms", n, took / 1000);
}

/* Against the simplest thing that could be right. */
static void test_random(void) {
        _cleanup_(inventory_freep) Inventory *i = inventory_new();
        Device *oracle[24] = {};

        for (int step = 0; step < 20000; step++) {
                unsigned mi = (unsigned) g_test_rand_int_range(0, (int) ELEMENTSOF(oracle));
                g_autofree char *source = g_strdup_printf("by-id=%d", g_test_rand_int_range(0, 8));
                int best = -1, ties = 0, expected;

                if (g_test_rand_int_range(0, 4) == 0) {
                        Device *d = inventory_take(i, makedev(8, mi));

                        g_assert_true(d == oracle[mi]);
                        oracle[mi] = device_free(d);
                } else {
                        int a = g_test_rand_int_range(0, 8), b = (a + g_test_rand_int_range(1, 8)) % 8;
                        g_autofree char *keys = g_strdup_printf("by-id=%d by-id=%d", a, b);

                        oracle[mi] = make(mi, (DeviceKind) g_test_rand_int_range(0, DEVICE_FILE), g_test_rand_bit(), keys);
                        put(i, oracle[mi]);
                }

                for (unsigned k = 0; k < ELEMENTSOF(oracle); k++) {
                        int rank;

                        if (!oracle[k] || !strv_contains(oracle[k]->keys, source))
                                continue;

                        rank = oracle[k]->path_member ? 0 : oracle[k]->kind == DEVICE_MULTIPATH ? 3 : oracle[k]->kind == DEVICE_MAP ? 2 : 1;
                        if (rank > best) {
                                best = rank;
                                ties = (int) k;
                        } else if (rank == best)
                                ties = -ENOTUNIQ;
                }

                expected = best < 0 || (best == 0 && ties < 0) ? -ENODEV : ties;
                assert_resolves(i, source, expected);
        }
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/inventory/put", test_put);
        g_test_add_func("/inventory/ranks", test_ranks);
        g_test_add_func("/inventory/instance", test_instance);
        g_test_add_func("/inventory/marks", test_marks);
        g_test_add_func("/inventory/many", test_many);
        g_test_add_func("/inventory/random", test_random);

        return g_test_run();
}
