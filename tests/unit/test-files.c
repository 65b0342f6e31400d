/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sys/stat.h>

#include "engine-fixture.h"
#include "engine/edit.h"
#include "engine/files.h"
#include "engine/lun-view.h"
#include "kernel/mount-point.h"
#include "model/plan.h"
#include "model/source.h"

/* Files under LUNs: real files on whatever filesystem the temporary directory is on, the fake configfs. */

#define WWN "naa.5001405aaaaaaaaa"
#define SIZE (1 << 20)

static char *directory;

static char *make_file(const char *name, off_t size) {
        char *path = g_build_filename(directory, name, NULL);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(ftruncate(fd, size), ==, 0);
        close(fd);
        return path;
}

/* As its guest has it. */
static void assert_whole(Fixture *f, const Lun *l, const char *path) {
        LunView v;

        lun_view_make(&f->engine, l, &v);
        g_assert_cmpint(v.state, ==, LUN_ONLINE);
        g_assert_cmpint(v.health, ==, HEALTH_OK);
        g_assert_cmpuint(v.size, ==, SIZE);
        g_assert_cmpuint(v.block_size, ==, 512);
        g_assert_cmpstr(v.device, ==, path);
}

static LunState state_of(Fixture *f, const Lun *l) {
        Device *d = NULL;

        (void) inventory_resolve(f->engine.inventory, l->backstore->source, &d);
        return lun_state(l, d, false);
}

static void assert_refused(Fixture *f, Target *t, const char *source, RefusalKind kind) {
        _cleanup_(refusal_done) Refusal refusal = {};
        LunOptions o = {};
        uint32_t number;

        g_assert_cmpint(edit_add_lun(&f->engine, t, source, &o, &number, &refusal), ==, REFUSED);
        g_assert_cmpint(refusal.kind, ==, kind);
        g_assert_cmpuint(t->n_luns, ==, 0);
}

static void test_life(void) {
        g_autofree char *path = make_file("a b.img", SIZE + 100), *source = g_strconcat("file=", path, NULL);
        g_autofree char *link = g_build_filename(directory, "link", NULL), *linked = g_strconcat("file=", link, NULL);
        Fixture f = {};
        Target *t;
        Lun *l;

        fixture_init(&f);
        t = fixture_create(&f, WWN);
        g_assert_cmpint(symlink(path, link), ==, 0);
        l = fixture_add_lun(&f, t, linked);
        fixture_run(&f);
        g_assert_cmpstr(l->backstore->source, ==, source);
        g_assert_cmpint(state_of(&f, l), ==, LUN_ONLINE);
        assert_whole(&f, l, path);
        g_assert_true(cfs_exists(f.engine.cfs, "core/fileio_0"));

        /* Looking again, and a restart: nothing to do. */
        fake_journal_clear();
        files_look(&f.engine);
        fixture_run(&f);
        fixture_restart_bare(&f);
        files_look(&f.engine);
        fixture_run(&f);
        g_assert_cmpuint(fake_count(FAKE_MUTATING), ==, 0);

        /* The filesystem goes and another comes: what is open stays. */
        l = target_lun(registry_target(&f.engine.registry, WWN), 0);
        g_assert_cmpint(free_and_strdup(&l->backstore->mount, "/somewhere"), >=, 0);
        files_look(&f.engine);
        fixture_run(&f);
        g_assert_true(l->linked);
        assert_whole(&f, l, path);
        g_assert_cmpuint(fake_count(FAKE_MUTATING), ==, 0);

        g_unlink(link);
        g_unlink(path);
        fixture_done(&f);
}

/* As after a reboot: the LUN is wanted, and not in the kernel. */
static void start_anew(Fixture *f) {
        g_autofree char *link = NULL, *store = NULL;
        const Lun *l;

        fixture_restart_bare(f);
        l = target_lun(registry_target(&f->engine.registry, WWN), 0);
        link = g_strdup_printf("vhost/" WWN "/tpgt_1/lun/lun_0/%s", l->backstore->name);
        store = g_strdup_printf("core/fileio_%u/%s", l->backstore->hba, l->backstore->name);
        (void) cfs_unlink(f->engine.cfs, link);
        (void) cfs_rmdir(f->engine.cfs, "vhost/" WWN "/tpgt_1/lun/lun_0");
        (void) cfs_rmdir(f->engine.cfs, store);
        *strrchr(store, '/') = 0;
        (void) cfs_rmdir(f->engine.cfs, store);
        g_assert_false(cfs_exists(f->engine.cfs, store));
}

