/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "base/strv.h"
#include "fake-cfs.h"

/* What the other tests lean on. Whether the fake is as the kernel is, tests/lab/cfs-conformance.c shows on a real one. */

#define WWN "vhost/naa.5001405000000001"
#define TPG WWN "/tpgt_1"
#define LUN TPG "/lun/lun_0"
#define HBA "core/iblock_0"
#define STORE HBA "/disk"

static Cfs *cfs;

static void assert_text(const char *path, const char *expected) {
        _cleanup_free_ char *s = NULL;

        g_assert_cmpint(cfs_read(cfs, path, &s), ==, 0);
        g_assert_cmpstr(s, ==, expected);
}

static int read_result(const char *path) {
        _cleanup_free_ char *s = NULL;

        return cfs_read(cfs, path, &s);
}

static int list_result(const char *path) {
        _cleanup_(strv_freep) char **v = NULL;

        return cfs_list(cfs, path, false, false, &v);
}

static void setup(void) {
        fake_reset();
        fake_block_add_simple(makedev(8, 0), "/dev/sda", 3);
        fake_block_add_simple(makedev(8, 16), "/dev/sdb", 4);
        cfs_free(cfs);
        g_assert_cmpint(cfs_new(0, &cfs), ==, 0);
}

static void up_backstore(const char *hba, const char *store, const char *device) {
        _cleanup_free_ char *control = g_strdup_printf("%s/control", store), *enable = g_strdup_printf("%s/enable", store);
        _cleanup_free_ char *value = g_strdup_printf("udev_path=%s", device);

        g_assert_cmpint(cfs_mkdir(cfs, hba), ==, 0);
        g_assert_cmpint(cfs_mkdir(cfs, store), ==, 0);
        g_assert_cmpint(cfs_write(cfs, control, value), ==, 0);
        g_assert_cmpint(cfs_write(cfs, enable, "1"), ==, 0);
}

static void up_target(void) {
        g_assert_cmpint(cfs_mkdir(cfs, WWN), ==, 0);
        g_assert_cmpint(cfs_mkdir(cfs, TPG), ==, 0);
        g_assert_cmpint(cfs_write(cfs, TPG "/nexus", "naa.5001405000000002"), ==, 0);
}

static void up(void) {
        setup();
        up_backstore(HBA, STORE, "/dev/sda");
        up_target();
        g_assert_cmpint(cfs_mkdir(cfs, LUN), ==, 0);
        g_assert_cmpint(cfs_symlink(cfs, STORE, LUN "/x"), ==, 0);
}

