/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/log.h"
#include "engine/draft.h"
#include "engine/edit.h"
#include "engine/hotplug.h"
#include "engine/queue.h"
#include "scale-bare.h"
#include "scale-host.h"

/* What the daemon itself costs with N LUNs and four paths (P) to each of their disks, on the fake kernel: is anything worse than linear? Passes
 * are children, whose time is not counted: that is the kernel's business, and the fake's.
 *
 *   bench-scale [--targets=T] [--paths=P] [N …]  256 1024 4096; a table of CPU time, and the ratio to the row before
 *   bench-scale --only=STEP N                  stays in one step for long, for a profiler
 *
 * To be run by hand, built for release: figures are no test. */

#define ADDED 32U
static unsigned paths = 4;
#define SAMPLES_MAX 24U
#define ROUNDS 5U

typedef struct Sample {
        char name[32];
        unsigned n;             /* how often: a figure is for one */
        double usec;
} Sample;

typedef struct Result {
        unsigned n_luns;
        unsigned n_samples;
        unsigned wakeups;       /* while nothing happens */
        double heap, anonymous; /* bytes */
        double bare;            /* bytes before there was anything */
        double objects;         /* GetManagedObjects, ours to a bare one's */
        Sample samples[SAMPLES_MAX];
} Result;

static Host host;
static Result result;
static uint64_t started;
static const char *only;

static uint64_t cpu_nsec(void) {
        struct timespec t;

        g_assert_cmpint(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t), ==, 0);
        return (uint64_t) t.tv_sec * 1000000000 + (uint64_t) t.tv_nsec;
}

static void begin(void) {
        started = cpu_nsec();
}

static void end(const char *name, unsigned n) {
        Sample *s = &result.samples[result.n_samples++];

        g_assert_cmpuint(result.n_samples, <=, SAMPLES_MAX);
        *s = (Sample) { .n = n, .usec = (double) (cpu_nsec() - started) / 1000 };
        g_strlcpy(s->name, name, sizeof s->name);
}

static bool wanted(const char *name) {
        return !only || streq(only, name);
}

static void add_luns(unsigned n_luns, unsigned n_targets) {
        Engine *e = &host.fixture.engine;

        begin();
        for (unsigned t = 0; t < n_targets; t++) {
                _cleanup_(refusal_done) Refusal refusal = {};
                char wwn[32];
                Target *target;

                snprintf(wwn, sizeof wwn, "naa.5001405%09x", t);
                target = fixture_create(&host.fixture, wwn);
                for (unsigned i = t; i < n_luns; i += n_targets) {
                        LunOptions o = { .common = { .timeout = UINT64_MAX, .later = true } };
                        char source[64];
                        uint32_t number;

                        snprintf(source, sizeof source, HOST_IDENTITY, i);
                        g_assert_cmpint(edit_add_lun(e, target, source, &o, &number, &refusal), ==, 0);
                }
                g_assert_cmpint(draft_store(e, target, &refusal), ==, 0);
        }
        end("apply (no kernel)", 1);
}

/* Calls one after the other, each with its pass. */
static void add_more(unsigned n_luns) {
        Target *t = registry_target(&host.fixture.engine.registry, "naa.5001405000000000");

        for (unsigned i = 0; i < ADDED; i++)
                host_tell(&host, n_luns + i, HOST_MAP);
        host_turn(&host);

        begin();
        for (unsigned i = 0; i < ADDED; i++) {
                char source[64];

                snprintf(source, sizeof source, HOST_IDENTITY, n_luns + i);
                (void) fixture_add_lun(&host.fixture, t, source);
                fixture_run(&host.fixture);
                host_turn(&host);
        }
        end("AddLun", ADDED);
}

static void remove_again(void) {
        Target *t = registry_target(&host.fixture.engine.registry, "naa.5001405000000000");
        EditOptions o = { .timeout = UINT64_MAX, .force = true };

        begin();
        for (unsigned i = 0; i < ADDED; i++) {
                _cleanup_(refusal_done) Refusal refusal = {};

                g_assert_cmpint(edit_remove_lun(&host.fixture.engine, t->luns[t->n_luns - 1], &o, &refusal), ==, 0);
                fixture_run(&host.fixture);
                host_turn(&host);
        }
        end("RemoveLun", ADDED);
}

