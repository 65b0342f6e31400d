/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "base/map.h"
#include "base/parse.h"
#include "base/text.h"
#include "model/attribute.h"
#include "model/source.h"
#include "store/json-text.h"
#include "store/target-json.h"

static const char *const target_keys[] = { "version", "wwn", "label", "nexus", "wanted", "force", "adopted", "luns", NULL };
static const char *const lun_keys[] = {
        "number", "source", "name", "serial", "hba", "readonly", "origin", "wanted", "force", "attributes", "size", "identity",
        "mount", "unmarked", NULL
};

/* Only what goes may go by force: kept beside what is wanted, it would take a disk from a guest at some later removal. */
static bool force_is_stray(bool wanted, bool force) {
        return wanted && force;
}

static int keep_unknown(Json *o, const char *const *known, Json **ret) {
        struct json_object_iterator i = json_object_iter_begin(o), end = json_object_iter_end(o);

        for (; !json_object_iter_equal(&i, &end); json_object_iter_next(&i)) {
                const char *key = json_object_iter_peek_name(&i);

                if (strv_contains((char *const *) known, key))
                        continue;

                if (!*ret) {
                        *ret = json_object_new_object();
                        if (!*ret)
                                return -ENOMEM;
                }

                if (json_object_object_add(*ret, key, json_object_get(json_object_iter_peek_value(&i))) < 0)
                        return -ENOMEM;
        }

        return 0;
}

static int parse_attributes(Json *o, Backstore *b, char **ret_why) {
        struct json_object_iterator i, end;
        Json *a;
        int r;

        if (!json_object_object_get_ex(o, "attributes", &a))
                return 0;
        if (!json_object_is_type(a, json_type_object))
                return text_refuse(ret_why, "attributes is no object");

        i = json_object_iter_begin(a);
        end = json_object_iter_end(a);
        for (; !json_object_iter_equal(&i, &end); json_object_iter_next(&i)) {
                const char *key = json_object_iter_peek_name(&i), *value = json_get_string(a, key);
                char *s;

                if (!value || !attribute_is_valid(key, value))
                        return text_refuse(ret_why, "attribute %s is unknown or has no decimal text as value", key);
                if (asprintf(&s, "%s=%s", key, value) < 0)
                        return -ENOMEM;
                r = strv_consume(&b->attributes, s);
                if (r < 0)
                        return r;
        }

        strv_sort(b->attributes);
        return 0;
}

/* A file without these could be any file. */
static int parse_filesystem(Json *o, Backstore *b, char **ret_why) {
        const char *identity = json_get_string(o, "identity"), *mount = json_get_string(o, "mount");

        if (!identity || !startswith(identity, BACKSTORE_FILESYSTEM) || !string_is_utf8(identity) || string_has_control(identity))
                return text_refuse(ret_why, "a file has no filesystem as identity");
        if (!mount || mount[0] != '/' || !string_is_utf8(mount) || b->size == 0)
                return text_refuse(ret_why, "a file has no mount or no size");

        b->identity = strdup(identity);
        b->mount = strdup(mount);
        return b->identity && b->mount ? 0 : -ENOMEM;
}

static int parse_promise(Json *o, Backstore *b, char **ret_why) {
        _cleanup_free_ char *canonical = NULL;
        const char *identity;
        SourceKind kind;
        Json *v;

        if (json_object_object_get_ex(o, "size", &v)) {
                if (!json_object_is_type(v, json_type_int) || json_object_get_int64(v) < 0)
                        return text_refuse(ret_why, "size is no number of bytes");
                b->size = (uint64_t) json_object_get_int64(v);
        }

        if (backstore_is_file(b))
                return parse_filesystem(o, b, ret_why);
        if (!json_object_object_get_ex(o, "identity", &v))
                return 0;

        identity = json_get_string(o, "identity");
        if (!identity || source_parse(identity, &kind, &canonical, NULL) < 0 || !streq(identity, canonical))
                return text_refuse(ret_why, "identity is no proper source");

        b->identity = TAKE_PTR(canonical);
        return 0;
}

