/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "engine/adopt.h"
#include "engine/draft.h"
#include "engine/part.h"

typedef struct Part {
        Engine *engine;
        Change *changes;
        size_t n;
        const ChangeOptions *options;
        const Mounts *mounts;
        Target *target;         /* NULL: it was turned down */
        bool drafted;           /* something of it is not stored yet */
} Part;

static EditOptions edit_options(const Part *p) {
        return (EditOptions) { .timeout = UINT64_MAX, .force = p->options->common.force, .later = true };
}

static int create(Part *p, Change *c, Refusal *refusal) {
        CreateOptions o = { .common = edit_options(p), .label = c->target->label, .nexus = c->target->nexus[0] ? c->target->nexus : NULL };
        char wwn[WWN_SIZE];
        bool existing;

        return edit_create_target(p->engine, c->wwn, &o, &p->target, &existing, wwn, refusal);
}

static int adopt(Part *p, Target *t, const Change *c, Refusal *refusal) {
        EditOptions o = edit_options(p);
        Target *n;
        int r;

        r = adopt_target(p->engine, t, &o, &n, refusal);
        if (r < 0)
                return r;

        /* Nobody has given it one in the kernel, so nothing is tied to any. */
        if (!n->up && c->target->nexus[0])
                memcpy(n->nexus, c->target->nexus, WWN_SIZE);
        r = isempty(c->target->label) ? 0 : edit_set_label(p->engine, n, c->target->label, &o, refusal);
        if (r < 0) {
                draft_drop(p->engine, n);
                return r;
        }

        p->target = n;
        return 0;
}

static int perform_target(Part *p) {
        Change *c = p->changes;
        Target *t = registry_target(&p->engine->registry, c->wwn);
        EditOptions o = edit_options(p);
        _cleanup_(refusal_done) Refusal refusal = {};
        int r = 0;

        switch (c->action) {
        case CHANGE_CREATE:
                r = create(p, c, &refusal);
                break;
        case CHANGE_ADOPT:
                r = adopt(p, t, c, &refusal);
                break;
        case CHANGE_LABEL:
                p->target = t;
                r = edit_set_label(p->engine, t, c->target->label, &o, &refusal);
                break;
        case CHANGE_REMOVE:
                /* Nothing else is in its part. */
                r = edit_destroy_target(p->engine, t, &o, &refusal);
                break;
        case CHANGE_RELEASE:
                r = adopt_release(p->engine, t, &o, &refusal);
                break;
        case CHANGE_KEEP:
                p->target = t;
                break;
        case CHANGE_REFUSE:
        case _CHANGE_ACTION_MAX:
                break;
        }

        if (r == REFUSED) {
                change_turn_down(c, &refusal);
                return 0;
        }
        if (r >= 0)
                p->drafted = c->action == CHANGE_CREATE || c->action == CHANGE_ADOPT || c->action == CHANGE_LABEL;

        return r;
}

/* Which disk the guests of another host, or of before, know under this name. */
static int promise(Part *p, const DocumentLun *dl) {
        const Lun *l = target_lun(p->target, dl->number);

        return dl->size > 0 || dl->identity ? registry_promise(&p->engine->registry, l->backstore, dl->size, dl->identity) : 0;
}

static int add_lun(Part *p, const Change *c, Refusal *refusal) {
        LunOptions o = change_lun_options(c->lun, p->options->origin);
        uint32_t number;
        int r;

        o.common.later = true;
        o.mounts = p->mounts;
        r = edit_add_lun(p->engine, p->target, c->lun->source, &o, &number, refusal);
        return r < 0 ? r : promise(p, c->lun);
}

static int perform_lun(Part *p, size_t i) {
        EditOptions o = edit_options(p);
        _cleanup_(refusal_done) Refusal refusal = {};
        Change *c = p->changes + i;
        int r = 0;

        if (c->action == CHANGE_KEEP || c->action == CHANGE_REFUSE)
                return 0;

        if (!p->target)
                r = refuse(&refusal, REFUSAL_NOT_FOUND, "Its target is not there");
        else if (c->action == CHANGE_CREATE)
                r = add_lun(p, c, &refusal);
        else if (c->action == CHANGE_REMOVE)
                r = edit_remove_lun(p->engine, target_lun(p->target, (uint32_t) c->number), &o, &refusal);

        if (r == REFUSED) {
                change_turn_down(c, &refusal);
                return 0;
        }
        p->drafted = p->drafted || r >= 0;
        return r;
}

/* Everything is as it was: what has failed, what the draft had made, and what was not begun. */
static int turn_down(Part *p, const Refusal *why) {
        for (size_t i = 0; i < p->n; i++) {
                _cleanup_(refusal_done) Refusal copy = {};

                if (p->changes[i].action == CHANGE_KEEP || p->changes[i].action == CHANGE_REFUSE)
                        continue;
                if (refuse(&copy, why->kind, "%s", why->text) != REFUSED)
                        return -ENOMEM;
                change_turn_down(p->changes + i, &copy);
        }

        return 0;
}

int part_perform(Engine *e, Change *changes, size_t n, const ChangeOptions *o, const Mounts *mounts) {
        _cleanup_(refusal_done) Refusal refusal = {};
        Part p = { .engine = e, .changes = changes, .n = n, .options = o, .mounts = mounts };
        int r;

        r = perform_target(&p);
        for (size_t i = 1; r >= 0 && i < n; i++)
                r = perform_lun(&p, i);

        if (r < 0) {
                if (p.target)
                        draft_drop(e, p.target);
        } else if (p.drafted)
                r = draft_store(e, p.target, &refusal);
        if (r >= 0)
                return 0;
        if (r != REFUSED)
                (void) refuse(&refusal, REFUSAL_STORE_FAILED, "%s. Nothing was changed", strerror(-r));

        return refusal.text ? turn_down(&p, &refusal) : -ENOMEM;
}
