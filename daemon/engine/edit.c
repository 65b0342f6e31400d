/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdarg.h>

#include "base/log.h"
#include "base/parse.h"
#include "engine/draft.h"
#include "engine/edit.h"
#include "engine/files.h"
#include "engine/hotplug.h"
#include "engine/owners.h"
#include "engine/record.h"
#include "engine/serial.h"
#include "engine/survey.h"
#include "engine/tombstone.h"
#include "model/attribute.h"

int edit_check_generation(Engine *e, const EditOptions *o, Refusal *refusal) {
        if (o->has_generation && o->generation != e->registry.generation)
                return refuse(refusal, REFUSAL_GENERATION_MISMATCH, "The configuration is at generation %" PRIu64 ", not %" PRIu64 "; look again",
                              e->registry.generation, o->generation);

        return 0;
}

static int check_ours(const Target *t, Refusal *refusal) {
        if (t->foreign)
                return refuse(refusal, REFUSAL_FOREIGN, "Target %s was not made by this service, which only looks at it", t->wwn);

        return 0;
}

int edit_find_target(Engine *e, const char *wwn, Target **ret, Refusal *refusal) {
        char canonical[WWN_SIZE];
        Target *t;

        /* A foreign one goes by whatever name it has. */
        t = registry_target(&e->registry, wwn);
        if (!t) {
                if (wwn_parse(wwn, canonical) < 0)
                        return refuse(refusal, REFUSAL_INVALID_WWN, "Not a WWN: expected naa. and 16 hexadecimal digits, the first 5 or 6");
                if (strv_contains(e->registry.bad, canonical))
                        return refuse(refusal, REFUSAL_CONFIG_CORRUPT, "The file of target %s cannot be used; see the service's log", canonical);

                t = registry_target(&e->registry, canonical);
                if (!t)
                        return refuse(refusal, REFUSAL_NOT_FOUND, "There is no target %s", canonical);
        }

        *ret = t;
        return 0;
}

static int store(Engine *e, Target *t, Refusal *refusal, const char *format, ...) _printf_(4, 5);

/* Alone, not as a part of something larger. */
static int store(Engine *e, Target *t, Refusal *refusal, const char *format, ...) {
        _cleanup_(record_endp) _unused_ Engine *recording = NULL;
        va_list ap;

        va_start(ap, format);
        recording = record_beginv(e, format, ap);
        va_end(ap);
        return draft_store(e, t, refusal);
}

static int choose_wwn(Engine *e, const char *wwn, const CreateOptions *o, char ret[static WWN_SIZE], Refusal *refusal) {
        int r;

        if (!isempty(wwn)) {
                if (o->seed)
                        return refuse(refusal, REFUSAL_INVALID_ARGS, "A WWN and a seed for one exclude each other");
                if (wwn_parse(wwn, ret) < 0)
                        return refuse(refusal, REFUSAL_INVALID_WWN, "Not a WWN: expected naa. and 16 hexadecimal digits, the first 5 or 6");
                return 0;
        }

        if (o->seed) {
                if (isempty(o->seed))
                        return refuse(refusal, REFUSAL_INVALID_ARGS, "The seed is empty");
                return wwn_from_seed(o->seed, ret);
        }

        do {
                r = wwn_generate(ret);
                if (r < 0)
                        return r;
        } while (registry_target(&e->registry, ret) || strv_contains(e->registry.bad, ret));

        return 0;
}

static int check_label(const char *label, Refusal *refusal) {
        if (strlen(label) > TARGET_LABEL_MAX || !string_is_utf8(label) || string_has_control(label))
                return refuse(refusal, REFUSAL_INVALID_ARGS, "A label is at most %d bytes of UTF-8 without control characters", TARGET_LABEL_MAX);

        return 0;
}

static int check_absent(Engine *e, const char *wwn, const CreateOptions *o, Target **ret, Refusal *refusal) {
        Target *t = registry_target(&e->registry, wwn);

        if (strv_contains(e->registry.bad, wwn))
                return refuse(refusal, REFUSAL_CONFIG_CORRUPT, "The file of target %s cannot be used; see the service's log", wwn);
        if (!t)
                return 0;
        if (t->foreign)
                return refuse(refusal, REFUSAL_ALREADY_EXISTS, "Target %s exists and was made by somebody else (targetcli?)", wwn);
        if (!t->wanted)
                return refuse(refusal, REFUSAL_ALREADY_EXISTS, "Target %s is still being removed", wwn);
        if (!o->if_absent)
                return refuse(refusal, REFUSAL_ALREADY_EXISTS, "Target %s exists and is managed by this service", wwn);

        *ret = t;
        return 0;
}

