/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/strv.h"
#include "model/qemu-device.h"

/* Last, for it and daemon/base both have a MIN. */
#include <glib.h>

#define WWN "naa.500140568720f76f"

static Target *new_target(const char *wwn) {
        Target *t = target_new(wwn);
        Lun *l = lun_new(0, backstore_new(NULL));

        g_assert_nonnull(t);
        g_assert_nonnull(l);
        l->wanted = true;
        t->portal_group = 1;
        g_assert_cmpint(target_add_lun(t, l), ==, 0);
        return t;
}

static void assert_device(const Target *t, const QemuOptions *o, const char *expected) {
        _cleanup_(strv_freep) char **arguments = NULL;
        _cleanup_free_ char *why = NULL;

        g_assert_cmpint(qemu_device_arguments(t, o, QEMU_QUEUES_MAX, &arguments, &why), ==, 0);
        g_assert_null(why);
        g_assert_cmpuint(strv_length(arguments), ==, 2);
        g_assert_cmpstr(arguments[0], ==, "-device");
        g_assert_cmpstr(arguments[1], ==, expected);
}

static void assert_xml(const Target *t, const QemuOptions *o, const char *expected) {
        _cleanup_free_ char *xml = NULL, *why = NULL;

        g_assert_cmpint(qemu_device_xml(t, o, QEMU_QUEUES_MAX, &xml, &why), ==, 0);
        g_assert_null(why);
        g_assert_cmpstr(xml, ==, expected);
}

/* Nothing is returned but the errno and a sentence with that in it. */
static void assert_refused(const Target *t, const QemuOptions *o, bool libvirt, int error, const char *saying) {
        _cleanup_free_ char *xml = NULL, *why = NULL;
        _cleanup_(strv_freep) char **arguments = NULL;
        int r;

        r = libvirt ? qemu_device_xml(t, o, QEMU_QUEUES_MAX, &xml, &why) : qemu_device_arguments(t, o, QEMU_QUEUES_MAX, &arguments, &why);
        g_assert_cmpint(r, ==, error);
        g_assert_null(xml);
        g_assert_null(arguments);
        g_assert_nonnull(why);
        g_assert_nonnull(strstr(why, saying));
}

static void test_forms(void) {
        static const struct {
                QemuOptions options;
                const char *device;
        } cases[] = {
                { {}, "vhost-scsi-pci,wwpn=" WWN },
                { { .bus = "pci" }, "vhost-scsi-pci,wwpn=" WWN },
                { { .addr = "0x5" }, "vhost-scsi-pci,wwpn=" WWN ",bus=pci.0,addr=0x5" },
                { { .addr = "1f" }, "vhost-scsi-pci,wwpn=" WWN ",bus=pci.0,addr=0x1f" },
                { { .addr = "05.0" }, "vhost-scsi-pci,wwpn=" WWN ",bus=pci.0,addr=0x5" },
                { { .bus = "pci", .addr = "pcie.0:5.0x7" }, "vhost-scsi-pci,wwpn=" WWN ",bus=pcie.0,addr=0x5.0x7" },
                { { .bus = "ccw" }, "vhost-scsi-ccw,wwpn=" WWN },
                { { .bus = "ccw", .devno = "fe.0.1000" }, "vhost-scsi-ccw,wwpn=" WWN ",devno=fe.0.1000" },
                { { .bus = "ccw", .devno = "0xFE.0x0.0x1" }, "vhost-scsi-ccw,wwpn=" WWN ",devno=fe.0.0001" },
                { { .has_boot = true }, "vhost-scsi-pci,wwpn=" WWN ",bootindex=0,boot_tpgt=1" },
                { { .has_boot = true, .boot = 2, .addr = "5" }, "vhost-scsi-pci,wwpn=" WWN ",bus=pci.0,addr=0x5,bootindex=2,boot_tpgt=1" },
                { { .has_queues = true, .queues = 4 }, "vhost-scsi-pci,wwpn=" WWN ",num_queues=4" },
                { { .bus = "ccw", .has_queues = true, .queues = 128 }, "vhost-scsi-ccw,wwpn=" WWN ",num_queues=128" },
                { { .version = "7.2" }, "vhost-scsi-pci,wwpn=" WWN },
                { { .version = "10.1.99" }, "vhost-scsi-pci,wwpn=" WWN },
                { { .version = "10.2" }, "vhost-scsi-pci,wwpn=" WWN ",hotplug=on" },
                { { .version = "10.2.1", .bus = "ccw" }, "vhost-scsi-ccw,wwpn=" WWN ",hotplug=on" },
                { { .version = "11" }, "vhost-scsi-pci,wwpn=" WWN ",hotplug=on" },
                { { .version = "9.99" }, "vhost-scsi-pci,wwpn=" WWN },
                { { .migratable = true }, "vhost-scsi-pci,wwpn=" WWN ",migratable=on" },
        };
        _cleanup_(target_freep) Target *t = new_target(WWN);

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                assert_device(t, &cases[i].options, cases[i].device);

        /* Of a foreign target; QEMU boots from the first LUN of the group that it is told. */
        t->portal_group = 7;
        assert_device(t, &(QemuOptions) { .has_boot = true, .boot = 1 }, "vhost-scsi-pci,wwpn=" WWN ",bootindex=1,boot_tpgt=7");
}

