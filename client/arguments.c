/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <getopt.h>

#include "arguments.h"
#include "base/parse.h"
#include "dbus/vhostscsi-names.h"
#include "exit-status.h"
#include "text.h"

/* getopt's values: a short option's letter, GLOBAL + n, or VERB + the number of the option's bit. */
enum {
        GLOBAL_VERSION = 0x100,
        GLOBAL_JSON,
        GLOBAL_NO_ASK_PASSWORD,
        GLOBAL_NO_PAGER,
        GLOBAL_NO_LEGEND,
        VERB = 0x200,
};

#define VERB_OPTION(bit) (VERB + __builtin_ctzll(bit))

static const struct option options[] = {
        { "help",            no_argument,       NULL, 'h' },
        { "version",         no_argument,       NULL, GLOBAL_VERSION },
        { "host",            required_argument, NULL, 'H' },
        { "machine",         required_argument, NULL, 'M' },
        { "json",            optional_argument, NULL, GLOBAL_JSON },
        { "no-ask-password", no_argument,       NULL, GLOBAL_NO_ASK_PASSWORD },
        { "no-pager",        no_argument,       NULL, GLOBAL_NO_PAGER },
        { "no-legend",       no_argument,       NULL, GLOBAL_NO_LEGEND },
        { "full",            no_argument,       NULL, 'l' },
        { "force",           no_argument,       NULL, VERB_OPTION(OPTION_FORCE) },
        { "dry-run",         no_argument,       NULL, VERB_OPTION(OPTION_DRY_RUN) },
        { "if-generation",   required_argument, NULL, VERB_OPTION(OPTION_IF_GENERATION) },
        { "timeout",         required_argument, NULL, VERB_OPTION(OPTION_TIMEOUT) },
        { "label",           required_argument, NULL, VERB_OPTION(OPTION_LABEL) },
        { "seed",            required_argument, NULL, VERB_OPTION(OPTION_SEED) },
        { "nexus",           required_argument, NULL, VERB_OPTION(OPTION_NEXUS) },
        { "if-absent",       no_argument,       NULL, VERB_OPTION(OPTION_IF_ABSENT) },
        { "lun",             required_argument, NULL, VERB_OPTION(OPTION_LUN) },
        { "readonly",        no_argument,       NULL, VERB_OPTION(OPTION_READONLY) },
        { "name",            required_argument, NULL, VERB_OPTION(OPTION_NAME) },
        { "serial",          required_argument, NULL, VERB_OPTION(OPTION_SERIAL) },
        { "shareable",       no_argument,       NULL, VERB_OPTION(OPTION_SHAREABLE) },
        { "path",            no_argument,       NULL, VERB_OPTION(OPTION_PATH) },
        { "attribute",       required_argument, NULL, VERB_OPTION(OPTION_ATTRIBUTE) },
        { "all",             no_argument,       NULL, VERB_OPTION(OPTION_ALL) },
        { "prune",           no_argument,       NULL, VERB_OPTION(OPTION_PRUNE) },
        { "partly",          no_argument,       NULL, VERB_OPTION(OPTION_PARTLY) },
        { "portable",        no_argument,       NULL, VERB_OPTION(OPTION_PORTABLE) },
        { "generation",      required_argument, NULL, VERB_OPTION(OPTION_GENERATION) },
        { "target",          required_argument, NULL, VERB_OPTION(OPTION_TARGET) },
        { "wait",            required_argument, NULL, VERB_OPTION(OPTION_WAIT) },
        { "watch",           no_argument,       NULL, VERB_OPTION(OPTION_WATCH) },
        { "bus",             required_argument, NULL, VERB_OPTION(OPTION_BUS) },
        { "addr",            required_argument, NULL, VERB_OPTION(OPTION_ADDR) },
        { "devno",           required_argument, NULL, VERB_OPTION(OPTION_DEVNO) },
        { "address",         required_argument, NULL, VERB_OPTION(OPTION_ADDRESS) },
        { "boot",            required_argument, NULL, VERB_OPTION(OPTION_BOOT) },
        { "queues",          required_argument, NULL, VERB_OPTION(OPTION_QUEUES) },
        { "qemu-version",    required_argument, NULL, VERB_OPTION(OPTION_QEMU_VERSION) },
        { "migratable",      no_argument,       NULL, VERB_OPTION(OPTION_MIGRATABLE) },
        { "shell",           no_argument,       NULL, VERB_OPTION(OPTION_SHELL) },
        { "install",         no_argument,       NULL, VERB_OPTION(OPTION_INSTALL) },
        { "strict",          no_argument,       NULL, VERB_OPTION(OPTION_STRICT) },
        { "pid",             required_argument, NULL, VERB_OPTION(OPTION_PID) },
        { NULL, 0, NULL, 0 },
};

