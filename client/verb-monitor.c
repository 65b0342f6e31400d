/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <signal.h>
#include <time.h>

#include "dbus/vhostscsi-names.h"
#include "exit-status.h"
#include "print.h"
#include "text.h"
#include "verbs.h"
#include "view.h"

#define OBJECT_MANAGER_INTERFACE "org.freedesktop.DBus.ObjectManager"
#define PROPERTIES_INTERFACE     "org.freedesktop.DBus.Properties"

typedef struct Monitor {
        Client *client;
        bool lost;              /* the bus, not just the daemon */
} Monitor;

/* ---- one event, one line ---- */

static void format_time(char *ret, size_t size, bool for_people) {
        struct timespec now;
        struct tm tm;
        size_t n;

        (void) clock_gettime(CLOCK_REALTIME, &now);
        if (for_people)
                n = strftime(ret, size, "%Y-%m-%d %H:%M:%S", localtime_r(&now.tv_sec, &tm));
        else
                n = strftime(ret, size, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &tm));
        (void) snprintf(ret + n, size - n, ".%03ld%s", now.tv_nsec / 1000000, for_people ? "" : "Z");
}

static int event_print_json(Monitor *m, const char *event, const char *path, json_object *properties, json_object *invalidated) {
        _cleanup_json_ json_object *v = json_object_new_object();
        _cleanup_free_ char *wwn = NULL;
        char time[64];
        int64_t lun = -1;
        int r;

        if (!v)
                return -ENOMEM;

        format_time(time, sizeof time, false);
        r = value_set_string(v, "time", time);
        if (r >= 0)
                r = value_set_string(v, "event", event);
        if (r >= 0 && path)
                r = value_set_string(v, "path", path);
        if (r >= 0 && path && path_parse(path, &wwn, &lun) >= 0) {
                r = value_set_string(v, "wwn", wwn);
                if (r >= 0 && lun >= 0)
                        r = value_set(v, "lun", json_object_new_int64(lun));
        }
        if (r >= 0 && properties)
                r = value_set(v, "properties", json_object_get(properties));
        if (r >= 0 && value_length(invalidated) > 0)
                r = value_set(v, "invalidated", json_object_get(invalidated));
        if (r < 0)
                return r;

        return print_json(v, m->client->arguments->json);
}

static bool says_nothing(json_object *v) {
        switch (json_object_get_type(v)) {
        case json_type_null:
                return true;
        case json_type_string:
                return json_object_get_string_len(v) == 0;
        case json_type_array:
                return value_length(v) == 0;
        case json_type_object:
                return json_object_object_length(v) == 0;
        case json_type_boolean:
        case json_type_int:
        case json_type_double:
                return false;
        }

        assert(false);
        return false;
}

/* That something is empty is news of an object that had it, and none of a new one. */
static void event_print_properties(json_object *properties, bool all) {
        json_object_object_foreach(properties, name, value) {
                const char *text;

                if (!all && says_nothing(value))
                        continue;

                text = json_object_is_type(value, json_type_string) ? json_object_get_string(value) :
                        value ? json_object_to_json_string_ext(value, JSON_C_TO_STRING_NOSLASHESCAPE) : "null";
                printf(" %s=", name);
                print_colored(print_state_color(strempty(text)), strempty(text));
        }
}

/* The disk itself grew or shrank under its LUN. A size that comes with a device or a state is that of a disk that came or went. */
static bool is_resize(const char *event, json_object *properties) {
        return streq(event, "changed") && value_number(properties, "size") > 0 &&
                !json_object_object_get_ex(properties, "device", NULL) && !json_object_object_get_ex(properties, "state", NULL);
}

