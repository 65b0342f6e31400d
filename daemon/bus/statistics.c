/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "base/log.h"
#include "bus/statistics.h"
#include "engine/statistics.h"

/* Counters from *i on, as long as they are of the same LUN. */
static int append_counters(sd_bus_message *reply, const Counter *counters, size_t n, size_t *i) {
        int64_t lun = *i < n ? counters[*i].lun : 0;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "{st}");
        for (; r >= 0 && *i < n && counters[*i].lun == lun; (*i)++)
                r = sd_bus_message_append(reply, "{st}", counters[*i].name, counters[*i].value);

        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_group(sd_bus_message *reply, const Counter *counters, size_t n, size_t *i) {
        char name[32] = "fabric";
        int r;

        if (counters[*i].lun != COUNTER_FABRIC)
                snprintf(name, sizeof name, "lun/%" PRIi64, counters[*i].lun);

        r = sd_bus_message_open_container(reply, 'e', "sa{st}");
        if (r >= 0)
                r = sd_bus_message_append(reply, "s", name);
        if (r >= 0)
                r = append_counters(reply, counters, n, i);

        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int answer(sd_bus_message *m, const Counter *counters, size_t n, bool whole) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        size_t i = 0;
        int r;

        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0 && !whole)
                r = append_counters(reply, counters, n, &i);
        else if (r >= 0) {
                r = sd_bus_message_open_container(reply, 'a', "{sa{st}}");
                while (r >= 0 && i < n)
                        r = append_group(reply, counters, n, &i);
                if (r >= 0)
                        r = sd_bus_message_close_container(reply);
        }

        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static void done(const Counter *counters, size_t n, int error, sd_bus_message *m, bool whole) {
        int r = error < 0 ? error : answer(m, counters, n, whole);

        if (r < 0)
                (void) sd_bus_reply_method_errno(m, r, NULL);
        sd_bus_message_unref(m);
}

static void on_target(const Counter *counters, size_t n, int error, void *userdata) {
        done(counters, n, error, userdata, true);
}

static void on_lun(const Counter *counters, size_t n, int error, void *userdata) {
        done(counters, n, error, userdata, false);
}

int bus_statistics_answer(Engine *e, sd_bus_message *m, const Target *t, const Lun *only) {
        int r;

        r = statistics_read(e, t, only, only ? on_lun : on_target, m);
        if (r < 0)
                return r;

        sd_bus_message_ref(m);
        return 1;
}
