/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <sys/sysmacros.h>

#include "fake-cfs.h"
#include "life-world.h"

/* What happens to the devices of a host. Here is only what a kernel and udev may do: one who has a device open alone keeps others out, a
 * partition goes with its disk. */

#define MIB (UINT64_C(1) << 20)
#define BIT(minor) (UINT64_C(1) << (minor))

static bool is_open(unsigned m) {
        return fake_block_is_open(makedev(WORLD_MAJOR, m));
}

static void hold(unsigned m, bool held, bool mounted) {
        world.held[m] = held;
        world.mounted[m] = mounted;
        fake_block_set_held(makedev(WORLD_MAJOR, m), held);
}

/* The minor of the entity's first device, or WORLD_MINORS. */
static unsigned find(unsigned entity) {
        unsigned m = 0;

        while (m < WORLD_MINORS && !(world.truth[m].there && world.truth[m].entity == entity))
                m++;

        return m;
}

static unsigned pick_there(Random *r) {
        unsigned there[WORLD_MINORS], n = 0;

        for (unsigned m = 0; m < WORLD_MINORS; m++)
                if (world.truth[m].there)
                        there[n++] = m;

        return n > 0 ? there[random_below(r, n)] : WORLD_MINORS;
}

static unsigned pick_free(Random *r, unsigned entity) {
        unsigned m = world.last_minor[entity];

        if (!world.truth[m].there && random_percent(r, 60))
                return m;

        do
                m = random_below(r, WORLD_MINORS);
        while (world.truth[m].there);

        return m;
}

/* ---- coming and going ---- */

static uint64_t paths_changed(unsigned map_entity) {
        unsigned m = find(map_entity), total = 0;
        Disk *d;

        if (m == WORLD_MINORS)
                return 0;

        for (unsigned p = 0; p < WORLD_MINORS; p++)
                if (world.truth[p].there && world.held[p] && entities[world.truth[p].entity].kind == KIND_PATH &&
                    entities[world.truth[p].entity].of == map_entity)
                        total++;

        d = world.truth + m;
        d->valid = d->valid > (int) total || d->valid == d->total ? (int) total : d->valid;
        d->total = (int) total;
        return BIT(m);
}

/* multipathd takes the paths that it can have. */
static uint64_t claim_paths(unsigned map_entity) {
        uint64_t touched = 0;

        for (unsigned p = 0; p < WORLD_MINORS; p++) {
                Disk *d = world.truth + p;

                if (!d->there || entities[d->entity].kind != KIND_PATH || entities[d->entity].of != map_entity || is_open(p) || world.held[p])
                        continue;
                d->path_member = true;
                hold(p, true, false);
                touched |= BIT(p);
        }

        return touched | paths_changed(map_entity);
}

static uint64_t vanish(unsigned m) {
        Disk *d = world.truth + m;
        unsigned entity = d->entity;
        uint64_t touched = BIT(m);

        if (world.stuck[m])
                world_unstick(m);
        if (entities[entity].kind == KIND_PARENT)
                for (unsigned p = 0; p < WORLD_MINORS; p++)
                        if (world.truth[p].there && entities[world.truth[p].entity].kind == KIND_PARTITION && world.truth[p].parent == m)
                                touched |= vanish(p);

        fake_block_remove(makedev(WORLD_MAJOR, m));
        d->there = world.held[m] = world.mounted[m] = false;

        if (entities[entity].kind == KIND_PATH)
                touched |= paths_changed(entities[entity].of);
        if (entities[entity].kind == KIND_MULTIPATH)
                for (unsigned p = 0; p < WORLD_MINORS; p++)
                        if (world.truth[p].there && world.held[p] && entities[world.truth[p].entity].kind == KIND_PATH &&
                            entities[world.truth[p].entity].of == entity) {
                                world.truth[p].path_member = false;
                                hold(p, false, false);
                                touched |= BIT(p);
                        }

        return touched;
}

