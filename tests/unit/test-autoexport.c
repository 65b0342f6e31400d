/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <glib/gstdio.h>
#include <sys/sysmacros.h>

#include "engine-fixture.h"
#include "engine/edit.h"
#include "engine/hotplug.h"
#include "engine/queue.h"
#include "engine/undo.h"
#include "kernel/mounts.h"
#include "model/wish.h"

#define WWN_A "naa.5001405aaaaaaaaa"
#define WWN_B "naa.5001405bbbbbbbbb"
#define MAJOR 250U

/* ---- the host: what stands for kernel/uevents.c and kernel/mounts.c ---- */

struct Uevents {
        int nothing;
};

struct Mounts {
        dev_t mounted;
};

static Uevents host;
static dev_t mounted;
static unsigned n_mounts;
static GHashTable *paths;       /* numbers of what sysfs shows below a multipath map */

void uevents_flush(Uevents *u) {
}

int uevents_suspect(Uevents *u, dev_t devnum, bool wanted) {
        return 0;
}

int uevents_enumerate(Uevents *u) {
        return 0;
}

int uevents_read_device(Uevents *u, dev_t devnum, Device **ret) {
        return -ENODEV;
}

int uevents_is_suspended(Uevents *u, const Device *d) {
        return d->suspended;
}

int uevents_holders(Uevents *u, const Device *d, char ***ret) {
        *ret = NULL;
        return 0;
}

int uevents_multipath_holder(Uevents *u, const Device *d, char **ret) {
        if (!paths || !g_hash_table_contains(paths, GUINT_TO_POINTER(minor(d->devnum))))
                return 0;

        *ret = strdup("mpatha");
        return 1;
}

int uevents_stack(Uevents *u, const Device *d, dev_t **ret, size_t *ret_n) {
        *ret = malloc(sizeof **ret);
        g_assert_nonnull(*ret);
        **ret = d->devnum;
        *ret_n = 1;
        return 0;
}

int mounts_new(Mounts **ret) {
        *ret = malloc(sizeof **ret);
        g_assert_nonnull(*ret);
        (*ret)->mounted = mounted;
        n_mounts++;
        return 0;
}

Mounts *mounts_free(Mounts *m) {
        free(m);
        return NULL;
}

int mounts_use(const Mounts *m, dev_t devnum, char **ret) {
        if (m->mounted != devnum)
                return 0;

        *ret = strdup("mounted on /srv");
        return 1;
}

int mounts_use_file(const Mounts *m, const char *path, char **ret) {
        return 0;
}

/* ---- its devices ---- */

typedef struct Disk {
        const char *target, *number, *readonly;
        const char *wwid;       /* NULL: made of the number */
        bool map, path, read_only;
} Disk;

static void add_disk(Fixture *f, unsigned n, const Disk *disk) {
        g_autofree char *wwid = disk->wwid ? g_strdup(disk->wwid) : g_strdup_printf("3600%u", n);
        dev_t devnum = makedev(MAJOR, n);
        Device *d = device_new();
        uint64_t there;

        g_assert_nonnull(d);
        d->devnum = devnum;
        d->kind = disk->map ? DEVICE_MULTIPATH : DEVICE_DISK;
        d->name = g_strdup_printf(disk->map ? "dm-%u" : "fake%u", n);
        d->node = g_strdup_printf("/dev/%s", d->name);
        d->dm_name = disk->map ? g_strdup_printf("mpath%u", n) : NULL;
        d->identity = disk->map ? g_strdup_printf("dm-uuid=mpath-%s", wwid) : g_strdup_printf("wwid=%s", wwid);
        g_assert_cmpint(strv_extend(&d->keys, d->identity), >=, 0);
        if (disk->map)
                g_assert_cmpint(strv_consume(&d->keys, g_strdup_printf("wwid=%s", wwid)), >=, 0);
        d->link = g_strdup_printf("/dev/disk/by-id/%s-%s", disk->map ? "dm-uuid-mpath" : "scsi", wwid);
        d->diskseq = n + 1;
        d->size = 1 << 20;
        d->block_size = 512;
        d->stable = d->initialized = d->ready = true;
        d->path_member = disk->path;
        d->path_of = disk->path ? g_strdup("") : NULL;
        d->read_only = disk->read_only;
        d->wish_target = g_strdup(disk->target);
        d->wish_number = g_strdup(disk->number);
        d->wish_readonly = g_strdup(disk->readonly);

        /* Not anew: what has it open would stand on an instance that is gone. */
        if (cfs_block_diskseq(f->engine.cfs, devnum, &there) < 0 || there != d->diskseq)
                fake_block_add_simple(devnum, d->node, d->diskseq);
        hotplug_on_device(devnum, d, &f->engine);
}

