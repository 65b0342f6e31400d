/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

#include "base/list.h"
#include "base/map.h"

/* What events told of a device, and neither sysfs nor udev's database keeps. */

/* For uevents.c. */
typedef enum HeardList {
        HEARD_NOWHERE,          /* nothing is to be done */
        HEARD_UNREAD,           /* there was an event, and nobody needs to know more than that */
        HEARD_SUSPECT,          /* there may have been an event, and its names are to be looked at */
        HEARD_URGENT,           /* to be read now */
} HeardList;

typedef struct Heard {
        char number[MAP_NUMBER_SIZE];   /* devnum's */
        dev_t devnum;
        uint64_t diskseq;       /* of the newest instance that an event told of; 0: none did */
        int valid_paths;        /* of a multipath map, that work; -1: no event told */
        uint64_t sequence;      /* DM_SEQNUM of the event that told it */
        HeardList list;
        List link;              /* in that list */
} Heard;

typedef struct Hearsay {
        Map *devices;           /* number -> Heard */
} Hearsay;

int hearsay_init(Hearsay *h);
void hearsay_done(Hearsay *h);

Heard *hearsay_get(const Hearsay *h, dev_t devnum);
int hearsay_ensure(Hearsay *h, dev_t devnum, Heard **ret);

/* No event told anything that is worth keeping. */
bool hearsay_is_empty(const Heard *heard);

/* Also from the list that it is in. */
void hearsay_forget(Hearsay *h, Heard *heard);

/* What was told may be outdated: an event may have been lost. Nothing is left in any list. */
void hearsay_forget_all(Hearsay *h);

/* What one event says. Any text may be NULL. diskseq 0: it does not say. */
typedef struct HearsayEvent {
        const char *action;
        uint64_t diskseq;
        const char *dm_uuid, *dm_action, *dm_valid_paths, *dm_sequence, *dm_flag0, *dm_flag2;
} HearsayEvent;

void hearsay_note(Heard *heard, const HearsayEvent *event);
