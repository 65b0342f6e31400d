/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <glib/gstdio.h>
#include <sys/sysmacros.h>

#include "engine-fixture.h"
#include "engine/adopt.h"
#include "engine/hotplug.h"
#include "foreign-made.h"

/* Taking over what somebody else made, and what somebody else makes again of ours. */

static Target *look_closely(Fixture *f) {
        g_assert_cmpint(strv_extend(&f->engine.survey_closely, WWN), ==, 0);
        f->engine.survey_wanted = true;
        fixture_run(f);
        return registry_target(&f->engine.registry, WWN);
}

static Target *adopt(Fixture *f) {
        EditOptions o = { .timeout = UINT64_MAX };
        _cleanup_(refusal_done) Refusal refusal = {};
        Target *t = look_closely(f);

        g_assert_nonnull(t);
        g_assert_true(t->foreign);
        g_assert_cmpint(adopt_target(&f->engine, t, &o, &t, &refusal), ==, 0);
        fixture_run(f);
        return t;
}

static void assert_refused(Fixture *f, RefusalKind kind) {
        g_autofree char *before = fake_snapshot(FAKE_SNAPSHOT_IDS), *stored = fixture_store_snapshot(f), *after = NULL, *then = NULL;
        EditOptions o = { .timeout = UINT64_MAX };
        _cleanup_(refusal_done) Refusal refusal = {};
        Target *t = look_closely(f), *ret = NULL;

        g_assert_nonnull(t);
        g_assert_cmpint(adopt_target(&f->engine, t, &o, &ret, &refusal), ==, REFUSED);
        g_assert_cmpint(refusal.kind, ==, kind);
        g_assert_nonnull(refusal.text);
        g_assert_true(registry_target(&f->engine.registry, WWN)->foreign);

        fixture_run(f);
        after = fake_snapshot(FAKE_SNAPSHOT_IDS);
        then = fixture_store_snapshot(f);
        g_assert_cmpstr(before, ==, after);
        g_assert_cmpstr(stored, ==, then);
}

static Lun *lun(Fixture *f, uint32_t number) {
        return target_lun(registry_target(&f->engine.registry, WWN), number);
}

static void assert_online(Fixture *f, unsigned first_hba, unsigned second_hba) {
        Target *t = registry_target(&f->engine.registry, WWN);

        g_assert_nonnull(t);
        g_assert_false(t->foreign);
        g_assert_true(t->up);
        g_assert_cmpstr(t->nexus, ==, NEXUS);
        g_assert_cmpuint(t->n_luns, ==, 2);
        g_assert_true(lun(f, 0)->linked);
        g_assert_null(lun(f, 0)->error_code);
        g_assert_cmpuint(lun(f, 0)->backstore->hba, ==, first_hba);
        g_assert_cmpstr(lun(f, 0)->backstore->serial, ==, "serial-1");
        g_assert_cmpstr(lun(f, 0)->backstore->source, ==, "wwid=36001");
        g_assert_true(lun(f, 7)->linked);
        g_assert_null(lun(f, 7)->error_code);
        g_assert_cmpuint(lun(f, 7)->backstore->hba, ==, second_hba);
        g_assert_cmpstr(lun(f, 7)->backstore->name, ==, "disk2");
}

static void begin(Fixture *f) {
        fixture_init(f);
        fixture_add_device(f, 1, 11);
        fixture_add_device(f, 2, 12);
}

static void begin_adopted(Fixture *f) {
        begin(f);
        make_all(f, 4, 2);
        (void) adopt(f);
}

static void reboot(Fixture *f) {
        fake_reset();
        make_dir(f, "vhost");
        fake_block_add_simple(makedev(250, 1), "/dev/fake1", 21);
        fake_block_add_simple(makedev(250, 2), "/dev/fake2", 22);
}

static void start_again(Fixture *f) {
        fixture_restart_bare(f);
        fixture_add_device(f, 1, 21);
        fixture_add_device(f, 2, 22);
        fixture_run(f);
}

/* Nothing is touched: not by the adoption, not by a restart. After a reboot it is all there, as it was. */
static void test_adopt(void) {
        g_autofree char *before = NULL, *after = NULL, *restarted = NULL, *attribute = NULL, *rebooted = NULL;
        Fixture f = {};

        begin(&f);
        make_all(&f, 4, 2);
        write_file(&f, "0", "core/iblock_2/disk2/attrib/emulate_tpws");
        before = fake_snapshot(FAKE_SNAPSHOT_IDS);
        fake_journal_clear();

        (void) adopt(&f);
        assert_online(&f, 4, 2);
        g_assert_cmpint(lun(&f, 0)->origin, ==, LUN_ADOPTED);
        g_assert_cmpuint(fake_count(FAKE_MUTATING), ==, 0);
        after = fake_snapshot(FAKE_SNAPSHOT_IDS);
        g_assert_cmpstr(before, ==, after);

        fixture_restart(&f);
        fixture_run(&f);
        assert_online(&f, 4, 2);
        g_assert_cmpuint(fake_count(FAKE_MUTATING), ==, 0);
        restarted = fake_snapshot(FAKE_SNAPSHOT_IDS);
        g_assert_cmpstr(before, ==, restarted);

        reboot(&f);
        start_again(&f);
        assert_online(&f, 4, 2);
        g_assert_false(lun(&f, 0)->backstore->unmarked);
        /* The kernel's default, which is not ours. */
        attribute = fake_peek("core/iblock_4/disk1/attrib/emulate_3pc");
        g_assert_cmpstr(attribute, ==, "1");
        rebooted = fake_peek("core/iblock_4/disk1/wwn/vpd_unit_serial");
        g_assert_nonnull(strstr(rebooted, "serial-1"));
        fixture_done(&f);
}

