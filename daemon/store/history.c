/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <time.h>

#include "base/errno.h"
#include "base/fileio.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/strv.h"
#include "base/text.h"
#include "model/wwn.h"
#include "store/history.h"
#include "store/target-json.h"

#define SUFFIX ".json"
#define NONE "-"
#define NUMBER_SIZE 21U         /* 20 digits */
#define NAME_SIZE (NUMBER_SIZE + WWN_SIZE + sizeof SUFFIX)
#define RECORD_SIZE 1024U

struct History {
        int fd, targets_fd;
        int error;              /* why there is no fd */
        char problem[128];      /* the same, for people */
        List entries;           /* HistoryEntry.link, the oldest first */
        size_t n;
        bool open;              /* the newest is of the change that goes on */
        uint32_t uid;           /* of that change, or of the one to come */
        char *program, *reason;
};

/* ---- names ---- */

static void record_name(uint64_t generation, char ret[static NAME_SIZE]) {
        (void) snprintf(ret, NAME_SIZE, "%" PRIu64, generation);
}

static void file_name(uint64_t generation, const char *wwn, char ret[static NAME_SIZE]) {
        (void) snprintf(ret, NAME_SIZE, "%" PRIu64 ".%s" SUFFIX, generation, wwn);
}

typedef struct Name {
        uint64_t generation;
        char wwn[WWN_SIZE];     /* "": of a record */
} Name;

/* Of our own making? */
static bool name_parse(const char *s, Name *ret) {
        char number[NUMBER_SIZE], canonical[WWN_SIZE];
        size_t length = strspn(s, "0123456789");
        Name n = {};

        if (length == 0 || length >= sizeof number)
                return false;

        memcpy(number, s, length);
        number[length] = 0;
        if (parse_u64(number, &n.generation) < 0 || n.generation == 0 || n.generation > INT64_MAX)
                return false;

        s += length;
        if (*s) {
                if (strlen(s) != 1 + WWN_SIZE - 1 + sizeof SUFFIX - 1 || *s != '.' || !streq(s + WWN_SIZE, SUFFIX))
                        return false;
                memcpy(n.wwn, s + 1, WWN_SIZE - 1);
                if (wwn_parse(n.wwn, canonical) < 0 || !streq(n.wwn, canonical))
                        return false;
        }

        *ret = n;
        return true;
}

static int name_compare(const void *a, const void *b) {
        const Name *x = a, *y = b;

        /* A record before its files. */
        return x->generation != y->generation ? (x->generation > y->generation ? 1 : -1) : strcmp(x->wwn, y->wwn);
}

/* ---- entries ---- */

static HistoryEntry *entry_free(HistoryEntry *e) {
        if (!e)
                return NULL;

        list_unlink(&e->link);
        strv_free(e->targets);
        free(e->program);
        free(e->reason);
        free(e);
        return NULL;
}
DEFINE_CLEANUP(HistoryEntry *, entry_free);

static HistoryEntry *newest(const History *h) {
        return h->n > 0 ? list_entry(h->entries.prev, HistoryEntry, link) : NULL;
}

static int unlink_name(const History *h, const char *name) {
        if (unlinkat(h->fd, name, 0) < 0 && errno != ENOENT)
                return log_warning_errno(negative_errno(), "Cannot remove history/%s", name);

        return 0;
}

static void unlink_files(const History *h, const HistoryEntry *e) {
        char name[NAME_SIZE];

        for (char **t = e->targets; t && *t; t++) {
                file_name(e->generation, *t, name);
                (void) unlink_name(h, name);
        }
}

/* Out of the directory's list first: files without a record are never taken for history, a record without its files would be. */
static int entry_let_go(History *h, HistoryEntry *e) {
        char name[NAME_SIZE];

        record_name(e->generation, name);
        list_unlink(&e->link);
        h->n--;
        return unlink_name(h, name);
}

static int entry_forget(History *h, HistoryEntry *e) {
        int r = entry_let_go(h, e);

        if (r >= 0)
                unlink_files(h, e);
        entry_free(e);
        return r;
}

