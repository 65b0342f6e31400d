/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>

#include "life-oracle.h"

/* ---- what is linked on what ---- */

static bool is_related(const OracleLun *l, unsigned m) {
        return (l->linked && l->minor == m) || disk_has_key(world.view + m, m, l->source) || disk_has_key(world.truth + m, m, l->source);
}

static void mark_dubious(bool faulty) {
        FOREACH_TARGET(t) {
                t->dubious = t->there && (t->dubious || faulty || (!t->wanted && t->attached));

                FOREACH_LUN(t, l) {
                        l->dubious = l->dubious || faulty || (!l->wanted && t->attached);
                        for (unsigned m = 0; m < WORLD_MINORS; m++)
                                if (is_related(l, m) && (!world_is_known(m) || (world.stuck[m] && !l->wanted)))
                                        l->dubious = true;
                }
        }

        /* A backstore is in one pass's hands at a time: who waits for one that hangs, waits. */
        FOREACH_TARGET(t)
                FOREACH_LUN(t, l)
                        if (!l->wanted && l->linked && world.stuck[l->minor]) {
                                t->dubious = t->dubious || !t->wanted;
                                FOREACH_TARGET(u)
                                        FOREACH_LUN(u, k)
                                                if (streq(k->source, l->source))
                                                        k->dubious = true;
                        }
}

static bool must_linger(const OracleTarget *t, const OracleLun *l) {
        return l->linked && oracle_instance_exists(l->minor, l->diskseq) &&
               (world.stuck[l->minor] || (t->attached && !l->force && !t->force));
}

static bool is_open_by(const OracleLun *l, unsigned minor, uint64_t diskseq) {
        FOREACH_TARGET(t)
                FOREACH_LUN(t, k)
                        if (k != l && k->linked && k->minor == minor && k->diskseq == diskseq && streq(k->source, l->source))
                                return true;

        return false;
}

/* What must never be, whatever the daemon knows or does not know. */
static char *check_safety(unsigned target, unsigned number, const OracleLun *l, const SeenLun *s) {
        bool was = l->there && l->linked, exists = was && oracle_instance_exists(l->minor, l->diskseq);
        bool same = was && s->linked && s->minor == l->minor && s->diskseq == l->diskseq;

        if (exists && l->wanted && (!same || s->unlinked > 0))
                return g_strdup_printf("LUN %u of %s was taken down (%u times), though it is wanted and %u:%u #%" PRIu64 " is there", number,
                                       world_wwns[target], s->unlinked, WORLD_MAJOR, l->minor, l->diskseq);
        if (s->unlinked > 1 || (s->unlinked > 0 && !was))
                return g_strdup_printf("LUN %u of %s was linked and unlinked at once", number, world_wwns[target]);
        if (s->linked && !l->there)
                return g_strdup_printf("LUN %u of %s is linked, and nobody wants it", number, world_wwns[target]);
        if (!s->linked || same)
                return NULL;
        if (!l->wanted)
                return g_strdup_printf("LUN %u of %s came up, and is not wanted", number, world_wwns[target]);
        /* What a sister has open is not opened again, nor looked at. */
        if (is_open_by(l, s->minor, s->diskseq))
                return NULL;
        if (!oracle_instance_exists(s->minor, s->diskseq))
                return g_strdup_printf("LUN %u of %s came up on %u:%u #%" PRIu64 ", which is gone", number, world_wwns[target], WORLD_MAJOR,
                                       s->minor, s->diskseq);
        if (!l->readonly && world.truth[s->minor].read_only)
                return g_strdup_printf("LUN %u of %s writes to a read-only device", number, world_wwns[target]);
        return NULL;
}

