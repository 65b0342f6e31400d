/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "engine/record.h"
#include "engine/tombstone.h"
#include "engine/undo.h"

static void mark_all(Engine *e, Target *t) {
        for (size_t i = 0; i < t->n_luns; i++)
                registry_mark_lun(&e->registry, t->luns[i]);
        registry_mark_target(&e->registry, t);
}

void undo_create(Engine *e, Target *t) {
        if (t->revived)
                tombstone_restore(e, t->wwn);

        /* On a full disk its file cannot be written, but it can be removed in the end. */
        target_let_go(t, true);
        (void) record_undo(e, t, "taken back: create %s", t->wwn);
        t->retry_at = 0;
        mark_all(e, t);
}

int undo_destroy(Engine *e, Target *t) {
        bool force = t->force;
        int r;

        target_let_stay(t);
        r = record_undo(e, t, "taken back: destroy %s", t->wwn);
        if (r < 0) {
                target_let_go(t, force);
                mark_all(e, t);
                return r;
        }

        target_set_error(t, NULL, NULL);
        for (size_t i = 0; i < t->n_luns; i++)
                if (t->luns[i]->wanted)
                        lun_set_error(t->luns[i], NULL, NULL);
        t->retry_at = 0;
        mark_all(e, t);
        return 0;
}

int undo_add_lun(Engine *e, Lun *l) {
        bool wanted = l->wanted, force = l->force;
        int r;

        /* No guest can have seen it. */
        l->wanted = false;
        l->force = true;
        if (l->revived)
                tombstone_restore(e, l->backstore->source);
        r = record_undo(e, l->target, "taken back: add-lun %s as LUN %" PRIu32, l->target->wwn, l->number);
        if (r < 0) {
                l->wanted = wanted;
                l->force = force;
                return r;
        }

        l->with_target = false; /* nor does it come back with its target */
        lun_set_error(l, NULL, NULL);
        l->target->retry_at = 0;
        registry_mark_lun(&e->registry, l);
        return 0;
}

int undo_remove_lun(Engine *e, Lun *l) {
        bool force = l->force;
        int r;

        /* Its target was destroyed meanwhile. If that is taken back as well, so is this. */
        if (!l->target->wanted) {
                l->with_target = true;
                return 0;
        }

        l->wanted = true;
        l->force = false;
        r = record_undo(e, l->target, "taken back: remove-lun %s %" PRIu32, l->target->wwn, l->number);
        if (r < 0) {
                l->wanted = false;
                l->force = force;
                return r;
        }

        lun_set_error(l, NULL, NULL);
        l->target->retry_at = 0;
        registry_mark_lun(&e->registry, l);
        return 0;
}
