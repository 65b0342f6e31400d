/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/cleanup.h"

/* NULL-terminated arrays of strings. */

/* One text out of three, allocated; NULL: no memory. What asprintf("%s%s%s") does, in a fraction of its time: names of devices are put together
 * by the ten thousand. */
char *strjoin3(const char *a, const char *b, const char *c);

char **strv_free(char **v);                             /* returns NULL */
DEFINE_CLEANUP(char **, strv_free);

size_t strv_length(char *const *v);                     /* v may be NULL */
bool strv_contains(char *const *v, const char *s);
bool strv_equal(char *const *a, char *const *b);
/* Of "name=value" what stands behind the first '=', name being the n bytes at name; NULL: there is none of that name. */
const char *strv_value(char *const *v, const char *name, size_t n);
int strv_extend(char ***v, const char *s);              /* appends a copy */
int strv_consume(char ***v, char *s);                   /* appends s itself; frees it on an error; NULL is -ENOMEM */
void strv_sort(char **v);
