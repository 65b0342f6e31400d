/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dlfcn.h>
#include <fcntl.h>
#include <libkmod.h>

#include "base/errno.h"
#include "base/fileio.h"
#include "base/log.h"
#include "kernel/modules.h"

#define LIBRARY "libkmod.so.2"

/* Declared as the header declares them, so that a change of the library's interface does not compile. */
#define FUNCTIONS(X)                             \
        X(kmod_new)                              \
        X(kmod_unref)                            \
        X(kmod_module_new_from_lookup)           \
        X(kmod_module_get_module)                \
        X(kmod_module_get_initstate)             \
        X(kmod_module_probe_insert_module)       \
        X(kmod_module_unref)                     \
        X(kmod_module_unref_list)                \
        X(kmod_list_next)

#define DECLARE(function) static typeof(&function) dl_##function;
FUNCTIONS(DECLARE)

typedef struct kmod_list KmodList;
typedef struct kmod_module KmodModule;

static inline void module_unrefp(KmodModule **m) {
        if (*m)
                dl_kmod_module_unref(*m);
}

static inline void list_unrefp(KmodList **l) {
        if (*l)
                dl_kmod_module_unref_list(*l);
}

void modules_done(Modules *m) {
        if (m->context)
                dl_kmod_unref(m->context);
        if (m->library)
                dlclose(m->library);

        *m = (Modules) {};
}

static int library_open(Modules *m) {
        m->library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
        if (!m->library) {
                log_warning("Cannot load kernel modules: %s", dlerror());
                return -EOPNOTSUPP;
        }

#define RESOLVE(function)                                               \
        dl_##function = dlsym(m->library, #function);                   \
        if (!dl_##function)                                             \
                return -EOPNOTSUPP;
        FUNCTIONS(RESOLVE)

        return 0;
}

bool module_is_loaded(const char *name) {
        _cleanup_free_ char *state = NULL;
        char path[128];

        snprintf(path, sizeof path, "/sys/module/%s", name);
        if (access(path, F_OK) < 0)
                return false;

        /* A module that is built in has a directory, if it has parameters, but no state. */
        snprintf(path, sizeof path, "/sys/module/%s/initstate", name);
        if (read_attribute_at(AT_FDCWD, path, 64, &state) < 0)
                return true;

        return streq(state, "live");
}

int modules_load(Modules *m, const char *name) {
        _cleanup_(list_unrefp) KmodList *found = NULL;
        int r;

        if (!m->library) {
                r = library_open(m);
                if (r < 0)
                        return r;
        }
        if (!m->context) {
                m->context = dl_kmod_new(NULL, NULL);
                if (!m->context)
                        return -ENOMEM;
        }

        r = dl_kmod_module_new_from_lookup(m->context, name, &found);
        if (r < 0)
                return r;
        if (!found)
                return -ENOENT;

        for (KmodList *i = found; i; i = dl_kmod_list_next(found, i)) {
                _cleanup_(module_unrefp) KmodModule *module = dl_kmod_module_get_module(i);

                switch (dl_kmod_module_get_initstate(module)) {
                case KMOD_MODULE_BUILTIN:
                case KMOD_MODULE_LIVE:
                        continue;
                case KMOD_MODULE_COMING:
                case KMOD_MODULE_GOING:
                        break;
                }

                /* As modprobe NAME: a blacklist speaks of aliases, not of the one whom an admin calls by name. */
                r = dl_kmod_module_probe_insert_module(module, KMOD_PROBE_APPLY_BLACKLIST_ALIAS_ONLY, NULL, NULL, NULL, NULL);
                if (r < 0)
                        return r;
                if (r > 0)
                        return -EPERM;
        }

        return 0;
}

int modules_ensure(Modules *m, const char *name) {
        return module_is_loaded(name) ? 0 : modules_load(m, name);
}
