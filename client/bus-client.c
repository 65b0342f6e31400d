/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>

#include "base/errno.h"
#include "base/parse.h"
#include "bus-client.h"
#include "connection.h"
#include "dbus/vhostscsi-names.h"
#include "exit-status.h"
#include "progress.h"
#include "text.h"
#include "value.h"
#include "view.h"
#include "watch.h"

/* When the user limits the call, the daemon answers with TimedOut at that moment; only if it is too stuck for that, we give up. */
#define TIMEOUT_GRACE (10 * 1000000ULL)

void client_note(const char *format, ...) {
        _cleanup_free_ char *text = NULL, *escaped = NULL;
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(&text, format, ap);
        va_end(ap);
        if (r < 0) {
                text = NULL;
                return;
        }

        escaped = text_escape(text);
        fprintf(stderr, "%s\n", strempty(escaped));
}

int client_refuse(Client *c, const char *error, const char *message) {
        const ExitStatus *s = exit_status_for_error(error);
        _cleanup_free_ char *escaped = NULL;
        const char *shown, *stop;
        size_t n;

        escaped = text_escape(isempty(message) ? strempty(error) : message);
        shown = isempty(escaped) ? "refused without a reason" : escaped;

        n = strlen(shown);
        stop = strchr(".!?", shown[n - 1]) ? "" : ".";

        fprintf(stderr, "vhscsictl: %s: %s%s%s%s%s\n", c->what, shown, stop, s->hint ? " " : "", strempty(s->hint), s->hint ? "." : "");
        return s->status;
}

/* ---- connecting ---- */

int client_open(Client *c, uint64_t usec) {
        int r = 0;

        if (c->bus)
                return 0;

        if (!c->event)
                r = sd_event_new(&c->event);
        if (r >= 0)
                r = connection_open(c->arguments, usec, &c->bus);
        if (r >= 0)
                r = sd_bus_set_allow_interactive_authorization(c->bus, c->arguments->ask_password);
        if (r >= 0)
                r = sd_bus_attach_event(c->bus, c->event, SD_EVENT_PRIORITY_NORMAL);
        return r;
}

int client_connect(Client *c) {
        int r;

        r = client_open(c, UINT64_MAX);
        if (r < 0) {
                _cleanup_free_ char *message = NULL;
                const char *where = c->arguments->host ?: c->arguments->machine;

                if (asprintf(&message, "cannot connect to the system bus%s%s: %s", where ? " of " : "", strempty(where), strerror(-r)) < 0)
                        message = NULL;
                return client_refuse(c, SD_BUS_ERROR_DISCONNECTED, message);
        }

        return 0;
}

void client_done(Client *c) {
        polkit_agent_stop(&c->agent);
        c->bus = sd_bus_flush_close_unref(c->bus);
        c->event = sd_event_unref(c->event);
        free(c->what);
        c->what = NULL;
}

/* ---- calling ---- */

int client_new_call(Client *c, const char *path, const char *interface, const char *member, sd_bus_message **ret) {
        int r;

        r = client_connect(c);
        if (r != 0)
                return r;

        return sd_bus_message_new_method_call(c->bus, ret, VHOSTSCSI_BUS_NAME, path, interface, member);
}

/* Kernel attributes are numbers; what is none goes as text, and the daemon says what it thinks of it. */
static int append_attributes(sd_bus_message *m, const Arguments *a) {
        int r;

        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", "attributes");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "a{sv}");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r < 0)
                return r;

        for (size_t i = 0; i < a->n_attributes; i++) {
                const char *value = strchr(a->attributes[i], '=') + 1;
                _cleanup_free_ char *key = strndup(a->attributes[i], (size_t) (value - 1 - a->attributes[i]));
                uint32_t n;

                if (!key)
                        return -ENOMEM;

                r = parse_u32(value, &n) >= 0 ? sd_bus_message_append(m, "{sv}", key, "u", n) :
                                                sd_bus_message_append(m, "{sv}", key, "s", value);
                if (r < 0)
                        return r;
        }

        r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r;
}

static int append_flags(sd_bus_message *m, uint64_t given) {
        static const struct {
                VerbOption option;
                const char *name;
        } flags[] = {
                { OPTION_FORCE, "force" },       { OPTION_DRY_RUN, "dry-run" },     { OPTION_IF_ABSENT, "if-absent" },
                { OPTION_PRUNE, "prune" },       { OPTION_PARTLY, "partly" },       { OPTION_PORTABLE, "portable" },
                { OPTION_READONLY, "readonly" }, { OPTION_SHAREABLE, "shareable" }, { OPTION_PATH, "path" },
                { OPTION_MIGRATABLE, "migratable" },
        };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(flags); i++)
                if (given & flags[i].option)
                        r = sd_bus_message_append(m, "{sv}", flags[i].name, "b", 1);

        return r;
}