static uint64_t appear(Random *r, unsigned entity, unsigned m) {
        const Entity *n = entities + entity;
        Disk *d = world.truth + m;
        char node[WORLD_TEXT];
        uint64_t touched = BIT(m);
        bool map = n->kind == KIND_MULTIPATH || n->kind == KIND_MAP;

        *d = (Disk) {
                .there = true,
                .entity = entity,
                .diskseq = ++world.last_diskseq,
                .size = (4 + random_below(r, 2)) * MIB,
                .initialized = true,
                .ready = true,
                .read_only = random_percent(r, 5),
                .ignored = random_percent(r, 4),
                .valid = -1,
                .total = -1,
                .alias = random_below(r, 3),
                .wish = world.rule[entity],
        };

        /* Not through with it yet. */
        if (random_percent(r, 25))
                switch (random_below(r, 3)) {
                case 0:
                        d->initialized = d->ready = false;
                        break;
                case 1:
                        d->size = 0;
                        break;
                default:
                        if (map)
                                *(random_percent(r, 50) ? &d->suspended : &d->ready) ^= true;
                        break;
                }

        if (n->kind == KIND_PARTITION) {
                d->parent = find(n->of);
                d->diskseq = world.truth[d->parent].diskseq;
        }
        if (n->kind == KIND_PATH)
                d->path_member = random_percent(r, 70);

        snprintf(node, sizeof node, map ? "/dev/dm-%u" : "/dev/fk%u", m);
        fake_block_add(&(FakeBlock) {
                .devnum = makedev(WORLD_MAJOR, m),
                .whole = n->kind == KIND_PARTITION ? makedev(WORLD_MAJOR, d->parent) : 0,
                .node = node,
                .diskseq = d->diskseq,
                .size = 1 << 30,
                .read_only = d->read_only,
        });

        world.last_minor[entity] = m;
        if (n->kind == KIND_MULTIPATH) {
                d->valid = d->total = 0;
                touched |= claim_paths(entity);
        }
        if (n->kind == KIND_PATH && find(n->of) < WORLD_MINORS)
                touched |= claim_paths(n->of);

        world_say("%u:%u #%" PRIu64 " is %s now, size %" PRIu64 "M%s%s%s%s%s%s", WORLD_MAJOR, m, d->diskseq, entity_name(entity), d->size / MIB,
            d->initialized ? "" : " uninitialized", d->ready ? "" : " unready", d->suspended ? " suspended" : "", d->read_only ? " ro" : "",
            d->ignored ? " ignored" : "", d->path_member ? " path" : "");
        return touched;
}

static uint64_t change_appear(Random *r) {
        unsigned entity = random_below(r, n_entities);
        const Entity *n = entities + entity;

        if (n->kind == KIND_PARTITION && find(n->of) == WORLD_MINORS)
                entity = n->of;
        /* Two disks of one name: rare, and the daemon must not choose. */
        if (find(entity) < WORLD_MINORS && !(entities[entity].kind == KIND_DISK && random_percent(r, 8)))
                return 0;

        return appear(r, entity, pick_free(r, entity));
}

static bool may_vanish(unsigned m) {
        /* BLKPG and dmsetup say EBUSY. The rest can be pulled. */
        return !(is_open(m) && entities[world.truth[m].entity].kind == KIND_PARTITION);
}

static uint64_t change_vanish(Random *r) {
        unsigned m = pick_there(r);

        if (m == WORLD_MINORS || !may_vanish(m))
                return 0;

        world_say("%u:%u #%" PRIu64 " (%s) is gone", WORLD_MAJOR, m, world.truth[m].diskseq, entity_name(world.truth[m].entity));
        return vanish(m);
}

/* Gone and there again, as the same or as another, before anybody was told. */
static uint64_t change_replace(Random *r) {
        unsigned m = pick_there(r), entity, other = random_below(r, n_entities);
        uint64_t touched;

        if (m == WORLD_MINORS || !may_vanish(m))
                return 0;

        entity = world.truth[m].entity;
        touched = vanish(m);
        if (random_percent(r, 25) && find(other) == WORLD_MINORS)
                entity = other;
        if (entities[entity].kind == KIND_PARTITION && find(entities[entity].of) == WORLD_MINORS)
                return touched;

        return touched | appear(r, entity, random_percent(r, 70) ? m : pick_free(r, entity));
}

/* ---- changes of what is there ---- */

void world_unstick(unsigned m) {
        world.stuck[m] = false;
        fake_block_set_suspended(makedev(WORLD_MAJOR, m), false);
}

static uint64_t change_map(Random *r, unsigned m) {
        Disk *d = world.truth + m;
        unsigned what = random_below(r, 10);

        if (what < 4) {
                d->suspended = !d->suspended;
                if (!d->suspended && world.stuck[m])
                        world_unstick(m);
                /* Rare: who unlinks a LUN then waits, and that takes its time. */
                if (d->suspended && random_below(r, 25) == 0) {
                        world.stuck[m] = true;
                        fake_block_set_suspended(makedev(WORLD_MAJOR, m), true);
                }
                world_say("%u:%u %s%s", WORLD_MAJOR, m, d->suspended ? "suspended" : "resumed", world.stuck[m] ? " with I/O in it" : "");
        } else if (what < 6) {
                d->alias = random_below(r, 3);
                world_say("%u:%u renamed %u", WORLD_MAJOR, m, d->alias);
        } else if (what < 7) {
                d->ready = !d->ready;
                world_say("%u:%u %s", WORLD_MAJOR, m, d->ready ? "ready" : "not ready");
        } else if (d->total > 0) {
                d->valid = (int) random_below(r, (unsigned) d->total + 1);
                world_say("%u:%u has %d of %d paths", WORLD_MAJOR, m, d->valid, d->total);
        }

        return BIT(m);
}

