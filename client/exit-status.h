/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the exit status of vhscsictl says. One number for each kind of refusal, so that a script need not read messages; the numbers are
 * documented in vhscsictl(1) and never change their meaning. */

enum {
        EXIT_USAGE = 2,
        EXIT_UNREACHABLE = 28,  /* no bus, or nobody owns the daemon's name */
        EXIT_NO_REPLY = 29,     /* the call was sent, its outcome is unknown */
        EXIT_INCOMPLETE = 40,   /* status: something wanted is not up yet, or still coming down */
        EXIT_DEGRADED = 41,     /* status: all is up, but not as it should be */
        EXIT_FAILED = 42,       /* status: a LUN or a target has failed */
        EXIT_STARTING = 43,     /* status: the daemon is still starting */
        EXIT_FINDINGS = 44,     /* doctor: something is set up in a way that will hurt */
        EXIT_CHANGES = 45,      /* plan: there is something to do */
        EXIT_NOTICES = 46,      /* plan, apply, import, rollback, dump: done but for what was said */
        EXIT_NOTHING = 47,      /* import: nothing in it for us */
        EXIT_INTERRUPTED = 130, /* SIGINT while waiting for a reply, as a shell would report it */
};

/* Errors that only the client knows. Not names of the bus. */
#define VHSCSICTL_ERROR_AMBIGUOUS "vhscsictl.Ambiguous"

typedef struct ExitStatus {
        const char *error;      /* the D-Bus error's name */
        int status;
        const char *hint;       /* what to do next: a sentence, or NULL */
} ExitStatus;

/* Never NULL: an error that the table does not name is a general failure, 1. */
const ExitStatus *exit_status_for_error(const char *error);
