/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "crash-power.h"

#define OPS_MAX 65536U
#define DATA_MAX ((size_t) 64 << 20)
#define FDS_MAX 1024
#define STATES_MAX 32U          /* after one call */

static const char *const dirs[] = { "", "targets", "history" };

typedef enum OpKind {
        OP_CREATE,
        OP_SYMLINK,
        OP_WRITE,
        OP_SYNC_FILE,
        OP_SYNC_DIR,
        OP_RENAME,
        OP_LINK,
        OP_UNLINK,
        OP_MARK,
} OpKind;

typedef struct Op {
        OpKind kind;
        int dir, to_dir;
        unsigned inode, acknowledged;
        char name[128], to[128];
        size_t offset, size;
} Op;

/* What was done. In shared memory: the daemon writes it down, and we read it when it is dead. */
static struct {
        Op *ops;
        char *data;
        unsigned *n_ops;
        size_t *n_data;
} tape;

static ino_t inos[G_N_ELEMENTS(dirs)];
static char *initial;           /* the directory */

/* The daemon's own. */
static unsigned inode_of_fd[FDS_MAX], last_inode;

static void *share(size_t size) {
        void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        g_assert_true(p != MAP_FAILED);
        return p;
}

void power_init(void) {
        tape.ops = share(OPS_MAX * sizeof *tape.ops);
        tape.data = share(DATA_MAX);
        tape.n_ops = share(sizeof *tape.n_ops + sizeof *tape.n_data);
        tape.n_data = (size_t *) share(sizeof *tape.n_data);
        initial = share(PATH_MAX);
}

void power_begin(const char *state_dir) {
        g_strlcpy(initial, state_dir, PATH_MAX);
        *tape.n_ops = 0;
        *tape.n_data = 0;
}

static Op *note(OpKind kind, int dir, const char *name) {
        Op *op;

        g_assert_cmpuint(*tape.n_ops, <, OPS_MAX);
        op = tape.ops + __atomic_fetch_add(tape.n_ops, 1, __ATOMIC_SEQ_CST);
        *op = (Op) { .kind = kind, .dir = dir };
        g_assert_cmpuint(g_strlcpy(op->name, name, sizeof op->name), <, sizeof op->name);
        return op;
}

/* -1: none that is looked at. */
static int dir_of(int fd) {
        struct stat st;

        if (inos[0] == 0)
                for (size_t i = 0; i < G_N_ELEMENTS(dirs); i++) {
                        g_autofree char *path = g_build_filename(initial, dirs[i], NULL);

                        inos[i] = stat(path, &st) >= 0 ? st.st_ino : 0;
                }

        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode))
                return -1;
        for (size_t i = 0; i < G_N_ELEMENTS(dirs); i++)
                if (inos[i] == st.st_ino)
                        return (int) i;

        return -1;
}

void power_mark(unsigned acknowledged) {
        note(OP_MARK, -1, "")->acknowledged = acknowledged;
}

void power_open(int dirfd, const char *path, int flags, int fd) {
        int dir = flags & O_CREAT ? dir_of(dirfd) : -1;

        g_assert_cmpint(fd, <, FDS_MAX);
        inode_of_fd[fd] = 0;
        if (dir < 0)
                return;

        inode_of_fd[fd] = ++last_inode;
        note(OP_CREATE, dir, path)->inode = last_inode;
}

static void note_data(Op *op, const void *data, size_t size) {
        g_assert_cmpuint(*tape.n_data + size, <, DATA_MAX);
        op->offset = *tape.n_data;
        op->size = size;
        memcpy(tape.data + op->offset, data, size);
        *tape.n_data += size;
}

void power_write(int fd, const void *data, size_t size) {
        Op *op;

        if (fd >= FDS_MAX || inode_of_fd[fd] == 0)
                return;

        op = note(OP_WRITE, -1, "");
        op->inode = inode_of_fd[fd];
        note_data(op, data, size);
}

void power_sync(int fd) {
        int dir = dir_of(fd);

        if (fd < FDS_MAX && inode_of_fd[fd] > 0)
                note(OP_SYNC_FILE, -1, "")->inode = inode_of_fd[fd];
        else if (dir >= 0)
                (void) note(OP_SYNC_DIR, dir, "");
}

void power_close(int fd) {
        if (fd >= 0 && fd < FDS_MAX)
                inode_of_fd[fd] = 0;
}

