/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>

#include "life-oracle.h"

Oracle oracle;

void oracle_init(void) {
        oracle = (Oracle) {
                .promises = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free),
                .removed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
        };
}

void oracle_done(void) {
        g_hash_table_unref(oracle.promises);
        g_hash_table_unref(oracle.removed);
}

/* ---- which device a name means, and what it is good for ---- */

/* The daemon's view: a map goes before a disk, and a path stands for none but itself. WORLD_MINORS: none; *ret_ambiguous: several. */
static unsigned resolve(const char *source, bool *ret_ambiguous) {
        unsigned best = WORLD_MINORS, n = 0;
        int best_rank = -1;

        for (unsigned m = 0; m < WORLD_MINORS; m++) {
                const Disk *d = world.view + m;
                Kind k = entities[d->entity].kind;
                int rank = d->path_member ? 0 : k == KIND_MULTIPATH ? 3 : k == KIND_MAP ? 2 : 1;

                if (!disk_has_key(d, m, source) || rank < best_rank)
                        continue;
                n = rank > best_rank ? 1 : n + 1;
                best_rank = rank;
                best = m;
        }

        *ret_ambiguous = false;
        if (best_rank == 0 && (g_str_has_prefix(source, "wwid=") || (g_str_has_prefix(source, "by-id=") && n > 1)))
                return WORLD_MINORS;
        *ret_ambiguous = n > 1;
        return n == 1 ? best : WORLD_MINORS;
}

unsigned oracle_resolve(const char *source) {
        bool ambiguous;

        return resolve(source, &ambiguous);
}

static bool is_ready(const Disk *d) {
        return d->there && d->initialized && d->size > 0 && !d->suspended && d->ready;
}

bool oracle_is_usable(const Disk *d) {
        return is_ready(d) && !d->ignored && !d->path_member;
}

static void identity_of(unsigned m, char ret[static WORLD_TEXT]) {
        Keys k;

        disk_keys(world.view + m, m, &k);
        memcpy(ret, k.text[0], WORLD_TEXT);
}

bool oracle_instance_exists(unsigned minor, uint64_t diskseq) {
        return world.truth[minor].there && world.truth[minor].diskseq == diskseq;
}

const Promise *oracle_promise(const char *source) {
        return g_hash_table_lookup(oracle.promises, source);
}

bool oracle_fits(const OracleLun *l, const Disk *d, unsigned m) {
        const Promise *p = oracle_promise(l->source);

        if (p && p->identity[0] && !disk_has_key(d, m, p->identity))
                return false;
        if (p && p->size > 0 && !p->identity[0] && g_str_has_prefix(l->source, "path=")) {
                Keys k;

                disk_keys(d, m, &k);
                if (!g_str_has_prefix(k.text[0], "path="))
                        return false;
        }

        return !(p && d->size < p->size) && (l->readonly || !d->read_only);
}

/* What the guests of a linked LUN see becomes what they were promised. */
void oracle_note(const OracleLun *l) {
        Promise *p = g_hash_table_lookup(oracle.promises, l->source);
        const Disk *d = world.view + l->minor;
        char identity[WORLD_TEXT];

        if (!l->noticed || !d->there || d->diskseq != l->diskseq)
                return;

        p->size = MAX(p->size, d->size);
        identity_of(l->minor, identity);
        if (!p->identity[0] && !g_str_has_prefix(identity, "path=") && !streq(identity, l->source))
                memcpy(p->identity, identity, sizeof identity);
}

void oracle_stored(void) {
        GHashTableIter i;
        gpointer value;

        g_hash_table_iter_init(&i, oracle.promises);
        while (g_hash_table_iter_next(&i, NULL, &value)) {
                Promise *p = value;

                p->stored_size = p->size;
                memcpy(p->stored_identity, p->identity, sizeof p->identity);
        }
}

