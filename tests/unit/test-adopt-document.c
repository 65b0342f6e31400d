/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <glib/gstdio.h>

#include "engine-fixture.h"
#include "engine/change.h"
#include "engine/dump.h"
#include "engine/edit.h"
#include "foreign-made.h"
#include "store/document-json.h"

/* What somebody else made, taken over by a document, and given back on the way to what was before. */

#define DOCUMENT(target, luns) "{\"format\":\"vhscsid\",\"version\":1,\"targets\":[{\"wwn\":\"" WWN "\"," target "\"luns\":[" luns "]}]}"
#define LUN(n, source, more) "{\"number\":" #n ",\"source\":\"" source "\"" more "}"
#define BOTH LUN(0, "wwid=36001", "") "," LUN(7, "wwid=36002", "")

static Lun *lun(Fixture *f, uint32_t number) {
        return target_lun(registry_target(&f->engine.registry, WWN), number);
}

/* "target adopt, 0 adopt, …", or "!" and the refusal's kind in front if it was refused. */
static char *change_to(Fixture *f, const Document *d, const ChangeOptions *o) {
        _cleanup_(change_list_done) ChangeList l = {};
        _cleanup_(refusal_done) Refusal q = {};
        GString *s = g_string_new(NULL);
        int r;

        if (change_list_must_look(&f->engine, d, o))
                fixture_run(f);
        g_assert_cmpint(change_list_make(&f->engine, d, o, &l, &q), ==, 0);
        r = change_list_perform(&f->engine, &l, o, &q);
        if (r < 0)
                g_string_append_printf(s, "! %s: ", refusal_short_name(q.kind));
        for (size_t i = 0; i < l.n; i++) {
                g_string_append(s, i > 0 ? ", " : "");
                if (l.changes[i].number < 0)
                        g_string_append(s, "target");
                else
                        g_string_append_printf(s, "%d", (int) l.changes[i].number);
                g_string_append_printf(s, " %s", change_action_to_string(l.changes[i].action));
        }
        fixture_run(f);
        return g_string_free(s, FALSE);
}

static char *apply(Fixture *f, const char *text) {
        _cleanup_(document_done) Document d = {};
        _cleanup_free_ char *why = NULL;
        const ChangeOptions o = {};

        g_assert_cmpint(document_json_parse(text, strlen(text), &d, &why), ==, 0);
        return change_to(f, &d, &o);
}

static void assert_apply(Fixture *f, const char *text, const char *expected) {
        g_autofree char *got = apply(f, text);

        g_assert_cmpstr(got, ==, expected);
}

static void begin_foreign(Fixture *f) {
        fixture_init(f);
        fixture_add_device(f, 1, 11);
        fixture_add_device(f, 2, 12);
        make_all(f, 4, 2);
        f->engine.survey_wanted = true;
        fixture_run(f);
        g_assert_true(registry_target(&f->engine.registry, WWN)->foreign);
}

/* Another disk, or one that guests know otherwise, is refused at once, and nothing is taken over. */
static void test_document_differs(void) {
        static const struct {
                const char *text, *expected;
        } cases[] = {
                { DOCUMENT("", LUN(0, "wwid=36002", "") "," LUN(7, "wwid=36001", "")), "! LunConflict: target adopt, 0 refuse, 7 refuse" },
                { DOCUMENT("", LUN(0, "wwid=36001", ",\"readonly\":true") "," LUN(7, "wwid=36002", "")), "! LunConflict: target adopt, 0 refuse, 7 adopt" },
                { DOCUMENT("", LUN(0, "wwid=36001", ",\"name\":\"disk3\"")), "! LunConflict: target adopt, 0 refuse, 7 adopt" },
                { DOCUMENT("", LUN(0, "wwid=36001", ",\"serial\":\"serial-2\"")), "! LunConflict: target adopt, 0 refuse, 7 adopt" },
                { DOCUMENT("", LUN(0, "wwid=36001", ",\"attributes\":{\"emulate_tpu\":1}")), "! LunConflict: target adopt, 0 refuse, 7 adopt" },
                { DOCUMENT("\"nexus\":\"naa.5001405f000000fe\",", BOTH), "! AlreadyExists: target refuse" },
                { DOCUMENT("", BOTH "," LUN(8, "wwid=36002", "")), "! AlreadyExists: target adopt, 0 adopt, 7 adopt, 8 refuse" },
        };
        Fixture f = {};

        begin_foreign(&f);
        for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
                g_autofree char *before = fixture_store_snapshot(&f), *after = NULL;

                assert_apply(&f, cases[i].text, cases[i].expected);
                g_assert_true(registry_target(&f.engine.registry, WWN)->foreign);
                after = fixture_store_snapshot(&f);
                g_assert_cmpstr(before, ==, after);
        }
        fixture_done(&f);
}

