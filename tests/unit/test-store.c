/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <glib.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "store/store.h"
#include "store/target-json.h"
#include "tree.h"

#define WWN_A "naa.5001405aaaaaaaaa"
#define WWN_B "naa.5001405bbbbbbbbb"
#define NEXUS "naa.5001405000000001"

/* The linker takes these for the C library's: what a dying disk says. */
static unsigned fsyncs, fail_fsync;

int fsync(int fd) {
        if (++fsyncs == fail_fsync) {
                errno = EIO;
                return -1;
        }

        return (int) syscall(SYS_fsync, fd);
}

typedef struct Place {
        char *dir, *targets;
        Store *store;
} Place;

static void place_init(Place *p) {
        p->dir = g_dir_make_tmp("vhscsid-store-XXXXXX", NULL);
        g_assert_nonnull(p->dir);
        p->targets = g_build_filename(p->dir, "targets", NULL);
        g_assert_cmpint(store_new(p->dir, &p->store), ==, 0);
}

static void place_done(Place *p) {
        store_free(p->store);
        tree_remove(p->dir);
        g_free(p->dir);
        g_free(p->targets);
}

static char *file(Place *p, const char *name) {
        return g_build_filename(p->targets, name, NULL);
}

static bool is_there(Place *p, const char *name) {
        g_autofree char *path = file(p, name);

        return access(path, F_OK) == 0;
}

static void put(Place *p, const char *name, const char *text) {
        g_autofree char *path = file(p, name);

        g_assert_true(g_file_set_contents(path, text, -1, NULL));
}

static char *get(Place *p, const char *name) {
        g_autofree char *path = file(p, name);
        char *text = NULL;

        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        return text;
}

static unsigned count_files(Place *p) {
        GDir *d = g_dir_open(p->targets, 0, NULL);
        unsigned n = 0;

        g_assert_nonnull(d);
        while (g_dir_read_name(d))
                n++;
        g_dir_close(d);
        return n;
}

static Target *make_target(const char *wwn, const char *label) {
        Target *t = target_new(wwn);

        g_assert_nonnull(t);
        memcpy(t->nexus, NEXUS, WWN_SIZE);
        g_assert_cmpint(free_and_strdup(&t->label, label), >=, 0);
        return t;
}

static void load(Place *p, Registry *r) {
        g_assert_cmpint(registry_init(r, 1), ==, 0);
        g_assert_cmpint(store_load(p->store, r), ==, 0);
}

static bool is_bad(Place *p, const char *wwn) {
        Registry r;
        bool bad;

        load(p, &r);
        bad = strv_contains(r.bad, wwn);
        g_assert_true(!bad || !registry_target(&r, wwn));
        registry_done(&r);
        return bad;
}

static char *text_of(const char *wwn, const char *luns) {
        return g_strdup_printf("{\"version\":1,\"wwn\":\"%s\",\"label\":\"\",\"nexus\":\"" NEXUS "\",\"wanted\":true,\"luns\":[%s]}\n",
                               wwn, luns);
}

static mode_t mode_of(const char *path) {
        struct stat st;

        g_assert_cmpint(stat(path, &st), ==, 0);
        return st.st_mode & 07777;
}

static void test_modes(void) {
        _cleanup_(target_freep) Target *t = make_target(WWN_A, "x");
        g_autofree char *dir = NULL, *path = NULL;
        mode_t mask = umask(0);
        Place p = {};

        place_init(&p);
        g_assert_cmpint(store_save(p.store, t), ==, 0);
        path = file(&p, WWN_A ".json");
        g_assert_cmpuint(mode_of(p.targets), ==, 0700);
        g_assert_cmpuint(mode_of(path), ==, 0600);

        /* Over a file that somebody opened to others. */
        g_assert_cmpint(chmod(path, 0666), ==, 0);
        g_assert_cmpint(store_save(p.store, t), ==, 0);
        g_assert_cmpuint(mode_of(path), ==, 0600);

        dir = g_build_filename(p.dir, "new", NULL);
        store_free(p.store);
        g_assert_cmpint(store_new(dir, &p.store), ==, 0);
        g_assert_cmpuint(mode_of(dir), ==, 0700);
        umask(mask);
        place_done(&p);
}

