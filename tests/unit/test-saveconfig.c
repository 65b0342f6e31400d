/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/strv.h"
#include "counted.h"
#include "store/saveconfig.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>

#define WWN_A "naa.5001405aaaaaaaaa"
#define WWN_B "naa.5001405bbbbbbbbb"

/* As rtslib-fb 2.1.75 saves a device that nobody has done anything to, on Linux 6.1. */
#define ATTRIBUTES                                                                                                                      \
        "\"block_size\":512,\"emulate_3pc\":1,\"emulate_caw\":1,\"emulate_dpo\":1,\"emulate_fua_read\":1,\"emulate_fua_write\":1,"      \
        "\"emulate_model_alias\":1,\"emulate_pr\":1,\"emulate_rest_reord\":0,\"emulate_tas\":1,\"emulate_tpu\":0,\"emulate_tpws\":0,"   \
        "\"emulate_ua_intlck_ctrl\":0,\"emulate_write_cache\":0,\"enforce_pr_isids\":1,\"force_pr_aptpl\":0,\"is_nonrot\":1,"           \
        "\"max_unmap_block_desc_count\":1,\"max_unmap_lba_count\":8192,\"max_write_same_len\":65535,\"optimal_sectors\":16384,"         \
        "\"pi_prot_format\":0,\"pi_prot_type\":0,\"pi_prot_verify\":0,\"queue_depth\":128,\"unmap_granularity\":1,"                     \
        "\"unmap_granularity_alignment\":0,\"unmap_zeroes_data\":4294967295"
#define ALUA                                                                                                                            \
        "{\"alua_access_state\":0,\"alua_access_status\":0,\"alua_access_type\":3,\"alua_support_active_nonoptimized\":1,"              \
        "\"alua_support_active_optimized\":1,\"alua_support_offline\":1,\"alua_support_standby\":1,\"alua_support_transitioning\":1,"   \
        "\"alua_support_unavailable\":1,\"alua_write_metadata\":0,\"implicit_trans_secs\":0,\"name\":\"default_tg_pt_gp\","             \
        "\"nonop_delay_msecs\":100,\"preferred\":0,\"tg_pt_gp_id\":0,\"trans_delay_msecs\":0}"
#define BLOCK(name, dev)                                                                                                                \
        "{\"alua_tpgs\":[" ALUA "],\"attributes\":{" ATTRIBUTES "},\"dev\":\"" dev "\",\"name\":\"" name "\",\"plugin\":\"block\","     \
        "\"readonly\":false,\"write_back\":false,\"wwn\":\"serial-" name "\"}"
#define FILEIO(name, dev)                                                                                                               \
        "{\"aio\":false,\"alua_tpgs\":[" ALUA "],\"attributes\":{" ATTRIBUTES "},\"dev\":\"" dev "\",\"name\":\"" name "\","            \
        "\"plugin\":\"fileio\",\"size\":1048576,\"write_back\":false,\"wwn\":\"serial-" name "\"}"
#define LUN(index, object)                                                                                                              \
        "{\"alias\":\"053e505f59\",\"alua_tg_pt_gp_name\":\"default_tg_pt_gp\",\"index\":" index ",\"storage_object\":\"/backstores/" object "\"}"
#define GROUP(tag, luns)                                                                                                                \
        "{\"attributes\":{\"fabric_prot_type\":0},\"enable\":true,\"luns\":[" luns "],\"node_acls\":[],\"parameters\":{},\"portals\":[],"  \
        "\"tag\":" tag "}"
#define TARGET(fabric, wwn, groups) "{\"fabric\":\"" fabric "\",\"tpgs\":[" groups "],\"wwn\":\"" wwn "\"}"
#define SAVED(objects, targets) "{\"fabric_modules\":[],\"storage_objects\":[" objects "],\"targets\":[" targets "]}\n"

#define SAMPLE                                                                                                                          \
        SAVED(BLOCK("disk1", "/dev/mapper/mpatha") "," FILEIO("file1", "/srv/a.img") "," BLOCK("disk2", "/dev/sdb"),                    \
              TARGET("vhost", WWN_B, GROUP("1", LUN("0", "block/disk2"))) ","                                                           \
              TARGET("vhost", WWN_A, GROUP("1", LUN("7", "fileio/file1") "," LUN("0", "block/disk1"))))

