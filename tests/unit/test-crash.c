/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <inttypes.h>
#include <sys/prctl.h>

#include "base/log.h"
#include "crash-calls.h"
#include "crash-check.h"
#include "crash-loss.h"
#include "crash-power.h"
#include "fake-cfs.h"
#include "tree.h"

/* What becomes of a change when the daemon dies, the system refuses, or the power goes at any call on its way.
 *
 *   test-crash                          a point here and there, as meson test runs it
 *   test-crash -k --stride=1            every point, and the table: half an hour; -k: not only until the first that is wrong
 *   test-crash -k --stride=1 -p /crash/kill/remove
 *
 * kill: everything of the daemon dies before a call; kill-pass: a pass or a survey does, alone; fail: a call fails with each errno that it can
 * give, the caller hears of it or need not, and the same order is obeyed the next time. */

#define HEAD "{\"format\":\"vhscsid\",\"version\":1,\"targets\":["
#define TAIL "]}"
#define LUN(n, disk) "{\"number\":" #n ",\"source\":\"wwid=3600" #disk "\"}"
#define NEXUS "\"nexus\":\"naa.5001405c000000fe\""

#define ORDERS_MAX 12U
#define RESTORED 64U
#define ORDERS_SOME 50U         /* before the power goes */
#define ORDERS_ALL 150U

typedef struct Row {
        const char *name;
        Host host;
        bool wishes_later;      /* the rule comes between the preparation and the start */
        bool starts;            /* the start counts */
        unsigned back_to;       /* a rollback's generation is that after so many orders of the preparation */
        Order prepare[ORDERS_MAX], orders[ORDERS_MAX];

        unsigned n_calls;       /* if nothing happens */
        char *prepared;         /* a state directory */
        char *documents[ORDERS_MAX + 2];        /* before the first order, after each, and when all is settled */
} Row;

static char restored[16384];    /* a document */

