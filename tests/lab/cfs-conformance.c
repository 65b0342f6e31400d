/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Does the same things to LIO through kernel/cfs.h, errors included, and prints what came of each. Built twice: cfs-conformance-fake with
 * tests/unit/fake-cfs.c and cfs-conformance-real with kernel/cfs.c. If the fake has drifted from the kernel, the outputs differ:
 *
 *     modprobe -a target_core_iblock vhost_scsi; modprobe null_blk nr_devices=4 gb=1         (configfs is mounted)
 *     cfs-conformance-real /dev/nullb0 /dev/nullb1 /dev/nullb2 >real
 *     cfs-conformance-fake /dev/nullb0 /dev/nullb1 /dev/nullb2 >fake
 *     diff real fake                                 (the exit status is the result: no line may differ)
 *
 * The three devices must be of no use to anyone, without partitions, able to write and not able to discard (null_blk and brd are both). It
 * needs and makes core/iblock_990* and the targets naa.60014050000099**, refuses to run (exit status 2) if one of them is there, and removes
 * them. What depends on the device and on the kernel's version is printed as a letter. Exit status 0: the sequence ran to its end, whatever the
 * results. With VHSCSID_FAKE_FABRIC=bundled in its environment the fake is vhscsi rather than vhost_scsi. */

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "conformance-calls.h"

#ifdef CONFORMANCE_FAKE
#include "fake-cfs.h"
#endif

#define W "vhost/naa.6001405000009901"
#define T W "/tpgt_1"
#define H1 "core/iblock_9901"
#define H2 "core/iblock_9902"
#define B1 H1 "/conformance-one"
#define B2 H2 "/two"

static void run_paths(void) {
        make("vhost");
        make("nonsense");
        make("core/nothing");
        make("core/iblock_");
        make("core/iblock_x");
        make("core/iblock_9901x");
        make("core/unheard_9901");
        make("core/iblock_9901_2");
        make("core/iblock_99018446744073709551616");
        make(format("core/iblock_%s", long_text('9', 60)));
        make(format("core/%s", long_text('x', 256)));
        make("core/alua/x");
        make("core/iblock_9901/conformance-one");
        make("version/x");
        make("version");
        make("../config/x");
        make("/tmp");
        drop("core");
        drop("core/alua");
        drop("version");
        drop("nothing/at/all");
        exists("core");
        exists("version");
        exists("version/below");
        exists("nothing");
        exists(format("core/%s", long_text('x', 256)));
        list("core/alua", true, false);
        list("version", false, false);
        list("nothing", false, false);
        get("dbroot");
        get("core");
        get("nothing");
        put("version", "1");
        put("core", "1");
        put("nothing", "1");
        unlink_at("core");
        unlink_at("version");
        unlink_at("nothing");
        where("core");
        where("version");
        where("nothing");
}

