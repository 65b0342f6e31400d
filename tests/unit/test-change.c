/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <glib/gstdio.h>
#include <sys/sysmacros.h>

#include "engine-fixture.h"
#include "engine/change.h"
#include "engine/dump.h"
#include "engine/edit.h"
#include "engine/hotplug.h"
#include "engine/owners.h"
#include "kernel/mounts.h"
#include "store/document-json.h"

/* Documents: what they change, and what they leave as it is. */

#define A "naa.5001405a00000001"
#define B "naa.5001405a00000002"
#define HEAD "{\"format\":\"vhscsid\",\"version\":1,\"targets\":["
#define TAIL "]}"
#define LUN(n, source) "{\"number\":" #n ",\"source\":\"" source "\"}"
#define TARGET(wwn, luns) "{\"wwn\":\"" wwn "\",\"luns\":[" luns "]}"

static unsigned failing;        /* which fsync() fails, counted down; 0: none */

/* Instead of the fixture's. */
int fsync(int fd) {
        if (failing == 0 || --failing > 0)
                return 0;

        errno = EIO;
        return -1;
}

static unsigned looks;

int __real_mounts_new(Mounts **ret);
int __wrap_mounts_new(Mounts **ret);

int __wrap_mounts_new(Mounts **ret) {
        looks++;
        return __real_mounts_new(ret);
}

static Document document(const char *text) {
        _cleanup_free_ char *why = NULL;
        Document d;
        int r;

        r = document_json_parse(text, strlen(text), &d, &why);
        g_assert_cmpstr(why, ==, NULL);
        g_assert_cmpint(r, ==, 0);
        return d;
}

/* "A create, A/0 create, …" */
static char *words(const ChangeList *l) {
        GString *s = g_string_new(NULL);

        for (size_t i = 0; i < l->n; i++) {
                const Change *c = l->changes + i;

                g_string_append_printf(s, "%s%s", i > 0 ? ", " : "", streq(c->wwn, A) ? "A" : streq(c->wwn, B) ? "B" : c->wwn);
                if (c->number >= 0)
                        g_string_append_printf(s, "/%d", (int) c->number);
                g_string_append_printf(s, " %s", change_action_to_string(c->action));
        }

        return g_string_free(s, FALSE);
}

static void look(Fixture *f, const Document *d, const ChangeOptions *o) {
        if (change_list_must_look(&f->engine, d, o))
                fixture_run(f);
}

static void assert_plan(Fixture *f, const char *text, ChangeOptions o, const char *expected) {
        g_autofree char *before = fake_snapshot(FAKE_SNAPSHOT_IDS), *stored = fixture_store_snapshot(f), *got = NULL, *after = NULL, *then = NULL;
        _cleanup_(change_list_done) ChangeList l = {};
        _cleanup_(document_done) Document d = document(text);
        _cleanup_(refusal_done) Refusal q = {};

        look(f, &d, &o);
        g_assert_cmpint(change_list_make(&f->engine, &d, &o, &l, &q), ==, 0);
        got = words(&l);
        g_assert_cmpstr(got, ==, expected);

        fixture_run(f);
        after = fake_snapshot(FAKE_SNAPSHOT_IDS);
        then = fixture_store_snapshot(f);
        g_assert_cmpstr(before, ==, after);
        g_assert_cmpstr(stored, ==, then);
}

static int apply(Fixture *f, const char *text, ChangeOptions o, char **ret_words, Refusal *q) {
        _cleanup_(change_list_done) ChangeList l = {};
        _cleanup_(document_done) Document d = document(text);
        int r;

        look(f, &d, &o);
        r = change_list_make(&f->engine, &d, &o, &l, q);
        if (r >= 0)
                r = change_list_perform(&f->engine, &l, &o, q);
        *ret_words = words(&l);
        fixture_run(f);
        return r;
}

static void assert_apply(Fixture *f, const char *text, ChangeOptions o, const char *expected) {
        _cleanup_(refusal_done) Refusal q = {};
        g_autofree char *got = NULL;

        g_assert_cmpint(apply(f, text, o, &got, &q), ==, 0);
        g_assert_cmpstr(got, ==, expected);
}

