/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"
#include "bus/bus-error.h"
#include "bus/bus-manager.h"
#include "bus/bus-target.h"
#include "bus/device-list.h"
#include "bus/object-path.h"
#include "bus/options.h"
#include "bus/polkit.h"
#include "bus/probe.h"
#include "bus/text.h"
#include "dbus/vhostscsi-names.h"
#include "engine/adopt.h"
#include "engine/files.h"
#include "engine/hotplug.h"
#include "engine/lun-view.h"
#include "engine/record.h"
#include "engine/survey.h"
#include "engine/undo.h"

static const char *problem_of_history(const Engine *e) {
        return e->history ? history_problem(e->history) : NULL;
}

static const char *problem_of_removed(const Engine *e) {
        return e->removed ? removed_problem(e->removed) : NULL;
}

unsigned bus_manager_problems(const Engine *e) {
        return (unsigned) strv_length(e->registry.bad) << 2 | (problem_of_history(e) ? 1U : 0) | (problem_of_removed(e) ? 2U : 0);
}

/* Something of ours is not as it is wanted and will not become so by itself. */
static bool is_degraded(Engine *e) {
        Target *t;

        if (bus_manager_problems(e) != 0)
                return true;

        REGISTRY_FOREACH(&e->registry, t) {
                if (t->foreign)
                        continue;
                if (target_state(t) == TARGET_FAILED)
                        return true;

                for (size_t i = 0; i < t->n_luns; i++) {
                        LunView v;

                        if (!t->luns[i]->error_code)
                                continue;

                        lun_view_make(e, t->luns[i], &v);
                        if (v.state == LUN_FAILED)
                                return true;
                }
        }

        return false;
}

const char *bus_manager_state(Engine *e) {
        return !e->running ? "starting" : is_degraded(e) ? "degraded" : "running";
}

static int get_version(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply, void *userdata,
                       sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", PACKAGE_VERSION);
}

static int get_state(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply, void *userdata,
                     sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", bus_manager_state(userdata));
}

static int get_generation(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                          void *userdata, sd_bus_error *error) {
        const Engine *e = userdata;

        return sd_bus_message_append(reply, "t", e->registry.generation);
}

static int get_fabric(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply, void *userdata,
                      sd_bus_error *error) {
        const Engine *e = userdata;

        return sd_bus_message_append(reply, "a{sv}", 3,
                                     "module", "s", strempty(e->fabric.module),
                                     "version", "s", text_for_bus(e->fabric.version),
                                     "origin", "s", strempty(e->fabric.origin));
}

static int append_problem(sd_bus_message *reply, const char *what, const char *why) {
        return why ? sd_bus_message_append(reply, "(ss)", what, why) : 0;
}

static int get_problems(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply, void *userdata,
                        sd_bus_error *error) {
        const Engine *e = userdata;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "(ss)");
        for (size_t i = 0; r >= 0 && e->registry.bad && e->registry.bad[i]; i++) {
                _cleanup_free_ char *why = NULL;

                /* It may quote the file. */
                r = text_printable(e->registry.bad_reasons[i], &why);
                if (r >= 0)
                        r = append_problem(reply, e->registry.bad[i], why);
        }
        if (r >= 0)
                r = append_problem(reply, "history", problem_of_history(e));
        if (r >= 0)
                r = append_problem(reply, "removed.json", problem_of_removed(e));

        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int reply_path(sd_bus_message *m, const char *wwn) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = object_path_target(wwn, &path);
        return r < 0 ? r : sd_bus_reply_method_return(m, "o", path);
}

/* Holds the message until the kernel has the target. */
static int await_target(Engine *e, sd_bus_message *m, Target *t, uint64_t timeout) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_free_ char *path = NULL;
        int r;

        r = object_path_target(t->wwn, &path);
        if (r >= 0)
                r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "o", path);
        if (r >= 0)
                r = request_new(e, REQUEST_CREATE_TARGET, m, TAKE_PTR(reply), t, timeout, NULL);
        if (r < 0) {
                undo_create(e, t);
                return r;
        }

        return 1;
}

