/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "value.h"

int value_set(json_object *object, const char *key, json_object *v) {
        /* A null is the pointer NULL in json-c, so a failed allocation must be told by the caller: value_set_string() does. */
        if (json_object_object_add(object, key, v) < 0) {
                json_object_put(v);
                return -ENOMEM;
        }

        return 0;
}

int value_set_string(json_object *object, const char *key, const char *v) {
        json_object *s = json_object_new_string(v);

        if (!s)
                return -ENOMEM;

        return value_set(object, key, s);
}

int value_append(json_object *array, json_object *v) {
        if (json_object_array_add(array, v) < 0) {
                json_object_put(v);
                return -ENOMEM;
        }

        return 0;
}

static int value_read_entries(sd_bus_message *m, const char *entry, json_object *object) {
        int r;

        while ((r = sd_bus_message_enter_container(m, SD_BUS_TYPE_DICT_ENTRY, entry)) > 0) {
                _cleanup_json_ json_object *key = NULL, *v = NULL;

                r = value_read(m, &key);
                if (r < 0)
                        return r;
                r = value_read(m, &v);
                if (r < 0)
                        return r;
                r = value_set(object, strempty(json_object_get_string(key)), TAKE_PTR(v));
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }

        return r;
}

static int value_read_items(sd_bus_message *m, json_object *array) {
        int r;

        for (;;) {
                json_object *v = NULL;

                r = value_read(m, &v);
                if (r <= 0)
                        return r;
                r = value_append(array, v);
                if (r < 0)
                        return r;
        }
}

static int value_read_array(sd_bus_message *m, const char *contents, json_object **ret) {
        _cleanup_json_ json_object *v = NULL;
        bool is_dict = contents[0] == '{';
        int r;

        v = is_dict ? json_object_new_object() : json_object_new_array();
        if (!v)
                return -ENOMEM;

        r = sd_bus_message_enter_container(m, SD_BUS_TYPE_ARRAY, contents);
        if (r < 0)
                return r;

        if (is_dict) {
                _cleanup_free_ char *entry = strndup(contents + 1, strlen(contents) - 2);

                if (!entry)
                        return -ENOMEM;
                r = value_read_entries(m, entry, v);
        } else
                r = value_read_items(m, v);
        if (r < 0)
                return r;

        r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(v);
        return 1;
}

static int value_read_struct(sd_bus_message *m, const char *contents, json_object **ret) {
        _cleanup_json_ json_object *v = NULL;
        int r;

        v = json_object_new_array();
        if (!v)
                return -ENOMEM;

        r = sd_bus_message_enter_container(m, SD_BUS_TYPE_STRUCT, contents);
        if (r < 0)
                return r;
        r = value_read_items(m, v);
        if (r < 0)
                return r;
        r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(v);
        return 1;
}

static int value_read_variant(sd_bus_message *m, const char *contents, json_object **ret) {
        _cleanup_json_ json_object *v = NULL;
        int r;

        r = sd_bus_message_enter_container(m, SD_BUS_TYPE_VARIANT, contents);
        if (r < 0)
                return r;
        r = value_read(m, &v);
        if (r < 0)
                return r;
        r = sd_bus_message_exit_container(m);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(v);
        return 1;
}

static int value_read_basic(sd_bus_message *m, char type, json_object **ret) {
        union {
                uint8_t y;
                int b;
                int16_t n;
                uint16_t q;
                int32_t i;
                uint32_t u;
                int64_t x;
                uint64_t t;
                double d;
                const char *s;
        } basic = { .t = 0 };
        json_object *v;
        int r;

        r = sd_bus_message_read_basic(m, type, &basic);
        if (r < 0)
                return r;

        switch (type) {
        case SD_BUS_TYPE_BYTE:
                v = json_object_new_int(basic.y);
                break;
        case SD_BUS_TYPE_BOOLEAN:
                v = json_object_new_boolean(basic.b);
                break;
        case SD_BUS_TYPE_INT16:
                v = json_object_new_int(basic.n);
                break;
        case SD_BUS_TYPE_UINT16:
                v = json_object_new_int(basic.q);
                break;
        case SD_BUS_TYPE_INT32:
                v = json_object_new_int(basic.i);
                break;
        case SD_BUS_TYPE_UINT32:
                v = json_object_new_int64(basic.u);
                break;
        case SD_BUS_TYPE_INT64:
                v = json_object_new_int64(basic.x);
                break;
        case SD_BUS_TYPE_UINT64:
                v = json_object_new_uint64(basic.t);
                break;
        case SD_BUS_TYPE_DOUBLE:
                v = json_object_new_double(basic.d);
                break;
        case SD_BUS_TYPE_STRING:
        case SD_BUS_TYPE_OBJECT_PATH:
        case SD_BUS_TYPE_SIGNATURE:
                v = json_object_new_string(basic.s);
                break;
        default:
                /* A descriptor: nothing that could be shown. */
                *ret = NULL;
                return 1;
        }

        if (!v)
                return -ENOMEM;

        *ret = v;
        return 1;
}

int value_read(sd_bus_message *m, json_object **ret) {
        const char *contents;
        char type;
        int r;

        r = sd_bus_message_peek_type(m, &type, &contents);
        if (r <= 0)
                return r;

        switch (type) {
        case SD_BUS_TYPE_ARRAY:
                return value_read_array(m, contents, ret);
        case SD_BUS_TYPE_STRUCT:
                return value_read_struct(m, contents, ret);
        case SD_BUS_TYPE_VARIANT:
                return value_read_variant(m, contents, ret);
        default:
                return value_read_basic(m, type, ret);
        }
}

const char *value_string(json_object *object, const char *key) {
        json_object *v;

        if (!json_object_object_get_ex(object, key, &v) || !json_object_is_type(v, json_type_string))
                return "";

        return json_object_get_string(v);
}

uint64_t value_number(json_object *object, const char *key) {
        json_object *v;

        if (!json_object_object_get_ex(object, key, &v) || !json_object_is_type(v, json_type_int))
                return 0;

        return json_object_get_uint64(v);
}

bool value_boolean(json_object *object, const char *key) {
        json_object *v;

        return json_object_object_get_ex(object, key, &v) && json_object_is_type(v, json_type_boolean) &&
               json_object_get_boolean(v);
}

json_object *value_array(json_object *object, const char *key) {
        json_object *v;

        if (!json_object_object_get_ex(object, key, &v) || !json_object_is_type(v, json_type_array))
                return NULL;

        return v;
}

size_t value_length(json_object *array) {
        return array ? json_object_array_length(array) : 0;
}