/* It is as the document says then, label and all, in one write: a second time there is nothing to do. */
static void test_document(void) {
        static const char *const text = DOCUMENT("\"label\":\"web\",\"nexus\":\"" NEXUS "\",",
                                                 LUN(0, "wwid=36001", ",\"name\":\"disk1\",\"serial\":\"serial-1\"") "," LUN(9, "wwid=36003", ""));
        Fixture f = {};

        begin_foreign(&f);
        fixture_add_device(&f, 3, 13);
        assert_apply(&f, text, "target adopt, 0 adopt, 9 create, 7 adopt");
        g_assert_cmpstr(registry_target(&f.engine.registry, WWN)->label, ==, "web");
        g_assert_cmpint(lun(&f, 0)->origin, ==, LUN_ADOPTED);
        g_assert_true(lun(&f, 0)->linked && lun(&f, 7)->linked && lun(&f, 9)->linked);
        g_assert_cmpuint(lun(&f, 0)->backstore->hba, ==, 4);

        fake_journal_clear();
        assert_apply(&f, text, "target keep, 0 keep, 9 keep, 7 keep");
        g_assert_cmpuint(fake_count(FAKE_MUTATING), ==, 0);
        fixture_done(&f);
}

/* Not stored: neither taken over, nor anything added to it. It is there as it was, without another look. */
static void test_document_store_fails(void) {
        g_autofree char *directory = NULL, *before = NULL, *after = NULL;
        const Target *t;
        Fixture f = {};

        begin_foreign(&f);
        fixture_add_device(&f, 3, 13);
        before = fake_snapshot(FAKE_SNAPSHOT_IDS);
        directory = g_build_filename(f.state_dir, "targets", NULL);
        g_assert_cmpint(rmdir(directory), ==, 0);
        t = registry_target(&f.engine.registry, WWN);
        assert_apply(&f, DOCUMENT("\"label\":\"web\",", BOTH "," LUN(9, "wwid=36003", "")), "target refuse, 0 refuse, 7 refuse, 9 refuse");
        g_assert_true(registry_target(&f.engine.registry, WWN) == t && t->foreign);
        g_assert_cmpuint(t->n_luns, ==, 2);
        after = fake_snapshot(FAKE_SNAPSHOT_IDS);
        g_assert_cmpstr(before, ==, after);

        g_assert_cmpint(g_mkdir(directory, 0700), ==, 0);
        fixture_restart(&f);
        f.engine.survey_wanted = true;
        fixture_run(&f);
        assert_apply(&f, DOCUMENT("", BOTH), "target adopt, 0 adopt, 7 adopt");
        g_assert_true(lun(&f, 0)->linked && lun(&f, 7)->linked);
        fixture_done(&f);
}

/* ---- and back ---- */

static char *rollback(Fixture *f, uint64_t generation) {
        const ChangeOptions o = { .prune = true, .release = true, .reason = "rollback" };
        const DumpOptions everything = { .empty_labels = true };
        _cleanup_(document_done) Document d = {};
        _cleanup_(refusal_done) Refusal q = {};

        g_assert_cmpint(dump_past(&f->engine, generation, NULL, &everything, &d, &q), ==, 0);
        return change_to(f, &d, &o);
}