static void assert_refused(Fixture *f, const char *text, ChangeOptions o, RefusalKind kind) {
        g_autofree char *before = fake_snapshot(FAKE_SNAPSHOT_IDS), *stored = fixture_store_snapshot(f), *got = NULL, *after = NULL, *then = NULL;
        _cleanup_(refusal_done) Refusal q = {};

        g_assert_cmpint(apply(f, text, o, &got, &q), ==, REFUSED);
        g_assert_cmpint(q.kind, ==, kind);
        g_assert_nonnull(q.text);
        after = fake_snapshot(FAKE_SNAPSHOT_IDS);
        then = fixture_store_snapshot(f);
        g_assert_cmpstr(before, ==, after);
        g_assert_cmpstr(stored, ==, then);
}

static void begin(Fixture *f) {
        fixture_init(f);
        for (unsigned n = 1; n <= 4; n++)
                fixture_add_device(f, n, 10 + n);
}

static Lun *lun(Fixture *f, const char *wwn, uint32_t number) {
        Target *t = registry_target(&f->engine.registry, wwn);

        return t ? target_lun(t, number) : NULL;
}

static const char *const two = HEAD TARGET(A, LUN(0, "wwid=36001") "," LUN(7, "wwid=36002")) "," TARGET(B, LUN(1, "wwid=36003")) TAIL;

/* The second time nothing is left to do, in the kernel and in the store. */
static void test_twice(void) {
        g_autofree char *stored = NULL, *then = NULL;
        Fixture f = {};

        begin(&f);
        assert_plan(&f, two, (ChangeOptions) {}, "A create, A/0 create, A/7 create, B create, B/1 create");
        assert_apply(&f, two, (ChangeOptions) {}, "A create, A/0 create, A/7 create, B create, B/1 create");
        g_assert_true(lun(&f, A, 0)->linked && lun(&f, A, 7)->linked && lun(&f, B, 1)->linked);

        fake_journal_clear();
        stored = fixture_store_snapshot(&f);
        assert_apply(&f, two, (ChangeOptions) {}, "A keep, A/0 keep, A/7 keep, B keep, B/1 keep");
        g_assert_cmpuint(fake_count(FAKE_MUTATING), ==, 0);
        then = fixture_store_snapshot(&f);
        g_assert_cmpstr(stored, ==, then);
        fixture_done(&f);
}

static void test_change(void) {
        static const char *const more = HEAD "{\"wwn\":\"" A "\",\"label\":\"web\",\"luns\":[" LUN(0, "wwid=36001") "," LUN(2, "wwid=36004") "]}" TAIL;
        Fixture f = {};

        begin(&f);
        assert_apply(&f, two, (ChangeOptions) {}, "A create, A/0 create, A/7 create, B create, B/1 create");
        assert_apply(&f, more, (ChangeOptions) {}, "A change, A/0 keep, A/2 create, A/7 keep");
        g_assert_cmpstr(registry_target(&f.engine.registry, A)->label, ==, "web");
        g_assert_true(lun(&f, A, 2)->linked);
        g_assert_true(lun(&f, A, 7)->linked);
        g_assert_nonnull(registry_target(&f.engine.registry, B));

        assert_plan(&f, more, (ChangeOptions) { .prune = true }, "A keep, A/0 keep, A/2 keep, A/7 remove, B remove");
        assert_apply(&f, more, (ChangeOptions) { .prune = true }, "A keep, A/0 keep, A/2 keep, A/7 remove, B remove");
        g_assert_null(lun(&f, A, 7));
        g_assert_null(registry_target(&f.engine.registry, B));
        fixture_done(&f);
}

/* A guest uses what would be pruned: nothing is done, of nothing. By force it is. */
static void test_in_use(void) {
        static const char *const less = HEAD TARGET(A, LUN(0, "wwid=36001") "," LUN(3, "wwid=36004")) TAIL;
        Fixture f = {};

        begin(&f);
        assert_apply(&f, two, (ChangeOptions) {}, "A create, A/0 create, A/7 create, B create, B/1 create");
        g_assert_cmpint(fake_attach("vhost/" A "/tpgt_1"), ==, 0);
        assert_plan(&f, less, (ChangeOptions) { .prune = true }, "A keep, A/0 keep, A/3 create, A/7 refuse, B remove");
        assert_refused(&f, less, (ChangeOptions) { .prune = true }, REFUSAL_IN_USE);
        assert_apply(&f, less, (ChangeOptions) { .prune = true, .common.force = true }, "A keep, A/0 keep, A/3 create, A/7 remove, B remove");
        g_assert_null(lun(&f, A, 7));
        fixture_done(&f);
}

