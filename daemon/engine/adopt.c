/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "base/log.h"
#include "base/parse.h"
#include "engine/adopt.h"
#include "engine/draft.h"
#include "engine/files.h"
#include "engine/hotplug.h"
#include "engine/record.h"
#include "engine/survey.h"
#include "engine/tombstone.h"
#include "engine/worker.h"
#include "model/attribute.h"
#include "model/source.h"

static const char *value_of(const Backstore *seen, const char *name) {
        return strv_value(seen->attributes, name, strlen(name));
}

/* Would it be just so if a pass made the backstore anew, and nobody had asked for it? */
static bool goes_without_saying(const Backstore *seen, const char *name, const char *value, const Device *d) {
        uint32_t size;

        switch (attribute_kind(name)) {
        case ATTRIBUTE_SETTABLE:
                if (streq(name, "block_size"))
                        return parse_u32(value, &size) >= 0 && size == (d->kind == DEVICE_FILE ? 512 : d->block_size);
                return streq_ptr(value, attribute_default(name));
        case ATTRIBUTE_OF_DISK:
                /* Of two of them it can be seen that somebody has set them: the kernel tells what the disk itself has. */
                if (streq(name, "queue_depth"))
                        return streq_ptr(value, value_of(seen, "hw_queue_depth"));
                if (streq(name, "optimal_sectors"))
                        return streq_ptr(value, value_of(seen, "hw_max_sectors"));
                return true;
        case ATTRIBUTE_IDLE:
        case ATTRIBUTE_FIXED:
        case ATTRIBUTE_UNKNOWN:
        case _ATTRIBUTE_KIND_MAX:
                return true;
        }

        return true;
}

static int keep_attributes(const Backstore *seen, const Device *d, Backstore *b) {
        for (char **a = seen->attributes; a && *a; a++) {
                const char *value = strchr(*a, '=');
                _cleanup_free_ char *name = strndup(*a, (size_t) (value - *a));
                int r;

                if (!name)
                        return -ENOMEM;
                if (goes_without_saying(seen, name, value + 1, d))
                        continue;

                r = strv_extend(&b->attributes, *a);
                if (r < 0)
                        return r;
        }

        return 0;
}

static int parse_place(const Lun *l, uint32_t *ret_hba, const char **ret_name, Refusal *refusal) {
        const Backstore *b = l->backstore;

        if (!backstore_parse_place(b->place, b->file ? "fileio" : "iblock", ret_hba, ret_name))
                return refuse(refusal, REFUSAL_IMPORT_REJECTED, "LUN %" PRIu32 " stands on %s: this service keeps block devices and files only", l->number,
                              b->place);
        if (*ret_hba > BACKSTORE_HBA_MAX || !backstore_name_is_valid(*ret_name))
                return refuse(refusal, REFUSAL_IMPORT_REJECTED, "LUN %" PRIu32 " stands on %s, whose name or number this service could not give it again",
                              l->number, b->place);

        return 0;
}

/* What /dev/sdb or dm-3 is now: the kernel's number of what is open decides, and not what somebody once called it. */
static int find_device(Engine *e, const Lun *l, char **ret_source, const Device **ret, Refusal *refusal) {
        const Backstore *b = l->backstore;
        _cleanup_free_ char *file = NULL;
        Device *d, *named = NULL;
        const char *source;

        if (b->file) {
                if (asprintf(&file, "file=%s", b->file) < 0)
                        return -ENOMEM;
                return survey_resolve(e, file, ret_source, ret, refusal);
        }

        d = b->devnum != 0 ? inventory_by_devnum(e->inventory, b->devnum) : NULL;
        if (!d)
                return refuse(refusal, REFUSAL_DEVICE_NOT_FOUND, "The device under LUN %" PRIu32 " (%s) is not there any more", l->number, strempty(b->device));

        /* Its best name may mean a map, or one of several paths: then it is the place that tells which one is open. */
        source = inventory_resolve(e->inventory, d->identity, &named) >= 0 && named == d ? d->identity : device_key(d, "by-path");
        if (!source)
                return refuse(refusal, REFUSAL_DEVICE_IS_PATH_MEMBER, "LUN %" PRIu32 " stands on %s, one of several paths to %s that nothing tells apart",
                              l->number, d->node, d->identity);

        *ret_source = strdup(source);
        if (!*ret_source)
                return -ENOMEM;
        *ret = d;
        return 0;
}