int edit_create_target(Engine *e, const char *wwn, const CreateOptions *o, Target **ret, bool *ret_existing, char ret_wwn[static WWN_SIZE],
                       Refusal *refusal) {
        char canonical[WWN_SIZE], nexus[WWN_SIZE];
        Target *existing = NULL, *t;
        uint32_t number;
        int r;

        *ret_existing = false;
        r = edit_check_generation(e, &o->common, refusal);
        if (r >= 0)
                r = choose_wwn(e, wwn, o, canonical, refusal);
        if (r >= 0)
                r = check_label(strempty(o->label), refusal);
        if (r >= 0 && o->nexus && wwn_parse(o->nexus, nexus) < 0)
                r = refuse(refusal, REFUSAL_INVALID_WWN, "The nexus is not a WWN: expected naa. and 16 hexadecimal digits, the first 5 or 6");
        if (r >= 0)
                r = check_absent(e, canonical, o, &existing, refusal);
        if (r < 0)
                return r;

        memcpy(ret_wwn, canonical, WWN_SIZE);
        if (existing || o->common.dry_run) {
                *ret_existing = existing;
                *ret = existing;
                return 0;
        }

        if (!o->nexus) {
                r = wwn_generate(nexus);
                if (r < 0)
                        return r;
        }

        t = target_new(canonical);
        if (!t)
                return -ENOMEM;

        memcpy(t->nexus, nexus, WWN_SIZE);
        t->present = true;
        r = free_and_strdup(&t->label, strempty(o->label));
        if (r >= 0)
                r = registry_add_target(&e->registry, t, &number);
        if (r < 0) {
                target_free(t);
                return r;
        }

        t->draft.made = true;
        t->revived = tombstone_find(e, t->wwn, &t->draft.revived);
        r = o->common.later ? 0 : store(e, t, refusal, "create %s", t->wwn);
        if (r < 0)
                return r;

        registry_mark_target(&e->registry, t);
        *ret = t;
        return 0;
}

int edit_destroy_target(Engine *e, Target *t, const EditOptions *o, Refusal *refusal) {
        bool wanted = t->wanted, force = t->force;
        int r;

        r = edit_check_generation(e, o, refusal);
        if (r >= 0)
                r = check_ours(t, refusal);
        if (r >= 0)
                r = owners_check_idle(e, t, NULL, o->force, refusal);
        if (r < 0)
                return r;
        if (o->dry_run)
                return 0;

        r = tombstone_set_target(e, t, refusal);
        if (r < 0)
                return r;

        if (t->wanted || (o->force && !t->force)) {
                target_let_go(t, o->force);
                r = record_store(e, t, refusal, "destroy %s", t->wwn);
                if (r < 0) {
                        if (wanted)
                                target_let_stay(t);
                        t->force = force;
                        return r;
                }
        }

        for (size_t i = 0; i < t->n_luns; i++) {
                t->luns[i]->force = t->luns[i]->force || t->force;
                registry_mark_lun(&e->registry, t->luns[i]);
        }
        t->retry_at = 0;
        registry_mark_target(&e->registry, t);
        return 0;
}

int edit_set_label(Engine *e, Target *t, const char *label, const EditOptions *o, Refusal *refusal) {
        char *copy;
        int r;

        r = edit_check_generation(e, o, refusal);
        if (r >= 0)
                r = check_ours(t, refusal);
        if (r >= 0)
                r = check_label(label, refusal);
        if (r < 0)
                return r;
        if (o->dry_run || streq(t->label, label))
                return 0;

        copy = strdup(label);
        if (!copy)
                return -ENOMEM;

        if (t->draft.label)
                free(t->label);
        else
                t->draft.label = t->label;
        t->label = copy;
        r = o->later ? 0 : store(e, t, refusal, "set-label %s %s", t->wwn, label);
        if (r >= 0)
                registry_mark_publish(&e->registry, t);

        return r;
}

