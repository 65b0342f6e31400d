/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/epoll.h>

#include "base/errno.h"
#include "base/log.h"
#include "kernel/guests.h"
#include "kernel/roll.h"

#define NODE "vhost-scsi"       /* the module may serve another one beside it, for measuring */
#define BURST_MAX 64U

struct Guests {
        Udev *udev;
        UdevMonitor *monitor;
        sd_event_source *source;
        guests_news_t on_news;
        void *userdata;
};

static int receive_one(Guests *g) {
        _cleanup_(udev_device_unrefp) UdevDevice *device = NULL;
        const char *wwn;

        errno = 0;
        device = udev_monitor_receive_device(g->monitor);
        if (!device)
                return errno > 0 ? -errno : -EAGAIN;

        wwn = udev_device_get_property_value(device, "WWPN");
        if (wwn && udev_device_get_property_value(device, "VHSCSI_EVENT") && streq_ptr(udev_device_get_sysname(device), NODE))
                g->on_news(wwn, g->userdata);
        return 0;
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        Guests *g = userdata;

        /* In bounded bursts: others want to be served as well. */
        for (unsigned i = 0; i < BURST_MAX; i++) {
                int r = receive_one(g);

                if (r == -EAGAIN)
                        break;
                if (r < 0 && r != -EINTR) {
                        log_debug_errno(r, "News of guests were lost");
                        g->on_news(NULL, g->userdata);
                }
        }

        return 0;
}

int guests_new(sd_event *event, guests_news_t on_news, void *userdata, Guests **ret) {
        _cleanup_(guests_freep) Guests *g = NULL;
        int r, fd;

        g = calloc(1, sizeof *g);
        if (!g)
                return -ENOMEM;
        g->on_news = on_news;
        g->userdata = userdata;

        g->udev = udev_new();
        if (!g->udev)
                return negative_errno();

        /* udev's, not the kernel's: those cannot be filtered, and a storm of them would be ours as well. */
        g->monitor = udev_monitor_new_from_netlink(g->udev, "udev");
        if (!g->monitor)
                return negative_errno();

        r = udev_monitor_filter_add_match_subsystem_devtype(g->monitor, "misc", NULL);
        if (r < 0)
                return r;
        fd = udev_monitor_get_fd(g->monitor);
        if (fd < 0)
                return fd;
        r = udev_monitor_enable_receiving(g->monitor);
        if (r < 0)
                return r;

        r = sd_event_add_io(event, &g->source, fd, EPOLLIN, on_io, g);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(g->source, "guests");

        *ret = TAKE_PTR(g);
        return 0;
}

Guests *guests_free(Guests *g) {
        if (!g)
                return NULL;

        sd_event_source_disable_unref(g->source);
        udev_monitor_unref(g->monitor);
        udev_unref(g->udev);
        free(g);
        return NULL;
}
