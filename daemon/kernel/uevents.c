/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/errno.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/strv.h"
#include "kernel/hearsay.h"
#include "kernel/roll.h"
#include "kernel/sysfs.h"
#include "kernel/uevents.h"
#include "model/identity.h"

/* An event is never acted on; the state of its device is. Reading that costs much more than the event, and each wake-up costs as well.
 * Hence a device that somebody waits for, or uses, is urgent: it is read at the end of the burst. Any other is only noted, and read when
 * somebody asks for devices in general (uevents_flush()). When the events of a storm are all of that sort, we look at them ever more
 * rarely, four times a second in the end.
 *
 * When events were lost, every device is suspect. When the storm is over (enumerating in the middle of it would cost most and be worth
 * least) those that somebody wants are read at once, and of the others we look at the names, a few in each turn of the loop. */

#define RECEIVE_BUFFER_DEFAULT (128U * 1024 * 1024)
#define BURST_MAX 256           /* events a turn of the loop, for others want to be served as well */
#define LONE_STORM 8U           /* looks, each soon after the last, that found nothing urgent: a storm */
#define LONE_MAX 16U
#define SOON_USEC UINT64_C(250000)
#define PAUSE_MIN_USEC UINT64_C(15000)
#define PAUSE_MAX_USEC UINT64_C(250000)
#define LOST_PAUSES_MAX 20U     /* how long a storm may keep us from what is wanted */
#define STORM_PAUSES_MAX 240U   /* … and from the names of all the others */
#define SUSPECTS_MAX 32U        /* devices whose names a turn looks at */
#define UNREAD_MAX 4096U

struct Uevents {
        sd_event *event;
        Udev *udev;
        UdevMonitor *monitor;
        sd_event_source *source;
        sd_event_source *pause; /* on while source is off */
        sd_event_source *rest;  /* on while there are suspects, and no storm */
        int root_fd;            /* /sys/dev/block */

        Hearsay hearsay;
        List urgent, unread, suspects;  /* Heard.link: each in one of them, or in none */
        size_t n_unread;

        uint64_t last_look;     /* CLOCK_MONOTONIC */
        unsigned n_lone;
        bool lost;
        unsigned n_pauses;      /* in this storm */

        uevents_device_t on_device;
        uevents_lost_t on_lost;
        uevents_wanted_t is_wanted;
        void *userdata;
};

/* ---- pauses ---- */

static uint64_t now_usec(const Uevents *u) {
        uint64_t usec;

        return sd_event_now(u->event, CLOCK_MONOTONIC, &usec) < 0 ? 0 : usec;
}

/* As long as the storm has earned by now. Only a long pause tells that it is over. */
static void make_pause(Uevents *u) {
        unsigned n = u->n_lone > LONE_STORM ? u->n_lone - LONE_STORM : 0;
        bool wait_for_calm = u->lost || !list_is_empty(&u->suspects);
        uint64_t usec = wait_for_calm ? PAUSE_MAX_USEC : MIN(PAUSE_MIN_USEC << n, PAUSE_MAX_USEC);

        (void) sd_event_source_set_time(u->pause, now_usec(u) + usec);
        (void) sd_event_source_set_enabled(u->pause, SD_EVENT_ONESHOT);
        (void) sd_event_source_set_enabled(u->source, SD_EVENT_OFF);
}

/* What was lost by somebody who is not about to look after it himself is made good at the end of a pause. */
static void make_good_later(Uevents *u) {
        if (u->lost)
                make_pause(u);
}

/* ---- reading ---- */

int uevents_read_device(Uevents *u, dev_t devnum, Device **ret) {
        const Heard *heard = hearsay_get(&u->hearsay, devnum);
        RollEntry entry = { .devnum = devnum, .valid_paths = heard ? heard->valid_paths : -1 };

        return roll_read(u->root_fd, u->udev, &entry, ret);
}

/* gone: what is not there is told as removed. One that cannot be read must not hide the others. */
static void tell(Uevents *u, Roll *roll, bool gone) {
        for (size_t i = 0; i < roll->n; i++) {
                RollEntry *e = roll->entries + i;
                int r = 0;

                if (e->device)
                        r = u->on_device(e->devnum, TAKE_PTR(e->device), u->userdata);
                else if (e->error != -ENODEV)
                        log_warning_errno(e->error, "Cannot read block device %u:%u", major(e->devnum), minor(e->devnum));
                else if (gone)
                        r = u->on_device(e->devnum, NULL, u->userdata);
                if (r < 0)
                        u->lost = true;
        }
}

