/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <sys/sysmacros.h>

#include "engine-fixture.h"
#include "engine/edit.h"
#include "engine/hotplug.h"
#include "engine/queue.h"

#define WWN_A "naa.5001405aaaaaaaaa"
#define WWN_B "naa.5001405bbbbbbbbb"

/* Says where two long texts part, not all of them. */
static void assert_same(char *is, char *expected) {
        const char *a = is, *b = expected;

        while (*a && *a == *b)
                a++, b++;
        if (*a != *b) {
                while (a > is && a[-1] != '\n')
                        a--, b--;
                g_test_message("is:       %.*s", (int) strcspn(a, "\n"), a);
                g_test_message("expected: %.*s", (int) strcspn(b, "\n"), b);
        }
        g_assert_true(*a == *b);

        g_free(is);
        g_free(expected);
}

static LunState state_of(Fixture *f, const Lun *l) {
        Device *d = NULL;

        (void) inventory_resolve(f->engine.inventory, l->backstore->source, &d);
        return lun_state(l, d, lun_is_gone(l, inventory_has_instance(f->engine.inventory, l->backstore->devnum, l->backstore->diskseq)));
}

static void test_up_and_down(void) {
        _cleanup_(refusal_done) Refusal refusal = {};
        EditOptions o = { .timeout = UINT64_MAX };
        g_autofree char *empty = NULL;
        Fixture f = {};
        Target *t;
        Lun *l;

        fixture_init(&f);
        empty = fake_snapshot(FAKE_SNAPSHOT_STATE);
        fixture_add_device(&f, 1, 11);
        t = fixture_create(&f, WWN_A);
        l = fixture_add_lun(&f, t, "/dev/disk/by-id/nothing-here-yet");
        g_assert_cmpuint(l->number, ==, 0);
        l = fixture_add_lun(&f, t, "wwid=36001");
        g_assert_cmpuint(l->number, ==, 1);
        fixture_run(&f);

        g_assert_true(t->up);
        g_assert_true(l->linked);
        g_assert_cmpint(state_of(&f, l), ==, LUN_ONLINE);
        g_assert_cmpint(state_of(&f, target_lun(t, 0)), ==, LUN_WAITING);
        g_assert_cmpint(target_state(t), ==, TARGET_INCOMPLETE);
        g_assert_true(cfs_exists(f.engine.cfs, "vhost/" WWN_A "/tpgt_1/lun/lun_1"));
        g_assert_false(cfs_exists(f.engine.cfs, "vhost/" WWN_A "/tpgt_1/lun/lun_0"));

        /* A restart looks and changes nothing. */
        fake_journal_clear();
        fixture_restart(&f);
        fixture_run(&f);
        t = registry_target(&f.engine.registry, WWN_A);
        g_assert_nonnull(t);
        g_assert_true(target_lun(t, 1)->linked);
        g_assert_cmpuint(fake_count(FAKE_MUTATING), ==, 0);

        g_assert_cmpint(edit_destroy_target(&f.engine, t, &o, &refusal), ==, 0);
        fixture_run(&f);
        g_assert_null(registry_target(&f.engine.registry, WWN_A));
        assert_same(fake_snapshot(FAKE_SNAPSHOT_STATE), g_strdup(empty));
        fixture_done(&f);
}

/* The device comes later, goes, and comes back as a new instance: same number, same serial. */
static void test_device_life(void) {
        g_autofree char *serial = NULL;
        Fixture f = {};
        Target *t;
        Lun *l;

        fixture_init(&f);
        t = fixture_create(&f, WWN_A);
        l = fixture_add_lun(&f, t, "wwid=36007");
        serial = g_strdup(l->backstore->serial);
        fixture_run(&f);
        g_assert_cmpint(state_of(&f, l), ==, LUN_WAITING);

        fixture_add_device(&f, 7, 70);
        fixture_run(&f);
        g_assert_cmpint(state_of(&f, l), ==, LUN_ONLINE);
        g_assert_cmpuint(l->backstore->diskseq, ==, 70);

        fixture_remove_device(&f, 7);
        fixture_run(&f);
        g_assert_cmpint(state_of(&f, l), ==, LUN_WAITING);
        g_assert_false(l->backstore->present);

        fixture_add_device(&f, 7, 71);
        fixture_run(&f);
        g_assert_cmpint(state_of(&f, l), ==, LUN_ONLINE);
        g_assert_cmpuint(l->backstore->diskseq, ==, 71);
        g_assert_cmpstr(l->backstore->serial, ==, serial);
        fixture_done(&f);
}

