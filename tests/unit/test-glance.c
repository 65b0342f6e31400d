/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/strv.h"
#include "kernel/glance.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>

#define DISK "../../devices/pci0000:00/host0/target0:0:0/0:0:0:0/block/sdb"

typedef struct Case {
        const char *name;
        const char *link;       /* of the kernel; NULL: there is no such device */
        const char *entry;      /* udev's; NULL: none */
        int expected;
        const char *names;      /* sorted */
} Case;

static const Case cases[] = {
        { "disk", DISK, "S:disk/by-id/scsi-36001\nS:disk/by-id/wwn-0x6001\nS:disk/by-path/pci-0-lun-1\nL:0\nI:1234\nE:ID_BUS=scsi\nE:ID_SERIAL=36001\n"
          "E:DM_MULTIPATH_DEVICE_PATH=1\nG:systemd\nQ:systemd\nV:1\n", 1,
          "by-id=scsi-36001 by-id=wwn-0x6001 by-path=pci-0-lun-1 path=/dev/sdb wwid=36001" },
        { "nothing-to-tell", DISK, "I:1234\nG:systemd\nV:1\n", 1, "path=/dev/sdb" },
        { "no-entry", DISK, NULL, 1, "path=/dev/sdb" },
        { "slash", "../../devices/cciss0/block/cciss!c0d0", "V:1\n", 1, "path=/dev/cciss/c0d0" },
        { "partition", DISK "/sdb1", "S:disk/by-id/scsi-36001-part1\nE:ID_SERIAL=36001\nV:1\n", 1,
          "by-id=scsi-36001-part1 path=/dev/sdb1 wwid=36001" },
        { "nvme", "../../devices/nvme/nvme0/nvme0n1", "E:ID_WWN=eui.01\nE:ID_SERIAL=other\nV:1\n", 1, "path=/dev/nvme0n1 wwid=eui.01" },
        { "bad-link", DISK, "S:disk/by-id/a,b\nV:1\n", 1, "path=/dev/sdb" },

        /* Only reading it tells. */
        { "map", "../../devices/virtual/block/dm-0", "V:1\n", 0, NULL },
        { "nvme-without-wwn", "../../devices/nvme/nvme0/nvme0n1", "E:ID_SERIAL=x\nV:1\n", 0, NULL },
        { "wish", DISK, "E:VHOSTSCSI_TARGET=naa.5001405000000001\nV:1\n", 0, NULL },
        { "version-2", DISK, "E:ID_SERIAL=36001\nV:2\n", 0, NULL },
        { "no-version", DISK, "E:ID_SERIAL=36001\n", 0, NULL },
        { "version-in-a-value", DISK, "E:X=V:1\n", 0, NULL },
        { "empty", DISK, "", 0, NULL },
        { "other-lines", DISK, "E:ID_SERIAL=36001\nhello\nV:1\n", 0, NULL },
        { "small-letter", DISK, "e:ID_SERIAL=36001\nV:1\n", 0, NULL },

        { "gone", NULL, "V:1\n", -ENODEV, NULL },
};

static void look(const char *link, const char *entry, gssize size, int expected, const char *names) {
        g_autofree char *top = g_dir_make_tmp("vhscsid-glance-XXXXXX", NULL), *device = g_build_filename(top, "8:16", NULL),
                        *file = g_build_filename(top, "b8:16", NULL);
        _cleanup_(strv_freep) char **seen = NULL;
        int fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        if (link)
                g_assert_cmpint(symlink(link, device), ==, 0);
        if (entry)
                g_assert_true(g_file_set_contents(file, entry, size, NULL));

        g_assert_cmpint(glance_files(fd, fd, "8:16", &seen), ==, expected);
        g_assert_cmpint(seen != NULL, ==, expected == 1);
        if (seen) {
                g_autofree char *all = NULL;

                strv_sort(seen);
                all = g_strjoinv(" ", seen);
                g_assert_cmpstr(all, ==, names);
        }

        close(fd);
        unlink(device);
        unlink(file);
        rmdir(top);
}

static void test_case(const void *data) {
        const Case *c = data;

        look(c->link, c->entry, -1, c->expected, c->names);
}

/* A byte that no entry has, and an entry that is longer than is looked at. */
static void test_odd(void) {
        static const char zero[] = "E:ID_SERIAL=3600\0001\nV:1\n";
        g_autofree char *x = g_strnfill(20000, 'x'), *large = g_strdup_printf("E:X=%s\nV:1\n", x);

        look(DISK, zero, sizeof zero - 1, 0, NULL);
        look(DISK, large, -1, 0, NULL);
}

/* Cut anywhere: never more than is there, and no name that is none. */
static void test_cut(void) {
        const char *whole = cases[0].entry;

        for (size_t n = 0; n < strlen(whole) - strlen("V:1\n"); n++)
                look(DISK, whole, (gssize) n, 0, NULL);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *path = g_strdup_printf("/glance/%s", cases[i].name);

                g_test_add_data_func(path, cases + i, test_case);
        }
        g_test_add_func("/glance/odd", test_odd);
        g_test_add_func("/glance/cut", test_cut);
        return g_test_run();
}
