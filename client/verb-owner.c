/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/parse.h"
#include "dbus/vhostscsi-names.h"
#include "verbs.h"

/* Acquire and Release. A target that --seed names may be "-": it is whichever the seed makes. */
static int owner_call(Client *c, const char *member, char **argv, uint64_t options) {
        bool seeded = (c->arguments->given & OPTION_SEED) && streq(argv[1], "-");
        _cleanup_message_ sd_bus_message *m = NULL;
        _cleanup_free_ char *wwn = NULL;
        int r;

        if (!string_is_utf8(argv[2]))
                return client_refuse(c, SD_BUS_ERROR_INVALID_ARGS, "the owner is not UTF-8");

        r = client_name_target(c, seeded ? "" : argv[1], &wwn);
        if (r != 0)
                return r;
        r = client_new_call(c, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE, member, &m);
        if (r != 0)
                return r;
        r = sd_bus_message_append(m, "ss", wwn, argv[2]);
        return r < 0 ? r : client_change(c, m, options);
}

int verb_acquire(Client *c, char **argv) {
        return owner_call(c, "Acquire", argv, OPTIONS_CHANGE | OPTION_FORCE | OPTION_NAME | OPTION_PID | OPTION_SEED | OPTION_WAIT);
}

int verb_release(Client *c, char **argv) {
        return owner_call(c, "Release", argv, OPTIONS_CHANGE | OPTION_FORCE);
}
