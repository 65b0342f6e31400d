/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "base/parse.h"
#include "kernel/hearsay.h"

int hearsay_init(Hearsay *h) {
        h->devices = map_new();
        return h->devices ? 0 : -ENOMEM;
}

void hearsay_done(Hearsay *h) {
        if (h->devices)
                hearsay_forget_all(h);
        h->devices = map_free(h->devices);
}

Heard *hearsay_get(const Hearsay *h, dev_t devnum) {
        char number[MAP_NUMBER_SIZE];

        map_number(devnum, number);
        return map_get(h->devices, number);
}

int hearsay_ensure(Hearsay *h, dev_t devnum, Heard **ret) {
        Heard *heard = hearsay_get(h, devnum);
        int r;

        if (!heard) {
                heard = malloc(sizeof *heard);
                if (!heard)
                        return -ENOMEM;

                *heard = (Heard) { .devnum = devnum, .valid_paths = -1 };
                map_number(devnum, heard->number);
                list_init(&heard->link);
                r = map_put(h->devices, heard->number, heard);
                if (r < 0) {
                        free(heard);
                        return r;
                }
        }

        *ret = heard;
        return 0;
}

bool hearsay_is_empty(const Heard *heard) {
        return heard->diskseq == 0 && heard->valid_paths < 0;
}

void hearsay_forget(Hearsay *h, Heard *heard) {
        map_remove(h->devices, heard->number);
        list_unlink(&heard->link);
        free(heard);
}

void hearsay_forget_all(Hearsay *h) {
        Heard *heard;

        MAP_FOREACH(h->devices, heard)
                hearsay_forget(h, heard);
}

/* udev's database does not keep how many paths work, and the next event of another kind does not bring it. */
static void note_paths(Heard *heard, const HearsayEvent *event) {
        uint64_t sequence;
        uint32_t valid;

        if (event->dm_action && startswith(event->dm_action, "PATH_")) {
                if (!event->dm_valid_paths || parse_u32(event->dm_valid_paths, &valid) < 0 || valid > INT32_MAX)
                        return;
                if (!event->dm_sequence || parse_u64(event->dm_sequence, &sequence) < 0)
                        sequence = 0;

                /* Events may overtake each other. */
                if (sequence > 0 && sequence < heard->sequence)
                        return;

                heard->sequence = sequence;
                heard->valid_paths = (int) valid;
                return;
        }

        /* multipathd loaded a new table: flag 2, without a working path; flag 0, in which the kernel takes every path
         * for good until it fails again (multipath-tools, libmultipath/devmapper.h). */
        if (streq_ptr(event->dm_flag2, "1")) {
                heard->sequence = 0;
                heard->valid_paths = 0;
        } else if (streq_ptr(event->dm_flag0, "1")) {
                heard->sequence = 0;
                heard->valid_paths = -1;
        }
}

void hearsay_note(Heard *heard, const HearsayEvent *event) {
        /* An instance once gone does not return, whatever a late event says of it. */
        heard->diskseq = MAX(heard->diskseq, event->diskseq);

        if (streq_ptr(event->action, "remove")) {
                heard->sequence = 0;
                heard->valid_paths = -1;
        } else if (event->dm_uuid && startswith(event->dm_uuid, "mpath-"))
                note_paths(heard, event);
}
