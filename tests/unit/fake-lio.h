/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "fake-cfs.h"

/* Inside the fake: the tree and its rules. The caller holds the mutex (fake-cfs.c). Nothing here waits. */

#define PAGE 4096

typedef struct Node Node;
typedef struct NodeType NodeType;
typedef struct Attribute Attribute;
typedef struct Block Block;

typedef struct DefaultGroup {
        const char *name;
        const NodeType *type;
} DefaultGroup;

struct NodeType {
        const Attribute *attributes;            /* ends with a name of NULL; NULL: none */
        const DefaultGroup *groups;             /* the same */
        int (*make)(Node *parent, const char *name, Node *n);   /* sets n->type and its data; NULL: mkdir is EPERM */
        bool can_link;
};

struct Attribute {
        const char *name;
        int (*show)(const Node *n, const Attribute *a, const char *value, char page[static PAGE]);     /* NULL: the stored value */
        int (*store)(Node *n, const Attribute *a, char **value, const char *text);      /* NULL: read-only */
        const char *initial;
        bool write_only;
};

typedef struct Backstore {
        const char *plugin;
        char *path;             /* control's udev_path= */
        Block *block;           /* while open */
        unsigned long read_only;
        uint32_t queue_depth;   /* of info; stays 0 until attrib/queue_depth is written, as in the kernel */
        unsigned exports;
        bool configured;
} Backstore;

typedef struct Tpg {
        char *nexus;
        unsigned ports;
        bool attached;
} Tpg;

struct Node {
        const NodeType *type;
        Node *parent, *next, *child;            /* children sorted by name */
        char *name;
        uint64_t id;
        Node *target;                           /* of a link */
        unsigned links;                         /* that point here */
        char **values;                          /* one for each attribute */
        bool is_default;
        bool locked;                            /* a waiting call holds the directory */
        unsigned writers;                       /* waiting writes to an attribute below: rmdir waits for them */
        union {
                Backstore backstore;
                Tpg tpg;
                unsigned hba_index;
                char protocol;                  /* of a WWN: 'n' 'f' 'i' */
        };
};

extern const NodeType node_type_root, node_type_backstore, node_type_lun, node_type_link;
extern NodeType node_type_tpg;      /* whose attributes depend on the module */

typedef struct Lio {
        Node *root;
        Block *blocks;
        uint64_t last_id;
        unsigned last_hba;
        unsigned backstores;
        bool fabric_loaded;
} Lio;

extern Lio *lio;                /* in the arena */

void lio_init(void);
void lio_set_bundled(bool bundled);     /* while there is no portal group */

/* Follows links in the middle of the path, and at its end only if asked to. ret_attribute: an attribute's index, -1 for a node itself. */
int lio_walk(const char *path, bool follow, Node **ret, int *ret_attribute);
int lio_walk_parent(const char *path, Node **ret, const char **ret_name);
Node *node_child(const Node *n, const char *name);
int node_attribute(const Node *n, const char *name);    /* the index or -1 */
Node *node_add(Node *parent, const char *name, const NodeType *type, bool is_default);
const Node *node_up(const Node *n, const NodeType *type);       /* n or the nearest above of that type; NULL */
void node_path(const Node *n, char path[static PAGE]);

int lio_mkdir(Node *parent, const char *name);
int lio_rmdir(Node *n);
int lio_symlink(Node *parent, const char *name, Node *target);
int lio_unlink(Node *n);
int lio_show(const Node *n, int attribute, char page[static PAGE]);
int lio_store(Node *n, int attribute, const char *text);

/* fake-block.c */
struct Block {
        Block *next;
        dev_t devnum, whole;
        char *node;
        char **links;
        uint64_t diskseq, size;
        uint32_t block_size, queue_depth, max_sectors;
        bool held, read_only, suspended, rotational, discard, not_block, gone;
        unsigned claims;        /* 0 or 1, by a backstore */
};

Block *block_find(dev_t devnum);
int block_open(const char *path, bool writable, Block **ret);   /* exclusively */
void block_close(Block *b);
void block_free_if_gone(Block *b);      /* was removed, and no backstore has it open any more */

/* fake-attr.c */
extern const NodeType node_type_hba, node_type_fabric, node_type_wwn;
int kernel_strtoull(const char *s, unsigned base, uint64_t *ret);
