/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <sys/sysmacros.h>

#include "base/strv.h"
#include "engine/hotplug.h"
#include "fake-cfs.h"
#include "kernel/mounts.h"
#include "life-world.h"

const Entity entities[] = {
        { KIND_DISK, 0, 0 }, { KIND_DISK, 0, 1 }, { KIND_DISK, 0, 2 }, { KIND_DISK, 0, 3 }, { KIND_DISK, 0, 4 }, { KIND_DISK, 0, 5 },
        { KIND_MULTIPATH, 0, 0 }, { KIND_MULTIPATH, 0, 1 }, { KIND_MULTIPATH, 0, 2 },
        { KIND_PATH, 6, 0 }, { KIND_PATH, 6, 1 }, { KIND_PATH, 7, 0 }, { KIND_PATH, 7, 1 }, { KIND_PATH, 8, 0 }, { KIND_PATH, 8, 1 },
        { KIND_MAP, 0, 0 }, { KIND_MAP, 0, 1 }, { KIND_MAP, 0, 2 },
        { KIND_NAMELESS, 0, 0 },
        { KIND_PARENT, 0, 0 }, { KIND_PARENT, 0, 1 },
        { KIND_PARTITION, 19, 1 }, { KIND_PARTITION, 19, 2 }, { KIND_PARTITION, 20, 1 },
};
const unsigned n_entities = G_N_ELEMENTS(entities);

#define WISHED_PARENT 20U       /* a rule exports it, and never its partitions, which it names as well */

const Wish wishes[] = {
        {},
        { "naa.5001405000000a00", NULL, NULL, 0 },
        { "naa.5001405000000a01", "3", NULL, 1 },
        { "NAA.5001405000000A01", NULL, "1", 1 },
        { "naa.5001405000000a02", "0", "0", 2 },
        { "seed:a guest", NULL, NULL, (int) WORLD_SEEDED },
        { "naa.50014050000f0f0f", NULL, NULL, (int) WORLD_FOREIGN },
        { "naa.4001405000000a00", NULL, NULL, -1 },
        { "naa.5001405000000a00", "16384", NULL, -1 },
};
const unsigned n_wishes = G_N_ELEMENTS(wishes);

World world;
char world_wwns[WORLD_TARGETS][WWN_SIZE] = {
        "naa.5001405000000a00", "naa.5001405000000a01", "naa.5001405000000a02", "naa.5001405000000a03", "", "naa.50014050000f0f0f",
};

/* ---- chance ---- */

static uint64_t random_next(Random *r) {
        uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return z ^ z >> 31;
}

void random_seed(Random *r, uint64_t seed, uint64_t event) {
        r->state = seed * UINT64_C(0xd1342543de82ef95) + event * UINT64_C(0xaf251af3b0f025b5);
        (void) random_next(r);
}

unsigned random_below(Random *r, unsigned n) {
        return (unsigned) (random_next(r) % n);
}

bool random_percent(Random *r, unsigned percent) {
        return random_below(r, 100) < percent;
}

/* ---- for people ---- */

void world_say(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        g_string_append(world.trace, "  ");
        g_string_append_vprintf(world.trace, format, ap);
        g_string_append_c(world.trace, '\n');
        va_end(ap);
}

/* ---- names ---- */

static void key_add(Keys *k, const char *format, ...) _printf_(2, 3);

static void key_add(Keys *k, const char *format, ...) {
        va_list ap;

        g_assert_cmpuint(k->n, <, G_N_ELEMENTS(k->text));
        va_start(ap, format);
        g_assert_cmpint(vsnprintf(k->text[k->n++], WORLD_TEXT, format, ap), <, (int) WORLD_TEXT);
        va_end(ap);
}

void disk_keys(const Disk *d, unsigned minor, Keys *ret) {
        const Entity *n = entities + d->entity;

        *ret = (Keys) {};
        switch (n->kind) {
        case KIND_DISK:
        case KIND_PATH:
        case KIND_PARENT:
                /* Before udev has been there, a disk has nothing but its number. */
                if (d->initialized) {
                        unsigned wwid = n->kind == KIND_DISK ? n->number : n->kind == KIND_PATH ? 100 + n->of : 200 + d->entity;

                        key_add(ret, "wwid=3600%03u", wwid);
                        key_add(ret, "by-id=scsi-3600%03u", wwid);
                }
                key_add(ret, "path=/dev/fk%u", minor);
                break;
        case KIND_MULTIPATH:
                key_add(ret, "dm-uuid=mpath-3600%03u", 100 + d->entity);
                key_add(ret, "wwid=3600%03u", 100 + d->entity);
                if (d->initialized) {
                        key_add(ret, "by-id=dm-uuid-mpath-3600%03u", 100 + d->entity);
                        key_add(ret, "by-id=scsi-3600%03u", 100 + d->entity);
                }
                key_add(ret, "path=/dev/mapper/mpath%u_%u", n->number, d->alias);
                key_add(ret, "path=/dev/dm-%u", minor);
                break;
        case KIND_MAP:
                key_add(ret, "dm-uuid=LVM-%u", n->number);
                if (d->initialized)
                        key_add(ret, "by-id=dm-uuid-LVM-%u", n->number);
                key_add(ret, "path=/dev/mapper/vg-lv%u_%u", n->number, d->alias);
                key_add(ret, "path=/dev/dm-%u", minor);
                break;
        case KIND_NAMELESS:
                key_add(ret, "path=/dev/fk%u", minor);
                break;
        case KIND_PARTITION:
                if (d->initialized)
                        key_add(ret, "by-id=scsi-3600%03u-part%u", 200 + n->of, n->number);
                key_add(ret, "path=/dev/fk%u", minor);
                break;
        }
}

