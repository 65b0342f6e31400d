/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "base/text.h"
#include "model/guest.h"

int guest_set_name(Guest *g, const char *name) {
        _cleanup_free_ char *excerpt = NULL;
        int r;

        r = text_excerpt(name, &excerpt);
        if (r < 0)
                return r;

        snprintf(g->name, sizeof g->name, "%s", excerpt);
        return 0;
}

int guest_describe(const Guest *g, char **ret) {
        char *s;

        if (g->pid == 0)
                s = strdup("A guest");
        else if (asprintf(&s, "Guest %s%s(pid %" PRIu32 ")", g->name, g->name[0] ? " " : "", g->pid) < 0)
                s = NULL;
        if (!s)
                return -ENOMEM;

        *ret = s;
        return 0;
}
