/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "engine-fixture.h"
#include "engine/edit.h"
#include "engine/hotplug.h"
#include "engine/undo.h"

#define WWN_A "naa.5001405aaaaaaaaa"
#define WWN_B "naa.5001405bbbbbbbbb"
#define WWN_FOREIGN "naa.5001405fffffffff"

/* The linker takes this for the C library's: the next save fails. */
static bool fail_fsync;

int fsync(int fd) {
        if (fail_fsync) {
                errno = EIO;
                return -1;
        }

        return (int) syscall(SYS_fsync, fd);
}

/* Everything that is wanted, in memory and on disk, and what the kernel has. */
static char *snapshot(Fixture *f) {
        g_autofree char *store = fixture_store_snapshot(f), *kernel = fake_snapshot(FAKE_SNAPSHOT_IDS);
        const Registry *r = &f->engine.registry;
        GString *s = g_string_new(NULL);
        Target *t;

        g_string_append_printf(s, "%" PRIu64 " %zu %zu\n", r->generation, map_size(r->targets), map_size(r->backstores));
        REGISTRY_FOREACH(r, t) {
                g_string_append_printf(s, "%s %s %s %d %d %zu\n", t->wwn, t->label, t->nexus, t->wanted, t->force, t->n_luns);
                for (size_t i = 0; i < t->n_luns; i++) {
                        const Lun *l = t->luns[i];
                        const Backstore *b = l->backstore;

                        g_string_append_printf(s, " %u %s %s %s %u %d %u %d %d %d\n", l->number, strempty(b->source), strempty(b->name),
                                               strempty(b->serial), b->hba, b->readonly, l->origin, l->wanted, l->force, l->with_target);
                        for (char **a = b->attributes; a && *a; a++)
                                g_string_append_printf(s, "  %s\n", *a);
                }
        }
        for (uint32_t i = 0; i < 64; i++)
                g_string_append_c(s, registry_hba_is_ours(r, i) ? '1' : '0');
        g_string_append_printf(s, "\n%s%s", store, kernel);

        return g_string_free(s, FALSE);
}

/* A host with two targets: A has LUN 0 on disk 1 and LUN 2 waiting, both up to date; B is empty; and a foreign one. */
typedef struct World {
        Fixture f;
        Engine *e;
        Target *a, *b, *foreign;
        char *before;
} World;

static void world_init(World *w) {
        LunOptions o = { .has_number = true, .number = 2, .name = "named", .serial = "0123456789abcdef0123456789abcdef" };
        _cleanup_(refusal_done) Refusal refusal = {};
        uint32_t number;
        Target *t;

        *w = (World) {};
        fixture_init(&w->f);
        w->e = &w->f.engine;
        for (unsigned i = 1; i <= 3; i++)
                fixture_add_device(&w->f, i, 10 + i);
        w->a = fixture_create(&w->f, WWN_A);
        w->b = fixture_create(&w->f, WWN_B);
        (void) fixture_add_lun(&w->f, w->a, "wwid=36001");
        g_assert_cmpint(edit_add_lun(w->e, w->a, "wwid=absent", &o, &number, &refusal), ==, 0);

        t = target_new(WWN_FOREIGN);
        t->foreign = true;
        g_assert_cmpint(target_add_lun(t, lun_new(0, backstore_new(NULL))), ==, 0);
        t->luns[0]->backstore->place = strdup("iblock_9/theirs");
        t->luns[0]->backstore->serial = strdup("ffffffffffffffffffffffffffffffff");
        g_assert_cmpint(registry_add_target(&w->e->registry, t, &number), ==, 0);
        w->foreign = t;

        fixture_run(&w->f);
        g_assert_true(target_lun(w->a, 0)->linked);
        w->before = snapshot(&w->f);
}

static void world_done(World *w) {
        fail_fsync = false;
        g_free(w->before);
        fixture_done(&w->f);
}

static void assert_unchanged(World *w) {
        g_autofree char *now = NULL;

        fixture_run(&w->f);
        now = snapshot(&w->f);
        g_assert_cmpstr(now, ==, w->before);
}