/* Another source has the instance open, or had it when this one may have tried. */
static bool is_taken(const OracleLun *l, unsigned m, const Seen *seen, bool *ret_rival) {
        *ret_rival = false;
        for (unsigned i = 0; i < WORLD_TARGETS; i++)
                for (unsigned n = 0; n < ORACLE_LUNS; n++) {
                        const OracleLun *other = oracle.targets[i].luns + n;
                        const SeenLun *s = seen->targets[i].luns + n;

                        if (!other->there || streq(other->source, l->source))
                                continue;
                        if (other->linked && other->minor == m && oracle_instance_exists(m, other->diskseq)) {
                                if (other->wanted || s->linked)
                                        return true;
                                *ret_rival = true;
                        }
                        if (s->linked && s->minor == m && s->diskseq == world.truth[m].diskseq)
                                *ret_rival = true;
                }

        return false;
}

/* The instance that the backstore of a source has open, for another LUN. */
static const OracleLun *open_sister(const OracleLun *l) {
        FOREACH_TARGET(t)
                FOREACH_LUN(t, k)
                        if (k != l && k->linked && streq(k->source, l->source) && oracle_instance_exists(k->minor, k->diskseq))
                                return k;

        return NULL;
}

typedef struct Expected {
        bool linked, either;
        unsigned minor;
        uint64_t diskseq;
        const char *code;
        bool busy;
} Expected;

static Expected expect(const OracleTarget *t, const OracleLun *l, const Seen *seen, bool healed) {
        const Expected stays = { .linked = true, .minor = l->minor, .diskseq = l->diskseq };
        const OracleLun *sister;
        Expected e = {};
        bool rival;
        unsigned m;

        if (!l->wanted)
                return must_linger(t, l) ? stays : e;
        if (l->linked && oracle_instance_exists(l->minor, l->diskseq))
                return stays;

        m = oracle_resolve(l->source);
        if (m == WORLD_MINORS || !oracle_is_usable(world.view + m))
                return e;
        if (!oracle_fits(l, world.view + m, m)) {
                e.code = "DeviceUnsafe";
                return e;
        }

        sister = open_sister(l);
        if (sister) /* one that goes may go first, and leave the choice */
                return (Expected) {
                        .linked = true,
                        .minor = sister->minor,
                        .diskseq = sister->diskseq,
                        .either = !sister->wanted && sister->minor != m,
                };

        e.minor = m;
        e.diskseq = world.truth[m].diskseq;
        e.busy = is_taken(l, m, seen, &rival) || world.held[m];
        e.code = e.busy ? "DeviceBusy" : NULL;
        e.linked = !e.busy;
        e.either = !e.busy && (rival || (l->busy && !healed));
        return e;
}

static char *settle_lun(unsigned target, unsigned number, const Seen *seen, const Expected *e) {
        OracleLun *l = oracle.targets[target].luns + number;
        const SeenLun *s = seen->targets[target].luns + number;

        if (!l->dubious && !e->either &&
            (e->linked != s->linked || (s->linked && (e->minor != s->minor || e->diskseq != s->diskseq))))
                return g_strdup_printf("LUN %u of %s (%s) is %s (%u:%u #%" PRIu64 "), should be %s (%u:%u #%" PRIu64 ")%s%s", number,
                                       world_wwns[target], l->source, s->linked ? "linked" : "not linked", WORLD_MAJOR, s->minor, s->diskseq,
                                       e->linked ? "linked" : "not linked", WORLD_MAJOR, e->minor, e->diskseq, e->code ? " " : "",
                                       e->code ?: "");

        l->busy = e->busy || (e->either && !s->linked);
        l->code = e->either && !s->linked ? "DeviceBusy" : e->code;
        l->linked = s->linked;
        l->minor = s->minor;
        l->diskseq = s->diskseq;

        if (l->wanted)
                return NULL;
        if (!l->dubious && s->known != e->linked)
                return g_strdup_printf("LUN %u of %s is unwanted and %s", number, world_wwns[target], s->known ? "still there" : "gone already");
        if (!s->known && s->linked)
                return g_strdup_printf("LUN %u of %s is linked, and forgotten", number, world_wwns[target]);
        if (!s->known)
                *l = (OracleLun) {};
        return NULL;
}