static void test_dry_run(void) {
        g_autofree char *stored = NULL, *then = NULL;
        EditOptions o = { .timeout = UINT64_MAX, .dry_run = true };
        _cleanup_(refusal_done) Refusal refusal = {};
        Fixture f = {};
        Target *t, *ret;

        begin(&f);
        make_all(&f, 0, 1);
        stored = fixture_store_snapshot(&f);
        t = look_closely(&f);
        g_assert_cmpint(adopt_target(&f.engine, t, &o, &ret, &refusal), ==, 0);
        g_assert_null(ret);
        g_assert_true(registry_target(&f.engine.registry, WWN)->foreign);
        then = fixture_store_snapshot(&f);
        g_assert_cmpstr(stored, ==, then);
        fixture_done(&f);
}

/* A guest that runs on it notices nothing, and keeps what it has from being removed. */
static void test_attached(void) {
        Fixture f = {};

        begin(&f);
        make_all(&f, 0, 1);
        g_assert_cmpint(fake_attach(TPG), ==, 0);
        fake_journal_clear();
        (void) adopt(&f);
        assert_online(&f, 0, 1);
        g_assert_cmpuint(fake_count(FAKE_MUTATING), ==, 0);
        fixture_done(&f);
}

static void test_refused(void) {
        Fixture f = {};

        begin(&f);
        make_all(&f, 0, 1);

        make_dir(&f, "vhost/" WWN "/tpgt_2");
        assert_refused(&f, REFUSAL_IMPORT_REJECTED);
        unmake(&f, "vhost/" WWN "/tpgt_2");

        make_dir(&f, TPG "/lun/lun_3");
        assert_refused(&f, REFUSAL_IMPORT_REJECTED);
        unmake(&f, TPG "/lun/lun_3");

        make_dir(&f, "core/iblock_0/another");
        assert_refused(&f, REFUSAL_IMPORT_REJECTED);
        unmake(&f, "core/iblock_0/another");

        make_dir(&f, "core/rd_mcp_9");
        make_dir(&f, "core/rd_mcp_9/ram");
        write_file(&f, "rd_pages=16", "core/rd_mcp_9/ram/control");
        write_file(&f, "1", "core/rd_mcp_9/ram/enable");
        make_dir(&f, TPG "/lun/lun_4");
        g_assert_cmpint(cfs_symlink(f.engine.cfs, "core/rd_mcp_9/ram", TPG "/lun/lun_4/link"), ==, 0);
        assert_refused(&f, REFUSAL_IMPORT_REJECTED);
        unmake_lun(&f, 4, "link");

        /* The disk was pulled: there is nothing to tell what it was. */
        fixture_remove_device(&f, 2);
        assert_refused(&f, REFUSAL_DEVICE_NOT_FOUND);
        fixture_add_device(&f, 2, 12);
        fixture_done(&f);
}

/* Its file could not be written: it is as foreign as it was. */
static void test_store_fails(void) {
        g_autofree char *directory = NULL;
        Fixture f = {};

        begin(&f);
        make_all(&f, 0, 1);
        directory = g_build_filename(f.state_dir, "targets", NULL);
        g_assert_cmpint(rmdir(directory), ==, 0);
        {
                EditOptions o = { .timeout = UINT64_MAX };
                _cleanup_(refusal_done) Refusal refusal = {};
                Target *t = look_closely(&f);

                g_assert_cmpint(adopt_target(&f.engine, t, &o, &t, &refusal), ==, REFUSED);
                g_assert_cmpint(refusal.kind, ==, REFUSAL_STORE_FAILED);
        }
        g_assert_true(registry_target(&f.engine.registry, WWN)->foreign);
        g_assert_cmpint(g_mkdir(directory, 0700), ==, 0);
        fixture_done(&f);
}

/* The disk goes and comes back: the new instance is ours by our own mark. */
static void test_gone_and_back(void) {
        g_autofree char *alias = NULL;
        Fixture f = {};

        begin_adopted(&f);
        fixture_remove_device(&f, 1);
        fixture_run(&f);
        g_assert_false(lun(&f, 0)->linked);
        g_assert_true(lun(&f, 7)->linked);

        fixture_add_device(&f, 1, 31);
        fixture_run(&f);
        assert_online(&f, 4, 2);
        alias = fake_peek("core/iblock_4/disk1/alias");
        g_assert_true(g_str_has_prefix(alias, "vhscsid diskseq=31"));
        g_assert_false(lun(&f, 0)->backstore->unmarked);
        g_assert_true(lun(&f, 7)->backstore->unmarked);
        fixture_done(&f);
}