/* Device n as the fixture has it, changed by hand and put in its place again. key (may be NULL): one more name for it. */
static void change_device(Fixture *f, unsigned n, uint64_t size, bool read_only, const char *key) {
        Device *old = inventory_by_devnum(f->engine.inventory, makedev(250, n)), *d = device_new();

        g_assert_nonnull(d);
        d->devnum = old->devnum;
        d->kind = old->kind;
        d->name = g_strdup(old->name);
        d->node = g_strdup(old->node);
        d->identity = g_strdup(old->identity);
        g_assert_cmpint(strv_extend(&d->keys, d->identity), >=, 0);
        if (key)
                g_assert_cmpint(strv_extend(&d->keys, key), >=, 0);
        d->link = g_strdup(old->link);
        d->diskseq = old->diskseq;
        d->block_size = 512;
        d->stable = d->initialized = d->ready = true;
        d->size = size;
        d->read_only = read_only;
        hotplug_on_device(d->devnum, d, &f->engine);
        fixture_run(f);
}

static void assert_misfit(Fixture *f, uint32_t number, const char *saying) {
        Target *t = registry_target(&f->engine.registry, WWN_A);
        Lun *l = target_lun(t, number);

        g_assert_false(l->linked);
        g_assert_cmpint(state_of(f, l), ==, LUN_FAILED);
        g_assert_cmpstr(l->error_code, ==, "DeviceUnsafe");
        g_assert_nonnull(strstr(l->error_text, saying));
        g_assert_false(l->backstore->present);
}

/* What its guests know, or nothing: over a restart as well. */
static void test_misfit(void) {
        const uint64_t size = 1 << 20;
        Fixture f = {};
        Target *t;
        Lun *l;

        fixture_init(&f);
        fixture_add_device(&f, 1, 10);
        t = fixture_create(&f, WWN_A);
        l = fixture_add_lun(&f, t, "wwid=36001");
        fixture_run(&f);
        g_assert_cmpint(state_of(&f, l), ==, LUN_ONLINE);
        g_assert_cmpuint(l->backstore->size, ==, size);

        /* It grows, and what shrinks under a guest is not pulled. */
        change_device(&f, 1, 2 * size, false, NULL);
        g_assert_cmpuint(l->backstore->size, ==, 2 * size);
        change_device(&f, 1, size, false, NULL);
        g_assert_true(l->linked);
        g_assert_null(l->error_code);

        fixture_remove_device(&f, 1);
        fixture_run(&f);
        g_assert_cmpint(state_of(&f, l), ==, LUN_WAITING);
        fixture_restart(&f);
        fixture_add_device(&f, 1, 11);
        fixture_run(&f);
        assert_misfit(&f, 0, "1048576 bytes");
        change_device(&f, 1, 2 * size, true, NULL);
        assert_misfit(&f, 0, "read-only");

        l = target_lun(registry_target(&f.engine.registry, WWN_A), 0);
        fixture_remove_device(&f, 1);
        fixture_run(&f);
        g_assert_cmpint(state_of(&f, l), ==, LUN_WAITING);
        g_assert_null(l->error_code);

        fixture_add_device(&f, 1, 12);
        change_device(&f, 1, 2 * size, false, NULL);
        g_assert_cmpint(state_of(&f, l), ==, LUN_ONLINE);
        g_assert_null(l->error_code);
        fixture_done(&f);
}

