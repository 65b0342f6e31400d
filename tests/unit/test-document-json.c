/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/strv.h"
#include "counted.h"
#include "store/document-json.h"
#include "document-add.h"

#define WWN_A "naa.5001405aaaaaaaaa"
#define WWN_B "naa.6001405bbbbbbbbb"

/* In the very form in which it is written. */
#define SAMPLE                                                                                          \
        "{\n"                                                                                           \
        "  \"format\": \"vhscsid\",\n"                                                                  \
        "  \"version\": 1,\n"                                                                           \
        "  \"targets\": [\n"                                                                            \
        "    {\n"                                                                                       \
        "      \"wwn\": \"" WWN_A "\",\n"                                                               \
        "      \"label\": \"web \xc3\xbc\",\n"                                                          \
        "      \"nexus\": \"naa.5001405000000001\",\n"                                                  \
        "      \"luns\": [\n"                                                                           \
        "        {\n"                                                                                   \
        "          \"number\": 0,\n"                                                                    \
        "          \"source\": \"dm-uuid=mpath-3600140500000001\",\n"                                   \
        "          \"name\": \"disk1\",\n"                                                              \
        "          \"serial\": \"s-1\",\n"                                                              \
        "          \"readonly\": true,\n"                                                               \
        "          \"shareable\": true,\n"                                                              \
        "          \"attributes\": {\n"                                                                 \
        "            \"emulate_3pc\": \"1\",\n"                                                         \
        "            \"queue_depth\": \"64\"\n"                                                         \
        "          },\n"                                                                                \
        "          \"size\": 1073741824,\n"                                                             \
        "          \"identity\": \"wwid=3600140500000001\"\n"                                           \
        "        },\n"                                                                                  \
        "        {\n"                                                                                   \
        "          \"number\": 16383,\n"                                                                \
        "          \"source\": \"file=/srv/a b.img\",\n"                                                \
        "          \"name\": \"disk1\",\n"                                                              \
        "          \"size\": 512,\n"                                                                    \
        "          \"identity\": \"filesystem=x\",\n"                                                   \
        "          \"mount\": \"/srv\"\n"                                                               \
        "        }\n"                                                                                   \
        "      ]\n"                                                                                     \
        "    },\n"                                                                                      \
        "    {\n"                                                                                       \
        "      \"wwn\": \"" WWN_B "\"\n"                                                                \
        "    }\n"                                                                                       \
        "  ]\n"                                                                                         \
        "}\n"

static void parse(const char *text, size_t size, Document *ret) {
        _cleanup_free_ char *why = NULL;
        int r = document_json_parse(text, size, ret, &why);

        if (r < 0)
                g_error("%s", strempty(why));
        g_assert_null(why);
}

static char *format(const Document *d) {
        size_t size = 0;
        char *s = NULL;

        g_assert_cmpint(document_json_format(d, &s, &size), ==, 0);
        g_assert_cmpuint(strlen(s), ==, size);
        return s;
}

static void assert_same(const Document *a, const Document *b) {
        g_assert_cmpuint(a->n_targets, ==, b->n_targets);
        for (size_t i = 0; i < a->n_targets; i++) {
                const DocumentTarget *s = &a->targets[i], *t = &b->targets[i];

                g_assert_cmpstr(s->wwn, ==, t->wwn);
                g_assert_cmpstr(s->label, ==, t->label);
                g_assert_cmpstr(s->nexus, ==, t->nexus);
                g_assert_cmpuint(s->n_luns, ==, t->n_luns);
                for (size_t k = 0; k < s->n_luns; k++) {
                        const DocumentLun *l = &s->luns[k], *m = &t->luns[k];

                        g_assert_cmpuint(l->number, ==, m->number);
                        g_assert_cmpstr(l->source, ==, m->source);
                        g_assert_cmpstr(l->name, ==, m->name);
                        g_assert_cmpstr(l->serial, ==, m->serial);
                        g_assert_true(l->readonly == m->readonly && l->shareable == m->shareable);
                        g_assert_true(strv_equal(l->attributes, m->attributes));
                        g_assert_cmpuint(l->size, ==, m->size);
                        g_assert_cmpstr(l->identity, ==, m->identity);
                        g_assert_cmpstr(l->mount, ==, m->mount);
                }
        }
}

