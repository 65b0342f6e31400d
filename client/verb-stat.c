/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <signal.h>
#include <time.h>

#include "dbus/vhostscsi-names.h"
#include "exit-status.h"
#include "print.h"
#include "text.h"
#include "verbs.h"
#include "view.h"

static const struct timespec interval = { .tv_sec = 1 };

typedef struct Sample {
        json_object *targets;   /* [{ "wwn", "statistics": { "fabric": {}, "lun/0": {} } }] */
        uint64_t at;            /* CLOCK_MONOTONIC, ns */
} Sample;

static void sample_done(Sample *s) {
        json_object_put(s->targets);
        *s = (Sample) {};
}

static uint64_t now_ns(void) {
        struct timespec t;

        (void) clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t) t.tv_sec * UINT64_C(1000000000) + (uint64_t) t.tv_nsec;
}

/* Or status. */
static int sample_add(Client *c, json_object *target, json_object *targets) {
        _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_json_ json_object *entry = json_object_new_object();
        json_object *statistics = NULL;
        int r;

        if (!entry)
                return -ENOMEM;

        r = client_new_call(c, value_string(target, "path"), VHOSTSCSI_TARGET_INTERFACE, "GetStatistics", &m);
        if (r != 0)
                return r;
        r = client_call(c, m, CALL_READ, &reply);
        if (r != 0)
                return r;
        if (!sd_bus_message_has_signature(reply, "a{sa{st}}"))
                return -EBADMSG;
        r = value_read(reply, &statistics);
        if (r < 0)
                return r;

        r = value_set(entry, "statistics", statistics);
        if (r >= 0)
                r = value_set_string(entry, "wwn", value_string(target, "wwn"));
        if (r >= 0)
                r = value_append(targets, TAKE_PTR(entry));
        return r < 0 ? r : 0;
}

/* Of the target that the user named, or of all. Or status. */
static int sample_take(Client *c, const char *name, Sample *ret) {
        _cleanup_json_ json_object *targets = NULL;
        _cleanup_(sample_done) Sample s = {};
        json_object *only = NULL;
        int r;

        r = view_load(c, &targets);
        if (r != 0)
                return r;
        if (name) {
                r = view_find_target(c, targets, name, &only);
                if (r != 0)
                        return r;
                if (!only)
                        return client_refuse(c, VHOSTSCSI_ERROR("NotFound"), "there is no such target");
        }

        s.targets = json_object_new_array();
        if (!s.targets)
                return -ENOMEM;
        for (size_t i = 0; i < value_length(targets); i++) {
                json_object *t = json_object_array_get_idx(targets, i);

                if (only && t != only)
                        continue;
                r = sample_add(c, t, s.targets);
                if (r != 0)
                        return r;
        }

        s.at = now_ns();
        *ret = s;
        s = (Sample) {};
        return 0;
}

/* The same counters in an older sample; NULL: there were none. */
static json_object *sample_find(const Sample *s, const char *wwn, const char *group) {
        for (size_t i = 0; i < value_length(s->targets); i++) {
                json_object *t = json_object_array_get_idx(s->targets, i), *statistics = NULL, *found = NULL;

                if (!streq(value_string(t, "wwn"), wwn))
                        continue;
                if (json_object_object_get_ex(t, "statistics", &statistics))
                        (void) json_object_object_get_ex(statistics, group, &found);
                return found;
        }

        return NULL;
}

/* The counter, or, with something to compare it to, what was added to it in a second. */
static uint64_t counter(json_object *now, json_object *before, uint64_t elapsed, const char *name) {
        uint64_t value = value_number(now, name), old = value_number(before, name);

        if (elapsed == 0)
                return value;

        /* Less than before: another guest. New ones are only known from here on. */
        return before && value >= old ? (uint64_t) ((double) (value - old) * 1e9 / (double) elapsed + 0.5) : 0;
}

