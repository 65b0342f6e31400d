/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <glib/gstdio.h>

#include "autoexport-host.h"
#include "engine/edit.h"
#include "engine/queue.h"
#include "engine/undo.h"
#include "model/wish.h"

#define WWN_A "naa.5001405aaaaaaaaa"
#define WWN_B "naa.5001405bbbbbbbbb"

static void begin(Fixture *f) {
        host_init();
        fixture_init(f);
        f->engine.uevents = host;
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
        f->engine.uevents = host;
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
        mounted = makedev(HOST_MAJOR, 1);

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
        d = inventory_by_devnum(f.engine.inventory, makedev(HOST_MAJOR, 2));
        d->kind = DEVICE_PARTITION;
        d->disk = makedev(HOST_MAJOR, 1);
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

static bool is_put_off(Fixture *f) {
        return f->engine.autoexport_at > engine_now(&f->engine);
}

static bool is_done(Fixture *f) {
        return n_luns(f, WWN_A) == 1 && n_luns(f, WWN_B) == 1;
}

/* No event of the disk tells when it is over, so time does. */
static void test_tried_again(void) {
        bool *const failures[] = { &disk_is_full, &mounts_fail };

        for (size_t i = 0; i < ELEMENTSOF(failures); i++) {
                uint64_t first, second;
                Fixture f = {};

                begin(&f);
                *failures[i] = true;
                add_disk(&f, 1, &(Disk) { .target = WWN_A });
                add_disk(&f, 2, &(Disk) { .target = WWN_B });
                fixture_run(&f);
                g_assert_cmpuint(n_luns(&f, WWN_A) + n_luns(&f, WWN_B), ==, 0);
                first = f.engine.autoexport_at - engine_now(&f.engine);
                g_assert_cmpuint(first, >, 0);

                /* Not at each turn, and ever more rarely. */
                fixture_run(&f);
                fixture_pass_time(&f);
                g_assert_true(fixture_run_until(&f, is_put_off));
                second = f.engine.autoexport_at - engine_now(&f.engine);
                g_assert_cmpuint(second, >, first + 500000);

                *failures[i] = false;
                fixture_pass_time(&f);
                g_assert_true(fixture_run_until(&f, is_done));
                fixture_run(&f);
                g_assert_cmpstr(source_of(&f, WWN_A, 0), ==, "wwid=36001");
                g_assert_cmpstr(source_of(&f, WWN_B, 0), ==, "wwid=36002");
                g_assert_cmpuint(f.engine.autoexport_at, ==, 0);

                /* News of a disk is as good as time. */
                *failures[i] = true;
                add_disk(&f, 3, &(Disk) { .target = WWN_A });
                fixture_run(&f);
                g_assert_cmpuint(n_luns(&f, WWN_A), ==, 1);
                *failures[i] = false;
                poke(&f, 3);
                fixture_run(&f);
                g_assert_cmpuint(n_luns(&f, WWN_A), ==, 2);
                g_assert_cmpuint(f.engine.autoexport_at, ==, 0);
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
        g_test_add_func("/autoexport/tried-again", test_tried_again);

        return g_test_run();
}