/* The change of this target has not happened: its file is the one that was kept, or still not there. */
static bool is_as_before(const History *h, uint64_t generation, const char *wwn) {
        char name[NAME_SIZE], target[WWN_SIZE + sizeof SUFFIX];
        struct stat before, now;

        file_name(generation, wwn, name);
        (void) snprintf(target, sizeof target, "%s" SUFFIX, wwn);
        if (fstatat(h->fd, name, &before, AT_SYMLINK_NOFOLLOW) < 0)
                return false;
        if (fstatat(h->targets_fd, target, &now, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT && S_ISLNK(before.st_mode);

        return before.st_dev == now.st_dev && before.st_ino == now.st_ino;
}

/* Takes the i-th target of the entry back if its change has not happened. */
static bool settle_target(const History *h, HistoryEntry *e, size_t i) {
        char **t = e->targets + i, name[NAME_SIZE];

        if (!is_as_before(h, e->generation, *t))
                return false;

        file_name(e->generation, *t, name);
        if (unlink_name(h, name) < 0)
                return false;

        free(*t);
        memmove(t, t + 1, (strv_length(t + 1) + 1) * sizeof *t);
        return true;
}

static void drop_if_empty(History *h, HistoryEntry *e) {
        if (strv_length(e->targets) > 0)
                return;

        h->open = h->open && e != newest(h);
        (void) entry_forget(h, e);
}

void history_settle(History *h, const char *wwn) {
        HistoryEntry *e = newest(h);

        if (!e)
                return;

        for (size_t i = 0, n = strv_length(e->targets); i < n; i++)
                if (streq(e->targets[i], wwn)) {
                        (void) settle_target(h, e, i);
                        break;
                }

        drop_if_empty(h, e);
}

/* ---- records ---- */

/* Cut between two characters, and fit for the bus. */
static int reason_new(const char *s, char **ret) {
        _cleanup_free_ char *cut = NULL;
        size_t length = strnlen(s, HISTORY_REASON_MAX);

        while (s[length] && length > 0 && ((unsigned char) s[length] & 0xc0) == 0x80)
                length--;

        cut = strndup(s, length);
        return cut ? text_printable(cut, ret) : -ENOMEM;
}

static int program_new(const char *s, char **ret) {
        int r = reason_new(s, ret);

        /* It is one word of the record. */
        for (char *p = r >= 0 ? *ret : NULL; p && *p; p++)
                if (*p == ' ')
                        *p = '_';

        return r;
}

static int record_write(const History *h, const HistoryEntry *e) {
        char name[NAME_SIZE], text[RECORD_SIZE], uid[NUMBER_SIZE] = NONE;

        if (e->uid != HISTORY_NOBODY)
                (void) snprintf(uid, sizeof uid, "%" PRIu32, e->uid);
        (void) snprintf(text, sizeof text, "%" PRIu64 " %s %s %s", e->time, uid, e->program[0] ? e->program : NONE, e->reason);

        record_name(e->generation, name);
        if (symlinkat(text, h->fd, name) >= 0)
                return 0;
        if (errno != EEXIST)
                return negative_errno();

        /* Of a change that failed, or somebody else's. */
        if (unlinkat(h->fd, name, 0) < 0 || symlinkat(text, h->fd, name) < 0)
                return negative_errno();

        return 0;
}

/* What is not as we write it tells nothing, but the files that belong to it are good. */
static int record_parse(HistoryEntry *e, char *text) {
        const char *time = strsep(&text, " "), *uid = strsep(&text, " "), *program = strsep(&text, " ");
        int r;

        if (!text || parse_u64(time, &e->time) < 0)
                e->time = 0;
        if (!text || streq(uid, NONE) || parse_u32(uid, &e->uid) < 0)
                e->uid = HISTORY_NOBODY;

        r = program_new(text && !streq(program, NONE) ? program : "", &e->program);
        return r < 0 ? r : reason_new(strempty(text), &e->reason);
}

static int entry_load(History *h, uint64_t generation) {
        _cleanup_(entry_freep) HistoryEntry *e = calloc(1, sizeof *e);
        char name[NAME_SIZE], text[RECORD_SIZE];
        ssize_t n;
        int r;

        if (!e)
                return -ENOMEM;

        list_init(&e->link);
        e->generation = generation;
        record_name(generation, name);
        n = readlinkat(h->fd, name, text, sizeof text - 1);
        if (n < 0)
                return log_warning_errno(negative_errno(), "Ignoring history/%s", name);

        text[n] = 0;
        r = record_parse(e, text);
        if (r < 0)
                return r;

        list_append(&h->entries, &e->link);
        h->n++;
        TAKE_PTR(e);
        return 0;
}

/* ---- start ---- */

static int read_names(const History *h, Name **ret, size_t *ret_n) {
        _cleanup_closedir_ DIR *d = NULL;
        _cleanup_free_ Name *names = NULL;
        const struct dirent *e;
        size_t n = 0, room = 0;
        int r;

        r = directory_open_at(h->fd, ".", &d);
        if (r < 0)
                return r;

        while ((r = directory_read(d, &e)) > 0) {
                if (n == room) {
                        Name *p;

                        room = room > 0 ? room * 2 : 2 * HISTORY_MAX;
                        p = realloc(names, room * sizeof *p);
                        if (!p)
                                return -ENOMEM;
                        names = p;
                }
                if (name_parse(e->d_name, names + n))
                        n++;
        }
        if (r < 0)
                return r;

        if (n > 0)
                qsort(names, n, sizeof *names, name_compare);
        *ret = TAKE_PTR(names);
        *ret_n = n;
        return 0;
}

/* A file without a record. Older than all of them: the rest of what was let go. Else somebody took the record away, and what was before it
 * cannot be told any more. */
static void drop_stray(History *h, const Name *n) {
        char name[NAME_SIZE];

        file_name(n->generation, n->wwn, name);
        if (h->n > 0)
                log_warning("The record of history/%s is missing, so what is older is forgotten", name);
        while (h->n > 0)
                (void) entry_forget(h, list_entry(h->entries.next, HistoryEntry, link));
        (void) unlink_name(h, name);
}

static int load(History *h) {
        _cleanup_free_ Name *names = NULL;
        HistoryEntry *e;
        size_t n;
        int r;

        r = read_names(h, &names, &n);
        for (size_t i = 0; r >= 0 && i < n; i++) {
                e = newest(h);
                if (!names[i].wwn[0]) {
                        r = entry_load(h, names[i].generation);
                        r = r == -ENOMEM ? r : 0;
                } else if (e && e->generation == names[i].generation)
                        r = strv_extend(&e->targets, names[i].wwn);
                else
                        drop_stray(h, names + i);
        }
        if (r < 0)
                return r;

        /* Only the last change can be one that was cut short. */
        e = newest(h);
        for (size_t i = e ? strv_length(e->targets) : 0; i > 0; i--)
                (void) settle_target(h, e, i - 1);
        LIST_FOREACH(&h->entries, e, HistoryEntry, link)
                drop_if_empty(h, e);

        while (h->n > HISTORY_MAX)
                (void) entry_forget(h, list_entry(h->entries.next, HistoryEntry, link));
        return 0;
}

static int open_directories(History *h, const char *state_dir) {
        _cleanup_close_ int state_fd = -EBADF;

        state_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (state_fd < 0)
                return negative_errno();

        h->targets_fd = openat(state_fd, "targets", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (h->targets_fd < 0)
                return negative_errno();

        if (mkdirat(state_fd, "history", 0700) < 0 && errno != EEXIST)
                return negative_errno();
        h->fd = openat(state_fd, "history", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (h->fd < 0)
                return negative_errno();

        return 0;
}

int history_new(const char *state_dir, History **ret) {
        _cleanup_(history_freep) History *h = calloc(1, sizeof *h);
        int r;

        if (!h)
                return -ENOMEM;

        list_init(&h->entries);
        h->fd = h->targets_fd = -EBADF;
        r = open_directories(h, state_dir);
        if (r >= 0)
                r = load(h);
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                h->error = r;
                h->fd = safe_close(h->fd);
                (void) snprintf(h->problem, sizeof h->problem, "it cannot be used, so nothing can be changed: %s", strerror(-r));
                log_error_errno(r, "The history in %s/history cannot be used, so nothing can be changed", state_dir);
        }

        *ret = TAKE_PTR(h);
        return 0;
}

History *history_free(History *h) {
        HistoryEntry *e;

        if (!h)
                return NULL;

        LIST_FOREACH(&h->entries, e, HistoryEntry, link)
                entry_free(e);
        safe_close(h->fd);
        safe_close(h->targets_fd);
        free(h->program);
        free(h->reason);
        free(h);
        return NULL;
}

/* ---- keeping ---- */

int history_begin(History *h, uint32_t uid, const char *program, const char *reason) {
        _cleanup_free_ char *p = NULL, *w = NULL;
        int r;

        h->open = false;
        r = program_new(program, &p);
        if (r >= 0)
                r = reason_new(reason, &w);
        if (r < 0)
                return r;

        free(h->program);
        free(h->reason);
        h->program = TAKE_PTR(p);
        h->reason = TAKE_PTR(w);
        h->uid = uid;
        return 0;
}

static int entry_describe(const History *h, HistoryEntry *e, uint64_t time) {
        int r;

        e->time = time;
        e->uid = h->uid;
        r = free_and_strdup(&e->program, strempty(h->program));
        if (r >= 0)
                r = free_and_strdup(&e->reason, strempty(h->reason));

        return r < 0 ? r : record_write(h, e);
}

/* ret_oldest: what is one too many, out of the list and not yet out of the directory. */
static int open_entry(History *h, uint64_t generation, HistoryEntry **ret_oldest) {
        _cleanup_(entry_freep) HistoryEntry *n = NULL;
        HistoryEntry *e = newest(h), *oldest;
        struct timespec ts;
        uint64_t time;
        int r;

        clock_gettime(CLOCK_REALTIME, &ts);
        time = (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;

        if (e && h->uid == HISTORY_NOBODY && e->uid == HISTORY_NOBODY && streq(e->reason, strempty(h->reason)) && time >= e->time &&
            time - e->time < HISTORY_MERGE_USEC) {
                h->open = true;
                return 0;
        }

        /* What is left of a change that failed on its last step. */
        if (e && e->generation >= generation) {
                r = entry_describe(h, e, time);
                h->open = r >= 0;
                return r;
        }

        n = calloc(1, sizeof *n);
        if (!n)
                return -ENOMEM;

        list_init(&n->link);
        n->generation = generation;
        r = entry_describe(h, n, time);
        if (r < 0)
                return r;

        list_append(&h->entries, &n->link);
        TAKE_PTR(n);
        h->n++;
        h->open = true;
        if (h->n > HISTORY_MAX) {
                oldest = list_entry(h->entries.next, HistoryEntry, link);
                if (entry_let_go(h, oldest) < 0)
                        entry_free(oldest);
                else
                        *ret_oldest = oldest;
        }

        return 0;
}

static int keep_file(const History *h, const char *wwn, const char *name) {
        char target[WWN_SIZE + sizeof SUFFIX];

        (void) snprintf(target, sizeof target, "%s" SUFFIX, wwn);
        if (linkat(h->targets_fd, target, h->fd, name, 0) >= 0)
                return 0;
        if (errno == ENOENT && symlinkat(NONE, h->fd, name) >= 0)
                return 0;

        return negative_errno();
}

int history_keep(History *h, const char *wwn, uint64_t generation) {
        _cleanup_(entry_freep) HistoryEntry *oldest = NULL;
        char name[NAME_SIZE];
        HistoryEntry *e;
        int r;

        if (h->fd < 0)
                return h->error;

        if (!h->open) {
                r = open_entry(h, generation, &oldest);
                if (r < 0)
                        return r;
        }

        e = newest(h);
        if (strv_contains(e->targets, wwn))
                return 0;

        file_name(e->generation, wwn, name);
        r = keep_file(h, wwn, name);
        if (r == -EEXIST && unlinkat(h->fd, name, 0) >= 0)
                r = keep_file(h, wwn, name);
        if (r >= 0) {
                r = strv_extend(&e->targets, wwn);
                if (r < 0)
                        (void) unlink_name(h, name);
        }
        if (r >= 0 && fsync(h->fd) < 0)
                r = negative_errno();
        if (r < 0) {
                history_settle(h, wwn);
                return r;
        }

        /* Its record is gone for good now. */
        if (oldest)
                unlink_files(h, oldest);
        return 0;
}

/* ---- reading ---- */

const char *history_problem(const History *h) {
        return h->fd < 0 ? h->problem : NULL;
}

const List *history_entries(const History *h) {
        return &h->entries;
}

uint64_t history_newest(const History *h) {
        const HistoryEntry *e = newest(h);

        return e ? e->generation : 0;
}

int history_read_file(const History *h, uint64_t generation, const char *wwn, char **ret, size_t *ret_size) {
        char name[NAME_SIZE];
        const char *stranger;
        struct stat st;
        int r;

        file_name(generation, wwn, name);
        if (fstatat(h->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return negative_errno();
        if (S_ISLNK(st.st_mode))
                return 0;
        if (!S_ISREG(st.st_mode))
                return -EBADMSG;

        r = read_private_file_at(h->fd, name, TARGET_JSON_MAX, ret, ret_size, &stranger);
        return r < 0 ? r : 1;
}
