/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stddef.h>

#include "base/strv.h"

/* What a hook has to know of a libvirt domain. */

typedef struct Domain {
        char *uuid;             /* as libvirt writes it; NULL if it is none, or there is none */
        char **wwpns;           /* of its vhost-scsi host devices, as they stand there; NULL: it has none */
} Domain;

void domain_done(Domain *d);

/* libvirt's XML. Nothing is fetched, no entity is expanded, and a document type, which libvirt does not write, is refused before it is read.
 * -EINVAL: ret_why says why, in static words. */
int domain_parse(const char *text, size_t size, Domain *ret, const char **ret_why);
