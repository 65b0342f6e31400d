/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

#include "engine/refusal.h"

/* The one place where what the engine says becomes an error of the bus. r: what an edit_*() or survey_*() returned; REFUSED takes the
 * name and the sentence from the refusal. Returns what the method handler has to return. */
int bus_error_set(sd_bus_error *error, int r, const Refusal *refusal);