/* The next event of it, which brings nothing new. */
static void poke(Fixture *f, unsigned n) {
        Device *d = inventory_by_devnum(f->engine.inventory, makedev(MAJOR, n)), *again;

        again = device_new();
        g_assert_nonnull(again);
        *again = *d;
        again->name = g_strdup(d->name);
        again->node = g_strdup(d->node);
        again->identity = g_strdup(d->identity);
        again->keys = NULL;
        for (char **k = d->keys; *k; k++)
                g_assert_cmpint(strv_extend(&again->keys, *k), >=, 0);
        again->link = g_strdup(d->link);
        again->dm_name = g_strdup(d->dm_name);
        again->path_of = g_strdup(d->path_of);
        again->wish_target = g_strdup(d->wish_target);
        again->wish_number = g_strdup(d->wish_number);
        again->wish_readonly = g_strdup(d->wish_readonly);
        hotplug_on_device(d->devnum, again, &f->engine);
}

static void begin(Fixture *f) {
        mounted = 0;
        n_mounts = 0;
        g_clear_pointer(&paths, g_hash_table_unref);
        fixture_init(f);
        f->engine.uevents = &host;
}

/* kill -9 and start; the host's devices are told again by the caller. */
static void restart(Fixture *f) {
        for (;;) {
                size_t i = 0;
                Device *d;

                if (!inventory_next(f->engine.inventory, &i, &d))
                        break;
                device_free(inventory_take(f->engine.inventory, d->devnum));
        }

        fixture_restart(f);
        f->engine.uevents = &host;
}

static Target *target(Fixture *f, const char *wwn) {
        return registry_target(&f->engine.registry, wwn);
}

static const char *source_of(Fixture *f, const char *wwn, uint32_t number) {
        const Lun *l = target(f, wwn) ? target_lun(target(f, wwn), number) : NULL;

        return l ? l->backstore->source : NULL;
}

static size_t n_luns(Fixture *f, const char *wwn) {
        return target(f, wwn) ? target(f, wwn)->n_luns : 0;
}

static void remove_lun(Fixture *f, const char *wwn, uint32_t number) {
        _cleanup_(refusal_done) Refusal refusal = {};
        EditOptions o = { .timeout = UINT64_MAX };

        g_assert_cmpint(edit_remove_lun(&f->engine, target_lun(target(f, wwn), number), &o, &refusal), ==, 0);
        fixture_run(f);
        g_assert_null(target_lun(target(f, wwn), number));
}

/* ---- tests ---- */

#define MAPS 256U

/* A map is 2n, its paths come with every wish that a rule by vendor makes. */
static void add_san(Fixture *f) {
        for (unsigned n = 0; n < MAPS; n++) {
                g_autofree char *wwid = g_strdup_printf("3600%u", n);
                Disk path = { .target = WWN_A, .wwid = wwid, .path = true };
                Disk map = { .target = WWN_A, .wwid = wwid, .map = true };

                add_disk(f, 1000 + 2 * n, &path);
                add_disk(f, 1001 + 2 * n, &path);
                add_disk(f, n, &map);
        }
}

static void assert_san(Fixture *f) {
        Target *t = target(f, WWN_A);

        g_assert_nonnull(t);
        g_assert_cmpuint(t->n_luns, ==, MAPS);
        for (uint32_t n = 0; n < MAPS; n++) {
                g_autofree char *source = g_strdup_printf("dm-uuid=mpath-3600%u", n);

                g_assert_cmpstr(source_of(f, WWN_A, n), ==, source);
                g_assert_cmpint(t->luns[n]->origin, ==, LUN_UDEV);
        }
}

static void test_san(void) {
        g_autofree char *before = NULL, *after = NULL;
        Fixture f = {};
        uint64_t generation;

        begin(&f);
        generation = f.engine.registry.generation;
        add_san(&f);
        g_assert_null(target(&f, WWN_A));       /* nothing happens in the callback */
        fixture_run(&f);
        assert_san(&f);
        g_assert_true(target(&f, WWN_A)->luns[MAPS - 1]->linked);

        /* A new target with 256 LUNs: one save, one look at the mounts. */
        g_assert_cmpuint(f.engine.registry.generation, ==, generation + 1);
        g_assert_cmpuint(n_mounts, ==, 1);

        /* Started again, all is there: nothing is stored, nothing is changed. */
        before = fixture_store_snapshot(&f);
        restart(&f);
        generation = f.engine.registry.generation;
        fake_journal_clear();
        add_san(&f);
        fixture_run(&f);
        assert_san(&f);
        after = fixture_store_snapshot(&f);
        g_assert_cmpstr(before, ==, after);
        g_assert_cmpuint(f.engine.registry.generation, ==, generation);
        fixture_done(&f);
}

