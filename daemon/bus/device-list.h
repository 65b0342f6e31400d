/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"

/* Appends aa{sv}: every block device with what it is, whether it can be exported, and the LUNs that stand on it; sorted by name. */
int device_list_append(Engine *e, sd_bus_message *reply);