static void test_order(void) {
        _cleanup_free_ char *target = NULL;

        setup();
        g_assert_cmpint(cfs_mkdir(cfs, STORE), ==, -ENOENT);
        g_assert_cmpint(cfs_mkdir(cfs, TPG), ==, -ENOENT);
        up_target();
        g_assert_cmpint(cfs_mkdir(cfs, LUN), ==, 0);
        g_assert_cmpint(cfs_mkdir(cfs, HBA), ==, 0);
        g_assert_cmpint(cfs_mkdir(cfs, STORE), ==, 0);
        g_assert_cmpint(cfs_symlink(cfs, STORE, LUN "/x"), ==, -ENODEV);
        g_assert_cmpint(cfs_write(cfs, STORE "/enable", "1"), ==, -EINVAL);
        g_assert_cmpint(cfs_write(cfs, STORE "/control", "udev_path=/dev/sda"), ==, 0);
        g_assert_cmpint(cfs_write(cfs, STORE "/enable", "1"), ==, 0);
        g_assert_cmpint(cfs_write(cfs, STORE "/control", "udev_path=/dev/sdb"), ==, -EEXIST);
        g_assert_cmpint(read_result(LUN "/alua_tg_pt_gp"), ==, -ENODEV);
        g_assert_cmpint(cfs_symlink(cfs, STORE, LUN "/x"), ==, 0);
        g_assert_cmpint(cfs_symlink(cfs, STORE, LUN "/y"), ==, -EEXIST);
        g_assert_cmpint(cfs_readlink(cfs, LUN "/x", &target), ==, 0);
        g_assert_cmpstr(target, ==, STORE);

        g_assert_cmpint(cfs_rmdir(cfs, STORE), ==, -EBUSY);
        g_assert_cmpint(cfs_rmdir(cfs, LUN), ==, -ENOTEMPTY);
        g_assert_cmpint(cfs_write(cfs, TPG "/nexus", "NULL"), ==, -EBUSY);
        g_assert_cmpint(cfs_unlink(cfs, LUN "/x"), ==, 0);
        g_assert_cmpint(cfs_rmdir(cfs, TPG), ==, -ENOTEMPTY);
        g_assert_cmpint(cfs_rmdir(cfs, LUN), ==, 0);
        g_assert_cmpint(cfs_rmdir(cfs, HBA), ==, -ENOTEMPTY);
        g_assert_cmpint(cfs_rmdir(cfs, STORE), ==, 0);
        g_assert_cmpint(cfs_rmdir(cfs, HBA), ==, 0);
        g_assert_cmpint(cfs_rmdir(cfs, TPG), ==, 0);
        g_assert_cmpint(cfs_rmdir(cfs, WWN), ==, 0);
}

static void test_names(void) {
        setup();
        g_assert_cmpint(cfs_mkdir(cfs, "vhost/zzz"), ==, -EINVAL);
        g_assert_cmpint(cfs_mkdir(cfs, "vhost/naa.zzz"), ==, 0);
        g_assert_cmpint(cfs_mkdir(cfs, "vhost/naa.zzz/tpgt_256"), ==, -EINVAL);
        g_assert_cmpint(cfs_mkdir(cfs, "vhost/naa.zzz/tpgt_255"), ==, 0);
        g_assert_cmpint(cfs_mkdir(cfs, "vhost/naa.zzz/tpgt_255/lun/lun_010"), ==, 0);
        g_assert_cmpint(cfs_mkdir(cfs, "vhost/naa.zzz/tpgt_255/lun/lun_8"), ==, 0);
        g_assert_cmpint(cfs_mkdir(cfs, "vhost/naa.zzz/tpgt_255/lun/lun_09"), ==, -EINVAL);
        g_assert_cmpint(cfs_rmdir(cfs, "core/alua"), ==, -EPERM);
        g_assert_cmpint(cfs_mkdir(cfs, "core/../x"), ==, -EINVAL);
        g_assert_cmpint(cfs_mkdir(cfs, "/x"), ==, -EINVAL);

        setup();
        g_assert_cmpint(cfs_rmdir(cfs, "vhost"), ==, 0);
        fake_set_fabric_loaded(false);
        g_assert_cmpint(cfs_mkdir(cfs, "vhost"), ==, -EINVAL);
        fake_set_fabric_loaded(true);
        g_assert_cmpint(cfs_mkdir(cfs, "vhost"), ==, 0);
}

static void test_exported(void) {
        up();
        g_assert_cmpint(cfs_write(cfs, STORE "/wwn/vpd_unit_serial", "1"), ==, -EINVAL);
        g_assert_cmpint(cfs_write(cfs, STORE "/attrib/queue_depth", "1"), ==, -EINVAL);
        g_assert_cmpint(cfs_write(cfs, STORE "/attrib/emulate_3pc", "0"), ==, 0);
        g_assert_cmpint(cfs_write(cfs, STORE "/attrib/emulate_write_cache", "1"), ==, -EINVAL);
        g_assert_cmpint(cfs_write(cfs, STORE "/alias", "vhscsid diskseq=3"), ==, 0);
        assert_text(STORE "/alias", "vhscsid diskseq=3");
        assert_text(STORE "/info", "Status: ACTIVATED  Max Queue Depth: 0  SectorSize: 512  HwMaxSectors: 248\n"
                                   "        iBlock device: sda  UDEV PATH: /dev/sda  readonly: 0\n"
                                   "        Major: 8 Minor: 0  CLAIMED: IBLOCK");
        g_assert_cmpint(cfs_unlink(cfs, LUN "/x"), ==, 0);
        g_assert_cmpint(cfs_write(cfs, STORE "/wwn/vpd_unit_serial", "1"), ==, 0);
        assert_text(STORE "/wwn/vpd_unit_serial", "T10 VPD Unit Serial Number: 1");
}