/* A name that any disk can have: what it means is known when it has been seen. */
static void test_another_disk(void) {
        const char *name = "by-id=dm-name-data";
        Fixture f = {};
        Target *t;
        Lun *l;

        fixture_init(&f);
        t = fixture_create(&f, WWN_A);
        l = fixture_add_lun(&f, t, name);
        fixture_add_device(&f, 1, 10);
        change_device(&f, 1, 1 << 20, false, name);
        g_assert_cmpint(state_of(&f, l), ==, LUN_ONLINE);
        g_assert_cmpstr(l->backstore->identity, ==, "wwid=36001");

        fixture_remove_device(&f, 1);
        fixture_run(&f);
        fixture_restart(&f);
        fixture_add_device(&f, 2, 20);
        change_device(&f, 2, 1 << 20, false, name);
        assert_misfit(&f, 0, "another disk");

        fixture_remove_device(&f, 2);
        fixture_add_device(&f, 1, 11);
        change_device(&f, 1, 1 << 20, false, name);
        l = target_lun(registry_target(&f.engine.registry, WWN_A), 0);
        g_assert_cmpint(state_of(&f, l), ==, LUN_ONLINE);
        fixture_done(&f);
}

/* Two targets on one disk: one backstore, which stays until the last LUN goes. */
static void test_shared(void) {
        LunOptions o = { .common.timeout = UINT64_MAX, .shareable = true };
        _cleanup_(refusal_done) Refusal refusal = {}, again = {};
        EditOptions remove = { .timeout = UINT64_MAX };
        Target *a, *b;
        uint32_t number;
        Fixture f = {};
        Lun *l, *m;

        fixture_init(&f);
        fixture_add_device(&f, 1, 11);
        a = fixture_create(&f, WWN_A);
        b = fixture_create(&f, WWN_B);
        l = fixture_add_lun(&f, a, "wwid=36001");

        o.shareable = false;
        g_assert_cmpint(edit_add_lun(&f.engine, b, "wwid=36001", &o, &number, &refusal), ==, REFUSED);
        g_assert_cmpint(refusal.kind, ==, REFUSAL_ALREADY_EXISTS);
        o.shareable = true;
        g_assert_cmpint(edit_add_lun(&f.engine, b, "wwid=36001", &o, &number, &again), ==, 0);
        m = target_lun(b, number);
        g_assert_true(m->backstore == l->backstore);
        fixture_run(&f);
        g_assert_true(l->linked);
        g_assert_true(m->linked);

        g_assert_cmpint(edit_remove_lun(&f.engine, l, &remove, &again), ==, 0);
        fixture_run(&f);
        g_assert_null(target_lun(a, 0));
        g_assert_true(m->linked);
        g_assert_true(m->backstore->present);

        /* The device is replaced under both. */
        g_assert_cmpint(edit_add_lun(&f.engine, a, "wwid=36001", &o, &number, &again), ==, 0);
        l = target_lun(a, number);
        fixture_run(&f);
        fixture_remove_device(&f, 1);
        fixture_run(&f);
        g_assert_false(l->linked || m->linked || m->backstore->present);
        fixture_add_device(&f, 1, 12);
        fixture_run(&f);
        g_assert_true(l->linked && m->linked);
        g_assert_cmpuint(m->backstore->diskseq, ==, 12);

        g_assert_cmpint(edit_destroy_target(&f.engine, a, &remove, &again), ==, 0);
        g_assert_cmpint(edit_destroy_target(&f.engine, b, &remove, &again), ==, 0);
        fixture_run(&f);
        g_assert_cmpuint(map_size(f.engine.registry.targets), ==, 0);
        g_assert_cmpuint(map_size(f.engine.registry.backstores), ==, 0);
        fixture_done(&f);
}

