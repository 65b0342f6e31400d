/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "model/document.h"
#include "store/json.h"

/* What one note says is not kept. A file may have a million such things: a note names the first few and counts the others. */

#define LOST_NAMED 16

typedef struct Lost {
        char *text;             /* "queue=5 (why), other" */
        size_t n;
} Lost;

void lost_done(Lost *l);

/* why may be NULL. Of a long text, the beginning is named. */
int lost_add(Lost *l, const char *what, const char *why);
/* "KEY=VALUE"; of a value that is no text or number, the key says enough. */
int lost_add_member(Lost *l, const char *key, Json *v, const char *why);
/* All that is in it, if it is an object; zeroes say nothing. */
int lost_add_members(Lost *l, Json *o, const char *why);

/* "what: text and 7 more"; nothing if nothing was added. */
int lost_say(const Lost *l, Document *d, const char *object, const char *what);