/* All or nothing, unless partly. */
static void test_refused(void) {
        static const char *const other = HEAD TARGET(A, LUN(0, "wwid=36003") "," LUN(2, "wwid=36004")) TAIL;
        static const char *const bad = HEAD TARGET(A, LUN(0, "/dev/nothing") "," LUN(1, "wwid=36002")) TAIL;
        static const char *const nexus = HEAD "{\"wwn\":\"" A "\",\"nexus\":\"naa.5001405affffffff\",\"luns\":[]}" TAIL;
        static const char *const serial = HEAD "{\"wwn\":\"" A "\",\"luns\":[{\"number\":0,\"source\":\"wwid=36001\",\"serial\":\"x\"}]}" TAIL;
        Fixture f = {};

        begin(&f);
        assert_refused(&f, bad, (ChangeOptions) {}, REFUSAL_DEVICE_NOT_FOUND);
        assert_apply(&f, bad, (ChangeOptions) { .partly = true }, "A create, A/0 refuse, A/1 create");
        g_assert_true(lun(&f, A, 1)->linked);
        fixture_done(&f);

        f = (Fixture) {};
        begin(&f);
        assert_apply(&f, two, (ChangeOptions) {}, "A create, A/0 create, A/7 create, B create, B/1 create");
        assert_refused(&f, other, (ChangeOptions) {}, REFUSAL_LUN_CONFLICT);
        assert_refused(&f, nexus, (ChangeOptions) {}, REFUSAL_ALREADY_EXISTS);
        assert_refused(&f, serial, (ChangeOptions) {}, REFUSAL_LUN_CONFLICT);
        assert_refused(&f, two, (ChangeOptions) { .common = { .has_generation = true } }, REFUSAL_GENERATION_MISMATCH);
        fixture_done(&f);
}

/* A disk that comes later is no failure, and what was promised of it holds. */
static void test_waiting(void) {
        static const char *const text = HEAD "{\"wwn\":\"" A "\",\"luns\":[{\"number\":0,\"source\":\"wwid=36009\",\"size\":4194304}]}" TAIL;
        Fixture f = {};

        begin(&f);
        assert_apply(&f, text, (ChangeOptions) {}, "A create, A/0 create");
        g_assert_false(lun(&f, A, 0)->linked);
        /* It has 1 MiB. */
        fixture_add_device(&f, 9, 19);
        fixture_run(&f);
        g_assert_false(lun(&f, A, 0)->linked);
        g_assert_cmpstr(lun(&f, A, 0)->error_code, ==, "DeviceUnsafe");
        fixture_done(&f);
}

/* The store is full: what was not stored is not there. */
static void test_store_fails(void) {
        g_autofree char *directory = NULL, *got = NULL, *before = NULL, *after = NULL;
        _cleanup_(refusal_done) Refusal q = {};
        Fixture f = {};

        begin(&f);
        before = fake_snapshot(FAKE_SNAPSHOT_IDS);
        directory = g_build_filename(f.state_dir, "targets", NULL);
        g_assert_cmpint(rmdir(directory), ==, 0);
        g_assert_cmpint(apply(&f, two, (ChangeOptions) {}, &got, &q), ==, 0);
        g_assert_cmpstr(got, ==, "A refuse, A/0 refuse, A/7 refuse, B refuse, B/1 refuse");
        g_assert_null(registry_target(&f.engine.registry, A));
        after = fake_snapshot(FAKE_SNAPSHOT_IDS);
        g_assert_cmpstr(before, ==, after);
        g_assert_cmpint(g_mkdir(directory, 0700), ==, 0);
        fixture_done(&f);
}

static char *dumped(Fixture *f) {
        _cleanup_(document_done) Document d = {};
        _cleanup_(refusal_done) Refusal q = {};
        DumpOptions o = {};
        char *text;
        size_t n;

        g_assert_cmpint(dump_document(&f->engine, &o, &d, &q), ==, 0);
        g_assert_cmpint(document_json_format(&d, &text, &n), ==, 0);
        return text;
}

/* A disk that is written to fails once, anywhere on the way of a change that removes, adds and renames in one target: all of it or nothing, and the
 * file says what the caller was told. */