/* LUNs on a source; *ret_unwanted: how many of them go. */
static unsigned count_source(const char *source, unsigned *ret_unwanted) {
        unsigned n = 0;

        *ret_unwanted = 0;
        FOREACH_TARGET(t)
                FOREACH_LUN(t, l)
                        if (streq(l->source, source)) {
                                n++;
                                *ret_unwanted += !l->wanted;
                        }

        return n;
}

const OracleLun *oracle_lun_on(const char *source) {
        FOREACH_TARGET(t)
                FOREACH_LUN(t, l)
                        if (streq(l->source, source))
                                return l;

        return NULL;
}

static bool has_lun(const Disk *d, unsigned m) {
        Keys k;

        disk_keys(d, m, &k);
        for (unsigned i = 0; i < k.n; i++)
                if (oracle_lun_on(k.text[i]))
                        return true;

        return false;
}

static bool is_ours_open(unsigned m) {
        FOREACH_TARGET(t)
                FOREACH_LUN(t, l)
                        if (l->linked && l->minor == m && oracle_instance_exists(m, l->diskseq))
                                return true;

        return false;
}

/* ---- calls ---- */

unsigned oracle_create(unsigned target, const char *label) {
        OracleTarget *t = oracle.targets + target;

        if (t->there || target == WORLD_FOREIGN)
                return 1U << REFUSAL_ALREADY_EXISTS;

        *t = (OracleTarget) { .there = true, .wanted = true };
        g_strlcpy(t->label, label, sizeof t->label);
        g_hash_table_remove(oracle.removed, world_wwns[target]);
        return 0;
}

static bool rule_wants(const OracleLun *l) {
        unsigned m = oracle_resolve(l->source);

        return l->by_rule || (m < WORLD_MINORS && world.view[m].initialized && world.view[m].wish != 0);
}

unsigned oracle_destroy(unsigned target, bool force, bool seen_attached) {
        OracleTarget *t = oracle.targets + target;
        bool wished = false;

        if (target == WORLD_FOREIGN)
                return 1U << REFUSAL_FOREIGN;
        if (seen_attached && !force)
                return 1U << REFUSAL_IN_USE;

        FOREACH_LUN(t, l)
                if (l->wanted && rule_wants(l)) {
                        g_hash_table_add(oracle.removed, g_strdup(l->source));
                        wished = true;
                }
        for (unsigned m = 0; m < WORLD_MINORS; m++)
                wished = wished || (world.view[m].there && world.view[m].initialized && wishes[world.view[m].wish].target &&
                                    wishes[world.view[m].wish].index == (int) target);
        if (wished)
                g_hash_table_add(oracle.removed, g_strdup(world_wwns[target]));

        t->wanted = false;
        t->force = t->force || force;
        FOREACH_LUN(t, l) {
                l->wanted = false;
                l->force = l->force || t->force;
        }
        return 0;
}

/* Why the host itself keeps the device. */
static unsigned device_refusals(unsigned m, bool readonly) {
        const Disk *d = world.view + m;
        unsigned why = 0;

        if (world.truth[m].there && world.held[m] && entities[world.truth[m].entity].kind == KIND_PATH)
                why |= 1U << REFUSAL_DEVICE_IS_PATH_MEMBER;
        if (!is_ready(d))
                return why;
        if (d->path_member)
                why |= 1U << REFUSAL_DEVICE_IS_PATH_MEMBER;
        if (d->ignored)
                why |= 1U << REFUSAL_DEVICE_UNSAFE;
        if (world.truth[m].there && world.held[m] && !is_ours_open(m))
                why |= 1U << (world.mounted[m] ? REFUSAL_DEVICE_UNSAFE : REFUSAL_DEVICE_BUSY);
        if (d->read_only && !readonly)
                why |= 1U << REFUSAL_DEVICE_UNSAFE;
        return why;
}

