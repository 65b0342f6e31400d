/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "model/document.h"

/* saveconfig.json, what targetcli and targetctl save and restore (rtslib-fb; facts 5.2). Of it, we have a use for targets of the fabric vhost,
 * in their portal group 1, and the storage objects that those refer to: plugin block or fileio. */

#define SAVECONFIG_MAX (64U * 1024 * 1024)      /* bytes: 30 000 LUNs as targetcli writes them */
#define SAVECONFIG_DEPTH 64
#define SAVECONFIG_CONTAINERS (256U * 1024)     /* objects and arrays: five or six for each LUN */
#define SAVECONFIG_VALUES (1024U * 1024)        /* all together: 60 for each LUN */

/* The text is input: any bytes. On success *ret is a finished document whose sources are the device paths of the file, or file=/…. Names, serials,
 * numbers and readonly are as in the file, and so is each attribute that an admin may have set: what the kernel, or this service, would make
 * of it anyway is left out. All else that says something is in the notes; what says nothing is not: an empty list, a group of ALUA by the
 * default name, which rtslib does not restore, a link's random name. What the kernel takes from a disk (model/attribute.h) is one note, a
 * usual one. On -EINVAL (the form, or a contradiction) and -EFBIG (a limit), *ret_why
 * gets an allocated sentence of one line. Time and memory are linear in size. */
int saveconfig_parse(const char *text, size_t size, Document *ret, char **ret_why);

/* What "targetctl restore" takes, from rtslib-fb 2.1.75 on. Each source must have become the path of a device that is stable (path=, by-id=,
 * by-path=, dm-uuid= or bare), or of a file, and name and serial must have been filled in: by default they hang on the source, which is
 * another one now. What rtslib has no words for goes into the notes of d; a LUN that it would restore as something else is left out
 * (model/document.h). */
int saveconfig_format(Document *d, char **ret, size_t *ret_size);
