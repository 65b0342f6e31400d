/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <endian.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sched.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

#include "base/strv.h"
#include "kernel/uevents.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>

/* Runs on the block devices that the machine has, whatever they are. Events are forged: in a network name space of our own, where
 * nobody else hears them. */

#define UDEV_GROUP 2
#define NOBODY makedev(4095, 1048575)

typedef struct Seen {
        GHashTable *devices;    /* devnum -> Device, or NULL: told that it was removed */
        unsigned n_told, n_lost, n_refused;
        unsigned no_memory;     /* for so many */
        dev_t wanted;           /* is_wanted() says yes to it; on_lost() names it */
        sd_event *event;
        Uevents *uevents;
        int sender;
} Seen;

static bool own_network;

static void device_free_func(gpointer p) {
        device_free(p);
}

static int on_device(dev_t devnum, Device *device, void *userdata) {
        Seen *s = userdata;

        if (s->no_memory > 0) {
                s->no_memory--;
                s->n_refused++;
                device_free(device);
                return -ENOMEM;
        }

        g_assert_true(!device || device->devnum == devnum);
        s->n_told++;
        g_hash_table_insert(s->devices, GUINT_TO_POINTER(devnum), device);
        return 0;
}

static int on_lost(void *userdata) {
        Seen *s = userdata;

        s->n_lost++;
        return s->wanted ? uevents_suspect(s->uevents, s->wanted, true) : 0;
}

static bool is_wanted(dev_t devnum, char *const *keys, void *userdata) {
        const Seen *s = userdata;

        g_assert_cmpuint(strv_length(keys), >=, 1);
        return devnum == s->wanted;
}

static void set_up_buffer(Seen *s, size_t buffer) {
        static const int on = 1;
        int r;

        *s = (Seen) { .sender = -EBADF };
        s->devices = g_hash_table_new_full(NULL, NULL, NULL, device_free_func);
        g_assert_cmpint(sd_event_new(&s->event), ==, 0);

        r = uevents_new(s->event, buffer, on_device, on_lost, s, &s->uevents);
        if (r < 0) {
                g_test_message("no monitor here: %s", g_strerror(-r));
                return;
        }

        if (own_network) {
                s->sender = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
                g_assert_cmpint(s->sender, >=, 0);
                g_assert_cmpint(setsockopt(s->sender, SOL_SOCKET, SO_PASSCRED, &on, sizeof on), ==, 0);
        }
}

static void set_up(Seen *s, const void *data) {
        set_up_buffer(s, 0);
}

static void set_up_small(Seen *s, const void *data) {
        set_up_buffer(s, 4096);
}

static void tear_down(Seen *s, const void *data) {
        uevents_free(s->uevents);
        sd_event_unref(s->event);
        g_hash_table_unref(s->devices);
        safe_close(s->sender);
}

static void dispatch(Seen *s) {
        while (sd_event_run(s->event, 0) > 0)
                ;
}

/* Pauses of a storm are part of it. */
static void run_until(Seen *s, const unsigned *count, unsigned value) {
        for (gint64 end = g_get_monotonic_time() + 20 * G_USEC_PER_SEC; *count < value && g_get_monotonic_time() < end;)
                g_assert_cmpint(sd_event_run(s->event, 20000), >=, 0);

        g_assert_cmpuint(*count, >=, value);
        dispatch(s);
}

/* ---- forging ---- */

/* MurmurHash2 by Austin Appleby, seed 0: what the monitor's filter compares. */
static uint32_t murmur(const char *s) {
        const uint32_t m = 0x5bd1e995;
        size_t n = strlen(s);
        uint32_t h = (uint32_t) n, k;

        for (; n >= 4; n -= 4, s += 4) {
                memcpy(&k, s, 4);
                k *= m;
                k ^= k >> 24;
                k *= m;
                h = h * m ^ k;
        }
        for (size_t i = n; i > 0; i--)
                h ^= (uint32_t) (unsigned char) s[i - 1] << 8 * (i - 1);
        if (n > 0)
                h *= m;

        h ^= h >> 13;
        h *= m;
        return h ^ h >> 15;
}

typedef struct MonitorHeader {
        char prefix[8];
        uint32_t magic, header_size, properties_off, properties_len, subsystem_hash, devtype_hash, tags_hi, tags_lo;
} MonitorHeader;

