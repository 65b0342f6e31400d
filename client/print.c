/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/errno.h"
#include "base/parse.h"
#include "print.h"
#include "text.h"

#define SHRUNK_MIN 10U          /* below that many columns a text says nothing */

static struct {
        bool terminal;
        bool colors;
        bool legend;
        bool full;
        bool want_pager;
        pid_t pager;
        size_t columns;         /* 0: as wide as it gets */
} out;

/* ---- the terminal ---- */

static size_t terminal_columns(void) {
        const char *e = getenv("COLUMNS");
        struct winsize ws = {};
        uint32_t n;

        if (e && parse_u32(e, &n) >= 0 && n > 0)
                return n;
        if (!out.terminal)
                return 0;
        if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) >= 0 && ws.ws_col > 0)
                return ws.ws_col;

        return 80;
}

void print_init(const Arguments *a) {
        const char *term = getenv("TERM");

        out.terminal = isatty(STDOUT_FILENO);
        out.colors = out.terminal && isempty(getenv("NO_COLOR")) && !isempty(term) && !streq(term, "dumb");
        out.legend = a->legend;
        out.full = a->full;
        out.want_pager = a->pager && out.terminal;
        out.columns = a->full ? 0 : terminal_columns();
}

bool print_is_terminal(void) {
        return out.terminal;
}

const char *print_color(Color c) {
        static const char *const sequences[_COLOR_MAX] = {
                [COLOR_NONE] = "\033[0m",
                [COLOR_BOLD] = "\033[1m",
                [COLOR_GREEN] = "\033[32m",
                [COLOR_YELLOW] = "\033[33m",
                [COLOR_RED] = "\033[31m",
                [COLOR_GREY] = "\033[90m",
        };

        assert(c < _COLOR_MAX);
        return out.colors ? sequences[c] : "";
}

Color print_state_color(const char *state) {
        static const struct {
                const char *state;
                Color color;
        } colors[] = {
                { "online", COLOR_GREEN },      { "running", COLOR_GREEN },     { "usable", COLOR_GREEN },
                { "ok", COLOR_GREEN },          { "attached", COLOR_GREEN },    { "incomplete", COLOR_YELLOW },
                { "waiting", COLOR_YELLOW },    { "attaching", COLOR_YELLOW },  { "draining", COLOR_YELLOW },
                { "removing", COLOR_YELLOW },   { "degraded", COLOR_YELLOW },   { "starting", COLOR_YELLOW },
                { "not-ready", COLOR_YELLOW },  { "suspended", COLOR_YELLOW },  { "read-only", COLOR_YELLOW },
                { "failed", COLOR_RED },        { "no-path", COLOR_RED },       { "gone", COLOR_RED },
                { "foreign", COLOR_GREY },      { "ignored", COLOR_GREY },      { "path-member", COLOR_GREY },
                { "in-use", COLOR_GREY },       { "held", COLOR_GREY },         { "unsuitable", COLOR_GREY },
        };

        for (size_t i = 0; i < ELEMENTSOF(colors); i++)
                if (streq(colors[i].state, state))
                        return colors[i].color;

        return COLOR_NONE;
}

void print_colored(Color c, const char *text) {
        _cleanup_free_ char *escaped = text_escape(text);

        if (c == COLOR_NONE)
                fputs(strempty(escaped), stdout);
        else
                printf("%s%s%s", print_color(c), strempty(escaped), print_color(COLOR_NONE));
}

/* ---- the pager ---- */

/* Somebody who may run vhscsictl by sudo need not be somebody who may start a shell from less. */
static bool pager_must_be_safe(void) {
        const char *e = getenv("SYSTEMD_PAGERSECURE");
        int b = e ? parse_boolean(e) : -EINVAL;

        if (b >= 0)
                return b > 0;

        return geteuid() != getuid() || getenv("SUDO_UID") || getenv("PKEXEC_UID") || getenv("DOAS_USER");
}

static const char *pager_from_environment(void) {
        const char *e = getenv("SYSTEMD_PAGER");

        return e ?: getenv("PAGER");
}

