/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "bus-client.h"
#include "value.h"

/* What the daemon publishes, as JSON: the properties by their names in snake_case, "path" added, a target's LUNs inside the target as
 * objects, LastError as null or { "code", "message" }. Properties that this client does not know are carried along. */

/* From the properties as the bus has them. path may be NULL. */
int view_new_object(const char *path, json_object *properties, json_object **ret);

/* All targets, by WWN, their LUNs by number; with one call. Or status. */
int view_load(Client *c, json_object **ret_targets);

/* One object's properties. Quiet: any failure is -EIO, and nothing is printed. */
int view_load_quietly(Client *c, const char *path, const char *interface, json_object **ret);

/* The manager's properties. Or status. */
int view_load_manager(Client *c, json_object **ret);

/* By WWN (any form) or label; borrowed. NULL if there is none. Or status: the label is not unique. */
int view_find_target(Client *c, json_object *targets, const char *name, json_object **ret);

/* Up: the kernel serves it to guests. */
bool view_lun_is_up(json_object *lun);
size_t view_count_up(json_object *target);

/* "code: message", or NULL if the object has no last error. -ENOMEM. */
int view_last_error(json_object *object, char **ret);
