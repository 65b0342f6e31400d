/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "store/past.h"
#include "store/store.h"
#include "tree.h"

/* The way back: what is kept of each change, and that an older generation is never taken for another one. */

#define A "naa.5001405a00000001"
#define B "naa.5001405a00000002"
#define C "naa.5001405a00000003"
#define NEXUS "naa.5001405000000001"

/* The linker takes this for the C library's. Nobody pulls the plug here, so it need not wait for a disk. */
static unsigned fsyncs, fail_fsync;

int fsync(int fd) {
        if (++fsyncs == fail_fsync) {
                errno = EIO;
                return -1;
        }

        return 0;
}

/* ---- the directory alone ---- */

typedef struct Place {
        char *dir, *history_dir;
        Store *store;
        History *history;
} Place;

static void place_open(Place *p) {
        g_assert_cmpint(store_new(p->dir, &p->store), ==, 0);
        g_assert_cmpint(history_new(p->dir, &p->history), ==, 0);
}

static void place_close(Place *p) {
        p->store = store_free(p->store);
        p->history = history_free(p->history);
}

static void place_init(Place *p) {
        p->dir = g_dir_make_tmp("vhscsid-history-XXXXXX", NULL);
        g_assert_nonnull(p->dir);
        p->history_dir = g_build_filename(p->dir, "history", NULL);
        place_open(p);
}

static void place_done(Place *p) {
        place_close(p);
        tree_remove(p->dir);
        g_free(p->dir);
        g_free(p->history_dir);
}

static void restart(Place *p) {
        place_close(p);
        place_open(p);
}

static int save(Place *p, const char *wwn, const char *label) {
        _cleanup_(target_freep) Target *t = target_new(wwn);

        memcpy(t->nexus, NEXUS, WWN_SIZE);
        g_assert_cmpint(free_and_strdup(&t->label, label), >=, 0);
        return store_save(p->store, t);
}

static void begin(Place *p, const char *reason) {
        g_assert_cmpint(history_begin(p->history, 1000, "virsh", reason), ==, 0);
}

/* A change of one target, whole. */
static void change(Place *p, const char *wwn, uint64_t generation, const char *label) {
        begin(p, label);
        g_assert_cmpint(history_keep(p->history, wwn, generation), ==, 0);
        g_assert_cmpint(save(p, wwn, label), ==, 0);
}

/* "newest … oldest" */
static char *reasons(const History *h) {
        GString *s = g_string_new(NULL);
        const HistoryEntry *e;

        LIST_FOREACH(history_entries(h), e, const HistoryEntry, link)
                g_string_append_printf(s, "%s%" PRIu64 " %s", s->len > 0 ? ", " : "", e->generation, e->reason);

        return g_string_free(s, FALSE);
}

static void assert_reasons(const History *h, const char *expected) {
        g_autofree char *got = reasons(h);

        g_assert_cmpstr(got, ==, expected);
}

/* The label that the target had then: "none", or "now" if it is as it is now. */
static char *label_at(const History *h, const char *wwn, uint64_t generation) {
        _cleanup_(past_freep) Map *past = NULL;
        char bad[WWN_SIZE];
        PastTarget *p;

        g_assert_cmpint(past_new(h, generation, &past, bad), ==, 0);
        p = map_get(past, wwn);
        return g_strdup(!p ? "now" : p->target ? p->target->label : "none");
}

static void assert_label(const History *h, const char *wwn, uint64_t generation, const char *expected) {
        g_autofree char *got = label_at(h, wwn, generation);

        g_assert_cmpstr(got, ==, expected);
}

static unsigned count_files(const char *path) {
        GDir *d = g_dir_open(path, 0, NULL);
        unsigned n = 0;

        g_assert_nonnull(d);
        while (g_dir_read_name(d))
                n++;
        g_dir_close(d);
        return n;
}

