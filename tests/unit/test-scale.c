/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <inttypes.h>
#include <sys/inotify.h>
#include <sys/sysmacros.h>

#include "base/index.h"
#include "base/log.h"
#include "base/map.h"
#include "engine-fixture.h"
#include "engine/change.h"
#include "engine/edit.h"
#include "engine/hotplug.h"
#include "engine/queue.h"

/* That nothing is done more often than it has to: counts, never times. tests/bench/scale.c has the times. */

#define WWN "naa.5001405000000%03x"

static Fixture fixture;
static int watch_fd = -1;

/* ---- the index ---- */

typedef struct Thing {
        IndexLink link;
        char key[8];
} Thing;

static void check_index(const Index *x, const Thing *things, size_t n) {
        for (unsigned key = 0; key < 8; key++) {
                char text[8];
                size_t wanted = 0, found = 0;

                snprintf(text, sizeof text, "%u", key);
                for (size_t i = 0; i < n; i++)
                        wanted += things[i].link.key && streq(things[i].key, text);

                for (IndexLink *l = NULL; (l = index_next(x, text, l)); found++)
                        g_assert_cmpstr(index_entry(l, Thing, link)->key, ==, text);
                g_assert_cmpuint(found, ==, wanted);
        }
}

static void test_index(void) {
        _cleanup_(index_freep) Index *x = index_new();
        Thing things[40] = {};

        g_assert_nonnull(x);
        for (unsigned i = 0; i < 20000; i++) {
                Thing *t = things + g_test_rand_int_range(0, G_N_ELEMENTS(things));

                if (t->link.key) {
                        index_leave(x, &t->link);
                        /* Whoever left may be freed, text and all. */
                        memset(t, 0, sizeof *t);
                        index_leave(x, &t->link);
                } else {
                        snprintf(t->key, sizeof t->key, "%d", g_test_rand_int_range(0, 8));
                        g_assert_cmpint(index_enter(x, t->key, &t->link), ==, 0);
                        g_assert_cmpint(index_enter(x, "another", &t->link), ==, 0);
                }
                if (i % 10 == 0)
                        check_index(x, things, G_N_ELEMENTS(things));
        }

        g_assert_null(index_next(x, "another", NULL));
}

/* ---- the engine ---- */

static Target *target(unsigned n) {
        char wwn[32];

        snprintf(wwn, sizeof wwn, WWN, n);
        return registry_target(&fixture.engine.registry, wwn);
}

static void begin(unsigned n_targets, unsigned n_luns) {
        g_autofree char *path = NULL;

        log_set_max_level(LOG_ERR);
        fixture_init(&fixture);
        for (unsigned i = 0; i < n_targets * n_luns; i++)
                fixture_add_device(&fixture, i, i + 1);
        for (unsigned i = 0; i < n_targets; i++) {
                char wwn[32];

                snprintf(wwn, sizeof wwn, WWN, i);
                (void) fixture_create(&fixture, wwn);
                for (unsigned k = 0; k < n_luns; k++) {
                        g_autofree char *source = g_strdup_printf("wwid=3600%u", i * n_luns + k);

                        (void) fixture_add_lun(&fixture, target(i), source);
                }
        }
        fixture_run(&fixture);

        path = g_build_filename(fixture.state_dir, "targets", NULL);
        watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        g_assert_cmpint(inotify_add_watch(watch_fd, path, IN_MOVED_FROM | IN_MOVED_TO), >=, 0);
}

static void end(void) {
        close(watch_fd);
        fixture_done(&fixture);
}

/* How often a file was written since the last time. */
static unsigned writes(void) {
        char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
        const struct inotify_event *event;
        unsigned n = 0;
        ssize_t got;

        /* From its temporary name and to its own, in turn: two equal ones in a row would be told as one. */
        while ((got = read(watch_fd, buffer, sizeof buffer)) > 0)
                for (const char *p = buffer; p < buffer + got; p += sizeof *event + event->len) {
                        event = (const struct inotify_event *) p;
                        n += (event->mask & IN_MOVED_TO) != 0;
                }

        return n;
}

static unsigned to_be_told(void) {
        Registry *r = &fixture.engine.registry;
        unsigned n = 0;
        Target *t;

        LIST_FOREACH(&r->publishing, t, Target, publish_link)
                for (size_t i = 0; i < t->n_luns; i++)
                        n += t->publish_luns || !list_is_empty(&t->luns[i]->publish_link);

        return n;
}

