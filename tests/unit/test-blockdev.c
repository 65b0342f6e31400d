/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <sys/sysmacros.h>

#include "base/strv.h"
#include "kernel/blockdev.h"
#include "kernel/sysfs.h"
#include "tree.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>
#include <glib/gstdio.h>

/* A /sys of our own: <path>/dev has the numbers, <path>/<name> the devices. */
typedef struct Sys {
        char *path;
        int root_fd;
} Sys;

static void sys_set_up(Sys *s, const void *data) {
        g_autofree char *dev = NULL;

        s->path = g_dir_make_tmp("test-blockdev-XXXXXX", NULL);
        g_assert_nonnull(s->path);
        dev = g_build_filename(s->path, "dev", NULL);
        g_assert_cmpint(g_mkdir(dev, 0700), ==, 0);
        s->root_fd = open(dev, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        g_assert_cmpint(s->root_fd, >=, 0);
}

static void sys_tear_down(Sys *s, const void *data) {
        close(s->root_fd);
        tree_remove(s->path);
        g_free(s->path);
}

static void sys_write(Sys *s, const char *device, const char *attribute, const char *value) {
        g_autofree char *path = g_build_filename(s->path, device, attribute, NULL), *dir = g_path_get_dirname(path);
        g_autofree char *line = g_strconcat(value, "\n", NULL);

        g_assert_cmpint(g_mkdir_with_parents(dir, 0700), ==, 0);
        g_assert_true(g_file_set_contents(path, line, -1, NULL));
}

static void sys_link(Sys *s, const char *target, const char *name) {
        g_autofree char *path = g_build_filename(s->path, name, NULL), *full = g_build_filename(s->path, target, NULL);
        g_autofree char *dir = g_path_get_dirname(path);

        g_assert_cmpint(g_mkdir_with_parents(dir, 0700), ==, 0);
        g_assert_cmpint(symlink(full, path), ==, 0);
}

/* device: "sda" or "sda/sda1"; number: "8:0" */
static void sys_add(Sys *s, const char *device, const char *number, const char *sectors) {
        g_autofree char *link = g_strconcat("dev/", number, NULL);

        sys_write(s, device, "dev", number);
        sys_write(s, device, "size", sectors);
        sys_write(s, device, "ro", "0");
        sys_link(s, device, link);
}

static void sys_add_disk(Sys *s, const char *device, const char *number, const char *diskseq) {
        sys_add(s, device, number, "2048");
        sys_write(s, device, "diskseq", diskseq);
        sys_write(s, device, "queue/logical_block_size", "4096");
        sys_write(s, device, "queue/zoned", "none");
}

static void sys_add_map(Sys *s, const char *device, const char *number, const char *name, const char *uuid) {
        sys_add_disk(s, device, number, "20");
        sys_write(s, device, "dm/name", name);
        sys_write(s, device, "dm/uuid", uuid);
        sys_write(s, device, "dm/suspended", "0");
}

static void sys_hold(Sys *s, const char *device, const char *holder) {
        g_autofree char *up = g_strconcat(device, "/holders/", holder, NULL), *name = g_path_get_basename(device);
        g_autofree char *down = g_strconcat(holder, "/slaves/", name, NULL);

        sys_link(s, holder, up);
        sys_link(s, device, down);
}

static Device *read_back(Sys *s, const BlockdevFacts *f) {
        _cleanup_close_ int dirfd = sysfs_open_block(s->root_fd, f->devnum);
        Device *d = NULL;

        g_assert_cmpint(dirfd, >=, 0);
        g_assert_cmpint(blockdev_read(dirfd, f, &d), ==, 0);
        return d;
}

static void assert_reads(Sys *s, const BlockdevFacts *f, DeviceVerdict verdict, DeviceHealth health) {
        _cleanup_(device_freep) Device *d = read_back(s, f);
        g_autofree char *detail = NULL;

        g_assert_cmpstr(device_verdict_to_string(device_verdict(d, &detail)), ==, device_verdict_to_string(verdict));
        g_assert_cmpstr(device_health_to_string(device_health(d, true, false)), ==, device_health_to_string(health));
        g_assert_cmpint(verdict == DEVICE_USABLE, ==, detail == NULL);
}

#define LINKS(...) ((char *const[]) { __VA_ARGS__, NULL })
#define L(s) ((char *) "/dev/disk/" s)

static void test_disk(Sys *s, const void *data) {
        BlockdevFacts f = {
                .devnum = makedev(8, 0), .name = "sda", .node = "/dev/sda", .initialized = true, .valid_paths = -1,
                .links = LINKS(L("by-id/wwn-0x600a"), L("by-id/scsi-3600a"), L("by-diskseq/14")),
                .properties = { [BLOCKDEV_ID_BUS] = "scsi", [BLOCKDEV_ID_SERIAL] = "3600a" },
        };
        _cleanup_(device_freep) Device *d = NULL;

        sys_add_disk(s, "sda", "8:0", "14");
        sys_write(s, "sda", "device/model", "DISK 9000       ");
        sys_write(s, "sda", "ro", "1");

        d = read_back(s, &f);
        g_assert_cmpint(d->kind, ==, DEVICE_DISK);
        g_assert_cmpstr(d->identity, ==, "wwid=3600a");
        g_assert_cmpstr(d->link, ==, "/dev/disk/by-id/wwn-0x600a");
        g_assert_cmpstr(d->name, ==, "sda");
        g_assert_cmpstr(d->model, ==, "DISK 9000");
        g_assert_cmpuint(d->diskseq, ==, 14);
        g_assert_cmpuint(d->size, ==, 1048576);
        g_assert_cmpuint(d->block_size, ==, 4096);
        g_assert_true(d->stable && d->initialized && d->ready && d->read_only);
        g_assert_null(d->path_of);
        g_assert_cmpint(device_verdict(d, NULL), ==, DEVICE_USABLE);

        /* ID_SERIAL of ATA is model and serial: left to the by-id links. */
        device_free(TAKE_PTR(d));
        f.properties[BLOCKDEV_ID_BUS] = "ata";
        f.properties[BLOCKDEV_ID_SCSI] = "1";
        d = read_back(s, &f);
        g_assert_cmpstr(d->identity, ==, "by-id=wwn-0x600a");

        /* By sg3-utils' rules. */
        device_free(TAKE_PTR(d));
        f.properties[BLOCKDEV_ID_BUS] = NULL;
        d = read_back(s, &f);
        g_assert_cmpstr(d->identity, ==, "wwid=3600a");
}

static void test_not_initialized(Sys *s, const void *data) {
        BlockdevFacts f = {
                .devnum = makedev(8, 0), .name = "sda", .node = "/dev/sda", .initialized = true, .valid_paths = -1,
                .links = LINKS(L("by-id/wwn-0x600a"), L("by-diskseq/13")),
                .properties = { [BLOCKDEV_ID_BUS] = "scsi", [BLOCKDEV_ID_SERIAL] = "3600a" },
        };
        _cleanup_(device_freep) Device *stale = NULL, *md = NULL, *event = NULL;

        sys_add_disk(s, "sda", "8:0", "14");

        /* What udev has is of the instance before. */
        stale = read_back(s, &f);
        g_assert_false(stale->initialized);
        g_assert_cmpstr(stale->identity, ==, "path=/dev/sda");
        g_assert_cmpint(device_verdict(stale, NULL), ==, DEVICE_NOT_READY);

        /* md counts after its event. */
        f.properties[BLOCKDEV_ID_IGNORE_DISKSEQ] = "1";
        md = read_back(s, &f);
        g_assert_true(md->initialized);

        f.properties[BLOCKDEV_ID_IGNORE_DISKSEQ] = NULL;
        f.links = NULL;
        f.event_diskseq = 13;
        event = read_back(s, &f);
        g_assert_false(event->initialized);

        f.event_diskseq = 14;
        assert_reads(s, &f, DEVICE_USABLE, HEALTH_OK);
        f.initialized = false;
        assert_reads(s, &f, DEVICE_NOT_READY, HEALTH_OK);
}

static void test_kinds(Sys *s, const void *data) {
        static const struct {
                const char *name;
                bool fine;
        } table[] = {
                { "sr0", false }, { "fd0", false }, { "zram0", false }, { "ram0", true }, { "loop0", true }, { "nullb0", true },
                { "nbd0", true }, { "md0", true }, { "vda", true }, { "xvda", true }, { "mmcblk0", true }, { "srx", true },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                g_autofree char *node = g_strconcat("/dev/", table[i].name, NULL), *number = g_strdup_printf("240:%zu", i);
                BlockdevFacts f = {
                        .devnum = makedev(240, (unsigned) i), .name = table[i].name, .node = node, .initialized = true, .valid_paths = -1,
                };

                sys_add_disk(s, table[i].name, number, "1");
                assert_reads(s, &f, table[i].fine ? DEVICE_USABLE : DEVICE_UNSUITABLE, HEALTH_OK);
                sys_write(s, table[i].name, "queue/zoned", "host-managed");
                assert_reads(s, &f, DEVICE_UNSUITABLE, HEALTH_OK);
                sys_write(s, table[i].name, "size", "0");
                assert_reads(s, &f, DEVICE_NOT_READY, HEALTH_OK);
        }
}

/* A rule's wish: as it stands there, of this instance only, with the disk of a partition. */
static void test_wish(Sys *s, const void *data) {
        BlockdevFacts f = {
                .devnum = makedev(8, 0), .name = "sda", .node = "/dev/sda", .initialized = true, .valid_paths = -1,
                .properties = {
                        [BLOCKDEV_VHOSTSCSI_TARGET] = "seed:a b\n",
                        [BLOCKDEV_VHOSTSCSI_LUN] = "-1",
                        [BLOCKDEV_VHOSTSCSI_READONLY] = "",
                },
        };
        _cleanup_(device_freep) Device *wished = NULL, *stale = NULL, *none = NULL, *partition = NULL;

        sys_add_disk(s, "sda", "8:0", "14");
        wished = read_back(s, &f);
        g_assert_cmpstr(wished->wish_target, ==, "seed:a b\n");
        g_assert_cmpstr(wished->wish_number, ==, "-1");
        g_assert_null(wished->wish_readonly);
        g_assert_cmpuint(wished->disk, ==, 0);

        f.event_diskseq = 13;
        stale = read_back(s, &f);
        g_assert_null(stale->wish_target);
        g_assert_false(device_equal(wished, stale));

        f.event_diskseq = 0;
        f.properties[BLOCKDEV_VHOSTSCSI_TARGET] = "";
        none = read_back(s, &f);
        g_assert_null(none->wish_target);
        g_assert_null(none->wish_number);

        sys_add(s, "sda/sda1", "8:1", "1024");
        f.devnum = makedev(8, 1);
        f.name = "sda1";
        f.node = "/dev/sda1";
        f.partition = true;
        f.properties[BLOCKDEV_VHOSTSCSI_TARGET] = "naa.5001405aaaaaaaaa";
        partition = read_back(s, &f);
        g_assert_cmpstr(partition->wish_target, ==, "naa.5001405aaaaaaaaa");
        g_assert_cmpuint(partition->disk, ==, makedev(8, 0));
}

static void test_nvme(Sys *s, const void *data) {
        BlockdevFacts f = {
                .devnum = makedev(259, 0), .name = "nvme0n1", .node = "/dev/nvme0n1", .initialized = true, .valid_paths = -1,
                .properties = { [BLOCKDEV_ID_WWN] = "eui.old" },
        };
        _cleanup_(device_freep) Device *by_udev = NULL, *by_kernel = NULL;

        sys_add_disk(s, "nvme0n1", "259:0", "3");
        by_udev = read_back(s, &f);
        g_assert_cmpstr(by_udev->identity, ==, "wwid=eui.old");

        sys_write(s, "nvme0n1", "wwid", "eui.0025");
        by_kernel = read_back(s, &f);
        g_assert_cmpstr(by_kernel->identity, ==, "wwid=eui.0025");
}

static void test_partition(Sys *s, const void *data) {
        BlockdevFacts f = {
                .devnum = makedev(8, 1), .name = "sda1", .node = "/dev/sda1", .partition = true, .initialized = true, .valid_paths = -1,
                .links = LINKS(L("by-id/wwn-0x600a-part1"), L("by-diskseq/14-part1")),
                .properties = { [BLOCKDEV_ID_BUS] = "scsi", [BLOCKDEV_ID_SERIAL] = "3600a" },
        };
        _cleanup_(device_freep) Device *d = NULL, *path = NULL;

        sys_add_disk(s, "sda", "8:0", "14");
        sys_add(s, "sda/sda1", "8:1", "8");
        sys_write(s, "sda/sda1", "partition", "1");

        d = read_back(s, &f);
        g_assert_cmpint(d->kind, ==, DEVICE_PARTITION);
        g_assert_cmpstr(d->identity, ==, "by-id=wwn-0x600a-part1");
        g_assert_false(strv_contains(d->keys, "wwid=3600a"));
        g_assert_cmpuint(d->diskseq, ==, 14);
        g_assert_cmpuint(d->block_size, ==, 4096);
        g_assert_cmpuint(d->size, ==, 4096);
        g_assert_cmpint(device_verdict(d, NULL), ==, DEVICE_USABLE);

        sys_add_map(s, "dm-0", "254:0", "mpatha", "mpath-3600a");
        sys_hold(s, "sda", "dm-0");
        path = read_back(s, &f);
        g_assert_true(path->path_member);
        g_assert_cmpstr(path->path_of, ==, "mpatha");
}

static void test_path(Sys *s, const void *data) {
        BlockdevFacts f = {
                .devnum = makedev(8, 0), .name = "sda", .node = "/dev/sda", .initialized = true, .valid_paths = -1,
                .properties = { [BLOCKDEV_DM_MULTIPATH_DEVICE_PATH] = "1" },
        };
        _cleanup_(device_freep) Device *early = NULL, *d = NULL, *lvm = NULL;

        sys_add_disk(s, "sda", "8:0", "14");
        early = read_back(s, &f);
        g_assert_true(early->path_member);
        g_assert_cmpstr(early->path_of, ==, "");

        /* LVM on a disk makes no path of it. */
        f.properties[BLOCKDEV_DM_MULTIPATH_DEVICE_PATH] = "0";
        sys_add_map(s, "dm-1", "254:1", "vg-lv", "LVM-x");
        sys_hold(s, "sda", "dm-1");
        lvm = read_back(s, &f);
        g_assert_false(lvm->path_member);
        g_assert_null(lvm->path_of);

        /* udev does not know yet, the kernel does. */
        sys_add_map(s, "dm-2", "254:2", "mpath\xff" "a", "mpath-3600a");
        sys_hold(s, "sda", "dm-2");
        d = read_back(s, &f);
        g_assert_true(d->path_member);
        g_assert_cmpstr(d->path_of, ==, "mpath?a");
}

/* The life of a multipath map, with what multipath-tools' rules make of it. */
static void test_multipath(Sys *s, const void *data) {
        BlockdevFacts f = {
                .devnum = makedev(254, 0), .name = "dm-0", .node = "/dev/dm-0", .initialized = true, .valid_paths = -1,
                .properties = { [BLOCKDEV_DM_UDEV_DISABLE_OTHER_RULES_FLAG] = "1" },
        };
        _cleanup_(device_freep) Device *d = NULL;

        sys_add_map(s, "dm-0", "254:0", "mpatha", "mpath-3600a");
        sys_write(s, "dm-0", "size", "0");
        sys_add_disk(s, "sda", "8:0", "1");
        sys_add_disk(s, "sdb", "8:16", "2");
        sys_hold(s, "sda", "dm-0");
        sys_hold(s, "sdb", "dm-0");

        /* Added, without a table; then with one, and suspended; then activated. */
        assert_reads(s, &f, DEVICE_NOT_READY, HEALTH_OK);
        sys_write(s, "dm-0", "size", "2048");
        assert_reads(s, &f, DEVICE_NOT_READY, HEALTH_OK);
        sys_write(s, "dm-0", "dm/suspended", "1");
        assert_reads(s, &f, DEVICE_NOT_READY, HEALTH_SUSPENDED);
        sys_write(s, "dm-0", "dm/suspended", "0");
        f.properties[BLOCKDEV_DM_UDEV_DISABLE_OTHER_RULES_FLAG] = NULL;
        f.properties[BLOCKDEV_DM_UDEV_PRIMARY_SOURCE_FLAG] = "1";
        f.properties[BLOCKDEV_DM_SUSPENDED] = "0";
        assert_reads(s, &f, DEVICE_USABLE, HEALTH_OK);

        /* A path fails: the rules say "not ready" by that flag, the map is. */
        f.properties[BLOCKDEV_DM_UDEV_DISABLE_OTHER_RULES_FLAG] = "1";
        f.valid_paths = 1;
        assert_reads(s, &f, DEVICE_USABLE, HEALTH_DEGRADED);
        f.valid_paths = 0;
        assert_reads(s, &f, DEVICE_USABLE, HEALTH_NO_PATH);
        f.valid_paths = 2;
        assert_reads(s, &f, DEVICE_USABLE, HEALTH_OK);
        f.valid_paths = INT32_MAX;
        assert_reads(s, &f, DEVICE_USABLE, HEALTH_OK);

        /* Nobody told: the states of the paths do. */
        f.valid_paths = -1;
        sys_write(s, "sda", "device/state", "offline");
        sys_write(s, "sdb", "device/state", "running");
        assert_reads(s, &f, DEVICE_USABLE, HEALTH_DEGRADED);
        sys_write(s, "sdb", "device/state", "transport-offline");
        assert_reads(s, &f, DEVICE_USABLE, HEALTH_NO_PATH);
        sys_write(s, "sda", "device/state", "blocked");
        sys_write(s, "sdb", "device/state", "running");
        assert_reads(s, &f, DEVICE_USABLE, HEALTH_OK);

        /* A reload: suspended for a moment, and udev may have looked in that moment. */
        sys_write(s, "dm-0", "dm/suspended", "1");
        assert_reads(s, &f, DEVICE_NOT_READY, HEALTH_SUSPENDED);
        f.properties[BLOCKDEV_DM_SUSPENDED] = "1";
        sys_write(s, "dm-0", "dm/suspended", "0");
        assert_reads(s, &f, DEVICE_NOT_READY, HEALTH_OK);
        f.properties[BLOCKDEV_DM_SUSPENDED] = "0";

        /* udev's word for UUID and name may be gone (an event DISK_RO): the kernel's is not. */
        f.valid_paths = 2;
        d = read_back(s, &f);
        g_assert_cmpint(d->kind, ==, DEVICE_MULTIPATH);
        g_assert_cmpstr(d->identity, ==, "dm-uuid=mpath-3600a");
        g_assert_cmpstr(d->dm_name, ==, "mpatha");
        g_assert_true(strv_contains(d->keys, "wwid=3600a"));
        g_assert_true(strv_contains(d->keys, "path=/dev/mapper/mpatha"));
        g_assert_cmpint(d->valid_paths, ==, 2);
        g_assert_cmpint(d->total_paths, ==, 2);

        /* All path disks were deleted. */
        {
                g_autofree char *slaves = g_build_filename(s->path, "dm-0/slaves", NULL);

                tree_remove(slaves);
        }
        assert_reads(s, &f, DEVICE_USABLE, HEALTH_NO_PATH);
}

static void test_map(Sys *s, const void *data) {
        BlockdevFacts f = {
                .devnum = makedev(254, 0), .name = "dm-0", .node = "/dev/dm-0", .initialized = true, .valid_paths = -1,
                .properties = { [BLOCKDEV_DM_UDEV_PRIMARY_SOURCE_FLAG] = "1", [BLOCKDEV_DM_UDEV_DISABLE_OTHER_RULES_FLAG] = "1" },
        };
        _cleanup_(device_freep) Device *d = NULL;

        /* A private volume of LVM, which has the flag for ever. */
        sys_add_map(s, "dm-0", "254:0", "vg0-pool_tmeta", "LVM-abc-tmeta");
        assert_reads(s, &f, DEVICE_NOT_READY, HEALTH_OK);

        f.properties[BLOCKDEV_DM_UDEV_DISABLE_OTHER_RULES_FLAG] = "";
        d = read_back(s, &f);
        g_assert_cmpint(d->kind, ==, DEVICE_MAP);
        g_assert_cmpint(device_verdict(d, NULL), ==, DEVICE_USABLE);
        g_assert_cmpint(d->total_paths, ==, -1);
}

static void test_hostile(Sys *s, const void *data) {
        g_autofree char *huge = g_strnfill(100000, '9');
        BlockdevFacts f = {
                .devnum = makedev(254, 0), .name = "dm-0", .node = "/dev/dm-0", .initialized = true, .valid_paths = 1 << 30,
                .links = LINKS(huge, (char *) "", L("by-id/a,b"), L("by-diskseq/x"), L("by-id/\xff")),
        };
        _cleanup_(device_freep) Device *d = NULL;

        for (BlockdevProperty p = 0; p < _BLOCKDEV_PROPERTY_MAX; p++) {
                g_assert_nonnull(blockdev_property_names[p]);
                f.properties[p] = huge;
        }

        sys_add_map(s, "dm-0", "254:0", "a\n,b\xff", "mpath-\xff");
        sys_write(s, "dm-0", "size", huge);
        sys_write(s, "dm-0", "diskseq", "-1");
        sys_write(s, "dm-0", "queue/logical_block_size", "99999999999");

        d = read_back(s, &f);
        g_assert_cmpuint(d->size, ==, 0);
        g_assert_cmpuint(d->block_size, ==, 512);
        g_assert_cmpuint(d->diskseq, ==, 0);
        g_assert_cmpstr(d->identity, ==, "path=/dev/dm-0");
        g_assert_cmpstr(d->dm_name, ==, "a?,b?");
        g_assert_false(d->stable);
}

static void test_vanished(Sys *s, const void *data) {
        BlockdevFacts f = { .devnum = makedev(8, 0), .name = "sda", .node = "/dev/sda", .initialized = true, .valid_paths = -1 };
        _cleanup_close_ int dirfd = -EBADF;
        g_autofree char *path = g_build_filename(s->path, "sda", NULL);
        Device *d = NULL;

        g_assert_cmpint(sysfs_open_block(s->root_fd, makedev(8, 0)), ==, -ENODEV);

        sys_add_disk(s, "sda", "8:0", "14");
        dirfd = sysfs_open_block(s->root_fd, makedev(8, 0));
        g_assert_cmpint(dirfd, >=, 0);
        tree_remove(path);
        g_assert_cmpint(blockdev_read(dirfd, &f, &d), ==, -ENODEV);
        g_assert_cmpint(sysfs_open_block(s->root_fd, makedev(8, 0)), ==, -ENODEV);

        /* Another one in its place is not taken for it. */
        g_assert_cmpint(g_mkdir(path, 0700), ==, 0);
        sys_write(s, "sda", "dev", "8:0");
        g_assert_cmpint(blockdev_read(dirfd, &f, &d), ==, -ENODEV);
        g_assert_null(d);
}

static void test_stack(Sys *s, const void *data) {
        _cleanup_(strv_freep) char **holders = NULL, **all = NULL, **none = NULL;
        _cleanup_close_ int dirfd = -EBADF, part = -EBADF, free_disk = -EBADF;
        _cleanup_free_ char *map = NULL;
        _cleanup_free_ dev_t *stack = NULL, *absent = NULL;
        size_t n;

        /* sda: sda1 in md0, sda2 in vg/a and v-g/b (its inner layer), which md0 stands on as well */
        sys_add_disk(s, "sda", "8:0", "1");
        sys_add_disk(s, "sdb", "8:16", "3");
        sys_add(s, "sda/sda1", "8:1", "8");
        sys_write(s, "sda/sda1", "partition", "1");
        sys_add(s, "sda/sda2", "8:2", "8");
        sys_write(s, "sda/sda2", "partition", "2");
        sys_add_disk(s, "md0", "9:0", "2");
        sys_add_map(s, "dm-0", "254:0", "vg-a", "LVM-a");
        sys_add_map(s, "dm-1", "254:1", "v--g-b-real", "LVM-b");
        sys_hold(s, "sda/sda1", "md0");
        sys_hold(s, "sda/sda2", "dm-0");
        sys_hold(s, "sda/sda2", "dm-1");
        sys_hold(s, "dm-1", "md0");
        sys_hold(s, "md0", "dm-0");
        sys_hold(s, "dm-0", "dm-1");    /* a circle that no kernel makes */

        g_assert_cmpint(sysfs_stack(s->root_fd, makedev(8, 0), &stack, &n), ==, 0);
        g_assert_cmpuint(n, ==, 6);
        g_assert_cmpuint(stack[0], ==, makedev(8, 0));
        for (size_t i = 0; i < n; i++)
                for (size_t k = 0; k < i; k++)
                        g_assert_cmpuint(stack[i], !=, stack[k]);

        g_assert_cmpint(sysfs_stack(s->root_fd, makedev(1, 1), &absent, &n), ==, 0);
        g_assert_cmpuint(n, ==, 1);

        dirfd = sysfs_open_block(s->root_fd, makedev(8, 0));
        g_assert_cmpint(sysfs_holders(dirfd, &all), ==, 0);
        g_assert_cmpuint(strv_length(all), ==, 3);
        g_assert_cmpstr(all[0], ==, "LVM volume v-g/b");
        g_assert_cmpstr(all[1], ==, "LVM volume vg/a");
        g_assert_cmpstr(all[2], ==, "md0");

        free_disk = sysfs_open_block(s->root_fd, makedev(8, 16));
        g_assert_cmpint(sysfs_holders(free_disk, &none), ==, 0);
        g_assert_cmpuint(strv_length(none), ==, 0);
        g_assert_nonnull(none);

        part = sysfs_open_block(s->root_fd, makedev(8, 2));
        g_assert_cmpint(sysfs_holders(part, &holders), ==, 0);
        g_assert_cmpuint(strv_length(holders), ==, 2);
        g_assert_cmpstr(holders[0], ==, "LVM volume v-g/b");
        g_assert_cmpstr(holders[1], ==, "LVM volume vg/a");
        g_assert_cmpint(sysfs_multipath_holder(part, &map), ==, 0);
        g_assert_null(map);
}

int main(int argc, char *argv[]) {
        static const struct {
                const char *name;
                void (*test)(Sys *, const void *);
        } tests[] = {
                { "/blockdev/disk", test_disk },
                { "/blockdev/not-initialized", test_not_initialized },
                { "/blockdev/kinds", test_kinds },
                { "/blockdev/nvme", test_nvme },
                { "/blockdev/partition", test_partition },
                { "/blockdev/wish", test_wish },
                { "/blockdev/path", test_path },
                { "/blockdev/multipath", test_multipath },
                { "/blockdev/map", test_map },
                { "/blockdev/hostile", test_hostile },
                { "/blockdev/vanished", test_vanished },
                { "/blockdev/stack", test_stack },
        };

        g_test_init(&argc, &argv, NULL);

        for (size_t i = 0; i < ELEMENTSOF(tests); i++)
                g_test_add(tests[i].name, Sys, NULL, sys_set_up, tests[i].test, sys_tear_down);

        return g_test_run();
}
