/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <json-c/json.h>

#include "base/strv.h"
#include "crash-check.h"
#include "fake-cfs.h"

typedef struct json_object Json;

DEFINE_CLEANUP(Json *, json_object_put);

/* ---- documents ---- */

/* WWN -> text. */
static GHashTable *read_targets(const char *document) {
        GHashTable *targets = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        _cleanup_(json_object_putp) Json *o = document ? json_tokener_parse(document) : NULL;
        Json *array, *luns, *wwn;

        if (!document)
                return targets;

        g_assert_true(json_object_object_get_ex(o, "targets", &array));
        for (size_t i = 0; i < json_object_array_length(array); i++) {
                Json *t = json_object_array_get_idx(array, i);

                g_assert_true(json_object_object_get_ex(t, "wwn", &wwn));
                for (size_t k = 0; json_object_object_get_ex(t, "luns", &luns) && k < json_object_array_length(luns); k++) {
                        json_object_object_del(json_object_array_get_idx(luns, k), "size");
                        json_object_object_del(json_object_array_get_idx(luns, k), "identity");
                }
                g_hash_table_insert(targets, g_strdup(json_object_get_string(wwn)), g_strdup(json_object_to_json_string(t)));
        }

        return targets;
}

Verdict check_document(const char *document, const char *before, const char *after, char **ret_what) {
        static const char *const wwns[] = { WWN_A, WWN_B, WWN_C, WWN_ADOPTED };
        g_autoptr(GHashTable) is = read_targets(document), was = read_targets(before), will = read_targets(after);
        size_t known = 0;

        for (size_t i = 0; i < G_N_ELEMENTS(wwns); i++) {
                const char *now = g_hash_table_lookup(is, wwns[i]), *then = g_hash_table_lookup(was, wwns[i]);
                const char *later = g_hash_table_lookup(will, wwns[i]);

                known += now != NULL;
                if (streq_ptr(now, then) || (after && streq_ptr(now, later)))
                        continue;

                *ret_what = g_strdup_printf("%s is\n  %s\nbut was\n  %s\nand should become\n  %s", wwns[i], strempty(now), strempty(then),
                                            after ? strempty(later) : "nothing else");
                /* Nobody was about to change it. */
                return then && (!after || streq_ptr(then, later)) ? VERDICT_LOST : VERDICT_WRONG;
        }

        if (known == g_hash_table_size(is))
                return VERDICT_RIGHT;

        *ret_what = g_strdup_printf("There is a target that nobody asked for: %s", document);
        return VERDICT_WRONG;
}

/* ---- the host ---- */

/* In no order: directories are in that of their making. */
static char *kernel_shape(void) {
        _cleanup_free_ char *all = fake_snapshot(FAKE_SNAPSHOT_STATE);
        g_auto(GStrv) lines = g_strsplit(all, "\n", -1);

        strv_sort(lines);
        return g_strjoinv("\n", lines);
}

static char *first_difference(const char *a, const char *b) {
        g_auto(GStrv) x = g_strsplit(a, "\n", -1), y = g_strsplit(b, "\n", -1);
        size_t i = 0;

        while (x[i] && y[i] && streq(x[i], y[i]))
                i++;

        return g_strdup_printf("\"%s\" and \"%s\"", strempty(x[i]), strempty(y[i]));
}

static char *find_stray(const char *dir, const GHashTable *targets) {
        g_autoptr(GDir) d = g_dir_open(dir, 0, NULL);
        const char *name;

        g_assert_nonnull(d);
        while ((name = g_dir_read_name(d))) {
                g_autofree char *wwn = g_str_has_suffix(name, ".json") ? g_strndup(name, strlen(name) - strlen(".json")) : NULL;

                if (targets ? !wwn || !g_hash_table_contains((GHashTable *) targets, wwn) :
                              name[0] == '.' || g_str_has_suffix(name, ".bad"))
                        return g_strdup_printf("%s/%s is left", dir, name);
        }

        return NULL;
}

static char *find_stray_file(const char *state_dir, const char *document) {
        g_autofree char *targets = g_build_filename(state_dir, "targets", NULL), *history = g_build_filename(state_dir, "history", NULL);
        g_autoptr(GHashTable) wanted = read_targets(document);
        char *stray;

        stray = find_stray(state_dir, NULL);
        if (!stray)
                stray = find_stray(targets, wanted);
        if (!stray && g_file_test(history, G_FILE_TEST_IS_DIR))
                stray = find_stray(history, NULL);
        return stray;
}

/* A daemon's whole life: it is started, mends what there is to be mended, and is killed. */
static char *live(const Host *h, const char *state_dir) {
        CrashDaemon d = {};
        char *document;

        daemon_spawn(&d, h, state_dir);
        document = daemon_dump(&d);
        daemon_reap(&d);
        return document;
}

Verdict check_recovery(const Host *h, const char *state_dir, const char *theirs, char **ret_document, char **ret_what) {
        g_autofree char *document = NULL, *again = NULL, *anew = NULL, *after = NULL, *shape = NULL, *fresh = NULL, *difference = NULL;
        unsigned calls;

        document = live(h, state_dir);
        if (!document) {
                *ret_what = g_strdup("The service does not start again");
                return VERDICT_WRONG;
        }

        after = host_theirs(h);
        if (!streq(theirs, after)) {
                difference = first_difference(theirs, after);
                *ret_what = g_strdup_printf("What is somebody else's was touched: %s", difference);
                return VERDICT_FOREIGN;
        }

        *ret_what = find_stray_file(state_dir, document);
        if (*ret_what)
                return VERDICT_WRONG;

        fake_journal_clear();
        again = live(h, state_dir);
        calls = fake_count(FAKE_MUTATING);
        if (!streq_ptr(document, again) || calls > 0) {
                *ret_what = g_strdup_printf("The next start changes something: %u calls", calls);
                return VERDICT_WRONG;
        }

        /* What was taken over is as somebody else made it, which a fresh kernel would not have. */
        if (!h->adoptable) {
                shape = kernel_shape();
                host_make(h);
                anew = live(h, state_dir);
                fresh = kernel_shape();
                if (!streq_ptr(document, anew) || !streq(shape, fresh)) {
                        difference = first_difference(shape, fresh);
                        *ret_what = g_strdup_printf("The kernel is not as wanted: %s", difference);
                        return VERDICT_WRONG;
                }
        }

        *ret_document = TAKE_PTR(document);
        return VERDICT_RIGHT;
}