static void destroy_all(void) {
        EditOptions o = { .timeout = UINT64_MAX, .force = true };
        Engine *e = &host.fixture.engine;
        Target *t;

        begin();
        REGISTRY_FOREACH(&e->registry, t) {
                _cleanup_(refusal_done) Refusal refusal = {};

                g_assert_cmpint(edit_destroy_target(e, t, &o, &refusal), ==, 0);
        }
        fixture_run(&host.fixture);
        host_turn(&host);
        end("Destroy of all", 1);
        g_assert_cmpuint(map_size(e->registry.targets), ==, 0);
}

static unsigned idle_wakeups(void) {
        sd_event *event = host.fixture.engine.event;
        unsigned n = 0;

        host_turn(&host);
        for (gint64 until = g_get_monotonic_time() + 500000; g_get_monotonic_time() < until;)
                n += sd_event_run(event, 100000) > 0;

        return n;
}

static void tell_all(unsigned n, HostDevice kind) {
        for (unsigned i = 0; i < n; i++)
                host_tell(&host, i, kind);
}

static void tell_each(unsigned n, HostDevice kind) {
        for (unsigned i = 0; i < n; i++) {
                host_tell(&host, i, kind);
                host_turn(&host);
        }
}

static void enumerate(unsigned n_luns, const char *name) {
        begin();
        tell_all(n_luns, HOST_MAP);
        tell_all(n_luns * paths, HOST_PATH);
        end(name, 1);
}

/* Until there is nothing to do. */
static void settle(const char *name) {
        begin();
        fixture_run(&host.fixture);
        host_turn(&host);
        end(name, 1);
}

/* In turns, and the least of each: who else has the processor disturbs one as much as the other. */
static void ask_objects(unsigned n_luns, unsigned n_targets) {
        Sample *ours = &result.samples[result.n_samples], *bare = ours + 1;
        double least[2] = {};

        g_assert_cmpint(bare_add(host.bus, n_luns, n_targets), >=, 0);
        for (unsigned i = 0; i < (only ? 100 : ROUNDS); i++) {
                begin();
                host_ask(&host, HOST_ASK_OBJECTS);
                end("GetManagedObjects", 1);
                least[0] = i == 0 ? ours->usec : MIN(least[0], ours->usec);
                begin();
                host_ask(&host, HOST_ASK_BARE);
                end("the same of a bare one", 1);
                least[1] = i == 0 ? bare->usec : MIN(least[1], bare->usec);
                result.n_samples -= 2;
        }
        bare_done();

        ours->usec = least[0];
        bare->usec = least[1];
        result.n_samples += 2;
        result.objects = least[0] / least[1];
}

static void measure(unsigned n_luns, unsigned n_targets) {
        Engine *e = &host.fixture.engine;

        result.n_luns = n_luns;
        host_init(&host, n_luns + ADDED);
        result.bare = host_anonymous();
        enumerate(n_luns, "devices, none wanted");
        add_luns(n_luns, n_targets);

        host_restart(&host, true);
        enumerate(n_luns, "devices, all wanted");
        settle("restore");

        begin();
        host_restart(&host, false);
        end("restart: load", 1);
        enumerate(n_luns, "restart: devices");
        settle("restart: no drift");
        result.anonymous = host_anonymous();
        result.heap = host_heap();
        result.wakeups = idle_wakeups();

        if (wanted("enumerate"))
                for (unsigned i = 0; i < (only ? 100 : 1); i++) {
                        host.generation++;
                        enumerate(n_luns, "sweep: all changed");
                        settle("sweep: told");
                        result.n_samples -= only ? 2 : 0;
                }
        if (wanted("storm"))
                for (unsigned i = 0; i < (only ? 100 : 1); i++) {
                        host.generation++;
                        begin();
                        tell_each(n_luns, HOST_MAP);
                        end("storm: a LUN's disk", n_luns);
                        begin();
                        tell_each(n_luns * paths, HOST_PATH);
                        end("storm: a path", n_luns * paths);
                        result.n_samples -= only ? 2 : 0;
                }
        if (wanted("grow")) {
                host.size += 1 << 20;
                begin();
                tell_all(n_luns, HOST_MAP);
                host_turn(&host);
                end("grow, in one turn", 1);
        }
        if (wanted("lost")) {
                begin();
                host_lose(&host, n_luns * paths);
                end("lost events: who wants", 1);
        }

        host.size = HOST_SIZE;
        for (unsigned i = 0; wanted("add") && i < (only ? 20 : 1); i++) {
                add_more(n_luns);
                remove_again();
                result.n_samples -= only ? 2 : 0;
        }
        if (wanted("objects"))
                ask_objects(n_luns, n_targets);
        for (unsigned i = 0; wanted("list") && i < (only ? 100 : 1); i++) {
                begin();
                host_ask(&host, HOST_ASK_DEVICES);
                end("ListDevices", 1);
                result.n_samples -= only ? 1 : 0;
        }
        if (wanted("destroy"))
                destroy_all();

        g_assert_true(queue_is_idle(e));
        host_done(&host);
}

