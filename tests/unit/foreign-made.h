/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <glib.h>

#include "engine-fixture.h"

/* What somebody else makes in configfs. */

#define WWN "naa.5001405f00000001"
#define NEXUS "naa.5001405f000000ff"
#define TPG "vhost/" WWN "/tpgt_1"

static inline void write_file(Fixture *f, const char *value, const char *path) {
        g_assert_cmpint(cfs_write(f->engine.cfs, path, value), ==, 0);
}

static inline void make_dir(Fixture *f, const char *path) {
        int r = cfs_mkdir(f->engine.cfs, path);

        g_assert_true(r == 0 || r == -EEXIST);
}

/* As targetcli does it: a link with a name of its own, nothing in alias. */
static inline void make_backstore(Fixture *f, unsigned hba, const char *name, unsigned device) {
        g_autofree char *dir = g_strdup_printf("core/iblock_%u", hba), *at = g_strdup_printf("%s/%s", dir, name);
        g_autofree char *control = g_strdup_printf("%s/control", at), *udev_path = g_strdup_printf("%s/udev_path", at);
        g_autofree char *enable = g_strdup_printf("%s/enable", at), *serial = g_strdup_printf("%s/wwn/vpd_unit_serial", at);
        g_autofree char *model = g_strdup_printf("%s/attrib/emulate_model_alias", at);
        g_autofree char *value = g_strdup_printf("udev_path=/dev/fake%u", device), *number = g_strdup_printf("serial-%u", device);

        make_dir(f, dir);
        make_dir(f, at);
        write_file(f, value, control);
        write_file(f, strchr(value, '/'), udev_path);
        write_file(f, "1", enable);
        write_file(f, number, serial);
        write_file(f, "1", model);
}

static inline void make_lun(Fixture *f, unsigned number, unsigned hba, const char *name) {
        g_autofree char *lun = g_strdup_printf(TPG "/lun/lun_%u", number), *link = g_strdup_printf("%s/7c4ab1c3f2", lun);
        g_autofree char *to = g_strdup_printf("core/iblock_%u/%s", hba, name);

        make_dir(f, lun);
        g_assert_cmpint(cfs_symlink(f->engine.cfs, to, link), ==, 0);
}

static inline void make_target(Fixture *f) {
        make_dir(f, "vhost");
        make_dir(f, "vhost/" WWN);
        make_dir(f, TPG);
        write_file(f, NEXUS, TPG "/nexus");
}

/* Two LUNs, not numbered as their HBAs are. */
static inline void make_all(Fixture *f, unsigned first_hba, unsigned second_hba) {
        make_target(f);
        make_backstore(f, first_hba, "disk1", 1);
        make_backstore(f, second_hba, "disk2", 2);
        make_lun(f, 0, first_hba, "disk1");
        make_lun(f, 7, second_hba, "disk2");
}

static inline void unmake(Fixture *f, const char *path) {
        g_assert_cmpint(cfs_rmdir(f->engine.cfs, path), ==, 0);
}

static inline void unmake_lun(Fixture *f, unsigned number, const char *link) {
        g_autofree char *lun = g_strdup_printf(TPG "/lun/lun_%u", number), *at = g_strdup_printf("%s/%s", lun, link);

        g_assert_cmpint(cfs_unlink(f->engine.cfs, at), ==, 0);
        unmake(f, lun);
}