static void assert_round_trip(const Document *d) {
        _cleanup_(document_done) Document again = {};
        _cleanup_free_ char *once = format(d), *twice = NULL;

        parse(once, strlen(once), &again);
        assert_same(d, &again);
        twice = format(&again);
        g_assert_cmpstr(once, ==, twice);
}

static void assert_refused(const char *text, size_t size, int error, const char *word) {
        Document d = { .n_notes = 77 };
        _cleanup_free_ char *why = NULL;

        g_assert_cmpint(document_json_parse(text, size, &d, &why), ==, error);
        g_assert_true(d.n_notes == 77 && !d.targets);
        g_assert_nonnull(why);
        g_assert_true(strlen(why) > 5 && !strchr(why, '\n'));
        if (word && !strstr(why, word))
                g_error("\"%s\" does not say \"%s\"", why, word);
}

static void test_sample(void) {
        _cleanup_(document_done) Document d = {};
        _cleanup_free_ char *text = NULL;
        const DocumentLun *l;

        parse(SAMPLE, strlen(SAMPLE), &d);
        text = format(&d);
        g_assert_cmpstr(text, ==, SAMPLE);
        assert_round_trip(&d);

        g_assert_cmpuint(d.n_targets, ==, 2);
        g_assert_cmpuint(d.n_notes, ==, 0);
        g_assert_cmpstr(d.targets[0].label, ==, "web \xc3\xbc");
        g_assert_cmpstr(d.targets[0].nexus, ==, "naa.5001405000000001");
        l = document_target_lun(&d.targets[0], 0);
        g_assert_true(l->readonly && l->shareable && !l->mount && l->size == 1 << 30);
        g_assert_cmpstr(l->serial, ==, "s-1");
        g_assert_cmpstr(l->attributes[1], ==, "queue_depth=64");
        l = document_target_lun(&d.targets[0], 16383);
        g_assert_true(!l->readonly && !l->shareable && !l->serial && !l->attributes);
        g_assert_cmpstr(l->source, ==, "file=/srv/a b.img");
        g_assert_true(!d.targets[1].label && !d.targets[1].nexus[0] && d.targets[1].n_luns == 0);
}

#define OF_B "\"wwn\": \"" WWN_B "\""
#define FILE_OF(targets) "{\"format\":\"vhscsid\",\"version\":1,\"targets\":[" targets "]}"

/* As little as may be said, another order, other spellings. */
static void test_other_forms(void) {
        static const char *const texts[] = {
                FILE_OF(""), " \n" FILE_OF("") "\r\n\t ",
                "{\"targets\":[],\"version\":1,\"format\":\"vhscsid\"}",
                FILE_OF("{\"wwn\":\"NAA.5001405AAAAAAAAA\"}"),
                FILE_OF("{\"wwn\":\"50:01:40:5a:aa:aa:aa:aa\",\"label\":\"\",\"nexus\":\"0x5001405000000001\"}"),
                FILE_OF("{\"luns\":[{\"source\":\"/dev/disk/by-id/a\",\"number\":5},{\"source\":\"by-id=a\",\"number\":4}],\"wwn\":\"5001405aaaaaaaaa\"}"),
                FILE_OF("{\"wwn\":\"5001405aaaaaaaaa\",\"luns\":[{\"number\":0,\"source\":\"/dev/a\","
                        "\"attributes\":{\"queue_depth\":7,\"block_size\":\"512\"}}]}"),
                FILE_OF("{\"wwn\":\"5001405aaaaaaaaa\",\"luns\":[{\"number\":0,\"source\":\"/dev/a\",\"attributes\":{},\"size\":0,\"readonly\":false}]}"),
                FILE_OF("{\"wwn\":\"5001405bbbbbbbbb\"},{\"wwn\":\"5001405aaaaaaaaa\"}"),
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_(document_done) Document d = {};

                parse(texts[i], strlen(texts[i]), &d);
                assert_round_trip(&d);
        }
}

