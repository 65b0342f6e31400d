/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fileio.h"
#include "base/parse.h"
#include "dbus/vhostscsi-names.h"
#include "exit-status.h"
#include "print.h"
#include "targetctl.h"
#include "value.h"
#include "verbs.h"

/* Whole documents: plan, apply, rollback, import, dump. */

#define BUFFER_SIZE (64 * 1024)
#define DOCUMENT_MAX (64 * 1024 * 1024)
#define LOSSES_TOLD 20          /* of a dump; more are counted */

static int copy_all(int from, int to, size_t max) {
        _cleanup_free_ char *buffer = malloc(BUFFER_SIZE);
        size_t sum = 0;

        if (!buffer)
                return -ENOMEM;

        for (;;) {
                ssize_t n = read(from, buffer, BUFFER_SIZE);
                int r;

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        return 0;

                sum += (size_t) n;
                if (sum > max)
                        return -EFBIG;
                r = write_all(to, buffer, (size_t) n);
                if (r < 0)
                        return r;
        }
}

/* The file, or standard input for "-" or none, as a descriptor that the daemon can read without waiting for anybody. Or status. */
static int open_document(Client *c, const char *name, int *ret) {
        _cleanup_close_ int opened = -EBADF, fd = -EBADF;
        int from = STDIN_FILENO, r;

        if (c->arguments->host)
                return client_refuse(c, SD_BUS_ERROR_INVALID_ARGS, "a document cannot be sent to another host; copy it there first, and run it there");

        if (name && !streq(name, "-")) {
                opened = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
                if (opened < 0) {
                        fprintf(stderr, "vhscsictl: %s: %s.\n", c->what, strerror(errno));
                        return EXIT_FAILURE;
                }
                from = opened;
        }

        fd = memfd_create("vhscsictl-document", MFD_CLOEXEC);
        if (fd < 0)
                return -errno;

        r = copy_all(from, fd, DOCUMENT_MAX);
        if (r == -EFBIG)
                return client_refuse(c, VHOSTSCSI_ERROR("ImportRejected"), "the document is larger than 64 MiB");
        if (r < 0) {
                fprintf(stderr, "vhscsictl: %s: the document cannot be read: %s.\n", c->what, strerror(-r));
                return EXIT_FAILURE;
        }

        *ret = TAKE_FD(fd);
        return 0;
}

/* What is in the answer. */
typedef struct Tally {
        size_t changes, kept, refused, notes;
} Tally;

static void tally_take(Tally *t, json_object *lines) {
        *t = (Tally) {};

        for (size_t i = 0; i < value_length(lines); i++) {
                const char *action = value_string(json_object_array_get_idx(lines, i), "action");

                if (streq(action, "info"))
                        continue;
                if (streq(action, "note"))
                        t->notes++;
                else if (streq(action, "refuse"))
                        t->refused++;
                else if (streq(action, "keep"))
                        t->kept++;
                else
                        t->changes++;
        }
}

static int read_lines(sd_bus_message *reply, json_object **ret) {
        static const char *const keys[] = { "object", "action", "note" };
        _cleanup_json_ json_object *raw = NULL, *lines = json_object_new_array();
        int r;

        if (!lines)
                return -ENOMEM;

        r = value_read(reply, &raw);
        if (r < 0)
                return r;

        for (size_t i = 0; i < value_length(raw); i++) {
                json_object *line = json_object_array_get_idx(raw, i), *o = json_object_new_object();

                r = value_append(lines, o);
                for (size_t k = 0; r >= 0 && k < ELEMENTSOF(keys); k++)
                        r = value_set_string(o, keys[k], strempty(json_object_get_string(json_object_array_get_idx(line, k))));
                if (r < 0)
                        return r;
        }

        *ret = TAKE_PTR(lines);
        return 0;
}

static Color action_color(const char *action) {
        if (streq(action, "refuse") || streq(action, "remove"))
                return COLOR_RED;
        if (streq(action, "note") || streq(action, "change"))
                return COLOR_YELLOW;

        return streq(action, "keep") || streq(action, "info") ? COLOR_GREY : COLOR_GREEN;
}

