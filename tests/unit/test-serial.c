/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <sys/sysmacros.h>

#include "engine-fixture.h"
#include "engine/edit.h"
#include "engine/hotplug.h"

/* Paths of a disk that are exported one by one: the place, the serial, and what comes into the place later. */

#define WWN_A "naa.5001405aaaaaaaaa"
#define WWN_B "naa.5001405bbbbbbbbb"

static void add_path(Fixture *f, unsigned n, uint64_t diskseq, const char *wwid, const char *place) {
        Device *d = device_new();
        g_autofree char *key = place ? g_strconcat("by-path=", place, NULL) : NULL;

        g_assert_nonnull(d);
        d->devnum = makedev(250, n);
        d->kind = DEVICE_DISK;
        d->name = g_strdup_printf("fake%u", n);
        d->node = g_strdup_printf("/dev/fake%u", n);
        d->link = g_strdup_printf("/dev/disk/by-id/%s", wwid);
        d->identity = g_strconcat("wwid=", wwid, NULL);
        g_assert_cmpint(strv_extend(&d->keys, d->identity), >=, 0);
        if (place) {
                d->place = g_strconcat("/dev/disk/by-path/", place, NULL);
                g_assert_cmpint(strv_extend(&d->keys, key), >=, 0);
        }
        d->diskseq = diskseq;
        d->size = 1 << 20;
        d->block_size = 512;
        d->valid_paths = d->total_paths = -1;
        d->stable = d->initialized = d->ready = true;

        fake_block_add_simple(d->devnum, d->node, diskseq);
        hotplug_on_device(d->devnum, d, &f->engine);
}

static Lun *add(Fixture *f, Target *t, const char *source, LunOptions o) {
        _cleanup_(refusal_done) Refusal refusal = {};
        uint32_t number = UINT32_MAX;

        g_assert_cmpint(edit_add_lun(&f->engine, t, source, &o, &number, &refusal), ==, 0);
        fixture_run(f);
        return target_lun(t, number);
}

static void refused(Fixture *f, Target *t, const char *source, LunOptions o, RefusalKind kind, const char *saying) {
        _cleanup_(refusal_done) Refusal refusal = {};
        size_t n = t->n_luns;
        uint32_t number;

        g_assert_cmpint(edit_add_lun(&f->engine, t, source, &o, &number, &refusal), ==, REFUSED);
        g_assert_cmpstr(refusal_bus_name(refusal.kind), ==, refusal_bus_name(kind));
        g_assert_nonnull(strstr(refusal.text, saying));
        g_assert_cmpuint(t->n_luns, ==, n);
}

#define PATH ((LunOptions) { .path = true })

/* Two paths of one disk; a disk without a place; and one disk more. */
static void world(Fixture *f, Target **a, Target **b) {
        fixture_init(f);
        *a = fixture_create(f, WWN_A);
        *b = fixture_create(f, WWN_B);
        add_path(f, 1, 11, "3600d", "pci-1-lun-0");
        add_path(f, 2, 12, "3600d", "pci-2-lun-0");
        add_path(f, 3, 13, "3600e", NULL);
        add_path(f, 4, 14, "3600f", "pci-1-lun-1");
}

static void test_paths(void) {
        _cleanup_free_ char *serial = NULL;
        Lun *one, *two;
        Target *a, *b;
        Fixture f;

        world(&f, &a, &b);
        one = add(&f, a, "by-path=pci-1-lun-0", PATH);
        two = add(&f, b, "by-path=pci-2-lun-0", PATH);
        g_assert_true(one->linked && two->linked);
        g_assert_cmpstr(one->backstore->source, ==, "by-path=pci-1-lun-0");
        g_assert_cmpstr(one->backstore->identity, ==, "wwid=3600d");

        /* One disk for the guest: identity, model, and what a LUN by the disk's own name would have. */
        g_assert_cmpint(backstore_default_serial("wwid=3600d", &serial), ==, 0);
        g_assert_cmpstr(one->backstore->serial, ==, serial);
        g_assert_cmpstr(two->backstore->serial, ==, serial);
        g_assert_cmpint(strncmp(one->backstore->name, two->backstore->name, 16), ==, 0);
        g_assert_cmpint(strlen(one->backstore->name), >, 16);
        g_assert_cmpstr(one->backstore->name, !=, two->backstore->name);
        g_assert_true(backstore_name_is_valid(one->backstore->name));

        /* The same after a restart. */
        fixture_restart_bare(&f);
        add_path(&f, 1, 11, "3600d", "pci-1-lun-0");
        add_path(&f, 2, 12, "3600d", "pci-2-lun-0");
        fixture_run(&f);
        a = registry_target(&f.engine.registry, WWN_A);
        one = target_lun(a, 0);
        g_assert_true(one->linked);
        g_assert_cmpstr(one->backstore->serial, ==, serial);
        g_assert_cmpstr(one->backstore->identity, ==, "wwid=3600d");
        fixture_done(&f);
}

