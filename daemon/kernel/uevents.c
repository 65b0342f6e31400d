/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <libudev.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/errno.h"
#include "base/log.h"
#include "base/map.h"
#include "base/parse.h"
#include "base/strv.h"
#include "kernel/blockdev.h"
#include "kernel/sysfs.h"
#include "kernel/uevents.h"

#define RECEIVE_BUFFER_DEFAULT (128U * 1024 * 1024)
#define BURST_MAX 256           /* events a turn of the loop, for others want to be served as well */
#define LOST_BURSTS_MAX 64      /* how long a storm may keep us from enumerating */
#define ENUMERATE_THREADS_MAX 8
#define ENUMERATE_SHARE 32      /* devices that are worth a thread */

typedef struct udev Udev;
typedef struct udev_device UdevDevice;
typedef struct udev_monitor UdevMonitor;

DEFINE_CLEANUP(Udev *, udev_unref);
DEFINE_CLEANUP(UdevDevice *, udev_device_unref);

/* How many paths of a multipath map work, as its last event about paths told. udev's database does not keep it, and the
 * next event of another kind does not bring it, so it is kept here. */
typedef struct PathCount {
        uint64_t sequence;      /* DM_SEQNUM: events may overtake each other */
        int valid;
        char number[24];
} PathCount;

typedef struct Pending {
        dev_t devnum;
        uint64_t diskseq;
} Pending;

struct Uevents {
        Udev *udev;
        UdevMonitor *monitor;
        sd_event_source *source;
        int root_fd;            /* /sys/dev/block */
        Map *path_counts;       /* number -> PathCount */
        uevents_device_t on_device;
        uevents_lost_t on_lost;
        void *userdata;
        bool lost;
        unsigned lost_bursts;
        Pending pending[BURST_MAX];     /* devices of one burst, each once */
        size_t n_pending;
};

static void number_format(dev_t devnum, char ret[static 24]) {
        (void) snprintf(ret, 24, "%u:%u", major(devnum), minor(devnum));
}

static uint64_t property_u64(UdevDevice *device, const char *name) {
        const char *s = udev_device_get_property_value(device, name);
        uint64_t v;

        return s && parse_u64(s, &v) >= 0 ? v : 0;
}

/* ---- counts of paths ---- */

static void path_count_forget(Uevents *u, dev_t devnum) {
        char number[24];

        number_format(devnum, number);
        free(map_remove(u->path_counts, number));
}

static void path_counts_forget_all(Uevents *u) {
        PathCount *c;

        MAP_FOREACH(u->path_counts, c) {
                map_remove(u->path_counts, c->number);
                free(c);
        }
}

static int path_count_get(const Uevents *u, dev_t devnum) {
        char number[24];
        PathCount *c;

        number_format(devnum, number);
        c = map_get(u->path_counts, number);
        return c ? c->valid : -1;
}

static int path_count_set(Uevents *u, dev_t devnum, uint64_t sequence, int valid) {
        _cleanup_free_ PathCount *new = NULL;
        char number[24];
        PathCount *c;
        int r;

        number_format(devnum, number);
        c = map_get(u->path_counts, number);
        if (c && sequence > 0 && sequence < c->sequence)
                return 0;

        if (!c) {
                new = calloc(1, sizeof *new);
                if (!new)
                        return -ENOMEM;

                memcpy(new->number, number, sizeof number);
                r = map_put(u->path_counts, new->number, new);
                if (r < 0)
                        return r;
                c = TAKE_PTR(new);
        }

        c->sequence = sequence;
        c->valid = valid;
        return 0;
}

static int path_count_note(Uevents *u, UdevDevice *device, dev_t devnum) {
        const char *uuid = udev_device_get_property_value(device, "DM_UUID");
        const char *action = udev_device_get_property_value(device, "DM_ACTION");
        const char *count = udev_device_get_property_value(device, "DM_NR_VALID_PATHS");
        uint32_t valid;

        if (!uuid || !startswith(uuid, "mpath-"))
                return 0;

        if (action && startswith(action, "PATH_")) {
                if (!count || parse_u32(count, &valid) < 0 || valid > INT32_MAX)
                        return 0;
                return path_count_set(u, devnum, property_u64(device, "DM_SEQNUM"), (int) valid);
        }

        /* multipathd loaded a new table: flag 2, without a working path; flag 0, in which the kernel takes every path
         * for good until it fails again (multipath-tools, libmultipath/devmapper.h). */
        if (streq_ptr(udev_device_get_property_value(device, "DM_SUBSYSTEM_UDEV_FLAG2"), "1"))
                return path_count_set(u, devnum, 0, 0);
        if (streq_ptr(udev_device_get_property_value(device, "DM_SUBSYSTEM_UDEV_FLAG0"), "1"))
                path_count_forget(u, devnum);

        return 0;
}

