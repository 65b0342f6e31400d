/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/errno.h"
#include "base/fileio.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/parse.h"
#include "base/strv.h"
#include "model/source.h"
#include "store/json-text.h"
#include "store/removed.h"

#define FILE_NAME "removed.json"
#define BAD FILE_NAME ".bad"
#define FILE_MAX (32U * 1024 * 1024)
#define VERSION 1

typedef struct json_tokener Tokener;

DEFINE_CLEANUP(Tokener *, json_tokener_free);

typedef struct Entry {
        List link;
        bool leaving;           /* the file that is being written does not have it */
        char name[];
} Entry;

struct RemovedList {
        int state_fd;
        bool bad;               /* a file that told nothing lies there */
        bool unread;            /* the file could not be read, or not be put aside: it is not written over, and tried again */
        char problem[128];      /* why not */
        Map *by_name;           /* name -> Entry */
        List entries;           /* Entry.link, the oldest first */
        Json *unknown;          /* what else the file says; may be NULL */
};

static void entry_drop(RemovedList *l, Entry *e) {
        map_remove(l->by_name, e->name);
        list_unlink(&e->link);
        free(e);
}

static int entry_new(RemovedList *l, const char *name, Entry **ret) {
        size_t size = strlen(name) + 1;
        Entry *e;
        int r;

        e = malloc(sizeof *e + size);
        if (!e)
                return -ENOMEM;

        e->leaving = false;
        memcpy(e->name, name, size);
        r = map_put(l->by_name, e->name, e);
        if (r < 0) {
                free(e);
                return r;
        }

        list_append(&l->entries, &e->link);
        *ret = e;
        return 0;
}

/* ---- the file ---- */

static Json *format(const RemovedList *l) {
        _cleanup_(json_object_putp) Json *o = json_object_new_object();
        const Entry *e;
        Json *a, *v;

        a = json_object_new_array();
        if (!o || !a || json_object_object_add(o, "removed", a) < 0) {
                json_object_put(a);
                return NULL;
        }

        LIST_FOREACH(&l->entries, e, const Entry, link) {
                if (e->leaving)
                        continue;

                v = json_object_new_string(e->name);
                if (!v || json_object_array_add(a, v) < 0) {
                        json_object_put(v);
                        return NULL;
                }
        }

        if (l->unknown) {
                json_object_object_foreach(l->unknown, key, value)
                        if (!streq(key, "removed") && json_object_object_add(o, key, json_object_get(value)) < 0)
                                return NULL;
        } else {
                v = json_object_new_int(VERSION);
                if (!v || json_object_object_add(o, "version", v) < 0) {
                        json_object_put(v);
                        return NULL;
                }
        }

        return TAKE_PTR(o);
}

static int save(const RemovedList *l) {
        _cleanup_(json_object_putp) Json *o = format(l);
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        if (!o)
                return -ENOMEM;

        r = json_write(o, JSON_PLAIN, &text, &size);
        return r < 0 ? r : write_file_atomic_at(l->state_fd, FILE_NAME, text, size);
}

/* NULL: it can be used. */
static const char *check(Json *o, Json **ret_array) {
        Json *version;

        if (!json_object_is_type(o, json_type_object))
                return "it is no object";
        if (!json_object_object_get_ex(o, "version", &version) || !json_object_is_type(version, json_type_int))
                return "it has no version";
        if (json_object_get_int64(version) != VERSION)
                return "it is of another version of this service";
        if (!json_object_object_get_ex(o, "removed", ret_array) || !json_object_is_type(*ret_array, json_type_array))
                return "it has no array removed";

        for (size_t i = 0; i < json_object_array_length(*ret_array); i++) {
                Json *v = json_object_array_get_idx(*ret_array, i);

                if (!json_object_is_type(v, json_type_string) || json_object_get_string_len(v) > SOURCE_MAX ||
                    strlen(json_object_get_string(v)) != (size_t) json_object_get_string_len(v))
                        return "what was removed is not a list of names";
        }

        return NULL;
}

static int parse(RemovedList *l, const char *text, size_t size, const char **ret_why) {
        _cleanup_(json_tokener_freep) Tokener *tokener = json_tokener_new_ex(16);
        _cleanup_(json_object_putp) Json *o = NULL;
        Json *array;
        Entry *e;
        int r;

        if (!tokener)
                return -ENOMEM;

        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        o = json_tokener_parse_ex(tokener, text, (int) size);
        *ret_why = o ? check(o, &array) : "it is not JSON";
        if (*ret_why)
                return -EINVAL;

        for (size_t i = 0; i < json_object_array_length(array); i++) {
                r = entry_new(l, json_object_get_string(json_object_array_get_idx(array, i)), &e);
                if (r < 0 && r != -EEXIST)
                        return r;
        }

        l->unknown = TAKE_PTR(o);
        json_object_object_del(l->unknown, "removed");
        return 0;
}