/* As publish.c does. */
static void tell(void) {
        Registry *r = &fixture.engine.registry;
        Target *t;
        Lun *l;

        LIST_FOREACH(&r->publishing, t, Target, publish_link) {
                LIST_FOREACH(&t->publishing, l, Lun, publish_link)
                        list_unlink(&l->publish_link);
                t->publish_luns = false;
                list_unlink(&t->publish_link);
        }
}

static void set_device(unsigned n, uint64_t size, bool suspended) {
        const Device *known = inventory_by_devnum(fixture.engine.inventory, makedev(250, n));
        Device *d = device_new();

        *d = *known;
        d->name = g_strdup(known->name);
        d->node = g_strdup(known->node);
        d->identity = g_strdup(known->identity);
        d->link = g_strdup(known->link);
        d->keys = NULL;
        for (char **k = known->keys; *k; k++)
                g_assert_cmpint(strv_extend(&d->keys, *k), >=, 0);
        d->size = size;
        d->suspended = suspended;
        hotplug_on_device(d->devnum, d, &fixture.engine);
}

/* One of many LUNs is told of, and nothing is stored, nor anybody asked. */
static void test_one_event(void) {
        Registry *r;

        begin(2, 64);
        r = &fixture.engine.registry;
        tell();

        set_device(70, 1 << 20, true);
        g_assert_cmpuint(to_be_told(), ==, 1);
        g_assert_false(list_is_empty(&target(1)->luns[6]->publish_link));
        g_assert_true(list_is_empty(&r->queued));

        tell();
        set_device(70, 1 << 20, true);
        g_assert_cmpuint(to_be_told(), ==, 0);

        fixture_run(&fixture);
        g_assert_cmpuint(writes(), ==, 0);

        /* A foreign number: nobody looks at 128 backstores for it. */
        g_assert_false(hotplug_is_wanted(makedev(251, 1), (char *[]) { NULL }, &fixture.engine));
        g_assert_true(hotplug_is_wanted(makedev(250, 1), (char *[]) { NULL }, &fixture.engine));
        end();
}

/* All disks grow in one turn: each target's file is written once. */
static void test_grow(void) {
        begin(4, 16);
        for (unsigned i = 0; i < 64; i++)
                set_device(i, 2 << 20, false);
        fixture_run(&fixture);
        g_assert_cmpuint(writes(), ==, 4);

        fixture_run(&fixture);
        g_assert_cmpuint(writes(), ==, 0);
        end();
}

/* What waited comes up, and its size is noted, in one pass, which is one write. */
static void test_late(void) {
        begin(1, 0);
        for (unsigned i = 0; i < 100; i++) {
                g_autofree char *source = g_strdup_printf("wwid=3600%u", i);

                (void) fixture_add_lun(&fixture, target(0), source);
        }
        fixture_run(&fixture);
        g_assert_cmpuint(writes(), ==, 100);

        for (unsigned i = 0; i < 100; i++)
                fixture_add_device(&fixture, i, i + 1);
        fixture_run(&fixture);
        for (unsigned i = 0; i < 100; i++)
                g_assert_true(target(0)->luns[i]->linked && target(0)->luns[i]->backstore->size == 1 << 20);
        g_assert_cmpuint(writes(), ==, 1);
        end();
}

/* A target with many LUNs goes: the file is written when it is marked, and as few times as there are passes. */
static void test_destroy(void) {
        EditOptions o = { .timeout = UINT64_MAX };
        _cleanup_(refusal_done) Refusal refusal = {};

        begin(1, 200);
        g_assert_cmpint(edit_destroy_target(&fixture.engine, target(0), &o, &refusal), ==, 0);
        fixture_run(&fixture);
        g_assert_null(target(0));
        g_assert_cmpuint(writes(), <=, 2);
        end();
}

