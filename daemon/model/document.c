/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <stdarg.h>

#include "base/map.h"
#include "base/strv.h"
#include "base/text.h"
#include "model/document.h"
#include "model/source.h"

void document_lun_done(DocumentLun *l) {
        free(l->source);
        free(l->name);
        free(l->serial);
        strv_free(l->attributes);
        free(l->identity);
        free(l->mount);
        free(l->place);
        *l = (DocumentLun) {};
}

static void target_done(DocumentTarget *t) {
        for (size_t i = 0; i < t->n_luns; i++)
                document_lun_done(&t->luns[i]);
        free(t->luns);
        free(t->label);
}

static void note_done(DocumentNote *n) {
        free(n->object);
        free(n->text);
}

void document_done(Document *d) {
        for (size_t i = 0; i < d->n_targets; i++)
                target_done(&d->targets[i]);
        free(d->targets);

        for (size_t i = 0; i < d->n_notes; i++)
                note_done(&d->notes[i]);
        free(d->notes);
        free(d->left_out);

        *d = (Document) {};
}

/* Makes room for one more and returns the array, or NULL. */
static void *grow(void *array, size_t n, size_t *room, size_t size) {
        size_t more = *room ? 2 * *room : 4;

        if (n < *room)
                return array;

        array = reallocarray(array, more, size);
        if (array)
                *room = more;

        return array;
}

int document_add_target(Document *d, const char *wwn, DocumentTarget **ret) {
        DocumentTarget *p;

        assert(strlen(wwn) == WWN_SIZE - 1);

        if (d->n_targets >= DOCUMENT_TARGETS_MAX)
                return -EFBIG;

        p = grow(d->targets, d->n_targets, &d->room_targets, sizeof *p);
        if (!p)
                return -ENOMEM;

        d->targets = p;
        p += d->n_targets++;
        *p = (DocumentTarget) {};
        memcpy(p->wwn, wwn, WWN_SIZE);

        *ret = p;
        return 0;
}

int document_target_add_lun(DocumentTarget *t, uint32_t number, const char *source, DocumentLun **ret) {
        _cleanup_free_ char *copy = strdup(source);
        DocumentLun *p;

        if (!copy)
                return -ENOMEM;

        p = grow(t->luns, t->n_luns, &t->room_luns, sizeof *p);
        if (!p)
                return -ENOMEM;

        t->luns = p;
        p += t->n_luns++;
        *p = (DocumentLun) { .number = number, .source = TAKE_PTR(copy) };

        *ret = p;
        return 0;
}

int document_note(Document *d, const char *object, const char *format, ...) {
        _cleanup_free_ char *raw = NULL, *text = NULL, *where = NULL;
        DocumentNote *p;
        va_list ap;
        int r;

        if (d->n_notes >= DOCUMENT_NOTES_MAX) {
                d->n_unsaid++;
                return 0;
        }

        va_start(ap, format);
        r = vasprintf(&raw, format, ap);
        va_end(ap);
        if (r < 0) {
                raw = NULL;
                return -ENOMEM;
        }

        r = text_printable(raw, &text);
        if (r >= 0)
                r = text_printable(object, &where);
        if (r < 0)
                return r;

        p = grow(d->notes, d->n_notes, &d->room_notes, sizeof *p);
        if (!p)
                return -ENOMEM;

        d->notes = p;
        p[d->n_notes++] = (DocumentNote) { .object = TAKE_PTR(where), .text = TAKE_PTR(text) };
        return 0;
}

int document_leave_out(Document *d, const char *object, const char *format, ...) {
        _cleanup_free_ char *raw = NULL, *text = NULL;
        size_t n = d->n_notes;
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(&raw, format, ap);
        va_end(ap);
        if (r < 0) {
                raw = NULL;
                return -ENOMEM;
        }

        r = document_note(d, object, "left out: %s", raw);
        if (r >= 0 && d->n_notes > n)
                d->notes[n].left_out = true;
        if (r >= 0 && !d->left_out) {
                r = text_printable(raw, &text);
                if (r >= 0 && asprintf(&d->left_out, "%s: %s", object, text) < 0) {
                        d->left_out = NULL;
                        r = -ENOMEM;
                }
        }
        if (r < 0)
                return r;

        d->n_left_out++;
        return 0;
}

