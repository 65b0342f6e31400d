/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>

#include "dbus/vhostscsi-names.h"
#include "exit-status.h"
#include "text.h"
#include "view.h"

/* ("", "") says that all is well. */
static int last_error_new(json_object *pair, json_object **ret) {
        _cleanup_json_ json_object *v = NULL;
        const char *code, *message;
        int r;

        if (!json_object_is_type(pair, json_type_array) || value_length(pair) != 2) {
                *ret = NULL;
                return 0;
        }

        code = strempty(json_object_get_string(json_object_array_get_idx(pair, 0)));
        message = strempty(json_object_get_string(json_object_array_get_idx(pair, 1)));
        if (!*code && !*message) {
                *ret = NULL;
                return 0;
        }

        v = json_object_new_object();
        if (!v)
                return -ENOMEM;

        r = value_set_string(v, "code", code);
        if (r < 0)
                return r;
        r = value_set_string(v, "message", message);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(v);
        return 0;
}

int view_new_object(const char *path, json_object *properties, json_object **ret) {
        _cleanup_json_ json_object *v = json_object_new_object();
        int r;

        if (!v)
                return -ENOMEM;

        if (path) {
                r = value_set_string(v, "path", path);
                if (r < 0)
                        return r;
        }

        json_object_object_foreach(properties, name, value) {
                _cleanup_free_ char *key = text_snake_case(name);
                json_object *copy;

                if (!key)
                        return -ENOMEM;

                if (streq(name, "LastError")) {
                        r = last_error_new(value, &copy);
                        if (r < 0)
                                return r;
                } else
                        copy = json_object_get(value);

                r = value_set(v, key, copy);
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(v);
        return 0;
}

static int compare_strings(const void *a, const void *b) {
        return strcmp(value_string(*(json_object *const *) a, "wwn"), value_string(*(json_object *const *) b, "wwn"));
}

static int compare_numbers(const void *a, const void *b) {
        uint64_t x = value_number(*(json_object *const *) a, "number"), y = value_number(*(json_object *const *) b, "number");

        return x < y ? -1 : x > y;
}

static int view_add_targets(json_object *objects, json_object *by_path, json_object *targets) {
        int r;

        json_object_object_foreach(objects, path, interfaces) {
                _cleanup_json_ json_object *target = NULL;
                json_object *properties, *luns;

                if (!json_object_object_get_ex(interfaces, VHOSTSCSI_TARGET_INTERFACE, &properties))
                        continue;

                r = view_new_object(path, properties, &target);
                if (r < 0)
                        return r;

                luns = json_object_new_array();
                if (!luns)
                        return -ENOMEM;
                r = value_set(target, "luns", luns);
                if (r < 0)
                        return r;

                r = value_set(by_path, path, json_object_get(target));
                if (r < 0)
                        return r;
                r = value_append(targets, TAKE_PTR(target));
                if (r < 0)
                        return r;
        }

        return 0;
}

static int view_add_luns(json_object *objects, json_object *by_path) {
        int r;

        json_object_object_foreach(objects, path, interfaces) {
                _cleanup_json_ json_object *lun = NULL;
                _cleanup_free_ char *parent = NULL;
                json_object *properties, *target;
                const char *end = strstr(path, "/lun/");

                if (!end || !json_object_object_get_ex(interfaces, VHOSTSCSI_LUN_INTERFACE, &properties))
                        continue;

                parent = strndup(path, (size_t) (end - path));
                if (!parent)
                        return -ENOMEM;
                if (!json_object_object_get_ex(by_path, parent, &target))
                        continue;

                r = view_new_object(path, properties, &lun);
                if (r < 0)
                        return r;
                r = value_append(value_array(target, "luns"), TAKE_PTR(lun));
                if (r < 0)
                        return r;
        }

        return 0;
}

int view_load(Client *c, json_object **ret_targets) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_json_ json_object *objects = NULL, *targets = NULL, *by_path = NULL;
        int r;

        r = client_new_call(c, VHOSTSCSI_ROOT_PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects", &m);
        if (r != 0)
                return r;
        r = client_call(c, m, CALL_READ, &reply);
        if (r != 0)
                return r;
        if (!sd_bus_message_has_signature(reply, "a{oa{sa{sv}}}"))
                return -EBADMSG;
        r = value_read(reply, &objects);
        if (r < 0)
                return r;

        targets = json_object_new_array();
        by_path = json_object_new_object();
        if (!targets || !by_path)
                return -ENOMEM;

        /* The bus gives objects in any order: a LUN may come before its target. */
        r = view_add_targets(objects, by_path, targets);
        if (r < 0)
                return r;
        r = view_add_luns(objects, by_path);
        if (r < 0)
                return r;

        json_object_array_sort(targets, compare_strings);
        for (size_t i = 0; i < value_length(targets); i++)
                json_object_array_sort(value_array(json_object_array_get_idx(targets, i), "luns"), compare_numbers);

        *ret_targets = TAKE_PTR(targets);
        return 0;
}

int view_load_quietly(Client *c, const char *path, const char *interface, json_object **ret) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        _cleanup_json_ json_object *properties = NULL;

        if (sd_bus_call_method(c->bus, VHOSTSCSI_BUS_NAME, path, "org.freedesktop.DBus.Properties", "GetAll", NULL, &reply,
                               "s", interface) < 0)
                return -EIO;
        if (!sd_bus_message_has_signature(reply, "a{sv}") || value_read(reply, &properties) < 0)
                return -EIO;

        return view_new_object(path, properties, ret) < 0 ? -EIO : 0;
}

