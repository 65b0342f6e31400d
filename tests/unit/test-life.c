/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/autoexport.h"
#include "engine/hotplug.h"
#include "engine/queue.h"
#include "life-run.h"

/* A whole daemon against an oracle, with random events: disks come, fail, go and return, rules of udev come and go, admins call, the kernel
 * refuses, somebody else makes things of his own, and the daemon dies and starts again. After each event, or a few, everything that can be
 * done is done, and daemon, store and kernel must be what the oracle says.
 *
 *   test-life                                  some seeds, as meson test runs it
 *   test-life --events=100000 --seed=7         a long run, which also prints time, memory and files
 *   test-life --seed=7 --from=4711 --events=4720 --verbose
 *
 * An event draws from a generator of its own, so --from=N, which begins at event N on an empty host, often shows the same with a tenth of
 * the history; --minimise looks for the latest such N. */

#define LAST 20U
#define FOREIGN_PLACE "core/iblock_1000"

typedef struct Options {
        uint64_t seed, events, from;
        bool verbose, minimise;
} Options;

Life life;

static char *last[LAST];
static bool foreign_hbas[16];

/* ---- settling ---- */

static bool retried(Fixture *f) {
        return f->engine.retry_at != 1;
}

static bool has_no_children(Fixture *f) {
        siginfo_t si;

        return waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) < 0 && errno == ECHILD;
}

static void try_again(void) {
        fixture_pass_time(&life.fixture);
        g_assert_true(fixture_run_until(&life.fixture, retried));
        fixture_run(&life.fixture);
}

/* What had to wait for a disk that another LUN had under another name gets its turn after that. */
static void time_passes(void) {
        try_again();
        try_again();
}

static char *compare(bool healed) {
        char *wrong;
        Seen seen;

        fake_fail_none();
        wrong = check_look(&life.fixture, &seen);
        if (!wrong)
                wrong = oracle_settle(&seen, life.faulty && !healed, healed);
        if (healed)
                life.faulty = false;
        return wrong ?: check_all(&life.fixture, &seen);
}

char *life_settle(bool healed) {
        fixture_run(&life.fixture);
        if (healed)
                time_passes();
        oracle_sweep();
        return compare(healed);
}

/* Nothing is unknown, nothing refused any more. */
static char *heal(void) {
        fake_fail_none();
        fake_revive();
        world.n_late = 0;
        g_assert_cmpint(hotplug_enumerate(&life.fixture.engine), ==, 0);
        for (unsigned m = 0; m < WORLD_MINORS; m++)
                world.view[m] = world.truth[m];
        world_say("all is told and tried again");
        return life_settle(true);
}

/* ---- news ---- */

static void deliver(uint64_t touched) {
        Engine *e = &life.fixture.engine;

        for (unsigned m = 0; m < WORLD_MINORS; m++) {
                unsigned what = random_below(&life.chance, 100);

                if (!(touched & UINT64_C(1) << m))
                        continue;

                if (what < 3 && world.n_late < G_N_ELEMENTS(world.late)) {
                        world_say("%u:%u is told later", WORLD_MAJOR, m);
                        world.late_minor[world.n_late] = m;
                        world.late[world.n_late++] = world.truth[m];
                } else if (what < 6)
                        world_say("%u:%u is lost", WORLD_MAJOR, m);
                else {
                        /* Its remove comes first, and both find the new one. */
                        world_tell(e, m);
                        if (what < 12)
                                world_tell(e, m);
                }
        }
}

static char *event_change(void) {
        unsigned n = 1 + random_below(&life.chance, 3);

        for (unsigned i = 0; i < n; i++)
                deliver(world_change(&life.chance));

        return NULL;
}

