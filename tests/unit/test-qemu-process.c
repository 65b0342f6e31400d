/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <glib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernel/qemu-process.h"
#include "tree.h"

/* kernel/qemu-process.c itself, on a /proc that is made up. */

#define WWN "naa.500140568720f76f"
#define DEVICE "vhost-scsi-pci,wwpn=" WWN
#define FOREVER UINT64_C(600000000)
#define LIBVIRT 64055U
#define STRANGER 1000U

static char *proc_new(void) {
        char *proc = g_dir_make_tmp("vhscsid-test-XXXXXX", NULL);

        g_assert_nonnull(proc);
        return proc;
}

static void put(const char *proc, const char *pid, const char *file, const void *data, size_t size) {
        g_autofree char *directory = g_build_filename(proc, pid, NULL), *path = g_build_filename(directory, file, NULL);

        g_assert_cmpint(g_mkdir_with_parents(directory, 0700), ==, 0);
        g_assert_true(g_file_set_contents(path, data, (gssize) size, NULL));
}

static void put_status(const char *proc, const char *pid, const char *name, unsigned real, unsigned effective) {
        g_autofree char *status = g_strdup_printf("Name:\t%s\nUmask:\t0022\nUid:\t%u\t%u\t%u\t%u\nGid:\t0\t0\t0\t0\n", name, real, effective,
                                                  effective, effective);

        put(proc, pid, "status", status, strlen(status));
}

static void put_qemu(const char *proc, const char *pid, unsigned user, const char *name, const char *device) {
        g_autoptr(GString) line = g_string_new("/usr/bin/qemu-system-x86_64");

        g_string_append_c(line, 0);
        for (const char *const *a = (const char *const[]) { "-name", name, "-device", device, NULL }; *a; a++)
                g_string_append_len(line, *a, (gssize) strlen(*a) + 1);
        put_status(proc, pid, "qemu-system-x86", user, user);
        put(proc, pid, "cmdline", line->str, line->len);
}

static void assert_found(const char *proc, uint32_t pid, const char *name) {
        Guest g = {};

        g_assert_cmpint(qemu_process_find(proc, WWN, LIBVIRT, FOREVER, &g), ==, pid > 0);
        g_assert_cmpuint(g.pid, ==, pid);
        g_assert_cmpstr(g.name, ==, name);
}

static void test_find(void) {
        g_autofree char *proc = proc_new(), *description = NULL;
        Guest g = {};

        put(proc, "sys", "cmdline", "", 0);
        put(proc, "2", "status", "Name:\tkthreadd\n", strlen("Name:\tkthreadd\n"));
        put_status(proc, "3", "gone", 0, 0);
        put_status(proc, "4", "kworker", 0, 0);
        put(proc, "4", "cmdline", "", 0);
        put_qemu(proc, "50", 0, "other", "vhost-scsi-pci,wwpn=naa.5000000000000000");
        assert_found(proc, 0, "");

        put_qemu(proc, "60", LIBVIRT, "guest=web1,debug-threads=on", "{\"driver\":\"vhost-scsi-pci\",\"wwpn\":\"" WWN "\"}");
        assert_found(proc, 60, "web1");
        /* It was started by another one, with the same words; and what stands where a number might does not count. */
        put_qemu(proc, "59", 0, "sudo", DEVICE);
        put_qemu(proc, "061", 0, "no number", DEVICE);
        put_qemu(proc, "4294967296", 0, "none either", DEVICE);
        assert_found(proc, 60, "web1");

        g_assert_cmpint(qemu_process_find("/nowhere", WWN, 0, FOREVER, &g), ==, -ENOENT);
        g_assert_cmpint(qemu_process_find(proc, WWN, LIBVIRT, FOREVER, &g), ==, 1);
        g_assert_cmpint(guest_describe(&g, &description), ==, 0);
        g_assert_cmpstr(description, ==, "Guest web1 (pid 60)");
        tree_remove(proc);
}

/* What anybody may write on a command line is no evidence, not even in a program that runs as root for him. */
static void test_strangers(void) {
        g_autofree char *proc = proc_new();

        put_qemu(proc, "70", STRANGER, "evil", DEVICE);
        put_qemu(proc, "71", STRANGER, "evil", DEVICE);
        put_status(proc, "71", "su", STRANGER, 0);
        put_qemu(proc, "72", STRANGER, "evil", DEVICE);
        put_status(proc, "72", "x\\nUid:\\t0", STRANGER, STRANGER);
        assert_found(proc, 0, "");
        tree_remove(proc);
}

static void test_texts(void) {
        g_autofree char *proc = proc_new(), *longest = g_strnfill(3000, 'x');
        Guest g = { .pid = 80, .name = "CPU 0/KVM" };

        put_qemu(proc, "80", 0, "a\033[2J\nb\377", DEVICE);
        assert_found(proc, 80, "a?[2J?b?");
        qemu_process_name(proc, &g);
        g_assert_cmpstr(g.name, ==, "a?[2J?b?");
        /* One that has ended, or never was, keeps what it was called. */
        g.pid = 81;
        qemu_process_name(proc, &g);
        g_assert_cmpstr(g.name, ==, "a?[2J?b?");

        put_qemu(proc, "80", 0, longest, DEVICE);
        g_assert_cmpint(qemu_process_find(proc, WWN, 0, FOREVER, &g), ==, 1);
        g_assert_cmpuint(strlen(g.name), ==, GUEST_NAME_SIZE - 5);
        g_assert_true(g_str_has_suffix(g.name, "…"));
        tree_remove(proc);
}

/* A process whose memory is locked holds up whoever reads its command line. */
static void test_hang(void) {
        g_autofree char *proc = proc_new(), *line = g_build_filename(proc, "90", "status", NULL);
        Guest g = {};
        int fd;

        put_status(proc, "90", "qemu", 0, 0);
        g_assert_cmpint(remove(line), ==, 0);
        g_assert_cmpint(mkfifo(line, 0600), ==, 0);
        g_assert_cmpint(qemu_process_find(proc, WWN, 0, 1000, &g), ==, -ETIMEDOUT);
        g_assert_cmpuint(g.pid, ==, 0);

        /* It goes on, to nobody's use, and lets go of what it has. */
        fd = open(line, O_WRONLY | O_CLOEXEC);
        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(close(fd), ==, 0);
        tree_remove(proc);
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/qemu-process/find", test_find);
        g_test_add_func("/qemu-process/strangers", test_strangers);
        g_test_add_func("/qemu-process/texts", test_texts);
        g_test_add_func("/qemu-process/hang", test_hang);

        return g_test_run();
}
