/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <sys/stat.h>

#include "base/log.h"
#include "engine/autoexport.h"
#include "engine/files.h"
#include "engine/hotplug.h"
#include "engine/lun-view.h"
#include "engine/refusal.h"
#include "engine/report.h"
#include "model/source.h"

bool hotplug_judge(Engine *e, Lun *l, const Device *d) {
        const Backstore *b = l->backstore;
        /* One whose instance is gone comes up anew, maybe in the same pass that takes it down. That nothing is open tells another LUN's pass. */
        bool stays = l->linked && (backstore_is_file(b) || (b->devnum != 0 && inventory_has_instance(e->inventory, b->devnum, b->diskseq)));
        bool usable = d && device_verdict(d, NULL) == DEVICE_USABLE;

        /* What failed with a device that is not there any more is over, if nothing is left of it. */
        bool moot = !usable && !l->present && !b->present;
        _cleanup_free_ char *why = NULL;

        if (stays || !usable || lun_fits(l, d, &why)) {
                if (l->misfit || (moot && l->error_code)) {
                        l->failures = 0;
                        l->retry_at = 0;
                        lun_set_error(l, NULL, NULL);
                        registry_mark_publish_lun(&e->registry, l);
                }
                return true;
        }

        if (l->misfit && streq_ptr(why, l->error_text))
                return false;

        log_warning("Target %s, LUN %" PRIu32 ": %s", l->target->wwn, l->number, strempty(why));
        lun_set_error(l, refusal_short_name(REFUSAL_DEVICE_UNSAFE), why);
        l->misfit = true;
        registry_mark_publish_lun(&e->registry, l);
        return false;
}

static void save(Engine *e, Target *t) {
        int r;

        /* Tried once: a promise that is not stored is noted again after the next start. */
        list_unlink(&t->save_link);
        r = store_save(e->store, t);
        if (r < 0)
                log_warning_errno(r, "Cannot store target %s", t->wwn);

        /* As long as the target stays, what a LUN has let go of is nobody's before its file says so. */
        if (!t->wanted)
                return;
        if (r >= 0) {
                registry_forget_finished(&e->registry, t);
                return;
        }

        for (size_t i = 0; i < t->n_luns; i++)
                if (t->luns[i]->finished)
                        report_unstored_lun(e, t->luns[i], r);
}

void hotplug_save_settled(Engine *e) {
        Target *t;

        LIST_FOREACH(&e->registry.unsaved, t, Target, save_link)
                if (!t->worker)
                        save(e, t);
}

void hotplug_save_others(Engine *e, const Target *t) {
        Target *other;

        LIST_FOREACH(&e->registry.unsaved, other, Target, save_link)
                if (other != t)
                        save(e, other);
}