/* Many of a target's LUNs go with one document, and come back with another: the file is written when they are marked, and when they are gone. */
static void test_prune(void) {
        const ChangeOptions o = { .prune = true };
        const unsigned n_luns = 200;

        begin(1, n_luns);
        (void) writes();
        for (unsigned left = 1; left <= n_luns; left += n_luns - 1) {
                _cleanup_(change_list_done) ChangeList l = {};
                _cleanup_(document_done) Document d = {};
                _cleanup_(refusal_done) Refusal q = {};
                _cleanup_free_ char *why = NULL;
                DocumentTarget *dt;

                g_assert_cmpint(document_add_target(&d, target(0)->wwn, &dt), ==, 0);
                for (unsigned i = 0; i < left; i++) {
                        g_autofree char *source = g_strdup_printf("wwid=3600%u", i);
                        DocumentLun *dl;

                        g_assert_cmpint(document_target_add_lun(dt, i, source, &dl), ==, 0);
                }
                g_assert_cmpint(document_finish(&d, &why), ==, 0);
                if (change_list_must_look(&fixture.engine, &d, &o))
                        fixture_run(&fixture);
                g_assert_cmpint(change_list_make(&fixture.engine, &d, &o, &l, &q), ==, 0);
                g_assert_cmpint(change_list_perform(&fixture.engine, &l, &o, &q), ==, 0);
                fixture_run(&fixture);
                g_assert_cmpuint(target(0)->n_luns, ==, left);
                g_assert_cmpuint(writes(), <=, 2);
        }
        end();
}

/* Before anybody builds on what a target lets go of, its file says so. */
static void test_let_go(void) {
        EditOptions o = { .timeout = UINT64_MAX };
        _cleanup_(refusal_done) Refusal refusal = {};
        Lun *l;

        begin(2, 2);
        registry_mark_unsaved(&fixture.engine.registry, target(0));
        registry_mark_unsaved(&fixture.engine.registry, target(1));
        g_assert_cmpint(edit_set_label(&fixture.engine, target(1), "other", &o, &refusal), ==, 0);
        g_assert_true(list_is_empty(&fixture.engine.registry.unsaved));
        g_assert_cmpuint(writes(), ==, 2);

        /* While a pass has more news it waits, and no longer. */
        l = target(0)->luns[0];
        g_assert_cmpint(edit_remove_lun(&fixture.engine, l, &o, &refusal), ==, 0);
        (void) writes();
        registry_mark_unsaved(&fixture.engine.registry, target(0));
        g_assert_false(queue_is_idle(&fixture.engine));
        fixture_run(&fixture);
        g_assert_true(list_is_empty(&fixture.engine.registry.unsaved));
        end();
}

/* The same work for a LUN, however many there are. */
static void test_restore(void) {
        static const unsigned sizes[] = { 16, 64, 128 };
        unsigned per_lun[G_N_ELEMENTS(sizes)];

        for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
                begin(1, sizes[i]);
                per_lun[i] = fake_count(FAKE_MUTATING) / sizes[i];
                g_assert_cmpuint(per_lun[i], <=, 20);
                g_assert_cmpuint(per_lun[i], ==, per_lun[0]);
                end();
        }
}

/* Nothing is due, now or later. */
static void test_idle(void) {
        sd_event *event;

        begin(4, 16);
        event = fixture.engine.event;
        for (unsigned i = 0; i < 10 && sd_event_run(event, 0) > 0; i++)
                ;
        g_assert_cmpint(sd_event_prepare(event), ==, 0);
        g_assert_cmpint(sd_event_wait(event, 0), ==, 0);
        g_assert_cmpuint(fixture.engine.retry_at, ==, 0);
        g_assert_true(queue_is_idle(&fixture.engine));
        g_assert_true(list_is_empty(&fixture.engine.registry.queued));
        end();
}

/* ---- finding ---- */

static void test_number(void) {
        static const uint64_t numbers[] = { 0, 1, 15, 16, 0xfe00001, UINT32_MAX, UINT64_MAX };
        char text[MAP_NUMBER_SIZE], wanted[32];

        for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
                map_number(numbers[i], text);
                snprintf(wanted, sizeof wanted, "%" PRIx64, numbers[i]);
                g_assert_cmpstr(text, ==, wanted);
        }
}

static void wish(Inventory *i, unsigned n, const char *target) {
        Device *d = device_new();
        InventoryChange change;

        g_assert_nonnull(d);
        d->devnum = makedev(250, n);
        d->identity = g_strdup_printf("wwid=3600%u", n);
        g_assert_cmpint(strv_extend(&d->keys, d->identity), ==, 0);
        d->wish_target = g_strdup(target);
        g_assert_cmpint(inventory_put(i, d, &change, NULL), ==, 0);
}

static unsigned wishes(const Inventory *i) {
        const Device *d = NULL;
        unsigned n = 0;

        while ((d = inventory_next_wish(i, d)))
                n++;
        return n;
}

