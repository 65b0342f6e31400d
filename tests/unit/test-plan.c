/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <signal.h>
#include <sys/sysmacros.h>

#include "fake-cfs.h"
#include "kernel/lio.h"
#include "model/plan.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>

/* A LIO of one LUN and one backstore, that has the kernel's rules as assertions: each of the daemon's plans is run on it, from every state
 * that it can be in. */

#define WWN "naa.5001405aaaaaaaaa"
#define HBA "core/iblock_7"
#define PLACE HBA "/d-x"
#define LUN_DIR "vhost/" WWN "/tpgt_1/lun/lun_3"
#define MARK_NOW "vhscsid diskseq=14 dev=250:1"
#define MARK_OLD "vhscsid diskseq=9 dev=250:1"

typedef enum Link { LINK_NONE, LINK_OURS, LINK_THEIRS, _LINK_MAX } Link;
typedef enum Alias { ALIAS_NONE, ALIAS_NOW, ALIAS_OLD, ALIAS_TEXT, _ALIAS_MAX } Alias;

static const char *const aliases[_ALIAS_MAX] = { "", MARK_NOW, MARK_OLD, "vhscsid, or so" };
static const char *const attributes[] = { "emulate_3pc", "emulate_model_alias", "queue_depth" };
static const int kernel_values[] = { 1, 0, 128 };

typedef struct World {
        bool dir;
        Link link;
        bool hba, backstore, sibling;   /* sibling: something else is in the HBA */
        bool control, enabled, verified, other_linked;
        Alias alias;
        bool serial;                    /* the right one */
        int values[ELEMENTSOF(attributes)];
} World;

/* What an assertion's message has to be read with. */
static char *last_case;

static void on_abort(int number) {
        if (last_case)
                fprintf(stderr, "# case: %s\n", last_case);
}

typedef struct Wish {
        LunWant want;
        int values[ELEMENTSOF(attributes)];     /* what the attributes should be; -1: nobody cares */
} Wish;

static char *queue_64[] = { (char *) "queue_depth=64", NULL };
static char *xcopy_on[] = { (char *) "emulate_3pc=1", (char *) "queue_depth=8", NULL };

static LunWant make_want(bool wanted, bool usable, bool gone, bool others, char *const *list) {
        return (LunWant) {
                .wwn = WWN, .number = 3, .wanted = wanted, .others = others, .hba = 7, .name = "d-x", .serial = "serial-1",
                .attributes = list, .usable = usable, .gone = gone,
                .node = usable ? "/dev/sdb" : NULL, .link = usable ? "/dev/disk/by-id/wwn-0x5" : NULL,
                .devnum = usable ? makedev(250, 1) : 0, .diskseq = usable ? 14 : 0,
        };
}

static void make_wish(Wish *w, LunWant want) {
        static const int defaults[] = { 0, 1, -1 };

        w->want = want;
        for (size_t i = 0; i < ELEMENTSOF(attributes); i++) {
                w->values[i] = defaults[i];
                for (char *const *a = want.attributes; a && *a; a++)
                        if (startswith(*a, attributes[i]))
                                w->values[i] = atoi(strchr(*a, '=') + 1);
        }
}

static void look(const World *w, LunSeen *ret) {
        *ret = (LunSeen) {
                .dir = w->dir, .hba_dir = w->hba, .hba_others = w->hba && w->sibling, .backstore_dir = w->backstore, .enabled = w->enabled,
        };
        if (w->link != LINK_NONE) {
                ret->link = strdup(w->link == LINK_OURS ? "d-x" : "theirs");
                ret->link_target = strdup(w->link == LINK_OURS ? PLACE : "core/iblock_8/d-x");
        }
        if (!w->backstore)
                return;

        ret->alias = strdup(aliases[w->alias]);
        ret->serial = strdup(w->serial ? "serial-1" : "");
        if (w->enabled)
                (void) plan_parse_mark(ret->alias, &ret->diskseq, &ret->devnum);
        for (size_t i = 0; i < ELEMENTSOF(attributes); i++) {
                char *s;

                g_assert_cmpint(asprintf(&s, "%s=%d", attributes[i], w->values[i]), >, 0);
                g_assert_cmpint(strv_consume(&ret->attributes, s), >=, 0);
        }
}

static bool is_exported(const World *w) {
        return w->other_linked || w->link == LINK_OURS;
}

