/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "base/strv.h"
#include "base/text.h"
#include "model/attribute.h"
#include "model/backstore.h"
#include "model/source.h"
#include "store/lost.h"
#include "store/storage-object.h"

#define DEFAULT_GROUP "default_tg_pt_gp"  /* of ALUA: every backstore has it */

void storage_objects_done(StorageObjects *o) {
        for (size_t k = 0; k < o->n; k++) {
                document_lun_done(&o->objects[k].lun);
                free(o->objects[k].key);
                free(o->objects[k].why);
        }
        free(o->objects);
        map_free(o->by_key);
}

/* "block/disk1" */
static char *storage_key(const char *plugin, size_t n, const char *name) {
        static const char *const now[][2] = { { "iblock", "block" }, { "rd_mcp", "ramdisk" } };
        char *key;

        for (size_t k = 0; k < ELEMENTSOF(now); k++)
                if (strlen(now[k][0]) == n && strncmp(plugin, now[k][0], n) == 0) {
                        plugin = now[k][1];
                        n = strlen(plugin);
                        break;
                }

        return asprintf(&key, "%.*s/%s", (int) n, plugin, name) < 0 ? NULL : key;
}

static int read_attribute(StorageObject *s, const char *name, Json *v, bool *of_disk, Lost *lost) {
        const char *usual = attribute_default(name);
        char text[sizeof "18446744073709551615"];
        uint64_t value;
        char *a;

        switch (attribute_kind(name)) {
        case ATTRIBUTE_IDLE:
                return 0;
        case ATTRIBUTE_OF_DISK:
                *of_disk = true;
                return 0;
        case ATTRIBUTE_SETTABLE:
        case ATTRIBUTE_FIXED:
        case ATTRIBUTE_UNKNOWN:
        case _ATTRIBUTE_KIND_MAX:
                break;
        }

        if (json_to_number(v, &value) < 0)
                return lost_add_member(lost, name, v, "no number");

        (void) snprintf(text, sizeof text, "%" PRIu64, value);
        if (usual && streq(usual, text))
                return 0;
        if (!attribute_is_valid(name, text))
                return lost_add_member(lost, name, v, "never set here");
        if (asprintf(&a, "%s=%s", name, text) < 0)
                return -ENOMEM;

        return strv_consume(&s->lun.attributes, a);
}

static int read_attributes(StorageObjects *o, StorageObject *s, Json *attributes, Lost *lost) {
        bool of_disk = false;
        const char *name;
        Json *v;

        if (!json_object_is_type(attributes, json_type_object))
                return json_is_empty(attributes) ? 0 : lost_add(lost, "attributes", "no object");

        JSON_FOREACH(attributes, name, v) {
                int r = read_attribute(s, name, v, &of_disk, lost);

                if (r < 0)
                        return r;
        }

        o->n_of_disk += of_disk;
        return 0;
}

static int read_groups(Json *groups, Lost *lost) {
        if (!json_object_is_type(groups, json_type_array))
                return json_is_empty(groups) ? 0 : lost_add(lost, "alua_tpgs", "no array");

        for (size_t k = 0; k < json_object_array_length(groups); k++) {
                Json *group = json_object_array_get_idx(groups, k);
                const char *name = json_object_is_type(group, json_type_object) ? json_get_string(group, "name") : NULL;
                int r;

                if (name && streq(name, DEFAULT_GROUP))
                        continue;

                r = lost_add(lost, name ?: "alua_tpgs", "groups of ALUA are not set here");
                if (r < 0)
                        return r;
        }

        return 0;
}

/* What is not kept of the key, or, for some, what is. */
static int read_key(StorageObjects *o, StorageObject *s, const char *key, Json *v, Lost *lost) {
        static const char *const known[] = { "name", "plugin", "dev", "wwn", "readonly", "exists", NULL };
        uint64_t size;

        if (strv_contains((char *const *) known, key))
                return 0;
        if (streq(key, "attributes"))
                return read_attributes(o, s, v, lost);
        if (streq(key, "alua_tpgs"))
                return read_groups(v, lost);
        if (streq(key, "size") && !s->block && json_to_number(v, &size) >= 0 && size < INT64_MAX) {
                s->lun.size = size;
                return 0;
        }
        if (json_is_empty(v))
                return 0;
        if (streq(key, "write_back") || streq(key, "buffered_mode"))
                return lost_add_member(lost, key, v, s->block ? "of no effect on a device" : "what a guest writes to a file is on the disk when that is said");
        if (streq(key, "aio"))
                return lost_add_member(lost, key, v, "files are not read and written that way here");

        return lost_add_member(lost, key, v, NULL);
}

static int cannot(StorageObject *s, const char *why) {
        _cleanup_free_ char *key = NULL;
        int r;

        r = text_excerpt(s->key, &key);
        if (r < 0)
                return r;

        free(s->why);
        if (asprintf(&s->why, "%s %s", key, why) < 0) {
                s->why = NULL;
                return -ENOMEM;
        }

        return 0;
}

