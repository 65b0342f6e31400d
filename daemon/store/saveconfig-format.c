/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "base/map.h"
#include "base/parse.h"
#include "model/plan.h"
#include "model/source.h"
#include "store/json-text.h"
#include "store/lost.h"
#include "store/saveconfig.h"

/* The other direction. What the keys are for: RTSRoot.restore() in root.py; the constructors of BlockStorageObject and FileIOStorageObject in
 * tcm.py, which get every key as an argument and raise on one that they do not know; TPG.setup() and LUN.setup() in target.py. */

typedef struct Export {
        Document *d;
        Json *objects;          /* storage_objects */
        Map *written[2];        /* devices, files: name -> the first LUN on it, which has made the storage object */
        bool promises;          /* there are some, which rtslib does not know of */
} Export;

/* A link of udev's, or the file; NULL: there is no path. */
static int device_path(const char *source, SourceKind *ret_kind, char **ret) {
        static const char *const places[_SOURCE_KIND_MAX] = {
                [SOURCE_DM_UUID] = "/dev/disk/by-id/dm-uuid-",
                [SOURCE_BY_ID] = "/dev/disk/by-id/",
                [SOURCE_BY_PATH] = "/dev/disk/by-path/",
                [SOURCE_PATH] = "",
                [SOURCE_FILE] = "",
        };
        _cleanup_free_ char *canonical = NULL;
        char *path;
        int r;

        r = source_parse(source, ret_kind, &canonical, NULL);
        if (r < 0)
                return r;

        *ret = NULL;
        if (!places[*ret_kind])
                return 0;
        if (asprintf(&path, "%s%s", places[*ret_kind], source_value(canonical)) < 0)
                return -ENOMEM;

        *ret = path;
        return 0;
}

static int add_attribute(Json *o, const char *attribute) {
        _cleanup_free_ char *name = strndup(attribute, strcspn(attribute, "="));
        uint64_t value;

        if (!name)
                return -ENOMEM;
        if (parse_u64(attribute + strlen(name) + 1, &value) < 0)
                return -EINVAL;

        return json_add(o, name, json_object_new_uint64(value));
}

/* Also those that rtslib would leave as the kernel has them, and we set: guests are to see the same disk. */
static int format_attributes(const DocumentLun *l, Json **ret) {
        _cleanup_(json_object_putp) Json *o = json_object_new_object();
        int r = o ? 0 : -ENOMEM;

        for (const char *const *a = plan_default_attributes; r >= 0 && *a; a++)
                r = add_attribute(o, *a);
        for (char **a = l->attributes; r >= 0 && a && *a; a++)
                r = add_attribute(o, *a);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(o);
        return 0;
}

static int format_object(const DocumentLun *l, bool file, const char *path, Json *objects) {
        _cleanup_(json_object_putp) Json *o = json_object_new_object(), *attributes = NULL;
        int r = o ? 0 : -ENOMEM;

        if (r >= 0)
                r = format_attributes(l, &attributes);
        JSON_ADD(r, o, "alua_tpgs", json_object_new_array());
        JSON_ADD(r, o, "attributes", json_object_get(attributes));
        JSON_ADD(r, o, "dev", json_object_new_string(path));
        JSON_ADD(r, o, "name", json_object_new_string(l->name));
        JSON_ADD(r, o, "plugin", json_object_new_string(file ? "fileio" : "block"));
        if (file)
                JSON_ADD(r, o, "size", json_object_new_uint64(l->size));
        else
                JSON_ADD(r, o, "readonly", json_object_new_boolean(l->readonly));
        JSON_ADD(r, o, "write_back", json_object_new_boolean(false));
        JSON_ADD(r, o, "wwn", json_object_new_string(l->serial));
        return r < 0 ? r : json_append(objects, TAKE_PTR(o));
}

static int format_lun(const DocumentLun *l, bool file, Json *luns) {
        _cleanup_(json_object_putp) Json *o = json_object_new_object();
        _cleanup_free_ char *path = NULL;
        int r = o ? 0 : -ENOMEM;

        if (asprintf(&path, "/backstores/%s/%s", file ? "fileio" : "block", l->name) < 0) {
                path = NULL;
                return -ENOMEM;
        }

        JSON_ADD(r, o, "alias", json_object_new_string(l->name));
        JSON_ADD(r, o, "alua_tg_pt_gp_name", json_object_new_string("default_tg_pt_gp"));
        JSON_ADD(r, o, "index", json_object_new_int64(l->number));
        JSON_ADD(r, o, "storage_object", json_object_new_string(path));
        return r < 0 ? r : json_append(luns, TAKE_PTR(o));
}

