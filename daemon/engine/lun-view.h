/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"
#include "model/source.h"

/* What the bus tells of a LUN and what changes while it lives: computed here for whoever asks, and for whoever tells of changes. */

typedef struct LunView {
        LunState state;
        DeviceHealth health;
        uint64_t size;                  /* bytes; 0 without a device */
        uint32_t block_size;            /* bytes; 0 without a device */
        bool ambiguous;                 /* waits, because several devices answer to its source */
        const char *error_code, *error_text;    /* the LUN's own, or why it waits; NULL: all is well. The LUN's, or static. */
        char device[SOURCE_MAX + 32];   /* /dev/…; "" without a device */
        char place[SOURCE_MAX];         /* iblock_7/d-…; "" if there is none */
} LunView;

void lun_view_make(Engine *e, const Lun *l, LunView *ret);

/* /dev/mapper/NAME for maps, the kernel's node for others. */
void lun_view_device_path(const Device *d, char *ret, size_t size);

/* The device that the LUN's source names now, or NULL. */
Device *lun_view_device(Engine *e, const Lun *l);
