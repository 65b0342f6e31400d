/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "kernel/bringup.h"
#include "kernel/cfs.h"
#include "kernel/guests.h"
#include "kernel/uevents.h"
#include "model/inventory.h"
#include "model/registry.h"
#include "store/history.h"
#include "store/removed.h"
#include "store/store.h"

/* What the files of this floor share: the model, and the doors to the outside world. Made and wired by daemon.c. */

typedef struct Engine {
        sd_event *event;
        Registry registry;
        Inventory *inventory;
        sd_bus *bus;            /* NULL before start is over, and in unit tests */
        Store *store;
        History *history;       /* NULL in some unit tests: then there is none */
        unsigned recording;     /* engine/record.h: how deep */
        RemovedList *removed;   /* what rules may not bring back */
        struct Autoexport *autoexport;  /* what rules wish (engine/autoexport.h) */
        struct Drift *drift;    /* what others do in configfs (engine/drift.h); NULL where nobody watches */
        struct Owners *owners;  /* who has which target (engine/owners.h); NULL in unit tests that do without */
        struct Files *files;    /* which exported files are there (engine/files.h); NULL in unit tests */
        Cfs *cfs;
        Uevents *uevents;       /* NULL in unit tests */
        Fabric fabric;
        Guests *guests;         /* NULL with vhost_scsi, which does not tell of them */

        List workers;           /* Worker.link */
        unsigned n_passes;      /* running, without those that hang */
        bool survey_wanted;     /* somebody wants to know what is foreign; queue.c starts it */
        char **survey_closely;  /* targets of which it shall find out everything; if nothing else is wanted, it looks at these alone */
        void *survey;           /* the worker that surveys, or NULL */
        uint64_t survey_serial; /* counts surveys begun */
        uint64_t survey_done;   /* the last one that ended */

        List readings;          /* of statistics (engine/statistics.c) */
        List acquiring;         /* requests for Acquire(), the first come first */
        List rescans;           /* requests for Rescan(), which wait for the survey and all passes */
        List answered;          /* requests whose replies go out when publish has sent its signals */
        List probed;            /* requests whose message is on its way to its handler again */

        sd_event_source *queue_post;
        sd_event_source *retry_timer;
        uint64_t retry_at;      /* when it fires; 0: never */
        uint64_t autoexport_at; /* when it is tried again to export what could not be stored; 0: not by time */
        bool running;           /* start is over */
} Engine;

/* Microseconds of CLOCK_MONOTONIC. */
uint64_t engine_now(Engine *e);
