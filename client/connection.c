/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/errno.h"
#include "connection.h"

uint64_t monotonic_usec(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

static int start(const Arguments *a, sd_bus **ret) {
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        const char *address;
        int r;

        if (a->host)
                return sd_bus_open_system_remote(ret, a->host);
        if (a->machine)
                return sd_bus_open_system_machine(ret, a->machine);

        address = secure_getenv("VHOSTSCSI_BUS_ADDRESS");
        if (!address)
                return sd_bus_open_system(ret);

        r = sd_bus_new(&bus);
        if (r < 0)
                return r;

        r = sd_bus_set_address(bus, address);
        if (r >= 0)
                r = sd_bus_set_bus_client(bus, 1);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(bus);
        return 0;
}

int connection_open(const Arguments *a, uint64_t usec, sd_bus **ret) {
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        uint64_t until = 0, now = monotonic_usec();
        int r;

        if (__builtin_add_overflow(now, usec, &until))
                until = UINT64_MAX;

        r = start(a, &bus);
        while (r >= 0 && sd_bus_is_ready(bus) <= 0) {
                if (sd_bus_is_open(bus) <= 0)
                        return -ENOTCONN;

                r = sd_bus_process(bus, NULL);
                if (r != 0)
                        continue;

                now = monotonic_usec();
                if (now >= until)
                        return -ETIMEDOUT;
                r = sd_bus_wait(bus, until == UINT64_MAX ? UINT64_MAX : until - now);
        }
        if (r < 0)
                return r;

        *ret = TAKE_PTR(bus);
        return 0;
}