static int method_create_target(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(refusal_done) Refusal refusal = {};
        Engine *e = userdata;
        char canonical[WWN_SIZE];
        CreateOptions o;
        const char *wwn;
        bool existing;
        Target *t;
        int r;

        r = sd_bus_message_read(m, "s", &wwn);
        if (r >= 0)
                r = options_read_create(m, &o, error);
        if (r < 0)
                return r;

        r = polkit_authorize(m, POLKIT_MANAGE_TARGETS | (o.common.force ? POLKIT_FORCE : 0),
                             wwn_parse(wwn, canonical) >= 0 ? canonical : NULL, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = edit_create_target(e, wwn, &o, &t, &existing, canonical, &refusal);
        if (r < 0)
                return bus_error_set(error, r, &refusal);

        return existing || o.common.dry_run ? reply_path(m, canonical) : await_target(e, m, t, o.common.timeout);
}

static int method_get_target(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(refusal_done) Refusal refusal = {};
        const char *wwn;
        Target *t;
        int r;

        r = sd_bus_message_read(m, "s", &wwn);
        if (r < 0)
                return r;

        r = edit_find_target(userdata, wwn, &t, &refusal);
        return r < 0 ? bus_error_set(error, r, &refusal) : reply_path(m, t->wwn);
}

static int compare_wwns(const void *a, const void *b) {
        const Target *x = *(Target *const *) a, *y = *(Target *const *) b;

        return strcmp(x->wwn, y->wwn);
}

static int method_list_targets(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_free_ Target **targets = NULL;
        Engine *e = userdata;
        size_t n = 0;
        Target *t;
        int r;

        targets = calloc(map_size(e->registry.targets) + 1, sizeof *targets);
        if (!targets)
                return -ENOMEM;

        REGISTRY_FOREACH(&e->registry, t)
                targets[n++] = t;
        qsort(targets, n, sizeof *targets, compare_wwns);

        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(so)");

        for (size_t i = 0; r >= 0 && i < n; i++) {
                _cleanup_free_ char *path = NULL;

                r = object_path_target(targets[i]->wwn, &path);
                if (r >= 0)
                        r = sd_bus_message_append(reply, "(so)", text_for_bus(targets[i]->wwn), path);
        }

        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int method_list_devices(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = options_read_none(m, error);
        if (r >= 0)
                r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = device_list_append(userdata, reply);

        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

/* What makes the disk itself impossible is said before a target is made for it. */
static int check_device(Engine *e, const char *device, Refusal *refusal) {
        _cleanup_(surveyed_device_done) SurveyedDevice s = {};
        _cleanup_(mounts_freep) Mounts *mounts = NULL;
        _cleanup_free_ char *source = NULL;
        const Device *d = NULL;
        int r;

        r = survey_resolve(e, device, &source, &d, refusal);
        if (r < 0 || !d)
                return r;

        r = mounts_new(&mounts);
        if (r >= 0)
                r = survey_device(e, d, mounts, &s);
        if (r < 0)
                return r;

        return s.verdict == DEVICE_USABLE || s.verdict == DEVICE_NOT_READY ? 0 : survey_refuse(d, &s, refusal);
}

/* The LUN was refused after its target was made: the caller hears of it when the target is gone again. */
static int undo_target(Engine *e, sd_bus_message *m, Target *t, Refusal *refusal) {
        Request *request;
        int r;

        undo_create(e, t);
        r = request_new(e, REQUEST_ADD_LUN, m, NULL, t, UINT64_MAX, &request);
        if (r < 0)
                return r;

        request->made_target = request->undoing = true;
        request->failure = *refusal;
        *refusal = (Refusal) {};
        return 1;
}

static int export_to_new(Engine *e, sd_bus_message *m, const char *device, LunOptions *o, const char *wwn, sd_bus_error *error) {
        _cleanup_(record_endp) _unused_ Engine *recording = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(refusal_done) Refusal refusal = {};
        CreateOptions create = { .common = o->common };
        char canonical[WWN_SIZE];
        uint32_t number;
        bool existing;
        Target *t;
        int r;

        recording = record_begin(e, "export %s", device);
        r = check_device(e, device, &refusal);
        if (r >= 0)
                r = edit_create_target(e, wwn, &create, &t, &existing, canonical, &refusal);
        if (r < 0)
                return bus_error_set(error, r, &refusal);

        if (o->common.dry_run) {
                r = bus_target_lun_reply(m, canonical, o->number, true, &reply);
                return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
        }

        /* It was the caller's generation; the target has made a new one. */
        o->common.has_generation = false;
        r = edit_add_lun(e, t, device, o, &number, &refusal);
        if (r == REFUSED)
                return undo_target(e, m, t, &refusal);
        if (r < 0) {
                undo_create(e, t);
                return r;
        }

        return bus_target_await_lun(e, m, t, number, true, true, o->common.timeout);
}

static int export_to_existing(Engine *e, sd_bus_message *m, const char *device, LunOptions *o, Target *t, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(refusal_done) Refusal refusal = {};
        uint32_t number;
        int r;

        r = edit_add_lun(e, t, device, o, &number, &refusal);
        if (r < 0)
                return bus_error_set(error, r, &refusal);

        if (!o->common.dry_run)
                return bus_target_await_lun(e, m, t, number, true, false, o->common.timeout);

        r = bus_target_lun_reply(m, t->wwn, number, true, &reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int method_export(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(lun_options_done) LunOptions o = {};
        _cleanup_(refusal_done) Refusal refusal = {};
        const char *device, *wwn;
        Engine *e = userdata;
        Target *t = NULL;
        unsigned actions;
        int r;

        r = sd_bus_message_read(m, "s", &device);
        if (r >= 0)
                r = options_read_export(m, &o, &wwn, error);
        if (r < 0)
                return r;

        /* Which targets there are is no secret: only whether this is one of them decides what to ask for. */
        r = wwn ? edit_find_target(e, wwn, &t, &refusal) : 0;
        if (r == -ENOMEM)
                return r;

        actions = POLKIT_MANAGE_LUNS | (t ? 0 : POLKIT_MANAGE_TARGETS) | (o.common.force ? POLKIT_FORCE : 0);
        r = polkit_authorize(m, actions, t ? t->wwn : NULL, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        if (t)
                return export_to_existing(e, m, device, &o, t, error);
        if (refusal.text && refusal.kind != REFUSAL_NOT_FOUND)
                return bus_error_set(error, REFUSED, &refusal);

        return export_to_new(e, m, device, &o, strempty(wwn), error);
}

static int method_adopt(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(refusal_done) Refusal refusal = {};
        _cleanup_free_ char *path = NULL;
        Target *t = NULL, *adopted;
        Engine *e = userdata;
        const char *wwn;
        EditOptions o;
        int r, k;

        r = sd_bus_message_read(m, "s", &wwn);
        if (r >= 0)
                r = options_read_edit(m, &o, error);
        if (r < 0)
                return r;

        r = edit_find_target(e, wwn, &t, &refusal);
        if (r == -ENOMEM)
                return r;

        k = probe_before_adoption(e, m, t, &o, error);
        if (k <= 0)
                return k < 0 ? k : 1;
        if (r < 0)
                return bus_error_set(error, r, &refusal);
        /* It is what the caller wants already. */
        if (!t->foreign)
                return reply_path(m, t->wwn);

        r = object_path_target(t->wwn, &path);
        if (r >= 0)
                r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "o", path);
        if (r < 0)
                return r;

        r = adopt_target(e, t, &o, &adopted, &refusal);
        if (r < 0)
                return bus_error_set(error, r, &refusal);
        if (o.dry_run)
                return sd_bus_send(NULL, reply, NULL);

        r = request_new(e, REQUEST_ADOPT_TARGET, m, TAKE_PTR(reply), adopted, o.timeout, NULL);
        return r < 0 ? r : 1;
}

/* Everything is looked at again: udev's devices, what is foreign, and whether the kernel has what is wanted. */
static int method_rescan(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Engine *e = userdata;
        Request *request;
        int r;

        r = polkit_authorize(m, POLKIT_MANAGE_CONFIG, NULL, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        files_look(e);
        r = hotplug_enumerate(e);
        if (r >= 0)
                r = request_new(e, REQUEST_RESCAN, m, NULL, NULL, UINT64_MAX, &request);
        if (r < 0)
                return r;

        /* One that runs already may have passed by what the caller means. */
        request->survey_serial = e->survey_serial + 1;
        e->survey_wanted = true;
        registry_mark_all(&e->registry);
        return 1;
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),

        SD_BUS_PROPERTY("Version", "s", get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("State", "s", get_state, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Generation", "t", get_generation, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Fabric", "a{sv}", get_fabric, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Problems", "a(ss)", get_problems, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),

        SD_BUS_METHOD_WITH_ARGS("CreateTarget", SD_BUS_ARGS("s", wwn, "a{sv}", options), SD_BUS_RESULT("o", target), method_create_target,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetTarget", SD_BUS_ARGS("s", wwn), SD_BUS_RESULT("o", target), method_get_target,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListTargets", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(so)", targets), method_list_targets,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ListDevices", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("aa{sv}", devices), method_list_devices,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Export", SD_BUS_ARGS("s", device, "a{sv}", options), SD_BUS_RESULT("o", target, "o", lun), method_export,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Adopt", SD_BUS_ARGS("s", wwn, "a{sv}", options), SD_BUS_RESULT("o", target), method_adopt,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Rescan", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_rescan, SD_BUS_VTABLE_UNPRIVILEGED),

        SD_BUS_VTABLE_END,
};

int bus_manager_add(sd_bus *bus, Engine *e) {
        int r;

        r = sd_bus_add_object_vtable(bus, NULL, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE, vtable, e);
        if (r >= 0)
                r = sd_bus_add_object_manager(bus, NULL, VHOSTSCSI_ROOT_PATH);

        return r < 0 ? r : 0;
}