static int append_strings(sd_bus_message *m, const Arguments *a, uint64_t given, const char *target) {
        const struct {
                VerbOption option;
                const char *name, *value;
        } strings[] = {
                { OPTION_LABEL, "label", a->label },       { OPTION_SEED, "seed", a->seed },          { OPTION_NEXUS, "nexus", a->nexus },
                { OPTION_NAME, "name", a->name },          { OPTION_SERIAL, "serial", a->serial },    { OPTION_TARGET, "target", target },
                { OPTION_BUS, "bus", a->bus },             { OPTION_ADDR, "addr", a->addr },          { OPTION_DEVNO, "devno", a->devno },
                { OPTION_ADDRESS, "address", a->address }, { OPTION_QEMU_VERSION, "qemu-version", a->qemu_version },
        };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(strings); i++)
                if (given & strings[i].option)
                        r = sd_bus_message_append(m, "{sv}", strings[i].name, "s", strings[i].value);

        return r;
}

static int append_numbers(sd_bus_message *m, const Arguments *a, uint64_t given) {
        const struct {
                VerbOption option;
                const char *name, *type;
                uint64_t value;
        } numbers[] = {
                { OPTION_IF_GENERATION, "if-generation", "t", a->if_generation }, { OPTION_GENERATION, "generation", "t", a->generation },
                { OPTION_TIMEOUT, "timeout", "t", a->timeout },                   { OPTION_LUN, "number", "u", a->number },
                { OPTION_BOOT, "boot", "u", a->boot },                            { OPTION_QUEUES, "queues", "u", a->queues },
                { OPTION_WAIT, "wait", "t", a->wait },                            { OPTION_PID, "pid", "u", a->pid },
        };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(numbers); i++) {
                if (!(given & numbers[i].option))
                        continue;

                r = streq(numbers[i].type, "t") ? sd_bus_message_append(m, "{sv}", numbers[i].name, "t", numbers[i].value) :
                                                  sd_bus_message_append(m, "{sv}", numbers[i].name, "u", (uint32_t) numbers[i].value);
        }

        return r;
}

int client_append_options(Client *c, sd_bus_message *m, uint64_t options, const char *target) {
        const Arguments *a = c->arguments;
        uint64_t given = a->given & options;
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = append_flags(m, given);
        if (r >= 0)
                r = append_numbers(m, a, given);
        if (r >= 0)
                r = append_strings(m, a, given, target);
        if (r >= 0 && (given & OPTION_ATTRIBUTE))
                r = append_attributes(m, a);
        if (r < 0)
                return r;

        return sd_bus_message_close_container(m);
}

/* ---- Ctrl-C ---- */

static int on_signal(sd_event_source *s _unused_, const struct signalfd_siginfo *si _unused_, void *userdata) {
        Client *c = userdata;

        c->interrupted = true;
        return 0;
}

int client_interruptible_begin(Client *c) {
        sigset_t signals;
        int r;

        sigemptyset(&signals);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGTERM);
        (void) sigprocmask(SIG_BLOCK, &signals, &c->signals);

        r = sd_event_add_signal(c->event, &c->sigint, SIGINT, on_signal, c);
        if (r >= 0)
                r = sd_event_add_signal(c->event, &c->sigterm, SIGTERM, on_signal, c);
        return r;
}

void client_interruptible_end(Client *c) {
        /* What the loop has taken from the kernel and not told us of yet would be lost with the source. */
        if ((c->sigint && sd_event_source_get_pending(c->sigint) > 0) || (c->sigterm && sd_event_source_get_pending(c->sigterm) > 0))
                c->interrupted = true;

        c->sigint = sd_event_source_disable_unref(c->sigint);
        c->sigterm = sd_event_source_disable_unref(c->sigterm);
        (void) sigprocmask(SIG_SETMASK, &c->signals, NULL);
}

/* ---- calling ---- */

typedef struct Wait {
        Progress progress;
        sd_bus_message *reply;
} Wait;

static int on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *error _unused_) {
        Wait *w = userdata;

        w->reply = sd_bus_message_ref(reply);
        return 0;
}

/* Which LUN is on its way, so that one sees which of a hundred it hangs on. */
static int on_properties_changed(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        _cleanup_free_ char *wwn = NULL, *detail = NULL;
        _cleanup_json_ json_object *interface = NULL, *properties = NULL;
        const char *state;
        Wait *w = userdata;
        int64_t lun;

        if (path_parse(sd_bus_message_get_path(m), &wwn, &lun) < 0 || lun < 0)
                return 0;
        if (value_read(m, &interface) <= 0 || value_read(m, &properties) <= 0)
                return 0;

        state = value_string(properties, "State");
        if (!isempty(state) && asprintf(&detail, "LUN %" PRIi64 " of %s is %s", lun, wwn, state) >= 0)
                progress_set_detail(&w->progress, detail);

        return 0;
}

