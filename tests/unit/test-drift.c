/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <glib.h>
#include <unistd.h>

#include "engine-fixture.h"
#include "engine/drift.h"
#include "tree.h"

#define WWN "naa.5001405aaaaaaaaa"
#define TARGETS "vhost"
#define LUN TARGETS "/" WWN "/tpgt_1/lun/lun_0"
#define SEC UINT64_C(1000000)

/* The fake kernel has no inotify: beside it stands a tree of real directories, in which nothing but the events is made. */
typedef struct World {
        Fixture f;
        char *tree;
        Target *t;
        Lun *l;
        char *place;            /* core/iblock_<N>/<name> */
} World;

static char *real(const World *w, const char *path) {
        return g_build_filename(w->tree, path, NULL);
}

static void world_init(World *w) {
        g_autofree char *lun = NULL;
        Engine *e = &w->f.engine;

        w->tree = g_dir_make_tmp("vhscsid-test-XXXXXX", NULL);
        lun = real(w, LUN);
        g_assert_cmpint(g_mkdir_with_parents(lun, 0700), ==, 0);
        fixture_init(&w->f);
        g_assert_cmpint(drift_new(e, w->tree, &e->drift), ==, 0);
        fixture_add_device(&w->f, 1, 11);
        w->t = fixture_create(&w->f, WWN);
        w->l = fixture_add_lun(&w->f, w->t, "wwid=36001");
        fixture_run(&w->f);
        g_assert_true(w->l->linked && w->l->watched);
        w->place = g_strdup_printf("core/iblock_%u/%s", w->l->backstore->hba, w->l->backstore->name);
        fake_journal_clear();
}

static void world_done(World *w) {
        drift_free(w->f.engine.drift);
        fixture_done(&w->f);
        tree_remove(w->tree);
        g_free(w->tree);
        g_free(w->place);
}

static char *link_of(Fixture *f) {
        return g_strdup_printf(LUN "/%s", target_lun(registry_target(&f->engine.registry, WWN), 0)->backstore->name);
}

static bool is_linked(Fixture *f) {
        g_autofree char *link = link_of(f), *target = fake_peek(link);

        return target;
}

/* By somebody else, and nobody is told. */
static void unlink_silently(World *w) {
        g_autofree char *link = link_of(&w->f);

        g_assert_cmpint(cfs_unlink(w->f.engine.cfs, link), ==, 0);
}

/* Two events: it came, it went. */
static void touch(const World *w, const char *directory) {
        g_autofree char *path = g_strdup_printf("%s/%s/x", w->tree, directory);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        g_assert_cmpint(fd, >=, 0);
        close(fd);
        g_assert_cmpint(unlink(path), ==, 0);
}

/* What is due by time is done, and all that follows from it. */
static bool is_due_no_more(Fixture *f) {
        return registry_target(&f->engine.registry, WWN)->retry_at != 1;
}

static void pass_time(World *w) {
        fixture_pass_time(&w->f);
        g_assert_true(fixture_run_until(&w->f, is_due_no_more));
        fixture_run(&w->f);
}

/* Until a look has found all as it is wanted. */
static void calm_down(World *w) {
        for (unsigned i = 0; i < 8 && w->t->drifting; i++)
                pass_time(w);
        g_assert_false(w->t->drifting);
        g_assert_cmpuint(w->t->retry_at, ==, 0);
}

static bool is_drifting(Fixture *f) {
        Target *t = registry_target(&f->engine.registry, WWN);

        return t->drifting;
}

/* A link that goes while its directory stays comes again, when whoever did it has been let finish. */
static void test_link(void) {
        World w = {};
        Engine *e = &w.f.engine;

        world_init(&w);
        unlink_silently(&w);
        touch(&w, LUN);
        g_assert_true(fixture_run_until(&w.f, is_drifting));
        g_assert_cmpuint(w.t->retry_at, >, engine_now(e));
        fixture_run(&w.f);
        g_assert_false(is_linked(&w.f));

        pass_time(&w);
        g_assert_true(is_linked(&w.f));
        calm_down(&w);
        g_assert_true(is_linked(&w.f));
        world_done(&w);
}