static void run_backstore(const char *disk, const char *other) {
        make(H1);
        make(H1);
        get(H1 "/hba_info");
        get(H1 "/hba_mode");
        put(H1 "/hba_mode", "1");
        make(B1);
        make(B1);
        make(B1 "/x");
        make(B1 "/attrib/x");
        make(B1 "/statistics/x");
        make(B1 "/statistics/scsi_lu/x");
        make(format(H1 "/%s", long_text('n', 255)));
        drop(format(H1 "/%s", long_text('n', 255)));
        drop(B1 "/attrib");
        drop(H1);
        list(B1, true, false);
        list(B1 "/wwn", false, false);
        list(B1 "/attrib", true, false);
        list(B1 "/pr", false, false);
        list(B1 "/statistics", true, false);
        list(H1, false, false);

        get(B1 "/info");
        get(B1 "/alias");
        get(B1 "/udev_path");
        get(B1 "/control");
        get(B1 "/enable");
        get(B1 "/alua_lu_gp");
        get(B1 "/wwn/vpd_unit_serial");
        get(B1 "/attrib/block_size");
        put(B1 "/info", "1");
        put(B1 "/alias", "vhscsid diskseq=1\n");
        get(B1 "/alias");
        put(B1 "/alias", long_text('a', 511));
        put(B1 "/alias", long_text('b', 512));
        put(B1 "/alias", "");
        put(B1 "/alias", long_text('c', 4096));
        put(B1 "/alias", "vhscsid diskseq=2");
        get(B1 "/alias");

        put(B1 "/enable", "1");
        put(B1 "/enable", "0");
        put(B1 "/enable", "x");
        put(B1 "/control", "nonsense");
        put(B1 "/control", "udev_path=");
        put(B1 "/control", "readonly=x");
        put(B1 "/control", "readonly=-1");
        put(B1 "/enable", "1");
        put(B1 "/control", "udev_path=/dev/no-such-device");
        put(B1 "/enable", "1");
        put(B1 "/control", "udev_path=/dev/null");
        put(B1 "/enable", "1");
        put(B1 "/control", format("readonly=0,udev_path=%s", disk));
        get(B1 "/info");
        put(B1 "/udev_path", "/dev/disk/by-id/conformance");
        get(B1 "/udev_path");
        put(B1 "/udev_path", long_text('d', 512));
        put(B1 "/enable", "1\n");
        put(B1 "/enable", "1");
        get(B1 "/enable");
        get(B1 "/info");
        get(B1 "/alua_lu_gp");
        put(B1 "/control", format("udev_path=%s", other));
        put(B1 "/control", "readonly=1");
        put(B1 "/control", "readonly=0");
        get(B1 "/attrib/block_size");
        get_some(B1 "/attrib/hw_max_sectors");
        get_some(B1 "/attrib/queue_depth");
        get(B1 "/attrib/is_nonrot");

        make(H2);
        make(B2);
        put(B2 "/control", format("udev_path=%s", disk));
        put(B2 "/enable", "1");
        get(B2 "/info");
        put(B2 "/control", format("udev_path=%s,readonly=1", other));
        put(B2 "/enable", "1");
        get(B2 "/info");
        put("dbroot", "/tmp");
}

static void run_attributes(void) {
        static const char *const flags[] = {
                "emulate_fua_write", "emulate_caw", "emulate_3pc", "emulate_pr", "enforce_pr_isids", "is_nonrot", "emulate_tas",
                "force_pr_aptpl", "emulate_model_alias", "emulate_write_cache", "emulate_rest_reord", "pi_prot_format", "emulate_tpu",
                "emulate_tpws", "unmap_zeroes_data", "emulate_dpo", "alua_support",
        };

        for (size_t i = 0; i < ELEMENTSOF(flags); i++) {
                const char *path = format(B1 "/attrib/%s", flags[i]);

                get(path);
                put(path, "0");
                get(path);
                put(path, "on\n");
                get(path);
                put(path, "2");
        }

        put(B1 "/attrib/emulate_3pc", "oops");
        put(B1 "/attrib/hw_block_size", "512");
        put(B1 "/attrib/nothing", "1");
        put(B1 "/attrib/emulate_pr", "0");
        get(B1 "/pr/res_type");
        get(B1 "/pr/res_aptpl_active");
        put(B1 "/attrib/emulate_pr", "1");
        get(B1 "/pr/res_type");
        get(B1 "/pr/res_holder");
        put(B1 "/pr/res_type", "1");
        put(B1 "/pr/res_aptpl_metadata", "nonsense");
        put(B1 "/attrib/emulate_ua_intlck_ctrl", "3");
        put(B1 "/attrib/emulate_ua_intlck_ctrl", "0x1");
        get(B1 "/attrib/emulate_ua_intlck_ctrl");
        put(B1 "/attrib/max_unmap_lba_count", "017");
        get(B1 "/attrib/max_unmap_lba_count");
        put(B1 "/attrib/max_unmap_lba_count", "+5\n");
        get(B1 "/attrib/max_unmap_lba_count");
        put(B1 "/attrib/max_unmap_lba_count", "4294967296");
        put(B1 "/attrib/max_unmap_lba_count", "-1");
        put(B1 "/attrib/max_unmap_lba_count", " 1");
        put(B1 "/attrib/max_unmap_lba_count", "0");
        put(B1 "/attrib/block_size", "1000");
        put(B1 "/attrib/block_size", "4096");
        put(B1 "/attrib/block_size", "512");
        put(B1 "/attrib/queue_depth", "0");
        put(B1 "/attrib/queue_depth", "100000000");
        put(B1 "/attrib/queue_depth", "16");
        get(B1 "/info");
        put(B1 "/attrib/optimal_sectors", "100000000");
        put(B1 "/attrib/optimal_sectors", "64");
        put(B1 "/attrib/pi_prot_type", "0");
        put(B1 "/attrib/pi_prot_type", "1");
        put(B1 "/attrib/pi_prot_type", "2");
        put(B1 "/attrib/pi_prot_type", "4");
        get(B1 "/wwn/product_id");
        put(B1 "/attrib/emulate_model_alias", "1");
        get(B1 "/wwn/product_id");

        put(B1 "/wwn/vpd_unit_serial", "  0123456789abcdef \n");
        get(B1 "/wwn/vpd_unit_serial");
        put(B1 "/wwn/vpd_unit_serial", long_text('s', 253));
        put(B1 "/wwn/vpd_unit_serial", long_text('s', 254));
        put(B1 "/wwn/vpd_unit_serial", "0123456789");
        put(B1 "/wwn/vendor_id", "12345678\n");
        put(B1 "/wwn/vendor_id", "123456789");
        put(B1 "/wwn/vendor_id", "1234567890");
        put(B1 "/wwn/vendor_id", "a\tb");
        get(B1 "/wwn/vendor_id");
        put(B1 "/wwn/product_id", "1234567890123456");
        get(B1 "/wwn/product_id");
        put(B1 "/wwn/product_id", "12345678901234567");
        put(B1 "/wwn/revision", "12345");
        put(B1 "/wwn/company_id", "0x1000000");
        put(B1 "/wwn/company_id", "0x5254");
        get(B1 "/wwn/company_id");
        put(B1 "/wwn/vpd_assoc_target_port", "1");
        get(B1 "/wwn/vpd_assoc_target_port");
}

