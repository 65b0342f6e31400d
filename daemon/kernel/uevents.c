/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

#include "base/errno.h"
#include "base/log.h"
#include "base/parse.h"
#include "kernel/reader.h"
#include "kernel/sysfs.h"
#include "kernel/uevents.h"

/* An event is never acted on; the state of its device is. Reading that costs much more than the event, and each wake-up costs as well.
 * Hence a device that somebody waits for, or uses, is urgent: it is read at the end of the burst. Any other is only noted, and read when
 * somebody asks for devices in general (uevents_flush()). When the events of a storm are all of that sort, we look at them ever more
 * rarely, four times a second in the end.
 *
 * When events were lost, every device is suspect. When the storm is over (enumerating in the middle of it would cost most and be worth
 * least) those that somebody wants are read at once, and of the others we look at the names, a few in each turn of the loop.
 *
 * At a start nothing has been read, and LUNs wait: those that somebody wants are found out at a glance and read, and the others, a few in each
 * turn, when the start is over. What is open and has no name that is wanted, whoever finds it so has read (engine/hotplug.h). */

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
#define CATCH_UP_USEC UINT64_C(200000)  /* after a start: who waited for that comes first */
#define CATCH_UP_MAX 8U         /* devices that a turn reads then */

struct Uevents {
        sd_event *event;
        UdevMonitor *monitor;
        sd_event_source *source;
        sd_event_source *pause; /* on while source is off */
        sd_event_source *later; /* turns on rest, to catch up */
        sd_event_source *rest;  /* on while there are suspects, and no storm, or while we catch up */
        Reader reader;

        uint64_t last_look;     /* CLOCK_MONOTONIC */
        unsigned n_lone;
        bool catching_up;       /* what is unread is read by and by */
        unsigned n_pauses;      /* in this storm */

        uevents_lost_t on_lost;
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
        bool wait_for_calm = u->reader.lost || !list_is_empty(&u->reader.suspects);
        uint64_t usec = wait_for_calm ? PAUSE_MAX_USEC : MIN(PAUSE_MIN_USEC << n, PAUSE_MAX_USEC);

        (void) sd_event_source_set_time(u->pause, now_usec(u) + usec);
        (void) sd_event_source_set_enabled(u->pause, SD_EVENT_ONESHOT);
        (void) sd_event_source_set_enabled(u->source, SD_EVENT_OFF);
}

/* What was lost by somebody who is not about to look after it himself is made good at the end of a pause. */
static void make_good_later(Uevents *u) {
        if (u->reader.lost)
                make_pause(u);
}

/* ---- reading ---- */

int uevents_read_device(Uevents *u, dev_t devnum, Device **ret) {
        return reader_read_device(&u->reader, devnum, ret);
}

int uevents_enumerate(Uevents *u) {
        int r = reader_read_all(&u->reader);

        make_good_later(u);
        return r;
}

int uevents_enumerate_wanted(Uevents *u) {
        int r = reader_read_wanted(&u->reader);

        make_good_later(u);
        return r;
}

void uevents_read_unread(Uevents *u, dev_t devnum) {
        reader_read_unread(&u->reader, devnum);
        make_good_later(u);
}

int uevents_suspect(Uevents *u, dev_t devnum, bool wanted) {
        return reader_suspect(&u->reader, devnum, wanted);
}

static void make_good(Uevents *u) {
        int r;

        u->reader.lost = false;
        r = reader_suspect_all(&u->reader);
        if (r >= 0)
                r = u->on_lost(u->userdata);
        if (r < 0) {
                log_warning_errno(r, "Cannot list block devices");
                u->reader.lost = true;
        }

        reader_read_list(&u->reader, &u->reader.urgent);
}

static int on_rest(sd_event_source *s, void *userdata) {
        Uevents *u = userdata;

        if (!list_is_empty(&u->reader.suspects))
                reader_look_at_suspects(&u->reader, SUSPECTS_MAX);
        else if (u->catching_up) {
                reader_read_some(&u->reader, &u->reader.unread, CATCH_UP_MAX);
                u->catching_up = !list_is_empty(&u->reader.unread);
        }

        make_good_later(u);
        return sd_event_source_set_enabled(s, u->catching_up || !list_is_empty(&u->reader.suspects) ? SD_EVENT_ON : SD_EVENT_OFF);
}

static int on_catch_up(sd_event_source *s, uint64_t usec, void *userdata) {
        Uevents *u = userdata;

        return sd_event_source_set_enabled(u->rest, SD_EVENT_ON);
}

int uevents_catch_up(Uevents *u) {
        int r;

        r = sd_event_source_set_time(u->later, now_usec(u) + CATCH_UP_USEC);
        if (r >= 0)
                r = sd_event_source_set_enabled(u->later, SD_EVENT_ONESHOT);
        u->catching_up = r >= 0;
        return r;
}

/* ---- the monitor ---- */