/* What the LUNs parsed so far stand on. */
typedef struct Known {
        Map *backstores;        /* source -> Backstore */
        uint8_t *hbas;          /* a byte for each number */
} Known;

static void known_done(Known *k) {
        map_free(k->backstores);
        free(k->hbas);
}

static int parse_lun(Json *o, Target *t, Known *known, char **ret_why) {
        _cleanup_(backstore_freep) Backstore *made = NULL;
        _cleanup_(lun_freep) Lun *l = NULL;
        const char *source, *name, *serial, *origin;
        _cleanup_free_ char *canonical = NULL;
        uint32_t number, hba;
        Backstore *b;
        SourceKind kind;
        int r;

        if (!json_object_is_type(o, json_type_object))
                return text_refuse(ret_why, "a LUN is no object");
        if (json_get_u32(o, "number", &number) < 0 || number > LUN_NUMBER_MAX)
                return text_refuse(ret_why, "a LUN has no number from 0 to %d", LUN_NUMBER_MAX);

        source = json_get_string(o, "source");
        name = json_get_string(o, "name");
        serial = json_get_string(o, "serial");
        origin = json_get_string(o, "origin");
        if (!source || source_parse(source, &kind, &canonical, NULL) < 0 || !streq(source, canonical))
                return text_refuse(ret_why, "LUN %" PRIu32 " has no proper source", number);
        if (!name || !backstore_name_is_valid(name))
                return text_refuse(ret_why, "LUN %" PRIu32 " has no proper name", number);
        if (!serial || !backstore_serial_is_valid(serial))
                return text_refuse(ret_why, "LUN %" PRIu32 " has no proper serial", number);
        if (json_get_u32(o, "hba", &hba) < 0 || hba > BACKSTORE_HBA_MAX)
                return text_refuse(ret_why, "LUN %" PRIu32 " has no hba number up to %u", number, BACKSTORE_HBA_MAX);

        made = backstore_new(source);
        if (!made)
                return -ENOMEM;

        made->hba = hba;
        made->name = strdup(name);
        made->serial = strdup(serial);
        if (!made->name || !made->serial)
                return -ENOMEM;
        if (json_get_boolean(o, "readonly", &made->readonly) < 0 || json_get_boolean(o, "unmarked", &made->unmarked) < 0)
                return text_refuse(ret_why, "LUN %" PRIu32 ": readonly or unmarked is no boolean", number);
        r = parse_attributes(o, made, ret_why);
        if (r >= 0)
                r = parse_promise(o, made, ret_why);
        if (r < 0)
                return r;

        /* Two LUNs of one target may share a disk, and then all that belongs to it. Two disks never share an HBA. */
        b = map_get(known->backstores, source);
        if (!b && known->hbas[hba])
                return text_refuse(ret_why, "LUN %" PRIu32 " has the hba number of another disk", number);
        if (b && !backstore_agrees(b, made))
                return text_refuse(ret_why, "LUN %" PRIu32 " disagrees with another LUN on the same source", number);
        if (b && backstore_promise(b, made->size, made->identity) < 0)
                return -ENOMEM;

        l = lun_new(number, b ?: made);
        if (!l)
                return -ENOMEM;
        if (!b)
                TAKE_PTR(made);

        if (json_get_boolean(o, "wanted", &l->wanted) < 0 || json_get_boolean(o, "force", &l->force) < 0)
                return text_refuse(ret_why, "LUN %" PRIu32 ": wanted or force is no boolean", number);
        if (force_is_stray(l->wanted, l->force))
                return text_refuse(ret_why, "LUN %" PRIu32 " is wanted and has force", number);
        /* A target that goes takes its LUNs along. */
        l->wanted = l->wanted && t->wanted;
        if (!origin || lun_origin_from_string(origin, &l->origin) < 0)
                return text_refuse(ret_why, "LUN %" PRIu32 " has no proper origin", number);

        r = keep_unknown(o, lun_keys, &l->unknown);
        if (r < 0)
                return r;

        r = target_add_lun(t, l);
        if (r == -EEXIST)
                return text_refuse(ret_why, "LUN %" PRIu32 " is there twice", number);
        if (r < 0)
                return r;

        /* What was wanted may be in the kernel: only a look tells. */
        l->present = true;
        l->backstore->present = true;
        known->hbas[hba] = true;
        r = b ? 0 : map_put(known->backstores, l->backstore->source, l->backstore);
        TAKE_PTR(l);
        return r;
}

