/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "engine/engine.h"

/* The manager's members that take or give whole documents: Plan, Apply, ImportConfig, ExportConfig,
 * CheckExport, History, Rollback. */

int bus_config_add(sd_bus *bus, Engine *e);
