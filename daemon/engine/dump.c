/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "engine/dump.h"
#include "model/source.h"
#include "store/past.h"

/* The path by which the disk is known as long as it is there, and mostly when it is not: what udev makes of the identity. NULL: only udev knows,
 * and it is not there. */
static int stable_path(Engine *e, const Backstore *b, char **ret) {
        const char *value = source_value(b->source);
        Device *d = NULL;
        int r = -1;

        switch (source_kind(b->source)) {
        case SOURCE_FILE:
                r = asprintf(ret, "%s", b->source);
                break;
        case SOURCE_PATH:
                r = asprintf(ret, "%s", value);
                break;
        case SOURCE_BY_ID:
                r = asprintf(ret, "/dev/disk/by-id/%s", value);
                break;
        case SOURCE_BY_PATH:
                r = asprintf(ret, "/dev/disk/by-path/%s", value);
                break;
        case SOURCE_DM_UUID:
                r = asprintf(ret, "/dev/disk/by-id/dm-uuid-%s", value);
                break;
        case SOURCE_WWID:
                if (inventory_resolve(e->inventory, b->source, &d) < 0) {
                        *ret = NULL;
                        return 0;
                }
                r = asprintf(ret, "%s", d->link);
                break;
        case _SOURCE_KIND_MAX:
                break;
        }

        return r < 0 ? -ENOMEM : 0;
}

static bool is_portable(const Backstore *b) {
        switch (source_kind(b->source)) {
        case SOURCE_DM_UUID:
        case SOURCE_WWID:
        case SOURCE_BY_ID:
                return true;
        case SOURCE_PATH:
        case SOURCE_FILE:
        case SOURCE_BY_PATH:
        case _SOURCE_KIND_MAX:
                break;
        }

        return false;
}

/* The targets of the past stand alone: source -> a backstore on which several of their LUNs stand. */
typedef struct Sharing {
        Map *seen, *shared;
} Sharing;

static void sharing_done(Sharing *s) {
        map_free(s->seen);
        map_free(s->shared);
}

static int sharing_note(Sharing *s, const Target *t) {
        int r;

        for (size_t i = 0; i < t->n_luns; i++) {
                Backstore *b = t->luns[i]->backstore, *other;

                if (!t->luns[i]->wanted)
                        continue;

                r = map_put(s->seen, b->source, b);
                if (r >= 0)
                        continue;
                if (r != -EEXIST)
                        return r;

                /* Of what guests were promised, the files of several targets may know more or less. */
                other = map_get(s->seen, b->source);
                if (b->size > other->size)
                        map_replace(s->seen, b->source, b);
                else
                        b = other;
                r = map_put(s->shared, b->source, b);
                if (r == -EEXIST)
                        map_replace(s->shared, b->source, b);
                else if (r < 0)
                        return r;
        }

        return 0;
}

/* sharing NULL: of targets that the registry has. */
static int copy_lun(const Lun *l, const char *source, const DumpOptions *o, const Sharing *sharing, DocumentTarget *dt) {
        const Backstore *b = l->backstore, *shared = sharing ? map_get(sharing->shared, b->source) : NULL;
        const Backstore *promised = shared ?: b;
        DocumentLun *dl;
        int r;

        r = document_target_add_lun(dt, l->number, source, &dl);
        if (r >= 0)
                r = free_and_strdup(&dl->name, b->name);
        if (r >= 0)
                r = free_and_strdup(&dl->serial, b->serial);
        if (r >= 0 && !o->device_paths)
                r = free_and_strdup(&dl->identity, promised->identity);
        if (r >= 0 && !o->device_paths)
                r = free_and_strdup(&dl->mount, promised->mount);
        for (char **a = b->attributes; r >= 0 && a && *a; a++)
                r = strv_extend(&dl->attributes, *a);
        if (r < 0)
                return r;

        dl->readonly = b->readonly;
        dl->shareable = sharing ? !!shared : b->luns.next != b->luns.prev;
        dl->size = promised->size;
        return 0;
}

static int dump_lun(Engine *e, const Lun *l, const DumpOptions *o, const Sharing *sharing, Document *d, DocumentTarget *dt, Refusal *refusal) {
        _cleanup_free_ char *path = NULL;
        const Backstore *b = l->backstore;
        char object[WWN_SIZE + 32];
        int r;

        snprintf(object, sizeof object, "%s/lun %" PRIu32, l->target->wwn, l->number);
        if (o->portable && !is_portable(b) && o->partly)
                return document_leave_out(d, object, "%s means nothing on another host", b->source);
        if (o->portable && !is_portable(b))
                return refuse(refusal, REFUSAL_INVALID_SOURCE, "LUN %" PRIu32 " of %s is named %s, which means nothing on another host", l->number,
                              l->target->wwn, b->source);
        if (!o->device_paths)
                return copy_lun(l, b->source, o, sharing, dt);

        r = stable_path(e, b, &path);
        if (r < 0)
                return r;
        if (path)
                return copy_lun(l, path, o, sharing, dt);

        return document_leave_out(d, object, "%s is not there, and nobody else knows its path", b->source);
}

