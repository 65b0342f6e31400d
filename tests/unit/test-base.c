/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/errno.h"
#include "base/fileio.h"
#include "base/list.h"
#include "base/map.h"
#include "base/parse.h"
#include "base/strv.h"
#include "base/text.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>
#include <glib/gstdio.h>

/* ---- cleanup, errno ---- */

static void test_cleanup(void) {
        _cleanup_free_ char *a = strdup("a"), *b = NULL;
        _cleanup_close_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), other = -EBADF;

        b = TAKE_PTR(a);
        g_assert_null(a);
        g_assert_cmpstr(b, ==, "a");

        other = TAKE_FD(fd);
        g_assert_cmpint(fd, ==, -EBADF);
        g_assert_cmpint(other, >=, 0);

        g_assert_cmpint(free_and_strdup(&a, "x"), ==, 1);
        g_assert_cmpint(free_and_strdup(&a, "x"), ==, 0);
        g_assert_cmpint(free_and_strdup(&a, "y"), ==, 1);
        g_assert_cmpstr(a, ==, "y");
        g_assert_cmpint(free_and_strdup(&a, NULL), ==, 1);
        g_assert_cmpint(free_and_strdup(&a, NULL), ==, 0);
        g_assert_null(a);

        g_assert_true(streq_ptr(NULL, NULL));
        g_assert_false(streq_ptr("", NULL));
        g_assert_cmpstr(startswith("abc", "ab"), ==, "c");
        g_assert_null(startswith("ab", "abc"));

        errno = 5;
        safe_close(-EBADF);
        safe_close(dup(other));
        g_assert_cmpint(errno, ==, 5);
}

static void test_errno(void) {
        errno = ENOENT;
        g_assert_cmpint(negative_errno(), ==, -ENOENT);
        errno = 0;
        g_assert_cmpint(negative_errno(), <, 0);
        g_assert_true(errno_is_device_absent(-ENXIO));
        g_assert_false(errno_is_device_absent(-EIO));
}

/* ---- map ---- */

static void test_map(void) {
        _cleanup_(map_freep) Map *m = map_new();
        char a[] = "key", b[] = "key";
        size_t n = 0;
        char *v;

        g_assert_null(map_get(m, "key"));
        g_assert_null(map_remove(m, "key"));
        MAP_FOREACH(m, v)
                n++;
        g_assert_cmpuint(n, ==, 0);

        g_assert_cmpint(map_put(m, a, a), ==, 0);
        g_assert_cmpint(map_put(m, b, b), ==, -EEXIST);
        g_assert_true(map_get(m, b) == a);
        g_assert_cmpuint(map_size(m), ==, 1);
        g_assert_cmpint(map_put(m, "", b), ==, 0);
        g_assert_true(map_get(m, "") == b);
        g_assert_true(map_remove(m, b) == a);
        g_assert_null(map_get(m, a));
        g_assert_cmpuint(map_size(m), ==, 1);
}

static void test_map_random(void) {
        _cleanup_(map_freep) Map *m = map_new();
        g_autoptr(GHashTable) oracle = g_hash_table_new(g_str_hash, g_str_equal);
        static char keys[500][8];
        char *v;
        size_t n;

        for (size_t k = 0; k < ELEMENTSOF(keys); k++)
                (void) snprintf(keys[k], sizeof keys[k], "k%zu", k);

        for (int step = 0; step < 100000; step++) {
                char *k = keys[g_test_rand_int_range(0, (int) ELEMENTSOF(keys))];
                bool there = g_hash_table_contains(oracle, k);

                g_assert_true(map_get(m, k) == (there ? k : NULL));
                if (g_test_rand_bit()) {
                        g_assert_cmpint(map_put(m, k, k), ==, there ? -EEXIST : 0);
                        g_hash_table_add(oracle, k);
                } else {
                        g_assert_true(map_remove(m, k) == (there ? k : NULL));
                        g_hash_table_remove(oracle, k);
                }
                g_assert_cmpuint(map_size(m), ==, g_hash_table_size(oracle));
        }

        /* Each once, also while they are removed. */
        n = map_size(m);
        MAP_FOREACH(m, v) {
                g_assert_true(g_hash_table_remove(oracle, v));
                if (n-- % 2 == 0)
                        g_assert_true(map_remove(m, v) == v);
        }
        g_assert_cmpuint(g_hash_table_size(oracle), ==, 0);
}