static unsigned shared_refusals(const char *source, const AddCall *call, unsigned *ret_either) {
        const OracleLun *other = oracle_lun_on(source);
        unsigned why = 0, unwanted;

        *ret_either = 0;
        if (!other)
                return 0;

        if (count_source(source, &unwanted) == unwanted)
                return 1U << REFUSAL_LUN_CONFLICT;
        if (unwanted > 0)
                *ret_either = ORACLE_EITHER | 1U << REFUSAL_LUN_CONFLICT;
        if (!call->shareable)
                why |= 1U << REFUSAL_ALREADY_EXISTS;
        if (other->readonly != call->readonly)
                why |= 1U << REFUSAL_LUN_CONFLICT;
        return why | (why ? *ret_either & ~ORACLE_EITHER : 0);
}

/* The same disk under another of its names is the same disk, and goes by the name that a LUN has for it: its best one, even where that does
 * not lead here (a path has the disk's), before those that do. */
static void known_name(unsigned m, char ret[static WORLD_TEXT]) {
        Keys k;

        disk_keys(world.view + m, m, &k);
        memcpy(ret, k.text[0], WORLD_TEXT);
        if (oracle_lun_on(ret))
                return;

        for (unsigned i = 1; i < k.n; i++)
                if (oracle_lun_on(k.text[i]) && oracle_resolve(k.text[i]) == m) {
                        memcpy(ret, k.text[i], WORLD_TEXT);
                        return;
                }
}

static void forget_tombstones(unsigned m, const char *source) {
        Keys k;

        g_hash_table_remove(oracle.removed, source);
        if (m == WORLD_MINORS)
                return;

        disk_keys(world.view + m, m, &k);
        for (unsigned i = 0; i < k.n; i++)
                g_hash_table_remove(oracle.removed, k.text[i]);
}

unsigned oracle_add(unsigned target, const AddCall *call, bool either_refused, unsigned *ret_number) {
        OracleTarget *t = oracle.targets + target;
        char source[WORLD_TEXT];
        unsigned m, number = (unsigned) call->number, why = 0, either = 0;
        bool ambiguous;
        OracleLun *l;

        m = resolve(call->source, &ambiguous);
        g_strlcpy(source, call->source, sizeof source);
        if (m < WORLD_MINORS)
                known_name(m, source);

        if (target == WORLD_FOREIGN)
                why |= 1U << REFUSAL_FOREIGN;
        else if (!t->wanted)
                why |= 1U << REFUSAL_NOT_FOUND;
        if (call->number >= 16384)
                why |= 1U << REFUSAL_LUN_OUT_OF_RANGE;
        else if (call->number >= 0 && t->luns[number].there)
                why |= 1U << REFUSAL_LUN_CONFLICT;
        if (ambiguous)
                why |= 1U << REFUSAL_INVALID_SOURCE;
        /* Such a name is looked up in /dev, where the test has nothing. */
        if (g_str_has_prefix(call->source, "path="))
                why |= 1U << REFUSAL_DEVICE_NOT_FOUND;
        if (m < WORLD_MINORS)
                why |= device_refusals(m, call->readonly);
        why |= shared_refusals(source, call, &either);
        if (why == 0 && (either & ORACLE_EITHER) && either_refused)
                return either;
        if (why != 0)
                return why;

        if (call->number < 0)
                for (number = 0; t->luns[number].there;)
                        number++;
        g_assert_cmpuint(number, <, ORACLE_LUNS);

        if (!oracle_lun_on(source)) {
                Promise *p = g_new0(Promise, 1);

                if (m < WORLD_MINORS && oracle_is_usable(world.view + m))
                        p->size = p->stored_size = world.view[m].size;
                g_hash_table_replace(oracle.promises, g_strdup(source), p);
        }

        l = t->luns + number;
        *l = (OracleLun) { .there = true, .wanted = true, .readonly = call->readonly, .by_rule = call->by_rule };
        memcpy(l->source, source, sizeof source);
        if (!call->by_rule)
                forget_tombstones(m, source);
        *ret_number = number;
        return either;
}

