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
        OPTION_FORCE = UINT64_C(1) << 0,
        OPTION_DRY_RUN = UINT64_C(1) << 1,
        OPTION_IF_GENERATION = UINT64_C(1) << 2,
        OPTION_TIMEOUT = UINT64_C(1) << 3,
        OPTION_LABEL = UINT64_C(1) << 4,
        OPTION_SEED = UINT64_C(1) << 5,
        OPTION_NEXUS = UINT64_C(1) << 6,
        OPTION_IF_ABSENT = UINT64_C(1) << 7,
        OPTION_LUN = UINT64_C(1) << 8,
        OPTION_READONLY = UINT64_C(1) << 9,
        OPTION_NAME = UINT64_C(1) << 10,
        OPTION_SERIAL = UINT64_C(1) << 11,
        OPTION_SHAREABLE = UINT64_C(1) << 12,
        OPTION_ATTRIBUTE = UINT64_C(1) << 13,
        OPTION_TARGET = UINT64_C(1) << 14,
        OPTION_PATH = UINT64_C(1) << 15,
        OPTION_ALL = UINT64_C(1) << 16,
        OPTION_PRUNE = UINT64_C(1) << 17,
        OPTION_PARTLY = UINT64_C(1) << 18,
        OPTION_PORTABLE = UINT64_C(1) << 19,
        OPTION_WAIT = UINT64_C(1) << 20,
        OPTION_GENERATION = UINT64_C(1) << 21,
        OPTION_WATCH = UINT64_C(1) << 22,
        OPTION_PID = UINT64_C(1) << 23,
        OPTION_BUS = UINT64_C(1) << 24,
        OPTION_ADDR = UINT64_C(1) << 25,
        OPTION_DEVNO = UINT64_C(1) << 26,
        OPTION_ADDRESS = UINT64_C(1) << 27,
        OPTION_BOOT = UINT64_C(1) << 28,
        OPTION_QUEUES = UINT64_C(1) << 29,
        OPTION_QEMU_VERSION = UINT64_C(1) << 30,
        OPTION_MIGRATABLE = UINT64_C(1) << 31,
        OPTION_SHELL = UINT64_C(1) << 32,
        OPTION_INSTALL = UINT64_C(1) << 33,
        OPTION_STRICT = UINT64_C(1) << 34,

        /* Every call that changes something takes these. */
        OPTIONS_CHANGE = OPTION_DRY_RUN | OPTION_IF_GENERATION | OPTION_TIMEOUT,
        OPTIONS_LUN = OPTION_LUN | OPTION_READONLY | OPTION_NAME | OPTION_SERIAL | OPTION_SHAREABLE | OPTION_ATTRIBUTE |
                      OPTION_PATH,

        /* The device of a guest, in QEMU's words and in libvirt's. */
        OPTIONS_DEVICE = OPTION_BOOT | OPTION_QUEUES | OPTION_QEMU_VERSION,
} VerbOption;

typedef struct Arguments {
        const char *host;               /* -H; at most one of the two */
        const char *machine;            /* -M */
        JsonMode json;
        bool ask_password;
        bool pager;
        bool legend;
        bool full;

        uint64_t given;                 /* VerbOption bits */
        uint64_t if_generation;
        uint64_t generation;
        uint64_t timeout;               /* µs */
        uint64_t wait;                  /* µs */
        uint32_t pid;
        uint32_t number;
        uint32_t boot, queues;
        const char *bus, *addr, *devno, *address, *qemu_version;
        const char *label, *seed, *nexus, *name, *serial, *target;
        const char **attributes;        /* "key=value", NULL-terminated; the array is ours, the strings are argv's */
        size_t n_attributes;

        bool help, version;
        bool is_hook;                   /* called by the name of libvirt's hook, and so by libvirt */
        char **verb;                    /* the verb and its arguments, NULL-terminated; points into argv */
        int n_verb;
} Arguments;

/* argv is reordered. Returns 0, or the exit status of the complaint that was printed. */
int arguments_parse(Arguments *a, int argc, char **argv);
void arguments_done(Arguments *a);

/* "--dry-run": the name of the first of these options, for a complaint. */
const char *arguments_option_name(uint64_t options);
