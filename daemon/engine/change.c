/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdarg.h>

#include "base/log.h"
#include "engine/adopt.h"
#include "engine/change.h"
#include "engine/foreign.h"
#include "engine/owners.h"
#include "engine/part.h"
#include "engine/record.h"
#include "engine/survey.h"

const char *change_action_to_string(ChangeAction a) {
        static const char *const names[_CHANGE_ACTION_MAX] = {
                [CHANGE_KEEP] = "keep",
                [CHANGE_CREATE] = "create",
                [CHANGE_ADOPT] = "adopt",
                [CHANGE_LABEL] = "change",
                [CHANGE_REMOVE] = "remove",
                [CHANGE_RELEASE] = "release",
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

void change_turn_down(Change *c, Refusal *refusal) {
        c->action = CHANGE_REFUSE;
        c->refusal = refusal->kind;
        free(c->note);
        c->note = TAKE_PTR(refusal->text);
        refusal_done(refusal);
}

static int add_refusal(ChangeList *l, const char *wwn, const DocumentTarget *dt, int64_t number, const DocumentLun *dl, Refusal *refusal) {
        int r = add(l, CHANGE_REFUSE, wwn, dt, number, dl, NULL);

        if (r >= 0)
                change_turn_down(l->changes + l->n - 1, refusal);
        return r;
}

LunOptions change_lun_options(const DocumentLun *dl, LunOrigin origin) {
        return (LunOptions) {
                .common = { .timeout = UINT64_MAX },
                .has_number = true,
                .number = dl->number,
                .readonly = dl->readonly,
                .shareable = dl->shareable,
                .path = startswith(dl->source, "by-path="),
                .name = dl->name,
                .serial = dl->serial,
                .attributes = dl->attributes,
                .origin = origin,
        };
}

/* What one look at a document needs. */
typedef struct Planner {
        Engine *engine;
        const Document *document;
        const ChangeOptions *options;
        ChangeList *list;
        Registry planned;       /* what the document makes or takes over, up to here: the rest of it must agree with that, too */
        Mounts *mounts;         /* one look for all; NULL: there was none yet, or it failed */
} Planner;

static void planner_done(Planner *p) {
        registry_done(&p->planned);
        mounts_free(p->mounts);
}

/* The one that stands for it among what is planned. */
static int planned_target(Planner *p, const char *wwn, Target **ret) {
        Target *t = registry_target(&p->planned, wwn);
        uint32_t number;
        int r = 0;

        if (!t) {
                t = target_new(wwn);
                if (!t)
                        return -ENOMEM;
                r = registry_add_target(&p->planned, t, &number);
                if (r < 0)
                        target_free(t);
        }
        if (r >= 0)
                *ret = t;

        return r;
}

static bool is_said(const Planner *p, const Lun *l) {
        const DocumentTarget *dt = document_target(p->document, l->target->wwn);

        return dt && document_target_lun(dt, l->number);
}

/* A disk that stands elsewhere now, where the document does not have it, is moved: 1, and *refusal says how. */
static int refuse_move(Planner *p, const DocumentLun *dl, Refusal *refusal) {
        _cleanup_(refusal_done) Refusal unresolved = {}, moved = {};
        _cleanup_free_ char *source = NULL;
        const Device *d = NULL;
        const Backstore *b;
        const Lun *l, *from = NULL;
        int r;

        r = survey_resolve(p->engine, dl->source, &source, &d, &unresolved);
        if (r < 0)
                return r == REFUSED ? 0 : r;

        b = survey_backstore(p->engine, &p->engine->registry, source, d);
        if (!b)
                return 0;
        LIST_FOREACH(&b->luns, l, const Lun, backstore_link) {
                if (is_said(p, l))
                        return 0;
                from = from ?: l;
        }

        if (refuse(&moved, REFUSAL_LUN_CONFLICT,
                   "%s is LUN %" PRIu32 " of %s, and a disk is moved in two steps: remove it there first, or apply a document that has it nowhere",
                   b->source, from->number, from->target->wwn) != REFUSED)
                return -ENOMEM;

        refusal_done(refusal);
        *refusal = moved;
        moved = (Refusal) {};
        return 1;
}

/* t NULL: it is made with the same document, or taken over. */
static int plan_new_lun(Planner *p, Target *t, const DocumentTarget *dt, const DocumentLun *dl) {
        LunOptions lo = change_lun_options(dl, p->options->origin);
        _cleanup_(refusal_done) Refusal refusal = {};
        uint32_t number;
        int r;

        /* Why it fails, each LUN says. */
        if (!p->mounts && mounts_new(&p->mounts) == -ENOMEM)
                return -ENOMEM;

        lo.common.dry_run = true;
        lo.mounts = p->mounts;
        lo.planned = &p->planned;
        r = planned_target(p, dt->wwn, &lo.planned_target);
        if (r >= 0)
                r = edit_add_lun(p->engine, t, dl->source, &lo, &number, &refusal);
        if (r == REFUSED) {
                r = refusal.kind == REFUSAL_ALREADY_EXISTS || refusal.kind == REFUSAL_LUN_CONFLICT ? refuse_move(p, dl, &refusal) : 0;
                return r < 0 ? r : add_refusal(p->list, dt->wwn, dt, dl->number, dl, &refusal);
        }
        if (r < 0)
                return r;

        return add(p->list, CHANGE_CREATE, dt->wwn, dt, dl->number, dl, "%s", dl->source);
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

/* Does the document mean what the LUN stands on? One that is about to be taken over has its device open. 1, 0, REFUSED or -ENOMEM. */
static int means_same(Planner *p, const Lun *there, const DocumentLun *dl, Refusal *refusal) {
        const Backstore *b = there->backstore;
        _cleanup_free_ char *source = NULL;
        const Device *d = NULL;
        int r;

        /* In the daemon's own words it need not be there now. */
        if (streq(b->source, dl->source))
                return 1;

        r = survey_resolve(p->engine, dl->source, &source, &d, refusal);
        if (r < 0)
                return r;
        if (registry_target(&p->planned, there->target->wwn) == there->target)
                return streq(b->source, source) || (d && d->kind != DEVICE_FILE && d->devnum == b->devnum);

        return survey_backstore(p->engine, &p->engine->registry, source, d) == b;
}

/* action: what becomes of it if the document agrees. */
static int plan_lun_there(Planner *p, Lun *there, const DocumentTarget *dt, const DocumentLun *dl, ChangeAction action) {
        _cleanup_(refusal_done) Refusal refusal = {};
        const Backstore *b = there->backstore;
        const char *difference;
        int r;

        r = means_same(p, there, dl, &refusal);
        if (r == 0)
                r = refuse(&refusal, REFUSAL_LUN_CONFLICT, "The number is taken by %s", b->source);
        else if (r > 0 && !there->wanted)
                r = refuse(&refusal, REFUSAL_LUN_CONFLICT, "It is still being removed");
        else if (r > 0) {
                difference = find_difference(dl, b);
                if (difference)
                        r = refuse(&refusal, REFUSAL_LUN_CONFLICT, "Its %s is another one, which guests know: remove the LUN first if that is meant",
                                   difference);
        }
        if (r == REFUSED)
                return add_refusal(p->list, dt->wwn, dt, dl->number, dl, &refusal);
        if (r < 0)
                return r;

        return action == CHANGE_ADOPT ? add(p->list, action, dt->wwn, dt, dl->number, dl, "%s", b->source) :
                                        add(p->list, action, dt->wwn, dt, dl->number, dl, NULL);
}

/* A LUN, or the target (lun NULL), that the document does not have. */
static int plan_absent(Planner *p, const Target *t, const Lun *lun) {
        int64_t number = lun ? (int64_t) lun->number : -1;
        _cleanup_(refusal_done) Refusal refusal = {};
        _cleanup_free_ char *user = NULL;
        int r;

        if (!p->options->prune)
                return add(p->list, CHANGE_KEEP, t->wwn, NULL, number, NULL, "not in the document");

        r = owners_check_idle(p->engine, t, lun, p->options->common.force, &refusal);
        if (r == REFUSED)
                return add_refusal(p->list, t->wwn, NULL, number, NULL, &refusal);
        if (r >= 0)
                r = owners_find_user(p->engine, t, lun, &user);
        if (r < 0)
                return r;

        return user ? add(p->list, CHANGE_REMOVE, t->wwn, NULL, number, NULL, "%s, and loses it", user) :
                      add(p->list, CHANGE_REMOVE, t->wwn, NULL, number, NULL, NULL);
}

static int plan_release(Planner *p, Target *t) {
        const EditOptions look = { .timeout = UINT64_MAX, .dry_run = true };
        _cleanup_(refusal_done) Refusal refusal = {};
        int r;

        r = adopt_release(p->engine, t, &look, &refusal);
        if (r == REFUSED)
                return add_refusal(p->list, t->wwn, NULL, -1, NULL, &refusal);

        return r < 0 ? r : add(p->list, CHANGE_RELEASE, t->wwn, NULL, -1, NULL, "it was made by somebody else, and stays in the kernel as it is");
}

static int plan_luns(Planner *p, Target *t, const DocumentTarget *dt) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < dt->n_luns; i++) {
                Lun *there = t ? target_lun(t, dt->luns[i].number) : NULL;

                r = there ? plan_lun_there(p, there, dt, dt->luns + i, CHANGE_KEEP) : plan_new_lun(p, t, dt, dt->luns + i);
        }

        for (size_t i = 0; r >= 0 && t && i < t->n_luns; i++)
                if (t->luns[i]->wanted && !document_target_lun(dt, t->luns[i]->number))
                        r = plan_absent(p, t, t->luns[i]);

        return r;
}

static int refuse_nexus(const char *nexus, Refusal *refusal) {
        return refuse(refusal, REFUSAL_ALREADY_EXISTS, "Its nexus is %s, to which persistent reservations are tied; it stays", nexus);
}

/* As it is, and then it must be as the document says, but for what can be changed under a guest: the label, and LUNs that it does not have. */
static int plan_foreign(Planner *p, Target *t, const DocumentTarget *dt) {
        _cleanup_(refusal_done) Refusal refusal = {};
        _cleanup_(target_freep) Target *n = NULL;
        const Target *seen;
        uint32_t number;
        int r;

        r = adopt_look(p->engine, t, &n, &refusal);
        if (r >= 0 && dt->nexus[0] && !isempty(t->seen_nexus) && !streq(dt->nexus, n->nexus))
                r = refuse_nexus(n->nexus, &refusal);
        if (r >= 0) {
                r = registry_add_target(&p->planned, n, &number);
                if (r == -ENOTUNIQ)
                        r = refuse(&refusal, REFUSAL_LUN_CONFLICT, "LUN %" PRIu32 " disagrees with another target's about its backstore", number);
        }
        if (r == REFUSED)
                return add_refusal(p->list, dt->wwn, dt, -1, NULL, &refusal);
        if (r < 0)
                return r;

        seen = TAKE_PTR(n);
        r = isempty(dt->label) ? add(p->list, CHANGE_ADOPT, dt->wwn, dt, -1, NULL, "it is in the kernel, made by somebody else") :
                                 add(p->list, CHANGE_ADOPT, dt->wwn, dt, -1, NULL, "it is in the kernel, made by somebody else; label \"%s\"", dt->label);

        for (size_t i = 0; r >= 0 && i < dt->n_luns; i++) {
                Lun *there = target_lun(seen, dt->luns[i].number);

                r = there ? plan_lun_there(p, there, dt, dt->luns + i, CHANGE_ADOPT) : plan_new_lun(p, NULL, dt, dt->luns + i);
        }

        /* Who uses it is not known before it is ours. */
        for (size_t i = 0; r >= 0 && i < t->n_luns; i++)
                if (!document_target_lun(dt, t->luns[i]->number))
                        r = add(p->list, CHANGE_ADOPT, dt->wwn, NULL, t->luns[i]->number, NULL, "not in the document");

        return r;
}

static int plan_ours(Planner *p, Target *t, const DocumentTarget *dt) {
        EditOptions look = { .timeout = UINT64_MAX, .dry_run = true };
        bool renamed = dt->label && !streq(dt->label, t->label);
        _cleanup_(refusal_done) Refusal refusal = {};
        int r = 0;

        if (!t->wanted)
                r = refuse(&refusal, REFUSAL_ALREADY_EXISTS, "It is still being removed");
        else if (dt->nexus[0] && !streq(dt->nexus, t->nexus))
                r = refuse_nexus(t->nexus, &refusal);
        else if (renamed)
                r = edit_set_label(p->engine, t, dt->label, &look, &refusal);
        if (r == REFUSED)
                return add_refusal(p->list, dt->wwn, dt, -1, NULL, &refusal);
        if (r < 0)
                return r;

        r = renamed ? add(p->list, CHANGE_LABEL, dt->wwn, dt, -1, NULL, "label \"%s\"", dt->label) :
                      add(p->list, CHANGE_KEEP, dt->wwn, dt, -1, NULL, NULL);

        return r < 0 ? r : plan_luns(p, t, dt);
}

static int plan_new(Planner *p, const DocumentTarget *dt) {
        CreateOptions create = { .common = { .timeout = UINT64_MAX, .dry_run = true }, .label = dt->label, .nexus = dt->nexus[0] ? dt->nexus : NULL };
        _cleanup_(refusal_done) Refusal refusal = {};
        char wwn[WWN_SIZE];
        bool existing;
        Target *t;
        int r;

        r = edit_create_target(p->engine, dt->wwn, &create, &t, &existing, wwn, &refusal);
        if (r == REFUSED)
                return add_refusal(p->list, dt->wwn, dt, -1, NULL, &refusal);
        if (r >= 0)
                r = add(p->list, CHANGE_CREATE, dt->wwn, dt, -1, NULL, NULL);

        return r < 0 ? r : plan_luns(p, NULL, dt);
}

static int compare_targets(const void *a, const void *b) {
        const Target *x = *(Target *const *) a, *y = *(Target *const *) b;

        return strcmp(x->wwn, y->wwn);
}

/* Those of ours that the document does not have, by name. */
static int plan_rest(Planner *p) {
        Registry *registry = &p->engine->registry;
        _cleanup_free_ Target **rest = NULL;
        size_t n = 0;
        Target *t;
        int r = 0;

        rest = calloc(map_size(registry->targets) + 1, sizeof *rest);
        if (!rest)
                return -ENOMEM;

        REGISTRY_FOREACH(registry, t)
                if (!t->foreign && t->wanted && !document_target(p->document, t->wwn))
                        rest[n++] = t;
        qsort(rest, n, sizeof *rest, compare_targets);

        for (size_t i = 0; r >= 0 && i < n; i++)
                r = p->options->release && rest[i]->adopted ? plan_release(p, rest[i]) : plan_absent(p, rest[i], NULL);

        return r;
}

static int plan_all(Planner *p) {
        const Document *d = p->document;
        int r;

        r = registry_init(&p->planned, 0);
        for (size_t i = 0; r >= 0 && i < d->n_targets; i++) {
                const DocumentTarget *dt = d->targets + i;
                Target *t = registry_target(&p->engine->registry, dt->wwn);

                r = !t ? plan_new(p, dt) : t->foreign ? plan_foreign(p, t, dt) : plan_ours(p, t, dt);
        }

        return r >= 0 && p->options->prune ? plan_rest(p) : r;
}

int change_list_make(Engine *e, const Document *d, const ChangeOptions *o, ChangeList *ret, Refusal *refusal) {
        _cleanup_(change_list_done) ChangeList l = {};
        Planner p = { .engine = e, .document = d, .options = o, .list = &l };
        int r;

        r = edit_check_generation(e, &o->common, refusal);
        if (r < 0)
                return r;

        r = plan_all(&p);
        planner_done(&p);
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

        /* By force nobody needs to know, but who only looks wants to. */
        if (o->prune && (!o->common.force || o->common.dry_run))
                REGISTRY_FOREACH(&e->registry, t)
                        if (!t->foreign && t->n_luns > 0) {
                                registry_mark_probe(&e->registry, t);
                                wait = true;
                        }

        return wait;
}

int change_list_perform(Engine *e, ChangeList *l, const ChangeOptions *o, Refusal *refusal) {
        _cleanup_(record_endp) Engine *recording = NULL;
        _cleanup_(mounts_freep) Mounts *mounts = NULL;
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

        /* One look for all; if it fails, each LUN looks for itself, and says why not. */
        for (size_t i = 0; !mounts && i < l->n; i++)
                if (l->changes[i].action == CHANGE_CREATE && l->changes[i].lun) {
                        if (mounts_new(&mounts) == -ENOMEM)
                                return -ENOMEM;
                        break;
                }

        recording = record_begin(e, "%s", o->reason ?: "apply");
        for (size_t i = 0, n; r >= 0 && i < l->n; i += n) {
                for (n = 1; i + n < l->n && streq(l->changes[i + n].wwn, l->changes[i].wwn); n++)
                        ;
                r = part_perform(e, l->changes + i, n, o, mounts);
        }

        return r;
}
