/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdarg.h>

#include "base/log.h"
#include "engine/adopt.h"
#include "engine/change.h"
#include "engine/foreign.h"
#include "engine/owners.h"
#include "engine/record.h"
#include "engine/survey.h"

const char *change_action_to_string(ChangeAction a) {
        static const char *const names[_CHANGE_ACTION_MAX] = {
                [CHANGE_KEEP] = "keep",
                [CHANGE_CREATE] = "create",
                [CHANGE_ADOPT] = "adopt",
                [CHANGE_LABEL] = "change",
                [CHANGE_REMOVE] = "remove",
                [CHANGE_REFUSE] = "refuse",
        };

        return names[a];
}

void change_list_done(ChangeList *l) {
        for (size_t i = 0; i < l->n; i++)
                free(l->changes[i].note);
        free(l->changes);
        *l = (ChangeList) {};
}

static int set_note(Change *c, const char *format, va_list ap) {
        char *note = NULL;

        if (format && vasprintf(&note, format, ap) < 0)
                return -ENOMEM;

        free(c->note);
        c->note = note;
        return 0;
}

static int add(ChangeList *l, ChangeAction action, const char *wwn, const DocumentTarget *dt, int64_t number, const DocumentLun *dl,
               const char *format, ...) _printf_(7, 8);

/* format NULL: no note. */
static int add(ChangeList *l, ChangeAction action, const char *wwn, const DocumentTarget *dt, int64_t number, const DocumentLun *dl,
               const char *format, ...) {
        Change c = { .action = action, .number = number, .target = dt, .lun = dl };
        va_list ap;
        int r;

        if (l->n == l->room) {
                size_t room = l->room > 0 ? l->room * 2 : 32;
                Change *p = realloc(l->changes, room * sizeof *p);

                if (!p)
                        return -ENOMEM;
                l->changes = p;
                l->room = room;
        }

        snprintf(c.wwn, sizeof c.wwn, "%s", wwn);
        va_start(ap, format);
        r = set_note(&c, format, ap);
        va_end(ap);
        if (r < 0)
                return r;

        l->changes[l->n++] = c;
        return 0;
}

/* Takes what is in the refusal. */
static void turn_down(Change *c, Refusal *refusal) {
        c->action = CHANGE_REFUSE;
        c->refusal = refusal->kind;
        free(c->note);
        c->note = TAKE_PTR(refusal->text);
        refusal_done(refusal);
}

static int add_refusal(ChangeList *l, const char *wwn, const DocumentTarget *dt, int64_t number, const DocumentLun *dl, Refusal *refusal) {
        int r = add(l, CHANGE_REFUSE, wwn, dt, number, dl, NULL);

        if (r >= 0)
                turn_down(l->changes + l->n - 1, refusal);
        return r;
}

static LunOptions lun_options(const DocumentLun *dl, const ChangeOptions *o, bool dry_run) {
        return (LunOptions) {
                .common = { .timeout = UINT64_MAX, .dry_run = dry_run, .later = !dry_run },
                .has_number = true,
                .number = dl->number,
                .readonly = dl->readonly,
                .shareable = dl->shareable,
                .path = startswith(dl->source, "by-path="),
                .name = dl->name,
                .serial = dl->serial,
                .attributes = dl->attributes,
                .origin = o->origin,
        };
}

/* t NULL: it is made with the same document. */
static int plan_new_lun(Engine *e, Target *t, const DocumentTarget *dt, const DocumentLun *dl, const ChangeOptions *o, ChangeList *l) {
        LunOptions lo = lun_options(dl, o, true);
        _cleanup_(refusal_done) Refusal refusal = {};
        uint32_t number;
        int r;

        r = edit_add_lun(e, t, dl->source, &lo, &number, &refusal);
        if (r == REFUSED)
                return add_refusal(l, dt->wwn, dt, dl->number, dl, &refusal);
        if (r < 0)
                return r;

        return add(l, CHANGE_CREATE, dt->wwn, dt, dl->number, dl, "%s", dl->source);
}