/* Killed in the middle of it: between two calls, for a call of the real kernel is never cut short. */
static void test_restart(void) {
        static const unsigned deaths[] = { 0, 5, 700 };

        for (size_t i = 0; i < G_N_ELEMENTS(deaths); i++) {
                Fixture f = {};

                begin(&f);
                add_san(&f);
                fake_die_after(deaths[i], FAKE_DEATH_KILL);
                fixture_run(&f);
                fake_revive();
                g_assert_false(target(&f, WWN_A)->luns[MAPS - 1]->linked);

                restart(&f);
                add_san(&f);
                fixture_run(&f);
                assert_san(&f);
                for (uint32_t n = 0; n < MAPS; n++)
                        g_assert_true(target(&f, WWN_A)->luns[n]->linked);
                fixture_done(&f);
        }
}

/* The number once given stays; the rule's going and changing do nothing. */
static void test_wish_changes(void) {
        Fixture f = {};

        begin(&f);
        add_disk(&f, 1, &(Disk) { .target = WWN_A, .number = "7", .readonly = "yes" });
        fixture_run(&f);
        g_assert_cmpstr(source_of(&f, WWN_A, 7), ==, "wwid=36001");
        g_assert_true(target_lun(target(&f, WWN_A), 7)->backstore->readonly);

        add_disk(&f, 1, &(Disk) { .target = WWN_B, .number = "8" });
        fixture_run(&f);
        add_disk(&f, 1, &(Disk) {});
        fixture_run(&f);
        g_assert_null(target(&f, WWN_B));
        g_assert_cmpuint(n_luns(&f, WWN_A), ==, 1);
        g_assert_true(target_lun(target(&f, WWN_A), 7)->linked);
        fixture_done(&f);
}

static void test_seed(void) {
        char wwn[WWN_SIZE];
        Fixture f = {};

        begin(&f);
        g_assert_cmpint(wwn_from_seed("guest web1", wwn), ==, 0);
        add_disk(&f, 1, &(Disk) { .target = "seed:guest web1" });
        fixture_run(&f);
        g_assert_cmpstr(source_of(&f, wwn, 0), ==, "wwid=36001");
        fixture_done(&f);
}

/* Numbers that rules name come before those that are found, and a taken one is nobody's fault but the rule's. */
static void test_numbers(void) {
        Fixture f = {};

        begin(&f);
        add_disk(&f, 1, &(Disk) { .target = WWN_A });
        add_disk(&f, 2, &(Disk) { .target = WWN_A });
        add_disk(&f, 3, &(Disk) { .target = WWN_A, .number = "0" });
        add_disk(&f, 4, &(Disk) { .target = WWN_A, .number = "0" });
        fixture_run(&f);
        g_assert_cmpuint(n_luns(&f, WWN_A), ==, 3);
        g_assert_cmpstr(source_of(&f, WWN_A, 0), ==, "wwid=36003");
        g_assert_cmpstr(source_of(&f, WWN_A, 1), ==, "wwid=36001");
        g_assert_cmpstr(source_of(&f, WWN_A, 2), ==, "wwid=36002");

        /* Free again: not at once, but at the next event. */
        remove_lun(&f, WWN_A, 0);
        g_assert_cmpuint(n_luns(&f, WWN_A), ==, 2);
        poke(&f, 4);
        fixture_run(&f);
        g_assert_cmpstr(source_of(&f, WWN_A, 0), ==, "wwid=36004");
        fixture_done(&f);
}

