/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <pwd.h>
#include <time.h>

#include "base/parse.h"
#include "dbus/vhostscsi-names.h"
#include "print.h"
#include "value.h"
#include "verbs.h"

/* What was changed: history, diff. */

#define NOBODY UINT32_MAX       /* the service itself */

int history_parse_generation(Client *c, const char *text, uint64_t *ret) {
        if (parse_u64(text, ret) < 0)
                return client_refuse(c, SD_BUS_ERROR_INVALID_ARGS, "a generation is a number; 'vhscsictl history' lists them");

        return 0;
}

/* ---- history ---- */

/* (generation, time, uid, program, reason, targets) as an object, in place. */
static int name_fields(json_object *entries, size_t i) {
        static const char *const keys[] = { "generation", "time", "uid", "program", "reason", "targets" };
        json_object *values = json_object_array_get_idx(entries, i);
        _cleanup_json_ json_object *o = json_object_new_object();
        int r = o ? 0 : -ENOMEM;

        for (size_t k = 0; r >= 0 && k < ELEMENTSOF(keys); k++) {
                json_object *v = json_object_array_get_idx(values, k);

                r = value_set(o, keys[k], streq(keys[k], "uid") && json_object_get_int64(v) == NOBODY ? NULL : json_object_get(v));
        }
        if (r < 0)
                return r;

        return json_object_array_put_idx(entries, i, TAKE_PTR(o)) < 0 ? -ENOMEM : 0;
}

/* The newest first. Or status. */
static int load_history(Client *c, json_object **ret) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_json_ json_object *entries = NULL;
        int r;

        r = client_new_call(c, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE, "History", &m);
        if (r != 0)
                return r;
        r = client_append_options(c, m, 0, NULL);
        if (r < 0)
                return r;
        r = client_call(c, m, CALL_CHANGE, &reply);
        if (r != 0)
                return r;
        r = value_read(reply, &entries);
        for (size_t i = 0; r >= 0 && i < value_length(entries); i++)
                r = name_fields(entries, i);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(entries);
        return 0;
}

static void cell_time(Table *table, uint64_t usec) {
        time_t seconds = (time_t) (usec / 1000000);
        char text[64] = "";
        struct tm tm;

        if (usec > 0 && localtime_r(&seconds, &tm))
                (void) strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &tm);
        table_cell(table, text, COLOR_NONE);
}

static void cell_caller(Table *table, json_object *entry) {
        const char *program = value_string(entry, "program");
        const struct passwd *p;
        char uid[32];

        if (!json_object_object_get(entry, "uid")) {
                table_cell(table, "vhscsid", COLOR_GREY);
                return;
        }

        p = getpwuid((uid_t) value_number(entry, "uid"));
        (void) snprintf(uid, sizeof uid, "uid %" PRIu64, value_number(entry, "uid"));
        table_cellf(table, COLOR_NONE, "%s%s%s%s", p ? p->pw_name : uid, *program ? " (" : "", program, *program ? ")" : "");
}

int verb_history(Client *c, char **argv) {
        static const Column columns[] = { { "GENERATION", COLUMN_RIGHT }, { "TIME", 0 }, { "WHO", 0 }, { "WHAT", COLUMN_SHRINKS } };
        _cleanup_json_ json_object *entries = NULL;
        _cleanup_(table_freep) Table *table = NULL;
        json_object *entry = NULL;
        int r;

        r = load_history(c, &entries);
        if (r != 0)
                return r;
        if (c->arguments->json != JSON_OFF)
                return print_json(entries, c->arguments->json);

        if (value_length(entries) == 0) {
                client_note("Nothing has been changed yet.");
                return 0;
        }

        table = table_new(columns, ELEMENTSOF(columns));
        if (!table)
                return -ENOMEM;

        for (size_t i = 0; i < value_length(entries); i++) {
                entry = json_object_array_get_idx(entries, i);
                table_cellf(table, COLOR_NONE, "%" PRIu64, value_number(entry, "generation"));
                cell_time(table, value_number(entry, "time"));
                cell_caller(table, entry);
                table_cell(table, value_string(entry, "reason"), COLOR_NONE);
        }

        /* The way back goes one step further than the changes that are known. */
        table_cellf(table, COLOR_NONE, "%" PRIu64, value_number(entry, "generation") - 1);
        table_cell(table, "", COLOR_NONE);
        table_cell(table, "", COLOR_NONE);
        table_cell(table, "what was there before", COLOR_GREY);

        return table_print(table);
}

/* ---- diff ---- */

/* By name: the target without its LUNs, each LUN without its number. */
static int add_objects(json_object *objects, json_object *target) {
        const char *wwn = value_string(target, "wwn");
        json_object *luns = value_array(target, "luns");
        int r = 0;

        for (size_t i = 0; r >= 0 && i < value_length(luns); i++) {
                json_object *lun = json_object_array_get_idx(luns, i);
                char name[128];

                (void) snprintf(name, sizeof name, "%s/lun %" PRIu64, wwn, value_number(lun, "number"));
                json_object_object_del(lun, "number");
                r = value_set(objects, name, json_object_get(lun));
        }
        if (r < 0)
                return r;

        json_object_object_del(target, "luns");
        return value_set(objects, wwn, json_object_get(target));
}

