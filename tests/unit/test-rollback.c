/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <inttypes.h>

#include "engine-fixture.h"
#include "engine/change.h"
#include "engine/dump.h"
#include "engine/edit.h"
#include "engine/record.h"
#include "engine/undo.h"
#include "store/document-json.h"

/* The whole engine's history: what it says of a generation is what ExportConfig() said then, and the way back leads there. */

#define A "naa.5001405a00000001"
#define B "naa.5001405a00000002"
#define CHANGES 300U
#define DISKS 6U

static char *text_of(Document *d) {
        g_autofree char *text = NULL;
        size_t size;

        g_assert_cmpint(document_json_format(d, &text, &size), ==, 0);
        document_done(d);
        return g_strndup(text, size);
}

static char *text_now(Fixture *f) {
        _cleanup_(refusal_done) Refusal q = {};
        const DumpOptions o = {};
        Document d = {};

        g_assert_cmpint(dump_document(&f->engine, &o, &d, &q), ==, 0);
        return text_of(&d);
}

static char *text_at(Fixture *f, uint64_t generation) {
        _cleanup_(refusal_done) Refusal q = {};
        const DumpOptions o = {};
        Document d = {};
        int r;

        r = dump_past(&f->engine, generation, NULL, &o, &d, &q);
        g_assert_cmpstr(q.text, ==, NULL);
        g_assert_cmpint(r, ==, 0);
        return text_of(&d);
}

static RefusalKind refused_at(Fixture *f, uint64_t generation, const char *wwn) {
        _cleanup_(refusal_done) Refusal q = {};
        const DumpOptions o = {};
        Document d = {};

        g_assert_cmpint(dump_past(&f->engine, generation, wwn, &o, &d, &q), ==, REFUSED);
        return q.kind;
}

static unsigned count_entries(const Fixture *f) {
        const List *entries = history_entries(f->engine.history);
        unsigned n = 0;

        for (const List *i = entries->next; i != entries; i = i->next)
                n++;
        return n;
}

static const char *newest_reason(const Fixture *f) {
        return list_entry(history_entries(f->engine.history)->prev, HistoryEntry, link)->reason;
}

/* As the bus does it. */
static int rollback(Fixture *f, uint64_t generation, bool partly, Refusal *q) {
        const ChangeOptions o = { .prune = true, .partly = partly, .reason = "rollback" };
        const DumpOptions everything = { .empty_labels = true };
        _cleanup_(change_list_done) ChangeList l = {};
        _cleanup_(document_done) Document d = {};
        int r;

        g_assert_cmpint(dump_past(&f->engine, generation, NULL, &everything, &d, q), ==, 0);
        if (change_list_must_look(&f->engine, &d, &o))
                fixture_run(f);
        r = change_list_make(&f->engine, &d, &o, &l, q);
        if (r >= 0)
                r = change_list_perform(&f->engine, &l, &o, q);
        fixture_run(f);
        return r;
}

static void begin(Fixture *f) {
        fixture_init(f);
        for (unsigned n = 1; n <= DISKS; n++)
                fixture_add_device(f, n, 10 + n);
}

/* ---- any changes ---- */

static Target *random_target(Fixture *f, unsigned n, char wwn[static WWN_SIZE]) {
        (void) snprintf(wwn, WWN_SIZE, "naa.5001405c%08x", n);
        return registry_target(&f->engine.registry, wwn);
}

