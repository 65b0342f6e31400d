/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/log.h"
#include "engine/tombstone.h"
#include "model/source.h"
#include "model/wish.h"

/* A LUN that was added by hand counts as well, if a rule would bring it back at the next event. */
static bool is_wished(const Engine *e, const Lun *l) {
        Device *d = NULL;

        if (l->origin == LUN_UDEV)
                return true;

        return inventory_resolve(e->inventory, l->backstore->source, &d) >= 0 && !isempty(d->wish_target);
}

static int set(Engine *e, const Target *t, char *const *names, Refusal *refusal) {
        int r = removed_add(e->removed, names);

        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return refuse(refusal, REFUSAL_STORE_FAILED,
                              "Cannot store that something of target %s was removed: %s. Nothing was changed", t->wwn,
                              strerror(-r));

        return 0;
}

int tombstone_set_luns(Engine *e, const Target *t, Refusal *refusal) {
        _cleanup_free_ char **names = NULL;
        size_t n = 0;

        names = calloc(t->n_luns + 1, sizeof *names);
        if (!names)
                return -ENOMEM;

        for (size_t i = 0; i < t->n_luns; i++)
                if (t->luns[i]->draft == LUN_REMOVED && is_wished(e, t->luns[i]))
                        names[n++] = t->luns[i]->backstore->source;

        return set(e, t, names, refusal);
}

static bool target_is_wished(const Engine *e, const Target *t) {
        const char *why;
        Device *d = NULL;
        Wish w;

        while ((d = inventory_next_wish(e->inventory, d)))
                if (wish_parse(d, &w, &why) > 0 && streq(w.wwn, t->wwn))
                        return true;

        return false;
}

int tombstone_set_target(Engine *e, const Target *t, Refusal *refusal) {
        _cleanup_free_ char **names = NULL;
        size_t n = 0;

        names = calloc(t->n_luns + 2, sizeof *names);
        if (!names)
                return -ENOMEM;

        /* One that goes already was seen to when it was removed, or with this target. */
        for (size_t i = 0; i < t->n_luns; i++)
                if (t->luns[i]->wanted && is_wished(e, t->luns[i]))
                        names[n++] = t->luns[i]->backstore->source;

        if (n > 0 || target_is_wished(e, t))
                names[n++] = t->wwn;

        return set(e, t, names, refusal);
}

bool tombstone_find(Engine *e, const char *name, char ***names) {
        /* What could not be read at the start may be readable now. */
        (void) removed_is_known(e->removed);
        if (!removed_contains(e->removed, name))
                return false;

        /* Then it stays, which says nothing of what is there. */
        if (strv_extend(names, name) < 0)
                log_oom();

        return true;
}

bool tombstone_find_source(Engine *e, const char *source, const Device *d, char ***names) {
        bool found = tombstone_find(e, source, names);
        Device *known = NULL;

        if (!d && inventory_resolve(e->inventory, source, &known) >= 0)
                d = known;
        for (char **k = d ? d->keys : NULL; k && *k; k++)
                found = tombstone_find(e, *k, names) || found;

        return found;
}

void tombstone_clear(Engine *e, char *const *names) {
        int r = removed_forget(e->removed, names);

        if (r < 0)
                log_warning_errno(r, "Cannot store that %s was added again", names[0]);
}

void tombstone_restore(Engine *e, const char *name) {
        char *const names[] = { (char *) name, NULL };
        int r = removed_add(e->removed, names);

        if (r < 0)
                log_warning_errno(r, "Cannot store that %s was removed; a udev rule may bring it back", name);
}

bool tombstone_covers(const Engine *e, const Device *d) {
        /* The path of a disk that has a better name was another disk's then. */
        for (char **k = d->keys; k && *k; k++)
                if (source_kind(*k) != SOURCE_PATH && removed_contains(e->removed, *k))
                        return true;

        return removed_contains(e->removed, d->identity);
}
