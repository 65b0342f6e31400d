/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake-arena.h"
#include "fake-lio.h"

/* The block layer: who may open what. Adding and removing is in fake-cfs.c, with the mutex. */

Block *block_find(dev_t devnum) {
        for (Block *b = lio->blocks; b; b = b->next)
                if (b->devnum == devnum && !b->gone && !b->not_block)
                        return b;

        return NULL;
}

static Block *find_path(const char *path) {
        for (Block *b = lio->blocks; b; b = b->next) {
                if (b->gone)
                        continue;
                if (streq(b->node, path))
                        return b;
                for (char **l = b->links; *l; l++)
                        if (streq(*l, path))
                                return b;
        }

        return NULL;
}

/* A claimed partition claims its disk against others but its sisters: bd_may_claim(), block/bdev.c. */
static bool is_claimed(const Block *b) {
        for (const Block *o = lio->blocks; o; o = o->next) {
                if (o->claims == 0 && !o->held)
                        continue;
                if (o == b)
                        return true;
                if (o->gone)
                        continue;
                if ((o->whole != 0 && o->whole == b->devnum) || (b->whole != 0 && b->whole == o->devnum))
                        return true;
        }

        return false;
}

int block_open(const char *path, bool writable, Block **ret) {
        Block *b = find_path(path);

        if (!b)
                return -ENOENT;
        if (b->not_block)
                return -ENOTBLK;
        if (is_claimed(b))
                return -EBUSY;
        if (writable && b->read_only)
                return -EACCES;

        b->claims++;
        *ret = b;
        return 0;
}

void block_free_if_gone(Block *b) {
        Block **p = &lio->blocks;

        if (!b->gone || b->claims > 0)
                return;

        while (*p != b)
                p = &(*p)->next;
        *p = b->next;

        for (char **l = b->links; *l; l++)
                fake_free(*l);
        fake_free(b->links);
        fake_free(b->node);
        fake_free(b);
}

void block_close(Block *b) {
        b->claims--;
        block_free_if_gone(b);
}
