/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/parse.h"
#include "dbus/vhostscsi-names.h"
#include "progress.h"
#include "watch.h"

void watch_done(Watch *w) {
        for (size_t i = 0; i < ELEMENTSOF(w->matches); i++)
                w->matches[i] = sd_bus_slot_unref(w->matches[i]);
        w->deadline = sd_event_source_disable_unref(w->deadline);
        w->again = sd_event_source_disable_unref(w->again);
        if (w->client && w->client->watch == w)
                w->client->watch = NULL;
}

static int on_news(sd_bus_message *m _unused_, void *userdata, sd_bus_error *error _unused_) {
        Watch *w = userdata;

        w->news = true;
        return 0;
}

static int on_owner(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *owner;
        Watch *w = userdata;

        if (sd_bus_message_read(m, "sss", NULL, NULL, &owner) >= 0 && isempty(owner))
                w->lost = true;

        return on_news(m, w, error);
}

/* A bus that refuses it tells of no news: then the time is waited for. */
static int on_installed(sd_bus_message *m _unused_, void *userdata _unused_, sd_bus_error *error _unused_) {
        return 0;
}

static int on_deadline(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata) {
        Watch *w = userdata;

        w->over = true;
        return 0;
}

static int on_again(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata) {
        Watch *w = userdata;

        w->news = true;
        return 0;
}

/* The bus sees it before the calls that come after, so there is no need to wait for its answer. */
static int match(Watch *w, size_t i, const char *rule, sd_bus_message_handler_t handler) {
        return sd_bus_add_match_async(w->client->bus, w->matches + i, rule, handler, on_installed, w);
}

int watch_daemon(Watch *w) {
        return match(w, 0, "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',member='NameOwnerChanged',"
                           "arg0='" VHOSTSCSI_BUS_NAME "'", on_owner);
}

int watch_targets(Watch *w) {
        int r;

        r = watch_daemon(w);
        if (r >= 0)
                r = match(w, 1, "type='signal',sender='" VHOSTSCSI_BUS_NAME "',interface='org.freedesktop.DBus.Properties',"
                                "member='PropertiesChanged'", on_news);
        if (r >= 0)
                r = match(w, 2, "type='signal',sender='" VHOSTSCSI_BUS_NAME "',interface='org.freedesktop.DBus.ObjectManager'",
                          on_news);
        return r;
}

int watch_limit(Watch *w, uint64_t usec) {
        return sd_event_add_time_relative(w->client->event, &w->deadline, CLOCK_MONOTONIC, usec, 0, on_deadline, w);
}

int watch_again(Watch *w, uint64_t usec) {
        return sd_event_add_time_relative(w->client->event, &w->again, CLOCK_MONOTONIC, usec, 0, on_again, w);
}

int watch_run(Watch *w, const char *detail) {
        Client *c = w->client;
        Progress progress = {};
        int r;

        r = client_interruptible_begin(c);
        if (r >= 0 && progress_is_possible()) {
                r = progress_start(&progress, c->event, c->what);
                progress_set_detail(&progress, detail);
        }

        while (r >= 0 && !w->news && !w->over && !c->interrupted)
                r = sd_event_run(c->event, UINT64_MAX);

        w->again = sd_event_source_disable_unref(w->again);
        progress_stop(&progress);
        client_interruptible_end(c);
        return r;
}

bool watch_loses(Watch *w, const sd_bus_error *e) {
        /* What the bus says when the daemon is gone, and what the daemon says to whoever waits when it goes. */
        if (sd_bus_error_has_name(e, SD_BUS_ERROR_NO_REPLY) || sd_bus_error_has_name(e, SD_BUS_ERROR_FAILED))
                w->lost = true;

        /* What the bus says while it is gone, and nobody starts it now. */
        return w->lost && (sd_bus_error_has_name(e, SD_BUS_ERROR_NO_REPLY) || sd_bus_error_has_name(e, SD_BUS_ERROR_FAILED) ||
                           sd_bus_error_has_name(e, SD_BUS_ERROR_SERVICE_UNKNOWN) || sd_bus_error_has_name(e, SD_BUS_ERROR_NAME_HAS_NO_OWNER) ||
                           startswith(e->name, "org.freedesktop.DBus.Error.Spawn.") || startswith(e->name, "org.freedesktop.systemd1."));
}
