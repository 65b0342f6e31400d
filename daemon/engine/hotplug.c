/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "base/log.h"
#include "engine/autoexport.h"
#include "engine/hotplug.h"
#include "engine/refusal.h"

bool hotplug_judge(Engine *e, Lun *l, const Device *d) {
        const Backstore *b = l->backstore;
        /* One whose instance is gone comes up anew, maybe in the same pass that takes it down. */
        bool stays = l->linked && !lun_is_gone(l, inventory_has_instance(e->inventory, b->devnum, b->diskseq));
        bool usable = d && device_verdict(d, NULL) == DEVICE_USABLE;

        /* What failed with a device that is not there any more is over, if nothing is left of it. */
        bool moot = !usable && !l->present && !b->present;
        _cleanup_free_ char *why = NULL;

        if (stays || !usable || lun_fits(l, d, &why)) {
                if (l->misfit || (moot && l->error_code)) {
                        l->failures = 0;
                        l->retry_at = 0;
                        lun_set_error(l, NULL, NULL);
                        registry_mark_publish(&e->registry, l->target);
                }
                return true;
        }

        if (l->misfit && streq_ptr(why, l->error_text))
                return false;

        log_warning("Target %s, LUN %" PRIu32 ": %s", l->target->wwn, l->number, strempty(why));
        lun_set_error(l, refusal_short_name(REFUSAL_DEVICE_UNSAFE), why);
        l->misfit = true;
        registry_mark_publish(&e->registry, l->target);
        return false;
}

void hotplug_save(Engine *e, Target *t) {
        int r;

        if (!t->unsaved)
                return;

        /* Tried once: a promise that is not stored is noted again after the next start. */
        t->unsaved = false;
        r = store_save(e->store, t);
        if (r < 0)
                log_warning_errno(r, "Cannot store target %s", t->wwn);
}

void hotplug_note(Engine *e, Lun *l, const Device *d) {
        Backstore *b = l->backstore;
        Lun *other;
        int r;

        if (!l->linked || b->devnum != d->devnum || (b->diskseq != 0 && b->diskseq != d->diskseq))
                return;

        r = backstore_promise(b, d->size, d->stable ? d->identity : NULL);
        if (r < 0)
                log_oom();
        if (r <= 0)
                return;

        l->target->unsaved = true;
        LIST_FOREACH(&b->luns, other, Lun, backstore_link)
                if (other->target != l->target) {
                        other->target->unsaved = true;
                        hotplug_save(e, other->target);
                }
}

/* One predicate for "the model asks for a pass": up, when it is down and its device is usable; down, when its instance is gone. Failing
 * paths ask for nothing but telling. */
static bool needs_pass(Engine *e, Lun *l) {
        const Backstore *b = l->backstore;
        Device *d = NULL;

        if (lun_is_gone(l, inventory_has_instance(e->inventory, b->devnum, b->diskseq)))
                return true;
        if (!l->wanted)
                return false;

        if (inventory_resolve(e->inventory, b->source, &d) < 0)
                d = NULL;

        return hotplug_judge(e, l, d) && !l->linked && d && device_verdict(d, NULL) == DEVICE_USABLE;
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
                        hotplug_note(e, l, d);
                        hotplug_save(e, l->target);
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

void hotplug_on_file(Engine *e, const char *source, Device *device) {
        _cleanup_(device_freep) Device *old = NULL;
        InventoryChange change;
        Device *known = NULL;
        int r;

        if (!device) {
                old = inventory_take_file(e->inventory, source);
                if (old)
                        hotplug_mark_device(e, old);
                return;
        }

        r = inventory_put(e->inventory, device, &change, &old);
        if (r < 0) {
                device_free(device);
                log_warning_errno(r, "Cannot keep a file");
                return;
        }

        if (change != INVENTORY_SAME && inventory_resolve(e->inventory, source, &known) >= 0)
                hotplug_mark_device(e, known);
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
