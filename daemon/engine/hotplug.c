/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "engine/autoexport.h"
#include "engine/hotplug.h"

/* One predicate for "the model asks for a pass": up, when it is down and its device is usable; down, when its instance is gone. Failing
 * paths ask for nothing but telling. */
static bool needs_pass(Engine *e, const Lun *l) {
        const Backstore *b = l->backstore;
        Device *d = NULL;

        if (!l->wanted)
                return false;
        if (lun_is_gone(l, inventory_has_instance(e->inventory, b->devnum, b->diskseq)))
                return true;

        return !l->linked && inventory_resolve(e->inventory, b->source, &d) >= 0 && device_verdict(d, NULL) == DEVICE_USABLE;
}

void hotplug_mark_device(Engine *e, const Device *d) {
        for (char **k = d->keys; k && *k; k++) {
                Backstore *b = registry_backstore(&e->registry, *k);
                Lun *l;

                if (!b)
                        continue;

                LIST_FOREACH(&b->luns, l, Lun, backstore_link) {
                        if (needs_pass(e, l)) {
                                /* News of its device: whatever failed before may go well now. */
                                l->failures = 0;
                                registry_mark_lun(&e->registry, l);
                        } else
                                registry_mark_publish(&e->registry, l->target);
                }
        }
}

void hotplug_on_device(dev_t devnum, Device *device, void *userdata) {
        _cleanup_(device_freep) Device *old = NULL;
        Engine *e = userdata;
        InventoryChange change;
        int r;

        if (!device) {
                old = inventory_take(e->inventory, devnum);
                if (old)
                        hotplug_mark_device(e, old);
                autoexport_forget(e, devnum);
                return;
        }

        r = inventory_put(e->inventory, device, &change, &old);
        if (r < 0) {
                device_free(device);
                log_warning_errno(r, "Cannot keep a device");
                return;
        }

        autoexport_mark(e, device);
        if (change == INVENTORY_SAME)
                return;

        if (old)
                hotplug_mark_device(e, old);
        hotplug_mark_device(e, inventory_by_devnum(e->inventory, devnum));
}

int hotplug_enumerate(Engine *e) {
        int r;

        if (!e->uevents)
                return 0;

        inventory_unmark(e->inventory);
        r = uevents_enumerate(e->uevents);
        if (r < 0)
                return r;

        for (;;) {
                _cleanup_(device_freep) Device *gone = inventory_take_unmarked(e->inventory);

                if (!gone)
                        return 0;
                hotplug_mark_device(e, gone);
                autoexport_forget(e, gone->devnum);
        }
}

void hotplug_on_lost(void *userdata) {
        Engine *e = userdata;
        int r;

        log_notice("News of devices were lost, reading all of them again");
        r = hotplug_enumerate(e);
        if (r < 0)
                log_warning_errno(r, "Cannot enumerate devices");
}