/* ---- reading ---- */

static int device_links(UdevDevice *device, char ***ret) {
        _cleanup_(strv_freep) char **links = NULL;
        struct udev_list_entry *e;
        int r;

        udev_list_entry_foreach(e, udev_device_get_devlinks_list_entry(device)) {
                r = strv_extend(&links, udev_list_entry_get_name(e));
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(links);
        return 0;
}

/* udev: one of the thread that asks. */
static int read_device(const Uevents *u, Udev *udev, dev_t devnum, uint64_t event_diskseq, Device **ret) {
        _cleanup_(udev_device_unrefp) UdevDevice *device = NULL;
        _cleanup_(strv_freep) char **links = NULL;
        _cleanup_close_ int dirfd = -EBADF;
        BlockdevFacts facts;
        const char *type;
        int r;

        /* Before udev's own look at it: if the directory is still the device's in the end, so it was all the time. */
        dirfd = sysfs_open_block(u->root_fd, devnum);
        if (dirfd < 0)
                return dirfd;

        device = udev_device_new_from_devnum(udev, 'b', devnum);
        if (!device) {
                r = negative_errno();
                return errno_is_device_absent(r) ? -ENODEV : r;
        }

        type = udev_device_get_devtype(device);
        facts = (BlockdevFacts) {
                .devnum = devnum,
                .name = udev_device_get_sysname(device),
                .node = udev_device_get_devnode(device),
                .partition = streq_ptr(type, "partition"),
                .initialized = udev_device_get_is_initialized(device) > 0,
                .valid_paths = path_count_get(u, devnum),
                .event_diskseq = event_diskseq,
        };
        if (!facts.name || !facts.node)
                return -ENODEV;

        /* Without an entry in its database, udev has nothing to tell, and would look for it again with each question. */
        if (facts.initialized) {
                r = device_links(device, &links);
                if (r < 0)
                        return r;

                facts.links = links;
                for (BlockdevProperty p = 0; p < _BLOCKDEV_PROPERTY_MAX; p++)
                        facts.properties[p] = udev_device_get_property_value(device, blockdev_property_names[p]);
        }

        return blockdev_read(dirfd, &facts, ret);
}

/* Whatever is there now under that number, to the caller. */
static int tell_device(Uevents *u, dev_t devnum, uint64_t event_diskseq) {
        Device *d = NULL;
        int r;

        r = read_device(u, u->udev, devnum, event_diskseq, &d);
        if (r < 0 && r != -ENODEV)
                return r;

        u->on_device(devnum, r < 0 ? NULL : d, u->userdata);
        return 0;
}

int uevents_read_device(Uevents *u, dev_t devnum, Device **ret) {
        return read_device(u, u->udev, devnum, 0, ret);
}

/* ---- enumerating ---- */

typedef struct Found {
        dev_t devnum;
        Device *device;         /* NULL: error tells */
        int error;
} Found;

typedef struct Enumeration {
        const Uevents *uevents;
        Found *found;
        size_t n, room;
        atomic_size_t next;     /* the first that no thread took */
} Enumeration;

static void enumeration_done(Enumeration *n) {
        for (size_t i = 0; i < n->n; i++)
                device_free(n->found[i].device);
        free(n->found);
}

static int enumeration_add(Enumeration *n, dev_t devnum) {
        if (n->n == n->room) {
                size_t room = MAX(n->room * 2, (size_t) 64);
                Found *p = reallocarray(n->found, room, sizeof *p);

                if (!p)
                        return -ENOMEM;
                n->found = p;
                n->room = room;
        }

        n->found[n->n++] = (Found) { .devnum = devnum };
        return 0;
}

/* The kernel's own list of numbers: libudev's enumerator would resolve each path once more than reading the device does. Paths that NVMe's
 * own multipathing hides have no number. */
static int enumeration_list(Enumeration *n) {
        _cleanup_closedir_ DIR *dir = NULL;
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = openat(n->uevents->root_fd, ".", O_RDONLY | O_CLOEXEC | O_DIRECTORY);
        if (fd < 0)
                return negative_errno();

        dir = fdopendir(fd);
        if (!dir)
                return negative_errno();
        TAKE_FD(fd);

        for (;;) {
                unsigned ma, mi;
                struct dirent *e;
                int end = 0;

                errno = 0;
                e = readdir(dir);
                if (!e && errno != 0)
                        return negative_errno();
                if (!e)
                        return 0;
                if (sscanf(e->d_name, "%u:%u%n", &ma, &mi, &end) != 2 || e->d_name[end])
                        continue;

                r = enumeration_add(n, makedev(ma, mi));
                if (r < 0)
                        return r;
        }
}

static void *enumeration_thread(void *userdata) {
        _cleanup_(udev_unrefp) Udev *udev = udev_new();
        Enumeration *n = userdata;
        size_t i;

        while (udev && (i = atomic_fetch_add(&n->next, 1)) < n->n) {
                Found *f = n->found + i;

                f->error = read_device(n->uevents, udev, f->devnum, 0, &f->device);
        }

        return NULL;
}

/* Reading a device is some eighty system calls, and a host with many paths has ten thousands of devices. */
static int enumeration_read(Enumeration *n) {
        pthread_t threads[ENUMERATE_THREADS_MAX - 1];
        size_t wanted = MIN(n->n / ENUMERATE_SHARE, ELEMENTSOF(threads)), started = 0;
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);

        wanted = MIN(wanted, cpus > 1 ? (size_t) cpus - 1 : 0);
        while (started < wanted && pthread_create(threads + started, NULL, enumeration_thread, n) == 0)
                started++;

        enumeration_thread(n);
        while (started > 0)
                (void) pthread_join(threads[--started], NULL);

        /* No thread had the memory for its context. */
        return atomic_load(&n->next) < n->n ? -ENOMEM : 0;
}