static bool says(const char *text, const char *word) {
        if (!strstr(text, word))
                g_test_message("\"%s\" does not say \"%s\"", text, word);
        return strstr(text, word);
}

static void parse(const char *text, Document *ret) {
        _cleanup_free_ char *why = NULL;
        int r = saveconfig_parse(text, strlen(text), ret, &why);

        if (r < 0)
                g_error("%s", strempty(why));
        g_assert_null(why);
        for (size_t i = 0; i < ret->n_notes; i++)
                g_test_message("  %s: %s", ret->notes[i].object, ret->notes[i].text);
}

static void assert_refused(const char *text, size_t size, int error, const char *word) {
        Document d = { .n_notes = 77 };
        _cleanup_free_ char *why = NULL;

        g_assert_cmpint(saveconfig_parse(text, size, &d, &why), ==, error);
        g_assert_true(d.n_notes == 77 && !d.targets);
        g_assert_nonnull(why);
        g_assert_true(strlen(why) > 5 && !strchr(why, '\n'));
        if (word)
                g_assert_true(says(why, word));
}

/* The sample with one piece changed. */
static char *change(const char *from, const char *to) {
        g_auto(GStrv) parts = g_strsplit(SAMPLE, from, 2);

        g_assert_cmpuint(g_strv_length(parts), ==, 2);
        g_test_message("%s", to);
        return g_strjoinv(to, parts);
}

static void test_sample(void) {
        _cleanup_(document_done) Document d = {};
        const DocumentLun *l;

        parse(SAMPLE, &d);
        g_assert_cmpuint(d.n_targets, ==, 2);
        g_assert_cmpstr(d.targets[0].wwn, ==, WWN_A);
        g_assert_true(!d.targets[0].label && !d.targets[0].nexus[0]);

        l = document_target_lun(&d.targets[0], 0);
        g_assert_cmpstr(l->source, ==, "/dev/mapper/mpatha");
        g_assert_cmpstr(l->name, ==, "disk1");
        g_assert_cmpstr(l->serial, ==, "serial-disk1");
        g_assert_cmpstr(l->place, ==, "iblock/disk1");
        g_assert_true(!l->readonly && !l->shareable && l->size == 0);
        /* What the kernel and we differ in, and nothing else. */
        g_assert_cmpuint(strv_length(l->attributes), ==, 1);
        g_assert_cmpstr(l->attributes[0], ==, "emulate_3pc=1");

        l = document_target_lun(&d.targets[0], 7);
        g_assert_cmpstr(l->source, ==, "file=/srv/a.img");
        g_assert_cmpstr(l->place, ==, "fileio/file1");
        g_assert_cmpuint(l->size, ==, 1048576);

        g_assert_cmpuint(d.n_notes, ==, 1);
        g_assert_cmpstr(d.notes[0].object, ==, "file");
        g_assert_true(d.notes[0].usual && says(d.notes[0].text, "3 storage objects") && says(d.notes[0].text, "queue_depth"));
}

/* All that can be said in it is kept: no note at all. */
static void test_clean(void) {
        static const char *const texts[] = {
                SAVED("", ""), "{\"storage_objects\":[]}", "{\"targets\":[]}", "{\"targets\":null,\"storage_objects\":[]}",
                SAVED("", TARGET("vhost", WWN_A, GROUP("1", ""))), SAVED("", TARGET("vhost", WWN_A, "")),
                SAVED("", "{\"fabric\":\"vhost\",\"wwn\":\"" WWN_A "\"}"),
                /* As old versions saved, or people write. */
                "{\"targets\":[{\"wwn\":\"" WWN_A "\",\"fabric\":\"vhost\",\"tpgs\":[{\"luns\":["
                "{\"index\":\"3\",\"storage_object\":\"/backstores/iblock/d\"}]}]}],"
                "\"storage_objects\":[{\"name\":\"d\",\"plugin\":\"iblock\",\"dev\":\"/dev/sda\",\"exists\":true,\"buffered_mode\":false,"
                "\"attributes\":{\"emulate_3pc\":\"0\",\"emulate_tas\":true,\"emulate_fua_read\":0,\"emulate_dpo\":\"0\",\"pi_prot_type\":false}}]}",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_(document_done) Document d = {};

                parse(texts[i], &d);
                g_assert_cmpuint(d.n_notes, ==, 0);
                if (document_count_luns(&d) > 0) {
                        const DocumentLun *l = document_target_lun(&d.targets[0], 3);

                        g_assert_true(!l->serial && !l->attributes && !l->readonly);
                        g_assert_cmpstr(l->place, ==, "iblock/d");
                }
        }
}

