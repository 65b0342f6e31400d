/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/change.h"

/* The part of one target in a list of changes: from its own change to the last of its LUNs'. It is stored with one write, as a whole or not at all. */

/* mounts: NULL, or one look for many parts. What is refused on the way is so in the changes. 0 or -ENOMEM. */
int part_perform(Engine *e, Change *changes, size_t n, const ChangeOptions *o, const Mounts *mounts);
