/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/bus-error.h"
#include "bus/text.h"

int bus_error_set(sd_bus_error *error, int r, const Refusal *refusal) {
        if (r != REFUSED)
                return r;

        return sd_bus_error_set(error, refusal_bus_name(refusal->kind), text_for_bus(refusal->text));
}