static void test_new_refused(void) {
        g_autofree char *link = NULL, *not_dir = NULL;
        Store *s = NULL;
        Place p = {};

        place_init(&p);
        link = g_build_filename(p.dir, "link", NULL);
        g_assert_cmpint(symlink(p.targets, link), ==, 0);
        g_assert_cmpint(store_new(link, &s), <, 0);
        not_dir = g_build_filename(p.dir, "file", NULL);
        g_assert_true(g_file_set_contents(not_dir, "", -1, NULL));
        g_assert_cmpint(store_new(not_dir, &s), ==, -ENOTDIR);
        g_assert_cmpint(store_new("/nowhere/at/all", &s), ==, -ENOENT);
        g_assert_null(s);
        place_done(&p);
}

static void test_save_load_remove(void) {
        _cleanup_(target_freep) Target *t = make_target(WWN_A, "first");
        Place p = {};
        Registry r;

        place_init(&p);
        g_assert_cmpint(store_save(p.store, t), ==, 0);
        /* The file, then its directory. */
        fsyncs = 0;
        g_assert_cmpint(free_and_strdup(&t->label, "second"), ==, 1);
        g_assert_cmpint(store_save(p.store, t), ==, 0);
        g_assert_cmpuint(fsyncs, ==, 2);
        load(&p, &r);
        g_assert_cmpstr(registry_target(&r, WWN_A)->label, ==, "second");
        registry_done(&r);
        fsyncs = 0;
        g_assert_cmpint(store_remove(p.store, WWN_A), ==, 0);
        g_assert_cmpuint(fsyncs, ==, 1);
        g_assert_cmpint(store_remove(p.store, WWN_A), ==, 0);
        g_assert_cmpuint(count_files(&p), ==, 0);
        place_done(&p);
}

/* What is not a target's file is not looked at, nor touched. */
static void test_strange_names(void) {
        static const char *const names[] = {
                "." WWN_A ".json.new", WWN_A, WWN_A ".json~", WWN_A ".json.bak", WWN_A ".jso", "naa.5001405AAAAAAAAA.json",
                "naa.1001405aaaaaaaaa.json", "README", ".json", "0x5001405aaaaaaaaaxx.json", WWN_A ".json.bad.bad",
        };
        _cleanup_(target_freep) Target *t = make_target(WWN_B, "x");
        Place p = {};
        Registry r;

        place_init(&p);
        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                put(&p, names[i], "{cut");
        g_assert_cmpint(store_save(p.store, t), ==, 0);
        load(&p, &r);
        g_assert_cmpuint(map_size(r.targets), ==, 1);
        g_assert_null(r.bad);
        registry_done(&r);

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                g_autofree char *text = get(&p, names[i]);

                g_assert_cmpstr(text, ==, "{cut");
        }
        place_done(&p);
}

/* What a crash left behind is overwritten, whatever it is. */
static void test_leftover(void) {
        _cleanup_(target_freep) Target *t = make_target(WWN_A, "x");
        g_autofree char *path = NULL, *victim = NULL, *text = NULL;
        Place p = {};

        place_init(&p);
        put(&p, "." WWN_A ".json.new", "half");
        g_assert_cmpint(store_save(p.store, t), ==, 0);

        /* Nor is a link of that name followed. */
        victim = g_build_filename(p.dir, "victim", NULL);
        path = file(&p, "." WWN_A ".json.new");
        g_assert_true(g_file_set_contents(victim, "mine", -1, NULL));
        g_assert_cmpint(symlink(victim, path), ==, 0);
        g_assert_cmpint(store_save(p.store, t), ==, 0);
        g_assert_true(g_file_get_contents(victim, &text, NULL, NULL));
        g_assert_cmpstr(text, ==, "mine");
        g_assert_cmpuint(count_files(&p), ==, 1);
        place_done(&p);
}

/* A broken file is kept under another name, and its WWN is left alone, now and after every further start. */
static void test_broken(void) {
        g_autofree char *good = text_of(WWN_B, ""), *other = text_of(WWN_B, "");
        const char *const texts[] = { "", "{", "null", "{\"version\":1}", other };

        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                g_autofree char *kept = NULL;
                Place p = {};
                Registry r;

                place_init(&p);
                put(&p, WWN_A ".json", texts[i]);
                put(&p, WWN_B ".json", good);
                load(&p, &r);
                g_assert_true(strv_contains(r.bad, WWN_A) && r.bad_reasons[0][0] != 0);
                g_assert_null(registry_target(&r, WWN_A));
                g_assert_nonnull(registry_target(&r, WWN_B));
                registry_done(&r);

                g_assert_false(is_there(&p, WWN_A ".json"));
                kept = get(&p, WWN_A ".json.bad");
                g_assert_cmpstr(kept, ==, texts[i]);
                g_assert_true(is_bad(&p, WWN_A));
                place_done(&p);
        }
}

