/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "engine-fixture.h"
#include "engine/edit.h"
#include "engine/files.h"
#include "engine/hotplug.h"
#include "engine/lun-view.h"
#include "kernel/mount-point.h"

/* On which filesystem a file is, and who tells of it. Stands for kernel/mount-point.c: all is on one filesystem, of which udev may not have
 * said the name yet. */

#define WWN "naa.5001405aaaaaaaaa"
#define DISK makedev(250, 9)

struct MountTable {
        int nothing;
};

struct MountWatch {
        mount_watch_t changed;
        void *userdata;
};

static MountTable table;
static MountWatch watching;     /* changed is NULL: nobody watches */
static bool processed;          /* by udev */
static unsigned n_looks;

void mount_point_done(MountPoint *p) {
        g_clear_pointer(&p->target, free);
        g_clear_pointer(&p->filesystem, free);
}

int mount_table_new(MountTable **ret) {
        n_looks++;
        *ret = &table;
        return 0;
}

MountTable *mount_table_free(MountTable *t) {
        return NULL;
}

int mount_table_find(const MountTable *t, const char *path, MountPoint *ret) {
        struct statx st = {};

        /* Whoever opens the file compares the mount with this one. */
        g_assert_cmpint(statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, &st), ==, 0);
        *ret = (MountPoint) {
                .target = strdup("/"),
                .filesystem = strdup(processed ? "uuid=1234" : "ext4:/dev/fake9"),
                .awaited = processed ? 0 : DISK,
                .id = st.stx_mnt_id,
                .devnum = DISK,
        };
        return 0;
}

int mount_watch_new(sd_event *event, mount_watch_t changed, void *userdata, MountWatch **ret) {
        g_assert_null(watching.changed);
        watching = (MountWatch) { .changed = changed, .userdata = userdata };
        *ret = &watching;
        return 0;
}

MountWatch *mount_watch_free(MountWatch *w) {
        if (w)
                w->changed = NULL;
        return NULL;
}

static char *make_file(void) {
        g_autofree char *path = NULL;
        int fd = g_file_open_tmp("vhscsid-filesystem-XXXXXX", &path, NULL);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(ftruncate(fd, 1 << 20), ==, 0);
        close(fd);
        return g_strconcat("file=", path, NULL);
}

static void begin(Fixture *f, bool is_processed) {
        processed = is_processed;
        fixture_init(f);
        g_assert_cmpint(files_new(&f->engine.files), ==, 0);
}

static void end(Fixture *f, const char *source) {
        f->engine.files = files_free(f->engine.files);
        fixture_done(f);
        g_unlink(source + strlen("file="));
}

static LunState state_of(Fixture *f) {
        LunView v;

        lun_view_make(&f->engine, target_lun(registry_target(&f->engine.registry, WWN), 0), &v);
        return v.state;
}

/* What is not known yet is not stored, for it would be another filesystem after the next start. */
static void test_udev_is_late(void) {
        g_autofree char *source = make_file();
        _cleanup_(refusal_done) Refusal refusal = {};
        LunOptions o = { .common.timeout = UINT64_MAX };
        uint32_t number;
        Fixture f = {};
        Target *t;
        Lun *l;

        begin(&f, false);
        t = fixture_create(&f, WWN);
        g_assert_cmpint(edit_add_lun(&f.engine, t, source, &o, &number, &refusal), ==, REFUSED);
        g_assert_cmpint(refusal.kind, ==, REFUSAL_NOT_READY);

        processed = true;
        l = fixture_add_lun(&f, t, source);
        fixture_run(&f);
        g_assert_cmpint(state_of(&f), ==, LUN_ONLINE);
        g_assert_cmpstr(l->backstore->identity, ==, "filesystem=uuid=1234");
        end(&f, source);
}

/* A start, as after a reboot, that is earlier than udev. */
static void test_started_before_udev(void) {
        g_autofree char *source = make_file(), *link = NULL;
        Fixture f = {};
        Lun *l;

        begin(&f, true);
        l = fixture_add_lun(&f, fixture_create(&f, WWN), source);
        fixture_run(&f);
        f.engine.files = files_free(f.engine.files);
        fixture_restart_bare(&f);
        l = target_lun(registry_target(&f.engine.registry, WWN), 0);
        link = g_strdup_printf("vhost/" WWN "/tpgt_1/lun/lun_0/%s", l->backstore->name);
        g_assert_cmpint(cfs_unlink(f.engine.cfs, link), ==, 0);

        processed = false;
        g_assert_cmpint(files_new(&f.engine.files), ==, 0);
        files_look(&f.engine);
        registry_mark_lun(&f.engine.registry, l);
        fixture_run(&f);
        g_assert_cmpint(state_of(&f), ==, LUN_WAITING);
        g_assert_true(hotplug_is_wanted(DISK, NULL, &f.engine));

        /* News of another disk, and of this one while udev is still at it. */
        n_looks = 0;
        hotplug_on_device(makedev(250, 8), NULL, &f.engine);
        g_assert_cmpuint(n_looks, ==, 0);
        hotplug_on_device(DISK, NULL, &f.engine);
        fixture_run(&f);
        g_assert_cmpuint(n_looks, ==, 1);
        g_assert_cmpint(state_of(&f), ==, LUN_WAITING);

        processed = true;
        hotplug_on_device(DISK, NULL, &f.engine);
        fixture_run(&f);
        g_assert_cmpint(state_of(&f), ==, LUN_ONLINE);
        g_assert_false(hotplug_is_wanted(DISK, NULL, &f.engine));
        end(&f, source);
}

/* Nobody is woken by mounts for nothing. */
static void test_watched_while_needed(void) {
        g_autofree char *source = make_file();
        _cleanup_(refusal_done) Refusal refusal = {};
        EditOptions o = { .timeout = UINT64_MAX };
        Fixture f = {};
        Lun *l;

        begin(&f, true);
        files_look(&f.engine);
        g_assert_null(watching.changed);
        l = fixture_add_lun(&f, fixture_create(&f, WWN), source);
        g_assert_nonnull(watching.changed);
        fixture_run(&f);
        watching.changed(watching.userdata);
        g_assert_nonnull(watching.changed);

        g_assert_cmpint(edit_remove_lun(&f.engine, l, &o, &refusal), ==, 0);
        fixture_run(&f);
        n_looks = 0;
        watching.changed(watching.userdata);
        g_assert_null(watching.changed);
        g_assert_cmpuint(n_looks, ==, 0);
        end(&f, source);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/filesystem/udev-is-late", test_udev_is_late);
        g_test_add_func("/filesystem/started-before-udev", test_started_before_udev);
        g_test_add_func("/filesystem/watched-while-needed", test_watched_while_needed);

        return g_test_run();
}
