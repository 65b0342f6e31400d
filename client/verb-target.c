/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "base/parse.h"
#include "dbus/vhostscsi-names.h"
#include "print.h"
#include "text.h"
#include "verbs.h"
#include "view.h"

#define MODEL_SIZE 16           /* what an INQUIRY has room for */

/* ---- list ---- */

static int list_print(json_object *targets) {
        static const Column columns[] = {
                { "WWN", 0 },    { "LABEL", COLUMN_SHRINKS }, { "STATE", 0 },      { "ENDPOINT", 0 },
                { "LUNS", COLUMN_RIGHT }, { "MANAGED BY", 0 },
        };
        _cleanup_(table_freep) Table *table = table_new(columns, ELEMENTSOF(columns));

        if (!table)
                return -ENOMEM;

        for (size_t i = 0; i < value_length(targets); i++) {
                json_object *t = json_object_array_get_idx(targets, i);
                const char *state = value_string(t, "state"), *endpoint = value_string(t, "endpoint");

                table_cell(table, value_string(t, "wwn"), COLOR_NONE);
                table_cell(table, value_string(t, "label"), COLOR_NONE);
                table_cell(table, state, print_state_color(state));
                table_cell(table, endpoint, print_state_color(endpoint));
                table_cellf(table, COLOR_NONE, "%zu/%zu", view_count_up(t), value_length(value_array(t, "luns")));
                table_cell(table, value_string(t, "managed_by"), print_state_color(value_string(t, "managed_by")));
        }

        return table_print(table);
}

int verb_list(Client *c, char **argv _unused_) {
        _cleanup_json_ json_object *targets = NULL;
        int r;

        r = view_load(c, &targets);
        if (r != 0)
                return r;

        if (c->arguments->json != JSON_OFF)
                return print_json(targets, c->arguments->json);

        r = print_open_pager();
        if (r < 0)
                return r;

        r = list_print(targets);
        if (r < 0)
                return r;

        if (c->arguments->legend) {
                if (value_length(targets) == 0)
                        client_note("No targets yet. 'vhscsictl export DEVICE' makes one.");
                else if (print_is_terminal())
                        printf("\n%zu target%s listed.\n", value_length(targets), value_length(targets) == 1 ? "" : "s");
        }

        return 0;
}

/* ---- show ---- */

static void show_line(const char *name, const char *value, Color color) {
        printf("%14s: ", name);
        print_colored(color, isempty(value) ? "-" : value);
        putchar('\n');
}

/* vm-a (libvirt, pid 4711): as the daemon calls it when it refuses something because of it. */
static void show_owner(json_object *owner) {
        const char *name = value_string(owner, "name"), *kind = value_string(owner, "kind");
        uint64_t pid = value_number(owner, "pid");

        printf("%14s: ", "Owner");
        print_colored(COLOR_BOLD, *name ? name : value_string(owner, "owner"));
        if (*kind || pid > 0) {
                fputs(" (", stdout);
                print_colored(COLOR_NONE, kind);
                if (pid > 0)
                        printf("%spid %" PRIu64, *kind ? ", " : "", pid);
                putchar(')');
        }
        putchar('\n');
}

static int show_head(json_object *target) {
        const char *label = value_string(target, "label"), *state = value_string(target, "state");
        json_object *owners = value_array(target, "owner_details");
        _cleanup_free_ char *error = NULL;
        char number[32];
        int r;

        print_colored(COLOR_BOLD, value_string(target, "wwn"));
        if (*label) {
                fputs(" (", stdout);
                print_colored(COLOR_NONE, label);
                putchar(')');
        }
        putchar('\n');

        show_line("State", state, print_state_color(state));
        show_line("Endpoint", value_string(target, "endpoint"), print_state_color(value_string(target, "endpoint")));
        show_line("Managed by", value_string(target, "managed_by"), print_state_color(value_string(target, "managed_by")));
        (void) snprintf(number, sizeof number, "%" PRIu64, value_number(target, "portal_group"));
        show_line("Portal group", number, COLOR_NONE);
        show_line("Nexus", value_string(target, "nexus"), COLOR_NONE);
        for (size_t i = 0; i < value_length(owners); i++)
                show_owner(json_object_array_get_idx(owners, i));

        r = view_last_error(target, &error);
        if (r < 0)
                return r;
        if (error)
                show_line("Last error", error, COLOR_RED);

        printf("%14s: %zu of %zu up\n", "LUNs", view_count_up(target), value_length(value_array(target, "luns")));
        return 0;
}

static void show_lun(Table *table, json_object *target, json_object *lun) {
        const char *state = value_string(lun, "state"), *health = value_string(lun, "health");
        const char *name = strchr(value_string(lun, "backstore"), '/');
        uint64_t size = value_number(lun, "size");
        char text[TEXT_SIZE_MAX] = "";

        table_cellf(table, COLOR_NONE, "%" PRIu64, value_number(lun, "number"));
        table_cellf(table, COLOR_NONE, "[?:0:%" PRIu64 ":%" PRIu64 "]", value_number(target, "portal_group"), value_number(lun, "number"));
        table_cell(table, value_string(lun, "guest_wwid"), COLOR_NONE);
        /* The kernel cuts the name wherever 16 bytes end. Names are plain ASCII where we gave them. */
        table_cellf(table, COLOR_NONE, "%.*s", MODEL_SIZE, name ? name + 1 : "");
        if (size > 0)
                text_format_size(size, text);
        table_cell(table, text, COLOR_NONE);
        table_cell(table, value_boolean(lun, "read_only") ? "ro" : "rw", COLOR_NONE);
        table_cell(table, state, print_state_color(state));
        table_cell(table, health, print_state_color(health));
        table_cell(table, value_string(lun, "device"), COLOR_NONE);
        table_cell(table, value_string(lun, "source"), COLOR_NONE);
}