static void test_map_many(void) {
        _cleanup_(map_freep) Map *m = map_new();
        const size_t n = 200000;
        g_autofree char *keys = g_malloc(n * 16);
        gint64 start = g_get_monotonic_time();

        for (size_t k = 0; k < n; k++) {
                (void) snprintf(keys + k * 16, 16, "%zu", k);
                g_assert_cmpint(map_put(m, keys + k * 16, keys + k * 16), ==, 0);
        }
        for (size_t k = 0; k < n; k++)
                g_assert_true(map_get(m, keys + k * 16) == keys + k * 16);
        for (size_t k = 0; k < n; k++)
                g_assert_true(map_remove(m, keys + k * 16) == keys + k * 16);
        g_assert_cmpuint(map_size(m), ==, 0);

        g_test_message("%zu entries in, found and out in %" G_GINT64_FORMAT " ms", n, (g_get_monotonic_time() - start) / 1000);
}

/* ---- list ---- */

typedef struct Item {
        int value;
        List link;
} Item;

static void test_list(void) {
        Item items[5], *v;
        List l = LIST_INIT(l);
        int sum = 0;

        g_assert_true(list_is_empty(&l));
        LIST_FOREACH(&l, v, Item, link)
                g_assert_not_reached();

        for (int i = 0; i < 5; i++) {
                items[i].value = i;
                list_init(&items[i].link);
                list_append(&l, &items[i].link);
        }

        LIST_FOREACH(&l, v, Item, link) {
                g_assert_cmpint(v->value, ==, sum);
                sum++;
        }

        /* The element that the loop stands on may go. */
        LIST_FOREACH(&l, v, Item, link)
                if (v->value % 2 == 0) {
                        list_unlink(&v->link);
                        list_unlink(&v->link);
                        memset(v, 0xff, sizeof *v);
                }

        sum = 0;
        LIST_FOREACH(&l, v, Item, link)
                sum += v->value;
        g_assert_cmpint(sum, ==, 1 + 3);
        g_assert_false(list_is_empty(&l));
}

/* ---- parse ---- */

static void test_parse_numbers(void) {
        static const char *const bad[] = { "", " 1", "1 ", "+1", "-1", "01", "00", "0x1", "1a", "1\n", "1.0" };
        uint64_t u = 7;
        uint32_t w = 7;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                g_assert_cmpint(parse_u64(bad[i], &u), ==, -EINVAL);
                g_assert_cmpint(parse_u32(bad[i], &w), ==, -EINVAL);
        }
        g_assert_cmpint(parse_u64("18446744073709551616", &u), ==, -ERANGE);
        g_assert_cmpint(parse_u64("99999999999999999999999", &u), ==, -ERANGE);
        g_assert_cmpint(parse_u32("4294967296", &w), ==, -ERANGE);
        g_assert_cmpuint(u, ==, 7);
        g_assert_cmpuint(w, ==, 7);

        g_assert_cmpint(parse_u64("18446744073709551615", &u), ==, 0);
        g_assert_cmpuint(u, ==, UINT64_MAX);
        g_assert_cmpint(parse_u32("4294967295", &w), ==, 0);
        g_assert_cmpuint(w, ==, UINT32_MAX);
        g_assert_cmpint(parse_u32("0", &w), ==, 0);
        g_assert_cmpuint(w, ==, 0);
}

static void test_parse_words(void) {
        g_assert_cmpint(parse_boolean("yes"), ==, 1);
        g_assert_cmpint(parse_boolean("0"), ==, 0);
        g_assert_cmpint(parse_boolean("Yes"), ==, -EINVAL);
        g_assert_cmpint(parse_boolean(""), ==, -EINVAL);

        g_assert_cmpint(hex_digit('f'), ==, 15);
        g_assert_cmpint(hex_digit('A'), ==, 10);
        g_assert_cmpint(hex_digit('0'), ==, 0);
        g_assert_cmpint(hex_digit('g'), <, 0);
        g_assert_cmpint(hex_digit(0), <, 0);

        g_assert_true(string_has_control("a\x1f"));
        g_assert_true(string_has_control("\x7f"));
        g_assert_false(string_has_control("a \xc3\xa4"));
}