static Row rows[] = {
        {
                .name = "save",
                .prepare = { { ORDER_CREATE, WWN_A, "" } },
                .orders = { { ORDER_LABEL, WWN_A, "web" }, { ORDER_LABEL, WWN_A, "mail" } },
        },
        {
                .name = "create",
                .orders = { { ORDER_CREATE, WWN_A, "" }, { ORDER_CREATE, WWN_B, "second" } },
        },
        {
                .name = "add",
                .host.n_disks = 2,
                .prepare = { { ORDER_CREATE, WWN_A, "" } },
                .orders = { { ORDER_ADD, WWN_A, "wwid=36001", 0 }, { ORDER_ADD, WWN_A, "wwid=36002", 7 } },
        },
        {
                .name = "remove",
                .host.n_disks = 2,
                .prepare = { { ORDER_CREATE, WWN_A, "" }, { ORDER_ADD, WWN_A, "wwid=36001", 0 }, { ORDER_ADD, WWN_A, "wwid=36002", 7 } },
                .orders = { { ORDER_REMOVE, WWN_A, NULL, 0 }, { ORDER_REMOVE, WWN_A, NULL, 7 } },
        },
        {
                .name = "destroy",
                .host.n_disks = 4,
                .prepare = { { ORDER_APPLY, NULL, HEAD "{\"wwn\":\"" WWN_A "\"," NEXUS ",\"luns\":[" LUN(0, 1) "," LUN(1, 2) "," LUN(2, 3) "]},"
                                                  "{\"wwn\":\"" WWN_B "\"," NEXUS ",\"luns\":[" LUN(0, 4) "]}" TAIL } },
                .orders = { { ORDER_DESTROY, WWN_A }, { ORDER_DESTROY, WWN_B } },
        },
        {
                .name = "apply",
                .host.n_disks = 5,
                .prepare = { { ORDER_CREATE, WWN_A, "" }, { ORDER_ADD, WWN_A, "wwid=36001", 0 }, { ORDER_CREATE, WWN_C, "old" } },
                .orders = { { ORDER_APPLY, NULL, HEAD "{\"wwn\":\"" WWN_A "\",\"luns\":[" LUN(0, 1) "," LUN(1, 2) "," LUN(4, 3) "]},"
                                                 "{\"wwn\":\"" WWN_B "\"," NEXUS ",\"luns\":[" LUN(0, 4) "," LUN(1, 5) "]},"
                                                 "{\"wwn\":\"" WWN_C "\",\"label\":\"new\",\"luns\":[]}" TAIL } },
        },
        {
                .name = "prune",
                .host.n_disks = 4,
                .prepare = { { ORDER_APPLY, NULL, HEAD "{\"wwn\":\"" WWN_A "\"," NEXUS ",\"luns\":[" LUN(0, 1) "," LUN(1, 2) "," LUN(2, 3) "]},"
                                                  "{\"wwn\":\"" WWN_B "\"," NEXUS ",\"luns\":[" LUN(0, 4) "]}" TAIL } },
                .orders = { { ORDER_PRUNE, NULL, HEAD "{\"wwn\":\"" WWN_A "\",\"luns\":[" LUN(0, 1) "," LUN(2, 3) "]}" TAIL } },
        },
        {
                .name = "all in one",
                .host.n_disks = 4,
                .prepare = { { ORDER_APPLY, NULL, HEAD "{\"wwn\":\"" WWN_A "\"," NEXUS ",\"luns\":[" LUN(0, 1) "," LUN(1, 2) "," LUN(2, 3) "]}" TAIL } },
                .orders = { { ORDER_PRUNE, NULL, HEAD "{\"wwn\":\"" WWN_A "\",\"label\":\"web\",\"luns\":[" LUN(0, 1) "," LUN(5, 4) "]}" TAIL } },
        },
        {
                .name = "rollback",
                .host.n_disks = 3,
                .back_to = 2,
                .prepare = { { ORDER_CREATE, WWN_A, "" }, { ORDER_ADD, WWN_A, "wwid=36001", 0 }, { ORDER_ADD, WWN_A, "wwid=36002", 1 },
                             { ORDER_CREATE, WWN_B, "" }, { ORDER_ADD, WWN_B, "wwid=36003", 0 } },
                .orders = { { ORDER_ROLLBACK, WWN_A } },
        },
        {
                .name = "adopt",
                .host.adoptable = true,
                .orders = { { ORDER_ADOPT, WWN_ADOPTED } },
        },
        {
                .name = "release",
                .host = { .n_disks = 1, .adoptable = true },
                .back_to = 1,
                .prepare = { { ORDER_CREATE, WWN_A, "" }, { ORDER_ADOPT, WWN_ADOPTED }, { ORDER_ADD, WWN_A, "wwid=36001", 0 } },
                .orders = { { ORDER_ROLLBACK, WWN_A } },
        },
        {
                .name = "udev rule",
                .host = { .n_disks = 3, .n_wished = 2 },
                .wishes_later = true,
                .starts = true,
                .prepare = { { ORDER_CREATE, WWN_A, "" } },
        },
        {
                .name = "remove for good",
                .host = { .n_disks = 2, .n_wished = 2 },
                .orders = { { ORDER_REMOVE, WWN_A, NULL, 0 }, { ORDER_DESTROY, WWN_A } },
        },
        {
                .name = "brought back",
                .host = { .n_disks = 2, .n_wished = 2 },
                .prepare = { { ORDER_DESTROY, WWN_A } },
                .orders = { { ORDER_APPLY, NULL, HEAD "{\"wwn\":\"" WWN_A "\",\"label\":\"web\"," NEXUS ",\"luns\":[" LUN(5, 1) "," LUN(6, 2) "]}" TAIL } },
        },
        {
                .name = "restore of 64",
                .host.n_disks = RESTORED,
                .starts = true,
                .prepare = { { ORDER_APPLY, NULL, restored } },
        },
};

static unsigned stride;         /* 0: one point of each row */

/* ---- directories ---- */

static void directory_remove(char *path) {
        tree_remove(path);
        g_free(path);
}

static char *directory_make(void) {
        char *path = g_dir_make_tmp("vhscsid-crash-XXXXXX", NULL);

        g_assert_nonnull(path);
        return path;
}

