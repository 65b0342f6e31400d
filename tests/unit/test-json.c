/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/document-json.h"
#include "store/json-text.h"
#include "store/saveconfig.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>

/* Every allocation of the library "counted" comes through here (--wrap in meson.build), and none of json-c's. */
static int64_t allocations_left = -1;           /* one more, and it fails; -1: never */
static uint64_t allocations;

static bool allocation_fails(void) {
        allocations++;
        if (allocations_left < 0 || allocations_left-- > 0)
                return false;

        errno = ENOMEM;
        return true;
}

#define WRAP(type, name, parameters, arguments)                                                 \
        type __real_##name parameters;                                                          \
        type __wrap_##name parameters;                                                          \
        type __wrap_##name parameters {                                                         \
                return allocation_fails() ? NULL : __real_##name arguments;                     \
        }

WRAP(void *, malloc, (size_t n), (n))
WRAP(void *, calloc, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, (void *p, size_t n), (p, n))
WRAP(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size))
WRAP(char *, strdup, (const char *s), (s))
WRAP(char *, strndup, (const char *s, size_t n), (s, n))

int __wrap_asprintf(char **ret, const char *format, ...) _printf_(2, 3);
int __real_vasprintf(char **ret, const char *format, va_list ap);
int __wrap_vasprintf(char **ret, const char *format, va_list ap);

int __wrap_vasprintf(char **ret, const char *format, va_list ap) {
        return allocation_fails() ? -1 : __real_vasprintf(ret, format, ap);
}

int __wrap_asprintf(char **ret, const char *format, ...) {
        va_list ap;
        int n;

        va_start(ap, format);
        n = __wrap_vasprintf(ret, format, ap);
        va_end(ap);
        return n;
}

static const char saved[] =
        "{\"fabric_modules\":[{\"name\":\"x\"}],\"storage_objects\":["
        "{\"attributes\":{\"block_size\":4096,\"emulate_3pc\":1,\"queue_depth\":128,\"new\":\"a\"},\"dev\":\"/dev/disk/by-id/a\",\"name\":\"d\","
        "\"plugin\":\"block\",\"wwn\":\"s-1\",\"alua_tpgs\":[{\"name\":\"g\"}]},"
        "{\"dev\":\"/srv/f\",\"name\":\"f\",\"plugin\":\"fileio\",\"size\":512,\"write_back\":true,\"wwn\":\"s-2\"},"
        "{\"dev\":\"/dev/b,c\",\"name\":\"b\",\"plugin\":\"iblock\"}],\"targets\":["
        "{\"fabric\":\"vhost\",\"wwn\":\"naa.5001405AAAAAAAAA\",\"tpgs\":[{\"attributes\":{\"a\":1},\"tag\":1,\"luns\":["
        "{\"alias\":\"x\",\"index\":0,\"storage_object\":\"/backstores/block/d\"},{\"index\":1,\"storage_object\":\"/backstores/fileio/f\"},"
        "{\"index\":2,\"storage_object\":\"/backstores/block/b\"},{\"index\":3,\"storage_object\":\"/backstores/block/none\"}]},{\"tag\":2}]},"
        "{\"fabric\":\"vhost\",\"wwn\":\"naa.6001405bbbbbbbbb\",\"tpgs\":[{\"luns\":[{\"index\":4,\"storage_object\":\"/backstores/block/d\"}]}]},"
        "{\"fabric\":\"iscsi\",\"wwn\":\"iqn.2003-01.org:x\"}]}";

/* There and back through both formats; *ret_text gets all that was written. */
static int go_round(char **ret_text) {
        _cleanup_(document_done) Document d = {}, native = {};
        _cleanup_free_ char *why = NULL, *text = NULL, *theirs = NULL, *more = NULL;
        size_t size, theirs_size;
        int r;

        r = saveconfig_parse(saved, strlen(saved), &d, &why);
        if (r >= 0)
                r = document_json_format(&d, &text, &size);
        if (r >= 0)
                r = document_json_parse(text, size, &native, &more);
        if (r >= 0)
                r = saveconfig_format(&native, &theirs, &theirs_size);
        if (r < 0)
                return r;

        *ret_text = g_strconcat(text, theirs, NULL);
        return 0;
}

/* Wherever there is no memory, that is said: nothing is half written, nothing leaks (the sanitizer looks). */
static void test_no_memory(void) {
        g_autofree char *whole = NULL;
        uint64_t all;

        allocations = 0;
        g_assert_cmpint(go_round(&whole), ==, 0);
        all = allocations;
        g_assert_cmpuint(all, >, 200);

        for (uint64_t i = 0; i < all; i++) {
                g_autofree char *text = NULL;
                int r;

                allocations_left = (int64_t) i;
                r = go_round(&text);
                allocations_left = -1;
                if (r != -ENOMEM)
                        g_error("allocation %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " failed, and the answer is %d", i, all, r);
        }

        g_test_message("%" G_GUINT64_FORMAT " allocations", all);
}

/* What we write is what json-c writes when it has memory. */
static void test_write(void) {
        static const char *const texts[] = {
                "null", "true", "false", "0", "-1", "9223372036854775807", "18446744073709551615", "-9223372036854775808", "1.50", "1e400", "-0.0",
                "\"\"", "\"a/b\"", "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u0001\\u001f\\u007f\xc3\xbc\"", "\"\\n\"", "\"x\\n\"", "\"\\nx\"",
                "{}", "[]", "{\"\":{\"a\\n\":null}}", "[[],{},[1,[2,[\"x\"]]],null,{\"a\":[true,1.0e-5],\"b\":{}}]",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_(json_object_putp) Json *o = json_tokener_parse(texts[i]), *again = NULL;
                _cleanup_free_ char *plain = NULL, *pretty = NULL;
                g_autofree char *theirs = NULL;
                size_t size;

                theirs = g_strconcat(json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE), "\n", NULL);
                g_assert_cmpint(json_write(o, JSON_PLAIN, &plain, &size), ==, 0);
                g_assert_cmpstr(plain, ==, theirs);
                g_assert_cmpuint(size, ==, strlen(plain));

                g_assert_cmpint(json_write(o, JSON_PRETTY, &pretty, &size), ==, 0);
                g_assert_cmpuint(size, ==, strlen(pretty));
                again = json_tokener_parse(pretty);
                g_assert_true(json_object_equal(o, again));
        }
}

static void test_pretty(void) {
        _cleanup_(json_object_putp) Json *o = json_tokener_parse("{\"a\":[1,[],{}],\"b\":{\"c\":\"d\"}}");
        _cleanup_free_ char *s = NULL;
        size_t size;

        g_assert_cmpint(json_write(o, JSON_PRETTY, &s, &size), ==, 0);
        g_assert_cmpstr(s, ==, "{\n  \"a\": [\n    1,\n    [],\n    {}\n  ],\n  \"b\": {\n    \"c\": \"d\"\n  }\n}\n");
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/json/write", test_write);
        g_test_add_func("/json/pretty", test_pretty);
        g_test_add_func("/json/no-memory", test_no_memory);

        return g_test_run();
}
