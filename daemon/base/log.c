/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"

static int max_level = LOG_INFO;
static int to_journal = -1;

void log_set_max_level(int level) {
        max_level = level;
}

void log_parse_environment(void) {
        static const char *const names[] = { "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug" };
        const char *e = getenv("VHSCSID_LOG_LEVEL");

        for (size_t i = 0; e && i < ELEMENTSOF(names); i++)
                if (streq(e, names[i]))
                        max_level = (int) i;
}

int log_full_errno(int level, int r, const char *format, ...) {
        char line[2048];
        va_list ap;
        int n;

        if (level > max_level)
                return r;

        if (to_journal < 0)
                to_journal = getenv("JOURNAL_STREAM") ? 1 : 0;

        va_start(ap, format);
        n = vsnprintf(line, sizeof line, format, ap);
        va_end(ap);
        if (n < 0)
                return r;

        /* One line a message, whatever a device name or a file brought along: the log is no place to forge lines in. */
        for (char *p = line; *p; p++)
                if ((unsigned char) *p < ' ' || *p == 0x7f)
                        *p = '?';

        if (to_journal)
                fprintf(stderr, "<%d>", level);
        if (r < 0)
                fprintf(stderr, "%s: %s\n", line, strerror(-r));
        else
                fprintf(stderr, "%s\n", line);

        return r;
}
