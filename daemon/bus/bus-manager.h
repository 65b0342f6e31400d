/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"

/* org.vhostscsi.Manager and the ObjectManager at /org/vhostscsi */

int bus_manager_add(sd_bus *bus, Engine *e);

/* The value of State: starting, degraded or running. */
const char *bus_manager_state(Engine *e);

/* Changes when Problems does; 0: there are none. */
unsigned bus_manager_problems(const Engine *e);