static void forge(Seen *s, const char *action, dev_t devnum, const char *path) {
        struct sockaddr_nl to = { .nl_family = AF_NETLINK, .nl_groups = UDEV_GROUP };
        MonitorHeader *header;
        char message[4096];
        size_t n = sizeof *header;
        ssize_t sent;

        n += (size_t) snprintf(message + n, sizeof message - n,
                               "ACTION=%s%cDEVPATH=%s%cSUBSYSTEM=block%cDEVTYPE=disk%cDEVNAME=/dev/forged%cSEQNUM=1%cMAJOR=%u%cMINOR=%u",
                               action, 0, path, 0, 0, 0, 0, 0, major(devnum), 0, minor(devnum)) + 1;

        header = (MonitorHeader *) message;
        *header = (MonitorHeader) {
                .prefix = "libudev", .magic = htobe32(0xfeedcafe), .header_size = sizeof *header, .properties_off = sizeof *header,
                .properties_len = (uint32_t) (n - sizeof *header), .subsystem_hash = htobe32(murmur("block")),
                .devtype_hash = htobe32(murmur("disk")),
        };

        sent = sendto(s->sender, message, n, 0, (struct sockaddr *) &to, sizeof to);
        g_assert_true(sent == (ssize_t) n || (sent < 0 && (errno == ECONNREFUSED || errno == ENOBUFS)));
}

/* Any device of the machine. */
static Device *some_device(Seen *s) {
        GHashTableIter i;
        gpointer v;

        g_assert_cmpint(uevents_enumerate(s->uevents), ==, 0);
        g_hash_table_iter_init(&i, s->devices);
        return g_hash_table_iter_next(&i, NULL, &v) ? v : NULL;
}

static bool skipped(const Seen *s, bool forging) {
        if (!s->uevents)
                g_test_skip("no monitor of udev");
        else if (forging && s->sender < 0)
                g_test_skip("no network name space of our own");
        else
                return false;

        return true;
}

/* ---- tests ---- */

static void test_enumerate(Seen *s, const void *data) {
        GHashTableIter i;
        gpointer v;

        if (skipped(s, false))
                return;

        g_assert_cmpint(uevents_enumerate(s->uevents), ==, 0);
        g_test_message("%u block devices", s->n_told);

        g_hash_table_iter_init(&i, s->devices);
        while (g_hash_table_iter_next(&i, NULL, &v)) {
                _cleanup_(device_freep) Device *again = NULL;
                _cleanup_(strv_freep) char **holders = NULL;
                g_autofree char *detail = NULL, *map = NULL;
                _cleanup_free_ dev_t *stack = NULL;
                Device *d = v;
                size_t n;
                int r;

                g_assert_nonnull(d);
                g_assert_true(g_str_has_prefix(d->node, "/dev/"));
                g_assert_cmpstr(d->keys[0], ==, d->identity);
                g_assert_cmpuint(d->block_size, >=, 512);
                g_test_message("%s %s %s %s", d->name, device_kind_to_string(d->kind), d->identity,
                               device_verdict_to_string(device_verdict(d, &detail)));

                r = uevents_read_device(s->uevents, d->devnum, &again);
                g_assert_true(r == 0 || r == -ENODEV);

                g_assert_cmpint(uevents_holders(s->uevents, d, &holders), ==, 0);
                g_assert_nonnull(holders);
                g_assert_cmpint(uevents_multipath_holder(s->uevents, d, &map), >=, 0);
                g_assert_cmpint(uevents_stack(s->uevents, d, &stack, &n), ==, 0);
                g_assert_cmpuint(n, >=, 1);
                g_assert_cmpuint(stack[0], ==, d->devnum);
        }
}

static void test_absent(Seen *s, const void *data) {
        _cleanup_(device_freep) Device *d = device_new();
        _cleanup_(strv_freep) char **holders = NULL;
        _cleanup_free_ dev_t *stack = NULL;
        Device *none = NULL;
        char *map = NULL;
        size_t n;

        if (skipped(s, false))
                return;

        d->devnum = NOBODY;
        g_assert_cmpint(uevents_read_device(s->uevents, NOBODY, &none), ==, -ENODEV);
        g_assert_cmpint(uevents_holders(s->uevents, d, &holders), ==, 0);
        g_assert_cmpuint(strv_length(holders), ==, 0);
        g_assert_cmpint(uevents_multipath_holder(s->uevents, d, &map), ==, 0);
        g_assert_cmpint(uevents_stack(s->uevents, d, &stack, &n), ==, 0);
        g_assert_cmpuint(n, ==, 1);
        g_assert_null(none);
        g_assert_null(map);
}

