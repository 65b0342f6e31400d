/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <limits.h>

#include "base/map.h"
#include "base/parse.h"
#include "base/text.h"
#include "store/json.h"

typedef struct json_tokener Tokener;

DEFINE_CLEANUP(Tokener *, json_tokener_free);

/* Where the string ends whose first quote is at text[i]: the index of the last one, or size. */
static size_t skip_string(const char *text, size_t size, size_t i) {
        for (i++; i < size && text[i] != '"'; i++)
                if (text[i] == '\\')
                        i++;

        return i;
}

/* Before json-c allocates anything. Up to the first thing that is wrong, at which it stops, it sees the same strings as we do: for that, a key
 * must not stand in single quotes, which json-c takes even when it is strict. */
int json_check_amount(const char *text, size_t size, const JsonLimits *limits, char **ret_why) {
        size_t containers = 0, values = 1;

        for (size_t i = 0; i < size; i++)
                if (text[i] == '"')
                        i = skip_string(text, size, i);
                else if (text[i] == '{' || text[i] == '[')
                        containers++;
                else if (text[i] == ',')
                        values++;
                else if (text[i] == '\'')
                        return text_refuse(ret_why, "not JSON: a single quote at byte %zu", i);

        if (containers > limits->containers) {
                text_refuse(ret_why, "more than %zu objects and arrays", limits->containers);
                return -EFBIG;
        }
        if (values > limits->values) {
                text_refuse(ret_why, "more than %zu values", limits->values);
                return -EFBIG;
        }

        return 0;
}

/* The keys of an object that is being looked at; they are the values of the map as well. */
static Map *keys_free(Map *keys) {
        char *key;

        if (keys)
                MAP_FOREACH(keys, key)
                        free(key);

        return map_free(keys);
}

/* The objects and arrays around a place of the text. */
typedef struct Nest {
        Map *keys[JSON_DEPTH_MAX + 1];  /* NULL: none yet */
        size_t depth;
} Nest;

static void nest_done(Nest *n) {
        while (n->depth > 0)
                keys_free(n->keys[--n->depth]);
}

/* quoted is a string of the text with its quotes. */
static int unquote(const char *quoted, size_t size, char **ret, char **ret_why) {
        _cleanup_(json_tokener_freep) Tokener *tokener = NULL;
        _cleanup_(json_object_putp) Json *o = NULL;
        char *key;

        if (!memchr(quoted, '\\', size)) {
                key = strndup(quoted + 1, size - 2);
                if (!key)
                        return -ENOMEM;

                *ret = key;
                return 0;
        }

        tokener = json_tokener_new();
        if (!tokener)
                return -ENOMEM;

        o = json_tokener_parse_ex(tokener, quoted, (int) size);
        if (!o)
                return -ENOMEM;
        if (strlen(json_object_get_string(o)) != (size_t) json_object_get_string_len(o))
                return text_refuse(ret_why, "a key has a NUL character in it");

        key = strdup(json_object_get_string(o));
        if (!key)
                return -ENOMEM;

        *ret = key;
        return 0;
}

static int add_key(Map **keys, const char *text, size_t start, size_t end, char **ret_why) {
        _cleanup_free_ char *key = NULL, *excerpt = NULL;
        int r;

        if (!*keys) {
                *keys = map_new();
                if (!*keys)
                        return -ENOMEM;
        }

        r = unquote(text + start, end - start, &key, ret_why);
        if (r < 0)
                return r;

        r = map_put(*keys, key, key);
        if (r == -EEXIST) {
                r = text_excerpt(key, &excerpt);
                return r < 0 ? r : text_refuse(ret_why, "the key \"%s\" is there twice in one object, again at byte %zu", excerpt, start);
        }
        if (r < 0)
                return r;

        TAKE_PTR(key);
        return 0;
}

/* The text is known to be JSON. */
static int check_unique(const char *text, size_t size, char **ret_why) {
        _cleanup_(nest_done) Nest nest = {};
        size_t start = 0, end = 0;              /* of the last string, with its quotes */
        int r;

        for (size_t i = 0; i < size; i++)
                switch (text[i]) {
                case '"':
                        start = i;
                        i = skip_string(text, size, i);
                        end = i + 1;
                        break;

                case '{':
                case '[':
                        assert(nest.depth < ELEMENTSOF(nest.keys));
                        nest.keys[nest.depth++] = NULL;
                        break;

                case '}':
                case ']':
                        assert(nest.depth > 0);
                        keys_free(nest.keys[--nest.depth]);
                        break;

                case ':':
                        assert(nest.depth > 0);
                        r = add_key(&nest.keys[nest.depth - 1], text, start, end, ret_why);
                        if (r < 0)
                                return r;
                        break;
                }

        return 0;
}

