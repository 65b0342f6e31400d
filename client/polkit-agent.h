/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

#include "base/cleanup.h"

/* pkttyagent, while we wait for a call that polkit may want a password for. */

typedef struct PolkitAgent {
        pid_t pid;              /* 0: none */
} PolkitAgent;

/* Returns 1 when the agent has registered itself, 0 when none is needed or can be had (root, no terminal, no pkttyagent). */
int polkit_agent_start(PolkitAgent *a);
void polkit_agent_stop(PolkitAgent *a);
