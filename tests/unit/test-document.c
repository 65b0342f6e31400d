/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/strv.h"
#include "base/text.h"
#include "model/attribute.h"
#include "model/backstore.h"
#include "document-add.h"

#define WWN_A "naa.5001405aaaaaaaaa"
#define WWN_B "naa.6001405bbbbbbbbb"
#define WWN_C "naa.6001405ccccccccc"

static void test_order(void) {
        _cleanup_(document_done) Document d = {};
        _cleanup_free_ char *why = NULL;
        DocumentTarget *t;

        g_assert_null(document_target(&d, WWN_A));
        g_assert_cmpint(document_finish(&d, &why), ==, 0);

        t = add_target(&d, WWN_B);
        add_lun(t, 7, "wwid=7");
        add_lun(t, 0, "wwid=0");
        t = add_target(&d, WWN_A);
        for (uint32_t i = 100; i > 0; i--) {
                g_autofree char *source = g_strdup_printf("wwid=x%u", i);

                add_lun(t, i - 1, source);
        }

        g_assert_cmpint(document_finish(&d, &why), ==, 0);
        g_assert_cmpstr(d.targets[0].wwn, ==, WWN_A);
        g_assert_cmpuint(document_count_luns(&d), ==, 102);
        t = document_target(&d, WWN_B);
        g_assert_cmpuint(t->luns[0].number, ==, 0);
        g_assert_cmpstr(document_target_lun(t, 7)->source, ==, "wwid=7");
        g_assert_null(document_target_lun(t, 1));
        g_assert_null(document_target(&d, "naa.5001405aaaaaaaab"));
        g_assert_null(document_target(&d, "naa.5001405aaaaaaaaaa"));
        g_assert_null(document_target(&d, ""));
}

/* What two LUNs say, in two targets, and the word in the refusal; NULL: fine. */
static void test_contradictions(void) {
        static const struct {
                const char *source[2], *name[2], *serial[2], *identity[2];
                bool readonly;          /* of the second */
                const char *word;
        } table[] = {
                { { "wwid=1", "wwid=2" }, {}, {}, {}, false, NULL },
                { { "wwid=1", "wwid=1" }, {}, {}, {}, false, NULL },
                { { "wwid=1", "wwid=1" }, { "n", "n" }, { "s", "s" }, {}, false, NULL },
                { { "wwid=1", "wwid=1" }, { "n", "m" }, {}, {}, false, "different things" },
                { { "wwid=1", "wwid=1" }, { "n", NULL }, {}, {}, false, "different things" },
                { { "wwid=1", "wwid=1" }, {}, { "s", "t" }, {}, false, "different things" },
                { { "wwid=1", "wwid=1" }, {}, {}, {}, true, "different things" },
                { { "wwid=1", "wwid=1" }, {}, {}, { "wwid=1", NULL }, false, "different things" },
                { { "/dev/a", "path=/dev/a" }, { "n", "m" }, {}, {}, false, "different things" },
                { { "/dev/disk/by-id/a", "by-id=a" }, {}, { "s", "t" }, {}, false, "different things" },
                { { "wwid=1", "wwid=2" }, { "n", "n" }, {}, {}, false, "one name" },
                { { "file=/a", "file=/b" }, { "n", "n" }, {}, {}, false, "one name" },
                { { "wwid=1", "file=/n" }, { "n", "n" }, {}, {}, false, NULL },
                { { "wwid=1", "wwid=2" }, { "n", "m" }, { "s", "s" }, {}, false, "one serial" },
                { { "wwid=1", "file=/n" }, {}, { "s", "s" }, {}, false, "one serial" },
                { { "by-path=a", "by-path=b" }, { "n", "m" }, { "s", "s" }, {}, false, NULL },
                { { "by-path=a", "by-path=b" }, { "n", "m" }, { "s", "s" }, { "wwid=1", "wwid=1" }, false, NULL },
                { { "by-path=a", "by-path=b" }, { "n", "m" }, { "s", "s" }, { "wwid=1", "wwid=2" }, false, "one serial" },
                { { "by-path=a", "wwid=1" }, { "n", "m" }, { "s", "s" }, {}, false, "one serial" },
                { { "wwid=1", "wwid=" }, {}, {}, {}, false, "no proper source" },
                { { "wwid=1", "sda" }, {}, {}, {}, false, "no proper source" },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                static const char *const wwns[] = { WWN_A, WWN_B };
                _cleanup_(document_done) Document d = {};
                _cleanup_free_ char *why = NULL;
                int r;

                for (unsigned k = 0; k < 2; k++) {
                        DocumentLun *l = add_lun(add_target(&d, wwns[k]), k, table[i].source[k]);

                        l->name = table[i].name[k] ? strdup(table[i].name[k]) : NULL;
                        l->serial = table[i].serial[k] ? strdup(table[i].serial[k]) : NULL;
                        l->identity = table[i].identity[k] ? strdup(table[i].identity[k]) : NULL;
                        l->readonly = k == 1 && table[i].readonly;
                }

                r = document_finish(&d, &why);
                g_test_message("%zu: %s", i, strempty(why));
                g_assert_cmpint(r, ==, table[i].word ? -EINVAL : 0);
                g_assert_true(!table[i].word == !why);
                if (table[i].word)
                        g_assert_nonnull(strstr(why, table[i].word));
        }
}