static int enable(const char *device, bool writable) {
        _cleanup_free_ char *control = g_strdup_printf("udev_path=%s,readonly=%d", device, !writable);
        int r;

        (void) cfs_mkdir(cfs, "core/iblock_5");
        g_assert_cmpint(cfs_mkdir(cfs, "core/iblock_5/b"), ==, 0);
        g_assert_cmpint(cfs_write(cfs, "core/iblock_5/b/control", control), ==, 0);
        r = cfs_write(cfs, "core/iblock_5/b/enable", "1");
        g_assert_cmpint(cfs_rmdir(cfs, "core/iblock_5/b"), ==, 0);
        return r;
}

static void test_devices(void) {
        static const char *const links[] = { "/dev/disk/by-id/wwn-1", NULL };
        uint64_t seq = 0;

        setup();
        fake_block_add(&(FakeBlock) { .devnum = makedev(8, 1), .whole = makedev(8, 0), .node = "/dev/sda1", .size = 1 });
        fake_block_add(&(FakeBlock) { .devnum = makedev(8, 2), .whole = makedev(8, 0), .node = "/dev/sda2", .size = 1 });
        fake_block_add(&(FakeBlock) { .devnum = makedev(1, 3), .node = "/dev/null", .not_block = true });
        fake_block_add(&(FakeBlock) { .devnum = makedev(8, 32), .node = "/dev/sdc", .links = links, .size = 1 });

        g_assert_cmpint(enable("/dev/nothing", true), ==, -ENOENT);
        g_assert_cmpint(enable("/dev/null", true), ==, -ENOTBLK);
        g_assert_cmpint(enable("/dev/disk/by-id/wwn-1", true), ==, 0);
        g_assert_cmpint(enable("/dev/sda", true), ==, 0);

        fake_block_set_held(makedev(8, 32), true);
        g_assert_cmpint(enable("/dev/sdc", true), ==, -EBUSY);
        fake_block_set_held(makedev(8, 32), false);
        fake_block_set_read_only(makedev(8, 32), true);
        g_assert_cmpint(enable("/dev/sdc", true), ==, -EACCES);
        g_assert_cmpint(enable("/dev/sdc", false), ==, 0);

        up_backstore(HBA, STORE, "/dev/sda1");
        g_assert_cmpint(enable("/dev/sda1", true), ==, -EBUSY);
        g_assert_cmpint(enable("/dev/sda", true), ==, -EBUSY);
        g_assert_cmpint(enable("/dev/sda2", true), ==, 0);
        g_assert_cmpint(cfs_rmdir(cfs, STORE), ==, 0);
        g_assert_cmpint(enable("/dev/sda", true), ==, 0);

        g_assert_cmpint(cfs_block_diskseq(cfs, makedev(8, 1), &seq), ==, 0);
        g_assert_cmpuint(seq, ==, 3);
        g_assert_cmpint(cfs_block_diskseq(cfs, makedev(9, 9), &seq), ==, -ENODEV);

        /* Taken away under a backstore, and come back as another instance. */
        g_assert_cmpint(cfs_mkdir(cfs, STORE), ==, 0);
        g_assert_cmpint(cfs_write(cfs, STORE "/control", "udev_path=/dev/sdb"), ==, 0);
        g_assert_cmpint(cfs_write(cfs, STORE "/enable", "1"), ==, 0);
        fake_block_remove(makedev(8, 16));
        g_assert_cmpint(cfs_block_diskseq(cfs, makedev(8, 16), &seq), ==, -ENODEV);
        assert_text(STORE "/enable", "1");
        g_assert_cmpint(enable("/dev/sdb", true), ==, -ENOENT);
        fake_block_add_simple(makedev(8, 16), "/dev/sdb", 9);
        g_assert_cmpint(cfs_block_diskseq(cfs, makedev(8, 16), &seq), ==, 0);
        g_assert_cmpuint(seq, ==, 9);
        g_assert_cmpint(enable("/dev/sdb", true), ==, 0);
}

