/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"

/* A virtual machine as the host sees it: a process, and what people call it. */

#define GUEST_NAME_SIZE 72      /* text_excerpt() */

typedef struct Guest {
        uint32_t pid;           /* 0: none is known */
        char name[GUEST_NAME_SIZE];     /* of the guest, or else of the process; printable */
} Guest;

/* Any bytes; what is not printable is replaced. -ENOMEM: nothing is changed. */
int guest_set_name(Guest *g, const char *name);

/* For the start of a sentence: "Guest web1 (pid 4711)"; "A guest" where none is known. */
int guest_describe(const Guest *g, char **ret);