static int check_lun_options(const Target *t, const LunOptions *o, Refusal *refusal) {
        if (o->has_number && o->number > LUN_NUMBER_MAX)
                return refuse(refusal, REFUSAL_LUN_OUT_OF_RANGE, "LUN numbers go from 0 to %d", LUN_NUMBER_MAX);
        if (o->name && !backstore_name_is_valid(o->name))
                return refuse(refusal, REFUSAL_INVALID_ARGS,
                              "A name is at most %d letters, digits and . _ : + -, and does not start with a dot", BACKSTORE_NAME_MAX);
        if (o->serial && !backstore_serial_is_valid(o->serial))
                return refuse(refusal, REFUSAL_INVALID_ARGS,
                              "A serial is at most %d printable ASCII characters without a comma", BACKSTORE_SERIAL_MAX);

        for (char **a = o->attributes; a && *a; a++) {
                const char *value = strchr(*a, '=');
                _cleanup_free_ char *name = strndup(*a, (size_t) (value - *a));

                if (!name)
                        return -ENOMEM;
                if (a > o->attributes && startswith(a[-1], name) && a[-1][strlen(name)] == '=')
                        return refuse(refusal, REFUSAL_INVALID_ARGS, "Attribute %s is there twice", name);
                if (!attribute_is_valid(name, value + 1))
                        return refuse(refusal, REFUSAL_INVALID_ARGS, "There is no attribute %s that takes %s", name, value + 1);
        }

        if (t && o->has_number && target_lun(t, o->number)) {
                const Lun *l = target_lun(t, o->number);

                return refuse(refusal, REFUSAL_LUN_CONFLICT, "LUN %" PRIu32 " of %s is %s %s", o->number, t->wwn,
                              l->wanted ? "taken by" : "still being removed from", strempty(l->backstore->source));
        }

        return 0;
}

/* An unwanted LUN's disk is on its way out; nobody can share it. */
static int check_shared(const Backstore *b, const LunOptions *o, Refusal *refusal) {
        const Lun *l = list_entry(b->luns.next, Lun, backstore_link);

        if (!l->wanted)
                return refuse(refusal, REFUSAL_LUN_CONFLICT, "%s is still being removed from LUN %" PRIu32 " of %s", b->source, l->number,
                              l->target->wwn);
        if (!o->shareable)
                return refuse(refusal, REFUSAL_ALREADY_EXISTS, "%s is already exported as LUN %" PRIu32 " of %s; say shareable if that is meant",
                              b->source, l->number, l->target->wwn);
        if (o->readonly != b->readonly || (o->name && !streq(o->name, b->name)) || (o->serial && !streq(o->serial, b->serial)) ||
            (o->attributes && !strv_equal(o->attributes, b->attributes)))
                return refuse(refusal, REFUSAL_LUN_CONFLICT,
                              "%s is exported as LUN %" PRIu32 " of %s with another name, serial, readonly or attributes, which all its LUNs share",
                              b->source, l->number, l->target->wwn);

        return 0;
}

static int check_device(Engine *e, const Device *d, const LunOptions *o, Refusal *refusal) {
        _cleanup_(surveyed_device_done) SurveyedDevice s = {};
        _cleanup_(mounts_freep) Mounts *mounts = NULL;
        int r;

        r = o->mounts ? 0 : mounts_new(&mounts);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return refuse(refusal, REFUSAL_NOT_READY, "Cannot tell what is mounted: %s", strerror(-r));

        r = survey_device(e, d, o->mounts ?: mounts, &s);
        if (r < 0)
                return r;

        /* Not ready is no fault: the LUN waits for it. */
        if (s.verdict != DEVICE_USABLE && s.verdict != DEVICE_NOT_READY)
                return survey_refuse(d, &s, refusal);
        if (d->kind == DEVICE_FILE && o->readonly)
                return refuse(refusal, REFUSAL_INVALID_ARGS, "A file cannot be exported readonly: the kernel's fileio has no such mode");
        if (s.verdict == DEVICE_USABLE && d->read_only && !o->readonly)
                return refuse(refusal, REFUSAL_DEVICE_UNSAFE, "%s is read-only; export it with readonly", d->node);

        return 0;
}