static const DocumentNote *find_note(const Document *d, const char *object, const char *word) {
        for (size_t i = 0; i < d->n_notes; i++)
                if (streq(d->notes[i].object, object) && strstr(d->notes[i].text, word))
                        return &d->notes[i];

        return NULL;
}

/* One thing of the sample changed: what the note says, of what, and what is left. */
static void test_losses(void) {
        static const struct {
                const char *from, *to, *object, *word;
                unsigned targets, luns;
        } table[] = {
                { "\"fabric_modules\":[]", "\"fabric_modules\":[{\"name\":\"iscsi\"}]", "file", "fabric_modules", 2, 3 },
                { "\"fabric_modules\":[]", "\"later\":{\"a\":1}", "file", "later", 2, 3 },
                /* targets */
                { "\"fabric\":\"vhost\"", "\"fabric\":\"iscsi\"", "file", "iscsi", 1, 2 },
                { "\"fabric\":\"vhost\"", "\"fabric\":5", "file", "none", 1, 2 },
                { WWN_A, "naa.1001405aaaaaaaaa", "file", "naa.1001405aaaaaaaaa is not imported", 1, 1 },
                { "\"wwn\":\"" WWN_A "\"", "\"wwn\":null", "file", "without a wwn", 1, 1 },
                { WWN_A, "naa.5001405AAAAAAAAA", WWN_A, "naa.5001405AAAAAAAAA", 2, 3 },
                { WWN_A, "naa.6001405aaaaaaaaa", "naa.6001405aaaaaaaaa", "naa.5001405aaaaaaaaa", 2, 3 },
                { "\"wwn\":\"" WWN_A "\"", "\"parameters\":{\"x\":\"1\"},\"wwn\":\"" WWN_A "\"", WWN_A, "x=1", 2, 3 },
                { "\"wwn\":\"" WWN_A "\"", "\"alias\":\"x\",\"wwn\":\"" WWN_A "\"", WWN_A, "alias=x", 2, 3 },
                /* portal groups */
                { "\"tag\":1}],\"wwn\":\"" WWN_A, "\"tag\":2}],\"wwn\":\"" WWN_A, WWN_A, "no portal group 1", 1, 1 },
                { "\"tag\":1}],\"wwn\":\"" WWN_A, "\"tag\":\"1\"}," GROUP("2", LUN("0", "block/disk2")) "],\"wwn\":\"" WWN_A, WWN_A, "portal group 2", 2, 3 },
                { "\"tag\":1}],\"wwn\":\"" WWN_A, "\"tag\":1},{\"tag\":{}}],\"wwn\":\"" WWN_A, WWN_A, "tag is no number", 2, 3 },
                { "\"fabric_prot_type\":0", "\"fabric_prot_type\":1", WWN_B, "fabric_prot_type=1", 2, 3 },
                { "\"parameters\":{}", "\"parameters\":{\"a\":\"b\"}", WWN_B, "a=b", 2, 3 },
                { "\"node_acls\":[]", "\"node_acls\":[{\"node_wwn\":\"naa.5\"}]", WWN_B, "node_acls", 2, 3 },
                { "\"portals\":[]", "\"portals\":[1]", WWN_B, "portals", 2, 3 },
                { "\"portals\":[]", "\"chap_userid\":\"u\"", WWN_B, "chap_userid=u", 2, 3 },
                /* LUNs */
                { "\"index\":7", "\"index\":16384", WWN_A "/lun 16384", "16383", 2, 2 },
                { "\"index\":7", "\"index\":-1", WWN_A, "no index", 2, 2 },
                { "\"index\":7", "\"index\":7.0", WWN_A, "no index", 2, 2 },
                { "\"index\":7,", "", WWN_A, "no index", 2, 2 },
                { "/backstores/fileio/file1", "/backstores/fileio/file2", WWN_A "/lun 7", "no storage object", 2, 2 },
                { "/backstores/fileio/file1", "/backstores/block/file1", WWN_A "/lun 7", "no storage object", 2, 2 },
                { "/backstores/fileio/file1", "/backstores/fileio/x/file1", WWN_A "/lun 7", "no storage object", 2, 2 },
                { "/backstores/fileio/file1", "file1", WWN_A "/lun 7", "no storage object", 2, 2 },
                { "\"storage_object\":\"/backstores/fileio/file1\"", "\"x\":1", WWN_A "/lun 7", "no storage object", 2, 2 },
                { "\"alias\":\"053e505f59\"", "\"alias\":\"my-link\"", WWN_B "/lun 0", "alias=my-link", 2, 3 },
                { "\"alua_tg_pt_gp_name\":\"default_tg_pt_gp\"", "\"alua_tg_pt_gp_name\":\"g2\"", WWN_B "/lun 0", "alua_tg_pt_gp_name=g2", 2, 3 },
                { "\"alias\":\"053e505f59\"", "\"new\":[1]", WWN_B "/lun 0", "new", 2, 3 },
                /* storage objects */
                { "\"plugin\":\"fileio\"", "\"plugin\":\"ramdisk\"", WWN_A "/lun 7", "no storage object", 2, 2 },
                { "\"name\":\"file1\"", "\"name\":5", "file", "no name or no plugin", 2, 2 },
                { "\"dev\":\"/srv/a.img\"", "\"dev\":\"/dev/sdz\"", WWN_A "/lun 7", "must not be under /dev", 2, 2 },
                { "\"dev\":\"/srv/a.img\"", "\"dev\":\"a.img\"", WWN_A "/lun 7", "no absolute path", 2, 2 },
                { "\"dev\":\"/srv/a.img\"", "\"dev\":\"/srv/a,b\"", WWN_A "/lun 7", "comma", 2, 2 },
                { "\"dev\":\"/srv/a.img\"", "\"dev\":\"/srv/a\\u0000\"", WWN_A "/lun 7", "no dev", 2, 2 },
                { "\"dev\":\"/srv/a.img\"", "\"d\":1", WWN_A "/lun 7", "no dev", 2, 2 },
                { "\"dev\":\"/dev/sdb\"", "\"dev\":\"/srv/b.img\"", WWN_B "/lun 0", "under /dev", 2, 2 },
                { "\"dev\":\"/dev/sdb\"", "\"dev\":\"wwid=1\"", WWN_B "/lun 0", "no absolute path", 2, 2 },
                { "\"wwn\":\"serial-file1\"", "\"wwn\":\"a,b\"", WWN_A "/lun 7", "unit serial", 2, 2 },
                { "\"wwn\":\"serial-file1\"", "\"wwn\":5", WWN_A "/lun 7", "unit serial", 2, 2 },
                { "\"readonly\":false", "\"readonly\":\"maybe\"", WWN_A "/lun 0", "readonly", 2, 2 },
                { "\"size\":1048576", "\"size\":\"1M\"", "backstore fileio/file1", "size=1M", 2, 3 },
                { "\"aio\":false", "\"aio\":true", "backstore fileio/file1", "aio=true", 2, 3 },
                { "\"size\":1048576,\"write_back\":false", "\"size\":1,\"write_back\":true", "backstore fileio/file1", "write_back=true", 2, 3 },
                { "\"size\":1048576,\"write_back\":false", "\"size\":1,\"buffered_mode\":true", "backstore fileio/file1", "buffered_mode=true", 2, 3 },
                { "\"readonly\":false,\"write_back\":false", "\"write_back\":true", "backstore block/disk1", "write_back=true", 2, 3 },
                { "\"readonly\":false", "\"control\":\"a=b\"", "backstore block/disk1", "control=a=b", 2, 3 },
                { "\"alua_tpgs\":[", "\"alua_tpgs\":[{\"name\":\"ao\"},", "backstore block/disk1", "ao (groups", 2, 3 },
                { "\"alua_tpgs\":[", "\"alua_tpgs\":5,\"x\":[", "backstore block/disk1", "alua_tpgs", 2, 3 },
                { "\"emulate_dpo\":1", "\"emulate_new\":3", "backstore block/disk1", "emulate_new=3", 2, 3 },
                { "\"emulate_dpo\":1", "\"hw_max_sectors\":\"9\"", "backstore block/disk1", "hw_max_sectors=9", 2, 3 },
                { "\"emulate_write_cache\":0", "\"emulate_write_cache\":1", "backstore block/disk1", "emulate_write_cache=1", 2, 3 },
                { "\"emulate_tas\":1", "\"emulate_tas\":\"no\"", "backstore block/disk1", "emulate_tas=no", 2, 3 },
                { "\"emulate_tas\":1", "\"emulate_tas\":{}", "backstore block/disk1", "emulate_tas", 2, 3 },
                { "\"emulate_tas\":1", "\"emulate_tas\":-1", "backstore block/disk1", "emulate_tas=-1", 2, 3 },
                { BLOCK("disk2", "/dev/sdb"), BLOCK("disk2", "/dev/sdb") "," BLOCK("x", "/dev/sdx"), "file", "block/x", 2, 3 },
                { BLOCK("disk2", "/dev/sdb"), BLOCK("disk2", "/dev/sdb") "," BLOCK("disk2", "/dev/sdx"), WWN_B "/lun 0", "twice", 2, 2 },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                g_autofree char *text = change(table[i].from, table[i].to);
                _cleanup_(document_done) Document d = {};
                const DocumentNote *n;

                parse(text, &d);
                n = find_note(&d, table[i].object, table[i].word);
                if (!n)
                        g_error("no note on %s says \"%s\"", table[i].object, table[i].word);
                g_assert_false(n->usual);
                g_assert_cmpuint(d.n_targets, ==, table[i].targets);
                g_assert_cmpuint(document_count_luns(&d), ==, table[i].luns);
        }
}