/* One that was set aside stays as it is, and so does the next broken one. A good one beside it counts. */
static void test_bad_is_kept(void) {
        g_autofree char *good = text_of(WWN_A, ""), *first = NULL, *second = NULL;
        Place p = {};
        Registry r;

        place_init(&p);
        put(&p, WWN_A ".json", "first");
        g_assert_true(is_bad(&p, WWN_A));
        put(&p, WWN_A ".json", "second");
        g_assert_true(is_bad(&p, WWN_A));
        g_assert_true(is_bad(&p, WWN_A));
        first = get(&p, WWN_A ".json.bad");
        second = get(&p, WWN_A ".json");
        g_assert_cmpstr(first, ==, "first");
        g_assert_cmpstr(second, ==, "second");

        put(&p, WWN_A ".json", good);
        load(&p, &r);
        g_assert_nonnull(registry_target(&r, WWN_A));
        g_assert_false(strv_contains(r.bad, WWN_A));
        registry_done(&r);
        place_done(&p);
}

/* A newer version's file, and what cannot even be read, stay where they are. */
static void test_left_in_place(void) {
        g_autofree char *path = NULL, *fifo = NULL;
        Place p = {};
        int fd;

        place_init(&p);
        put(&p, WWN_A ".json", "{\"version\":2}");
        g_assert_true(is_bad(&p, WWN_A));
        g_assert_true(is_there(&p, WWN_A ".json"));

        path = file(&p, WWN_B ".json");
        g_assert_cmpint(mkdir(path, 0700), ==, 0);
        g_assert_true(is_bad(&p, WWN_B));
        g_assert_cmpint(rmdir(path), ==, 0);
        fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        g_assert_cmpint(ftruncate(fd, TARGET_JSON_MAX + 1), ==, 0);
        close(fd);
        g_assert_true(is_bad(&p, WWN_B));
        g_assert_true(is_there(&p, WWN_B ".json"));
        g_assert_cmpint(unlink(path), ==, 0);

        g_assert_cmpint(symlink("nowhere", path), ==, 0);
        g_assert_true(is_bad(&p, WWN_B));
        /* Does not wait for a writer. */
        fifo = file(&p, "naa.5001405ccccccccc.json");
        g_assert_cmpint(mkfifo(fifo, 0600), ==, 0);
        g_assert_true(is_bad(&p, "naa.5001405ccccccccc"));
        place_done(&p);
}

#define LUN(number, rest) "{\"number\":" number ",\"source\":\"wwid=36001\",\"name\":\"d-1\",\"origin\":\"manual\",\"wanted\":true," rest "}"

/* Two files that disagree about one disk, or about who has an HBA: always the same one is set aside, the later name. */
static void test_disagree(void) {
        static const char *const others[] = {
                LUN("0", "\"serial\":\"s-2\",\"hba\":7"),
                LUN("0", "\"serial\":\"s-1\",\"hba\":8"),
                LUN("0", "\"serial\":\"s-1\",\"hba\":7,\"readonly\":true"),
                LUN("0", "\"serial\":\"s-1\",\"hba\":7,\"attributes\":{\"emulate_3pc\":\"1\"}"),
                LUN("0", "\"serial\":\"s-1\",\"hba\":7,\"name\":\"d-2\""),
                LUN("0", "\"serial\":\"s-3\",\"hba\":7,\"source\":\"wwid=other\""),
        };
        g_autofree char *a = text_of(WWN_A, LUN("0", "\"serial\":\"s-1\",\"hba\":7"));
        g_autofree char *same = text_of(WWN_B, LUN("3", "\"serial\":\"s-1\",\"hba\":7"));
        Place p = {};
        Registry r;

        place_init(&p);
        put(&p, WWN_A ".json", a);
        put(&p, WWN_B ".json", same);
        load(&p, &r);
        g_assert_null(r.bad);
        g_assert_true(target_lun(registry_target(&r, WWN_A), 0)->backstore == target_lun(registry_target(&r, WWN_B), 3)->backstore);
        registry_done(&r);

        for (size_t i = 0; i < ELEMENTSOF(others); i++) {
                g_autofree char *b = text_of(WWN_B, others[i]), *bad = file(&p, WWN_B ".json.bad");

                put(&p, WWN_B ".json", b);
                load(&p, &r);
                g_assert_true(strv_contains(r.bad, WWN_B) && !strv_contains(r.bad, WWN_A));
                g_assert_nonnull(registry_target(&r, WWN_A));
                g_assert_null(registry_target(&r, WWN_B));
                g_assert_cmpuint(map_size(r.backstores), ==, 1);
                registry_done(&r);
                g_assert_cmpint(unlink(bad), ==, 0);
        }
        place_done(&p);
}

