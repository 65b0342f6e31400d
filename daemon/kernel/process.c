/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <sys/syscall.h>

#include "base/errno.h"
#include "base/fileio.h"
#include "base/parse.h"
#include "kernel/process.h"

#define STAT_MAX 4096
#define FIELD_STARTED 22        /* proc(5) */
#define FIELD_STATE 3           /* the first one behind the name */

/* The name, in brackets, may hold anything. */
static int parse_started(const char *stat, uint64_t *ret) {
        const char *p = strrchr(stat, ')');
        _cleanup_free_ char *number = NULL;

        if (!p)
                return -EINVAL;

        p++;
        for (int field = FIELD_STATE; field < FIELD_STARTED && p; field++)
                p = strchr(p + 1, ' ');
        if (!p)
                return -EINVAL;

        number = strndup(p + 1, strcspn(p + 1, " "));
        return number ? parse_u64(number, ret) : -ENOMEM;
}

static bool has_ended(int pidfd) {
        struct pollfd p = { .fd = pidfd, .events = POLLIN };

        return poll(&p, 1, 0) > 0;
}

int process_open(uint32_t pid, int *ret_pidfd, uint64_t *ret_started) {
        _cleanup_free_ char *stat = NULL;
        _cleanup_close_ int pidfd = -EBADF;
        uint64_t started = 0;
        char path[64];

        if (pid == 0 || pid > INT_MAX)
                return -ESRCH;

        pidfd = (int) syscall(SYS_pidfd_open, (pid_t) pid, 0);
        if (pidfd < 0)
                return errno == EINVAL ? -ESRCH : negative_errno();     /* EINVAL: a thread */

        snprintf(path, sizeof path, "/proc/%" PRIu32 "/stat", pid);
        if (read_attribute_at(AT_FDCWD, path, STAT_MAX, &stat) < 0 || parse_started(stat, &started) < 0)
                started = 0;

        /* Afterwards: while it has not ended, nobody else has its number. */
        if (has_ended(pidfd))
                return -ESRCH;

        *ret_pidfd = TAKE_FD(pidfd);
        *ret_started = started;
        return 0;
}