static char *directory_copy(const char *from) {
        g_autofree char *contents = g_strdup_printf("%s/.", from), *to = directory_make();
        const char *argv[] = { "cp", "-a", contents, to, NULL };
        int status;

        g_assert_true(g_spawn_sync(NULL, (char **) argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL, &status, NULL));
        g_assert_cmpint(status, ==, 0);
        return TAKE_PTR(to);
}

/* ---- one life ---- */

static bool order_is(const Order *o) {
        return o->wwn || o->text;
}

static void obey(CrashDaemon *d, const Order *o) {
        if (daemon_order(d, o) != ANSWER_DONE)
                g_error("%s", d->error ?: "There is no answer");
}

/* What all the lives of a row begin with, and how they go if nothing happens. */
static void row_prepare(Row *row) {
        Host host = row->host;
        CrashDaemon d = {};
        unsigned n = 0;
        char *copy;

        if (row->wishes_later)
                host.n_wished = 0;
        row->prepared = directory_make();
        host_make(&host);
        daemon_spawn(&d, &host, row->prepared);
        for (const Order *o = row->prepare; order_is(o); o++) {
                obey(&d, o);
                if (row->back_to == (unsigned) (o - row->prepare) + 1)
                        row->orders[0].number = (uint32_t) daemon_generation(&d);
        }
        g_assert_cmpint(daemon_settle(&d), ==, ANSWER_DONE);
        row->documents[n++] = daemon_dump(&d);
        daemon_reap(&d);

        copy = directory_copy(row->prepared);
        host_make(&row->host);
        calls_arm(CALLS_KILL, UINT_MAX, 0);
        daemon_spawn(&d, &row->host, copy);
        for (const Order *o = row->orders; order_is(o); o++) {
                obey(&d, o);
                row->documents[n++] = daemon_dump(&d);
        }
        g_assert_cmpint(daemon_settle(&d), ==, ANSWER_DONE);
        row->documents[n] = daemon_dump(&d);
        g_assert_nonnull(row->documents[n]);
        (void) calls_disarm();
        row->n_calls = calls->made;
        daemon_reap(&d);
        directory_remove(copy);
}

static void row_done(Row *row) {
        for (size_t i = 0; i < G_N_ELEMENTS(row->documents); i++)
                g_clear_pointer(row->documents + i, g_free);
        directory_remove(TAKE_PTR(row->prepared));
}

typedef struct Tally {
        unsigned points, refused, verdicts[_VERDICT_MAX];
} Tally;

typedef struct Life {
        Row *row;
        CrashDaemon daemon;
        unsigned n_done;        /* orders acknowledged */
        unsigned n_refused;
        bool dead;
        bool again;             /* what is refused is tried again; else that was all, and the next start finds all as it was */
        bool untouched;
        char *document;         /* what it wanted in the end; NULL: it is dead */
        char *what;             /* is wrong */
} Life;

/* The caller was told of an error: all is as it was, and the same order is obeyed as soon as nothing is in the way. */
static Verdict give_again(Life *l, const Order *o) {
        g_autofree char *told = g_strdup(l->daemon.error), *now = NULL, *what = NULL;
        char *const *documents = l->row->documents + l->n_done;
        Verdict v;

        l->n_refused++;
        (void) calls_disarm();
        if (daemon_settle(&l->daemon) != ANSWER_DONE || !(now = daemon_dump(&l->daemon))) {
                l->dead = true;
                return VERDICT_RIGHT;
        }

        /* Apply says of each target what became of it. */
        l->untouched = !l->again && !order_is_list(o);
        l->dead = !l->again;
        v = check_document(now, documents[0], order_is_list(o) ? documents[1] : NULL, &what);
        if (v == VERDICT_RIGHT && l->again && daemon_order(&l->daemon, o) != ANSWER_DONE) {
                what = g_strdup_printf("the second time: %s", strempty(l->daemon.error));
                v = VERDICT_WRONG;
        }
        if (v == VERDICT_RIGHT)
                return v;

        l->what = g_strdup_printf("%s, and then: %s", told, what);
        return v;
}

