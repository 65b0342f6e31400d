/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/strv.h"
#include "bus/bus-error.h"
#include "bus/bus-lun.h"
#include "bus/bus-target.h"
#include "bus/object-path.h"
#include "bus/options.h"
#include "bus/polkit.h"
#include "bus/probe.h"
#include "bus/statistics.h"
#include "bus/text.h"
#include "dbus/vhostscsi-names.h"
#include "engine/owners.h"
#include "engine/undo.h"

/* userdata is what find() found: the Target. The engine is what the vtable was added with. */
static Engine *engine_of(sd_bus *bus) {
        return sd_bus_slot_get_userdata(sd_bus_get_current_slot(bus));
}

static int find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret_found, sd_bus_error *error) {
        Target *t = object_path_find_target(userdata, path);

        if (!t)
                return 0;

        *ret_found = t;
        return 1;
}

static int get_text(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply, void *userdata,
                    sd_bus_error *error) {
        const Target *t = userdata;
        const char *s;

        if (streq(property, "Wwn"))
                s = t->wwn;
        else if (streq(property, "Label"))
                s = t->label;
        else if (streq(property, "State"))
                s = target_state_to_string(target_state(t));
        else if (streq(property, "ManagedBy"))
                s = t->foreign ? "foreign" : "vhscsid";
        else if (streq(property, "Nexus"))
                s = t->foreign ? t->seen_nexus : t->nexus;
        else
                s = target_endpoint_to_string(t->endpoint);

        return sd_bus_message_append(reply, "s", text_for_bus(s));
}

static int get_portal_group(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                            void *userdata, sd_bus_error *error) {
        const Target *t = userdata;

        return sd_bus_message_append(reply, "u", t->portal_group);
}

static int get_owners(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply, void *userdata,
                      sd_bus_error *error) {
        const Target *t = userdata;
        const Owner *o = owners_get(engine_of(bus), t->wwn);

        return o ? sd_bus_message_append(reply, "as", 1, o->key) : sd_bus_message_append(reply, "as", 0);
}

static int get_owner_details(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                             void *userdata, sd_bus_error *error) {
        const Target *t = userdata;
        const Owner *o = owners_get(engine_of(bus), t->wwn);

        if (!o)
                return sd_bus_message_append(reply, "aa{sv}", 0);

        return sd_bus_message_append(reply, "aa{sv}", 1, 5,
                                     "owner", "s", o->key,
                                     "kind", "s", o->kind,
                                     "name", "s", o->name,
                                     "uuid", "s", o->uuid,
                                     "pid", "u", o->pid);
}

static int get_luns(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply, void *userdata,
                    sd_bus_error *error) {
        _cleanup_free_ char *target = NULL;
        const Target *t = userdata;
        int r;

        r = object_path_target(t->wwn, &target);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "o");
        if (r < 0)
                return r;

        for (size_t i = 0; i < t->n_luns; i++) {
                _cleanup_free_ char *lun = NULL;

                r = object_path_lun_below(target, t->luns[i]->number, &lun);
                if (r >= 0)
                        r = sd_bus_message_append_basic(reply, 'o', lun);
                if (r < 0)
                        return r;
        }

        return sd_bus_message_close_container(reply);
}

static int get_last_error(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                          void *userdata, sd_bus_error *error) {
        const Target *t = userdata;

        return bus_lun_append_error(reply, t->error_code, t->error_text);
}

int bus_target_lun_reply(sd_bus_message *m, const char *wwn, uint32_t number, bool with_target, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_free_ char *target = NULL, *lun = NULL;
        int r;

        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = object_path_target(wwn, &target);
        if (r >= 0)
                r = object_path_lun(wwn, number, &lun);
        if (r >= 0 && with_target)
                r = sd_bus_message_append(reply, "o", target);
        if (r >= 0)
                r = sd_bus_message_append(reply, "o", lun);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(reply);
        return 0;
}