/* News that are late, double, old or wrong. */
static char *event_news(void) {
        unsigned m = random_below(&life.chance, WORLD_MINORS);
        Engine *e = &life.fixture.engine;

        if (world.n_late > 0 && random_percent(&life.chance, 70)) {
                unsigned i = random_below(&life.chance, world.n_late);

                m = world.late_minor[i];
                world_say("%u:%u is told as it was", WORLD_MAJOR, m);
                world_tell_as(e, m, world.late + i);
                world.n_late--;
                world.late[i] = world.late[world.n_late];
                world.late_minor[i] = world.late_minor[world.n_late];
        } else if (random_percent(&life.chance, 20)) {
                world_say("%u:%u is told to be gone", WORLD_MAJOR, m);
                world_tell_as(e, m, &(Disk) {});
        } else {
                world_say("%u:%u is told again", WORLD_MAJOR, m);
                world_tell(e, m);
        }

        return NULL;
}

/* ---- guests, others, the daemon itself ---- */

static char *event_guest(void) {
        unsigned target = random_below(&life.chance, WORLD_FOREIGN);
        g_autofree char *tpg = g_strdup_printf("vhost/%s/tpgt_1", world_wwns[target]);
        OracleTarget *o = oracle.targets + target;

        if (!o->there)
                return NULL;

        if (o->attached) {
                world_say("the guest of %s stops", world_wwns[target]);
                g_assert_cmpint(fake_detach(tpg), ==, 0);
                o->attached = false;
                o->dubious = o->dubious || !o->wanted;
                for (unsigned n = 0; n < ORACLE_LUNS; n++)
                        o->luns[n].dubious = o->luns[n].dubious || (o->luns[n].there && !o->luns[n].wanted);
        } else if (fake_attach(tpg) == 0) {
                world_say("a guest attaches to %s", world_wwns[target]);
                o->attached = true;
        }

        return NULL;
}

/* targetcli takes a number, or gives it back. */
static char *event_foreign(void) {
        unsigned n = random_below(&life.chance, G_N_ELEMENTS(foreign_hbas));
        g_autofree char *hba = g_strdup_printf("core/iblock_%u", n), *theirs = g_strdup_printf("%s/theirs", hba);
        Cfs *c = life.fixture.engine.cfs;
        char *wrong = life_settle(false);

        if (wrong)
                return wrong;

        if (foreign_hbas[n]) {
                world_say("somebody removes %s", hba);
                check_foreign_remove(hba);
                g_assert_cmpint(cfs_rmdir(c, theirs), ==, 0);
                g_assert_cmpint(cfs_rmdir(c, hba), ==, 0);
                foreign_hbas[n] = false;
        } else if (cfs_mkdir(c, hba) == 0) {
                world_say("somebody makes %s", hba);
                g_assert_cmpint(cfs_mkdir(c, theirs), ==, 0);
                foreign_hbas[n] = true;
        }

        fake_journal_clear();
        if (foreign_hbas[n])
                check_foreign_add(hba);
        return NULL;
}

/* As daemon.c has it: devices, then a look at the kernel, then the wishes of rules. */
static char *start(void) {
        Engine *e = &life.fixture.engine;
        char *wrong;

        e->uevents = world_uevents(e);
        e->survey_wanted = true;
        e->running = false;
        world_forget();
        g_assert_cmpint(hotplug_start(e), ==, 0);
        fixture_run(&life.fixture);
        time_passes();
        wrong = compare(true);
        if (wrong)
                return wrong;

        autoexport_sweep(e);
        e->running = true;
        wrong = life_settle(true);
        if (wrong || random_percent(&life.chance, 50))
                return wrong;

        /* Or else what nobody wants stays unread, until somebody asks. */
        hotplug_catch_up(e);
        return life_settle(true);
}

static char *restart(void) {
        Registry *r = &life.fixture.engine.registry;
        Target *t;

        world_say("the daemon starts again");
        fake_fail_none();
        fixture_restart_bare(&life.fixture);
        fake_revive();
        oracle_restarted();
        REGISTRY_FOREACH(r, t)
                for (size_t i = 0; i < t->n_luns; i++) {
                        const Backstore *b = t->luns[i]->backstore;

                        oracle_loaded(b->source, b->size, strempty(b->identity));
                }
        return start();
}