/* Somebody who takes it away each time is answered ever more rarely. */
static void test_no_fight(void) {
        World w = {};
        Engine *e = &w.f.engine;
        uint64_t last = 0;

        world_init(&w);
        for (unsigned i = 0; i < 8; i++) {
                uint64_t wanted = MIN(2 * SEC << i, 60 * SEC), now, delay;

                unlink_silently(&w);
                touch(&w, LUN);
                g_assert_true(fixture_run_until(&w.f, is_drifting));
                now = engine_now(e);
                delay = w.t->retry_at - now;
                /* Of the time that is left, the loop may have used some. */
                g_assert_cmpuint(delay, <=, wanted);
                g_assert_cmpuint(delay, >, wanted - SEC);
                g_assert_true(delay > last || wanted == 60 * SEC);
                last = delay;

                pass_time(&w);
                g_assert_true(is_linked(&w.f));
                g_assert_cmpuint(w.t->drifts, ==, i + 1);
                calm_down(&w);
        }
        world_done(&w);
}

/* The watch goes with the directory, and comes again with the LUN. */
static bool is_unwatched(Fixture *f) {
        return !target_lun(registry_target(&f->engine.registry, WWN), 0)->watched;
}

static void test_directory(void) {
        g_autofree char *lun = NULL;
        World w = {};

        world_init(&w);
        lun = real(&w, LUN);
        unlink_silently(&w);
        g_assert_cmpint(cfs_rmdir(w.f.engine.cfs, LUN), ==, 0);
        g_assert_cmpint(rmdir(lun), ==, 0);
        g_assert_cmpint(mkdir(lun, 0700), ==, 0);
        g_assert_true(fixture_run_until(&w.f, is_unwatched));
        g_assert_true(fixture_run_until(&w.f, is_drifting));
        calm_down(&w);
        g_assert_true(is_linked(&w.f) && w.l->watched);
        g_assert_cmpuint(w.t->drifts, ==, 1);
        world_done(&w);
}

/* More events than the kernel keeps: what they were about is looked at, whatever it was. */
static void test_overflow(void) {
        static const char *const places[] = { TARGETS, LUN };
        g_autofree char *text = NULL;
        World w = {};
        uint64_t max;

        g_assert_true(g_file_get_contents("/proc/sys/fs/inotify/max_queued_events", &text, NULL, NULL));
        max = g_ascii_strtoull(text, NULL, 10);
        if (max > 200000) {
                g_test_skip("too many events");
                return;
        }

        world_init(&w);
        for (size_t i = 0; i < ELEMENTSOF(places); i++) {
                unlink_silently(&w);
                for (uint64_t n = 0; n <= max; n += 2)
                        touch(&w, places[i]);
                /* In the LUN's own directory there was news as well, of which it is let finish. */
                if (i == 1) {
                        g_assert_true(fixture_run_until(&w.f, is_drifting));
                        pass_time(&w);
                }
                g_assert_true(fixture_run_until(&w.f, is_linked));
                fixture_run(&w.f);
                calm_down(&w);
        }
        world_done(&w);
}

static void look(World *w) {
        registry_mark_all(&w->f.engine.registry);
        fixture_run(&w->f);
}

/* What a guest would see change is not changed under it: it is said. */
static void test_altered(void) {
        g_autofree char *attribute = NULL, *value = NULL;
        World w = {};

        world_init(&w);
        attribute = g_strdup_printf("%s/attrib/emulate_3pc", w.place);
        look(&w);
        g_assert_null(w.l->error_code);

        g_assert_cmpint(fake_set_value(attribute, "1"), ==, 0);
        fake_journal_clear();
        look(&w);
        g_assert_cmpstr(w.l->error_code, ==, "LunConflict");
        g_assert_nonnull(strstr(w.l->error_text, attribute));
        g_assert_nonnull(strstr(w.l->error_text, "is 1, and not 0"));
        g_assert_true(w.l->linked && w.l->retry_at == 0);
        g_assert_cmpuint(fake_count(FAKE_MUTATING), ==, 0);

        /* When the LUN comes up anew, it is as it is wanted. */
        unlink_silently(&w);
        look(&w);
        value = fake_peek(attribute);
        g_assert_cmpstr(value, ==, "0");
        look(&w);
        g_assert_null(w.l->error_code);
        world_done(&w);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/drift/link", test_link);
        g_test_add_func("/drift/no-fight", test_no_fight);
        g_test_add_func("/drift/directory", test_directory);
        g_test_add_func("/drift/overflow", test_overflow);
        g_test_add_func("/drift/altered", test_altered);

        return g_test_run();
}
