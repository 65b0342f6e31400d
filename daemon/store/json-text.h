/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "store/json.h"

/* JSON as it is written. */

/* Grows. What fails fails for good, and is asked for once, in the end. */
typedef struct JsonText {
        char *s;
        size_t n, room;
        bool failed;
} JsonText;

void json_text_put(JsonText *t, const char *s, size_t n);
/* With its quotes. Bytes from ' ' on are as they are. */
void json_text_put_string(JsonText *t, const char *s, size_t n);
void json_text_put_number(JsonText *t, uint64_t n);

static inline void json_text_put_literal(JsonText *t, const char *s) {
        json_text_put(t, s, strlen(s));
}

/* The text, with a newline and then a NUL at its end, the latter not being counted; or -ENOMEM. t is empty again either way. */
int json_text_end(JsonText *t, char **ret, size_t *ret_size);

typedef enum JsonStyle {
        JSON_PLAIN,             /* one line, no blanks */
        JSON_PRETTY,            /* a value a line, two blanks a level */
} JsonStyle;

/* Not by json-c, whose json_object_to_json_string() leaves a piece out where it gets no memory for its buffer, and says that all is well
 * (printbuf_memappend() in json_object.c: nobody looks at what it returns): a file would be saved with a hole in it. */
int json_write(Json *o, JsonStyle style, char **ret, size_t *ret_size);