static void unlist(Uevents *u, Heard *heard) {
        if (heard->list == HEARD_UNREAD)
                u->n_unread--;
        heard->list = HEARD_NOWHERE;
        list_unlink(&heard->link);
}

static void enlist(Uevents *u, Heard *heard, HeardList where) {
        unlist(u, heard);
        heard->list = where;

        switch (where) {
        case HEARD_UNREAD:
                list_append(&u->unread, &heard->link);
                u->n_unread++;
                break;
        case HEARD_SUSPECT:
                list_append(&u->suspects, &heard->link);
                break;
        case HEARD_URGENT:
                list_append(&u->urgent, &heard->link);
                break;
        case HEARD_NOWHERE:
                break;
        }
}

static void unlist_all(Uevents *u, List *list) {
        Heard *heard;

        LIST_FOREACH(list, heard, Heard, link)
                unlist(u, heard);
}

int uevents_enumerate(Uevents *u) {
        _cleanup_(roll_done) Roll roll = { .root_fd = u->root_fd };
        int r;

        r = roll_add_all(&roll);
        if (r < 0)
                return r;

        for (size_t i = 0; i < roll.n; i++) {
                const Heard *heard = hearsay_get(&u->hearsay, roll.entries[i].devnum);

                if (heard)
                        roll.entries[i].valid_paths = heard->valid_paths;
        }

        r = roll_call(&roll);
        if (r < 0)
                return r;

        /* What was noted was there or not, and has been read or not, as everything else. */
        unlist_all(u, &u->urgent);
        unlist_all(u, &u->suspects);
        unlist_all(u, &u->unread);
        tell(u, &roll, false);
        make_good_later(u);
        return 0;
}

/* Reads the devices in the list and empties it. */
static void read_list(Uevents *u, List *list) {
        _cleanup_(roll_done) Roll roll = { .root_fd = u->root_fd };
        Heard *heard;
        int r = 0;

        if (list_is_empty(list))
                return;

        LIST_FOREACH(list, heard, Heard, link)
                if (r >= 0)
                        r = roll_add(&roll, heard->devnum, heard);
        if (r >= 0)
                r = roll_call(&roll);

        unlist_all(u, list);
        if (r < 0) {
                u->lost = true;
                return;
        }

        for (size_t i = 0; i < roll.n; i++) {
                heard = hearsay_get(&u->hearsay, roll.entries[i].devnum);
                if (heard && roll.entries[i].error == -ENODEV)
                        hearsay_forget(&u->hearsay, heard);
        }

        tell(u, &roll, true);
}

/* ---- what is urgent ---- */

/* Its names as keys, as far as udev knows them. */
static int device_names(UdevDevice *device, Device **ret) {
        const char *name = udev_device_get_sysname(device), *node = udev_device_get_devnode(device);
        const char *wwid = udev_device_get_property_value(device, startswith(name, "nvme") ? "ID_WWN" : "ID_SERIAL");
        _cleanup_(device_freep) Device *d = device_new();
        _cleanup_(strv_freep) char **links = NULL;
        int r;

        if (!d)
                return -ENOMEM;

        r = roll_links(device, &links);
        if (r >= 0)
                r = identity_apply(d, &(IdentityFacts) { .node = node, .links = links, .wwid = wwid });
        if (r < 0)
                return r;

        *ret = TAKE_PTR(d);
        return 0;
}

/* When in doubt, it is: then it is read, as it would be without all this. */
static bool is_urgent(Uevents *u, UdevDevice *device, dev_t devnum) {
        const char *name = udev_device_get_sysname(device);
        _cleanup_(device_freep) Device *d = NULL;

        if (!u->is_wanted || !name || !udev_device_get_devnode(device) || udev_device_get_property_value(device, "VHOSTSCSI_TARGET"))
                return true;

        /* The names of maps are the kernel's, and so may be the WWID of NVMe. */
        if (startswith(name, "dm-") || (startswith(name, "nvme") && !udev_device_get_property_value(device, "ID_WWN")))
                return true;

        return device_names(device, &d) < 0 || u->is_wanted(devnum, d->keys, u->userdata);
}

/* ---- suspects ---- */

int uevents_suspect(Uevents *u, dev_t devnum, bool wanted) {
        Heard *heard = NULL;
        int r;

        r = hearsay_ensure(&u->hearsay, devnum, &heard);
        if (r < 0)
                return r;

        if (heard->list != HEARD_URGENT)
                enlist(u, heard, wanted ? HEARD_URGENT : HEARD_SUSPECT);
        return 0;
}