const char *arguments_option_name(uint64_t bits) {
        for (const struct option *o = options; o->name; o++)
                if (o->val >= VERB && (bits & (UINT64_C(1) << (o->val - VERB))))
                        return o->name;

        return "";
}

static int complain(const char *option, const char *value, const char *problem) {
        _cleanup_free_ char *escaped = text_escape(value), *shown = NULL;

        shown = escaped ? text_shorten(escaped, 60) : NULL;
        fprintf(stderr, "vhscsictl: --%s=%s: %s. See 'vhscsictl --help'.\n", option, strempty(shown), problem);
        return EXIT_USAGE;
}

static bool find_json_mode(Arguments *a, const char *value) {
        static const struct {
                const char *name;
                JsonMode mode;
        } modes[] = { { "off", JSON_OFF }, { "short", JSON_SHORT }, { "pretty", JSON_PRETTY } };

        for (size_t i = 0; i < ELEMENTSOF(modes); i++)
                if (streq(modes[i].name, value)) {
                        a->json = modes[i].mode;
                        return true;
                }

        return false;
}

/* Without a mode it is short; a mode may be the next word. */
static int parse_json_mode(Arguments *a, const char *value, char *const *next) {
        if (value)
                return find_json_mode(a, value) ? 0 : complain("json", value, "must be short, pretty or off");

        if (*next && find_json_mode(a, *next))
                optind++;
        else
                a->json = JSON_SHORT;

        return 0;
}

static int parse_lun(Arguments *a, const char *value) {
        int r;

        r = parse_u32(value, &a->number);
        if (r == -ERANGE) {
                (void) complain("lun", value, "LUN numbers are 0 to 16383");
                return exit_status_for_error(VHOSTSCSI_ERROR("LunOutOfRange"))->status;
        }
        if (r < 0)
                return complain("lun", value, "not a number");

        return 0;
}

static int parse_attribute(Arguments *a, const char *value) {
        const char *eq = strchr(value, '=');
        const char **p;

        if (!eq || eq == value)
                return complain("attribute", value, "must be NAME=VALUE, such as emulate_tpu=1");

        for (size_t i = 0; i < a->n_attributes; i++)
                if (strncmp(a->attributes[i], value, (size_t) (eq - value) + 1) == 0)
                        return complain("attribute", value, "given twice");

        p = realloc(a->attributes, (a->n_attributes + 2) * sizeof *p);
        if (!p)
                return -ENOMEM;

        a->attributes = p;
        a->attributes[a->n_attributes++] = value;
        a->attributes[a->n_attributes] = NULL;
        return 0;
}

