/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/cleanup.h"

/* World wide names of targets and nexuses: NAA 5 or 6 in 64 bits, "naa." and 16 lower-case hex digits. */

#define WWN_SIZE 21             /* with the terminating NUL */

/* Canonicalises: accepts any case, an optional "naa." or "0x" in front, colons between byte pairs. The first digit must be 5 or 6 (the
 * kernel takes anything with "naa." in it, facts 1.2; guests and libvirt do not). Returns 0, or -EINVAL without touching ret. */
int wwn_parse(const char *s, char ret[static WWN_SIZE]);

/* naa.5001405 (the OUI that LIO itself uses) and 36 random bits from getrandom(). */
int wwn_generate(char ret[static WWN_SIZE]);

/* The same, with the first 36 bits of the seed's SHA-256: two hosts agree on the name for one virtual machine. */
int wwn_from_seed(const char *seed, char ret[static WWN_SIZE]);