int view_load_manager(Client *c, json_object **ret) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_json_ json_object *properties = NULL;
        int r;

        r = client_new_call(c, VHOSTSCSI_ROOT_PATH, "org.freedesktop.DBus.Properties", "GetAll", &m);
        if (r != 0)
                return r;
        r = sd_bus_message_append(m, "s", VHOSTSCSI_MANAGER_INTERFACE);
        if (r < 0)
                return r;
        r = client_call(c, m, CALL_READ, &reply);
        if (r != 0)
                return r;
        if (!sd_bus_message_has_signature(reply, "a{sv}"))
                return -EBADMSG;
        r = value_read(reply, &properties);
        if (r < 0)
                return r;

        return view_new_object(VHOSTSCSI_ROOT_PATH, properties, ret);
}

/* "0x5001405:…" and "NAA.5001405…" to 16 small digits. Only to compare with: the daemon says what is a WWN. */
static bool wwn_digits(const char *s, char ret[static 17]) {
        size_t n = 0;

        if (strncasecmp(s, "naa.", 4) == 0)
                s += 4;
        if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
                s += 2;

        for (; *s; s++) {
                if (*s == ':')
                        continue;
                if (!isxdigit((unsigned char) *s) || n == 16)
                        return false;
                ret[n++] = (char) tolower((unsigned char) *s);
        }

        ret[n] = 0;
        return n == 16;
}

int view_find_target(Client *c, json_object *targets, const char *name, json_object **ret) {
        json_object *found = NULL;
        char wanted[17], digits[17];
        size_t n = 0;

        if (wwn_digits(name, wanted))
                for (size_t i = 0; i < value_length(targets); i++) {
                        json_object *t = json_object_array_get_idx(targets, i);

                        if (wwn_digits(value_string(t, "wwn"), digits) && streq(digits, wanted)) {
                                *ret = t;
                                return 0;
                        }
                }

        /* Foreign targets may be called anything: their names are compared as they are. */
        for (size_t i = 0; i < value_length(targets); i++) {
                json_object *t = json_object_array_get_idx(targets, i);

                if (*name && streq(value_string(t, "wwn"), name)) {
                        *ret = t;
                        return 0;
                }
                if (*name && streq(value_string(t, "label"), name)) {
                        found = t;
                        n++;
                }
        }

        if (n > 1)
                return client_refuse(c, VHSCSICTL_ERROR_AMBIGUOUS, "several targets have this label");

        *ret = found;
        return 0;
}

bool view_lun_is_up(json_object *lun) {
        const char *state = value_string(lun, "state");

        return streq(state, "online") || streq(state, "degraded");
}

size_t view_count_up(json_object *target) {
        json_object *luns = value_array(target, "luns");
        size_t n = 0;

        for (size_t i = 0; i < value_length(luns); i++)
                n += view_lun_is_up(json_object_array_get_idx(luns, i));

        return n;
}

int view_last_error(json_object *object, char **ret) {
        const char *code, *message;
        json_object *e;

        *ret = NULL;
        if (!json_object_object_get_ex(object, "last_error", &e) || !e)
                return 0;

        code = value_string(e, "code");
        message = value_string(e, "message");
        if (asprintf(ret, "%s%s%s", code, *code && *message ? ": " : "", message) < 0) {
                *ret = NULL;
                return -ENOMEM;
        }

        return 0;
}
