/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/parse.h"
#include "connection.h"
#include "dbus/vhostscsi-names.h"
#include "exit-status.h"
#include "verbs.h"
#include "watch.h"

/* Acquire and Release. A target that --seed names may be "-": it is whichever the seed makes. */
static int owner_call(Client *c, const char *member, char **argv, CallKind kind, uint64_t options) {
        bool seeded = (c->arguments->given & OPTION_SEED) && streq(argv[1], "-");
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_free_ char *wwn = NULL;
        int r;

        if (!string_is_utf8(argv[2]))
                return client_refuse(c, SD_BUS_ERROR_INVALID_ARGS, "the owner is not UTF-8");

        r = client_name_target(c, seeded ? "" : argv[1], &wwn);
        if (r != 0)
                return r;
        r = client_new_call(c, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE, member, &m);
        if (r != 0)
                return r;
        r = sd_bus_message_append(m, "ss", wwn, argv[2]);
        return r < 0 ? r : client_change(c, m, kind, options);
}

/* For what is left of the time, a daemon that leaves meanwhile is asked again: what it has given is given, and is so a second time. */
static int acquire_patiently(Client *c, char **argv, uint64_t options) {
        const Arguments *given = c->arguments;
        _cleanup_(watch_done) Watch w = { .client = c };
        uint64_t since, gone;
        Arguments left = *given;
        int r;

        r = client_connect(c);
        if (r != 0)
                return r;
        r = watch_daemon(&w);
        if (r >= 0)
                r = watch_limit(&w, given->wait);
        if (r < 0)
                return client_explain(c, r);

        c->watch = &w;
        c->arguments = &left;
        since = monotonic_usec();
        for (;;) {
                w.news = false;
                gone = monotonic_usec() - since;
                left.wait = given->wait > gone ? given->wait - gone : 0;
                r = owner_call(c, "Acquire", argv, CALL_ACQUIRE, options);
                if (r != -EAGAIN)
                        break;

                if (w.over)
                        r = client_refuse(c, SD_BUS_ERROR_NO_REPLY, "the daemon left, and was not back in time");
                else {
                        r = watch_run(&w, "the daemon is not there");
                        if (r >= 0 && !c->interrupted)
                                continue;
                        r = r < 0 ? client_explain(c, r) : EXIT_INTERRUPTED;
                }
                break;
        }

        c->arguments = given;
        return r;
}

int verb_acquire(Client *c, char **argv) {
        uint64_t options = OPTIONS_CHANGE | OPTION_FORCE | OPTION_NAME | OPTION_PID | OPTION_SEED | OPTION_WAIT;

        return c->arguments->given & OPTION_WAIT ? acquire_patiently(c, argv, options) : owner_call(c, "Acquire", argv, CALL_ACQUIRE, options);
}

int verb_release(Client *c, char **argv) {
        return owner_call(c, "Release", argv, CALL_CHANGE, OPTIONS_CHANGE | OPTION_FORCE);
}
