/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <sys/sysmacros.h>

#include "base/log.h"
#include "engine/autoexport.h"
#include "engine/draft.h"
#include "engine/edit.h"
#include "engine/hotplug.h"
#include "engine/queue.h"
#include "engine/record.h"
#include "engine/tombstone.h"
#include "model/source.h"
#include "model/wish.h"

/* Why a device was not exported, as it was logged. */
typedef struct Complaint {
        char number[24];        /* "8:16" */
        char *text;
} Complaint;

struct Autoexport {
        dev_t *marked;
        size_t n_marked, room_marked;
        bool all;               /* for some there was no memory: every device with a wish is as good as marked */
        unsigned failures;      /* sweeps in a row after which something was still to be done */
        Map *complaints;        /* number -> Complaint */
};

/* A wish that may come true, if the host does not use the device itself. The device is not kept: adding a LUN may read
 * it again. */
typedef struct Candidate {
        dev_t devnum;
        char *source;
        Wish wish;
        uint32_t number;
        bool added;
} Candidate;

static void number_format(dev_t devnum, char ret[static 24]) {
        (void) snprintf(ret, 24, "%u:%u", major(devnum), minor(devnum));
}

int autoexport_new(Autoexport **ret) {
        _cleanup_(autoexport_freep) Autoexport *a = calloc(1, sizeof *a);

        if (!a)
                return -ENOMEM;

        a->complaints = map_new();
        if (!a->complaints)
                return -ENOMEM;

        *ret = TAKE_PTR(a);
        return 0;
}

static void complaint_free(Complaint *c) {
        free(c->text);
        free(c);
}

Autoexport *autoexport_free(Autoexport *a) {
        Complaint *c;

        if (!a)
                return NULL;

        if (a->complaints)
                MAP_FOREACH(a->complaints, c)
                        complaint_free(c);
        map_free(a->complaints);
        free(a->marked);
        free(a);
        return NULL;
}

static void add_mark(Autoexport *a, dev_t devnum) {
        if (a->n_marked == a->room_marked) {
                size_t room = MAX(a->room_marked * 2, (size_t) 64);
                dev_t *p = realloc(a->marked, room * sizeof *p);

                if (!p) {
                        log_oom();
                        a->all = true;
                        return;
                }
                a->marked = p;
                a->room_marked = room;
        }

        a->marked[a->n_marked++] = devnum;
}

void autoexport_mark(Engine *e, const Device *d) {
        if (isempty(d->wish_target))
                return;

        add_mark(e->autoexport, d->devnum);
        e->autoexport_at = 0;
}

/* It is not the device's fault, so no event of it will come when it is over: the disk that the store is on is full, or there is no memory. */
static void mark_again(Engine *e, const Candidate *c, size_t n) {
        for (size_t i = 0; i < n; i++)
                add_mark(e->autoexport, c[i].devnum);
}

static void retry_later(Engine *e) {
        Autoexport *a = e->autoexport;

        if (a->n_marked == 0 && !a->all) {
                a->failures = 0;
                return;
        }

        a->failures++;
        e->autoexport_at = engine_now(e) + UINT64_C(1000000) * MIN(a->failures, 60U);
        queue_retry_by(e, e->autoexport_at);
}

void autoexport_forget(Engine *e, dev_t devnum) {
        char number[24];
        Complaint *c;

        number_format(devnum, number);
        c = map_remove(e->autoexport->complaints, number);
        if (c)
                complaint_free(c);
}

static int complaint_find(Autoexport *a, dev_t devnum, Complaint **ret) {
        char number[24];
        Complaint *c;
        int r;

        number_format(devnum, number);
        c = map_get(a->complaints, number);
        if (!c) {
                c = calloc(1, sizeof *c);
                if (!c)
                        return -ENOMEM;

                memcpy(c->number, number, sizeof number);
                r = map_put(a->complaints, c->number, c);
                if (r < 0) {
                        free(c);
                        return r;
                }
        }

        *ret = c;
        return 0;
}

/* Once: not again for each event that finds the same. why is no input, or was made printable by those who refused. */
static void complain(Engine *e, dev_t devnum, int level, const char *why) {
        const Device *d = inventory_by_devnum(e->inventory, devnum);
        Complaint *c = NULL;
        int r;

        r = complaint_find(e->autoexport, devnum, &c);
        if (r >= 0)
                r = free_and_strdup(&c->text, why);
        if (r != 0)
                (void) log_full_errno(level, 0, "%s is not exported as a udev rule wishes: %s",
                                      d ? d->dm_name ?: d->name : "A device", why);
}