static int parse_verb_option(Arguments *a, VerbOption option, const char *value) {
        if ((a->given & option) && option != OPTION_ATTRIBUTE && value)
                return complain(arguments_option_name(option), value, "given twice");
        if (value && !string_is_utf8(value))
                return complain(arguments_option_name(option), value, "not UTF-8");

        a->given |= option;

        switch (option) {
        case OPTION_IF_GENERATION:
                return parse_u64(value, &a->if_generation) < 0 ? complain("if-generation", value, "not a number") : 0;
        case OPTION_GENERATION:
                return parse_u64(value, &a->generation) < 0 ? complain("generation", value, "not a number") : 0;
        case OPTION_TIMEOUT:
                return text_parse_timespan(value, &a->timeout) < 0 || a->timeout == 0 ?
                        complain("timeout", value, "must be a time such as 30s or 5min") : 0;
        case OPTION_WAIT:
                return text_parse_timespan(value, &a->wait) < 0 ? complain("wait", value, "must be a time such as 30s or 5min") : 0;
        case OPTION_BOOT:
                return parse_u32(value, &a->boot) < 0 ? complain("boot", value, "not a number") : 0;
        case OPTION_QUEUES:
                return parse_u32(value, &a->queues) < 0 ? complain("queues", value, "not a number") : 0;
        case OPTION_PID:
                return parse_u32(value, &a->pid) < 0 || a->pid == 0 ? complain("pid", value, "must be the number of a process") : 0;
        case OPTION_LUN:
                return parse_lun(a, value);
        case OPTION_ATTRIBUTE:
                return parse_attribute(a, value);
        case OPTION_LABEL:
                a->label = value;
                return 0;
        case OPTION_SEED:
                a->seed = value;
                return 0;
        case OPTION_NEXUS:
                a->nexus = value;
                return 0;
        case OPTION_NAME:
                a->name = value;
                return 0;
        case OPTION_SERIAL:
                a->serial = value;
                return 0;
        case OPTION_TARGET:
                a->target = value;
                return 0;
        case OPTION_BUS:
                a->bus = value;
                return 0;
        case OPTION_ADDR:
                a->addr = value;
                return 0;
        case OPTION_DEVNO:
                a->devno = value;
                return 0;
        case OPTION_ADDRESS:
                a->address = value;
                return 0;
        case OPTION_QEMU_VERSION:
                a->qemu_version = value;
                return 0;
        case OPTION_FORCE:
        case OPTION_DRY_RUN:
        case OPTION_IF_ABSENT:
        case OPTION_READONLY:
        case OPTION_SHAREABLE:
        case OPTION_PATH:
        case OPTION_ALL:
        case OPTION_PRUNE:
        case OPTION_PARTLY:
        case OPTION_PORTABLE:
        case OPTION_WATCH:
        case OPTION_MIGRATABLE:
        case OPTION_SHELL:
        case OPTION_INSTALL:
        case OPTION_STRICT:
        case OPTIONS_CHANGE:
        case OPTIONS_LUN:
        case OPTIONS_DEVICE:
                return 0;
        }

        assert(false);
        return -EINVAL;
}

int arguments_parse(Arguments *a, int argc, char **argv) {
        int c, r;

        *a = (Arguments) {
                .ask_password = true,
                .pager = true,
                .legend = true,
        };

        while ((c = getopt_long(argc, argv, "hH:M:l", options, NULL)) >= 0) {
                switch (c) {
                case 'h':
                        a->help = true;
                        break;
                case 'H':
                        a->host = optarg;
                        break;
                case 'M':
                        a->machine = optarg;
                        break;
                case 'l':
                        a->full = true;
                        break;
                case GLOBAL_VERSION:
                        a->version = true;
                        break;
                case GLOBAL_JSON:
                        r = parse_json_mode(a, optarg, argv + optind);
                        if (r != 0)
                                return r;
                        break;
                case GLOBAL_NO_ASK_PASSWORD:
                        a->ask_password = false;
                        break;
                case GLOBAL_NO_PAGER:
                        a->pager = false;
                        break;
                case GLOBAL_NO_LEGEND:
                        a->legend = false;
                        break;
                case '?':
                        /* getopt has said what is wrong. */
                        return EXIT_USAGE;
                default:
                        assert(c >= VERB);
                        r = parse_verb_option(a, UINT64_C(1) << (c - VERB), optarg);
                        if (r != 0)
                                return r;
                }
        }

        if (a->host && a->machine) {
                fprintf(stderr, "vhscsictl: --host and --machine cannot be combined.\n");
                return EXIT_USAGE;
        }
        /* An empty name would be taken for this machine, a leading dash for an option of ssh. */
        if (a->host && (!*a->host || *a->host == '-' || !string_is_utf8(a->host)))
                return complain("host", a->host, "not a host's name");
        if (a->machine && (!*a->machine || !string_is_utf8(a->machine)))
                return complain("machine", a->machine, "not a machine's name");

        a->verb = argv + optind;
        a->n_verb = argc - optind;
        return 0;
}

void arguments_done(Arguments *a) {
        free(a->attributes);
        a->attributes = NULL;
}