static void test_plugins(void) {
        static const char *const plugins[] = { "ramdisk", "rd_mcp", "pscsi", "user", "nvme" };

        for (size_t i = 0; i < ELEMENTSOF(plugins); i++) {
                g_autofree char *text = g_strdup_printf(
                        "{\"storage_objects\":[{\"name\":\"d\",\"plugin\":\"%s\",\"size\":1,\"config\":\"x\"}],\"targets\":["
                        TARGET("vhost", WWN_A, GROUP("1", "{\"index\":0,\"storage_object\":\"/backstores/%s/d\"}")) "]}", plugins[i], plugins[i]);
                _cleanup_(document_done) Document d = {};

                parse(text, &d);
                g_assert_cmpuint(document_count_luns(&d), ==, 0);
                g_assert_cmpuint(d.n_targets, ==, 1);
                g_assert_cmpuint(d.n_notes, ==, 1);
                g_assert_nonnull(find_note(&d, WWN_A "/lun 0", "is no device or file"));
        }
}

static void test_kept(void) {
        static const struct {
                const char *from, *to, *attribute;
        } table[] = {
                { "\"block_size\":512", "\"block_size\":4096", "block_size=4096" },
                { "\"emulate_tas\":1", "\"emulate_tas\":\"0\"", "emulate_tas=0" },
                { "\"emulate_tas\":1", "\"emulate_tas\":false", "emulate_tas=0" },
                { "\"emulate_tpu\":0", "\"emulate_tpu\":true", "emulate_tpu=1" },
                { "\"emulate_model_alias\":1", "\"emulate_model_alias\":0", "emulate_model_alias=0" },
                { "\"pi_prot_type\":0", "\"pi_prot_type\":3", "pi_prot_type=3" },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                g_autofree char *text = change(table[i].from, table[i].to);
                _cleanup_(document_done) Document d = {};

                parse(text, &d);
                g_assert_true(strv_contains(document_target_lun(document_target(&d, WWN_A), 0)->attributes, table[i].attribute));
                g_assert_cmpuint(d.n_notes, ==, 1);
        }

        for (unsigned i = 0; i < 4; i++) {
                static const char *const values[] = { "true", "1", "\"1\"", "false" };
                g_autofree char *to = g_strdup_printf("\"readonly\":%s", values[i]), *text = change("\"readonly\":false", to);
                _cleanup_(document_done) Document d = {};

                parse(text, &d);
                g_assert_true(document_target_lun(&d.targets[0], 0)->readonly == (i < 3));
        }
}

