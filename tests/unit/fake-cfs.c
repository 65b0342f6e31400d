/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/sysmacros.h>

#include "base/strv.h"
#include "fake-arena.h"
#include "fake-control.h"

/* kernel/cfs.h for tests. Each call is one critical section, but while it waits for something. */

struct Cfs {
        int root_fd;
};

int cfs_new(int root_fd, Cfs **ret) {
        Cfs *c = calloc(1, sizeof *c);

        if (!c)
                return -ENOMEM;

        assert(control);        /* fake_reset() comes first */
        *ret = c;
        return 0;
}

Cfs *cfs_free(Cfs *c) {
        free(c);
        return NULL;
}

int cfs_root_fd(const Cfs *c) {
        return -EBADF;
}

/* As the real one. */
static int path_check(const char *path) {
        if (isempty(path) || path[0] == '/')
                return -EINVAL;

        for (const char *p = path; p; p = strchr(p, '/')) {
                p += *p == '/';
                if (p[0] == '.' && p[1] == '.' && (p[2] == '/' || !p[2]))
                        return -EINVAL;
        }

        return 0;
}

/* Whether a lookup must wait for a locked directory. Directories stay in the dentry cache as long as they live, so only attributes, links
 * and what does not exist need the lock of the directory that they are in. */
static bool lookup_waits(const char *path) {
        const Node *n = lio->root, *c;

        while (*path) {
                size_t k = strcspn(path, "/");
                char name[256];

                snprintf(name, sizeof name, "%.*s", (int) k, path);
                path += k + (path[k] == '/');

                if (n->type == &node_type_link)
                        n = n->target;
                c = node_child(n, name);
                if (n->locked && (!c || c->type == &node_type_link))
                        return true;
                if (!c)
                        return false;
                n = c;
        }

        return false;
}

/* What is removed as one: configfs calls it a fragment. */
static Node *item(Node *n) {
        while (n->is_default && n->parent)
                n = n->parent;

        return n;
}

static void wait_for_others(Waiting **w, FakeCall call, const char *path, const char *text) {
        if (!*w)
                *w = waiting_new(call, path, text);
        fake_pause();
}

static void wait_end(Waiting **w) {
        if (*w)
                waiting_free(*w);
        *w = NULL;
}

/* Sits in the kernel with what it has locked until it is let go. */
static void wait_for_release(FakeCall call, const char *path, const char *text, Node *locks, Node *writes, Block *block) {
        Waiting *w = waiting_new(call, path, text);

        w->held = true;
        w->locks = locks;
        w->writes = writes;
        w->block = block;
        if (locks)
                locks->locked = true;
        if (writes)
                writes->writers++;

        while (!w->released && !(block && !block->suspended))
                fake_pause();

        waiting_free(w);
}

/* The device that an unlink must wait for, since a guest's I/O on it is in flight. */
static Block *suspended_under(const Node *link) {
        Block *b = link->type == &node_type_link ? link->target->backstore.block : NULL;

        return b && b->suspended ? b : NULL;
}