static void test_order(void) {
        const HistoryEntry *e;
        Place p = {};

        place_init(&p);
        g_assert_cmpuint(history_newest(p.history), ==, 0);
        change(&p, A, 10, "one");
        change(&p, B, 20, "two");
        change(&p, A, 30, "three");

        for (int i = 0; i < 2; i++) {
                assert_reasons(p.history, "10 one, 20 two, 30 three");
                g_assert_cmpuint(history_newest(p.history), ==, 30);
                assert_label(p.history, A, 9, "none");
                assert_label(p.history, A, 10, "one");
                assert_label(p.history, A, 29, "one");
                assert_label(p.history, A, 30, "now");
                assert_label(p.history, B, 19, "none");
                assert_label(p.history, B, 20, "now");
                restart(&p);
        }

        e = list_entry(history_entries(p.history)->prev, HistoryEntry, link);
        g_assert_cmpuint(e->uid, ==, 1000);
        g_assert_cmpstr(e->program, ==, "virsh");
        g_assert_cmpint(llabs((long long) e->time - g_get_real_time()), <, 60 * G_USEC_PER_SEC);
        g_assert_cmpstr(e->targets[0], ==, A);
        g_assert_null(e->targets[1]);
        place_done(&p);
}

/* What a record cannot hold as it is: spaces in the program's name, bytes that are no text, a long reason. */
static void test_words(void) {
        g_autofree char *longer = g_strnfill(500, 'x');
        const HistoryEntry *e;
        Place p = {};

        place_init(&p);
        g_assert_cmpint(history_begin(p.history, HISTORY_NOBODY, "a b\n", "tab\there \xff"), ==, 0);
        g_assert_cmpint(history_keep(p.history, A, 5), ==, 0);
        g_assert_cmpint(save(&p, A, ""), ==, 0);
        memcpy(longer + HISTORY_REASON_MAX - 1, "\xc3\xa4", 2);
        g_assert_cmpint(history_begin(p.history, 0, "", longer), ==, 0);
        g_assert_cmpint(history_keep(p.history, A, 6), ==, 0);
        g_assert_cmpint(save(&p, A, "x"), ==, 0);
        restart(&p);

        e = list_entry(history_entries(p.history)->next, HistoryEntry, link);
        g_assert_cmpuint(e->uid, ==, HISTORY_NOBODY);
        g_assert_cmpstr(e->program, ==, "a_b?");
        g_assert_cmpstr(e->reason, ==, "tab?here ?");
        e = list_entry(e->link.next, HistoryEntry, link);
        g_assert_cmpuint(e->uid, ==, 0);
        g_assert_cmpstr(e->program, ==, "");
        g_assert_cmpuint(strlen(e->reason), ==, HISTORY_REASON_MAX - 1);
        place_done(&p);
}

static void test_bounded(void) {
        Place p = {};

        place_init(&p);
        for (unsigned n = 1; n <= 3 * HISTORY_MAX; n++) {
                g_autofree char *label = g_strdup_printf("%u", n);

                change(&p, n % 3 == 0 ? B : A, n, label);
                if (n > 1)
                        g_assert_cmpuint(count_files(p.history_dir), <=, 2 * HISTORY_MAX);
        }
        g_assert_cmpuint(count_files(p.history_dir), ==, 2 * HISTORY_MAX);
        restart(&p);
        g_assert_cmpuint(count_files(p.history_dir), ==, 2 * HISTORY_MAX);
        assert_label(p.history, A, 2 * HISTORY_MAX, "128");
        assert_label(p.history, A, 3 * HISTORY_MAX, "now");
        place_done(&p);
}

/* Many targets in one change; what nobody called for is one change for a minute; each target is kept once, with one fsync. */
static void test_burst(void) {
        Place p = {};

        place_init(&p);
        begin(&p, "apply");
        for (unsigned n = 0; n < 256; n++) {
                g_autofree char *wwn = g_strdup_printf("naa.5001405b%08x", n);

                g_assert_cmpint(history_keep(p.history, wwn, 10 + n), ==, 0);
                g_assert_cmpint(save(&p, wwn, "first"), ==, 0);
        }
        assert_reasons(p.history, "10 apply");
        fsyncs = 0;
        g_assert_cmpint(history_keep(p.history, "naa.5001405b00000000", 300), ==, 0);
        g_assert_cmpuint(fsyncs, ==, 0);
        g_assert_cmpint(history_keep(p.history, A, 301), ==, 0);
        g_assert_cmpuint(fsyncs, ==, 1);
        g_assert_cmpint(save(&p, A, "x"), ==, 0);

        for (unsigned n = 0; n < 100; n++) {
                g_autofree char *label = g_strdup_printf("%u", n);

                g_assert_cmpint(history_begin(p.history, HISTORY_NOBODY, "", "udev rules"), ==, 0);
                g_assert_cmpint(history_keep(p.history, n % 2 == 0 ? A : B, 400 + n), ==, 0);
                g_assert_cmpint(save(&p, n % 2 == 0 ? A : B, label), ==, 0);
        }
        assert_reasons(p.history, "10 apply, 400 udev rules");
        restart(&p);
        assert_reasons(p.history, "10 apply, 400 udev rules");
        assert_label(p.history, A, 399, "x");
        assert_label(p.history, B, 399, "none");
        assert_label(p.history, "naa.5001405b000000ff", 9, "none");
        place_done(&p);
}