/* The same while no daemon ran: that the disk is gone, only the kernel can say. */
static void test_gone_while_away(void) {
        Fixture f = {};

        begin_adopted(&f);
        fixture_remove_device(&f, 1);
        fixture_restart_bare(&f);
        fixture_add_device(&f, 2, 12);
        fixture_run(&f);
        g_assert_true(lun(&f, 7)->linked);
        g_assert_false(lun(&f, 0)->linked);

        fixture_add_device(&f, 1, 51);
        fixture_run(&f);
        assert_online(&f, 4, 2);
        fixture_done(&f);
}

static void test_removed(void) {
        EditOptions o = { .timeout = UINT64_MAX };
        _cleanup_(refusal_done) Refusal refusal = {};
        Fixture f = {};

        begin_adopted(&f);
        g_assert_cmpint(edit_remove_lun(&f.engine, lun(&f, 0), &o, &refusal), ==, 0);
        fixture_run(&f);
        g_assert_null(lun(&f, 0));
        g_assert_cmpint(cfs_exists(f.engine.cfs, "core/iblock_4"), ==, 0);
        g_assert_cmpint(edit_destroy_target(&f.engine, registry_target(&f.engine.registry, WWN), &o, &refusal), ==, 0);
        fixture_run(&f);
        g_assert_null(registry_target(&f.engine.registry, WWN));
        g_assert_cmpint(cfs_exists(f.engine.cfs, "vhost/" WWN), ==, 0);
        g_assert_cmpint(cfs_exists(f.engine.cfs, "core/iblock_2"), ==, 0);
        fixture_done(&f);
}

/* targetctl restored the same at boot, before us, under the numbers that it happened to allocate: each is the other's. */
static void test_restored_by_others(void) {
        g_autofree char *before = NULL, *after = NULL;
        Fixture f = {};

        begin_adopted(&f);
        reboot(&f);
        make_all(&f, 2, 4);
        before = fake_snapshot(FAKE_SNAPSHOT_IDS);
        fake_journal_clear();
        start_again(&f);
        assert_online(&f, 2, 4);
        g_assert_cmpuint(fake_count(FAKE_MUTATING), ==, 0);
        after = fake_snapshot(FAKE_SNAPSHOT_IDS);
        g_assert_cmpstr(before, ==, after);

        fixture_restart(&f);
        fixture_run(&f);
        assert_online(&f, 2, 4);
        g_assert_cmpuint(fake_count(FAKE_MUTATING), ==, 0);
        fixture_done(&f);
}

/* It got only so far. */
static void test_restored_in_part(void) {
        Fixture f = {};

        begin_adopted(&f);
        reboot(&f);
        make_target(&f);
        make_backstore(&f, 0, "disk1", 1);
        make_lun(&f, 0, 0, "disk1");
        start_again(&f);
        assert_online(&f, 0, 2);
        fixture_done(&f);
}

/* A name like /dev/sdb in their file means another disk by now: under our serial a guest would write to the wrong one. */
static void test_restored_wrongly(void) {
        g_autofree char *before = NULL, *after = NULL;
        Fixture f = {};

        begin_adopted(&f);
        reboot(&f);
        make_target(&f);
        make_backstore(&f, 4, "disk1", 2);
        write_file(&f, "serial-1", "core/iblock_4/disk1/wwn/vpd_unit_serial");
        make_lun(&f, 0, 4, "disk1");
        before = fake_snapshot(FAKE_SNAPSHOT_IDS);
        fixture_restart_bare(&f);
        fixture_add_device(&f, 1, 21);
        fixture_run(&f);
        after = fake_snapshot(FAKE_SNAPSHOT_IDS);
        g_assert_false(lun(&f, 0)->linked);
        g_assert_cmpstr(lun(&f, 0)->error_code, ==, "LunConflict");
        g_assert_cmpstr(before, ==, after);
        fixture_done(&f);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/adopt/adopt", test_adopt);
        g_test_add_func("/adopt/dry-run", test_dry_run);
        g_test_add_func("/adopt/attached", test_attached);
        g_test_add_func("/adopt/refused", test_refused);
        g_test_add_func("/adopt/store-fails", test_store_fails);
        g_test_add_func("/adopt/gone-and-back", test_gone_and_back);
        g_test_add_func("/adopt/gone-while-away", test_gone_while_away);
        g_test_add_func("/adopt/removed", test_removed);
        g_test_add_func("/adopt/restored-by-others", test_restored_by_others);
        g_test_add_func("/adopt/restored-in-part", test_restored_in_part);
        g_test_add_func("/adopt/restored-wrongly", test_restored_wrongly);
        return g_test_run();
}