static void test_guest(void) {
        up();
        g_assert_cmpint(cfs_rmdir(cfs, TPG), ==, -ENOTEMPTY);
        g_assert_cmpint(fake_attach(TPG), ==, 0);
        g_assert_cmpint(fake_attach(TPG), ==, -EBUSY);
        g_assert_cmpint(cfs_rmdir(cfs, TPG), ==, -EBUSY);
        g_assert_cmpint(cfs_unlink(cfs, LUN "/x"), ==, 0);
        g_assert_cmpint(cfs_write(cfs, TPG "/nexus", "NULL"), ==, -EBUSY);
        g_assert_cmpint(fake_detach(TPG), ==, 0);
        g_assert_cmpint(cfs_write(cfs, TPG "/nexus", "NULL"), ==, 0);
        g_assert_cmpint(read_result(TPG "/nexus"), ==, -ENODEV);
        g_assert_cmpint(fake_attach(TPG), ==, -ENODEV);
        g_assert_cmpint(fake_set_value(LUN "/alua_tg_pt_status", "7"), ==, 0);
        g_assert_cmpint(fake_set_value(LUN "/nothing", "7"), ==, -ENOENT);
}

static void test_faults(void) {
        _cleanup_(strv_freep) char **journal = NULL;

        setup();
        fake_journal_clear();
        fake_fail(FAKE_MKDIR, "core/*", 2, -ENOMEM, 2);
        g_assert_cmpint(cfs_mkdir(cfs, "core/iblock_1"), ==, 0);
        g_assert_cmpint(cfs_mkdir(cfs, WWN), ==, 0);
        g_assert_cmpint(cfs_mkdir(cfs, "core/iblock_2"), ==, -ENOMEM);
        g_assert_cmpint(cfs_exists(cfs, "core/iblock_2"), ==, 0);
        g_assert_cmpint(cfs_mkdir(cfs, "core/iblock_2"), ==, -ENOMEM);
        g_assert_cmpint(cfs_mkdir(cfs, "core/iblock_2"), ==, 0);
        fake_fail(FAKE_ANY, "vhost*", 1, -EIO, FAKE_ALWAYS);
        g_assert_cmpint(list_result("vhost"), ==, -EIO);
        g_assert_cmpint(list_result("vhost"), ==, -EIO);
        g_assert_cmpint(list_result("core"), ==, 0);

        g_assert_cmpuint(fake_count(FAKE_MKDIR), ==, 5);
        g_assert_cmpuint(fake_count(FAKE_LIST), ==, 3);
        g_assert_cmpuint(fake_count(FAKE_MUTATING), ==, 5);
        journal = fake_journal();
        g_assert_cmpuint(strv_length(journal), ==, 5);
        g_assert_cmpstr(journal[0], ==, "mkdir core/iblock_1 -> 0");
        g_assert_cmpstr(journal[2], ==, "mkdir core/iblock_2 -> -ENOMEM");
}

