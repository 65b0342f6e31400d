/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "model/target.h"

/* A target's file: what is wanted, never what was seen. Format 1:
 * {"version":1,"wwn":"naa.…","label":"","nexus":"naa.…","wanted":true,"luns":[{"number":0,"source":"dm-uuid=…","name":"d-…",
 *  "serial":"…","hba":7,"readonly":false,"origin":"manual","wanted":true,"attributes":{"queue_depth":"64"}}]}
 * "force" stands beside "wanted":false only. Keys that we do not know are kept and written back. */

#define TARGET_JSON_VERSION 1
#define TARGET_JSON_MAX (16U * 1024 * 1024)     /* bytes: 16384 LUNs with long names fit */

/* The text is input: any bytes. On success *ret is a target that stands alone (its backstores known to no registry). On -EINVAL (the
 * form), -EPROTONOSUPPORT (a newer version) or -EFBIG *ret_why gets an allocated sentence. */
int target_json_parse(const char *text, size_t size, Target **ret, char **ret_why);

/* -EFBIG: larger than TARGET_JSON_MAX. */
int target_json_format(const Target *t, char **ret, size_t *ret_size);
