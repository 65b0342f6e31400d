/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Scope-bound ownership and the few words that every file needs. */

#define _cleanup_(f)      __attribute__((cleanup(f)))
#define _printf_(a, b)    __attribute__((format(printf, a, b)))
#define _unused_          __attribute__((unused))
#define _pure_            __attribute__((pure))
#define _const_           __attribute__((const))

#define DEFINE_CLEANUP(type, func)                      \
        static inline void func##p(type *p) {           \
                if (*p)                                 \
                        func(*p);                       \
        }                                               \
        struct swallow_semicolon

/* Hands the pointer on: the variable owns nothing afterwards. */
#define TAKE_PTR(p)                                     \
        ({                                              \
                typeof(p) *_pp = &(p);                  \
                typeof(p) _v = *_pp;                    \
                *_pp = NULL;                            \
                _v;                                     \
        })

#define TAKE_FD(fd)                                     \
        ({                                              \
                int *_pf = &(fd);                       \
                int _f = *_pf;                          \
                *_pf = -EBADF;                          \
                _f;                                     \
        })

/* GLib, in tests, has macros of these names. */
#undef MIN
#undef MAX
#define ELEMENTSOF(x)     (sizeof(x) / sizeof((x)[0]))
#define MIN(a, b)         ({ typeof(a) _a = (a); typeof(b) _b = (b); _a < _b ? _a : _b; })
#define MAX(a, b)         ({ typeof(a) _a = (a); typeof(b) _b = (b); _a > _b ? _a : _b; })
#define container_of(ptr, type, member) ((type *) ((char *) (ptr) - offsetof(type, member)))

static inline void freep(void *p) {
        free(*(void **) p);
}

#define SWAP(a, b)                       \
        do {                             \
                __auto_type _s = (a);    \
                (a) = (b);               \
                (b) = _s;                \
        } while (false)

static inline int safe_close(int fd) {
        /* errno of the failure that made the caller close must survive. */
        if (fd >= 0) {
                int saved = errno;

                close(fd);
                errno = saved;
        }

        return -EBADF;
}

static inline void closep(int *fd) {
        safe_close(*fd);
}

DEFINE_CLEANUP(FILE *, fclose);
DEFINE_CLEANUP(DIR *, closedir);

#define _cleanup_free_    _cleanup_(freep)
#define _cleanup_close_   _cleanup_(closep)
#define _cleanup_fclose_  _cleanup_(fclosep)
#define _cleanup_closedir_ _cleanup_(closedirp)

static inline bool streq(const char *a, const char *b) {
        return strcmp(a, b) == 0;
}

/* NULL equals NULL and nothing else. */
static inline bool streq_ptr(const char *a, const char *b) {
        return a && b ? streq(a, b) : a == b;
}

static inline bool isempty(const char *s) {
        return !s || !*s;
}

static inline const char *strempty(const char *s) {
        return s ?: "";
}

static inline const char *startswith(const char *s, const char *prefix) {
        size_t n = strlen(prefix);

        return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}

/* Replaces *p by a copy of s (NULL: by NULL). Changes nothing on -ENOMEM. Returns 1 if the text changed, else 0. */
static inline int free_and_strdup(char **p, const char *s) {
        char *c = NULL;

        if (streq_ptr(*p, s))
                return 0;

        if (s) {
                c = strdup(s);
                if (!c)
                        return -ENOMEM;
        }

        free(*p);
        *p = c;
        return 1;
}