static bool has_lun(const Engine *e, const Device *d) {
        for (char **k = d->keys; k && *k; k++)
                if (registry_backstore(&e->registry, *k))
                        return true;

        return false;
}

static bool is_foreign_by(const Engine *e, const char *name) {
        const Backstore *b = NULL;

        while ((b = finder_next_disk(&e->registry.finder, name, b)))
                if (!b->source)
                        return true;

        return false;
}

static bool is_foreign(const Engine *e, const Device *d) {
        for (char **k = d->keys; k && *k; k++)
                if (is_foreign_by(e, *k))
                        return true;

        return is_foreign_by(e, d->link);
}

/* Several disks may bear one name; and a path that nobody has told to be one has that of its map. */
static bool is_known_by_identity(const Engine *e, const Device *d) {
        Device *known = NULL;

        return inventory_resolve(e->inventory, d->identity, &known) >= 0 && known == d;
}

static bool disk_is_wished(const Engine *e, const Device *d) {
        const Device *disk = d->disk != 0 ? inventory_by_devnum(e->inventory, d->disk) : NULL;

        return disk && (!isempty(disk->wish_target) || has_lun(e, disk));
}

/* 1: worth a try; 0: not. What is no fault is not said: a path has a wish as soon as a rule goes by what it shares with
 * its map. */
static int consider(Engine *e, const Device *d, Candidate *ret) {
        const char *why = NULL;
        Wish wish;
        int r;

        if (isempty(d->wish_target) || has_lun(e, d)) {
                autoexport_forget(e, d->devnum);
                return 0;
        }

        if (device_verdict(d, NULL) != DEVICE_USABLE)
                return 0;

        r = wish_parse(d, &wish, &why);
        if (r < 0) {
                complain(e, d->devnum, LOG_WARNING, why);
                return 0;
        }

        if (!removed_is_known(e->removed))
                why = "what was removed by hand is not known; see the log of the service's start";
        else if (tombstone_covers(e, d) ||
                 (!registry_target(&e->registry, wish.wwn) && removed_contains(e->removed, wish.wwn)))
                why = "it, or its target, was removed by hand; only adding it by hand brings it back";
        else if (disk_is_wished(e, d))
                why = "it is a partition of a disk that is; let the rule match ENV{DEVTYPE}==\"disk\" only";
        else if (is_foreign(e, d))
                why = "a target that this service did not make has it; remove it there, or adopt that target";
        else if (!is_known_by_identity(e, d))
                why = "another device answers to its name";
        if (why) {
                complain(e, d->devnum, LOG_NOTICE, why);
                return 0;
        }

        *ret = (Candidate) { .devnum = d->devnum, .source = strdup(d->identity), .wish = wish };
        return ret->source ? 1 : -ENOMEM;
}

/* Those of one target together; those that name their number first, so that none of the others takes it. */
static int candidate_compare(const void *a, const void *b) {
        const Candidate *x = a, *y = b;
        int r = strcmp(x->wish.wwn, y->wish.wwn);

        if (r == 0)
                r = (int) y->wish.has_number - (int) x->wish.has_number;
        if (r == 0)
                r = (x->wish.number > y->wish.number) - (x->wish.number < y->wish.number);

        /* Which of several gets the lower number shall not depend on whose event came first in this turn. */
        return r != 0 ? r : strverscmp(x->source, y->source);
}

static int devnum_compare(const void *a, const void *b) {
        dev_t x = *(const dev_t *) a, y = *(const dev_t *) b;

        return (x > y) - (x < y);
}

static void candidates_done(Candidate *c, size_t n) {
        for (size_t i = 0; i < n; i++)
                free(c[i].source);
}

static void complain_all(Engine *e, const Candidate *c, size_t n, const char *why) {
        for (size_t i = 0; i < n; i++)
                complain(e, c[i].devnum, LOG_WARNING, why);
}

static bool add_lun(Engine *e, Target *t, Candidate *c, const Mounts *mounts) {
        LunOptions o = {
                .common = { .timeout = UINT64_MAX, .later = true },
                .has_number = c->wish.has_number,
                .number = c->wish.number,
                .readonly = c->wish.readonly,
                .origin = LUN_UDEV,
                .mounts = mounts,
        };
        _cleanup_(refusal_done) Refusal refusal = {};
        int r;

        r = edit_add_lun(e, t, c->source, &o, &c->number, &refusal);
        if (r == REFUSED)
                complain(e, c->devnum, LOG_WARNING, refusal.text);
        else if (r < 0) {
                log_warning_errno(r, "Cannot export %s", c->source);
                mark_again(e, c, 1);
        }

        c->added = r >= 0;
        return c->added;
}