static void do_write(World *w, const char *file, const char *value) {
        const char *attribute = startswith(file, "attrib/");

        g_assert_true(w->backstore);
        if (streq(file, "alias")) {
                g_assert_false(w->enabled);
                g_assert_cmpstr(value, ==, MARK_NOW);
                w->alias = ALIAS_NOW;
        } else if (streq(file, "control")) {
                g_assert_false(w->enabled);
                g_assert_true(streq(value, "udev_path=/dev/sdb"));
                w->control = w->control || startswith(value, "udev_path=");
        } else if (streq(file, "udev_path")) {
                g_assert_cmpstr(value, ==, "/dev/disk/by-id/wwn-0x5");
        } else if (streq(file, "enable")) {
                /* Marked before it holds the device: a crash right after this must find whose it is. */
                g_assert_true(w->control && !w->enabled && w->alias == ALIAS_NOW);
                w->enabled = true;
                w->verified = false;
        } else if (streq(file, "wwn/vpd_unit_serial")) {
                g_assert_true(w->enabled && !is_exported(w));
                g_assert_cmpstr(value, ==, "serial-1");
                w->serial = true;
        } else {
                /* Before enable, some of them make a 6.1 kernel follow a NULL pointer. */
                g_assert_nonnull(attribute);
                g_assert_true(w->enabled && !is_exported(w));
                for (size_t i = 0; i < ELEMENTSOF(attributes); i++)
                        if (streq(attribute, attributes[i])) {
                                w->values[i] = atoi(value);
                                return;
                        }
                g_assert_not_reached();
        }
}

static void do_mkdir(World *w, const char *path) {
        if (streq(path, HBA)) {
                g_assert_false(w->hba);
                w->hba = true;
        } else if (streq(path, PLACE)) {
                g_assert_true(w->hba && !w->backstore);
                w->backstore = true;
                w->control = w->enabled = w->serial = false;
                w->alias = ALIAS_NONE;
                memcpy(w->values, kernel_values, sizeof w->values);
        } else {
                g_assert_cmpstr(path, ==, LUN_DIR);
                g_assert_false(w->dir);
                w->dir = true;
        }
}

static void do_rmdir(World *w, const char *path) {
        if (streq(path, HBA)) {
                g_assert_true(w->hba && !w->backstore && !w->sibling);
                w->hba = false;
        } else if (streq(path, PLACE)) {
                g_assert_true(w->backstore && !is_exported(w));
                g_assert_true(!w->enabled || w->alias == ALIAS_NOW || w->alias == ALIAS_OLD);
                w->backstore = w->enabled = false;
        } else {
                g_assert_cmpstr(path, ==, LUN_DIR);
                g_assert_true(w->dir && w->link == LINK_NONE);
                w->dir = false;
        }
}

static void step(World *w, const Step *s) {
        switch (s->op) {
        case STEP_MKDIR:
                g_assert_null(s->value);
                do_mkdir(w, s->path);
                break;
        case STEP_WRITE:
                g_assert_nonnull(s->value);
                g_assert_nonnull(startswith(s->path, PLACE "/"));
                do_write(w, s->path + strlen(PLACE "/"), s->value);
                break;
        case STEP_OPEN_FILE:
                g_assert_not_reached();         /* this world has disks */
        case STEP_VERIFY:
                g_assert_cmpstr(s->path, ==, PLACE "/info");
                g_assert_cmpstr(s->value, ==, MARK_NOW);
                g_assert_true(w->enabled);
                w->verified = true;
                break;
        case STEP_SYMLINK:
                g_assert_cmpstr(s->path, ==, LUN_DIR "/d-x");
                g_assert_cmpstr(s->value, ==, PLACE);
                g_assert_true(w->dir && w->link == LINK_NONE && w->enabled);
                /* What a guest will see has been looked at in this very plan, whoever enabled it. */
                g_assert_true(w->verified || w->other_linked);
                w->link = LINK_OURS;
                break;
        case STEP_UNLINK:
                g_assert_cmpstr(s->path, ==, LUN_DIR "/d-x");
                g_assert_true(w->link == LINK_OURS);
                w->link = LINK_NONE;
                break;
        case STEP_RMDIR:
                do_rmdir(w, s->path);
                break;
        case _STEP_OP_MAX:
                g_assert_not_reached();
        }
}