static int show_luns(json_object *target) {
        static const Column columns[] = {
                { "LUN", COLUMN_RIGHT }, { "GUEST SEES", 0 }, { "GUEST WWID", 0 },           { "MODEL", 0 },
                { "SIZE", COLUMN_RIGHT }, { "MODE", 0 },      { "STATE", 0 },                { "HEALTH", 0 },
                { "DEVICE", COLUMN_SHRINKS }, { "SOURCE", COLUMN_SHRINKS },
        };
        _cleanup_(table_freep) Table *table = table_new(columns, ELEMENTSOF(columns));
        json_object *luns = value_array(target, "luns");
        int r;

        if (!table)
                return -ENOMEM;
        if (value_length(luns) == 0)
                return 0;

        for (size_t i = 0; i < value_length(luns); i++)
                show_lun(table, target, json_object_array_get_idx(luns, i));

        putchar('\n');
        r = table_print(table);
        if (r < 0)
                return r;

        /* Below the table, where there is room for sentences. */
        for (size_t i = 0; i < value_length(luns); i++) {
                json_object *lun = json_object_array_get_idx(luns, i);
                _cleanup_free_ char *error = NULL;

                r = view_last_error(lun, &error);
                if (r < 0)
                        return r;
                if (error) {
                        printf("\nLUN %" PRIu64 ": ", value_number(lun, "number"));
                        print_colored(COLOR_RED, error);
                        putchar('\n');
                }
                if (startswith(value_string(lun, "source"), "path="))
                        printf("\nLUN %" PRIu64 ": the device has no stable identity; its name may change with the next boot.\n",
                               value_number(lun, "number"));
        }

        return 0;
}

int verb_show(Client *c, char **argv) {
        _cleanup_json_ json_object *targets = NULL;
        json_object *target = NULL;
        int r;

        if (!string_is_utf8(argv[1]))
                return client_refuse(c, VHOSTSCSI_ERROR("InvalidWwn"), "not UTF-8");

        r = view_load(c, &targets);
        if (r != 0)
                return r;
        r = view_find_target(c, targets, argv[1], &target);
        if (r != 0)
                return r;

        if (!target) {
                _cleanup_free_ char *path = NULL;

                /* Let the daemon say whether this is no WWN at all, or one that it does not have. */
                r = client_find_target(c, argv[1], &path);
                if (r != 0)
                        return r;
                for (size_t i = 0; i < value_length(targets) && !target; i++)
                        if (streq(value_string(json_object_array_get_idx(targets, i), "path"), path))
                                target = json_object_array_get_idx(targets, i);
                if (!target)
                        return client_refuse(c, VHOSTSCSI_ERROR("NotFound"), "the target came or went just now");
        }

        if (c->arguments->json != JSON_OFF)
                return print_json(target, c->arguments->json);

        r = print_open_pager();
        if (r < 0)
                return r;
        r = show_head(target);
        if (r < 0)
                return r;

        return show_luns(target);
}

/* ---- create, destroy, set-label ---- */

int target_print_new(Client *c, const char *path) {
        _cleanup_json_ json_object *target = NULL;
        _cleanup_free_ char *wwn = NULL;
        int64_t lun;
        int r;

        r = path_parse(path, &wwn, &lun);
        if (r < 0)
                return r;

        if (c->arguments->json != JSON_OFF) {
                target = json_object_new_object();
                if (!target)
                        return -ENOMEM;
                r = value_set_string(target, "path", path);
                if (r >= 0)
                        r = value_set_string(target, "wwn", wwn);
                if (r < 0)
                        return r;

                return print_json(target, c->arguments->json);
        }

        puts(wwn);
        if (c->arguments->given & OPTION_DRY_RUN)
                client_note("Dry run: nothing was changed.");

        return 0;
}

int verb_create(Client *c, char **argv) {
        _cleanup_free_ char *path = NULL;
        int r;

        if (argv[1] && !string_is_utf8(argv[1]))
                return client_refuse(c, VHOSTSCSI_ERROR("InvalidWwn"), "not UTF-8");
        /* On the bus "" asks for a generated name; a script whose variable is empty does not mean that. */
        if (argv[1] && !*argv[1])
                return client_refuse(c, VHOSTSCSI_ERROR("InvalidWwn"), "the WWN is empty; leave the argument out to have one generated");

        r = client_call_manager(c, "CreateTarget", strempty(argv[1]),
                                OPTIONS_CHANGE | OPTION_LABEL | OPTION_SEED | OPTION_NEXUS | OPTION_IF_ABSENT, &path);
        return r != 0 ? r : target_print_new(c, path);
}

/* A call on a target whose reply is empty. argument: its first one, a string; may be NULL. */
static int target_call(Client *c, const char *name, const char *member, uint64_t options, const char *argument) {
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = client_new_target_call(c, name, member, &m);
        if (r != 0)
                return r;
        if (argument) {
                r = sd_bus_message_append(m, "s", argument);
                if (r < 0)
                        return r;
        }

        return client_change(c, m, CALL_CHANGE, options);
}

int verb_destroy(Client *c, char **argv) {
        return target_call(c, argv[1], "Destroy", OPTIONS_CHANGE | OPTION_FORCE, NULL);
}

int verb_set_label(Client *c, char **argv) {
        if (!string_is_utf8(argv[2]))
                return client_refuse(c, SD_BUS_ERROR_INVALID_ARGS, "the label is not UTF-8");

        return target_call(c, argv[1], "SetLabel", OPTIONS_CHANGE, argv[2]);
}