/* A storage object under several LUNs. */
static void test_shared(void) {
        static const char text[] = SAVED(BLOCK("a", "/dev/a") "," BLOCK("b", "/dev/b"),
                                         TARGET("vhost", WWN_A, GROUP("1", LUN("0", "block/a") "," LUN("1", "block/b"))) ","
                                         TARGET("vhost", WWN_B, GROUP("1", LUN("5", "iblock/a") "," LUN("70000", "block/b"))));
        _cleanup_(document_done) Document d = {};

        parse(text, &d);
        g_assert_true(document_target_lun(&d.targets[0], 0)->shareable);
        g_assert_true(document_target_lun(&d.targets[1], 5)->shareable);
        g_assert_cmpstr(document_target_lun(&d.targets[1], 5)->name, ==, "a");
        g_assert_false(document_target_lun(&d.targets[0], 1)->shareable);
}

static void test_refused(void) {
        static const struct {
                const char *text, *word;
        } table[] = {
                { "", "JSON" }, { " ", "JSON" }, { "{}", "not a configuration" }, { "[]", "no object" }, { "null", NULL }, { "x", "JSON" },
                { "{\"targets\":{}}", "targets is no array" }, { "{\"storage_objects\":1}", "storage_objects is no array" },
                { "{\"targets\":[1]}", "number 0 is no object" }, { "{\"storage_objects\":[{},[]]}", "number 1 is no object" },
                { "{\"targets\":[{\"fabric\":\"vhost\",\"wwn\":\"" WWN_A "\",\"tpgs\":{}}]}", "tpgs is no array" },
                { "{\"targets\":[{\"fabric\":\"vhost\",\"wwn\":\"" WWN_A "\",\"tpgs\":[5]}]}", "no object" },
                { "{\"targets\":[{\"fabric\":\"vhost\",\"wwn\":\"" WWN_A "\",\"tpgs\":[{\"luns\":5}]}]}", "luns is no array" },
                { "{\"targets\":[{\"fabric\":\"vhost\",\"wwn\":\"" WWN_A "\",\"tpgs\":[{\"luns\":[null]}]}]}", "no object" },
                { SAVED("", TARGET("vhost", WWN_A, "") "," TARGET("vhost", "NAA.5001405AAAAAAAAA", "")), WWN_A " is there twice" },
                { SAVED(BLOCK("a", "/dev/a"), TARGET("vhost", WWN_A, GROUP("1", LUN("0", "block/a") "," LUN("0", "block/a")))), "lun 0 is there twice" },
                { SAVED(BLOCK("a", "/dev/a"), TARGET("vhost", WWN_A, GROUP("1", LUN("0", "block/a")) "," GROUP("1", LUN("0", "block/a")))), "twice" },
                { SAVED(BLOCK("a", "/dev/a") "," BLOCK("b", "/dev/a"), TARGET("vhost", WWN_A, GROUP("1", LUN("0", "block/a") "," LUN("1", "block/b")))),
                  "same source" },
                { SAVED("{\"plugin\":\"block\",\"name\":\"a\",\"dev\":\"/dev/a\",\"wwn\":\"s\"},"
                        "{\"plugin\":\"block\",\"name\":\"b\",\"dev\":\"/dev/b\",\"wwn\":\"s\"}",
                        TARGET("vhost", WWN_A, GROUP("1", LUN("0", "block/a") "," LUN("1", "block/b")))), "one serial" },
                /* Of two values, which? */
                { "{\"targets\":[],\"targets\":[]}", "\"targets\" is there twice" },
                { "{\"targets\":[],\"t\\u0061rgets\":[]}", "\"targets\" is there twice" },
                { "{\"targets\":[],\"x\":[{\"a\":{\"b\":1}},{\"a\":{\"c\":{},\"b\":[],\"c\":2}}]}", "\"c\" is there twice" },
                { "{\"targets\":[],\"a\\u0000\":1,\"a\":2}", "NUL" },
                { "{\"targets\":[]} x", "JSON" }, { "{\"targets\":[]}{}", "JSON" }, { "{'targets':[]}", "JSON" }, { "{\"targets\":[],}", "JSON" },
                { "{\"targets\":[\"\xff\"]}", "JSON" }, { "{\"targets\":NaN}", NULL }, { "\xef\xbb\xbf{\"targets\":[]}", "JSON" },
        };

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                g_test_message("%zu: %s", i, strempty(table[i].word));
                assert_refused(table[i].text, strlen(table[i].text), -EINVAL, table[i].word);
        }

        assert_refused("{\"targets\":[]}\0", 15, -EINVAL, "JSON");
        assert_refused("{\"targets\":\0[]}", 15, -EINVAL, "JSON");
        assert_refused("\0", 1, -EINVAL, "JSON");
}

