/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "base/fileio.h"
#include "engine-fixture.h"
#include "engine/autoexport.h"
#include "engine/edit.h"
#include "engine/foreign.h"
#include "engine/hotplug.h"
#include "engine/queue.h"
#include "engine/record.h"
#include "engine/worker.h"
#include "tree.h"

#define DEADLINE_USEC UINT64_C(120000000)      /* thousands of LUNs on a machine that others use, too */

/* The linker takes this for the C library's, unless a test has one of its own: nobody pulls the plug here, so nobody waits for a disk. */
__attribute__((weak)) int fsync(int fd) {
        return 0;
}

int fixture_start(Fixture *f) {
        Engine *e = &f->engine;
        sigset_t mask;
        int r;

        sigemptyset(&mask);
        sigaddset(&mask, SIGCHLD);
        sigprocmask(SIG_BLOCK, &mask, NULL);

        *e = (Engine) {};
        list_init(&e->workers);
        list_init(&e->acquiring);
        list_init(&e->rescans);
        list_init(&e->answered);
        list_init(&e->probed);

        r = sd_event_new(&e->event);
        if (r >= 0)
                r = registry_init(&e->registry, 1);
        if (r >= 0)
                r = (e->inventory = inventory_new()) ? 0 : -ENOMEM;
        if (r >= 0)
                r = store_new(f->state_dir, &e->store);
        if (r >= 0)
                r = store_load(e->store, &e->registry);
        if (r >= 0)
                r = record_start(e, f->state_dir);
        if (r >= 0)
                r = removed_new(f->state_dir, &e->removed);
        if (r >= 0)
                r = autoexport_new(&e->autoexport);
        if (r >= 0)
                r = cfs_new(0, &e->cfs);
        if (r >= 0)
                r = queue_start(e);
        if (r < 0)
                return r;

        e->running = true;
        registry_mark_all(&e->registry);
        return 0;
}

static void start(Fixture *f) {
        g_assert_cmpint(fixture_start(f), ==, 0);
}

static void stop(Fixture *f) {
        Engine *e = &f->engine;

        worker_stop_all(e);
        foreign_stop(e);
        queue_stop(e);
        registry_done(&e->registry);
        inventory_free(e->inventory);
        autoexport_free(e->autoexport);
        removed_free(e->removed);
        history_free(e->history);
        store_free(e->store);
        cfs_free(e->cfs);
        sd_event_unref(e->event);
}

void fixture_restart_bare(Fixture *f) {
        fake_freeze();
        stop(f);
        /* systemd starts no unit anew while something of it runs. */
        while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
                ;
        fake_thaw();
        start(f);
}

void fixture_init(Fixture *f) {
        fake_reset();
        f->state_dir = g_dir_make_tmp("vhscsid-test-XXXXXX", NULL);
        g_assert_nonnull(f->state_dir);
        start(f);
}

void fixture_done(Fixture *f) {
        stop(f);
        tree_remove(f->state_dir);
        g_free(f->state_dir);
}

void fixture_restart(Fixture *f) {
        _cleanup_(strv_freep) char **names = NULL;
        Device *d;

        /* What the host has does not go with the daemon. */
        INVENTORY_FOREACH(f->engine.inventory, d) {
                char number[64];

                snprintf(number, sizeof number, "%u %" G_GUINT64_FORMAT, minor(d->devnum), d->diskseq);
                g_assert_cmpint(strv_extend(&names, number), >=, 0);
        }

        fixture_restart_bare(f);

        for (char **n = names; n && *n; n++) {
                unsigned number;
                guint64 diskseq;

                g_assert_cmpint(sscanf(*n, "%u %" G_GUINT64_FORMAT, &number, &diskseq), ==, 2);
                fixture_add_device(f, number, diskseq);
        }
}

void fixture_add_device(Fixture *f, unsigned n, uint64_t diskseq) {
        fixture_add_wished_device(f, n, diskseq, NULL);
}

