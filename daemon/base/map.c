/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/random.h>
#include <time.h>

#include "base/map.h"

/* Open addressing with linear probing; a removed entry leaves a tombstone, so that iteration and removal may be mixed. */

#define TOMBSTONE ((const char *) &tombstone_)

static const char tombstone_ = 0;

typedef struct Entry {
        const char *key;
        void *value;
} Entry;

struct Map {
        Entry *entries;
        size_t room;            /* a power of two */
        size_t used;            /* live entries */
        size_t dirty;           /* live entries and tombstones */
        uint64_t seed;
};

Map *map_new(void) {
        Map *m = calloc(1, sizeof *m);

        if (m && getrandom(&m->seed, sizeof m->seed, GRND_NONBLOCK) != sizeof m->seed)
                m->seed = (uint64_t) time(NULL) ^ (uintptr_t) m;

        return m;
}

Map *map_free(Map *m) {
        if (m)
                free(m->entries);
        free(m);
        return NULL;
}

static uint64_t hash(const Map *m, const char *key) {
        uint64_t h = m->seed ^ 0xcbf29ce484222325ULL;

        for (; *key; key++) {
                h ^= (unsigned char) *key;
                h *= 0x100000001b3ULL;
        }

        return h ^ h >> 32;
}

static Entry *find(const Map *m, const char *key) {
        if (m->room == 0)
                return NULL;

        for (size_t i = hash(m, key) & (m->room - 1);; i = (i + 1) & (m->room - 1)) {
                Entry *e = m->entries + i;

                if (!e->key)
                        return NULL;
                if (e->key != TOMBSTONE && streq(e->key, key))
                        return e;
        }
}

static void insert(Map *m, const char *key, void *value) {
        size_t i = hash(m, key) & (m->room - 1);

        while (m->entries[i].key)
                i = (i + 1) & (m->room - 1);

        m->entries[i] = (Entry) { .key = key, .value = value };
}

static int grow(Map *m) {
        _cleanup_free_ Entry *old = NULL;
        size_t old_room = m->room, room = 16;
        Entry *entries;

        while (room < m->used * 2 + 4)
                room *= 2;

        entries = calloc(room, sizeof *entries);
        if (!entries)
                return -ENOMEM;

        old = m->entries;
        m->entries = entries;
        m->room = room;
        for (size_t i = 0; i < old_room; i++)
                if (old[i].key && old[i].key != TOMBSTONE)
                        insert(m, old[i].key, old[i].value);
        m->dirty = m->used;

        return 0;
}

void *map_get(const Map *m, const char *key) {
        Entry *e = find(m, key);

        return e ? e->value : NULL;
}

int map_put(Map *m, const char *key, void *value) {
        int r;

        if (find(m, key))
                return -EEXIST;

        if (m->dirty * 4 >= m->room * 3) {
                r = grow(m);
                if (r < 0)
                        return r;
        }

        insert(m, key, value);
        m->used++;
        m->dirty++;
        return 0;
}

void *map_remove(Map *m, const char *key) {
        Entry *e = find(m, key);
        void *v;

        if (!e)
                return NULL;

        v = e->value;
        *e = (Entry) { .key = TOMBSTONE };
        m->used--;
        return v;
}

void map_replace(Map *m, const char *key, void *value) {
        Entry *e = find(m, key);

        assert(e);
        *e = (Entry) { .key = key, .value = value };
}

size_t map_size(const Map *m) {
        return m->used;
}

bool map_next(const Map *m, size_t *iterator, void **ret) {
        for (; *iterator < m->room; (*iterator)++) {
                Entry *e = m->entries + *iterator;

                if (!e->key || e->key == TOMBSTONE)
                        continue;

                *ret = e->value;
                (*iterator)++;
                return true;
        }

        return false;
}

void map_number(uint64_t n, char ret[static MAP_NUMBER_SIZE]) {
        unsigned digits = 1;

        while (digits < 16 && n >> 4 * digits)
                digits++;

        ret[digits] = 0;
        for (; digits > 0; n >>= 4)
                ret[--digits] = "0123456789abcdef"[n & 15];
}