/* Where one LUN stands, so that it does not matter in which order passes and their threads come. NULL: there is none. */
static char *pick_place(void) {
        Target *t = registry_target(&life.fixture.engine.registry, world_wwns[random_below(&life.chance, WORLD_FOREIGN)]);
        Lun *l = t && t->n_luns > 0 ? t->luns[random_below(&life.chance, (unsigned) t->n_luns)] : NULL;

        if (!l)
                return NULL;

        switch (random_below(&life.chance, 4)) {
        case 0:
                return g_strdup_printf("vhost/%s/tpgt_1/lun/lun_%u*", t->wwn, l->number);
        case 1:
                return g_strdup_printf("vhost/%s*", t->wwn);
        default:
                return g_strdup_printf("core/iblock_%u*", l->backstore->hba);
        }
}

/* Calls of the kernel fail. */
static char *event_fault(void) {
        static const int errors[] = { -EIO, -EBUSY, -ENOMEM };
        int error = errors[random_below(&life.chance, G_N_ELEMENTS(errors))];
        unsigned nth = 1 + random_below(&life.chance, 8), times = 1 + random_below(&life.chance, 2);
        unsigned calls = random_percent(&life.chance, 50) ? FAKE_MUTATING : FAKE_ANY;
        g_autofree char *place = NULL;
        char *wrong;

        wrong = life_add();
        if (wrong)
                return wrong;

        place = pick_place();
        world_say("the kernel's call %u of %s fails with %s, %u times", nth, place ?: "any", strerrorname_np(-error), times);
        fake_fail(calls, place, nth, error, times);
        life.faulty = true;

        wrong = event_change();
        if (!wrong && random_percent(&life.chance, 30))
                wrong = life_remove();
        if (!wrong)
                wrong = life_settle(false);
        if (wrong || (place && random_percent(&life.chance, 50)))
                return wrong;

        return random_percent(&life.chance, 50) ? heal() : restart();
}

/* A pass dies in the middle. Which of its LUNs came up till then is nobody's choice, so it is all put right at once. */
static char *event_kill(void) {
        unsigned n = random_below(&life.chance, 12);
        char *wrong;

        world_say("a pass is killed after %u changes", n);
        fake_die_after(n, FAKE_DEATH_KILL);
        life.faulty = true;

        wrong = event_change();
        for (unsigned i = 0; i < 3 && !wrong; i++)
                wrong = life_add();
        if (!wrong)
                wrong = life_settle(false);
        fake_revive();
        if (wrong)
                return wrong;

        return random_percent(&life.chance, 50) ? heal() : restart();
}

/* ---- the run ---- */

typedef char *(*happening_t)(void);

static happening_t pick_event(void) {
        static const struct {
                unsigned weight;
                happening_t happening;
        } all[] = {
                { 560, event_change }, { 60, event_news }, { 45, life_create }, { 170, life_add }, { 70, life_remove }, { 16, life_destroy },
                { 10, life_label }, { 20, event_guest }, { 10, event_foreign }, { 15, event_fault }, { 8, event_kill }, { 14, restart },
        };
        unsigned sum = 0, n;

        for (size_t i = 0; i < G_N_ELEMENTS(all); i++)
                sum += all[i].weight;
        n = random_below(&life.chance, sum);
        for (size_t i = 0;; i++) {
                if (n < all[i].weight)
                        return all[i].happening;
                n -= all[i].weight;
        }
}

static bool is_well(void) {
        for (unsigned m = 0; m < WORLD_MINORS; m++)
                if (!world_is_known(m))
                        return false;

        return oracle_is_exact();
}

static char *run_event(const Options *o) {
        char *wrong;

        random_seed(&life.chance, o->seed, life.event);
        wrong = pick_event()();
        if (!wrong && random_percent(&life.chance, 75))
                wrong = life_settle(false);
        if (!wrong && !is_well() && random_percent(&life.chance, 30))
                wrong = heal();
        return wrong;
}

static void on_told(unsigned minor) {
        oracle_told(minor);
}

