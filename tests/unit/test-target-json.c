/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/strv.h"
#include "store/target-json.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>

/* In the very order in which it is written, so that what is read is written back as the same bytes. */
#define HEAD "{\"version\":1,\"wwn\":\"naa.5001405aaaaaaaaa\",\"label\":\"web \xc3\xbc\",\"nexus\":\"naa.5001405000000001\",\"wanted\":true,"
#define LUN_0                                                                                                                   \
        "{\"number\":0,\"source\":\"wwid=36001\",\"name\":\"d-1\",\"serial\":\"s-1\",\"hba\":7,\"readonly\":false,\"origin\":\"manual\","  \
        "\"wanted\":true,\"attributes\":{\"emulate_3pc\":\"1\",\"queue_depth\":\"64\"},\"later\":null,\"more\":{\"deep\":[1,2.5,\"x\"]}}"
#define LUN_5                                                                                                                   \
        "{\"number\":5,\"source\":\"wwid=36001\",\"name\":\"d-1\",\"serial\":\"s-1\",\"hba\":7,\"readonly\":false,\"origin\":\"udev\","    \
        "\"wanted\":true,\"attributes\":{\"emulate_3pc\":\"1\",\"queue_depth\":\"64\"}}"
#define LUN_LAST                                                                                                                \
        "{\"number\":16383,\"source\":\"by-id=dm-name-a\\\\x20b\",\"name\":\"d-2\",\"serial\":\"s \\\"2\\\"\",\"hba\":1048575,"             \
        "\"readonly\":true,\"origin\":\"import\",\"wanted\":false,\"force\":true}"
#define SAMPLE HEAD "\"luns\":[" LUN_0 "," LUN_5 "," LUN_LAST "],\"future\":{\"\xc3\xbc\":[true,18446744073709551615,-1,1e400]},\"zero\":null}"

static Target *parse(const char *text, size_t size) {
        _cleanup_free_ char *why = NULL;
        Target *t = NULL;
        int r = target_json_parse(text, size, &t, &why);

        if (r < 0)
                g_test_message("%s", strempty(why));
        g_assert_cmpint(r, ==, 0);
        g_assert_null(why);
        return t;
}

static char *format(const Target *t) {
        size_t size = 0;
        char *s = NULL;

        g_assert_cmpint(target_json_format(t, &s, &size), ==, 0);
        g_assert_cmpuint(strlen(s), ==, size);
        return s;
}

static void test_round_trip(void) {
        _cleanup_(target_freep) Target *t = parse(SAMPLE, strlen(SAMPLE));
        _cleanup_free_ char *text = format(t);
        const Lun *l;

        g_assert_cmpstr(text, ==, SAMPLE "\n");

        g_assert_cmpstr(t->wwn, ==, "naa.5001405aaaaaaaaa");
        g_assert_cmpstr(t->label, ==, "web \xc3\xbc");
        g_assert_cmpstr(t->nexus, ==, "naa.5001405000000001");
        g_assert_true(t->wanted && t->present && !t->force && !t->foreign);
        g_assert_cmpuint(t->n_luns, ==, 3);
        l = target_lun(t, 0);
        g_assert_true(l->wanted && l->present && !l->force && l->origin == LUN_MANUAL && l->target == t);
        g_assert_cmpuint(l->backstore->hba, ==, 7);
        g_assert_cmpuint(strv_length(l->backstore->attributes), ==, 2);
        g_assert_true(target_lun(t, 5)->backstore == l->backstore);
        l = target_lun(t, LUN_NUMBER_MAX);
        g_assert_true(!l->wanted && l->force && l->origin == LUN_IMPORT && l->backstore->readonly);
        g_assert_cmpstr(l->backstore->source, ==, "by-id=dm-name-a\\x20b");
        g_assert_cmpstr(l->backstore->serial, ==, "s \"2\"");

        /* A LUN that is done with is not written, and nothing else is lost with it. */
        target_lun(t, 5)->finished = true;
        free(text);
        text = format(t);
        g_assert_cmpstr(text, ==, HEAD "\"luns\":[" LUN_0 "," LUN_LAST "],\"future\":{\"\xc3\xbc\":[true,18446744073709551615,-1,1e400]},"
                        "\"zero\":null}\n");
}

/* Blanks, another order, what may be left out. */
static void test_other_forms(void) {
        static const char *const texts[] = {
                " \n\t" SAMPLE, SAMPLE "\n", SAMPLE " \r\n\t ",
                "{\"luns\":[],\"nexus\":\"naa.5001405000000001\",\"label\":\"\",\"wwn\":\"naa.5001405aaaaaaaaa\",\"version\":1}",
                HEAD "\"luns\":[" LUN_LAST "," LUN_0 "]}",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_(target_freep) Target *t = parse(texts[i], strlen(texts[i])), *u = NULL;
                _cleanup_free_ char *once = format(t), *twice = NULL;

                u = parse(once, strlen(once));
                twice = format(u);
                g_assert_cmpstr(once, ==, twice);
        }
}

