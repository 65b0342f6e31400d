/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>
#include <sys/sysmacros.h>

#include "kernel/hearsay.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>

#define NOBODY makedev(4095, 1048575)

static void test_diskseq(void) {
        _cleanup_(hearsay_done) Hearsay h = {};
        Heard *heard = NULL, *again = NULL;

        g_assert_cmpint(hearsay_init(&h), ==, 0);
        g_assert_null(hearsay_get(&h, NOBODY));
        g_assert_cmpint(hearsay_ensure(&h, NOBODY, &heard), ==, 0);
        g_assert_cmpuint(heard->diskseq, ==, 0);
        g_assert_cmpint(heard->valid_paths, ==, -1);

        /* A late event tells of an instance that is gone for good. */
        hearsay_note(heard, &(HearsayEvent) { .action = "add", .diskseq = 12 });
        hearsay_note(heard, &(HearsayEvent) { .action = "add", .diskseq = 13 });
        hearsay_note(heard, &(HearsayEvent) { .action = "remove", .diskseq = 12 });
        hearsay_note(heard, &(HearsayEvent) { .action = "change" });
        g_assert_cmpuint(heard->diskseq, ==, 13);

        g_assert_cmpint(hearsay_ensure(&h, NOBODY, &again), ==, 0);
        g_assert_true(again == heard);
        hearsay_forget(&h, heard);
        g_assert_null(hearsay_get(&h, NOBODY));
}

static void test_paths(void) {
        static const struct {
                HearsayEvent event;
                int valid;
        } steps[] = {
                { { .action = "change", .dm_action = "PATH_FAILED", .dm_valid_paths = "1", .dm_sequence = "5" }, -1 },
                { { .action = "change", .dm_uuid = "LVM-x", .dm_action = "PATH_FAILED", .dm_valid_paths = "1", .dm_sequence = "5" }, -1 },
                { { .action = "change", .dm_uuid = "mpath-x", .dm_action = "PATH_FAILED", .dm_valid_paths = "1", .dm_sequence = "5" }, 1 },
                { { .action = "change", .dm_uuid = "mpath-x", .dm_action = "PATH_FAILED", .dm_valid_paths = "0", .dm_sequence = "6" }, 0 },
                /* late */
                { { .action = "change", .dm_uuid = "mpath-x", .dm_action = "PATH_FAILED", .dm_valid_paths = "1", .dm_sequence = "5" }, 0 },
                /* of another kind, and nonsense */
                { { .action = "change", .dm_uuid = "mpath-x" }, 0 },
                { { .action = "change", .dm_uuid = "mpath-x", .dm_action = "PATH_REINSTATED", .dm_sequence = "7" }, 0 },
                { { .action = "change", .dm_uuid = "mpath-x", .dm_action = "PATH_REINSTATED", .dm_valid_paths = "-1", .dm_sequence = "7" }, 0 },
                { { .action = "change", .dm_uuid = "mpath-x", .dm_action = "PATH_REINSTATED", .dm_valid_paths = "2", .dm_sequence = "7" }, 2 },
                /* a new table: without a path; with all of them, as far as the kernel knows */
                { { .action = "change", .dm_uuid = "mpath-x", .dm_flag2 = "1" }, 0 },
                { { .action = "change", .dm_uuid = "mpath-x", .dm_flag0 = "1" }, -1 },
                /* its sequence begins anew */
                { { .action = "change", .dm_uuid = "mpath-x", .dm_action = "PATH_FAILED", .dm_valid_paths = "3", .dm_sequence = "1" }, 3 },
                { { .action = "remove", .dm_uuid = "mpath-x" }, -1 },
        };
        _cleanup_(hearsay_done) Hearsay h = {};
        Heard *heard = NULL;

        g_assert_cmpint(hearsay_init(&h), ==, 0);
        g_assert_cmpint(hearsay_ensure(&h, NOBODY, &heard), ==, 0);
        for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
                hearsay_note(heard, &steps[i].event);
                g_assert_cmpint(heard->valid_paths, ==, steps[i].valid);
        }
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/hearsay/diskseq", test_diskseq);
        g_test_add_func("/hearsay/paths", test_paths);
        return g_test_run();
}