void fixture_add_wished_device(Fixture *f, unsigned n, uint64_t diskseq, const char *wwn) {
        dev_t devnum = makedev(250, n);
        Device *d = device_new();
        uint64_t there;

        g_assert_nonnull(d);
        d->devnum = devnum;
        d->kind = DEVICE_DISK;
        d->name = g_strdup_printf("fake%u", n);
        d->node = g_strdup_printf("/dev/fake%u", n);
        d->identity = g_strdup_printf("wwid=3600%u", n);
        g_assert_cmpint(strv_extend(&d->keys, d->identity), >=, 0);
        d->link = g_strdup_printf("/dev/disk/by-id/scsi-3600%u", n);
        d->diskseq = diskseq;
        d->size = 1 << 20;
        d->block_size = 512;
        d->valid_paths = d->total_paths = -1;
        d->stable = d->initialized = d->ready = true;
        d->wish_target = g_strdup(wwn);

        if (cfs_block_diskseq(f->engine.cfs, devnum, &there) < 0 || there != diskseq)
                fake_block_add_simple(devnum, d->node, diskseq);
        hotplug_on_device(devnum, d, &f->engine);
}

void fixture_remove_device(Fixture *f, unsigned n) {
        fake_block_remove(makedev(250, n));
        hotplug_on_device(makedev(250, n), NULL, &f->engine);
}

static int on_kick(sd_event_source *source, void *userdata) {
        return 0;
}

bool fixture_run_until(Fixture *f, bool (*condition)(Fixture *f)) {
        Engine *e = &f->engine;
        uint64_t deadline = engine_now(e) + DEADLINE_USEC;
        sd_event_source *kick;
        bool met = false;

        g_assert_cmpint(sd_event_add_defer(e->event, &kick, on_kick, NULL), >=, 0);
        do {
                g_assert_cmpint(sd_event_run(e->event, 100000), >=, 0);
                met = condition(f);
        } while (!met && engine_now(e) < deadline);
        sd_event_source_unref(kick);

        return met;
}

static bool is_idle(Fixture *f) {
        return queue_is_idle(&f->engine) && (list_is_empty(&f->engine.workers) || fake_hanging() > 0);
}

void fixture_run(Fixture *f) {
        g_assert_true(fixture_run_until(f, is_idle));
}

void fixture_pass_time(Fixture *f) {
        Engine *e = &f->engine;
        Target *t;

        REGISTRY_FOREACH(&e->registry, t) {
                t->retry_at = t->retry_at > 0;
                for (size_t i = 0; i < t->n_luns; i++)
                        t->luns[i]->retry_at = t->luns[i]->retry_at > 0;
        }
        e->autoexport_at = e->autoexport_at > 0;
        queue_retry_by(e, 1);
}

char *fixture_store_snapshot(Fixture *f) {
        g_autofree char *path = g_build_filename(f->state_dir, "targets", NULL);
        GString *s = g_string_new(NULL);
        _cleanup_(strv_freep) char **names = NULL;
        const char *name;
        GDir *d;

        d = g_dir_open(path, 0, NULL);
        g_assert_nonnull(d);
        while ((name = g_dir_read_name(d)))
                if (name[0] != '.')
                        g_assert_cmpint(strv_extend(&names, name), >=, 0);
        g_dir_close(d);
        strv_sort(names);

        for (char **n = names; n && *n; n++) {
                g_autofree char *file = g_build_filename(path, *n, NULL), *text = NULL;

                g_assert_true(g_file_get_contents(file, &text, NULL, NULL));
                g_string_append_printf(s, "%s: %s", *n, text);
        }

        return g_string_free(s, FALSE);
}

Target *fixture_create(Fixture *f, const char *wwn) {
        CreateOptions o = { .common.timeout = UINT64_MAX, .nexus = "naa.5001405000000001" };
        _cleanup_(refusal_done) Refusal refusal = {};
        char canonical[WWN_SIZE];
        bool existing;
        Target *t;

        g_assert_cmpint(edit_create_target(&f->engine, wwn, &o, &t, &existing, canonical, &refusal), ==, 0);
        return t;
}

Lun *fixture_add_lun(Fixture *f, Target *t, const char *source) {
        LunOptions o = { .common.timeout = UINT64_MAX };
        _cleanup_(refusal_done) Refusal refusal = {};
        uint32_t number;

        g_assert_cmpint(edit_add_lun(&f->engine, t, source, &o, &number, &refusal), ==, 0);
        return target_lun(t, number);
}