static int parse_target(Json *o, Target **ret, char **ret_why) {
        _cleanup_(target_freep) Target *t = NULL;
        _cleanup_(known_done) Known known = {};
        const char *wwn, *nexus, *label;
        char canonical[WWN_SIZE];
        uint32_t version;
        Json *luns;
        int r;

        if (!json_object_is_type(o, json_type_object))
                return text_refuse(ret_why, "no object");
        if (json_get_u32(o, "version", &version) < 0 || version < 1)
                return text_refuse(ret_why, "no version");
        if (version > TARGET_JSON_VERSION) {
                text_refuse(ret_why, "format version %" PRIu32 " is newer than ours, which is %d", version, TARGET_JSON_VERSION);
                return -EPROTONOSUPPORT;
        }

        wwn = json_get_string(o, "wwn");
        if (!wwn || wwn_parse(wwn, canonical) < 0 || !streq(wwn, canonical))
                return text_refuse(ret_why, "no canonical wwn");

        t = target_new(wwn);
        if (!t)
                return -ENOMEM;

        nexus = json_get_string(o, "nexus");
        if (!nexus || wwn_parse(nexus, t->nexus) < 0 || !streq(nexus, t->nexus))
                return text_refuse(ret_why, "no canonical nexus");

        label = json_get_string(o, "label");
        if (!label || strlen(label) > TARGET_LABEL_MAX || !string_is_utf8(label) || string_has_control(label))
                return text_refuse(ret_why, "no proper label");
        r = free_and_strdup(&t->label, label);
        if (r < 0)
                return r;

        if (json_get_boolean(o, "wanted", &t->wanted) < 0 || json_get_boolean(o, "force", &t->force) < 0 ||
            json_get_boolean(o, "adopted", &t->adopted) < 0)
                return text_refuse(ret_why, "wanted, force or adopted is no boolean");
        if (force_is_stray(t->wanted, t->force))
                return text_refuse(ret_why, "it is wanted and has force");

        if (!json_object_object_get_ex(o, "luns", &luns) || !json_object_is_type(luns, json_type_array))
                return text_refuse(ret_why, "no array luns");
        if (json_object_array_length(luns) > LUN_NUMBER_MAX + 1)
                return text_refuse(ret_why, "too many LUNs");

        known.backstores = map_new();
        known.hbas = calloc(BACKSTORE_HBA_MAX + 1, 1);
        if (!known.backstores || !known.hbas)
                return -ENOMEM;

        for (size_t i = 0; i < json_object_array_length(luns); i++) {
                r = parse_lun(json_object_array_get_idx(luns, i), t, &known, ret_why);
                if (r < 0)
                        return r;
        }

        r = keep_unknown(o, target_keys, &t->unknown);
        if (r < 0)
                return r;

        t->present = true;
        *ret = TAKE_PTR(t);
        return 0;
}

int target_json_parse(const char *text, size_t size, Target **ret, char **ret_why) {
        /* Of our own making, so that its size bounds all. */
        static const JsonLimits limits = { .size = TARGET_JSON_MAX, .depth = 16, .containers = SIZE_MAX, .values = SIZE_MAX };
        _cleanup_(json_object_putp) Json *o = NULL;
        int r;

        *ret_why = NULL;
        r = json_read(text, size, &limits, &o, ret_why);
        return r < 0 ? r : parse_target(o, ret, ret_why);
}

/* Every change writes all LUNs of a target, so this goes by without a tree of them in json-c: with a thousand LUNs that was half the time of
 * AddLun, and half a megabyte all over the heap, each page of which we had to copy while a pass ran. */