/* Kept, and then not changed: by a crash or because the change failed. */
static void test_unchanged(void) {
        Place p = {};

        place_init(&p);
        change(&p, A, 10, "one");
        begin(&p, "crash");
        g_assert_cmpint(history_keep(p.history, A, 20), ==, 0);
        g_assert_cmpint(history_keep(p.history, B, 20), ==, 0);
        assert_label(p.history, A, 15, "one");
        restart(&p);
        assert_reasons(p.history, "10 one");
        g_assert_cmpuint(count_files(p.history_dir), ==, 2);

        /* Half of a change. */
        begin(&p, "half");
        g_assert_cmpint(history_keep(p.history, A, 30), ==, 0);
        g_assert_cmpint(save(&p, A, "three"), ==, 0);
        g_assert_cmpint(history_keep(p.history, C, 30), ==, 0);
        g_assert_cmpint(history_keep(p.history, B, 30), ==, 0);
        restart(&p);
        assert_reasons(p.history, "10 one, 30 half");
        g_assert_cmpuint(count_files(p.history_dir), ==, 4);
        assert_label(p.history, B, 10, "now");
        assert_label(p.history, A, 29, "one");

        /* Failed, and told so. */
        begin(&p, "failed");
        g_assert_cmpint(history_keep(p.history, A, 40), ==, 0);
        history_settle(p.history, A);
        assert_reasons(p.history, "10 one, 30 half");
        change(&p, A, 40, "four");
        assert_reasons(p.history, "10 one, 30 half, 40 four");

        /* The target's file is another one, though the caller was told that it failed: what was before it is kept, under its next name. */
        begin(&p, "last step");
        g_assert_cmpint(history_keep(p.history, A, 50), ==, 0);
        fsyncs = 0;
        fail_fsync = 2;
        g_assert_cmpint(save(&p, A, "never told"), ==, -EIO);
        fail_fsync = 0;
        history_settle(p.history, A);
        change(&p, A, 50, "five");
        assert_reasons(p.history, "10 one, 30 half, 40 four, 50 five");
        assert_label(p.history, A, 49, "four");
        restart(&p);
        assert_label(p.history, A, 49, "four");
        assert_label(p.history, A, 50, "now");
        place_done(&p);
}

static void test_fsync_fails(void) {
        Place p = {};

        place_init(&p);
        change(&p, A, 10, "one");
        begin(&p, "two");
        fsyncs = 0;
        fail_fsync = 1;
        g_assert_cmpint(history_keep(p.history, A, 20), ==, -EIO);
        fail_fsync = 0;
        assert_reasons(p.history, "10 one");
        g_assert_cmpuint(count_files(p.history_dir), ==, 2);
        change(&p, A, 20, "two");
        assert_reasons(p.history, "10 one, 20 two");
        place_done(&p);
}

/* No directory, no change: else an older generation would look like another one when there is one again. */
static void test_no_directory(void) {
        Place p = {};

        place_init(&p);
        place_close(&p);
        g_assert_cmpint(rmdir(p.history_dir), ==, 0);
        g_assert_true(g_file_set_contents(p.history_dir, "x", 1, NULL));
        place_open(&p);
        begin(&p, "one");
        g_assert_cmpint(history_keep(p.history, A, 10), ==, -ENOTDIR);
        assert_reasons(p.history, "");
        place_done(&p);
}