/* One key twice in different objects, or as a value, is none twice. */
static void test_not_twice(void) {
        static const char *const texts[] = {
                "{\"targets\":[],\"x\":{\"a\":1},\"y\":{\"a\":1,\"b\":\"a\",\"c\":\"\\\"a\\\":1\"}}",
                "{\"targets\":[],\"x\":[\"a\",\"a\",{\"a\":{\"a\":{\"a\":[]}}}]}",
        };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_(document_done) Document d = {};

                parse(texts[i], &d);
                g_assert_cmpuint(d.n_notes, ==, 1);
        }
}

static void test_cut(void) {
        size_t size = strlen(SAMPLE) - 1;

        for (size_t n = 0; n < size; n++) {
                /* Of just that size, so that a byte read beyond is seen. */
                g_autofree char *cut = g_memdup2(SAMPLE, n);

                assert_refused(cut ?: "", n, -EINVAL, "JSON");
        }
}

/* No byte of it changed makes anything but a document or a sentence. */
static void test_mutate(void) {
        static const char bytes[] = { 0, '"', '\\', '{', '}', '[', ']', ',', ':', '0', '/', '\n', (char) 0x80 };
        g_autofree char *text = g_strdup(SAMPLE);
        size_t size = strlen(SAMPLE), taken = 0;

        for (size_t i = 0; i < size; i++)
                for (size_t k = 0; k < 3; k++) {
                        _cleanup_(document_done) Document d = {};
                        _cleanup_free_ char *why = NULL;
                        int r;

                        text[i] = bytes[(3 * i + k) % ELEMENTSOF(bytes)];
                        r = saveconfig_parse(text, size, &d, &why);
                        text[i] = SAMPLE[i];
                        g_assert_true(r == 0 || r == -EINVAL);
                        g_assert_true((r < 0) == (why != NULL));
                        taken += r == 0;
                }

        g_assert_cmpuint(taken, >, size / 4);
}