static void assert_refused(World *w, int r, Refusal *refusal, RefusalKind kind) {
        g_assert_cmpint(r, ==, REFUSED);
        g_assert_cmpstr(refusal_bus_name(refusal->kind), ==, refusal_bus_name(kind));
        g_assert_true(!isempty(refusal->text) && strlen(refusal->text) < 700);
        refusal_done(refusal);
        assert_unchanged(w);
}

static void create_refused(World *w, const char *wwn, const CreateOptions *o, RefusalKind kind) {
        char canonical[WWN_SIZE] = "untouched";
        Target *t = w->foreign;
        Refusal refusal = {};
        bool existing;
        int r;

        r = edit_create_target(w->e, wwn, o, &t, &existing, canonical, &refusal);
        g_assert_true(t == w->foreign);
        assert_refused(w, r, &refusal, kind);
        g_assert_cmpstr(canonical, ==, "untouched");
}

static void add_refused(World *w, Target *t, const char *source, LunOptions o, RefusalKind kind) {
        Refusal refusal = {};
        uint32_t number;
        int r;

        r = edit_add_lun(w->e, t, source, &o, &number, &refusal);
        if (r != REFUSED)
                g_error("%s was taken", source);
        assert_refused(w, r, &refusal, kind);
}

static void test_create(void) {
        static const char *const bad_wwns[] = {
                "naa.", "naa.500140512345678", "naa.50014051234567890", "naa.1001405123456789", "fc.5001405123456789", "iqn.2003-01.org:x",
                "naa.5001405/../../x", "..", "/", "naa.500140512345678\n", "naa.\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
                " naa.5001405123456789", "naa.5001405123456789 ", "naa.naa.5001405123456789", "50:01:405123456789", "0xnaa.5001405123456789",
        };
        static const char *const bad_labels[] = { "a\nb", "\x01", "\x7f", "\xff", "\xc3", "\xed\xa0\x80" };
        g_autofree char *huge = g_strnfill(1024 * 1024, 'a'), *label = g_strnfill(TARGET_LABEL_MAX + 1, 'x');
        World w;

        world_init(&w);
        for (size_t i = 0; i < ELEMENTSOF(bad_wwns); i++) {
                create_refused(&w, bad_wwns[i], &(CreateOptions) {}, REFUSAL_INVALID_WWN);
                create_refused(&w, "", &(CreateOptions) { .nexus = bad_wwns[i] }, REFUSAL_INVALID_WWN);
        }
        create_refused(&w, huge, &(CreateOptions) {}, REFUSAL_INVALID_WWN);
        for (size_t i = 0; i < ELEMENTSOF(bad_labels); i++)
                create_refused(&w, "", &(CreateOptions) { .label = bad_labels[i] }, REFUSAL_INVALID_ARGS);
        create_refused(&w, "", &(CreateOptions) { .label = label }, REFUSAL_INVALID_ARGS);
        create_refused(&w, "", &(CreateOptions) { .nexus = "" }, REFUSAL_INVALID_WWN);
        create_refused(&w, "", &(CreateOptions) { .seed = "" }, REFUSAL_INVALID_ARGS);
        create_refused(&w, "naa.5001405123456789", &(CreateOptions) { .seed = "vm" }, REFUSAL_INVALID_ARGS);
        create_refused(&w, "", &(CreateOptions) { .common = { .has_generation = true, .generation = 77 } }, REFUSAL_GENERATION_MISMATCH);

        /* Whatever the spelling, it is the same target. */
        create_refused(&w, WWN_A, &(CreateOptions) {}, REFUSAL_ALREADY_EXISTS);
        create_refused(&w, "0x5001405AAAAAAAAA", &(CreateOptions) {}, REFUSAL_ALREADY_EXISTS);
        create_refused(&w, "50:01:40:5a:aa:aa:aa:aa", &(CreateOptions) {}, REFUSAL_ALREADY_EXISTS);
        create_refused(&w, WWN_A, &(CreateOptions) { .common.dry_run = true }, REFUSAL_ALREADY_EXISTS);
        create_refused(&w, WWN_FOREIGN, &(CreateOptions) {}, REFUSAL_ALREADY_EXISTS);
        create_refused(&w, WWN_FOREIGN, &(CreateOptions) { .if_absent = true }, REFUSAL_ALREADY_EXISTS);

        g_assert_cmpint(strv_extend(&w.e->registry.bad, "naa.5001405123456789"), >=, 0);
        create_refused(&w, "naa.5001405123456789", &(CreateOptions) {}, REFUSAL_CONFIG_CORRUPT);
        create_refused(&w, "naa.5001405123456789", &(CreateOptions) { .if_absent = true }, REFUSAL_CONFIG_CORRUPT);
        world_done(&w);
}

