/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "model/owner.h"

/* <runtime directory>/owners.json: who has acquired what, which survives this service and not the host. Format 1:
 * {"version":1,"owners":[{"target":"naa.…","owner":"…","kind":"…","name":"…","uuid":"…","pid":4711,"uid":0,"started":123}]}.
 * Without uid: root's. */

/* No file: no owners. One that cannot be used is said loudly, and is none. */
int owner_file_load(int dirfd, Owner ***ret, size_t *ret_n);

/* Whole or not at all. */
int owner_file_save(int dirfd, Owner *const *owners, size_t n);