int json_read(const char *text, size_t size, const JsonLimits *limits, Json **ret, char **ret_why) {
        _cleanup_(json_tokener_freep) Tokener *tokener = NULL;
        _cleanup_(json_object_putp) Json *o = NULL;
        int r;

        assert(limits->depth <= JSON_DEPTH_MAX && limits->size <= INT_MAX);

        if (size > limits->size) {
                text_refuse(ret_why, "larger than %zu bytes", limits->size);
                return -EFBIG;
        }

        r = json_check_amount(text, size, limits, ret_why);
        if (r < 0)
                return r;

        tokener = json_tokener_new_ex(limits->depth);
        if (!tokener)
                return -ENOMEM;

        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        o = json_tokener_parse_ex(tokener, text, (int) size);
        if (!o)
                return text_refuse(ret_why, "not JSON: %s at byte %zu",
                                   json_tokener_get_error(tokener) == json_tokener_continue ? "cut off" :
                                   json_tokener_error_desc(json_tokener_get_error(tokener)), json_tokener_get_parse_end(tokener));

        /* json-c ends at a NUL byte. */
        if (json_tokener_get_parse_end(tokener) < size)
                return text_refuse(ret_why, "not JSON: something follows at byte %zu", json_tokener_get_parse_end(tokener));

        r = limits->unique ? check_unique(text, size, ret_why) : 0;
        if (r < 0)
                return r;

        *ret = TAKE_PTR(o);
        return 0;
}

const char *json_get_string(Json *o, const char *key) {
        Json *v;
        const char *s;

        if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_string))
                return NULL;

        s = json_object_get_string(v);
        return strlen(s) == (size_t) json_object_get_string_len(v) ? s : NULL;
}

int json_get_boolean(Json *o, const char *key, bool *ret) {
        Json *v;

        if (!json_object_object_get_ex(o, key, &v))
                return 0;
        if (!json_object_is_type(v, json_type_boolean))
                return -EINVAL;

        *ret = json_object_get_boolean(v);
        return 0;
}

int json_get_u32(Json *o, const char *key, uint32_t *ret) {
        int64_t n;
        Json *v;

        if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_int))
                return -EINVAL;

        n = json_object_get_int64(v);
        if (n < 0 || n >= UINT32_MAX)
                return -EINVAL;

        *ret = (uint32_t) n;
        return 0;
}

bool json_is_empty(Json *v) {
        switch (json_object_get_type(v)) {
        case json_type_null:
                return true;
        case json_type_boolean:
                return !json_object_get_boolean(v);
        case json_type_string:
                return json_object_get_string_len(v) == 0;
        case json_type_array:
                return json_object_array_length(v) == 0;
        case json_type_object:
                return json_object_object_length(v) == 0;
        case json_type_int:
        case json_type_double:
                return false;
        }

        return false;
}

int json_to_number(Json *v, uint64_t *ret) {
        switch (json_object_get_type(v)) {
        case json_type_boolean:
                *ret = json_object_get_boolean(v);
                return 0;
        case json_type_int:
                if (json_object_get_int64(v) < 0)
                        return -EINVAL;
                *ret = json_object_get_uint64(v);
                return 0;
        case json_type_string:
                if (strlen(json_object_get_string(v)) != (size_t) json_object_get_string_len(v))
                        return -EINVAL;
                return parse_u64(json_object_get_string(v), ret);
        case json_type_null:
        case json_type_double:
        case json_type_object:
        case json_type_array:
                return -EINVAL;
        }

        return -EINVAL;
}

size_t json_count(Json *array) {
        return array ? json_object_array_length(array) : 0;
}

int json_add(Json *o, const char *key, Json *v) {
        if (!v)
                return -ENOMEM;

        if (json_object_object_add(o, key, v) < 0) {
                json_object_put(v);
                return -ENOMEM;
        }

        return 0;
}

int json_append(Json *array, Json *v) {
        if (!v)
                return -ENOMEM;

        if (json_object_array_add(array, v) < 0) {
                json_object_put(v);
                return -ENOMEM;
        }

        return 0;
}
