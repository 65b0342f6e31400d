/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <sys/resource.h>

#include "base/strv.h"
#include "store/removed.h"
#include "tree.h"

/* For now: it is not lost, nor written over. */
static void test_removed_unreadable(void) {
        g_autofree char *dir = g_dir_make_tmp("vhscsid-test-XXXXXX", NULL), *text = NULL;
        g_autofree char *file = g_build_filename(dir, "removed.json", NULL);
        char *const more[] = { (char *) "wwid=b", NULL }, *const known[] = { (char *) "wwid=a", NULL };
        struct rlimit before, few;
        RemovedList *l;

        g_assert_true(g_file_set_contents(file, "{\"version\":1,\"removed\":[\"wwid=a\"]}\n", -1, NULL));
        g_assert_cmpint(getrlimit(RLIMIT_NOFILE, &before), ==, 0);
        few = before;
        few.rlim_cur = (rlim_t) dup(STDOUT_FILENO);
        g_assert_cmpint(close((int) few.rlim_cur), ==, 0);
        few.rlim_cur++;         /* the directory can be opened, and nothing in it */

        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &few), ==, 0);
        g_assert_cmpint(removed_new(dir, &l), ==, 0);
        g_assert_false(removed_is_known(l));
        g_assert_cmpint(removed_add(l, more), ==, -EMFILE);
        g_assert_cmpint(removed_forget(l, known), ==, -EMFILE);
        g_assert_cmpint(removed_add(l, more + 1), ==, 0);
        g_assert_cmpint(setrlimit(RLIMIT_NOFILE, &before), ==, 0);

        g_assert_true(removed_is_known(l));
        g_assert_true(removed_contains(l, "wwid=a"));
        g_assert_cmpint(removed_add(l, more), ==, 1);
        removed_free(l);
        g_assert_true(g_file_get_contents(file, &text, NULL, NULL));
        g_assert_cmpstr(text, ==, "{\"removed\":[\"wwid=a\",\"wwid=b\"],\"version\":1}\n");
        tree_remove(dir);
}

/* A broken one that cannot be put aside (here something lies in its way, as well as EROFS would): the service starts, the file is not
 * written over, and is tried again. */
static void test_removed_not_renamed(void) {
        g_autofree char *dir = g_dir_make_tmp("vhscsid-test-XXXXXX", NULL), *text = NULL;
        g_autofree char *file = g_build_filename(dir, "removed.json", NULL), *bad = g_build_filename(dir, "removed.json.bad", NULL);
        char *const more[] = { (char *) "wwid=b", NULL };
        RemovedList *l;

        g_assert_true(g_file_set_contents(file, "{", -1, NULL));
        g_assert_cmpint(mkdir(bad, 0700), ==, 0);
        g_assert_cmpint(removed_new(dir, &l), ==, 0);
        g_assert_false(removed_is_known(l));
        g_assert_nonnull(strstr(removed_problem(l), "not JSON"));
        g_assert_cmpint(removed_add(l, more), ==, -EISDIR);
        g_assert_true(g_file_get_contents(file, &text, NULL, NULL));
        g_assert_cmpstr(text, ==, "{");

        g_assert_cmpint(rmdir(bad), ==, 0);
        g_assert_cmpint(removed_add(l, more), ==, 1);
        g_assert_false(removed_is_known(l));
        g_assert_nonnull(strstr(removed_problem(l), "removed.json.bad"));
        g_assert_true(g_file_test(bad, G_FILE_TEST_IS_REGULAR));
        removed_free(l);
        tree_remove(dir);
}

/* Names, order and keys of others survive; the oldest goes when there are too many. */
static void test_removed_file(void) {
        g_autofree char *dir = g_dir_make_tmp("vhscsid-test-XXXXXX", NULL), *text = NULL;
        g_autofree char *file = g_build_filename(dir, "removed.json", NULL);
        char *const two[] = { (char *) "dm-uuid=b", (char *) "naa.5001405aaaaaaaaa", (char *) "wwid=c", NULL };
        char *const some[] = { (char *) "wwid=nothing", (char *) "dm-uuid=b", (char *) "wwid=c", (char *) "dm-uuid=b", NULL };
        _cleanup_(strv_freep) char **many = NULL;
        RemovedList *l;

        g_assert_true(g_file_set_contents(file,
                                          "{\"theirs\":null,\"version\":1,\"removed\":[\"wwid=a\",\"wwid=a\"]}\n",
                                          -1, NULL));
        g_assert_cmpint(removed_new(dir, &l), ==, 0);
        g_assert_true(removed_is_known(l));
        g_assert_cmpint(removed_add(l, two), ==, 1);
        g_assert_cmpint(removed_add(l, two), ==, 0);
        g_assert_cmpint(removed_forget(l, some), ==, 1);
        g_assert_cmpint(removed_forget(l, some), ==, 0);
        g_assert_cmpint(removed_forget(l, NULL), ==, 0);
        removed_free(l);

        g_assert_true(g_file_get_contents(file, &text, NULL, NULL));
        g_assert_cmpstr(text, ==, "{\"removed\":[\"wwid=a\",\"naa.5001405aaaaaaaaa\"],\"theirs\":null,\"version\":1}\n");

        many = calloc(REMOVED_MAX + 1, sizeof *many);
        g_assert_nonnull(many);
        for (unsigned i = 0; i < REMOVED_MAX; i++)
                many[i] = g_strdup_printf("wwid=%u", i);
        g_assert_cmpint(removed_new(dir, &l), ==, 0);
        g_assert_cmpint(removed_add(l, many), ==, 1);
        g_assert_false(removed_contains(l, "wwid=a"));
        g_assert_true(removed_contains(l, "wwid=0"));
        removed_free(l);

        tree_remove(dir);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/removed/unreadable", test_removed_unreadable);
        g_test_add_func("/removed/not-renamed", test_removed_not_renamed);
        g_test_add_func("/removed/file", test_removed_file);

        return g_test_run();
}
