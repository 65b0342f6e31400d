/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <sys/sysmacros.h>

#include "engine-fixture.h"
#include "engine/hotplug.h"
#include "engine/lun-view.h"
#include "engine/ready.h"

/* What is asked of the outside world at the moment of a call. Stands for kernel/uevents.c: a host with one map. */

#define WWN "naa.5001405aaaaaaaaa"
#define SOURCE "dm-uuid=mpath-36000"
#define DEVNUM makedev(254, 3)

struct Uevents {
        bool there, suspended;
        unsigned n_reads;
};

static Uevents host;

static Device *map_now(void) {
        Device *d = device_new();

        g_assert_nonnull(d);
        d->devnum = DEVNUM;
        d->kind = DEVICE_MULTIPATH;
        d->name = g_strdup("dm-3");
        d->node = g_strdup("/dev/dm-3");
        d->dm_name = g_strdup("mpatha");
        d->identity = g_strdup(SOURCE);
        g_assert_cmpint(strv_extend(&d->keys, SOURCE), >=, 0);
        d->link = g_strdup("/dev/disk/by-id/dm-uuid-mpath-36000");
        d->diskseq = 7;
        d->size = 1 << 20;
        d->block_size = 512;
        d->valid_paths = d->total_paths = 2;
        d->stable = d->initialized = d->ready = true;
        d->suspended = host.suspended;
        return d;
}

void uevents_flush(Uevents *u) {
}

int uevents_suspect(Uevents *u, dev_t devnum, bool wanted) {
        return 0;
}

int uevents_enumerate(Uevents *u) {
        return 0;
}

int uevents_enumerate_wanted(Uevents *u) {
        return 0;
}

int uevents_catch_up(Uevents *u) {
        return 0;
}

void uevents_read_unread(Uevents *u, dev_t devnum) {
}

int uevents_read_device(Uevents *u, dev_t devnum, Device **ret) {
        u->n_reads++;
        if (!u->there || devnum != DEVNUM)
                return -ENODEV;

        *ret = map_now();
        return 0;
}

int uevents_is_suspended(Uevents *u, const Device *d) {
        g_assert_true(d->devnum == DEVNUM);
        return u->there ? u->suspended : -ENODEV;
}

int uevents_holders(Uevents *u, const Device *d, char ***ret) {
        *ret = NULL;
        return 0;
}

int uevents_multipath_holder(Uevents *u, const Device *d, char **ret) {
        return 0;
}

int uevents_stack(Uevents *u, const Device *d, dev_t **ret, size_t *ret_n) {
        *ret = g_new(dev_t, 1);
        **ret = d->devnum;
        *ret_n = 1;
        return 0;
}

static void begin(Fixture *f) {
        fixture_init(f);
        host = (Uevents) { .there = true };
        f->engine.uevents = &host;
        fake_block_add_simple(DEVNUM, "/dev/dm-3", 7);
        hotplug_on_device(DEVNUM, map_now(), &f->engine);
}

static void end(Fixture *f) {
        f->engine.uevents = NULL;
        fixture_done(f);
}

static void assert_is(Fixture *f, const Lun *l, LunState state, DeviceHealth health) {
        LunView v;

        lun_view_make(&f->engine, l, &v);
        g_assert_cmpint(v.state, ==, state);
        g_assert_cmpint(v.health, ==, health);
}

/* Nobody tells of a suspend; whoever asks how things are makes us look. */
static void test_suspend_without_news(void) {
        Fixture f = {};
        Target *t;
        Lun *l;

        begin(&f);
        t = fixture_create(&f, WWN);
        l = fixture_add_lun(&f, t, SOURCE);
        fixture_run(&f);
        assert_is(&f, l, LUN_ONLINE, HEALTH_OK);

        host.suspended = true;
        hotplug_look_at_luns(&f.engine, t);
        assert_is(&f, l, LUN_DEGRADED, HEALTH_SUSPENDED);
        g_assert_false(list_is_empty(&l->publish_link));
        host.suspended = false;
        hotplug_look_at_maps(&f.engine);
        assert_is(&f, l, LUN_ONLINE, HEALTH_OK);
        fixture_run(&f);
        g_assert_true(l->linked);

        /* Nothing new is not read again, and what has vanished has an event of its own. */
        host.n_reads = 0;
        hotplug_look_at_maps(&f.engine);
        host.there = false;
        hotplug_look_at_maps(&f.engine);
        g_assert_cmpuint(host.n_reads, ==, 0);
        assert_is(&f, l, LUN_ONLINE, HEALTH_OK);
        end(&f);
}

