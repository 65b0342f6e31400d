/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"

/* The daemon: wiring and start order; decides nothing. */

typedef struct Daemon {
        Engine engine;
        sd_bus *bus;
} Daemon;

/* state_dir, bus_address: NULL for the usual ones. Each step that fails is logged with its name. */
int daemon_start(Daemon *d, const char *state_dir);
int daemon_run(Daemon *d);
void daemon_done(Daemon *d);