/* Waits until there is a reply or the user has had enough. */
static int client_wait(Client *c, sd_bus_message *m, CallKind kind, uint64_t timeout, Wait *w) {
        _cleanup_slot_ sd_bus_slot *call = NULL, *news = NULL;
        int r;

        /* The agent may be asking for a password on the very line that we would draw on. */
        if (c->agent.pid == 0 && progress_is_possible()) {
                r = progress_start(&w->progress, c->event, c->what);
                if (r < 0)
                        return r;
                if (kind != CALL_READ)
                        (void) sd_bus_add_match_async(c->bus, &news,
                                                      "type='signal',sender='" VHOSTSCSI_BUS_NAME "',"
                                                      "interface='org.freedesktop.DBus.Properties',member='PropertiesChanged',"
                                                      "arg0='" VHOSTSCSI_LUN_INTERFACE "'",
                                                      on_properties_changed, NULL, w);
        }

        r = sd_bus_call_async(c->bus, &call, m, on_reply, w, timeout);
        while (r >= 0 && !w->reply && !c->interrupted)
                r = sd_event_run(c->event, UINT64_MAX);

        return r;
}

int client_explain(Client *c, int r) {
        if (r == -ENOTCONN || r == -ECONNRESET || r == -ECONNREFUSED || r == -EPIPE || r == -ENOENT || r == -ESHUTDOWN)
                return client_refuse(c, SD_BUS_ERROR_DISCONNECTED, "the connection to the bus was lost");

        return r;
}

static int client_refuse_reply(Client *c, const sd_bus_error *error, uint64_t timeout) {
        _cleanup_free_ char *message = NULL;

        if (!sd_bus_error_has_name(error, SD_BUS_ERROR_NO_REPLY) && !sd_bus_error_has_name(error, SD_BUS_ERROR_TIMEOUT))
                return client_refuse(c, error->name, error->message);

        if (sd_bus_is_open(c->bus) <= 0)
                return client_refuse(c, SD_BUS_ERROR_NO_REPLY, "the connection to the bus was lost");

        /* What the bus says of it ("Message recipient disconnected…", "Method call timed out") names no daemon. */
        if (asprintf(&message, "the daemon gave no answer (%s%s)", timeout == UINT64_MAX ? "" : "or not in time; ",
                     strempty(error->message)) < 0)
                message = NULL;
        return client_refuse(c, error->name, message);
}

int client_call(Client *c, sd_bus_message *m, CallKind kind, sd_bus_message **ret_reply) {
        const Arguments *a = c->arguments;
        _cleanup_message_ sd_bus_message *reply = NULL;
        uint64_t timeout = 0;                   /* sd-bus's own: 25 s */
        Wait w = {};
        int r;

        /* While an earlier answer came in. */
        if (c->interrupted)
                return EXIT_INTERRUPTED;

        if (kind != CALL_READ) {
                timeout = UINT64_MAX;
                if ((a->given & OPTION_TIMEOUT) && __builtin_add_overflow(a->timeout, TIMEOUT_GRACE, &timeout))
                        timeout = UINT64_MAX;
                if (a->ask_password && !a->host && !a->machine && c->agent.pid == 0) {
                        r = polkit_agent_start(&c->agent);
                        if (r < 0)
                                return r;
                }
        }

        r = client_interruptible_begin(c);
        if (r >= 0)
                r = client_wait(c, m, kind, timeout, &w);
        progress_stop(&w.progress);
        polkit_agent_stop(&c->agent);
        client_interruptible_end(c);
        reply = w.reply;

        if (!reply && c->interrupted) {
                fprintf(stderr, "vhscsictl: %s: interrupted.%s\n", c->what,
                        kind == CALL_CHANGE  ? " The daemon goes on with it; 'vhscsictl list' shows how far it is." :
                        kind == CALL_ACQUIRE ? " Nothing was acquired, unless that was done already; 'vhscsictl release' undoes it." :
                                               "");
                return EXIT_INTERRUPTED;
        }
        if (!reply)
                return client_explain(c, r < 0 ? r : -EIO);
        if (sd_bus_message_is_method_error(reply, NULL)) {
                /* What our own end makes up, of time or connection, is not of the daemon. */
                if (c->watch && !streq_ptr(sd_bus_message_get_sender(reply), "org.freedesktop.DBus.Local") &&
                    watch_loses(c->watch, sd_bus_message_get_error(reply)))
                        return -EAGAIN;

                return client_refuse_reply(c, sd_bus_message_get_error(reply), timeout);
        }

        if (ret_reply)
                *ret_reply = TAKE_PTR(reply);
        return 0;
}