static void test_create_accepted(void) {
        CreateOptions absent = { .if_absent = true, .common = { .has_generation = true } }, dry = { .common.dry_run = true, .seed = "vm 1" };
        char wwn[WWN_SIZE], again[WWN_SIZE];
        g_autofree char *label = g_strnfill(TARGET_LABEL_MAX, 'x');
        Refusal refusal = {};
        bool existing;
        Target *t;
        World w;

        world_init(&w);
        absent.common.generation = w.e->registry.generation;
        g_assert_cmpint(edit_create_target(w.e, "NAA.5001405AAAAAAAAA", &absent, &t, &existing, wwn, &refusal), ==, 0);
        g_assert_true(existing && t == w.a);
        assert_unchanged(&w);

        g_assert_cmpint(edit_create_target(w.e, "", &dry, &t, &existing, wwn, &refusal), ==, 0);
        g_assert_true(!existing && !t);
        assert_unchanged(&w);

        /* As the dry run said. */
        dry.common.dry_run = false;
        dry.label = label;
        g_assert_cmpint(edit_create_target(w.e, "", &dry, &t, &existing, again, &refusal), ==, 0);
        g_assert_cmpstr(again, ==, wwn);
        g_assert_cmpstr(t->wwn, ==, wwn);
        g_assert_cmpstr(t->label, ==, label);
        world_done(&w);
}

static void test_find(void) {
        static const struct {
                const char *wwn;
                RefusalKind kind;
        } table[] = {
                { "", REFUSAL_INVALID_WWN }, { "naa.x", REFUSAL_INVALID_WWN }, { "../" WWN_A, REFUSAL_INVALID_WWN },
                { "naa.5001405000000009", REFUSAL_NOT_FOUND }, { "NAA.5001405123456789", REFUSAL_CONFIG_CORRUPT },
        };
        Refusal refusal = {};
        Target *t = NULL;
        World w;

        world_init(&w);
        g_assert_cmpint(strv_extend(&w.e->registry.bad, "naa.5001405123456789"), >=, 0);
        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                int r = edit_find_target(w.e, table[i].wwn, &t, &refusal);

                g_assert_null(t);
                assert_refused(&w, r, &refusal, table[i].kind);
        }
        g_assert_cmpint(edit_find_target(w.e, "0x5001405AAAAAAAAA", &t, &refusal), ==, 0);
        g_assert_true(t == w.a);
        world_done(&w);
}

