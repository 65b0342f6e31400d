/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <json-c/json.h>
#include <sys/sysmacros.h>

#include "base/strv.h"
#include "engine/lun-view.h"
#include "fake-cfs.h"
#include "life-check.h"

typedef struct json_object Json;

DEFINE_CLEANUP(Json *, json_object_put);

static char *foreign[64];

void check_foreign_add(const char *path) {
        for (size_t i = 0; i < G_N_ELEMENTS(foreign); i++)
                if (!foreign[i]) {
                        foreign[i] = g_strdup(path);
                        return;
                }

        g_assert_not_reached();
}

void check_foreign_remove(const char *path) {
        for (size_t i = 0; i < G_N_ELEMENTS(foreign); i++)
                if (!path || streq_ptr(foreign[i], path))
                        g_clear_pointer(foreign + i, g_free);
}

/* ---- looking ---- */

static bool is_foreign(const char *path) {
        for (size_t i = 0; i < G_N_ELEMENTS(foreign); i++) {
                const char *rest = foreign[i] ? startswith(path, foreign[i]) : NULL;

                if (rest && (*rest == 0 || *rest == '/'))
                        return true;
        }

        return false;
}

static char *look_at_call(const char *line, Seen *seen) {
        g_auto(GStrv) words = g_strsplit(line, " ", 3);
        unsigned number;
        char wwn[64];

        /* Two may want to make the same directory, and one of them learns that it is there. */
        if (is_foreign(words[1]) && !(streq(words[0], "mkdir") && g_str_has_suffix(line, "-EEXIST")))
                return g_strdup_printf("Something of somebody else's was touched: %s", line);

        if (!streq(words[0], "unlink") || !g_str_has_suffix(line, "-> 0") ||
            sscanf(words[1], "vhost/%63[^/]/tpgt_1/lun/lun_%u/", wwn, &number) != 2)
                return NULL;

        for (unsigned i = 0; i < WORLD_TARGETS; i++)
                if (streq(world_wwns[i], wwn) && number < ORACLE_LUNS)
                        seen->targets[i].luns[number].unlinked++;
        return NULL;
}

static char *look_at_lun(unsigned target, const char *name, SeenLun *s) {
        g_autofree char *dir = g_strdup_printf("vhost/%s/tpgt_1/lun/%s", world_wwns[target], name), *link = NULL, *place = NULL;
        _cleanup_(strv_freep) char **links = fake_children(dir);
        FakeOpened opened;

        s->dir = true;
        if (!links[0])
                return NULL;

        link = g_strdup_printf("%s/%s", dir, links[0]);
        place = fake_peek(link);
        if (!place || !fake_opened(place, &opened))
                return g_strdup_printf("%s leads nowhere", link);

        s->linked = true;
        s->minor = minor(opened.devnum);
        s->diskseq = opened.diskseq;
        return NULL;
}

static char **journal;          /* since the look before */

static void print_lun(FILE *to, const Lun *l, const OracleLun *o) {
        const Backstore *b = l->backstore;

        fprintf(to, "  %s %u %s%s%s%s%s%s on %u:%u #%" PRIu64 " %s%s; oracle:%s%s%s%s on %u #%" PRIu64 "\n", l->target->wwn, l->number, b->source,
                l->wanted ? "" : " unwanted", l->linked ? " linked" : "", l->present ? " present" : "", l->dirty ? " dirty" : "",
                l->worker ? " in a pass" : "", major(b->devnum), minor(b->devnum), b->diskseq, strempty(l->error_text),
                l->retry_at != 0 ? " (to be tried again)" : "", o->there ? "" : " none", o->wanted ? "" : " unwanted", o->linked ? " linked" : "",
                o->dubious ? " dubious" : "", o->minor, o->diskseq);
}