/* What QEMU itself says that its device has: "  num_queues=<uint32> -  (default: 4294967295)". Skipped where there is no such QEMU. */
static void assert_known(const char *program, const char *device, const QemuOptions *o) {
        g_autofree char *path = g_find_program_in_path(program), *help_of = g_strdup_printf("%s,help", device), *help = NULL;
        _cleanup_(target_freep) Target *t = new_target(WWN);
        _cleanup_(strv_freep) char **arguments = NULL;
        _cleanup_free_ char *why = NULL;
        g_auto(GStrv) words = NULL;

        if (!path) {
                g_test_skip(program);
                return;
        }

        g_assert_true(g_spawn_sync(NULL, (char *[]) { path, (char *) "-device", help_of, NULL }, NULL, G_SPAWN_DEFAULT, NULL, NULL, &help, NULL,
                                   NULL, NULL));
        g_assert_nonnull(strstr(help, device));

        g_assert_cmpint(qemu_device_arguments(t, o, QEMU_QUEUES_MAX, &arguments, &why), ==, 0);
        words = g_strsplit(arguments[1], ",", -1);
        g_assert_cmpstr(words[0], ==, device);
        g_assert_cmpuint(g_strv_length(words), >, 3);
        for (char **word = words + 1; *word; word++) {
                g_autofree char *property = g_strdup_printf("\n  %.*s=<", (int) strcspn(*word, "="), *word);

                /* Where it is plugged in is any device's, and no property. */
                if (!startswith(*word, "bus=") && !strstr(help, property))
                        g_error("%s: %s has no%s>", program, device, property);
        }
}

static void test_known_pci(void) {
        assert_known("qemu-system-x86_64", "vhost-scsi-pci",
                     &(QemuOptions) { .addr = "5", .has_boot = true, .has_queues = true, .queues = 2, .migratable = true });
}

static void test_known_ccw(void) {
        assert_known("qemu-system-s390x", "vhost-scsi-ccw",
                     &(QemuOptions) { .bus = "ccw", .devno = "fe.0.1000", .has_queues = true, .queues = 2, .migratable = true });
}

static void test_xml(void) {
        _cleanup_(target_freep) Target *t = new_target(WWN);

        assert_xml(t, &(QemuOptions) {},
                   "<hostdev mode='subsystem' type='scsi_host'>\n"
                   "  <source protocol='vhost' wwpn='" WWN "'/>\n"
                   "</hostdev>\n");
        assert_xml(t, &(QemuOptions) { .address = "0000:00:05.0", .version = "7.2" },
                   "<hostdev mode='subsystem' type='scsi_host'>\n"
                   "  <source protocol='vhost' wwpn='" WWN "'/>\n"
                   "  <address type='pci' domain='0x0000' bus='0x00' slot='0x05' function='0x0'/>\n"
                   "</hostdev>\n");
        assert_xml(t, &(QemuOptions) { .address = "a:1f.7" },
                   "<hostdev mode='subsystem' type='scsi_host'>\n"
                   "  <source protocol='vhost' wwpn='" WWN "'/>\n"
                   "  <address type='pci' domain='0x0000' bus='0x0a' slot='0x1f' function='0x7'/>\n"
                   "</hostdev>\n");
        assert_xml(t, &(QemuOptions) { .address = "fe.0.1000" },
                   "<hostdev mode='subsystem' type='scsi_host'>\n"
                   "  <source protocol='vhost' wwpn='" WWN "'/>\n"
                   "  <address type='ccw' cssid='0xfe' ssid='0x0' devno='0x1000'/>\n"
                   "</hostdev>\n");
        assert_xml(t, &(QemuOptions) { .address = "0x5", .has_boot = true, .boot = 1, .has_queues = true, .queues = 4, .version = "10.2" },
                   "<hostdev mode='subsystem' type='scsi_host'>\n"
                   "  <source protocol='vhost' wwpn='" WWN "'/>\n"
                   "  <alias name='ua-vhscsi-500140568720f76f'/>\n"
                   "  <address type='pci' domain='0x0000' bus='0x00' slot='0x05' function='0x0'/>\n"
                   "</hostdev>\n"
                   "<qemu:override xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"
                   "  <qemu:device alias='ua-vhscsi-500140568720f76f'>\n"
                   "    <qemu:frontend>\n"
                   "      <qemu:property name='bootindex' type='unsigned' value='1'/>\n"
                   "      <qemu:property name='boot_tpgt' type='unsigned' value='1'/>\n"
                   "      <qemu:property name='num_queues' type='unsigned' value='4'/>\n"
                   "      <qemu:property name='hotplug' type='bool' value='true'/>\n"
                   "    </qemu:frontend>\n"
                   "  </qemu:device>\n"
                   "</qemu:override>\n");
}

