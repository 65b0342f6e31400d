/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/registry.h"

#define HBA_OURS 1U
#define HBA_FOREIGN 2U

int registry_init(Registry *r, uint64_t generation) {
        *r = (Registry) { .generation = generation, .publish_self = true };
        list_init(&r->queued);
        list_init(&r->publishing);
        list_init(&r->unsaved);

        r->targets = map_new();
        r->backstores = map_new();
        if (!r->targets || !r->backstores)
                return -ENOMEM;

        return finder_init(&r->finder);
}

int registry_note_bad(Registry *r, const char *wwn, const char *why) {
        int k;

        k = strv_extend(&r->bad_reasons, why);
        if (k >= 0)
                k = strv_extend(&r->bad, wwn);

        return k;
}

void registry_done(Registry *r) {
        Target *t;

        if (r->targets)
                MAP_FOREACH(r->targets, t)
                        target_free(t);

        map_free(r->targets);
        map_free(r->backstores);
        finder_done(&r->finder);
        for (size_t i = 0; i < r->n_removed; i++)
                free(r->removed[i].wwn);
        free(r->removed);
        free(r->hbas);
        strv_free(r->bad);
        strv_free(r->bad_reasons);
        *r = (Registry) {};
}

Target *registry_target(const Registry *r, const char *wwn) {
        return map_get(r->targets, wwn);
}

Backstore *registry_backstore(const Registry *r, const char *source) {
        return map_get(r->backstores, source);
}

bool registry_has_backstore_name(const Registry *r, const char *name) {
        return finder_next_name(&r->finder, name, NULL);
}

int registry_set_open(Registry *r, Backstore *b, dev_t devnum, uint64_t diskseq) {
        b->diskseq = diskseq;
        if (devnum == b->devnum)
                return 0;

        finder_leave_open(&r->finder, b);
        b->devnum = devnum;
        return finder_enter_open(&r->finder, b);
}

int registry_promise(Registry *r, Backstore *b, uint64_t size, const char *identity) {
        int k, promised;

        promised = backstore_promise(b, size, identity);
        if (promised <= 0)
                return promised;

        k = finder_enter(&r->finder, b);
        return k < 0 ? k : promised;
}

static int hba_set(Registry *r, uint32_t hba, uint8_t bit) {
        if (hba > BACKSTORE_HBA_MAX)
                return -ERANGE;

        if (hba >= r->n_hbas) {
                size_t n = MAX((size_t) hba + 1, r->n_hbas * 2);
                uint8_t *p = realloc(r->hbas, n);

                if (!p)
                        return -ENOMEM;
                memset(p + r->n_hbas, 0, n - r->n_hbas);
                r->hbas = p;
                r->n_hbas = n;
        }

        r->hbas[hba] |= bit;
        return 0;
}

static void hba_clear(Registry *r, uint32_t hba, uint8_t bit) {
        if (hba >= r->n_hbas)
                return;

        r->hbas[hba] &= (uint8_t) ~bit;
        if (r->hbas[hba] == 0)
                r->hba_hint = MIN(r->hba_hint, hba);
}

int registry_reserve_hba(Registry *r, uint32_t *ret) {
        uint32_t i = r->hba_hint;
        int k;

        while (i < r->n_hbas && r->hbas[i] != 0)
                i++;

        k = hba_set(r, i, HBA_OURS);
        if (k < 0)
                return k;

        r->hba_hint = i + 1;
        *ret = i;
        return 0;
}

int registry_claim_hba(Registry *r, uint32_t hba) {
        int k;

        if (registry_hba_is_ours(r, hba))
                return -EEXIST;

        k = hba_set(r, hba, HBA_OURS);
        if (k >= 0)
                r->hbas[hba] &= (uint8_t) ~HBA_FOREIGN;

        return k;
}

void registry_release_hba(Registry *r, uint32_t hba) {
        hba_clear(r, hba, HBA_OURS);
}

bool registry_hba_is_ours(const Registry *r, uint32_t hba) {
        return hba < r->n_hbas && r->hbas[hba] & HBA_OURS;
}

