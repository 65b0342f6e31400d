/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "kernel/mounts.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>

/* Compared with what the machine itself says of its mounts. */
static void test_mounted(void) {
        _cleanup_(mounts_freep) Mounts *m = NULL;
        g_autofree char *table = NULL;
        g_auto(GStrv) lines = NULL;
        unsigned n = 0;

        g_assert_cmpint(mounts_new(&m), ==, 0);
        if (!g_file_get_contents("/proc/self/mountinfo", &table, NULL, NULL)) {
                g_test_skip("no mountinfo");
                return;
        }

        lines = g_strsplit(table, "\n", -1);
        for (char **l = lines; **l; l++) {
                g_autofree char *text = NULL;
                unsigned ma, mi;

                g_assert_cmpint(sscanf(*l, "%*u %*u %u:%u", &ma, &mi), ==, 2);
                if (ma == 0)
                        continue;

                g_assert_cmpint(mounts_use(m, makedev(ma, mi), &text), ==, 1);
                g_assert_true(g_str_has_prefix(text, "mounted on /"));
                g_test_message("%u:%u %s", ma, mi, text);
                n++;
        }

        g_test_message("%u mounts of block devices", n);
}

static void test_root(void) {
        _cleanup_(mounts_freep) Mounts *m = NULL;
        g_autofree char *text = NULL;
        struct stat st;

        g_assert_cmpint(stat("/", &st), ==, 0);
        if (major(st.st_dev) == 0) {
                g_test_skip("the root file system is on no block device");
                return;
        }

        g_assert_cmpint(mounts_new(&m), ==, 0);
        g_assert_cmpint(mounts_use(m, st.st_dev, &text), ==, 1);
        g_assert_cmpstr(text, ==, "mounted on /");
}

static void test_unused(void) {
        _cleanup_(mounts_freep) Mounts *m = NULL;
        char *text = NULL;

        g_assert_cmpint(mounts_new(&m), ==, 0);
        g_assert_cmpint(mounts_use(m, makedev(4095, 1048575), &text), ==, 0);
        g_assert_cmpint(mounts_use(m, 0, &text), ==, 0);
        g_assert_null(text);
        g_assert_null(mounts_free(NULL));
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/mounts/mounted", test_mounted);
        g_test_add_func("/mounts/root", test_root);
        g_test_add_func("/mounts/unused", test_unused);

        return g_test_run();
}