static void test_all_or_nothing(void) {
        static const char *const before = HEAD TARGET(A, LUN(0, "wwid=36001") "," LUN(1, "wwid=36002") "," LUN(2, "wwid=36003")) TAIL;
        static const char *const after = HEAD "{\"wwn\":\"" A "\",\"label\":\"web\",\"luns\":[" LUN(0, "wwid=36001") "," LUN(5, "wwid=36004") "]}" TAIL;
        bool hit = true;

        for (unsigned n = 1; hit; n++) {
                g_autofree char *got = NULL, *was = NULL, *is = NULL, *read = NULL;
                _cleanup_(refusal_done) Refusal q = {};
                Fixture f = {};

                begin(&f);
                assert_apply(&f, before, (ChangeOptions) {}, "A create, A/0 create, A/1 create, A/2 create");
                was = dumped(&f);

                failing = n;
                g_assert_cmpint(apply(&f, after, (ChangeOptions) { .prune = true }, &got, &q), ==, 0);
                hit = failing == 0;
                failing = 0;

                is = dumped(&f);
                if (streq(got, "A refuse, A/0 keep, A/5 refuse, A/1 refuse, A/2 refuse")) {
                        g_assert_cmpstr(is, ==, was);
                        g_assert_true(lun(&f, A, 1)->linked && lun(&f, A, 2)->linked);
                        g_assert_null(lun(&f, A, 5));
                } else {
                        g_assert_cmpstr(got, ==, "A change, A/0 keep, A/5 create, A/1 remove, A/2 remove");
                        g_assert_nonnull(strstr(is, "\"web\""));
                }

                fixture_restart(&f);
                fixture_run(&f);
                read = dumped(&f);
                g_assert_cmpstr(read, ==, is);
                fixture_done(&f);
        }
}

/* What was removed by hand stays so until it is stored that it is there again. */
static void test_brought_back(void) {
        static const char *const text = HEAD TARGET(A, LUN(5, "wwid=36001")) TAIL;
        const EditOptions o = { .timeout = UINT64_MAX };
        g_autofree char *got = NULL;
        _cleanup_(refusal_done) Refusal q = {};
        Fixture f = {};

        fixture_init(&f);
        fixture_add_wished_device(&f, 1, 11, A);
        fixture_run(&f);
        g_assert_cmpint(edit_destroy_target(&f.engine, registry_target(&f.engine.registry, A), &o, &q), ==, 0);
        fixture_run(&f);
        g_assert_true(removed_contains(f.engine.removed, A) && removed_contains(f.engine.removed, "wwid=36001"));

        failing = 1;
        g_assert_cmpint(apply(&f, text, (ChangeOptions) {}, &got, &q), ==, 0);
        g_assert_cmpstr(got, ==, "A refuse, A/5 refuse");
        g_assert_true(removed_contains(f.engine.removed, A) && removed_contains(f.engine.removed, "wwid=36001"));
        fixture_restart_bare(&f);
        fixture_add_wished_device(&f, 1, 11, A);
        fixture_run(&f);
        g_assert_null(registry_target(&f.engine.registry, A));

        assert_apply(&f, text, (ChangeOptions) {}, "A create, A/5 create");
        g_assert_false(removed_contains(f.engine.removed, A) || removed_contains(f.engine.removed, "wwid=36001"));
        fixture_done(&f);
}

/* What is mounted is asked once for a plan, and once more when it is made. */
static void test_mounts(void) {
        Fixture f = {};

        begin(&f);
        looks = 0;
        assert_apply(&f, two, (ChangeOptions) {}, "A create, A/0 create, A/7 create, B create, B/1 create");
        g_assert_cmpuint(looks, ==, 2);
        assert_apply(&f, two, (ChangeOptions) {}, "A keep, A/0 keep, A/7 keep, B keep, B/1 keep");
        g_assert_cmpuint(looks, ==, 2);
        fixture_done(&f);
}

/* The disk goes by another name as well. */
static void add_spelling(Fixture *f, unsigned n) {
        const Device *known = inventory_by_devnum(f->engine.inventory, makedev(250, n));
        Device *d = device_new();

        g_assert_nonnull(known);
        g_assert_nonnull(d);
        d->devnum = known->devnum;
        d->kind = known->kind;
        d->name = g_strdup(known->name);
        d->node = g_strdup(known->node);
        d->identity = g_strdup(known->identity);
        d->link = g_strdup(known->link);
        for (char **k = known->keys; *k; k++)
                g_assert_cmpint(strv_extend(&d->keys, *k), >=, 0);
        g_assert_cmpint(strv_consume(&d->keys, g_strdup_printf("by-id=scsi-3600%u", n)), >=, 0);
        d->diskseq = known->diskseq;
        d->size = known->size;
        d->block_size = known->block_size;
        d->valid_paths = d->total_paths = -1;
        d->stable = d->initialized = d->ready = true;
        hotplug_on_device(d->devnum, d, &f->engine);
}

