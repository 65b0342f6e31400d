/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

/* The least that a service of sd-bus can do for as many objects with the same properties: everything is in a table. What GetManagedObjects of
 * the daemon is compared with. */

#define BARE_PATH "/bare"

int bare_add(sd_bus *bus, unsigned n, unsigned n_targets);
void bare_done(void);
