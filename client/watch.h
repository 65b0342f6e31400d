/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bus-client.h"

/* Waiting for the daemon: for news of its objects, and for itself. One that is restarted, or dies, while it is asked for something that
 * may be asked twice is asked again. Where the bus starts it, the bus holds that call until it is there; elsewhere the bus tells of its
 * return. Nothing is asked by the clock, but for what nobody tells of. */

typedef struct Watch {
        Client *client;
        sd_bus_slot *matches[3];
        sd_event_source *deadline, *again;
        bool news;              /* reset by the caller before it asks, so that no news falls between asking and waiting */
        bool over;              /* the time is up */
        bool lost;              /* it has left, be it in the middle of a call */
} Watch;

void watch_done(Watch *w);

int watch_daemon(Watch *w);                     /* news: it came or went */
int watch_targets(Watch *w);                    /* and: something of a target or a LUN changed */
int watch_limit(Watch *w, uint64_t usec);       /* over: so long after now */
int watch_again(Watch *w, uint64_t usec);       /* news: so long after now, of the next watch_run() only */

/* Until there is news, the time is up or somebody has had enough (Client.interrupted). detail: what the progress line says, or NULL. */
int watch_run(Watch *w, const char *detail);

/* That is not the daemon's answer, but its end: ask again when there is news. */
bool watch_loses(Watch *w, const sd_bus_error *e);