void hotplug_note(Engine *e, Lun *l, const Device *d) {
        Backstore *b = l->backstore;
        Lun *other;
        int r;

        if (!l->linked || b->devnum != d->devnum || (b->diskseq != 0 && b->diskseq != d->diskseq))
                return;

        r = registry_promise(&e->registry, b, d->size, d->stable ? d->identity : NULL);
        if (r < 0)
                log_oom();
        if (r <= 0)
                return;

        LIST_FOREACH(&b->luns, other, Lun, backstore_link)
                registry_mark_unsaved(&e->registry, other->target);
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

static void mark_backstore(Engine *e, const Backstore *b, const Device *d) {
        Lun *l;

        LIST_FOREACH(&b->luns, l, Lun, backstore_link) {
                if (needs_pass(e, l)) {
                        /* News of its device: whatever failed before may go well now. */
                        l->failures = 0;
                        registry_mark_lun(&e->registry, l);
                } else
                        registry_mark_publish_lun(&e->registry, l);
                hotplug_note(e, l, d);
        }
}

void hotplug_mark_device(Engine *e, const Device *d) {
        const Backstore *b;

        for (char **k = d->keys; k && *k; k++) {
                b = registry_backstore(&e->registry, *k);
                if (b)
                        mark_backstore(e, b, d);
        }

        /* One that has it open, and was found by a name that it had then (a map's, before it was renamed). */
        b = NULL;
        while (d->kind != DEVICE_FILE && (b = finder_next_open(&e->registry.finder, d->devnum, b)))
                if (!strv_contains(d->keys, b->source))
                        mark_backstore(e, b, d);
}

static int take_device(Engine *e, dev_t devnum, Device *device) {
        _cleanup_(device_freep) Device *old = NULL;
        InventoryChange change;
        int r;

        if (!device) {
                old = inventory_take(e->inventory, devnum);
                if (old)
                        hotplug_mark_device(e, old);
                autoexport_forget(e, devnum);
                return 0;
        }

        r = inventory_put(e->inventory, device, &change, &old);
        if (r < 0) {
                device_free(device);
                return log_warning_errno(r, "Cannot keep a device");
        }

        autoexport_mark(e, device);
        if (change == INVENTORY_SAME)
                return 0;

        if (old)
                hotplug_mark_device(e, old);
        hotplug_mark_device(e, inventory_by_devnum(e->inventory, devnum));
        return 0;
}

int hotplug_on_device(dev_t devnum, Device *device, void *userdata) {
        Engine *e = userdata;
        int r;

        r = take_device(e, devnum, device);
        if (files_await(e, devnum))
                files_look(e);

        return r;
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

static bool names_backstore(const Engine *e, char *const *keys) {
        for (char *const *k = keys; k && *k; k++)
                if (registry_backstore(&e->registry, *k))
                        return true;

        return false;
}

bool hotplug_is_wanted(dev_t devnum, char *const *keys, void *userdata) {
        const Engine *e = userdata;
        const Device *known = inventory_by_devnum(e->inventory, devnum);

        if (names_backstore(e, keys) || (known && (!isempty(known->wish_target) || names_backstore(e, known->keys))))
                return true;

        /* One that is up, and has lost the name by which it was found; or that exported files are on. */
        return finder_next_open(&e->registry.finder, devnum, NULL) || files_await(e, devnum);
}

void hotplug_flush(Engine *e) {
        if (e->uevents)
                uevents_flush(e->uevents);
}

void hotplug_look_at_map(Engine *e, const Device *d) {
        dev_t devnum = d->devnum;
        Device *now = NULL;
        int r;

        if (!e->uevents || !device_is_map(d))
                return;

        r = uevents_is_suspended(e->uevents, d);
        if (r >= 0 && (r > 0) != d->suspended)
                r = uevents_read_device(e->uevents, devnum, &now);
        if (now)
                hotplug_on_device(devnum, now, e);
        /* That it is gone, its event tells. */
        else if (r < 0 && r != -ENODEV)
                log_warning_errno(r, "Cannot tell whether a map is suspended");
}

void hotplug_look_at_maps(Engine *e) {
        Device *d;

        INVENTORY_FOREACH(e->inventory, d)
                hotplug_look_at_map(e, d);
}

void hotplug_look_at_luns(Engine *e, const Target *t) {
        for (size_t i = 0; i < t->n_luns; i++) {
                const Device *d = lun_view_device(e, t->luns[i]);

                if (d)
                        hotplug_look_at_map(e, d);
        }
}

int hotplug_start(Engine *e) {
        return uevents_enumerate_wanted(e->uevents);
}

void hotplug_catch_up(Engine *e) {
        int r = uevents_catch_up(e->uevents);

        if (r < 0)
                log_warning_errno(r, "Cannot read the devices that no LUN stands on");
}

void hotplug_know(Engine *e, dev_t devnum) {
        if (e->uevents)
                uevents_read_unread(e->uevents, devnum);
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

/* A device that a LUN waits for: it may have come, and udev have made one of these links. */
static int suspect_source(Engine *e, const char *source) {
        static const char *const links[_SOURCE_KIND_MAX][3] = {
                [SOURCE_DM_UUID] = { "/dev/disk/by-id/dm-uuid-" },
                [SOURCE_WWID] = { "/dev/disk/by-id/dm-uuid-mpath-", "/dev/disk/by-id/scsi-", "/dev/disk/by-id/nvme-" },
                [SOURCE_BY_ID] = { "/dev/disk/by-id/" },
                [SOURCE_PATH] = { "" },
        };
        SourceKind kind = source_kind(source);

        for (size_t i = 0; i < ELEMENTSOF(links[kind]) && links[kind][i]; i++) {
                char path[SOURCE_MAX + 64];
                struct stat st;
                int r;

                (void) snprintf(path, sizeof path, "%s%s", links[kind][i], source_value(source));
                if (stat(path, &st) < 0 || !S_ISBLK(st.st_mode))
                        continue;

                r = uevents_suspect(e->uevents, st.st_rdev, true);
                if (r < 0)
                        return r;
        }

        return 0;
}

int hotplug_on_lost(void *userdata) {
        Engine *e = userdata;
        Backstore *b;
        Device *d;
        int r;

        log_notice("News of devices were lost, looking at all of them again");

        INVENTORY_FOREACH(e->inventory, d) {
                if (d->kind == DEVICE_FILE)
                        continue;

                r = uevents_suspect(e->uevents, d->devnum, hotplug_is_wanted(d->devnum, d->keys, e));
                if (r < 0)
                        return r;
        }

        MAP_FOREACH(e->registry.backstores, b) {
                if (b->devnum != 0)
                        continue;

                r = suspect_source(e, b->source);
                if (r < 0)
                        return r;
        }

        return 0;
}

/* ---- guests ---- */

/* What waited for a guest to go need not wait for its time. */
static void look_for_guest(Engine *e, Target *t) {
        registry_mark_probe(&e->registry, t);

        for (size_t i = 0; i < t->n_luns; i++) {
                Lun *l = t->luns[i];

                if (l->wanted || l->retry_at == 0)
                        continue;
                l->retry_at = 0;
                registry_mark_lun(&e->registry, l);
        }

        if (!t->wanted && t->retry_at != 0) {
                t->retry_at = 0;
                registry_mark_target(&e->registry, t);
        }
}

void hotplug_on_guest(const char *wwn, void *userdata) {
        Engine *e = userdata;
        Target *t;

        if (wwn) {
                t = registry_target(&e->registry, wwn);
                if (t && !t->foreign)
                        look_for_guest(e, t);
                return;
        }

        REGISTRY_FOREACH(&e->registry, t)
                if (!t->foreign)
                        look_for_guest(e, t);
}