/* The manual's examples are read, and the last one is as it would be written. */
static void test_manual(void) {
        g_autofree char *name = g_test_build_filename(G_TEST_DIST, "man", "vhscsid-document.5.scd", NULL), *page = NULL;
        g_auto(GStrv) parts = NULL;
        unsigned n;

        g_assert_true(g_file_get_contents(name, &page, NULL, NULL));
        parts = g_strsplit(page, "```\n", -1);
        n = g_strv_length(parts);
        g_assert_cmpuint(n, ==, 5);
        for (unsigned i = 1; i < n; i += 2) {
                _cleanup_(document_done) Document d = {};
                _cleanup_free_ char *text = NULL;

                parse(parts[i], strlen(parts[i]), &d);
                text = format(&d);
                if (i == n - 2)
                        g_assert_cmpstr(text, ==, parts[i]);
        }
}

static void test_broken(void) {
        static const struct {
                const char *from, *to, *word;
        } table[] = {
                { "\"format\": \"vhscsid\",", "", "format" },
                { "\"vhscsid\"", "\"targetcli\"", "format" },
                { "\"vhscsid\"", "1", "format" },
                { "\"version\": 1,", "", "version" },
                { "\"version\": 1", "\"version\": 0", "version" },
                { "\"version\": 1", "\"version\": \"1\"", "version" },
                { "\"version\": 1,", "\"version\": 1, \"comment\": \"x\",", "comment" },
                { "\"targets\": [", "\"targets\": {}, \"t\": [", "\"t\"" },
                { "\"version\": 1,", "\"version\": 1, \"version\": 1,", "twice" },
                { "\"wwn\": \"" WWN_A "\"", "\"wwn\": \"naa.1001405aaaaaaaaa\"", "number 0 has no wwn" },
                { "\"wwn\": \"" WWN_B "\"", "\"wwn\": null", "number 1 has no wwn" },
                { "\"wwn\": \"" WWN_B "\"", "\"wwn\": \"" WWN_A "\"", "twice" },
                { "\"label\"", "\"Label\"", "there is no key \"Label\"" },
                { "web \xc3\xbc", "web\\n", "label" },
                { "web \xc3\xbc", "web\\u0000", "label" },
                { "\"web \xc3\xbc\"", "5", "label" },
                { "naa.5001405000000001", "", "nexus" },
                { "\"naa.5001405000000001\"", "[]", "nexus" },
                { OF_B, OF_B ", \"luns\": {}", "luns" },
                { OF_B, OF_B ", \"luns\": null", "luns" },
                { OF_B, OF_B ", \"luns\": [5]", "no object" },
                { OF_B, OF_B ", \"luns\": [{}]", "number" },
                { OF_B, OF_B ", \"luns\": [{\"number\":0}]", "source" },
                { "\"number\": 0", "\"number\": 16384", "16383" },
                { "\"number\": 0", "\"number\": 16383", "twice" },
                { "\"number\": 0", "\"number\": -1", "number" },
                { "\"number\": 0", "\"number\": 0.0", "number" },
                { "\"number\": 0", "\"number\": \"0\"", "number" },
                { "dm-uuid=mpath-3600140500000001", "mpatha", "source" },
                { "dm-uuid=mpath-3600140500000001", "dm-uuid=a,readonly=0", "comma" },
                { "dm-uuid=mpath-3600140500000001", "dm-uuid=a\\u0000", "source" },
                { "\"disk1\"", "\"\"", "name" },
                { "\"disk1\"", "\"a b\"", "name" },
                { "\"disk1\"", "null", "name" },
                { "\"s-1\"", "\"\"", "serial" },
                { "\"s-1\"", "\" s\"", "serial" },
                { "\"s-1\"", "1", "serial" },
                { "\"readonly\": true", "\"readonly\": 1", "readonly" },
                { "\"readonly\": true", "\"readonly\": null", "readonly" },
                { "\"shareable\": true", "\"shareable\": \"yes\"", "shareable" },
                { "\"queue_depth\"", "\"queue_depht\"", "queue_depht" },
                { "\"queue_depth\"", "\"emulate_write_cache\"", "emulate_write_cache" },
                { "\"64\"", "\"0x40\"", "queue_depth" },
                { "\"64\"", "true", "queue_depth" },
                { "\"64\"", "-1", "queue_depth" },
                { "\"64\"", "64.0", "queue_depth" },
                { "\"64\"", "null", "queue_depth" },
                { "1073741824", "-1", "size" },
                { "1073741824", "9223372036854775807", "size" },
                { "1073741824", "18446744073709551616", "size" },
                { "1073741824", "\"1G\"", "size" },
                { "wwid=3600140500000001", "3600140500000001", "identity" },
                { "wwid=3600140500000001", "/dev/a", "identity" },
                { "filesystem=x", "wwid=1", "filesystem" },
                { "\"/srv\"", "\"srv\"", "mount" },
                { "\"identity\": \"wwid=3600140500000001\"", "\"mount\": \"/srv\"", "mount" },
                { "\"wwid=3600140500000001\"", "\"wwid=3600140500000001\", \"hba\": 7", "hba" },
                { SAMPLE, "", "JSON" }, { SAMPLE, "null", NULL }, { SAMPLE, "[]", "object" }, { SAMPLE, "{}", "format" },
                { SAMPLE, "{\"format\":\"vhscsid\",\"version\":1}", "targets" },
                { SAMPLE, FILE_OF("{\"wwn\":\"5001405aaaaaaaaa\",\"w\\u0077n\":\"5001405aaaaaaaaa\"}"), "\"wwn\" is there twice" },
                { SAMPLE, FILE_OF("{\"wwn\":\"5001405aaaaaaaaa\",\"wwn\\u0000\":1}"), "NUL" },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                g_auto(GStrv) parts = g_strsplit(SAMPLE, table[i].from, 2);
                g_autofree char *text = g_strjoinv(table[i].to, parts);

                g_assert_cmpuint(g_strv_length(parts), ==, 2);
                g_test_message("%zu: %s", i, table[i].to);
                assert_refused(text, strlen(text), -EINVAL, table[i].word);
        }

        assert_refused(SAMPLE "\0", strlen(SAMPLE) + 1, -EINVAL, "JSON");
}

