/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "base/parse.h"
#include "bus/options.h"

#define NAME_SHOWN_MAX 64       /* longer ones are the caller's own, who need not be told them */

#define ATTRIBUTES_MAX 64       /* there are fewer; whoever is not authorized yet shall not make us compare many */

typedef enum OptionType {
        OPTION_BOOLEAN,         /* bool */
        OPTION_U32,             /* uint32_t */
        OPTION_U64,             /* uint64_t */
        OPTION_STRING,          /* const char * */
        OPTION_ATTRIBUTES,      /* char ** */
        _OPTION_TYPE_MAX,
} OptionType;

typedef struct Option {
        const char *name;
        OptionType type;
        void *value;
        bool *given;            /* may be NULL */
} Option;

static const struct {
        const char *signature, *words;
} types[_OPTION_TYPE_MAX] = {
        [OPTION_BOOLEAN] = { "b", "a boolean (b)" },
        [OPTION_U32] = { "u", "a 32-bit number (u)" },
        [OPTION_U64] = { "t", "a 64-bit number (t)" },
        [OPTION_STRING] = { "s", "a string (s)" },
        [OPTION_ATTRIBUTES] = { "a{sv}", "a dictionary of attributes (a{sv})" },
};

static int refuse_name(sd_bus_error *error, const char *what, const char *name) {
        if (strlen(name) > NAME_SHOWN_MAX || string_has_control(name))
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, "%s with an odd name", what);

        return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, "%s \"%s\"", what, name);
}

/* What the variant that comes next holds. */
static int peek_variant(sd_bus_message *m, const char **ret) {
        char type;
        int r;

        r = sd_bus_message_peek_type(m, &type, ret);
        if (r < 0)
                return r;

        return r > 0 && type == SD_BUS_TYPE_VARIANT ? 0 : -EBADMSG;
}

static int format_attribute(sd_bus_message *m, const char *name, char type, char **ret, sd_bus_error *error) {
        char digits[3 * sizeof(uint64_t)];
        const char *value = digits;
        int32_t i;
        uint32_t u;
        uint64_t t;
        char *text;
        int b, r;

        switch (type) {
        case SD_BUS_TYPE_STRING:
                r = sd_bus_message_read(m, "v", "s", &value);
                if (r >= 0 && strlen(value) > NAME_SHOWN_MAX)
                        return refuse_name(error, "No number in attribute", name);
                break;
        case SD_BUS_TYPE_BOOLEAN:
                r = sd_bus_message_read(m, "v", "b", &b);
                snprintf(digits, sizeof digits, "%d", r >= 0 && b);
                break;
        case SD_BUS_TYPE_INT32:
                r = sd_bus_message_read(m, "v", "i", &i);
                snprintf(digits, sizeof digits, "%" PRIi32, r >= 0 ? i : 0);
                break;
        case SD_BUS_TYPE_UINT32:
                r = sd_bus_message_read(m, "v", "u", &u);
                snprintf(digits, sizeof digits, "%" PRIu32, r >= 0 ? u : 0);
                break;
        default:
                r = sd_bus_message_read(m, "v", "t", &t);
                snprintf(digits, sizeof digits, "%" PRIu64, r >= 0 ? t : 0);
        }
        if (r < 0)
                return r;

        if (asprintf(&text, "%s=%s", name, value) < 0)
                return -ENOMEM;

        *ret = text;
        return 0;
}

static int read_attribute(sd_bus_message *m, char ***attributes, sd_bus_error *error) {
        const char *name, *type;
        char *text;
        int r;

        r = sd_bus_message_read(m, "s", &name);
        if (r >= 0)
                r = peek_variant(m, &type);
        if (r < 0)
                return r;

        if (isempty(name) || strlen(name) > NAME_SHOWN_MAX || strchr(name, '='))
                return refuse_name(error, "There is no attribute", name);
        if (strv_length(*attributes) >= ATTRIBUTES_MAX)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, "More than %d attributes", ATTRIBUTES_MAX);
        if (strv_value(*attributes, name, strlen(name)))
                return refuse_name(error, "Given twice: attribute", name);
        if (!type[0] || type[1] || !strchr("sbuti", type[0]))
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "The value of an attribute is a string, a boolean or a number (s, b, u, t, i), not %s", type);

        r = format_attribute(m, name, type[0], &text, error);
        if (r < 0)
                return r;

        return strv_consume(attributes, text);
}

