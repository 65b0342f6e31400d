/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/stat.h>

#include "base/errno.h"
#include "base/log.h"
#include "base/strv.h"
#include "engine/files.h"
#include "engine/hotplug.h"
#include "kernel/mount-point.h"
#include "model/source.h"

struct Files {
        MountWatch *watch;      /* NULL while no LUN stands on a file */
        /* Disks without which nobody can tell what is mounted: udev is still to process them. */
        dev_t *awaited;
        size_t n_awaited;
};

static int make_device(const char *source, const MountPoint *p, uint64_t size, Device **ret) {
        _cleanup_(device_freep) Device *d = device_new();
        const char *path = source_value(source);
        char *filesystem;
        int r;

        if (!d)
                return -ENOMEM;

        d->kind = DEVICE_FILE;
        d->devnum = p->devnum;
        d->diskseq = p->id;
        d->size = size;
        d->block_size = FILES_SECTOR;
        d->stable = d->initialized = d->ready = true;
        d->name = strdup(strrchr(path, '/') + 1);
        d->node = strdup(path);
        d->link = strdup(path);
        d->identity = strdup(source);
        d->mount = strdup(p->target);
        if (!d->name || !d->node || !d->link || !d->identity || !d->mount)
                return -ENOMEM;

        r = strv_extend(&d->keys, source);
        if (r < 0)
                return r;
        if (asprintf(&filesystem, BACKSTORE_FILESYSTEM "%s", p->filesystem) < 0)
                return -ENOMEM;
        r = strv_consume(&d->keys, filesystem);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(d);
        return 0;
}

int files_promise(Backstore *b, const Device *d) {
        b->identity = strdup(d->keys[1]);
        b->mount = strdup(d->mount);
        return b->identity && b->mount ? 0 : -ENOMEM;
}

static int await(Files *f, dev_t devnum) {
        dev_t *p = reallocarray(f->awaited, f->n_awaited + 1, sizeof *p);

        if (!p)
                return -ENOMEM;

        f->awaited = p;
        f->awaited[f->n_awaited++] = devnum;
        return 0;
}

bool files_await(const Engine *e, dev_t devnum) {
        const Files *f = e->files;

        for (size_t i = 0; f && i < f->n_awaited; i++)
                if (f->awaited[i] == devnum)
                        return true;

        return false;
}

static int look_at(Engine *e, const MountTable *table, const Backstore *b) {
        _cleanup_(mount_point_done) MountPoint p = {};
        Device *d = NULL;
        int r;

        r = mount_table_find(table, source_value(b->source), &p);
        if (r == -ENOMEM)
                return r;
        if (r >= 0 && e->files && p.awaited != 0) {
                r = await(e->files, p.awaited);
                if (r < 0)
                        return r;
        /* Nothing is mounted where its filesystem was: the file that may be there now is not the one. */
        } else if (r >= 0 && streq_ptr(p.target, b->mount)) {
                r = make_device(b->source, &p, b->size, &d);
                if (r < 0)
                        return r;
        }

        hotplug_on_file(e, b->source, d);
        return 0;
}

/* Named by a caller, and refused then; or its LUN has been removed. */
static void drop_unused(Engine *e) {
        Device *d;

        INVENTORY_FOREACH(e->inventory, d)
                if (d->kind == DEVICE_FILE && !registry_backstore(&e->registry, d->identity))
                        device_free(inventory_take_file(e->inventory, d->identity));
}

static void on_mounts(void *userdata) {
        files_look(userdata);
}

static int watch(Engine *e) {
        Files *f = e->files;

        return f && !f->watch ? mount_watch_new(e->event, on_mounts, e, &f->watch) : 0;
}

void files_look(Engine *e) {
        _cleanup_(mount_table_freep) MountTable *table = NULL;
        Target *t;
        int r = 0;

        drop_unused(e);
        if (e->files)
                e->files->n_awaited = 0;

        REGISTRY_FOREACH(&e->registry, t)
                for (size_t i = 0; !t->foreign && r >= 0 && i < t->n_luns; i++) {
                        const Backstore *b = t->luns[i]->backstore;

                        if (!backstore_is_file(b))
                                continue;
                        /* The watch before the look: what is mounted meanwhile is seen twice, not never. */
                        if (!table)
                                r = watch(e);
                        if (r >= 0 && !table)
                                r = mount_table_new(&table);
                        if (r >= 0)
                                r = look_at(e, table, b);
                }

        if (r < 0)
                log_warning_errno(r, "Cannot tell on which filesystems the exported files are");

        /* Nobody wants to know any more. */
        if (r >= 0 && !table && e->files)
                e->files->watch = mount_watch_free(e->files->watch);
}