static void test_doubles(void) {
        _cleanup_(document_done) Document d = {}, e = {};
        _cleanup_free_ char *why = NULL, *more = NULL;

        add_target(&d, WWN_A);
        add_target(&d, WWN_B);
        add_target(&d, WWN_A);
        g_assert_cmpint(document_finish(&d, &why), ==, -EINVAL);
        g_assert_cmpstr(why, ==, WWN_A " is there twice");

        add_lun(add_target(&e, WWN_A), 3, "wwid=1");
        add_lun(&e.targets[0], 1, "wwid=1");
        add_lun(&e.targets[0], 3, "wwid=1");
        g_assert_cmpint(document_finish(&e, &more), ==, -EINVAL);
        g_assert_cmpstr(more, ==, WWN_A "/lun 3 is there twice");
}

static void test_limits(void) {
        _cleanup_(document_done) Document d = {}, e = {};
        _cleanup_free_ char *why = NULL;
        DocumentTarget *t = NULL;

        for (unsigned i = 0; i < DOCUMENT_TARGETS_MAX; i++) {
                g_autofree char *wwn = g_strdup_printf("naa.5001405%09x", i);

                add_target(&d, wwn);
        }
        g_assert_cmpint(document_add_target(&d, WWN_A, &t), ==, -EFBIG);
        g_assert_cmpint(document_finish(&d, &why), ==, 0);

        t = add_target(&e, WWN_A);
        for (uint32_t i = 0; i <= DOCUMENT_LUNS_MAX; i++)
                add_lun(t, i, "wwid=1");
        g_assert_cmpint(document_finish(&e, &why), ==, -EFBIG);
        g_assert_nonnull(strstr(why, "65536 LUNs"));
}

static void test_notes(void) {
        _cleanup_(document_done) Document d = {};

        g_assert_cmpint(document_note(&d, "backstore a\nb", "%s, %d\xff", "x\x1by", 7), ==, 0);
        g_assert_cmpstr(d.notes[0].object, ==, "backstore a?b");
        g_assert_cmpstr(d.notes[0].text, ==, "x?y, 7?");

        for (unsigned i = 0; i < DOCUMENT_NOTES_MAX + 4; i++)
                g_assert_cmpint(document_note(&d, "file", "n"), ==, 0);
        g_assert_cmpuint(d.n_notes, ==, DOCUMENT_NOTES_MAX);
        g_assert_cmpuint(d.n_unsaid, ==, 5);
}

static void test_excerpt(void) {
        static const char *const table[][2] = {
                { "", "" }, { "a\tb\x7f", "a?b?" },
                { "0123456789012345678901234567890123456789012345678901234567890123",
                  "0123456789012345678901234567890123456789012345678901234567890123" },
                { "01234567890123456789012345678901234567890123456789012345678901234",
                  "0123456789012345678901234567890123456789012345678901234567890123…" },
                { "012345678901234567890123456789012345678901234567890123456789012üü",
                  "012345678901234567890123456789012345678901234567890123456789012…" },
                { "0123456789012345678901234567890123456789012345678901234567890\xf0\x9f\x92\xbe!",
                  "0123456789012345678901234567890123456789012345678901234567890…" },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_free_ char *s = NULL;

                g_assert_cmpint(text_excerpt(table[i][0], &s), ==, 0);
                g_assert_cmpstr(s, ==, table[i][1]);
        }
}