/* Old content or new, nothing left over, whichever call fails. */
static void assert_save_fails(Place *p, int error) {
        _cleanup_(target_freep) Target *t = make_target(WWN_A, "new");
        g_autofree char *before = get(p, WWN_A ".json"), *after = NULL;
        int r = store_save(p->store, t);

        g_assert_cmpint(r, ==, error);
        after = get(p, WWN_A ".json");
        g_assert_cmpstr(before, ==, after);
        g_assert_false(is_there(p, "." WWN_A ".json.new"));
}

static void begin_old(Place *p) {
        _cleanup_(target_freep) Target *t = make_target(WWN_A, "old");

        place_init(p);
        g_assert_cmpint(store_save(p->store, t), ==, 0);
}

static void test_fsync_fails(void) {
        Place p = {};

        begin_old(&p);
        fsyncs = 0;
        fail_fsync = 1;
        assert_save_fails(&p, -EIO);

        /* The directory's: the old content gets its name back. */
        fsyncs = 0;
        fail_fsync = 2;
        assert_save_fails(&p, -EIO);
        fsyncs = 0;
        fail_fsync = 1;
        g_assert_cmpint(store_remove(p.store, WWN_A), ==, -EIO);
        fail_fsync = 0;
        place_done(&p);
}

static void test_file_size_limit(void) {
        struct rlimit old, small = { .rlim_cur = 10, .rlim_max = RLIM_INFINITY };
        Place p = {};

        begin_old(&p);
        signal(SIGXFSZ, SIG_IGN);
        g_assert_cmpint(getrlimit(RLIMIT_FSIZE, &old), ==, 0);
        small.rlim_max = old.rlim_max;
        g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &small), ==, 0);
        assert_save_fails(&p, -EFBIG);
        g_assert_cmpint(setrlimit(RLIMIT_FSIZE, &old), ==, 0);
        place_done(&p);
}

static void test_directory_in_the_way(void) {
        _cleanup_(target_freep) Target *t = make_target(WWN_B, "new");
        g_autofree char *path = NULL, *temporary = NULL;
        Place p = {};

        begin_old(&p);
        path = file(&p, WWN_B ".json");
        g_assert_cmpint(mkdir(path, 0700), ==, 0);
        g_assert_cmpint(store_save(p.store, t), ==, -EISDIR);
        g_assert_cmpint(store_remove(p.store, WWN_B), <, 0);
        g_assert_cmpuint(count_files(&p), ==, 2);

        temporary = file(&p, "." WWN_A ".json.new");
        g_assert_cmpint(mkdir(temporary, 0700), ==, 0);
        free_and_strdup(&t->wwn, WWN_A);
        g_assert_cmpint(store_save(p.store, t), ==, -EISDIR);
        g_assert_false(is_bad(&p, WWN_A));
        place_done(&p);
}

/* In a child, since it gives up what the rest of the test needs. 77: cannot be had here. */
static void in_child(Place *p, int (*f)(Place *p)) {
        pid_t pid = fork();
        int status;

        g_assert_cmpint(pid, >=, 0);
        if (pid == 0)
                _exit(f(p));

        g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
        g_assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77)
                g_test_skip("not allowed here");
        else
                g_assert_cmpint(WEXITSTATUS(status), ==, 0);
}

static int save_without_right(Place *p) {
        if (getuid() == 0 && (setgroups(0, NULL) < 0 || setgid(65534) < 0 || setuid(65534) < 0))
                return 77;

        assert_save_fails(p, -EACCES);
        return 0;
}

static void test_read_only_directory(void) {
        g_autofree char *path = NULL;
        Place p = {};

        begin_old(&p);
        path = file(&p, WWN_A ".json");
        if (getuid() == 0) {
                g_assert_cmpint(chown(p.targets, 65534, 65534), ==, 0);
                g_assert_cmpint(chown(path, 65534, 65534), ==, 0);
                g_assert_cmpint(chmod(p.dir, 0755), ==, 0);
        }
        g_assert_cmpint(chmod(p.targets, 0500), ==, 0);
        in_child(&p, save_without_right);
        g_assert_cmpint(chmod(p.targets, 0700), ==, 0);
        place_done(&p);
}

