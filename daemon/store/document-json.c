/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "base/parse.h"
#include "base/strv.h"
#include "base/text.h"
#include "model/attribute.h"
#include "model/lun.h"
#include "model/source.h"
#include "model/target.h"
#include "store/document-json.h"
#include "store/json-text.h"

#define FORMAT "vhscsid"

static const char *const file_keys[] = { "format", "version", "targets", NULL };
static const char *const target_keys[] = { "wwn", "label", "nexus", "luns", NULL };
static const char *const lun_keys[] = {
        "number", "source", "name", "serial", "readonly", "shareable", "attributes", "size", "identity", "mount", NULL
};

/* A misspelt key would be a wish that nobody hears. */
static int check_keys(Json *o, const char *const *known, const char *where, char **ret_why) {
        _unused_ Json *v;
        const char *key;

        JSON_FOREACH(o, key, v) {
                _cleanup_free_ char *excerpt = NULL;
                int r;

                if (strv_contains((char *const *) known, key))
                        continue;

                r = text_excerpt(key, &excerpt);
                return r < 0 ? r : text_refuse(ret_why, "%s: there is no key \"%s\"", where, excerpt);
        }

        return 0;
}

/* Absent: NULL. */
static int get_text(Json *o, const char *key, const char *where, char **ret, char **ret_why) {
        const char *s;

        if (!json_object_object_get_ex(o, key, NULL))
                return 0;

        s = json_get_string(o, key);
        if (!s)
                return text_refuse(ret_why, "%s: %s is no text", where, key);

        *ret = strdup(s);
        return *ret ? 0 : -ENOMEM;
}

static int parse_attributes(Json *o, DocumentLun *l, const char *where, char **ret_why) {
        const char *name;
        Json *a, *v;

        if (!json_object_object_get_ex(o, "attributes", &a))
                return 0;
        if (!json_object_is_type(a, json_type_object))
                return text_refuse(ret_why, "%s: attributes is no object", where);

        JSON_FOREACH(a, name, v) {
                char text[sizeof "18446744073709551615"], *s;
                uint64_t value;
                int r;

                r = json_object_is_type(v, json_type_boolean) ? -EINVAL : json_to_number(v, &value);
                if (r >= 0) {
                        (void) snprintf(text, sizeof text, "%" PRIu64, value);
                        r = attribute_is_valid(name, text) ? 0 : -EINVAL;
                }
                if (r < 0) {
                        _cleanup_free_ char *excerpt = NULL;

                        r = text_excerpt(name, &excerpt);
                        return r < 0 ? r : text_refuse(ret_why, "%s: attribute \"%s\" is unknown or has no decimal number as value", where, excerpt);
                }

                if (asprintf(&s, "%s=%s", name, text) < 0)
                        return -ENOMEM;
                r = strv_consume(&l->attributes, s);
                if (r < 0)
                        return r;
        }

        return 0;
}

/* What guests were promised. */
static int parse_promise(Json *o, DocumentLun *l, SourceKind kind, const char *where, char **ret_why) {
        Json *v;
        int r;

        if (json_object_object_get_ex(o, "size", &v)) {
                /* json-c makes the largest number of one that is larger. */
                if (!json_object_is_type(v, json_type_int) || json_object_get_int64(v) < 0 || json_object_get_int64(v) == INT64_MAX)
                        return text_refuse(ret_why, "%s: size is no number of bytes", where);
                l->size = (uint64_t) json_object_get_int64(v);
        }

        r = get_text(o, "identity", where, &l->identity, ret_why);
        if (r >= 0)
                r = get_text(o, "mount", where, &l->mount, ret_why);
        if (r < 0)
                return r;

        if (l->identity && kind == SOURCE_FILE) {
                if (!startswith(l->identity, BACKSTORE_FILESYSTEM) || !string_is_utf8(l->identity) || string_has_control(l->identity))
                        return text_refuse(ret_why, "%s: the identity of a file is " BACKSTORE_FILESYSTEM "…", where);
        } else if (l->identity) {
                _cleanup_free_ char *canonical = NULL;
                SourceKind ignored;

                r = source_parse(l->identity, &ignored, &canonical, NULL);
                if (r == -ENOMEM)
                        return r;
                if (r < 0 || !streq(l->identity, canonical))
                        return text_refuse(ret_why, "%s: identity is no source in its proper form", where);
        }

        if (l->mount && (kind != SOURCE_FILE || l->mount[0] != '/' || !string_is_utf8(l->mount)))
                return text_refuse(ret_why, "%s: mount is no absolute path, or of no file", where);

        return 0;
}

