/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>

#include "base/errno.h"
#include "base/strv.h"
#include "conformance-calls.h"

Cfs *cfs;
unsigned operations;

static const char *result(int r) {
        static char s[32];

        if (r >= 0) {
                snprintf(s, sizeof s, "%d", r);
                return s;
        }

        snprintf(s, sizeof s, "-%s", strerrorname_np(-r) ?: "?");
        return s;
}

/* Text of the test's own on one line, cut if it is long. */
static void print_text(const char *s) {
        size_t n = strlen(s);

        for (size_t i = 0; i < n && i < 300; i++)
                if (s[i] == '\n')
                        fputs("\\n", stdout);
                else
                        putchar(s[i]);
        if (n > 300)
                printf("... (%zu)", n);
}

static void print_path(const char *path) {
        if (strlen(path) > 100)
                printf("%.60s... (%zu)", path, strlen(path));
        else
                fputs(path, stdout);
}

static void print_call(const char *call, const char *path) {
        operations++;
        printf("%s ", call);
        print_path(path);
}

void make(const char *path) {
        int r = cfs_mkdir(cfs, path);

        print_call("mkdir", path);
        printf(" -> %s\n", result(r));
}

void drop(const char *path) {
        int r = cfs_rmdir(cfs, path);

        print_call("rmdir", path);
        printf(" -> %s\n", result(r));
}

void link_to(const char *target, const char *path) {
        int r = cfs_symlink(cfs, target, path);

        print_call("symlink", path);
        printf(" %s -> %s\n", target, result(r));
}

void unlink_at(const char *path) {
        int r = cfs_unlink(cfs, path);

        print_call("unlink", path);
        printf(" -> %s\n", result(r));
}

void put(const char *path, const char *value) {
        int r = cfs_write(cfs, path, value);

        print_call("write", path);
        putchar(' ');
        print_text(value);
        printf(" -> %s\n", result(r));
}

/* The number after each occurrence of the word becomes a letter, if it is not 0. */
static void mask(char *s, const char *word, char letter) {
        for (char *p = s; (p = strstr(p, word));) {
                size_t n;

                p += strlen(word);
                n = strspn(p, "0123456789");
                if (n == 0 || (n == 1 && *p == '0'))
                        continue;
                *p = letter;
                memmove(p + 1, p + n, strlen(p + n) + 1);
        }
}

void get(const char *path) {
        _cleanup_free_ char *s = NULL;
        int r = cfs_read(cfs, path, &s);

        print_call("read", path);
        if (r < 0) {
                printf(" -> %s\n", result(r));
                return;
        }

        mask(s, "Major: ", 'M');
        if (strstr(s, "Major: M"))
                mask(s, "Minor: ", 'N');
        if (strstr(s, "Major: M Minor: 0"))
                *(strstr(s, "Minor: ") + strlen("Minor: ")) = 'N';
        mask(s, "HwMaxSectors: ", 'H');
        mask(s, "HBA Index: ", 'I');
        printf(" -> 0 \"");
        print_text(s);
        puts("\"");
}

/* A number that depends on the device or the kernel: only whether it is 0. */
void get_some(const char *path) {
        _cleanup_free_ char *s = NULL;
        int r = cfs_read(cfs, path, &s);

        print_call("read", path);
        printf(" -> %s %s\n", result(r), r < 0 ? "" : streq(s, "0") ? "0" : "N");
}

void list(const char *path, bool directories, bool links) {
        _cleanup_(strv_freep) char **names = NULL;
        int r = cfs_list(cfs, path, directories, links, &names);

        print_call(directories ? "list directories" : links ? "list links" : "list", path);
        printf(" -> %s", result(r));
        for (char **n = names; r >= 0 && *n; n++)
                printf(" %s", *n);
        putchar('\n');
}

/* Only those of the test's own: what else the host has is not our business. */
void list_own(const char *path, const char *mark) {
        _cleanup_(strv_freep) char **names = NULL;
        int r = cfs_list(cfs, path, true, false, &names);

        print_call("list own", path);
        printf(" -> %s", result(r));
        for (char **n = names; r >= 0 && *n; n++)
                if (strstr(*n, mark))
                        printf(" %s", *n);
        putchar('\n');
}

void where(const char *path) {
        _cleanup_free_ char *s = NULL;
        int r = cfs_readlink(cfs, path, &s);

        print_call("readlink", path);
        printf(" -> %s %s\n", result(r), r < 0 ? "" : s);
}

void exists(const char *path) {
        int r = cfs_exists(cfs, path);

        print_call("exists", path);
        printf(" -> %s\n", result(r));
}

void diskseq(const char *what, dev_t devnum) {
        uint64_t seq = 0;
        int r = cfs_block_diskseq(cfs, devnum, &seq);

        print_call("diskseq", what);
        printf(" -> %s %s\n", result(r), r < 0 ? "" : seq > 0 ? "N" : "0");
}

const char *long_text(char fill, size_t n) {
        static char s[8192];

        memset(s, fill, n);
        s[n] = 0;
        return s;
}

const char *format(const char *f, ...) {
        static char s[2][4096];
        static unsigned turn;
        va_list ap;

        turn ^= 1;
        va_start(ap, f);
        vsnprintf(s[turn], sizeof s[turn], f, ap);
        va_end(ap);
        return s[turn];
}
