/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-event.h>

#include "base/cleanup.h"

/* News of guests that come and go: vhscsi(4) sends them from its node, vhost_scsi sends none. */

typedef struct Guests Guests;

/* Something happened to who uses this target, which is to be looked at. wwn NULL: news were lost, so that may be true of any. */
typedef void (*guests_news_t)(const char *wwn, void *userdata);

int guests_new(sd_event *event, guests_news_t on_news, void *userdata, Guests **ret);
Guests *guests_free(Guests *g);                                 /* returns NULL */
DEFINE_CLEANUP(Guests *, guests_free);