static int fail_load(RemovedList *l, int error, const char *why) {
        l->unread = true;
        (void) snprintf(l->problem, sizeof l->problem, "it cannot be read: %s", why ?: strerror(-error));
        return error;
}

static int load(RemovedList *l) {
        _cleanup_free_ char *text = NULL;
        const char *why = NULL;
        size_t size;
        int r;

        r = read_private_file_at(l->state_fd, FILE_NAME, FILE_MAX, &text, &size, &why);
        if (r < 0 && r != -ENOENT)
                return fail_load(l, r, why);
        if (r >= 0)
                r = parse(l, text, size, &why);
        if (r == -ENOMEM)
                return fail_load(l, r, NULL);

        if (r == -EINVAL) {
                l->bad = true;
                /* Nowhere else (a read-only or a broken file system): as it was, and not written over. */
                if (renameat(l->state_fd, FILE_NAME, l->state_fd, BAD) < 0)
                        return fail_load(l, negative_errno(), why);
                log_error(FILE_NAME " cannot be used: %s. It is kept as " BAD, why);
        }

        l->unread = false;
        return 0;
}

/* What kept the file from being read may have passed. */
static int ensure_read(RemovedList *l) {
        return l->unread ? load(l) : 0;
}

int removed_new(const char *state_dir, RemovedList **ret) {
        _cleanup_(removed_freep) RemovedList *l = calloc(1, sizeof *l);
        int r;

        if (!l)
                return -ENOMEM;

        list_init(&l->entries);
        l->state_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (l->state_fd < 0)
                return negative_errno();

        l->by_name = map_new();
        if (!l->by_name)
                return -ENOMEM;

        l->bad = faccessat(l->state_fd, BAD, F_OK, AT_SYMLINK_NOFOLLOW) >= 0 || errno != ENOENT;
        r = load(l);
        if (r == -ENOMEM)
                return r;
        if (l->unread)
                log_error(FILE_NAME " is left as it is: %s. Until that is mended udev rules export nothing new, and nothing that they wish for can "
                          "be removed", l->problem);
        if (l->bad)
                log_error("What was removed by hand is not known: udev rules export nothing new until " BAD
                          " is gone from the state directory");

        *ret = TAKE_PTR(l);
        return 0;
}

RemovedList *removed_free(RemovedList *l) {
        Entry *e;

        if (!l)
                return NULL;

        LIST_FOREACH(&l->entries, e, Entry, link)
                free(e);
        map_free(l->by_name);
        json_object_put(l->unknown);
        safe_close(l->state_fd);
        free(l);
        return NULL;
}

bool removed_is_known(RemovedList *l) {
        return ensure_read(l) >= 0 && !l->bad;
}

const char *removed_problem(const RemovedList *l) {
        if (l->unread)
                return l->problem;

        return l->bad ? "it could not be used, and is kept as " BAD ": udev rules export nothing new until that one is gone" : NULL;
}

bool removed_contains(const RemovedList *l, const char *name) {
        return map_get(l->by_name, name);
}

int removed_add(RemovedList *l, char *const *names) {
        size_t n = 0;
        Entry *e;
        int r;

        if (!names || !*names)
                return 0;

        r = ensure_read(l);
        for (; r >= 0 && *names; names++) {
                if (removed_contains(l, *names))
                        continue;

                r = entry_new(l, *names, &e);
                if (r >= 0)
                        n++;
        }
        if (r >= 0 && n > 0)
                r = save(l);
        if (r < 0) {
                for (; n > 0; n--)
                        entry_drop(l, list_entry(l->entries.prev, Entry, link));
                return r;
        }

        /* Not worth a second save: the next one does it. */
        while (map_size(l->by_name) > REMOVED_MAX)
                entry_drop(l, list_entry(l->entries.next, Entry, link));

        return n > 0;
}

int removed_forget(RemovedList *l, char *const *names) {
        size_t n = 0;
        Entry *e;
        int r;

        r = ensure_read(l);
        if (r < 0)
                return r;

        for (char *const *name = names; name && *name; name++) {
                e = map_get(l->by_name, *name);
                n += e && !e->leaving;
                if (e)
                        e->leaving = true;
        }
        if (n == 0)
                return 0;

        r = save(l);
        for (char *const *name = names; *name; name++) {
                e = map_get(l->by_name, *name);
                if (e && r < 0)
                        e->leaving = false;
                else if (e)
                        entry_drop(l, e);
        }

        return r < 0 ? r : 1;
}