static int read_attributes(sd_bus_message *m, char ***attributes, sd_bus_error *error) {
        int r;

        r = sd_bus_message_enter_container(m, 'v', "a{sv}");
        if (r >= 0)
                r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;

        for (;;) {
                r = sd_bus_message_enter_container(m, 'e', "sv");
                if (r <= 0)
                        break;

                r = read_attribute(m, attributes, error);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }

        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static int read_value(sd_bus_message *m, const Option *o, sd_bus_error *error) {
        int b, r = -EBADMSG;

        switch (o->type) {
        case OPTION_BOOLEAN:
                r = sd_bus_message_read(m, "v", "b", &b);
                if (r >= 0)
                        *(bool *) o->value = b;
                break;
        case OPTION_U32:
                r = sd_bus_message_read(m, "v", "u", o->value);
                break;
        case OPTION_U64:
                r = sd_bus_message_read(m, "v", "t", o->value);
                break;
        case OPTION_STRING:
                r = sd_bus_message_read(m, "v", "s", o->value);
                break;
        case OPTION_ATTRIBUTES:
                r = read_attributes(m, o->value, error);
                break;
        case _OPTION_TYPE_MAX:
                break;
        }

        if (r >= 0 && o->given)
                *o->given = true;

        return r;
}

static int read_option(sd_bus_message *m, const Option *known, size_t n, unsigned *seen, sd_bus_error *error) {
        const char *name, *type;
        int r;

        r = sd_bus_message_read(m, "s", &name);
        if (r >= 0)
                r = peek_variant(m, &type);
        if (r < 0)
                return r;

        for (size_t i = 0; i < n; i++) {
                if (!streq(known[i].name, name))
                        continue;

                if (*seen & 1U << i)
                        return refuse_name(error, "Given twice: option", name);
                if (!streq(types[known[i].type].signature, type))
                        return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, "Option \"%s\" is %s", name, types[known[i].type].words);

                *seen |= 1U << i;
                return read_value(m, &known[i], error);
        }

        return refuse_name(error, "There is no option", name);
}