static void test_deep_and_large(void) {
        GString *s = g_string_new("{\"targets\":");
        g_autofree char *large = g_malloc(SAVECONFIG_MAX + 1);

        for (unsigned i = 0; i < 10000; i++)
                g_string_append_c(s, '[');
        assert_refused(s->str, s->len, -EINVAL, "nesting");
        for (unsigned i = 0; i < 10000; i++)
                g_string_append_c(s, ']');
        g_string_append_c(s, '}');
        assert_refused(s->str, s->len, -EINVAL, "nesting");
        g_string_free(s, TRUE);

        memset(large, ' ', SAVECONFIG_MAX + 1);
        assert_refused(large, (size_t) SAVECONFIG_MAX + 1, -EFBIG, "larger");
        memset(large, '{', SAVECONFIG_MAX);
        assert_refused(large, SAVECONFIG_MAX, -EFBIG, "objects and arrays");
}

/* 200 000 unknown keys are one note, and ten thousand things lost are told as far as anybody reads. */
static void test_many_losses(void) {
        GString *s = g_string_new("{\"targets\":[" TARGET("vhost", WWN_A, ""));
        _cleanup_(document_done) Document d = {}, e = {};

        g_string_append(s, "]");
        for (unsigned i = 0; i < 200000; i++)
                g_string_append_printf(s, ",\"k%u\":1", i);
        g_string_append(s, "}");
        parse(s->str, &d);
        g_assert_cmpuint(d.n_notes, ==, 1);
        g_assert_true(says(d.notes[0].text, "k0=1, k1=1") && says(d.notes[0].text, "and 199984 more"));

        g_string_assign(s, "{\"targets\":[{\"fabric\":\"vhost\",\"wwn\":\"" WWN_A "\",\"tpgs\":[{\"luns\":[");
        for (unsigned i = 0; i < 10000; i++)
                g_string_append_printf(s, "%s{\"index\":%u}", i > 0 ? "," : "", i);
        g_string_append(s, "]}]}]}");
        g_assert_cmpint(saveconfig_parse(s->str, s->len, &e, &(char *) { NULL }), ==, 0);
        g_assert_cmpuint(e.n_notes, ==, DOCUMENT_NOTES_MAX);
        g_assert_cmpuint(e.n_unsaid, ==, 10000 - DOCUMENT_NOTES_MAX);
        g_string_free(s, TRUE);
}

