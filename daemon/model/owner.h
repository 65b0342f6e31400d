/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"

/* Who has acquired a target: a virtual machine as a rule, whether its guest's driver runs at the moment or not. */

#define OWNER_TEXT_MAX 255U     /* bytes of each of the texts */

typedef struct Owner {
        char *wwn;              /* of the target */
        char *key;              /* by which it is acquired and released; of a libvirt domain its UUID */
        char *kind;             /* libvirt, …; "" if that was not said, and so for the next two */
        char *name;             /* for people */
        char *uuid;
        uint32_t pid;           /* whose end releases the target; 0: nobody's */
        uint32_t uid;           /* the user who acquired it; 0: root, or the service's own */
        uint64_t started;       /* when that process began, in clock ticks since the boot, which tells it from a later one; 0: not known */
} Owner;

/* Texts that are NULL are stored as "". */
Owner *owner_new(const char *wwn, const char *key, const char *kind, const char *name, const char *uuid);
Owner *owner_free(Owner *o);                                    /* returns NULL */
DEFINE_CLEANUP(Owner *, owner_free);

/* UTF-8 without control characters, at most OWNER_TEXT_MAX bytes. */
bool owner_text_is_valid(const char *s);

/* Is this the one of that key, and may this user speak for it? A key is no secret. */
bool owner_is(const Owner *o, const char *key, uint32_t uid);

/* "vm-a (libvirt, pid 4711)": the key where there is no name. */
int owner_describe(const Owner *o, char **ret);
