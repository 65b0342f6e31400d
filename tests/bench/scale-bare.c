/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "scale-bare.h"

typedef struct Object {
        uint32_t number;
        char path[64], source[64], device[32], backstore[40], serial[40], wwid[48];
} Object;

static Object *objects;
static unsigned n_objects;

static int find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret, sd_bus_error *error) {
        const char *number = strrchr(path, '/') + 1;
        uint32_t n;

        if (parse_u32(number, &n) < 0 || n >= n_objects)
                return 0;

        *ret = objects + n;
        return 1;
}

static int enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret, sd_bus_error *error) {
        char **nodes = calloc(n_objects + 1, sizeof *nodes);

        for (unsigned i = 0; nodes && i < n_objects; i++)
                nodes[i] = strdup(objects[i].path);

        *ret = nodes;
        return nodes ? 0 : -ENOMEM;
}

#define GETTER(name, ...)                                                                                                               \
        static int get_##name(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,        \
                              void *userdata, sd_bus_error *error) {                                                                    \
                _unused_ const Object *o = userdata;                                                                                    \
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

int bare_add(sd_bus *bus, unsigned n) {
        int r;

        objects = g_new0(Object, n);
        n_objects = n;
        for (unsigned i = 0; i < n; i++) {
                Object *o = objects + i;

                o->number = i;
                snprintf(o->path, sizeof o->path, BARE_PATH "/target/naa_2e5001405%09x/lun/%u", i / 16, i);
                snprintf(o->source, sizeof o->source, "dm-uuid=mpath-360000000000000000e00000000%06x", i);
                snprintf(o->device, sizeof o->device, "/dev/mapper/mpath%06x", i);
                snprintf(o->backstore, sizeof o->backstore, "iblock_%u/d-%012x", i, i);
                snprintf(o->serial, sizeof o->serial, "00000000-0000-5000-8000-%012x", i);
                snprintf(o->wwid, sizeof o->wwid, "wwn-0x6001405%025x", i);
        }

        r = sd_bus_add_fallback_vtable(bus, NULL, BARE_PATH "/target", "org.vhostscsi.Lun", vtable, find, NULL);
        if (r >= 0)
                r = sd_bus_add_node_enumerator(bus, NULL, BARE_PATH "/target", enumerate, NULL);
        return r < 0 ? r : sd_bus_add_object_manager(bus, NULL, BARE_PATH);
}

void bare_done(void) {
        g_free(objects);
        objects = NULL;
        n_objects = 0;
}