static void test_newer(void) {
        static const char *const texts[] = {
                "{\"format\":\"vhscsid\",\"version\":2}", "{\"format\":\"vhscsid\",\"version\":4294967294,\"targets\":5,\"new\":{}}",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++)
                assert_refused(texts[i], strlen(texts[i]), -EPROTONOSUPPORT, "newer");
}

static void test_cut(void) {
        size_t size = strlen(SAMPLE) - 1;       /* without the newline */

        for (size_t n = 0; n < size; n++) {
                /* Of just that size, so that a byte read beyond is seen. */
                g_autofree char *cut = g_memdup2(SAMPLE, n);

                assert_refused(cut ?: "", n, -EINVAL, NULL);
        }
}

/* No byte of it changed makes anything but a refusal, or a document that is written and read as the same. */
static void test_mutate(void) {
        static const char bytes[] = { 0, '"', '\\', '{', '}', '[', ']', ',', ':', '0', 'e', ' ', '\n', (char) 0x80 };
        g_autofree char *text = g_strdup(SAMPLE);
        size_t size = strlen(SAMPLE), taken = 0;

        for (size_t i = 0; i < size; i++)
                for (size_t k = 0; k < ELEMENTSOF(bytes); k++) {
                        _cleanup_(document_done) Document d = {};
                        _cleanup_free_ char *why = NULL;
                        int r;

                        text[i] = bytes[k];
                        r = document_json_parse(text, size, &d, &why);
                        text[i] = SAMPLE[i];
                        g_assert_true((r < 0) == (why != NULL));
                        if (r < 0)
                                continue;

                        assert_round_trip(&d);
                        taken++;
                }

        g_assert_cmpuint(taken, >, size);
}