static void test_death(void) {
        _cleanup_free_ char *before = NULL, *after = NULL;

        up();
        before = fake_snapshot(FAKE_SNAPSHOT_IDS);
        fake_die_after(1, FAKE_DEATH_ERROR);
        g_assert_cmpint(cfs_write(cfs, STORE "/alias", "x"), ==, 0);
        g_assert_false(fake_is_dead());
        g_assert_cmpint(cfs_write(cfs, STORE "/alias", "y"), ==, -ESHUTDOWN);
        g_assert_true(fake_is_dead());
        g_assert_cmpint(cfs_unlink(cfs, LUN "/x"), ==, -ESHUTDOWN);
        g_assert_cmpint(cfs_exists(cfs, LUN), ==, -ESHUTDOWN);
        fake_revive();
        assert_text(STORE "/alias", "x");
        g_assert_cmpint(cfs_write(cfs, STORE "/alias", ""), ==, -EFAULT);
        g_assert_cmpint(fake_set_value(STORE "/alias", ""), ==, 0);
        after = fake_snapshot(FAKE_SNAPSHOT_IDS);
        g_assert_cmpstr(before, ==, after);
}

static void test_snapshot(void) {
        _cleanup_free_ char *first = NULL, *second = NULL, *first_ids = NULL, *second_ids = NULL;

        up();
        first = fake_snapshot(FAKE_SNAPSHOT_STATE);
        first_ids = fake_snapshot(FAKE_SNAPSHOT_IDS);
        g_assert_nonnull(strstr(first, LUN "/x -> " STORE "\n"));
        g_assert_nonnull(strstr(first, TPG "/nexus = naa.5001405000000002\n"));

        g_assert_cmpint(cfs_unlink(cfs, LUN "/x"), ==, 0);
        g_assert_cmpint(cfs_symlink(cfs, STORE, LUN "/x"), ==, 0);
        second = fake_snapshot(FAKE_SNAPSHOT_STATE);
        second_ids = fake_snapshot(FAKE_SNAPSHOT_IDS);
        g_assert_cmpstr(first, ==, second);
        g_assert_cmpstr(first_ids, !=, second_ids);
}

/* --- waiting --- */

typedef struct Call {
        pthread_t thread;
        int (*function)(Cfs *c, const char *path);
        const char *path;
        int result;
        bool done;
} Call;

static int list_call(Cfs *c, const char *path) {
        return list_result(path);
}

static int read_call(Cfs *c, const char *path) {
        return read_result(path);
}

static int enable_call(Cfs *c, const char *path) {
        return cfs_write(c, path, "1");
}

static void *call_main(void *p) {
        Call *c = p;

        c->result = c->function(cfs, c->path);
        __atomic_store_n(&c->done, true, __ATOMIC_RELEASE);
        return NULL;
}

static void call_start(Call *c, int (*function)(Cfs *c, const char *path), const char *path) {
        *c = (Call) { .function = function, .path = path };
        g_assert_cmpint(pthread_create(&c->thread, NULL, call_main, c), ==, 0);
}

static int call_join(Call *c) {
        g_assert_cmpint(pthread_join(c->thread, NULL), ==, 0);
        return c->result;
}

