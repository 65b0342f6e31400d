/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "model/device.h"

/* Which names a device goes by, and which of them is its identity. The order: device-mapper UUID, WWID, a by-id link,
 * and where there is none of these a path, which is not stable. What cannot be a source (model/source.h) is left out:
 * all of it is input. */

typedef struct IdentityFacts {
        DeviceKind kind;
        const char *node;               /* /dev/… of the kernel name */
        const char *dm_name;            /* maps: as in /dev/mapper; may be NULL */
        const char *dm_uuid;            /* maps: may be NULL or empty */
        const char *wwid;               /* disks: may be NULL. That of a multipath map is in its UUID. */
        char *const *links;             /* every /dev/… link that udev made, NULL-terminated; may be NULL */
} IdentityFacts;

/* Its names alone, NULL-terminated and in any order. Errors as below. */
int identity_keys(const IdentityFacts *facts, char ***ret);

/* Sets identity, keys, link, place and stable. -EINVAL: not even the node can be a source; -ENOMEM. d is unchanged on an
 * error. */
int identity_apply(Device *d, const IdentityFacts *facts);
