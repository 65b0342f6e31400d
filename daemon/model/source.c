/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/parse.h"
#include "base/strv.h"
#include "model/source.h"

#define BY_ID "/dev/disk/by-id/"

static const char *const kind_names[_SOURCE_KIND_MAX] = {
        [SOURCE_DM_UUID] = "dm-uuid",
        [SOURCE_WWID] = "wwid",
        [SOURCE_BY_ID] = "by-id",
        [SOURCE_PATH] = "path",
        [SOURCE_FILE] = "file",
        [SOURCE_BY_PATH] = "by-path",
};

/* What stands behind "KIND=", or NULL. */
static const char *after_kind(const char *s, SourceKind kind) {
        const char *v = startswith(s, kind_names[kind]);

        return v && *v == '=' ? v + 1 : NULL;
}

/* U+0080 to U+009F, in well-formed UTF-8. */
static bool has_c1_control(const char *s) {
        for (const unsigned char *p = (const unsigned char *) s; *p; p++)
                if (p[0] == 0xc2 && p[1] < 0xa0)
                        return true;

        return false;
}

static bool component_is_bad(const char *s, size_t n) {
        return n == 0 || (n == 1 && s[0] == '.') || (n == 2 && s[0] == '.' && s[1] == '.');
}

static const char *check_path(const char *path, bool file) {
        if (*path != '/')
                return "a path must be absolute";

        for (const char *p = path; *p;) {
                size_t n = strcspn(p + 1, "/");

                if (component_is_bad(p + 1, n))
                        return "a path must not have empty components, '.' or '..'";
                p += n + 1;
        }

        if (!file && !startswith(path, "/dev/"))
                return "a device's path must be under /dev; a file is named with file=";
        if (file && startswith(path, "/dev/"))
                return "a file must not be under /dev";

        return NULL;
}

static const char *check_id(const char *id) {
        if (*id == 0)
                return "nothing stands behind '='";
        if (strchr(id, '/'))
                return "an identifier must not have a '/'";
        if (component_is_bad(id, strlen(id)))
                return "'.' and '..' are no identifiers";

        return NULL;
}

static const char *check_text(const char *s) {
        if (*s == 0)
                return "it is empty";
        if (strnlen(s, SOURCE_MAX + sizeof BY_ID) >= SOURCE_MAX + sizeof BY_ID)
                return "it is too long";
        if (!string_is_utf8(s))
                return "it is not UTF-8";
        if (string_has_control(s) || has_c1_control(s))
                return "control characters are not allowed";
        /* One more option for LIO (drivers/target/target_core_iblock.c, iblock_set_configfs_dev_params()). */
        if (strchr(s, ','))
                return "a comma is not allowed";

        return NULL;
}

static const char *split(const char *s, SourceKind *ret_kind, const char **ret_value) {
        const char *why, *id;

        why = check_text(s);
        if (why)
                return why;

        *ret_kind = _SOURCE_KIND_MAX;
        for (SourceKind k = 0; k < _SOURCE_KIND_MAX && *ret_kind == _SOURCE_KIND_MAX; k++) {
                *ret_value = after_kind(s, k);
                if (*ret_value)
                        *ret_kind = k;
        }

        if (*ret_kind == _SOURCE_KIND_MAX) {
                if (*s != '/')
                        return "it must be a path under /dev, or begin with dm-uuid=, wwid=, by-id=, by-path=, path= or file=";
                *ret_kind = SOURCE_PATH;
                *ret_value = s;
        }

        if (*ret_kind != SOURCE_PATH && *ret_kind != SOURCE_FILE)
                return check_id(*ret_value);

        why = check_path(*ret_value, *ret_kind == SOURCE_FILE);
        if (why || *ret_kind == SOURCE_FILE)
                return why;

        id = startswith(*ret_value, BY_ID);
        if (!id)
                return NULL;

        *ret_kind = SOURCE_BY_ID;
        *ret_value = id;
        return check_id(id);
}

int source_parse(const char *s, SourceKind *ret_kind, char **ret_text, const char **ret_why) {
        const char *why, *value = NULL;
        SourceKind kind;
        char *text;

        why = split(s, &kind, &value);
        if (!why && strlen(kind_names[kind]) + 1 + strlen(value) > SOURCE_MAX)
                why = "it is too long";
        if (why) {
                if (ret_why)
                        *ret_why = why;
                return -EINVAL;
        }

        text = strjoin3(kind_names[kind], "=", value);
        if (!text)
                return -ENOMEM;

        *ret_kind = kind;
        *ret_text = text;
        return 0;
}

SourceKind source_kind(const char *text) {
        for (SourceKind k = 0; k < _SOURCE_KIND_MAX; k++)
                if (after_kind(text, k))
                        return k;

        return SOURCE_PATH;
}

const char *source_value(const char *text) {
        const char *v = strchr(text, '=');

        return v ? v + 1 : text;
}
