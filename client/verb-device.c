/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "dbus/vhostscsi-names.h"
#include "print.h"
#include "text.h"
#include "verbs.h"
#include "view.h"

/* Object paths to { "path", "wwn", "number" }, in place. */
static int device_resolve_luns(json_object *device) {
        json_object *luns = value_array(device, "luns");
        int r;

        for (size_t i = 0; i < value_length(luns); i++) {
                _cleanup_json_ json_object *lun = json_object_new_object();
                _cleanup_free_ char *wwn = NULL;
                const char *path = json_object_get_string(json_object_array_get_idx(luns, i));
                json_object *n;
                int64_t number;

                if (!lun)
                        return -ENOMEM;
                if (path_parse(path, &wwn, &number) < 0)
                        continue;

                n = json_object_new_int64(number);
                if (!n)
                        return -ENOMEM;
                r = value_set(lun, "number", n);
                if (r >= 0)
                        r = value_set_string(lun, "path", path);
                if (r >= 0)
                        r = value_set_string(lun, "wwn", wwn);
                if (r < 0)
                        return r;

                if (json_object_array_put_idx(luns, i, lun) < 0)
                        return -ENOMEM;
                lun = NULL;
        }

        return 0;
}

static int device_print_luns(Table *table, json_object *device) {
        _cleanup_free_ char *text = NULL;
        json_object *luns = value_array(device, "luns");

        for (size_t i = 0; i < value_length(luns); i++) {
                json_object *lun = json_object_array_get_idx(luns, i);
                char *longer;

                if (asprintf(&longer, "%s%s%s:%" PRIu64, strempty(text), text ? " " : "", value_string(lun, "wwn"),
                             value_number(lun, "number")) < 0)
                        return -ENOMEM;
                free(text);
                text = longer;
        }

        table_cell(table, text, COLOR_NONE);
        return 0;
}

static int compare_devices(const void *a, const void *b) {
        /* sda, sdb, … sdaa and dm-2, dm-10 as people count. */
        return strverscmp(value_string(*(json_object *const *) a, "path"), value_string(*(json_object *const *) b, "path"));
}

int verb_devices(Client *c, char **argv _unused_) {
        static const Column columns[] = {
                { "PATH", 0 },    { "SIZE", COLUMN_RIGHT },      { "IDENTITY", COLUMN_SHRINKS },
                { "VERDICT", 0 }, { "REASON", COLUMN_SHRINKS },  { "LUNS", 0 },
        };
        _cleanup_(table_freep) Table *table = table_new(columns, ELEMENTSOF(columns));
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_json_ json_object *devices = NULL;
        int r;

        if (!table)
                return -ENOMEM;

        r = client_new_call(c, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE, "ListDevices", &m);
        if (r != 0)
                return r;
        r = client_append_options(c, m, 0, NULL);
        if (r < 0)
                return r;
        r = client_call(c, m, CALL_READ, &reply);
        if (r != 0)
                return r;
        if (!sd_bus_message_has_signature(reply, "aa{sv}"))
                return -EBADMSG;
        r = value_read(reply, &devices);
        if (r < 0)
                return r;

        json_object_array_sort(devices, compare_devices);
        for (size_t i = 0; i < value_length(devices); i++) {
                r = device_resolve_luns(json_object_array_get_idx(devices, i));
                if (r < 0)
                        return r;
        }

        if (c->arguments->json != JSON_OFF)
                return print_json(devices, c->arguments->json);

        for (size_t i = 0; i < value_length(devices); i++) {
                json_object *d = json_object_array_get_idx(devices, i);
                char size[TEXT_SIZE_MAX];

                text_format_size(value_number(d, "size"), size);
                table_cell(table, value_string(d, "path"), COLOR_NONE);
                table_cell(table, size, COLOR_NONE);
                table_cell(table, value_string(d, "identity"), COLOR_NONE);
                table_cell(table, value_string(d, "verdict"), print_state_color(value_string(d, "verdict")));
                table_cell(table, value_string(d, "reason"), COLOR_NONE);
                r = device_print_luns(table, d);
                if (r < 0)
                        return r;
        }

        r = print_open_pager();
        if (r < 0)
                return r;

        return table_print(table);
}

int verb_rescan(Client *c, char **argv _unused_) {
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = client_new_call(c, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE, "Rescan", &m);
        if (r != 0)
                return r;

        return client_call(c, m, CALL_CHANGE, NULL);
}
