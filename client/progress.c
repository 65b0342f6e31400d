/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/ioctl.h>
#include <time.h>

#include "progress.h"
#include "text.h"

#define USEC_PER_SEC 1000000ULL
#define PATIENCE     USEC_PER_SEC
#define INTERVAL     (USEC_PER_SEC / 8)

bool progress_is_possible(void) {
        const char *term = getenv("TERM");

        return isatty(STDERR_FILENO) && !isempty(term) && !streq(term, "dumb");
}

static size_t progress_columns(void) {
        struct winsize ws = {};

        if (ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) >= 0 && ws.ws_col > 20)
                return ws.ws_col - 1U;

        return 79;
}

static void progress_draw(Progress *p, uint64_t now) {
        static const char *const round[] = { "⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏" };
        static const char *const plain[] = { "-", "\\", "|", "/" };
        _cleanup_free_ char *line = NULL, *shown = NULL;
        const char *mark;

        mark = text_is_utf8() ? round[p->turn % ELEMENTSOF(round)] : plain[p->turn % ELEMENTSOF(plain)];
        p->turn++;

        if (asprintf(&line, "%s %llu s %s%s%s%s", mark, (unsigned long long) ((now - p->since) / USEC_PER_SEC), p->text,
                     p->detail ? " (" : "", strempty(p->detail), p->detail ? ")" : "") < 0) {
                line = NULL;
                return;
        }

        shown = text_shorten(line, progress_columns());
        if (!shown)
                return;

        fprintf(stderr, "\r\033[K%s", shown);
        p->visible = true;
}

static int progress_on_timer(sd_event_source *s, uint64_t usec _unused_, void *userdata) {
        Progress *p = userdata;
        uint64_t now;
        int r;

        r = sd_event_now(sd_event_source_get_event(s), CLOCK_MONOTONIC, &now);
        if (r < 0)
                return r;

        progress_draw(p, now);

        r = sd_event_source_set_time(s, now + INTERVAL);
        if (r < 0)
                return r;

        return sd_event_source_set_enabled(s, SD_EVENT_ON);
}

int progress_start(Progress *p, sd_event *event, const char *text) {
        int r;

        *p = (Progress) {};

        p->text = text_escape(text);
        if (!p->text)
                return -ENOMEM;

        r = sd_event_now(event, CLOCK_MONOTONIC, &p->since);
        if (r < 0)
                return r;

        return sd_event_add_time(event, &p->timer, CLOCK_MONOTONIC, p->since + PATIENCE, INTERVAL / 2, progress_on_timer, p);
}

void progress_set_detail(Progress *p, const char *detail) {
        char *escaped;

        escaped = text_escape(detail);
        if (!escaped)
                return;

        free(p->detail);
        p->detail = escaped;
}

void progress_stop(Progress *p) {
        p->timer = sd_event_source_disable_unref(p->timer);

        if (p->visible)
                fputs("\r\033[K", stderr);

        free(p->text);
        free(p->detail);
        *p = (Progress) {};
}