static Lun *reboot(Fixture *f) {
        start_anew(f);
        files_look(&f->engine);
        fixture_run(f);
        return target_lun(registry_target(&f->engine.registry, WWN), 0);
}

static void test_never_made_never_another(void) {
        g_autofree char *path = make_file("b.img", SIZE), *source = g_strconcat("file=", path, NULL), *away = g_strconcat(path, ".away", NULL);
        Fixture f = {};
        Lun *l;

        fixture_init(&f);
        l = fixture_add_lun(&f, fixture_create(&f, WWN), source);
        fixture_run(&f);
        g_assert_true(l->linked);

        /* Not there: it is not made. */
        g_assert_cmpint(rename(path, away), ==, 0);
        l = reboot(&f);
        g_assert_cmpint(state_of(&f, l), ==, LUN_FAILED);
        g_assert_nonnull(strstr(l->error_text, "No such file"));
        g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));

        /* A shorter one, or a link to the right one, in its place. */
        g_free(make_file("b.img", SIZE / 2));
        l = reboot(&f);
        g_assert_cmpint(state_of(&f, l), ==, LUN_FAILED);
        g_assert_nonnull(strstr(l->error_text, "smaller"));
        g_unlink(path);
        g_assert_cmpint(symlink(away, path), ==, 0);
        l = reboot(&f);
        g_assert_cmpint(state_of(&f, l), ==, LUN_FAILED);
        g_unlink(path);

        g_assert_cmpint(rename(away, path), ==, 0);
        l = reboot(&f);
        g_assert_cmpint(state_of(&f, l), ==, LUN_ONLINE);
        g_unlink(path);
        fixture_done(&f);
}

static void test_filesystem(void) {
        g_autofree char *path = make_file("c.img", SIZE), *source = g_strconcat("file=", path, NULL), *mount = NULL, *filesystem = NULL;
        Fixture f = {};
        Lun *l;

        fixture_init(&f);
        l = fixture_add_lun(&f, fixture_create(&f, WWN), source);
        fixture_run(&f);
        mount = g_strdup(l->backstore->mount);
        filesystem = g_strdup(l->backstore->identity);
        g_assert_nonnull(startswith(filesystem, BACKSTORE_FILESYSTEM));

        /* Another one at the same place. */
        start_anew(&f);
        l = target_lun(registry_target(&f.engine.registry, WWN), 0);
        g_assert_cmpstr(l->backstore->mount, ==, mount);
        g_assert_cmpstr(l->backstore->identity, ==, filesystem);
        g_assert_cmpint(free_and_strdup(&l->backstore->identity, BACKSTORE_FILESYSTEM "uuid=other"), >=, 0);
        files_look(&f.engine);
        fixture_run(&f);
        g_assert_cmpint(state_of(&f, l), ==, LUN_FAILED);
        g_assert_nonnull(strstr(l->error_text, "another filesystem"));
        g_assert_false(cfs_exists(f.engine.cfs, "core/fileio_0"));

        /* None. */
        g_assert_cmpint(free_and_strdup(&l->backstore->mount, "/nothing/is/here"), >=, 0);
        files_look(&f.engine);
        fixture_run(&f);
        g_assert_cmpint(state_of(&f, l), ==, LUN_WAITING);
        g_assert_null(l->error_code);

        /* The right one. */
        g_assert_cmpint(free_and_strdup(&l->backstore->mount, mount), >=, 0);
        g_assert_cmpint(free_and_strdup(&l->backstore->identity, filesystem), >=, 0);
        files_look(&f.engine);
        fixture_run(&f);
        g_assert_cmpint(state_of(&f, l), ==, LUN_ONLINE);
        g_unlink(path);
        fixture_done(&f);
}

