/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "scale-bare.h"

typedef struct Object {
        uint32_t number;
        char path[96], source[64], device[32], backstore[40], serial[40], wwid[48];
} Object;

typedef struct Group {
        char path[64], wwn[24];
} Group;

static Object *objects;
static Group *groups;
static unsigned n_objects, n_groups;

/* …/naa_2e5001405<group, 9 digits>[/lun/<number>] */
static int parse_path(const char *path, unsigned *ret_group, unsigned *ret_number) {
        int end = 0;

        if (sscanf(path, BARE_PATH "/target/naa_2e5001405%9x%n", ret_group, &end) != 1 || *ret_group >= n_groups)
                return 0;
        if (path[end] == 0)
                return 1;

        return sscanf(path + end, "/lun/%u", ret_number) == 1 ? 2 : 0;
}

static int find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret, sd_bus_error *error) {
        unsigned group, number;

        if (parse_path(path, &group, &number) != 2 || number * n_groups + group >= n_objects)
                return 0;

        *ret = objects + number * n_groups + group;
        return 1;
}

static int find_group(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret, sd_bus_error *error) {
        unsigned group, number;

        if (parse_path(path, &group, &number) != 1)
                return 0;

        *ret = groups + group;
        return 1;
}

static int enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret, sd_bus_error *error) {
        char **nodes = calloc(n_groups + n_objects + 1, sizeof *nodes);

        for (unsigned i = 0; nodes && i < n_groups; i++)
                nodes[i] = strdup(groups[i].path);
        for (unsigned i = 0; nodes && i < n_objects; i++)
                nodes[n_groups + i] = strdup(objects[i].path);

        *ret = nodes;
        return nodes ? 0 : -ENOMEM;
}

#define GETTER(name, ...) GETTER_OF(Object, name, __VA_ARGS__)
#define GETTER_OF(type, name, ...)                                                                                                      \
        static int get_##name(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,        \
                              void *userdata, sd_bus_error *error) {                                                                    \
                _unused_ const type *o = userdata;                                                                                      \
                return sd_bus_message_append(reply, __VA_ARGS__);                                                                       \
        }

GETTER(number, "u", o->number)
GETTER(source, "s", o->source)
GETTER(device, "s", o->device)
GETTER(state, "s", "online")
GETTER(health, "s", "ok")
GETTER(size, "t", UINT64_C(1) << 30)
GETTER(block_size, "u", 512)
GETTER(read_only, "b", false)
GETTER(backstore, "s", o->backstore)
GETTER(serial, "s", o->serial)
GETTER(wwid, "s", o->wwid)
GETTER(origin, "s", "manual")
GETTER(attributes, "a{sv}", 0)
GETTER(error, "(ss)", "", "")

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Number", "u", get_number, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Source", "s", get_source, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Device", "s", get_device, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("State", "s", get_state, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Health", "s", get_health, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Size", "t", get_size, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("BlockSize", "u", get_block_size, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("ReadOnly", "b", get_read_only, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Backstore", "s", get_backstore, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("UnitSerial", "s", get_serial, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("GuestWwid", "s", get_wwid, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Origin", "s", get_origin, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Attributes", "a{sv}", get_attributes, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("LastError", "(ss)", get_error, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_VTABLE_END,
};

GETTER_OF(Group, group_wwn, "s", o->wwn)
GETTER_OF(Group, group_label, "s", "")
GETTER_OF(Group, group_managed_by, "s", "vhscsid")
GETTER_OF(Group, group_portal_group, "u", 1)
GETTER_OF(Group, group_nexus, "s", o->wwn)
GETTER_OF(Group, group_endpoint, "s", "unknown")
GETTER_OF(Group, group_owners, "as", 0)

static int get_group_luns(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply, void *userdata,
                          sd_bus_error *error) {
        int r;

        r = sd_bus_message_open_container(reply, 'a', "o");
        for (unsigned i = (unsigned) ((Group *) userdata - groups); r >= 0 && i < n_objects; i += n_groups)
                r = sd_bus_message_append_basic(reply, 'o', objects[i].path);

        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static const sd_bus_vtable group_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Wwn", "s", get_group_wwn, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Label", "s", get_group_label, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("State", "s", get_state, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("ManagedBy", "s", get_group_managed_by, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("PortalGroup", "u", get_group_portal_group, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Nexus", "s", get_group_nexus, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Endpoint", "s", get_group_endpoint, 0, 0),
        SD_BUS_PROPERTY("Owners", "as", get_group_owners, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Luns", "ao", get_group_luns, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("LastError", "(ss)", get_error, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_VTABLE_END,
};

int bare_add(sd_bus *bus, unsigned n, unsigned n_targets) {
        int r;

        objects = g_new0(Object, n);
        groups = g_new0(Group, n_targets);
        n_objects = n;
        n_groups = n_targets;
        for (unsigned i = 0; i < n_targets; i++) {
                snprintf(groups[i].path, sizeof groups[i].path, BARE_PATH "/target/naa_2e5001405%09x", i);
                snprintf(groups[i].wwn, sizeof groups[i].wwn, "naa.5001405%09x", i);
        }
        for (unsigned i = 0; i < n; i++) {
                Object *o = objects + i;

                o->number = i / n_targets;
                snprintf(o->path, sizeof o->path, "%s/lun/%u", groups[i % n_targets].path, o->number);
                snprintf(o->source, sizeof o->source, "dm-uuid=mpath-360000000000000000e00000000%06x", i);
                snprintf(o->device, sizeof o->device, "/dev/mapper/mpath%06x", i);
                snprintf(o->backstore, sizeof o->backstore, "iblock_%u/d-%012x", i, i);
                snprintf(o->serial, sizeof o->serial, "00000000-0000-5000-8000-%012x", i);
                snprintf(o->wwid, sizeof o->wwid, "wwn-0x6001405%025x", i);
        }

        r = sd_bus_add_fallback_vtable(bus, NULL, BARE_PATH "/target", "org.vhostscsi.Target", group_vtable, find_group, NULL);
        if (r >= 0)
                r = sd_bus_add_fallback_vtable(bus, NULL, BARE_PATH "/target", "org.vhostscsi.Lun", vtable, find, NULL);
        if (r >= 0)
                r = sd_bus_add_node_enumerator(bus, NULL, BARE_PATH "/target", enumerate, NULL);
        return r < 0 ? r : sd_bus_add_object_manager(bus, NULL, BARE_PATH);
}

void bare_done(void) {
        g_free(objects);
        g_free(groups);
        objects = NULL;
        groups = NULL;
        n_objects = n_groups = 0;
}
