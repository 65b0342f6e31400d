/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/strv.h"
#include "model/identity.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>

static Device *usable_new(DeviceKind kind) {
        Device *d = device_new();

        g_assert_nonnull(d);
        d->devnum = 0x810;
        d->kind = kind;
        d->name = strdup("sdb");
        d->node = strdup("/dev/sdb");
        d->identity = strdup("wwid=3600");
        g_assert_cmpint(strv_extend(&d->keys, "wwid=3600"), ==, 0);
        d->link = strdup("/dev/disk/by-id/wwn-0x600");
        d->dm_name = strdup("mpatha");
        d->path_of = strdup("mpatha");
        d->model = strdup("Disk");
        d->diskseq = 7;
        d->size = 1 << 20;
        d->block_size = 512;
        d->valid_paths = d->total_paths = 2;
        d->stable = d->initialized = d->ready = true;
        return d;
}

static void test_new(void) {
        _cleanup_(device_freep) Device *d = device_new();

        g_assert_cmpint(d->valid_paths, ==, -1);
        g_assert_cmpint(d->total_paths, ==, -1);
        g_assert_null(device_free(NULL));
}

static void test_equal(void) {
#define DIFFERS(statement)                                                              \
        ({                                                                              \
                _cleanup_(device_freep) Device *a = usable_new(DEVICE_MULTIPATH);       \
                _cleanup_(device_freep) Device *b = usable_new(DEVICE_MULTIPATH);       \
                g_assert_true(device_equal(a, b));                                      \
                statement;                                                              \
                g_assert_false(device_equal(a, b));                                     \
                g_assert_false(device_equal(b, a));                                     \
        })

        DIFFERS(b->devnum++);
        DIFFERS(b->kind = DEVICE_MAP);
        DIFFERS(b->name[0] = 'x');
        DIFFERS(b->node[0] = 'x');
        DIFFERS(b->identity[0] = 'x');
        DIFFERS(b->keys[0][0] = 'x');
        DIFFERS(g_assert_cmpint(strv_extend(&b->keys, "x"), ==, 0));
        DIFFERS(b->link[0] = 'x');
        DIFFERS(b->place = strdup("x"));
        DIFFERS(b->dm_name[0] = 'x');
        DIFFERS(b->path_of[0] = 'x');
        DIFFERS(b->model[0] = 'x');
        DIFFERS(free(TAKE_PTR(b->model)));
        DIFFERS(b->diskseq++);
        DIFFERS(b->size++);
        DIFFERS(b->block_size++);
        DIFFERS(b->valid_paths--);
        DIFFERS(b->total_paths--);
        DIFFERS(b->stable = false);
        DIFFERS(b->initialized = false);
        DIFFERS(b->ready = false);
        DIFFERS(b->suspended = true);
        DIFFERS(b->read_only = true);
        DIFFERS(b->path_member = true);
        DIFFERS(b->ignored = true);
        DIFFERS(b->unsuitable = true);
#undef DIFFERS
}

static void assert_verdict(const Device *d, DeviceVerdict v, const char *detail) {
        g_autofree char *text = NULL;

        g_assert_cmpint(device_verdict(d, &text), ==, v);
        g_assert_cmpstr(text, ==, detail);
        g_assert_cmpint(device_verdict(d, NULL), ==, v);
}

/* Each next obstacle comes before those that are there already. */
static void test_verdict(void) {
        _cleanup_(device_freep) Device *d = usable_new(DEVICE_MAP);

        assert_verdict(d, DEVICE_USABLE, NULL);
        d->unsuitable = true;
        assert_verdict(d, DEVICE_UNSUITABLE, "a zoned disk");
        d->path_member = true;
        assert_verdict(d, DEVICE_PATH_MEMBER, "path of multipath map mpatha");
        d->path_of[0] = 0;
        assert_verdict(d, DEVICE_PATH_MEMBER, "path of a multipath map");
        d->ignored = true;
        assert_verdict(d, DEVICE_IGNORED, "hidden by VHOSTSCSI_IGNORE");
        d->ready = false;
        assert_verdict(d, DEVICE_NOT_READY, "not released by device-mapper's udev rules");
        d->suspended = true;
        assert_verdict(d, DEVICE_NOT_READY, "suspended");
        d->size = 0;
        assert_verdict(d, DEVICE_NOT_READY, "no table yet");
        d->initialized = false;
        assert_verdict(d, DEVICE_NOT_READY, "udev has not processed it yet");
}

