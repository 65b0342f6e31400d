/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"
#include "engine/refusal.h"

/* The unit serial, from which guests make a disk's identity: another for each disk, and one for all the paths of a disk that are exported one
 * by one, so that the guest puts them together. */

/* planned: what is about to be, or NULL. given: by the caller, or NULL. disk: the identity of the disk that source is one path of, NULL for
 * whatever is the disk itself. Refused with SerialConflict: guests would take it for another disk, or not for the same. */
int serial_choose(const Registry *registry, const Registry *planned, const char *given, const char *source, const char *disk, char **ret,
                  Refusal *refusal);