static int dump_target(Engine *e, const Target *t, const DumpOptions *o, const Sharing *sharing, Document *d, Refusal *refusal) {
        DocumentTarget *dt;
        int r;

        r = document_add_target(d, t->wwn, &dt);
        if (r < 0)
                return r;

        memcpy(dt->nexus, t->nexus, WWN_SIZE);
        if (t->label[0] || o->empty_labels)
                r = free_and_strdup(&dt->label, t->label);
        for (size_t i = 0; r >= 0 && i < t->n_luns; i++)
                if (t->luns[i]->wanted)
                        r = dump_lun(e, t->luns[i], o, sharing, d, dt, refusal);

        return r;
}

static int finish(Document *d, Refusal *refusal) {
        _cleanup_free_ char *why = NULL;
        int r;

        r = document_finish(d, &why);
        if (r == -EINVAL || r == -EFBIG)
                return refuse(refusal, REFUSAL_IMPORT_REJECTED, "What is wanted cannot be said in one document: %s", strempty(why));

        return r;
}

int dump_document(Engine *e, const DumpOptions *o, Document *ret, Refusal *refusal) {
        _cleanup_(document_done) Document d = {};
        const Target *t;
        int r = 0;

        if (o->target && o->target->foreign)
                return refuse(refusal, REFUSAL_FOREIGN, "Target %s was not made by this service; adopt it first", o->target->wwn);

        REGISTRY_FOREACH(&e->registry, t) {
                if (t->foreign || !t->wanted || (o->target && o->target != t))
                        continue;

                r = dump_target(e, t, o, NULL, &d, refusal);
                if (r < 0)
                        return r;
        }

        r = finish(&d, refusal);
        if (r < 0)
                return r;

        *ret = d;
        d = (Document) {};
        return 0;
}

/* Of a change the state before it is known as well: the generation before. */
static int check_past(const Engine *e, uint64_t generation, Refusal *refusal) {
        const List *entries = e->history ? history_entries(e->history) : NULL;
        const HistoryEntry *oldest = entries && !list_is_empty(entries) ? list_entry(entries->next, HistoryEntry, link) : NULL;
        uint64_t first = oldest ? oldest->generation - 1 : e->registry.generation;

        if (generation < first || generation > e->registry.generation)
                return refuse(refusal, REFUSAL_NOT_FOUND, "The history goes from generation %" PRIu64 " to %" PRIu64 ", without %" PRIu64, first,
                              e->registry.generation, generation);

        return 0;
}

/* All targets that were wanted, into an array that ends with NULL. */
static int list_past(const Engine *e, const Map *past, const Target ***ret) {
        const Target **targets;
        const PastTarget *p;
        const Target *t;
        size_t n = 0;

        targets = calloc(map_size(past) + map_size(e->registry.targets) + 1, sizeof *targets);
        if (!targets)
                return -ENOMEM;

        MAP_FOREACH(past, p)
                if (p->target && p->target->wanted)
                        targets[n++] = p->target;
        REGISTRY_FOREACH(&e->registry, t)
                if (!t->foreign && t->wanted && !map_get(past, t->wwn))
                        targets[n++] = t;

        *ret = targets;
        return 0;
}

int dump_past(Engine *e, uint64_t generation, const char *wwn, const DumpOptions *o, Document *ret, Refusal *refusal) {
        _cleanup_(sharing_done) Sharing sharing = { .seen = map_new(), .shared = map_new() };
        _cleanup_(document_done) Document d = {};
        _cleanup_free_ const Target **targets = NULL;
        _cleanup_(past_freep) Map *past = NULL;
        char bad[WWN_SIZE] = "";
        int r;

        if (!sharing.seen || !sharing.shared)
                return -ENOMEM;

        r = check_past(e, generation, refusal);
        if (r >= 0)
                r = e->history ? past_new(e->history, generation, &past, bad) : (past = map_new()) ? 0 : -ENOMEM;
        if (r == -EBADMSG)
                return refuse(refusal, REFUSAL_CONFIG_CORRUPT, "What is kept in the history of target %s cannot be used; see the service's log", bad);
        if (r < 0)
                return r;

        r = list_past(e, past, &targets);
        for (const Target **t = targets; r >= 0 && *t; t++)
                r = sharing_note(&sharing, *t);
        for (const Target **t = targets; r >= 0 && *t; t++)
                if (!wwn || streq((*t)->wwn, wwn))
                        r = dump_target(e, *t, o, &sharing, &d, refusal);
        if (r >= 0 && wwn && d.n_targets == 0)
                r = refuse(refusal, REFUSAL_NOT_FOUND, "At generation %" PRIu64 " there was no target %s", generation, wwn);
        if (r >= 0)
                r = finish(&d, refusal);
        if (r < 0)
                return r;

        *ret = d;
        d = (Document) {};
        return 0;
}