/* What the document says of a LUN that is there, and what is not so. */
static const char *find_difference(const DocumentLun *dl, const Backstore *b) {
        if (dl->name && !streq(dl->name, b->name))
                return "name";
        if (dl->serial && !streq(dl->serial, b->serial))
                return "serial";
        if (dl->readonly != b->readonly)
                return "readonly";
        if (dl->attributes && !strv_equal(dl->attributes, b->attributes))
                return "attributes";

        return NULL;
}

static int plan_lun_there(Engine *e, Lun *there, const DocumentTarget *dt, const DocumentLun *dl, ChangeList *l) {
        _cleanup_(refusal_done) Refusal refusal = {};
        _cleanup_free_ char *source = NULL;
        const Device *d = NULL;
        const char *difference;
        bool same;
        int r = 0;

        /* In the daemon's own words it need not be there now. */
        same = streq(there->backstore->source, dl->source);
        if (!same) {
                r = survey_resolve(e, dl->source, &source, &d, &refusal);
                if (r == REFUSED)
                        return add_refusal(l, dt->wwn, dt, dl->number, dl, &refusal);
                if (r < 0)
                        return r;
                same = survey_backstore(e, source, d) == there->backstore;
        }

        if (!same)
                r = refuse(&refusal, REFUSAL_LUN_CONFLICT, "The number is taken by %s", there->backstore->source);
        else if (!there->wanted)
                r = refuse(&refusal, REFUSAL_LUN_CONFLICT, "It is still being removed");
        else {
                difference = find_difference(dl, there->backstore);
                if (difference)
                        r = refuse(&refusal, REFUSAL_LUN_CONFLICT, "Its %s is another one, which guests know: remove the LUN first if that is meant",
                                   difference);
        }
        if (r == REFUSED)
                return add_refusal(l, dt->wwn, dt, dl->number, dl, &refusal);

        return r < 0 ? r : add(l, CHANGE_KEEP, dt->wwn, dt, dl->number, dl, NULL);
}

/* A LUN, or the target (l NULL), that the document does not have. */
static int plan_absent(const Engine *e, const Target *t, const Lun *lun, const ChangeOptions *o, ChangeList *l) {
        int64_t number = lun ? (int64_t) lun->number : -1;
        _cleanup_(refusal_done) Refusal refusal = {};
        int r;

        if (!o->prune)
                return add(l, CHANGE_KEEP, t->wwn, NULL, number, NULL, "not in the document");

        r = owners_check_idle(e, t, lun, false, &refusal);
        if (r >= 0)
                return add(l, CHANGE_REMOVE, t->wwn, NULL, number, NULL, NULL);
        if (r == REFUSED && o->common.force)
                return add(l, CHANGE_REMOVE, t->wwn, NULL, number, NULL, "a guest has it, and loses it");

        return r == REFUSED ? add_refusal(l, t->wwn, NULL, number, NULL, &refusal) : r;
}

static int plan_luns(Engine *e, Target *t, const DocumentTarget *dt, const ChangeOptions *o, ChangeList *l) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < dt->n_luns; i++) {
                Lun *there = t ? target_lun(t, dt->luns[i].number) : NULL;

                r = there ? plan_lun_there(e, there, dt, dt->luns + i, l) : plan_new_lun(e, t, dt, dt->luns + i, o, l);
        }

        for (size_t i = 0; r >= 0 && t && i < t->n_luns; i++)
                if (t->luns[i]->wanted && !document_target_lun(dt, t->luns[i]->number))
                        r = plan_absent(e, t, t->luns[i], o, l);

        return r;
}