/* What was wanted then; generation NULL: what is wanted now. Or status. */
static int load_objects(Client *c, const uint64_t *generation, json_object **ret) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_json_ json_object *document = NULL, *objects = json_object_new_object();
        json_object *targets;
        int fd, r;

        if (!objects)
                return -ENOMEM;

        r = client_new_call(c, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE, "ExportConfig", &m);
        if (r != 0)
                return r;
        r = generation ? sd_bus_message_append(m, "sa{sv}", "native", 1, "generation", "t", *generation) :
                         sd_bus_message_append(m, "sa{sv}", "native", 0);
        if (r < 0)
                return r;
        r = client_call(c, m, CALL_CHANGE, &reply);
        if (r != 0)
                return r;
        r = sd_bus_message_read(reply, "h", &fd);
        if (r < 0)
                return r;

        document = json_object_from_fd(fd);
        if (!document)
                return -EBADMSG;

        targets = value_array(document, "targets");
        for (size_t i = 0; r >= 0 && i < value_length(targets); i++)
                r = add_objects(objects, json_object_array_get_idx(targets, i));
        if (r < 0)
                return r;

        *ret = TAKE_PTR(objects);
        return 0;
}

static int compare_names(const void *a, const void *b) {
        return strverscmp(*(const char *const *) a, *(const char *const *) b);
}

/* The names of both, each once, in order. They live as long as the objects. */
static int list_names(json_object *before, json_object *after, const char ***ret, size_t *ret_n) {
        const char **names;
        size_t n = 0;

        names = calloc((size_t) (json_object_object_length(before) + json_object_object_length(after)) + 1, sizeof *names);
        if (!names)
                return -ENOMEM;

        json_object_object_foreach(before, old_name, old)
                if (old)
                        names[n++] = old_name;
        json_object_object_foreach(after, new_name, new)
                if (new && !json_object_object_get_ex(before, new_name, NULL))
                        names[n++] = new_name;

        qsort(names, n, sizeof *names, compare_names);
        *ret = names;
        *ret_n = n;
        return 0;
}

/* " key=value", and for an object what is in it; a text as it is. */
static int append_value(char **line, const char *key, json_object *v) {
        _cleanup_free_ char *old = NULL;
        int r = 0;

        if (json_object_is_type(v, json_type_object)) {
                json_object_object_foreach(v, name, value) {
                        r = append_value(line, name, value);
                        if (r < 0)
                                return r;
                }
                return 0;
        }

        old = TAKE_PTR(*line);
        if (asprintf(line, "%s %s=%s", strempty(old), key, json_object_get_string(v)) < 0) {
                *line = NULL;
                return -ENOMEM;
        }

        return 0;
}

/* One side of a difference: with another side, only what is different there. */
static int print_side(const char *sign, Color color, const char *name, json_object *o, json_object *other) {
        _cleanup_free_ char *line = NULL, *text = NULL;
        int r = 0;

        if (!o)
                return 0;

        json_object_object_foreach(o, key, v) {
                json_object *w = NULL;

                if (streq(key, "wwn") || (other && json_object_object_get_ex(other, key, &w) && json_object_equal(v, w)))
                        continue;
                r = append_value(&line, key, v);
                if (r < 0)
                        return r;
        }

        /* That the other side says more is said there. */
        if (other && !line)
                return 0;
        if (asprintf(&text, "%s %s%s", sign, name, strempty(line)) < 0)
                return -ENOMEM;

        print_colored(color, text);
        putchar('\n');
        return 0;
}

static int difference_new(const char *name, json_object *before, json_object *after, json_object **ret) {
        _cleanup_json_ json_object *o = json_object_new_object();
        int r;

        r = o ? value_set_string(o, "object", name) : -ENOMEM;
        if (r >= 0)
                r = value_set(o, "before", json_object_get(before));
        if (r >= 0)
                r = value_set(o, "after", json_object_get(after));
        if (r < 0)
                return r;

        *ret = TAKE_PTR(o);
        return 0;
}

static int print_difference(const Client *c, json_object *before, json_object *after) {
        _cleanup_json_ json_object *list = json_object_new_array();
        _cleanup_free_ const char **names = NULL;
        size_t n;
        int r;

        r = list ? list_names(before, after, &names, &n) : -ENOMEM;
        for (size_t i = 0; r >= 0 && i < n; i++) {
                json_object *old = json_object_object_get(before, names[i]), *new = json_object_object_get(after, names[i]), *difference;

                if (json_object_equal(old, new))
                        continue;

                if (c->arguments->json == JSON_OFF) {
                        r = print_side("-", COLOR_RED, names[i], old, new);
                        if (r >= 0)
                                r = print_side("+", COLOR_GREEN, names[i], new, old);
                        continue;
                }

                r = difference_new(names[i], old, new, &difference);
                if (r >= 0)
                        r = value_append(list, difference);
        }

        return r >= 0 && c->arguments->json != JSON_OFF ? print_json(list, c->arguments->json) : r;
}

/* What the last change did: from before it. Or status. */
static int find_last(Client *c, uint64_t *ret) {
        _cleanup_json_ json_object *entries = NULL;
        int r;

        r = load_history(c, &entries);
        if (r != 0)
                return r;
        if (value_length(entries) == 0)
                return client_refuse(c, VHOSTSCSI_ERROR("NotFound"), "nothing has been changed yet");

        *ret = value_number(json_object_array_get_idx(entries, 0), "generation") - 1;
        return 0;
}

int verb_diff(Client *c, char **argv) {
        _cleanup_json_ json_object *before = NULL, *after = NULL;
        const char *to = argv[1] ? argv[2] : NULL;
        uint64_t n, m = 0;
        int r;

        if (c->arguments->host)
                return client_refuse(c, SD_BUS_ERROR_INVALID_ARGS, "a document cannot come from another host; run it there, as in 'ssh HOST vhscsictl diff …'");

        r = argv[1] ? history_parse_generation(c, argv[1], &n) : find_last(c, &n);
        if (r == 0 && to)
                r = history_parse_generation(c, to, &m);
        if (r == 0)
                r = load_objects(c, &n, &before);
        if (r == 0)
                r = load_objects(c, to ? &m : NULL, &after);

        return r != 0 ? r : print_difference(c, before, after);
}
