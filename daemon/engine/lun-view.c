/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/files.h"
#include "engine/lun-view.h"
#include "engine/refusal.h"

Device *lun_view_device(Engine *e, const Lun *l) {
        _cleanup_free_ char *text = NULL;
        const Backstore *b = l->backstore;
        const char *source = b->source;
        SourceKind kind;
        Device *d;

        /* What is open is what the guest has, whatever its name means by now. */
        if (l->linked && b->devnum != 0 && !backstore_is_file(b) && inventory_has_instance(e->inventory, b->devnum, b->diskseq))
                return inventory_by_devnum(e->inventory, b->devnum);

        /* A foreign one names its device as its maker did. */
        if (!source && b->device && source_parse(b->device, &kind, &text, NULL) >= 0)
                source = text;

        return source && inventory_resolve(e->inventory, source, &d) >= 0 ? d : NULL;
}

void lun_view_device_path(const Device *d, char *ret, size_t size) {
        if (isempty(d->dm_name))
                snprintf(ret, size, "%s", d->node);
        else
                snprintf(ret, size, "/dev/mapper/%s", d->dm_name);
}

/* It would wait for ever, and nobody see why: a WWID that is not unique, or paths that nobody has put together. */
static bool is_ambiguous(Engine *e, const Backstore *b) {
        Device *d;

        return b->source && inventory_resolve(e->inventory, b->source, &d) == -ENOTUNIQ;
}

void lun_view_make(Engine *e, const Lun *l, LunView *ret) {
        const Backstore *b = l->backstore;
        const Device *d = lun_view_device(e, l);
        bool gone = lun_is_gone(l, inventory_has_instance(e->inventory, b->devnum, b->diskseq));

        ret->state = lun_state(l, d, gone);
        ret->health = lun_health(l, d, gone);
        ret->size = d ? d->size : 0;
        ret->block_size = d ? d->block_size : 0;

        ret->ambiguous = ret->state == LUN_WAITING && is_ambiguous(e, b);
        ret->error_code = ret->ambiguous ? refusal_short_name(REFUSAL_NOT_READY) : l->error_code;
        ret->error_text = ret->ambiguous ? "Several devices answer to the name of its disk, and there is no map of them" : l->error_text;

        if (l->linked && backstore_is_file(b)) {
                /* The guest has what was opened, also when its filesystem is not to be found at that place any more. */
                ret->size = b->size;
                ret->block_size = FILES_SECTOR;
                snprintf(ret->device, sizeof ret->device, "%s", source_value(b->source));
        } else if (d)
                lun_view_device_path(d, ret->device, sizeof ret->device);
        else
                snprintf(ret->device, sizeof ret->device, "%s", strempty(b->device));

        if (b->place)
                snprintf(ret->place, sizeof ret->place, "%s", b->place);
        else if (b->name)
                backstore_place(b, ret->place);
        else
                ret->place[0] = 0;
}