static int suspect_all(Uevents *u) {
        _cleanup_(roll_done) Roll roll = { .root_fd = u->root_fd };
        int r;

        r = roll_add_all(&roll);
        for (size_t i = 0; r >= 0 && i < roll.n; i++)
                r = uevents_suspect(u, roll.entries[i].devnum, false);

        return r;
}

static void make_good(Uevents *u) {
        int r;

        u->lost = false;
        unlist_all(u, &u->urgent);
        unlist_all(u, &u->suspects);
        unlist_all(u, &u->unread);
        hearsay_forget_all(&u->hearsay);

        r = suspect_all(u);
        if (r >= 0)
                r = u->on_lost(u->userdata);
        if (r < 0) {
                log_warning_errno(r, "Cannot list block devices");
                u->lost = true;
        }

        read_list(u, &u->urgent);
}

static int on_rest(sd_event_source *s, void *userdata) {
        Uevents *u = userdata;

        for (unsigned i = 0; i < SUSPECTS_MAX && !list_is_empty(&u->suspects); i++) {
                Heard *heard = list_entry(u->suspects.next, Heard, link);
                _cleanup_(udev_device_unrefp) UdevDevice *device = udev_device_new_from_devnum(u->udev, 'b', heard->devnum);

                enlist(u, heard, !device || is_urgent(u, device, heard->devnum) ? HEARD_URGENT : HEARD_UNREAD);
        }

        read_list(u, &u->urgent);
        make_good_later(u);
        return sd_event_source_set_enabled(s, list_is_empty(&u->suspects) ? SD_EVENT_OFF : SD_EVENT_ON);
}

/* ---- the monitor ---- */

static uint64_t property_u64(UdevDevice *device, const char *name) {
        const char *s = udev_device_get_property_value(device, name);
        uint64_t v;

        return s && parse_u64(s, &v) >= 0 ? v : 0;
}

static int note_event(Uevents *u, UdevDevice *device, dev_t devnum) {
        Heard *heard = NULL;
        int r;

        r = hearsay_ensure(&u->hearsay, devnum, &heard);
        if (r < 0)
                return r;

        hearsay_note(heard, &(HearsayEvent) {
                .action = udev_device_get_action(device),
                .diskseq = property_u64(device, "DISKSEQ"),
                .dm_uuid = udev_device_get_property_value(device, "DM_UUID"),
                .dm_action = udev_device_get_property_value(device, "DM_ACTION"),
                .dm_valid_paths = udev_device_get_property_value(device, "DM_NR_VALID_PATHS"),
                .dm_sequence = udev_device_get_property_value(device, "DM_SEQNUM"),
                .dm_flag0 = udev_device_get_property_value(device, "DM_SUBSYSTEM_UDEV_FLAG0"),
                .dm_flag2 = udev_device_get_property_value(device, "DM_SUBSYSTEM_UDEV_FLAG2"),
        });

        /* Once urgent, always urgent, until it is read. A suspect has been heard of. */
        if (heard->list != HEARD_URGENT)
                enlist(u, heard, is_urgent(u, device, devnum) ? HEARD_URGENT : HEARD_UNREAD);
        return 0;
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

        return note_event(u, device, devnum);
}

/* How many there were, understood or not. Fewer than BURST_MAX: there is no more. */
static unsigned receive_burst(Uevents *u) {
        unsigned n = 0;

        while (n < BURST_MAX) {
                int r = receive_one(u);

                if (r == -EAGAIN)
                        break;
                if (r == -EINTR)
                        continue;

                n++;
                /* Whatever it was, one message less was understood than was sent. */
                if (r < 0 && !u->lost) {
                        u->lost = true;
                        log_debug_errno(r, "Events of devices were lost");
                }
        }

        return n;
}

static unsigned take_burst(Uevents *u) {
        unsigned n = receive_burst(u);
        uint64_t now = now_usec(u);

        if (n == 0)
                return 0;

        /* In a storm of both sorts it needs more of those that nobody wants. */
        if (now - u->last_look >= SOON_USEC)
                u->n_lone = 0;
        else
                u->n_lone = list_is_empty(&u->urgent) ? MIN(u->n_lone + 1, LONE_MAX) : u->n_lone / 2;
        u->last_look = now;

        read_list(u, &u->urgent);
        if (u->n_unread >= UNREAD_MAX)
                read_list(u, &u->unread);

        return n;
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Uevents *u = userdata;

        if (take_burst(u) < BURST_MAX && (u->lost || u->n_lone >= LONE_STORM)) {
                u->n_pauses = 0;
                make_pause(u);
        }

        return 0;
}