static void test_events(Seen *s, const void *data) {
        gpointer v;
        Device *d;

        if (skipped(s, true))
                return;

        forge(s, "add", NOBODY, "/devices/virtual/block/forged");
        forge(s, "remove", NOBODY, "/devices/virtual/block/forged");
        dispatch(s);
        if (s->n_told == 0) {
                g_test_skip("the monitor hears nothing: no udevd, no devtmpfs");
                return;
        }

        /* The two were one turn's work, and there is no such device whatever they said. */
        g_assert_cmpuint(s->n_told, ==, 1);
        g_assert_true(g_hash_table_lookup_extended(s->devices, GUINT_TO_POINTER(NOBODY), NULL, &v));
        g_assert_null(v);

        g_hash_table_remove_all(s->devices);
        d = some_device(s);
        if (!d)
                return;

        /* It is there, whatever the event says. */
        {
                dev_t devnum = d->devnum;

                g_hash_table_remove_all(s->devices);
                s->n_told = 0;
                for (int i = 0; i < 1000; i++)
                        forge(s, i % 2 ? "remove" : "change", devnum, "/devices/virtual/block/forged");
                dispatch(s);
                g_assert_cmpuint(s->n_told, >=, 1);
                g_assert_cmpuint(s->n_told, <=, 4);
                g_assert_nonnull(g_hash_table_lookup(s->devices, GUINT_TO_POINTER(devnum)));
                g_assert_cmpuint(s->n_lost, ==, 0);
        }
}

/* Whether the monitor works here at all. */
static bool is_deaf(Seen *s) {
        if (skipped(s, true))
                return true;

        forge(s, "change", NOBODY, "/devices/virtual/block/forged");
        dispatch(s);
        if (s->n_told == 0) {
                g_test_skip("the monitor hears nothing: no udevd, no devtmpfs");
                return true;
        }

        s->n_told = 0;
        return false;
}

static void test_lost(Seen *s, const void *data) {
        if (is_deaf(s))
                return;

        for (unsigned round = 1; round <= 3; round++) {
                for (int i = 0; i < 1000; i++)
                        forge(s, "change", NOBODY, "/devices/virtual/block/forged");
                run_until(s, &s->n_lost, round);

                /* And it goes on hearing. */
                s->n_told = 0;
                forge(s, "change", NOBODY, "/devices/virtual/block/forged");
                run_until(s, &s->n_told, 1);
                g_assert_cmpuint(s->n_lost, ==, round);
        }
}

/* What was lost is made good: what is wanted at once, everything by the time that somebody asks. */
static void test_made_good(Seen *s, const void *data) {
        unsigned n;

        if (is_deaf(s))
                return;

        g_assert_cmpint(uevents_enumerate(s->uevents), ==, 0);
        n = s->n_told;
        g_hash_table_remove_all(s->devices);
        s->n_told = 0;

        s->wanted = NOBODY;
        uevents_defer_unwanted(s->uevents, is_wanted);
        for (int i = 0; i < 1000; i++)
                forge(s, "change", makedev(4095, 1), "/devices/virtual/block/other");
        run_until(s, &s->n_lost, 1);
        g_assert_cmpuint(s->n_told, ==, 1);
        g_assert_true(g_hash_table_contains(s->devices, GUINT_TO_POINTER(NOBODY)));

        uevents_flush(s->uevents);
        g_assert_cmpuint(s->n_told, ==, 1 + n);
        g_assert_cmpuint(s->n_lost, ==, 1);
}

