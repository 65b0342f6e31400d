/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <unistd.h>

#include "base/strv.h"
#include "store/history.h"
#include "store/removed.h"
#include "store/store.h"
#include "tree.h"

#define WWN_A "naa.5001405aaaaaaaaa"
#define WWN_B "naa.5001405bbbbbbbbb"
#define TEXT(wwn) "{\"version\":1,\"wwn\":\"" wwn "\",\"label\":\"\",\"nexus\":\"naa.5001405ffffffff0\",\"wanted\":true,\"luns\":[]}\n"

/* Files that somebody else may have written: none of them is believed, none of them is touched. */

typedef struct Place {
        char *dir, *a, *b, *removed;
        Store *store;
        ino_t inode;            /* of a */
} Place;

static void place_init(Place *p) {
        struct stat st;

        p->dir = g_dir_make_tmp("vhscsid-test-XXXXXX", NULL);
        g_assert_cmpint(store_new(p->dir, &p->store), ==, 0);
        p->a = g_build_filename(p->dir, "targets", WWN_A ".json", NULL);
        p->b = g_build_filename(p->dir, "targets", WWN_B ".json", NULL);
        p->removed = g_build_filename(p->dir, "removed.json", NULL);
        g_assert_true(g_file_set_contents(p->a, TEXT(WWN_A), -1, NULL));
        g_assert_true(g_file_set_contents(p->b, TEXT(WWN_B), -1, NULL));
        g_assert_true(g_file_set_contents(p->removed, "{\"version\":1,\"removed\":[\"wwid=a\"]}\n", -1, NULL));
        g_assert_cmpint(stat(p->a, &st), ==, 0);
        p->inode = st.st_ino;
}

static void place_done(Place *p) {
        store_free(p->store);
        tree_remove(p->dir);
        g_free(p->dir);
        g_free(p->a);
        g_free(p->b);
        g_free(p->removed);
}

/* why NULL: it is ours. */
static void check_target(Place *p, const char *why) {
        struct stat st;
        Registry r;

        g_assert_cmpint(registry_init(&r, 1), ==, 0);
        g_assert_cmpint(store_load(p->store, &r), ==, 0);
        g_assert_nonnull(registry_target(&r, WWN_B));
        g_assert_true(!!registry_target(&r, WWN_A) == !why);
        g_assert_cmpuint(strv_length(r.bad), ==, why ? 1 : 0);
        if (why)
                g_assert_cmpstr(r.bad_reasons[0], ==, why);
        registry_done(&r);

        g_assert_cmpint(stat(p->a, &st), ==, 0);
        g_assert_cmpuint(st.st_ino, ==, p->inode);
}

static void check_removed(Place *p, const char *why) {
        char *const more[] = { (char *) "wwid=b", NULL };
        g_autofree char *text = NULL;
        RemovedList *l;

        g_assert_cmpint(removed_new(p->dir, &l), ==, 0);
        g_assert_true(removed_is_known(l) == !why);
        if (why) {
                g_assert_nonnull(strstr(removed_problem(l), why));
                g_assert_cmpint(removed_add(l, more), ==, -EPERM);
        } else
                g_assert_null(removed_problem(l));
        removed_free(l);
        g_assert_true(g_file_get_contents(p->removed, &text, NULL, NULL));
        g_assert_null(strstr(text, "wwid=b"));
}

static void test_mode(void) {
        static const mode_t good[] = { 0600, 0400, 0644, 0755 }, bad[] = { 0620, 0602, 0666, 0777 };
        Place p = {};

        place_init(&p);
        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                g_assert_cmpint(chmod(p.a, good[i]), ==, 0);
                g_assert_cmpint(chmod(p.removed, good[i]), ==, 0);
                check_target(&p, NULL);
                check_removed(&p, NULL);
        }
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                g_assert_cmpint(chmod(p.a, bad[i]), ==, 0);
                g_assert_cmpint(chmod(p.removed, bad[i]), ==, 0);
                check_target(&p, "others may write it");
                check_removed(&p, "others may write it");
        }
        place_done(&p);
}

static void test_owner(void) {
        Place p = {};

        if (geteuid() != 0) {
                g_test_skip("nobody but root gives files away");
                return;
        }

        place_init(&p);
        g_assert_cmpint(chown(p.a, 1, (gid_t) -1), ==, 0);
        g_assert_cmpint(chown(p.removed, 1, (gid_t) -1), ==, 0);
        check_target(&p, "it belongs to another user");
        check_removed(&p, "it belongs to another user");

        /* Mended, nothing is lost. */
        g_assert_cmpint(chown(p.a, 0, (gid_t) -1), ==, 0);
        g_assert_cmpint(chown(p.removed, 0, (gid_t) -1), ==, 0);
        check_target(&p, NULL);
        check_removed(&p, NULL);
        place_done(&p);
}

/* A link to somebody's file is none of ours. */
static void test_link(void) {
        g_autofree char *elsewhere = NULL;
        Place p = {};

        place_init(&p);
        elsewhere = g_build_filename(p.dir, "elsewhere", NULL);
        g_assert_cmpint(rename(p.a, elsewhere), ==, 0);
        g_assert_cmpint(symlink(elsewhere, p.a), ==, 0);
        check_target(&p, strerror(ELOOP));
        place_done(&p);
}

static void test_history(void) {
        g_autofree char *kept = NULL, *text = NULL;
        History *h;
        Place p = {};
        size_t size;

        place_init(&p);
        g_assert_cmpint(history_new(p.dir, &h), ==, 0);
        g_assert_null(history_problem(h));
        g_assert_cmpint(history_begin(h, 0, "", "x"), ==, 0);
        g_assert_cmpint(history_keep(h, WWN_A, 5), ==, 0);
        kept = g_build_filename(p.dir, "history", "5." WWN_A ".json", NULL);
        g_assert_cmpint(chmod(kept, 0666), ==, 0);
        g_assert_cmpint(history_read_file(h, 5, WWN_A, &text, &size), ==, -EPERM);
        g_assert_cmpint(chmod(kept, 0600), ==, 0);
        g_assert_cmpint(history_read_file(h, 5, WWN_A, &text, &size), ==, 1);
        history_free(h);
        place_done(&p);
}

/* In its place lies something else: it starts, says so, and keeps nothing. */
static void test_no_history(void) {
        g_autofree char *dir = g_dir_make_tmp("vhscsid-test-XXXXXX", NULL);
        g_autofree char *file = g_build_filename(dir, "history", NULL);
        Store *store;
        History *h;

        g_assert_cmpint(store_new(dir, &store), ==, 0);
        g_assert_true(g_file_set_contents(file, "x", -1, NULL));
        g_assert_cmpint(history_new(dir, &h), ==, 0);
        g_assert_nonnull(strstr(history_problem(h), "nothing can be changed"));
        g_assert_cmpint(history_keep(h, WWN_A, 5), ==, -ENOTDIR);
        history_free(h);
        store_free(store);
        tree_remove(dir);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/stranger/mode", test_mode);
        g_test_add_func("/stranger/owner", test_owner);
        g_test_add_func("/stranger/link", test_link);
        g_test_add_func("/stranger/history", test_history);
        g_test_add_func("/stranger/no-history", test_no_history);

        return g_test_run();
}
