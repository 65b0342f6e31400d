/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <malloc.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "bus/bus-lun.h"
#include "bus/bus-manager.h"
#include "bus/bus-target.h"
#include "bus/publish.h"
#include "dbus/vhostscsi-names.h"
#include "engine/hotplug.h"
#include "fake-cfs.h"
#include "model/identity.h"
#include "scale-bare.h"
#include "scale-host.h"

#define MAJOR_MAP 252U
#define MAJOR_PATH 65U

/* ---- the other end of the bus ---- */

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return 1;
}

static void peer_ask(sd_bus *bus, int fd) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        char c;
        int r;

        if (read(fd, &c, 1) != 1)
                _exit(EXIT_SUCCESS);

        if (c == HOST_ASK_OBJECTS || c == HOST_ASK_BARE)
                r = sd_bus_message_new_method_call(bus, &m, NULL, c == HOST_ASK_BARE ? BARE_PATH : VHOSTSCSI_ROOT_PATH,
                                                   "org.freedesktop.DBus.ObjectManager", "GetManagedObjects");
        else {
                r = sd_bus_message_new_method_call(bus, &m, NULL, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE, "ListDevices");
                if (r >= 0)
                        r = sd_bus_message_append(m, "a{sv}", 0);
        }
        if (r >= 0)
                r = sd_bus_call(bus, m, UINT64_C(600000000), NULL, &reply);
        if (r < 0 || write(fd, &c, 1) != 1)
                _exit(EXIT_FAILURE);
}

static void peer_run(int bus_fd, int ask_fd) {
        sd_bus *bus;

        if (sd_bus_new(&bus) < 0 || sd_bus_set_fd(bus, bus_fd, bus_fd) < 0 || sd_bus_set_server(bus, true, SD_ID128_NULL) < 0 ||
            sd_bus_set_anonymous(bus, true) < 0 || sd_bus_add_filter(bus, NULL, on_message, NULL) < 0 || sd_bus_start(bus) < 0)
                _exit(EXIT_FAILURE);

        for (;;) {
                struct pollfd p[] = { { .fd = ask_fd, .events = POLLIN }, { .fd = bus_fd } };
                int r = sd_bus_process(bus, NULL);

                if (r < 0)
                        _exit(EXIT_FAILURE);
                if (r > 0)
                        continue;

                p[1].events = (short) sd_bus_get_events(bus);
                if (poll(p, G_N_ELEMENTS(p), -1) > 0 && p[0].revents)
                        peer_ask(bus, ask_fd);
        }
}

static void bus_connect(Host *h) {
        int bus_fds[2], ask_fds[2];
        pid_t pid;

        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, bus_fds), ==, 0);
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ask_fds), ==, 0);
        pid = fork();
        g_assert_cmpint(pid, >=, 0);
        if (pid == 0) {
                /* Nobody's child: the fixture waits for all of ours. It ends with the connection. */
                if (fork() != 0)
                        _exit(EXIT_SUCCESS);
                close(bus_fds[0]);
                close(ask_fds[0]);
                peer_run(bus_fds[1], ask_fds[1]);
        }
        g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);

        close(bus_fds[1]);
        close(ask_fds[1]);
        h->ask_fd = ask_fds[0];
        g_assert_cmpint(sd_bus_new(&h->bus), >=, 0);
        g_assert_cmpint(sd_bus_set_fd(h->bus, bus_fds[0], bus_fds[0]), >=, 0);
        g_assert_cmpint(sd_bus_set_anonymous(h->bus, true), >=, 0);
        g_assert_cmpint(sd_bus_start(h->bus), >=, 0);
}

static void bus_attach(Host *h) {
        g_assert_cmpint(publish_start(h->bus, &h->fixture.engine), >=, 0);
        g_assert_cmpint(sd_bus_attach_event(h->bus, h->fixture.engine.event, SD_EVENT_PRIORITY_NORMAL), >=, 0);
}

static void bus_detach(Host *h) {
        g_assert_cmpint(sd_bus_detach_event(h->bus), >=, 0);
        publish_stop(&h->fixture.engine);
}

void host_ask(Host *h, HostQuestion question) {
        struct pollfd p = { .fd = h->ask_fd, .events = POLLIN };
        char c = (char) question;

        g_assert_cmpint(write(h->ask_fd, &c, 1), ==, 1);
        while (poll(&p, 1, 0) == 0)
                g_assert_cmpint(sd_event_run(h->fixture.engine.event, 1000), >=, 0);
        g_assert_cmpint(read(h->ask_fd, &c, 1), ==, 1);
}

/* ---- devices ---- */

