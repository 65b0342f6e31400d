/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "targetctl.h"

#define SYSTEMD "org.freedesktop.systemd1"

const TargetctlFile targetctl_files[TARGETCTL_FILES] = {
        { "rtslib-fb-targetctl.service", "/etc/rtslib-fb-target/saveconfig.json" },
        { "target.service", "/etc/target/saveconfig.json" },
};

void unit_look(Client *c, const char *name, Unit *ret) {
        _cleanup_message_ sd_bus_message *state = NULL, *unit = NULL, *stop = NULL;
        _cleanup_free_ char *active = NULL;
        const char *path, *s;

        *ret = (Unit) {};
        if (sd_bus_call_method(c->bus, SYSTEMD, "/org/freedesktop/systemd1", SYSTEMD ".Manager", "GetUnitFileState", NULL, &state, "s", name) >= 0 &&
            sd_bus_message_read(state, "s", &s) >= 0)
                ret->enabled = streq(s, "enabled") || streq(s, "enabled-runtime");

        if (sd_bus_call_method(c->bus, SYSTEMD, "/org/freedesktop/systemd1", SYSTEMD ".Manager", "LoadUnit", NULL, &unit, "s", name) < 0 ||
            sd_bus_message_read(unit, "o", &path) < 0)
                return;

        if (sd_bus_get_property_string(c->bus, SYSTEMD, path, SYSTEMD ".Unit", "ActiveState", NULL, &active) >= 0)
                ret->active = streq(active, "active") || streq(active, "activating");
        if (sd_bus_get_property(c->bus, SYSTEMD, path, SYSTEMD ".Service", "ExecStop", NULL, &stop, "a(sasbttttuii)") >= 0)
                ret->stops = sd_bus_message_enter_container(stop, 'a', "(sasbttttuii)") >= 0 && sd_bus_message_at_end(stop, false) == 0;
}

char *targetctl_disarm(const TargetctlFile *t, const Unit *u) {
        char *text;
        int r;

        if (u->stops && u->enabled)
                r = asprintf(&text, "'systemctl edit %s' with the lines [Service] and ExecStop= (empty), then 'systemctl disable %s'. Do not stop it, and "
                             "do not disable it with --now: its stop removes every target of the host", t->unit, t->unit);
        else if (u->stops)
                r = asprintf(&text, "'systemctl edit %s' with the lines [Service] and ExecStop= (empty) makes it harmless; do not stop it before that",
                             t->unit);
        else
                r = asprintf(&text, "'systemctl disable %s', without --now", t->unit);

        return r < 0 ? NULL : text;
}

int targetctl_note(Client *c) {
        for (size_t i = 0; i < TARGETCTL_FILES; i++) {
                const TargetctlFile *t = &targetctl_files[i];
                _cleanup_free_ char *advice = NULL;
                Unit u;

                unit_look(c, t->unit, &u);
                if (!u.enabled && !(u.active && u.stops))
                        continue;

                advice = targetctl_disarm(t, &u);
                if (!advice)
                        return -ENOMEM;
                client_note("%s is %s%s%s. Disarm it, for its targets are this service's from now on: %s.", t->unit, u.enabled ? "enabled" : "",
                            u.enabled && u.active ? " and " : "", u.active ? "active" : "", advice);
        }

        return 0;
}