/* A guest is attached: nothing goes down but by force, not even what the file says after a crash. */
static void test_attached(void) {
        _cleanup_(refusal_done) Refusal refusal = {};
        EditOptions o = { .timeout = UINT64_MAX };
        Fixture f = {};
        Target *t;
        Lun *l;

        fixture_init(&f);
        fixture_add_device(&f, 1, 11);
        t = fixture_create(&f, WWN_A);
        l = fixture_add_lun(&f, t, "wwid=36001");
        fixture_run(&f);
        g_assert_cmpint(fake_attach("vhost/" WWN_A "/tpgt_1"), ==, 0);

        registry_mark_probe(&f.engine.registry, t);
        fixture_run(&f);
        g_assert_cmpint(t->endpoint, ==, ENDPOINT_ATTACHED);
        g_assert_cmpint(edit_remove_lun(&f.engine, l, &o, &refusal), ==, REFUSED);
        g_assert_cmpint(refusal.kind, ==, REFUSAL_IN_USE);
        g_assert_true(l->wanted);

        /* It attached between the question and the pass. */
        t->endpoint = ENDPOINT_IDLE;
        g_assert_cmpint(edit_remove_lun(&f.engine, l, &o, &refusal), ==, 0);
        fixture_run(&f);
        g_assert_true(l->linked);
        g_assert_cmpint(state_of(&f, l), ==, LUN_DRAINING);
        g_assert_cmpstr(l->error_code, ==, "InUse");

        o.force = true;
        g_assert_cmpint(edit_remove_lun(&f.engine, l, &o, &refusal), ==, 0);
        fixture_run(&f);
        g_assert_null(target_lun(t, 0));
        g_assert_false(cfs_exists(f.engine.cfs, "vhost/" WWN_A "/tpgt_1/lun/lun_0"));
        fixture_done(&f);
}

static bool no_worker(Fixture *f) {
        return list_is_empty(&f->engine.workers) && queue_is_idle(&f->engine);
}

/* A removal that waits in the kernel keeps neither the daemon nor the target's other LUNs. */
static void test_hang(void) {
        _cleanup_(refusal_done) Refusal refusal = {};
        EditOptions o = { .timeout = UINT64_MAX };
        Fixture f = {};
        Target *t;
        Lun *l;

        fixture_init(&f);
        for (unsigned i = 1; i <= 3; i++)
                fixture_add_device(&f, i, 10 + i);
        t = fixture_create(&f, WWN_A);
        l = fixture_add_lun(&f, t, "wwid=36001");
        (void) fixture_add_lun(&f, t, "wwid=36002");
        fixture_run(&f);

        fake_block_set_suspended(makedev(250, 1), true);
        g_assert_cmpint(edit_remove_lun(&f.engine, l, &o, &refusal), ==, 0);
        fixture_run(&f);
        g_assert_cmpuint(fake_hanging(), >, 0);
        g_assert_cmpint(state_of(&f, l), ==, LUN_DRAINING);

        g_assert_true(fixture_add_lun(&f, t, "wwid=36003")->number == 2);
        fixture_run(&f);
        g_assert_true(target_lun(t, 2)->linked);
        g_assert_nonnull(target_lun(t, 0));

        fake_block_set_suspended(makedev(250, 1), false);
        g_assert_true(fixture_run_until(&f, no_worker));
        g_assert_null(target_lun(t, 0));
        g_assert_true(target_lun(t, 1)->linked);
        fixture_done(&f);
}

/* Somebody has the HBAs that the store had reserved, one of them empty. */
static void test_hba_taken(void) {
        _cleanup_(refusal_done) Refusal refusal = {};
        EditOptions o = { .timeout = UINT64_MAX };
        Fixture f = {};
        Target *t;
        Lun *l;

        fixture_init(&f);
        fixture_add_device(&f, 1, 11);
        g_assert_cmpint(cfs_mkdir(f.engine.cfs, "core/iblock_0"), ==, 0);
        g_assert_cmpint(cfs_mkdir(f.engine.cfs, "core/iblock_0/theirs"), ==, 0);
        g_assert_cmpint(cfs_mkdir(f.engine.cfs, "core/iblock_1"), ==, 0);
        t = fixture_create(&f, WWN_A);
        l = fixture_add_lun(&f, t, "wwid=36001");
        g_assert_cmpuint(l->backstore->hba, ==, 0);
        fixture_run(&f);
        g_assert_true(l->linked);
        g_assert_cmpuint(l->backstore->hba, ==, 2);

        g_assert_cmpint(edit_destroy_target(&f.engine, t, &o, &refusal), ==, 0);
        fixture_run(&f);
        g_assert_true(cfs_exists(f.engine.cfs, "core/iblock_0/theirs"));
        g_assert_true(cfs_exists(f.engine.cfs, "core/iblock_1"));
        g_assert_false(cfs_exists(f.engine.cfs, "core/iblock_2"));
        fixture_done(&f);
}