static void test_refused(void) {
        g_autofree char *path = make_file("d.img", 100), *small = g_strconcat("file=", path, NULL);
        g_autofree char *folder = g_strconcat("file=", directory, NULL), *none = g_strconcat(small, ".none", NULL);
        g_autofree char *fifo_path = g_build_filename(directory, "fifo", NULL), *fifo = g_strconcat("file=", fifo_path, NULL);
        _cleanup_(refusal_done) Refusal refusal = {};
        LunOptions readonly = { .readonly = true };
        uint32_t number;
        Fixture f = {};
        Target *t;

        fixture_init(&f);
        t = fixture_create(&f, WWN);
        g_assert_cmpint(mkfifo(fifo_path, 0600), ==, 0);
        assert_refused(&f, t, small, REFUSAL_NOT_READY);
        assert_refused(&f, t, folder, REFUSAL_INVALID_SOURCE);
        assert_refused(&f, t, fifo, REFUSAL_INVALID_SOURCE);
        assert_refused(&f, t, none, REFUSAL_DEVICE_NOT_FOUND);
        assert_refused(&f, t, "file=/proc/version", REFUSAL_DEVICE_UNSAFE);
        assert_refused(&f, t, "file=/proc/self/exe", REFUSAL_DEVICE_UNSAFE);
        g_assert_cmpint(truncate(path, SIZE), ==, 0);
        g_assert_cmpint(edit_add_lun(&f.engine, t, small, &readonly, &number, &refusal), ==, REFUSED);
        g_assert_cmpint(refusal.kind, ==, REFUSAL_INVALID_ARGS);
        g_unlink(fifo_path);
        g_unlink(path);
        fixture_done(&f);
}

/* A file is opened by one step that does it all, and not looked at again. */
static void test_plan(void) {
        static const LunWant want = {
                .wwn = "naa.5001405aaaaaaaaa", .number = 1, .wanted = true, .usable = true, .hba = 3, .name = "d-f", .serial = "abc",
                .file = true, .size = 1 << 20, .node = "/srv/a b", .link = "/srv/a b", .devnum = 5, .diskseq = 77,
        };
        static const char *const expected[] = {
                "mkdir core/fileio_3 -", "mkdir core/fileio_3/d-f -", "write core/fileio_3/d-f/alias vhscsid diskseq=77 dev=0:5",
                "write core/fileio_3/d-f/udev_path /srv/a b", "open core/fileio_3/d-f 1048576 77 /srv/a b",
                "write core/fileio_3/d-f/attrib/emulate_3pc 0", "write core/fileio_3/d-f/attrib/emulate_model_alias 1",
                "write core/fileio_3/d-f/wwn/vpd_unit_serial abc", "mkdir vhost/naa.5001405aaaaaaaaa/tpgt_1/lun/lun_1 -",
                "symlink vhost/naa.5001405aaaaaaaaa/tpgt_1/lun/lun_1/d-f core/fileio_3/d-f",
        };
        _cleanup_(plan_done) Plan up = {}, again = {}, stale = {};
        LunSeen seen = {};

        g_assert_cmpint(plan_lun(&want, &seen, &up), ==, 0);
        g_assert_cmpuint(up.n, ==, ELEMENTSOF(expected));
        for (size_t i = 0; i < up.n; i++) {
                g_autofree char *text = g_strdup_printf("%s %s %s", step_op_to_string(up.steps[i].op), up.steps[i].path, up.steps[i].value ?: "-");

                g_assert_cmpstr(text, ==, expected[i]);
        }

        /* A pass died between the two: what is open is right, whatever number its mount has after a restart. */
        seen = (LunSeen) { .hba_dir = true, .backstore_dir = true, .enabled = true, .alias = (char *) "vhscsid diskseq=12 dev=0:5" };
        g_assert_cmpint(plan_lun(&want, &seen, &again), ==, 0);
        g_assert_cmpint(again.steps[0].op, ==, STEP_WRITE);
        g_assert_cmpstr(again.steps[0].path, ==, "core/fileio_3/d-f/attrib/emulate_3pc");
        g_assert_cmpint(again.steps[again.n - 1].op, ==, STEP_SYMLINK);

        /* One that is up stays up. */
        seen.dir = true;
        seen.link = (char *) "d-f";
        seen.link_target = (char *) "core/fileio_3/d-f";
        g_assert_cmpint(plan_lun(&want, &seen, &stale), ==, 0);
        g_assert_cmpuint(stale.n, ==, 0);
}

int main(int argc, char *argv[]) {
        int r;

        g_test_init(&argc, &argv, NULL);
        directory = g_dir_make_tmp("vhscsid-files-XXXXXX", NULL);
        g_assert_nonnull(directory);

        g_test_add_func("/files/plan", test_plan);
        g_test_add_func("/files/life", test_life);
        g_test_add_func("/files/never-made-never-another", test_never_made_never_another);
        g_test_add_func("/files/filesystem", test_filesystem);
        g_test_add_func("/files/refused", test_refused);

        r = g_test_run();
        g_rmdir(directory);
        g_free(directory);
        return r;
}
