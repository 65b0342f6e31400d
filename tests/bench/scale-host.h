/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine-fixture.h"

/* A large host: maps with four paths each, as udev names them, an engine that is told of them, and a bus with one peer, to which all
 * signals go. */

#define HOST_IDENTITY "dm-uuid=mpath-360000000000000000e00000000%06x"
#define HOST_SIZE (UINT64_C(1) << 30)

typedef enum HostDevice {
        HOST_MAP,
        HOST_PATH,
} HostDevice;

typedef enum HostQuestion {
        HOST_ASK_OBJECTS = 'o',
        HOST_ASK_DEVICES = 'd',
        HOST_ASK_BARE = 'b',    /* the same of scale-bare.c */
} HostQuestion;

typedef struct Host {
        Fixture fixture;
        unsigned n_maps;
        unsigned generation;    /* another one: each device differs from what was told before, in its health */
        uint64_t size;
        sd_bus *bus;
        int ask_fd;
} Host;

void host_init(Host *h, unsigned n_maps);
void host_done(Host *h);
/* The daemon starts again, and nobody has told it of any device. empty: the kernel has, too. */
void host_restart(Host *h, bool empty);

void host_tell(Host *h, unsigned i, HostDevice kind);
/* Events were lost: which of the paths would be read at once? */
void host_lose(Host *h, unsigned n_paths);
void host_turn(Host *h);                                /* what is to be done after each turn of the loop */
void host_ask(Host *h, HostQuestion question);          /* the peer calls, and has the answer */

double host_anonymous(void);                            /* resident, without files and the fake kernel, bytes */
double host_heap(void);
