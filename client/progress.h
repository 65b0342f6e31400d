/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-event.h>

#include "base/cleanup.h"

/* A line on the terminal that says what is waited for, from one second on. */

typedef struct Progress {
        sd_event_source *timer;
        char *text;             /* escaped */
        char *detail;           /* escaped; the last news, may be NULL */
        uint64_t since;         /* µs, CLOCK_MONOTONIC */
        unsigned turn;
        bool visible;
} Progress;

bool progress_is_possible(void);

int progress_start(Progress *p, sd_event *event, const char *text);
void progress_set_detail(Progress *p, const char *detail);
void progress_stop(Progress *p);                /* wipes the line; fine on one that was never started */
