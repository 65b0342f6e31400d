/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The floor: what a plain loop over configfs costs, one LUN after the other, nothing checked and nothing kept.
 *
 *   floor up N               target naa.5001405f10000000 with N LUNs on /dev/nullb0 … /dev/nullb<N-1>
 *   floor add WWN L TIMES    so often: LUN L on /dev/nullb<L> for a target that is there, and away again; the adding is timed, a line each
 *   floor down               takes every vhost target and every iblock backstore away, eight processes at once: nobody measures that
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TOP "/sys/kernel/config/target"
#define WWN "naa.5001405f10000000"
#define HANDS 8U

static void die(const char *what) {
        fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
        exit(1);
}

/* One path at a time: the next call overwrites it. */
static const char *path(const char *format, ...) {
        static char buffer[512];
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(buffer, sizeof buffer, format, ap);
        va_end(ap);
        return buffer;
}

static void make(const char *p) {
        if (mkdir(p, 0755) < 0 && errno != EEXIST)
                die(p);
}

static void put(const char *p, const char *value) {
        int fd = open(p, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, value, strlen(value)) != (ssize_t) strlen(value))
                die(p);
        close(fd);
}

static double now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void add(const char *wwn, unsigned i) {
        char disk[64], control[80], serial[64], store[128];

        (void) snprintf(disk, sizeof disk, "/dev/nullb%u", i);
        (void) snprintf(control, sizeof control, "udev_path=%s", disk);
        (void) snprintf(serial, sizeof serial, "00000000-0000-5000-8000-%012u", i);
        (void) snprintf(store, sizeof store, TOP "/core/iblock_%u/floor%u", i, i);
        make(path(TOP "/core/iblock_%u", i));
        make(store);
        put(path("%s/control", store), control);
        put(path("%s/udev_path", store), disk);
        put(path("%s/enable", store), "1");
        put(path("%s/wwn/vpd_unit_serial", store), serial);
        make(path(TOP "/vhost/%s/tpgt_1/lun/lun_%u", wwn, i));
        if (symlink(store, path(TOP "/vhost/%s/tpgt_1/lun/lun_%u/link", wwn, i)) < 0)
                die("symlink");
}

static void up(unsigned n) {
        make(TOP "/vhost");
        make(TOP "/vhost/" WWN);
        make(TOP "/vhost/" WWN "/tpgt_1");
        put(TOP "/vhost/" WWN "/tpgt_1/nexus", "naa.5001405f10000001");
        for (unsigned i = 0; i < n; i++)
                add(WWN, i);
}

static void must(int r, const char *what) {
        if (r < 0)
                die(what);
}

static void add_often(const char *wwn, unsigned i, unsigned times) {
        while (times-- > 0) {
                double begin = now();

                add(wwn, i);
                printf("%.6f\n", now() - begin);

                must(unlink(path(TOP "/vhost/%s/tpgt_1/lun/lun_%u/link", wwn, i)), "unlink");
                must(rmdir(path(TOP "/vhost/%s/tpgt_1/lun/lun_%u", wwn, i)), "rmdir of the LUN");
                must(rmdir(path(TOP "/core/iblock_%u/floor%u", i, i)), "rmdir of the backstore");
                must(rmdir(path(TOP "/core/iblock_%u", i)), "rmdir of the HBA");
        }
}

/* Calls f for every entry of dir whose name starts so; of those with a number, one hand of several takes its share. */
static void each_of_hand(const char *dir, const char *prefix, unsigned hand, unsigned hands, void (*f)(const char *)) {
        DIR *d = opendir(dir);
        struct dirent *e;

        while (d && (e = readdir(d)))
                if (strncmp(e->d_name, prefix, strlen(prefix)) == 0 && e->d_name[0] != '.' &&
                    (hands == 1 || strtoul(e->d_name + strlen(prefix), NULL, 10) % hands == hand)) {
                        char full[512];

                        (void) snprintf(full, sizeof full, "%s/%s", dir, e->d_name);
                        f(full);
                }
        if (d)
                closedir(d);
}

static void each(const char *dir, const char *prefix, void (*f)(const char *)) {
        each_of_hand(dir, prefix, 0, 1, f);
}

static void each_with_many_hands(const char *dir, const char *prefix, void (*f)(const char *)) {
        int status;

        for (unsigned hand = 0; hand < HANDS; hand++)
                if (fork() == 0) {
                        each_of_hand(dir, prefix, hand, HANDS, f);
                        _exit(0);
                }
        while (wait(&status) >= 0)
                if (status != 0)
                        exit(1);
}

static void remove_link(const char *p) {
        struct stat st;

        if (lstat(p, &st) == 0 && S_ISLNK(st.st_mode) && unlink(p) < 0)
                die(p);
}

static void remove_lun(const char *p) {
        each(p, "", remove_link);
        if (rmdir(p) < 0)
                die(p);
}

static void remove_target(const char *p) {
        char luns[512], tpg[512];

        (void) snprintf(tpg, sizeof tpg, "%.400s/tpgt_1", p);
        (void) snprintf(luns, sizeof luns, "%.400s/lun", tpg);
        each_with_many_hands(luns, "lun_", remove_lun);
        if ((rmdir(tpg) < 0 && errno != ENOENT) || rmdir(p) < 0)
                die(p);
}

static void remove_backstore(const char *p) {
        struct stat st;

        if (stat(p, &st) == 0 && S_ISDIR(st.st_mode) && rmdir(p) < 0)
                die(p);
}

static void remove_hba(const char *p) {
        each(p, "", remove_backstore);
        if (rmdir(p) < 0)
                die(p);
}

int main(int argc, char **argv) {
        double begin = now();

        if (argc == 3 && strcmp(argv[1], "up") == 0)
                up((unsigned) strtoul(argv[2], NULL, 10));
        else if (argc == 5 && strcmp(argv[1], "add") == 0) {
                add_often(argv[2], (unsigned) strtoul(argv[3], NULL, 10), (unsigned) strtoul(argv[4], NULL, 10));
                return 0;
        } else if (argc == 2 && strcmp(argv[1], "down") == 0) {
                each(TOP "/vhost", "naa.", remove_target);
                each_with_many_hands(TOP "/core", "iblock_", remove_hba);
        } else {
                fprintf(stderr, "usage: floor up N | floor add WWN L TIMES | floor down\n");
                return 2;
        }

        printf("%.3f\n", now() - begin);
        return 0;
}
