/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/source.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>

static void test_good(void) {
        static const struct {
                const char *in, *text;
                SourceKind kind;
        } table[] = {
                { "dm-uuid=mpath-3600", "dm-uuid=mpath-3600", SOURCE_DM_UUID },
                { "wwid=3600140", "wwid=3600140", SOURCE_WWID },
                { "wwid=a=b", "wwid=a=b", SOURCE_WWID },
                { "by-id=wwn-0x5000-part1", "by-id=wwn-0x5000-part1", SOURCE_BY_ID },
                { "/dev/disk/by-id/wwn-0x5", "by-id=wwn-0x5", SOURCE_BY_ID },
                { "path=/dev/disk/by-id/wwn-0x5", "by-id=wwn-0x5", SOURCE_BY_ID },
                { "by-id=dm-name-a\\x20b", "by-id=dm-name-a\\x20b", SOURCE_BY_ID },
                { "by-id=\xc3\xa4\xe2\x82\xac", "by-id=\xc3\xa4\xe2\x82\xac", SOURCE_BY_ID },
                { "/dev/sda", "path=/dev/sda", SOURCE_PATH },
                { "path=/dev/mapper/mpatha", "path=/dev/mapper/mpatha", SOURCE_PATH },
                { "/dev/vg0/data", "path=/dev/vg0/data", SOURCE_PATH },
                { "/dev/disk/by-path/pci-0000:00:1f.2-ata-1", "path=/dev/disk/by-path/pci-0000:00:1f.2-ata-1", SOURCE_PATH },
                { "by-path=pci-0000:05:00.0-fc-0x5006-lun-0", "by-path=pci-0000:05:00.0-fc-0x5006-lun-0", SOURCE_BY_PATH },
                { "file=/srv/a.img", "file=/srv/a.img", SOURCE_FILE },
                { "file=/dev-disks/a b=c", "file=/dev-disks/a b=c", SOURCE_FILE },
                { "/dev/..a/...", "path=/dev/..a/...", SOURCE_PATH },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                g_autofree char *text = NULL, *again = NULL;
                const char *why = NULL;
                SourceKind kind;

                g_assert_cmpint(source_parse(table[i].in, &kind, &text, &why), ==, 0);
                g_assert_cmpstr(text, ==, table[i].text);
                g_assert_cmpint(kind, ==, table[i].kind);
                g_assert_null(why);
                g_assert_cmpint(source_kind(text), ==, kind);
                g_assert_cmpstr(source_value(text), ==, strchr(text, '=') + 1);

                /* What is canonical stays as it is. */
                g_assert_cmpint(source_parse(text, &kind, &again, NULL), ==, 0);
                g_assert_cmpstr(text, ==, again);
                g_assert_cmpint(kind, ==, table[i].kind);
        }
}

static void assert_refused(const char *s) {
        char *text = (char *) "untouched";
        SourceKind kind = _SOURCE_KIND_MAX;
        const char *why = NULL;

        g_assert_cmpint(source_parse(s, &kind, &text, &why), ==, -EINVAL);
        g_assert_cmpstr(text, ==, "untouched");
        g_assert_cmpint(kind, ==, _SOURCE_KIND_MAX);
        g_assert_nonnull(why);
        g_assert_cmpint(source_parse(s, &kind, &text, NULL), ==, -EINVAL);
}

static void test_bad(void) {
        static const char *const table[] = {
                "", "=", "sda", "dm-uuid", "dm-uuid=", "wwid=", "by-id=", "path=", "path=sda", "WWID=3600", "uuid=1", "file=", "file=srv/x",
                "file=/", "file=/dev/sda", "file=/srv/../etc/x", "file=/srv//x", "file=/srv/", "file=/srv/a,b", "file=/srv/a\nb", "/srv/x",
                " /dev/sda", "/dev", "/dev/", "/dev//sda", "//dev/sda", "/dev/sda/", "/dev/../etc/passwd", "/dev/./sda", "/dev/..",
                "/device/sda", "/proc/self/fd/0", "/etc/passwd", "path=/", "/", "/dev/disk/by-id/", "/dev/disk/by-id/a/b",
                "/dev/disk/by-id/..", "by-id=a/b", "by-id=..", "by-id=.", "by-id=/dev/sda", "wwid=../x", "dm-uuid=/", "/dev/sd,a",
                "by-id=a,udev_path=/dev/sda", "by-id=a\n", "/dev/sda\nudev_path=x", "wwid=\x7f", "wwid=\t", "wwid=\xff", "wwid=\xc0\x80",
                "wwid=\xed\xa0\x80", "wwid=\xc2\x85", "by-id=\xe2\x82",
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++)
                assert_refused(table[i]);
}

static void test_length(void) {
        g_autofree char *s = g_strnfill(SOURCE_MAX - strlen("wwid="), 'a'), *fits = g_strconcat("wwid=", s, NULL);
        g_autofree char *over = g_strconcat(fits, "a", NULL), *huge = g_strnfill(1024 * 1024, '/'), *text = NULL;
        g_autofree char *id = g_strnfill(SOURCE_MAX - strlen("by-id="), 'b'), *link = g_strconcat("/dev/disk/by-id/", id, NULL);
        g_autofree char *link_over = g_strconcat(link, "b", NULL), *link_text = NULL;
        SourceKind kind;

        g_assert_cmpint(source_parse(fits, &kind, &text, NULL), ==, 0);
        g_assert_cmpuint(strlen(text), ==, SOURCE_MAX);
        g_assert_cmpint(source_parse(link, &kind, &link_text, NULL), ==, 0);
        g_assert_cmpuint(strlen(link_text), ==, SOURCE_MAX);

        assert_refused(over);
        assert_refused(link_over);
        assert_refused(huge);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/source/good", test_good);
        g_test_add_func("/source/bad", test_bad);
        g_test_add_func("/source/length", test_length);

        return g_test_run();
}