/* One path of a disk is named by its place: the disk's own names lead to all of them. */
static int choose_path(const Device *d, char **source, Refusal *refusal) {
        const char *place = d ? device_key(d, "by-path") : NULL;

        if (!d)
                return refuse(refusal, REFUSAL_DEVICE_NOT_FOUND, "Nothing answers to %s now, and a path must be there to be exported", *source);
        if (d->kind != DEVICE_DISK || !device_key(d, "wwid"))
                return refuse(refusal, REFUSAL_INVALID_SOURCE, "%s is no path: it is not a whole disk with a WWID", d->node);
        if (!place)
                return refuse(refusal, REFUSAL_INVALID_SOURCE, "%s has no link below /dev/disk/by-path, so nobody would find it again", d->node);

        return free_and_strdup(source, place);
}

/* Several disks with one WWID are paths that multipathd has not put together: by that name the LUN would never come up, and any one of them
 * would be the wrong disk for somebody. */
static int check_ambiguous(Engine *e, const Device *d, const char *source, Refusal *refusal) {
        Device *other;

        if (inventory_resolve(e->inventory, source, &other) != -ENOTUNIQ)
                return 0;

        return refuse(refusal, REFUSAL_DEVICE_IS_PATH_MEMBER, "%s is one of several paths to %s, of which there is no map; say path if this one alone is meant",
                      d->node, source);
}

static int fill_backstore(Backstore *b, const Device *d, const LunOptions *o, char **serial) {
        int r = 0;

        b->readonly = o->readonly;
        b->serial = TAKE_PTR(*serial);
        if (o->name)
                r = free_and_strdup(&b->name, o->name);
        else if (o->path)
                r = backstore_path_name(b->source, d->identity, &b->name);
        else
                r = backstore_default_name(b->source, &b->name);
        if (r >= 0 && o->path)
                r = free_and_strdup(&b->identity, d->identity);

        for (char **a = o->attributes; r >= 0 && a && *a; a++)
                r = strv_extend(&b->attributes, *a);

        return r;
}

/* Among what is planned it only stands for what will be: it has no number in core/. */
static int plan_backstore(const LunOptions *o, const char *source, const Device *d, uint32_t number, char **serial) {
        Backstore *b;
        Lun *l;
        int r;

        r = registry_new_backstore(o->planned, source, &b);
        if (r < 0)
                return r;

        registry_release_hba(o->planned, b->hba);
        b->hba = BACKSTORE_HBA_NONE;
        r = fill_backstore(b, d, o, serial);
        if (r < 0) {
                registry_put_backstore(o->planned, b);
                return r;
        }

        return registry_add_lun(o->planned, o->planned_target, number, b, &l);
}

int edit_add_lun(Engine *e, Target *t, const char *source, const LunOptions *o, uint32_t *ret_number, Refusal *refusal) {
        _cleanup_free_ char *text = NULL, *serial = NULL;
        const Device *d = NULL;
        uint32_t number = o->number;
        Backstore *b;
        Lun *l;
        int r;

        r = edit_check_generation(e, &o->common, refusal);
        if (r >= 0 && t)
                r = check_ours(t, refusal);
        if (r >= 0 && t && !t->wanted)
                r = refuse(refusal, REFUSAL_NOT_FOUND, "Target %s is being removed", t->wwn);
        if (r >= 0) {
                strv_sort(o->attributes);
                r = check_lun_options(t, o, refusal);
        }
        if (r >= 0)
                r = survey_resolve(e, source, &text, &d, refusal);
        if (r >= 0 && d)
                r = check_device(e, d, o, refusal);
        if (r >= 0 && o->path)
                r = choose_path(d, &text, refusal);
        else if (r >= 0 && d)
                r = check_ambiguous(e, d, text, refusal);
        if (r < 0)
                return r;

        b = survey_backstore(e, &e->registry, text, o->path ? NULL : d);
        if (!b && o->planned)
                b = survey_backstore(e, o->planned, text, o->path ? NULL : d);
        if (b)
                r = check_shared(b, o, refusal);
        else {
                if (o->name && (registry_has_backstore_name(&e->registry, o->name) ||
                                (o->planned && registry_has_backstore_name(o->planned, o->name))))
                        r = refuse(refusal, REFUSAL_ALREADY_EXISTS, "There is a backstore named %s", o->name);
                if (r >= 0)
                        r = serial_choose(&e->registry, o->planned, o->serial, text, o->path ? d->identity : NULL, &serial, refusal);
        }
        if (r < 0)
                return r;

        if (!o->has_number) {
                r = target_lowest_free_number(t, &number);
                if (r < 0)
                        return refuse(refusal, REFUSAL_LUN_OUT_OF_RANGE, "Every LUN number of %s is taken", t->wwn);
        }

        *ret_number = number;
        if (o->common.dry_run)
                return b || !o->planned ? 0 : plan_backstore(o, text, d, number, &serial);

        if (!b) {
                r = registry_new_backstore(&e->registry, text, &b);
                if (r < 0)
                        return r;

                r = fill_backstore(b, d, o, &serial);
                if (r >= 0 && d && d->kind == DEVICE_FILE)
                        r = files_promise(b, d);
                if (r < 0) {
                        registry_put_backstore(&e->registry, b);
                        return r;
                }
                b->present = true;
                b->size = d && device_verdict(d, NULL) == DEVICE_USABLE ? d->size : 0;
        }

        r = registry_add_lun(&e->registry, t, number, b, &l);
        if (r < 0)
                return r;

        l->present = true;
        l->origin = o->origin;
        l->draft = LUN_ADDED;
        l->revived = o->origin != LUN_UDEV && tombstone_find_source(e, b->source, d, &t->draft.revived);
        r = o->common.later ? 0 : store(e, t, refusal, "add-lun %s %s as LUN %" PRIu32, t->wwn, b->source, number);
        if (r >= 0)
                t->retry_at = 0;        /* a caller does not wait for the next try of what failed before */

        return r;
}