static void run_target(void) {
        make("vhost/nonsense");
        make("vhost/xnaa.6001405000009902");
        make("vhost/xnaa.6001405000009902");
        drop("vhost/xnaa.6001405000009902");
        make("vhost/fc.6001405000009903");
        make("vhost/fc.6001405000009903/tpgt_1");
        put("vhost/fc.6001405000009903/tpgt_1/nexus", "naa.6001405000009999");
        put("vhost/fc.6001405000009903/tpgt_1/nexus", "fc.6001405000009999");
        get("vhost/fc.6001405000009903/tpgt_1/nexus");
        drop("vhost/fc.6001405000009903");
        drop("vhost/fc.6001405000009903/tpgt_1");
        drop("vhost/fc.6001405000009903");
        make("vhost/iqn.1999-01.conformance");
        drop("vhost/iqn.1999-01.conformance");
        make("vhost/discovery_auth/x");
        make("vhost/discovery_auth");
        list("vhost/discovery_auth", false, false);

        make(W "/tpgt_1");
        make(W);
        list(W, true, false);
        make(W "/param/x");
        get(W "/param/cmd_completion_affinity");
        make(W "/1");
        make(W "/tpgt_");
        make(W "/tpgt_256");
        make(W "/tpgt_65536");
        make(W "/tpgt_-1");
        make(W "/tpgt_0x1");
        make(W "/tpgt_255");
        drop(W "/tpgt_255");
        make(T);
        make(W "/tpgt_01");
        drop(W "/tpgt_01");
        list(T, true, false);
        list(T, false, false);
        make(T "/lun");
        make(T "/np/x");
        make(T "/param/x");
        drop(T "/lun");
        get(T "/nexus");
        put(T "/nexus", "NULL");
        put(T "/nexus", "nonsense");
        put(T "/nexus", "fc.6001405000009904");
        put(T "/nexus", format("naa.%s", long_text('6', 252)));
        put(T "/nexus", "naa.6001405000009904\n");
        get(T "/nexus");
        put(T "/nexus", "naa.6001405000009905");
        put(T "/nexus", "NULL");
        get(T "/nexus");
        put(T "/nexus", "naa.6001405000009905");
        get(T "/attrib/fabric_prot_type");
        put(T "/attrib/fabric_prot_type", "2");
}

