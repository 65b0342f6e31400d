/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/object-path.h"
#include "bus/polkit.h"
#include "bus/probe.h"
#include "dbus/vhostscsi-names.h"
#include "engine/foreign.h"
#include "engine/owners.h"
#include "engine/ready.h"

/* Readers share an answer for so long: everybody may read, and each question forks a pass. */
#define FRESH_USEC UINT64_C(100000)

/* An answer that takes longer is none. */
#define ACQUIRE_USEC UINT64_C(5000000)

static int hold(Engine *e, sd_bus_message *m, Target *t, uint64_t timeout) {
        int r;

        r = request_new(e, REQUEST_PROBE, m, NULL, t, timeout, NULL);
        if (r < 0)
                return r;

        registry_mark_probe(&e->registry, t);
        return 0;
}

static int authorize_and_ask(Engine *e, sd_bus_message *m, Target *t, bool needed, unsigned actions, const EditOptions *o, uint64_t timeout,
                             sd_bus_error *error) {
        int r;

        /* Asked on behalf of this very message, which was authorized before: for what is there. */
        if (request_take_probed(e, m) && t)
                return 1;

        r = polkit_authorize(m, actions | (o->force ? POLKIT_FORCE : 0), t ? t->wwn : NULL, error);
        if (r <= 0)
                return r;

        return o->force || !t || !needed || t->foreign ? 1 : hold(e, m, t, timeout);
}

int probe_before_removal(Engine *e, sd_bus_message *m, Target *t, unsigned actions, const EditOptions *o, sd_bus_error *error) {
        return authorize_and_ask(e, m, t, true, actions, o, o->timeout, error);
}

int probe_before_acquisition(Engine *e, sd_bus_message *m, Target *t, unsigned actions, AcquireOptions *o, sd_bus_error *error) {
        /* The time is for what is missing; whoever does not wait for that wants an answer all the same. */
        uint64_t timeout = o->has_wait ? MAX(o->wait, ACQUIRE_USEC) : UINT64_MAX, spent = request_time_probed(e, m);
        int r;

        /* A guest that is said to run is not asked for: whoever is attached is it. Nor where an owner is known. */
        r = authorize_and_ask(e, m, t, !o->running && t && !owners_get(e, t->wwn), actions, &o->common, MIN(timeout, o->common.timeout), error);
        if (r <= 0)
                return r;

        o->wait -= MIN(o->wait, spent);
        o->common.timeout -= o->common.timeout == UINT64_MAX ? 0 : MIN(o->common.timeout, spent);
        return 1;
}

/* Until the survey that was asked for is over. */
static int hold_for_survey(Engine *e, sd_bus_message *m, uint64_t timeout, bool and_passes) {
        Request *request;
        int r;

        r = request_new(e, REQUEST_SURVEY, m, NULL, NULL, timeout, &request);
        if (r < 0)
                return r;

        /* One that runs already did not look closely. */
        request->survey_serial = e->survey_serial + (e->survey_closely ? 1 : 0);
        request->and_passes = and_passes;
        return 0;
}

int probe_before_adoption(Engine *e, sd_bus_message *m, Target *t, const EditOptions *o, sd_bus_error *error) {
        int r;

        if (request_take_probed(e, m))
                return 1;

        r = polkit_authorize(m, POLKIT_MANAGE_TARGETS | (o->force ? POLKIT_FORCE : 0), t ? t->wwn : NULL, error);
        if (r <= 0 || !t || !t->foreign)
                return r;

        /* Calls that come together share a survey. */
        r = foreign_look_closely(e, t);
        return r < 0 ? r : hold_for_survey(e, m, o->timeout, false);
}

int probe_before_changes(Engine *e, sd_bus_message *m, const EditOptions *o, sd_bus_error *error) {
        if (request_take_probed(e, m))
                return 2;

        return polkit_authorize(m, POLKIT_MANAGE_TARGETS | POLKIT_MANAGE_LUNS | (o->force ? POLKIT_FORCE : 0), NULL, error);
}

int probe_hold(Engine *e, sd_bus_message *m, uint64_t timeout) {
        return hold_for_survey(e, m, timeout, true);
}

bool probe_before_reading(Engine *e, sd_bus_message *m, Target *t) {
        if (request_take_probed(e, m) || !t || t->foreign)
                return true;
        /* With news of a guest, no answer is fresh. */
        if (!t->probe && t->endpoint_at > 0 && t->endpoint_at + FRESH_USEC > engine_now(e))
                return true;

        /* Rather an old answer than none. */
        return hold(e, m, t, UINT64_MAX) < 0;
}

/* Get or GetAll of something that Endpoint is among. */
static bool wants_endpoint(sd_bus_message *m) {
        const char *interface, *property;

        if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus.Properties", "GetAll") > 0)
                return sd_bus_message_has_signature(m, "s") && sd_bus_message_read(m, "s", &interface) > 0 &&
                       (isempty(interface) || streq(interface, VHOSTSCSI_TARGET_INTERFACE));

        if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus.Properties", "Get") > 0)
                return sd_bus_message_has_signature(m, "ss") && sd_bus_message_read(m, "ss", &interface, &property) > 0 &&
                       streq(property, "Endpoint") && (isempty(interface) || streq(interface, VHOSTSCSI_TARGET_INTERFACE));

        return false;
}

/* Without a LUN there is nothing to ask vhost_scsi by (facts 1.3). Who has the target nevertheless is found in /proc, but not told as its
 * endpoint. */
static bool knows_endpoint(const Engine *e, const Target *t) {
        return t->n_luns > 0 || fabric_is_bundled(&e->fabric);
}

static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Engine *e = userdata;
        const char *path = sd_bus_message_get_path(m);
        Target *t;

        if (!path || !wants_endpoint(m))
                return 0;

        t = object_path_find_target(e, path);
        return !probe_before_reading(e, m, t && knows_endpoint(e, t) ? t : NULL);
}

int probe_add(sd_bus *bus, Engine *e) {
        return sd_bus_add_filter(bus, NULL, on_message, e);
}