static _Noreturn void pager_run(const char *wanted, bool safe) {
        _cleanup_free_ char *copy = NULL;
        char buf[4096];
        ssize_t n;

        (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
        (void) setenv("LESS", getenv("SYSTEMD_LESS") ?: "FRSXMK", 1);
        (void) setenv("LESSCHARSET", text_is_utf8() ? "utf-8" : "ascii", 0);
        if (safe)
                (void) setenv("LESSSECURE", "1", 1);

        copy = wanted && !safe ? strdup(wanted) : NULL;
        if (copy) {
                char *words[32] = {}, *save = NULL;
                size_t i = 0;

                for (char *w = strtok_r(copy, " \t", &save); w && i + 1 < ELEMENTSOF(words); w = strtok_r(NULL, " \t", &save))
                        words[i++] = w;
                if (words[0])
                        execvp(words[0], words);
        }

        execlp("less", "less", (char *) NULL);
        if (!safe)
                execlp("more", "more", (char *) NULL);

        while ((n = read(STDIN_FILENO, buf, sizeof buf)) > 0)
                if (write(STDOUT_FILENO, buf, (size_t) n) != n)
                        break;
        _exit(EXIT_SUCCESS);
}

int print_open_pager(void) {
        const char *wanted = pager_from_environment();
        int fds[2];

        if (!out.want_pager || out.pager > 0 || (wanted && (!*wanted || streq(wanted, "cat"))))
                return 0;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return negative_errno();

        fflush(stdout);
        out.pager = fork();
        if (out.pager < 0) {
                int r = negative_errno();

                safe_close(fds[0]);
                safe_close(fds[1]);
                return r;
        }
        if (out.pager == 0) {
                /* Were the writing end open in here, there would never be an end of file. */
                safe_close(fds[1]);
                (void) dup2(fds[0], STDIN_FILENO);
                pager_run(wanted, pager_must_be_safe());
        }

        safe_close(fds[0]);
        if (dup2(fds[1], STDOUT_FILENO) < 0) {
                int r = negative_errno();

                safe_close(fds[1]);
                return r;
        }
        safe_close(fds[1]);

        /* Quitting the pager early is no failure of ours, and no reason to die before the terminal is ours again. */
        (void) signal(SIGPIPE, SIG_IGN);
        return 1;
}

int print_done(void) {
        int r = 0;

        if (fflush(stdout) != 0)
                r = negative_errno();
        else if (ferror(stdout))
                r = -EIO;

        if (out.pager > 0) {
                /* The pager ends when the last writing end of its pipe is closed. */
                (void) fclose(stdout);
                while (waitpid(out.pager, NULL, 0) < 0 && errno == EINTR)
                        ;
                out.pager = 0;
                return 0;
        }

        return r;
}

/* ---- JSON ---- */

int print_json(json_object *v, JsonMode mode) {
        int flags = JSON_C_TO_STRING_NOSLASHESCAPE;
        const char *s;

        assert(mode != JSON_OFF);

        if (mode == JSON_PRETTY)
                flags |= JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED;

        s = v ? json_object_to_json_string_ext(v, flags) : "null";
        if (!s)
                return -ENOMEM;

        puts(s);
        return 0;
}

/* ---- tables ---- */

typedef struct Cell {
        char *text;             /* escaped */
        Color color;
} Cell;

struct Table {
        const Column *columns;
        size_t n_columns;
        Cell *cells;
        size_t n_cells, room;
        int error;
};

Table *table_new(const Column *columns, size_t n_columns) {
        Table *t = malloc(sizeof *t);

        assert(n_columns > 0);

        if (t)
                *t = (Table) { .columns = columns, .n_columns = n_columns };

        return t;
}

Table *table_free(Table *t) {
        if (!t)
                return NULL;

        for (size_t i = 0; i < t->n_cells; i++)
                free(t->cells[i].text);
        free(t->cells);
        free(t);
        return NULL;
}

void table_cell(Table *t, const char *text, Color color) {
        char *escaped;

        if (t->n_cells == t->room) {
                size_t room = t->room > 0 ? t->room * 2 : 64;
                Cell *p = reallocarray(t->cells, room, sizeof *p);

                if (!p) {
                        t->error = -ENOMEM;
                        return;
                }
                t->cells = p;
                t->room = room;
        }

        escaped = text_escape(isempty(text) ? "-" : text);
        if (!escaped) {
                t->error = -ENOMEM;
                return;
        }

        t->cells[t->n_cells++] = (Cell) { escaped, color };
}

void table_cellf(Table *t, Color color, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(&text, format, ap);
        va_end(ap);
        if (r < 0) {
                text = NULL;
                t->error = -ENOMEM;
                return;
        }

        table_cell(t, text, color);
}

static void table_measure(const Table *t, size_t *widths) {
        size_t total = 0;

        for (size_t i = 0; i < t->n_columns; i++)
                widths[i] = out.legend ? text_width(t->columns[i].title) : 1;
        for (size_t i = 0; i < t->n_cells; i++)
                widths[i % t->n_columns] = MAX(widths[i % t->n_columns], text_width(t->cells[i].text));
        for (size_t i = 0; i < t->n_columns; i++)
                total += widths[i] + (i > 0);

        while (out.columns > 0 && total > out.columns) {
                size_t *widest = NULL;

                /* The widest gives first, so that short texts stay whole. */
                for (size_t i = 0; i < t->n_columns; i++)
                        if ((t->columns[i].flags & COLUMN_SHRINKS) && widths[i] > SHRUNK_MIN && (!widest || widths[i] > *widest))
                                widest = widths + i;
                if (!widest)
                        return;
                (*widest)--;
                total--;
        }
}

static int table_print_cell(const Table *t, size_t column, const Cell *cell, size_t width) {
        bool last = column + 1 == t->n_columns, right = t->columns[column].flags & COLUMN_RIGHT;
        _cleanup_free_ char *s = NULL;
        const char *on = cell->color == COLOR_NONE ? "" : print_color(cell->color);
        const char *off = cell->color == COLOR_NONE ? "" : print_color(COLOR_NONE);
        size_t w;
        int pad;

        /* Only a column that may lose its end is ever narrower than its text. */
        s = t->columns[column].flags & COLUMN_SHRINKS ? text_shorten(cell->text, width) : strdup(cell->text);
        if (!s)
                return -ENOMEM;

        w = text_width(s);
        pad = w < width ? (int) (width - w) : 0;

        if (right)
                printf("%*s%s%s%s", pad, "", on, s, off);
        else
                printf("%s%s%s%*s", on, s, off, last ? 0 : pad, "");
        putchar(last ? '\n' : ' ');
        return 0;
}

int table_print(Table *t) {
        _cleanup_free_ size_t *widths = NULL;
        int r;

        if (t->error < 0)
                return t->error;

        assert(t->n_cells % t->n_columns == 0);

        widths = calloc(t->n_columns, sizeof *widths);
        if (!widths)
                return -ENOMEM;
        table_measure(t, widths);

        for (size_t i = 0; out.legend && i < t->n_columns; i++) {
                const Cell title = { (char *) t->columns[i].title, COLOR_BOLD };

                r = table_print_cell(t, i, &title, widths[i]);
                if (r < 0)
                        return r;
        }

        for (size_t i = 0; i < t->n_cells; i++) {
                r = table_print_cell(t, i % t->n_columns, t->cells + i, widths[i % t->n_columns]);
                if (r < 0)
                        return r;
        }

        return 0;
}
