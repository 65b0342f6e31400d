/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/epoll.h>
#include <sys/mman.h>
#include <systemd/sd-event.h>

#include "base/cleanup.h"
#include "base/errno.h"
#include "dbus/vhostscsi-names.h"
#include "value.h"

/* A daemon without a kernel under it, for tests of the client. It owns the bus name, writes every call as a line of JSON to standard
 * output, and answers as lines of JSON on standard input have told it to:
 *
 *   { "on": "AddLun", "signature": "o", "reply": [ "/org/…" ] }        also "on": "GetAll /org/vhostscsi", for one object only
 *   { "on": "AddLun", "error": "org.vhostscsi.Error.InUse", "message": "…" }
 *   { "on": "AddLun", …, "delay": 1500 }                               milliseconds before the answer; -1: never, or
 *   { "answer": { "signature": …, "reply": … } }                       now, to the last call that got none
 *   { "on": "AddLun", …, "next": { … } }                               the answer from the second time on
 *   { "signal": "InterfacesAdded", "path": "…", "interface": "…", "signature": "…", "args": [ … ] }
 *   { "own": true }, { "own": false }                                  takes and gives back the name
 *   { "systemd": true }                                                is systemd as well: its objects' calls are answered, too
 *   { "exit": true }                                                   dies, with calls unanswered
 *
 * With an argument it begins without the name.
 *
 * A variant is [ "signature", value ], a descriptor the text of a file. Each line is echoed as { "done": n } when it has been carried out. */

typedef struct Mock {
        sd_event *event;
        sd_bus *bus;
        json_object *answers;   /* by "on" */
        sd_bus_message *held;   /* the last call without an answer */
        char *input;
        size_t n_input;
        int n_done;
} Mock;

/* ---- JSON to D-Bus ---- */

static size_t signature_element(const char *s) {
        size_t n = 1;

        if (*s == 'a')
                return 1 + signature_element(s + 1);
        if (*s != '(' && *s != '{')
                return 1;

        while (s[n] != ')' && s[n] != '}')
                n += signature_element(s + n);

        return n + 1;
}

static int message_append(sd_bus_message *m, const char *signature, json_object *args);

static int message_append_file(sd_bus_message *m, const char *text) {
        _cleanup_close_ int fd = memfd_create("mock-document", MFD_CLOEXEC);

        if (fd < 0)
                return negative_errno();
        if (pwrite(fd, text, strlen(text), 0) < 0)
                return negative_errno();

        return sd_bus_message_append_basic(m, 'h', &fd);
}

static int message_append_basic(sd_bus_message *m, char type, json_object *v) {
        union {
                uint8_t y;
                int b;
                uint32_t u;
                int64_t x;
        } basic;

        switch (type) {
        case 's':
        case 'o':
        case 'g':
                return sd_bus_message_append_basic(m, type, json_object_get_string(v));
        case 'h':
                return message_append_file(m, json_object_get_string(v));
        case 'b':
                basic.b = json_object_get_boolean(v);
                break;
        case 'y':
                basic.y = (uint8_t) json_object_get_int(v);
                break;
        case 'u':
        case 'i':
                basic.u = (uint32_t) json_object_get_int64(v);
                break;
        case 't':
        case 'x':
                basic.x = json_object_get_int64(v);
                break;
        default:
                return -EINVAL;
        }

        return sd_bus_message_append_basic(m, type, &basic);
}

static int message_append_container(sd_bus_message *m, char type, const char *contents, json_object *v) {
        int r;

        r = sd_bus_message_open_container(m, type, contents);
        if (r < 0)
                return r;

        if (type == 'v') {
                _cleanup_json_ json_object *one = json_object_new_array();

                (void) value_append(one, json_object_get(json_object_array_get_idx(v, 1)));
                r = message_append(m, contents, one);
        } else if (type == 'r')
                r = message_append(m, contents, v);
        else if (contents[0] == '{') {
                const char value[2] = { contents[1], 0 };
                _cleanup_free_ char *rest = strndup(contents + 2, strlen(contents) - 3), *entry = NULL;

                if (!rest || asprintf(&entry, "%s%s", value, rest) < 0)
                        return -ENOMEM;
                json_object_object_foreach(v, key, x) {
                        _cleanup_json_ json_object *pair = json_object_new_array();

                        (void) value_append(pair, json_object_new_string(key));
                        (void) value_append(pair, json_object_get(x));
                        r = sd_bus_message_open_container(m, 'e', entry);
                        if (r >= 0)
                                r = message_append(m, entry, pair);
                        if (r >= 0)
                                r = sd_bus_message_close_container(m);
                        if (r < 0)
                                return r;
                }
        } else
                for (size_t i = 0; r >= 0 && i < value_length(v); i++) {
                        _cleanup_json_ json_object *one = json_object_new_array();

                        (void) value_append(one, json_object_get(json_object_array_get_idx(v, i)));
                        r = message_append(m, contents, one);
                }
        if (r < 0)
                return r;

        return sd_bus_message_close_container(m);
}

