/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/index.h"
#include "base/map.h"

struct Index {
        Map *first;             /* text -> any IndexLink of those that bear it; the map's key is that one's */
};

Index *index_new(void) {
        _cleanup_(index_freep) Index *x = calloc(1, sizeof *x);

        if (!x)
                return NULL;

        x->first = map_new();
        return x->first ? TAKE_PTR(x) : NULL;
}

Index *index_free(Index *x) {
        if (x)
                map_free(x->first);
        free(x);
        return NULL;
}

int index_enter(Index *x, const char *key, IndexLink *l) {
        IndexLink *first;
        int r;

        if (l->key)
                return 0;

        first = map_get(x->first, key);
        list_init(&l->same);
        if (first)
                list_append(&first->same, &l->same);
        else {
                r = map_put(x->first, key, l);
                if (r < 0)
                        return r;
        }

        l->key = key;
        return 0;
}

void index_leave(Index *x, IndexLink *l) {
        if (!l->key)
                return;

        if (list_is_empty(&l->same))
                (void) map_remove(x->first, l->key);
        else if (map_get(x->first, l->key) == l) {
                IndexLink *next = list_entry(l->same.next, IndexLink, same);

                map_replace(x->first, next->key, next);
        }

        list_unlink(&l->same);
        l->key = NULL;
}

IndexLink *index_next(const Index *x, const char *key, const IndexLink *before) {
        IndexLink *first = map_get(x->first, key), *next;

        if (!before)
                return first;

        next = list_entry(before->same.next, IndexLink, same);
        return next == first ? NULL : next;
}