int files_new(Files **ret) {
        _cleanup_(files_freep) Files *f = calloc(1, sizeof *f);

        if (!f)
                return -ENOMEM;

        *ret = TAKE_PTR(f);
        return 0;
}

Files *files_free(Files *f) {
        if (!f)
                return NULL;

        mount_watch_free(f->watch);
        free(f->awaited);
        free(f);
        return NULL;
}

static int find_local(const MountTable *table, const char *path, MountPoint *ret, Refusal *refusal) {
        _cleanup_(mount_point_done) MountPoint p = {};
        int r;

        r = mount_table_find(table, path, &p);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return refuse(refusal, REFUSAL_NOT_READY, "Cannot tell which filesystem %s is on: %s", path, strerror(-r));
        if (p.pseudo)
                return refuse(refusal, REFUSAL_DEVICE_UNSAFE, "%s is not a file of anybody's, but the kernel's (%s)", path, p.filesystem);
        if (p.network)
                return refuse(refusal, REFUSAL_DEVICE_UNSAFE, "%s is on %s, which is not a local filesystem", path, p.filesystem);
        if (p.awaited != 0)
                return refuse(refusal, REFUSAL_NOT_READY, "udev has not finished with the disk that %s is on, so its filesystem has no lasting name; try again",
                              path);

        *ret = p;
        p = (MountPoint) {};
        return 0;
}

static int canonical_file(const MountTable *table, const char *path, char **ret, struct stat *ret_stat, Refusal *refusal) {
        _cleanup_(mount_point_done) MountPoint p = {};
        _cleanup_free_ char *real = NULL, *source = NULL;
        SourceKind kind;
        int r;

        r = find_local(table, path, &p, refusal);
        if (r < 0)
                return r;

        real = realpath(path, NULL);
        if (!real)
                return refuse(refusal, REFUSAL_DEVICE_NOT_FOUND, "There is no file %s that this service can see: %s", path, strerror(errno));

        /* Where the links lead may be no place for a source. */
        if (asprintf(&source, "file=%s", real) < 0)
                return -ENOMEM;
        r = source_parse(source, &kind, ret, NULL);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return refuse(refusal, REFUSAL_INVALID_SOURCE, "%s leads to %s, which cannot be exported", path, real);

        mount_point_done(&p);
        r = find_local(table, real, &p, refusal);
        if (r < 0)
                return r;
        if (lstat(real, ret_stat) < 0)
                return refuse(refusal, REFUSAL_DEVICE_NOT_FOUND, "There is no file %s: %s", real, strerror(errno));

        return 0;
}

int files_resolve(Engine *e, const char *source, char **ret_source, const Device **ret, Refusal *refusal) {
        _cleanup_(mount_table_freep) MountTable *table = NULL;
        _cleanup_(mount_point_done) MountPoint p = {};
        _cleanup_(device_freep) Device *d = NULL;
        _cleanup_free_ char *text = NULL;
        Device *known = NULL;
        struct stat st;
        int r;

        r = watch(e);
        if (r >= 0)
                r = mount_table_new(&table);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return refuse(refusal, REFUSAL_NOT_READY, "Cannot tell what is mounted: %s", strerror(-r));

        r = canonical_file(table, source_value(source), &text, &st, refusal);
        if (r < 0)
                return r;
        if (!S_ISREG(st.st_mode))
                return refuse(refusal, REFUSAL_INVALID_SOURCE, "%s is not a regular file", source_value(text));
        if (st.st_size < (off_t) FILES_SECTOR)
                return refuse(refusal, REFUSAL_NOT_READY, "%s is smaller than a sector; give it the size that the disk shall have", source_value(text));

        drop_unused(e);
        /* One that is exported already is what it is. */
        if (!registry_backstore(&e->registry, text)) {
                r = mount_table_find(table, source_value(text), &p);
                if (r >= 0)
                        r = make_device(text, &p, (uint64_t) st.st_size / FILES_SECTOR * FILES_SECTOR, &d);
                if (r < 0)
                        return r;
                hotplug_on_file(e, text, TAKE_PTR(d));
        }

        r = inventory_resolve(e->inventory, text, &known);
        if (r < 0 && !registry_backstore(&e->registry, text))
                return -ENOMEM;

        *ret_source = TAKE_PTR(text);
        *ret = r < 0 ? NULL : known;
        return 0;
}