static void test_destroy_and_label(void) {
        EditOptions mismatch = { .has_generation = true, .generation = 1 << 20 }, plain = {};
        EditOptions dry = { .dry_run = true }, force = { .dry_run = true, .force = true };
        g_autofree char *long_label = g_strnfill(TARGET_LABEL_MAX + 1, 'x');
        Refusal q = {};
        World w;

        world_init(&w);
        assert_refused(&w, edit_destroy_target(w.e, w.a, &mismatch, &q), &q, REFUSAL_GENERATION_MISMATCH);
        assert_refused(&w, edit_destroy_target(w.e, w.foreign, &plain, &q), &q, REFUSAL_FOREIGN);
        assert_refused(&w, edit_set_label(w.e, w.a, "x", &mismatch, &q), &q, REFUSAL_GENERATION_MISMATCH);
        assert_refused(&w, edit_set_label(w.e, w.foreign, "x", &plain, &q), &q, REFUSAL_FOREIGN);
        assert_refused(&w, edit_set_label(w.e, w.a, "\n", &plain, &q), &q, REFUSAL_INVALID_ARGS);
        assert_refused(&w, edit_set_label(w.e, w.a, long_label, &plain, &q), &q, REFUSAL_INVALID_ARGS);
        assert_refused(&w, edit_remove_lun(w.e, target_lun(w.a, 0), &mismatch, &q), &q, REFUSAL_GENERATION_MISMATCH);
        assert_refused(&w, edit_remove_lun(w.e, w.foreign->luns[0], &plain, &q), &q, REFUSAL_FOREIGN);

        w.a->endpoint = ENDPOINT_ATTACHED;
        assert_refused(&w, edit_destroy_target(w.e, w.a, &plain, &q), &q, REFUSAL_IN_USE);
        assert_refused(&w, edit_destroy_target(w.e, w.a, &dry, &q), &q, REFUSAL_IN_USE);
        assert_refused(&w, edit_remove_lun(w.e, target_lun(w.a, 0), &plain, &q), &q, REFUSAL_IN_USE);
        assert_refused(&w, edit_remove_lun(w.e, target_lun(w.a, 0), &dry, &q), &q, REFUSAL_IN_USE);

        g_assert_cmpint(edit_destroy_target(w.e, w.a, &force, &q), ==, 0);
        assert_unchanged(&w);
        g_assert_cmpint(edit_remove_lun(w.e, target_lun(w.a, 0), &force, &q), ==, 0);
        assert_unchanged(&w);
        /* No guest sees that one. */
        g_assert_cmpint(edit_remove_lun(w.e, target_lun(w.a, 2), &dry, &q), ==, 0);
        assert_unchanged(&w);
        g_assert_cmpint(edit_set_label(w.e, w.a, "new", &dry, &q), ==, 0);
        assert_unchanged(&w);
        /* What it is already is no change. */
        g_assert_cmpint(edit_set_label(w.e, w.a, "", &plain, &q), ==, 0);
        assert_unchanged(&w);
        world_done(&w);
}

