/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/map.h"
#include "model/target.h"
#include "store/history.h"

/* The targets that were different at some generation. */

typedef struct PastTarget {
        char wwn[WWN_SIZE];
        Target *target;         /* stands alone, as target_json_parse() makes it; NULL: there was none */
} PastTarget;

/* WWN -> PastTarget. -EBADMSG: the file of *ret_wwn cannot be used. */
int past_new(const History *h, uint64_t generation, Map **ret, char ret_wwn[static WWN_SIZE]);
Map *past_free(Map *past);                                      /* returns NULL */
DEFINE_CLEANUP(Map *, past_free);