void check_print(Fixture *f, FILE *to) {
        fputs("what the kernel was asked since it was right:\n", to);
        for (char **line = journal; line && *line; line++)
                fprintf(to, "  %s\n", *line);

        fputs("what the daemon has:\n", to);
        for (unsigned i = 0; i < WORLD_FOREIGN; i++) {
                Target *t = registry_target(&f->engine.registry, world_wwns[i]);

                if (!t)
                        continue;
                fprintf(to, "  %s%s%s%s %s%s\n", t->wwn, t->wanted ? "" : " unwanted", t->dirty ? " dirty" : "", t->worker ? " in a pass" : "",
                        strempty(t->error_code), t->retry_at != 0 ? " (to be tried again)" : "");
                for (size_t n = 0; n < t->n_luns; n++)
                        print_lun(to, t->luns[n], oracle.targets[i].luns + MIN(t->luns[n]->number, ORACLE_LUNS - 1));
        }
}

char *check_look(Fixture *f, Seen *ret) {
        char *wrong = NULL;

        *ret = (Seen) {};
        strv_free(journal);
        journal = fake_journal();
        fake_journal_clear();
        for (char **line = journal; *line && !wrong; line++)
                wrong = look_at_call(*line, ret);

        for (unsigned i = 0; i < WORLD_FOREIGN; i++) {
                g_autofree char *path = g_strdup_printf("vhost/%s/tpgt_1/lun", world_wwns[i]);
                _cleanup_(strv_freep) char **names = fake_children(path);
                Target *t = registry_target(&f->engine.registry, world_wwns[i]);

                ret->targets[i].known = t;
                for (size_t n = 0; t && n < t->n_luns; n++)
                        if (t->luns[n]->number < ORACLE_LUNS) {
                                ret->targets[i].luns[t->luns[n]->number].known = true;
                                ret->targets[i].luns[t->luns[n]->number].noticed = t->luns[n]->linked;
                        }

                for (char **name = names; *name && !wrong; name++) {
                        unsigned number;

                        if (sscanf(*name, "lun_%u", &number) != 1 || number >= ORACLE_LUNS)
                                wrong = g_strdup_printf("%s has %s", path, *name);
                        else
                                wrong = look_at_lun(i, *name, ret->targets[i].luns + number);
                }
        }

        return wrong;
}

/* ---- what the daemon says ---- */

#define SHOULD_BE(what, is, should, format) \
        if ((is) != (should)) \
                return g_strdup_printf("%s: " what " is " format ", should be " format, where, (is), (should))

