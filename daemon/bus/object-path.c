/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "base/parse.h"
#include "bus/object-path.h"
#include "dbus/vhostscsi-names.h"

#define LUN_INFIX "/lun/"

int object_path_target(const char *wwn, char **ret) {
        return sd_bus_path_encode(VHOSTSCSI_TARGET_PREFIX, wwn, ret);
}

int object_path_lun_below(const char *target_path, uint32_t number, char **ret) {
        char *s;

        if (asprintf(&s, "%s" LUN_INFIX "%" PRIu32, target_path, number) < 0)
                return -ENOMEM;

        *ret = s;
        return 0;
}

int object_path_lun(const char *wwn, uint32_t number, char **ret) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = object_path_target(wwn, &path);
        if (r < 0)
                return r;

        return object_path_lun_below(path, number, ret);
}

Target *object_path_find_target(Engine *e, const char *path) {
        _cleanup_free_ char *wwn = NULL, *canonical = NULL;
        const char *label = startswith(path, VHOSTSCSI_TARGET_PREFIX "/");
        Target *t;

        /* sd-bus asks for every LUN whether it is a target. */
        if (!label || strchr(label, '/'))
                return NULL;

        if (sd_bus_path_decode(path, VHOSTSCSI_TARGET_PREFIX, &wwn) <= 0)
                return NULL;

        t = registry_target(&e->registry, wwn);
        if (!t || object_path_target(t->wwn, &canonical) < 0)
                return NULL;

        return streq(path, canonical) ? t : NULL;
}

Lun *object_path_find_lun(Engine *e, const char *path) {
        _cleanup_free_ char *parent = NULL;
        const char *infix = strstr(path, LUN_INFIX);
        uint32_t number;
        Target *t;

        if (!infix || parse_u32(infix + strlen(LUN_INFIX), &number) < 0)
                return NULL;

        parent = strndup(path, (size_t) (infix - path));
        if (!parent)
                return NULL;

        t = object_path_find_target(e, parent);
        return t ? target_lun(t, number) : NULL;
}

static int add_target(const Target *t, char ***nodes, size_t *n) {
        char *path;
        int r;

        r = object_path_target(t->wwn, &path);
        if (r < 0)
                return r;
        (*nodes)[(*n)++] = path;

        for (size_t i = 0; i < t->n_luns; i++) {
                r = object_path_lun_below(path, t->luns[i]->number, &(*nodes)[*n]);
                if (r < 0)
                        return r;
                (*n)++;
        }

        return 0;
}

int object_path_enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *error) {
        _cleanup_(strv_freep) char **nodes = NULL;
        Engine *e = userdata;
        size_t n = 0, room = 1;
        Target *t, *only;
        int r;

        /* Introspecting one target need not look at all the others. */
        only = object_path_find_target(e, prefix);

        REGISTRY_FOREACH(&e->registry, t)
                if (!only || t == only)
                        room += 1 + t->n_luns;

        nodes = calloc(room, sizeof *nodes);
        if (!nodes)
                return -ENOMEM;

        REGISTRY_FOREACH(&e->registry, t)
                if (!only || t == only) {
                        r = add_target(t, &nodes, &n);
                        if (r < 0)
                                return r;
                }

        *ret_nodes = TAKE_PTR(nodes);
        return 0;
}