static int parse_lun(Json *o, DocumentTarget *t, char **ret_why) {
        char where[WWN_SIZE + sizeof "/lun 4294967295"];
        _cleanup_free_ char *canonical = NULL;
        const char *source, *why;
        DocumentLun *l;
        uint32_t number;
        SourceKind kind;
        int r;

        if (!json_object_is_type(o, json_type_object))
                return text_refuse(ret_why, "%s: a LUN is no object", t->wwn);
        if (json_get_u32(o, "number", &number) < 0 || number > LUN_NUMBER_MAX)
                return text_refuse(ret_why, "%s: a LUN has no number from 0 to %d", t->wwn, LUN_NUMBER_MAX);

        (void) snprintf(where, sizeof where, "%s/lun %" PRIu32, t->wwn, number);
        r = check_keys(o, lun_keys, where, ret_why);
        if (r < 0)
                return r;

        source = json_get_string(o, "source");
        if (!source)
                return text_refuse(ret_why, "%s: no source", where);
        r = source_parse(source, &kind, &canonical, &why);
        if (r == -EINVAL)
                return text_refuse(ret_why, "%s: no proper source: %s", where, why);
        if (r >= 0)
                r = document_target_add_lun(t, number, source, &l);
        if (r >= 0)
                r = get_text(o, "name", where, &l->name, ret_why);
        if (r >= 0)
                r = get_text(o, "serial", where, &l->serial, ret_why);
        if (r < 0)
                return r;

        if (l->name && !backstore_name_is_valid(l->name))
                return text_refuse(ret_why, "%s: name has characters that are not taken, or more than %d", where, BACKSTORE_NAME_MAX);
        if (l->serial && !backstore_serial_is_valid(l->serial))
                return text_refuse(ret_why, "%s: serial has characters that are not taken, or more than %d", where, BACKSTORE_SERIAL_MAX);
        if (json_get_boolean(o, "readonly", &l->readonly) < 0 || json_get_boolean(o, "shareable", &l->shareable) < 0)
                return text_refuse(ret_why, "%s: readonly or shareable is no boolean", where);

        r = parse_attributes(o, l, where, ret_why);
        return r < 0 ? r : parse_promise(o, l, kind, where, ret_why);
}

static int parse_luns(Json *o, DocumentTarget *t, char **ret_why) {
        Json *luns;

        if (!json_object_object_get_ex(o, "luns", &luns))
                return 0;
        if (!json_object_is_type(luns, json_type_array))
                return text_refuse(ret_why, "%s: luns is no array", t->wwn);

        for (size_t i = 0; i < json_count(luns); i++) {
                int r;

                r = parse_lun(json_object_array_get_idx(luns, i), t, ret_why);
                if (r < 0)
                        return r;
        }

        return 0;
}

static int parse_target(Json *o, size_t n, Document *d, char **ret_why) {
        _cleanup_free_ char *nexus = NULL;
        char wwn[WWN_SIZE];
        DocumentTarget *t;
        const char *s;
        int r;

        if (!json_object_is_type(o, json_type_object))
                return text_refuse(ret_why, "targets: number %zu is no object", n);

        s = json_get_string(o, "wwn");
        if (!s || wwn_parse(s, wwn) < 0)
                return text_refuse(ret_why, "targets: number %zu has no wwn, which is naa. and 16 hex digits, of which the first is 5 or 6", n);

        r = check_keys(o, target_keys, wwn, ret_why);
        if (r < 0)
                return r;

        r = document_add_target(d, wwn, &t);
        if (r == -EFBIG)
                text_refuse(ret_why, "more than %u targets", DOCUMENT_TARGETS_MAX);
        if (r >= 0)
                r = get_text(o, "label", wwn, &t->label, ret_why);
        if (r >= 0)
                r = get_text(o, "nexus", wwn, &nexus, ret_why);
        if (r < 0)
                return r;

        if (t->label && (strlen(t->label) > TARGET_LABEL_MAX || !string_is_utf8(t->label) || string_has_control(t->label)))
                return text_refuse(ret_why, "%s: label is longer than %d bytes, or has control characters", wwn, TARGET_LABEL_MAX);
        if (nexus && wwn_parse(nexus, t->nexus) < 0)
                return text_refuse(ret_why, "%s: nexus is no WWN", wwn);

        return parse_luns(o, t, ret_why);
}

static int parse_file(Json *o, Document *d, char **ret_why) {
        const char *format;
        uint32_t version;
        Json *targets;
        int r;

        if (!json_object_is_type(o, json_type_object))
                return text_refuse(ret_why, "no object");

        format = json_get_string(o, "format");
        if (!format || !streq(format, FORMAT))
                return text_refuse(ret_why, "format is not \"" FORMAT "\"");
        if (json_get_u32(o, "version", &version) < 0 || version < 1)
                return text_refuse(ret_why, "no version");
        if (version > DOCUMENT_JSON_VERSION) {
                text_refuse(ret_why, "version %" PRIu32 " is newer than ours, which is %d", version, DOCUMENT_JSON_VERSION);
                return -EPROTONOSUPPORT;
        }

        r = check_keys(o, file_keys, "file", ret_why);
        if (r < 0)
                return r;

        /* Not even an empty one: a file that says nothing must not be the wish that all goes. */
        if (!json_object_object_get_ex(o, "targets", &targets) || !json_object_is_type(targets, json_type_array))
                return text_refuse(ret_why, "no array targets");

        for (size_t i = 0; i < json_count(targets); i++) {
                r = parse_target(json_object_array_get_idx(targets, i), i, d, ret_why);
                if (r < 0)
                        return r;
        }

        return document_finish(d, ret_why);
}