static uint64_t change_holder(Random *r, unsigned m) {
        const Entity *n = entities + world.truth[m].entity;

        /* Of a disk and its partitions none is exported while the other is held: left to test-engine. */
        if (is_open(m) || world.truth[m].path_member || n->kind == KIND_PARENT || (n->kind == KIND_PARTITION && world.rule[n->of] != 0))
                return 0;

        hold(m, !world.held[m], !world.held[m] && random_percent(r, 50));
        world_say("%u:%u is %s", WORLD_MAJOR, m, world.mounted[m] ? "mounted" : world.held[m] ? "held" : "let go");
        return random_percent(r, 50) ? BIT(m) : 0;      /* as a rule there is no event for it */
}

static uint64_t change_rule(Random *r, unsigned m) {
        unsigned entity = world.truth[m].entity;

        /* A disk and its partitions keep theirs: the disk's keeps rules from its partitions. */
        if (entities[entity].kind == KIND_PARENT || (entities[entity].kind == KIND_PARTITION && world.rule[entities[entity].of] != 0))
                return 0;

        world.rule[entity] = random_percent(r, 35) ? 0 : random_below(r, n_wishes);
        world.truth[m].wish = world.rule[entity];
        world_say("%u:%u wish %u: %s", WORLD_MAJOR, m, world.truth[m].wish, wishes[world.truth[m].wish].target ?: "none");
        return BIT(m);
}

static uint64_t change_path(unsigned m) {
        Disk *d = world.truth + m;
        unsigned map = entities[d->entity].of;

        if (find(map) < WORLD_MINORS && !world.held[m] && !is_open(m)) {
                world_say("%u:%u joins %s", WORLD_MAJOR, m, entity_name(map));
                return claim_paths(map);
        }

        if (world.held[m])
                hold(m, false, false);
        d->path_member = !d->path_member && !is_open(m);
        world_say("%u:%u %s", WORLD_MAJOR, m, d->path_member ? "becomes a path" : "is no path any more");
        return BIT(m) | paths_changed(map);
}

static uint64_t change_state(Random *r) {
        unsigned m = pick_there(r), what = random_below(r, 100);
        Disk *d = world.truth + m;

        if (m == WORLD_MINORS)
                return 0;

        if (!d->initialized || d->size == 0 || (!d->ready && what < 50)) {
                d->initialized = d->ready = true;
                d->size = d->size ?: 4 * MIB;
                world_say("%u:%u is through, size %" PRIu64 "M", WORLD_MAJOR, m, d->size / MIB);
                return BIT(m);
        }

        if (what < 35 && (entities[d->entity].kind == KIND_MULTIPATH || entities[d->entity].kind == KIND_MAP))
                return change_map(r, m);
        if (what < 35 && entities[d->entity].kind == KIND_PATH)
                return change_path(m);
        if (what < 50)
                return change_rule(r, m);
        if (what < 60)
                return change_holder(r, m);

        if (what < 70) {
                d->read_only = !d->read_only;
                fake_block_set_read_only(makedev(WORLD_MAJOR, m), d->read_only);
                world_say("%u:%u is %s now", WORLD_MAJOR, m, d->read_only ? "read-only" : "writable");
        } else if (what < 76) {
                d->ignored = !d->ignored;
                world_say("%u:%u is %s", WORLD_MAJOR, m, d->ignored ? "ignored" : "not ignored any more");
        } else if (what < 84) {
                d->size += d->size < 8 * MIB ? MIB : 0;
                world_say("%u:%u grows to %" PRIu64 "M", WORLD_MAJOR, m, d->size / MIB);
        } else if (what < 88) {
                d->size -= d->size > 2 * MIB ? MIB : 0;
                world_say("%u:%u shrinks to %" PRIu64 "M", WORLD_MAJOR, m, d->size / MIB);
        } else
                world_say("%u:%u has an event for nothing", WORLD_MAJOR, m);

        return BIT(m);
}

uint64_t world_change(Random *r) {
        unsigned what = random_below(r, 100);

        if (what < 32)
                return change_appear(r);
        if (what < 44)
                return change_vanish(r);
        if (what < 54)
                return change_replace(r);

        return change_state(r);
}