/* A LUN, and what it says of its disk. */
typedef struct Claim {
        const DocumentTarget *target;
        const DocumentLun *lun;
        SourceKind kind;
        char *source;           /* canonical */
        char *name;             /* among devices, or among files */
} Claim;

typedef struct Claims {
        Claim *claims;
        size_t n;
        Map *sources, *names, *serials;         /* text -> the first Claim with it */
} Claims;

static void claims_done(Claims *c) {
        map_free(c->sources);
        map_free(c->names);
        map_free(c->serials);
        for (size_t i = 0; i < c->n; i++) {
                free(c->claims[i].source);
                free(c->claims[i].name);
        }
        free(c->claims);
}

static bool lun_agrees(const DocumentLun *a, const DocumentLun *b) {
        return streq_ptr(a->name, b->name) && streq_ptr(a->serial, b->serial) && a->readonly == b->readonly &&
               strv_equal(a->attributes, b->attributes) && a->size == b->size && streq_ptr(a->identity, b->identity) &&
               streq_ptr(a->mount, b->mount);
}

/* Two paths of one disk, as far as is known. */
static bool may_share_serial(const Claim *a, const Claim *b) {
        if (a->kind != SOURCE_BY_PATH || b->kind != SOURCE_BY_PATH)
                return false;

        return !a->lun->identity || !b->lun->identity || streq(a->lun->identity, b->lun->identity);
}

static int refuse_pair(const Claim *a, const Claim *b, const char *what, const char *text, char **ret_why) {
        return text_refuse(ret_why, "%s/lun %" PRIu32 " and %s/lun %" PRIu32 " %s %s", a->target->wwn, a->lun->number, b->target->wwn,
                           b->lun->number, what, text);
}

static int claim(Claims *c, Claim *n, char **ret_why) {
        const Claim *other = map_get(c->sources, n->source);
        int r;

        if (other)
                return lun_agrees(other->lun, n->lun) ? 0 :
                       refuse_pair(other, n, "say different things of the same source,", n->source, ret_why);

        r = map_put(c->sources, n->source, n);
        if (r < 0)
                return r;

        if (n->lun->name) {
                r = map_put(c->names, n->name, n);
                if (r == -EEXIST)
                        return refuse_pair(map_get(c->names, n->name), n, "are two disks of one name,", n->lun->name, ret_why);
                if (r < 0)
                        return r;
        }

        if (n->lun->serial) {
                r = map_put(c->serials, n->lun->serial, n);
                if (r == -EEXIST) {
                        other = map_get(c->serials, n->lun->serial);
                        return may_share_serial(other, n) ? 0 :
                               refuse_pair(other, n, "are two disks of one serial,", n->lun->serial, ret_why);
                }
                if (r < 0)
                        return r;
        }

        return 0;
}

static int claim_all(Claims *c, const Document *d, char **ret_why) {
        c->claims = calloc(document_count_luns(d) + 1, sizeof *c->claims);
        c->sources = map_new();
        c->names = map_new();
        c->serials = map_new();
        if (!c->claims || !c->sources || !c->names || !c->serials)
                return -ENOMEM;

        for (size_t i = 0; i < d->n_targets; i++)
                for (size_t k = 0; k < d->targets[i].n_luns; k++) {
                        const DocumentTarget *t = &d->targets[i];
                        const DocumentLun *l = &t->luns[k];
                        Claim *n = &c->claims[c->n++];
                        const char *why;
                        int r;

                        n->target = t;
                        n->lun = l;
                        r = source_parse(l->source, &n->kind, &n->source, &why);
                        if (r == -EINVAL)
                                return text_refuse(ret_why, "%s/lun %" PRIu32 " has no proper source: %s", t->wwn, l->number, why);
                        if (r < 0)
                                return r;

                        if (asprintf(&n->name, "%c%s", n->kind == SOURCE_FILE ? 'f' : 'd', strempty(l->name)) < 0) {
                                n->name = NULL;
                                return -ENOMEM;
                        }

                        r = claim(c, n, ret_why);
                        if (r < 0)
                                return r;
                }

        return 0;
}

