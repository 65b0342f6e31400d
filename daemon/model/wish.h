/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "model/device.h"
#include "model/wwn.h"

/* What a udev rule asks for a device: VHOSTSCSI_TARGET (a WWN in any spelling, or seed:TEXT), VHOSTSCSI_LUN (decimal;
 * absent: the lowest number that is free), VHOSTSCSI_READONLY (a boolean). Without a target there is no wish. All of
 * it is input. */

#define WISH_SEED_MAX 255       /* bytes */

typedef struct Wish {
        char wwn[WWN_SIZE];
        bool has_number;
        uint32_t number;
        bool readonly;
} Wish;

/* 1 and *ret; 0: the device carries none; -EINVAL: it makes no sense, and *ret_why is a static sentence that says why.
 * */
int wish_parse(const Device *d, Wish *ret, const char **ret_why);