static int make_plan(const World *w, const LunWant *want, Plan *p) {
        _cleanup_(lun_seen_done) LunSeen seen = {};

        look(w, &seen);
        return plan_lun(want, &seen, p);
}

/* The instance that is gone is open as long as the old mark is on an enabled backstore. */
static void update_gone(const World *w, LunWant *want) {
        want->gone = want->gone && w->enabled && w->alias == ALIAS_OLD;
}

static void assert_settled(const World *w, const LunWant *want) {
        _cleanup_(plan_done) Plan p = {};

        g_assert_cmpint(make_plan(w, want, &p), ==, 0);
        g_assert_cmpuint(p.n, ==, 0);
}

static void check_end(const World *w, const Wish *wish) {
        const LunWant *want = &wish->want;

        /* What no guest has seen keeps the device from nobody while it is of no use. */
        if (!want->wanted || !want->usable) {
                g_assert_false(w->link == LINK_OURS || (w->dir && w->link == LINK_NONE));
                if (!want->others)
                        g_assert_true(!w->backstore && (!w->hba || w->sibling));
                return;
        }

        g_assert_true(w->link == LINK_OURS && w->enabled);
        if (w->other_linked)
                return;
        g_assert_true(w->alias == ALIAS_NOW && w->serial);
        for (size_t i = 0; i < ELEMENTSOF(attributes); i++)
                g_assert_true(w->values[i] == wish->values[i] || wish->values[i] < 0);
}

static bool backstore_is_theirs(const World *w) {
        return w->enabled && w->alias != ALIAS_NOW && w->alias != ALIAS_OLD;
}

/* Runs the plan; from each of its prefixes, as after a crash, the next plan ends in the same world. */
static void run(const World *start, const Wish *wish) {
        _cleanup_(plan_done) Plan p = {};
        const LunWant *want = &wish->want;
        World end = *start;
        Wish after = *wish;

        g_assert_cmpint(make_plan(start, want, &p), ==, 0);
        for (size_t i = 0; i < p.n; i++)
                step(&end, p.steps + i);
        update_gone(&end, &after.want);
        if (want->wanted && end.sibling && !end.backstore)
                return;
        assert_settled(&end, &after.want);
        if (want->wanted ? start->link != LINK_OURS && !(want->gone && want->others) :
                           start->link != LINK_THEIRS && !backstore_is_theirs(start))
                check_end(&end, wish);

        for (size_t k = 0; k < p.n; k++) {
                _cleanup_(plan_done) Plan q = {};
                World again = *start;
                Wish then = *wish;

                for (size_t i = 0; i < k; i++)
                        step(&again, p.steps + i);
                /* With the serial, all that comes before it is known to be done; who believes that another LUN is linked does not look again. */
                again.verified = want->others && again.serial && again.verified;
                update_gone(&again, &then.want);
                /* Somebody was in our HBA as well: when ours has gone it is theirs, and the next pass takes another number. */
                if (again.sibling && !again.backstore && want->wanted) {
                        g_assert_cmpint(make_plan(&again, &then.want, &q), ==, -EADDRINUSE);
                        continue;
                }

                g_assert_cmpint(make_plan(&again, &then.want, &q), ==, 0);
                for (size_t i = 0; i < q.n; i++)
                        step(&again, q.steps + i);

                /* Not worth a comparison: whether this plan or one before it looked, and what is under a directory that is not there. */
                again.verified = end.verified;
                if (!end.backstore)
                        again.alias = end.alias, again.serial = end.serial, again.control = end.control,
                        memcpy(again.values, end.values, sizeof end.values);
                g_assert_true(again.dir == end.dir && again.link == end.link && again.hba == end.hba && again.backstore == end.backstore);
                g_assert_true(again.enabled == end.enabled && again.alias == end.alias && again.serial == end.serial);
                g_assert_true(again.control == end.control && memcmp(again.values, end.values, sizeof end.values) == 0);
        }
}

