/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/errno.h"
#include "base/fileio.h"
#include "base/strv.h"
#include "kernel/blockdev.h"
#include "kernel/roll.h"
#include "kernel/sysfs.h"

#define THREADS_MAX 8
#define THREAD_SHARE 32         /* devices that are worth a thread */

void roll_done(Roll *roll) {
        for (size_t i = 0; i < roll->n; i++)
                device_free(roll->entries[i].device);
        free(roll->entries);
}

int roll_add(Roll *roll, dev_t devnum, const Heard *heard) {
        if (roll->n == roll->room) {
                size_t room = MAX(roll->room * 2, (size_t) 64);
                RollEntry *p = reallocarray(roll->entries, room, sizeof *p);

                if (!p)
                        return -ENOMEM;
                roll->entries = p;
                roll->room = room;
        }

        roll->entries[roll->n++] = (RollEntry) {
                .devnum = devnum,
                .event_diskseq = heard ? heard->diskseq : 0,
                .valid_paths = heard ? heard->valid_paths : -1,
        };
        return 0;
}

/* The kernel's own list of numbers: libudev's enumerator would resolve each path once more than reading the device does. Paths that NVMe's
 * own multipathing hides have no number. */
int roll_add_all(Roll *roll) {
        _cleanup_closedir_ DIR *dir = NULL;
        const struct dirent *e;
        int r;

        r = directory_open_at(roll->root_fd, ".", &dir);
        if (r < 0)
                return r;

        while ((r = directory_read(dir, &e)) > 0) {
                unsigned ma, mi;
                int end = 0;

                if (sscanf(e->d_name, "%u:%u%n", &ma, &mi, &end) != 2 || e->d_name[end])
                        continue;

                r = roll_add(roll, makedev(ma, mi), NULL);
                if (r < 0)
                        return r;
        }

        return r;
}

int roll_links(UdevDevice *device, char ***ret) {
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

/* By its path, where the kernel's link is of the form known: udev_device_new_from_devnum() follows that link name by name, which is a quarter
 * of all the calls that reading a device takes. NULL and errno. */
static UdevDevice *find_device(int root_fd, Udev *udev, dev_t devnum) {
        _cleanup_(udev_device_unrefp) UdevDevice *device = NULL;
        char number[24], link[PATH_MAX], path[PATH_MAX + 8];
        const char *rest;
        ssize_t n;

        (void) snprintf(number, sizeof number, "%u:%u", major(devnum), minor(devnum));
        n = readlinkat(root_fd, number, link, sizeof link - 1);
        if (n < 0)
                return NULL;

        link[n] = 0;
        rest = startswith(link, "../../");
        if (!rest)
                return udev_device_new_from_devnum(udev, 'b', devnum);

        (void) snprintf(path, sizeof path, "/sys/%s", rest);
        device = udev_device_new_from_syspath(udev, path);
        /* Another one has the path meanwhile. */
        if (device && udev_device_get_devnum(device) != devnum) {
                errno = ENODEV;
                return NULL;
        }

        return TAKE_PTR(device);
}

int roll_read(int root_fd, Udev *udev, const RollEntry *entry, Device **ret) {
        _cleanup_(udev_device_unrefp) UdevDevice *device = NULL;
        _cleanup_(strv_freep) char **links = NULL;
        _cleanup_close_ int dirfd = -EBADF;
        BlockdevFacts facts;
        const char *type;
        int r;

        /* Before udev's own look at it: if the directory is still the device's in the end, so it was all the time. */
        dirfd = sysfs_open_block(root_fd, entry->devnum);
        if (dirfd < 0)
                return dirfd;

        device = find_device(root_fd, udev, entry->devnum);
        if (!device) {
                r = negative_errno();
                return errno_is_device_absent(r) ? -ENODEV : r;
        }

        type = udev_device_get_devtype(device);
        facts = (BlockdevFacts) {
                .devnum = entry->devnum,
                .name = udev_device_get_sysname(device),
                .node = udev_device_get_devnode(device),
                .partition = streq_ptr(type, "partition"),
                .initialized = udev_device_get_is_initialized(device) > 0,
                .valid_paths = entry->valid_paths,
                .event_diskseq = entry->event_diskseq,
        };
        if (!facts.name || !facts.node)
                return -ENODEV;

        /* Without an entry in its database, udev has nothing to tell, and would look for it again with each question. */
        if (facts.initialized) {
                r = roll_links(device, &links);
                if (r < 0)
                        return r;

                facts.links = links;
                for (BlockdevProperty p = 0; p < _BLOCKDEV_PROPERTY_MAX; p++)
                        facts.properties[p] = udev_device_get_property_value(device, blockdev_property_names[p]);
        }

        return blockdev_read(dirfd, &facts, ret);
}

static void *call_thread(void *userdata) {
        _cleanup_(udev_unrefp) Udev *udev = udev_new();
        Roll *roll = userdata;
        size_t i;

        while (udev && (i = atomic_fetch_add(&roll->next, 1)) < roll->n) {
                RollEntry *e = roll->entries + i;

                e->error = roll_read(roll->root_fd, udev, e, &e->device);
        }

        return NULL;
}

/* Reading a device is some eighty system calls, and a host with many paths has ten thousands of devices. */
int roll_call(Roll *roll) {
        pthread_t threads[THREADS_MAX - 1];
        size_t wanted = MIN(roll->n / THREAD_SHARE, ELEMENTSOF(threads)), started = 0;
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);

        wanted = MIN(wanted, cpus > 1 ? (size_t) cpus - 1 : 0);
        while (started < wanted && pthread_create(threads + started, NULL, call_thread, roll) == 0)
                started++;

        call_thread(roll);
        while (started > 0)
                (void) pthread_join(threads[--started], NULL);

        /* No thread had the memory for its context. */
        if (atomic_load(&roll->next) < roll->n)
                return -ENOMEM;
        for (size_t i = 0; i < roll->n; i++)
                if (roll->entries[i].error == -ENOMEM)
                        return -ENOMEM;

        return 0;
}
