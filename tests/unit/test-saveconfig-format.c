/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <json-c/json.h>

#include "base/strv.h"
#include "store/saveconfig.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>

#define WWN_A "naa.5001405aaaaaaaaa"
#define WWN_B "naa.5001405bbbbbbbbb"

static void parse(const char *text, Document *ret) {
        _cleanup_free_ char *why = NULL;
        int r = saveconfig_parse(text, strlen(text), ret, &why);

        if (r < 0)
                g_error("%s", strempty(why));
}

static const DocumentNote *find_note(const Document *d, const char *object, const char *word) {
        for (size_t i = 0; i < d->n_notes; i++)
                if (streq(d->notes[i].object, object) && strstr(d->notes[i].text, word))
                        return &d->notes[i];

        return NULL;
}

static DocumentLun *add_lun(Document *d, const char *wwn, uint32_t number, const char *source, const char *name) {
        DocumentTarget *t = NULL;
        DocumentLun *l;

        for (size_t i = 0; i < d->n_targets; i++)
                if (streq(d->targets[i].wwn, wwn))
                        t = &d->targets[i];
        if (!t)
                g_assert_cmpint(document_add_target(d, wwn, &t), ==, 0);

        g_assert_cmpint(document_target_add_lun(t, number, source, &l), ==, 0);
        l->name = strdup(name);
        l->serial = g_strdup_printf("serial-%s", name);
        return l;
}

static struct json_object *get(struct json_object *o, const char *key) {
        struct json_object *v = NULL;

        g_assert_true(json_object_object_get_ex(o, key, &v));
        return v;
}

static const char *text_of(struct json_object *o, const char *key) {
        return json_object_get_string(get(o, key));
}

static struct json_object *item(struct json_object *o, const char *key, size_t i) {
        g_assert_cmpuint(i, <, json_object_array_length(get(o, key)));
        return json_object_array_get_idx(get(o, key), i);
}

/* What rtslib gives its constructors as arguments: one more or less, and it makes nothing. */
static void assert_keys(struct json_object *o, const char *keys) {
        g_autoptr(GString) s = g_string_new(NULL);

        json_object_object_foreach(o, key, v) {
                (void) v;
                g_string_append_printf(s, "%s%s", s->len > 0 ? " " : "", key);
        }
        g_assert_cmpstr(s->str, ==, keys);
}

static void test_format(void) {
        static const struct {
                const char *source, *dev;
        } paths[] = {
                { "/dev/mapper/mpatha", "/dev/mapper/mpatha" },
                { "path=/dev/vg/lv", "/dev/vg/lv" },
                { "/dev/disk/by-id/wwn-0x5", "/dev/disk/by-id/wwn-0x5" },
                { "by-id=wwn-0x6", "/dev/disk/by-id/wwn-0x6" },
                { "by-path=pci-1", "/dev/disk/by-path/pci-1" },
                { "dm-uuid=mpath-36", "/dev/disk/by-id/dm-uuid-mpath-36" },
        };
        _cleanup_(document_done) Document d = {}, again = {};
        _cleanup_free_ char *text = NULL, *why = NULL;
        struct json_object *o, *s, *t, *l;
        size_t size = 0;

        for (uint32_t i = 0; i < ELEMENTSOF(paths); i++) {
                g_autofree char *name = g_strdup_printf("disk%u", i);

                add_lun(&d, WWN_A, i, paths[i].source, name);
        }
        d.targets[0].luns[0].readonly = true;
        g_assert_cmpint(strv_extend(&d.targets[0].luns[1].attributes, "emulate_3pc=1"), ==, 0);
        g_assert_cmpint(strv_extend(&d.targets[0].luns[1].attributes, "max_write_same_len=18446744073709551615"), ==, 0);
        for (uint32_t i = 0; i <= 9; i += 9) {
                DocumentLun *f = add_lun(&d, WWN_B, i, "file=/srv/a.img", "disk0");

                f->size = 512;
                f->serial[0] = 'S';
        }
        g_assert_cmpint(document_finish(&d, &why), ==, 0);
        g_assert_cmpint(saveconfig_format(&d, &text, &size), ==, 0);
        g_assert_cmpuint(strlen(text), ==, size);
        g_assert_cmpuint(d.n_notes, ==, 0);

        o = json_tokener_parse(text);
        assert_keys(o, "fabric_modules storage_objects targets");
        g_assert_cmpuint(json_object_array_length(get(o, "storage_objects")), ==, ELEMENTSOF(paths) + 1);
        for (uint32_t i = 0; i < ELEMENTSOF(paths); i++) {
                s = item(o, "storage_objects", i);
                assert_keys(s, "alua_tpgs attributes dev name plugin readonly write_back wwn");
                g_assert_cmpstr(text_of(s, "dev"), ==, paths[i].dev);
                g_assert_cmpstr(text_of(s, "plugin"), ==, "block");
                g_assert_cmpstr(text_of(s, "readonly"), ==, i == 0 ? "true" : "false");
        }
        /* Guests are to see the same as from us. */
        g_assert_cmpstr(json_object_to_json_string_ext(get(item(o, "storage_objects", 0), "attributes"), 0), ==,
                        "{\"emulate_3pc\":0,\"emulate_model_alias\":1}");
        g_assert_cmpstr(json_object_to_json_string_ext(get(item(o, "storage_objects", 1), "attributes"), 0), ==,
                        "{\"emulate_3pc\":1,\"emulate_model_alias\":1,\"max_write_same_len\":18446744073709551615}");

        s = item(o, "storage_objects", ELEMENTSOF(paths));
        assert_keys(s, "alua_tpgs attributes dev name plugin size write_back wwn");
        g_assert_cmpstr(text_of(s, "plugin"), ==, "fileio");
        g_assert_cmpstr(text_of(s, "dev"), ==, "/srv/a.img");
        g_assert_cmpstr(text_of(s, "wwn"), ==, "Serial-disk0");
        g_assert_cmpstr(text_of(s, "size"), ==, "512");

        t = item(o, "targets", 1);
        assert_keys(t, "fabric tpgs wwn");
        g_assert_cmpstr(text_of(t, "fabric"), ==, "vhost");
        g_assert_cmpstr(text_of(t, "wwn"), ==, WWN_B);
        t = item(t, "tpgs", 0);
        assert_keys(t, "attributes enable luns node_acls parameters portals tag");
        g_assert_cmpstr(text_of(t, "tag"), ==, "1");
        l = item(t, "luns", 1);
        assert_keys(l, "alias alua_tg_pt_gp_name index storage_object");
        g_assert_cmpstr(text_of(l, "index"), ==, "9");
        g_assert_cmpstr(text_of(l, "storage_object"), ==, "/backstores/fileio/disk0");
        json_object_put(o);

        /* And we read it as what it was; only that it is shared nobody had said. */
        parse(text, &again);
        g_assert_cmpuint(again.n_notes, ==, 1);         /* max_write_same_len */
        g_assert_cmpuint(document_count_luns(&again), ==, ELEMENTSOF(paths) + 2);
        for (uint32_t i = 0; i < ELEMENTSOF(paths); i++) {
                const DocumentLun *was = &d.targets[0].luns[i], *is = &again.targets[0].luns[i];

                g_assert_cmpstr(is->source, ==, paths[i].dev);
                g_assert_cmpstr(is->name, ==, was->name);
                g_assert_cmpstr(is->serial, ==, was->serial);
                g_assert_true(is->readonly == was->readonly && is->number == was->number);
                g_assert_cmpuint(strv_length(is->attributes), ==, i == 1);
        }
        g_assert_true(again.targets[1].luns[0].shareable && again.targets[1].luns[1].size == 512);
}