static void test_add_lun_options(void) {
        static const char *const names[] = { "", ".", "..", ".x", "a/b", "a b", "a,b", "a\nb", "\xc3\xbc", "a=b", "a%b" };
        static const char *const serials[] = { "", " x", "x ", "a,b", "a\nb", "\x7f", "\xc3\xbc" };
        static const char *const attributes[] = {
                "enable=1", "=1", "queue_depth=", "queue_depth=-1", "queue_depth=0x10", "queue_depth=1\n", "queue_depth=18446744073709551616",
                "../enable=1", "alias=1", "emulate_write_cache=1", "queue_depth==1",
        };
        static const uint32_t numbers[] = { LUN_NUMBER_MAX + 1, 65536, INT32_MAX, UINT32_MAX - 1, UINT32_MAX };
        g_autofree char *name = g_strnfill(BACKSTORE_NAME_MAX + 1, 'n'), *serial = g_strnfill(BACKSTORE_SERIAL_MAX + 1, 's');
        char *twice[] = { (char *) "queue_depth=1", (char *) "emulate_3pc=0", (char *) "queue_depth=2", NULL };
        World w;

        world_init(&w);
        add_refused(&w, w.b, "wwid=36002", (LunOptions) { .common = { .has_generation = true } }, REFUSAL_GENERATION_MISMATCH);
        add_refused(&w, w.foreign, "wwid=36002", (LunOptions) {}, REFUSAL_FOREIGN);
        for (size_t i = 0; i < ELEMENTSOF(numbers); i++)
                add_refused(&w, w.b, "wwid=36002", (LunOptions) { .has_number = true, .number = numbers[i] }, REFUSAL_LUN_OUT_OF_RANGE);
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                add_refused(&w, w.b, "wwid=36002", (LunOptions) { .name = names[i] }, REFUSAL_INVALID_ARGS);
        for (size_t i = 0; i < ELEMENTSOF(serials); i++)
                add_refused(&w, w.b, "wwid=36002", (LunOptions) { .serial = serials[i] }, REFUSAL_INVALID_ARGS);
        for (size_t i = 0; i < ELEMENTSOF(attributes); i++) {
                char *list[] = { (char *) attributes[i], NULL };

                add_refused(&w, w.b, "wwid=36002", (LunOptions) { .attributes = list }, REFUSAL_INVALID_ARGS);
        }
        add_refused(&w, w.b, "wwid=36002", (LunOptions) { .attributes = twice }, REFUSAL_INVALID_ARGS);
        add_refused(&w, w.b, "wwid=36002", (LunOptions) { .name = name }, REFUSAL_INVALID_ARGS);
        add_refused(&w, w.b, "wwid=36002", (LunOptions) { .serial = serial }, REFUSAL_INVALID_ARGS);
        add_refused(&w, w.a, "wwid=36002", (LunOptions) { .has_number = true, .number = 0 }, REFUSAL_LUN_CONFLICT);
        add_refused(&w, w.a, "wwid=36002", (LunOptions) { .has_number = true, .number = 2 }, REFUSAL_LUN_CONFLICT);
        add_refused(&w, w.a, "wwid=36002", (LunOptions) { .has_number = true, .number = 2, .common.dry_run = true }, REFUSAL_LUN_CONFLICT);

        /* The name and the serial of others, foreign ones too. Dashes and what follows 25 digits do not tell two disks apart. */
        add_refused(&w, w.b, "wwid=36002", (LunOptions) { .name = "named" }, REFUSAL_ALREADY_EXISTS);
        add_refused(&w, w.b, "wwid=36002", (LunOptions) { .name = "theirs" }, REFUSAL_ALREADY_EXISTS);
        add_refused(&w, w.b, "wwid=36002", (LunOptions) { .serial = "0123456789abcdef0123456789abcdef" }, REFUSAL_SERIAL_CONFLICT);
        add_refused(&w, w.b, "wwid=36002", (LunOptions) { .serial = "01234567-89AB-cdef-0123-456789999999" }, REFUSAL_SERIAL_CONFLICT);
        add_refused(&w, w.b, "wwid=36002", (LunOptions) { .serial = "x0123456789abcdef012345678" }, REFUSAL_SERIAL_CONFLICT);
        add_refused(&w, w.b, "wwid=36002", (LunOptions) { .serial = "fffffffffffffffffffffffff" }, REFUSAL_SERIAL_CONFLICT);
        add_refused(&w, w.b, "wwid=36002", (LunOptions) { .serial = target_lun(w.a, 0)->backstore->serial }, REFUSAL_SERIAL_CONFLICT);
        world_done(&w);
}

/* Somebody gave a disk the serial that another one will have by itself. */
static void test_default_serial(void) {
        _cleanup_free_ char *serial = NULL;
        Refusal refusal = {};
        LunOptions o = {};
        uint32_t number;
        World w;

        world_init(&w);
        g_assert_cmpint(backstore_default_serial("wwid=36003", &serial), ==, 0);
        o.serial = serial;
        g_assert_cmpint(edit_add_lun(w.e, w.b, "wwid=36002", &o, &number, &refusal), ==, 0);
        fixture_run(&w.f);
        g_free(w.before);
        w.before = snapshot(&w.f);
        add_refused(&w, w.b, "wwid=36003", (LunOptions) {}, REFUSAL_SERIAL_CONFLICT);

        /* The 25th digit differs. */
        o.serial = "0123456789abcdef01234567a";
        g_assert_cmpint(edit_add_lun(w.e, w.b, "wwid=36003", &o, &number, &refusal), ==, 0);
        g_assert_cmpuint(number, ==, 1);
        world_done(&w);
}