static Verdict life_go(Life *l) {
        for (const Order *o = l->row->orders; order_is(o) && !l->dead; o++) {
                Answer answer = daemon_order(&l->daemon, o);
                Verdict v = answer == ANSWER_REFUSED ? give_again(l, o) : VERDICT_RIGHT;

                if (v != VERDICT_RIGHT)
                        return v;
                l->dead = l->dead || answer == ANSWER_NONE;
                l->n_done += !l->dead;
        }

        l->dead = l->dead || daemon_settle(&l->daemon) != ANSWER_DONE;
        return VERDICT_RIGHT;
}

/* The start may fail, which is seen; later it goes on whatever happens. */
static Verdict life_end(Life *l, CallsMode mode) {
        if (!l->dead || l->untouched)
                l->document = daemon_dump(&l->daemon);
        if (l->document || mode == CALLS_KILL || l->row->starts || (l->n_refused > 0 && !l->again))
                return VERDICT_RIGHT;

        l->what = g_strdup("The service has died");
        return VERDICT_WRONG;
}

static Verdict life_check(Life *l, const char *state_dir, const char *theirs) {
        char *const *documents = l->row->documents + l->n_done;
        g_autofree char *document = NULL;
        Verdict v;

        v = check_recovery(&l->row->host, state_dir, theirs, &document, &l->what);
        if (v == VERDICT_RIGHT)
                v = check_document(document, documents[0], l->untouched ? NULL : documents[1], &l->what);
        /* What could not be read at the start is left alone until the next one. */
        if (v == VERDICT_RIGHT && l->document && !l->row->starts && check_document(document, l->document, NULL, &l->what) != VERDICT_RIGHT)
                v = VERDICT_WRONG;

        return v;
}

/* false: it was over before the nth point. */
static bool run_point(Row *row, CallsMode mode, unsigned nth, int error, Tally *tally) {
        g_autofree char *theirs = NULL, *state_dir = directory_copy(row->prepared);
        Life l = { .row = row, .again = nth % 2 == 0 };
        Verdict v;
        bool hit;

        host_make(&row->host);
        theirs = host_theirs(&row->host);
        if (row->starts)
                calls_arm(mode, nth, error);
        daemon_spawn(&l.daemon, &row->host, state_dir);
        if (!row->starts) {
                g_autofree char *ready = daemon_dump(&l.daemon);

                g_assert_nonnull(ready);
                calls_arm(mode, nth, error);
        }

        v = life_go(&l);
        hit = calls_disarm() || l.n_refused > 0;
        if (v == VERDICT_RIGHT)
                v = life_end(&l, mode);
        daemon_reap(&l.daemon);
        if (v == VERDICT_RIGHT)
                v = life_check(&l, state_dir, theirs);

        tally->points += hit;
        tally->refused += l.n_refused;
        tally->verdicts[v]++;
        if (v != VERDICT_RIGHT) {
                g_test_message("%s, %s at %s (point %u, after %u orders): %s", row->name, error == 0 ? "killed" : strerrorname_np(error), calls->name, nth,
                               l.n_done, strempty(l.what));
                g_test_fail();
        }

        g_free(l.document);
        g_free(l.what);
        directory_remove(TAKE_PTR(state_dir));
        return hit;
}

/* ---- the table ---- */

typedef struct Column {
        Row *row;
        CallsMode mode;
        const char *name;
} Column;

static Tally totals[CALLS_RECORD];

static void print(const char *name, const char *what, const Tally *t) {
        g_test_message("%-16s %-16s %6u points %6u told %4u lost %4u wrong %4u foreign", name, what, t->points, t->refused, t->verdicts[VERDICT_LOST],
                       t->verdicts[VERDICT_WRONG], t->verdicts[VERDICT_FOREIGN]);
}