static int on_pause(sd_event_source *s, uint64_t usec, void *userdata) {
        Uevents *u = userdata;
        bool calm;

        calm = take_burst(u) == 0;
        u->n_pauses++;

        if (u->lost && (calm || u->n_pauses % LOST_PAUSES_MAX == 0))
                make_good(u);
        if (!list_is_empty(&u->suspects) && (calm || u->n_pauses % STORM_PAUSES_MAX == 0))
                (void) sd_event_source_set_enabled(u->rest, SD_EVENT_ON);

        if (u->lost || (!calm && (u->n_lone >= LONE_STORM || !list_is_empty(&u->suspects))))
                make_pause(u);
        else
                (void) sd_event_source_set_enabled(u->source, SD_EVENT_ON);

        return 0;
}

void uevents_flush(Uevents *u) {
        for (unsigned i = 0; i < UNREAD_MAX / BURST_MAX; i++)
                if (receive_burst(u) < BURST_MAX)
                        break;

        if (u->lost)
                make_good(u);
        read_list(u, &u->urgent);
        read_list(u, &u->suspects);
        read_list(u, &u->unread);
        make_good_later(u);
}

void uevents_defer_unwanted(Uevents *u, uevents_wanted_t is_wanted) {
        u->is_wanted = is_wanted;
}

static void set_receive_buffer(int fd, size_t size) {
        int v = size > INT32_MAX ? INT32_MAX : (int) size;

        /* The first is bound by no limit, and by CAP_NET_ADMIN. What we get in the end is fine: a loss is noticed. */
        if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &v, sizeof v) < 0 &&
            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &v, sizeof v) < 0)
                log_debug_errno(negative_errno(), "Cannot set the receive buffer of udev's monitor");
}

static int add_sources(Uevents *u, int fd) {
        int r;

        r = sd_event_add_io(u->event, &u->source, fd, EPOLLIN, on_io, u);
        if (r >= 0)
                r = sd_event_add_time(u->event, &u->pause, CLOCK_MONOTONIC, 0, PAUSE_MIN_USEC / 3, on_pause, u);
        if (r >= 0)
                r = sd_event_source_set_enabled(u->pause, SD_EVENT_OFF);
        if (r >= 0)
                r = sd_event_add_defer(u->event, &u->rest, on_rest, u);
        if (r >= 0)
                r = sd_event_source_set_priority(u->rest, SD_EVENT_PRIORITY_IDLE);
        if (r >= 0)
                r = sd_event_source_set_enabled(u->rest, SD_EVENT_OFF);
        if (r < 0)
                return r;

        (void) sd_event_source_set_description(u->source, "uevents");
        (void) sd_event_source_set_description(u->pause, "uevents-pause");
        (void) sd_event_source_set_description(u->rest, "uevents-rest");
        return 0;
}

int uevents_new(sd_event *event, size_t receive_buffer, uevents_device_t on_device, uevents_lost_t on_lost,
                void *userdata, Uevents **ret) {
        _cleanup_(uevents_freep) Uevents *u = NULL;
        int r, fd;

        u = calloc(1, sizeof *u);
        if (!u)
                return -ENOMEM;

        u->event = event;
        u->on_device = on_device;
        u->on_lost = on_lost;
        u->userdata = userdata;
        list_init(&u->urgent);
        list_init(&u->unread);
        list_init(&u->suspects);
        u->root_fd = open("/sys/dev/block", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (u->root_fd < 0)
                return negative_errno();

        r = hearsay_init(&u->hearsay);
        if (r < 0)
                return r;

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

        r = add_sources(u, fd);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(u);
        return 0;
}

Uevents *uevents_free(Uevents *u) {
        if (!u)
                return NULL;

        sd_event_source_disable_unref(u->source);
        sd_event_source_disable_unref(u->pause);
        sd_event_source_disable_unref(u->rest);
        udev_monitor_unref(u->monitor);
        udev_unref(u->udev);
        hearsay_done(&u->hearsay);
        safe_close(u->root_fd);
        free(u);
        return NULL;
}

int uevents_is_suspended(Uevents *u, const Device *d) {
        _cleanup_close_ int dirfd = -EBADF;

        dirfd = sysfs_open_block(u->root_fd, d->devnum);
        return dirfd < 0 ? dirfd : sysfs_read_is(dirfd, "dm/suspended", "1");
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
