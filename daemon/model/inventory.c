/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/sysmacros.h>

#include "base/list.h"
#include "base/map.h"
#include "base/strv.h"
#include "model/inventory.h"
#include "model/source.h"

/* Who answers first for a text that several devices claim. Lists of their own: a look at the highest decides. */
typedef enum Rank {
        RANK_PATH,              /* of a multipath map: leads to a disk, and is none */
        RANK_DISK,
        RANK_MAP,
        RANK_MULTIPATH,
        _RANK_MAX,
} Rank;

typedef struct Name {
        List claims[_RANK_MAX]; /* Claim.link */
        size_t n;
        char text[];
} Name;

typedef struct Entry Entry;

typedef struct Claim {
        List link;
        Name *name;
        Entry *entry;
} Claim;

struct Entry {
        Device *device;
        Claim *claims;
        size_t n_claims;
        List link;              /* Inventory.marked or .unmarked */
        char key[];             /* "8:16"; of a file, its identity */
};

struct Inventory {
        Map *entries;           /* key -> Entry */
        Map *names;             /* source text -> Name */
        List marked, unmarked;
};

static void number_format(dev_t devnum, char ret[static 24]) {
        (void) snprintf(ret, 24, "%u:%u", major(devnum), minor(devnum));
}

static Rank device_rank(const Device *d) {
        if (d->path_member)
                return RANK_PATH;

        switch (d->kind) {
        case DEVICE_MULTIPATH:
                return RANK_MULTIPATH;
        case DEVICE_MAP:
                return RANK_MAP;
        case DEVICE_DISK:
        case DEVICE_PARTITION:
        case DEVICE_FILE:
        case _DEVICE_KIND_MAX:
                break;
        }

        return RANK_DISK;
}

Inventory *inventory_new(void) {
        _cleanup_(inventory_freep) Inventory *i = calloc(1, sizeof *i);

        if (!i)
                return NULL;

        list_init(&i->marked);
        list_init(&i->unmarked);
        i->entries = map_new();
        i->names = map_new();
        if (!i->entries || !i->names)
                return NULL;

        return TAKE_PTR(i);
}

static void name_release(Inventory *i, Name *n) {
        if (n->n > 0)
                return;

        map_remove(i->names, n->text);
        free(n);
}

/* The claims may be linked or not (yet). */
static void claims_drop(Inventory *i, Claim *claims, size_t n) {
        for (size_t k = 0; k < n; k++) {
                list_unlink(&claims[k].link);
                claims[k].name->n--;
                name_release(i, claims[k].name);
        }
        free(claims);
}

static int name_acquire(Inventory *i, const char *text, Name **ret) {
        Name *n = map_get(i->names, text);
        size_t size = strlen(text) + 1;
        int r;

        if (!n) {
                n = calloc(1, sizeof *n + size);
                if (!n)
                        return -ENOMEM;

                memcpy(n->text, text, size);
                for (Rank k = 0; k < _RANK_MAX; k++)
                        list_init(n->claims + k);

                r = map_put(i->names, n->text, n);
                if (r < 0) {
                        free(n);
                        return r;
                }
        }

        n->n++;
        *ret = n;
        return 0;
}

/* One claim for each key, not linked yet. */
static int claims_new(Inventory *i, char *const *keys, Claim **ret, size_t *ret_n) {
        size_t n = strv_length(keys);
        Claim *claims = calloc(n + 1, sizeof *claims);
        int r;

        if (!claims)
                return -ENOMEM;

        for (size_t k = 0; k < n; k++) {
                list_init(&claims[k].link);
                r = name_acquire(i, keys[k], &claims[k].name);
                if (r < 0) {
                        claims_drop(i, claims, k);
                        return r;
                }
        }

        *ret = claims;
        *ret_n = n;
        return 0;
}

static void entry_set_claims(Inventory *i, Entry *e, Claim *claims, size_t n) {
        Rank rank = device_rank(e->device);

        claims_drop(i, e->claims, e->n_claims);
        e->claims = claims;
        e->n_claims = n;

        for (size_t k = 0; k < n; k++) {
                claims[k].entry = e;
                list_append(claims[k].name->claims + rank, &claims[k].link);
        }
}

static Device *entry_free(Inventory *i, Entry *e) {
        Device *d = e->device;

        claims_drop(i, e->claims, e->n_claims);
        list_unlink(&e->link);
        map_remove(i->entries, e->key);
        free(e);
        return d;
}

static void entry_mark(Inventory *i, Entry *e) {
        list_unlink(&e->link);
        list_append(&i->marked, &e->link);
}

