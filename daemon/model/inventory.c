/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/index.h"
#include "base/list.h"
#include "base/map.h"
#include "base/strv.h"
#include "model/inventory.h"
#include "model/source.h"

/* Who answers first for a text that several devices claim. */
typedef enum Rank {
        RANK_PATH,              /* of a multipath map: leads to a disk, and is none */
        RANK_DISK,
        RANK_MAP,
        RANK_MULTIPATH,
} Rank;

typedef struct Entry Entry;

/* The text is the device's own: a host has tens of thousands of them. */
typedef struct Claim {
        IndexLink link;
        Entry *entry;
} Claim;

struct Entry {
        Device *device;
        Index *index;           /* that the claims are in */
        Claim *claims;
        size_t n_claims;
        List link;              /* Inventory.marked or .unmarked */
        List wish_link;         /* Inventory.wishes */
        char key[];             /* the number; of a file, its identity */
};

struct Inventory {
        Map *entries;           /* key -> Entry */
        Index *names;           /* source text -> Claim */
        Index *paths;           /* the same of RANK_PATH: those answer only where nobody else does, and are many */
        List marked, unmarked;
        List wishes;            /* devices that a udev rule wants exported */
};

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
        list_init(&i->wishes);
        i->entries = map_new();
        i->names = index_new();
        i->paths = index_new();
        if (!i->entries || !i->names || !i->paths)
                return NULL;

        return TAKE_PTR(i);
}

static void claims_drop(Index *index, Claim *claims, size_t n) {
        for (size_t k = 0; k < n; k++)
                index_leave(index, &claims[k].link);
        free(claims);
}

/* One claim for each key. Those that the entry has already stay, so that nothing is lost if this fails. */
static int claims_new(Index *index, Entry *e, const Device *d, Claim **ret, size_t *ret_n) {
        size_t n = strv_length(d->keys);
        Claim *claims = calloc(n + 1, sizeof *claims);
        int r;

        if (!claims)
                return -ENOMEM;

        for (size_t k = 0; k < n; k++) {
                claims[k].entry = e;
                r = index_enter(index, d->keys[k], &claims[k].link);
                if (r < 0) {
                        claims_drop(index, claims, k);
                        return r;
                }
        }

        *ret = claims;
        *ret_n = n;
        return 0;
}

static Device *entry_free(Inventory *i, Entry *e) {
        Device *d = e->device;

        claims_drop(e->index, e->claims, e->n_claims);
        list_unlink(&e->link);
        list_unlink(&e->wish_link);
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
        index_free(i->names);
        index_free(i->paths);
        free(i);
        return NULL;
}

static Entry *entry_find(const Inventory *i, dev_t devnum) {
        char number[MAP_NUMBER_SIZE];

        map_number(devnum, number);
        return map_get(i->entries, number);
}

static Entry *entry_of(const Inventory *i, const Device *d) {
        return d->kind == DEVICE_FILE ? map_get(i->entries, d->identity) : entry_find(i, d->devnum);
}

static int entry_new(Inventory *i, const Device *d, Entry **ret) {
        _cleanup_free_ Entry *e = NULL;
        char number[MAP_NUMBER_SIZE];
        const char *key = number;
        int r;

        if (d->kind == DEVICE_FILE)
                key = d->identity;
        else
                map_number(d->devnum, number);

        e = calloc(1, sizeof *e + strlen(key) + 1);
        if (!e)
                return -ENOMEM;

        strcpy(e->key, key);
        list_init(&e->link);
        list_init(&e->wish_link);
        r = map_put(i->entries, e->key, e);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(e);
        return 0;
}

/* What is known is what was told: the new one, with the texts that the claims stand on. */
static void entry_keep(Entry *e, Device *d) {
        char **keys = d->keys;

        d->keys = e->device->keys;
        e->device->keys = keys;
        device_free(e->device);
        e->device = d;
}

static int entry_change(Inventory *i, Entry *e, Device *d, Device **ret_old) {
        Index *index = device_rank(d) == RANK_PATH ? i->paths : i->names;
        Device *old = e->device;
        Claim *claims;
        size_t n;
        int r;

        r = claims_new(index, e, d, &claims, &n);
        if (r < 0)
                return r;

        claims_drop(e->index, e->claims, e->n_claims);
        e->device = d;
        e->index = index;
        e->claims = claims;
        e->n_claims = n;
        list_unlink(&e->wish_link);
        if (!isempty(d->wish_target))
                list_append(&i->wishes, &e->wish_link);

        if (ret_old)
                *ret_old = old;
        else
                device_free(old);
        return 0;
}

int inventory_put(Inventory *i, Device *d, InventoryChange *ret_change, Device **ret_old) {
        Entry *e = entry_of(i, d), *made = NULL;
        int r;

        assert(!e || e->device != d);

        /* Even if it cannot be taken over: it was seen, and nobody shall conclude that it is gone. */
        if (e)
                entry_mark(i, e);

        if (e && device_equal(e->device, d)) {
                entry_keep(e, d);
                if (ret_old)
                        *ret_old = NULL;
                *ret_change = INVENTORY_SAME;
                return 0;
        }

        if (!e) {
                r = entry_new(i, d, &made);
                if (r < 0)
                        return r;
        }

        r = entry_change(i, e ?: made, d, ret_old);
        if (r < 0) {
                if (made)
                        (void) entry_free(i, made);
                return r;
        }

        entry_mark(i, e ?: made);
        *ret_change = INVENTORY_CHANGED;
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

/* The device of the highest rank, and whether it is the only one of that. */
static Device *find_best(const Index *x, const char *source, bool *ret_single) {
        Device *best = NULL;
        bool single = false;

        for (IndexLink *l = NULL; (l = index_next(x, source, l));) {
                Device *d = index_entry(l, Claim, link)->entry->device;

                if (best && device_rank(d) < device_rank(best))
                        continue;

                single = !best || device_rank(d) > device_rank(best);
                best = d;
        }

        *ret_single = single;
        return best;
}

/* One of however many. */
static Device *find_path(const Index *x, const char *source, bool *ret_single) {
        IndexLink *l = index_next(x, source, NULL);

        *ret_single = l && !index_next(x, source, l);
        return l ? index_entry(l, Claim, link)->entry->device : NULL;
}

int inventory_resolve(const Inventory *i, const char *source, Device **ret) {
        Device *d;
        bool single;

        d = find_best(i->names, source, &single);
        if (!d) {
                SourceKind kind;

                d = find_path(i->paths, source, &single);
                if (!d)
                        return -ENODEV;

                /* A WWID means the disk, and so does a link that several paths have: without its map, it is not there. */
                kind = source_kind(source);
                if (kind == SOURCE_WWID || (kind == SOURCE_BY_ID && !single))
                        return -ENODEV;
        }

        if (!single)
                return -ENOTUNIQ;

        *ret = d;
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

Device *inventory_next_wish(const Inventory *i, const Device *before) {
        const List *next = before ? entry_of(i, before)->wish_link.next : i->wishes.next;

        return next == &i->wishes ? NULL : list_entry(next, Entry, wish_link)->device;
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
