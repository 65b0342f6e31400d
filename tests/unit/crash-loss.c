/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>

#include "base/strv.h"
#include "crash-calls.h"
#include "crash-check.h"
#include "crash-loss.h"
#include "crash-power.h"
#include "engine/dump.h"
#include "store/document-json.h"

#define DISKS 6U

/* A life of random orders: what was wanted after each of them, and which disks no udev rule may bring back. */
typedef struct Story {
        const Host *host;
        unsigned n_orders;
        char **documents;       /* [0]: nothing; [1]: what there is from the start; [1 + n]: after n orders */
        char ***removed;        /* the same */
        unsigned n_wrong, n_lost;
} Story;

static const char *const wwns[] = { WWN_A, WWN_B, WWN_C };

static Order order_make(GRand *random, char **ret_text) {
        Order o = { .wwn = wwns[g_rand_int_range(random, 0, G_N_ELEMENTS(wwns))], .number = (uint32_t) g_rand_int_range(random, 0, 4) };
        int what = g_rand_int_range(random, 0, 100);

        *ret_text = g_strdup_printf("wwid=3600%d", g_rand_int_range(random, 1, DISKS + 1));
        if (what < 15)
                o.kind = ORDER_CREATE;
        else if (what < 55)
                o.kind = ORDER_ADD;
        else if (what < 80)
                o.kind = ORDER_REMOVE;
        else if (what < 90)
                o.kind = ORDER_LABEL;
        else
                o.kind = ORDER_DESTROY;
        o.text = *ret_text;
        return o;
}

static char **read_removed(const char *state_dir) {
        _cleanup_(removed_freep) RemovedList *l = NULL;
        char **names = NULL;

        g_assert_cmpint(removed_new(state_dir, &l), ==, 0);
        for (unsigned i = 1; i <= DISKS; i++) {
                g_autofree char *name = g_strdup_printf("wwid=3600%u", i);

                if (removed_contains(l, name))
                        g_assert_cmpint(strv_extend(&names, name), >=, 0);
        }
        for (size_t i = 0; i < G_N_ELEMENTS(wwns); i++)
                if (removed_contains(l, wwns[i]))
                        g_assert_cmpint(strv_extend(&names, wwns[i]), >=, 0);

        return names;
}

static void live(Story *s, const char *state_dir) {
        GRand *random = g_rand_new_with_seed((guint32) g_test_rand_int());
        CrashDaemon d = {};

        host_make(s->host);
        calls_arm(CALLS_RECORD, 0, 0);
        daemon_spawn(&d, s->host, state_dir);
        for (unsigned n = 0; n <= s->n_orders; n++) {
                g_autofree char *text = NULL;
                Order o = order_make(random, &text);

                if (n > 0)
                        g_assert_cmpint(daemon_order(&d, &o), !=, ANSWER_NONE);
                s->documents[n + 1] = daemon_dump(&d);
                g_assert_nonnull(s->documents[n + 1]);
                s->removed[n + 1] = read_removed(state_dir);
                power_mark(n + 1);
        }
        daemon_reap(&d);
        (void) calls_disarm();
        g_rand_free(random);
}

static char *load(const char *state_dir, RemovedList **ret_removed) {
        _cleanup_(document_done) Document d = {};
        _cleanup_(refusal_done) Refusal refusal = {};
        _cleanup_(store_freep) Store *store = NULL;
        DumpOptions o = {};
        char *text = NULL;
        Engine e = {};
        size_t size;

        g_assert_cmpint(registry_init(&e.registry, 1), >=, 0);
        if (store_new(state_dir, &store) >= 0 && store_load(store, &e.registry) >= 0 && removed_new(state_dir, ret_removed) >= 0 &&
            !e.registry.bad && removed_is_known(*ret_removed) && dump_document(&e, &o, &d, &refusal) >= 0)
                g_assert_cmpint(document_json_format(&d, &text, &size), ==, 0);
        registry_done(&e.registry);
        return text;
}

static void check(const char *state_dir, unsigned acknowledged, void *userdata) {
        _cleanup_(removed_freep) RemovedList *removed = NULL;
        g_autofree char *document = NULL, *what = NULL;
        Story *s = userdata;
        unsigned next = MIN(acknowledged + 1, s->n_orders + 1);
        Verdict v;

        document = load(state_dir, &removed);
        if (!document) {
                g_test_message("after order %u: the store cannot be read", acknowledged);
                s->n_wrong++;
                return;
        }

        v = check_document(document, s->documents[acknowledged], s->documents[next], &what);
        for (char **name = s->removed[acknowledged]; v == VERDICT_RIGHT && name && *name; name++)
                if (strv_contains(s->removed[next], *name) && !removed_contains(removed, *name)) {
                        what = g_strdup_printf("%s may come back", *name);
                        v = VERDICT_LOST;
                }
        if (v == VERDICT_RIGHT)
                return;

        g_test_message("after order %u: %s", acknowledged, what);
        s->n_wrong += v == VERDICT_WRONG;
        s->n_lost += v == VERDICT_LOST;
}

unsigned loss_run(const char *state_dir, const char *scratch, unsigned n_orders, unsigned *ret_lost, unsigned *ret_wrong) {
        /* The rule's disks are in its target from the start, so that one that is removed must be remembered. */
        static const Host host = { .n_disks = DISKS, .n_wished = 2 };
        Story s = {
                .host = &host,
                .n_orders = n_orders,
                .documents = g_new0(char *, n_orders + 2),
                .removed = g_new0(char **, n_orders + 2),
        };
        unsigned n;

        power_begin(state_dir);
        live(&s, state_dir);
        n = power_each(scratch, check, &s);

        for (unsigned i = 0; i <= n_orders + 1; i++) {
                g_free(s.documents[i]);
                strv_free(s.removed[i]);
        }
        g_free(s.documents);
        g_free(s.removed);
        *ret_lost = s.n_lost;
        *ret_wrong = s.n_wrong;
        return n;
}