int uevents_enumerate(Uevents *u) {
        _cleanup_(enumeration_done) Enumeration n = { .uevents = u };
        int r;

        r = enumeration_list(&n);
        if (r >= 0)
                r = enumeration_read(&n);
        if (r < 0)
                return r;

        for (size_t i = 0; i < n.n; i++)
                if (n.found[i].error == -ENOMEM)
                        return -ENOMEM;

        for (size_t i = 0; i < n.n; i++) {
                Found *f = n.found + i;

                if (f->device)
                        u->on_device(f->devnum, TAKE_PTR(f->device), u->userdata);
                else if (f->error != -ENODEV)
                        /* One that cannot be read must not hide the others. */
                        log_warning_errno(f->error, "Cannot read block device %u:%u", major(f->devnum), minor(f->devnum));
        }

        return 0;
}

/* ---- the monitor ---- */

static void pending_add(Uevents *u, dev_t devnum, uint64_t diskseq) {
        size_t i = 0;

        while (i < u->n_pending && u->pending[i].devnum != devnum)
                i++;

        if (i == u->n_pending)
                u->n_pending++;
        u->pending[i] = (Pending) { .devnum = devnum, .diskseq = diskseq };
}

static int receive_one(Uevents *u) {
        _cleanup_(udev_device_unrefp) UdevDevice *device = NULL;
        dev_t devnum;

        errno = 0;
        device = udev_monitor_receive_device(u->monitor);
        if (!device)
                return errno > 0 ? -errno : -EAGAIN;

        devnum = udev_device_get_devnum(device);
        if (!streq_ptr(udev_device_get_subsystem(device), "block") || major(devnum) == 0)
                return 0;

        if (streq_ptr(udev_device_get_action(device), "remove"))
                path_count_forget(u, devnum);
        else if (path_count_note(u, device, devnum) < 0)
                return -ENOMEM;

        pending_add(u, devnum, property_u64(device, "DISKSEQ"));
        return 0;
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Uevents *u = userdata;
        bool empty = false;

        u->n_pending = 0;
        for (unsigned n = 0; n < BURST_MAX && !empty; n++) {
                int r = receive_one(u);

                if (r >= 0 || r == -EINTR)
                        continue;

                /* Whatever it was, one message less was understood than was sent. */
                if (r == -EAGAIN)
                        empty = true;
                else if (!u->lost) {
                        u->lost = true;
                        log_debug_errno(r, "Events of devices were lost");
                }
        }

        for (size_t i = 0; i < u->n_pending; i++)
                if (tell_device(u, u->pending[i].devnum, u->pending[i].diskseq) < 0)
                        u->lost = true;

        /* Once, and when the storm is over: enumerating in the middle of it would cost most and be worth least. */
        if (u->lost && (empty || ++u->lost_bursts >= LOST_BURSTS_MAX)) {
                u->lost = false;
                u->lost_bursts = 0;
                path_counts_forget_all(u);
                u->on_lost(u->userdata);
        }

        return 0;
}