/* A target that goes takes its LUNs along, whatever a file says of them. */
static void test_unwanted(void) {
        g_auto(GStrv) parts = g_strsplit(SAMPLE, "\"wanted\":true", 2);
        g_autofree char *text = g_strjoinv("\"wanted\":false,\"force\":true", parts);
        _cleanup_(target_freep) Target *t = parse(text, strlen(text));

        g_assert_true(!t->wanted && t->force);
        for (size_t i = 0; i < t->n_luns; i++)
                g_assert_false(t->luns[i]->wanted);
}

static void assert_refused(const char *text, size_t size, int error, const char *word) {
        Target *t = (Target *) (void *) &t;
        _cleanup_free_ char *why = NULL;

        g_assert_cmpint(target_json_parse(text, size, &t, &why), ==, error);
        g_assert_true((void *) t == &t);
        g_assert_nonnull(why);
        g_assert_true(strlen(why) > 5 && !strchr(why, '\n'));
        if (word && !strstr(why, word))
                g_error("\"%s\" does not say \"%s\"", why, word);
}

static void test_cut(void) {
        for (size_t n = 0; n < strlen(SAMPLE); n++) {
                /* Of just that size, so that a byte read beyond is seen. */
                g_autofree char *cut = g_memdup2(SAMPLE, n);

                assert_refused(cut ?: "", n, -EINVAL, NULL);
        }
}

/* No byte of it changed makes anything but a refusal, or a target that is written and read as the same. */
static void test_mutate(void) {
        static const char bytes[] = { 0, '"', '\\', '{', '}', '[', ']', ',', ':', '0', '9', 'e', '-', ' ', '\n', 0x7f, (char) 0x80, (char) 0xff };
        g_autofree char *text = g_strdup(SAMPLE);
        size_t size = strlen(SAMPLE);

        for (size_t i = 0; i < size; i++)
                for (size_t k = 0; k < ELEMENTSOF(bytes); k++) {
                        _cleanup_(target_freep) Target *t = NULL, *u = NULL;
                        _cleanup_free_ char *why = NULL, *once = NULL, *twice = NULL;
                        int r;

                        text[i] = bytes[k];
                        r = target_json_parse(text, size, &t, &why);
                        text[i] = SAMPLE[i];
                        if (r < 0) {
                                g_assert_nonnull(why);
                                continue;
                        }

                        once = format(t);
                        u = parse(once, strlen(once));
                        twice = format(u);
                        g_assert_cmpstr(once, ==, twice);
                }
}

