/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "base/map.h"
#include "base/strv.h"
#include "base/text.h"
#include "model/lun.h"
#include "store/json.h"
#include "store/lost.h"
#include "store/saveconfig.h"
#include "store/storage-object.h"

#define DEFAULT_GROUP "default_tg_pt_gp"
#define GROUP 1                 /* the only portal group that guests have here */

typedef struct Import {
        Document *d;
        char **why;
        StorageObjects objects;
} Import;

/* The array at key, or NULL for none: *ret_why is set if it is something else. */
static int get_array(Json *o, const char *key, const char *where, Json **ret, char **ret_why) {
        *ret = NULL;
        if (!json_object_object_get_ex(o, key, ret) || !*ret)
                return 0;
        if (!json_object_is_type(*ret, json_type_array))
                return text_refuse(ret_why, "%s: %s is no array", where, key);

        return 0;
}

/* --- targets --- */

/* What targetcli makes up, the end of a UUID; or what our links are called. */
static bool alias_is_usual(Json *v, const char *name) {
        if (json_object_is_type(v, json_type_string) && streq(json_object_get_string(v), name))
                return true;

        return json_object_is_type(v, json_type_string) && json_object_get_string_len(v) == 10 &&
               strspn(json_object_get_string(v), "0123456789abcdef") == 10;
}

static int note_lun_keys(Import *i, Json *lun, const char *name, const char *object) {
        _cleanup_(lost_done) Lost lost = {};
        const char *key;
        Json *v;

        JSON_FOREACH(lun, key, v) {
                int r = 0;

                if (streq(key, "index") || streq(key, "storage_object") || json_is_empty(v))
                        continue;
                if (streq(key, "alias"))
                        r = alias_is_usual(v, name) ? 0 : lost_add_member(&lost, key, v, "the name of a link that no guest sees");
                else if (streq(key, "alua_tg_pt_gp_name"))
                        r = streq(json_object_get_string(v), DEFAULT_GROUP) ? 0 : lost_add_member(&lost, key, v, "groups of ALUA are not set here");
                else
                        r = lost_add_member(&lost, key, v, NULL);
                if (r < 0)
                        return r;
        }

        return lost_say(&lost, i->d, object, "not kept");
}

static int copy_lun(const DocumentLun *from, DocumentLun *to) {
        int r = 0;

        to->readonly = from->readonly;
        to->size = from->size;
        for (char **a = from->attributes; r >= 0 && a && *a; a++)
                r = strv_extend(&to->attributes, *a);
        if (r >= 0)
                r = free_and_strdup(&to->name, from->name);
        if (r >= 0)
                r = free_and_strdup(&to->serial, from->serial);
        if (r >= 0)
                r = free_and_strdup(&to->place, from->place);

        return r;
}

static int import_lun(Import *i, DocumentTarget *t, Json *lun) {
        char object[WWN_SIZE + sizeof "/lun 18446744073709551615"];
        uint64_t number;
        DocumentLun *l;
        const char *path;
        StorageObject *s;
        Json *v;
        int r;

        if (!json_object_is_type(lun, json_type_object))
                return text_refuse(i->why, "%s: a LUN is no object", t->wwn);
        if (!json_object_object_get_ex(lun, "index", &v) || json_to_number(v, &number) < 0)
                return document_note(i->d, t->wwn, "a LUN is not imported: it has no index");

        (void) snprintf(object, sizeof object, "%s/lun %" PRIu64, t->wwn, number);
        if (number > LUN_NUMBER_MAX)
                return document_note(i->d, object, "not imported: a guest finds LUNs up to %d", LUN_NUMBER_MAX);

        path = json_get_string(lun, "storage_object");
        r = storage_objects_find(&i->objects, path, &s);
        if (r < 0)
                return r;
        if (!s) {
                _cleanup_free_ char *excerpt = NULL;

                r = text_excerpt(strempty(path), &excerpt);
                return r < 0 ? r : document_note(i->d, object, "not imported: there is no storage object \"%s\"", excerpt);
        }

        r = storage_object_read(&i->objects, s, i->d);
        if (r < 0)
                return r;
        if (s->why)
                return document_note(i->d, object, "not imported: %s", s->why);

        r = document_target_add_lun(t, (uint32_t) number, s->lun.source, &l);
        if (r >= 0)
                r = copy_lun(&s->lun, l);
        if (r < 0)
                return r;

        s->luns++;
        return note_lun_keys(i, lun, s->lun.name, object);
}

/* Its portal group's number, or that which rtslib gives to the first one without. */
static int read_tag(Json *group, uint64_t *ret) {
        Json *v;

        *ret = GROUP;
        return json_object_object_get_ex(group, "tag", &v) && v ? json_to_number(v, ret) : 0;
}