bool disk_has_key(const Disk *d, unsigned minor, const char *key) {
        Keys k;

        if (!d->there)
                return false;

        disk_keys(d, minor, &k);
        for (unsigned i = 0; i < k.n; i++)
                if (streq(k.text[i], key))
                        return true;

        return false;
}

bool disk_equal(const Disk *a, const Disk *b) {
        if (!a->there || !b->there)
                return a->there == b->there;

        return a->entity == b->entity && a->diskseq == b->diskseq && a->size == b->size && a->initialized == b->initialized &&
               a->ready == b->ready && a->suspended == b->suspended && a->read_only == b->read_only && a->ignored == b->ignored &&
               a->path_member == b->path_member && a->valid == b->valid && a->total == b->total && a->alias == b->alias &&
               a->wish == b->wish;
}

const char *entity_name(unsigned entity) {
        static const char *const names[] = { "disk", "multipath", "path", "map", "nameless", "parent", "partition" };
        static char text[4][48];
        static unsigned next;
        char *s = text[next++ % G_N_ELEMENTS(text)];
        const Entity *n = entities + entity;

        if (n->kind == KIND_PATH || n->kind == KIND_PARTITION)
                snprintf(s, sizeof text[0], "%s%u.%u", names[n->kind], n->of, n->number);
        else
                snprintf(s, sizeof text[0], "%s%u", names[n->kind], n->number);
        return s;
}

static bool is_map(const Disk *d) {
        return entities[d->entity].kind == KIND_MULTIPATH || entities[d->entity].kind == KIND_MAP;
}

static void node_of(const Disk *d, unsigned minor, char ret[static WORLD_TEXT]) {
        snprintf(ret, WORLD_TEXT, is_map(d) ? "/dev/dm-%u" : "/dev/fk%u", minor);
}

/* ---- what stands for kernel/uevents.c and kernel/mounts.c ---- */

struct Uevents {
        Engine *engine;
};

struct Mounts {
        char nothing;
};

static Uevents host;

Uevents *world_uevents(Engine *e) {
        host.engine = e;
        return &host;
}

static Device *device_of(const Disk *k, unsigned minor) {
        const Wish *wish = wishes + k->wish;
        char node[WORLD_TEXT];
        Device *d;
        Keys keys;

        d = device_new();
        g_assert_nonnull(d);
        node_of(k, minor, node);
        disk_keys(k, minor, &keys);

        d->devnum = makedev(WORLD_MAJOR, minor);
        switch (entities[k->entity].kind) {
        case KIND_MULTIPATH:
                d->kind = DEVICE_MULTIPATH;
                d->dm_name = g_strdup_printf("mpath%u_%u", entities[k->entity].number, k->alias);
                break;
        case KIND_MAP:
                d->kind = DEVICE_MAP;
                d->dm_name = g_strdup_printf("vg-lv%u_%u", entities[k->entity].number, k->alias);
                break;
        case KIND_PARTITION:
                d->kind = DEVICE_PARTITION;
                if (k->initialized && wish->target)
                        d->disk = makedev(WORLD_MAJOR, k->parent);
                break;
        case KIND_DISK:
        case KIND_PATH:
        case KIND_NAMELESS:
        case KIND_PARENT:
                d->kind = DEVICE_DISK;
                break;
        }

        d->name = g_strdup(node + strlen("/dev/"));
        d->node = g_strdup(node);
        d->identity = g_strdup(keys.text[0]);
        for (unsigned i = 0; i < keys.n; i++)
                g_assert_cmpint(strv_extend(&d->keys, keys.text[i]), >=, 0);
        for (unsigned i = 0; i < keys.n && !d->link; i++)
                if (startswith(keys.text[i], "by-id="))
                        d->link = g_strdup_printf("/dev/disk/by-id/%s", keys.text[i] + strlen("by-id="));
        if (!d->link)
                d->link = g_strdup(node);
        d->stable = !startswith(keys.text[0], "path=");
        d->diskseq = k->diskseq;
        d->size = k->size;
        d->block_size = 512;
        d->valid_paths = k->valid;
        d->total_paths = k->total;
        d->initialized = k->initialized;
        d->ready = k->ready;
        d->suspended = k->suspended;
        d->read_only = k->read_only;
        d->ignored = k->ignored;
        d->path_member = k->path_member;
        d->path_of = k->path_member ? g_strdup("") : NULL;
        if (k->initialized) {
                d->wish_target = g_strdup(wish->target);
                d->wish_number = g_strdup(wish->number);
                d->wish_readonly = g_strdup(wish->readonly);
        }
        return d;
}