#define SHARED(n, source, more) "{\"number\":" #n ",\"source\":\"" source "\",\"shareable\":true" more "}"

/* What two of its LUNs would be refused for is seen before the first of them is made. */
static void test_with_itself(void) {
        static const char *const twice = HEAD TARGET(A, LUN(0, "wwid=36001")) "," TARGET(B, LUN(1, "by-id=scsi-36001")) TAIL;
        static const char *const there = HEAD TARGET(A, LUN(0, "wwid=36001") "," LUN(2, "by-id=scsi-36001")) TAIL;
        static const char *const other = HEAD TARGET(A, SHARED(0, "wwid=36001", "") "," SHARED(2, "by-id=scsi-36001", ",\"readonly\":true")) TAIL;
        static const char *const shared = HEAD TARGET(A, SHARED(0, "wwid=36001", "")) "," TARGET(B, SHARED(1, "by-id=scsi-36001", "")) TAIL;
        static const char *const serials = HEAD TARGET(A, "{\"number\":0,\"source\":\"wwid=36001\",\"serial\":\"ab-12\"},"
                                                          "{\"number\":1,\"source\":\"wwid=36002\",\"serial\":\"ab12\"}") TAIL;
        Fixture f = {};

        begin(&f);
        add_spelling(&f, 1);
        assert_plan(&f, twice, (ChangeOptions) {}, "A create, A/0 create, B create, B/1 refuse");
        assert_refused(&f, twice, (ChangeOptions) {}, REFUSAL_ALREADY_EXISTS);
        assert_refused(&f, there, (ChangeOptions) {}, REFUSAL_ALREADY_EXISTS);
        assert_refused(&f, other, (ChangeOptions) {}, REFUSAL_LUN_CONFLICT);
        assert_refused(&f, serials, (ChangeOptions) {}, REFUSAL_SERIAL_CONFLICT);
        assert_apply(&f, shared, (ChangeOptions) {}, "A create, A/0 create, B create, B/1 create");
        g_assert_true(lun(&f, A, 0)->backstore == lun(&f, B, 1)->backstore);
        assert_apply(&f, shared, (ChangeOptions) {}, "A keep, A/0 keep, B keep, B/1 keep");
        fixture_done(&f);
}

/* A disk that the document moves would have to be gone from where it is: that is said, and how it is done. */
static void test_move(void) {
        static const char *const number = HEAD TARGET(A, LUN(3, "wwid=36001") "," LUN(7, "wwid=36002")) "," TARGET(B, LUN(1, "wwid=36003")) TAIL;
        static const char *const target = HEAD TARGET(A, LUN(0, "wwid=36001")) "," TARGET(B, LUN(1, "wwid=36003") "," LUN(2, "wwid=36002")) TAIL;
        static const char *const first = HEAD TARGET(A, LUN(0, "wwid=36001")) "," TARGET(B, LUN(1, "wwid=36003")) TAIL;
        ChangeOptions prune = { .prune = true };
        g_autofree char *got = NULL;
        _cleanup_(refusal_done) Refusal q = {};
        Fixture f = {};

        begin(&f);
        assert_apply(&f, two, (ChangeOptions) {}, "A create, A/0 create, A/7 create, B create, B/1 create");
        assert_plan(&f, number, prune, "A keep, A/3 refuse, A/7 keep, A/0 remove, B keep, B/1 keep");
        assert_refused(&f, number, prune, REFUSAL_LUN_CONFLICT);
        assert_plan(&f, target, prune, "A keep, A/0 keep, A/7 remove, B keep, B/1 keep, B/2 refuse");
        g_assert_cmpint(apply(&f, target, prune, &got, &q), ==, REFUSED);
        g_assert_nonnull(strstr(q.text, "two steps"));
        assert_apply(&f, first, prune, "A keep, A/0 keep, A/7 remove, B keep, B/1 keep");
        assert_apply(&f, target, prune, "A keep, A/0 keep, B keep, B/1 keep, B/2 create");
        fixture_done(&f);
}

