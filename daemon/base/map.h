/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"

/* A hash map from text to a pointer; the map owns neither key nor value, and the key must live as long as the entry (it is a member of
 * the value as a rule). Iteration is in no order; the body may remove the entry it stands on. Fits 16384 paths and 4096 LUNs: all
 * operations are O(1) on average. The hash is keyed with a random number, for the texts come from devices and callers. */

typedef struct Map Map;

Map *map_new(void);
Map *map_free(Map *m);                                          /* returns NULL */
DEFINE_CLEANUP(Map *, map_free);

void *map_get(const Map *m, const char *key);
int map_put(Map *m, const char *key, void *value);              /* -EEXIST, -ENOMEM */
void *map_remove(Map *m, const char *key);                      /* what was there, or NULL */
/* Instead of what is there under an equal text; from now on key is the text that must live. */
void map_replace(Map *m, const char *key, void *value);
size_t map_size(const Map *m);
bool map_next(const Map *m, size_t *iterator, void **ret);      /* *iterator is 0 at first */

/* A key for a number: hexadecimal digits. */
#define MAP_NUMBER_SIZE 17U
void map_number(uint64_t n, char ret[static MAP_NUMBER_SIZE]);

#define MAP_FOREACH(map, v) \
        for (size_t _i_##v = 0; map_next((map), &_i_##v, (void **) &(v));)