static int message_append(sd_bus_message *m, const char *signature, json_object *args) {
        int r;

        for (size_t i = 0; *signature; i++) {
                size_t n = signature_element(signature);
                json_object *v = json_object_array_get_idx(args, i);
                _cleanup_free_ char *contents = NULL;

                if (*signature == 'a')
                        contents = strndup(signature + 1, n - 1);
                else if (*signature == '(')
                        contents = strndup(signature + 1, n - 2);
                else if (*signature == 'v')
                        contents = strdup(strempty(json_object_get_string(json_object_array_get_idx(v, 0))));

                r = contents ? message_append_container(m, *signature == '(' ? 'r' : *signature, contents, v) :
                               message_append_basic(m, *signature, v);
                if (r < 0)
                        return r;

                signature += n;
        }

        return 0;
}

/* ---- calls ---- */

static int answer_send(sd_bus_message *call, json_object *answer) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *error = value_string(answer, "error");
        int r;

        if (*error)
                return sd_bus_reply_method_errorf(call, error, "%s", value_string(answer, "message"));

        r = sd_bus_message_new_method_return(call, &reply);
        if (r >= 0)
                r = message_append(reply, value_string(answer, "signature"), value_array(answer, "reply"));
        if (r < 0)
                return sd_bus_reply_method_errorf(call, "mock.BadAnswer", "the test's answer does not fit its signature: %s", strerror(-r));

        return sd_bus_send(NULL, reply, NULL);
}

typedef struct Delayed {
        sd_bus_message *call;
        json_object *answer;
} Delayed;

static int on_delay(sd_event_source *s, uint64_t usec _unused_, void *userdata) {
        Delayed *d = userdata;
        int r;

        r = answer_send(d->call, d->answer);
        sd_bus_message_unref(d->call);
        json_object_put(d->answer);
        free(d);
        sd_event_source_unref(s);
        return r;
}

static int answer_later(Mock *mock, sd_bus_message *call, json_object *answer, uint64_t delay_ms) {
        Delayed *d = malloc(sizeof *d);
        sd_event_source *source;

        if (!d)
                return -ENOMEM;
        *d = (Delayed) { sd_bus_message_ref(call), json_object_get(answer) };

        return sd_event_add_time_relative(mock->event, &source, CLOCK_MONOTONIC, delay_ms * 1000, 1000, on_delay, d);
}

static int call_log(sd_bus_message *m) {
        _cleanup_json_ json_object *line = json_object_new_object(), *args = json_object_new_array();
        json_object *v;
        int r;

        while ((r = value_read(m, &v)) > 0)
                (void) value_append(args, v);
        (void) value_set_string(line, "path", sd_bus_message_get_path(m));
        (void) value_set_string(line, "interface", strempty(sd_bus_message_get_interface(m)));
        (void) value_set_string(line, "member", sd_bus_message_get_member(m));
        (void) value_set_string(line, "signature", sd_bus_message_get_signature(m, 1));
        (void) value_set(line, "args", TAKE_PTR(args));
        (void) value_set(line, "interactive", json_object_new_boolean(sd_bus_message_get_allow_interactive_authorization(m) > 0));
        puts(json_object_to_json_string_ext(line, JSON_C_TO_STRING_NOSLASHESCAPE));
        return r;
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error _unused_) {
        const char *path = sd_bus_message_get_path(m);
        _cleanup_free_ char *key = NULL;
        json_object *answer, *delay, *next;
        Mock *mock = userdata;
        int r;

        if (!sd_bus_message_is_method_call(m, NULL, NULL) || !path ||
            (!startswith(path, VHOSTSCSI_ROOT_PATH) && !startswith(path, "/org/freedesktop/systemd1")))
                return 0;

        r = call_log(m);
        if (r < 0)
                return r;

        if (asprintf(&key, "%s %s", sd_bus_message_get_member(m), path) < 0)
                return -ENOMEM;
        if (!json_object_object_get_ex(mock->answers, key, &answer) &&
            !json_object_object_get_ex(mock->answers, sd_bus_message_get_member(m), &answer)) {
                r = sd_bus_reply_method_errorf(m, SD_BUS_ERROR_UNKNOWN_METHOD, "the test has no answer for %s", key);
                return r < 0 ? r : 1;
        }

        if (!json_object_object_get_ex(answer, "delay", &delay))
                r = answer_send(m, answer);
        else if (json_object_get_int64(delay) >= 0)
                r = answer_later(mock, m, answer, json_object_get_uint64(delay));
        else {
                sd_bus_message_unref(mock->held);
                mock->held = sd_bus_message_ref(m);
        }
        if (r >= 0 && json_object_object_get_ex(answer, "next", &next))
                r = value_set(mock->answers, value_string(answer, "on"), json_object_get(next));

        return r < 0 ? r : 1;
}