static void put(Place *p, const char *name, const char *text) {
        g_autofree char *path = g_build_filename(p->history_dir, name, NULL);

        g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static void put_link(Place *p, const char *name, const char *text) {
        g_autofree char *path = g_build_filename(p->history_dir, name, NULL);

        g_assert_cmpint(symlink(text, path), ==, 0);
}

static void test_garbage(void) {
        static const char *const others[] = { "README", "007", "0", "18446744073709551616", "9223372036854775808", "5.naa.1.json", "..naa", "6.json",
                                              "5." "NAA.5001405A00000001.json", "5." A ".json.bad", "5." A, "-5", "5.." "naa.5001405a0000001.json" };
        g_autofree char *directory = NULL;
        const HistoryEntry *e;
        Place p = {};

        place_init(&p);
        change(&p, A, 10, "one");
        change(&p, A, 20, "two");
        for (size_t i = 0; i < ELEMENTSOF(others); i++)
                put(&p, others[i], "x");
        put(&p, "12", "a file in place of a record");
        directory = g_build_filename(p.history_dir, "13", NULL);
        g_assert_cmpint(mkdir(directory, 0700), ==, 0);

        /* Records that say nothing, and whose target would be a way out. */
        put_link(&p, "14", "/etc/passwd");
        put_link(&p, "14." B ".json", "/etc/passwd");
        put_link(&p, "15", "1 2");
        put_link(&p, "15." B ".json", "../../../etc/passwd");
        restart(&p);
        assert_reasons(p.history, "10 one, 14 , 15 , 20 two");
        e = list_entry(history_entries(p.history)->next->next, HistoryEntry, link);
        g_assert_cmpuint(e->uid, ==, HISTORY_NOBODY);
        g_assert_cmpuint(e->time, ==, 0);
        assert_label(p.history, B, 13, "none");
        assert_label(p.history, A, 19, "one");
        for (size_t i = 0; i < ELEMENTSOF(others); i++) {
                g_autofree char *path = g_build_filename(p.history_dir, others[i], NULL);

                g_assert_true(g_file_test(path, G_FILE_TEST_IS_REGULAR));
        }
        place_done(&p);
}

static void test_broken_file(void) {
        static const char *const texts[] = { "", "{", "{\"version\":1}", "{\"version\":1,\"wwn\":\"" B "\",\"label\":\"\",\"nexus\":\"" NEXUS
                                             "\",\"wanted\":true,\"luns\":[]}" };
        char bad[WWN_SIZE];
        Place p = {};

        place_init(&p);
        change(&p, A, 10, "one");
        change(&p, A, 20, "two");
        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                _cleanup_(past_freep) Map *past = NULL;

                put(&p, "20." A ".json", texts[i]);
                restart(&p);
                g_assert_cmpint(past_new(p.history, 15, &past, bad), ==, -EBADMSG);
                g_assert_cmpstr(bad, ==, A);
                g_assert_null(past);
        }

        /* What needs it not is there all the same. */
        assert_label(p.history, A, 20, "now");
        assert_label(p.history, A, 9, "none");
        place_done(&p);
}

/* Without its record a file tells that something is missing: what is older is not to be trusted. */
static void test_lost_record(void) {
        g_autofree char *record = NULL;
        Place p = {};

        place_init(&p);
        change(&p, A, 10, "one");
        change(&p, A, 20, "two");
        change(&p, A, 30, "three");
        record = g_build_filename(p.history_dir, "20", NULL);
        g_assert_cmpint(unlink(record), ==, 0);
        restart(&p);
        assert_reasons(p.history, "30 three");
        assert_label(p.history, A, 29, "two");
        g_assert_cmpuint(count_files(p.history_dir), ==, 2);
        place_done(&p);
}

/* ---- full, and killed ---- */

