/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/fileio.h"
#include "base/log.h"
#include "base/text.h"
#include "store/json-text.h"
#include "store/owner-file.h"

#define FILE_NAME "owners.json"
#define FILE_MAX (16U * 1024 * 1024)
#define VERSION 1

static int format_owner(Json *array, const Owner *owner) {
        Json *o = json_object_new_object();
        int r;

        r = json_append(array, o);
        JSON_ADD(r, o, "target", json_object_new_string(owner->wwn));
        JSON_ADD(r, o, "owner", json_object_new_string(owner->key));
        JSON_ADD(r, o, "kind", json_object_new_string(owner->kind));
        JSON_ADD(r, o, "name", json_object_new_string(owner->name));
        JSON_ADD(r, o, "uuid", json_object_new_string(owner->uuid));
        JSON_ADD(r, o, "pid", json_object_new_int64(owner->pid));
        JSON_ADD(r, o, "uid", json_object_new_int64(owner->uid));
        JSON_ADD(r, o, "started", json_object_new_int64((int64_t) owner->started));
        return r;
}

int owner_file_save(int dirfd, Owner *const *owners, size_t n) {
        _cleanup_(json_object_putp) Json *o = json_object_new_object();
        _cleanup_free_ char *text = NULL;
        Json *array;
        size_t size;
        int r;

        if (!o)
                return -ENOMEM;

        r = json_add(o, "version", json_object_new_int(VERSION));
        array = json_object_new_array();
        JSON_ADD(r, o, "owners", array);
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = format_owner(array, owners[i]);
        if (r >= 0)
                r = json_write(o, JSON_PLAIN, &text, &size);

        return r < 0 ? r : write_file_atomic_at(dirfd, FILE_NAME, text, size);
}

static int parse_owner(Json *o, Owner **ret, char **ret_why) {
        static const char *const keys[] = { "target", "owner", "kind", "name", "uuid" };
        _cleanup_(owner_freep) Owner *owner = NULL;
        const char *text[ELEMENTSOF(keys)];
        uint32_t pid, uid = 0;
        Json *v;

        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                text[i] = json_object_is_type(o, json_type_object) ? json_get_string(o, keys[i]) : NULL;
                if (!text[i] || !owner_text_is_valid(text[i]))
                        return text_refuse(ret_why, "an owner has no %s", keys[i]);
        }
        if (json_get_u32(o, "pid", &pid) < 0 || !json_object_object_get_ex(o, "started", &v) || !json_object_is_type(v, json_type_int))
                return text_refuse(ret_why, "an owner has no process");
        /* Once, users were not told apart. */
        if (json_object_object_get_ex(o, "uid", NULL) && json_get_u32(o, "uid", &uid) < 0)
                return text_refuse(ret_why, "an owner has no user");

        owner = owner_new(text[0], text[1], text[2], text[3], text[4]);
        if (!owner)
                return -ENOMEM;

        owner->pid = pid;
        owner->uid = uid;
        owner->started = (uint64_t) json_object_get_int64(v);
        *ret = TAKE_PTR(owner);
        return 0;
}

static int parse(const char *text, size_t size, Owner ***ret, size_t *ret_n, char **ret_why) {
        static const JsonLimits limits = { .size = FILE_MAX, .depth = 8, .containers = 65536, .values = 65536 * 8 };
        _cleanup_(json_object_putp) Json *o = NULL;
        _cleanup_free_ Owner **owners = NULL;
        Json *version, *array;
        size_t n = 0;
        int r;

        r = json_read(text, size, &limits, &o, ret_why);
        if (r < 0)
                return r;
        if (!json_object_is_type(o, json_type_object) || !json_object_object_get_ex(o, "version", &version) ||
            !json_object_is_type(version, json_type_int) || json_object_get_int64(version) != VERSION ||
            !json_object_object_get_ex(o, "owners", &array) || !json_object_is_type(array, json_type_array))
                return text_refuse(ret_why, "it has no owners of version %d", VERSION);

        owners = calloc(json_object_array_length(array) + 1, sizeof *owners);
        if (!owners)
                return -ENOMEM;

        for (; r >= 0 && n < json_object_array_length(array); n++)
                r = parse_owner(json_object_array_get_idx(array, n), owners + n, ret_why);
        if (r < 0) {
                for (size_t i = 0; i < n; i++)
                        owner_free(owners[i]);
                return r;
        }

        *ret = TAKE_PTR(owners);
        *ret_n = n;
        return 0;
}

int owner_file_load(int dirfd, Owner ***ret, size_t *ret_n) {
        _cleanup_free_ char *text = NULL, *why = NULL;
        const char *stranger = NULL;
        size_t size;
        int r;

        *ret = NULL;
        *ret_n = 0;
        r = read_private_file_at(dirfd, FILE_NAME, FILE_MAX, &text, &size, &stranger);
        if (r == -ENOENT)
                return 0;
        if (r >= 0)
                r = parse(text, size, ret, ret_n, &why);
        if (r >= 0 || r == -ENOMEM)
                return r;

        log_error(FILE_NAME " cannot be used: %s. Nobody is known to have a target, until guests are started", why ?: stranger ?: strerror(-r));
        return 0;
}