static void check(const World *w, const Wish *wish) {
        const LunWant *want = &wish->want;
        _cleanup_(plan_done) Plan p = {};
        bool theirs = w->link == LINK_THEIRS || backstore_is_theirs(w);

        /* Another LUN that is linked stands on an enabled backstore that has all; one that is only wanted (which counts for an unwanted one) need
         * not. One that is taken for linked may have been so on an older instance, and this one be only half made. */
        bool half = w->enabled && !w->serial && w->alias == ALIAS_NOW && want->usable && !want->gone;

        if (w->other_linked && (!want->others || !w->enabled || !w->serial))
                return;
        if (want->wanted && want->others && !w->other_linked && !half)
                return;
        /* The instance that was open is gone: its mark is not that of the one that is there now. */
        if (want->gone && w->enabled && w->alias == ALIAS_NOW)
                return;

        if (want->wanted && (theirs || (w->hba && w->sibling && !w->backstore))) {
                g_assert_cmpint(make_plan(w, want, &p), ==, -EADDRINUSE);
                g_assert_cmpuint(p.n, ==, 0);
                return;
        }

        g_assert_cmpint(make_plan(w, want, &p), ==, 0);

        /* The asymmetry rule. */
        if (want->wanted && w->link == LINK_OURS && !(want->gone && w->enabled))
                g_assert_cmpuint(p.n, ==, 0);
        /* Without a device nothing is made. */
        for (size_t i = 0; want->wanted && !want->usable && i < p.n; i++)
                g_assert_true(p.steps[i].op == STEP_UNLINK || p.steps[i].op == STEP_RMDIR);

        run(w, wish);
}

static char *describe(const World *w, const LunWant *want) {
        return g_strdup_printf("dir %d link %u hba %d sibling %d backstore %d enabled %d other %d alias %u serial %d values %d/%d/%d; "
                               "wanted %d usable %d gone %d others %d", w->dir, w->link, w->hba, w->sibling, w->backstore, w->enabled,
                               w->other_linked, w->alias, w->serial, w->values[0], w->values[1], w->values[2], want->wanted, want->usable,
                               want->gone, want->others);
}

static unsigned for_every_wish(const World *w) {
        char *const *const lists[] = { NULL, queue_64, xcopy_on };
        unsigned n = 0;

        for (unsigned bits = 0; bits < 16; bits++)
                for (size_t i = 0; i < ELEMENTSOF(lists); i++, n++) {
                        Wish wish;

                        make_wish(&wish, make_want(bits & 1, bits & 2, bits & 4, bits & 8, lists[i]));
                        last_case = describe(w, &wish.want);
                        check(w, &wish);
                        g_free(last_case);
                        last_case = NULL;
                }

        return n;
}

static unsigned for_every_backstore(World w) {
        unsigned n = 0;

        w.enabled = w.other_linked = false;
        for (Alias a = 0; a < _ALIAS_MAX; a++) {
                w.alias = a;
                memcpy(w.values, kernel_values, sizeof w.values);
                n += w.link == LINK_OURS ? 0 : for_every_wish(&w);
        }

        w.control = w.enabled = true;
        for (Alias a = 0; a < _ALIAS_MAX; a++)
                for (unsigned bits = 0; bits < 32; bits++) {
                        w.alias = a;
                        w.serial = bits & 1;
                        w.other_linked = bits & 2;
                        for (size_t i = 0; i < ELEMENTSOF(attributes); i++)
                                w.values[i] = bits & 4U << i ? !kernel_values[i] : kernel_values[i];
                        n += for_every_wish(&w);
                }

        return n;
}

static void test_every_state(void) {
        unsigned n = 0;

        signal(SIGABRT, on_abort);

        for (Link link = 0; link < _LINK_MAX; link++)
                for (unsigned bits = 0; bits < 16; bits++) {
                        World w = { .dir = bits & 1, .link = link, .hba = bits & 2, .sibling = bits & 4, .backstore = bits & 8 };

                        /* What no kernel can show. */
                        if ((link != LINK_NONE && !w.dir) || (!w.hba && (w.sibling || w.backstore)) || (link == LINK_OURS && !w.backstore))
                                continue;

                        n += w.backstore ? for_every_backstore(w) : for_every_wish(&w);
                }

        g_test_message("%u cases", n);
        g_assert_cmpuint(n, >, 10000);
}

static void assert_steps(const Plan *p, const char *const *expected) {
        for (size_t i = 0; i < p->n; i++) {
                const Step *s = p->steps + i;
                g_autofree char *line = g_strdup_printf("%s %s%s%s", step_op_to_string(s->op), s->path, s->value ? " " : "",
                                                        strempty(s->value));

                g_assert_cmpstr(line, ==, expected[i]);
        }
        g_assert_null(expected[p->n]);
}