static gboolean promise_is_stale(void *source, void *value, void *userdata) {
        return !oracle_lun_on(source);
}

static char *settle_target(unsigned target, const Seen *seen) {
        OracleTarget *t = oracle.targets + target;
        bool known = seen->targets[target].known;
        unsigned n = 0;

        if (!t->there || t->wanted)
                return NULL;

        FOREACH_LUN(t, l)
                n++;
        if (!t->dubious && known != (n > 0 || t->attached))
                return g_strdup_printf("Target %s was destroyed, and is %s", world_wwns[target], known ? "still there" : "gone already");
        if (!known)
                *t = (OracleTarget) {};
        return NULL;
}

char *oracle_settle(const Seen *seen, bool faulty, bool healed) {
        static Expected expected[WORLD_TARGETS][ORACLE_LUNS];
        char *wrong = NULL;

        if (healed)
                FOREACH_TARGET(t) {
                        t->dubious = false;
                        FOREACH_LUN(t, l)
                                l->dubious = false;
                }
        else
                mark_dubious(faulty);
        if (healed)
                FOREACH_TARGET(t)
                        FOREACH_LUN(t, l)
                                for (unsigned m = 0; m < WORLD_MINORS; m++)
                                        l->dubious = l->dubious || (world.stuck[m] && is_related(l, m));

        /* All of it first, from what was before; then each. */
        for (unsigned i = 0; i < WORLD_TARGETS && !wrong; i++)
                for (unsigned n = 0; n < ORACLE_LUNS && !wrong; n++) {
                        wrong = check_safety(i, n, oracle.targets[i].luns + n, seen->targets[i].luns + n);
                        if (oracle.targets[i].luns[n].there)
                                expected[i][n] = expect(oracle.targets + i, oracle.targets[i].luns + n, seen, healed);
                }
        for (unsigned i = 0; i < WORLD_TARGETS && !wrong; i++) {
                for (unsigned n = 0; n < ORACLE_LUNS && !wrong; n++)
                        if (oracle.targets[i].luns[n].there)
                                wrong = settle_lun(i, n, seen, &expected[i][n]);
                if (!wrong)
                        wrong = settle_target(i, seen);
        }

        for (unsigned i = 0; i < WORLD_TARGETS; i++)
                for (unsigned n = 0; n < ORACLE_LUNS; n++)
                        if (oracle.targets[i].luns[n].there) {
                                oracle.targets[i].luns[n].noticed = seen->targets[i].luns[n].noticed;
                                oracle_note(oracle.targets[i].luns + n);
                        }
        g_hash_table_foreach_remove(oracle.promises, promise_is_stale, NULL);
        oracle_stored();
        return wrong;
}

LunState oracle_state(const OracleLun *l) {
        DeviceHealth h = oracle_health(l);

        if (!l->wanted)
                return LUN_DRAINING;
        if (l->linked)
                return h == HEALTH_NO_PATH || h == HEALTH_SUSPENDED || h == HEALTH_READ_ONLY || h == HEALTH_GONE ? LUN_DEGRADED : LUN_ONLINE;

        return l->code ? LUN_FAILED : LUN_WAITING;
}

/* Of the device that is linked. */
DeviceHealth oracle_health(const OracleLun *l) {
        const Disk *d = world.view + l->minor;

        if (!d->there || d->diskseq != l->diskseq)
                return HEALTH_GONE;
        if (d->suspended)
                return HEALTH_SUSPENDED;
        if (d->total == 0 || d->valid == 0)
                return HEALTH_NO_PATH;
        if (d->read_only && !l->readonly)
                return HEALTH_READ_ONLY;

        return d->valid >= 0 && d->valid < d->total ? HEALTH_DEGRADED : HEALTH_OK;
}

bool oracle_is_exact(void) {
        FOREACH_TARGET(t) {
                if (t->dubious)
                        return false;
                FOREACH_LUN(t, l)
                        if (l->dubious)
                                return false;
        }

        return true;
}
