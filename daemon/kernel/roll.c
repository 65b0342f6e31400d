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
#include "kernel/glance.h"
#include "kernel/roll.h"
#include "kernel/sysfs.h"

#define THREADS_MAX 8
#define THREAD_SHARE 32         /* devices that are worth a thread */

static void wait_for_early(Roll *roll) {
        if (roll->begun)
                (void) pthread_join(roll->early, NULL);
        roll->begun = false;
}

static void roll_entry_done(RollEntry *e) {
        device_free(e->device);
        strv_free(e->names);
}

void roll_done(Roll *roll) {
        wait_for_early(roll);
        for (size_t i = 0; i < roll->n; i++)
                roll_entry_done(roll->entries + i);
        free(roll->entries);
}

static int add(Roll *roll, dev_t devnum, const Heard *heard, const char *number) {
        RollEntry *e;

        if (roll->n == roll->room) {
                size_t room = MAX(roll->room * 2, (size_t) 64);
                RollEntry *p = reallocarray(roll->entries, room, sizeof *p);

                if (!p)
                        return -ENOMEM;
                roll->entries = p;
                roll->room = room;
        }

        e = roll->entries + roll->n++;
        *e = (RollEntry) {
                .devnum = devnum,
                .event_diskseq = heard ? heard->diskseq : 0,
                .valid_paths = heard ? heard->valid_paths : -1,
        };
        (void) strcpy(e->number, number);
        return 0;
}

int roll_add(Roll *roll, dev_t devnum, const Heard *heard) {
        char number[ROLL_NUMBER_SIZE];

        (void) snprintf(number, sizeof number, "%u:%u", major(devnum), minor(devnum));
        return add(roll, devnum, heard, number);
}

/* "8:16". In all of a start's time sscanf() would show. */
static bool parse_number(const char *s, dev_t *ret) {
        unsigned long ma, mi;
        char *end;

        ma = strtoul(s, &end, 10);
        if (end == s || *end != ':' || strlen(s) >= ROLL_NUMBER_SIZE)
                return false;

        s = end + 1;
        mi = strtoul(s, &end, 10);
        *ret = makedev((unsigned) ma, (unsigned) mi);
        return end > s && *end == 0;
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
                dev_t devnum;

                if (!parse_number(e->d_name, &devnum))
                        continue;

                r = add(roll, devnum, NULL, e->d_name);
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
static UdevDevice *find_device(int root_fd, Udev *udev, const RollEntry *entry) {
        _cleanup_(udev_device_unrefp) UdevDevice *device = NULL;
        char link[PATH_MAX], path[PATH_MAX + 8];
        const char *rest;
        ssize_t n;

        n = readlinkat(root_fd, entry->number, link, sizeof link - 1);
        if (n < 0)
                return NULL;

        link[n] = 0;
        rest = startswith(link, "../../");
        if (!rest)
                return udev_device_new_from_devnum(udev, 'b', entry->devnum);

        (void) snprintf(path, sizeof path, "/sys/%s", rest);
        device = udev_device_new_from_syspath(udev, path);
        /* Another one has the path meanwhile. */
        if (device && udev_device_get_devnum(device) != entry->devnum) {
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

        device = find_device(root_fd, udev, entry);
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

static void *read_thread(void *userdata) {
        _cleanup_(udev_unrefp) Udev *udev = udev_new();
        Roll *roll = userdata;
        size_t i;

        while (udev && (i = atomic_fetch_add(&roll->next, 1)) < roll->n) {
                RollEntry *e = roll->entries + i;

                e->error = roll_read(roll->root_fd, udev, e, &e->device);
        }

        return NULL;
}

static void *glance_thread(void *userdata) {
        Roll *roll = userdata;
        size_t i;

        while ((i = atomic_fetch_add(&roll->next, 1)) < roll->n) {
                RollEntry *e = roll->entries + i;

                e->error = MIN(glance_files(roll->root_fd, roll->data_fd, e->number, &e->names), 0);
        }

        return NULL;
}

static int run_threads(Roll *roll, void *(*thread)(void *)) {
        pthread_t threads[THREADS_MAX - 1];
        size_t wanted = MIN(roll->n / THREAD_SHARE, ELEMENTSOF(threads)), started = 0;
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);

        wanted = MIN(wanted, cpus > 1 ? (size_t) cpus - 1 : 0);
        while (started < wanted && pthread_create(threads + started, NULL, thread, roll) == 0)
                started++;

        thread(roll);
        while (started > 0)
                (void) pthread_join(threads[--started], NULL);
        wait_for_early(roll);

        /* No thread had the memory for its context. */
        if (atomic_load(&roll->next) < roll->n)
                return -ENOMEM;
        for (size_t i = 0; i < roll->n; i++)
                if (roll->entries[i].error == -ENOMEM)
                        return -ENOMEM;

        return 0;
}

/* Reading a device is some sixty system calls, and a host with many paths has ten thousands of devices. */
int roll_call(Roll *roll) {
        return run_threads(roll, read_thread);
}

static void *early_thread(void *userdata) {
        Roll *roll = userdata;

        roll->error = roll_add_all(roll);
        if (roll->error < 0)
                return NULL;

        atomic_store(&roll->listed, true);
        return glance_thread(roll);
}

void roll_glance_begin(Roll *roll) {
        roll->begun = pthread_create(&roll->early, NULL, early_thread, roll) == 0;
}

int roll_glance(Roll *roll) {
        if (!atomic_load(&roll->listed))
                wait_for_early(roll);
        /* It could not begin, and so nobody has done anything. */
        if (!atomic_load(&roll->listed) && roll->error >= 0)
                roll->error = roll_add_all(roll);
        if (roll->error < 0)
                return roll->error;

        return run_threads(roll, glance_thread);
}