/* What rtslib has no words for. */
static void test_format_notes(void) {
        static const struct {
                const char *object, *word;
                bool left_out;
        } notes[] = {
                { WWN_A, "nexus", false },
                { WWN_A, "label", false },
                { WWN_A "/lun 0", "shareable", false },
                { WWN_A "/lun 1", "no path", true },
                { WWN_A "/lun 2", "serial", true },
                { WWN_A "/lun 3", "only read", true },
                { WWN_A "/lun 4", "size", true },
                { "naa.6001405aaaaaaaaa", "naa.5001405aaaaaaaaa", false },
                { "file", "promised", false },
        };
        _cleanup_(document_done) Document d = {}, again = {};
        _cleanup_free_ char *text = NULL, *why = NULL;
        DocumentLun *l;
        size_t size;

        l = add_lun(&d, WWN_A, 0, "/dev/a", "a");
        l->shareable = true;
        l->size = 512;
        l = add_lun(&d, WWN_A, 1, "wwid=36", "b");
        l = add_lun(&d, WWN_A, 2, "/dev/c", "c");
        free(l->serial);
        l->serial = NULL;
        l = add_lun(&d, WWN_A, 3, "file=/srv/d", "d");
        l->readonly = true;
        l->size = 512;
        l = add_lun(&d, WWN_A, 4, "file=/srv/e", "e");
        add_lun(&d, "naa.6001405aaaaaaaaa", 0, "/dev/f", "f");
        d.targets[0].label = strdup("web");
        memcpy(d.targets[0].nexus, WWN_B, WWN_SIZE);

        g_assert_cmpint(document_finish(&d, &why), ==, 0);
        g_assert_cmpint(saveconfig_format(&d, &text, &size), ==, 0);
        for (size_t i = 0; i < d.n_notes; i++)
                g_test_message("  %s: %s", d.notes[i].object, d.notes[i].text);
        for (size_t i = 0; i < ELEMENTSOF(notes); i++) {
                const DocumentNote *n = find_note(&d, notes[i].object, notes[i].word);

                g_assert_nonnull(n);
                g_assert_true(n->left_out == notes[i].left_out);
        }
        g_assert_cmpuint(d.n_left_out, ==, 4);
        g_assert_true(g_str_has_prefix(d.left_out, WWN_A "/lun 1: ") && strstr(d.left_out, "no path"));
        g_assert_cmpuint(d.n_notes, ==, ELEMENTSOF(notes) - 1);         /* nexus and label are one */

        parse(text, &again);
        g_assert_cmpuint(again.n_targets, ==, 2);
        g_assert_cmpuint(document_count_luns(&again), ==, 2);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/saveconfig-format/keys", test_format);
        g_test_add_func("/saveconfig-format/notes", test_format_notes);

        return g_test_run();
}