static int event_print(Monitor *m, const char *event, const char *path, json_object *properties, json_object *invalidated) {
        _cleanup_free_ char *wwn = NULL;
        char time[64];
        int64_t lun = -1;
        int r;

        if (m->client->arguments->json != JSON_OFF) {
                r = event_print_json(m, event, path, properties, invalidated);
                if (r < 0)
                        return r;
                return fflush(stdout) == 0 ? 0 : -EIO;
        }

        format_time(time, sizeof time, true);
        printf("%s %s", time, event);

        if (path && path_parse(path, &wwn, &lun) >= 0) {
                putchar(' ');
                print_colored(COLOR_BOLD, wwn);
                if (lun >= 0)
                        printf(" LUN %" PRIi64, lun);
        } else if (path)
                printf(" daemon");

        if (properties)
                event_print_properties(properties, !streq(event, "added"));
        for (size_t i = 0; i < value_length(invalidated); i++)
                printf(" %s=?", json_object_get_string(json_object_array_get_idx(invalidated, i)));
        putchar('\n');

        /* vhost-scsi has no event for it: nobody else tells the guest. */
        if (is_resize(event, properties))
                printf("%24sThe guest goes on with the old size until it looks again. In a Linux guest:\n"
                       "%24secho 1 > /sys/class/block/sdX/device/rescan\n", "", "");

        /* Somebody may be reading this through a pipe, as it happens. */
        return fflush(stdout) == 0 ? 0 : -EIO;
}

static int monitor_end(Monitor *m, int r) {
        return sd_event_exit(sd_bus_get_event(m->client->bus), r);
}

/* ---- signals of the daemon ---- */

static bool is_ours(const char *interface) {
        return startswith(interface, VHOSTSCSI_BUS_NAME ".");
}

static int on_added(sd_bus_message *message, void *userdata, sd_bus_error *error _unused_) {
        _cleanup_json_ json_object *interfaces = NULL;
        Monitor *m = userdata;
        const char *path;
        int r;

        if (!sd_bus_message_has_signature(message, "oa{sa{sv}}"))
                return 0;
        if (sd_bus_message_read(message, "o", &path) < 0 || value_read(message, &interfaces) < 0)
                return 0;

        json_object_object_foreach(interfaces, interface, raw) {
                _cleanup_json_ json_object *properties = NULL;

                if (!is_ours(interface))
                        continue;

                r = view_new_object(NULL, raw, &properties);
                if (r >= 0)
                        r = event_print(m, "added", path, properties, NULL);
                if (r < 0)
                        return monitor_end(m, r);
        }

        return 0;
}

static int on_removed(sd_bus_message *message, void *userdata, sd_bus_error *error _unused_) {
        _cleanup_json_ json_object *interfaces = NULL;
        Monitor *m = userdata;
        const char *path;
        int r;

        if (!sd_bus_message_has_signature(message, "oas"))
                return 0;
        if (sd_bus_message_read(message, "o", &path) < 0 || value_read(message, &interfaces) < 0)
                return 0;

        for (size_t i = 0; i < value_length(interfaces); i++) {
                if (!is_ours(json_object_get_string(json_object_array_get_idx(interfaces, i))))
                        continue;

                r = event_print(m, "removed", path, NULL, NULL);
                if (r < 0)
                        return monitor_end(m, r);
        }

        return 0;
}

static int on_changed(sd_bus_message *message, void *userdata, sd_bus_error *error _unused_) {
        _cleanup_json_ json_object *raw = NULL, *properties = NULL, *invalidated = NULL;
        const char *interface, *path = sd_bus_message_get_path(message);
        Monitor *m = userdata;
        int r;

        if (!sd_bus_message_has_signature(message, "sa{sv}as"))
                return 0;
        if (sd_bus_message_read(message, "s", &interface) < 0 || !is_ours(interface) || value_read(message, &raw) < 0 ||
            value_read(message, &invalidated) < 0)
                return 0;

        r = view_new_object(NULL, raw, &properties);
        if (r >= 0)
                r = event_print(m, "changed", path, properties, invalidated);
        return r < 0 ? monitor_end(m, r) : 0;
}

/* ---- the daemon itself ---- */

