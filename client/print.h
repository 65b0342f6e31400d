/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <json-c/json.h>

#include "arguments.h"

/* Standard output: tables as wide as the terminal, a pager, JSON, colours where somebody sees them. */

typedef enum Color {
        COLOR_NONE,
        COLOR_BOLD,
        COLOR_GREEN,
        COLOR_YELLOW,
        COLOR_RED,
        COLOR_GREY,
        _COLOR_MAX,
} Color;

/* Looks at the terminal. Before anything is printed. */
void print_init(const Arguments *a);
/* From here to print_done() standard output goes through the pager, if there is a terminal and the user wants one. */
int print_open_pager(void);
/* Flushes, and waits for the pager to be quit. -EIO, -ENOSPC, …: something did not get out. */
int print_done(void);

bool print_is_terminal(void);
const char *print_color(Color c);               /* "" where there are no colours */
Color print_state_color(const char *state);     /* of a target, a LUN, a daemon or a verdict */
void print_colored(Color c, const char *text);  /* escapes the text */
int print_json(json_object *v, JsonMode mode);

typedef enum ColumnFlags {
        COLUMN_RIGHT = 1 << 0,          /* numbers */
        COLUMN_SHRINKS = 1 << 1,        /* may lose its end on a narrow terminal */
} ColumnFlags;

typedef struct Column {
        const char *title;
        ColumnFlags flags;
} Column;

typedef struct Table Table;

Table *table_new(const Column *columns, size_t n_columns);     /* columns: of static life; NULL: no memory */
Table *table_free(Table *t);
DEFINE_CLEANUP(Table *, table_free);

/* Cells come row by row, from left to right; what is empty is shown as "-". Errors are kept until table_print(). */
void table_cell(Table *t, const char *text, Color color);
void table_cellf(Table *t, Color color, const char *format, ...) _printf_(3, 4);
int table_print(Table *t);