unsigned oracle_remove(unsigned target, unsigned number, bool force, bool seen_attached) {
        OracleTarget *t = oracle.targets + target;
        OracleLun *l = t->luns + number;

        if (target == WORLD_FOREIGN)
                return 1U << REFUSAL_FOREIGN;
        if (seen_attached && l->noticed && !force)
                return 1U << REFUSAL_IN_USE;

        if (rule_wants(l))
                g_hash_table_add(oracle.removed, g_strdup(l->source));
        l->wanted = false;
        l->force = l->force || force;
        return 0;
}

/* ---- rules of udev ---- */

void oracle_told(unsigned minor) {
        oracle.told[minor] = true;
        FOREACH_TARGET(t)
                FOREACH_LUN(t, l)
                        if (l->minor == minor && disk_has_key(world.view + minor, minor, l->source))
                                oracle_note(l);
}

void oracle_restarted(void) {
        memset(oracle.told, 0, sizeof oracle.told);
        FOREACH_TARGET(t)
                FOREACH_LUN(t, l)
                        l->noticed = false;
}

void oracle_loaded(const char *source, uint64_t size, const char *identity) {
        Promise *p = g_hash_table_lookup(oracle.promises, source);

        if (p && size == p->stored_size)
                p->size = size;
        if (p && streq(identity, p->stored_identity))
                memcpy(p->identity, p->stored_identity, sizeof p->identity);
}

typedef struct Candidate {
        unsigned minor;
        const Wish *wish;
        char identity[WORLD_TEXT];
} Candidate;

static bool was_removed(const Disk *d, unsigned m) {
        Keys k;

        disk_keys(d, m, &k);
        for (unsigned i = 0; i < k.n; i++)
                if ((i == 0 || !g_str_has_prefix(k.text[i], "path=")) && g_hash_table_contains(oracle.removed, k.text[i]))
                        return true;

        return false;
}

static bool disk_is_wished(const Disk *d) {
        const Disk *disk = world.view + d->parent;

        return entities[d->entity].kind == KIND_PARTITION && disk->there && ((disk->initialized && disk->wish != 0) || has_lun(disk, d->parent));
}

static bool is_candidate(unsigned m, Candidate *ret) {
        const Disk *d = world.view + m;
        const Wish *w = wishes + d->wish;

        if (!oracle_is_usable(d) || !w->target || w->index < 0 || has_lun(d, m) || was_removed(d, m) || disk_is_wished(d))
                return false;
        if (!oracle.targets[w->index].there && g_hash_table_contains(oracle.removed, world_wwns[w->index]))
                return false;

        *ret = (Candidate) { .minor = m, .wish = w };
        identity_of(m, ret->identity);
        return oracle_resolve(ret->identity) == m;
}

static int candidate_compare(const void *a, const void *b) {
        const Candidate *x = a, *y = b;
        int r = strcmp(world_wwns[x->wish->index], world_wwns[y->wish->index]);

        if (r == 0)
                r = !x->wish->number - !y->wish->number;
        if (r == 0 && x->wish->number)
                r = atoi(x->wish->number) - atoi(y->wish->number);
        return r ?: strverscmp(x->identity, y->identity);
}

void oracle_sweep(void) {
        Candidate c[WORLD_MINORS];
        size_t n = 0;

        for (unsigned m = 0; m < WORLD_MINORS; m++) {
                if (oracle.told[m] && is_candidate(m, c + n))
                        n++;
                oracle.told[m] = false;
        }

        qsort(c, n, sizeof *c, candidate_compare);
        for (size_t i = 0; i < n; i++) {
                unsigned target = (unsigned) c[i].wish->index, number;
                OracleTarget *t = oracle.targets + target;
                bool made = !t->there && oracle_create(target, "") == 0;

                /* A target is made for what is really added. */
                if (oracle_add(target, &(AddCall) {
                                    .source = c[i].identity,
                                    .number = c[i].wish->number ? atoi(c[i].wish->number) : -1,
                                    .readonly = streq_ptr(c[i].wish->readonly, "1"),
                                    .by_rule = true,
                            }, true, &number) != 0 && made)
                        *t = (OracleTarget) {};
        }
}
