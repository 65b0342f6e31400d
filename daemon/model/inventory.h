/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "model/device.h"

/* Every block device of the host that we know of, by number and by every source text that names it, and the files that LUNs stand on, by
 * their source. Owns its devices. */

typedef struct Inventory Inventory;

typedef enum InventoryChange {
        INVENTORY_SAME,
        INVENTORY_CHANGED,      /* new, or differs from what was known */
} InventoryChange;

Inventory *inventory_new(void);
Inventory *inventory_free(Inventory *i);                        /* returns NULL */
DEFINE_CLEANUP(Inventory *, inventory_free);

/* Takes the device over, in every case but an error. What was known under its devnum is replaced; pointers to the old one are invalid
 * afterwards. *ret_old (may be NULL) gets the replaced device if it changed (the caller frees it), else NULL. */
int inventory_put(Inventory *i, Device *d, InventoryChange *ret_change, Device **ret_old);

/* Hands the device with that number over to the caller, or NULL. */
Device *inventory_take(Inventory *i, dev_t devnum);

Device *inventory_take_file(Inventory *i, const char *source);

Device *inventory_by_devnum(const Inventory *i, dev_t devnum);

/* The device that a canonical source text names. -ENODEV: none now. -ENOTUNIQ: several, none of which is to be preferred. Paths of a
 * map never answer for a wwid or a by-id link that the map itself has; a map goes before plain disks. */
int inventory_resolve(const Inventory *i, const char *source, Device **ret);

/* Is the very device instance still there? diskseq 0: compare the number only. */
bool inventory_has_instance(const Inventory *i, dev_t devnum, uint64_t diskseq);

size_t inventory_size(const Inventory *i);
bool inventory_next(const Inventory *i, size_t *iterator, Device **ret);        /* *iterator is 0 at first; any order */

/* The body may take the device that it stands on. */
#define INVENTORY_FOREACH(inventory, d) \
        for (size_t _i_##d = 0; inventory_next((inventory), &_i_##d, &(d));)

/* Those that a udev rule wants exported, one after the other: NULL begins, NULL ends. before must be one of them. */
Device *inventory_next_wish(const Inventory *i, const Device *before);

/* For enumerating block devices again: forget the marks, mark each device seen while enumerating (inventory_put does), then take those not seen. */
void inventory_unmark(Inventory *i);
Device *inventory_take_unmarked(Inventory *i);                  /* one at a time, NULL when there is none left */