static void note_two(OpKind kind, int from_fd, const char *from, int to_fd, const char *to) {
        int dir = dir_of(from_fd), to_dir = dir_of(to_fd);
        Op *op;

        if (dir < 0 || to_dir < 0)
                return;

        op = note(kind, dir, from);
        op->to_dir = to_dir;
        g_assert_cmpuint(g_strlcpy(op->to, to, sizeof op->to), <, sizeof op->to);
}

void power_rename(int from_fd, const char *from, int to_fd, const char *to) {
        note_two(OP_RENAME, from_fd, from, to_fd, to);
}

void power_link(int from_fd, const char *from, int to_fd, const char *to) {
        note_two(OP_LINK, from_fd, from, to_fd, to);
}

void power_symlink(const char *target, int dirfd, const char *path) {
        int dir = dir_of(dirfd);
        Op *op;

        if (dir < 0)
                return;

        op = note(OP_SYMLINK, dir, path);
        op->inode = ++last_inode;
        note_data(op, target, strlen(target));
}

void power_unlink(int dirfd, const char *path) {
        int dir = dir_of(dirfd);

        if (dir >= 0)
                (void) note(OP_UNLINK, dir, path);
}

/* ---- what may be left ---- */

typedef struct Inode {
        GString *data;
        size_t durable;
        bool symlink;
} Inode;

typedef struct Entry {
        char *path;             /* below the state directory */
        int dir;
        GArray *values;         /* unsigned, inodes; 0: no such name. The first is durable, the last what a reader sees. */
} Entry;

typedef struct Disk {
        GPtrArray *inodes;      /* Inode; the first is none */
        GPtrArray *entries;     /* Entry */
        unsigned acknowledged;
        GHashTable *seen;       /* states that were built */
} Disk;

static void inode_free(void *p) {
        Inode *i = p;

        g_string_free(i->data, TRUE);
        g_free(i);
}

static void entry_free(void *p) {
        Entry *e = p;

        g_array_free(e->values, TRUE);
        g_free(e->path);
        g_free(e);
}

static Inode *inode_get(Disk *d, unsigned number) {
        while (d->inodes->len <= number) {
                Inode *i = g_new0(Inode, 1);

                i->data = g_string_new(NULL);
                g_ptr_array_add(d->inodes, i);
        }

        return g_ptr_array_index(d->inodes, number);
}

static Entry *entry_get(Disk *d, int dir, const char *name) {
        g_autofree char *path = g_build_filename(dirs[dir], name, NULL);
        static const unsigned none = 0;
        Entry *e;

        for (size_t i = 0; i < d->entries->len; i++) {
                e = g_ptr_array_index(d->entries, i);
                if (streq(e->path, path))
                        return e;
        }

        e = g_new0(Entry, 1);
        e->path = TAKE_PTR(path);
        e->dir = dir;
        e->values = g_array_new(FALSE, FALSE, sizeof(unsigned));
        g_array_append_val(e->values, none);
        g_ptr_array_add(d->entries, e);
        return e;
}

static unsigned entry_last(const Entry *e) {
        return g_array_index(e->values, unsigned, e->values->len - 1);
}

static void disk_do(Disk *d, const Op *op) {
        Entry *e = op->kind == OP_CREATE || op->kind == OP_SYMLINK || op->kind == OP_RENAME || op->kind == OP_LINK || op->kind == OP_UNLINK ?
                           entry_get(d, op->dir, op->name) : NULL;
        Inode *i = op->inode > 0 ? inode_get(d, op->inode) : NULL;
        unsigned value;
        Entry *to;

        switch (op->kind) {
        case OP_SYMLINK:
                /* Its text is part of it. */
                g_string_append_len(i->data, tape.data + op->offset, (gssize) op->size);
                i->durable = op->size;
                i->symlink = true;
                g_array_append_val(e->values, op->inode);
                break;
        case OP_CREATE:
                g_array_append_val(e->values, op->inode);
                break;
        case OP_WRITE:
                g_string_append_len(i->data, tape.data + op->offset, (gssize) op->size);
                break;
        case OP_SYNC_FILE:
                i->durable = i->data->len;
                break;
        case OP_SYNC_DIR:
                for (size_t k = 0; k < d->entries->len; k++) {
                        Entry *of = g_ptr_array_index(d->entries, k);

                        if (of->dir == op->dir && of->values->len > 1)
                                g_array_remove_range(of->values, 0, of->values->len - 1);
                }
                break;
        case OP_RENAME:
        case OP_LINK:
                value = entry_last(e);
                to = entry_get(d, op->to_dir, op->to);
                g_array_append_val(to->values, value);
                if (op->kind == OP_LINK)
                        break;
                value = 0;
                g_array_append_val(e->values, value);
                break;
        case OP_UNLINK:
                value = 0;
                g_array_append_val(e->values, value);
                break;
        case OP_MARK:
                d->acknowledged = op->acknowledged;
                break;
        }
}

