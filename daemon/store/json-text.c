/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "store/json-text.h"

void json_text_put(JsonText *t, const char *s, size_t n) {
        if (t->room - t->n < n) {
                size_t room = MAX(2 * t->room, t->n + n);
                char *p = t->failed ? NULL : realloc(t->s, room);

                if (!p) {
                        t->failed = true;
                        return;
                }
                t->s = p;
                t->room = room;
        }

        if (n > 0)
                memcpy(t->s + t->n, s, n);
        t->n += n;
}

void json_text_put_string(JsonText *t, const char *s, size_t n) {
        static const char escaped[] = { ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r', ['"'] = '"', ['\\'] = '\\' };
        size_t start = 0;

        json_text_put_literal(t, "\"");
        for (size_t i = 0; i < n; i++) {
                unsigned char c = (unsigned char) s[i];
                char code[8];

                if (c >= ' ' && c != '"' && c != '\\')
                        continue;

                if (escaped[c])
                        (void) snprintf(code, sizeof code, "\\%c", escaped[c]);
                else
                        (void) snprintf(code, sizeof code, "\\u%04x", c);

                json_text_put(t, s + start, i - start);
                json_text_put_literal(t, code);
                start = i + 1;
        }

        json_text_put(t, s + start, n - start);
        json_text_put_literal(t, "\"");
}

/* By hand: a target's file has some for each LUN, and is written with each change of one. */
void json_text_put_number(JsonText *t, uint64_t n) {
        char digits[sizeof "18446744073709551615"];
        size_t i = sizeof digits;

        do
                digits[--i] = (char) ('0' + n % 10);
        while ((n /= 10) > 0);

        json_text_put(t, digits + i, sizeof digits - i);
}

int json_text_end(JsonText *t, char **ret, size_t *ret_size) {
        JsonText text;

        json_text_put(t, "\n", sizeof "\n");
        text = *t;
        *t = (JsonText) {};

        if (text.failed) {
                free(text.s);
                return -ENOMEM;
        }

        *ret = text.s;
        *ret_size = text.n - 1;
        return 0;
}

/* A line for what follows; depth is that of the line. */
static void put_line(JsonText *t, JsonStyle style, unsigned depth) {
        if (style == JSON_PLAIN)
                return;

        json_text_put_literal(t, "\n");
        for (unsigned i = 0; i < depth; i++)
                json_text_put_literal(t, "  ");
}

static void put_value(JsonText *t, Json *v, JsonStyle style, unsigned depth);

static void put_object(JsonText *t, Json *o, JsonStyle style, unsigned depth) {
        const char *key;
        bool any = false;
        Json *v;

        json_text_put_literal(t, "{");
        JSON_FOREACH(o, key, v) {
                if (any)
                        json_text_put_literal(t, ",");
                any = true;
                put_line(t, style, depth + 1);
                json_text_put_string(t, key, strlen(key));
                json_text_put_literal(t, style == JSON_PLAIN ? ":" : ": ");
                put_value(t, v, style, depth + 1);
        }

        if (any)
                put_line(t, style, depth);
        json_text_put_literal(t, "}");
}

static void put_array(JsonText *t, Json *a, JsonStyle style, unsigned depth) {
        size_t n = json_count(a);

        json_text_put_literal(t, "[");
        for (size_t i = 0; i < n; i++) {
                if (i > 0)
                        json_text_put_literal(t, ",");
                put_line(t, style, depth + 1);
                put_value(t, json_object_array_get_idx(a, i), style, depth + 1);
        }

        if (n > 0)
                put_line(t, style, depth);
        json_text_put_literal(t, "]");
}

static void put_integer(JsonText *t, Json *v) {
        int64_t n = json_object_get_int64(v);

        if (n >= 0) {
                json_text_put_number(t, json_object_get_uint64(v));
                return;
        }

        json_text_put_literal(t, "-");
        json_text_put_number(t, 0 - (uint64_t) n);
}

static void put_value(JsonText *t, Json *v, JsonStyle style, unsigned depth) {
        const char *s;

        switch (json_object_get_type(v)) {
        case json_type_null:
                json_text_put_literal(t, "null");
                break;
        case json_type_boolean:
                json_text_put_literal(t, json_object_get_boolean(v) ? "true" : "false");
                break;
        case json_type_int:
                put_integer(t, v);
                break;
        case json_type_string:
                json_text_put_string(t, json_object_get_string(v), (size_t) json_object_get_string_len(v));
                break;
        case json_type_object:
                put_object(t, v, style, depth);
                break;
        case json_type_array:
                put_array(t, v, style, depth);
                break;
        case json_type_double:
                /* As it was read. It is appended to a buffer in one piece, or not at all. */
                s = json_object_get_string(v);
                t->failed = t->failed || isempty(s);
                json_text_put_literal(t, strempty(s));
                break;
        }
}

int json_write(Json *o, JsonStyle style, char **ret, size_t *ret_size) {
        JsonText t = {};

        put_value(&t, o, style, 0);
        return json_text_end(&t, ret, ret_size);
}
