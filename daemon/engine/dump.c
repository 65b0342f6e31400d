/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "engine/dump.h"
#include "model/source.h"

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

static int copy_lun(const Lun *l, const char *source, const DumpOptions *o, DocumentTarget *dt) {
        const Backstore *b = l->backstore;
        DocumentLun *dl;
        int r;

        r = document_target_add_lun(dt, l->number, source, &dl);
        if (r >= 0)
                r = free_and_strdup(&dl->name, b->name);
        if (r >= 0)
                r = free_and_strdup(&dl->serial, b->serial);
        if (r >= 0 && !o->device_paths)
                r = free_and_strdup(&dl->identity, b->identity);
        if (r >= 0 && !o->device_paths)
                r = free_and_strdup(&dl->mount, b->mount);
        for (char **a = b->attributes; r >= 0 && a && *a; a++)
                r = strv_extend(&dl->attributes, *a);
        if (r < 0)
                return r;

        dl->readonly = b->readonly;
        dl->shareable = b->luns.next != b->luns.prev;
        dl->size = b->size;
        return 0;
}

static int dump_lun(Engine *e, const Lun *l, const DumpOptions *o, Document *d, DocumentTarget *dt, Refusal *refusal) {
        _cleanup_free_ char *path = NULL;
        const Backstore *b = l->backstore;
        char object[WWN_SIZE + 32];
        int r;

        if (o->portable && !is_portable(b))
                return refuse(refusal, REFUSAL_INVALID_SOURCE, "LUN %" PRIu32 " of %s is named %s, which means nothing on another host", l->number,
                              l->target->wwn, b->source);
        if (!o->device_paths)
                return copy_lun(l, b->source, o, dt);

        r = stable_path(e, b, &path);
        if (r < 0)
                return r;
        if (path)
                return copy_lun(l, path, o, dt);

        snprintf(object, sizeof object, "%s/lun %" PRIu32, l->target->wwn, l->number);
        return document_note(d, object, "left out: %s is not there, and nobody else knows its path", b->source);
}

static int dump_target(Engine *e, const Target *t, const DumpOptions *o, Document *d, Refusal *refusal) {
        DocumentTarget *dt;
        int r;

        r = document_add_target(d, t->wwn, &dt);
        if (r < 0)
                return r;

        memcpy(dt->nexus, t->nexus, WWN_SIZE);
        if (t->label[0])
                r = free_and_strdup(&dt->label, t->label);
        for (size_t i = 0; r >= 0 && i < t->n_luns; i++)
                if (t->luns[i]->wanted)
                        r = dump_lun(e, t->luns[i], o, d, dt, refusal);

        return r;
}

int dump_document(Engine *e, const DumpOptions *o, Document *ret, Refusal *refusal) {
        _cleanup_(document_done) Document d = {};
        _cleanup_free_ char *why = NULL;
        const Target *t;
        int r = 0;

        if (o->target && o->target->foreign)
                return refuse(refusal, REFUSAL_FOREIGN, "Target %s was not made by this service; adopt it first", o->target->wwn);

        REGISTRY_FOREACH(&e->registry, t) {
                if (t->foreign || !t->wanted || (o->target && o->target != t))
                        continue;

                r = dump_target(e, t, o, &d, refusal);
                if (r < 0)
                        return r;
        }

        r = document_finish(&d, &why);
        if (r == -EINVAL || r == -EFBIG)
                return refuse(refusal, REFUSAL_IMPORT_REJECTED, "What is wanted cannot be said in one document: %s", strempty(why));
        if (r < 0)
                return r;

        *ret = d;
        d = (Document) {};
        return 0;
}
