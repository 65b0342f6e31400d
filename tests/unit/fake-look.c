/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/strv.h"
#include "fake-arena.h"
#include "fake-control.h"

/* What tests see of the fake: counts, the journal, and the tree. */

unsigned fake_count(unsigned calls) {
        unsigned n = 0;

        fake_lock();
        for (unsigned i = 0; i < ELEMENTSOF(control->counts); i++)
                if (calls & 1U << i)
                        n += control->counts[i];
        fake_unlock();
        return n;
}

char **fake_children(const char *path) {
        char **v = calloc(1, sizeof *v);
        int attribute;
        Node *n;

        fake_lock();
        if (lio_walk(path, true, &n, &attribute) >= 0 && attribute < 0)
                for (const Node *c = n->child; c; c = c->next)
                        if (!c->is_default && strv_extend(&v, c->name) < 0)
                                abort();
        fake_unlock();
        return v;
}

char *fake_peek(const char *path) {
        char page[PAGE], *s = NULL;
        int attribute;
        Node *n;

        fake_lock();
        if (lio_walk(path, false, &n, &attribute) >= 0) {
                if (attribute >= 0 ? lio_show(n, attribute, page) >= 0 : n->type == &node_type_link) {
                        if (attribute < 0)
                                node_path(n->target, page);
                        s = strdup(page);
                        if (!s)
                                abort();
                }
        }
        fake_unlock();
        return s;
}

bool fake_opened(const char *backstore, FakeOpened *ret) {
        const Block *b = NULL, *disk;
        int attribute;
        Node *n;

        fake_lock();
        if (lio_walk(backstore, true, &n, &attribute) >= 0 && attribute < 0 && n->type == &node_type_backstore)
                b = n->backstore.block;
        if (b) {
                disk = b->whole != 0 && !b->gone ? block_find(b->whole) : NULL;
                *ret = (FakeOpened) {
                        .devnum = b->devnum,
                        .diskseq = disk ? disk->diskseq : b->diskseq,
                        .read_only = n->backstore.read_only,
                        .gone = b->gone,
                };
        }
        fake_unlock();
        return b;
}

bool fake_block_is_open(dev_t devnum) {
        const Block *b;
        bool open;

        fake_lock();
        b = block_find(devnum);
        open = b && b->claims > 0;
        fake_unlock();
        return open;
}

static void print_escaped(FILE *f, const char *s) {
        for (; *s; s++)
                if (*s == '\n')
                        fputs("\\n", f);
                else
                        fputc(*s, f);
}

void journal_add(FakeCall call, const char *path, const char *text, int result) {
        _cleanup_free_ char *s = NULL;
        size_t size;
        FILE *f;
        Line *l;

        if (!(call & FAKE_MUTATING) || (control->dead && result == -ESHUTDOWN))
                return;

        f = open_memstream(&s, &size);
        if (!f)
                abort();
        fprintf(f, "%s %s", call_name(call), path);
        if (text) {
                fputc(' ', f);
                print_escaped(f, text);
        }
        if (result < 0)
                fprintf(f, " -> -%s", strerrorname_np(-result));
        else
                fputs(" -> 0", f);
        fclose(f);

        l = fake_alloc(sizeof *l);
        l->text = fake_strdup(s);
        *control->journal_end = l;
        control->journal_end = &l->next;
}

char **fake_journal(void) {
        char **v = calloc(1, sizeof *v);

        fake_lock();
        for (Line *l = control->journal; l; l = l->next)
                if (strv_extend(&v, l->text) < 0)
                        abort();
        fake_unlock();
        return v;
}

void fake_journal_clear(void) {
        fake_lock();
        while (control->journal) {
                Line *l = control->journal;

                control->journal = l->next;
                fake_free(l->text);
                fake_free(l);
        }
        control->journal_end = &control->journal;
        memset(control->counts, 0, sizeof control->counts);
        fake_unlock();
}

static void snapshot(FILE *f, const Node *n, FakeSnapshot what) {
        char path[PAGE], page[PAGE];

        if (n->is_default && streq(n->name, "statistics"))
                return;

        node_path(n, path);
        fprintf(f, "%s", n->parent ? path : ".");
        if (what == FAKE_SNAPSHOT_IDS)
                fprintf(f, " #%lu", (unsigned long) n->id);

        if (n->type == &node_type_link) {
                node_path(n->target, page);
                fprintf(f, " -> %s\n", page);
                return;
        }
        fputs("/\n", f);

        for (int i = 0; n->type->attributes && n->type->attributes[i].name; i++) {
                const Attribute *a = &n->type->attributes[i];
                int r;

                /* Has a number in it that counts all HBAs that ever were. */
                if (a->write_only || (streq(a->name, "hba_info") && what == FAKE_SNAPSHOT_STATE))
                        continue;

                fprintf(f, "%s%s%s = ", n->parent ? path : "", n->parent ? "/" : "", a->name);
                r = lio_show(n, i, page);
                if (r < 0)
                        fprintf(f, "-%s", strerrorname_np(-r));
                else
                        print_escaped(f, page);
                fputc('\n', f);
        }

        for (const Node *c = n->child; c; c = c->next)
                snapshot(f, c, what);
}

char *fake_snapshot(FakeSnapshot what) {
        char *s = NULL;
        size_t size;
        FILE *f;

        f = open_memstream(&s, &size);
        if (!f)
                abort();

        fake_lock();
        snapshot(f, lio->root, what);
        fake_unlock();

        fclose(f);
        return s;
}
