/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/cleanup.h"
#include "model/guest.h"

/* QEMU's command line as /proc has it: arguments, each with a NUL behind it. The last one may lack it; the byte behind size is NUL. Whose it
 * is may have written anything there. */

/* Has it a vhost-scsi device with this target? Both ways of writing one are understood, vhost-scsi-pci,wwpn=… and libvirt's JSON. */
bool qemu_argv_has_target(const char *argv, size_t size, const char *wwn);

/* What -name says, else the program's name, else "". Any bytes. */
void qemu_argv_name(const char *argv, size_t size, char *ret, size_t room);