static void test_unusable(void) {
        Fixture f = {};

        begin(&f);
        paths = g_hash_table_new(NULL, NULL);
        g_hash_table_add(paths, GUINT_TO_POINTER(2));
        mounted = makedev(MAJOR, 1);

        add_disk(&f, 1, &(Disk) { .target = WWN_A });                           /* mounted */
        add_disk(&f, 2, &(Disk) { .target = WWN_A });                           /* a path, of which only sysfs knows */
        add_disk(&f, 3, &(Disk) { .target = WWN_A, .path = true });
        add_disk(&f, 4, &(Disk) { .target = WWN_A, .read_only = true });        /* and the wish is to write */
        add_disk(&f, 5, &(Disk) { .target = WWN_A, .wwid = "same" });
        add_disk(&f, 6, &(Disk) { .target = WWN_A, .wwid = "same" });
        fixture_run(&f);

        /* And no empty target is left behind. */
        g_assert_null(target(&f, WWN_A));
        g_assert_cmpuint(map_size(f.engine.registry.backstores), ==, 0);
        g_assert_cmpuint(fake_count(FAKE_MUTATING), ==, 0);

        mounted = 0;
        poke(&f, 1);
        fixture_run(&f);
        g_assert_cmpuint(n_luns(&f, WWN_A), ==, 1);
        g_assert_cmpstr(source_of(&f, WWN_A, 0), ==, "wwid=36001");
        fixture_done(&f);
}

static void test_partition(void) {
        Fixture f = {};
        Device *d;

        begin(&f);
        for (unsigned n = 1; n <= 2; n++)
                add_disk(&f, n, &(Disk) { .target = WWN_A });
        d = inventory_by_devnum(f.engine.inventory, makedev(MAJOR, 2));
        d->kind = DEVICE_PARTITION;
        d->disk = makedev(MAJOR, 1);
        fixture_run(&f);
        g_assert_cmpuint(n_luns(&f, WWN_A), ==, 1);
        g_assert_cmpstr(source_of(&f, WWN_A, 0), ==, "wwid=36001");
        fixture_done(&f);
}

static void test_hostile(void) {
        g_autofree char *endless = g_strnfill(100000, 'x'), *seed = g_strconcat("seed:", endless, NULL);
        const Disk bad[] = {
                { .target = "naa.4001405aaaaaaaaa" },
                { .target = "../../etc/passwd" },
                { .target = "seed:" },
                { .target = "seed:a\nb" },
                { .target = "seed:\xff" },
                { .target = "%s%n" },
                { .target = endless },
                { .target = seed },
                { .target = WWN_A "\n" },
                { .target = WWN_A, .number = "-1" },
                { .target = WWN_A, .number = "16384" },
                { .target = WWN_A, .number = "4294967296" },
                { .target = WWN_A, .number = "0x1" },
                { .target = WWN_A, .number = " 1" },
                { .target = WWN_A, .number = "1/../../2" },
                { .target = WWN_A, .readonly = "maybe" },
                { .target = "", .number = "1" },
                { .number = "1", .readonly = "1" },
        };
        Fixture f = {};
        uint64_t generation;

        begin(&f);
        generation = f.engine.registry.generation;
        for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
                add_disk(&f, i, &bad[i]);
        fixture_run(&f);
        for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++)
                poke(&f, i);
        fixture_run(&f);
        g_assert_cmpuint(map_size(f.engine.registry.targets), ==, 0);
        g_assert_cmpuint(f.engine.registry.generation, ==, generation);
        g_assert_cmpuint(n_mounts, ==, 0);
        fixture_done(&f);
}

static void assert_gone(Fixture *f, uint32_t number) {
        poke(f, 1);
        fixture_run(f);
        g_assert_null(source_of(f, WWN_A, number));
}

static void test_removed(void) {
        LunOptions o = { .common.timeout = UINT64_MAX };
        _cleanup_(refusal_done) Refusal refusal = {};
        uint32_t number;
        Fixture f = {};
        Lun *l;

        begin(&f);
        add_disk(&f, 1, &(Disk) { .target = WWN_A });
        add_disk(&f, 2, &(Disk) { .target = WWN_A });
        fixture_run(&f);
        g_assert_cmpuint(n_luns(&f, WWN_A), ==, 2);
        remove_lun(&f, WWN_A, 0);
        assert_gone(&f, 0);

        /* Over a restart, and over the disk's going and coming. */
        restart(&f);
        add_disk(&f, 1, &(Disk) { .target = WWN_A });
        add_disk(&f, 2, &(Disk) { .target = WWN_A });
        fixture_run(&f);
        assert_gone(&f, 0);
        fixture_remove_device(&f, 1);
        fixture_run(&f);
        add_disk(&f, 1, &(Disk) { .target = WWN_A, .number = "3" });
        fixture_run(&f);
        g_assert_cmpuint(n_luns(&f, WWN_A), ==, 1);

        /* An addition by hand that fails takes nothing back. */
        g_assert_cmpint(edit_add_lun(&f.engine, target(&f, WWN_A), "wwid=36001", &o, &number, &refusal), ==, 0);
        l = target_lun(target(&f, WWN_A), number);
        g_assert_cmpint(l->origin, ==, LUN_MANUAL);
        g_assert_false(removed_contains(f.engine.removed, "wwid=36001"));
        g_assert_cmpint(undo_add_lun(&f.engine, l), ==, 0);
        fixture_run(&f);
        g_assert_null(target_lun(target(&f, WWN_A), number));
        assert_gone(&f, 3);

        /* One that stays does; and if that is removed, no rule brings it back either. */
        (void) fixture_add_lun(&f, target(&f, WWN_A), "wwid=36001");
        fixture_run(&f);
        g_assert_false(removed_contains(f.engine.removed, "wwid=36001"));
        remove_lun(&f, WWN_A, 0);
        assert_gone(&f, 3);
        g_assert_cmpuint(n_luns(&f, WWN_A), ==, 1);
        fixture_done(&f);
}