/* Why rtslib would make another disk of it, or none; NULL: it would not. */
static const char *check_lun(const DocumentLun *l, bool file, const char *path) {
        if (!path)
                return "its source is no path";
        if (!l->name || !l->serial)
                return "it has no name or no serial, and rtslib would make up another serial each time";
        if (file && l->readonly)
                return "rtslib has no files that a guest may only read";
        if (file && l->size == 0)
                return "the size of the file is not known";

        return NULL;
}

static int export_lun(Export *e, const DocumentTarget *t, DocumentLun *l, Json *luns) {
        char object[WWN_SIZE + sizeof "/lun 4294967295"];
        _cleanup_free_ char *path = NULL;
        SourceKind kind;
        const char *why;
        bool file;
        int r;

        (void) snprintf(object, sizeof object, "%s/lun %" PRIu32, t->wwn, l->number);
        r = device_path(l->source, &kind, &path);
        if (r < 0)
                return r;

        file = kind == SOURCE_FILE;
        why = check_lun(l, file, path);
        if (why)
                return document_leave_out(e->d, object, "%s", why);

        e->promises = e->promises || l->identity || l->mount || (l->size > 0 && !file);
        if (l->shareable) {
                r = document_note(e->d, object, "not kept: shareable (rtslib always shares)");
                if (r < 0)
                        return r;
        }

        r = map_put(e->written[file], l->name, l);
        if (r >= 0)
                r = format_object(l, file, path, e->objects);
        else if (r == -EEXIST)
                r = 0;
        if (r >= 0)
                r = format_lun(l, file, luns);

        return r;
}

static int note_target(Export *e, const DocumentTarget *t) {
        _cleanup_(lost_done) Lost lost = {};
        int r = 0;

        if (t->nexus[0])
                r = lost_add(&lost, "nexus", "rtslib makes a new one each time, and what guests have reserved persistently is void");
        if (r >= 0 && !isempty(t->label))
                r = lost_add(&lost, "label", NULL);
        if (r >= 0)
                r = lost_say(&lost, e->d, t->wwn, "not kept");
        if (r >= 0 && t->wwn[strlen("naa.")] == '6')
                r = document_note(e->d, t->wwn, "rtslib makes naa.5%s of this name, and no guest finds it", t->wwn + strlen("naa.6"));

        return r;
}

/* Portal group 1, the only one that we have. */
static int export_target(Export *e, DocumentTarget *t, Json *targets) {
        _cleanup_(json_object_putp) Json *o = json_object_new_object(), *group = json_object_new_object(), *luns = json_object_new_array();
        _cleanup_(json_object_putp) Json *groups = json_object_new_array();
        int r;

        if (!o || !group || !luns || !groups)
                return -ENOMEM;

        r = note_target(e, t);
        for (size_t k = 0; r >= 0 && k < t->n_luns; k++)
                r = export_lun(e, t, &t->luns[k], luns);

        JSON_ADD(r, group, "attributes", json_object_new_object());
        JSON_ADD(r, group, "enable", json_object_new_boolean(true));
        JSON_ADD(r, group, "luns", json_object_get(luns));
        JSON_ADD(r, group, "node_acls", json_object_new_array());
        JSON_ADD(r, group, "parameters", json_object_new_object());
        JSON_ADD(r, group, "portals", json_object_new_array());
        JSON_ADD(r, group, "tag", json_object_new_int(1));
        if (r >= 0)
                r = json_append(groups, json_object_get(group));

        JSON_ADD(r, o, "fabric", json_object_new_string("vhost"));
        JSON_ADD(r, o, "tpgs", json_object_get(groups));
        JSON_ADD(r, o, "wwn", json_object_new_string(t->wwn));
        return r < 0 ? r : json_append(targets, TAKE_PTR(o));
}

static int export_document(Export *e, char **ret, size_t *ret_size) {
        _cleanup_(json_object_putp) Json *o = json_object_new_object(), *targets = json_object_new_array();
        int r = o && targets ? 0 : -ENOMEM;

        for (size_t i = 0; r >= 0 && i < e->d->n_targets; i++)
                r = export_target(e, &e->d->targets[i], targets);
        if (r >= 0 && e->promises)
                r = document_note(e->d, "file", "what guests were promised is not kept: sizes, identities, mounts (rtslib takes any disk that has the name)");

        JSON_ADD(r, o, "fabric_modules", json_object_new_array());
        JSON_ADD(r, o, "storage_objects", json_object_get(e->objects));
        JSON_ADD(r, o, "targets", json_object_get(targets));
        return r < 0 ? r : json_write(o, JSON_PRETTY, ret, ret_size);
}

int saveconfig_format(Document *d, char **ret, size_t *ret_size) {
        Export e = { .d = d, .objects = json_object_new_array(), .written = { map_new(), map_new() } };
        int r = -ENOMEM;

        if (e.objects && e.written[0] && e.written[1])
                r = export_document(&e, ret, ret_size);

        json_object_put(e.objects);
        map_free(e.written[0]);
        map_free(e.written[1]);
        return r;
}