/* mkdir, symlink, unlink, rmdir: with the parent directory locked. */
static int change_directory(FakeCall call, const char *path, const char *text, bool may_wait) {
        Waiting *w = NULL;
        bool hung = false;

        for (;;) {
                Node *parent, *n, *target;
                const char *name;
                int attribute, r;
                Block *block;

                r = lio_walk_parent(path, &parent, &name);
                n = r < 0 ? NULL : node_child(parent, name);

                if (may_wait && (lookup_waits(path) || (r >= 0 && parent->locked))) {
                        wait_for_others(&w, call, path, text);
                        continue;
                }
                wait_end(&w);
                if (r < 0)
                        return r;

                /* With the parent locked rmdir waits for the directory's own lock and for those who write to an attribute. */
                if (may_wait && call == FAKE_RMDIR && n && (n->locked || n->writers > 0)) {
                        Waiting *mine = waiting_new(call, path, text);

                        mine->locks = parent;
                        parent->locked = true;
                        while (n->locked || n->writers > 0)
                                fake_pause();
                        waiting_free(mine);
                        continue;
                }

                block = call == FAKE_UNLINK && n ? suspended_under(n) : NULL;
                if (may_wait && !hung && (call_hangs(call, path) || block)) {
                        wait_for_release(call, path, text, parent, NULL, call_hangs(call, path) ? NULL : block);
                        hung = true;
                        continue;
                }

                switch ((unsigned) call) {
                case FAKE_MKDIR:
                        return lio_mkdir(parent, name);

                case FAKE_RMDIR:
                        if (!n)
                                return node_attribute(parent, name) >= 0 ? -ENOTDIR : -ENOENT;
                        return lio_rmdir(n);

                case FAKE_UNLINK:
                        if (!n)
                                return node_attribute(parent, name) >= 0 ? -EPERM : -ENOENT;
                        return lio_unlink(n);

                case FAKE_SYMLINK:
                        /* filename_create() in fs/namei.c, configfs_symlink(), get_target() in fs/configfs/symlink.c, in this order. */
                        if (n || node_attribute(parent, name) >= 0)
                                return -EEXIST;
                        if (!parent->type->can_link)
                                return -EPERM;
                        r = lio_walk(text, true, &target, &attribute);
                        if (r < 0)
                                return r;
                        if (attribute >= 0)
                                return -ENOTDIR;
                        return lio_symlink(parent, name, target);
                }
                abort();
        }
}

static int write_attribute(const char *path, const char *value, bool may_wait) {
        Waiting *w = NULL;
        bool hung = false;

        for (;;) {
                int attribute, r;
                Node *n;

                if (may_wait && lookup_waits(path)) {
                        wait_for_others(&w, FAKE_WRITE, path, value);
                        continue;
                }
                wait_end(&w);

                r = lio_walk(path, false, &n, &attribute);
                if (r < 0)
                        return r;
                if (attribute < 0)
                        return n->type == &node_type_link ? -ELOOP : -EISDIR;

                if (may_wait && !hung && call_hangs(FAKE_WRITE, path)) {
                        wait_for_release(FAKE_WRITE, path, value, NULL, item(n), NULL);
                        hung = true;
                        continue;
                }

                return lio_store(n, attribute, value);
        }
}

void call_finish(FakeCall call, const char *path, const char *text) {
        int r;

        if (!(call & FAKE_MUTATING))
                return;

        r = call == FAKE_WRITE ? write_attribute(path, text, false) : change_directory(call, path, text, false);
        journal_add(call, path, text, r);
}

static int mutate(FakeCall call, const char *path, const char *text) {
        int r;

        r = path_check(path);
        if (r < 0)
                return r;

        fake_lock();
        r = call_begin(call, path);
        if (r >= 0)
                r = call == FAKE_WRITE ? write_attribute(path, text, true) : change_directory(call, path, text, true);
        journal_add(call, path, text, r);
        /* It took effect all the same, but there is no one left to hear of it. */
        if (control->dead)
                r = -ESHUTDOWN;
        fake_unlock();
        return r;
}

int cfs_mkdir(Cfs *c, const char *path) {
        return mutate(FAKE_MKDIR, path, NULL);
}

int cfs_rmdir(Cfs *c, const char *path) {
        return mutate(FAKE_RMDIR, path, NULL);
}

int cfs_symlink(Cfs *c, const char *target, const char *path) {
        int r;

        r = path_check(target);
        if (r < 0)
                return r;

        return mutate(FAKE_SYMLINK, path, target);
}

int cfs_unlink(Cfs *c, const char *path) {
        return mutate(FAKE_UNLINK, path, NULL);
}

int cfs_write(Cfs *c, const char *path, const char *value) {
        if (strlen(value) > PAGE - 1)
                return -E2BIG;

        return mutate(FAKE_WRITE, path, value);
}