/* ---- orders ---- */

static int order_signal(Mock *mock, json_object *order) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_signal(mock->bus, &m, value_string(order, "path"), value_string(order, "interface"), value_string(order, "signal"));
        if (r >= 0)
                r = message_append(m, value_string(order, "signature"), value_array(order, "args"));
        return r < 0 ? r : sd_bus_send(mock->bus, m, NULL);
}

static int order_perform(Mock *mock, const char *line) {
        _cleanup_json_ json_object *order = json_tokener_parse(line);
        json_object *v;
        int r = 0;

        if (!order)
                return -EINVAL;

        if (json_object_object_get_ex(order, "on", &v))
                r = value_set(mock->answers, json_object_get_string(v), json_object_get(order));
        else if (json_object_object_get_ex(order, "signal", &v))
                r = order_signal(mock, order);
        else if (json_object_object_get_ex(order, "own", &v))
                r = json_object_get_boolean(v) ? sd_bus_request_name(mock->bus, VHOSTSCSI_BUS_NAME, 0) :
                                                 sd_bus_release_name(mock->bus, VHOSTSCSI_BUS_NAME);
        else if (json_object_object_get_ex(order, "systemd", &v))
                r = sd_bus_request_name(mock->bus, "org.freedesktop.systemd1", 0);
        else if (json_object_object_get_ex(order, "answer", &v))
                r = mock->held ? answer_send(mock->held, v) : -ENOENT;
        else if (json_object_object_get_ex(order, "exit", &v))
                _exit(EXIT_SUCCESS);
        if (r < 0)
                return r;

        printf("{\"done\": %d}\n", ++mock->n_done);
        return 0;
}

static int on_input(sd_event_source *s _unused_, int fd, uint32_t revents _unused_, void *userdata) {
        Mock *mock = userdata;
        char buf[65536], *p, *end;
        ssize_t n;
        int r;

        n = read(fd, buf, sizeof buf);
        if (n <= 0)
                return sd_event_exit(mock->event, n < 0 ? negative_errno() : 0);

        p = realloc(mock->input, mock->n_input + (size_t) n + 1);
        if (!p)
                return -ENOMEM;
        mock->input = p;
        memcpy(p + mock->n_input, buf, (size_t) n);
        mock->n_input += (size_t) n;
        p[mock->n_input] = 0;

        while ((end = strchr(p, '\n'))) {
                *end = 0;
                r = order_perform(mock, p);
                if (r < 0) {
                        fprintf(stderr, "mock-daemon: %s: %s\n", p, strerror(-r));
                        return sd_event_exit(mock->event, r);
                }
                p = end + 1;
        }

        mock->n_input -= (size_t) (p - mock->input);
        memmove(mock->input, p, mock->n_input + 1);
        return 0;
}

int main(int argc, char **argv _unused_) {
        Mock mock = { .answers = json_object_new_object() };
        int r;

        setvbuf(stdout, NULL, _IOLBF, 0);

        r = sd_event_new(&mock.event);
        if (r >= 0)
                r = sd_bus_open_system(&mock.bus);
        if (r >= 0)
                r = sd_bus_attach_event(mock.bus, mock.event, 0);
        if (r >= 0)
                r = sd_bus_add_filter(mock.bus, NULL, on_message, &mock);
        if (r >= 0 && argc == 1)
                r = sd_bus_request_name(mock.bus, VHOSTSCSI_BUS_NAME, 0);
        if (r >= 0)
                r = sd_event_add_io(mock.event, NULL, STDIN_FILENO, EPOLLIN, on_input, &mock);
        if (r >= 0) {
                puts("{\"ready\": true}");
                r = sd_event_loop(mock.event);
        }

        sd_bus_message_unref(mock.held);
        sd_bus_flush_close_unref(mock.bus);
        sd_event_unref(mock.event);
        json_object_put(mock.answers);
        free(mock.input);

        if (r < 0)
                fprintf(stderr, "mock-daemon: %s\n", strerror(-r));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
