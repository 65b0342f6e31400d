/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/strv.h"
#include "model/lun.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>

#define SIZE (UINT64_C(1) << 20)

/* What was promised, what is there now, and whether guests may be given it. */
static void test_fits(void) {
        static const struct {
                const char *source, *promised;
                uint64_t size;          /* promised */
                const char *keys;       /* of the device, the identity first */
                bool stable;
                const char *saying;     /* NULL: it fits */
        } cases[] = {
                { "wwid=1", NULL, SIZE, "wwid=1", true, NULL },
                { "wwid=1", NULL, SIZE, "dm-uuid=mpath-1 wwid=1", true, NULL },
                { "by-id=x", "wwid=1", SIZE, "wwid=1 by-id=x", true, NULL },
                { "by-id=x", "wwid=1", SIZE, "wwid=2 by-id=x", true, "wwid=2, and not wwid=1" },
                { "path=/dev/vdb", NULL, SIZE, "path=/dev/vdb", false, NULL },
                { "path=/dev/vdb", NULL, SIZE + 512, "path=/dev/vdb", false, "bytes" },
                /* The one that was there had no name but this; who has one is not it. */
                { "path=/dev/vdb", NULL, SIZE, "by-id=virtio-1 path=/dev/vdb", true, "by-id=virtio-1, and that one had no lasting name" },
                { "path=/dev/vdb", "by-id=virtio-1", SIZE, "by-id=virtio-1 path=/dev/vdb", true, NULL },
                { "path=/dev/vdb", NULL, 0, "by-id=virtio-1 path=/dev/vdb", true, NULL },
        };

        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                _cleanup_(backstore_freep) Backstore *b = backstore_new(cases[i].source);
                _cleanup_(device_freep) Device *d = device_new();
                g_auto(GStrv) keys = g_strsplit(cases[i].keys, " ", -1);
                Lun *l = lun_new(0, b);
                char *why = NULL;

                b->size = cases[i].size;
                b->identity = g_strdup(cases[i].promised);
                d->node = g_strdup("/dev/vdb");
                d->identity = g_strdup(keys[0]);
                for (char **k = keys; *k; k++)
                        g_assert_cmpint(strv_extend(&d->keys, *k), >=, 0);
                d->size = SIZE;
                d->stable = cases[i].stable;

                g_test_message("%s: %s", cases[i].source, cases[i].keys);
                g_assert_cmpint(lun_fits(l, d, &why), ==, !cases[i].saying);
                if (cases[i].saying)
                        g_assert_nonnull(strstr(why, cases[i].saying));
                g_free(why);

                TAKE_PTR(b);
                lun_free(l);
        }
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/lun/fits", test_fits);

        return g_test_run();
}