static int compare_luns(const void *a, const void *b) {
        const DocumentLun *x = a, *y = b;

        return x->number < y->number ? -1 : x->number > y->number;
}

static int compare_targets(const void *a, const void *b) {
        const DocumentTarget *x = a, *y = b;

        return strcmp(x->wwn, y->wwn);
}

static int finish_target(DocumentTarget *t, char **ret_why) {
        if (t->n_luns > 0)
                qsort(t->luns, t->n_luns, sizeof *t->luns, compare_luns);

        for (size_t i = 1; i < t->n_luns; i++)
                if (t->luns[i].number == t->luns[i - 1].number)
                        return text_refuse(ret_why, "%s/lun %" PRIu32 " is there twice", t->wwn, t->luns[i].number);

        for (size_t i = 0; i < t->n_luns; i++)
                strv_sort(t->luns[i].attributes);

        return 0;
}

int document_finish(Document *d, char **ret_why) {
        _cleanup_(claims_done) Claims claims = {};
        int r;

        if (document_count_luns(d) > DOCUMENT_LUNS_MAX) {
                text_refuse(ret_why, "more than %u LUNs", DOCUMENT_LUNS_MAX);
                return -EFBIG;
        }

        if (d->n_targets > 0)
                qsort(d->targets, d->n_targets, sizeof *d->targets, compare_targets);

        for (size_t i = 0; i < d->n_targets; i++) {
                if (i > 0 && streq(d->targets[i].wwn, d->targets[i - 1].wwn))
                        return text_refuse(ret_why, "%s is there twice", d->targets[i].wwn);

                r = finish_target(&d->targets[i], ret_why);
                if (r < 0)
                        return r;
        }

        return claim_all(&claims, d, ret_why);
}

DocumentTarget *document_target(const Document *d, const char *wwn) {
        DocumentTarget key = {};

        if (d->n_targets == 0 || strlen(wwn) >= WWN_SIZE)
                return NULL;

        memcpy(key.wwn, wwn, strlen(wwn) + 1);
        return bsearch(&key, d->targets, d->n_targets, sizeof key, compare_targets);
}

DocumentLun *document_target_lun(const DocumentTarget *t, uint32_t number) {
        const DocumentLun key = { .number = number };

        return t->n_luns > 0 ? bsearch(&key, t->luns, t->n_luns, sizeof key, compare_luns) : NULL;
}

size_t document_count_luns(const Document *d) {
        size_t n = 0;

        for (size_t i = 0; i < d->n_targets; i++)
                n += d->targets[i].n_luns;

        return n;
}

/* "naa.…", "naa.…/lun 3" and "backstore block/disk1" are of a target, or of others; all else is of the file. */
static bool note_is_of(const DocumentNote *n, const DocumentTarget *t) {
        const char *slash = strchr(n->object, '/');

        if (strncmp(n->object, "naa.", strlen("naa.")) == 0)
                return strncmp(n->object, t->wwn, WWN_SIZE - 1) == 0;
        if (strncmp(n->object, "backstore ", strlen("backstore ")) != 0 || !slash)
                return true;

        for (size_t i = 0; i < t->n_luns; i++)
                if (streq_ptr(t->luns[i].name, slash + 1))
                        return true;

        return false;
}

int document_keep_target(Document *d, const char *wwn) {
        DocumentTarget *t = document_target(d, wwn);
        size_t n = 0;

        if (!t)
                return -ENOENT;

        for (size_t i = 0; i < d->n_targets; i++)
                if (&d->targets[i] != t)
                        target_done(&d->targets[i]);
        d->targets[0] = *t;
        d->n_targets = 1;

        for (size_t i = 0; i < d->n_notes; i++)
                if (note_is_of(&d->notes[i], &d->targets[0]))
                        d->notes[n++] = d->notes[i];
                else
                        note_done(&d->notes[i]);
        d->n_notes = n;
        return 0;
}