static void test_destroyed(void) {
        _cleanup_(refusal_done) Refusal refusal = {};
        EditOptions o = { .timeout = UINT64_MAX };
        Fixture f = {};

        begin(&f);
        add_disk(&f, 1, &(Disk) { .target = WWN_A });
        add_disk(&f, 2, &(Disk) { .target = WWN_A });
        fixture_run(&f);
        g_assert_cmpint(edit_destroy_target(&f.engine, target(&f, WWN_A), &o, &refusal), ==, 0);
        fixture_run(&f);
        g_assert_null(target(&f, WWN_A));

        /* Not for these disks, nor for another that the rule puts there. */
        restart(&f);
        for (unsigned n = 1; n <= 3; n++)
                add_disk(&f, n, &(Disk) { .target = WWN_A });
        fixture_run(&f);
        g_assert_null(target(&f, WWN_A));
        g_assert_cmpuint(fake_count(FAKE_MUTATING), >, 0);

        /* The target made by hand takes new disks; those that were removed with it wait for a hand as well. */
        (void) fixture_create(&f, WWN_A);
        for (unsigned n = 1; n <= 3; n++)
                poke(&f, n);
        fixture_run(&f);
        g_assert_cmpuint(n_luns(&f, WWN_A), ==, 1);
        g_assert_cmpstr(source_of(&f, WWN_A, 0), ==, "wwid=36003");
        fixture_done(&f);
}

/* A file that tells nothing: nothing new, until somebody has looked at it. */
static void test_removed_bad(void) {
        static const char *const texts[] = {
                "", "{", "[]", "{\"version\":1}", "{\"version\":2,\"removed\":[]}",
                "{\"version\":1,\"removed\":[1]}", "{\"version\":1,\"removed\":[\"a\\u0000b\"]}",
        };

        for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
                g_autofree char *file = NULL, *bad = NULL;
                Fixture f = {};

                begin(&f);
                file = g_build_filename(f.state_dir, "removed.json", NULL);
                bad = g_build_filename(f.state_dir, "removed.json.bad", NULL);
                g_assert_true(g_file_set_contents(file, texts[i], -1, NULL));
                for (unsigned k = 0; k < 2; k++) {
                        restart(&f);
                        g_assert_false(g_file_test(file, G_FILE_TEST_EXISTS));
                        g_assert_true(g_file_test(bad, G_FILE_TEST_EXISTS));
                        add_disk(&f, 1, &(Disk) { .target = WWN_A });
                        fixture_run(&f);
                        g_assert_null(target(&f, WWN_A));
                }

                g_assert_cmpint(g_unlink(bad), ==, 0);
                restart(&f);
                add_disk(&f, 1, &(Disk) { .target = WWN_A });
                fixture_run(&f);
                g_assert_cmpuint(n_luns(&f, WWN_A), ==, 1);
                fixture_done(&f);
        }
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/autoexport/san", test_san);
        g_test_add_func("/autoexport/restart", test_restart);
        g_test_add_func("/autoexport/wish-changes", test_wish_changes);
        g_test_add_func("/autoexport/seed", test_seed);
        g_test_add_func("/autoexport/numbers", test_numbers);
        g_test_add_func("/autoexport/unusable", test_unusable);
        g_test_add_func("/autoexport/partition", test_partition);
        g_test_add_func("/autoexport/hostile", test_hostile);
        g_test_add_func("/autoexport/removed", test_removed);
        g_test_add_func("/autoexport/destroyed", test_destroyed);
        g_test_add_func("/autoexport/removed-bad", test_removed_bad);

        return g_test_run();
}
