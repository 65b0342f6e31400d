/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>

#include "base/strv.h"
#include "fake-cfs.h"
#include "life-run.h"

/* What an admin does, and what he should be told. */

static void kinds(unsigned why, char *ret, size_t size) {
        snprintf(ret, size, why ? "refused (" : "accepted");
        for (unsigned k = 0; k < _REFUSAL_MAX; k++)
                if (why & 1U << k)
                        g_strlcat(g_strlcat(ret, refusal_short_name(k), size) < size ? ret : ret, " ", size);
        if (why)
                g_strlcat(ret, ")", size);
}

static char *compare_call(const char *call, int r, const Refusal *refusal, unsigned why) {
        char should[256];

        world_say("%s: %s", call, r == REFUSED ? refusal_short_name(refusal->kind) : r < 0 ? strerror(-r) : "ok");
        if (r == REFUSED ? why & 1U << refusal->kind : r == 0 && why == 0)
                return NULL;

        kinds(why, should, sizeof should);
        return g_strdup_printf("%s: %s (%s), should be %s", call, r == REFUSED ? refusal_short_name(refusal->kind) : "accepted",
                               strempty(refusal->text), should);
}

static Target *pick_target(unsigned *ret) {
        *ret = random_below(&life.chance, random_percent(&life.chance, 5) ? WORLD_TARGETS : WORLD_FOREIGN);
        return registry_target(&life.fixture.engine.registry, world_wwns[*ret]);
}

/* Everything settled, the bus asks who is attached before it takes something down. *ret: the target, or NULL. */
static char *probe(unsigned *ret_target, Target **ret) {
        _cleanup_(strv_freep) char **dirs = NULL;
        g_autofree char *path = NULL;
        const OracleTarget *o;
        TargetEndpoint should;
        char *wrong;
        Target *t;
        bool exact;

        *ret = NULL;
        wrong = life_settle(false);
        t = wrong ? NULL : pick_target(ret_target);
        if (!t || t->foreign) {
                *ret = t;
                return wrong;
        }

        /* The pass also does what waits for its time. */
        registry_mark_probe(&life.fixture.engine.registry, t);
        wrong = life_settle(false);
        t = wrong ? NULL : registry_target(&life.fixture.engine.registry, world_wwns[*ret_target]);
        if (!t)
                return wrong;

        o = oracle.targets + *ret_target;
        exact = !o->dubious;
        for (unsigned n = 0; n < ORACLE_LUNS; n++)
                exact = exact && !(o->luns[n].there && o->luns[n].dubious);

        /* It is asked by the directory of a LUN, and one that a failed step left will do. */
        path = g_strdup_printf("vhost/%s/tpgt_1/lun", t->wwn);
        dirs = fake_children(path);
        should = !dirs[0] ? ENDPOINT_UNKNOWN : o->attached ? ENDPOINT_ATTACHED : ENDPOINT_IDLE;
        if (exact && t->endpoint != should)
                return g_strdup_printf("The endpoint of %s is %s, should be %s", t->wwn, target_endpoint_to_string(t->endpoint),
                                       target_endpoint_to_string(should));
        *ret = t;
        return NULL;
}

char *life_create(void) {
        CreateOptions o = { .common.timeout = UINT64_MAX, .nexus = "naa.5001405000000001" };
        _cleanup_(refusal_done) Refusal refusal = {};
        g_autofree char *label = g_strdup_printf("made by event %" PRIu64, life.event), *call = NULL;
        char canonical[WWN_SIZE];
        unsigned target;
        bool existing;
        Target *t;
        int r;

        (void) pick_target(&target);
        call = g_strdup_printf("create %s", world_wwns[target]);
        o.label = label;
        r = edit_create_target(&life.fixture.engine, world_wwns[target], &o, &t, &existing, canonical, &refusal);
        return compare_call(call, r, &refusal, oracle_create(target, label));
}

char *life_label(void) {
        EditOptions o = { .timeout = UINT64_MAX };
        _cleanup_(refusal_done) Refusal refusal = {};
        g_autofree char *label = g_strdup_printf("named by event %" PRIu64, life.event), *call = NULL;
        unsigned target;
        Target *t = pick_target(&target);
        int r;

        if (!t)
                return NULL;

        call = g_strdup_printf("set-label %s", t->wwn);
        r = edit_set_label(&life.fixture.engine, t, label, &o, &refusal);
        if (r == 0)
                g_strlcpy(oracle.targets[target].label, label, WORLD_TEXT);
        return compare_call(call, r, &refusal, target == WORLD_FOREIGN ? 1U << REFUSAL_FOREIGN : 0);
}