/* Takes the mutex, and keeps it also if it fails. */
static int look(FakeCall call, const char *path, bool follow, Node **ret, int *ret_attribute) {
        Waiting *w = NULL;
        Node *n;
        int r;

        fake_lock();
        r = call_begin(call, path);
        if (r < 0)
                return r;

        if (call_hangs(call, path))
                wait_for_release(call, path, NULL, NULL, NULL, NULL);

        for (;;) {
                int attribute;

                r = lio_walk(path, follow, &n, &attribute);
                /* readdir() takes the directory's lock itself. */
                if (lookup_waits(path) || (call == FAKE_LIST && r >= 0 && attribute < 0 && n->locked)) {
                        wait_for_others(&w, call, path, NULL);
                        continue;
                }

                wait_end(&w);
                if (control->dead)
                        return -ESHUTDOWN;
                if (r < 0)
                        return r;

                *ret = n;
                *ret_attribute = attribute;
                return 0;
        }
}

int cfs_read(Cfs *c, const char *path, char **ret) {
        char page[PAGE], *s;
        int attribute, r;
        Node *n;

        r = path_check(path);
        if (r < 0)
                return r;

        r = look(FAKE_READ, path, true, &n, &attribute);
        if (r >= 0)
                r = attribute < 0 ? -EISDIR : lio_show(n, attribute, page);
        fake_unlock();
        if (r < 0)
                return r;

        s = strdup(page);
        if (!s)
                return -ENOMEM;

        *ret = s;
        return 0;
}

int cfs_list(Cfs *c, const char *path, bool directories, bool links, char ***ret) {
        _cleanup_(strv_freep) char **names = calloc(1, sizeof *names);
        int attribute, r;
        Node *n;

        if (!names)
                return -ENOMEM;

        r = path_check(path);
        if (r < 0)
                return r;

        r = look(FAKE_LIST, path, false, &n, &attribute);
        if (r >= 0 && (attribute >= 0 || n->type == &node_type_link))
                r = -ENOTDIR;

        for (const Node *k = r >= 0 ? n->child : NULL; k && r >= 0; k = k->next)
                if (directories == links || (k->type == &node_type_link) == links)
                        r = strv_extend(&names, k->name);
        for (int i = 0; r >= 0 && !directories && !links && n->type->attributes && n->type->attributes[i].name; i++)
                r = strv_extend(&names, n->type->attributes[i].name);
        fake_unlock();
        if (r < 0)
                return r;

        strv_sort(names);
        *ret = TAKE_PTR(names);
        return 0;
}

int cfs_readlink(Cfs *c, const char *path, char **ret) {
        char target[PAGE], *s;
        int attribute, r;
        Node *n;

        r = path_check(path);
        if (r < 0)
                return r;

        r = look(FAKE_READLINK, path, false, &n, &attribute);
        if (r >= 0 && (attribute >= 0 || n->type != &node_type_link))
                r = -EINVAL;
        if (r >= 0)
                node_path(n->target, target);
        fake_unlock();
        if (r < 0)
                return r;

        s = strdup(target);
        if (!s)
                return -ENOMEM;

        *ret = s;
        return 0;
}

int cfs_exists(Cfs *c, const char *path) {
        int attribute, r;
        Node *n;

        r = path_check(path);
        if (r < 0)
                return r;

        r = look(FAKE_EXISTS, path, false, &n, &attribute);
        fake_unlock();
        return r == -ENOENT || r == -ENOTDIR ? 0 : r < 0 ? r : 1;
}

/* Everything is root's: nobody's libvirt is here. */
int cfs_user(Cfs *c, const char *path, uid_t *ret) {
        int r = cfs_exists(c, path);

        if (r <= 0)
                return r < 0 ? r : -ENOENT;

        *ret = 0;
        return 0;
}

int cfs_block_diskseq(Cfs *c, dev_t devnum, uint64_t *ret) {
        const Block *b, *disk;
        char name[32];
        int r;

        snprintf(name, sizeof name, "%u:%u", major(devnum), minor(devnum));

        fake_lock();
        r = call_begin(FAKE_DISKSEQ, name);
        if (r >= 0) {
                b = block_find(devnum);
                disk = b && b->whole != 0 ? block_find(b->whole) : NULL;
                if (!b)
                        r = -ENODEV;
                else
                        *ret = disk ? disk->diskseq : b->diskseq;
        }
        fake_unlock();
        return r;
}