static void test_refused(void) {
        Target *a, *b;
        Fixture f;

        world(&f, &a, &b);
        /* Not by accident. */
        refused(&f, a, "by-path=pci-1-lun-0", (LunOptions) {}, REFUSAL_DEVICE_IS_PATH_MEMBER, "one of several paths to wwid=3600d");
        refused(&f, a, "wwid=3600d", (LunOptions) {}, REFUSAL_INVALID_SOURCE, "Several devices");
        refused(&f, a, "wwid=3600d", PATH, REFUSAL_INVALID_SOURCE, "Several devices");
        /* A path that nobody would find again, or that leads nowhere. */
        refused(&f, a, "wwid=3600e", PATH, REFUSAL_INVALID_SOURCE, "by-path");
        refused(&f, a, "wwid=absent", PATH, REFUSAL_DEVICE_NOT_FOUND, "absent");
        refused(&f, a, "by-path=absent", PATH, REFUSAL_DEVICE_NOT_FOUND, "absent");
        refused(&f, a, "by-path=absent", (LunOptions) {}, REFUSAL_DEVICE_NOT_FOUND, "absent");
        inventory_by_devnum(f.engine.inventory, makedev(250, 4))->path_member = true;
        refused(&f, a, "by-path=pci-1-lun-1", PATH, REFUSAL_DEVICE_IS_PATH_MEMBER, "export the map");

        /* A single one goes by the disk's name, whatever it was called. */
        inventory_by_devnum(f.engine.inventory, makedev(250, 4))->path_member = false;
        g_assert_cmpstr(add(&f, a, "by-path=pci-1-lun-1", (LunOptions) {})->backstore->source, ==, "wwid=3600f");
        /* And is then the disk, not a path to it. */
        refused(&f, b, "by-path=pci-1-lun-1", PATH, REFUSAL_SERIAL_CONFLICT, "LUN 0 of " WWN_A);
        fixture_done(&f);
}

static void test_serials(void) {
        LunOptions given = { .path = true, .serial = "00112233445566778899aabbccddeeff" };
        LunOptions other = { .path = true, .serial = "f0112233445566778899aabbccddeeff" };
        Target *a, *b;
        Fixture f;
        Lun *l;

        world(&f, &a, &b);
        l = add(&f, a, "by-path=pci-1-lun-0", given);
        g_assert_cmpstr(l->backstore->serial, ==, given.serial);
        /* Another serial would be another disk; none is that of the first. */
        refused(&f, b, "by-path=pci-2-lun-0", other, REFUSAL_SERIAL_CONFLICT, given.serial);
        refused(&f, b, "by-path=pci-1-lun-1", given, REFUSAL_SERIAL_CONFLICT, "first 25 hex digits");
        refused(&f, b, "wwid=3600e", (LunOptions) { .serial = given.serial }, REFUSAL_SERIAL_CONFLICT, "first 25 hex digits");
        g_assert_cmpstr(add(&f, b, "by-path=pci-2-lun-0", PATH)->backstore->serial, ==, given.serial);
        fixture_done(&f);
}

/* The place is the cable's; the promise is the disk's. */
static void test_another_disk(void) {
        Target *a, *b;
        Fixture f;
        Lun *l;

        world(&f, &a, &b);
        l = add(&f, a, "by-path=pci-1-lun-0", PATH);
        fixture_remove_device(&f, 1);
        fixture_run(&f);
        g_assert_false(l->linked);

        add_path(&f, 1, 21, "3600x", "pci-1-lun-0");
        fixture_run(&f);
        g_assert_false(l->linked);
        g_assert_cmpstr(l->error_code, ==, "DeviceUnsafe");
        g_assert_nonnull(strstr(l->error_text, "wwid=3600x"));

        fixture_remove_device(&f, 1);
        fixture_run(&f);
        add_path(&f, 1, 31, "3600d", "pci-1-lun-0");
        fixture_run(&f);
        g_assert_true(l->linked);
        g_assert_null(l->error_code);
        fixture_done(&f);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/serial/paths", test_paths);
        g_test_add_func("/serial/refused", test_refused);
        g_test_add_func("/serial/serials", test_serials);
        g_test_add_func("/serial/another-disk", test_another_disk);
        return g_test_run();
}