static void test_deep_and_large(void) {
        _cleanup_(document_done) Document d = {};
        GString *s = g_string_new("{\"format\":\"vhscsid\",\"version\":1,\"targets\":");
        g_autofree char *large = g_malloc(DOCUMENT_JSON_MAX + 1);

        for (unsigned i = 0; i < 10000; i++)
                g_string_append_c(s, '[');
        assert_refused(s->str, s->len, -EINVAL, "nesting");
        g_string_free(s, TRUE);

        memset(large, ' ', DOCUMENT_JSON_MAX + 1);
        memcpy(large, SAMPLE, strlen(SAMPLE));
        assert_refused(large, (size_t) DOCUMENT_JSON_MAX + 1, -EFBIG, "larger");
        parse(large, DOCUMENT_JSON_MAX, &d);

        /* What would make json-c allocate gigabytes. */
        memset(large, '[', DOCUMENT_JSON_MAX);
        assert_refused(large, DOCUMENT_JSON_MAX, -EFBIG, "objects and arrays");
        memset(large, ',', DOCUMENT_JSON_MAX);
        large[0] = '[';
        assert_refused(large, DOCUMENT_JSON_MAX, -EFBIG, "values");
        memset(large, '"', DOCUMENT_JSON_MAX);
        assert_refused(large, DOCUMENT_JSON_MAX, -EINVAL, "JSON");
        memset(large, '\\', DOCUMENT_JSON_MAX);
        large[0] = '"';
        assert_refused(large, DOCUMENT_JSON_MAX, -EINVAL, NULL);
}

static void fill(Document *d, unsigned targets, unsigned luns) {
        _cleanup_free_ char *why = NULL;

        for (unsigned i = targets; i > 0; i--) {
                g_autofree char *wwn = g_strdup_printf("naa.5001405%09x", i);
                DocumentTarget *t = add_target(d, wwn);

                for (unsigned k = luns; k > 0; k--) {
                        g_autofree char *source = g_strdup_printf("wwid=3600%u.%u", i, k);
                        DocumentLun *l = add_lun(t, k - 1, source);

                        l->name = g_strdup_printf("disk-%u.%u", i, k);
                        l->serial = g_strdup_printf("serial-%u.%u", i, k);
                        g_assert_cmpint(strv_extend(&l->attributes, "queue_depth=64"), ==, 0);
                }
        }

        g_assert_cmpint(document_finish(d, &why), ==, 0);
}

/* Four times the document costs four times the work: counted in blocks of code, for a clock would tell of
 * this machine's other load. */
static void test_cost(void) {
        uint64_t cost[2];

        for (unsigned i = 0; i < 2; i++) {
                _cleanup_(document_done) Document d = {}, again = {};
                _cleanup_free_ char *text = NULL;

                fill(&d, 4, i == 0 ? 2048 : 8192);
                text = format(&d);
                counted_blocks = 0;
                parse(text, strlen(text), &again);
                cost[i] = counted_blocks;
                assert_same(&d, &again);
        }

        g_test_message("%" PRIu64 " blocks for 8192 LUNs, %" PRIu64 " for 32768", cost[0], cost[1]);
        g_assert_cmpuint(cost[0], >, 8192);
        g_assert_cmpuint(cost[1], <, cost[0] * 5);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/document-json/sample", test_sample);
        g_test_add_func("/document-json/manual", test_manual);
        g_test_add_func("/document-json/other-forms", test_other_forms);
        g_test_add_func("/document-json/broken", test_broken);
        g_test_add_func("/document-json/newer", test_newer);
        g_test_add_func("/document-json/cut", test_cut);
        g_test_add_func("/document-json/mutate", test_mutate);
        g_test_add_func("/document-json/deep-and-large", test_deep_and_large);
        g_test_add_func("/document-json/cost", test_cost);

        return g_test_run();
}
