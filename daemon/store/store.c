/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/errno.h"
#include "base/fileio.h"
#include "base/log.h"
#include "store/store.h"
#include "store/target-json.h"

#define SUFFIX ".json"
#define BAD ".bad"

struct Store {
        int targets_fd;
};

static int open_directory(int dirfd, const char *path) {
        int fd;

        if (mkdirat(dirfd, path, 0700) < 0 && errno != EEXIST)
                return negative_errno();

        fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        return fd < 0 ? negative_errno() : fd;
}

int store_new(const char *state_dir, Store **ret) {
        _cleanup_(store_freep) Store *s = NULL;
        _cleanup_close_ int state_fd = -EBADF;

        s = calloc(1, sizeof *s);
        if (!s)
                return -ENOMEM;
        s->targets_fd = -EBADF;

        state_fd = open_directory(AT_FDCWD, state_dir);
        if (state_fd < 0)
                return state_fd;

        s->targets_fd = open_directory(state_fd, "targets");
        if (s->targets_fd < 0)
                return s->targets_fd;

        remove_temporaries_at(state_fd);
        remove_temporaries_at(s->targets_fd);

        *ret = TAKE_PTR(s);
        return 0;
}

Store *store_free(Store *s) {
        if (s)
                safe_close(s->targets_fd);
        free(s);
        return NULL;
}

static int file_name(const char *wwn, char ret[static WWN_SIZE + sizeof SUFFIX]) {
        int n = snprintf(ret, WWN_SIZE + sizeof SUFFIX, "%s" SUFFIX, wwn);

        return n < 0 || n >= (int) (WWN_SIZE + sizeof SUFFIX) ? -ENAMETOOLONG : 0;
}

int store_save(Store *s, const Target *t) {
        char name[WWN_SIZE + sizeof SUFFIX];
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        r = file_name(t->wwn, name);
        if (r < 0)
                return r;

        r = target_json_format(t, &text, &size);
        if (r < 0)
                return r;

        return write_file_atomic_at(s->targets_fd, name, text, size);
}

int store_remove(Store *s, const char *wwn) {
        char name[WWN_SIZE + sizeof SUFFIX];
        int r;

        r = file_name(wwn, name);
        if (r < 0)
                return r;

        return unlink_durable_at(s->targets_fd, name);
}

static void set_aside(Store *s, Registry *r, const char *name, const char *wwn, const char *why, bool rename_it) {
        char bad[WWN_SIZE + sizeof SUFFIX BAD];

        /* One that was set aside before is evidence as well: then this one keeps its name, and is refused again next time. */
        snprintf(bad, sizeof bad, "%s" BAD, name);
        rename_it = rename_it && faccessat(s->targets_fd, bad, F_OK, AT_SYMLINK_NOFOLLOW) < 0;

        log_error("The state of target %s cannot be used: %s. Nothing of that target is touched%s.", wwn, strempty(why),
                  rename_it ? "; its file is kept with the suffix .bad" : "");

        if (registry_note_bad(r, wwn, isempty(why) ? "it cannot be used" : why) < 0)
                log_oom();

        if (!rename_it)
                return;

        if (renameat(s->targets_fd, name, s->targets_fd, bad) < 0)
                log_warning_errno(negative_errno(), "Cannot rename %s to %s", name, bad);
}

/* By an earlier start. What was wrong with it is still so. */
static int note_set_aside(Store *s, Registry *r, const char *name, const char *wwn) {
        _cleanup_free_ char *text = NULL, *why = NULL, *said = NULL;
        _cleanup_(target_freep) Target *t = NULL;
        size_t size;
        int k;

        k = read_file_at(s->targets_fd, name, TARGET_JSON_MAX, &text, &size);
        if (k >= 0)
                k = target_json_parse(text, size, &t, &why);
        if (k == -ENOMEM)
                return k;

        if (asprintf(&said, "set aside as %s: %s", name, why ?: k < 0 ? strerror(-k) : "mend it, give it its name back, and restart the service") < 0)
                return -ENOMEM;

        return registry_note_bad(r, wwn, said);
}

static int load_one(Store *s, Registry *r, const char *name, const char *wwn) {
        _cleanup_free_ char *text = NULL, *why = NULL;
        _cleanup_(target_freep) Target *t = NULL;
        const char *stranger = NULL;
        uint32_t number;
        size_t size;
        int k;

        k = read_private_file_at(s->targets_fd, name, TARGET_JSON_MAX, &text, &size, &stranger);
        if (k == -ENOMEM)
                return k;
        if (k < 0) {
                set_aside(s, r, name, wwn, stranger ?: strerror(-k), false);
                return 0;
        }

        k = target_json_parse(text, size, &t, &why);
        if (k == -ENOMEM)
                return k;
        if (k >= 0 && !streq(t->wwn, wwn)) {
                why = strdup("it names another WWN than its file");
                k = -EINVAL;
        }
        if (k < 0) {
                set_aside(s, r, name, wwn, why, k != -EPROTONOSUPPORT);
                return 0;
        }

        k = registry_add_target(r, t, &number);
        if (k == -ENOTUNIQ) {
                if (asprintf(&why, "LUN %u disagrees with another target's about its backstore", number) < 0)
                        return -ENOMEM;
                set_aside(s, r, name, wwn, why, true);
                return 0;
        }
        if (k < 0)
                return k;

        TAKE_PTR(t);
        return 0;
}

int store_load(Store *s, Registry *r) {
        _cleanup_closedir_ DIR *d = NULL;
        _cleanup_(strv_freep) char **names = NULL;
        const struct dirent *e;
        int k;

        k = directory_open_at(s->targets_fd, ".", &d);
        if (k < 0)
                return k;

        while ((k = directory_read(d, &e)) > 0) {
                k = strv_extend(&names, e->d_name);
                if (k < 0)
                        return k;
        }
        if (k < 0)
                return k;

        /* In one order everywhere, so that of two files that disagree it is always the same that is set aside. */
        strv_sort(names);

        for (char **n = names; n && *n; n++) {
                char wwn[WWN_SIZE], canonical[WWN_SIZE];
                size_t length = strlen(*n);

                if (length < WWN_SIZE - 1 || (!streq(*n + WWN_SIZE - 1, SUFFIX) && !streq(*n + WWN_SIZE - 1, SUFFIX BAD)))
                        continue;

                memcpy(wwn, *n, WWN_SIZE - 1);
                wwn[WWN_SIZE - 1] = 0;
                if (wwn_parse(wwn, canonical) < 0 || !streq(wwn, canonical)) {
                        log_warning("Ignoring %s in the state directory: not named after a WWN", *n);
                        continue;
                }

                /* Set aside by an earlier start, and nobody has mended it since. */
                if (streq(*n + WWN_SIZE - 1, SUFFIX BAD)) {
                        if (registry_target(r, wwn)) {
                                log_notice("Ignoring %s: there is a good %s" SUFFIX " beside it", *n, wwn);
                                continue;
                        }

                        k = note_set_aside(s, r, *n, wwn);
                        if (k < 0)
                                return k;
                        continue;
                }

                k = load_one(s, r, *n, wwn);
                if (k < 0)
                        return k;
        }

        return 0;
}