static void test_utf8(void) {
        static const char *const fixed[] = {
                "", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf", "\xee\x80\x80",
                "\x80", "\xff", "\xc0\x80", "\xc1\xbf", "\xe0\x80\x80", "\xf0\x80\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                "\xe2\x82", "\xc3", "a\xc3", "\xf8\x88\x80\x80\x80",
        };

        for (size_t i = 0; i < ELEMENTSOF(fixed); i++)
                g_assert_cmpint(string_is_utf8(fixed[i]), ==, g_utf8_validate(fixed[i], -1, NULL));

        for (int step = 0; step < 100000; step++) {
                char s[6] = {};

                for (size_t k = 0; k < sizeof s - 1; k++)
                        s[k] = (char) (g_test_rand_bit() ? g_test_rand_int_range(0x80, 0x100) : g_test_rand_int_range(0, 0x100));
                g_assert_cmpint(string_is_utf8(s), ==, g_utf8_validate(s, -1, NULL));
        }
}

static void test_text(void) {
        static const struct {
                const char *in, *out;
        } table[] = {
                { "", "" }, { "plain text", "plain text" },
                { "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
                { "a\nb\x7f", "a?b?" }, { "\xff", "?" }, { "\xc3", "?" }, { "\xe2\x82", "??" }, { "\xe2\x82x", "??x" },
                { "\xc2\x85z", "??z" }, { "\xf0\x9f\x98", "???" }, { "\xc3\xc3\xa4", "?\xc3\xa4" },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                g_autofree char *out = NULL;

                g_assert_cmpint(text_printable(table[i].in, &out), ==, 0);
                g_assert_cmpstr(out, ==, table[i].out);
        }

        for (int step = 0; step < 100000; step++) {
                g_autofree char *out = NULL;
                char s[6] = {};

                for (size_t k = 0; k < sizeof s - 1; k++)
                        s[k] = (char) g_test_rand_int_range(1, 0x100);
                g_assert_cmpint(text_printable(s, &out), ==, 0);
                g_assert_cmpuint(strlen(out), ==, strlen(s));
                g_assert_true(g_utf8_validate(out, -1, NULL));
                g_assert_false(string_has_control(out));
        }
}

/* ---- strv ---- */

static void test_strv(void) {
        _cleanup_(strv_freep) char **a = NULL, **b = NULL;

        g_assert_cmpuint(strv_length(NULL), ==, 0);
        g_assert_false(strv_contains(NULL, "a"));
        g_assert_null(strv_free(NULL));
        strv_sort(NULL);
        g_assert_true(strv_equal(NULL, NULL));

        for (int i = 99; i >= 0; i--) {
                g_autofree char *s = g_strdup_printf("%02d", i);

                g_assert_cmpint(strv_extend(&a, s), ==, 0);
                g_assert_cmpint(strv_consume(&b, g_strdup(s)), ==, 0);
                g_assert_cmpuint(strv_length(a), ==, (guint) (100 - i));
                g_assert_null(a[100 - i]);
        }
        g_assert_cmpint(strv_consume(&a, NULL), ==, -ENOMEM);
        g_assert_true(strv_equal(a, b));
        g_assert_true(strv_contains(a, "42"));
        g_assert_false(strv_contains(a, "100"));

        strv_sort(a);
        g_assert_false(strv_equal(a, b));
        strv_sort(b);
        g_assert_true(strv_equal(a, b));
        g_assert_cmpstr(a[0], ==, "00");
        g_assert_cmpstr(a[99], ==, "99");
}

/* ---- fileio ---- */

typedef struct Directory {
        char *path;
        int fd;
} Directory;

static void directory_set_up(Directory *d, const void *data) {
        d->path = g_dir_make_tmp("test-base-XXXXXX", NULL);
        g_assert_nonnull(d->path);
        d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        g_assert_cmpint(d->fd, >=, 0);
}

static void directory_tear_down(Directory *d, const void *data) {
        g_autoptr(GDir) dir = g_dir_open(d->path, 0, NULL);
        const char *name;

        while ((name = g_dir_read_name(dir)))
                g_assert_cmpint(unlinkat(d->fd, name, 0), ==, 0);
        g_assert_cmpint(rmdir(d->path), ==, 0);
        safe_close(d->fd);
        g_free(d->path);
}

static guint directory_count(const Directory *d) {
        g_autoptr(GDir) dir = g_dir_open(d->path, 0, NULL);
        guint n = 0;

        while (g_dir_read_name(dir))
                n++;
        return n;
}

static void assert_content(const Directory *d, const char *name, const char *expected) {
        g_autofree char *content = NULL;
        size_t size;

        g_assert_cmpint(read_file_at(d->fd, name, 1 << 20, &content, &size), ==, 0);
        g_assert_cmpstr(content, ==, expected);
        g_assert_cmpuint(size, ==, strlen(expected));
}

static void test_write(Directory *d, const void *data) {
        struct stat st;

        g_assert_cmpint(write_file_atomic_at(d->fd, "x", "one", 3), ==, 0);
        assert_content(d, "x", "one");
        g_assert_cmpint(fstatat(d->fd, "x", &st, 0), ==, 0);
        g_assert_cmpuint(st.st_mode & 07777, ==, 0600);

        /* What a crash left behind is in nobody's way. */
        g_assert_cmpint(symlinkat("/dev/full", d->fd, ".x.new"), ==, 0);
        g_assert_cmpint(write_file_atomic_at(d->fd, "x", "two\n\n", 5), ==, 0);
        assert_content(d, "x", "two");
        g_assert_cmpuint(directory_count(d), ==, 1);

        g_assert_cmpint(write_file_atomic_at(d->fd, "empty", NULL, 0), ==, 0);
        assert_content(d, "empty", "");

        g_assert_cmpint(unlink_durable_at(d->fd, "x"), ==, 0);
        g_assert_cmpint(unlink_durable_at(d->fd, "x"), ==, 0);
        g_assert_cmpuint(directory_count(d), ==, 1);
}

static void test_write_fails(Directory *d, const void *data) {
        g_autofree char *name = g_strnfill(400, 'n');

        g_assert_cmpint(write_file_atomic_at(d->fd, name, "x", 1), ==, -ENAMETOOLONG);

        /* The name is taken by something that a file cannot replace: nothing stays behind. */
        g_assert_cmpint(mkdirat(d->fd, "dir", 0700), ==, 0);
        g_assert_cmpint(write_file_atomic_at(d->fd, "dir", "x", 1), ==, -EISDIR);
        g_assert_cmpuint(directory_count(d), ==, 1);
        g_assert_cmpint(unlink_durable_at(d->fd, "dir"), ==, -EISDIR);
        g_assert_cmpint(unlinkat(d->fd, "dir", AT_REMOVEDIR), ==, 0);

        g_assert_cmpint(write_file_atomic_at(-EBADF, "x", "x", 1), ==, -EBADF);
}

static void test_read(Directory *d, const void *data) {
        g_autofree char *big = g_strnfill(10000, 'b');
        char *content = NULL;

        g_assert_cmpint(write_file_atomic_at(d->fd, "big", big, 10000), ==, 0);
        assert_content(d, "big", big);
        g_assert_cmpint(read_file_at(d->fd, "big", 9999, &content, NULL), ==, -EFBIG);
        g_assert_cmpint(read_file_at(d->fd, "none", 10, &content, NULL), ==, -ENOENT);
        g_assert_cmpint(read_file_at(d->fd, ".", 10, &content, NULL), ==, -EISDIR);
        g_assert_cmpint(read_file_at(AT_FDCWD, "/dev/zero", 100000, &content, NULL), ==, -EFBIG);
        g_assert_null(content);

        g_assert_cmpint(read_file_at(d->fd, "big", 10000, &content, NULL), ==, 0);
        free(content);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/base/cleanup", test_cleanup);
        g_test_add_func("/base/errno", test_errno);
        g_test_add_func("/base/map/simple", test_map);
        g_test_add_func("/base/map/random", test_map_random);
        g_test_add_func("/base/map/many", test_map_many);
        g_test_add_func("/base/list", test_list);
        g_test_add_func("/base/parse/numbers", test_parse_numbers);
        g_test_add_func("/base/parse/words", test_parse_words);
        g_test_add_func("/base/parse/utf8", test_utf8);
        g_test_add_func("/base/text", test_text);
        g_test_add_func("/base/strv", test_strv);
        g_test_add("/base/fileio/write", Directory, NULL, directory_set_up, test_write, directory_tear_down);
        g_test_add("/base/fileio/write-fails", Directory, NULL, directory_set_up, test_write_fails, directory_tear_down);
        g_test_add("/base/fileio/read", Directory, NULL, directory_set_up, test_read, directory_tear_down);

        return g_test_run();
}
