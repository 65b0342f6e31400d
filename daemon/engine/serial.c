/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "engine/serial.h"
#include "model/source.h"

static bool is_path_of(const Backstore *b, const char *disk) {
        return disk && b->source && source_kind(b->source) == SOURCE_BY_PATH && streq_ptr(b->identity, disk);
}

static const Lun *first_lun(const Backstore *b) {
        return list_entry(b->luns.next, const Lun, backstore_link);
}

static const Lun *other_path(const Registry *r, const char *disk) {
        const Backstore *b = NULL;

        while ((b = finder_next_disk(&r->finder, disk, b)))
                if (is_path_of(b, disk))
                        return first_lun(b);

        return NULL;
}

/* LIO builds the guest's identity of a disk from 25 hex digits of the serial: that is what must differ. One of our own making is looked at
 * too: somebody may have given it to another disk. */
static int check_unique(const Registry *r, const char *serial, const char *disk, Refusal *refusal) {
        const Backstore *b = NULL;

        while ((b = finder_next_guest(&r->finder, serial, b)))
                if (!is_path_of(b, disk))
                        return refuse(refusal, REFUSAL_SERIAL_CONFLICT,
                                      "With serial %s guests would take it for LUN %" PRIu32 " of %s: the first 25 hex digits are the same",
                                      serial, first_lun(b)->number, first_lun(b)->target->wwn);

        return 0;
}

int serial_choose(const Registry *registry, const Registry *planned, const char *given, const char *source, const char *disk, char **ret, Refusal *refusal) {
        const Lun *sister = disk ? other_path(registry, disk) : NULL;
        _cleanup_free_ char *serial = NULL;
        int r;

        if (!sister && disk && planned)
                sister = other_path(planned, disk);

        /* Two paths as two disks, with a cache for each in the guest, is how data gets lost. */
        if (given && sister && !streq(given, sister->backstore->serial))
                return refuse(refusal, REFUSAL_SERIAL_CONFLICT, "LUN %" PRIu32 " of %s is a path to the same disk, with serial %s", sister->number,
                              sister->target->wwn, sister->backstore->serial);

        if (given || sister) {
                serial = strdup(given ?: sister->backstore->serial);
                r = serial ? 0 : -ENOMEM;
        } else
                r = backstore_default_serial(disk ?: source, &serial);
        if (r >= 0)
                r = check_unique(registry, serial, disk, refusal);
        if (r >= 0 && planned)
                r = check_unique(planned, serial, disk, refusal);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(serial);
        return 0;
}
