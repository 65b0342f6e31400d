/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/cleanup.h"
#include "base/list.h"

/* From a text to all that bear it, each with a link of its own in it; owns neither text nor bearers. Entering and leaving are O(1) on
 * average, however many there are, and leaving needs no memory. */

typedef struct Index Index;

typedef struct IndexLink {
        List same;              /* a ring of those with the same text */
        const char *key;        /* NULL: in no index */
} IndexLink;

Index *index_new(void);
Index *index_free(Index *x);                                    /* returns NULL; the links may be gone by then */
DEFINE_CLEANUP(Index *, index_free);

/* The key must live as long as the link is in. Already in, under whatever key: stays as it is. -ENOMEM: not in. */
int index_enter(Index *x, const char *key, IndexLink *l);
void index_leave(Index *x, IndexLink *l);                       /* fine if it is not in */

/* One after the other, in no order: NULL begins, NULL ends. */
IndexLink *index_next(const Index *x, const char *key, const IndexLink *before);

#define index_entry(l, type, member) ((type *) ((char *) (l) - offsetof(type, member)))
