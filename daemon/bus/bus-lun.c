/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "bus/bus-error.h"
#include "bus/bus-lun.h"
#include "bus/object-path.h"
#include "bus/options.h"
#include "bus/polkit.h"
#include "bus/probe.h"
#include "bus/statistics.h"
#include "bus/text.h"
#include "dbus/vhostscsi-names.h"
#include "engine/lun-view.h"

/* userdata is what find() found: the Lun. The engine is what the vtable was added with. */
static Engine *engine_of(sd_bus *bus) {
        return sd_bus_slot_get_userdata(sd_bus_get_current_slot(bus));
}

/* sd-bus has the object found anew for each question about it, and for each signal, and then asks for its properties in one go: one view of it
 * answers for all of them. One process, one bus, as in polkit.c. */
static struct {
        const Lun *lun;         /* whom the view is of; NULL: nobody has looked since find() */
        LunView view;
} viewed;

static int find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret_found, sd_bus_error *error) {
        Lun *l = object_path_find_lun(userdata, path);

        viewed.lun = NULL;
        if (!l)
                return 0;

        *ret_found = l;
        return 1;
}

static const LunView *view(sd_bus *bus, const Lun *l) {
        if (viewed.lun != l) {
                lun_view_make(engine_of(bus), l, &viewed.view);
                viewed.lun = l;
        }

        return &viewed.view;
}

int bus_lun_append_error(sd_bus_message *reply, const char *code, const char *text) {
        return sd_bus_message_append(reply, "(ss)", strempty(code), code ? text_for_bus(text) : "");
}

static int get_number(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply, void *userdata,
                      sd_bus_error *error) {
        const Lun *l = userdata;

        return sd_bus_message_append(reply, "u", l->number);
}

static int get_source(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply, void *userdata,
                      sd_bus_error *error) {
        const Lun *l = userdata;

        return sd_bus_message_append_basic(reply, 's', strempty(l->backstore->source));
}

/* What needs a look at the device, by the property's name. */
static int get_view(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply, void *userdata,
                    sd_bus_error *error) {
        const LunView *v = view(bus, userdata);

        if (streq(property, "Device"))
                return sd_bus_message_append_basic(reply, 's', text_for_bus(v->device));
        if (streq(property, "State"))
                return sd_bus_message_append_basic(reply, 's', lun_state_to_string(v->state));
        if (streq(property, "Health"))
                return sd_bus_message_append_basic(reply, 's', device_health_to_string(v->health));
        if (streq(property, "Size"))
                return sd_bus_message_append(reply, "t", v->size);
        if (streq(property, "BlockSize"))
                return sd_bus_message_append(reply, "u", v->block_size);

        return sd_bus_message_append_basic(reply, 's', text_for_bus(v->place));
}

static int get_read_only(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                         void *userdata, sd_bus_error *error) {
        const Lun *l = userdata;

        return sd_bus_message_append(reply, "b", l->backstore->readonly);
}

static int get_unit_serial(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                           void *userdata, sd_bus_error *error) {
        const Lun *l = userdata;

        return sd_bus_message_append_basic(reply, 's', text_for_bus(l->backstore->serial));
}

static int get_guest_wwid(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                          void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *wwid = NULL;
        const Lun *l = userdata;
        int r;

        if (!isempty(l->backstore->serial)) {
                r = backstore_guest_wwid(l->backstore->serial, &wwid);
                if (r < 0)
                        return r;
        }

        return sd_bus_message_append_basic(reply, 's', strempty(wwid));
}

static int get_origin(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply, void *userdata,
                      sd_bus_error *error) {
        const Lun *l = userdata;

        return sd_bus_message_append_basic(reply, 's', lun_origin_to_string(l->origin));
}

static int get_attributes(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                          void *userdata, sd_bus_error *error) {
        const Lun *l = userdata;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r < 0)
                return r;

        /* What a foreign one has is not what anybody wants of us. */
        for (char **a = l->target->foreign ? NULL : l->backstore->attributes; a && *a; a++) {
                const char *equals = strchr(*a, '=');
                _cleanup_free_ char *name = equals ? strndup(*a, (size_t) (equals - *a)) : NULL;

                if (!name)
                        return -ENOMEM;

                r = sd_bus_message_append(reply, "{sv}", name, "s", equals + 1);
                if (r < 0)
                        return r;
        }

        return sd_bus_message_close_container(reply);
}

static int get_last_error(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                          void *userdata, sd_bus_error *error) {
        const LunView *v = view(bus, userdata);

        return bus_lun_append_error(reply, v->error_code, v->error_text);
}

int bus_lun_remove(Engine *e, sd_bus_message *m, Target *t, uint32_t number, const EditOptions *o, sd_bus_error *error) {
        _cleanup_(refusal_done) Refusal refusal = {};
        Request *request;
        Lun *l;
        int r;

        r = probe_before_removal(e, m, t, POLKIT_MANAGE_LUNS, o, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        if (number > LUN_NUMBER_MAX)
                r = refuse(&refusal, REFUSAL_LUN_OUT_OF_RANGE, "LUN numbers go from 0 to %d", LUN_NUMBER_MAX);
        else {
                l = target_lun(t, number);
                r = l ? edit_remove_lun(e, l, o, &refusal) :
                        refuse(&refusal, REFUSAL_NOT_FOUND, "Target %s has no LUN %" PRIu32, t->wwn, number);
        }
        if (r < 0)
                return bus_error_set(error, r, &refusal);
        if (o->dry_run)
                return sd_bus_reply_method_return(m, NULL);

        r = request_new(e, REQUEST_REMOVE_LUN, m, NULL, t, o->timeout, &request);
        if (r < 0)
                return r;

        request->lun = number;
        request->force = o->force;
        return 1;
}

static int method_remove(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Engine *e = engine_of(sd_bus_message_get_bus(m));
        EditOptions o;
        Lun *l = userdata;
        int r;

        r = options_read_edit(m, &o, error);
        if (r < 0)
                return r;

        return bus_lun_remove(e, m, l->target, l->number, &o, error);
}

static int method_get_statistics(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Lun *l = userdata;

        return bus_statistics_answer(engine_of(sd_bus_message_get_bus(m)), m, l->target, l);
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),

        SD_BUS_PROPERTY("Number", "u", get_number, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Source", "s", get_source, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Device", "s", get_view, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("State", "s", get_view, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Health", "s", get_view, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Size", "t", get_view, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("BlockSize", "u", get_view, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("ReadOnly", "b", get_read_only, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Backstore", "s", get_view, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("UnitSerial", "s", get_unit_serial, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("GuestWwid", "s", get_guest_wwid, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Origin", "s", get_origin, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Attributes", "a{sv}", get_attributes, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("LastError", "(ss)", get_last_error, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),

        SD_BUS_METHOD_WITH_ARGS("GetStatistics", SD_BUS_NO_ARGS, SD_BUS_RESULT("a{st}", statistics), method_get_statistics,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Remove", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, method_remove, SD_BUS_VTABLE_UNPRIVILEGED),

        SD_BUS_VTABLE_END,
};

int bus_lun_add(sd_bus *bus, Engine *e) {
        return sd_bus_add_fallback_vtable(bus, NULL, VHOSTSCSI_TARGET_PREFIX, VHOSTSCSI_LUN_INTERFACE, vtable, find, e);
}
