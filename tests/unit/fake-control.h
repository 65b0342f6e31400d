/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "fake-lio.h"

/* Between fake-cfs.c, which is called as the kernel is, and fake-control.c, which the tests use to arrange things. */

typedef struct Waiting Waiting;
typedef struct Line Line;

struct Line {
        Line *next;
        char *text;
};

struct Waiting {                /* a call inside the kernel that cannot go on; in the arena */
        Waiting *next;
        pid_t pid;
        FakeCall call;
        char *path, *text;
        Node *locks;            /* the directory that it keeps locked */
        Node *writes;           /* the item that it keeps from being removed */
        Block *block;           /* the device it waits for; NULL: for fake_release() or for a lock */
        bool held;              /* until it is let go, not by another's lock */
        bool released;
};

typedef struct Fault {
        unsigned calls, nth, times;
        int error;
        char *pattern;
} Fault;

typedef struct Hang {
        unsigned calls;
        char *pattern;
} Hang;

typedef struct Control {
        Fault faults[64];
        Hang hangs[16];
        unsigned n_faults, n_hangs;
        unsigned counts[10];
        Line *journal, **journal_end;
        Waiting *waiting;
        long deadline;          /* mutating calls until death, -1: none */
        FakeDeath death;
        bool dead;
} Control;

extern Control *control;

void fake_lock(void);
void fake_unlock(void);
void fake_pause(void);          /* lets others in for a moment */

unsigned call_index(FakeCall call);
const char *call_name(FakeCall call);
void journal_add(FakeCall call, const char *path, const char *text, int result);
/* Counts the call. A negative result is the call's: an injected error, or death. */
int call_begin(FakeCall call, const char *path);
bool call_hangs(FakeCall call, const char *path);

Waiting *waiting_new(FakeCall call, const char *path, const char *text);
void waiting_free(Waiting *w);          /* lets go of what it locks */
/* fake-cfs.c: does what a call of a killed process still does when it gets on. */
void call_finish(FakeCall call, const char *path, const char *text);
