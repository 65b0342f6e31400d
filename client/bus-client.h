/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "arguments.h"
#include "polkit-agent.h"

/* The connection to the daemon, and what is said when it refuses.
 *
 * The functions that return int return 0 (or more, where said) on success, a negative errno for a failure of our own, of which nothing
 * has been said yet, and, where noted "or status", the exit status of a refusal that has been printed. */

typedef struct Client {
        const Arguments *arguments;
        char *what;             /* the command line as it is called in messages */
        sd_event *event;
        sd_bus *bus;
        PolkitAgent agent;
        struct Watch *watch;    /* watch.h; NULL: a call that the daemon does not live to answer is a failure like others */
        bool interrupted;       /* Ctrl-C came while the event loop ran; stays, and ends the next call too */
        sd_event_source *sigint, *sigterm;
        sigset_t signals;       /* those blocked outside of the loop */
} Client;

/* Who is waited for, how long, and whether polkit may want to know who is at the terminal. */
typedef enum CallKind {
        CALL_READ,
        CALL_CHANGE,
        CALL_ACQUIRE,           /* a change that ends with its caller */
} CallKind;

#define _cleanup_message_ _cleanup_(sd_bus_message_unrefp)
#define _cleanup_slot_    _cleanup_(sd_bus_slot_unrefp)
#define _cleanup_error_   _cleanup_(sd_bus_error_free)
#define _cleanup_source_  _cleanup_(sd_event_source_disable_unrefp)

int client_connect(Client *c);                                  /* or status; fine if it is connected */
int client_open(Client *c, uint64_t usec);                      /* the same, in that time, and nothing is said of a failure */
void client_done(Client *c);

/* Between the two, SIGINT and SIGTERM set 'interrupted' and wake the event loop; outside, they end the program. None is lost on the way.
 * The end is due even if the beginning failed. */
int client_interruptible_begin(Client *c);
void client_interruptible_end(Client *c);

/* Prints "vhscsictl: <what>: <message>. <hint>." and returns the error's exit status. */
int client_refuse(Client *c, const char *error, const char *message);
/* Or status: r tells of a broken connection, and that was said. */
int client_explain(Client *c, int r);
/* A note for people, on stderr. */
void client_note(const char *format, ...) _printf_(1, 2);

/* A new call to the daemon, after connecting to it. Or status. */
int client_new_call(Client *c, const char *path, const char *interface, const char *member, sd_bus_message **ret);
/* Appends the trailing a{sv}: those of the given options (VerbOption) that the command line has. target: for OPTION_TARGET. */
int client_append_options(Client *c, sd_bus_message *m, uint64_t options, const char *target);
/* Sends it and waits, with a progress line if that takes long. ret_reply may be NULL. Or status. -EAGAIN, if somebody watches: the daemon is
 * gone, or going; ask again when it is there. */
int client_call(Client *c, sd_bus_message *m, CallKind kind, sd_bus_message **ret_reply);

/* Appends the options, sends it and waits; the reply is not looked at. Says so if that was a dry run. Or status. */
int client_change(Client *c, sd_bus_message *m, CallKind kind, uint64_t options);

/* A member of the manager with the signature (s, a{sv}) -> o that changes something. ret_path: the object. Or status. */
int client_call_manager(Client *c, const char *member, const char *argument, uint64_t options, char **ret_path);

/* The path of the target with that WWN, in any form that the daemon takes, or with that label if just one has it. Or status. */
int client_find_target(Client *c, const char *name, char **ret_path);
/* A new call to a member of that target. Or status. */
int client_new_target_call(Client *c, const char *name, const char *member, sd_bus_message **ret);

/* What to call a target in a call that takes its name: a label stands for one that is there, a WWN may be that of one to come. Or status. */
int client_name_target(Client *c, const char *name, char **ret_wwn);

/* Does this look as if a WWN was meant? Such a text is never taken for a label. */
bool wwn_is_meant(const char *s);

/* "…/target/naa_2e5001/lun/3" -> "naa.5001", 3. lun is -1 for a target's path. -EINVAL: neither. */
int path_parse(const char *path, char **ret_wwn, int64_t *ret_lun);