Backstore *registry_backstore_by_hba(const Registry *r, uint32_t hba) {
        Backstore *b;

        if (registry_hba_is_ours(r, hba))
                MAP_FOREACH(r->backstores, b)
                        if (b->hba == hba)
                                return b;

        return NULL;
}

int registry_note_foreign_hba(Registry *r, uint32_t hba) {
        return hba_set(r, hba, HBA_FOREIGN);
}

void registry_forget_foreign_hbas(Registry *r) {
        for (size_t i = 0; i < r->n_hbas; i++)
                r->hbas[i] &= (uint8_t) ~HBA_FOREIGN;
        r->hba_hint = 0;
}

int registry_new_backstore(Registry *r, const char *source, Backstore **ret) {
        _cleanup_(backstore_freep) Backstore *b = NULL;
        int k;

        b = backstore_new(source);
        if (!b)
                return -ENOMEM;

        k = map_put(r->backstores, b->source, b);
        if (k < 0)
                return k;

        k = registry_reserve_hba(r, &b->hba);
        if (k < 0) {
                map_remove(r->backstores, b->source);
                return k;
        }

        b->hba_fresh = true;
        *ret = TAKE_PTR(b);
        return 0;
}

static void forget_backstore(Registry *r, Backstore *b) {
        finder_leave(&r->finder, b);
        if (!b->source || map_get(r->backstores, b->source) != b)
                return;

        map_remove(r->backstores, b->source);
        if (b->hba != BACKSTORE_HBA_NONE)
                registry_release_hba(r, b->hba);
}

void registry_put_backstore(Registry *r, Backstore *b) {
        if (!list_is_empty(&b->luns))
                return;

        forget_backstore(r, b);
        backstore_free(b);
}

/* Of a LUN of a new target: known from now on, or merged with the one that is. */
static int take_backstore(Registry *r, Lun *l) {
        Backstore *b = l->backstore, *known;
        int k;

        if (l->target->foreign)
                return finder_enter(&r->finder, b);

        known = registry_backstore(r, b->source);
        if (known) {
                k = registry_promise(r, known, b->size, b->identity);
                if (k >= 0)
                        lun_set_backstore(l, known);
                return k;
        }

        k = hba_set(r, b->hba, HBA_OURS);
        if (k >= 0)
                k = map_put(r->backstores, b->source, b);

        return k < 0 ? k : finder_enter(&r->finder, b);
}

/* No LUN of another target is on it. */
static bool stands_alone(const Target *t, const Backstore *b) {
        const Lun *l;

        LIST_FOREACH(&b->luns, l, const Lun, backstore_link)
                if (l->target != t)
                        return false;

        return true;
}

int registry_add_target(Registry *r, Target *t, uint32_t *ret_lun) {
        int k;

        if (registry_target(r, t->wwn))
                return -EEXIST;

        for (size_t i = 0; !t->foreign && i < t->n_luns; i++) {
                Backstore *b = t->luns[i]->backstore, *known = registry_backstore(r, b->source);

                if (known ? !backstore_agrees(known, b) : registry_hba_is_ours(r, b->hba)) {
                        *ret_lun = t->luns[i]->number;
                        return -ENOTUNIQ;
                }
        }

        k = map_put(r->targets, t->wwn, t);
        for (size_t i = 0; k >= 0 && i < t->n_luns; i++)
                k = take_backstore(r, t->luns[i]);
        if (k < 0) {
                /* What was merged stays merged, which the caller's target survives. */
                for (size_t i = 0; i < t->n_luns; i++)
                        if (stands_alone(t, t->luns[i]->backstore))
                                forget_backstore(r, t->luns[i]->backstore);
                if (registry_target(r, t->wwn) == t)
                        map_remove(r->targets, t->wwn);
                return k;
        }

        registry_mark_publish(r, t);
        return 0;
}

