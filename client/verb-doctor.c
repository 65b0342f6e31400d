/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>

#include <json-c/json.h>

#include "base/fileio.h"
#include "exit-status.h"
#include "print.h"
#include "targetctl.h"
#include "verbs.h"
#include "view.h"

/* What is set up on this host in a way that will hurt some day, and what to do about it. Looks only. */

#define SAVECONFIG_MAX (64 * 1024 * 1024)

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
        for (size_t i = 0; i < TARGETCTL_FILES; i++) {
                const TargetctlFile *t = &targetctl_files[i];
                _cleanup_json_ json_object *config = NULL;
                _cleanup_free_ char *advice = NULL;
                size_t all, ours;
                Unit unit;
                int r;

                unit_look(c, t->unit, &unit);
                r = read_saveconfig(t->file, &config);
                if (r == -ENOMEM)
                        return r;
                advice = targetctl_disarm(t, &unit);
                if (!advice)
                        return -ENOMEM;

                count_targets(config, targets, &all, &ours);
                if (!unit.enabled)
                        r = 0;
                else if (r < 0)
                        r = finding(findings, "UnreadableConfig", "Look at it as root", "%s is enabled, and %s cannot be read: %s", t->unit,
                                    t->file, strerror(-r));
                else if (ours > 0)
                        r = finding(findings, "TargetctlRestores", advice,
                                    "%s is enabled, and %s names %zu of our targets: at each boot both services make them", t->unit, t->file, ours);
                else if (all > 0)
                        r = finding(findings, "TargetctlHasTargets", "'vhscsictl adopt --all' takes them over as they are",
                                    "%s is enabled and restores %zu vhost targets that are not ours", t->unit, all);
                if (r >= 0 && unit.active && unit.stops)
                        r = finding(findings, "TargetctlClears", advice,
                                    "%s is active: if somebody stops it, every target of the host is removed under running guests", t->unit);
                if (r < 0)
                        return r;
        }

        return 0;
}

static int look_at_service(Client *c, json_object *manager, json_object *targets, json_object *findings) {
        size_t foreign = 0;
        Unit unit;
        int r = 0;

        unit_look(c, "vhscsid.service", &unit);
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