static void test_add_lun_source(void) {
        static const char *const invalid[] = {
                "", "sda", "wwid=", "wwid=a,b", "wwid=a\nb", "wwid=\xff", "/etc/passwd", "/dev/../etc/passwd", "/proc/self/fd/0", "/dev",
                "/dev/null", "/dev/shm", "/dev/fd/0", "file=srv/x", "/srv/x",
        };
        g_autofree char *huge = g_strnfill(1024 * 1024, 'a');
        Device *d = device_new();
        World w;

        world_init(&w);
        for (size_t i = 0; i < ELEMENTSOF(invalid); i++)
                add_refused(&w, w.b, invalid[i], (LunOptions) {}, REFUSAL_INVALID_SOURCE);
        add_refused(&w, w.b, huge, (LunOptions) {}, REFUSAL_INVALID_SOURCE);
        add_refused(&w, w.b, "/dev/no-such-device", (LunOptions) {}, REFUSAL_DEVICE_NOT_FOUND);

        /* Two disks that say they are the same. */
        d->devnum = makedev(250, 99);
        d->name = strdup("fake99");
        d->node = strdup("/dev/fake99");
        d->identity = strdup("wwid=36002");
        d->link = strdup("/dev/fake99");
        d->size = 1 << 20;
        d->block_size = 512;
        d->stable = d->initialized = d->ready = true;
        g_assert_cmpint(strv_extend(&d->keys, d->identity), >=, 0);
        hotplug_on_device(d->devnum, d, w.e);
        add_refused(&w, w.b, "wwid=36002", (LunOptions) {}, REFUSAL_INVALID_SOURCE);
        world_done(&w);
}

static void make_path_member(Device *d) {
        d->path_member = true;
        d->path_of = strdup("mpatha");
}

static void make_ignored(Device *d) {
        d->ignored = true;
}

static void make_unsuitable(Device *d) {
        d->unsuitable = true;
}

static void make_read_only(Device *d) {
        d->read_only = true;
}

static void make_unready(Device *d) {
        d->ready = false;
}

static void test_add_lun_device(void) {
        static const struct {
                void (*make)(Device *d);
                RefusalKind kind;
        } table[] = {
                { make_path_member, REFUSAL_DEVICE_IS_PATH_MEMBER }, { make_ignored, REFUSAL_DEVICE_UNSAFE },
                { make_unsuitable, REFUSAL_DEVICE_UNSAFE }, { make_read_only, REFUSAL_DEVICE_UNSAFE },
        };
        LunOptions o = { .readonly = true, .common.dry_run = true };
        Refusal refusal = {};
        uint32_t number;
        World w;

        for (size_t i = 0; i < ELEMENTSOF(table); i++) {
                world_init(&w);
                table[i].make(inventory_by_devnum(w.e->inventory, makedev(250, 2)));
                add_refused(&w, w.b, "wwid=36002", (LunOptions) {}, table[i].kind);
                add_refused(&w, w.b, "wwid=36002", (LunOptions) { .common.dry_run = true }, table[i].kind);
                add_refused(&w, w.b, "wwid=36002", (LunOptions) { .shareable = true, .common.force = true }, table[i].kind);
                world_done(&w);
        }

        /* Read-only as asked, and what is not ready yet, are no faults. */
        world_init(&w);
        make_read_only(inventory_by_devnum(w.e->inventory, makedev(250, 2)));
        g_assert_cmpint(edit_add_lun(w.e, w.b, "wwid=36002", &o, &number, &refusal), ==, 0);
        make_unready(inventory_by_devnum(w.e->inventory, makedev(250, 3)));
        g_assert_cmpint(edit_add_lun(w.e, w.b, "wwid=36003", &o, &number, &refusal), ==, 0);
        assert_unchanged(&w);
        world_done(&w);
}