static int print_lines(const Client *c, json_object *lines) {
        static const Column columns[] = { { "OBJECT", 0 }, { "ACTION", 0 }, { "NOTE", COLUMN_SHRINKS } };
        _cleanup_(table_freep) Table *table = NULL;

        if (c->arguments->json != JSON_OFF)
                return print_json(lines, c->arguments->json);
        if (value_length(lines) == 0)
                return 0;

        table = table_new(columns, ELEMENTSOF(columns));
        if (!table)
                return -ENOMEM;

        for (size_t i = 0; i < value_length(lines); i++) {
                json_object *line = json_object_array_get_idx(lines, i);

                table_cell(table, value_string(line, "object"), COLOR_NONE);
                table_cell(table, value_string(line, "action"), action_color(value_string(line, "action")));
                table_cell(table, value_string(line, "note"), COLOR_NONE);
        }

        return table_print(table);
}

/* Of a call whose answer is a list of changes: prints them. Or status. */
static int make_changes(Client *c, sd_bus_message *m, Tally *ret) {
        _cleanup_message_ sd_bus_message *reply = NULL;
        _cleanup_json_ json_object *lines = NULL;
        int r;

        r = client_call(c, m, CALL_CHANGE, &reply);
        if (r != 0)
                return r;
        r = read_lines(reply, &lines);
        if (r >= 0)
                r = print_lines(c, lines);
        if (r < 0)
                return r;

        tally_take(ret, lines);
        return 0;
}

/* Plan, Apply or ImportConfig. Or status. */
static int send_document(Client *c, const char *member, const char *format, const char *name, uint64_t options, Tally *ret) {
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_close_ int fd = -EBADF;
        int r;

        r = open_document(c, name, &fd);
        if (r != 0)
                return r;
        r = client_new_call(c, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE, member, &m);
        if (r != 0)
                return r;
        r = format ? sd_bus_message_append(m, "sh", format, fd) : sd_bus_message_append(m, "h", fd);
        if (r >= 0)
                r = client_append_options(c, m, options, c->arguments->target);

        return r < 0 ? r : make_changes(c, m, ret);
}

static void tell(const Client *c, const Tally *t, bool dry) {
        if (c->arguments->json != JSON_OFF)
                return;

        client_note("%zu change%s%s, %zu kept as %s, %zu refused.%s", t->changes, t->changes == 1 ? "" : "s", dry ? " to be made" : "", t->kept,
                    t->kept == 1 ? "it is" : "they are", t->refused, dry ? " Nothing was changed." : "");
}

int verb_plan(Client *c, char **argv) {
        Tally t;
        int r;

        r = send_document(c, "Plan", NULL, argv[1], OPTION_PRUNE | OPTION_FORCE | OPTION_IF_GENERATION | OPTION_TIMEOUT, &t);
        if (r != 0)
                return r;

        tell(c, &t, true);
        return t.refused > 0 ? EXIT_NOTICES : t.changes > 0 ? EXIT_CHANGES : 0;
}

int verb_apply(Client *c, char **argv) {
        Tally t;
        int r;

        r = send_document(c, "Apply", NULL, argv[1], OPTIONS_CHANGE | OPTION_PRUNE | OPTION_FORCE | OPTION_PARTLY, &t);
        if (r != 0)
                return r;

        tell(c, &t, c->arguments->given & OPTION_DRY_RUN);
        return t.refused > 0 ? EXIT_NOTICES : 0;
}

int verb_rollback(Client *c, char **argv) {
        _cleanup_message_ sd_bus_message *m = NULL;
        uint64_t generation;
        Tally t;
        int r;

        r = history_parse_generation(c, argv[1], &generation);
        if (r != 0)
                return r;
        r = client_new_call(c, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE, "Rollback", &m);
        if (r != 0)
                return r;
        r = sd_bus_message_append(m, "t", generation);
        if (r >= 0)
                r = client_append_options(c, m, OPTIONS_CHANGE | OPTION_FORCE | OPTION_PARTLY, NULL);
        if (r < 0)
                return r;
        r = make_changes(c, m, &t);
        if (r != 0)
                return r;

        tell(c, &t, c->arguments->given & OPTION_DRY_RUN);
        return t.refused > 0 ? EXIT_NOTICES : 0;
}