static void assert_note(Fixture *f, const char *text, ChangeOptions o, int number, const char *expected) {
        _cleanup_(change_list_done) ChangeList l = {};
        _cleanup_(document_done) Document d = document(text);
        _cleanup_(refusal_done) Refusal q = {};

        look(f, &d, &o);
        g_assert_cmpint(change_list_make(&f->engine, &d, &o, &l, &q), ==, 0);
        for (size_t i = 0; i < l.n; i++)
                if (l.changes[i].number == number) {
                        g_assert_cmpstr(l.changes[i].note, ==, expected);
                        return;
                }
        g_assert_not_reached();
}

/* By force: whoever notices it is named before it is done. */
static void test_who_notices(void) {
        static const char *const less = HEAD TARGET(A, LUN(0, "wwid=36001")) "," TARGET(B, "") TAIL;
        const ChangeOptions o = { .prune = true, .common = { .force = true, .dry_run = true } };
        const Owner owner = { .wwn = (char *) A, .key = (char *) "key", .kind = (char *) "libvirt", .name = (char *) "web1" };
        g_autofree char *directory = NULL;
        Fixture f = {};

        begin(&f);
        assert_apply(&f, two, (ChangeOptions) {}, "A create, A/0 create, A/7 create, B create, B/1 create");
        assert_note(&f, less, o, 1, NULL);
        g_assert_cmpint(fake_attach("vhost/" A "/tpgt_1"), ==, 0);
        assert_note(&f, less, o, 7, "A guest is attached to target " A " and may use LUN 7, and loses it");

        directory = g_build_filename(f.state_dir, "run", NULL);
        g_assert_cmpint(owners_new(&f.engine, directory, &f.engine.owners), ==, 0);
        g_assert_cmpint(owners_take(&f.engine, &owner, -EBADF), ==, 0);
        assert_note(&f, less, o, 7, "web1 (libvirt) has target " A ", and loses it");
        f.engine.owners = owners_free(f.engine.owners);
        fixture_done(&f);
}

/* What is dumped is what is there, here and on another host. */
static void test_dump(void) {
        g_autofree char *first = NULL, *second = NULL;
        _cleanup_(document_done) Document d = {}, again = {}, paths = {};
        _cleanup_(refusal_done) Refusal q = {};
        DumpOptions o = {};
        size_t n, m;
        Fixture f = {};

        begin(&f);
        assert_apply(&f, two, (ChangeOptions) {}, "A create, A/0 create, A/7 create, B create, B/1 create");
        g_assert_cmpint(dump_document(&f.engine, &o, &d, &q), ==, 0);
        g_assert_cmpint(document_json_format(&d, &first, &n), ==, 0);
        assert_apply(&f, first, (ChangeOptions) { .prune = true }, "A keep, A/0 keep, A/7 keep, B keep, B/1 keep");
        fixture_done(&f);

        f = (Fixture) {};
        begin(&f);
        assert_apply(&f, first, (ChangeOptions) {}, "A create, A/0 create, A/7 create, B create, B/1 create");
        o.portable = true;
        g_assert_cmpint(dump_document(&f.engine, &o, &again, &q), ==, 0);
        g_assert_cmpint(document_json_format(&again, &second, &m), ==, 0);
        g_assert_cmpstr(first, ==, second);

        o = (DumpOptions) { .device_paths = true, .target = registry_target(&f.engine.registry, B) };
        g_assert_cmpint(dump_document(&f.engine, &o, &paths, &q), ==, 0);
        g_assert_cmpuint(paths.n_targets, ==, 1);
        g_assert_cmpstr(paths.targets[0].luns[0].source, ==, "/dev/disk/by-id/scsi-36003");
        fixture_done(&f);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/change/twice", test_twice);
        g_test_add_func("/change/change", test_change);
        g_test_add_func("/change/in-use", test_in_use);
        g_test_add_func("/change/refused", test_refused);
        g_test_add_func("/change/waiting", test_waiting);
        g_test_add_func("/change/store-fails", test_store_fails);
        g_test_add_func("/change/all-or-nothing", test_all_or_nothing);
        g_test_add_func("/change/brought-back", test_brought_back);
        g_test_add_func("/change/mounts", test_mounts);
        g_test_add_func("/change/with-itself", test_with_itself);
        g_test_add_func("/change/move", test_move);
        g_test_add_func("/change/who-notices", test_who_notices);
        g_test_add_func("/change/dump", test_dump);
        return g_test_run();
}
