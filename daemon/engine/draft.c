/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "engine/draft.h"
#include "engine/record.h"
#include "engine/tombstone.h"

static bool lun_is_changed(const Lun *l) {
        switch (l->draft) {
        case LUN_AS_STORED:
                return false;
        case LUN_ADDED:
                return true;
        case LUN_REMOVED:
                return l->was_wanted || l->force != l->was_forced;
        }

        return false;
}

static bool is_changed(const Target *t) {
        if (t->draft.made || t->draft.label || t->draft.foreign)
                return true;

        for (size_t i = 0; i < t->n_luns; i++)
                if (lun_is_changed(t->luns[i]))
                        return true;

        return false;
}

static void forget(Target *t) {
        for (size_t i = 0; i < t->n_luns; i++)
                t->luns[i]->draft = LUN_AS_STORED;

        free(t->draft.label);
        strv_free(t->draft.revived);
        t->draft = (TargetDraft) {};
}

/* Its LUNs are others for the bus: what never changes in a LUN does here. */
static void forget_foreign(Engine *e, Target *foreign) {
        for (size_t i = 0; i < foreign->n_luns; i++)
                if (foreign->luns[i]->published.exists)
                        (void) registry_note_removed(&e->registry, foreign->wwn, foreign->luns[i]->number);

        target_free(foreign);
}

int draft_store(Engine *e, Target *t, Refusal *refusal) {
        int r;

        r = tombstone_set_luns(e, t, refusal);
        if (r >= 0 && is_changed(t))
                r = record_store(e, t, refusal, "change %s", t->wwn);
        if (r < 0) {
                draft_drop(e, t);
                return r;
        }

        tombstone_clear(e, t->draft.revived);
        if (t->draft.foreign)
                forget_foreign(e, t->draft.foreign);
        forget(t);
        return 0;
}

static void put_back(Engine *e, Target *t, Target *foreign) {
        uint32_t number;

        foreign->published = t->published;
        t->published = (TargetPublished) {};
        registry_remove_target(&e->registry, t);
        if (registry_add_target(&e->registry, foreign, &number) < 0) {
                /* The next survey finds it. */
                log_oom();
                target_free(foreign);
                e->survey_wanted = true;
        }
}

void draft_drop(Engine *e, Target *t) {
        Target *foreign = TAKE_PTR(t->draft.foreign);

        for (size_t i = t->n_luns; i > 0; i--) {
                Lun *l = t->luns[i - 1];

                switch (l->draft) {
                case LUN_AS_STORED:
                        break;
                case LUN_ADDED:
                        registry_remove_lun(&e->registry, l);
                        break;
                case LUN_REMOVED:
                        l->wanted = l->was_wanted;
                        l->force = l->was_forced;
                        break;
                }
        }

        if (t->draft.label) {
                free(t->label);
                t->label = TAKE_PTR(t->draft.label);
        }

        if (foreign)
                put_back(e, t, foreign);
        else if (t->draft.made)
                registry_remove_target(&e->registry, t);
        else
                forget(t);
}