static int note_group_keys(Import *i, Json *group, const char *wwn) {
        static const char *const known[] = { "tag", "luns", "enable", NULL };
        _cleanup_(lost_done) Lost lost = {};
        const char *key;
        Json *v;

        JSON_FOREACH(group, key, v) {
                int r;

                if (strv_contains((char *const *) known, key) || json_is_empty(v))
                        continue;

                r = streq(key, "attributes") || streq(key, "parameters") ? lost_add_members(&lost, v, "a portal group has none here") :
                    lost_add_member(&lost, key, v, NULL);
                if (r < 0)
                        return r;
        }

        return lost_say(&lost, i->d, wwn, "not kept");
}

static int import_group(Import *i, DocumentTarget *t, Json *group) {
        uint64_t tag;
        Json *luns;
        int r;

        r = get_array(group, "luns", t->wwn, &luns, i->why);
        if (r < 0)
                return r;

        if (read_tag(group, &tag) < 0)
                return document_note(i->d, t->wwn, "a portal group is not imported, with its %zu LUNs: its tag is no number", json_count(luns));
        if (tag != GROUP)
                return document_note(i->d, t->wwn, "portal group %" PRIu64 " is not imported, with its %zu LUNs: guests are served from group %d",
                                     tag, json_count(luns), GROUP);

        for (size_t k = 0; k < json_count(luns); k++) {
                r = import_lun(i, t, json_object_array_get_idx(luns, k));
                if (r < 0)
                        return r;
        }

        return note_group_keys(i, group, t->wwn);
}

/* -EINVAL: the file cannot be read. 0: it has portal groups, but not the one. */
static int has_group(Import *i, Json *groups, const char *wwn) {
        bool found = json_count(groups) == 0;

        for (size_t k = 0; k < json_count(groups); k++) {
                Json *group = json_object_array_get_idx(groups, k);
                uint64_t tag;

                if (!json_object_is_type(group, json_type_object))
                        return text_refuse(i->why, "%s: a portal group is no object", wwn);

                found = found || (read_tag(group, &tag) >= 0 && tag == GROUP);
        }

        return found;
}

static int note_wwn(Import *i, const char *wwn, const char *raw) {
        int r = 0;

        if (!streq(wwn, raw)) {
                _cleanup_free_ char *excerpt = NULL;

                r = text_excerpt(raw, &excerpt);
                if (r >= 0)
                        r = document_note(i->d, wwn, "the file writes it %s, which is another name to the kernel", excerpt);
        }
        if (r >= 0 && wwn[strlen("naa.")] == '6')
                r = document_note(i->d, wwn, "\"targetctl restore\" makes naa.5%s of it; here it is what the file says", wwn + strlen("naa.6"));

        return r;
}

/* The kernel's own default of the only one that there is (target_core_fabric_configfs.c, cmd_completion_affinity). */
static bool parameters_say_nothing(Json *parameters) {
        const char *key;
        Json *v;

        if (!json_object_is_type(parameters, json_type_object))
                return false;

        JSON_FOREACH(parameters, key, v)
                if (!streq(key, "cmd_completion_affinity") || !streq_ptr(v ? json_object_get_string(v) : NULL, "-1"))
                        return false;

        return true;
}

static int import_target(Import *i, Json *target) {
        const char *raw = json_get_string(target, "wwn"), *key;
        _cleanup_(lost_done) Lost lost = {};
        char wwn[WWN_SIZE];
        DocumentTarget *t;
        Json *groups, *v;
        int r;

        if (!raw || wwn_parse(raw, wwn) < 0) {
                _cleanup_free_ char *excerpt = NULL;

                r = text_excerpt(raw ?: "a target without a wwn", &excerpt);
                return r < 0 ? r : document_note(i->d, "file", "%s is not imported: the WWN is not NAA 5 or 6 with 16 digits", excerpt);
        }

        r = get_array(target, "tpgs", wwn, &groups, i->why);
        if (r >= 0)
                r = has_group(i, groups, wwn);
        if (r < 0)
                return r;
        if (r == 0)
                return document_note(i->d, wwn, "not imported: it has no portal group %d", GROUP);

        r = document_add_target(i->d, wwn, &t);
        if (r == -EFBIG)
                text_refuse(i->why, "more than %u targets", DOCUMENT_TARGETS_MAX);
        if (r >= 0)
                r = note_wwn(i, wwn, raw);
        if (r < 0)
                return r;

        for (size_t k = 0; k < json_count(groups); k++) {
                r = import_group(i, t, json_object_array_get_idx(groups, k));
                if (r < 0)
                        return r;
        }

        JSON_FOREACH(target, key, v) {
                if (streq(key, "wwn") || streq(key, "fabric") || streq(key, "tpgs") || json_is_empty(v) ||
                    (streq(key, "parameters") && parameters_say_nothing(v)))
                        continue;

                r = streq(key, "parameters") ? lost_add_members(&lost, v, "a target has none here") : lost_add_member(&lost, key, v, NULL);
                if (r < 0)
                        return r;
        }

        return lost_say(&lost, i->d, wwn, "not kept");
}

