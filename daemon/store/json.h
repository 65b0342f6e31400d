/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>
#include <stdint.h>

#include "base/cleanup.h"

/* JSON from outside, read by json-c in its strict mode: RFC 8259 in UTF-8, nothing before it and nothing but blanks behind. */

typedef struct json_object Json;

DEFINE_CLEANUP(Json *, json_object_put);

#define JSON_DEPTH_MAX 64

typedef struct JsonLimits {
        size_t size;            /* bytes of text */
        int depth;              /* of nesting, at most JSON_DEPTH_MAX */
        /* What the text may make json-c allocate: up to some 900 bytes for an object or array, and 150 for any other value with its key. */
        size_t containers;
        size_t values;
        /* No object has a key twice. (json-c keeps the last value, other readers the first: what is meant is anybody's guess.) */
        bool unique;
} JsonLimits;

/* The text is input: any bytes, ended by size. -EFBIG: over a limit of size or number; -EINVAL: all else that is wrong with it. With both,
 * *ret_why gets an allocated sentence. Time and memory are linear in size. */
int json_read(const char *text, size_t size, const JsonLimits *limits, Json **ret, char **ret_why);

/* In the order of the text; of a key that is there twice, the place of the first and the value of the last. */
#define JSON_FOREACH(o, key, v)                                                                                                 \
        for (struct json_object_iterator _i = json_object_iter_begin(o), _end = json_object_iter_end(o);                        \
             !json_object_iter_equal(&_i, &_end) &&                                                                             \
             ((key) = json_object_iter_peek_name(&_i), (v) = json_object_iter_peek_value(&_i), true);                           \
             json_object_iter_next(&_i))

/* A string without NUL bytes, or NULL. */
const char *json_get_string(Json *o, const char *key);
/* Absent: the value that is there already. -EINVAL: no boolean. */
int json_get_boolean(Json *o, const char *key, bool *ret);
/* -EINVAL: absent, no integer, or out of range; UINT32_MAX itself is out of range, for it stands for none. */
int json_get_u32(Json *o, const char *key, uint32_t *ret);

/* null, false, "", [] and {}: says no more than if it were not there. */
bool json_is_empty(Json *v);
/* For files of people who write numbers in other ways: an integer, its decimal text, or a boolean. -EINVAL, -ERANGE. */
int json_to_number(Json *v, uint64_t *ret);
/* How many are in it; NULL: none. */
size_t json_count(Json *array);

/* Adds v, which is ours, to o; NULL is a failed allocation. */
int json_add(Json *o, const char *key, Json *v);
/* For a chain of these with one test at its end. */
#define JSON_ADD(r, ...)                                \
        do {                                            \
                if ((r) >= 0)                           \
                        (r) = json_add(__VA_ARGS__);    \
        } while (false)

/* The same at the end of an array. */
int json_append(Json *array, Json *v);

/* Is the text within the limits but for its size? -EFBIG with a sentence. */
int json_check_amount(const char *text, size_t size, const JsonLimits *limits, char **ret_why);