static void test_broken(void) {
        static const struct {
                const char *from, *to, *word;
        } table[] = {
                { "{\"version\":1,", "{", "version" },
                { "\"version\":1", "\"version\":0", "version" },
                { "\"version\":1", "\"version\":-1", "version" },
                { "\"version\":1", "\"version\":1.0", "version" },
                { "\"version\":1", "\"version\":\"1\"", "version" },
                { "\"version\":1", "\"version\":null", "version" },
                { "\"wwn\":\"naa.5001405aaaaaaaaa\",", "", "wwn" },
                { "naa.5001405aaaaaaaaa", "naa.5001405AAAAAAAAA", "wwn" },
                { "naa.5001405aaaaaaaaa", "0x5001405aaaaaaaaa", "wwn" },
                { "naa.5001405aaaaaaaaa", "naa.5001405aaaaaaaa", "wwn" },
                { "naa.5001405aaaaaaaaa", "naa.5001405aaaaaaaaa\\u0000", "wwn" },
                { "naa.5001405aaaaaaaaa", "../../etc/passwd", "wwn" },
                { "\"naa.5001405aaaaaaaaa\"", "5", "wwn" },
                { "naa.5001405000000001", "naa.1001405000000001", "nexus" },
                { "\"nexus\":\"naa.5001405000000001\",", "", "nexus" },
                { "\"label\":\"web \xc3\xbc\",", "", "label" },
                { "web \xc3\xbc", "web\\n", "label" },
                { "web \xc3\xbc", "web\\u0000", "label" },
                { "web \xc3\xbc", "web\xc3", "JSON" },
                { "web \xc3\xbc", "web\xff", "JSON" },
                { "web \xc3\xbc", "web\xed\xa0\x80", NULL },
                { "\"wanted\":true,\"luns\"", "\"wanted\":1,\"luns\"", "wanted" },
                { "\"wanted\":true,\"luns\"", "\"wanted\":null,\"luns\"", "wanted" },
                { "\"wanted\":true,\"luns\"", "\"wanted\":true,\"force\":\"yes\",\"luns\"", "force" },
                { "\"wanted\":true,\"luns\"", "\"wanted\":true,\"force\":true,\"luns\"", "force" },
                { "\"luns\":[", "\"luns\":{},\"l\":[", "luns" },
                { "\"luns\":[", "\"l\":[", "luns" },
                { "\"luns\":[", "\"luns\":[null,", "no object" },
                { "\"luns\":[", "\"luns\":[[],", "no object" },
                { "\"luns\":[", "\"luns\":[{},", "number" },
                { "\"number\":5", "\"number\":0", "twice" },
                { "\"number\":5", "\"number\":16384", "16383" },
                { "\"number\":5", "\"number\":4294967296", "number" },
                { "\"number\":5", "\"number\":-1", "number" },
                { "\"number\":5", "\"number\":5.5", "number" },
                { "\"number\":5", "\"number\":\"5\"", "number" },
                { "wwid=36001", "/dev/sda", "source" },
                { "wwid=36001", "wwid=a,udev_path=/dev/sda", "source" },
                { "wwid=36001", "wwid=", "source" },
                { "wwid=36001", "file=/srv/../x", "source" },
                { "wwid=36001", "file=/srv/x", "filesystem" },
                { "wwid=36001", "wwid=36001\\u0000", "source" },
                { "\"source\":\"wwid=36001\"", "\"source\":[]", "source" },
                { "\"name\":\"d-1\"", "\"name\":\"\"", "name" },
                { "\"name\":\"d-1\"", "\"name\":\"..\"", "name" },
                { "\"name\":\"d-1\"", "\"name\":\"a/b\"", "name" },
                { "\"name\":\"d-1\"", "\"name\":\"a\\u0000\"", "name" },
                { "\"name\":\"d-1\",", "", "name" },
                { "\"serial\":\"s-1\"", "\"serial\":\"\"", "serial" },
                { "\"serial\":\"s-1\"", "\"serial\":\"a,b\"", "serial" },
                { "\"serial\":\"s-1\"", "\"serial\":\" s\"", "serial" },
                { "\"hba\":7", "\"hba\":-7", "hba" },
                { "\"hba\":7", "\"hba\":1048576", "hba" },
                { "\"hba\":7", "\"hba\":4294967295", "hba" },
                { "\"hba\":7,", "", "hba" },
                { "\"readonly\":false", "\"readonly\":0", "readonly" },
                { "\"origin\":\"manual\"", "\"origin\":\"magic\"", "origin" },
                { "\"origin\":\"manual\",", "", "origin" },
                { "\"queue_depth\":\"64\"", "\"queue_depth\":64", "queue_depth" },
                { "\"queue_depth\":\"64\"", "\"queue_depth\":\"0x40\"", "queue_depth" },
                { "\"queue_depth\":\"64\"", "\"queue_depth\":\"64\\n\"", "queue_depth" },
                { "\"queue_depth\":\"64\"", "\"../enable\":\"0\"", "enable" },
                { "{\"emulate_3pc\":\"1\",\"queue_depth\":\"64\"}", "[]", "attributes" },
                { "\"wanted\":false,\"force\":true", "\"wanted\":true,\"force\":true", "force" },
                { "\"wanted\":false,\"force\":true", "\"wanted\":0", "wanted" },
                /* The second LUN on a disk says otherwise than the first; another disk has the HBA of the first. */
                { "\"hba\":1048575", "\"hba\":7", "hba" },
                { "\"origin\":\"udev\"", "\"origin\":\"udev\",\"name\":\"d-9\"", "disagrees" },
                { "\"origin\":\"udev\"", "\"origin\":\"udev\",\"serial\":\"s-9\"", "disagrees" },
                { "\"origin\":\"udev\"", "\"origin\":\"udev\",\"hba\":9", "disagrees" },
                { "\"origin\":\"udev\"", "\"origin\":\"udev\",\"readonly\":true", "disagrees" },
                { "\"64\"}}," LUN_LAST, "\"65\"}}," LUN_LAST, "disagrees" },
                { ",\"zero\":null}", ",\"zero\":null}}", "JSON" },
                { ",\"zero\":null}", ",\"zero\":null,}", "JSON" },
                { ",\"zero\":null}", ",\"zero\":null} x", "JSON" },
                { "{\"version\"", "/* c */{\"version\"", "JSON" },
                { "{\"version\"", "{version", "JSON" },
                { "{\"version\"", "\xef\xbb\xbf{\"version\"", "JSON" },
                { "{\"version\"", "[{\"version\"", "JSON" },
                { SAMPLE, "[]", "object" }, { SAMPLE, "null", NULL }, { SAMPLE, "1", NULL }, { SAMPLE, "\"x\"", "object" }, { SAMPLE, "", NULL },
                { SAMPLE, " ", NULL }, { SAMPLE, "{}", "version" },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                g_auto(GStrv) parts = g_strsplit(SAMPLE, table[i].from, 2);
                g_autofree char *text = g_strjoinv(table[i].to, parts);

                g_assert_cmpuint(g_strv_length(parts), ==, 2);
                g_test_message("%s -> %s", table[i].from, table[i].to);
                assert_refused(text, strlen(text), -EINVAL, table[i].word);
        }

        assert_refused(SAMPLE "\0", strlen(SAMPLE) + 1, -EINVAL, "JSON");
        assert_refused(SAMPLE "\0x", strlen(SAMPLE) + 2, -EINVAL, "JSON");
        assert_refused("\0", 1, -EINVAL, "JSON");
}