static void assert_rollback(Fixture *f, uint64_t generation, const char *expected) {
        g_autofree char *got = rollback(f, generation);

        g_assert_cmpstr(got, ==, expected);
}

/* Before it was taken over it was there, with a guest on it: it is again, and nobody notices. The way back from there takes it over again. */
static void test_release(void) {
        g_autofree char *before = NULL, *after = NULL, *again = NULL;
        uint64_t then, adopted;
        Fixture f = {};

        begin_foreign(&f);
        g_assert_cmpint(fake_attach(TPG), ==, 0);
        before = fake_snapshot(FAKE_SNAPSHOT_IDS);
        then = f.engine.registry.generation;
        assert_apply(&f, DOCUMENT("\"label\":\"web\",", BOTH), "target adopt, 0 adopt, 7 adopt");
        adopted = f.engine.registry.generation;

        /* Who made it is stored. */
        fixture_restart(&f);
        fixture_run(&f);
        assert_rollback(&f, then, "target release");
        g_assert_true(registry_target(&f.engine.registry, WWN)->foreign);
        after = fake_snapshot(FAKE_SNAPSHOT_IDS);
        g_assert_cmpstr(before, ==, after);

        assert_rollback(&f, adopted, "target adopt, 0 adopt, 7 adopt");
        g_assert_cmpstr(registry_target(&f.engine.registry, WWN)->label, ==, "web");
        g_assert_true(lun(&f, 0)->linked && lun(&f, 7)->linked);
        again = fake_snapshot(FAKE_SNAPSHOT_IDS);
        g_assert_cmpstr(before, ==, again);
        fixture_done(&f);
}

/* With a LUN of ours on it nobody could have it back. One that was made here goes, as it came. */
static void test_release_refused(void) {
        const EditOptions o = { .timeout = UINT64_MAX };
        _cleanup_(refusal_done) Refusal q = {};
        uint64_t then;
        Fixture f = {};

        begin_foreign(&f);
        fixture_add_device(&f, 3, 13);
        then = f.engine.registry.generation;
        assert_apply(&f, DOCUMENT("", BOTH "," LUN(9, "wwid=36003", "")), "target adopt, 0 adopt, 7 adopt, 9 create");
        (void) fixture_create(&f, "naa.5001405f00000002");
        fixture_run(&f);
        assert_rollback(&f, then, "! LunConflict: target refuse, target remove");
        g_assert_true(lun(&f, 0)->linked && lun(&f, 9)->linked);

        g_assert_cmpint(edit_remove_lun(&f.engine, lun(&f, 9), &o, &q), ==, 0);
        fixture_run(&f);
        assert_rollback(&f, then, "target release, target remove");
        g_assert_true(registry_target(&f.engine.registry, WWN)->foreign);
        g_assert_null(registry_target(&f.engine.registry, "naa.5001405f00000002"));
        fixture_done(&f);
}

/* What is pruned goes, whoever made it: that is what was said. */
static void test_prune(void) {
        const ChangeOptions o = { .prune = true };
        _cleanup_(document_done) Document d = {};
        g_autofree char *got = NULL;
        Fixture f = {};

        begin_foreign(&f);
        assert_apply(&f, DOCUMENT("", BOTH), "target adopt, 0 adopt, 7 adopt");
        got = change_to(&f, &d, &o);
        g_assert_cmpstr(got, ==, "target remove");
        g_assert_cmpint(cfs_exists(f.engine.cfs, "vhost/" WWN), ==, 0);
        fixture_done(&f);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/adopt-document/differs", test_document_differs);
        g_test_add_func("/adopt-document/document", test_document);
        g_test_add_func("/adopt-document/store-fails", test_document_store_fails);
        g_test_add_func("/adopt-document/release", test_release);
        g_test_add_func("/adopt-document/release-refused", test_release_refused);
        g_test_add_func("/adopt-document/prune", test_prune);
        return g_test_run();
}