int edit_remove_lun(Engine *e, Lun *l, const EditOptions *o, Refusal *refusal) {
        Target *t = l->target;
        int r;

        r = edit_check_generation(e, o, refusal);
        if (r >= 0)
                r = check_ours(t, refusal);
        if (r >= 0)
                r = owners_check_idle(e, t, l, o->force, refusal);
        if (r < 0)
                return r;
        if (o->dry_run)
                return 0;

        if (l->draft == LUN_AS_STORED) {
                l->draft = LUN_REMOVED;
                l->was_wanted = l->wanted;
                l->was_forced = l->force;
        }
        l->wanted = l->finished = false;        /* whoever asks now waits for its end */
        l->force = l->force || o->force;
        r = o->later ? 0 : store(e, t, refusal, "remove-lun %s %" PRIu32, t->wwn, l->number);
        if (r < 0)
                return r;

        l->with_target = false; /* asked for on its own: gone, even if its target stays */
        t->retry_at = 0;
        registry_mark_lun(&e->registry, l);
        return 0;
}

/* Somebody waits for this LUN alone. */
static bool is_awaited(const Lun *l) {
        const Request *r;

        LIST_FOREACH(&l->target->requests, r, const Request, link)
                if (r->lun == l->number)
                        return true;

        return false;
}

int edit_finish_lun(Engine *e, Lun *l) {
        Target *t = l->target;
        int r;

        l->finished = true;
        if (!t->wanted && l->with_target && request_may_undo_destroy(t))
                return 0;

        /* While the target goes as a whole, one save does for many. */
        if (!t->wanted) {
                registry_mark_unsaved(&e->registry, t);
                registry_remove_lun(&e->registry, l);
                return 0;
        }

        /* So it does for many that go with one document. Until then it is kept: what it has let go of is still its own in the file. */
        if (!is_awaited(l)) {
                registry_mark_unsaved(&e->registry, t);
                return 0;
        }

        r = store_save(e->store, t);
        if (r < 0) {
                l->finished = false;
                return log_warning_errno(r, "Cannot store target %s, LUN %" PRIu32 " stays in its file for now", t->wwn, l->number);
        }

        e->registry.generation++;
        list_unlink(&t->save_link);
        registry_forget_finished(&e->registry, t);
        return 0;
}

void edit_forget_finished(Engine *e, Target *t) {
        size_t n = t->n_luns;

        registry_forget_finished(&e->registry, t);
        if (t->n_luns < n)
                registry_mark_unsaved(&e->registry, t);
}

int edit_finish_target(Engine *e, Target *t) {
        int r;

        r = store_remove(e->store, t->wwn);
        if (r < 0)
                return log_warning_errno(r, "Cannot remove the file of target %s, which stays for now", t->wwn);

        e->registry.generation++;
        return 0;
}
