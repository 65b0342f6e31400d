/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <sys/sysmacros.h>

#include "engine-fixture.h"
#include "engine/edit.h"
#include "engine/hotplug.h"
#include "model/plan.h"

/* What a pass finds that no pass of this daemon left as it is: a device that was replaced while nobody looked, other people's hands in our
 * directories. */

#define WWN "naa.5001405aaaaaaaaa"
#define LUN_DIR "vhost/" WWN "/tpgt_1/lun/lun_0"

static bool exists(Fixture *f, const char *path) {
        return cfs_exists(f->engine.cfs, path) == 1;
}

static Lun *begin(Fixture *f) {
        Lun *l;

        fixture_init(f);
        fixture_add_device(f, 1, 11);
        l = fixture_add_lun(f, fixture_create(f, WWN), "wwid=36001");
        fixture_run(f);
        g_assert_true(l->linked);
        g_assert_cmpuint(l->backstore->hba, ==, 0);
        return l;
}

static char *place_of(const Lun *l) {
        return g_strdup_printf("core/iblock_%u/%s", l->backstore->hba, l->backstore->name);
}

static void unlink_by_hand(Fixture *f, const Lun *l) {
        g_autofree char *link = g_strdup_printf(LUN_DIR "/%s", l->backstore->name);

        g_assert_cmpint(cfs_unlink(f->engine.cfs, link), ==, 0);
}

/* What a pass that was killed left of a LUN, or somebody's hands: no guest can see that, and none is asked. */
static void test_unlinked_while_attached(void) {
        EditOptions o = { .timeout = UINT64_MAX };
        _cleanup_(refusal_done) Refusal refusal = {};
        Fixture f = {};
        Lun *l = begin(&f), *other;

        fixture_add_device(&f, 2, 12);
        other = fixture_add_lun(&f, l->target, "wwid=36002");
        fixture_run(&f);
        unlink_by_hand(&f, l);
        g_assert_cmpint(fake_attach("vhost/" WWN "/tpgt_1"), ==, 0);

        g_assert_cmpint(edit_remove_lun(&f.engine, l, &o, &refusal), ==, 0);
        fixture_run(&f);
        g_assert_null(target_lun(other->target, 0));
        g_assert_false(exists(&f, LUN_DIR));
        g_assert_true(other->linked);

        g_assert_cmpint(edit_remove_lun(&f.engine, other, &o, &refusal), ==, REFUSED);
        fixture_done(&f);
}

/* libvirt has given the target's directory to its QEMU: the kernel refuses the question itself, and that is an answer. */
static void test_directory_of_libvirt(void) {
        EditOptions o = { .timeout = UINT64_MAX };
        _cleanup_(refusal_done) Refusal refusal = {};
        Fixture f = {};
        Lun *l = begin(&f);
        Target *t = l->target;

        fake_fail(FAKE_RMDIR, "vhost/" WWN "/tpgt_1", 1, -EACCES, FAKE_ALWAYS);
        registry_mark_probe(&f.engine.registry, t);
        fixture_run(&f);
        g_assert_cmpint(t->endpoint, ==, ENDPOINT_ATTACHED);
        g_assert_cmpint(edit_remove_lun(&f.engine, l, &o, &refusal), ==, REFUSED);
        g_assert_cmpint(refusal.kind, ==, REFUSAL_IN_USE);
        g_assert_true(l->wanted && l->linked);

        fake_fail_none();
        registry_mark_probe(&f.engine.registry, t);
        fixture_run(&f);
        g_assert_cmpint(t->endpoint, ==, ENDPOINT_IDLE);
        fixture_done(&f);
}

/* The daemon was not there when the disk under a running LUN was replaced. */
static void test_replaced_while_away(void) {
        Fixture f = {};
        Lun *l;

        (void) begin(&f);
        fixture_remove_device(&f, 1);
        fixture_add_device(&f, 1, 12);
        fixture_restart(&f);
        fixture_run(&f);

        l = target_lun(registry_target(&f.engine.registry, WWN), 0);
        g_assert_true(l->linked);
        g_assert_cmpuint(l->backstore->diskseq, ==, 12);
        fixture_done(&f);
}

/* The same, and nothing came in its place. */
static void test_gone_while_away(void) {
        Fixture f = {};
        Lun *l;

        (void) begin(&f);
        fixture_remove_device(&f, 1);
        fixture_restart(&f);
        fixture_run(&f);

        l = target_lun(registry_target(&f.engine.registry, WWN), 0);
        g_assert_false(l->linked);
        g_assert_false(exists(&f, "core/iblock_0"));
        g_assert_false(exists(&f, LUN_DIR));
        fixture_done(&f);
}