static void print(const Result *r, const Result *before, unsigned n_targets) {
        printf("\n%u LUNs in %u targets, %u paths: anonymous memory %.2f MiB (%.2f MiB for 1000 LUNs; heap in use %.2f MiB), "
               "%u wakeups while idle\n",
               r->n_luns, n_targets, r->n_luns * paths, r->anonymous / 1048576, (r->anonymous - r->bare) / 1048576 * 1000 / r->n_luns,
               r->heap / 1048576, r->wakeups);
        for (unsigned i = 0; i < r->n_samples; i++) {
                const Sample *s = &r->samples[i];
                double each = s->usec / s->n;

                printf("  %-24s %12.1f us", s->name, each);
                if (s->n == 1)
                        printf(" %8.2f us a LUN", each / r->n_luns);
                else
                        printf("%18s", "each");
                if (before)
                        printf("   x %.2f", each / (before->samples[i].usec / before->samples[i].n));
                putchar('\n');
        }
        if (r->objects > 0)
                printf("  %s  GetManagedObjects is %.2f x a bare service's of the same objects (to reach: at most 1.50)\n",
                       r->objects <= 1.5 ? "reached" : "MISSED ", r->objects);
        fflush(stdout);
}

/* In a process of its own, so that one does not find the other's memory. */
static void measure_apart(unsigned n_luns, unsigned n_targets, Result *ret) {
        int fds[2], status;
        pid_t pid;

        g_assert_cmpint(pipe(fds), ==, 0);
        fflush(stdout);
        pid = fork();
        g_assert_cmpint(pid, >=, 0);
        if (pid == 0) {
                measure(n_luns, n_targets);
                g_assert_cmpint(write(fds[1], &result, sizeof result), ==, sizeof result);
                _exit(EXIT_SUCCESS);
        }

        close(fds[1]);
        g_assert_cmpint(read(fds[0], ret, sizeof *ret), ==, sizeof *ret);
        close(fds[0]);
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char *argv[]) {
        static Result results[16];
        unsigned sizes[16] = { 256, 1024, 4096 }, n = 3, given = 0, targets = 0;

        for (int i = 1; i < argc && given < G_N_ELEMENTS(sizes); i++) {
                unsigned size;

                if (startswith(argv[i], "--only="))
                        only = argv[i] + strlen("--only=");
                else if (sscanf(argv[i], "--targets=%u", &targets) != 1 && sscanf(argv[i], "--paths=%u", &paths) != 1 &&
                         sscanf(argv[i], "%u", &size) == 1)
                        sizes[given++] = size;
        }
        n = given > 0 ? given : n;

        /* The store syncs each file. */
        if (!getenv("TMPDIR") && access("/dev/shm", W_OK) == 0)
                g_setenv("TMPDIR", "/dev/shm", TRUE);
        log_set_max_level(LOG_ERR);

        for (unsigned i = 0; i < n; i++) {
                unsigned n_targets = targets > 0 ? targets : MAX(sizes[i] / 16, 1U);

                if (only) {
                        measure(sizes[i], n_targets);
                        results[i] = result;
                } else
                        measure_apart(sizes[i], n_targets, results + i);
                print(results + i, i > 0 && !only ? results + i - 1 : NULL, n_targets);
        }

        return EXIT_SUCCESS;
}