/* All candidates for one target. */
static void export_to(Engine *e, Candidate *c, size_t n, const Mounts *mounts) {
        CreateOptions create = { .common = { .timeout = UINT64_MAX, .later = true }, .if_absent = true };
        _cleanup_(refusal_done) Refusal refusal = {}, store = {};
        char wwn[WWN_SIZE];
        size_t added = 0;
        bool existing;
        Target *t;
        int r;

        r = edit_create_target(e, c->wish.wwn, &create, &t, &existing, wwn, &refusal);
        if (r < 0) {
                complain_all(e, c, n, r == REFUSED ? refusal.text : strerror(-r));
                if (r != REFUSED || refusal.kind == REFUSAL_STORE_FAILED)
                        mark_again(e, c, n);
                return;
        }

        for (size_t i = 0; i < n; i++)
                added += add_lun(e, t, c + i, mounts);

        if (added == 0) {
                draft_drop(e, t);
                return;
        }

        r = draft_store(e, t, &store);
        if (r < 0) {
                complain_all(e, c, n, r == REFUSED ? store.text : strerror(-r));
                mark_again(e, c, n);
                return;
        }

        for (size_t i = 0; i < n; i++)
                if (c[i].added) {
                        autoexport_forget(e, c[i].devnum);
                        log_info("Target %s: LUN %" PRIu32 " is %s, as a udev rule wishes", t->wwn, c[i].number,
                                 c[i].source);
                }
}

static void export_all(Engine *e, Candidate *c, size_t n) {
        _cleanup_(mounts_freep) Mounts *mounts = NULL;
        size_t end;
        int r;

        r = mounts_new(&mounts);
        if (r < 0) {
                log_warning_errno(r, "Cannot tell what is mounted, so nothing is exported that udev rules wish");
                mark_again(e, c, n);
                return;
        }

        qsort(c, n, sizeof *c, candidate_compare);
        for (size_t begin = 0; begin < n; begin = end) {
                for (end = begin + 1; end < n && streq(c[begin].wish.wwn, c[end].wish.wwn);)
                        end++;
                export_to(e, c + begin, end - begin, mounts);
        }
}

bool autoexport_is_pending(const Engine *e) {
        return e->running && (e->autoexport->n_marked > 0 || e->autoexport->all) && e->autoexport_at == 0;
}

static void mark_all(Engine *e) {
        Autoexport *a = e->autoexport;

        a->all = false;
        for (const Device *d = NULL; !a->all && (d = inventory_next_wish(e->inventory, d));)
                add_mark(a, d->devnum);
}

/* marked: sorted. Returns how many. */
static size_t find_candidates(Engine *e, const dev_t *marked, size_t n, Candidate *candidates) {
        size_t found = 0;

        for (size_t i = 0; i < n; i++) {
                const Device *d = inventory_by_devnum(e->inventory, marked[i]);
                int r;

                if (!d || (i > 0 && marked[i] == marked[i - 1]))
                        continue;

                r = consider(e, d, candidates + found);
                if (r < 0) {
                        log_oom();
                        add_mark(e->autoexport, marked[i]);
                }
                if (r > 0)
                        found++;
        }

        return found;
}

static void sweep(Engine *e, dev_t *marked, size_t n) {
        _cleanup_free_ Candidate *candidates = calloc(n, sizeof *candidates);
        size_t n_candidates;

        if (!candidates) {
                log_oom();
                e->autoexport->all = true;
                return;
        }

        qsort(marked, n, sizeof *marked, devnum_compare);
        n_candidates = find_candidates(e, marked, n, candidates);

        /* Whether a name is one device's alone only all devices tell, and some may be unread: a path's map, which bears the path's WWID. */
        if (n_candidates > 0) {
                candidates_done(candidates, n_candidates);
                hotplug_flush(e);
                n_candidates = find_candidates(e, marked, n, candidates);
        }

        if (n_candidates > 0) {
                record_begin(e, "udev rules");
                export_all(e, candidates, n_candidates);
                record_end(e);
        }
        candidates_done(candidates, n_candidates);
}

void autoexport_sweep(Engine *e) {
        _cleanup_free_ dev_t *marked = NULL;
        Autoexport *a = e->autoexport;
        size_t n;

        if (e->autoexport_at > engine_now(e))
                return;

        e->autoexport_at = 0;
        if (a->all)
                mark_all(e);
        if (a->n_marked > 0) {
                marked = TAKE_PTR(a->marked);
                n = a->n_marked;
                /* Marks that are made from here on are for the next time. */
                a->n_marked = a->room_marked = 0;
                sweep(e, marked, n);
                retry_later(e);
        } else if (a->all)
                retry_later(e);
}