static void random_change(Fixture *f, unsigned i) {
        const EditOptions force = { .timeout = UINT64_MAX, .force = true };
        LunOptions lo = { .common.timeout = UINT64_MAX, .shareable = true };
        CreateOptions co = { .common.timeout = UINT64_MAX };
        _cleanup_(refusal_done) Refusal q = {};
        g_autofree char *text = NULL;
        char wwn[WWN_SIZE], ret[WWN_SIZE];
        Target *t = random_target(f, (unsigned) g_test_rand_int_range(0, 4), wwn);
        uint32_t number;
        bool existing;
        int r;

        if (!t) {
                co.label = i % 2 ? "made" : NULL;
                r = edit_create_target(&f->engine, wwn, &co, &t, &existing, ret, &q);
                g_assert_cmpint(r, ==, 0);
                return;
        }

        switch (g_test_rand_int_range(0, 8)) {
        case 0:
                g_assert_cmpint(edit_destroy_target(&f->engine, t, &force, &q), ==, 0);
                break;
        case 1:
                text = g_strdup_printf("label %u", i);
                g_assert_cmpint(edit_set_label(&f->engine, t, i % 3 ? text : "", &force, &q), ==, 0);
                break;
        case 2:
        case 3:
                if (t->n_luns > 0)
                        g_assert_cmpint(edit_remove_lun(&f->engine, t->luns[i % t->n_luns], &force, &q), ==, 0);
                break;
        default:
                /* One of them is not there yet. A second LUN of this target on the same disk is refused, or not: it is all the same here. */
                text = g_strdup_printf("wwid=3600%d", g_test_rand_int_range(1, DISKS + 2));
                (void) edit_add_lun(&f->engine, t, text, &lo, &number, &q);
        }
}

static void test_random(void) {
        char *texts[CHANGES] = {};
        uint64_t generations[CHANGES];
        unsigned checked = 0;
        Fixture f = {};

        begin(&f);
        for (unsigned i = 0; i < CHANGES; i++) {
                random_change(&f, i);
                fixture_run(&f);
                if (i % 50 == 49)
                        fixture_restart(&f);
                fixture_run(&f);
                generations[i] = f.engine.registry.generation;
                texts[i] = text_now(&f);

                for (unsigned k = i > 80 ? i - 80 : 0; i % 10 == 9 && k <= i; k++) {
                        const List *entries = history_entries(f.engine.history);
                        g_autofree char *then = NULL;

                        if (generations[k] + 1 < list_entry(entries->next, HistoryEntry, link)->generation) {
                                g_assert_cmpint(refused_at(&f, generations[k], NULL), ==, REFUSAL_NOT_FOUND);
                                continue;
                        }

                        then = text_at(&f, generations[k]);
                        g_assert_cmpstr(then, ==, texts[k]);
                        checked++;
                }
        }
        g_assert_cmpuint(checked, >, CHANGES);
        g_assert_cmpuint(count_entries(&f), ==, HISTORY_MAX);
        g_assert_cmpint(refused_at(&f, f.engine.registry.generation + 1, NULL), ==, REFUSAL_NOT_FOUND);
        g_assert_cmpint(refused_at(&f, 0, NULL), ==, REFUSAL_NOT_FOUND);

        for (unsigned i = 0; i < CHANGES; i++)
                g_free(texts[i]);
        fixture_done(&f);
}

/* ---- back ---- */

static void test_destroyed(void) {
        g_autofree char *before = NULL, *after = NULL, *gone = NULL;
        const EditOptions o = { .timeout = UINT64_MAX };
        _cleanup_(refusal_done) Refusal q = {};
        uint64_t then, now;
        Fixture f = {};
        Target *t;
        Lun *l;

        begin(&f);
        t = fixture_create(&f, A);
        fixture_add_lun(&f, t, "wwid=36001");
        l = fixture_add_lun(&f, t, "wwid=36002");
        fixture_add_lun(&f, t, "wwid=36003");
        fixture_run(&f);
        g_assert_cmpint(edit_remove_lun(&f.engine, target_lun(t, 0), &o, &q), ==, 0);
        fixture_run(&f);
        then = f.engine.registry.generation;
        before = text_now(&f);
        g_assert_nonnull(strstr(before, l->backstore->serial));

        g_assert_cmpint(edit_destroy_target(&f.engine, t, &o, &q), ==, 0);
        fixture_run(&f);
        g_assert_null(registry_target(&f.engine.registry, A));
        g_assert_cmpstr(newest_reason(&f), ==, "destroy " A);
        g_assert_cmpint(refused_at(&f, f.engine.registry.generation, A), ==, REFUSAL_NOT_FOUND);
        fixture_restart(&f);

        g_assert_cmpint(rollback(&f, then, false, &q), ==, 0);
        after = text_now(&f);
        g_assert_cmpstr(after, ==, before);
        t = registry_target(&f.engine.registry, A);
        g_assert_true(target_lun(t, 1)->linked && target_lun(t, 2)->linked);
        g_assert_cmpstr(newest_reason(&f), ==, "rollback");

        /* And that again. */
        now = f.engine.registry.generation;
        g_assert_cmpint(rollback(&f, history_newest(f.engine.history) - 1, false, &q), ==, 0);
        g_assert_null(registry_target(&f.engine.registry, A));
        g_assert_cmpuint(f.engine.registry.generation, >, now);
        gone = text_now(&f);
        g_assert_null(strstr(gone, A));
        fixture_done(&f);
}