static void test_suspended(void) {
        Call unlink_call, list, attribute, rmdir_call, luns;

        up();
        up_backstore("core/iblock_1", "core/iblock_1/other", "/dev/sdb");
        fake_block_set_suspended(makedev(8, 0), true);

        call_start(&unlink_call, cfs_unlink, LUN "/x");
        g_assert_true(fake_wait_hanging(1, 5000));
        call_start(&list, list_call, LUN);
        call_start(&attribute, read_call, LUN "/alua_tg_pt_offline");
        g_assert_true(fake_wait_hanging(3, 5000));

        /* Everything else goes on. */
        g_assert_cmpint(list_result(TPG "/lun"), ==, 0);
        g_assert_cmpint(list_result("vhost"), ==, 0);
        g_assert_cmpint(list_result("core"), ==, 0);
        g_assert_cmpint(read_result(STORE "/info"), ==, 0);
        g_assert_cmpint(cfs_exists(cfs, LUN), ==, 1);
        g_assert_cmpint(cfs_mkdir(cfs, TPG "/lun/lun_1"), ==, 0);
        g_assert_cmpint(cfs_symlink(cfs, "core/iblock_1/other", TPG "/lun/lun_1/x"), ==, 0);
        g_assert_cmpint(cfs_unlink(cfs, TPG "/lun/lun_1/x"), ==, 0);
        g_assert_cmpint(cfs_rmdir(cfs, STORE), ==, -EBUSY);
        g_assert_cmpint(cfs_rmdir(cfs, TPG), ==, -ENOTEMPTY);

        /* But removing the directory waits with the one above it locked. */
        call_start(&rmdir_call, cfs_rmdir, LUN);
        g_assert_true(fake_wait_hanging(4, 5000));
        call_start(&luns, list_call, TPG "/lun");
        g_assert_true(fake_wait_hanging(5, 5000));
        g_assert_false(__atomic_load_n(&unlink_call.done, __ATOMIC_ACQUIRE));

        fake_block_set_suspended(makedev(8, 0), false);
        g_assert_cmpint(call_join(&unlink_call), ==, 0);
        g_assert_cmpint(call_join(&rmdir_call), ==, 0);
        g_assert_cmpint(call_join(&luns), ==, 0);
        (void) call_join(&attribute);   /* -ENODEV, or -ENOENT after the rmdir */
        (void) call_join(&list);
        g_assert_cmpuint(fake_hanging(), ==, 0);
        g_assert_cmpint(cfs_exists(cfs, LUN), ==, 0);
}

static void test_hang(void) {
        Call enable_it, remove_it;

        setup();
        g_assert_cmpint(cfs_mkdir(cfs, HBA), ==, 0);
        g_assert_cmpint(cfs_mkdir(cfs, STORE), ==, 0);
        g_assert_cmpint(cfs_write(cfs, STORE "/control", "udev_path=/dev/sda"), ==, 0);
        fake_hang(FAKE_WRITE, "*/enable");
        call_start(&enable_it, enable_call, STORE "/enable");
        g_assert_true(fake_wait_hanging(1, 5000));
        assert_text(STORE "/enable", "0");
        call_start(&remove_it, cfs_rmdir, STORE);
        g_assert_true(fake_wait_hanging(2, 5000));
        fake_release();
        g_assert_cmpint(call_join(&enable_it), ==, 0);
        g_assert_cmpint(call_join(&remove_it), ==, 0);

        /* The call began before the death: it has its effect, and no one to tell. */
        up();
        fake_hang(FAKE_UNLINK, NULL);
        call_start(&remove_it, cfs_unlink, LUN "/x");
        g_assert_true(fake_wait_hanging(1, 5000));
        fake_die_after(0, FAKE_DEATH_ERROR);
        g_assert_cmpint(cfs_write(cfs, STORE "/alias", "x"), ==, -ESHUTDOWN);
        fake_release();
        g_assert_cmpint(call_join(&remove_it), ==, -ESHUTDOWN);
        fake_revive();
        g_assert_cmpint(cfs_exists(cfs, LUN "/x"), ==, 0);
}

/* --- children --- */

