/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "model/registry.h"

/* The state directory: <state>/targets/<wwn>.json, one file a target. What is in it is what is wanted, and proof that it is ours. */

typedef struct Store Store;

/* Makes the directories (0700) if they are missing. state_dir: /var/lib/vhscsid as a rule. */
int store_new(const char *state_dir, Store **ret);
Store *store_free(Store *s);                                    /* returns NULL */
DEFINE_CLEANUP(Store *, store_free);

/* Reads every file into the registry. A file that cannot be used is renamed to <name>.bad (a newer version's, and one that somebody
 * else may have written, is left where it is), logged, and its WWN noted in registry->bad so that nobody touches that target; the
 * others are loaded all the same. Fails only if the directory itself cannot be read. */
int store_load(Store *s, Registry *r);

/* Durable when it returns 0 (base/fileio.h). */
int store_save(Store *s, const Target *t);
int store_remove(Store *s, const char *wwn);
