/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "exit-status.h"
#include "print.h"
#include "verbs.h"
#include "view.h"

/* Everything that is counted, in the order in which it is printed. */
static const char *const lun_states[] = { "online", "degraded", "attaching", "waiting", "draining", "failed" };
static const char *const target_states[] = { "online", "incomplete", "removing", "failed", "foreign" };

typedef struct Counts {
        uint64_t targets[ELEMENTSOF(target_states)];
        uint64_t luns[ELEMENTSOF(lun_states)];  /* of our own targets */
        uint64_t n_targets, n_luns;
        bool unknown;                           /* something is in a state that this client does not know */
} Counts;

static void count(const char *const *names, size_t n_names, uint64_t *counts, const char *state, bool *unknown) {
        for (size_t i = 0; i < n_names; i++)
                if (streq(names[i], state)) {
                        counts[i]++;
                        return;
                }

        *unknown = true;
}

static void counts_take(Counts *n, json_object *targets) {
        *n = (Counts) {};

        for (size_t i = 0; i < value_length(targets); i++) {
                json_object *t = json_object_array_get_idx(targets, i), *luns = value_array(t, "luns");

                count(target_states, ELEMENTSOF(target_states), n->targets, value_string(t, "state"), &n->unknown);
                n->n_targets++;

                /* What others made is none of our business, nor of our health. */
                if (streq(value_string(t, "managed_by"), "foreign"))
                        continue;
                for (size_t k = 0; k < value_length(luns); k++) {
                        count(lun_states, ELEMENTSOF(lun_states), n->luns,
                              value_string(json_object_array_get_idx(luns, k), "state"), &n->unknown);
                        n->n_luns++;
                }
        }
}

static uint64_t count_of(const char *const *names, size_t n_names, const uint64_t *counts, const char *state) {
        for (size_t i = 0; i < n_names; i++)
                if (streq(names[i], state))
                        return counts[i];

        assert(false);
        return 0;
}

#define LUNS(n, state) count_of(lun_states, ELEMENTSOF(lun_states), (n)->luns, state)
#define TARGETS(n, state) count_of(target_states, ELEMENTSOF(target_states), (n)->targets, state)

/* The worst that there is, as text and as exit status. */
static int judge(json_object *manager, const Counts *n, const char **ret_verdict) {
        const char *state = value_string(manager, "state");

        if (LUNS(n, "failed") > 0 || TARGETS(n, "failed") > 0) {
                *ret_verdict = "failed";
                return EXIT_FAILED;
        }
        if (streq(state, "degraded") || LUNS(n, "degraded") > 0 || n->unknown) {
                *ret_verdict = "degraded";
                return EXIT_DEGRADED;
        }
        if (streq(state, "starting")) {
                *ret_verdict = "starting";
                return EXIT_STARTING;
        }
        if (LUNS(n, "online") < n->n_luns || TARGETS(n, "incomplete") > 0 || TARGETS(n, "removing") > 0) {
                *ret_verdict = "incomplete";
                return EXIT_INCOMPLETE;
        }

        *ret_verdict = "ok";
        return EXIT_SUCCESS;
}

static int counts_to_json(const char *const *names, size_t n_names, const uint64_t *counts, uint64_t total, json_object **ret) {
        _cleanup_json_ json_object *v = json_object_new_object();
        json_object *n;
        int r;

        if (!v)
                return -ENOMEM;

        for (size_t i = 0; i <= n_names; i++) {
                n = json_object_new_uint64(i < n_names ? counts[i] : total);
                if (!n)
                        return -ENOMEM;
                r = value_set(v, i < n_names ? names[i] : "total", n);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(v);
        return 0;
}

static int status_print_json(json_object *manager, const Counts *n, const char *verdict, JsonMode mode) {
        json_object *v;
        int r;

        json_object_object_del(manager, "path");
        r = counts_to_json(target_states, ELEMENTSOF(target_states), n->targets, n->n_targets, &v);
        if (r >= 0)
                r = value_set(manager, "targets", v);
        if (r >= 0)
                r = counts_to_json(lun_states, ELEMENTSOF(lun_states), n->luns, n->n_luns, &v);
        if (r >= 0)
                r = value_set(manager, "luns", v);
        if (r >= 0)
                r = value_set_string(manager, "verdict", verdict);
        if (r < 0)
                return r;

        return print_json(manager, mode);
}

static void print_counts(const char *title, const char *const *names, size_t n_names, const uint64_t *counts, uint64_t total) {
        const char *separator = ": ";

        printf("%11s: %" PRIu64, title, total);
        for (size_t i = 0; i < n_names; i++)
                if (counts[i] > 0) {
                        printf("%s%" PRIu64 " ", separator, counts[i]);
                        print_colored(print_state_color(names[i]), names[i]);
                        separator = ", ";
                }
        putchar('\n');
}

static void print_problems(json_object *manager) {
        json_object *problems = value_array(manager, "problems");

        for (size_t i = 0; i < value_length(problems); i++) {
                json_object *p = json_object_array_get_idx(problems, i);

                printf("%11s: ", "Problem");
                print_colored(COLOR_RED, strempty(json_object_get_string(json_object_array_get_idx(p, 0))));
                fputs(": ", stdout);
                print_colored(COLOR_NONE, strempty(json_object_get_string(json_object_array_get_idx(p, 1))));
                putchar('\n');
        }
}

static void status_print(json_object *manager, const Counts *n, const char *verdict) {
        const char *state = value_string(manager, "state");
        json_object *fabric = NULL;

        printf("%11s: ", "vhscsid");
        print_colored(COLOR_BOLD, value_string(manager, "version"));
        fputs(", ", stdout);
        print_colored(print_state_color(state), state);
        putchar('\n');

        (void) json_object_object_get_ex(manager, "fabric", &fabric);
        printf("%11s: ", "Fabric");
        print_colored(COLOR_NONE, isempty(value_string(fabric, "module")) ? "-" : value_string(fabric, "module"));
        if (*value_string(fabric, "version")) {
                putchar(' ');
                print_colored(COLOR_NONE, value_string(fabric, "version"));
        }
        if (*value_string(fabric, "origin")) {
                fputs(" (", stdout);
                print_colored(COLOR_NONE, value_string(fabric, "origin"));
                putchar(')');
        }
        putchar('\n');

        printf("%11s: %" PRIu64 "\n", "Generation", value_number(manager, "generation"));
        print_counts("Targets", target_states, ELEMENTSOF(target_states), n->targets, n->n_targets);
        print_counts("LUNs", lun_states, ELEMENTSOF(lun_states), n->luns, n->n_luns);

        print_problems(manager);
        printf("%11s: ", "Verdict");
        print_colored(print_state_color(verdict), verdict);
        putchar('\n');
}

int verb_status(Client *c, char **argv _unused_) {
        _cleanup_json_ json_object *manager = NULL, *targets = NULL;
        const char *verdict;
        int status, r;
        Counts n;

        r = view_load_manager(c, &manager);
        if (r != 0)
                return r;
        r = view_load(c, &targets);
        if (r != 0)
                return r;

        counts_take(&n, targets);
        status = judge(manager, &n, &verdict);

        if (c->arguments->json != JSON_OFF) {
                r = status_print_json(manager, &n, verdict, c->arguments->json);
                if (r < 0)
                        return r;
        } else
                status_print(manager, &n, verdict);

        return status;
}
