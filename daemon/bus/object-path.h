/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"

/* Objects have one path each, and a path names at most one object: what sd_bus_path_decode() would take besides is no path of ours. */

int object_path_target(const char *wwn, char **ret);
int object_path_lun(const char *wwn, uint32_t number, char **ret);
/* The same, with the path of the target: for one who needs all of them. */
int object_path_lun_below(const char *target_path, uint32_t number, char **ret);

/* NULL: there is no such object now. */
Target *object_path_find_target(Engine *e, const char *path);
Lun *object_path_find_lun(Engine *e, const char *path);

/* For sd_bus_add_node_enumerator() at VHOSTSCSI_TARGET_PREFIX, once for targets and LUNs together; userdata is the Engine. */
int object_path_enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *error);