/* Before anybody asks which device it is. */
static int check_lun(const Lun *l, uint32_t *ret_hba, const char **ret_name, Refusal *refusal) {
        const Backstore *b = l->backstore;
        int r;

        if (!l->linked)
                return refuse(refusal, REFUSAL_IMPORT_REJECTED, "lun_%" PRIu32 " has no backstore; remove it where it was made", l->number);
        if (l->number > LUN_NUMBER_MAX)
                return refuse(refusal, REFUSAL_LUN_OUT_OF_RANGE, "LUN %" PRIu32 ": numbers go from 0 to %d", l->number, LUN_NUMBER_MAX);
        if (!b->known)
                return refuse(refusal, REFUSAL_NOT_READY, "LUN %" PRIu32 " could not be looked at: the kernel waits for its I/O", l->number);

        r = parse_place(l, ret_hba, ret_name, refusal);
        if (r < 0)
                return r;
        if (b->crowded)
                return refuse(refusal, REFUSAL_IMPORT_REJECTED, "LUN %" PRIu32 " stands on %s, whose HBA has other backstores", l->number, b->place);
        if (!backstore_serial_is_valid(strempty(b->serial)))
                return refuse(refusal, REFUSAL_IMPORT_REJECTED, "LUN %" PRIu32 " has no unit serial that could be given to it again", l->number);

        return 0;
}

static int make_backstore(const Backstore *seen, const char *source, const Device *d, uint32_t hba, const char *name, Backstore **ret) {
        _cleanup_(backstore_freep) Backstore *b = NULL;
        int r;

        b = backstore_new(source);
        if (!b)
                return -ENOMEM;

        b->hba = hba;
        b->name = strdup(name);
        b->serial = strdup(seen->serial);
        if (!b->name || !b->serial)
                return -ENOMEM;

        b->unmarked = b->present = true;
        b->readonly = seen->readonly;
        b->devnum = seen->devnum;
        b->size = seen->file ? seen->size : d->size;
        r = keep_attributes(seen, d, b);
        if (r >= 0 && seen->file)
                r = files_promise(b, d);
        if (r >= 0 && source_kind(source) == SOURCE_BY_PATH)
                r = free_and_strdup(&b->identity, d->identity);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(b);
        return 0;
}

/* Two LUNs on one backstore, of this target or of another. */
static Backstore *find_backstore(const Target *t, const char *source) {
        for (size_t i = 0; i < t->n_luns; i++)
                if (streq(t->luns[i]->backstore->source, source))
                        return t->luns[i]->backstore;

        return NULL;
}

static int adopt_lun(Engine *e, const Lun *seen, Target *t, Refusal *refusal) {
        _cleanup_(backstore_freep) Backstore *made = NULL;
        _cleanup_free_ char *source = NULL;
        const Device *d = NULL;
        Backstore *b, *known;
        const char *name;
        uint32_t hba;
        Lun *l;
        int r;

        r = check_lun(seen, &hba, &name, refusal);
        if (r >= 0)
                r = find_device(e, seen, &source, &d, refusal);
        if (r >= 0)
                r = make_backstore(seen->backstore, source, d, hba, name, &made);
        if (r < 0)
                return r;

        known = survey_backstore(e, &e->registry, source, source_kind(source) == SOURCE_BY_PATH ? NULL : d);
        if (known && (!streq(known->source, source) || !backstore_agrees(known, made)))
                return refuse(refusal, REFUSAL_LUN_CONFLICT, "LUN %" PRIu32 ": %s is exported by this service under another name, serial or number",
                              seen->number, source);

        b = find_backstore(t, source);
        l = lun_new(seen->number, b ?: made);
        if (!l)
                return -ENOMEM;
        if (!b)
                TAKE_PTR(made);

        l->origin = LUN_ADOPTED;
        l->present = l->linked = true;
        r = target_add_lun(t, l);
        if (r < 0)
                lun_free(l);

        return r;
}

static int check_target(const Target *t, char ret_nexus[static WWN_SIZE], Refusal *refusal) {
        char canonical[WWN_SIZE];

        if (wwn_parse(t->wwn, canonical) < 0 || !streq(t->wwn, canonical))
                return refuse(refusal, REFUSAL_INVALID_WWN, "A target of the name %s cannot be kept: a WWN is naa. and 16 lower-case hexadecimal digits",
                              t->wwn);
        if (!t->whole)
                return refuse(refusal, REFUSAL_NOT_READY, "Target %s could not be looked at as a whole; try again", t->wwn);
        if (t->several_groups || t->portal_group != 1)
                return refuse(refusal, REFUSAL_IMPORT_REJECTED, "Target %s has other portal groups than the first; this service keeps one, number 1", t->wwn);

        if (isempty(t->seen_nexus))
                return wwn_generate(ret_nexus);
        if (wwn_parse(t->seen_nexus, ret_nexus) < 0 || !streq(t->seen_nexus, ret_nexus))
                return refuse(refusal, REFUSAL_IMPORT_REJECTED, "Target %s has the nexus %s, which is no WWN that could be given to it again", t->wwn,
                              t->seen_nexus);

        return 0;
}

/* t itself is kept, as long as this is a draft. On an error all is as it was. */
static int take_place(Engine *e, Target *t, Target *n, Refusal *refusal) {
        uint32_t number;
        int r;

        /* One object on the bus, which becomes ours. */
        n->endpoint = t->endpoint;
        registry_take_foreign(&e->registry, t);
        r = registry_add_target(&e->registry, n, &number);
        if (r < 0) {
                if (registry_add_target(&e->registry, t, &number) < 0) {
                        target_free(t);
                        e->survey_wanted = true;
                }
                return r == -ENOMEM ? r : refuse(refusal, REFUSAL_LUN_CONFLICT, "LUN %" PRIu32 ": its number in core/ is taken", number);
        }

        n->published = t->published;
        t->published = (TargetPublished) {};
        n->draft.foreign = t;
        return 0;
}