/* key: with what stands before it and with its colon. */
static void put_member(JsonText *t, const char *key, const char *value) {
        json_text_put_literal(t, key);
        json_text_put_string(t, value, strlen(value));
}

static void put_number(JsonText *t, const char *key, uint64_t value) {
        json_text_put_literal(t, key);
        json_text_put_number(t, value);
}

static int put_unknown(JsonText *t, Json *unknown) {
        _cleanup_free_ char *text = NULL;
        size_t n;
        int r;

        if (!unknown)
                return 0;

        r = json_write(unknown, JSON_PLAIN, &text, &n);
        if (r < 0)
                return r;

        /* Its members, as they stand between the braces. */
        json_text_put_literal(t, ",");
        json_text_put(t, text + 1, n - strlen("{}\n"));
        return 0;
}

static void put_attributes(JsonText *t, char *const *attributes) {
        json_text_put_literal(t, ",\"attributes\":{");
        for (char *const *a = attributes; *a; a++) {
                const char *value = strchr(*a, '=');

                if (a > attributes)
                        json_text_put_literal(t, ",");
                json_text_put_string(t, *a, (size_t) (value - *a));
                put_member(t, ":", value + 1);
        }
        json_text_put_literal(t, "}");
}

static int put_lun(JsonText *t, const Lun *l) {
        const Backstore *b = l->backstore;
        int r;

        put_number(t, "{\"number\":", l->number);
        put_member(t, ",\"source\":", b->source);
        put_member(t, ",\"name\":", b->name);
        put_member(t, ",\"serial\":", b->serial);
        put_number(t, ",\"hba\":", b->hba);
        json_text_put_literal(t, b->readonly ? ",\"readonly\":true" : ",\"readonly\":false");
        put_member(t, ",\"origin\":", lun_origin_to_string(l->origin));
        json_text_put_literal(t, l->wanted ? ",\"wanted\":true" : l->force ? ",\"wanted\":false,\"force\":true" : ",\"wanted\":false");

        if (b->unmarked)
                json_text_put_literal(t, ",\"unmarked\":true");
        if (b->size > 0)
                put_number(t, ",\"size\":", MIN(b->size, (uint64_t) INT64_MAX));
        if (b->identity)
                put_member(t, ",\"identity\":", b->identity);
        if (b->mount)
                put_member(t, ",\"mount\":", b->mount);
        if (b->attributes)
                put_attributes(t, b->attributes);
        r = put_unknown(t, l->unknown);
        json_text_put_literal(t, "}");

        return r;
}

static int put_target(JsonText *t, const Target *target) {
        bool first = true;
        int r = 0;

        put_number(t, "{\"version\":", TARGET_JSON_VERSION);
        put_member(t, ",\"wwn\":", target->wwn);
        put_member(t, ",\"label\":", target->label);
        put_member(t, ",\"nexus\":", target->nexus);
        json_text_put_literal(t, target->wanted ? ",\"wanted\":true" :
                                 target->force ? ",\"wanted\":false,\"force\":true" : ",\"wanted\":false");

        if (target->adopted)
                json_text_put_literal(t, ",\"adopted\":true");

        json_text_put_literal(t, ",\"luns\":[");
        for (size_t i = 0; r >= 0 && i < target->n_luns; i++) {
                if (target->luns[i]->finished)
                        continue;

                if (!first)
                        json_text_put_literal(t, ",");
                first = false;
                r = put_lun(t, target->luns[i]);
        }
        json_text_put_literal(t, "]");

        if (r >= 0)
                r = put_unknown(t, target->unknown);
        json_text_put_literal(t, "}");

        return r;
}

int target_json_format(const Target *t, char **ret, size_t *ret_size) {
        _cleanup_free_ char *text = NULL;
        JsonText out = {};
        size_t size;
        int r, k;

        r = put_target(&out, t);
        k = json_text_end(&out, &text, &size);
        if (r < 0 || k < 0)
                return r < 0 ? r : k;

        /* What could not be read again must not be written. */
        if (size - 1 > TARGET_JSON_MAX)
                return -EFBIG;

        *ret = TAKE_PTR(text);
        *ret_size = size;
        return 0;
}