static int read_device(StorageObject *s) {
        const char *device = json_get_string(s->json, "dev"), *why = NULL;
        _cleanup_free_ char *spelled = NULL, *canonical = NULL, *text = NULL;
        SourceKind kind;
        int r;

        if (!device)
                return cannot(s, "has no dev");
        if (device[0] != '/')
                return cannot(s, "has a dev that is no absolute path");
        if (asprintf(&spelled, "%s%s", s->block ? "" : "file=", device) < 0) {
                spelled = NULL;
                return -ENOMEM;
        }

        r = source_parse(spelled, &kind, &canonical, &why);
        if (r == -EINVAL) {
                if (asprintf(&text, "has a dev that cannot be used: %s", why) < 0) {
                        text = NULL;
                        return -ENOMEM;
                }
                return cannot(s, text);
        }
        if (r < 0)
                return r;

        s->lun.source = TAKE_PTR(spelled);
        return 0;
}

static int read_all(StorageObjects *o, StorageObject *s, Document *d) {
        const char *name = json_get_string(s->json, "name"), *serial = json_get_string(s->json, "wwn"), *key;
        _cleanup_(lost_done) Lost lost = {};
        _cleanup_free_ char *object = NULL;
        uint64_t readonly = 0;
        Json *v;
        int r;

        if (s->twice)
                return cannot(s, "is there twice");
        if (!startswith(s->key, "block/") && !startswith(s->key, "fileio/"))
                return cannot(s, "is no device or file (plugin block or fileio)");
        if (!backstore_name_is_valid(name))
                return cannot(s, "has a name that is not taken here");
        if (json_object_object_get_ex(s->json, "wwn", &v) && !json_is_empty(v) && (!serial || !backstore_serial_is_valid(serial)))
                return cannot(s, "has a wwn, the unit serial, that is not taken here");
        if (json_object_object_get_ex(s->json, "readonly", &v) && !json_is_empty(v) && (json_to_number(v, &readonly) < 0 || readonly > 1))
                return cannot(s, "has a readonly that is no boolean");

        r = read_device(s);
        if (r < 0 || s->why)
                return r;

        JSON_FOREACH(s->json, key, v) {
                r = read_key(o, s, key, v, &lost);
                if (r < 0)
                        return r;
        }

        s->lun.readonly = readonly;
        s->lun.name = strdup(name);
        if (!s->lun.name)
                return -ENOMEM;
        if (!isempty(serial)) {
                s->lun.serial = strdup(serial);
                if (!s->lun.serial)
                        return -ENOMEM;
        }
        if (asprintf(&s->lun.place, "%s/%s", s->block ? "iblock" : "fileio", name) < 0) {
                s->lun.place = NULL;
                return -ENOMEM;
        }

        if (asprintf(&object, "backstore %s", s->key) < 0) {
                object = NULL;
                return -ENOMEM;
        }
        return lost_say(&lost, d, object, "not kept");
}

/* However many LUNs stand on it, it is looked at once. */
int storage_object_read(StorageObjects *o, StorageObject *s, Document *d) {
        if (s->read)
                return 0;

        s->read = true;
        return read_all(o, s, d);
}

int storage_objects_index(StorageObjects *o, Json *array, Document *d, char **ret_why) {
        size_t nameless = 0;

        o->by_key = map_new();
        o->objects = calloc(json_count(array) + 1, sizeof *o->objects);
        if (!o->by_key || !o->objects)
                return -ENOMEM;

        for (size_t k = 0; k < json_count(array); k++) {
                Json *v = json_object_array_get_idx(array, k);
                StorageObject *s = &o->objects[o->n];
                const char *plugin, *name;
                int r;

                if (!json_object_is_type(v, json_type_object))
                        return text_refuse(ret_why, "storage_objects: number %zu is no object", k);

                plugin = json_get_string(v, "plugin");
                name = json_get_string(v, "name");
                if (!plugin || !name) {
                        nameless++;
                        continue;
                }

                s->json = v;
                s->key = storage_key(plugin, strlen(plugin), name);
                if (!s->key)
                        return -ENOMEM;
                o->n++;
                s->block = startswith(s->key, "block/");

                r = map_put(o->by_key, s->key, s);
                if (r == -EEXIST)
                        ((StorageObject *) map_get(o->by_key, s->key))->twice = s->twice = true;
                else if (r < 0)
                        return r;
        }

        return nameless == 0 ? 0 : document_note(d, "file", "%zu storage objects have no name or no plugin", nameless);
}

int storage_objects_find(const StorageObjects *o, const char *path, StorageObject **ret) {
        _cleanup_free_ char *key = NULL;
        const char *plugin, *name;

        *ret = NULL;
        plugin = path && path[0] == '/' ? strchr(path + 1, '/') : NULL;
        name = plugin ? strchr(plugin + 1, '/') : NULL;
        if (!name || strchr(name + 1, '/'))
                return 0;

        key = storage_key(plugin + 1, (size_t) (name - plugin - 1), name + 1);
        if (!key)
                return -ENOMEM;

        *ret = map_get(o->by_key, key);
        return 0;
}

int storage_objects_find_place(const StorageObjects *o, const char *place, StorageObject **ret) {
        const char *name = strchr(place, '/');
        _cleanup_free_ char *key = storage_key(place, (size_t) (name - place), name + 1);

        if (!key)
                return -ENOMEM;

        *ret = map_get(o->by_key, key);
        return 0;
}