static int daemon_print(Monitor *m, bool there, const char *words) {
        char time[64];
        int r;

        if (m->client->arguments->json != JSON_OFF) {
                r = event_print(m, there ? "daemon-joined" : "daemon-left", NULL, NULL, NULL);
                return r;
        }

        format_time(time, sizeof time, true);
        printf("%s %s\n", time, words);
        return fflush(stdout) == 0 ? 0 : -EIO;
}

static int on_owner_changed(sd_bus_message *message, void *userdata, sd_bus_error *error _unused_) {
        const char *name, *old, *new;
        Monitor *m = userdata;
        int r;

        if (sd_bus_message_read(message, "sss", &name, &old, &new) < 0)
                return 0;

        if (!*new)
                r = daemon_print(m, false, "The daemon left the bus. What it exported goes on working; waiting for it to come back.");
        else
                r = daemon_print(m, true, "The daemon is on the bus.");
        return r < 0 ? monitor_end(m, r) : 0;
}

static int on_disconnected(sd_bus_message *message _unused_, void *userdata, sd_bus_error *error _unused_) {
        Monitor *m = userdata;

        m->lost = true;
        return monitor_end(m, 0);
}

static int on_stop(sd_event_source *s, const struct signalfd_siginfo *si _unused_, void *userdata _unused_) {
        return sd_event_exit(sd_event_source_get_event(s), 0);
}

/* ---- the verb ---- */

static int monitor_subscribe(Monitor *m) {
        sd_bus *bus = m->client->bus;
        int r;

        r = sd_bus_match_signal(bus, NULL, VHOSTSCSI_BUS_NAME, VHOSTSCSI_ROOT_PATH, OBJECT_MANAGER_INTERFACE, "InterfacesAdded",
                                on_added, m);
        if (r < 0)
                return r;
        r = sd_bus_match_signal(bus, NULL, VHOSTSCSI_BUS_NAME, VHOSTSCSI_ROOT_PATH, OBJECT_MANAGER_INTERFACE, "InterfacesRemoved",
                                on_removed, m);
        if (r < 0)
                return r;
        r = sd_bus_match_signal(bus, NULL, VHOSTSCSI_BUS_NAME, NULL, PROPERTIES_INTERFACE, "PropertiesChanged", on_changed, m);
        if (r < 0)
                return r;
        r = sd_bus_add_match(bus, NULL,
                             "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged',"
                             "arg0='" VHOSTSCSI_BUS_NAME "'",
                             on_owner_changed, m);
        if (r < 0)
                return r;

        return sd_bus_match_signal(bus, NULL, NULL, "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local", "Disconnected",
                                   on_disconnected, m);
}

int verb_monitor(Client *c, char **argv _unused_) {
        _cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
        Monitor m = { .client = c };
        sigset_t signals;
        int r;

        r = client_connect(c);
        if (r != 0)
                return r;

        sigemptyset(&signals);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGTERM);
        (void) sigprocmask(SIG_BLOCK, &signals, NULL);
        r = sd_event_add_signal(c->event, NULL, SIGINT, on_stop, NULL);
        if (r >= 0)
                r = sd_event_add_signal(c->event, NULL, SIGTERM, on_stop, NULL);
        if (r < 0)
                return r;

        r = monitor_subscribe(&m);
        if (r < 0)
                return client_explain(c, r);

        /* Looking on starts nothing: a daemon that is not there is waited for. */
        r = sd_bus_call_method(c->bus, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "GetNameOwner",
                               &error, NULL, "s", VHOSTSCSI_BUS_NAME);
        if (r < 0 && !sd_bus_error_has_name(&error, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                return client_explain(c, r);
        if (r < 0)
                r = daemon_print(&m, false, "The daemon is not on the bus; waiting for it.");
        else
                r = daemon_print(&m, true, "Following the daemon.");
        if (r < 0)
                return r;

        r = sd_event_loop(c->event);
        if (m.lost)
                return client_refuse(c, SD_BUS_ERROR_DISCONNECTED, "the connection to the bus was lost");

        return r;
}
