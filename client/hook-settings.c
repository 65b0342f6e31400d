/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <stdlib.h>

#include "base/fileio.h"
#include "base/parse.h"
#include "bus-client.h"
#include "hook-settings.h"
#include "text.h"

#define SETTINGS_FILE SYSCONF_DIR "/vhscsid/libvirt-hook.conf"
#define SETTINGS_MAX 65536U
#define DEADLINE_USEC (UINT64_C(30) * 1000000)

#define WHITESPACE " \t\r"

const char *hook_root(void) {
        return strempty(secure_getenv("VHSCSICTL_HOOK_ROOT"));
}

static char *strip(char *s) {
        s += strspn(s, WHITESPACE);
        for (char *end = s + strlen(s); end > s && strchr(WHITESPACE, end[-1]); end--)
                end[-1] = 0;

        return s;
}

/* "deadline = 30s" */
static bool set(HookSettings *s, char *line) {
        char *value = strchr(line, '=');
        const char *name;
        int b;

        if (!value)
                return false;

        *value = 0;
        value = strip(value + 1);
        name = strip(line);
        if (streq(name, "deadline"))
                return text_parse_timespan(value, &s->deadline) >= 0;
        if (!streq(name, "strict"))
                return false;

        b = parse_boolean(value);
        if (b >= 0)
                s->strict = b;
        return b >= 0;
}

int hook_settings_load(HookSettings *ret, const Arguments *a) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        HookSettings s = { .deadline = DEADLINE_USEC };
        size_t size;
        int r, n = 0;

        if (asprintf(&path, "%s" SETTINGS_FILE, hook_root()) < 0) {
                path = NULL;
                return -ENOMEM;
        }

        r = read_file_at(AT_FDCWD, path, SETTINGS_MAX, &text, &size);
        if (r == -ENOMEM)
                return r;
        if (r < 0 && r != -ENOENT)
                client_note("%s: %s", path, strerror(-r));

        for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
                n++;
                line = strip(line);
                if (*line && *line != '#' && !set(&s, line))
                        client_note("%s:%d: not understood, and left out", path, n);
        }

        if (a->given & OPTION_WAIT)
                s.deadline = a->wait;
        if (a->given & OPTION_STRICT)
                s.strict = true;

        *ret = s;
        return 0;
}