static char *begin(void) {
        Cfs *c;

        life.trace = g_string_new(NULL);
        life.faulty = false;
        memset(foreign_hbas, 0, sizeof foreign_hbas);
        world_init(on_told, life.trace);
        oracle_init();
        fixture_init(&life.fixture);

        /* Somebody else's target, on a disk of his own. */
        c = life.fixture.engine.cfs;
        fake_block_add_simple(makedev(WORLD_MAJOR + 1, 0), "/dev/theirs", 1);
        g_assert_cmpint(cfs_mkdir(c, FOREIGN_PLACE), ==, 0);
        g_assert_cmpint(cfs_mkdir(c, FOREIGN_PLACE "/theirs"), ==, 0);
        g_assert_cmpint(cfs_write(c, FOREIGN_PLACE "/theirs/control", "udev_path=/dev/theirs"), ==, 0);
        g_assert_cmpint(cfs_write(c, FOREIGN_PLACE "/theirs/enable", "1"), ==, 0);
        for (const char *const *p = (const char *const[]) { "", "/tpgt_1", "/tpgt_1/lun/lun_0", NULL }; *p; p++) {
                g_autofree char *path = g_strdup_printf("vhost/%s%s", world_wwns[WORLD_FOREIGN], *p);
                g_autofree char *nexus = g_strdup_printf("%s/nexus", path), *link = g_strdup_printf("%s/theirs", path);

                g_assert_cmpint(cfs_mkdir(c, path), ==, 0);
                if (streq(*p, "/tpgt_1"))
                        g_assert_cmpint(cfs_write(c, nexus, "naa.5001405000000002"), ==, 0);
                if (strstr(*p, "lun_0")) {
                        g_assert_cmpint(cfs_symlink(c, FOREIGN_PLACE "/theirs", link), ==, 0);
                        check_foreign_add(FOREIGN_PLACE);
                }
                if (isempty(*p))
                        check_foreign_add(path);
        }
        fake_journal_clear();
        return start();
}

static void end(void) {
        fixture_done(&life.fixture);
        while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
                ;
        oracle_done();
        check_foreign_remove(NULL);
        for (unsigned i = 0; i < LAST; i++)
                g_clear_pointer(last + i, g_free);
        g_string_free(life.trace, TRUE);
}

static void print_difference(const Options *o, const char *wrong) {
        fprintf(stderr, "\nseed %" PRIu64 ", event %" PRIu64 ": %s\nthe last events:\n", o->seed, life.event, wrong);
        for (uint64_t i = life.event > LAST ? life.event - LAST + 1 : 1; i <= life.event; i++)
                if (i == life.event)
                        fprintf(stderr, "%" PRIu64 ":\n%s", i, life.trace->str);
                else if (last[i % LAST])
                        fprintf(stderr, "%" PRIu64 ":\n%s", i, last[i % LAST]);
        check_print(&life.fixture, stderr);
        fprintf(stderr, "again: --seed=%" PRIu64 " --from=%" PRIu64 " --events=%" PRIu64 "\n", o->seed, o->from, life.event);
}

typedef struct Resources {
        size_t files, rss;      /* rss: KiB */
} Resources;

static Resources resources(void) {
        g_autofree char *statm = NULL;
        Resources r = {};
        GDir *d = g_dir_open("/proc/self/fd", 0, NULL);
        unsigned long size, resident;

        g_assert_nonnull(d);
        while (g_dir_read_name(d))
                r.files++;
        g_dir_close(d);

        g_assert_true(g_file_get_contents("/proc/self/statm", &statm, NULL, NULL));
        g_assert_cmpint(sscanf(statm, "%lu %lu", &size, &resident), ==, 2);
        r.rss = resident * (size_t) sysconf(_SC_PAGESIZE) / 1024;
        return r;
}

