/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdarg.h>

#include "engine/lun-view.h"
#include "engine/owners.h"
#include "engine/ready.h"

void problem_list_done(ProblemList *l) {
        for (size_t i = 0; i < l->n; i++)
                free(l->problems[i].detail);
        free(l->problems);
        *l = (ProblemList) {};
}

/* passing: a pass that runs or is due settles it, one way or the other. */
_printf_(4, 5)
static int add(ProblemList *l, const char *code, bool passing, const char *format, ...) {
        char *detail;
        va_list ap;
        int n;

        if (l->n == l->room) {
                size_t room = l->room > 0 ? l->room * 2 : 4;
                Problem *p = reallocarray(l->problems, room, sizeof *p);

                if (!p)
                        return -ENOMEM;
                l->problems = p;
                l->room = room;
        }

        va_start(ap, format);
        n = vasprintf(&detail, format, ap);
        va_end(ap);
        if (n < 0)
                return -ENOMEM;

        l->problems[l->n++] = (Problem) { .code = code, .detail = detail };
        l->lasting = l->lasting || !passing;
        return 0;
}

static const char *health_to_sentence(DeviceHealth h) {
        static const char *const sentences[_HEALTH_MAX] = {
                [HEALTH_NO_PATH] = "has no path",
                [HEALTH_SUSPENDED] = "is suspended",
                [HEALTH_READ_ONLY] = "went read-only",
                [HEALTH_GONE] = "was removed from the host",
        };

        return sentences[h] ?: "is not well";
}

static int check_lun(Engine *e, const Lun *l, ProblemList *p) {
        const char *source = l->backstore->source ?: strempty(l->backstore->device);
        LunView v;

        lun_view_make(e, l, &v);

        switch (v.state) {
        case LUN_ONLINE:
                return 0;
        case LUN_WAITING:
                return add(p, "lun-waiting", false, "LUN %" PRIu32 " waits for its disk, %s%s", l->number, source,
                           v.ambiguous ? ": several devices answer to that name, and there is no map of them" : "");
        case LUN_ATTACHING:
                return add(p, "lun-attaching", l->dirty || l->worker, "LUN %" PRIu32 " (%s) is being brought up", l->number, source);
        case LUN_DEGRADED:
                return add(p, "lun-degraded", false, "LUN %" PRIu32 " is up, but its disk (%s) %s", l->number, source,
                           health_to_sentence(v.health));
        case LUN_DRAINING:
                return add(p, "lun-draining", l->dirty || l->worker, "LUN %" PRIu32 " (%s) is being removed", l->number, source);
        case LUN_FAILED:
                return add(p, "lun-failed", false, "LUN %" PRIu32 " (%s): %s", l->number, source, strempty(l->error_text));
        case _LUN_STATE_MAX:
                break;
        }

        assert(false);
        return -EINVAL;
}

static int check_use(Engine *e, const Target *t, const char *owner, ProblemList *p) {
        const Owner *o = owners_get(e, t->wwn);
        _cleanup_free_ char *who = NULL;
        int r;

        if (!owner || (o && streq(o->key, owner)))
                return 0;
        if (!o && !target_is_used(t))
                return 0;
        if (!o) {
                r = target_describe_use(t, &who);
                return r < 0 ? r : add(p, "in-use", false, "%s, which it has not acquired", who);
        }

        r = owner_describe(o, &who);
        return r < 0 ? r : add(p, "held", false, "%s has target %s", who, t->wwn);
}

static int check_target(const Target *t, ProblemList *p) {
        bool passing = t->dirty || t->worker;

        if (!t->foreign && !t->wanted)
                return add(p, "removing", false, "The target is being removed");
        if (t->error_code)
                return add(p, "failed", passing, "%s", strempty(t->error_text));
        if (t->foreign ? !t->seen_nexus : !t->up)
                return add(p, "no-nexus", passing, "The portal group has no nexus, without which no guest can use it");

        return 0;
}

int ready_check(Engine *e, const char *wwn, const char *owner, ProblemList *ret) {
        _cleanup_(problem_list_done) ProblemList p = {};
        const Target *t = registry_target(&e->registry, wwn);
        const char *code, *why;
        int r = 0;

        code = fabric_find_problem(&e->fabric, &why);
        if (code)
                r = add(&p, code, false, "%s", why);
        p.silent = code != NULL;

        if (r >= 0 && !t)
                r = strv_contains(e->registry.bad, wwn) ?
                        add(&p, "corrupt", false, "The file of target %s cannot be used; see the service's log", wwn) :
                        add(&p, "missing", false, "There is no target %s", wwn);
        else if (r >= 0)
                r = check_target(t, &p);
        if (r >= 0 && t)
                r = check_use(e, t, owner, &p);

        for (size_t i = 0; r >= 0 && t && i < t->n_luns; i++)
                r = check_lun(e, t->luns[i], &p);
        if (r < 0)
                return r;

        *ret = p;
        p = (ProblemList) {};
        return 0;
}