static void test_shareable(void) {
        char *list[] = { (char *) "queue_depth=8", NULL };
        LunOptions same = { .shareable = true, .name = "named", .serial = "0123456789abcdef0123456789abcdef" };
        Refusal refusal = {};
        EditOptions o = {};
        uint32_t number;
        World w;

        world_init(&w);
        add_refused(&w, w.b, "wwid=36001", (LunOptions) {}, REFUSAL_ALREADY_EXISTS);
        add_refused(&w, w.a, "wwid=36001", (LunOptions) {}, REFUSAL_ALREADY_EXISTS);
        add_refused(&w, w.b, "wwid=36001", (LunOptions) { .shareable = true, .readonly = true }, REFUSAL_LUN_CONFLICT);
        add_refused(&w, w.b, "wwid=36001", (LunOptions) { .shareable = true, .name = "x" }, REFUSAL_LUN_CONFLICT);
        add_refused(&w, w.b, "wwid=36001", (LunOptions) { .shareable = true, .serial = "x" }, REFUSAL_LUN_CONFLICT);
        add_refused(&w, w.b, "wwid=36001", (LunOptions) { .shareable = true, .attributes = list }, REFUSAL_LUN_CONFLICT);

        g_assert_cmpint(edit_add_lun(w.e, w.b, "wwid=absent", &same, &number, &refusal), ==, 0);
        g_assert_true(target_lun(w.b, number)->backstore == target_lun(w.a, 2)->backstore);

        /* What is on its way out is shared by nobody. It stays so while the kernel does not let go. */
        fake_hang(FAKE_UNLINK, NULL);
        g_assert_cmpint(edit_remove_lun(w.e, target_lun(w.a, 0), &o, &refusal), ==, 0);
        fixture_run(&w.f);
        g_free(w.before);
        w.before = snapshot(&w.f);
        add_refused(&w, w.b, "wwid=36001", (LunOptions) { .shareable = true }, REFUSAL_LUN_CONFLICT);
        add_refused(&w, w.a, "wwid=36002", (LunOptions) { .has_number = true, .number = 0 }, REFUSAL_LUN_CONFLICT);
        fake_release();
        world_done(&w);
}

static void test_numbers(void) {
        LunOptions highest = { .has_number = true, .number = LUN_NUMBER_MAX, .common.dry_run = true };
        LunOptions dry = { .common.dry_run = true }, o = {};
        Refusal refusal = {};
        uint32_t number;
        World w;

        world_init(&w);
        g_assert_cmpint(edit_add_lun(w.e, w.a, "wwid=36002", &highest, &number, &refusal), ==, 0);
        g_assert_cmpuint(number, ==, LUN_NUMBER_MAX);
        assert_unchanged(&w);

        /* 0 and 2 are there. */
        g_assert_cmpint(edit_add_lun(w.e, w.a, "wwid=36002", &dry, &number, &refusal), ==, 0);
        g_assert_cmpuint(number, ==, 1);
        assert_unchanged(&w);
        g_assert_cmpint(edit_add_lun(w.e, w.a, "wwid=36002", &o, &number, &refusal), ==, 0);
        g_assert_cmpuint(number, ==, 1);
        g_assert_cmpint(edit_add_lun(w.e, w.a, "wwid=36003", &dry, &number, &refusal), ==, 0);
        g_assert_cmpuint(number, ==, 3);
        world_done(&w);
}

/* The store says no: nothing has changed, neither here nor there, and the same call goes well afterwards. */
static void test_store_failed(void) {
        CreateOptions create = {};
        EditOptions o = {}, force = { .force = true };
        LunOptions add = {};
        char wwn[WWN_SIZE];
        bool existing;
        Refusal q = {};
        uint32_t n;
        Target *t;
        World w;

        world_init(&w);
        fail_fsync = true;
        assert_refused(&w, edit_create_target(w.e, "naa.5001405123456789", &create, &t, &existing, wwn, &q), &q, REFUSAL_STORE_FAILED);
        assert_refused(&w, edit_add_lun(w.e, w.a, "wwid=36002", &add, &n, &q), &q, REFUSAL_STORE_FAILED);
        add.shareable = true;
        assert_refused(&w, edit_add_lun(w.e, w.b, "wwid=36001", &add, &n, &q), &q, REFUSAL_STORE_FAILED);
        assert_refused(&w, edit_set_label(w.e, w.a, "new", &o, &q), &q, REFUSAL_STORE_FAILED);
        assert_refused(&w, edit_remove_lun(w.e, target_lun(w.a, 0), &o, &q), &q, REFUSAL_STORE_FAILED);
        assert_refused(&w, edit_remove_lun(w.e, target_lun(w.a, 0), &force, &q), &q, REFUSAL_STORE_FAILED);
        assert_refused(&w, edit_destroy_target(w.e, w.a, &o, &q), &q, REFUSAL_STORE_FAILED);
        assert_refused(&w, edit_destroy_target(w.e, w.a, &force, &q), &q, REFUSAL_STORE_FAILED);

        fail_fsync = false;
        fixture_restart(&w.f);
        fixture_run(&w.f);
        w.a = registry_target(&w.e->registry, WWN_A);
        g_assert_true(w.a->wanted && target_lun(w.a, 0)->linked && target_lun(w.a, 0)->wanted);
        g_assert_cmpint(edit_destroy_target(w.e, w.a, &o, &q), ==, 0);
        fixture_run(&w.f);
        g_assert_null(registry_target(&w.e->registry, WWN_A));
        world_done(&w);
}

