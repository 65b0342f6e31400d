/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kernel/hearsay.h"
#include "kernel/roll.h"
#include "kernel/uevents.h"

/* Which devices are to be read, and the reading of them; when, uevents.c says. Not for others. */

typedef struct Reader {
        Udev *udev;
        int root_fd;            /* /sys/dev/block */
        Roll start;             /* what there is when we start; empty afterwards */

        Hearsay hearsay;
        List urgent, unread, suspects;  /* Heard.link: each in one of them, or in none */
        size_t n_unread;
        bool lost;              /* what was to be read, or told, was not: everything is suspect */

        uevents_device_t on_device;
        uevents_wanted_t is_wanted;     /* may be NULL: everything is */
        void *userdata;
} Reader;

int reader_init(Reader *x, uevents_device_t on_device, void *userdata);
void reader_done(Reader *x);

/* What an event told of the device; is it wanted, it is urgent, else unread. */
int reader_note(Reader *x, UdevDevice *device, dev_t devnum, const HearsayEvent *event);

/* The next that reader_look_at_suspects() looks at, or wanted: urgent. All: nothing that was heard counts any more. */
int reader_suspect(Reader *x, dev_t devnum, bool wanted);
int reader_suspect_all(Reader *x);

/* The names of so many of them, in udev's database: what is wanted is read, the others are unread. */
void reader_look_at_suspects(Reader *x, unsigned max);

/* Reads, calls on_device, and takes it out of its list: one of the three, or its first elements. */
void reader_read_list(Reader *x, List *list);
void reader_read_some(Reader *x, List *list, size_t max);
void reader_read_unread(Reader *x, dev_t devnum);               /* that one, if it is in that list */
int reader_read_all(Reader *x);                                 /* what the kernel has, whatever list it is in */
int reader_read_device(Reader *x, dev_t devnum, Device **ret);  /* without on_device */

/* At a start: a look at all names, in the background; then what is wanted is read, and all else is unread. */
void reader_begin(Reader *x);
int reader_read_wanted(Reader *x);