int verb_import(Client *c, char **argv) {
        static const char *const usual[] = { "/etc/rtslib-fb-target/saveconfig.json", "/etc/target/saveconfig.json" };
        const char *name = argv[2];
        Tally t;
        int r;

        if (!string_is_utf8(argv[1]))
                return client_refuse(c, SD_BUS_ERROR_INVALID_ARGS, "the format is not UTF-8");
        for (size_t i = 0; !name && streq(argv[1], "targetcli") && i < ELEMENTSOF(usual); i++)
                if (access(usual[i], F_OK) >= 0)
                        name = usual[i];
        if (!name && streq(argv[1], "targetcli") && isatty(STDIN_FILENO)) {
                fprintf(stderr, "vhscsictl: %s: there is neither %s nor %s. Name a file, or - for standard input.\n", c->what, usual[0], usual[1]);
                return EXIT_FAILURE;
        }

        r = send_document(c, "ImportConfig", argv[1], name, OPTIONS_CHANGE | OPTION_FORCE | OPTION_PARTLY | OPTION_TARGET, &t);
        if (r != 0)
                return r;

        tell(c, &t, c->arguments->given & OPTION_DRY_RUN);
        if (streq(argv[1], "targetcli") && t.changes + t.kept > 0 && c->arguments->json == JSON_OFF)
                r = targetctl_note(c);
        if (r < 0)
                return r;
        if (t.changes + t.kept == 0)
                return EXIT_NOTHING;

        return t.refused + t.notes > 0 ? EXIT_NOTICES : 0;
}

#define DUMP_OPTIONS (OPTION_TARGET | OPTION_PORTABLE | OPTION_PARTLY | OPTION_GENERATION)

/* ExportConfig or CheckExport. Or status. */
static int call_export(Client *c, const char *member, const char *format, sd_bus_message **ret) {
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = client_new_call(c, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE, member, &m);
        if (r != 0)
                return r;
        r = sd_bus_message_append(m, "s", format);
        if (r >= 0)
                r = client_append_options(c, m, DUMP_OPTIONS, c->arguments->target);

        return r < 0 ? r : client_call(c, m, CALL_CHANGE, ret);
}

/* Standard output has the document. */
static void tell_losses(json_object *lines, const Tally *t) {
        size_t n = 0;

        for (size_t i = 0; i < value_length(lines) && n < LOSSES_TOLD; i++) {
                json_object *line = json_object_array_get_idx(lines, i);

                if (streq(value_string(line, "action"), "info"))
                        continue;
                client_note("%s: %s", value_string(line, "object"), value_string(line, "note"));
                n++;
        }

        if (t->refused + t->notes > n)
                client_note("... and %zu notes more.", t->refused + t->notes - n);
        if (t->refused > 0)
                client_note("%zu LUN%s left out.", t->refused, t->refused == 1 ? " was" : "s were");
}

int verb_dump(Client *c, char **argv) {
        _cleanup_message_ sd_bus_message *document = NULL, *losses = NULL;
        _cleanup_json_ json_object *lines = NULL;
        Tally t;
        int fd, r;

        if (!string_is_utf8(argv[1]))
                return client_refuse(c, SD_BUS_ERROR_INVALID_ARGS, "the format is not UTF-8");
        if (c->arguments->host)
                return client_refuse(c, SD_BUS_ERROR_INVALID_ARGS, "a document cannot come from another host; run it there, as in 'ssh HOST vhscsictl dump …'");

        r = call_export(c, "ExportConfig", argv[1], &document);
        if (r == 0)
                r = call_export(c, "CheckExport", argv[1], &losses);
        if (r != 0)
                return r;
        r = sd_bus_message_read(document, "h", &fd);
        if (r >= 0)
                r = read_lines(losses, &lines);
        if (r < 0)
                return r;

        r = copy_all(fd, STDOUT_FILENO, SIZE_MAX);
        if (r < 0) {
                fprintf(stderr, "vhscsictl: %s: %s.\n", c->what, strerror(-r));
                return EXIT_FAILURE;
        }

        tally_take(&t, lines);
        tell_losses(lines, &t);
        return t.refused > 0 ? EXIT_NOTICES : 0;
}
