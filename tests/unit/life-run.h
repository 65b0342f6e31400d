/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "life-check.h"

/* The run of test-life, and its events. Each returns NULL, or what is wrong. */

typedef struct Life {
        Fixture fixture;
        Random chance;                  /* of this event */
        uint64_t event;
        GString *trace;                 /* what the event does, for people */
        bool faulty;                    /* the kernel refuses by chance, or did since all was well */
} Life;

extern Life life;

/* Does everything that can be done, and compares. healed: and what failed is tried again, now that nothing is in the way. */
char *life_settle(bool healed);

char *life_create(void);
char *life_label(void);
char *life_destroy(void);
char *life_add(void);
char *life_remove(void);
