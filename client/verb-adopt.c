/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/parse.h"
#include "dbus/vhostscsi-names.h"
#include "exit-status.h"
#include "print.h"
#include "targetctl.h"
#include "value.h"
#include "verbs.h"
#include "view.h"

static int adopt(Client *c, const char *wwn, char **ret_path) {
        return client_call_manager(c, "Adopt", wwn, OPTIONS_CHANGE, ret_path);
}

static int add_result(json_object *results, const char *wwn, const char *path, int status) {
        json_object *o = json_object_new_object();
        int r;

        r = value_append(results, o);
        if (r >= 0)
                r = value_set_string(o, "wwn", wwn);
        if (r >= 0)
                r = path ? value_set_string(o, "path", path) : value_set(o, "path", NULL);
        if (r >= 0)
                r = value_set(o, "status", json_object_new_int(status));

        return r;
}

static int adopt_one(Client *c, const char *name) {
        _cleanup_free_ char *path = NULL;
        int r;

        if (!string_is_utf8(name))
                return client_refuse(c, VHOSTSCSI_ERROR("InvalidWwn"), "not UTF-8");

        r = adopt(c, name, &path);
        if (r != 0)
                return r;
        r = target_print_new(c, path);
        return r != 0 ? r : targetctl_note(c);
}

/* One after the other: what one refuses is no reason to leave the next. */
static int adopt_all(Client *c) {
        _cleanup_json_ json_object *targets = NULL, *results = NULL;
        bool dry = c->arguments->given & OPTION_DRY_RUN;
        size_t n = 0, n_refused = 0;
        int r, status = 0;

        r = view_load(c, &targets);
        if (r != 0)
                return r;

        results = json_object_new_array();
        if (!results)
                return -ENOMEM;

        for (size_t i = 0; i < value_length(targets); i++) {
                json_object *t = json_object_array_get_idx(targets, i);
                const char *wwn = value_string(t, "wwn");
                _cleanup_free_ char *path = NULL, *saved = c->what;

                if (!streq(value_string(t, "managed_by"), "foreign")) {
                        TAKE_PTR(saved);
                        continue;
                }

                /* A refusal names the target, of which the command line says nothing. */
                c->what = NULL;
                if (asprintf(&c->what, "adopt %s", wwn) < 0) {
                        c->what = TAKE_PTR(saved);
                        return -ENOMEM;
                }
                r = adopt(c, wwn, &path);
                SWAP(c->what, saved);
                if (r < 0 || r == EXIT_INTERRUPTED || r == EXIT_UNREACHABLE)
                        return r;

                n++;
                n_refused += r != 0;
                status = status ?: r;
                if (c->arguments->json == JSON_OFF && r == 0)
                        puts(wwn);
                r = add_result(results, wwn, path, r);
                if (r < 0)
                        return r;
        }

        if (c->arguments->json != JSON_OFF) {
                r = print_json(results, c->arguments->json);
                return r != 0 ? r : status;
        }
        if (n == 0)
                client_note("There is no foreign target.");
        else if (n_refused > 0)
                client_note("%zu of %zu foreign targets %s.", n - n_refused, n, dry ? "could be adopted" : "adopted");
        else if (dry)
                client_note("Dry run: nothing was changed.");
        if (n > n_refused) {
                r = targetctl_note(c);
                if (r < 0)
                        return r;
        }

        return status;
}

int verb_adopt(Client *c, char **argv) {
        bool all = c->arguments->given & OPTION_ALL;

        if (all == (argv[1] != NULL)) {
                fprintf(stderr, "vhscsictl: %s: name one target, or say --all. See 'vhscsictl --help'.\n", c->what);
                return EXIT_USAGE;
        }

        return all ? adopt_all(c) : adopt_one(c, argv[1]);
}