/* true: no difference. */
static bool run(const Options *o, bool tell) {
        gint64 started = g_get_monotonic_time();
        uint64_t n = o->events - o->from + 1;
        Resources marks[3] = {};
        unsigned n_marks = 0;
        char *wrong = begin();

        for (life.event = o->from; life.event <= o->events && !wrong; life.event++) {
                g_string_truncate(life.trace, 0);
                wrong = run_event(o);
                if (wrong) {
                        print_difference(o, wrong);
                        break;
                }

                if (o->verbose)
                        fprintf(stderr, "%" PRIu64 ":\n%s", life.event, life.trace->str);
                g_free(last[life.event % LAST]);
                last[life.event % LAST] = g_strdup(life.trace->str);

                if (life.event - o->from + 1 == n / 10 || life.event - o->from + 1 == n / 2 || life.event == o->events) {
                        /* Nothing on the way, and nobody waits in the kernel. */
                        for (unsigned m = 0; m < WORLD_MINORS; m++)
                                if (world.stuck[m])
                                        world_unstick(m);
                        wrong = heal();
                        if (wrong)
                                print_difference(o, wrong);
                        /* A survey is over when it has told everything; its child is reaped a little later. */
                        g_assert_true(fixture_run_until(&life.fixture, has_no_children));
                        marks[MIN(n_marks, 2U)] = resources();
                        n_marks++;
                        if (tell)
                                fprintf(stderr, "%3" PRIu64 " %%: %" PRIu64 " events, %.1f s, RSS %zu KiB, %zu files\n",
                                        (life.event - o->from + 1) * 100 / n, life.event - o->from + 1,
                                        (double) (g_get_monotonic_time() - started) / 1e6, marks[MIN(n_marks, 3U) - 1].rss,
                                        marks[MIN(n_marks, 3U) - 1].files);
                }
        }

        if (!wrong && n >= 100) {
                g_assert_cmpuint(marks[1].files, ==, marks[0].files);
                g_assert_cmpuint(marks[2].files, ==, marks[0].files);
#ifndef __SANITIZE_ADDRESS__
                /* ASan keeps what is freed; and a short run is not over with its first pages. */
                if (n >= 10000)
                        g_assert_cmpuint(marks[2].rss, <=, marks[0].rss + 4096);
#endif
        }

        end();
        g_free(wrong);
        return !wrong;
}

/* The latest beginning that shows the same failure at the same event. */
static void minimise(const char *self, const Options *o) {
        for (uint64_t back = 1; back <= life.event; back *= 2) {
                g_autofree char *seed = g_strdup_printf("--seed=%" PRIu64, o->seed), *to = g_strdup_printf("--events=%" PRIu64, life.event);
                g_autofree char *from = g_strdup_printf("--from=%" PRIu64, life.event - back + 1);
                const char *const argv[] = { self, seed, to, from, NULL };
                int status = 0;

                g_assert_true(g_spawn_sync(NULL, (char **) argv, NULL, G_SPAWN_STDOUT_TO_DEV_NULL | G_SPAWN_STDERR_TO_DEV_NULL, NULL, NULL, NULL,
                                           NULL, &status, NULL));
                if (status != 0) {
                        fprintf(stderr, "the same, or another: %s %s %s\n", seed, from, to);
                        return;
                }
        }
}

static void test_seed(const void *data) {
        g_assert_true(run(data, false));
}

int main(int argc, char *argv[]) {
        static Options fixed[8];
        Options o = { .seed = 1, .from = 1 };

        for (int i = 1; i < argc; i++)
                if (sscanf(argv[i], "--seed=%" SCNu64, &o.seed) != 1 && sscanf(argv[i], "--events=%" SCNu64, &o.events) != 1 &&
                    sscanf(argv[i], "--from=%" SCNu64, &o.from) != 1) {
                        o.verbose = o.verbose || streq(argv[i], "--verbose");
                        o.minimise = o.minimise || streq(argv[i], "--minimise");
                }

        /* The store syncs each file. */
        if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
                g_setenv("TMPDIR", "/dev/shm", TRUE);
        log_set_max_level(o.verbose ? LOG_DEBUG : LOG_ERR);

        if (o.events > 0) {
                if (run(&o, true))
                        return EXIT_SUCCESS;
                if (o.minimise)
                        minimise(argv[0], &o);
                return EXIT_FAILURE;
        }

        g_test_init(&argc, &argv, NULL);
        for (unsigned i = 0; i < G_N_ELEMENTS(fixed); i++) {
                g_autofree char *name = g_strdup_printf("/life/seed-%u", i + 1);

                fixed[i] = (Options) { .seed = i + 1, .from = 1, .events = 250 };
                g_test_add_data_func(name, fixed + i, test_seed);
        }
        return g_test_run();
}
