/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A guest's application: writes and reads back its disk without a page cache and counts what goes wrong.
 *
 *   guestio start DEV MIB [ro]   works in the background until `guestio stop DEV`
 *   guestio status DEV           ops=N errors=N mismatches=N slowest_ms=N last_errno=N running=0|1
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096u

struct stats {
        uint64_t ops, errors, mismatches, slowest_us;
        int32_t last_errno, pid;
};

static uint64_t now_us(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

static struct stats *stats_open(const char *device) {
        char path[256];
        void *p;
        int fd;

        snprintf(path, sizeof path, "/run/guestio-%s", device);
        fd = open(path, O_RDWR | O_CREAT, 0600);
        if (fd < 0 || ftruncate(fd, sizeof(struct stats)) < 0)
                return NULL;
        p = mmap(NULL, sizeof(struct stats), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        return p == MAP_FAILED ? NULL : p;
}

static void count(struct stats *s, uint64_t begin, int failed) {
        uint64_t took = now_us() - begin;

        if (failed) {
                s->errors++;
                s->last_errno = errno;
        }
        if (took > s->slowest_us)
                s->slowest_us = took;
        s->ops++;
}

static void work(struct stats *s, int fd, uint64_t blocks, int read_only) {
        uint64_t *out = aligned_alloc(BLOCK, BLOCK), *in = aligned_alloc(BLOCK, BLOCK);

        for (uint64_t n = 0; out && in; n++) {
                off_t at = (off_t) (n * 7 % blocks * BLOCK);
                uint64_t begin = now_us();

                if (!read_only) {
                        for (unsigned i = 0; i < BLOCK / sizeof *out; i++)
                                out[i] = (n << 32) ^ ((uint64_t) at << 8) ^ i;
                        count(s, begin, pwrite(fd, out, BLOCK, at) != BLOCK);
                        begin = now_us();
                }
                count(s, begin, pread(fd, in, BLOCK, at) != BLOCK);
                if (!read_only && memcmp(in, out, BLOCK))
                        s->mismatches++;
        }
}

int main(int argc, char **argv) {
        struct stats *s;

        if (argc < 3 || !(s = stats_open(argv[2])))
                return 2;
        if (!strcmp(argv[1], "start") && argc >= 4) {
                int read_only = argc > 4 && !strcmp(argv[4], "ro");
                char path[256];
                int fd;

                snprintf(path, sizeof path, "/dev/%s", argv[2]);
                fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_DIRECT);
                if (fd < 0) {
                        perror(path);
                        return 1;
                }
                memset(s, 0, sizeof *s);
                s->pid = fork();
                if (s->pid != 0)
                        return s->pid < 0;
                setsid();
                dup2(open("/dev/null", O_RDWR), 1);
                dup2(1, 2);
                s->pid = getpid();
                work(s, fd, strtoull(argv[3], NULL, 10) * 1048576 / BLOCK, read_only);
                return 1;
        }
        if (!strcmp(argv[1], "stop"))
                return s->pid > 0 ? kill(s->pid, SIGKILL) != 0 : 1;
        printf("ops=%llu errors=%llu mismatches=%llu slowest_ms=%llu last_errno=%d running=%d\n",
               (unsigned long long) s->ops, (unsigned long long) s->errors, (unsigned long long) s->mismatches,
               (unsigned long long) s->slowest_us / 1000, (int) s->last_errno, s->pid > 0 && kill(s->pid, 0) == 0);
        return 0;
}