/* A device that nobody wants is read when somebody asks; one that somebody wants, at once, also in a storm of the others. */
/* What nobody had the memory to keep is lost, however it was told. */
static void test_no_memory(Seen *s, const void *data) {
        const Device *d;

        if (skipped(s, true))
                return;

        d = some_device(s);
        if (!d) {
                g_test_skip("no block device");
                return;
        }

        s->wanted = d->devnum;
        for (unsigned how = 0; how < 3; how++) {
                unsigned told, lost = s->n_lost;

                s->no_memory = 1;
                if (how == 0) {
                        forge(s, "change", s->wanted, "/devices/virtual/block/forged");
                        run_until(s, &s->n_refused, how + 1);
                } else if (how == 1) {
                        g_assert_cmpint(uevents_suspect(s->uevents, s->wanted, true), ==, 0);
                        uevents_flush(s->uevents);
                } else
                        g_assert_cmpint(uevents_enumerate(s->uevents), ==, 0);
                g_assert_cmpuint(s->n_refused, ==, how + 1);

                told = s->n_told;
                run_until(s, &s->n_lost, lost + 1);
                run_until(s, &s->n_told, told + 1);
        }
}

static void test_unwanted(Seen *s, const void *data) {
        if (is_deaf(s))
                return;

        uevents_defer_unwanted(s->uevents, is_wanted);
        s->wanted = makedev(4095, 2);

        /* Each event is a look of its own, until they come in pauses. */
        for (unsigned i = 0; i < 100; i++) {
                forge(s, i % 2 ? "remove" : "add", makedev(4095, i % 10 + 10), "/devices/virtual/block/other");
                dispatch(s);
        }
        g_assert_cmpuint(s->n_told, ==, 0);

        forge(s, "change", s->wanted, "/devices/virtual/block/forged");
        run_until(s, &s->n_told, 1);
        g_assert_true(g_hash_table_contains(s->devices, GUINT_TO_POINTER(s->wanted)));

        /* What waits in the socket is news as well. */
        forge(s, "add", makedev(4095, 20), "/devices/virtual/block/other");
        uevents_flush(s->uevents);
        g_assert_cmpuint(s->n_told, ==, 12);
        uevents_flush(s->uevents);
        g_assert_cmpuint(s->n_told, ==, 12);
        g_assert_cmpuint(s->n_lost, ==, 0);
}

/* As many as the kernel has, and can tell. */
static unsigned count_devices(void) {
        Seen all;
        unsigned n;

        set_up(&all, NULL);
        g_assert_cmpint(uevents_enumerate(all.uevents), ==, 0);
        n = all.n_told;
        tear_down(&all, NULL);
        return n;
}

/* At a start nothing is read that nobody wants; then all is. */
static void test_start(Seen *s, const void *data) {
        unsigned ma, mi, at_once, whole;
        g_autoptr(GDir) dir = NULL;
        const char *name;
        dev_t left = 0;

        if (skipped(s, false))
                return;

        uevents_defer_unwanted(s->uevents, is_wanted);
        g_assert_cmpint(uevents_enumerate_wanted(s->uevents), ==, 0);
        at_once = s->n_told;

        dir = g_dir_open("/sys/dev/block", 0, NULL);
        while (left == 0 && (name = g_dir_read_name(dir)))
                if (sscanf(name, "%u:%u", &ma, &mi) == 2 && !g_hash_table_contains(s->devices, GUINT_TO_POINTER(makedev(ma, mi))))
                        left = makedev(ma, mi);

        /* Whoever finds one open has it read. */
        if (left != 0) {
                uevents_read_unread(s->uevents, left);
                g_assert_cmpuint(s->n_told, ==, at_once + 1);
                g_assert_true(g_hash_table_contains(s->devices, GUINT_TO_POINTER(left)));
                uevents_read_unread(s->uevents, left);
                g_assert_cmpuint(s->n_told, ==, at_once + 1);
        }

        dispatch(s);
        g_assert_cmpuint(s->n_told, <=, at_once + 1);
        g_assert_cmpint(uevents_catch_up(s->uevents), ==, 0);
        if (left != 0)
                run_until(s, &s->n_told, count_devices());
        whole = s->n_told;
        g_assert_cmpuint(whole, ==, g_hash_table_size(s->devices));

        /* All, each once, and no more is to be read. */
        uevents_flush(s->uevents);
        g_assert_cmpuint(s->n_told, ==, whole);
        g_assert_cmpint(uevents_enumerate(s->uevents), ==, 0);
        g_assert_cmpuint(g_hash_table_size(s->devices), ==, whole);
}