static const char *const up_steps[] = {
        "mkdir " HBA,
        "mkdir " PLACE,
        "write " PLACE "/alias " MARK_NOW,
        "write " PLACE "/control udev_path=/dev/sdb",
        "write " PLACE "/udev_path /dev/disk/by-id/wwn-0x5",
        "write " PLACE "/enable 1",
        "verify " PLACE "/info " MARK_NOW,
        "write " PLACE "/attrib/emulate_3pc 0",
        "write " PLACE "/attrib/emulate_model_alias 1",
        "write " PLACE "/attrib/queue_depth 64",
        "write " PLACE "/wwn/vpd_unit_serial serial-1",
        "mkdir " LUN_DIR,
        "symlink " LUN_DIR "/d-x " PLACE,
        NULL,
};

static const char *const down_steps[] = {
        "unlink " LUN_DIR "/d-x",
        "rmdir " LUN_DIR,
        "rmdir " PLACE,
        "rmdir " HBA,
        NULL,
};

/* The order, word by word (facts 1.1). */
static void test_order(void) {
        _cleanup_(plan_done) Plan up = {}, down = {}, again = {}, readonly = {};
        LunWant want = make_want(true, true, false, false, queue_64), unwanted = want;
        World w = {};

        g_assert_cmpint(make_plan(&w, &want, &up), ==, 0);
        assert_steps(&up, up_steps);
        for (size_t i = 0; i < up.n; i++)
                step(&w, up.steps + i);

        unwanted.wanted = false;
        g_assert_cmpint(make_plan(&w, &unwanted, &down), ==, 0);
        assert_steps(&down, down_steps);

        /* The instance is gone and another is there: down, then up, in one plan. */
        w.alias = ALIAS_OLD;
        want.gone = true;
        g_assert_cmpint(make_plan(&w, &want, &again), ==, 0);
        g_assert_cmpuint(again.n, ==, up.n + down.n);
        for (size_t i = 0; i < again.n; i++)
                g_assert_cmpstr(again.steps[i].path, ==, i < down.n ? down.steps[i].path : up.steps[i - down.n].path);

        want.gone = false;
        want.readonly = true;
        g_assert_cmpint(make_plan(&(World) {}, &want, &readonly), ==, 0);
        g_assert_cmpuint(readonly.n, ==, up.n + 1);
        g_assert_cmpstr(readonly.steps[4].path, ==, PLACE "/control");
        g_assert_cmpstr(readonly.steps[4].value, ==, "readonly=1");
}

/* A refusal takes nothing away of what was in the plan before. */
static void test_refused_adds_nothing(void) {
        static const char *const expected[] = {
                "mkdir vhost/" WWN, "mkdir vhost/" WWN "/tpgt_1", "write vhost/" WWN "/tpgt_1/nexus " WWN, NULL,
        };
        TargetWant target = { .wwn = WWN, .nexus = WWN, .wanted = true };
        LunWant want = make_want(true, true, false, false, NULL);
        World w = { .dir = true, .link = LINK_THEIRS };
        _cleanup_(plan_done) Plan p = {};

        g_assert_cmpint(plan_target_up(&target, &(TargetSeen) {}, &p), ==, 0);
        g_assert_cmpint(make_plan(&w, &want, &p), ==, -EADDRINUSE);
        assert_steps(&p, expected);
}