static int save_on_full_disk(Place *p) {
        _cleanup_(target_freep) Target *t = make_target(WWN_A, "old");
        g_autofree char *filler = g_strnfill(1024 * 1024, 'x'), *hog = NULL;
        unsigned good = 0;
        int fd;

        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("tmpfs", p->dir, "tmpfs", 0, "size=64k") < 0)
                return 77;

        store_free(p->store);
        g_assert_cmpint(store_new(p->dir, &p->store), ==, 0);
        g_assert_cmpint(store_save(p->store, t), ==, 0);
        hog = g_build_filename(p->dir, "hog", NULL);
        fd = open(hog, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        g_assert_cmpint(write(fd, filler, 1024 * 1024), >, 0);
        assert_save_fails(p, -ENOSPC);

        /* From full to roomy, page by page: there is a point where it fits, and none where it is cut. */
        for (off_t size = 64 * 1024; size >= 0; size -= 1024) {
                g_assert_cmpint(ftruncate(fd, size), ==, 0);
                good += store_save(p->store, t) == 0;
                g_assert_false(is_bad(p, WWN_A));
                g_assert_cmpuint(count_files(p), ==, 1);
        }
        g_assert_cmpuint(good, >, 0);
        return 0;
}

static void test_full_disk(void) {
        Place p = {};

        place_init(&p);
        in_child(&p, save_on_full_disk);
        place_done(&p);
}

/* Saves and, each fifth time, removes; writes the number of what is done, as a reply would. */
static void save_for_ever(Place *p, uint32_t n, int acknowledge) {
        for (;; n++) {
                g_autofree char *label = g_strdup_printf("%u", n);
                _cleanup_(target_freep) Target *t = make_target(WWN_A, label);
                int r = n % 5 == 0 ? store_remove(p->store, WWN_A) : store_save(p->store, t);

                if (r < 0 || write(acknowledge, &n, sizeof n) != (ssize_t) sizeof n)
                        _exit(EXIT_FAILURE);
        }
}

static bool state_is(const Target *t, uint32_t n) {
        return t ? n % 5 != 0 && strtoul(t->label, NULL, 10) == n : n % 5 == 0;
}

/* Killed at any point: what was acknowledged, or what came right after it, is there; never less, never a half. */
static void test_kill(void) {
        GRand *rand = g_rand_new_with_seed(20);
        uint32_t last = 0;
        Place p = {};

        place_init(&p);
        for (unsigned i = 0; i < 300; i++) {
                uint32_t first = last + 1, n = 0;
                unsigned rounds = (unsigned) g_rand_int_range(rand, 0, 8), spin = (unsigned) g_rand_int_range(rand, 0, 200000);
                int fds[2], status;
                Registry r;
                pid_t pid;

                g_assert_cmpint(pipe2(fds, O_CLOEXEC), ==, 0);
                pid = fork();
                if (pid == 0)
                        save_for_ever(&p, first, fds[1]);
                g_assert_cmpint(pid, >, 0);
                close(fds[1]);

                /* Some replies, and then somewhere in the next one's work. */
                for (unsigned k = 0; k < rounds; k++)
                        g_assert_cmpint(read(fds[0], &last, sizeof last), ==, sizeof last);
                for (volatile unsigned k = 0; k < spin; k++)
                        ;
                g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
                g_assert_cmpint(waitpid(pid, &status, 0), ==, pid);
                g_assert_true(WIFSIGNALED(status));
                while (read(fds[0], &n, sizeof n) == (ssize_t) sizeof n)
                        last = n;
                close(fds[0]);

                load(&p, &r);
                g_assert_null(r.bad);
                if (!state_is(registry_target(&r, WWN_A), last)) {
                        g_assert_true(state_is(registry_target(&r, WWN_A), last + 1));
                        last++;
                }
                registry_done(&r);
        }

        g_rand_free(rand);
        place_done(&p);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/store/modes", test_modes);
        g_test_add_func("/store/new-refused", test_new_refused);
        g_test_add_func("/store/save-load-remove", test_save_load_remove);
        g_test_add_func("/store/strange-names", test_strange_names);
        g_test_add_func("/store/leftover", test_leftover);
        g_test_add_func("/store/broken", test_broken);
        g_test_add_func("/store/bad-is-kept", test_bad_is_kept);
        g_test_add_func("/store/left-in-place", test_left_in_place);
        g_test_add_func("/store/disagree", test_disagree);
        g_test_add_func("/store/fsync-fails", test_fsync_fails);
        g_test_add_func("/store/file-size-limit", test_file_size_limit);
        g_test_add_func("/store/directory-in-the-way", test_directory_in_the_way);
        g_test_add_func("/store/read-only-directory", test_read_only_directory);
        g_test_add_func("/store/full-disk", test_full_disk);
        g_test_add_func("/store/kill", test_kill);

        return g_test_run();
}