static void serial_of(const char *source, char ret[static 37]) {
        static const guint8 name_space[] = {
                0x2b, 0x1f, 0x0a, 0x5e, 0x6c, 0x1d, 0x4b, 0x0e, 0x9a, 0x8e, 0x5d, 0x0c, 0x4f, 0x7f, 0x3a, 0x61,
        };
        g_autoptr(GChecksum) sum = g_checksum_new(G_CHECKSUM_SHA1);
        guint8 u[20];
        gsize n = sizeof u;
        char *p = ret;

        g_checksum_update(sum, name_space, sizeof name_space);
        g_checksum_update(sum, (const guchar *) source, -1);
        g_checksum_get_digest(sum, u, &n);
        u[6] = (guint8) ((u[6] & 0x0f) | 0x50);
        u[8] = (guint8) ((u[8] & 0x3f) | 0x80);
        for (unsigned i = 0; i < 16; i++)
                p += sprintf(p, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
}

static char *check_lun_up(const Lun *l, const char *where) {
        g_autofree char *place = g_strdup_printf("core/iblock_%u/%s", l->backstore->hba, l->backstore->name);
        g_autofree char *link = g_strdup_printf("vhost/%s/tpgt_1/lun/lun_%u/%s", l->target->wwn, l->number, l->backstore->name);
        g_autofree char *is = fake_peek(link), *file = g_strdup_printf("%s/wwn/vpd_unit_serial", place), *serial = fake_peek(file);
        FakeOpened opened;

        if (!streq_ptr(is, place))
                return g_strdup_printf("%s is linked to %s, not to %s", where, is, place);
        if (!serial || !g_str_has_suffix(serial, l->backstore->serial))
                return g_strdup_printf("%s: %s is %s", where, file, serial);
        if (!fake_opened(place, &opened) || opened.read_only != l->backstore->readonly)
                return g_strdup_printf("%s is open for %s", where, opened.read_only ? "reading" : "writing");
        return NULL;
}

static char *check_lun_state(Fixture *f, const Lun *l, const OracleLun *o, const char *where) {
        LunView v;

        lun_view_make(&f->engine, l, &v);
        if (!streq_ptr(lun_state_to_string(v.state), lun_state_to_string(oracle_state(o))))
                return g_strdup_printf("%s is %s (%s: %s), should be %s", where, lun_state_to_string(v.state), strempty(l->error_code),
                                       strempty(l->error_text), lun_state_to_string(oracle_state(o)));
        if (o->wanted && !streq_ptr(l->error_code, o->code))
                return g_strdup_printf("%s: its error is %s (%s), should be %s", where, strempty(l->error_code), strempty(l->error_text),
                                       o->code ?: "none");
        if (!o->linked)
                return NULL;
        if (v.health != oracle_health(o))
                return g_strdup_printf("%s: its health is %s, should be %s", where, device_health_to_string(v.health),
                                       device_health_to_string(oracle_health(o)));
        if (v.health != HEALTH_GONE)
                SHOULD_BE("its size", v.size, world.view[o->minor].size, "%" PRIu64);
        SHOULD_BE("the device open", (unsigned) minor(l->backstore->devnum), o->minor, "250:%u");
        SHOULD_BE("the instance open", l->backstore->diskseq, o->diskseq, "%" PRIu64);
        return check_lun_up(l, where);
}

static char *check_lun(Fixture *f, const Lun *l, const OracleLun *o) {
        g_autofree char *where = g_strdup_printf("LUN %u of %s (%s)", l->number, l->target->wwn, l->backstore->source);
        const Promise *p = oracle_promise(l->backstore->source);
        char serial[37];

        if (!o->there)
                return g_strdup_printf("%s should not exist", where);
        if (!streq(l->backstore->source, o->source))
                return g_strdup_printf("%s should be %s", where, o->source);

        serial_of(o->source, serial);
        if (!streq(l->backstore->serial, serial))
                return g_strdup_printf("%s: its serial is %s, should be %s", where, l->backstore->serial, serial);
        SHOULD_BE("wanted", l->wanted, o->wanted, "%d");
        SHOULD_BE("readonly", l->backstore->readonly, o->readonly, "%d");
        SHOULD_BE("by a rule", l->origin == LUN_UDEV, o->by_rule, "%d");
        SHOULD_BE("what was promised", l->backstore->size, p->size, "%" PRIu64);
        if (!streq_ptr(strempty(l->backstore->identity), p->identity))
                return g_strdup_printf("%s: who was promised is %s, should be %s", where, strempty(l->backstore->identity), p->identity);
        if (o->dubious)
                return NULL;

        SHOULD_BE("linked, as the daemon has it,", l->linked, o->linked, "%d");
        return check_lun_state(f, l, o, where);
}

static char *check_target_state(const Target *t, const OracleTarget *o) {
        g_autofree char *path = g_strdup_printf("vhost/%s/tpgt_1/nexus", t->wwn), *nexus = fake_peek(path);
        TargetState should = o->wanted ? TARGET_ONLINE : TARGET_REMOVING;

        for (unsigned n = 0; n < ORACLE_LUNS; n++) {
                if (o->luns[n].there && o->luns[n].dubious)
                        return NULL;
                if (o->wanted && o->luns[n].there && o->luns[n].wanted && !o->luns[n].linked)
                        should = TARGET_INCOMPLETE;
        }

        if (target_state(t) != should)
                return g_strdup_printf("Target %s is %s (%s), should be %s", t->wwn, target_state_to_string(target_state(t)),
                                       strempty(t->error_text), target_state_to_string(should));
        if (!streq_ptr(nexus, t->nexus))
                return g_strdup_printf("The nexus of %s is %s, should be %s", t->wwn, nexus, t->nexus);
        return NULL;
}

static char *check_target(Fixture *f, unsigned target) {
        const OracleTarget *o = oracle.targets + target;
        Target *t = registry_target(&f->engine.registry, world_wwns[target]);
        char *wrong = NULL;

        if (!t != !o->there)
                return g_strdup_printf("Target %s %s exist", world_wwns[target], t ? "should not" : "should");
        if (!t)
                return NULL;
        if (t->wanted != o->wanted || !streq(t->label, o->label))
                return g_strdup_printf("Target %s is wanted: %d, should be %d; its label is %s, should be %s", t->wwn, t->wanted, o->wanted,
                                       t->label, o->label);

        for (unsigned n = 0; n < ORACLE_LUNS && !wrong; n++)
                if (o->luns[n].there && !target_lun(t, n))
                        wrong = g_strdup_printf("LUN %u of %s (%s) should exist", n, t->wwn, o->luns[n].source);
        for (size_t i = 0; i < t->n_luns && !wrong; i++)
                wrong = t->luns[i]->number < ORACLE_LUNS ? check_lun(f, t->luns[i], o->luns + t->luns[i]->number) :
                                                           g_strdup_printf("LUN %u should not exist", t->luns[i]->number);

        return wrong || o->dubious ? wrong : check_target_state(t, o);
}

/* ---- what the store says ---- */

static const char *json_text(Json *o, const char *key) {
        Json *v;

        return json_object_object_get_ex(o, key, &v) ? json_object_get_string(v) : "";
}

static int64_t json_number(Json *o, const char *key) {
        Json *v;

        return json_object_object_get_ex(o, key, &v) ? json_object_get_int64(v) : 0;
}

static char *check_stored_lun(Json *j, const OracleTarget *o, const char *file) {
        int64_t number = json_number(j, "number");
        const OracleLun *l = number < ORACLE_LUNS ? o->luns + number : NULL;
        const Promise *p;

        if (!l || !l->there)
                return g_strdup_printf("%s has LUN %d", file, (int) number);

        p = oracle_promise(l->source);
        if (!streq(json_text(j, "source"), l->source) || !streq(json_text(j, "origin"), l->by_rule ? "udev" : "manual") ||
            json_number(j, "wanted") != l->wanted || json_number(j, "readonly") != l->readonly ||
            json_number(j, "size") != (int64_t) p->size || !streq(json_text(j, "identity"), p->identity))
                return g_strdup_printf("%s: %s, should be %s (%s, %" PRIu64 " bytes)", file, json_object_to_json_string(j), l->source,
                                       p->identity, p->size);
        return NULL;
}

static char *check_stored_target(const char *directory, const char *name) {
        g_autofree char *path = g_build_filename(directory, name, NULL);
        const OracleTarget *o = NULL;
        _cleanup_(json_object_putp) Json *j = NULL;
        char *wrong = NULL;
        size_t n = 0;
        Json *luns;

        for (unsigned i = 0; i < WORLD_FOREIGN; i++)
                if (g_str_has_prefix(name, world_wwns[i]) && streq(name + strlen(world_wwns[i]), ".json"))
                        o = oracle.targets + i;
        if (!o || !o->there)
                return g_strdup_printf("The store has %s", name);

        j = json_object_from_file(path);
        if (!j || !json_object_object_get_ex(j, "luns", &luns))
                return g_strdup_printf("%s is no proper file", name);
        if (json_number(j, "wanted") != o->wanted || !streq(json_text(j, "label"), o->label))
                return g_strdup_printf("%s: wanted %d, label %s", name, (int) json_number(j, "wanted"), json_text(j, "label"));

        for (size_t i = 0; i < json_object_array_length(luns) && !wrong; i++)
                wrong = check_stored_lun(json_object_array_get_idx(luns, i), o, name);
        for (unsigned i = 0; i < ORACLE_LUNS; i++)
                n += o->luns[i].there;
        if (!wrong && json_object_array_length(luns) != n)
                return g_strdup_printf("%s has %zu LUNs, should have %zu", name, json_object_array_length(luns), n);
        return wrong;
}

/* Who was removed by hand. */
static char *check_removed(Fixture *f) {
        g_autofree char *path = g_build_filename(f->state_dir, "removed.json", NULL);
        _cleanup_(json_object_putp) Json *j = json_object_from_file(path);
        GHashTableIter i;
        gpointer name;
        size_t n = 0;
        Json *names;

        if (j && json_object_object_get_ex(j, "removed", &names))
                n = json_object_array_length(names);
        for (size_t k = 0; k < n; k++) {
                const char *stored = json_object_get_string(json_object_array_get_idx(names, k));

                if (!g_hash_table_contains(oracle.removed, stored))
                        return g_strdup_printf("%s counts as removed", stored);
        }

        g_hash_table_iter_init(&i, oracle.removed);
        while (g_hash_table_iter_next(&i, &name, NULL))
                if (!removed_contains(f->engine.removed, name))
                        return g_strdup_printf("%s was removed, which the daemon does not know", (char *) name);

        return n == g_hash_table_size(oracle.removed) ? NULL : g_strdup("The file of what was removed is short");
}

static char *check_store(Fixture *f) {
        g_autofree char *path = g_build_filename(f->state_dir, "targets", NULL);
        GDir *d = g_dir_open(path, 0, NULL);
        char *wrong = NULL;
        size_t n = 0;
        const char *name;

        g_assert_nonnull(d);
        while (!wrong && (name = g_dir_read_name(d))) {
                wrong = check_stored_target(path, name);
                n++;
        }
        g_dir_close(d);

        for (unsigned i = 0; i < WORLD_FOREIGN; i++)
                n -= oracle.targets[i].there;
        if (!wrong && n != 0)
                wrong = g_strdup("The store lacks a target");
        return wrong ?: check_removed(f);
}

/* ---- what is left in the kernel ---- */

/* A step failed that would have removed it, the disk is gone, and the LUN that waits for it will need it: the daemon knows of it, and that does
 * for what has no device open. */
static bool is_known_rest(Fixture *f, uint32_t hba) {
        Target *t;

        REGISTRY_FOREACH(&f->engine.registry, t)
                for (size_t i = 0; i < t->n_luns && !t->foreign; i++)
                        if (t->luns[i]->wanted && t->luns[i]->present && t->luns[i]->backstore->hba == hba)
                                return true;

        return false;
}

static char *check_leftovers(Fixture *f, const Seen *seen) {
        _cleanup_(strv_freep) char **hbas = fake_children("core"), **targets = fake_children("vhost");
        Target *t;

        for (char **n = targets; *n; n++) {
                g_autofree char *path = g_strdup_printf("vhost/%s", *n);

                if (!registry_target(&f->engine.registry, *n) && !is_foreign(path))
                        return g_strdup_printf("%s was left behind", path);
        }

        for (unsigned i = 0; i < WORLD_FOREIGN; i++)
                for (unsigned n = 0; n < ORACLE_LUNS; n++)
                        if (seen->targets[i].luns[n].dir && !seen->targets[i].luns[n].linked &&
                            !(oracle.targets[i].luns[n].wanted && target_lun(registry_target(&f->engine.registry, world_wwns[i]), n)->present))
                                return g_strdup_printf("lun_%u of %s was left behind", n, world_wwns[i]);

        for (char **n = hbas; *n; n++) {
                g_autofree char *path = g_strdup_printf("core/%s", *n);
                bool linked = is_foreign(path) || !startswith(*n, "iblock_");

                REGISTRY_FOREACH(&f->engine.registry, t)
                        for (size_t i = 0; i < t->n_luns && !t->foreign; i++)
                                linked = linked || (t->luns[i]->linked && t->luns[i]->backstore->hba == (uint32_t) atoi(*n + strlen("iblock_")));
                if (!linked) {
                        _cleanup_(strv_freep) char **names = fake_children(path);

                        g_autofree char *place = g_strdup_printf("%s/%s", path, names[0] ?: "");
                        FakeOpened opened;

                        if (is_known_rest(f, (uint32_t) atoi(*n + strlen("iblock_"))) && !fake_opened(place, &opened))
                                continue;

                        return g_strdup_printf("%s was left behind, with %s", path, names[0] ?: "nothing");
                }
        }

        return NULL;
}

char *check_all(Fixture *f, const Seen *seen) {
        const Target *t = registry_target(&f->engine.registry, world_wwns[WORLD_FOREIGN]);
        char *wrong = NULL;

        if (!t || !t->foreign)
                return g_strdup("The foreign target is not known as foreign");

        for (unsigned i = 0; i < WORLD_FOREIGN && !wrong; i++)
                wrong = check_target(f, i);
        if (!wrong)
                wrong = check_store(f);
        if (!wrong && oracle_is_exact())
                wrong = check_leftovers(f, seen);
        return wrong;
}