static void test_label(void) {
        const EditOptions o = { .timeout = UINT64_MAX };
        _cleanup_(refusal_done) Refusal q = {};
        uint64_t then;
        Fixture f = {};
        Target *t;

        begin(&f);
        t = fixture_create(&f, A);
        then = f.engine.registry.generation;
        g_assert_cmpint(edit_set_label(&f.engine, t, "web", &o, &q), ==, 0);
        fixture_run(&f);
        g_assert_cmpint(rollback(&f, then, false, &q), ==, 0);
        g_assert_cmpstr(t->label, ==, "");
        fixture_done(&f);
}

/* Two targets on one disk, of which the one's file knows the disk's size and the other's does not. */
static void test_shared(void) {
        LunOptions lo = { .common.timeout = UINT64_MAX, .shareable = true };
        const EditOptions o = { .timeout = UINT64_MAX };
        g_autofree char *before = NULL, *after = NULL;
        _cleanup_(refusal_done) Refusal q = {};
        uint32_t number;
        uint64_t then;
        Fixture f = {};
        Target *a, *b;

        begin(&f);
        a = fixture_create(&f, A);
        b = fixture_create(&f, B);
        g_assert_cmpint(edit_add_lun(&f.engine, a, "wwid=36009", &lo, &number, &q), ==, 0);
        g_assert_cmpint(edit_add_lun(&f.engine, b, "wwid=36009", &lo, &number, &q), ==, 0);
        fixture_run(&f);
        then = f.engine.registry.generation;
        g_assert_cmpint(edit_destroy_target(&f.engine, a, &o, &q), ==, 0);
        fixture_run(&f);
        fixture_add_device(&f, 9, 19);
        fixture_run(&f);
        g_assert_cmpuint(b->luns[0]->backstore->size, >, 0);
        before = text_at(&f, then);
        g_assert_cmpint(edit_destroy_target(&f.engine, b, &o, &q), ==, 0);
        fixture_run(&f);

        after = text_at(&f, then);
        g_assert_cmpstr(after, ==, before);
        g_assert_nonnull(strstr(after, "\"shareable\": true"));
        g_assert_cmpint(rollback(&f, then, false, &q), ==, 0);
        a = registry_target(&f.engine.registry, A);
        b = registry_target(&f.engine.registry, B);
        g_assert_true(a->luns[0]->linked && b->luns[0]->linked);
        g_assert_true(a->luns[0]->backstore == b->luns[0]->backstore);
        fixture_done(&f);
}