int registry_note_removed(Registry *r, const char *wwn, int64_t number) {
        if (r->n_removed == r->room_removed) {
                size_t room = r->room_removed > 0 ? r->room_removed * 2 : 16;
                Removed *p = realloc(r->removed, room * sizeof *p);

                if (!p)
                        return -ENOMEM;
                r->removed = p;
                r->room_removed = room;
        }

        r->removed[r->n_removed] = (Removed) { .wwn = strdup(wwn), .number = number };
        if (!r->removed[r->n_removed].wwn)
                return -ENOMEM;

        r->n_removed++;
        return 0;
}

void registry_remove_lun(Registry *r, Lun *l) {
        Target *t = l->target;
        Backstore *b = l->backstore;

        if (l->published.exists)
                (void) registry_note_removed(r, t->wwn, l->number);
        r->publish_self = r->publish_self || l->published.state == LUN_FAILED;

        if (b->luns.next == b->luns.prev)       /* the last one */
                forget_backstore(r, b);

        target_remove_lun(t, l);
        registry_mark_publish_target(r, t);
}

void registry_forget_finished(Registry *r, Target *t) {
        for (size_t i = t->n_luns; i > 0; i--)
                if (t->luns[i - 1]->finished)
                        registry_remove_lun(r, t->luns[i - 1]);
}

void registry_remove_target(Registry *r, Target *t) {
        while (t->n_luns > 0)
                registry_remove_lun(r, t->luns[t->n_luns - 1]);

        if (t->published.exists)
                (void) registry_note_removed(r, t->wwn, -1);

        map_remove(r->targets, t->wwn);
        target_free(t);
        r->publish_self = true;
}

void registry_take_foreign(Registry *r, Target *t) {
        assert(t->foreign);

        for (size_t i = 0; i < t->n_luns; i++)
                finder_leave(&r->finder, t->luns[i]->backstore);
        map_remove(r->targets, t->wwn);
        list_unlink(&t->publish_link);
}

int registry_add_lun(Registry *r, Target *t, uint32_t number, Backstore *b, Lun **ret) {
        Lun *l;
        int k;

        l = lun_new(number, b);
        if (!l)
                return -ENOMEM;

        k = finder_enter(&r->finder, b);
        if (k >= 0)
                k = target_add_lun(t, l);
        if (k < 0) {
                /* lun_free() would free a new backstore that is still in the map. */
                if (b->luns.next == b->luns.prev)
                        forget_backstore(r, b);
                lun_free(l);
                return k;
        }

        registry_mark_lun(r, l);
        *ret = l;
        return 0;
}

void registry_mark_publish_target(Registry *r, Target *t) {
        if (list_is_empty(&t->publish_link))
                list_append(&r->publishing, &t->publish_link);
}

void registry_mark_publish_lun(Registry *r, Lun *l) {
        if (list_is_empty(&l->publish_link))
                list_append(&l->target->publishing, &l->publish_link);
        registry_mark_publish_target(r, l->target);
}

void registry_mark_publish(Registry *r, Target *t) {
        t->publish_luns = true;
        registry_mark_publish_target(r, t);
}

void registry_mark_unsaved(Registry *r, Target *t) {
        if (list_is_empty(&t->save_link))
                list_append(&r->unsaved, &t->save_link);
}

static void enqueue(Registry *r, Target *t) {
        if (list_is_empty(&t->queue_link))
                list_append(&r->queued, &t->queue_link);
}

void registry_mark_target(Registry *r, Target *t) {
        if (t->foreign)
                return;

        t->dirty = true;
        enqueue(r, t);
        registry_mark_publish_target(r, t);
}

void registry_mark_lun(Registry *r, Lun *l) {
        if (l->target->foreign)
                return;

        l->dirty = true;
        enqueue(r, l->target);
        registry_mark_publish_lun(r, l);
}

void registry_mark_probe(Registry *r, Target *t) {
        if (t->foreign)
                return;

        t->probe = true;
        enqueue(r, t);
        registry_mark_publish_target(r, t);
}

void registry_mark_all(Registry *r) {
        Target *t;

        MAP_FOREACH(r->targets, t) {
                if (t->foreign)
                        continue;

                for (size_t i = 0; i < t->n_luns; i++)
                        t->luns[i]->dirty = true;
                registry_mark_target(r, t);
                registry_mark_publish(r, t);
        }
}