/* Taken over as it is; what the document says beyond that comes with the next time. */
static int plan_foreign(Engine *e, Target *t, const DocumentTarget *dt, ChangeList *l) {
        EditOptions look = { .timeout = UINT64_MAX, .dry_run = true };
        _cleanup_(refusal_done) Refusal refusal = {};
        Target *none;
        int r;

        r = adopt_target(e, t, &look, &none, &refusal);
        if (r == REFUSED)
                return add_refusal(l, dt->wwn, dt, -1, NULL, &refusal);
        if (r >= 0)
                r = add(l, CHANGE_ADOPT, dt->wwn, dt, -1, NULL, "it is in the kernel, made by somebody else");

        for (size_t i = 0; r >= 0 && i < dt->n_luns; i++) {
                const DocumentLun *dl = dt->luns + i;
                const Lun *there = target_lun(t, dl->number);

                if (there && (!dl->serial || streq_ptr(dl->serial, there->backstore->serial)))
                        r = add(l, CHANGE_ADOPT, dt->wwn, dt, dl->number, dl, "%s", strempty(there->backstore->device));
                else if (there)
                        r = add(l, CHANGE_REFUSE, dt->wwn, dt, dl->number, dl, "In the kernel it is another disk, with serial %s",
                                strempty(there->backstore->serial));
                else
                        r = add(l, CHANGE_CREATE, dt->wwn, dt, dl->number, dl, "%s", dl->source);
                if (r >= 0 && l->changes[l->n - 1].action == CHANGE_REFUSE)
                        l->changes[l->n - 1].refusal = REFUSAL_LUN_CONFLICT;
        }

        return r;
}

static int plan_ours(Engine *e, Target *t, const DocumentTarget *dt, const ChangeOptions *o, ChangeList *l) {
        _cleanup_(refusal_done) Refusal refusal = {};
        int r = 0;

        if (!t->wanted)
                r = refuse(&refusal, REFUSAL_ALREADY_EXISTS, "It is still being removed");
        else if (dt->nexus[0] && !streq(dt->nexus, t->nexus))
                r = refuse(&refusal, REFUSAL_ALREADY_EXISTS, "Its nexus is %s, to which persistent reservations are tied; it stays", t->nexus);
        if (r == REFUSED)
                return add_refusal(l, dt->wwn, dt, -1, NULL, &refusal);
        if (r < 0)
                return r;

        if (dt->label && !streq(dt->label, t->label))
                r = add(l, CHANGE_LABEL, dt->wwn, dt, -1, NULL, "label \"%s\"", dt->label);
        else
                r = add(l, CHANGE_KEEP, dt->wwn, dt, -1, NULL, NULL);

        return r < 0 ? r : plan_luns(e, t, dt, o, l);
}

static int plan_new(Engine *e, const DocumentTarget *dt, const ChangeOptions *o, ChangeList *l) {
        CreateOptions create = { .common = { .timeout = UINT64_MAX, .dry_run = true }, .label = dt->label, .nexus = dt->nexus[0] ? dt->nexus : NULL };
        _cleanup_(refusal_done) Refusal refusal = {};
        char wwn[WWN_SIZE];
        bool existing;
        Target *t;
        int r;

        r = edit_create_target(e, dt->wwn, &create, &t, &existing, wwn, &refusal);
        if (r == REFUSED)
                return add_refusal(l, dt->wwn, dt, -1, NULL, &refusal);
        if (r >= 0)
                r = add(l, CHANGE_CREATE, dt->wwn, dt, -1, NULL, NULL);

        return r < 0 ? r : plan_luns(e, NULL, dt, o, l);
}

static int compare_targets(const void *a, const void *b) {
        const Target *x = *(Target *const *) a, *y = *(Target *const *) b;

        return strcmp(x->wwn, y->wwn);
}