int bus_target_await_lun(Engine *e, sd_bus_message *m, Target *t, uint32_t number, bool with_target, bool made_target,
                         uint64_t timeout) {
        sd_bus_message *reply = NULL;
        Request *request;
        int r;

        r = bus_target_lun_reply(m, t->wwn, number, with_target, &reply);
        if (r >= 0)
                r = request_new(e, REQUEST_ADD_LUN, m, reply, t, timeout, &request);
        if (r < 0) {
                if (made_target)
                        undo_create(e, t);
                else
                        (void) undo_add_lun(e, target_lun(t, number));
                return r;
        }

        request->lun = number;
        request->made_target = made_target;
        return 1;
}

static int method_add_lun(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(lun_options_done) LunOptions o = {};
        _cleanup_(refusal_done) Refusal refusal = {};
        Engine *e = engine_of(sd_bus_message_get_bus(m));
        Target *t = userdata;
        const char *source;
        uint32_t number;
        int r;

        r = sd_bus_message_read(m, "s", &source);
        if (r >= 0)
                r = options_read_lun(m, &o, error);
        if (r < 0)
                return r;

        r = polkit_authorize(m, POLKIT_MANAGE_LUNS | (o.common.force ? POLKIT_FORCE : 0), t->wwn, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = edit_add_lun(e, t, source, &o, &number, &refusal);
        if (r < 0)
                return bus_error_set(error, r, &refusal);

        if (!o.common.dry_run)
                return bus_target_await_lun(e, m, t, number, false, false, o.common.timeout);

        r = bus_target_lun_reply(m, t->wwn, number, false, &reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int method_remove_lun(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Engine *e = engine_of(sd_bus_message_get_bus(m));
        EditOptions o;
        uint32_t number;
        int r;

        r = sd_bus_message_read(m, "u", &number);
        if (r >= 0)
                r = options_read_edit(m, &o, error);
        if (r < 0)
                return r;

        return bus_lun_remove(e, m, userdata, number, &o, error);
}

static int method_set_label(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(refusal_done) Refusal refusal = {};
        Engine *e = engine_of(sd_bus_message_get_bus(m));
        Target *t = userdata;
        Request *request;
        const char *label;
        EditOptions o;
        int r;

        r = sd_bus_message_read(m, "s", &label);
        if (r >= 0)
                r = options_read_edit(m, &o, error);
        if (r < 0)
                return r;

        r = polkit_authorize(m, POLKIT_MANAGE_TARGETS | (o.force ? POLKIT_FORCE : 0), t->wwn, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = edit_set_label(e, t, label, &o, &refusal);
        if (r < 0)
                return bus_error_set(error, r, &refusal);

        /* The kernel has no part in it: done, but for the signal that goes out before the answer. */
        r = request_new(e, REQUEST_SET_LABEL, m, NULL, t, UINT64_MAX, &request);
        if (r < 0)
                return r;

        request_succeed(request);
        return 1;
}

static int method_destroy(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(refusal_done) Refusal refusal = {};
        Engine *e = engine_of(sd_bus_message_get_bus(m));
        Target *t = userdata;
        Request *request;
        EditOptions o;
        int r;

        r = options_read_edit(m, &o, error);
        if (r < 0)
                return r;

        r = probe_before_removal(e, m, t, POLKIT_MANAGE_TARGETS, &o, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = edit_destroy_target(e, t, &o, &refusal);
        if (r < 0)
                return bus_error_set(error, r, &refusal);
        if (o.dry_run)
                return sd_bus_reply_method_return(m, NULL);

        r = request_new(e, REQUEST_DESTROY_TARGET, m, NULL, t, o.timeout, &request);
        if (r < 0)
                return r;

        request->force = o.force;
        return 1;
}

static int method_get_statistics(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return bus_statistics_answer(engine_of(sd_bus_message_get_bus(m)), m, userdata, NULL);
}

/* r: what qemu_device_… returned. */
static int refuse_device(int r, const char *why, sd_bus_error *error) {
        if (r == -ENOENT)
                return sd_bus_error_set(error, VHOSTSCSI_ERROR("NotFound"), why);
        if (r == -EINVAL)
                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, why);

        return r;
}

static int method_get_qemu_arguments(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(strv_freep) char **arguments = NULL;
        Engine *e = engine_of(sd_bus_message_get_bus(m));
        _cleanup_free_ char *why = NULL;
        const Target *t = userdata;
        QemuOptions o;
        int r;

        r = options_read_qemu(m, &o, error);
        if (r < 0)
                return r;

        r = qemu_device_arguments(t, &o, fabric_queues_max(&e->fabric), &arguments, &why);
        if (r < 0)
                return refuse_device(r, why, error);

        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_append_strv(reply, arguments);

        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int method_get_libvirt_xml(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Engine *e = engine_of(sd_bus_message_get_bus(m));
        _cleanup_free_ char *xml = NULL, *why = NULL;
        const Target *t = userdata;
        QemuOptions o;
        int r;

        r = options_read_libvirt(m, &o, error);
        if (r < 0)
                return r;

        r = qemu_device_xml(t, &o, fabric_queues_max(&e->fabric), &xml, &why);
        if (r < 0)
                return refuse_device(r, why, error);

        return sd_bus_reply_method_return(m, "s", xml);
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),

        SD_BUS_PROPERTY("Wwn", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Label", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("State", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("ManagedBy", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("PortalGroup", "u", get_portal_group, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Nexus", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Owners", "as", get_owners, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("OwnerDetails", "aa{sv}", get_owner_details, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Luns", "ao", get_luns, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("LastError", "(ss)", get_last_error, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),

        SD_BUS_METHOD_WITH_ARGS("AddLun", SD_BUS_ARGS("s", source, "a{sv}", options), SD_BUS_RESULT("o", lun), method_add_lun,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("RemoveLun", SD_BUS_ARGS("u", number, "a{sv}", options), SD_BUS_NO_RESULT, method_remove_lun,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("SetLabel", SD_BUS_ARGS("s", label, "a{sv}", options), SD_BUS_NO_RESULT, method_set_label,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetStatistics", SD_BUS_NO_ARGS, SD_BUS_RESULT("a{sa{st}}", statistics), method_get_statistics,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetQemuArguments", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("as", arguments), method_get_qemu_arguments,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("GetLibvirtXml", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("s", xml), method_get_libvirt_xml,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Destroy", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, method_destroy, SD_BUS_VTABLE_UNPRIVILEGED),

        SD_BUS_VTABLE_END,
};

/* With vhost_scsi a guest that comes or goes tells nobody: asked for when it is read. */
static const sd_bus_vtable vtable_endpoint_asked[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Endpoint", "s", get_text, 0, 0),
        SD_BUS_VTABLE_END,
};

static const sd_bus_vtable vtable_endpoint_told[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Endpoint", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_VTABLE_END,
};

int bus_target_add(sd_bus *bus, Engine *e) {
        int r;

        r = sd_bus_add_fallback_vtable(bus, NULL, VHOSTSCSI_TARGET_PREFIX, VHOSTSCSI_TARGET_INTERFACE, vtable, find, e);
        if (r >= 0)
                r = sd_bus_add_fallback_vtable(bus, NULL, VHOSTSCSI_TARGET_PREFIX, VHOSTSCSI_TARGET_INTERFACE,
                                               fabric_is_bundled(&e->fabric) ? vtable_endpoint_told : vtable_endpoint_asked, find, e);
        if (r >= 0)
                r = sd_bus_add_node_enumerator(bus, NULL, VHOSTSCSI_TARGET_PREFIX, object_path_enumerate, e);
        if (r >= 0)
                r = probe_add(bus, e);

        return r < 0 ? r : 0;
}
