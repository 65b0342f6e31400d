/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bus/device-list.h"
#include "bus/object-path.h"
#include "bus/text.h"
#include "engine/hotplug.h"
#include "engine/lun-view.h"
#include "engine/survey.h"

/* As people count: sda, sdb, sdaa; dm-2, dm-10. */
static int compare_names(const void *a, const void *b) {
        const Device *x = *(Device *const *) a, *y = *(Device *const *) b;

        return strverscmp(x->name, y->name);
}

static int sorted_devices(Engine *e, Device ***ret, size_t *ret_n) {
        _cleanup_free_ Device **devices = NULL;
        size_t n = 0;
        Device *d;

        devices = calloc(inventory_size(e->inventory) + 1, sizeof *devices);
        if (!devices)
                return -ENOMEM;

        INVENTORY_FOREACH(e->inventory, d)
                if (d->kind != DEVICE_FILE)
                        devices[n++] = d;
        qsort(devices, n, sizeof *devices, compare_names);

        *ret = TAKE_PTR(devices);
        *ret_n = n;
        return 0;
}

static int append_luns(Engine *e, sd_bus_message *reply, const Device *d) {
        int r;

        r = sd_bus_message_open_container(reply, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(reply, "s", "luns");
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'v', "ao");
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "o");

        for (char **k = d->keys; r >= 0 && k && *k; k++) {
                Backstore *b = registry_backstore(&e->registry, *k);
                Lun *l;

                if (!b)
                        continue;

                LIST_FOREACH(&b->luns, l, Lun, backstore_link) {
                        _cleanup_free_ char *path = NULL;

                        /* A path of a map has the map's wwid among its keys. */
                        if (lun_view_device(e, l) != d)
                                continue;

                        r = object_path_lun(l->target->wwn, l->number, &path);
                        if (r >= 0)
                                r = sd_bus_message_append(reply, "o", path);
                        if (r < 0)
                                return r;
                }
        }

        for (unsigned depth = 0; r >= 0 && depth < 3; depth++)
                r = sd_bus_message_close_container(reply);
        return r;
}

static int append_device(Engine *e, sd_bus_message *reply, const Device *d, const Mounts *mounts) {
        _cleanup_(surveyed_device_done) SurveyedDevice s = {};
        char path[SOURCE_MAX];
        int r;

        r = survey_device(e, d, mounts, &s);
        if (r < 0)
                return r;

        lun_view_device_path(d, path, sizeof path);

        r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r >= 0)
                r = sd_bus_message_append(reply, "{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}",
                                          "path", "s", text_for_bus(path),
                                          "name", "s", text_for_bus(d->name),
                                          "type", "s", device_kind_to_string(d->kind),
                                          "model", "s", text_for_bus(d->model),
                                          "identity", "s", text_for_bus(d->identity),
                                          "size", "t", d->size,
                                          "verdict", "s", device_verdict_to_string(s.verdict),
                                          "reason", "s", text_for_bus(s.detail));
        if (r >= 0)
                r = append_luns(e, reply, d);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

int device_list_append(Engine *e, sd_bus_message *reply) {
        _cleanup_(mounts_freep) Mounts *mounts = NULL;
        _cleanup_free_ Device **devices = NULL;
        size_t n;
        int r;

        hotplug_flush(e);
        hotplug_look_at_maps(e);
        r = mounts_new(&mounts);
        if (r >= 0)
                r = sorted_devices(e, &devices, &n);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "a{sv}");

        for (size_t i = 0; r >= 0 && i < n; i++)
                r = append_device(e, reply, devices[i], mounts);

        return r < 0 ? r : sd_bus_message_close_container(reply);
}