static uint64_t property_u64(UdevDevice *device, const char *name) {
        const char *s = udev_device_get_property_value(device, name);
        uint64_t v;

        return s && parse_u64(s, &v) >= 0 ? v : 0;
}

static int note_event(Uevents *u, UdevDevice *device, dev_t devnum) {
        return reader_note(&u->reader, device, devnum, &(HearsayEvent) {
                .action = udev_device_get_action(device),
                .diskseq = property_u64(device, "DISKSEQ"),
                .dm_uuid = udev_device_get_property_value(device, "DM_UUID"),
                .dm_action = udev_device_get_property_value(device, "DM_ACTION"),
                .dm_valid_paths = udev_device_get_property_value(device, "DM_NR_VALID_PATHS"),
                .dm_sequence = udev_device_get_property_value(device, "DM_SEQNUM"),
                .dm_flag0 = udev_device_get_property_value(device, "DM_SUBSYSTEM_UDEV_FLAG0"),
                .dm_flag2 = udev_device_get_property_value(device, "DM_SUBSYSTEM_UDEV_FLAG2"),
        });
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
                if (r < 0 && !u->reader.lost) {
                        u->reader.lost = true;
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
                u->n_lone = list_is_empty(&u->reader.urgent) ? MIN(u->n_lone + 1, LONE_MAX) : u->n_lone / 2;
        u->last_look = now;

        reader_read_list(&u->reader, &u->reader.urgent);
        if (u->reader.n_unread >= UNREAD_MAX && !u->catching_up)
                reader_read_list(&u->reader, &u->reader.unread);

        return n;
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Uevents *u = userdata;

        if (take_burst(u) < BURST_MAX && (u->reader.lost || u->n_lone >= LONE_STORM)) {
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

        if (u->reader.lost && (calm || u->n_pauses % LOST_PAUSES_MAX == 0))
                make_good(u);
        if (!list_is_empty(&u->reader.suspects) && (calm || u->n_pauses % STORM_PAUSES_MAX == 0))
                (void) sd_event_source_set_enabled(u->rest, SD_EVENT_ON);

        if (u->reader.lost || (!calm && (u->n_lone >= LONE_STORM || !list_is_empty(&u->reader.suspects))))
                make_pause(u);
        else
                (void) sd_event_source_set_enabled(u->source, SD_EVENT_ON);

        return 0;
}

void uevents_flush(Uevents *u) {
        for (unsigned i = 0; i < UNREAD_MAX / BURST_MAX; i++)
                if (receive_burst(u) < BURST_MAX)
                        break;

        if (u->reader.lost)
                make_good(u);
        reader_read_list(&u->reader, &u->reader.urgent);
        reader_read_list(&u->reader, &u->reader.suspects);
        reader_read_list(&u->reader, &u->reader.unread);
        make_good_later(u);
}

void uevents_defer_unwanted(Uevents *u, uevents_wanted_t is_wanted) {
        u->reader.is_wanted = is_wanted;
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
                r = sd_event_add_time(u->event, &u->later, CLOCK_MONOTONIC, 0, 0, on_catch_up, u);
        if (r >= 0)
                r = sd_event_source_set_enabled(u->later, SD_EVENT_OFF);
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
        (void) sd_event_source_set_description(u->later, "uevents-later");
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
        u->on_lost = on_lost;
        u->userdata = userdata;
        r = reader_init(&u->reader, on_device, userdata);
        if (r < 0)
                return r;

        u->monitor = udev_monitor_new_from_netlink(u->reader.udev, "udev");
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

        reader_begin(&u->reader);
        *ret = TAKE_PTR(u);
        return 0;
}

Uevents *uevents_free(Uevents *u) {
        if (!u)
                return NULL;

        sd_event_source_disable_unref(u->source);
        sd_event_source_disable_unref(u->pause);
        sd_event_source_disable_unref(u->later);
        sd_event_source_disable_unref(u->rest);
        udev_monitor_unref(u->monitor);
        reader_done(&u->reader);
        free(u);
        return NULL;
}

int uevents_is_suspended(Uevents *u, const Device *d) {
        _cleanup_close_ int dirfd = -EBADF;

        dirfd = sysfs_open_block(u->reader.root_fd, d->devnum);
        return dirfd < 0 ? dirfd : sysfs_read_is(dirfd, "dm/suspended", "1");
}

/* ---- what stands on a device ---- */

int uevents_holders(Uevents *u, const Device *d, char ***ret) {
        _cleanup_close_ int dirfd = -EBADF;
        char **none;

        dirfd = sysfs_open_block(u->reader.root_fd, d->devnum);
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

        dirfd = sysfs_open_block(u->reader.root_fd, d->devnum);
        if (dirfd < 0)
                return dirfd == -ENODEV ? 0 : dirfd;

        return sysfs_multipath_holder(dirfd, ret);
}

int uevents_stack(Uevents *u, const Device *d, dev_t **ret, size_t *ret_n) {
        return sysfs_stack(u->reader.root_fd, d->devnum, ret, ret_n);
}
