/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <limits.h>

#include "fake-arena.h"
#include "fake-lio.h"

/* The tree of configfs and what its directories allow: fs/configfs/dir.c, fs/configfs/symlink.c. What the attributes say and take is in
 * fake-attr.c. */

Lio *lio;

Node *node_child(const Node *n, const char *name) {
        for (Node *c = n->child; c; c = c->next)
                if (streq(c->name, name))
                        return c;

        return NULL;
}

int node_attribute(const Node *n, const char *name) {
        for (int i = 0; n->type->attributes && n->type->attributes[i].name; i++)
                if (streq(n->type->attributes[i].name, name))
                        return i;

        return -1;
}

static void node_insert(Node *parent, Node *n) {
        Node **p = &parent->child;

        while (*p && strcmp((*p)->name, n->name) < 0)
                p = &(*p)->next;

        n->parent = parent;
        n->next = *p;
        *p = n;
}

static void node_populate(Node *n) {
        unsigned k = 0;

        while (n->type->attributes && n->type->attributes[k].name)
                k++;

        n->values = fake_alloc((k + 1) * sizeof *n->values);
        for (unsigned i = 0; i < k; i++)
                fake_set_text(&n->values[i], strempty(n->type->attributes[i].initial));

        for (const DefaultGroup *g = n->type->groups; g && g->name; g++)
                node_add(n, g->name, g->type, true);
}

static Node *node_new(const char *name) {
        Node *n = fake_alloc(sizeof *n);

        n->name = fake_strdup(name);
        n->id = ++lio->last_id;
        return n;
}

Node *node_add(Node *parent, const char *name, const NodeType *type, bool is_default) {
        Node *n = node_new(name);

        n->type = type;
        n->is_default = is_default;
        node_insert(parent, n);
        node_populate(n);
        return n;
}

static void node_remove(Node *n) {
        Node **p = &n->parent->child;

        while (n->child)
                node_remove(n->child);

        while (*p != n)
                p = &(*p)->next;
        *p = n->next;

        for (unsigned i = 0; n->type->attributes && n->type->attributes[i].name; i++)
                fake_free(n->values[i]);
        fake_free(n->values);
        fake_free(n->name);
        fake_free(n);
}

const Node *node_up(const Node *n, const NodeType *type) {
        while (n && n->type != type)
                n = n->parent;

        return n;
}

void node_path(const Node *n, char path[static PAGE]) {
        size_t used;

        if (!n->parent) {
                path[0] = 0;
                return;
        }

        node_path(n->parent, path);
        used = strlen(path);
        snprintf(path + used, PAGE - used, "%s%s", used > 0 ? "/" : "", n->name);
}

/* One component: -ENOENT, -ENOTDIR, -ENAMETOOLONG as a path lookup says it. */
static int step(Node **n, int *attribute, const char *name) {
        Node *c;

        if (*attribute >= 0)
                return -ENOTDIR;
        if ((*n)->type == &node_type_link)
                *n = (*n)->target;
        if (strlen(name) > NAME_MAX)
                return -ENAMETOOLONG;
        if (streq(name, "."))
                return 0;

        c = node_child(*n, name);
        if (c) {
                *n = c;
                return 0;
        }

        *attribute = node_attribute(*n, name);
        return *attribute < 0 ? -ENOENT : 0;
}

static int walk(const char *path, const char *end, Node **ret, int *ret_attribute) {
        Node *n = lio->root;
        int attribute = -1, r;

        while (path < end) {
                size_t k = strcspn(path, "/");
                _cleanup_free_ char *name = strndup(path, k);

                if (!name)
                        abort();

                r = k > 0 ? step(&n, &attribute, name) : 0;
                if (r < 0)
                        return r;

                path += k + (path[k] == '/');
        }

        *ret = n;
        *ret_attribute = attribute;
        return 0;
}

int lio_walk(const char *path, bool follow, Node **ret, int *ret_attribute) {
        int r;

        r = walk(path, path + strlen(path), ret, ret_attribute);
        if (r >= 0 && follow && *ret_attribute < 0 && (*ret)->type == &node_type_link)
                *ret = (*ret)->target;

        return r;
}