Inventory *inventory_free(Inventory *i) {
        Entry *e;

        if (!i)
                return NULL;

        LIST_FOREACH(&i->marked, e, Entry, link)
                device_free(entry_free(i, e));
        LIST_FOREACH(&i->unmarked, e, Entry, link)
                device_free(entry_free(i, e));

        map_free(i->entries);
        map_free(i->names);
        free(i);
        return NULL;
}

static Entry *entry_find(const Inventory *i, dev_t devnum) {
        char number[24];

        number_format(devnum, number);
        return map_get(i->entries, number);
}

static Entry *entry_of(const Inventory *i, const Device *d) {
        return d->kind == DEVICE_FILE ? map_get(i->entries, d->identity) : entry_find(i, d->devnum);
}

static int entry_new(Inventory *i, const Device *d, Entry **ret) {
        _cleanup_free_ Entry *e = NULL;
        char number[24];
        const char *key = number;
        int r;

        if (d->kind == DEVICE_FILE)
                key = d->identity;
        else
                number_format(d->devnum, number);

        e = calloc(1, sizeof *e + strlen(key) + 1);
        if (!e)
                return -ENOMEM;

        strcpy(e->key, key);
        list_init(&e->link);
        r = map_put(i->entries, e->key, e);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(e);
        return 0;
}

int inventory_put(Inventory *i, Device *d, InventoryChange *ret_change, Device **ret_old) {
        Entry *e = entry_of(i, d);
        bool changed = !e || !device_equal(e->device, d);
        Device *old = e ? e->device : NULL;
        Claim *claims = NULL;
        size_t n = 0;
        int r;

        assert(old != d);

        /* Even if it cannot be taken over: it was seen, and nobody shall conclude that it is gone. */
        if (e)
                entry_mark(i, e);

        if (changed) {
                r = claims_new(i, d->keys, &claims, &n);
                if (r < 0)
                        return r;

                if (!e) {
                        r = entry_new(i, d, &e);
                        if (r < 0) {
                                claims_drop(i, claims, n);
                                return r;
                        }
                        entry_mark(i, e);
                }
        }

        e->device = d;
        if (changed)
                entry_set_claims(i, e, claims, n);

        if (changed && ret_old)
                *ret_old = old;
        else {
                device_free(old);
                if (ret_old)
                        *ret_old = NULL;
        }

        *ret_change = changed ? INVENTORY_CHANGED : INVENTORY_SAME;
        return 0;
}

Device *inventory_take(Inventory *i, dev_t devnum) {
        Entry *e = entry_find(i, devnum);

        return e ? entry_free(i, e) : NULL;
}

Device *inventory_take_file(Inventory *i, const char *source) {
        Entry *e = map_get(i->entries, source);

        return e ? entry_free(i, e) : NULL;
}

Device *inventory_by_devnum(const Inventory *i, dev_t devnum) {
        Entry *e = entry_find(i, devnum);

        return e ? e->device : NULL;
}

/* The only claim in a list; NULL if there are several. */
static Claim *claim_single(const List *l) {
        return l->next == l->prev ? list_entry(l->next, Claim, link) : NULL;
}

int inventory_resolve(const Inventory *i, const char *source, Device **ret) {
        const Name *n = map_get(i->names, source);
        Rank rank = _RANK_MAX;
        Claim *c;

        if (!n)
                return -ENODEV;

        do
                rank--;
        while (rank > 0 && list_is_empty(n->claims + rank));

        c = claim_single(n->claims + rank);

        /* A WWID means the disk, and so does a link that several paths have: without its map, it is not there. */
        if (rank == RANK_PATH) {
                SourceKind kind = source_kind(source);

                if (kind == SOURCE_WWID || (kind == SOURCE_BY_ID && !c))
                        return -ENODEV;
        }

        if (!c)
                return -ENOTUNIQ;

        *ret = c->entry->device;
        return 0;
}

bool inventory_has_instance(const Inventory *i, dev_t devnum, uint64_t diskseq) {
        Device *d = inventory_by_devnum(i, devnum);

        return d && (diskseq == 0 || d->diskseq == diskseq);
}

size_t inventory_size(const Inventory *i) {
        return map_size(i->entries);
}

bool inventory_next(const Inventory *i, size_t *iterator, Device **ret) {
        void *e;

        if (!map_next(i->entries, iterator, &e))
                return false;

        *ret = ((Entry *) e)->device;
        return true;
}

void inventory_unmark(Inventory *i) {
        Entry *e;

        LIST_FOREACH(&i->marked, e, Entry, link) {
                if (e->device->kind == DEVICE_FILE)
                        continue;
                list_unlink(&e->link);
                list_append(&i->unmarked, &e->link);
        }
}

Device *inventory_take_unmarked(Inventory *i) {
        if (list_is_empty(&i->unmarked))
                return NULL;

        return entry_free(i, list_entry(i->unmarked.next, Entry, link));
}