static void run_luns(void) {
        make(T "/lun/x");
        make(T "/lun/lun_");
        make(T "/lun/lun_x");
        make(T "/lun/lun_-1");
        make(T "/lun/lun_99999999999999999999");
        make(T "/lun/lun_20000");
        drop(T "/lun/lun_20000");
        make(T "/lun/lun_010");
        make(T "/lun/lun_8");
        drop(T "/lun/lun_8");
        drop(T "/lun/lun_010");
        make(T "/lun/lun_0");
        make(T "/lun/lun_0");
        make(T "/lun/lun_0/x");
        make(T "/lun/lun_0/statistics/x");
        list(T "/lun/lun_0", false, false);
        list(T "/lun/lun_0", true, false);
        list(T "/lun/lun_0/statistics", true, false);
        list(T "/lun/lun_0/statistics/scsi_tgt_port", false, false);
        get(T "/lun/lun_0/alua_tg_pt_gp");
        get(T "/lun/lun_0/statistics/scsi_tgt_port/in_cmds");
        put(T "/lun/lun_0/alua_tg_pt_offline", "0");

        make(H1 "/not-enabled");
        link_to(H1 "/not-enabled", T "/lun/lun_0/x");
        drop(H1 "/not-enabled");
        link_to("core/nothing", T "/lun/lun_0/x");
        link_to("core", T "/lun/lun_0/x");
        link_to(H1, T "/lun/lun_0/x");
        link_to("version", T "/lun/lun_0/x");
        link_to("version/x", T "/lun/lun_0/x");
        link_to(B1, T "/lun/x");
        link_to(B1, T "/lun/lun_7/x");
        link_to(B1, T "/lun/lun_0/statistics");
        link_to(B1, T "/lun/lun_0/alua_tg_pt_gp");
        link_to(B1, T "/lun/lun_0/backstore");
        link_to(B1, T "/lun/lun_0/backstore");
        link_to(B2, T "/lun/lun_0/second");
        list(T "/lun/lun_0", false, true);
        list(T "/lun/lun_0", true, false);
        where(T "/lun/lun_0/backstore");
        where(T "/lun/lun_0");
        where(T "/lun/lun_0/alua_tg_pt_gp");
        exists(T "/lun/lun_0/backstore");
        get(T "/lun/lun_0/backstore/enable");
        list(T "/lun/lun_0/backstore", true, false);
        put(T "/lun/lun_0/backstore", "1");
        get(T "/lun/lun_0/backstore");
        get(T "/lun/lun_0/alua_tg_pt_offline");
        get(T "/lun/lun_0/statistics/scsi_tgt_port/in_cmds");
        get(B1 "/info");

        make(T "/lun/lun_1");
        link_to(T "/lun/lun_0/backstore", T "/lun/lun_1/through");
        where(T "/lun/lun_1/through");
}

