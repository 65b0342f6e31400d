/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "base/list.h"

/* The way back. <state>/history/ keeps, of each change of what is wanted, the files that it replaced:
 *   <generation>                   a symbolic link that leads nowhere: its text is "<time µs> <uid or -> <program or -> <reason>". As in
 *                                  /run/systemd/units, for it is made in one step, and is there whole or not at all.
 *   <generation>.<wwn>.json        the target's file as it was before: a hard link, so it costs no copy and no space
 *   <generation>.<wwn>.json -> -   there was no such target before
 * generation: the first that has the change. So the target as it was at generation G is in the oldest of its files with a higher number; if
 * there is none, it is as it is now.
 *
 * All of it is durable before the target's own file is touched, and a change that cannot be kept is not made (-ENOSPC, as if the file itself
 * could not be stored): a hole would make an older generation look like another one. What a crash between the two leaves says that a target
 * was before as it is now, which is true; history_new() drops it. Reading and pruning never touch the targets' files.
 *
 * Whatever else lies in the directory is left alone. */

#define HISTORY_MAX 64U         /* changes; the oldest go */
#define HISTORY_MERGE_USEC UINT64_C(60000000)   /* what nobody called for, and has the same reason, is one change for that long */
#define HISTORY_REASON_MAX 200U /* bytes */
#define HISTORY_NOBODY UINT32_MAX

typedef struct History History;

typedef struct HistoryEntry {
        List link;
        uint64_t generation;
        uint64_t time;          /* CLOCK_REALTIME µs */
        uint32_t uid;           /* HISTORY_NOBODY: no caller, the service itself */
        char *program;          /* of the caller, as the kernel calls it; "": not known */
        char *reason;           /* for people */
        char **targets;         /* the WWNs that it changed */
} HistoryEntry;

/* state_dir is there, and its targets/ (store.h). If the directory cannot be used that is said, there is no history, and nothing can be
 * kept: history_keep() says why. -ENOMEM. */
int history_new(const char *state_dir, History **ret);
History *history_free(History *h);                              /* returns NULL */
DEFINE_CLEANUP(History *, history_free);

/* What is kept from now on is one change, of that caller and for that reason. Nothing is written yet. */
int history_begin(History *h, uint32_t uid, const char *program, const char *reason);

/* Before the file of that target is replaced, made or removed by the change that has this generation. Durable when it returns 0; a second
 * time within one change it does nothing. */
int history_keep(History *h, const char *wwn, uint64_t generation);
/* After that failed: if the file is still the same, nothing has been kept. */
void history_settle(History *h, const char *wwn);

const char *history_problem(const History *h);                  /* why it cannot be used: a sentence for people; NULL: it can be */
const List *history_entries(const History *h);                  /* HistoryEntry.link, the oldest first */
uint64_t history_newest(const History *h);                      /* 0: there is none */

/* The file that the change of that generation replaced. 1; 0: there was no such target; -EBADMSG or another errno: it cannot be read. */
int history_read_file(const History *h, uint64_t generation, const char *wwn, char **ret, size_t *ret_size);