/* What a rule or a LUN wants is read at once, and who asks for devices has the others. */
static void test_start_flushed(Seen *s, const void *data) {
        Device *d;
        dev_t wanted;

        if (skipped(s, false))
                return;

        d = some_device(s);
        if (!d) {
                g_test_skip("no block device");
                return;
        }
        wanted = d->devnum;
        g_hash_table_remove_all(s->devices);
        s->n_told = 0;

        uevents_defer_unwanted(s->uevents, is_wanted);
        s->wanted = wanted;
        g_assert_cmpint(uevents_enumerate_wanted(s->uevents), ==, 0);
        g_assert_true(g_hash_table_contains(s->devices, GUINT_TO_POINTER(wanted)));
        uevents_flush(s->uevents);
        g_assert_cmpuint(s->n_told, ==, g_hash_table_size(s->devices));
        g_assert_cmpint(uevents_catch_up(s->uevents), ==, 0);
        dispatch(s);
        g_assert_cmpuint(s->n_told, ==, g_hash_table_size(s->devices));
}

/* More of them than are kept. */
static void test_unread_max(Seen *s, const void *data) {
        if (is_deaf(s))
                return;

        uevents_defer_unwanted(s->uevents, is_wanted);
        for (unsigned i = 0; i < 5000; i++) {
                forge(s, "add", makedev(4094, i), "/devices/virtual/block/other");
                dispatch(s);
        }
        run_until(s, &s->n_told, 4096);
        g_assert_cmpuint(s->n_told, <, 5000);
        uevents_flush(s->uevents);
        g_assert_cmpuint(s->n_told, ==, 5000);
        g_assert_cmpuint(s->n_lost, ==, 0);
}

/* An event is never acted on: whatever the order, what is there counts. */
static void test_order(Seen *s, const void *data) {
        static const char *const orders[][4] = {
                { "remove", "add" }, { "add", "remove" }, { "add", "add" }, { "remove", "remove" }, { "remove", "change", "add", "remove" },
                { "move", "change" }, { "offline", "online" }, { "bind" },
        };
        Device *d;
        dev_t there;

        if (is_deaf(s))
                return;

        d = some_device(s);
        if (!d)
                return;
        there = d->devnum;

        for (size_t i = 0; i < ELEMENTSOF(orders); i++) {
                g_hash_table_remove_all(s->devices);
                s->n_told = 0;
                for (size_t k = 0; k < ELEMENTSOF(orders[i]) && orders[i][k]; k++) {
                        forge(s, orders[i][k], there, "/devices/virtual/block/renamed");
                        forge(s, orders[i][k], NOBODY, "/devices/virtual/block/forged");
                }
                dispatch(s);
                g_assert_cmpuint(s->n_told, ==, 2);
                g_assert_nonnull(g_hash_table_lookup(s->devices, GUINT_TO_POINTER(there)));
                g_assert_null(g_hash_table_lookup(s->devices, GUINT_TO_POINTER(NOBODY)));
        }
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        own_network = unshare(CLONE_NEWNET) == 0;

        g_test_add("/uevents/enumerate", Seen, NULL, set_up, test_enumerate, tear_down);
        g_test_add("/uevents/absent", Seen, NULL, set_up, test_absent, tear_down);
        g_test_add("/uevents/events", Seen, NULL, set_up, test_events, tear_down);
        g_test_add("/uevents/order", Seen, NULL, set_up, test_order, tear_down);
        g_test_add("/uevents/unwanted", Seen, NULL, set_up, test_unwanted, tear_down);
        g_test_add("/uevents/start", Seen, NULL, set_up, test_start, tear_down);
        g_test_add("/uevents/start-flushed", Seen, NULL, set_up, test_start_flushed, tear_down);
        g_test_add("/uevents/unread-max", Seen, NULL, set_up, test_unread_max, tear_down);
        g_test_add("/uevents/lost", Seen, NULL, set_up_small, test_lost, tear_down);
        g_test_add("/uevents/made-good", Seen, NULL, set_up_small, test_made_good, tear_down);
        g_test_add("/uevents/no-memory", Seen, NULL, set_up, test_no_memory, tear_down);

        return g_test_run();
}
