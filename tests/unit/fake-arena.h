/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/cleanup.h"

/* The memory that the fake kernel lives in: shared with every child forked after fake_arena_reset(), at the same addresses, so that a
 * forked pass works on the same kernel as its parent and can really be killed. There is no ENOMEM: it aborts. The caller holds the
 * fake's mutex, but for fake_arena_reset(). */

void fake_arena_reset(void);                    /* everything allocated is gone */
void *fake_alloc(size_t size);                  /* zeroed */
char *fake_strdup(const char *s);
void fake_free(void *p);
void fake_set_text(char **p, const char *s);    /* frees what was there; s may be NULL */
