/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>

#include <json-c/json.h>

#include "base/fileio.h"
#include "exit-status.h"
#include "print.h"
#include "verbs.h"
#include "view.h"

/* What is set up on this host in a way that will hurt some day, and what to do about it. Looks only. */

#define SYSTEMD "org.freedesktop.systemd1"
#define SAVECONFIG_MAX (64 * 1024 * 1024)

/* targetcli's own service, by its name on Debian and elsewhere, and the file that it restores. */
static const struct {
        const char *unit, *file;
} theirs[] = {
        { "rtslib-fb-targetctl.service", "/etc/rtslib-fb-target/saveconfig.json" },
        { "target.service", "/etc/target/saveconfig.json" },
};

static int finding(json_object *findings, const char *code, const char *advice, const char *format, ...) _printf_(4, 5);

static int finding(json_object *findings, const char *code, const char *advice, const char *format, ...) {
        json_object *o = json_object_new_object();
        _cleanup_free_ char *text = NULL;
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(&text, format, ap);
        va_end(ap);
        if (!o || r < 0) {
                json_object_put(o);
                return -ENOMEM;
        }

        r = value_append(findings, o);
        if (r >= 0)
                r = value_set_string(o, "code", code);
        if (r >= 0)
                r = value_set_string(o, "message", text);
        if (r >= 0)
                r = value_set_string(o, "advice", advice);

        return r;
}

typedef struct Unit {
        bool enabled, active;
        bool stops;             /* it has an ExecStop= */
} Unit;

/* What systemd does not know, or does not tell, is neither enabled nor active. */
static void look_at_unit(Client *c, const char *name, Unit *ret) {
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

/* 1: read; 0: there is none; negative: it is there and cannot be read. */
static int read_saveconfig(const char *path, json_object **ret) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = read_file_at(AT_FDCWD, path, SAVECONFIG_MAX, &text, NULL);
        if (r < 0)
                return r == -ENOENT || r == -ENOTDIR ? 0 : r;

        *ret = json_tokener_parse(text);
        return *ret ? 1 : -EBADMSG;
}

/* How many vhost targets are in it, and how many of those are ours by now. */
static void count_targets(json_object *config, json_object *targets, size_t *ret_all, size_t *ret_ours) {
        json_object *array = value_array(config, "targets");

        *ret_all = *ret_ours = 0;
        for (size_t i = 0; i < value_length(array); i++) {
                json_object *t = json_object_array_get_idx(array, i);

                if (!streq(value_string(t, "fabric"), "vhost"))
                        continue;

                (*ret_all)++;
                for (size_t k = 0; k < value_length(targets); k++) {
                        json_object *known = json_object_array_get_idx(targets, k);

                        *ret_ours += streq(value_string(known, "wwn"), value_string(t, "wwn")) &&
                                     !streq(value_string(known, "managed_by"), "foreign");
                }
        }
}

static int look_at_targetcli(Client *c, json_object *targets, json_object *findings) {
        for (size_t i = 0; i < ELEMENTSOF(theirs); i++) {
                _cleanup_json_ json_object *config = NULL;
                size_t all, ours;
                Unit unit;
                int r;

                look_at_unit(c, theirs[i].unit, &unit);
                r = read_saveconfig(theirs[i].file, &config);
                if (r == -ENOMEM)
                        return r;

                count_targets(config, targets, &all, &ours);
                if (!unit.enabled)
                        r = 0;
                else if (r < 0)
                        r = finding(findings, "UnreadableConfig", "Look at it as root", "%s is enabled, and %s cannot be read: %s", theirs[i].unit,
                                    theirs[i].file, strerror(-r));
                else if (ours > 0)
                        r = finding(findings, "TargetctlRestores",
                                    "Disarm it first: 'systemctl edit UNIT' with the lines [Service] and ExecStop= (empty), then 'systemctl disable UNIT'. "
                                    "Do not stop it, and do not disable it with --now: its stop removes every target of the host",
                                    "%s is enabled, and %s names %zu of our targets: at each boot both services make them", theirs[i].unit,
                                    theirs[i].file, ours);
                else if (all > 0)
                        r = finding(findings, "TargetctlHasTargets", "'vhscsictl adopt --all' takes them over as they are",
                                    "%s is enabled and restores %zu vhost targets that are not ours", theirs[i].unit, all);
                if (r >= 0 && unit.active && unit.stops)
                        r = finding(findings, "TargetctlClears",
                                    "'systemctl edit UNIT' with the lines [Service] and ExecStop= (empty) makes it harmless; do not stop it before that",
                                    "%s is active: if somebody stops it, every target of the host is removed under running guests", theirs[i].unit);
                if (r < 0)
                        return r;
        }

        return 0;
}

static int look_at_service(Client *c, json_object *manager, json_object *targets, json_object *findings) {
        size_t foreign = 0;
        Unit unit;
        int r = 0;

        look_at_unit(c, "vhscsid.service", &unit);
        if (!unit.enabled)
                r = finding(findings, "NotEnabled", "systemctl enable vhscsid", "vhscsid.service is not enabled: after a boot nothing brings the targets up");
        if (r >= 0 && streq(value_string(manager, "state"), "degraded"))
                r = finding(findings, "Degraded", "'vhscsictl status' and 'journalctl -u vhscsid' say what it is", "The daemon says that it is degraded");

        for (size_t i = 0; i < value_length(targets); i++)
                foreign += streq(value_string(json_object_array_get_idx(targets, i), "managed_by"), "foreign");
        if (r >= 0 && foreign > 0)
                r = finding(findings, "ForeignTargets", "'vhscsictl adopt --all --dry-run' says which can be taken over",
                            "%zu target%s made by somebody else, and will not be brought up by this service", foreign, foreign == 1 ? " was" : "s were");

        return r;
}

int verb_doctor(Client *c, char **argv _unused_) {
        _cleanup_json_ json_object *manager = NULL, *targets = NULL, *findings = NULL;
        int r;

        if (c->arguments->host || c->arguments->machine) {
                fprintf(stderr, "vhscsictl: %s: it looks at files of the host that it runs on; run it there.\n", c->what);
                return EXIT_USAGE;
        }

        r = view_load_manager(c, &manager);
        if (r != 0)
                return r;
        r = view_load(c, &targets);
        if (r != 0)
                return r;

        findings = json_object_new_array();
        if (!findings)
                return -ENOMEM;

        r = look_at_service(c, manager, targets, findings);
        if (r >= 0)
                r = look_at_targetcli(c, targets, findings);
        if (r < 0)
                return r;

        if (c->arguments->json != JSON_OFF) {
                r = print_json(findings, c->arguments->json);
                if (r < 0)
                        return r;
        } else
                for (size_t i = 0; i < value_length(findings); i++) {
                        json_object *f = json_object_array_get_idx(findings, i);

                        print_colored(COLOR_YELLOW, value_string(f, "message"));
                        printf(".\n    %s.\n", value_string(f, "advice"));
                }

        if (value_length(findings) > 0)
                return EXIT_FINDINGS;
        if (c->arguments->json == JSON_OFF)
                client_note("Nothing to complain about.");

        return 0;
}
