/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "dbus/vhostscsi-names.h"
#include "exit-status.h"
#include "print.h"
#include "verbs.h"
#include "view.h"
#include "watch.h"

#define SILENT_USEC UINT64_C(1000000)

/* Of the end of these the kernel tells nobody: not of a guest that goes (vhost_scsi), of a process, of a node or of a module. */
static bool is_silent(json_object *result) {
        json_object *problems = value_array(result, "problems");
        static const char *const codes[] = { "in-use", "no-node", "no-module" };

        for (size_t i = 0; i < value_length(problems); i++)
                for (size_t k = 0; k < ELEMENTSOF(codes); k++)
                        if (streq(value_string(json_object_array_get_idx(problems, i), "code"), codes[k]))
                                return true;

        return false;
}

/* { "ready": …, "problems": [ { "code": …, "detail": … } ] }. Or status. */
static int check(Client *c, const char *wwn, json_object **ret) {
        _cleanup_json_ json_object *result = json_object_new_object(), *problems = json_object_new_array(), *raw = NULL;
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        int ready, r;

        if (!result || !problems)
                return -ENOMEM;

        r = client_new_call(c, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE, "Check", &m);
        if (r != 0)
                return r;
        r = sd_bus_message_append(m, "sa{sv}", wwn, 0);
        if (r < 0)
                return r;
        r = client_call(c, m, CALL_READ, &reply);
        if (r != 0)
                return r;
        r = sd_bus_message_read(reply, "b", &ready);
        if (r >= 0)
                r = value_read(reply, &raw);
        if (r >= 0)
                r = value_set(result, "ready", json_object_new_boolean(ready));

        for (size_t i = 0; r >= 0 && i < value_length(raw); i++) {
                json_object *pair = json_object_array_get_idx(raw, i), *problem = json_object_new_object();

                if (!problem)
                        return -ENOMEM;
                r = value_append(problems, problem);
                if (r >= 0)
                        r = value_set_string(problem, "code", strempty(json_object_get_string(json_object_array_get_idx(pair, 0))));
                if (r >= 0)
                        r = value_set_string(problem, "detail", strempty(json_object_get_string(json_object_array_get_idx(pair, 1))));
        }
        if (r >= 0)
                r = value_set(result, "problems", TAKE_PTR(problems));
        if (r < 0)
                return r;

        *ret = TAKE_PTR(result);
        return 0;
}

static int print_problems(json_object *problems) {
        static const Column columns[] = { { "PROBLEM", 0 }, { "DETAIL", COLUMN_SHRINKS } };
        _cleanup_(table_freep) Table *table = table_new(columns, ELEMENTSOF(columns));

        if (!table)
                return -ENOMEM;

        for (size_t i = 0; i < value_length(problems); i++) {
                json_object *p = json_object_array_get_idx(problems, i);

                table_cell(table, value_string(p, "code"), COLOR_RED);
                table_cell(table, value_string(p, "detail"), COLOR_NONE);
        }

        return table_print(table);
}

static int print_result(const Watch *w, json_object *result, const char *wwn) {
        Client *c = w->client;
        int r = 0;

        if (c->arguments->json != JSON_OFF)
                r = print_json(result, c->arguments->json);
        else if (!value_boolean(result, "ready"))
                r = print_problems(value_array(result, "problems"));
        else if (print_is_terminal())
                printf("A guest can be started on %s.\n", wwn);
        if (r < 0 || value_boolean(result, "ready"))
                return r;

        fflush(stdout);
        return client_refuse(c, w->over ? VHOSTSCSI_ERROR("TimedOut") : VHOSTSCSI_ERROR("NotReady"),
                             w->over ? "still not ready for a guest" : "not ready for a guest");
}

/* Asked again when the daemon tells of a change, or leaves and comes back; by the clock only while something stands in the way of which nobody
 * tells. */
int verb_ready(Client *c, char **argv) {
        bool wait = c->arguments->given & OPTION_WAIT;
        _cleanup_(watch_done) Watch w = { .client = c };
        _cleanup_json_ json_object *result = NULL;
        _cleanup_free_ char *wwn = NULL;
        int r;

        r = client_connect(c);
        if (r == 0)
                r = client_name_target(c, argv[1], &wwn);
        if (r != 0)
                return r;

        /* Before the first question, so that no news falls between it and the waiting. */
        if (wait) {
                r = watch_targets(&w);
                if (r >= 0)
                        r = watch_limit(&w, c->arguments->wait);
                if (r < 0)
                        return client_explain(c, r);
                c->watch = &w;
        }

        for (;;) {
                const char *detail = "the daemon is not there";

                w.news = false;
                json_object_put(TAKE_PTR(result));
                r = check(c, wwn, &result);
                if (r != 0 && r != -EAGAIN)
                        return r;
                if (r == 0 && (!wait || value_boolean(result, "ready") || w.over))
                        return print_result(&w, result, wwn);
                if (r == 0)
                        detail = value_string(json_object_array_get_idx(value_array(result, "problems"), 0), "detail");
                else if (w.over)
                        return client_refuse(c, SD_BUS_ERROR_NO_REPLY, "the daemon left, and was not back in time");

                r = r == 0 && is_silent(result) ? watch_again(&w, SILENT_USEC) : 0;
                if (r >= 0)
                        r = watch_run(&w, detail);
                if (r < 0)
                        return client_explain(c, r);
                if (c->interrupted)
                        return EXIT_INTERRUPTED;
        }
}