/* Every step can fail; what was begun is taken back, and comes up when the fault is gone. */
static void test_fail_every_step(void) {
        for (unsigned k = 1;; k++) {
                Fixture f = {};
                Target *t;
                Lun *l;

                fixture_init(&f);
                fixture_add_device(&f, 1, 11);
                t = fixture_create(&f, WWN_A);
                fixture_run(&f);
                g_assert_true(t->up);

                fake_fail(FAKE_MUTATING, NULL, k, -ENOMEM, 1);
                l = fixture_add_lun(&f, t, "wwid=36001");
                fixture_run(&f);
                if (l->linked && !l->error_code) {
                        g_assert_cmpuint(k, >, 8);
                        fixture_done(&f);
                        break;
                }

                g_assert_cmpint(state_of(&f, l), ==, LUN_FAILED);
                g_assert_cmpstr(l->error_code, ==, "Kernel");
                g_assert_false(cfs_exists(f.engine.cfs, "core/iblock_0"));

                l->failures = 0;
                registry_mark_lun(&f.engine.registry, l);
                fixture_run(&f);
                g_assert_cmpint(state_of(&f, l), ==, LUN_ONLINE);
                fixture_done(&f);
        }
}

/* The proof of the engine: what it does is done as if it had never been killed. Each of these runs on a new host and says what it wants;
 * the world dies after the kth change of the kernel, the daemon starts again, and the end must be the same. */

typedef void (*scenario_t)(Fixture *f);

static void want_create(Fixture *f) {
        (void) fixture_create(f, WWN_A);
}

static void want_add(Fixture *f) {
        Target *t = fixture_create(f, WWN_A);

        (void) fixture_add_lun(f, t, "wwid=36001");
        (void) fixture_add_lun(f, t, "wwid=36002");
}

static void want_remove(Fixture *f) {
        _cleanup_(refusal_done) Refusal refusal = {};
        EditOptions o = { .timeout = UINT64_MAX };
        Target *t = registry_target(&f->engine.registry, WWN_A);

        g_assert_cmpint(edit_remove_lun(&f->engine, target_lun(t, 0), &o, &refusal), ==, 0);
}

static void want_destroy(Fixture *f) {
        _cleanup_(refusal_done) Refusal refusal = {};
        EditOptions o = { .timeout = UINT64_MAX };

        g_assert_cmpint(edit_destroy_target(&f->engine, registry_target(&f->engine.registry, WWN_A), &o, &refusal), ==, 0);
}

static void want_restore(Fixture *f) {
        Target *t = fixture_create(f, WWN_B);

        for (unsigned i = 1; i <= 32; i++) {
                g_autofree char *source = g_strdup_printf("wwid=3600%u", i);

                (void) fixture_add_lun(f, t, source);
        }
}

static void run_scenario(Fixture *f, scenario_t before, scenario_t scenario) {
        fixture_init(f);
        for (unsigned i = 1; i <= 32; i++)
                fixture_add_device(f, i, 10 + i);
        if (before) {
                before(f);
                fixture_run(f);
        }
        scenario(f);
}

