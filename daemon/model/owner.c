/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "base/parse.h"
#include "model/owner.h"

Owner *owner_new(const char *wwn, const char *key, const char *kind, const char *name, const char *uuid) {
        _cleanup_(owner_freep) Owner *o = calloc(1, sizeof *o);

        if (!o)
                return NULL;

        o->wwn = strdup(wwn);
        o->key = strdup(key);
        o->kind = strdup(strempty(kind));
        o->name = strdup(strempty(name));
        o->uuid = strdup(strempty(uuid));
        if (!o->wwn || !o->key || !o->kind || !o->name || !o->uuid)
                return NULL;

        return TAKE_PTR(o);
}

Owner *owner_free(Owner *o) {
        if (!o)
                return NULL;

        free(o->wwn);
        free(o->key);
        free(o->kind);
        free(o->name);
        free(o->uuid);
        free(o);
        return NULL;
}

bool owner_text_is_valid(const char *s) {
        return strlen(s) <= OWNER_TEXT_MAX && string_is_utf8(s) && !string_has_control(s);
}

bool owner_is(const Owner *o, const char *key, uint32_t uid) {
        return streq(o->key, key) && (uid == 0 || uid == o->uid);
}

int owner_describe(const Owner *o, char **ret) {
        const char *name = isempty(o->name) ? o->key : o->name;
        char pid[32] = "";
        char *s;

        if (o->pid > 0)
                snprintf(pid, sizeof pid, "pid %" PRIu32, o->pid);
        if (isempty(o->kind) && o->pid == 0)
                s = strdup(name);
        else if (asprintf(&s, "%s (%s%s%s)", name, o->kind, isempty(o->kind) || o->pid == 0 ? "" : ", ", pid) < 0)
                s = NULL;
        if (!s)
                return -ENOMEM;

        *ret = s;
        return 0;
}