static void test_child(void) {
        int status;
        pid_t pid;

        up();
        pid = fork();
        if (pid == 0)
                _exit(cfs_write(cfs, STORE "/alias", "from the child") < 0);
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmpint(status, ==, 0);
        assert_text(STORE "/alias", "from the child");

        fake_die_after(1, FAKE_DEATH_KILL);
        pid = fork();
        if (pid == 0) {
                cfs_write(cfs, STORE "/alias", "one");
                cfs_write(cfs, STORE "/alias", "two");
                _exit(0);
        }
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        fake_revive();
        assert_text(STORE "/alias", "one");

        /* Killed while it hangs: the kernel ends the call all the same, when it can. */
        fake_block_set_suspended(makedev(8, 0), true);
        pid = fork();
        if (pid == 0)
                _exit(cfs_unlink(cfs, LUN "/x") < 0);
        g_assert_true(fake_wait_hanging(1, 5000));
        g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_cmpuint(fake_hanging(), ==, 1);
        assert_text(STORE "/info", "Status: ACTIVATED  Max Queue Depth: 0  SectorSize: 512  HwMaxSectors: 248\n"
                                   "        iBlock device: sda  UDEV PATH: /dev/sda  readonly: 0\n"
                                   "        Major: 8 Minor: 0  CLAIMED: IBLOCK");
        fake_block_set_suspended(makedev(8, 0), false);
        g_assert_cmpuint(fake_hanging(), ==, 0);
        g_assert_cmpint(cfs_exists(cfs, LUN "/x"), ==, 0);
}

static int up_and_down(Cfs *c, const char *name) {
        _cleanup_free_ char *hba = g_strdup_printf("core/iblock_%s", name), *store = g_strdup_printf("%s/b", hba);
        _cleanup_free_ char *lun = g_strdup_printf(TPG "/lun/lun_%s", name), *node = g_strdup_printf("udev_path=/dev/t%s", name);
        _cleanup_free_ char *control = g_strdup_printf("%s/control", store), *enable_path = g_strdup_printf("%s/enable", store);
        _cleanup_free_ char *link = g_strdup_printf("%s/x", lun);

        for (unsigned i = 0; i < 50; i++)
                if (cfs_mkdir(c, hba) < 0 || cfs_mkdir(c, store) < 0 || cfs_write(c, control, node) < 0 ||
                    cfs_write(c, enable_path, "1") < 0 || cfs_mkdir(c, lun) < 0 || cfs_symlink(c, store, link) < 0 ||
                    list_result(lun) < 0 || cfs_unlink(c, link) < 0 || cfs_rmdir(c, lun) < 0 || cfs_rmdir(c, store) < 0 ||
                    cfs_rmdir(c, hba) < 0)
                        return -EINVAL;

        return 0;
}

static void test_threads(void) {
        _cleanup_free_ char *before = NULL, *after = NULL;
        static const char *const names[] = { "1", "2", "3", "4", "5", "6", "7", "8" };
        Call calls[ELEMENTSOF(names)];

        setup();
        up_target();
        for (unsigned i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *node = g_strdup_printf("/dev/t%s", names[i]);

                fake_block_add_simple(makedev(9, i), node, i + 1);
        }

        before = fake_snapshot(FAKE_SNAPSHOT_STATE);
        for (unsigned i = 0; i < ELEMENTSOF(names); i++)
                call_start(&calls[i], up_and_down, names[i]);
        for (unsigned i = 0; i < ELEMENTSOF(names); i++)
                g_assert_cmpint(call_join(&calls[i]), ==, 0);
        after = fake_snapshot(FAKE_SNAPSHOT_STATE);
        g_assert_cmpstr(before, ==, after);
}

int main(int argc, char *argv[]) {
        int r;

        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/fake-cfs/order", test_order);
        g_test_add_func("/fake-cfs/names", test_names);
        g_test_add_func("/fake-cfs/exported", test_exported);
        g_test_add_func("/fake-cfs/devices", test_devices);
        g_test_add_func("/fake-cfs/guest", test_guest);
        g_test_add_func("/fake-cfs/faults", test_faults);
        g_test_add_func("/fake-cfs/death", test_death);
        g_test_add_func("/fake-cfs/snapshot", test_snapshot);
        g_test_add_func("/fake-cfs/suspended", test_suspended);
        g_test_add_func("/fake-cfs/hang", test_hang);
        g_test_add_func("/fake-cfs/child", test_child);
        g_test_add_func("/fake-cfs/threads", test_threads);

        r = g_test_run();
        cfs_free(cfs);
        return r;
}