static const JsonLimits limits = {
        .size = DOCUMENT_JSON_MAX, .depth = DOCUMENT_JSON_DEPTH, .containers = DOCUMENT_JSON_CONTAINERS, .values = DOCUMENT_JSON_VALUES, .unique = true,
};

int document_json_parse(const char *text, size_t size, Document *ret, char **ret_why) {
        _cleanup_(json_object_putp) Json *o = NULL;
        _cleanup_(document_done) Document d = {};
        int r;

        *ret_why = NULL;
        r = json_read(text, size, &limits, &o, ret_why);
        if (r >= 0)
                r = parse_file(o, &d, ret_why);
        if (r < 0)
                return r;

        *ret = d;
        d = (Document) {};
        return 0;
}

/* What is not said is not written. */
static int add_text(Json *o, const char *key, const char *s) {
        return isempty(s) ? 0 : json_add(o, key, json_object_new_string(s));
}

static int add_flag(Json *o, const char *key, bool b) {
        return b ? json_add(o, key, json_object_new_boolean(true)) : 0;
}

static int format_attributes(const DocumentLun *l, Json *o) {
        _cleanup_(json_object_putp) Json *attributes = NULL;
        int r = 0;

        if (!l->attributes)
                return 0;

        attributes = json_object_new_object();
        if (!attributes)
                return -ENOMEM;

        for (char **a = l->attributes; r >= 0 && *a; a++) {
                size_t n = strcspn(*a, "=");
                _cleanup_free_ char *name = strndup(*a, n);

                r = name ? json_add(attributes, name, json_object_new_string(*a + n + 1)) : -ENOMEM;
        }

        return r < 0 ? r : json_add(o, "attributes", TAKE_PTR(attributes));
}

static int format_lun(const DocumentLun *l, Json *luns) {
        _cleanup_(json_object_putp) Json *o = json_object_new_object();
        int r = o ? 0 : -ENOMEM;

        JSON_ADD(r, o, "number", json_object_new_int64(l->number));
        JSON_ADD(r, o, "source", json_object_new_string(l->source));
        if (r >= 0)
                r = add_text(o, "name", l->name);
        if (r >= 0)
                r = add_text(o, "serial", l->serial);
        if (r >= 0)
                r = add_flag(o, "readonly", l->readonly);
        if (r >= 0)
                r = add_flag(o, "shareable", l->shareable);
        if (r >= 0)
                r = format_attributes(l, o);
        if (l->size > 0)
                JSON_ADD(r, o, "size", json_object_new_int64((int64_t) MIN(l->size, (uint64_t) INT64_MAX - 1)));
        if (r >= 0)
                r = add_text(o, "identity", l->identity);
        if (r >= 0)
                r = add_text(o, "mount", l->mount);

        return r < 0 ? r : json_append(luns, TAKE_PTR(o));
}

static int format_target(const DocumentTarget *t, Json *targets) {
        _cleanup_(json_object_putp) Json *o = json_object_new_object(), *luns = json_object_new_array();
        int r = o && luns ? 0 : -ENOMEM;

        JSON_ADD(r, o, "wwn", json_object_new_string(t->wwn));
        if (t->label)
                JSON_ADD(r, o, "label", json_object_new_string(t->label));
        if (r >= 0)
                r = add_text(o, "nexus", t->nexus);
        for (size_t i = 0; r >= 0 && i < t->n_luns; i++)
                r = format_lun(&t->luns[i], luns);
        if (t->n_luns > 0)
                JSON_ADD(r, o, "luns", json_object_get(luns));

        return r < 0 ? r : json_append(targets, TAKE_PTR(o));
}

int document_json_format(const Document *d, char **ret, size_t *ret_size) {
        _cleanup_(json_object_putp) Json *o = json_object_new_object(), *targets = json_object_new_array();
        _cleanup_free_ char *text = NULL, *why = NULL;
        size_t size;
        int r = o && targets ? 0 : -ENOMEM;

        JSON_ADD(r, o, "format", json_object_new_string(FORMAT));
        JSON_ADD(r, o, "version", json_object_new_int(DOCUMENT_JSON_VERSION));
        for (size_t i = 0; r >= 0 && i < d->n_targets; i++)
                r = format_target(&d->targets[i], targets);
        JSON_ADD(r, o, "targets", json_object_get(targets));
        if (r >= 0)
                r = json_write(o, JSON_PRETTY, &text, &size);
        if (r >= 0)
                r = size > DOCUMENT_JSON_MAX ? -EFBIG : json_check_amount(text, size, &limits, &why);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(text);
        *ret_size = size;
        return 0;
}
