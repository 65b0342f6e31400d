/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "engine/engine.h"

/* The manager's members around the start of a guest: Check, Acquire, Release. */

int bus_owner_add(sd_bus *bus, Engine *e);