char *life_destroy(void) {
        EditOptions o = { .timeout = UINT64_MAX, .force = random_percent(&life.chance, 30) };
        _cleanup_(refusal_done) Refusal refusal = {};
        g_autofree char *call = NULL;
        unsigned target, why;
        char *wrong;
        Target *t;
        int r;

        wrong = probe(&target, &t);
        if (!t)
                return wrong;

        call = g_strdup_printf("destroy %s%s", t->wwn, o.force ? " by force" : "");
        why = oracle_destroy(target, o.force, t->endpoint == ENDPOINT_ATTACHED);
        r = edit_destroy_target(&life.fixture.engine, t, &o, &refusal);
        return compare_call(call, r, &refusal, why);
}

/* Any name of any device that there may be one day. */
static void pick_source(char ret[static WORLD_TEXT]) {
        Disk d = { .there = true, .initialized = true, .alias = random_below(&life.chance, 3) };
        Keys k;

        /* A partition of a disk that a rule exports can never be opened. */
        do
                d.entity = random_below(&life.chance, n_entities);
        while (entities[d.entity].kind == KIND_PARENT || entities[d.entity].kind == KIND_NAMELESS ||
               (entities[d.entity].kind == KIND_PARTITION && world.rule[entities[d.entity].of] != 0));

        disk_keys(&d, 0, &k);
        memcpy(ret, k.text[0], WORLD_TEXT);
        if (random_percent(&life.chance, 25))
                for (unsigned i = random_below(&life.chance, k.n); i > 0; i--)
                        if (!g_str_has_prefix(k.text[i], "path=")) {
                                memcpy(ret, k.text[i], WORLD_TEXT);
                                return;
                        }
}

char *life_add(void) {
        LunOptions o = {
                .common.timeout = UINT64_MAX,
                .has_number = random_percent(&life.chance, 40),
                .number = random_below(&life.chance, random_percent(&life.chance, 2) ? 20000 : 12),
                .readonly = random_percent(&life.chance, 20),
                .shareable = random_percent(&life.chance, 40),
        };
        _cleanup_(refusal_done) Refusal refusal = {};
        g_autofree char *call = NULL;
        uint32_t number = 0;
        unsigned target, should = 0, why;
        char source[WORLD_TEXT], *wrong;
        Target *t;
        int r;

        if (o.number >= 12)
                o.number = 16384;
        pick_source(source);
        t = pick_target(&target);
        if (!t)
                return NULL;

        call = g_strdup_printf("add-lun %s %s%s%s number %d", t->wwn, source, o.readonly ? " readonly" : "", o.shareable ? " shareable" : "",
                               o.has_number ? (int) o.number : -1);
        r = edit_add_lun(&life.fixture.engine, t, source, &o, &number, &refusal);
        why = oracle_add(target, &(AddCall) {
                                 .source = source,
                                 .number = o.has_number ? (int) o.number : -1,
                                 .readonly = o.readonly,
                                 .shareable = o.shareable,
                         }, r == REFUSED, &should);
        if (why & ORACLE_EITHER)
                why = r == REFUSED ? why & ~ORACLE_EITHER : 0;

        wrong = compare_call(call, r, &refusal, why);
        if (!wrong && r == 0 && number != should)
                return g_strdup_printf("%s got number %u, should be %u", call, number, should);
        return wrong;
}

char *life_remove(void) {
        EditOptions o = { .timeout = UINT64_MAX, .force = random_percent(&life.chance, 30) };
        _cleanup_(refusal_done) Refusal refusal = {};
        g_autofree char *call = NULL, *tpg = NULL;
        unsigned target, why;
        char *wrong;
        Target *t;
        Lun *l;
        int r;

        wrong = probe(&target, &t);
        if (!t || t->foreign || t->n_luns == 0)
                return wrong;

        /* A guest may start between the question and the pass. */
        tpg = g_strdup_printf("vhost/%s/tpgt_1", t->wwn);
        if (t->endpoint == ENDPOINT_IDLE && random_percent(&life.chance, 5) && fake_attach(tpg) == 0) {
                world_say("a guest attaches to %s", t->wwn);
                oracle.targets[target].attached = true;
        }

        l = t->luns[random_below(&life.chance, (unsigned) t->n_luns)];
        call = g_strdup_printf("remove-lun %s %u%s", t->wwn, l->number, o.force ? " by force" : "");
        why = oracle_remove(target, l->number, o.force, t->endpoint == ENDPOINT_ATTACHED);
        r = edit_remove_lun(&life.fixture.engine, l, &o, &refusal);
        return compare_call(call, r, &refusal, why);
}