static void test_verdict_disk(void) {
        _cleanup_(device_freep) Device *d = usable_new(DEVICE_DISK);

        d->size = 0;
        assert_verdict(d, DEVICE_NOT_READY, "size is 0");
        d->size = 512;
        d->unsuitable = true;
        strcpy(d->name, "sr0");
        assert_verdict(d, DEVICE_UNSUITABLE, "a CD-ROM drive");

        /* A map that has lost its paths is a matter of health. */
        d->unsuitable = false;
        d->kind = DEVICE_MULTIPATH;
        d->valid_paths = 0;
        d->read_only = true;
        assert_verdict(d, DEVICE_USABLE, NULL);
}

static void test_health(void) {
        _cleanup_(device_freep) Device *d = usable_new(DEVICE_MULTIPATH);

        g_assert_cmpint(device_health(NULL, true, true), ==, HEALTH_GONE);
        g_assert_cmpint(device_health(NULL, true, false), ==, HEALTH_UNKNOWN);
        g_assert_cmpint(device_health(d, true, false), ==, HEALTH_OK);
        d->valid_paths = 1;
        g_assert_cmpint(device_health(d, true, false), ==, HEALTH_DEGRADED);
        d->read_only = true;
        g_assert_cmpint(device_health(d, true, false), ==, HEALTH_READ_ONLY);
        g_assert_cmpint(device_health(d, false, false), ==, HEALTH_DEGRADED);
        d->valid_paths = 0;
        g_assert_cmpint(device_health(d, true, false), ==, HEALTH_NO_PATH);
        d->suspended = true;
        g_assert_cmpint(device_health(d, true, false), ==, HEALTH_SUSPENDED);

        d->suspended = d->read_only = false;
        d->valid_paths = -1;
        g_assert_cmpint(device_health(d, true, false), ==, HEALTH_OK);
        d->total_paths = 0;
        g_assert_cmpint(device_health(d, true, false), ==, HEALTH_NO_PATH);
        d->total_paths = -1;
        d->valid_paths = 1;
        g_assert_cmpint(device_health(d, true, false), ==, HEALTH_OK);

        d->kind = DEVICE_DISK;
        d->valid_paths = 0;
        g_assert_cmpint(device_health(d, true, false), ==, HEALTH_OK);
}

static void test_strings(void) {
        for (DeviceKind k = 0; k < _DEVICE_KIND_MAX; k++)
                g_assert_nonnull(device_kind_to_string(k));
        for (DeviceVerdict v = 0; v < _DEVICE_VERDICT_MAX; v++)
                g_assert_nonnull(device_verdict_to_string(v));
        for (DeviceHealth h = 0; h < _HEALTH_MAX; h++)
                g_assert_nonnull(device_health_to_string(h));

        g_assert_cmpstr(device_verdict_to_string(DEVICE_PATH_MEMBER), ==, "path-member");
        g_assert_cmpstr(device_health_to_string(HEALTH_READ_ONLY), ==, "read-only");
}

/* ---- identity ---- */

static void assert_identity(const IdentityFacts *f, const char *keys, const char *link, bool stable) {
        _cleanup_(device_freep) Device *d = device_new();
        g_autofree char *joined = NULL;

        g_assert_cmpint(identity_apply(d, f), ==, 0);
        joined = g_strjoinv(" ", d->keys);
        g_assert_cmpstr(joined, ==, keys);
        g_assert_cmpstr(d->identity, ==, d->keys[0]);
        g_assert_cmpstr(d->link, ==, link);
        g_assert_cmpint(d->stable, ==, stable);
}

#define LINKS(...) ((char *const[]) { __VA_ARGS__, NULL })
#define L(s) ((char *) "/dev/disk/by-id/" s)

static void test_identity_maps(void) {
        assert_identity(&(IdentityFacts) {
                                .kind = DEVICE_MULTIPATH, .node = "/dev/dm-3", .dm_name = "mpatha", .dm_uuid = "mpath-3600a",
                                .links = LINKS(L("wwn-0x600a"), L("dm-name-mpatha"), L("dm-uuid-mpath-3600a"), L("scsi-3600a"),
                                               (char *) "/dev/mapper/mpatha", (char *) "/dev/disk/by-uuid/1") },
                        "dm-uuid=mpath-3600a by-id=dm-name-mpatha by-id=dm-uuid-mpath-3600a by-id=scsi-3600a by-id=wwn-0x600a "
                        "path=/dev/dm-3 path=/dev/mapper/mpatha wwid=3600a",
                        "/dev/disk/by-id/dm-uuid-mpath-3600a", true);

        assert_identity(&(IdentityFacts) { .kind = DEVICE_MAP, .node = "/dev/dm-4", .dm_name = "vg0-data", .dm_uuid = "LVM-abc" },
                        "dm-uuid=LVM-abc path=/dev/dm-4 path=/dev/mapper/vg0-data", "/dev/dm-4", true);

        /* Without a UUID, only its name is left: an alias link does not make it stable. */
        assert_identity(&(IdentityFacts) { .kind = DEVICE_MAP, .node = "/dev/dm-5", .dm_name = "slow", .dm_uuid = "",
                                           .links = LINKS(L("dm-name-slow")) },
                        "path=/dev/mapper/slow by-id=dm-name-slow path=/dev/dm-5", "/dev/dm-5", false);
}

