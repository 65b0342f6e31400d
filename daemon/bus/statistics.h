/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "engine/engine.h"

/* GetStatistics of a target (only NULL), or of a LUN: reads for everybody, and answers when it has. As a handler returns. */
int bus_statistics_answer(Engine *e, sd_bus_message *m, const Target *t, const Lun *only);
