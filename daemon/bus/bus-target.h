/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/edit.h"

/* org.vhostscsi.Target */

int bus_target_add(sd_bus *bus, Engine *e);

/* The kernel's part of a new LUN: holds the message until that is over. With_target: the reply names the target as well, which is undone
 * with the LUN if made_target. What was stored is taken back if the message cannot be held. */
int bus_target_await_lun(Engine *e, sd_bus_message *m, Target *t, uint32_t number, bool with_target, bool made_target,
                         uint64_t timeout);
/* The reply to that: "oo" or "o". */
int bus_target_lun_reply(sd_bus_message *m, const char *wwn, uint32_t number, bool with_target, sd_bus_message **ret);