static void test_refused(void) {
        static const char *const addresses[] = {
                "", "0x", "x5", "20", "0x20", "5.8", "5.", ".0", "5.0.0", "5 ", " 5", "-1", "5,id=x", "pci.0:", ":5", "0:5", "pci 0:5", "pci,0:5",
                "pcie.0:0000:05.0", "99999999999999999999", "fe.0.1000", "a123456789012345678901234567890123:5", "p\n:5",
        };
        static const char *const devnos[] = {
                "", "fe", "fe.0", "fe.0.", "fe.0.10000", "ff.0.1000", "fe.4.1000", "fe.0.1000.1", "fe:0:1000", "fe.0.1000 ", "0x5", "fe.0.g",
        };
        static const char *const libvirt_addresses[] = {
                "", ":", "::", "0000:00:05.8", "0000:00:20.0", "10000:00:05.0", "0000:100:05.0", "0:0:0:5", "fe.0.10000", "fe.9.1000", "5'/>", "pci.0:5",
                "0000:00:05.0\n",
        };
        static const char *const versions[] = { "", "x", "10.", ".2", "10.2.0.1", "10.2rc1", "v10.2", "10,2", "1000", " 10.2", "10.2\n", "-1", "01.2" };
        _cleanup_(target_freep) Target *t = new_target(WWN);

        for (size_t i = 0; i < ELEMENTSOF(addresses); i++)
                assert_refused(t, &(QemuOptions) { .addr = addresses[i] }, false, -EINVAL, "SLOT");
        for (size_t i = 0; i < ELEMENTSOF(devnos); i++)
                assert_refused(t, &(QemuOptions) { .bus = "ccw", .devno = devnos[i] }, false, -EINVAL, "fe.0.1000");
        for (size_t i = 0; i < ELEMENTSOF(libvirt_addresses); i++)
                assert_refused(t, &(QemuOptions) { .address = libvirt_addresses[i] }, true, -EINVAL, "SLOT");
        for (size_t i = 0; i < ELEMENTSOF(versions); i++)
                for (int libvirt = 0; libvirt < 2; libvirt++)
                        assert_refused(t, &(QemuOptions) { .version = versions[i] }, libvirt, -EINVAL, "version of QEMU");

        assert_refused(t, &(QemuOptions) { .bus = "isa" }, false, -EINVAL, "pci or ccw");
        assert_refused(t, &(QemuOptions) { .bus = "" }, false, -EINVAL, "pci or ccw");
        assert_refused(t, &(QemuOptions) { .bus = "ccw", .addr = "5" }, false, -EINVAL, "devno");
        assert_refused(t, &(QemuOptions) { .devno = "fe.0.1000" }, false, -EINVAL, "addr");
        assert_refused(t, &(QemuOptions) { .bus = "ccw", .has_boot = true }, false, -EINVAL, "boot order");

        for (int libvirt = 0; libvirt < 2; libvirt++) {
                assert_refused(t, &(QemuOptions) { .has_queues = true }, libvirt, -EINVAL, "1 to 128");
                assert_refused(t, &(QemuOptions) { .has_queues = true, .queues = 129 }, libvirt, -EINVAL, "1 to 128");
                assert_refused(t, &(QemuOptions) { .has_boot = true, .boot = 1U << 31 }, libvirt, -EINVAL, "2147483647");
        }
}

static void test_boot_needs_lun_0(void) {
        _cleanup_(target_freep) Target *going = new_target(WWN), *none = target_new(WWN);
        const QemuOptions boot = { .has_boot = true };

        g_assert_nonnull(none);
        going->luns[0]->wanted = false;
        for (int libvirt = 0; libvirt < 2; libvirt++) {
                assert_refused(going, &boot, libvirt, -ENOENT, "LUN 0");
                assert_refused(none, &boot, libvirt, -ENOENT, "LUN 0");
        }
        assert_device(none, &(QemuOptions) {}, "vhost-scsi-pci,wwpn=" WWN);
}

/* Of foreign targets the kernel takes names that would be something else on a command line or in XML. */
static void test_odd_names(void) {
        static const char *const names[] = {
                "naa.500140568720F76F", "naa.500140568720f76f,id=x", "naa.5'/><x", "xnaa.500140568720f76f", "naa.1001405687200f76",
        };

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_(target_freep) Target *t = new_target(names[i]);

                for (int libvirt = 0; libvirt < 2; libvirt++)
                        assert_refused(t, &(QemuOptions) {}, libvirt, -EINVAL, "naa.");
        }
}

int main(int argc, char **argv) {
        g_test_init(&argc, &argv, NULL);
        g_test_add_func("/qemu-device/known-pci", test_known_pci);
        g_test_add_func("/qemu-device/known-ccw", test_known_ccw);
        g_test_add_func("/qemu-device/forms", test_forms);
        g_test_add_func("/qemu-device/xml", test_xml);
        g_test_add_func("/qemu-device/refused", test_refused);
        g_test_add_func("/qemu-device/boot-needs-lun-0", test_boot_needs_lun_0);
        g_test_add_func("/qemu-device/odd-names", test_odd_names);
        return g_test_run();
}