/* Only those that a rule wants are gone through when a target goes. */
static void test_wishes(void) {
        _cleanup_(inventory_freep) Inventory *i = inventory_new();

        for (unsigned n = 0; n < 10; n++)
                wish(i, n, n % 2 ? "seed:guest" : NULL);
        g_assert_cmpuint(wishes(i), ==, 5);
        wish(i, 1, NULL);
        wish(i, 2, "seed:other");
        wish(i, 3, "seed:other");
        g_assert_cmpuint(wishes(i), ==, 5);
        device_free(inventory_take(i, makedev(250, 3)));
        g_assert_cmpuint(wishes(i), ==, 4);
}

static void test_find(void) {
        Registry *r;
        Backstore *b;

        begin(1, 3);
        r = &fixture.engine.registry;
        b = target(0)->luns[1]->backstore;
        g_assert_true(finder_next_open(&r->finder, makedev(250, 1), NULL) == b);
        g_assert_null(finder_next_open(&r->finder, makedev(250, 1), b));
        g_assert_true(finder_next_name(&r->finder, b->name, NULL) == b);
        g_assert_true(finder_next_guest(&r->finder, b->serial, NULL) == b);
        g_assert_true(registry_has_backstore_name(r, b->name));

        /* A new instance of another number. */
        g_assert_cmpint(registry_set_open(r, b, makedev(250, 77), 5), ==, 0);
        g_assert_null(finder_next_open(&r->finder, makedev(250, 1), NULL));
        g_assert_true(finder_next_open(&r->finder, makedev(250, 77), NULL) == b);
        g_assert_cmpint(registry_set_open(r, b, 0, 0), ==, 0);
        g_assert_null(finder_next_open(&r->finder, makedev(250, 77), NULL));

        /* A sister LUN keeps it, the last one takes it along. */
        {
                g_autofree char *name = g_strdup(b->name), *serial = g_strdup(b->serial);
                Lun *l;

                g_assert_cmpint(registry_add_lun(r, target(0), 9, b, &l), ==, 0);
                registry_remove_lun(r, target(0)->luns[1]);
                g_assert_true(finder_next_name(&r->finder, name, NULL) == b);
                registry_remove_lun(r, l);
                g_assert_null(finder_next_name(&r->finder, name, NULL));
                g_assert_null(finder_next_guest(&r->finder, serial, NULL));
        }
        end();
}

/* Somebody has all the HBAs that were reserved: other numbers, stored once, and at once where two files must agree. */
static void test_hbas_taken(void) {
        LunOptions o = { .common.timeout = UINT64_MAX, .shareable = true };
        _cleanup_(refusal_done) Refusal refusal = {};
        const unsigned n_luns = 24;
        uint32_t number;

        begin(2, 0);
        for (unsigned i = 0; i < n_luns; i++) {
                g_autofree char *hba = g_strdup_printf("core/iblock_%u", i), *source = g_strdup_printf("wwid=3600%u", i);

                g_assert_cmpint(cfs_mkdir(fixture.engine.cfs, hba), ==, 0);
                fixture_add_device(&fixture, i, i + 1);
                (void) fixture_add_lun(&fixture, target(0), source);
        }
        g_assert_cmpint(edit_add_lun(&fixture.engine, target(1), "wwid=36000", &o, &number, &refusal), ==, 0);
        (void) writes();
        fixture_run(&fixture);
        for (unsigned i = 0; i < n_luns; i++)
                g_assert_true(target(0)->luns[i]->linked && target(0)->luns[i]->backstore->hba >= n_luns);
        g_assert_cmpuint(writes(), <=, 6);

        fixture_restart(&fixture);
        g_assert_null(fixture.engine.registry.bad);
        end();
}

int main(int argc, char *argv[]) {
        /* The store syncs each file. */
        if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
                g_setenv("TMPDIR", "/dev/shm", TRUE);

        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/scale/index", test_index);
        g_test_add_func("/scale/number", test_number);
        g_test_add_func("/scale/find", test_find);
        g_test_add_func("/scale/wishes", test_wishes);
        g_test_add_func("/scale/one-event", test_one_event);
        g_test_add_func("/scale/grow", test_grow);
        g_test_add_func("/scale/late", test_late);
        g_test_add_func("/scale/destroy", test_destroy);
        g_test_add_func("/scale/prune", test_prune);
        g_test_add_func("/scale/let-go", test_let_go);
        g_test_add_func("/scale/restore", test_restore);
        g_test_add_func("/scale/hbas-taken", test_hbas_taken);
        g_test_add_func("/scale/idle", test_idle);
        return g_test_run();
}