int adopt_look(Engine *e, Target *t, Target **ret, Refusal *refusal) {
        _cleanup_(target_freep) Target *n = NULL;
        char nexus[WWN_SIZE];
        int r = 0;

        if (strv_contains(e->registry.bad, t->wwn))
                r = refuse(refusal, REFUSAL_CONFIG_CORRUPT, "The file of target %s cannot be used; see the service's log", t->wwn);
        if (r >= 0)
                r = check_target(t, nexus, refusal);
        if (r < 0)
                return r;

        n = target_new(t->wwn);
        if (!n)
                return -ENOMEM;

        memcpy(n->nexus, nexus, sizeof nexus);
        n->adopted = n->present = true;
        n->up = !isempty(t->seen_nexus);
        hotplug_flush(e);
        for (size_t i = 0; r >= 0 && i < t->n_luns; i++)
                r = adopt_lun(e, t->luns[i], n, refusal);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(n);
        return 0;
}

int adopt_target(Engine *e, Target *t, const EditOptions *o, Target **ret, Refusal *refusal) {
        _cleanup_(record_endp) _unused_ Engine *recording = NULL;
        _cleanup_(target_freep) Target *n = NULL;
        Target *adopted;
        int r;

        r = edit_check_generation(e, o, refusal);
        if (r >= 0)
                r = adopt_look(e, t, &n, refusal);
        if (r < 0)
                return r;

        if (o->dry_run) {
                *ret = NULL;
                return 0;
        }

        r = take_place(e, t, n, refusal);
        if (r < 0)
                return r;

        adopted = TAKE_PTR(n);
        adopted->revived = tombstone_find(e, adopted->wwn, &adopted->draft.revived);
        for (size_t i = 0; i < adopted->n_luns; i++) {
                Lun *l = adopted->luns[i];

                l->revived = tombstone_find_source(e, l->backstore->source, NULL, &adopted->draft.revived);
                registry_mark_lun(&e->registry, l);
        }
        registry_mark_target(&e->registry, adopted);

        recording = record_begin(e, "adopt %s", adopted->wwn);
        r = o->later ? 0 : draft_store(e, adopted, refusal);
        if (r < 0)
                return r;

        *ret = adopted;
        return 0;
}

/* Out of the store first; the kernel keeps what it has. */
static int give_back(Engine *e, Target *t) {
        int r;

        if (t->revived)
                tombstone_restore(e, t->wwn);
        for (size_t i = 0; i < t->n_luns; i++)
                if (t->luns[i]->revived)
                        tombstone_restore(e, t->luns[i]->backstore->source);

        r = record_remove(e, t->wwn);
        if (r < 0)
                return log_warning_errno(r, "Cannot remove the file of target %s, which stays ours", t->wwn);

        worker_forget_target(e, t);
        registry_remove_target(&e->registry, t);
        e->registry.generation++;
        e->survey_wanted = true;
        return 0;
}

int adopt_undo(Engine *e, Target *t) {
        _cleanup_(record_endp) _unused_ Engine *recording = record_begin(e, "taken back: adopt %s", t->wwn);

        return give_back(e, t);
}

static int check_release(const Target *t, Refusal *refusal) {
        for (size_t i = 0; i < t->n_luns; i++) {
                const Lun *l = t->luns[i];

                if (!l->wanted)
                        return refuse(refusal, REFUSAL_LUN_CONFLICT, "It was made by somebody else, who gets it back when LUN %" PRIu32 " is removed",
                                      l->number);
                if (l->origin != LUN_ADOPTED)
                        return refuse(refusal, REFUSAL_LUN_CONFLICT,
                                      "It was made by somebody else, who cannot get it back with LUN %" PRIu32 ", which came later: remove that first",
                                      l->number);
        }

        if (t->worker || !list_is_empty(&t->requests))
                return refuse(refusal, REFUSAL_NOT_READY, "It is just being looked at or changed; try again");

        return 0;
}

int adopt_release(Engine *e, Target *t, const EditOptions *o, Refusal *refusal) {
        _cleanup_(record_endp) _unused_ Engine *recording = NULL;
        int r;

        r = edit_check_generation(e, o, refusal);
        if (r >= 0)
                r = check_release(t, refusal);
        if (r < 0 || o->dry_run)
                return r;

        recording = record_begin(e, "release %s", t->wwn);
        r = give_back(e, t);
        return r < 0 && r != -ENOMEM ? refuse(refusal, REFUSAL_STORE_FAILED, "The file of the target cannot be removed: %s. Nothing was changed",
                                              strerror(-r)) : r;
}