static void set_receive_buffer(int fd, size_t size) {
        int v = size > INT32_MAX ? INT32_MAX : (int) size;

        /* The first is bound by no limit, and by CAP_NET_ADMIN. What we get in the end is fine: a loss is noticed. */
        if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &v, sizeof v) < 0 &&
            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &v, sizeof v) < 0)
                log_debug_errno(negative_errno(), "Cannot set the receive buffer of udev's monitor");
}

int uevents_new(sd_event *event, size_t receive_buffer, uevents_device_t on_device, uevents_lost_t on_lost,
                void *userdata, Uevents **ret) {
        _cleanup_(uevents_freep) Uevents *u = NULL;
        int r, fd;

        u = calloc(1, sizeof *u);
        if (!u)
                return -ENOMEM;

        u->on_device = on_device;
        u->on_lost = on_lost;
        u->userdata = userdata;
        u->root_fd = open("/sys/dev/block", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (u->root_fd < 0)
                return negative_errno();

        u->path_counts = map_new();
        if (!u->path_counts)
                return -ENOMEM;

        u->udev = udev_new();
        if (!u->udev)
                return negative_errno();

        u->monitor = udev_monitor_new_from_netlink(u->udev, "udev");
        if (!u->monitor)
                return negative_errno();

        r = udev_monitor_filter_add_match_subsystem_devtype(u->monitor, "block", NULL);
        if (r < 0)
                return r;

        fd = udev_monitor_get_fd(u->monitor);
        if (fd < 0)
                return fd;

        set_receive_buffer(fd, receive_buffer > 0 ? receive_buffer : RECEIVE_BUFFER_DEFAULT);

        r = udev_monitor_enable_receiving(u->monitor);
        if (r < 0)
                return r;

        r = sd_event_add_io(event, &u->source, fd, EPOLLIN, on_io, u);
        if (r < 0)
                return r;

        (void) sd_event_source_set_description(u->source, "uevents");

        *ret = TAKE_PTR(u);
        return 0;
}

Uevents *uevents_free(Uevents *u) {
        if (!u)
                return NULL;

        sd_event_source_disable_unref(u->source);
        udev_monitor_unref(u->monitor);
        udev_unref(u->udev);
        if (u->path_counts)
                path_counts_forget_all(u);
        map_free(u->path_counts);
        safe_close(u->root_fd);
        free(u);
        return NULL;
}

/* ---- what stands on a device ---- */

int uevents_holders(Uevents *u, const Device *d, char ***ret) {
        _cleanup_close_ int dirfd = -EBADF;
        char **none;

        dirfd = sysfs_open_block(u->root_fd, d->devnum);
        if (dirfd >= 0)
                return sysfs_holders(dirfd, ret);
        if (dirfd != -ENODEV)
                return dirfd;

        none = calloc(1, sizeof *none);
        if (!none)
                return -ENOMEM;

        *ret = none;
        return 0;
}

int uevents_multipath_holder(Uevents *u, const Device *d, char **ret) {
        _cleanup_close_ int dirfd = -EBADF;

        dirfd = sysfs_open_block(u->root_fd, d->devnum);
        if (dirfd < 0)
                return dirfd == -ENODEV ? 0 : dirfd;

        return sysfs_multipath_holder(dirfd, ret);
}

int uevents_stack(Uevents *u, const Device *d, dev_t **ret, size_t *ret_n) {
        return sysfs_stack(u->root_fd, d->devnum, ret, ret_n);
}
