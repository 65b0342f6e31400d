/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "arguments.h"
#include "config.h"

/* How libvirt's hook behaves: /etc/vhscsid/libvirt-hook.conf, since libvirt passes it no options. The command line, by hand, is stronger. */

typedef struct HookSettings {
        uint64_t deadline;      /* µs for what is missing at the start of a guest */
        bool strict;            /* without the daemon nothing is started */
} HookSettings;

/* A line that is not understood is told of and left out: no guest stays down for a typing error. 0 or -ENOMEM. */
int hook_settings_load(HookSettings *ret, const Arguments *a);

/* The name that libvirt calls the program by, through a link to it, and where it looks for that. */
#define HOOK_NAME "50-vhscsid"
#define HOOK_DIR SYSCONF_DIR "/libvirt/hooks/qemu.d"

/* What stands before all paths of the host that the hook looks at: "", but in tests. */
const char *hook_root(void);
