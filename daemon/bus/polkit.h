/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <systemd/sd-bus.h>

/* Who may do what. Asked in the handler, before anything but the arguments' form was looked at. */

typedef enum PolkitActions {
        POLKIT_MANAGE_TARGETS = 1 << 0,
        POLKIT_MANAGE_LUNS = 1 << 1,
        POLKIT_MANAGE_CONFIG = 1 << 2,
        POLKIT_ACQUIRE = 1 << 3,
        POLKIT_FORCE = 1 << 4,          /* on top of another one */
        _POLKIT_ACTIONS_END = 1 << 5,
} PolkitActions;

/* Asks for all these actions, one after the other. 1: go on. 0: the answer is on its way; the handler returns 1 at once and is run again
 * from its first line when it is there, so whatever it had looked up it looks up again. Negative, with error set: AccessDenied, or
 * InteractiveAuthorizationRequired if a person is there who could gain it and the message did not allow to ask.
 *
 * The subject is the caller's name on the bus, never a pid. Root and the daemon's own user pass without polkit, and are the only ones to
 * pass if there is none. wwn (may be NULL) is a canonical one, for the rules: action.lookup("target"). */
int polkit_authorize(sd_bus_message *m, unsigned actions, const char *wwn, sd_bus_error *error);

/* Who speaks: 0 for root, and for the daemon's own user. */
int polkit_find_user(sd_bus_message *m, uint32_t *ret);

/* Forgets all questions; their callers get no answer. For the end of the process. */
void polkit_stop(void);