static void print_row(Table *table, const char *wwn, const char *group, json_object *now, json_object *before, uint64_t elapsed) {
        bool fabric = streq(group, "fabric");
        const char *lun = startswith(group, "lun/");
        char size[TEXT_SIZE_MAX];

        table_cell(table, wwn, COLOR_NONE);
        table_cell(table, fabric ? "all" : lun ? lun : group, COLOR_NONE);
        table_cellf(table, COLOR_NONE, "%" PRIu64, counter(now, before, elapsed, fabric ? "requests" : "commands"));
        text_format_size(counter(now, before, elapsed, "read-bytes"), size);
        table_cell(table, size, COLOR_NONE);
        text_format_size(counter(now, before, elapsed, "written-bytes"), size);
        table_cell(table, size, COLOR_NONE);

        /* Only vhscsi counts these, and not by LUNs. */
        if (!fabric) {
                table_cell(table, NULL, COLOR_NONE);
                table_cell(table, NULL, COLOR_NONE);
                return;
        }
        table_cellf(table, counter(now, before, elapsed, "errors") > 0 ? COLOR_YELLOW : COLOR_NONE, "%" PRIu64,
                    counter(now, before, elapsed, "errors"));
        table_cellf(table, COLOR_NONE, "%" PRIu64, value_number(now, "in-flight"));
}

static int sample_print(const Sample *s, const Sample *before) {
        static const Column totals[] = {
                { "TARGET", 0 },               { "LUN", COLUMN_RIGHT },    { "OPS", COLUMN_RIGHT },       { "READ", COLUMN_RIGHT },
                { "WRITTEN", COLUMN_RIGHT },   { "ERRORS", COLUMN_RIGHT }, { "IN FLIGHT", COLUMN_RIGHT },
        };
        static const Column rates[] = {
                { "TARGET", 0 },               { "LUN", COLUMN_RIGHT },      { "OPS/S", COLUMN_RIGHT },     { "READ/S", COLUMN_RIGHT },
                { "WRITTEN/S", COLUMN_RIGHT }, { "ERRORS/S", COLUMN_RIGHT }, { "IN FLIGHT", COLUMN_RIGHT },
        };
        _cleanup_(table_freep) Table *table = table_new(before ? rates : totals, ELEMENTSOF(totals));

        if (!table)
                return -ENOMEM;

        for (size_t i = 0; i < value_length(s->targets); i++) {
                json_object *t = json_object_array_get_idx(s->targets, i), *statistics = NULL;
                const char *wwn = value_string(t, "wwn");

                if (!json_object_object_get_ex(t, "statistics", &statistics))
                        continue;
                json_object_object_foreach(statistics, group, counters)
                        print_row(table, wwn, group, counters, before ? sample_find(before, wwn, group) : NULL,
                                  before ? s->at - before->at : 0);
        }

        return table_print(table);
}

static int sample_show(Client *c, const Sample *s, const Sample *before) {
        if (c->arguments->json != JSON_OFF)
                return print_json(s->targets, c->arguments->json);

        return sample_print(s, before);
}

/* A second's worth each second, until the user has seen enough. Or status. */
static int watch(Client *c, const char *name) {
        _cleanup_(sample_done) Sample before = {};
        sigset_t enough;
        int r;

        sigemptyset(&enough);
        sigaddset(&enough, SIGINT);
        sigaddset(&enough, SIGTERM);
        if (sigprocmask(SIG_BLOCK, &enough, NULL) < 0)
                return -errno;

        r = sample_take(c, name, &before);
        if (r != 0)
                return r;

        for (;;) {
                _cleanup_(sample_done) Sample s = {};

                if (c->interrupted || sigtimedwait(&enough, NULL, &interval) >= 0)
                        return 0;
                r = sample_take(c, name, &s);
                if (r != 0)
                        return r;
                r = sample_show(c, &s, &before);
                if (r < 0)
                        return r;
                /* Somebody may be reading this through a pipe, as it happens. */
                if (fflush(stdout) != 0)
                        return -EIO;

                sample_done(&before);
                before = s;
                s = (Sample) {};
        }
}

int verb_stat(Client *c, char **argv) {
        _cleanup_(sample_done) Sample s = {};
        int r;

        if (c->arguments->given & OPTION_WATCH)
                return watch(c, argv[1]);

        r = sample_take(c, argv[1], &s);
        if (r != 0)
                return r;
        if (c->arguments->json == JSON_OFF) {
                r = print_open_pager();
                if (r < 0)
                        return r;
        }

        return sample_show(c, &s, NULL);
}
