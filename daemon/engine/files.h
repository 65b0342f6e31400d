/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"
#include "engine/refusal.h"

/* Files as devices: one is there while the filesystem on which it was exported is mounted where it was then. Whether the file itself is there
 * is seen by the pass that opens it: a look at a file may hang, and the daemon must not. */

#define FILES_SECTOR 512U       /* what fileio counts in */

typedef struct Files Files;

int files_new(Files **ret);                                     /* to watch the mount table while a LUN stands on a file */
Files *files_free(Files *f);                                    /* returns NULL */
DEFINE_CLEANUP(Files *, files_free);

/* Looks again for every file that a LUN stands on. */
void files_look(Engine *e);

/* Must files_look() be called when there is news of that disk? */
bool files_await(const Engine *e, dev_t devnum);

/* Of a new backstore: the filesystem that its file, the device, is on. */
int files_promise(Backstore *b, const Device *d);

/* A file that a caller named (a canonical source): *ret_source is its path without links, the device is the inventory's. */
int files_resolve(Engine *e, const char *source, char **ret_source, const Device **ret, Refusal *refusal);