static void test_identity_disks(void) {
        assert_identity(&(IdentityFacts) { .kind = DEVICE_DISK, .node = "/dev/sdb", .wwid = "3600b",
                                           .links = LINKS(L("scsi-SVENDOR_MODEL_1"), L("scsi-3600b"), L("wwn-0x600b"),
                                                          L("lvm-pv-uuid-x")) },
                        "wwid=3600b by-id=lvm-pv-uuid-x by-id=scsi-3600b by-id=scsi-SVENDOR_MODEL_1 by-id=wwn-0x600b path=/dev/sdb",
                        "/dev/disk/by-id/wwn-0x600b", true);

        assert_identity(&(IdentityFacts) { .kind = DEVICE_PARTITION, .node = "/dev/sdb1",
                                           .links = LINKS(L("scsi-3600b-part1"), L("ata-MODEL_1-part1"), L("scsi-3600b-part1")) },
                        "by-id=scsi-3600b-part1 by-id=ata-MODEL_1-part1 path=/dev/sdb1", "/dev/disk/by-id/scsi-3600b-part1", true);

        /* Where it is names it, and is not its identity. */
        assert_identity(&(IdentityFacts) { .kind = DEVICE_DISK, .node = "/dev/sdd",
                                           .links = LINKS((char *) "/dev/disk/by-path/pci-2", (char *) "/dev/disk/by-path/pci-1") },
                        "path=/dev/sdd by-path=pci-1 by-path=pci-2", "/dev/sdd", false);

        assert_identity(&(IdentityFacts) { .kind = DEVICE_DISK, .node = "/dev/vda", .links = LINKS(L("virtio-two"), L("virtio-one")) },
                        "by-id=virtio-one by-id=virtio-two path=/dev/vda", "/dev/disk/by-id/virtio-one", true);

        assert_identity(&(IdentityFacts) { .kind = DEVICE_DISK, .node = "/dev/nullb0" }, "path=/dev/nullb0", "/dev/nullb0", false);

        /* What is on the disk does not say which disk it is. */
        assert_identity(&(IdentityFacts) { .kind = DEVICE_DISK, .node = "/dev/sdc", .wwid = "", .links = LINKS(L("lvm-pv-uuid-x")) },
                        "path=/dev/sdc by-id=lvm-pv-uuid-x", "/dev/sdc", false);
}

static void test_identity_hostile(void) {
        g_autofree char *huge = g_strnfill(100000, 'a');
        _cleanup_(device_freep) Device *d = device_new();

        assert_identity(&(IdentityFacts) { .kind = DEVICE_MULTIPATH, .node = "/dev/dm-3", .dm_name = "../../etc", .dm_uuid = "mpath-a,b",
                                           .links = LINKS(L("a,b"), L("x/y"), L(".."), L("\xff"), L(""), L("good")) },
                        "by-id=good path=/dev/dm-3", "/dev/disk/by-id/good", true);
        assert_identity(&(IdentityFacts) { .kind = DEVICE_MULTIPATH, .node = "/dev/dm-3", .dm_name = huge, .dm_uuid = "mpath-" },
                        "dm-uuid=mpath- path=/dev/dm-3", "/dev/dm-3", true);
        assert_identity(&(IdentityFacts) { .kind = DEVICE_DISK, .node = "/dev/sda", .wwid = huge }, "path=/dev/sda", "/dev/sda", false);

        g_assert_cmpint(identity_apply(d, &(IdentityFacts) { .node = "/dev/a,b", .wwid = "1" }), ==, -EINVAL);
        g_assert_null(d->identity);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/device/new", test_new);
        g_test_add_func("/device/equal", test_equal);
        g_test_add_func("/device/verdict", test_verdict);
        g_test_add_func("/device/verdict-disk", test_verdict_disk);
        g_test_add_func("/device/health", test_health);
        g_test_add_func("/device/strings", test_strings);
        g_test_add_func("/device/identity/maps", test_identity_maps);
        g_test_add_func("/device/identity/disks", test_identity_disks);
        g_test_add_func("/device/identity/hostile", test_identity_hostile);

        return g_test_run();
}
