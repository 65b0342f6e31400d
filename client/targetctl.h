/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bus-client.h"

/* targetcli's own service, which restores what it has saved at each boot, and whose stop clears every fabric of the host, ours too. */

typedef struct Unit {
        bool enabled, active;
        bool stops;             /* it has an ExecStop= */
} Unit;

/* What systemd does not know, or does not tell, is neither enabled nor active. */
void unit_look(Client *c, const char *name, Unit *ret);

typedef struct TargetctlFile {
        const char *unit, *file;        /* the service, and what it restores */
} TargetctlFile;

/* By its name on Debian, and elsewhere. */
#define TARGETCTL_FILES 2
extern const TargetctlFile targetctl_files[TARGETCTL_FILES];

/* What to type so that it does no harm any more: its stop first, then its start. NULL: out of memory. */
char *targetctl_disarm(const TargetctlFile *t, const Unit *u);

/* Of whatever of it is enabled, or active and able to clear: a note that says how to disarm it. */
int targetctl_note(Client *c);