/* The kernel would wait in the middle of opening it. */
static void test_suspended_is_waited_for(void) {
        Fixture f = {};
        Target *t;
        Lun *l;

        begin(&f);
        t = fixture_create(&f, WWN);
        host.suspended = true;
        l = fixture_add_lun(&f, t, SOURCE);
        fixture_run(&f);
        assert_is(&f, l, LUN_WAITING, HEALTH_SUSPENDED);
        g_assert_false(fake_block_is_open(DEVNUM));

        host.suspended = false;
        hotplug_on_device(DEVNUM, map_now(), &f.engine);
        fixture_run(&f);
        assert_is(&f, l, LUN_ONLINE, HEALTH_OK);
        end(&f);
}

/* What has been there is not what has never been. */
static void test_gone_while_waiting(void) {
        Fixture f = {};
        Target *t;
        Lun *l, *other;

        begin(&f);
        t = fixture_create(&f, WWN);
        l = fixture_add_lun(&f, t, SOURCE);
        other = fixture_add_lun(&f, t, "wwid=39999");
        fixture_run(&f);
        assert_is(&f, other, LUN_WAITING, HEALTH_UNKNOWN);

        host.there = false;
        fake_block_remove(DEVNUM);
        hotplug_on_device(DEVNUM, NULL, &f.engine);
        assert_is(&f, l, LUN_DEGRADED, HEALTH_GONE);
        fixture_run(&f);
        g_assert_false(l->linked);
        assert_is(&f, l, LUN_WAITING, HEALTH_GONE);
        assert_is(&f, other, LUN_WAITING, HEALTH_UNKNOWN);

        host.there = true;
        fake_block_add_simple(DEVNUM, "/dev/dm-3", 7);
        hotplug_on_device(DEVNUM, map_now(), &f.engine);
        fixture_run(&f);
        assert_is(&f, l, LUN_ONLINE, HEALTH_OK);
        g_assert_false(l->backstore->removed);
        end(&f);
}

static void add_disk(Fixture *f, unsigned n) {
        Device *d = device_new();

        g_assert_nonnull(d);
        d->devnum = makedev(8, 16 * n);
        d->name = g_strdup_printf("sd%c", 'a' + (char) n);
        d->node = g_strdup_printf("/dev/%s", d->name);
        d->identity = g_strdup("wwid=38000");
        g_assert_cmpint(strv_extend(&d->keys, d->identity), >=, 0);
        d->link = g_strdup("/dev/disk/by-id/scsi-38000");
        d->diskseq = 20 + n;
        d->size = 1 << 20;
        d->block_size = 512;
        d->stable = d->initialized = d->ready = true;
        fake_block_add_simple(d->devnum, d->node, d->diskseq);
        hotplug_on_device(d->devnum, d, &f->engine);
}

/* Which one is the guest's? As long as nobody can tell, why it waits is said. */
static void test_several_with_one_name(void) {
        Fixture f = {};
        ProblemList problems = {};
        LunView v;
        Target *t;
        Lun *l;

        begin(&f);
        t = fixture_create(&f, WWN);
        l = fixture_add_lun(&f, t, "wwid=38000");
        fixture_run(&f);
        lun_view_make(&f.engine, l, &v);
        g_assert_null(v.error_code);

        add_disk(&f, 1);
        add_disk(&f, 2);
        g_assert_false(list_is_empty(&l->publish_link));
        fixture_run(&f);
        lun_view_make(&f.engine, l, &v);
        g_assert_cmpint(v.state, ==, LUN_WAITING);
        g_assert_cmpstr(v.error_code, ==, "NotReady");
        g_assert_cmpint(ready_check(&f.engine, WWN, NULL, &problems), ==, 0);
        g_assert_cmpuint(problems.n, >, 0);
        g_assert_nonnull(strstr(problems.problems[problems.n - 1].detail, "several devices"));
        problem_list_done(&problems);

        hotplug_on_device(makedev(8, 16), NULL, &f.engine);
        fixture_run(&f);
        lun_view_make(&f.engine, l, &v);
        g_assert_cmpint(v.state, ==, LUN_ONLINE);
        g_assert_null(v.error_code);
        end(&f);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/survey/suspend-without-news", test_suspend_without_news);
        g_test_add_func("/survey/suspended-is-waited-for", test_suspended_is_waited_for);
        g_test_add_func("/survey/gone-while-waiting", test_gone_while_waiting);
        g_test_add_func("/survey/several-with-one-name", test_several_with_one_name);

        return g_test_run();
}