static void die_at_every_step(scenario_t before, scenario_t scenario, unsigned at_least, unsigned stride) {
        g_autofree char *kernel = NULL, *store = NULL;
        Fixture f = {};
        unsigned k, n;

        run_scenario(&f, before, scenario);
        fake_journal_clear();
        fixture_run(&f);
        n = fake_count(FAKE_MUTATING);
        kernel = fake_snapshot(FAKE_SNAPSHOT_STATE);
        store = fixture_store_snapshot(&f);
        fixture_done(&f);
        g_assert_cmpuint(n, >=, at_least);

        for (k = 0; k < n; k += stride) {
                Fixture g = {};

                run_scenario(&g, before, scenario);
                fake_die_after(k, FAKE_DEATH_KILL);
                fixture_run(&g);
                fake_revive();
                fixture_restart(&g);
                fixture_run(&g);
                g_test_message("died after %u of %u", k, n);

                assert_same(fake_snapshot(FAKE_SNAPSHOT_STATE), g_strdup(kernel));
                assert_same(fixture_store_snapshot(&g), g_strdup(store));
                fixture_done(&g);
        }
}

static void test_die_create(void) {
        die_at_every_step(NULL, want_create, 3, 1);
}

static void test_die_add(void) {
        die_at_every_step(NULL, want_add, 20, 1);
}

static void test_die_remove(void) {
        die_at_every_step(want_add, want_remove, 4, 1);
}

static void test_die_destroy(void) {
        die_at_every_step(want_add, want_destroy, 10, 1);
}

static void test_die_restore(void) {
        die_at_every_step(NULL, want_restore, 32 * 10, 1);
}

static bool pass_died(Fixture *f) {
        Target *t = registry_target(&f->engine.registry, WWN_A);

        return f->engine.n_passes == 0 && t->retry_at > 0;
}

/* A pass dies, and the disks are of no use when the next one comes: what no guest has seen keeps them from nobody, and what is linked stays. */
static void lose_the_disks(unsigned k, bool restart) {
        _cleanup_(strv_freep) char **core = NULL;
        size_t linked = 0, open = 0;
        Fixture f = {};
        Target *t;

        fixture_init(&f);
        want_add(&f);
        fixture_run(&f);
        fake_die_after(k, FAKE_DEATH_KILL);
        for (unsigned n = 1; n <= 2; n++)
                fixture_add_device(&f, n, 10 + n);
        g_assert_true(fixture_run_until(&f, pass_died));
        fake_revive();
        if (restart)
                fixture_restart(&f);
        for (unsigned n = 1; n <= 2; n++)
                change_device(&f, n, 0, false, NULL);

        t = registry_target(&f.engine.registry, WWN_A);
        t->retry_at = t->retry_at > 0;
        queue_retry_by(&f.engine, 1);
        fixture_run(&f);

        core = fake_children("core");
        for (size_t i = 0; i < t->n_luns; i++) {
                g_assert_true(t->luns[i]->present == t->luns[i]->linked);
                linked += t->luns[i]->linked;
                open += fake_block_is_open(makedev(250, i + 1));
        }
        g_assert_cmpuint(open, ==, linked);
        g_assert_cmpuint(strv_length(core), ==, linked);
        fixture_done(&f);
}

static void test_die_and_lose_the_disks(void) {
        for (unsigned k = 0; k < 18; k++) {
                lose_the_disks(k, false);
                lose_the_disks(k, true);
        }
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/engine/up-and-down", test_up_and_down);
        g_test_add_func("/engine/device-life", test_device_life);
        g_test_add_func("/engine/misfit", test_misfit);
        g_test_add_func("/engine/another-disk", test_another_disk);
        g_test_add_func("/engine/shared", test_shared);
        g_test_add_func("/engine/attached", test_attached);
        g_test_add_func("/engine/hang", test_hang);
        g_test_add_func("/engine/hba-taken", test_hba_taken);
        g_test_add_func("/engine/fail-every-step", test_fail_every_step);
        g_test_add_func("/engine/die/create", test_die_create);
        g_test_add_func("/engine/die/add", test_die_add);
        g_test_add_func("/engine/die/remove", test_die_remove);
        g_test_add_func("/engine/die/destroy", test_die_destroy);
        g_test_add_func("/engine/die/restore-32", test_die_restore);
        g_test_add_func("/engine/die/lose-the-disks", test_die_and_lose_the_disks);

        return g_test_run();
}
