/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

/* Intrusive, circular, doubly linked. A List is its head and, in an element, its link; an unlinked element points to itself, so
 * unlinking twice is harmless. */

typedef struct List List;

struct List {
        List *next, *prev;
};

#define LIST_INIT(l) ((List) { .next = &(l), .prev = &(l) })

static inline void list_init(List *l) {
        l->next = l->prev = l;
}

static inline int list_is_empty(const List *l) {
        return l->next == l;
}

static inline void list_unlink(List *e) {
        e->prev->next = e->next;
        e->next->prev = e->prev;
        list_init(e);
}

static inline void list_append(List *l, List *e) {
        e->prev = l->prev;
        e->next = l;
        l->prev->next = e;
        l->prev = e;
}

#define list_entry(e, type, member) ((type *) ((char *) (e) - offsetof(type, member)))

/* The body may unlink or free the element it stands on, but no other. */
#define LIST_FOREACH(list, v, type, member)                                                              \
        for (List *_n_##v, *_i_##v = (list)->next;                                                       \
             _n_##v = _i_##v->next, _i_##v != (list) && ((v) = list_entry(_i_##v, type, member), 1);     \
             _i_##v = _n_##v)