/* Those of ours that the document does not have, by name. */
static int plan_rest(Engine *e, const Document *d, const ChangeOptions *o, ChangeList *l) {
        _cleanup_free_ Target **rest = NULL;
        size_t n = 0;
        Target *t;
        int r = 0;

        rest = calloc(map_size(e->registry.targets) + 1, sizeof *rest);
        if (!rest)
                return -ENOMEM;

        REGISTRY_FOREACH(&e->registry, t)
                if (!t->foreign && t->wanted && !document_target(d, t->wwn))
                        rest[n++] = t;
        qsort(rest, n, sizeof *rest, compare_targets);

        for (size_t i = 0; r >= 0 && i < n; i++)
                r = plan_absent(e, rest[i], NULL, o, l);

        return r;
}

int change_list_make(Engine *e, const Document *d, const ChangeOptions *o, ChangeList *ret, Refusal *refusal) {
        _cleanup_(change_list_done) ChangeList l = {};
        int r;

        r = edit_check_generation(e, &o->common, refusal);
        for (size_t i = 0; r >= 0 && i < d->n_targets; i++) {
                const DocumentTarget *dt = d->targets + i;
                Target *t = registry_target(&e->registry, dt->wwn);

                r = !t ? plan_new(e, dt, o, &l) : t->foreign ? plan_foreign(e, t, dt, &l) : plan_ours(e, t, dt, o, &l);
        }
        if (r >= 0 && o->prune)
                r = plan_rest(e, d, o, &l);
        if (r < 0)
                return r;

        *ret = l;
        l = (ChangeList) {};
        return 0;
}

bool change_list_must_look(Engine *e, const Document *d, const ChangeOptions *o) {
        bool wait = false;
        Target *t;

        for (size_t i = 0; i < d->n_targets; i++) {
                t = registry_target(&e->registry, d->targets[i].wwn);
                if (!t || !t->foreign)
                        continue;

                wait = foreign_look_closely(e, t) >= 0 || wait;
        }

        if (o->prune && !o->common.force)
                REGISTRY_FOREACH(&e->registry, t)
                        if (!t->foreign && t->n_luns > 0) {
                                registry_mark_probe(&e->registry, t);
                                wait = true;
                        }

        return wait;
}

/* The part of one target: from its own change to the last of its LUNs'. */
typedef struct Part {
        Engine *engine;
        Change *changes;
        size_t n;
        const ChangeOptions *options;
        Target *target;         /* NULL: it was turned down */
        bool made;
        bool *added;            /* by change: a LUN that is not stored yet */
        size_t n_added;
} Part;

static int perform_target(Part *p) {
        Change *c = p->changes;
        EditOptions o = { .timeout = UINT64_MAX, .force = p->options->common.force };
        CreateOptions create = { .common = { .timeout = UINT64_MAX, .later = true } };
        _cleanup_(refusal_done) Refusal refusal = {};
        char wwn[WWN_SIZE];
        bool existing;
        Target *t = registry_target(&p->engine->registry, c->wwn);
        int r = 0;

        switch (c->action) {
        case CHANGE_CREATE:
                create.label = c->target->label;
                create.nexus = c->target->nexus[0] ? c->target->nexus : NULL;
                r = edit_create_target(p->engine, c->wwn, &create, &t, &existing, wwn, &refusal);
                p->made = r >= 0;
                break;
        case CHANGE_ADOPT:
                r = adopt_target(p->engine, t, &o, &t, &refusal);
                break;
        case CHANGE_LABEL:
                r = edit_set_label(p->engine, t, c->target->label, &o, &refusal);
                break;
        case CHANGE_REMOVE:
                r = edit_destroy_target(p->engine, t, &o, &refusal);
                break;
        case CHANGE_KEEP:
        case CHANGE_REFUSE:
        case _CHANGE_ACTION_MAX:
                break;
        }

        if (r == REFUSED) {
                turn_down(c, &refusal);
                return 0;
        }
        if (r >= 0 && c->action != CHANGE_REFUSE)
                p->target = t;

        return r;
}

/* Which disk the guests of another host, or of before, know under this name. */
static int promise(Part *p, const DocumentLun *dl) {
        const Lun *l = target_lun(p->target, dl->number);

        return dl->size > 0 || dl->identity ? registry_promise(&p->engine->registry, l->backstore, dl->size, dl->identity) : 0;
}