/* Those of vhost; of the others, one note that names the fabrics. */
static int import_targets(Import *i, Json *targets) {
        _cleanup_(map_freep) Map *fabrics = map_new();
        _cleanup_(lost_done) Lost names = {};
        int r;

        if (!fabrics)
                return -ENOMEM;

        for (size_t k = 0; k < json_count(targets); k++) {
                Json *t = json_object_array_get_idx(targets, k);
                const char *fabric;

                if (!json_object_is_type(t, json_type_object))
                        return text_refuse(i->why, "targets: number %zu is no object", k);

                fabric = json_get_string(t, "fabric") ?: "none";
                if (streq(fabric, "vhost")) {
                        r = import_target(i, t);
                } else {
                        r = map_put(fabrics, fabric, t);
                        r = r == -EEXIST ? 0 : r < 0 ? r : lost_add(&names, fabric, NULL);
                }
                if (r < 0)
                        return r;
        }

        return lost_say(&names, i->d, "file", "targets of other fabrics are not imported");
}

/* --- the file --- */

/* Two LUNs on one storage object are meant to be. */
static int mark_shared(Import *i) {
        for (size_t k = 0; k < i->d->n_targets; k++)
                for (size_t n = 0; n < i->d->targets[k].n_luns; n++) {
                        DocumentLun *l = &i->d->targets[k].luns[n];
                        StorageObject *s;
                        int r;

                        r = storage_objects_find_place(&i->objects, l->place, &s);
                        if (r < 0)
                                return r;

                        l->shareable = s->luns > 1;
                }

        return 0;
}

static int note_rest(Import *i, Json *file) {
        _cleanup_(lost_done) Lost unused = {}, lost = {};
        const char *key;
        Json *v;
        int r = 0;

        for (size_t k = 0; r >= 0 && k < i->objects.n; k++)
                if (!i->objects.objects[k].read)
                        r = lost_add(&unused, i->objects.objects[k].key, NULL);
        if (r >= 0)
                r = lost_say(&unused, i->d, "file", "storage objects that no LUN of vhost stands on are not imported");
        if (r >= 0 && i->objects.n_of_disk > 0)
                r = document_note(i->d, "file", "queue_depth, optimal_sectors, is_nonrot and what begins with max_ or unmap_ are left to the kernel, "
                                  "which takes them from the disk (%zu storage objects)", i->objects.n_of_disk);
        if (r < 0)
                return r;
        if (i->objects.n_of_disk > 0 && i->d->n_unsaid == 0)
                i->d->notes[i->d->n_notes - 1].usual = true;

        JSON_FOREACH(file, key, v) {
                if (streq(key, "storage_objects") || streq(key, "targets") || json_is_empty(v))
                        continue;

                r = lost_add_member(&lost, key, v, NULL);
                if (r < 0)
                        return r;
        }

        return lost_say(&lost, i->d, "file", "not kept");
}

static int import_file(Import *i, Json *file) {
        Json *objects, *targets;
        int r;

        if (!json_object_is_type(file, json_type_object))
                return text_refuse(i->why, "no object");

        r = get_array(file, "storage_objects", "file", &objects, i->why);
        if (r >= 0)
                r = get_array(file, "targets", "file", &targets, i->why);
        if (r < 0)
                return r;
        if (!objects && !targets)
                return text_refuse(i->why, "neither storage_objects nor targets in it: not a configuration that targetcli saved");

        r = storage_objects_index(&i->objects, objects, i->d, i->why);
        if (r >= 0)
                r = import_targets(i, targets);
        if (r >= 0)
                r = mark_shared(i);
        if (r >= 0)
                r = note_rest(i, file);
        if (r >= 0)
                r = document_finish(i->d, i->why);

        return r;
}

int saveconfig_parse(const char *text, size_t size, Document *ret, char **ret_why) {
        static const JsonLimits limits = {
                .size = SAVECONFIG_MAX, .depth = SAVECONFIG_DEPTH, .containers = SAVECONFIG_CONTAINERS, .values = SAVECONFIG_VALUES, .unique = true,
        };
        _cleanup_(json_object_putp) Json *file = NULL;
        _cleanup_(document_done) Document d = {};
        Import i = { .d = &d, .why = ret_why };
        int r;

        *ret_why = NULL;
        r = json_read(text, size, &limits, &file, ret_why);
        if (r >= 0)
                r = import_file(&i, file);
        storage_objects_done(&i.objects);
        if (r < 0)
                return r;

        *ret = d;
        d = (Document) {};
        return 0;
}