/* So many LUNs as targetcli would save, on as many storage objects. */
static GString *make_large(unsigned n) {
        GString *s = g_string_new("{\"fabric_modules\":[],\"storage_objects\":[");

        for (unsigned i = 0; i < n; i++)
                g_string_append_printf(s, "%s{\"alua_tpgs\":[" ALUA "],\"attributes\":{" ATTRIBUTES "},\"dev\":\"/dev/disk/by-id/d%u\",\"name\":\"d%u\","
                                       "\"plugin\":\"block\",\"readonly\":false,\"write_back\":false,\"wwn\":\"serial-%u\"}", i > 0 ? "," : "", i, i, i);
        g_string_append(s, "],\"targets\":[{\"fabric\":\"vhost\",\"wwn\":\"" WWN_A "\",\"tpgs\":[{\"tag\":1,\"luns\":[");
        for (unsigned i = n; i > 0; i--)
                g_string_append_printf(s, "%s{\"alias\":\"%010x\",\"index\":%u,\"storage_object\":\"/backstores/block/d%u\"}", i < n ? "," : "", i, i, i - 1);
        g_string_append(s, "]}]}]}");
        return s;
}

/* Four times the file, four times the work: counted in blocks of code, for a clock would tell of this machine's other load. */
static void test_cost(void) {
        static const unsigned sizes[] = { 2500, 10000 };
        uint64_t read[2], written[2];

        for (unsigned i = 0; i < 2; i++) {
                _cleanup_(document_done) Document d = {};
                _cleanup_free_ char *text = NULL;
                GString *s = make_large(sizes[i]);
                size_t size;

                counted_blocks = 0;
                parse(s->str, &d);
                read[i] = counted_blocks;
                g_assert_cmpuint(document_count_luns(&d), ==, sizes[i]);
                g_assert_cmpuint(d.n_notes, ==, 1);

                counted_blocks = 0;
                g_assert_cmpint(saveconfig_format(&d, &text, &size), ==, 0);
                written[i] = counted_blocks;
                g_string_free(s, TRUE);
        }

        g_test_message("reading %" PRIu64 " and %" PRIu64 " blocks, writing %" PRIu64 " and %" PRIu64, read[0], read[1], written[0], written[1]);
        g_assert_cmpuint(read[0], >, 2500);
        g_assert_cmpuint(read[1], <, read[0] * 5);
        g_assert_cmpuint(written[0], >, 2500);
        g_assert_cmpuint(written[1], <, written[0] * 5);
}

/* One storage object with as many attributes as fit, and as many LUNs on it: looked at once. */
static void test_cost_of_one(void) {
        GString *s = g_string_new("{\"storage_objects\":[{\"name\":\"d\",\"plugin\":\"block\",\"dev\":\"/dev/a\",\"attributes\":{\"a\":1");
        _cleanup_(document_done) Document d = {};

        for (unsigned i = 0; i < 10000; i++)
                g_string_append_printf(s, ",\"x%u\":1", i);
        g_string_append(s, "}}],\"targets\":[{\"fabric\":\"vhost\",\"wwn\":\"" WWN_A "\",\"tpgs\":[{\"luns\":[");
        for (unsigned i = 0; i < 10000; i++)
                g_string_append_printf(s, "%s{\"index\":%u,\"storage_object\":\"/backstores/block/d\"}", i > 0 ? "," : "", i);
        g_string_append(s, "]}]}]}");

        counted_blocks = 0;
        parse(s->str, &d);
        g_test_message("%" PRIu64 " blocks", counted_blocks);
        g_assert_cmpuint(counted_blocks, <, 500 * s->len);
        g_assert_cmpuint(document_count_luns(&d), ==, 10000);
        g_assert_true(d.targets[0].luns[9999].shareable);
        g_string_free(s, TRUE);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/saveconfig/sample", test_sample);
        g_test_add_func("/saveconfig/clean", test_clean);
        g_test_add_func("/saveconfig/losses", test_losses);
        g_test_add_func("/saveconfig/plugins", test_plugins);
        g_test_add_func("/saveconfig/kept", test_kept);
        g_test_add_func("/saveconfig/shared", test_shared);
        g_test_add_func("/saveconfig/refused", test_refused);
        g_test_add_func("/saveconfig/not-twice", test_not_twice);
        g_test_add_func("/saveconfig/cut", test_cut);
        g_test_add_func("/saveconfig/mutate", test_mutate);
        g_test_add_func("/saveconfig/deep-and-large", test_deep_and_large);
        g_test_add_func("/saveconfig/many-losses", test_many_losses);
        g_test_add_func("/saveconfig/cost", test_cost);
        g_test_add_func("/saveconfig/cost-of-one", test_cost_of_one);

        return g_test_run();
}
