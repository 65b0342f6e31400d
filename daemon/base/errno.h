/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <assert.h>
#include <errno.h>
#include <stdbool.h>

/* The errno of the call before, as a negative number that is never 0. To be used on the very next line. */
static inline int negative_errno(void) {
        int e = errno;

        return e > 0 ? -e : -EIO;
}

/* The device went away between two lines: a driver may answer any of these for that. */
static inline bool errno_is_device_absent(int r) {
        return r == -ENODEV || r == -ENXIO || r == -ENOENT;
}