/* What a newer version has written may look like anything. */
static void test_newer(void) {
        static const char *const texts[] = {
                "{\"version\":2}", "{\"version\":4294967294,\"luns\":5}", "{\"wwn\":[],\"version\":2,\"luns\":{}}",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                assert_refused(texts[i], strlen(texts[i]), -EPROTONOSUPPORT, "newer");
}

static void test_deep_and_large(void) {
        GString *s = g_string_new(HEAD "\"luns\":[],\"deep\":");
        g_autofree char *large = NULL, *filler = g_strnfill(10000, '[');

        g_string_append(s, filler);
        assert_refused(s->str, s->len, -EINVAL, "JSON");
        for (unsigned i = 0; i < 10000; i++)
                g_string_append_c(s, ']');
        g_string_append_c(s, '}');
        assert_refused(s->str, s->len, -EINVAL, "JSON");
        g_string_free(s, TRUE);

        large = g_malloc(TARGET_JSON_MAX + 1);
        memset(large, ' ', TARGET_JSON_MAX + 1);
        memcpy(large, SAMPLE, strlen(SAMPLE));
        assert_refused(large, (size_t) TARGET_JSON_MAX + 1, -EFBIG, "larger");
        target_free(parse(large, TARGET_JSON_MAX));
}

static Target *make_large(unsigned n, bool every_attribute) {
        static const char *const names[] = {
                "block_size", "emulate_3pc", "emulate_caw", "emulate_fua_write", "emulate_model_alias", "emulate_pr", "emulate_rest_reord",
                "emulate_tas", "emulate_tpu", "emulate_tpws", "enforce_pr_isids", "is_nonrot", "max_unmap_block_desc_count", "max_unmap_lba_count",
        };
        g_autofree char *name = g_strnfill(BACKSTORE_NAME_MAX, 'n'), *serial = g_strnfill(BACKSTORE_SERIAL_MAX, '"');
        g_autofree char *filler = g_strnfill(450, 'x');
        Target *t = target_new("naa.5001405aaaaaaaaa");

        memcpy(t->nexus, "naa.5001405000000001", WWN_SIZE);
        for (unsigned i = 0; i < n; i++) {
                g_autofree char *source = g_strdup_printf("wwid=%s%u", filler, i);
                Backstore *b = backstore_new(source);

                b->hba = i;
                b->name = strdup(name);
                b->serial = strdup(serial);
                for (size_t k = 0; every_attribute && k < ELEMENTSOF(names); k++) {
                        char *s;

                        g_assert_cmpint(asprintf(&s, "%s=18446744073709551615", names[k]), >, 0);
                        g_assert_cmpint(strv_consume(&b->attributes, s), >=, 0);
                }
                g_assert_cmpint(target_add_lun(t, lun_new(i, b)), ==, 0);
        }

        return t;
}

/* As many LUNs as there are numbers; and more text than is read is not written in the first place. */
static void test_many(void) {
        _cleanup_(target_freep) Target *t = make_large(LUN_NUMBER_MAX + 1, false), *u = NULL, *over = NULL;
        _cleanup_free_ char *once = format(t), *twice = NULL;
        size_t size = 1;
        char *s = NULL;

        u = parse(once, strlen(once));
        twice = format(u);
        g_assert_true(streq(once, twice));
        g_assert_cmpuint(u->n_luns, ==, LUN_NUMBER_MAX + 1);

        over = make_large(LUN_NUMBER_MAX + 1, true);
        g_assert_cmpint(target_json_format(over, &s, &size), ==, -EFBIG);
        g_assert_null(s);
        g_assert_cmpuint(size, ==, 1);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/target-json/round-trip", test_round_trip);
        g_test_add_func("/target-json/other-forms", test_other_forms);
        g_test_add_func("/target-json/unwanted", test_unwanted);
        g_test_add_func("/target-json/cut", test_cut);
        g_test_add_func("/target-json/mutate", test_mutate);
        g_test_add_func("/target-json/broken", test_broken);
        g_test_add_func("/target-json/newer", test_newer);
        g_test_add_func("/target-json/deep-and-large", test_deep_and_large);
        g_test_add_func("/target-json/many", test_many);

        return g_test_run();
}
