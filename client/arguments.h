/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"

/* The command line, parsed: what was asked for, before anything is done about it. */

typedef enum JsonMode {
        JSON_OFF,
        JSON_SHORT,
        JSON_PRETTY,
} JsonMode;

/* Options that only some verbs take, as bits: the verb table says which. */
typedef enum VerbOption {
        OPTION_FORCE = 1 << 0,
        OPTION_DRY_RUN = 1 << 1,
        OPTION_IF_GENERATION = 1 << 2,
        OPTION_TIMEOUT = 1 << 3,
        OPTION_LABEL = 1 << 4,
        OPTION_SEED = 1 << 5,
        OPTION_NEXUS = 1 << 6,
        OPTION_IF_ABSENT = 1 << 7,
        OPTION_LUN = 1 << 8,
        OPTION_READONLY = 1 << 9,
        OPTION_NAME = 1 << 10,
        OPTION_SERIAL = 1 << 11,
        OPTION_SHAREABLE = 1 << 12,
        OPTION_ATTRIBUTE = 1 << 13,
        OPTION_TARGET = 1 << 14,
        OPTION_PATH = 1 << 15,
        OPTION_ALL = 1 << 16,
        OPTION_PRUNE = 1 << 17,
        OPTION_PARTLY = 1 << 18,
        OPTION_PORTABLE = 1 << 19,
        OPTION_WAIT = 1 << 20,
        OPTION_GENERATION = 1 << 21,
        OPTION_WATCH = 1 << 22,

        /* Every call that changes something takes these. */
        OPTIONS_CHANGE = OPTION_DRY_RUN | OPTION_IF_GENERATION | OPTION_TIMEOUT,
        OPTIONS_LUN = OPTION_LUN | OPTION_READONLY | OPTION_NAME | OPTION_SERIAL | OPTION_SHAREABLE | OPTION_ATTRIBUTE |
                      OPTION_PATH,
} VerbOption;

typedef struct Arguments {
        const char *host;               /* -H; at most one of the two */
        const char *machine;            /* -M */
        JsonMode json;
        bool ask_password;
        bool pager;
        bool legend;
        bool full;

        unsigned given;                 /* VerbOption bits */
        uint64_t if_generation;
        uint64_t generation;
        uint64_t timeout;               /* µs */
        uint64_t wait;                  /* µs */
        uint32_t number;
        const char *label, *seed, *nexus, *name, *serial, *target;
        const char **attributes;        /* "key=value", NULL-terminated; the array is ours, the strings are argv's */
        size_t n_attributes;

        bool help, version;
        char **verb;                    /* the verb and its arguments, NULL-terminated; points into argv */
        int n_verb;
} Arguments;

/* argv is reordered. Returns 0, or the exit status of the complaint that was printed. */
int arguments_parse(Arguments *a, int argc, char **argv);
void arguments_done(Arguments *a);

/* "--dry-run": the name of the first of these options, for a complaint. */
const char *arguments_option_name(unsigned options);
