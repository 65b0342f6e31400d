/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>
#include <systemd/sd-bus.h>

#include "base/cleanup.h"

/* Values of the bus as JSON trees: what the verbs print, for people and for programs. */

DEFINE_CLEANUP(json_object *, json_object_put);
#define _cleanup_json_ _cleanup_(json_object_putp)

/* Reads one complete type where the message stands. Variants are unpacked, dictionaries become objects, structs and arrays become
 * arrays, descriptors become null. Returns 1, or 0 at the end of the container, or a negative errno. */
int value_read(sd_bus_message *m, json_object **ret);

/* Takes v over in any case. */
int value_set(json_object *object, const char *key, json_object *v);
int value_set_string(json_object *object, const char *key, const char *v);
int value_append(json_object *array, json_object *v);

/* What is not there, or of another type, is "", 0 or false: daemons of other versions may not have it. */
const char *value_string(json_object *object, const char *key);
uint64_t value_number(json_object *object, const char *key);
bool value_boolean(json_object *object, const char *key);
json_object *value_array(json_object *object, const char *key);        /* may be NULL; borrowed */
size_t value_length(json_object *array);                                /* NULL has none */