static int perform_lun(Part *p, size_t i) {
        LunOptions lo = p->changes[i].lun ? lun_options(p->changes[i].lun, p->options, false) : (LunOptions) {};
        EditOptions o = { .timeout = UINT64_MAX, .force = p->options->common.force };
        _cleanup_(refusal_done) Refusal refusal = {};
        Change *c = p->changes + i;
        uint32_t number;
        int r = 0;

        if (c->action == CHANGE_CREATE && !p->target)
                r = refuse(&refusal, REFUSAL_NOT_FOUND, "Its target was not made");
        else if (c->action == CHANGE_CREATE) {
                r = edit_add_lun(p->engine, p->target, c->lun->source, &lo, &number, &refusal);
                if (r >= 0) {
                        p->added[i] = true;
                        p->n_added++;
                        r = promise(p, c->lun);
                }
        } else if (c->action == CHANGE_REMOVE)
                r = edit_remove_lun(p->engine, target_lun(p->target, (uint32_t) c->number), &o, &refusal);

        if (r != REFUSED)
                return r;

        turn_down(c, &refusal);
        return 0;
}

/* It was not stored: in the registry only, and no pass has seen it. */
static int take_back(Part *p, const Refusal *why) {
        for (size_t i = 0; i < p->n; i++) {
                _cleanup_(refusal_done) Refusal copy = {};

                if (p->added[i])
                        registry_remove_lun(&p->engine->registry, target_lun(p->target, (uint32_t) p->changes[i].number));
                if (!p->added[i] && !(p->made && i == 0))
                        continue;

                if (refuse(&copy, why->kind, "%s", why->text) != REFUSED)
                        return -ENOMEM;
                turn_down(p->changes + i, &copy);
        }

        if (p->made)
                registry_remove_target(&p->engine->registry, p->target);
        return 0;
}

static int perform_part(Engine *e, Change *changes, size_t n, const ChangeOptions *o) {
        _cleanup_free_ bool *added = calloc(n, sizeof *added);
        _cleanup_(refusal_done) Refusal refusal = {};
        Part p = { .engine = e, .changes = changes, .n = n, .options = o, .added = added };
        int r;

        if (!added)
                return -ENOMEM;

        r = changes->number < 0 ? perform_target(&p) : 0;
        for (size_t i = 1; r >= 0 && i < n; i++)
                r = perform_lun(&p, i);

        /* Once for all that was added. */
        if (r >= 0 && (p.made || p.n_added > 0))
                r = edit_store(e, p.target, &refusal);
        if (r >= 0 || (!p.made && p.n_added == 0))
                return r;
        if (r != REFUSED)
                (void) refuse(&refusal, REFUSAL_STORE_FAILED, "%s. Nothing was changed", strerror(-r));

        return refusal.text ? take_back(&p, &refusal) : -ENOMEM;
}

int change_list_perform(Engine *e, ChangeList *l, const ChangeOptions *o, Refusal *refusal) {
        _cleanup_(record_endp) Engine *recording = NULL;
        int r = 0;

        for (size_t i = 0; !o->partly && i < l->n; i++) {
                const Change *c = l->changes + i;

                if (c->action != CHANGE_REFUSE)
                        continue;
                if (c->number < 0)
                        return refuse(refusal, c->refusal, "Target %s: %s", c->wwn, c->note);

                return refuse(refusal, c->refusal, "Target %s, LUN %" PRIi64 ": %s", c->wwn, c->number, c->note);
        }
        if (o->common.dry_run)
                return 0;

        recording = record_begin(e, "%s", o->reason ?: "apply");
        for (size_t i = 0, n; r >= 0 && i < l->n; i += n) {
                for (n = 1; i + n < l->n && streq(l->changes[i + n].wwn, l->changes[i].wwn); n++)
                        ;
                r = perform_part(e, l->changes + i, n, o);
        }

        return r;
}