/* News of a removal that was none: the pass asks the kernel, and the guest keeps its disk. */
static void test_gone_by_mistake(void) {
        Fixture f = {};
        Lun *l = begin(&f);

        fake_journal_clear();
        hotplug_on_device(makedev(250, 1), NULL, &f.engine);
        g_assert_true(l->dirty);
        fixture_run(&f);
        g_assert_true(l->linked);
        g_assert_cmpuint(fake_count(FAKE_MUTATING), ==, 0);
        fixture_done(&f);
}

/* A pass died after any of its steps, and the disk was replaced before the daemon was back: no guest ever gets the old instance. */
static void test_replaced_half_way(void) {
        for (unsigned k = 0;; k++) {
                Fixture f = {};
                Target *t;
                Lun *l;

                fixture_init(&f);
                fixture_add_device(&f, 1, 11);
                t = fixture_create(&f, WWN);
                fixture_run(&f);
                (void) fixture_add_lun(&f, t, "wwid=36001");
                fake_die_after(k, FAKE_DEATH_KILL);
                fixture_run(&f);
                fake_revive();
                l = target_lun(t, 0);
                if (l->linked) {
                        g_assert_cmpuint(k, >, 8);
                        fixture_done(&f);
                        break;
                }

                fixture_remove_device(&f, 1);
                fixture_add_device(&f, 1, 12);
                fixture_restart(&f);
                /* A link is made once: not to the old one first. */
                fake_journal_clear();
                fixture_run(&f);

                l = target_lun(registry_target(&f.engine.registry, WWN), 0);
                g_assert_true(l->linked);
                g_assert_cmpuint(l->backstore->diskseq, ==, 12);
                g_assert_cmpuint(fake_count(FAKE_SYMLINK), ==, exists(&f, LUN_DIR) && fake_count(FAKE_UNLINK) == 0);
                fixture_done(&f);
        }
}

static void remove_and_expect_gone(Fixture *f, const char *theirs) {
        _cleanup_(refusal_done) Refusal refusal = {};
        Target *t = registry_target(&f->engine.registry, WWN);
        EditOptions o = { .timeout = UINT64_MAX };

        g_assert_cmpint(edit_remove_lun(&f->engine, target_lun(t, 0), &o, &refusal), ==, 0);
        fixture_run(f);
        g_assert_null(target_lun(t, 0));
        g_assert_true(exists(f, theirs));
}

/* Somebody linked a disk of theirs in our LUN's place. It stays, and removing ours still ends, with all that is ours. */
static void test_their_link(void) {
        static const char *const writes[][2] = {
                { "core/iblock_5/theirs/control", "udev_path=/dev/theirs" }, { "core/iblock_5/theirs/enable", "1" },
        };
        g_autofree char *place = NULL;
        Fixture f = {};
        Lun *l = begin(&f);
        Cfs *c = f.engine.cfs;

        place = place_of(l);
        fake_block_add_simple(makedev(251, 1), "/dev/theirs", 99);
        g_assert_cmpint(cfs_mkdir(c, "core/iblock_5"), ==, 0);
        g_assert_cmpint(cfs_mkdir(c, "core/iblock_5/theirs"), ==, 0);
        for (size_t i = 0; i < ELEMENTSOF(writes); i++)
                g_assert_cmpint(cfs_write(c, writes[i][0], writes[i][1]), ==, 0);
        unlink_by_hand(&f, l);
        g_assert_cmpint(cfs_symlink(c, "core/iblock_5/theirs", LUN_DIR "/theirs"), ==, 0);

        registry_mark_lun(&f.engine.registry, l);
        fixture_run(&f);
        g_assert_false(l->linked);
        g_assert_cmpstr(l->error_code, ==, "LunConflict");

        remove_and_expect_gone(&f, LUN_DIR "/theirs");
        g_assert_false(exists(&f, place));
        fixture_done(&f);
}

/* Somebody made our backstore anew, by the same name: without our mark it is theirs. */
static void test_their_backstore(void) {
        g_autofree char *place = NULL, *alias = NULL;
        Fixture f = {};
        Lun *l = begin(&f);

        place = place_of(l);
        alias = g_strdup_printf("%s/alias", place);
        unlink_by_hand(&f, l);
        g_assert_cmpint(cfs_rmdir(f.engine.cfs, LUN_DIR), ==, 0);
        g_assert_cmpint(cfs_write(f.engine.cfs, alias, "theirs now"), ==, 0);

        remove_and_expect_gone(&f, place);
        fixture_done(&f);
}