static int read_options(sd_bus_message *m, const Option *known, size_t n, sd_bus_error *error) {
        unsigned seen = 0;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;

        for (;;) {
                r = sd_bus_message_enter_container(m, 'e', "sv");
                if (r < 0)
                        return r;
                if (r == 0)
                        return sd_bus_message_exit_container(m);

                r = read_option(m, known, n, &seen, error);
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
}

#define EDIT_OPTIONS(o)                                                                 \
        { "force", OPTION_BOOLEAN, &(o)->force, NULL },                                 \
        { "dry-run", OPTION_BOOLEAN, &(o)->dry_run, NULL },                             \
        { "if-generation", OPTION_U64, &(o)->generation, &(o)->has_generation },        \
        { "timeout", OPTION_U64, &(o)->timeout, NULL }

#define LUN_OPTIONS(o)                                                                  \
        { "number", OPTION_U32, &(o)->number, &(o)->has_number },                       \
        { "readonly", OPTION_BOOLEAN, &(o)->readonly, NULL },                           \
        { "shareable", OPTION_BOOLEAN, &(o)->shareable, NULL },                         \
        { "path", OPTION_BOOLEAN, &(o)->path, NULL },                                   \
        { "name", OPTION_STRING, &(o)->name, NULL },                                    \
        { "serial", OPTION_STRING, &(o)->serial, NULL },                                \
        { "attributes", OPTION_ATTRIBUTES, &(o)->attributes, NULL }

/* Those of QEMU's device that libvirt has none of its own for. */
#define DEVICE_OPTIONS(o)                                                               \
        { "boot", OPTION_U32, &(o)->boot, &(o)->has_boot },                             \
        { "queues", OPTION_U32, &(o)->queues, &(o)->has_queues },                       \
        { "qemu-version", OPTION_STRING, &(o)->version, NULL }

int options_read_none(sd_bus_message *m, sd_bus_error *error) {
        return read_options(m, NULL, 0, error);
}

int options_read_edit(sd_bus_message *m, EditOptions *ret, sd_bus_error *error) {
        const Option known[] = { EDIT_OPTIONS(ret) };

        *ret = (EditOptions) { .timeout = UINT64_MAX };
        return read_options(m, known, ELEMENTSOF(known), error);
}

int options_read_create(sd_bus_message *m, CreateOptions *ret, sd_bus_error *error) {
        const Option known[] = {
                EDIT_OPTIONS(&ret->common),
                { "label", OPTION_STRING, &ret->label, NULL },
                { "seed", OPTION_STRING, &ret->seed, NULL },
                { "nexus", OPTION_STRING, &ret->nexus, NULL },
                { "if-absent", OPTION_BOOLEAN, &ret->if_absent, NULL },
        };

        *ret = (CreateOptions) { .common.timeout = UINT64_MAX };
        return read_options(m, known, ELEMENTSOF(known), error);
}

int options_read_acquire(sd_bus_message *m, AcquireOptions *ret, sd_bus_error *error) {
        const Option known[] = {
                EDIT_OPTIONS(&ret->common),
                { "kind", OPTION_STRING, &ret->kind, NULL },
                { "name", OPTION_STRING, &ret->name, NULL },
                { "uuid", OPTION_STRING, &ret->uuid, NULL },
                { "pid", OPTION_U32, &ret->pid, NULL },
                { "seed", OPTION_STRING, &ret->seed, NULL },
                { "wait", OPTION_U64, &ret->wait, &ret->has_wait },
                { "running", OPTION_BOOLEAN, &ret->running, NULL },
        };

        *ret = (AcquireOptions) { .common.timeout = UINT64_MAX };
        return read_options(m, known, ELEMENTSOF(known), error);
}

int options_read_check(sd_bus_message *m, const char **ret_owner, sd_bus_error *error) {
        const Option known[] = { { "owner", OPTION_STRING, ret_owner, NULL } };

        *ret_owner = "";
        return read_options(m, known, ELEMENTSOF(known), error);
}

int options_read_lun(sd_bus_message *m, LunOptions *ret, sd_bus_error *error) {
        const Option known[] = { EDIT_OPTIONS(&ret->common), LUN_OPTIONS(ret) };

        *ret = (LunOptions) { .common.timeout = UINT64_MAX };
        return read_options(m, known, ELEMENTSOF(known), error);
}

int options_read_export(sd_bus_message *m, LunOptions *ret, const char **ret_target, sd_bus_error *error) {
        const Option known[] = {
                EDIT_OPTIONS(&ret->common),
                LUN_OPTIONS(ret),
                { "target", OPTION_STRING, ret_target, NULL },
        };

        *ret = (LunOptions) { .common.timeout = UINT64_MAX };
        *ret_target = NULL;
        return read_options(m, known, ELEMENTSOF(known), error);
}

int options_read_change(sd_bus_message *m, EditOptions *ret, bool *ret_prune, bool *ret_partly, sd_bus_error *error) {
        const Option known[] = {
                EDIT_OPTIONS(ret),
                { "partly", OPTION_BOOLEAN, ret_partly, NULL },
                { "prune", OPTION_BOOLEAN, ret_prune, NULL },
        };

        *ret = (EditOptions) { .timeout = UINT64_MAX };
        return read_options(m, known, ELEMENTSOF(known) - (ret_prune ? 0 : 1), error);
}

int options_read_import(sd_bus_message *m, EditOptions *ret, bool *ret_partly, const char **ret_target, sd_bus_error *error) {
        const Option known[] = {
                EDIT_OPTIONS(ret),
                { "partly", OPTION_BOOLEAN, ret_partly, NULL },
                { "target", OPTION_STRING, ret_target, NULL },
        };

        *ret = (EditOptions) { .timeout = UINT64_MAX };
        *ret_target = NULL;
        return read_options(m, known, ELEMENTSOF(known), error);
}

int options_read_dump(sd_bus_message *m, ExportOptions *ret, sd_bus_error *error) {
        const Option known[] = {
                { "target", OPTION_STRING, &ret->target, NULL },
                { "portable", OPTION_BOOLEAN, &ret->portable, NULL },
                { "partly", OPTION_BOOLEAN, &ret->partly, NULL },
                { "generation", OPTION_U64, &ret->generation, &ret->has_generation },
        };

        *ret = (ExportOptions) {};
        return read_options(m, known, ELEMENTSOF(known), error);
}

int options_read_qemu(sd_bus_message *m, QemuOptions *ret, sd_bus_error *error) {
        const Option known[] = {
                DEVICE_OPTIONS(ret),
                { "bus", OPTION_STRING, &ret->bus, NULL },
                { "addr", OPTION_STRING, &ret->addr, NULL },
                { "devno", OPTION_STRING, &ret->devno, NULL },
                { "migratable", OPTION_BOOLEAN, &ret->migratable, NULL },
        };

        *ret = (QemuOptions) {};
        return read_options(m, known, ELEMENTSOF(known), error);
}

int options_read_libvirt(sd_bus_message *m, QemuOptions *ret, sd_bus_error *error) {
        const Option known[] = {
                DEVICE_OPTIONS(ret),
                { "address", OPTION_STRING, &ret->address, NULL },
        };

        *ret = (QemuOptions) {};
        return read_options(m, known, ELEMENTSOF(known), error);
}

void lun_options_done(LunOptions *o) {
        o->attributes = strv_free(o->attributes);
}
