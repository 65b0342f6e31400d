/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/qemu-argv.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>

#define WWN "naa.500140568720f76f"

/* Arguments as /proc has them, in memory of just that size, so that a sanitizer sees who reads on. */
static char *argv_make(const char *const *arguments, size_t *ret_size) {
        GByteArray *bytes = g_byte_array_new();

        for (const char *const *a = arguments; *a; a++)
                g_byte_array_append(bytes, (const guint8 *) *a, (guint) strlen(*a) + 1);
        *ret_size = bytes->len;
        g_byte_array_append(bytes, (const guint8 *) "", 1);
        return (char *) g_byte_array_free(bytes, FALSE);
}

static bool has(const char *option, const char *value) {
        size_t size;
        g_autofree char *argv = argv_make((const char *const[]) { "qemu-system-x86_64", "-m", "1", option, value, NULL }, &size);

        return qemu_argv_has_target(argv, size, WWN);
}

static void test_device(void) {
        static const char *const yes[] = {
                "vhost-scsi-pci,wwpn=" WWN,
                "vhost-scsi-pci,id=a,wwpn=" WWN ",bus=pci.0,addr=0x5",
                "driver=vhost-scsi-ccw,wwpn=" WWN ",devno=fe.0.1000",
                "wwpn=" WWN ",driver=vhost-scsi-pci",
                "vhost-scsi-pci-non-transitional,wwpn=naa.5000000000000000,wwpn=" WWN,
                "vhost-scsi-pci,id=a,,b,wwpn=" WWN,
                "{\"driver\":\"vhost-scsi-pci\",\"wwpn\":\"" WWN "\",\"vhostfd\":\"27\",\"id\":\"hostdev0\",\"bus\":\"pci.0\",\"addr\":\"0x5\"}",
                "{ \"wwpn\" : \"" WWN "\" , \"x\": {\"y\": [\"}\", \"\\\"]\"]}, \"n\": 3, \"b\": true, \"driver\" : \"vhost-scsi-pci\" }",
        }, *const no[] = {
                "",
                WWN,
                "vhost-scsi-pci",
                "virtio-scsi-pci,wwpn=" WWN,
                "vhost-scsi-pci,id=" WWN,
                "vhost-scsi-pci,wwpn=" WWN "0",
                "vhost-scsi-pci,wwpn=" WWN ",wwpn=naa.5000000000000000",
                "vhost-scsi-pci,id=a,,wwpn=" WWN,
                "vhost-scsi-pci,wwpn=,," WWN,
                "x,vhost-scsi-pci,wwpn=" WWN,
                "{\"driver\":\"vhost-scsi-pci\",\"x\":{\"wwpn\":\"" WWN "\"}}",
                "{\"driver\":\"vhost-scsi-pci\",\"wwpn\":[\"" WWN "\"]}",
                "{\"driver\":\"virtio-scsi-pci\",\"wwpn\":\"" WWN "\"}",
                "{\"driver\":\"vhost-scsi-pci\",\"wwpn\":\"" WWN,
                "{\"driver\":\"vhost-scsi-pci\",\"a\\\"wwpn\":\"" WWN "\"}",
                "{\"" WWN,
                "{" WWN,
                "{\"wwpn\"" WWN "\\",
        };

        for (size_t i = 0; i < ELEMENTSOF(yes); i++) {
                g_test_message("%s", yes[i]);
                g_assert_true(has("-device", yes[i]));
                g_assert_true(has("--device", yes[i]));
                g_assert_false(has("-drive", yes[i]));
        }
        for (size_t i = 0; i < ELEMENTSOF(no); i++) {
                g_test_message("%s", no[i]);
                g_assert_false(has("-device", no[i]));
        }
}

/* An option at the very end, no argument at all, one that lacks its end. */
static void test_ends(void) {
        char name[16];
        size_t size;
        g_autofree char *last = argv_make((const char *const[]) { "qemu", "vhost-scsi-pci,wwpn=" WWN, "-device", NULL }, &size);
        g_autofree char *open = NULL;

        g_assert_false(qemu_argv_has_target(last, size, WWN));
        g_assert_false(qemu_argv_has_target("", 0, WWN));
        qemu_argv_name("", 0, name, sizeof name);
        g_assert_cmpstr(name, ==, "");

        open = argv_make((const char *const[]) { "qemu", "-device", "vhost-scsi-pci,wwpn=" WWN, NULL }, &size);
        g_assert_true(qemu_argv_has_target(open, size - 1, WWN));
}

/* Every beginning of a line, and every line with one byte that is another: nothing is read that is not there. */
static void test_mangled(void) {
        static const char *const lines[] = {
                "vhost-scsi-pci,id=a,,b,wwpn=" WWN,
                "{\"x\":[{\"y\":\"\\\"}\"}],\"driver\":\"vhost-scsi-pci\",\"wwpn\":\"" WWN "\"}",
        };
        static const char bytes[] = { '\\', '"', '{', '}', '[', ',', '=', ':', '\0', (char) 0xff };
        unsigned found = 0, tried = 0;

        for (size_t i = 0; i < ELEMENTSOF(lines); i++) {
                g_autofree char *argv = NULL;
                size_t size;

                for (size_t n = 0; n < strlen(lines[i]); n++) {
                        g_autofree char *beginning = g_strndup(lines[i], n);

                        found += has("-device", beginning);
                        tried++;
                }

                argv = argv_make((const char *const[]) { "-device", lines[i], NULL }, &size);
                for (size_t at = 0; at < size; at++)
                        for (size_t b = 0; b < sizeof bytes; b++) {
                                char was = argv[at];

                                argv[at] = bytes[b];
                                found += qemu_argv_has_target(argv, size, WWN);
                                tried++;
                                argv[at] = was;
                        }
        }

        /* Some of the bytes are none that matter. */
        g_assert_cmpuint(found, >, 0);
        g_assert_cmpuint(found, <, tried);
}

static void assert_name(const char *expected, const char *const *arguments) {
        char name[16];
        size_t size;
        g_autofree char *argv = argv_make(arguments, &size);

        qemu_argv_name(argv, size, name, sizeof name);
        g_assert_cmpstr(name, ==, expected);
}

static void test_name(void) {
        assert_name("web1", (const char *const[]) { "/usr/bin/qemu-system-x86_64", "-name", "guest=web1,debug-threads=on", NULL });
        assert_name("web1", (const char *const[]) { "/usr/bin/qemu-system-x86_64", "-name", "web1,process=x", NULL });
        assert_name("a,b", (const char *const[]) { "kvm", "-name", "debug-threads=on,guest=a,,b", NULL });
        assert_name("qemu-system-x86", (const char *const[]) { "/usr/bin/qemu-system-x86_64", "-name", "process=x", NULL });
        assert_name("kvm", (const char *const[]) { "kvm", "-name", NULL });
}

int main(int argc, char *argv[]) {
        g_test_init(&argc, &argv, NULL);

        g_test_add_func("/qemu-argv/device", test_device);
        g_test_add_func("/qemu-argv/ends", test_ends);
        g_test_add_func("/qemu-argv/mangled", test_mangled);
        g_test_add_func("/qemu-argv/name", test_name);

        return g_test_run();
}