/* The disk goes between the look and the open: that is no failure, but a disk that is not there. */
static void test_gone_between(void) {
        Fixture f = {};
        Lun *l;

        fixture_init(&f);
        fixture_add_device(&f, 1, 11);
        fake_fail(FAKE_WRITE, "*/enable", 1, -ENOENT, 1);
        l = fixture_add_lun(&f, fixture_create(&f, WWN), "wwid=36001");
        fixture_run(&f);
        g_assert_false(l->linked);
        g_assert_null(l->error_code);
        g_assert_cmpuint(l->retry_at, >, 0);
        g_assert_cmpint(cfs_exists(f.engine.cfs, "core/iblock_0"), ==, 0);

        /* It was there all the same: the next event, or the next try, brings it up. */
        fixture_add_device(&f, 1, 12);
        fixture_run(&f);
        g_assert_true(l->linked);
        fixture_done(&f);
}

/* A disk of two targets is replaced. The pass of the one makes the backstore anew and is killed; the one of the other comes before anybody has
 * found out: the first LUN is still up, by all that is known, and so the backstore complete. A guest would read an empty serial for ever. */
static void test_half_made_for_another(void) {
        const LunWant want = {
                .wwn = WWN, .number = 1, .wanted = true, .usable = true, .others = true, .hba = 3, .name = "d-x", .serial = "abc",
                .node = "/dev/sdb", .link = "/dev/disk/by-id/wwn-0x5", .devnum = makedev(8, 16), .diskseq = 12,
        };
        LunSeen seen = {
                .hba_dir = true, .backstore_dir = true, .enabled = true, .devnum = want.devnum, .diskseq = 12,
                .alias = (char *) "vhscsid diskseq=12 dev=8:16", .serial = (char *) "",
        };
        _cleanup_(plan_done) Plan half = {}, whole = {};

        g_assert_cmpint(plan_lun(&want, &seen, &half), ==, 0);
        g_assert_cmpint(half.steps[0].op, ==, STEP_VERIFY);
        g_assert_cmpstr(half.steps[half.n - 3].path, ==, "core/iblock_3/d-x/wwn/vpd_unit_serial");
        g_assert_cmpint(half.steps[half.n - 1].op, ==, STEP_SYMLINK);

        /* What is exported cannot be set any more, and need not. */
        seen.serial = (char *) "abc";
        g_assert_cmpint(plan_lun(&want, &seen, &whole), ==, 0);
        g_assert_cmpuint(whole.n, ==, 2);
        g_assert_cmpint(whole.steps[1].op, ==, STEP_SYMLINK);
}

/* The kernel knows of no guest, but there is a QEMU that has the target: its guest is paused, reboots or has not begun. */
static void test_running(void) {
        _cleanup_(refusal_done) Refusal refusal = {}, again = {};
        EditOptions o = { .timeout = UINT64_MAX };
        Fixture f = {};
        Lun *l = begin(&f);
        Target *t = l->target;

        fake_process_set(4711, WWN, "web1");

        registry_mark_probe(&f.engine.registry, t);
        fixture_run(&f);
        g_assert_cmpint(t->endpoint, ==, ENDPOINT_IDLE);
        g_assert_cmpint(edit_remove_lun(&f.engine, l, &o, &refusal), ==, REFUSED);
        g_assert_cmpint(refusal.kind, ==, REFUSAL_IN_USE);
        g_assert_nonnull(strstr(refusal.text, "Guest web1 (pid 4711) runs with target " WWN));
        g_assert_cmpint(edit_destroy_target(&f.engine, t, &o, &again), ==, REFUSED);
        g_assert_cmpint(again.kind, ==, REFUSAL_IN_USE);

        /* It was started between the question and the pass. */
        t->guest = (Guest) {};
        g_assert_cmpint(edit_remove_lun(&f.engine, l, &o, &again), ==, 0);
        fixture_run(&f);
        g_assert_true(l->linked);
        g_assert_cmpstr(l->error_code, ==, "InUse");
        g_assert_nonnull(strstr(l->error_text, "web1 (pid 4711)"));

        /* It has ended. */
        fake_process_set(0, "", "");
        registry_mark_lun(&f.engine.registry, l);
        l->retry_at = t->retry_at = 0;
        fixture_run(&f);
        g_assert_null(target_lun(t, 0));
        fixture_done(&f);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/pass/unlinked-while-attached", test_unlinked_while_attached);
        g_test_add_func("/pass/running", test_running);
        g_test_add_func("/pass/directory-of-libvirt", test_directory_of_libvirt);
        g_test_add_func("/pass/replaced-while-away", test_replaced_while_away);
        g_test_add_func("/pass/gone-while-away", test_gone_while_away);
        g_test_add_func("/pass/gone-by-mistake", test_gone_by_mistake);
        g_test_add_func("/pass/replaced-half-way", test_replaced_half_way);
        g_test_add_func("/pass/their-link", test_their_link);
        g_test_add_func("/pass/their-backstore", test_their_backstore);

        g_test_add_func("/pass/gone-between", test_gone_between);
        g_test_add_func("/pass/half-made-for-another", test_half_made_for_another);
        return g_test_run();
}