static void run_exported(void) {
        static const char *const idle_only[] = {
                "attrib/emulate_model_alias", "attrib/emulate_tas", "attrib/emulate_ua_intlck_ctrl", "attrib/force_pr_aptpl",
                "attrib/unmap_zeroes_data", "attrib/queue_depth", "attrib/optimal_sectors", "wwn/vpd_unit_serial", "wwn/vendor_id",
                "wwn/product_id", "wwn/revision", "wwn/company_id", "pr/res_aptpl_metadata",
        };

        for (size_t i = 0; i < ELEMENTSOF(idle_only); i++)
                put(format(B1 "/%s", idle_only[i]), "1");

        put(B1 "/attrib/block_size", "512");
        put(B1 "/attrib/queue_depth", "x");
        put(B1 "/attrib/emulate_3pc", "0");
        put(B1 "/attrib/is_nonrot", "0");
        put(B1 "/attrib/max_write_same_len", "4096");
        put(B1 "/alias", "vhscsid diskseq=3");
        get(B1 "/alias");
        put(B1 "/udev_path", "/dev/other");
        put(B1 "/enable", "1");
        put(T "/nexus", "NULL");

        drop(B1);
        drop(H1);
        drop(T "/lun/lun_0");
        drop(T);
        drop(W);
        drop("vhost");
        drop(T "/lun/lun_0/backstore");
        unlink_at(T "/lun/lun_0");
        unlink_at(T "/lun/lun_0/alua_tg_pt_gp");
        unlink_at(T "/lun/lun_0/nothing");
        unlink_at(T "/lun/lun_0/backstore");
        exists(T "/lun/lun_0/backstore");
        get(T "/lun/lun_0/alua_tg_pt_gp");
        drop(B1);
        unlink_at(T "/lun/lun_1/through");
        get(B1 "/info");
        put(B1 "/wwn/vendor_id", "idle");
        put(T "/nexus", "NULL");
        put(T "/nexus", "naa.6001405000009906");
        link_to(B1, T "/lun/lun_0/again");
        link_to(B2, T "/lun/lun_1/other");
        list_own("vhost", "60014050000099");
        list_own("core", "_990");
}

static void run_removal(void) {
        unlink_at(T "/lun/lun_1/other");
        unlink_at(T "/lun/lun_0/again");
        drop(T);
        drop(T "/lun/lun_1");
        drop(T "/lun/lun_0");
        drop(W);
        drop(T);
        drop(T);
        drop(W);
        drop(H2);
        drop(B2);
        drop(H2);
        drop(B1);
        drop(H1);
        exists(W);
        exists(H1);
}

/* A backstore that was removed lets its device go, and the same names can be had again. */
static void run_again(const char *disk) {
        make(H2);
        make(B2);
        put(B2 "/control", format("udev_path=%s", disk));
        put(B2 "/enable", "1");
        get(B2 "/alias");
        get(B2 "/wwn/vpd_unit_serial");
        drop(B2);
        drop(H2);
}

static void run_diskseq(const char *disk) {
#ifdef CONFORMANCE_FAKE
        diskseq("disk", makedev(250, 0));
#else
        struct stat st;

        diskseq("disk", stat(disk, &st) < 0 ? 0 : st.st_rdev);
#endif
        diskseq("nothing", makedev(4095, 77));
}

int main(int argc, char *argv[]) {
        static const char *const claimed[] = { W, H1, H2, "vhost/fc.6001405000009903" };
        int r;

        if (argc != 4) {
                fprintf(stderr, "Usage: %s DEVICE DEVICE DEVICE\n", argv[0]);
                return 2;
        }

        setvbuf(stdout, NULL, _IOLBF, 0);

#ifdef CONFORMANCE_FAKE
        fake_reset();
        if (streq_ptr(getenv("VHSCSID_FAKE_FABRIC"), "bundled"))
                fake_set_bundled();
        for (unsigned i = 1; i < 4; i++)
                fake_block_add_simple(makedev(250, i - 1), argv[i], i);
        fake_block_add(&(FakeBlock) { .devnum = makedev(1, 3), .node = "/dev/null", .not_block = true });
        r = cfs_new(0, &cfs);
#else
        _cleanup_close_ int fd = open("/sys/kernel/config/target", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0) {
                perror("/sys/kernel/config/target");
                return 2;
        }
        (void) mkdirat(fd, "vhost", 0755);
        r = cfs_new(fd, &cfs);
        if (r >= 0)
                TAKE_FD(fd);
#endif
        if (r < 0)
                return 2;

        for (size_t i = 0; i < ELEMENTSOF(claimed); i++)
                if (cfs_exists(cfs, claimed[i]) != 0) {
                        fprintf(stderr, "%s is there already\n", claimed[i]);
                        return 2;
                }

        run_paths();
        run_backstore(argv[1], argv[2]);
        run_attributes();
        run_target();
        run_luns();
        run_exported();
        run_removal();
        run_again(argv[3]);
        run_diskseq(argv[1]);

        cfs_free(cfs);
        printf("%u operations\n", operations);
        return 0;
}
