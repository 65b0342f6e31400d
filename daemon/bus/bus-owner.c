/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"
#include "bus/bus-error.h"
#include "bus/bus-owner.h"
#include "bus/options.h"
#include "bus/polkit.h"
#include "bus/probe.h"
#include "dbus/vhostscsi-names.h"
#include "engine/acquire.h"
#include "engine/hotplug.h"
#include "engine/ready.h"

static int append_problems(sd_bus_message *reply, const ProblemList *l) {
        int r;

        r = sd_bus_message_append(reply, "b", l->n == 0);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(ss)");

        for (size_t i = 0; r >= 0 && i < l->n; i++) {
                _cleanup_free_ char *detail = NULL;

                r = text_printable(l->problems[i].detail, &detail);
                if (r >= 0)
                        r = sd_bus_message_append(reply, "(ss)", l->problems[i].code, detail);
        }

        return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* The name under which a target is known, or would be. */
static int name_target(Engine *e, const char *wwn, Target **ret, const char **ret_name, char canonical[static WWN_SIZE], Refusal *refusal) {
        int r;

        r = edit_find_target(e, wwn, ret, refusal);
        if (r == REFUSED && refusal->kind != REFUSAL_INVALID_WWN) {
                refusal_done(refusal);
                *ret = NULL;
                r = wwn_parse(wwn, canonical);
        }
        if (r < 0)
                return r;

        *ret_name = *ret ? (*ret)->wwn : canonical;
        return 0;
}

static int method_check(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(problem_list_done) ProblemList problems = {};
        _cleanup_(refusal_done) Refusal refusal = {};
        char canonical[WWN_SIZE];
        const char *wwn, *name, *owner;
        Engine *e = userdata;
        Target *t;
        int r;

        r = sd_bus_message_read(m, "s", &wwn);
        if (r >= 0)
                r = options_read_check(m, &owner, error);
        if (r < 0)
                return r;

        r = name_target(e, wwn, &t, &name, canonical, &refusal);
        if (r < 0)
                return bus_error_set(error, r, &refusal);
        if (!probe_before_reading(e, m, t))
                return 1;

        if (t)
                hotplug_look_at_luns(e, t);
        r = ready_check(e, name, owner, &problems);
        if (r >= 0)
                r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = append_problems(reply, &problems);

        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

/* The target that is meant: by its name, or as a seed has it. */
static int name_acquired(Engine *e, const char *wwn, const AcquireOptions *o, Target **ret, const char **ret_name,
                         char canonical[static WWN_SIZE], Refusal *refusal) {
        char seeded[WWN_SIZE] = "";
        int r = 0;

        *ret = NULL;
        if (o->seed && isempty(o->seed))
                return refuse(refusal, REFUSAL_INVALID_ARGS, "The seed is empty");
        if (o->seed)
                r = wwn_from_seed(o->seed, seeded);
        if (r >= 0)
                r = name_target(e, isempty(wwn) && o->seed ? seeded : wwn, ret, ret_name, canonical, refusal);
        if (r >= 0 && o->seed && !streq(*ret_name, seeded))
                r = refuse(refusal, REFUSAL_INVALID_ARGS, "The seed makes target %s, not %s", seeded, *ret_name);

        return r;
}

static int method_acquire(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(refusal_done) Refusal refusal = {};
        const char *wwn, *name, *owner;
        char canonical[WWN_SIZE];
        Engine *e = userdata;
        AcquireOptions o;
        Target *t;
        int r, k;

        r = sd_bus_message_read(m, "ss", &wwn, &owner);
        if (r >= 0)
                r = options_read_acquire(m, &o, error);
        if (r < 0)
                return r;

        r = name_acquired(e, wwn, &o, &t, &name, canonical, &refusal);
        if (r == -ENOMEM)
                return r;

        k = probe_before_acquisition(e, m, t, POLKIT_ACQUIRE | (o.seed && !t ? POLKIT_MANAGE_TARGETS : 0), &o, error);
        if (k <= 0)
                return k < 0 ? k : 1;

        k = polkit_find_user(m, &o.uid);
        if (k < 0)
                return k;
        if (r >= 0)
                r = acquire_target(e, m, name, owner, &o, &refusal);
        if (r < 0)
                return bus_error_set(error, r, &refusal);

        return o.common.dry_run ? sd_bus_reply_method_return(m, NULL) : 1;
}

static int method_release(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(refusal_done) Refusal refusal = {};
        const char *wwn, *name, *owner;
        char canonical[WWN_SIZE];
        Engine *e = userdata;
        Request *request;
        EditOptions o;
        uint32_t uid;
        Target *t;
        int r, k;

        r = sd_bus_message_read(m, "ss", &wwn, &owner);
        if (r >= 0)
                r = options_read_edit(m, &o, error);
        if (r < 0)
                return r;

        r = name_target(e, wwn, &t, &name, canonical, &refusal);
        if (r == -ENOMEM)
                return r;

        k = polkit_authorize(m, POLKIT_ACQUIRE | (o.force ? POLKIT_FORCE : 0), r >= 0 && t ? t->wwn : NULL, error);
        if (k <= 0)
                return k < 0 ? k : 1;

        k = polkit_find_user(m, &uid);
        if (k < 0)
                return k;
        if (r >= 0)
                r = acquire_release(e, name, owner, uid, &o, &refusal);
        if (r < 0)
                return bus_error_set(error, r, &refusal);
        if (!t || o.dry_run)
                return sd_bus_reply_method_return(m, NULL);

        /* Done, but for the signal that goes out before the answer. */
        r = request_new(e, REQUEST_RELEASE, m, NULL, t, UINT64_MAX, &request);
        if (r < 0)
                return r;

        request_succeed(request);
        return 1;
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),

        SD_BUS_METHOD_WITH_ARGS("Check", SD_BUS_ARGS("s", wwn, "a{sv}", options), SD_BUS_RESULT("b", ready, "a(ss)", problems), method_check,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Acquire", SD_BUS_ARGS("s", wwn, "s", owner, "a{sv}", options), SD_BUS_NO_RESULT, method_acquire,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Release", SD_BUS_ARGS("s", wwn, "s", owner, "a{sv}", options), SD_BUS_NO_RESULT, method_release,
                                SD_BUS_VTABLE_UNPRIVILEGED),

        SD_BUS_VTABLE_END,
};

int bus_owner_add(sd_bus *bus, Engine *e) {
        int r = sd_bus_add_object_vtable(bus, NULL, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE, vtable, e);

        return r < 0 ? r : 0;
}