/* What is left of bytes that were not made durable. */
static GString *inode_content(const Inode *i, unsigned variant) {
        GString *s = g_string_new_len(i->data->str, (gssize) i->data->len);

        switch (variant) {
        case 0:
                break;
        case 1:
                g_string_truncate(s, i->durable);
                break;
        case 2:
                g_string_truncate(s, i->durable + (i->data->len - i->durable) / 2);
                break;
        case 3:
                memset(s->str + i->durable, 0, i->data->len - i->durable);
                break;
        }

        return s;
}

/* One choice of everything that may be so or so. false: it was built before. */
static bool disk_build(Disk *d, const char *dir, GRand *random, unsigned choice) {
        g_autoptr(GHashTable) links = g_hash_table_new_full(NULL, NULL, NULL, g_free);
        g_autoptr(GString) all = g_string_new(NULL);
        g_autofree unsigned *values = g_new0(unsigned, d->entries->len), *variants = g_new0(unsigned, d->inodes->len + 1);

        for (size_t k = 0; k < d->inodes->len; k++) {
                const Inode *i = g_ptr_array_index(d->inodes, k);

                /* The first: all was kept; the second: nothing was. */
                variants[k] = i->durable == i->data->len || choice == 0 ? 0 : choice == 1 ? 1 : (unsigned) g_rand_int_range(random, 0, 4);
        }
        for (size_t k = 0; k < d->entries->len; k++) {
                const Entry *e = g_ptr_array_index(d->entries, k);
                unsigned n = choice == 0 ? e->values->len - 1 : choice == 1 ? 0 : (unsigned) g_rand_int_range(random, 0, (gint32) e->values->len);

                values[k] = g_array_index(e->values, unsigned, n);
                if (values[k] > 0)
                        g_string_append_printf(all, "%s=%u/%u;", e->path, values[k], variants[values[k]]);
        }
        g_string_append_printf(all, "%u", d->acknowledged);
        if (!g_hash_table_add(d->seen, g_strdup(all->str)))
                return false;

        for (size_t k = 0; k < d->entries->len; k++) {
                const Entry *e = g_ptr_array_index(d->entries, k);
                g_autofree char *path = g_build_filename(dir, e->path, NULL);
                const Inode *i = values[k] > 0 ? g_ptr_array_index(d->inodes, values[k]) : NULL;
                const char *other = i ? g_hash_table_lookup(links, i) : NULL;
                GString *content;

                (void) g_remove(path);
                if (!i)
                        continue;
                if (other) {
                        g_assert_cmpint(link(other, path), ==, 0);
                        continue;
                }

                content = inode_content(i, variants[values[k]]);
                if (i->symlink)
                        g_assert_cmpint(symlink(content->str, path), ==, 0);
                else
                        g_assert_true(g_file_set_contents_full(path, content->str, (gssize) content->len, G_FILE_SET_CONTENTS_NONE, 0600, NULL));
                g_string_free(content, TRUE);
                g_hash_table_insert(links, (gpointer) i, TAKE_PTR(path));
        }

        return true;
}

unsigned power_each(const char *dir, void (*check)(const char *dir, unsigned acknowledged, void *userdata), void *userdata) {
        Disk d = {
                .inodes = g_ptr_array_new_with_free_func(inode_free),
                .entries = g_ptr_array_new_with_free_func(entry_free),
                .seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
        };
        GRand *random = g_rand_new_with_seed((guint32) g_test_rand_int());
        unsigned n = 0;

        (void) inode_get(&d, 0);
        for (size_t i = 1; i < G_N_ELEMENTS(dirs); i++) {
                g_autofree char *path = g_build_filename(dir, dirs[i], NULL);

                g_assert_cmpint(g_mkdir_with_parents(path, 0700), ==, 0);
        }

        for (unsigned k = 0; k < *tape.n_ops; k++) {
                disk_do(&d, tape.ops + k);
                for (unsigned choice = 0; choice < STATES_MAX; choice++)
                        if (disk_build(&d, dir, random, choice)) {
                                check(dir, d.acknowledged, userdata);
                                n++;
                        }
        }

        g_rand_free(random);
        g_hash_table_unref(d.seen);
        g_ptr_array_unref(d.entries);
        g_ptr_array_unref(d.inodes);
        return n;
}