/* In order, and none twice. */
/* One target of many: with what is said of it, of its backstores and of the file. */
static void test_keep_target(void) {
        static const char *const kept[] = { WWN_B, WWN_B "/lun 7", "backstore block/b", "file" };
        _cleanup_(document_done) Document d = {};
        _cleanup_free_ char *why = NULL;
        DocumentTarget *t;
        DocumentLun *l;

        for (const char *const *wwn = (const char *const[]) { WWN_C, WWN_B, WWN_A, NULL }; *wwn; wwn++) {
                char name[] = { (*wwn)[WWN_SIZE - 2], 0 };

                g_assert_cmpint(document_add_target(&d, *wwn, &t), ==, 0);
                t->label = strdup(name);
                g_assert_cmpint(document_target_add_lun(t, 7, "", &l), ==, 0);
                free(l->source);
                l->source = g_strdup_printf("/dev/%s", name);
                l->name = strdup(name);
                g_assert_cmpint(document_note(&d, *wwn, "it"), ==, 0);
                why = g_strdup_printf("%s/lun 7", *wwn);
                g_assert_cmpint(document_note(&d, why, "its LUN"), ==, 0);
                free(TAKE_PTR(why));
                why = g_strdup_printf("backstore block/%s", name);
                g_assert_cmpint(document_note(&d, why, "its disk"), ==, 0);
                free(TAKE_PTR(why));
        }
        g_assert_cmpint(document_note(&d, "file", "all of it"), ==, 0);
        g_assert_cmpint(document_finish(&d, &why), ==, 0);

        g_assert_cmpint(document_keep_target(&d, "naa.5001405ddddddddd"), ==, -ENOENT);
        g_assert_cmpuint(d.n_targets, ==, 3);
        g_assert_cmpint(document_keep_target(&d, WWN_B), ==, 0);
        g_assert_cmpuint(d.n_targets, ==, 1);
        g_assert_cmpstr(document_target(&d, WWN_B)->label, ==, "b");
        g_assert_cmpstr(document_target_lun(document_target(&d, WWN_B), 7)->source, ==, "/dev/b");
        g_assert_cmpuint(d.n_notes, ==, ELEMENTSOF(kept));
        for (size_t i = 0; i < ELEMENTSOF(kept); i++)
                g_assert_cmpstr(d.notes[i].object, ==, kept[i]);
}

static void test_leave_out(void) {
        _cleanup_(document_done) Document d = {};

        for (size_t i = 0; i < DOCUMENT_NOTES_MAX; i++)
                g_assert_cmpint(document_note(&d, "file", "x"), ==, 0);
        g_assert_cmpint(document_leave_out(&d, "naa.5/lun 1", "no\npath"), ==, 0);
        g_assert_cmpint(document_leave_out(&d, "naa.5/lun 2", "%s", "nothing"), ==, 0);
        g_assert_cmpuint(d.n_left_out, ==, 2);
        g_assert_cmpuint(d.n_unsaid, ==, 2);
        g_assert_true(g_str_has_prefix(d.left_out, "naa.5/lun 1: no"));
        g_assert_null(strchr(d.left_out, '\n'));
        g_assert_false(d.notes[d.n_notes - 1].left_out);
}

static void test_attributes(void) {
        static const char *const names[] = {
                "alua_support", "block_size", "complete_type", "emulate_3pc", "emulate_caw", "emulate_dpo", "emulate_fua_read", "emulate_fua_write",
                "emulate_model_alias", "emulate_pr", "emulate_rest_reord", "emulate_rsoc", "emulate_tas", "emulate_tpu", "emulate_tpws",
                "emulate_ua_intlck_ctrl", "emulate_write_cache", "enforce_pr_isids", "force_pr_aptpl", "is_nonrot", "max_unmap_block_desc_count",
                "max_unmap_lba_count", "max_write_same_len", "optimal_sectors", "pgr_support", "pi_prot_format", "pi_prot_type", "pi_prot_verify",
                "queue_depth", "submit_type", "unmap_granularity", "unmap_granularity_alignment", "unmap_zeroes_data",
        };
        /* Which of them the kernel refuses to change, or takes without an effect. */
        static const char *const read_only[] = {
                "alua_support", "emulate_dpo", "emulate_fua_read", "emulate_write_cache", "pgr_support", NULL
        };

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                AttributeKind kind = attribute_kind(names[i]);
                const char *value = attribute_default(names[i]);

                g_assert_cmpstr(attribute_name(i), ==, names[i]);
                g_assert_cmpint(kind, !=, ATTRIBUTE_UNKNOWN);
                g_assert_true(attribute_is_valid(names[i], "1") == !strv_contains((char *const *) read_only, names[i]));
                g_assert_false(attribute_is_valid(names[i], "on"));
                g_assert_true(!value == (kind == ATTRIBUTE_OF_DISK || kind == ATTRIBUTE_IDLE));
        }

        g_assert_null(attribute_name(ELEMENTSOF(names)));
        g_assert_cmpint(attribute_kind("hw_queue_depth"), ==, ATTRIBUTE_UNKNOWN);
        g_assert_null(attribute_default("emulate"));
        /* Ours, not the kernel's. */
        g_assert_cmpstr(attribute_default("emulate_3pc"), ==, "0");
        g_assert_cmpstr(attribute_default("emulate_model_alias"), ==, "1");
        g_assert_cmpstr(attribute_default("emulate_tas"), ==, "1");
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/document/order", test_order);
        g_test_add_func("/document/contradictions", test_contradictions);
        g_test_add_func("/document/doubles", test_doubles);
        g_test_add_func("/document/limits", test_limits);
        g_test_add_func("/document/notes", test_notes);
        g_test_add_func("/document/excerpt", test_excerpt);
        g_test_add_func("/document/attributes", test_attributes);
        g_test_add_func("/document/keep-target", test_keep_target);
        g_test_add_func("/document/leave-out", test_leave_out);

        return g_test_run();
}