/* Destroyed, and destroyed again by force while it goes: what the first call noted of its LUNs is not lost, whatever the store says. */
static void test_destroy_twice(void) {
        EditOptions o = {}, force = { .force = true };
        Refusal q = {};
        World w;

        world_init(&w);
        g_assert_cmpint(edit_remove_lun(w.e, target_lun(w.a, 2), &o, &q), ==, 0);
        g_assert_cmpint(edit_destroy_target(w.e, w.a, &o, &q), ==, 0);
        fail_fsync = true;
        g_assert_cmpint(edit_destroy_target(w.e, w.a, &force, &q), ==, REFUSED);
        g_assert_cmpint(q.kind, ==, REFUSAL_STORE_FAILED);
        refusal_done(&q);
        g_assert_true(!w.a->wanted && !w.a->force && !target_lun(w.a, 0)->wanted);

        fail_fsync = false;
        g_assert_cmpint(edit_destroy_target(w.e, w.a, &force, &q), ==, 0);
        fail_fsync = true;
        g_assert_cmpint(undo_destroy(w.e, w.a), ==, -EIO);
        g_assert_true(!w.a->wanted && w.a->force && !target_lun(w.a, 0)->wanted);
        fail_fsync = false;
        g_assert_cmpint(undo_destroy(w.e, w.a), ==, 0);
        g_assert_true(w.a->wanted && !w.a->force);
        g_assert_true(target_lun(w.a, 0)->wanted && !target_lun(w.a, 0)->force);
        g_assert_false(target_lun(w.a, 2)->wanted);
        world_done(&w);
}

/* A removal is taken back after its target was destroyed: the LUN is not wanted in a target that goes. */
static void test_undo_remove_in_destroyed(void) {
        Refusal q = {};
        EditOptions o = {};
        World w;
        Lun *l;

        world_init(&w);
        l = target_lun(w.a, 0);
        g_assert_cmpint(edit_remove_lun(w.e, l, &o, &q), ==, 0);
        g_assert_cmpint(edit_destroy_target(w.e, w.a, &o, &q), ==, 0);
        g_assert_cmpint(undo_remove_lun(w.e, l), ==, 0);
        g_assert_false(l->wanted);
        g_assert_cmpint(undo_destroy(w.e, w.a), ==, 0);
        g_assert_true(w.a->wanted && l->wanted);
        world_done(&w);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/edit/create", test_create);
        g_test_add_func("/edit/create-accepted", test_create_accepted);
        g_test_add_func("/edit/find", test_find);
        g_test_add_func("/edit/destroy-and-label", test_destroy_and_label);
        g_test_add_func("/edit/add-lun-options", test_add_lun_options);
        g_test_add_func("/edit/default-serial", test_default_serial);
        g_test_add_func("/edit/add-lun-source", test_add_lun_source);
        g_test_add_func("/edit/add-lun-device", test_add_lun_device);
        g_test_add_func("/edit/shareable", test_shareable);
        g_test_add_func("/edit/numbers", test_numbers);
        g_test_add_func("/edit/store-failed", test_store_failed);
        g_test_add_func("/edit/destroy-twice", test_destroy_twice);
        g_test_add_func("/edit/undo-remove-in-destroyed", test_undo_remove_in_destroyed);

        return g_test_run();
}