int lio_walk_parent(const char *path, Node **ret, const char **ret_name) {
        const char *slash = strrchr(path, '/');
        int attribute, r;
        Node *n;

        r = walk(path, slash ?: path, &n, &attribute);
        if (r < 0)
                return r;
        if (attribute >= 0)
                return -ENOTDIR;

        *ret = n->type == &node_type_link ? n->target : n;
        *ret_name = slash ? slash + 1 : path;
        return strlen(*ret_name) > NAME_MAX ? -ENAMETOOLONG : 0;
}

int lio_mkdir(Node *parent, const char *name) {
        Node *n;
        int r;

        if (node_child(parent, name) || node_attribute(parent, name) >= 0)
                return -EEXIST;
        if (!parent->type->make)
                return -EPERM;

        n = node_new(name);
        r = parent->type->make(parent, name, n);
        if (r < 0) {
                fake_free(n->name);
                fake_free(n);
                return r;
        }

        node_insert(parent, n);
        node_populate(n);
        return 0;
}

int lio_rmdir(Node *n) {
        if (n->type == &node_type_link)
                return -ENOTDIR;
        if (n->is_default || !n->parent)
                return -EPERM;

        /* What a guest depends on, then what links point to, then what is in it: configfs_rmdir(), configfs_detach_prep(). Default groups
         * are in no one's way, but what was made inside them is. */
        if (n->type == &node_type_tpg && n->tpg.attached)
                return -EBUSY;
        if (n->links > 0)
                return -EBUSY;
        for (const Node *c = n->child; c; c = c->next) {
                if (!c->is_default)
                        return -ENOTEMPTY;
                for (const Node *d = c->child; d; d = d->next)
                        if (!d->is_default)
                                return -ENOTEMPTY;
        }

        if (n->type == &node_type_backstore) {
                if (n->backstore.block)
                        block_close(n->backstore.block);
                fake_free(n->backstore.path);
                lio->backstores--;
        } else if (n->type == &node_type_tpg)
                fake_free(n->tpg.nexus);

        node_remove(n);
        return 0;
}

/* target_fabric_port_link(), target_core_fabric_configfs.c */
int lio_symlink(Node *parent, const char *name, Node *target) {
        Node *tpg = (Node *) node_up(parent, &node_type_tpg), *n;

        if (target->type != &node_type_backstore)
                return -EFAULT;
        if (!target->backstore.configured)
                return -ENODEV;
        for (const Node *c = parent->child; c; c = c->next)
                if (c->type == &node_type_link)
                        return -EEXIST;

        n = node_add(parent, name, &node_type_link, false);
        n->target = target;
        target->links++;
        target->backstore.exports++;
        tpg->tpg.ports++;
        return 0;
}

int lio_unlink(Node *n) {
        Node *tpg;

        if (n->type != &node_type_link)
                return -EISDIR;

        tpg = (Node *) node_up(n, &node_type_tpg);
        tpg->tpg.ports--;
        n->target->backstore.exports--;
        n->target->links--;
        node_remove(n);
        return 0;
}

int lio_show(const Node *n, int attribute, char page[static PAGE]) {
        const Attribute *a = &n->type->attributes[attribute];
        size_t k;
        int r;

        if (a->write_only)
                return -EACCES;

        if (a->show) {
                page[0] = 0;
                r = a->show(n, a, n->values[attribute], page);
                if (r < 0)
                        return r;
        } else
                snprintf(page, PAGE, "%s", n->values[attribute]);

        for (k = strlen(page); k > 0 && page[k - 1] == '\n'; k--)
                page[k - 1] = 0;

        return 0;
}

int lio_store(Node *n, int attribute, const char *text) {
        const Attribute *a = &n->type->attributes[attribute];

        /* __configfs_open_file(), fs/configfs/file.c: for root too. */
        if (!a->store)
                return -EACCES;
        /* fill_write_buffer() has copied nothing. */
        if (isempty(text))
                return -EFAULT;

        return a->store(n, a, &n->values[attribute], text);
}

void lio_init(void) {
        lio = fake_alloc(sizeof *lio);
        lio->fabric_loaded = true;
        lio_set_bundled(false);
        lio->last_hba = 0;      /* 0 is the virtual LUN 0's */
        lio->root = node_new("");
        lio->root->type = &node_type_root;
        node_populate(lio->root);
        lio_mkdir(lio->root, "vhost");
}
