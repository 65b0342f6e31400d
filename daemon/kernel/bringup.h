/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"

/* Everything that must stand before we can look at configfs: modules, mount, the root's directory fd. */

typedef struct Fabric {
        const char *module;     /* vhscsi or vhost_scsi; static */
        const char *origin;     /* bundled or in-tree; static */
        char *version;          /* the module's srcversion or version, "" if it says none */
} Fabric;

void fabric_done(Fabric *f);

/* Is there still what guests open? NULL, or a word for what is missing ("no-module", "no-node") and in *ret_why a sentence; both static. */
const char *fabric_find_problem(const Fabric *f, const char **ret_why);

/* vhscsi(4): it tells of guests that come and go, and counts. */
static inline bool fabric_is_bundled(const Fabric *f) {
        return streq_ptr(f->origin, "bundled");
}

/* How many request queues one guest may have. */
uint32_t fabric_queues_max(const Fabric *f);

/* Each step that fails is named in *ret_step (static text, may be NULL) for the one fatal line of the log: "load module target_core_mod",
 * "mount configfs", "create target/vhost", … Modules that are there already are fine, so the unit's modprobe dependencies may have done
 * it and no capability is needed then. ret_fd: O_PATH|O_DIRECTORY fd of <configfs>/target. */
int bringup(Fabric *ret_fabric, int *ret_fd, const char **ret_step);
