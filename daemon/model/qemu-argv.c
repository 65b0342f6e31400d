/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/qemu-argv.h"

/* Longer than any value that is asked for: what is cut to it equals none of them. */
#define VALUE_SIZE 512

static const char *next_argument(const char *argument, const char *end) {
        argument += strlen(argument) + 1;
        return argument < end ? argument : NULL;
}

/* What stands behind the next -NAME, at or behind an argument. NULL: there is no more of them. */
static const char *next_option(const char *argument, const char *end, const char *name) {
        while (argument) {
                const char *word = startswith(argument, "--") ?: startswith(argument, "-");

                argument = next_argument(argument, end);
                if (word && streq(word, name))
                        return argument;
        }

        return NULL;
}

static void put(char *to, size_t size, size_t *n, char c) {
        if (*n + 1 < size)
                to[(*n)++] = c;
        to[*n] = 0;
}

/* util/keyval.c and util/qemu-option.c of QEMU: a comma within a value is doubled, the first word may lack its key, the last one counts. */
static bool words_get(const char *s, const char *key, const char *first_key, char ret[static VALUE_SIZE]) {
        bool first = true, found = false;

        while (*s) {
                size_t n = strcspn(s, "=,"), length = 0;
                const char *k = s;
                char value[VALUE_SIZE] = "";

                if (s[n] == '=')
                        s += n + 1;
                else if (first) {
                        k = first_key;
                        n = strlen(k);
                }

                for (; *s && (*s != ',' || s[1] == ','); s++) {
                        s += *s == ',';
                        put(value, sizeof value, &length, *s);
                }
                s += *s == ',';
                first = false;

                if (n == strlen(key) && strncmp(k, key, n) == 0) {
                        memcpy(ret, value, sizeof value);
                        found = true;
                }
        }

        return found;
}

/* From behind the quote to behind the one that ends it, or NULL. */
static const char *json_string(const char *s, char ret[static VALUE_SIZE]) {
        size_t n = 0;

        ret[0] = 0;
        for (; *s && *s != '"'; s++) {
                s += *s == '\\' && s[1];
                put(ret, VALUE_SIZE, &n, *s);
        }

        return *s ? s + 1 : NULL;
}

/* A value that is no string, to the end of the pair. */
static const char *json_skip(const char *s) {
        char ignored[VALUE_SIZE];
        unsigned depth = 0;

        while (s && *s && (depth > 0 || (*s != ',' && *s != '}'))) {
                depth += *s == '{' || *s == '[';
                depth -= depth > 0 && (*s == '}' || *s == ']');
                s = *s == '"' ? json_string(s + 1, ignored) : s + 1;
        }

        return s;
}

/* Of an object's own pairs, those whose value is a string. Forgiving: it is enough to find what a QEMU that runs has understood. */
static bool json_get(const char *s, const char *key, char ret[static VALUE_SIZE]) {
        const char *const blanks = " \t\r\n";
        char name[VALUE_SIZE], value[VALUE_SIZE];
        bool found = false;

        s++;
        for (;;) {
                s += strspn(s, " \t\r\n,");
                s = *s == '"' ? json_string(s + 1, name) : NULL;
                if (!s)
                        return found;
                s += strspn(s, blanks);
                if (*s != ':')
                        return found;
                s += 1 + strspn(s + 1, blanks);

                if (*s == '"') {
                        s = json_string(s + 1, value);
                        if (!s)
                                return found;
                        if (streq(name, key)) {
                                memcpy(ret, value, sizeof value);
                                found = true;
                        }
                }
                s = json_skip(s);
                if (!s)
                        return found;
        }
}

static bool device_get(const char *device, const char *key, char ret[static VALUE_SIZE]) {
        return *device == '{' ? json_get(device, key, ret) : words_get(device, key, "driver", ret);
}

bool qemu_argv_has_target(const char *argv, size_t size, const char *wwn) {
        const char *end = argv + size, *device = size > 0 ? argv : NULL;
        char value[VALUE_SIZE];

        /* Cheap, and no for nearly everybody. */
        if (!memmem(argv, size, wwn, strlen(wwn)))
                return false;

        while ((device = next_option(device, end, "device")))
                if (device_get(device, "driver", value) && startswith(value, "vhost-scsi") && device_get(device, "wwpn", value) &&
                    streq(value, wwn))
                        return true;

        return false;
}

void qemu_argv_name(const char *argv, size_t size, char *ret, size_t room) {
        const char *end = argv + size, *name = size > 0 ? next_option(argv, end, "name") : NULL, *slash;
        char value[VALUE_SIZE];

        if (name && words_get(name, "guest", "guest", value) && value[0] != 0) {
                snprintf(ret, room, "%s", value);
                return;
        }

        slash = strrchr(argv, '/');
        snprintf(ret, room, "%s", slash ? slash + 1 : argv);
}
