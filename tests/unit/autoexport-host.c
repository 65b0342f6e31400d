/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <sys/sysmacros.h>

#include "autoexport-host.h"
#include "engine/hotplug.h"
#include "kernel/mounts.h"

struct Uevents {
        int nothing;
};

struct Mounts {
        dev_t mounted;
};

static Uevents nothing;

Uevents *const host = &nothing;
dev_t mounted;
unsigned n_mounts;
bool disk_is_full, mounts_fail;
GHashTable *paths;

void host_init(void) {
        mounted = 0;
        n_mounts = 0;
        disk_is_full = mounts_fail = false;
        g_clear_pointer(&paths, g_hash_table_unref);
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
        return -ENODEV;
}

int uevents_is_suspended(Uevents *u, const Device *d) {
        return d->suspended;
}

int uevents_holders(Uevents *u, const Device *d, char ***ret) {
        *ret = NULL;
        return 0;
}

int uevents_multipath_holder(Uevents *u, const Device *d, char **ret) {
        if (!paths || !g_hash_table_contains(paths, GUINT_TO_POINTER(minor(d->devnum))))
                return 0;

        *ret = strdup("mpatha");
        return 1;
}

int uevents_stack(Uevents *u, const Device *d, dev_t **ret, size_t *ret_n) {
        *ret = malloc(sizeof **ret);
        g_assert_nonnull(*ret);
        **ret = d->devnum;
        *ret_n = 1;
        return 0;
}

int mounts_new(Mounts **ret) {
        if (mounts_fail)
                return -ENOMEM;

        *ret = malloc(sizeof **ret);
        g_assert_nonnull(*ret);
        (*ret)->mounted = mounted;
        n_mounts++;
        return 0;
}

Mounts *mounts_free(Mounts *m) {
        free(m);
        return NULL;
}

int mounts_use(const Mounts *m, dev_t devnum, char **ret) {
        if (m->mounted != devnum)
                return 0;

        *ret = strdup("mounted on /srv");
        return 1;
}

int mounts_use_file(const Mounts *m, const char *path, char **ret) {
        return 0;
}

/* The disk that the store is on. */
int fsync(int fd) {
        if (!disk_is_full)
                return 0;

        errno = ENOSPC;
        return -1;
}

/* ---- its devices ---- */

void add_disk(Fixture *f, unsigned n, const Disk *disk) {
        g_autofree char *wwid = disk->wwid ? g_strdup(disk->wwid) : g_strdup_printf("3600%u", n);
        dev_t devnum = makedev(HOST_MAJOR, n);
        Device *d = device_new();
        uint64_t there;

        g_assert_nonnull(d);
        d->devnum = devnum;
        d->kind = disk->map ? DEVICE_MULTIPATH : DEVICE_DISK;
        d->name = g_strdup_printf(disk->map ? "dm-%u" : "fake%u", n);
        d->node = g_strdup_printf("/dev/%s", d->name);
        d->dm_name = disk->map ? g_strdup_printf("mpath%u", n) : NULL;
        d->identity = disk->map ? g_strdup_printf("dm-uuid=mpath-%s", wwid) : g_strdup_printf("wwid=%s", wwid);
        g_assert_cmpint(strv_extend(&d->keys, d->identity), >=, 0);
        if (disk->map)
                g_assert_cmpint(strv_consume(&d->keys, g_strdup_printf("wwid=%s", wwid)), >=, 0);
        d->link = g_strdup_printf("/dev/disk/by-id/%s-%s", disk->map ? "dm-uuid-mpath" : "scsi", wwid);
        d->diskseq = n + 1;
        d->size = 1 << 20;
        d->block_size = 512;
        d->stable = d->initialized = d->ready = true;
        d->path_member = disk->path;
        d->path_of = disk->path ? g_strdup("") : NULL;
        d->read_only = disk->read_only;
        d->wish_target = g_strdup(disk->target);
        d->wish_number = g_strdup(disk->number);
        d->wish_readonly = g_strdup(disk->readonly);

        /* Not anew: what has it open would stand on an instance that is gone. */
        if (cfs_block_diskseq(f->engine.cfs, devnum, &there) < 0 || there != d->diskseq)
                fake_block_add_simple(devnum, d->node, d->diskseq);
        hotplug_on_device(devnum, d, &f->engine);
}

void poke(Fixture *f, unsigned n) {
        Device *d = inventory_by_devnum(f->engine.inventory, makedev(HOST_MAJOR, n)), *again;

        again = device_new();
        g_assert_nonnull(again);
        *again = *d;
        again->name = g_strdup(d->name);
        again->node = g_strdup(d->node);
        again->identity = g_strdup(d->identity);
        again->keys = NULL;
        for (char **k = d->keys; *k; k++)
                g_assert_cmpint(strv_extend(&again->keys, *k), >=, 0);
        again->link = g_strdup(d->link);
        again->dm_name = g_strdup(d->dm_name);
        again->path_of = g_strdup(d->path_of);
        again->wish_target = g_strdup(d->wish_target);
        again->wish_number = g_strdup(d->wish_number);
        again->wish_readonly = g_strdup(d->wish_readonly);
        hotplug_on_device(d->devnum, again, &f->engine);
}