/* What Apply() refuses is refused, as a whole or in its place. */
static void test_refused(void) {
        LunOptions lo = { .common.timeout = UINT64_MAX, .has_number = true };
        _cleanup_(refusal_done) Refusal q = {}, none = {};
        const EditOptions o = { .timeout = UINT64_MAX };
        g_autofree char *before = NULL, *after = NULL;
        uint32_t number;
        uint64_t then;
        Fixture f = {};
        Target *t;

        begin(&f);
        t = fixture_create(&f, A);
        fixture_add_lun(&f, t, "wwid=36001");
        fixture_run(&f);
        then = f.engine.registry.generation;
        g_assert_cmpint(edit_remove_lun(&f.engine, target_lun(t, 0), &o, &none), ==, 0);
        fixture_run(&f);
        g_assert_cmpint(edit_add_lun(&f.engine, t, "wwid=36002", &lo, &number, &none), ==, 0);
        lo.number = 5;
        g_assert_cmpint(edit_add_lun(&f.engine, t, "wwid=36003", &lo, &number, &none), ==, 0);
        fixture_run(&f);

        before = text_now(&f);
        g_assert_cmpint(rollback(&f, then, false, &q), ==, REFUSED);
        g_assert_cmpint(q.kind, ==, REFUSAL_LUN_CONFLICT);
        after = text_now(&f);
        g_assert_cmpstr(after, ==, before);
        g_assert_cmpint(rollback(&f, then, true, &none), ==, 0);
        g_assert_cmpstr(target_lun(t, 0)->backstore->source, ==, "wwid=36002");
        g_assert_null(target_lun(t, 5));
        fixture_done(&f);
}

/* A document is one change, a target that is made with its LUN as well, and so is what rules wish; what changes nothing is none. */
static void test_one_change(void) {
        static const char text[] = "{\"format\":\"vhscsid\",\"version\":1,\"targets\":["
                                   "{\"wwn\":\"" A "\",\"luns\":[{\"number\":0,\"source\":\"wwid=36001\"}]},"
                                   "{\"wwn\":\"" B "\",\"luns\":[{\"number\":0,\"source\":\"wwid=36002\"}]}]}";
        const ChangeOptions o = {};
        _cleanup_(refusal_done) Refusal q = {};
        Fixture f = {};

        begin(&f);
        for (unsigned i = 0; i < 2; i++) {
                _cleanup_(change_list_done) ChangeList l = {};
                _cleanup_(document_done) Document d = {};
                _cleanup_free_ char *why = NULL;

                g_assert_cmpint(document_json_parse(text, strlen(text), &d, &why), ==, 0);
                g_assert_cmpint(change_list_make(&f.engine, &d, &o, &l, &q), ==, 0);
                g_assert_cmpint(change_list_perform(&f.engine, &l, &o, &q), ==, 0);
                fixture_run(&f);
                g_assert_cmpuint(count_entries(&f), ==, 1);
                g_assert_cmpstr(newest_reason(&f), ==, "apply");
                g_assert_cmpuint(strv_length(list_entry(history_entries(f.engine.history)->prev, HistoryEntry, link)->targets), ==, 2);
        }

        record_begin(&f.engine, "export");
        fixture_add_lun(&f, fixture_create(&f, "naa.5001405a00000003"), "wwid=36003");
        record_end(&f.engine);
        g_assert_cmpuint(count_entries(&f), ==, 2);
        g_assert_cmpstr(newest_reason(&f), ==, "export");
        fixture_done(&f);
}

/* The kernel refused it: both steps are there. */
static void test_taken_back(void) {
        Fixture f = {};
        Target *t;

        begin(&f);
        t = fixture_create(&f, A);
        fixture_run(&f);
        g_assert_cmpint(undo_add_lun(&f.engine, fixture_add_lun(&f, t, "wwid=36001")), ==, 0);
        g_assert_cmpstr(newest_reason(&f), ==, "taken back: add-lun " A " as LUN 0");
        g_assert_cmpuint(count_entries(&f), ==, 3);
        fixture_run(&f);
        fixture_done(&f);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/rollback/random", test_random);
        g_test_add_func("/rollback/destroyed", test_destroyed);
        g_test_add_func("/rollback/label", test_label);
        g_test_add_func("/rollback/shared", test_shared);
        g_test_add_func("/rollback/refused", test_refused);
        g_test_add_func("/rollback/one-change", test_one_change);
        g_test_add_func("/rollback/taken-back", test_taken_back);
        return g_test_run();
}
