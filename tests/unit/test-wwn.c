/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/wwn.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>

static void test_parse(void) {
        static const char *const good[] = {
                "naa.5001405a1b2c3d4e", "NAA.5001405A1B2C3D4E", "5001405a1b2c3d4e", "5001405A1B2C3D4E", "0x5001405a1b2c3d4e",
                "0X5001405A1B2C3D4E", "50:01:40:5a:1b:2c:3d:4e", "naa.50:01:40:5A:1B:2C:3D:4E", "0x50:01:40:5a:1b:2c:3d:4e",
        };
        static const char *const bad[] = {
                "", "naa.", "0x", "naa", ":", "naa.5001405a1b2c3d4", "naa.5001405a1b2c3d4e0", "naa.5001405a1b2c3d4g",
                "naa.1001405a1b2c3d4e", "naa.7001405a1b2c3d4e", "fc.5001405a1b2c3d4e", "iqn.2003-01.org:x", "naa.naa.5001405a1b2c3d",
                "naa.0x5001405a1b2c3d4e", " naa.5001405a1b2c3d4e", "naa.5001405a1b2c3d4e ", "naa.5001405a1b2c3d4e\n",
                "naa.5001405a1b2c3d4/", "naa.../../../../../.", "50:01:40:5a:1b:2c:3d4e", "5001:405a:1b2c:3d4e",
                "50:01:40:5a:1b:2c:3d:4e:", ":50:01:40:5a:1b:2c:3d:4e", "50:0:140:5a:1b:2c:3d:4e", "5001405a1b2c3d4e:",
                "naa.500\xffz05a1b2c3d4e", "-5001405a1b2c3d4", "naa.zzz",
        };
        char wwn[WWN_SIZE];

        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                g_assert_cmpint(wwn_parse(good[i], wwn), ==, 0);
                g_assert_cmpstr(wwn, ==, "naa.5001405a1b2c3d4e");
        }

        g_assert_cmpint(wwn_parse("6001405a1b2c3d4e", wwn), ==, 0);
        g_assert_cmpstr(wwn, ==, "naa.6001405a1b2c3d4e");

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                strcpy(wwn, "untouched");
                g_assert_cmpint(wwn_parse(bad[i], wwn), ==, -EINVAL);
                g_assert_cmpstr(wwn, ==, "untouched");
        }
}

static void test_parse_huge(void) {
        size_t n = 1024 * 1024;
        g_autofree char *s = g_malloc(n + 1);
        char wwn[WWN_SIZE];

        memset(s, '5', n);
        s[n] = 0;
        g_assert_cmpint(wwn_parse(s, wwn), ==, -EINVAL);
}

static void test_generate(void) {
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

        for (int i = 0; i < 1000; i++) {
                char wwn[WWN_SIZE], again[WWN_SIZE];

                g_assert_cmpint(wwn_generate(wwn), ==, 0);
                g_assert_true(g_str_has_prefix(wwn, "naa.5001405"));
                g_assert_cmpint(wwn_parse(wwn, again), ==, 0);
                g_assert_cmpstr(wwn, ==, again);
                g_assert_true(g_hash_table_add(seen, g_strdup(wwn)));
        }
}

static void test_seed(void) {
        static const char *const seeds[] = { "a", "abc", "9a6b1c52-6a4f-4a60-8a5b-0d6a1a9d1f55", "\xc3\xa4" };
        char wwn[WWN_SIZE];

        /* NIST's test vector for "abc": ba7816bf 8f01cfea … */
        g_assert_cmpint(wwn_from_seed("abc", wwn), ==, 0);
        g_assert_cmpstr(wwn, ==, "naa.5001405ba7816bf8");

        for (size_t i = 0; i < ELEMENTSOF(seeds); i++) {
                g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, seeds[i], -1);
                g_autofree char *expected = g_strdup_printf("naa.5001405%.9s", digest);

                g_assert_cmpint(wwn_from_seed(seeds[i], wwn), ==, 0);
                g_assert_cmpstr(wwn, ==, expected);
        }

        strcpy(wwn, "untouched");
        g_assert_cmpint(wwn_from_seed("", wwn), ==, -EINVAL);
        g_assert_cmpstr(wwn, ==, "untouched");
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/wwn/parse", test_parse);
        g_test_add_func("/wwn/parse-huge", test_parse_huge);
        g_test_add_func("/wwn/generate", test_generate);
        g_test_add_func("/wwn/seed", test_seed);

        return g_test_run();
}