int client_change(Client *c, sd_bus_message *m, CallKind kind, uint64_t options) {
        int r;

        r = client_append_options(c, m, options, NULL);
        if (r < 0)
                return r;
        r = client_call(c, m, kind, NULL);
        if (r != 0)
                return r;

        if (c->arguments->given & OPTION_DRY_RUN)
                client_note("Dry run: nothing was changed.");

        return 0;
}

int client_call_manager(Client *c, const char *member, const char *argument, uint64_t options, char **ret_path) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        const char *path;
        int r;

        r = client_new_call(c, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE, member, &m);
        if (r != 0)
                return r;
        r = sd_bus_message_append(m, "s", argument);
        if (r >= 0)
                r = client_append_options(c, m, options, NULL);
        if (r < 0)
                return r;
        r = client_call(c, m, CALL_CHANGE, &reply);
        if (r != 0)
                return r;
        r = sd_bus_message_read(reply, "o", &path);
        if (r < 0)
                return r;

        *ret_path = strdup(path);
        return *ret_path ? 0 : -ENOMEM;
}

/* ---- names ---- */

bool wwn_is_meant(const char *s) {
        static const char *const prefixes[] = { "naa.", "fc.", "iqn.", "eui." };
        size_t digits = 0;

        for (size_t i = 0; i < ELEMENTSOF(prefixes); i++)
                if (strncasecmp(s, prefixes[i], strlen(prefixes[i])) == 0)
                        return true;
        if (s[0] == '0' && (s[1] == 'x' || s[1] == 'X'))
                s += 2;

        for (; *s; s++) {
                if (isxdigit((unsigned char) *s))
                        digits++;
                else if (*s != ':')
                        return false;
        }

        return digits == 16;
}

int client_find_target(Client *c, const char *name, char **ret_path) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_json_ json_object *targets = NULL;
        json_object *target = NULL;
        const char *path;
        char *copy;
        int r;

        if (!string_is_utf8(name))
                return client_refuse(c, VHOSTSCSI_ERROR("InvalidWwn"), "not UTF-8");

        if (!isempty(name) && !wwn_is_meant(name)) {
                r = view_load(c, &targets);
                if (r != 0)
                        return r;
                r = view_find_target(c, targets, name, &target);
                if (r != 0)
                        return r;
        }

        if (target)
                path = value_string(target, "path");
        else {
                /* Not a label: the daemon knows every way to write a WWN, and says what is wrong with this one. */
                r = client_new_call(c, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE, "GetTarget", &m);
                if (r != 0)
                        return r;
                r = sd_bus_message_append(m, "s", name);
                if (r < 0)
                        return r;
                r = client_call(c, m, CALL_READ, &reply);
                if (r != 0)
                        return r;
                r = sd_bus_message_read(reply, "o", &path);
                if (r < 0)
                        return r;
        }

        copy = strdup(path);
        if (!copy)
                return -ENOMEM;

        *ret_path = copy;
        return 0;
}

int client_new_target_call(Client *c, const char *name, const char *member, sd_bus_message **ret) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = client_find_target(c, name, &path);
        return r != 0 ? r : client_new_call(c, path, VHOSTSCSI_TARGET_INTERFACE, member, ret);
}

int client_name_target(Client *c, const char *name, char **ret_wwn) {
        _cleanup_free_ char *path = NULL;
        int64_t lun;
        int r;

        if (!string_is_utf8(name))
                return client_refuse(c, VHOSTSCSI_ERROR("InvalidWwn"), "not UTF-8");
        if (isempty(name) || wwn_is_meant(name)) {
                *ret_wwn = strdup(name);
                return *ret_wwn ? 0 : -ENOMEM;
        }

        r = client_find_target(c, name, &path);
        return r != 0 ? r : path_parse(path, ret_wwn, &lun);
}

int path_parse(const char *path, char **ret_wwn, int64_t *ret_lun) {
        _cleanup_free_ char *target = NULL;
        char *wwn = NULL;
        const char *end;
        uint32_t n = 0;
        int r;

        if (!path || !startswith(path, VHOSTSCSI_TARGET_PREFIX "/"))
                return -EINVAL;

        end = strchr(path + strlen(VHOSTSCSI_TARGET_PREFIX "/"), '/');
        if (end && (!startswith(end, "/lun/") || parse_u32(end + strlen("/lun/"), &n) < 0))
                return -EINVAL;

        target = end ? strndup(path, (size_t) (end - path)) : strdup(path);
        if (!target)
                return -ENOMEM;

        r = sd_bus_path_decode(target, VHOSTSCSI_TARGET_PREFIX, &wwn);
        if (r < 0)
                return r;
        if (r == 0)
                return -EINVAL;

        *ret_wwn = wwn;
        *ret_lun = end ? (int64_t) n : -1;
        return 0;
}
