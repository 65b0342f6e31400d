/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <unistd.h>

#include "kernel/mount-point.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>

/* A table that somebody else might have. No device of it is here, so none has a UUID. */
static const char mountinfo[] =
        "20 1 254:0 / / rw shared:1 - ext4 /dev/nosuch0 rw\n"
        "21 20 254:1 / /whole rw - ext4 /dev/nosuch1 rw\n"
        "22 20 254:1 /one /one rw - ext4 /dev/nosuch1 rw\n"
        "23 20 254:1 /two /two rw - ext4 /dev/nosuch1 rw\n"
        "24 20 0:50 /@home /sub\\040volume rw - btrfs /dev/nosuch2 rw\n"
        "25 20 0:51 / /late rw - ext4 /dev/nosuch3 rw\n"
        "26 25 0:52 / /late rw - xfs /dev/nosuch4 rw\n"
        "27 20 0:21 / /proc rw - proc proc rw\n"
        "28 20 0:53 / /far rw - nfs4 host:/x rw\n";

static MountTable *table;

static void assert_is(const char *path, const char *target, const char *filesystem) {
        _cleanup_(mount_point_done) MountPoint p = {};

        g_assert_cmpint(mount_table_find(table, path, &p), ==, 0);
        g_assert_cmpstr(p.target, ==, target);
        g_assert_cmpstr(p.filesystem, ==, filesystem);
        g_assert_cmpint(p.pseudo, ==, g_str_equal(target, "/proc"));
        g_assert_cmpint(p.network, ==, g_str_equal(target, "/far"));
}

static void test_names(void) {
        assert_is("/srv/x", "/", "ext4:/dev/nosuch0");
        assert_is("/wholesale", "/", "ext4:/dev/nosuch0");
        assert_is("/late/x", "/late", "xfs:/dev/nosuch4");
        assert_is("/proc/version", "/proc", "proc:proc");
        assert_is("/far/x", "/far", "nfs4:host:/x");
}

/* One filesystem, and three things that a file may be on. */
static void test_parts(void) {
        assert_is("/whole/disk.img", "/whole", "ext4:/dev/nosuch1");
        assert_is("/one/disk.img", "/one", "ext4:/dev/nosuch1:/one");
        assert_is("/two/disk.img", "/two", "ext4:/dev/nosuch1:/two");
        assert_is("/sub volume/disk.img", "/sub volume", "btrfs:/dev/nosuch2:/@home");
}

int main(int argc, char *argv[]) {
        char path[] = "/tmp/vhscsid-mountinfo-XXXXXX";
        int fd, r;

        g_test_init(&argc, &argv, NULL);
        fd = mkstemp(path);
        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(write(fd, mountinfo, sizeof mountinfo - 1), ==, sizeof mountinfo - 1);
        g_assert_cmpint(mount_table_read(path, &table), ==, 0);
        close(fd);
        unlink(path);

        g_test_add_func("/mount-point/names", test_names);
        g_test_add_func("/mount-point/parts", test_parts);

        r = g_test_run();
        mount_table_free(table);
        return r;
}
