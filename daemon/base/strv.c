/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/strv.h"

char *strjoin3(const char *a, const char *b, const char *c) {
        size_t n = strlen(a), m = strlen(b), k = strlen(c);
        char *s = malloc(n + m + k + 1);

        if (!s)
                return NULL;

        memcpy(s, a, n);
        memcpy(s + n, b, m);
        memcpy(s + n + m, c, k + 1);
        return s;
}

char **strv_free(char **v) {
        for (char **i = v; i && *i; i++)
                free(*i);
        free(v);
        return NULL;
}

size_t strv_length(char *const *v) {
        size_t n = 0;

        while (v && v[n])
                n++;

        return n;
}

bool strv_contains(char *const *v, const char *s) {
        for (; v && *v; v++)
                if (streq(*v, s))
                        return true;

        return false;
}

bool strv_equal(char *const *a, char *const *b) {
        size_t n = strv_length(a);

        if (n != strv_length(b))
                return false;

        for (size_t i = 0; i < n; i++)
                if (!streq(a[i], b[i]))
                        return false;

        return true;
}

const char *strv_value(char *const *v, const char *name, size_t n) {
        for (; v && *v; v++)
                if (strncmp(*v, name, n) == 0 && (*v)[n] == '=')
                        return *v + n + 1;

        return NULL;
}

int strv_consume(char ***v, char *s) {
        size_t n = strv_length(*v), room = 4;
        char **p;

        if (!s)
                return -ENOMEM;

        /* In powers of two: the allocator grows in place most of the time, and a long list costs no more than its length. */
        while (room < n + 2)
                room *= 2;

        p = realloc(*v, room * sizeof *p);
        if (!p) {
                free(s);
                return -ENOMEM;
        }
        *v = p;

        (*v)[n] = s;
        (*v)[n + 1] = NULL;
        return 0;
}

int strv_extend(char ***v, const char *s) {
        return strv_consume(v, strdup(s));
}

static int compare(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

void strv_sort(char **v) {
        if (v)
                qsort(v, strv_length(v), sizeof *v, compare);
}
