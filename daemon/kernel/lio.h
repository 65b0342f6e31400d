/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kernel/cfs.h"
#include "model/guest.h"
#include "model/plan.h"

/* LIO's configfs in our words: look at it, do one step of a plan, ask who is attached. Called by passes only, in a child: all of these
 * may wait in the kernel for ever where a LUN drains (facts 1.5). Thread-safe. */

int lio_observe_target(Cfs *c, const char *wwn, TargetSeen *ret);
/* Reads lun_<number> and the backstore that want names. */
int lio_observe_lun(Cfs *c, const LunWant *want, LunSeen *ret);

/* Negative errno as the kernel gave it. What is gone already is fine. STEP_VERIFY: -ESTALE if what was
 * opened is not the instance in the step's mark. */
int lio_perform(Cfs *c, const Step *s);

/* Is a guest's driver running on portal group 1? 1 or 0, as vhscsi(4) says it, and of which process. With vhost_scsi, which names none,
 * -ENODATA if there is no LUN directory: then the probe, an rmdir that the kernel must refuse (facts 1.3), would succeed. Only for whoever
 * alone changes the target at that time. */
int lio_probe_attached(Cfs *c, const char *wwn, Guest *ret);
/* As whom, besides root, a QEMU may run that uses the target: libvirt gives it the target's directory. Root where there is no target. */
uid_t lio_target_user(Cfs *c, const char *wwn);