static void run_column(const void *userdata) {
        const Column *c = userdata;
        bool fails = c->mode == CALLS_FAIL;
        Tally tally = {}, *total = totals + c->mode;
        Row *row = c->row;

        if (!row->prepared)
                row_prepare(row);
        if (stride == 0) {
                /* Not all of them can fail, or are a pass's: then it goes as if nothing happened. */
                unsigned part = fails ? 12 : c->mode == CALLS_KILL ? 1 : 3;
                unsigned nth = (unsigned) g_test_rand_int_range(1, (gint32) MAX(row->n_calls / part, 2U));

                (void) run_point(row, c->mode, nth, fails ? calls_errors[g_test_rand_int_range(0, CALLS_ERRORS)] : 0, &tally);
        }
        for (const int *error = calls_errors; stride > 0 && *error != 0; error++) {
                unsigned nth = 1 + (unsigned) g_test_rand_int_range(0, (gint32) stride);

                while (run_point(row, c->mode, nth, fails ? *error : 0, &tally))
                        nth += stride;
                if (!fails)
                        break;
        }

        print(row->name, c->name, &tally);
        total->points += tally.points;
        total->refused += tally.refused;
        for (unsigned v = 0; v < _VERDICT_MAX; v++)
                total->verdicts[v] += tally.verdicts[v];
}

static void test_power(void) {
        char *state_dir = directory_make(), *scratch = directory_make();
        unsigned n, lost, wrong;

        n = loss_run(state_dir, scratch, stride == 1 ? ORDERS_ALL : ORDERS_SOME, &lost, &wrong);
        g_test_message("loss of power: %u states, %u lost, %u wrong", n, lost, wrong);
        g_assert_cmpuint(n, >, 200);
        g_assert_cmpuint(lost + wrong, ==, 0);
        directory_remove(state_dir);
        directory_remove(scratch);
}

/* The 64 LUNs of a restore, in one order. */
static void make_restored(void) {
        GString *s = g_string_new(HEAD "{\"wwn\":\"" WWN_A "\"," NEXUS ",\"luns\":[");

        for (unsigned i = 0; i < RESTORED; i++)
                g_string_append_printf(s, "%s{\"number\":%u,\"source\":\"wwid=3600%u\"}", i > 0 ? "," : "", i, i + 1);
        g_string_append(s, "]}" TAIL);
        g_assert_cmpuint(g_strlcpy(restored, s->str, sizeof restored), <, sizeof restored);
        g_string_free(s, TRUE);
}

int main(int argc, char **argv) {
        static Column columns[] = {
                { .mode = CALLS_KILL, .name = "kill" },
                { .mode = CALLS_KILL_PASS, .name = "kill-pass" },
                { .mode = CALLS_FAIL, .name = "fail" },
        };

        unsigned turn;
        int r;

        g_test_init(&argc, &argv, NULL);
        for (int i = 1; i < argc; i++)
                if (sscanf(argv[i], "--stride=%u", &stride) == 1)
                        stride = MAX(stride, 1U);

        make_restored();
        calls_init();
        power_init();
        if (!g_test_verbose())
                log_set_max_level(LOG_CRIT);
        g_assert_cmpint(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), ==, 0);

        turn = (unsigned) g_test_rand_int_range(0, G_N_ELEMENTS(columns));
        for (size_t c = 0; c < G_N_ELEMENTS(columns); c++)
                for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
                        /* One thing at a time is enough for each row: they take turns. */
                        if (stride == 0 && (i + turn) % G_N_ELEMENTS(columns) != c)
                                continue;

                        g_autofree char *path = g_strdup_printf("/crash/%s/%s", columns[c].name, rows[i].name);
                        Column *column = g_memdup2(columns + c, sizeof *column);

                        column->row = rows + i;
                        g_test_add_data_func_full(path, column, (GTestDataFunc) run_column, g_free);
                }

        g_test_add_func("/crash/power", test_power);

        r = g_test_run();
        for (size_t c = 0; c < G_N_ELEMENTS(columns); c++)
                print("all", columns[c].name, totals + columns[c].mode);
        for (size_t i = 0; i < G_N_ELEMENTS(rows); i++)
                if (rows[i].prepared)
                        row_done(rows + i);
        return r;
}