int uevents_new(sd_event *event, size_t receive_buffer, uevents_device_t on_device, uevents_lost_t on_lost, void *userdata, Uevents **ret) {
        return -ENOSYS;
}

Uevents *uevents_free(Uevents *u) {
        return NULL;
}

static void tell_unread(Uevents *u) {
        for (unsigned m = 0; m < WORLD_MINORS; m++)
                if (world.unread[m])
                        world_tell(u->engine, m);
}

void uevents_flush(Uevents *u) {
        tell_unread(u);
}

int uevents_suspect(Uevents *u, dev_t devnum, bool wanted) {
        return 0;
}

int uevents_enumerate(Uevents *u) {
        for (unsigned m = 0; m < WORLD_MINORS; m++)
                if (world.truth[m].there)
                        world_tell(u->engine, m);

        return 0;
}

int uevents_enumerate_wanted(Uevents *u) {
        for (unsigned m = 0; m < WORLD_MINORS; m++) {
                _cleanup_(device_freep) Device *d = world.truth[m].there ? device_of(world.truth + m, m) : NULL;

                if (d && (d->wish_target || hotplug_is_wanted(d->devnum, d->keys, u->engine)))
                        world_tell(u->engine, m);
                else
                        world.unread[m] = d;
        }

        return 0;
}

int uevents_catch_up(Uevents *u) {
        tell_unread(u);
        return 0;
}

void uevents_read_unread(Uevents *u, dev_t devnum) {
        unsigned m = minor(devnum);

        if (major(devnum) == WORLD_MAJOR && m < WORLD_MINORS && world.unread[m])
                world_tell(u->engine, m);
}

int uevents_read_device(Uevents *u, dev_t devnum, Device **ret) {
        unsigned m = minor(devnum);

        if (!world.truth[m].there)
                return -ENODEV;

        *ret = device_of(world.truth + m, m);
        return 0;
}

int uevents_is_suspended(Uevents *u, const Device *d) {
        return d->suspended;
}

int uevents_holders(Uevents *u, const Device *d, char ***ret) {
        unsigned m = minor(d->devnum);
        char **v = calloc(2, sizeof *v);

        g_assert_nonnull(v);
        if (world.truth[m].there && world.held[m] && !world.mounted[m])
                v[0] = strdup("vg0-data");
        *ret = v;
        return 0;
}

int uevents_multipath_holder(Uevents *u, const Device *d, char **ret) {
        unsigned m = minor(d->devnum);

        if (!world.truth[m].there || entities[world.truth[m].entity].kind != KIND_PATH || !world.held[m])
                return 0;

        *ret = strdup("mpath");
        return 1;
}

int uevents_stack(Uevents *u, const Device *d, dev_t **ret, size_t *ret_n) {
        dev_t *stack = malloc(sizeof *stack);

        g_assert_nonnull(stack);
        stack[0] = d->devnum;
        *ret = stack;
        *ret_n = 1;
        return 0;
}

int mounts_new(Mounts **ret) {
        *ret = calloc(1, sizeof **ret);
        return *ret ? 0 : -ENOMEM;
}

Mounts *mounts_free(Mounts *m) {
        free(m);
        return NULL;
}

int mounts_use(const Mounts *m, dev_t devnum, char **ret) {
        if (!world.truth[minor(devnum)].there || !world.mounted[minor(devnum)])
                return 0;

        *ret = strdup("mounted on /srv");
        return 1;
}

int mounts_use_file(const Mounts *m, const char *path, char **ret) {
        return 0;
}

/* ---- telling ---- */

bool world_is_known(unsigned minor) {
        return disk_equal(world.truth + minor, world.view + minor);
}

void world_tell_as(Engine *e, unsigned minor, const Disk *d) {
        Disk now = *d;

        host.engine = e;
        world.view[minor] = now;
        world.unread[minor] = false;
        hotplug_on_device(makedev(WORLD_MAJOR, minor), now.there ? device_of(&now, minor) : NULL, e);
        world.told(minor);
}

void world_tell(Engine *e, unsigned minor) {
        world_tell_as(e, minor, world.truth + minor);
}

void world_forget(void) {
        memset(world.view, 0, sizeof world.view);
        memset(world.unread, 0, sizeof world.unread);
        world.n_late = 0;
}

void world_init(void (*told)(unsigned minor), GString *trace) {
        g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, "a guest", -1);

        world = (World) { .told = told, .trace = trace, .last_diskseq = 100 };
        snprintf(world_wwns[WORLD_SEEDED], WWN_SIZE, "naa.5001405%.9s", digest);
        for (unsigned i = 0; i < n_entities; i++)
                world.last_minor[i] = i;
        world.rule[WISHED_PARENT] = 1;
        world.rule[n_entities - 1] = 1;
}