static Device *device_make(const Host *h, unsigned i, HostDevice kind) {
        unsigned map = kind == HOST_MAP ? i : i / 4;
        g_autofree char *wwid = g_strdup_printf("360000000000000000e00000000%06x", map), *uuid = g_strdup_printf("mpath-%s", wwid);
        g_autofree char *wwn = g_strdup_printf("/dev/disk/by-id/wwn-0x%s", wwid + 1);
        g_autofree char *link = kind == HOST_MAP ? g_strdup_printf("/dev/disk/by-id/dm-uuid-%s", uuid) :
                                                   g_strdup_printf("/dev/disk/by-id/scsi-%s", wwid);
        g_autofree char *place = g_strdup_printf("/dev/disk/by-path/pci-0000:3b:00.%u-fc-0x50060e80%08x-lun-%u", i % 2, i % 4, map);
        g_autofree char *dm_name = g_strdup_printf("mpath%06x", map), *named = g_strdup_printf("/dev/disk/by-id/dm-name-%s", dm_name);
        Device *d = device_new();

        g_assert_nonnull(d);
        d->devnum = kind == HOST_MAP ? makedev(MAJOR_MAP, i) : makedev(MAJOR_PATH, i);
        d->kind = kind == HOST_MAP ? DEVICE_MULTIPATH : DEVICE_DISK;
        d->name = g_strdup_printf(kind == HOST_MAP ? "dm-%u" : "sd%u", i);
        d->node = g_strdup_printf("/dev/%s", d->name);
        d->model = g_strdup("OPEN-V");
        d->diskseq = 1000 + i;
        d->size = h->size;
        d->block_size = 512;
        d->initialized = d->ready = true;
        if (kind == HOST_MAP) {
                d->dm_name = g_strdup(dm_name);
                d->total_paths = 4;
                d->valid_paths = 4 - (int) (h->generation % 2);
        } else {
                d->path_member = true;
                d->path_of = g_strdup(dm_name);
                d->read_only = h->generation % 2;
        }

        g_assert_cmpint(identity_apply(d, &(IdentityFacts) {
                .kind = d->kind,
                .node = d->node,
                .dm_name = d->dm_name,
                .dm_uuid = kind == HOST_MAP ? uuid : NULL,
                .wwid = kind == HOST_MAP ? NULL : wwid,
                .links = (char *const []) { link, wwn, kind == HOST_MAP ? named : place, NULL },
        }), ==, 0);
        return d;
}

void host_tell(Host *h, unsigned i, HostDevice kind) {
        Device *d = device_make(h, i, kind);

        hotplug_on_device(d->devnum, d, &h->fixture.engine);
}

void host_lose(Host *h, unsigned n_paths) {
        const Device *d;

        for (unsigned i = 0; i < n_paths; i++) {
                d = inventory_by_devnum(h->fixture.engine.inventory, makedev(MAJOR_PATH, i));
                g_assert_nonnull(d);
                g_assert_false(hotplug_is_wanted(d->devnum, (char *[]) { NULL }, &h->fixture.engine) && !d->path_member);
        }
}

/* ---- the engine ---- */

static void fill_kernel(Host *h) {
        for (unsigned i = 0; i < h->n_maps; i++) {
                _cleanup_(device_freep) Device *d = device_make(h, i, HOST_MAP);

                fake_block_add(&(FakeBlock) {
                        .devnum = d->devnum,
                        .node = d->node,
                        .links = (const char *const []) { d->link, NULL },
                        .diskseq = d->diskseq,
                        .size = d->size,
                });
        }
}

static int on_kick(sd_event_source *source, void *userdata) {
        bool *kicked = userdata;

        *kicked = true;
        return 0;
}

void host_turn(Host *h) {
        sd_event_source *kick;
        bool kicked = false;

        g_assert_cmpint(sd_event_add_defer(h->fixture.engine.event, &kick, on_kick, &kicked), >=, 0);
        while (!kicked)
                g_assert_cmpint(sd_event_run(h->fixture.engine.event, 0), >=, 0);
        /* The post sources of that turn. */
        (void) sd_event_run(h->fixture.engine.event, 0);
        (void) sd_event_run(h->fixture.engine.event, 0);
        sd_event_source_unref(kick);
}

void host_init(Host *h, unsigned n_maps) {
        *h = (Host) { .n_maps = n_maps, .size = HOST_SIZE };
        bus_connect(h);
        fixture_init(&h->fixture);
        g_assert_cmpint(bus_manager_add(h->bus, &h->fixture.engine), >=, 0);
        g_assert_cmpint(bus_target_add(h->bus, &h->fixture.engine), >=, 0);
        g_assert_cmpint(bus_lun_add(h->bus, &h->fixture.engine), >=, 0);
        bus_attach(h);
        fill_kernel(h);
        malloc_trim(0);
}

void host_done(Host *h) {
        bus_detach(h);
        fixture_done(&h->fixture);
        sd_bus_close_unref(h->bus);
        close(h->ask_fd);
}

void host_restart(Host *h, bool empty) {
        bus_detach(h);
        fixture_restart_bare(&h->fixture);
        if (empty) {
                fake_reset();
                fill_kernel(h);
        }
        bus_attach(h);
}

double host_anonymous(void) {
        g_autofree char *status = NULL;
        const char *line;
        unsigned long kib;

        g_assert_true(g_file_get_contents("/proc/self/status", &status, NULL, NULL));
        line = strstr(status, "RssAnon:");
        g_assert_nonnull(line);
        g_assert_cmpint(sscanf(line, "RssAnon: %lu", &kib), ==, 1);
        return (double) kib * 1024;
}

double host_heap(void) {
        struct mallinfo2 m = mallinfo2();

        return (double) m.uordblks + (double) m.hblkhd;
}