static void test_target(void) {
        for (unsigned bits = 0; bits < 16; bits++) {
                TargetSeen seen = { .wwn_dir = bits & 1, .tpg_dir = bits & 2, .nexus = bits & 4 ? (char *) "naa.5001405ffffffff" : NULL };
                TargetWant want = { .wwn = WWN, .nexus = "naa.5001405000000001", .wanted = bits & 8 };
                _cleanup_(plan_done) Plan up = {}, down = {};
                unsigned n = 0;

                if ((seen.tpg_dir && !seen.wwn_dir) || (seen.nexus && !seen.tpg_dir))
                        continue;

                g_assert_cmpint(plan_target_up(&want, &seen, &up), ==, 0);
                g_assert_cmpint(plan_target_down(&want, &seen, &down), ==, 0);
                g_assert_cmpuint(up.n, ==, want.wanted ? !seen.wwn_dir + !seen.tpg_dir + !seen.nexus : 0);
                g_assert_cmpuint(down.n, ==, want.wanted ? 0 : seen.wwn_dir + seen.tpg_dir);

                if (want.wanted && !seen.wwn_dir)
                        g_assert_cmpstr(up.steps[n++].path, ==, "vhost/" WWN);
                if (want.wanted && !seen.tpg_dir)
                        g_assert_cmpstr(up.steps[n++].path, ==, "vhost/" WWN "/tpgt_1");
                if (want.wanted && !seen.nexus) {
                        g_assert_cmpstr(up.steps[n].path, ==, "vhost/" WWN "/tpgt_1/nexus");
                        g_assert_cmpstr(up.steps[n].value, ==, want.nexus);
                }
                if (down.n == 2)
                        g_assert_cmpstr(down.steps[0].path, ==, "vhost/" WWN "/tpgt_1");
                if (down.n > 0)
                        g_assert_cmpstr(down.steps[down.n - 1].path, ==, "vhost/" WWN);
        }
}

/* "fresh" turns an empty HBA directory into somebody else's; one that a pass of ours has begun is ours. */
static void test_fresh(void) {
        _cleanup_(cfs_freep) Cfs *c = NULL;

        fake_reset();
        g_assert_cmpint(cfs_new(0, &c), ==, 0);
        for (unsigned bits = 0; bits < 8; bits++) {
                LunWant want = make_want(bits & 2, true, false, false, NULL);
                _cleanup_(lun_seen_done) LunSeen seen = {};
                _cleanup_(plan_done) Plan p = {};
                int r;

                want.fresh = bits & 1;
                if (bits == 4)
                        g_assert_cmpint(cfs_mkdir(c, HBA), ==, 0);
                g_assert_cmpint(lio_observe_lun(c, &want, &seen), ==, 0);
                g_assert_cmpint(seen.hba_dir, ==, bits >= 4);
                g_assert_cmpint(seen.hba_others, ==, bits >= 4 && want.fresh);

                r = plan_lun(&want, &seen, &p);
                g_assert_cmpint(r, ==, bits >= 4 && want.fresh && want.wanted ? -EADDRINUSE : 0);
                if (r < 0)
                        g_assert_cmpuint(p.n, ==, 0);
                else if (want.wanted)
                        g_assert_cmpint(p.steps[0].op == STEP_MKDIR && streq(p.steps[0].path, HBA), ==, bits < 4);
                else
                        g_assert_cmpuint(p.n, ==, bits >= 4 && !want.fresh);
        }
}

static void test_mark(void) {
        static const char *const bad[] = {
                "", "vhscsid", "vhscsid diskseq=1", "vhscsid diskseq=1 dev=2", "vhscsid diskseq=1 dev=2:3 ", "vhscsid diskseq=1 dev=2:3x",
                "targetcli", "Vhscsid diskseq=1 dev=2:3", "vhscsid diskseq= dev=:", "vhscsid diskseq=x dev=1:2", " vhscsid diskseq=1 dev=2:3",
        };
        static const struct {
                uint64_t diskseq;
                unsigned ma, mi;
        } good[] = { { 0, 0, 0 }, { 14, 253, 3 }, { UINT64_MAX, 4095, 1048575 } };
        uint64_t diskseq = 1;
        dev_t devnum = 2;

        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                _cleanup_free_ char *s = NULL;

                g_assert_cmpint(plan_mark(good[i].diskseq, makedev(good[i].ma, good[i].mi), &s), ==, 0);
                g_assert_true(plan_parse_mark(s, &diskseq, &devnum));
                g_assert_cmpuint(diskseq, ==, good[i].diskseq);
                g_assert_true(devnum == makedev(good[i].ma, good[i].mi));
        }

        g_assert_false(plan_parse_mark(NULL, &diskseq, &devnum));
        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                g_assert_false(plan_parse_mark(bad[i], &diskseq, &devnum));
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/plan/every-state", test_every_state);
        g_test_add_func("/plan/order", test_order);
        g_test_add_func("/plan/refused-adds-nothing", test_refused_adds_nothing);
        g_test_add_func("/plan/target", test_target);
        g_test_add_func("/plan/fresh", test_fresh);
        g_test_add_func("/plan/mark", test_mark);

        return g_test_run();
}
