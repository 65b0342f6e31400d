/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <sys/types.h>

#include "base/cleanup.h"
#include "model/guest.h"

/* QEMU's processes as /proc shows them. The kernel knows a guest only while its driver runs (facts 1.4): one that is paused, reboots or has not
 * begun is but a process with the target on its command line. For passes only: /proc may be long, or wait. Tests link another file with these
 * functions (tests/unit/fake-process.c). */

/* Who has the target on its command line? 1, or 0: nobody. Only root's processes count, and those of user, whom libvirt has given the target's
 * directory: anybody may write anything on a command line. -ETIMEDOUT: a process could not be looked at in so long (its memory is locked); what
 * is found later is lost with the calling process. proc: "/proc". */
int qemu_process_find(const char *proc, const char *wwn, uid_t user, uint64_t timeout_usec, Guest *ret);

/* g->pid is known to be a guest: gives it the guest's name, if it can be told. */
void qemu_process_name(const char *proc, Guest *g);
