/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "base/parse.h"
#include "dbus/vhostscsi-names.h"
#include "print.h"
#include "verbs.h"
#include "view.h"

/* What is worth a sentence after a LUN was made: not all that is success is already there for the guest. */
static void lun_report(json_object *lun, const char *wwn, int64_t number) {
        const char *state = value_string(lun, "state");

        if (streq(state, "waiting"))
                client_note("LUN %" PRIi64 " of %s waits for its device and comes up when that does.", number, wwn);
        else if (*state && !view_lun_is_up(lun))
                client_note("LUN %" PRIi64 " of %s is %s; see 'vhscsictl show %s'.", number, wwn, state, wwn);
        else if (*value_string(lun, "guest_wwid") && print_is_terminal())
                client_note("The guest sees %s.", value_string(lun, "guest_wwid"));
}

static int lun_print_json(json_object *lun, const char *path, const char *wwn, int64_t number, JsonMode mode) {
        json_object *n;
        int r;

        r = value_set_string(lun, "path", path);
        if (r < 0)
                return r;
        r = value_set_string(lun, "wwn", wwn);
        if (r < 0)
                return r;
        n = json_object_new_int64(number);
        if (!n)
                return -ENOMEM;
        r = value_set(lun, "number", n);
        if (r < 0)
                return r;

        return print_json(lun, mode);
}

/* Prints the number, and with_wwn before it the WWN. */
static int lun_print_new(Client *c, const char *path, bool with_wwn) {
        bool dry_run = c->arguments->given & OPTION_DRY_RUN;
        _cleanup_json_ json_object *lun = NULL;
        _cleanup_free_ char *wwn = NULL;
        int64_t number;
        int r;

        r = path_parse(path, &wwn, &number);
        if (r < 0)
                return r;

        /* It is made, whether or not we learn more about it. */
        if (dry_run || view_load_quietly(c, path, VHOSTSCSI_LUN_INTERFACE, &lun) < 0) {
                lun = json_object_new_object();
                if (!lun)
                        return -ENOMEM;
        }

        if (c->arguments->json != JSON_OFF)
                return lun_print_json(lun, path, wwn, number, c->arguments->json);

        if (with_wwn)
                printf("%s ", wwn);
        printf("%" PRIi64 "\n", number);

        if (dry_run)
                client_note("Dry run: nothing was changed.");
        else {
                /* The number first, should both go to one terminal. */
                fflush(stdout);
                lun_report(lun, wwn, number);
        }

        return 0;
}

int verb_add_lun(Client *c, char **argv) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        const char *path;
        int r;

        if (!string_is_utf8(argv[2]))
                return client_refuse(c, VHOSTSCSI_ERROR("InvalidSource"), "the source is not UTF-8");

        r = client_new_target_call(c, argv[1], "AddLun", &m);
        if (r != 0)
                return r;
        r = sd_bus_message_append(m, "s", argv[2]);
        if (r < 0)
                return r;
        r = client_append_options(c, m, OPTIONS_CHANGE | OPTIONS_LUN, NULL);
        if (r < 0)
                return r;
        r = client_call(c, m, CALL_CHANGE, &reply);
        if (r != 0)
                return r;
        r = sd_bus_message_read(reply, "o", &path);
        if (r < 0)
                return r;

        return lun_print_new(c, path, false);
}

int verb_remove_lun(Client *c, char **argv) {
        _cleanup_message_ sd_bus_message *m = NULL;
        uint32_t number;
        int r;

        r = parse_u32(argv[2], &number);
        if (r < 0)
                return client_refuse(c, r == -ERANGE ? VHOSTSCSI_ERROR("LunOutOfRange") : SD_BUS_ERROR_INVALID_ARGS,
                                     r == -ERANGE ? "LUN numbers are 0 to 16383" : "the LUN must be a number");

        r = client_new_target_call(c, argv[1], "RemoveLun", &m);
        if (r != 0)
                return r;
        r = sd_bus_message_append(m, "u", number);
        return r < 0 ? r : client_change(c, m, CALL_CHANGE, OPTIONS_CHANGE | OPTION_FORCE);
}

/* The option "target" takes a WWN: a label is turned into one here, all else is left to the daemon. */
static int export_target(Client *c, const char *name, char **ret_wwn) {
        _cleanup_json_ json_object *targets = NULL;
        json_object *target = NULL;
        char *wwn;
        int r;

        if (!isempty(name) && !wwn_is_meant(name)) {
                r = view_load(c, &targets);
                if (r != 0)
                        return r;
                r = view_find_target(c, targets, name, &target);
                if (r != 0)
                        return r;
        }

        wwn = strdup(target ? value_string(target, "wwn") : name);
        if (!wwn)
                return -ENOMEM;

        *ret_wwn = wwn;
        return 0;
}

int verb_export(Client *c, char **argv) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_free_ char *wwn = NULL;
        const char *target, *lun;
        int r;

        if (!string_is_utf8(argv[1]))
                return client_refuse(c, VHOSTSCSI_ERROR("InvalidSource"), "the device is not UTF-8");

        if (c->arguments->given & OPTION_TARGET) {
                r = export_target(c, c->arguments->target, &wwn);
                if (r != 0)
                        return r;
        }

        r = client_new_call(c, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE, "Export", &m);
        if (r != 0)
                return r;
        r = sd_bus_message_append(m, "s", argv[1]);
        if (r < 0)
                return r;
        r = client_append_options(c, m, OPTIONS_CHANGE | OPTIONS_LUN | OPTION_TARGET, wwn);
        if (r < 0)
                return r;
        r = client_call(c, m, CALL_CHANGE, &reply);
        if (r != 0)
                return r;
        r = sd_bus_message_read(reply, "oo", &target, &lun);
        if (r < 0)
                return r;

        return lun_print_new(c, lun, true);
}