static int full(Place *p) {
        g_autofree char *hog = g_build_filename(p->dir, "hog", NULL);
        unsigned hogs = 0, good = 0;

        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", p->dir, "tmpfs", 0, "size=1m,nr_inodes=64") < 0)
                return 77;

        restart(p);
        change(p, A, 10, "one");
        for (;; hogs++) {
                g_autofree char *path = g_strdup_printf("%s%u", hog, hogs);
                int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

                if (fd < 0)
                        break;
                close(fd);
        }
        g_assert_cmpint(errno, ==, ENOSPC);

        /* Inode by inode: kept as a whole, or not at all. */
        for (uint64_t generation = 20; hogs > 0; generation++) {
                g_autofree char *path = g_strdup_printf("%s%u", hog, --hogs);
                int r;

                begin(p, "more");
                r = history_keep(p->history, A, generation);
                if (r >= 0) {
                        r = save(p, A, "more");
                        if (r < 0)
                                history_settle(p->history, A);
                }
                g_assert_true(r == 0 || r == -ENOSPC);
                good += r == 0;
                g_assert_cmpuint(count_files(p->history_dir), ==, 2 + 2 * good);
                g_assert_cmpint(unlink(path), ==, 0);
        }
        g_assert_cmpuint(good, >, 0);
        assert_label(p->history, A, 19, "one");
        return 0;
}

static void test_full(void) {
        Place p = {};
        int status;
        pid_t pid;

        place_init(&p);
        pid = fork();
        g_assert_cmpint(pid, >=, 0);
        if (pid == 0)
                _exit(full(&p));
        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77)
                g_test_skip("not allowed here");
        else
                g_assert_cmpint(WEXITSTATUS(status), ==, 0);
        place_done(&p);
}

static void change_for_ever(Place *p, uint32_t n, int acknowledge) {
        for (;; n++) {
                g_autofree char *label = g_strdup_printf("%u", n);

                change(p, A, n, label);
                if (write(acknowledge, &n, sizeof n) != (ssize_t) sizeof n)
                        _exit(EXIT_FAILURE);
        }
}

/* Killed at any point: each generation that was acknowledged, and is not too old, is as it was. */
static void test_killed(void) {
        uint32_t last = 0;
        Place p = {};

        place_init(&p);
        for (unsigned round = 0; round < 30; round++) {
                uint32_t n, wanted = last + 1 + (uint32_t) g_test_rand_int_range(0, 100);
                int pipe_fds[2], status;
                pid_t pid;

                g_assert_cmpint(pipe(pipe_fds), ==, 0);
                pid = fork();
                g_assert_cmpint(pid, >=, 0);
                if (pid == 0) {
                        close(pipe_fds[0]);
                        change_for_ever(&p, last + 1, pipe_fds[1]);
                }
                close(pipe_fds[1]);

                while (last < wanted && read(pipe_fds[0], &n, sizeof n) == (ssize_t) sizeof n)
                        last = n;
                g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
                g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
                g_assert_true(WIFSIGNALED(status));
                while (read(pipe_fds[0], &n, sizeof n) == (ssize_t) sizeof n)
                        last = n;
                close(pipe_fds[0]);

                restart(&p);
                g_assert_cmpuint(history_newest(p.history), >=, last);
                g_assert_cmpuint(history_newest(p.history), <=, last + 1);
                for (uint32_t i = last > HISTORY_MAX - 1 ? last - (HISTORY_MAX - 1) : 0; i < last; i++) {
                        g_autofree char *label = i > 0 ? g_strdup_printf("%u", i) : g_strdup("none");

                        assert_label(p.history, A, i, label);
                }
                g_assert_cmpuint(count_files(p.history_dir), <=, 2 * HISTORY_MAX);
                last = (uint32_t) history_newest(p.history);
        }
        place_done(&p);
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/history/order", test_order);
        g_test_add_func("/history/words", test_words);
        g_test_add_func("/history/bounded", test_bounded);
        g_test_add_func("/history/burst", test_burst);
        g_test_add_func("/history/unchanged", test_unchanged);
        g_test_add_func("/history/fsync", test_fsync_fails);
        g_test_add_func("/history/no-directory", test_no_directory);
        g_test_add_func("/history/garbage", test_garbage);
        g_test_add_func("/history/broken-file", test_broken_file);
        g_test_add_func("/history/lost-record", test_lost_record);
        g_test_add_func("/history/full", test_full);
        g_test_add_func("/history/killed", test_killed);
        return g_test_run();
}
