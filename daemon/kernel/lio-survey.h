/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kernel/backstore-info.h"
#include "kernel/cfs.h"

/* Everything that is in LIO's configfs, whoever made it. Called in a child: a look at a LUN that drains waits in the kernel for ever (facts
 * 1.5). Thread-safe. */

typedef struct LioFound {
        const char *wwn;
        unsigned portal_group;
        const char *nexus;              /* may be NULL */
        int64_t lun;                    /* -1: this tells of the portal group itself */
        const char *place;              /* of a LUN: iblock_3/disk1; NULL if nothing is linked */
        const char *udev_path;
        const char *serial;
        BackstoreInfo info;             /* of what is not of iblock or fileio: all zero */
        char *const *attributes;        /* by a close look: those that may be set, and what the disk has, "name=value" */
        bool crowded;                   /* by a close look: its HBA has other backstores, too */
} LioFound;

typedef void (*lio_found_t)(const LioFound *f, void *userdata);
typedef void (*lio_found_hba_t)(const char *plugin, uint32_t number, void *userdata);

/* The targets' names. */
int lio_survey_list(Cfs *c, char ***ret);
/* One target: found is called for each portal group, and then for its LUNs. */
int lio_survey_target(Cfs *c, const char *wwn, bool closely, lio_found_t found, void *userdata);
/* iblock_<N>, fileio_<N>, … */
int lio_survey_hbas(Cfs *c, lio_found_hba_t found, void *userdata);
