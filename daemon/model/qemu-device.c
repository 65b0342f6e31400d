/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <inttypes.h>

#include "base/parse.h"
#include "base/strv.h"
#include "base/text.h"
#include "model/qemu-device.h"

#define BUS_MAX 32
#define SLOT_MAX 0x1f
#define FUNCTION_MAX 7
#define CSSID_MAX 0xfe          /* the one of virtual devices; libvirt takes no other */
#define SSID_MAX 3
#define VERSION(major, minor) ((uint32_t) (major) << 16 | (minor))

typedef struct PciAddress {
        char bus[BUS_MAX + 1];          /* QEMU's name of it */
        uint32_t domain, bus_number;    /* libvirt's */
        uint32_t slot, function;
} PciAddress;

typedef struct CcwAddress {
        uint32_t cssid, ssid, devno;
} CcwAddress;

/* ---- addresses ---- */

/* Hexadecimal with or without 0x, as QEMU and libvirt read addresses. Returns what stands behind it, or NULL. */
static const char *read_hex(const char *s, uint32_t max, uint32_t *ret) {
        const char *digits = startswith(s, "0x") ?: s, *p;
        uint32_t v = 0;

        for (p = digits; hex_digit(*p) >= 0; p++) {
                v = v << 4 | (uint32_t) hex_digit(*p);
                if (v > max)
                        return NULL;
        }
        if (p == digits)
                return NULL;

        *ret = v;
        return p;
}

/* The same, and the separator behind it. */
static const char *read_hex_until(const char *s, char separator, uint32_t max, uint32_t *ret) {
        s = read_hex(s, max, ret);
        return s && *s == separator ? s + 1 : NULL;
}

static bool parse_slot(const char *s, PciAddress *ret) {
        const char *p;

        p = read_hex(s, SLOT_MAX, &ret->slot);
        if (!p)
                return false;
        if (!*p)
                return true;

        p = *p == '.' ? read_hex(p + 1, FUNCTION_MAX, &ret->function) : NULL;
        return p && !*p;
}

/* The id of a bus, as QEMU takes ids (util/id.c). */
static bool bus_is_valid(const char *s) {
        if (!isalpha((unsigned char) *s) || strlen(s) > BUS_MAX)
                return false;

        for (; *s; s++)
                if (!isalnum((unsigned char) *s) && !strchr("-._", *s))
                        return false;

        return true;
}

static int parse_pci_qemu(const char *s, PciAddress *ret, char **ret_why) {
        const char *colon = strchr(s, ':');
        PciAddress a = { .bus = "pci.0" };

        if (colon)
                snprintf(a.bus, sizeof a.bus, "%.*s", (int) MIN(colon - s, (ptrdiff_t) sizeof a.bus), s);
        if ((colon && (colon - s > BUS_MAX || !bus_is_valid(a.bus))) || !parse_slot(colon ? colon + 1 : s, &a))
                return text_refuse(ret_why, "An address of PCI is [BUS:]SLOT[.FUNCTION], such as 0x5 or pcie.0:0x5.0: hexadecimal, "
                                            "slots to 0x1f, functions to 7, pci.0 without a bus");

        *ret = a;
        return 0;
}

static bool parse_pci_libvirt(const char *s, PciAddress *ret) {
        PciAddress a = {};
        const char *last = strrchr(s, ':'), *p = s;

        if (last && strchr(s, ':') != last)
                p = read_hex_until(p, ':', UINT16_MAX, &a.domain);
        if (p && last)
                p = read_hex_until(p, ':', UINT8_MAX, &a.bus_number);
        if (!p || !parse_slot(p, &a))
                return false;

        *ret = a;
        return true;
}

static bool parse_ccw(const char *s, CcwAddress *ret) {
        CcwAddress a;

        s = read_hex_until(s, '.', CSSID_MAX, &a.cssid);
        if (s)
                s = read_hex_until(s, '.', SSID_MAX, &a.ssid);
        if (s)
                s = read_hex(s, UINT16_MAX, &a.devno);
        if (!s || *s)
                return false;

        *ret = a;
        return true;
}

/* ---- what may be asked for ---- */

/* 10, 7.2, 10.2.0 */
static int parse_version(const char *s, uint32_t *ret, char **ret_why) {
        uint32_t parts[3] = {};
        size_t n = 0;

        for (const char *p = s;; p++) {
                size_t digits = strspn(p, "0123456789");
                char number[8];

                if (digits == 0 || digits > 3 || n >= ELEMENTSOF(parts))
                        break;
                snprintf(number, sizeof number, "%.*s", (int) digits, p);
                if (parse_u32(number, &parts[n++]) < 0)
                        break;

                p += digits;
                if (!*p) {
                        *ret = VERSION(parts[0], parts[1]);
                        return 0;
                }
                if (*p != '.')
                        break;
        }

        return text_refuse(ret_why, "A version of QEMU is a number such as 7.2 or 10.2.0");
}

/* What both forms have in common. */
static int check_options(const Target *t, const QemuOptions *o, uint32_t queues_max, bool *ret_hotplug, char **ret_why) {
        char canonical[WWN_SIZE];
        uint32_t version = 0;
        int r;

        /* Of a foreign target the kernel takes more names, and compares them byte by byte. */
        if (wwn_parse(t->wwn, canonical) < 0 || !streq(canonical, t->wwn))
                return text_refuse(ret_why, "QEMU and libvirt cannot name this target: they take naa. and 16 lower-case hexadecimal digits");

        if (o->version) {
                r = parse_version(o->version, &version, ret_why);
                if (r < 0)
                        return r;
        }
        if (o->has_queues && (o->queues == 0 || o->queues > queues_max))
                return text_refuse(ret_why, "There can be 1 to %" PRIu32 " queues", queues_max);
        if (o->has_boot && o->boot > INT32_MAX)
                return text_refuse(ret_why, "A place in the boot order is a number from 0 to %d", INT32_MAX);
        if (o->has_boot && (!target_lun(t, 0) || !target_lun(t, 0)->wanted)) {
                (void) text_refuse(ret_why, "A guest boots from LUN 0, which this target does not have");
                return -ENOENT;
        }

        /* Off unless it is asked for, and QEMU does not know the word before: a guest hears of new LUNs (hw/scsi/vhost-scsi.c). */
        *ret_hotplug = version >= VERSION(10, 2);
        return 0;
}

/* ---- QEMU ---- */

int qemu_device_arguments(const Target *t, const QemuOptions *o, uint32_t queues_max, char ***ret, char **ret_why) {
        bool ccw = streq_ptr(o->bus, "ccw");
        _cleanup_(strv_freep) char **arguments = NULL;
        char place[BUS_MAX + 64] = "", boot[64] = "", queues[32] = "";
        PciAddress pci;
        CcwAddress devno;
        bool hotplug;
        char *device;
        int r;

        if (o->bus && !ccw && !streq(o->bus, "pci"))
                return text_refuse(ret_why, "The bus of a guest is pci or ccw");
        if (o->addr && ccw)
                return text_refuse(ret_why, "A device on ccw has a devno, not an addr");
        if (o->devno && !ccw)
                return text_refuse(ret_why, "A device on pci has an addr, not a devno");
        /* hw/s390x/vhost-scsi-ccw.c has no such property. */
        if (o->has_boot && ccw)
                return text_refuse(ret_why, "QEMU's vhost-scsi-ccw has no place in the boot order");

        r = check_options(t, o, queues_max, &hotplug, ret_why);
        if (r < 0)
                return r;

        if (o->addr) {
                r = parse_pci_qemu(o->addr, &pci, ret_why);
                if (r < 0)
                        return r;
                if (pci.function > 0)
                        snprintf(place, sizeof place, ",bus=%s,addr=0x%" PRIx32 ".0x%" PRIx32, pci.bus, pci.slot, pci.function);
                else
                        snprintf(place, sizeof place, ",bus=%s,addr=0x%" PRIx32, pci.bus, pci.slot);
        }
        if (o->devno) {
                if (!parse_ccw(o->devno, &devno))
                        return text_refuse(ret_why, "A devno is CSSID.SSID.DEVNO in hexadecimal, such as fe.0.1000");
                snprintf(place, sizeof place, ",devno=%" PRIx32 ".%" PRIx32 ".%04" PRIx32, devno.cssid, devno.ssid, devno.devno);
        }
        /* QEMU thinks of portal group 0 otherwise. */
        if (o->has_boot)
                snprintf(boot, sizeof boot, ",bootindex=%" PRIu32 ",boot_tpgt=%" PRIu32, o->boot, t->portal_group);
        if (o->has_queues)
                snprintf(queues, sizeof queues, ",num_queues=%" PRIu32, o->queues);

        if (asprintf(&device, "vhost-scsi-%s,wwpn=%s%s%s%s%s%s", ccw ? "ccw" : "pci", t->wwn, place, boot, queues,
                     hotplug ? ",hotplug=on" : "", o->migratable ? ",migratable=on" : "") < 0)
                return -ENOMEM;

        r = strv_extend(&arguments, "-device");
        if (r < 0) {
                free(device);
                return r;
        }
        r = strv_consume(&arguments, device);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(arguments);
        return 0;
}

/* ---- libvirt ---- */

static int format_address(const char *address, char **ret, char **ret_why) {
        PciAddress pci;
        CcwAddress ccw;
        int n;

        if (parse_pci_libvirt(address, &pci))
                n = asprintf(ret, "  <address type='pci' domain='0x%04" PRIx32 "' bus='0x%02" PRIx32 "' slot='0x%02" PRIx32
                             "' function='0x%" PRIx32 "'/>\n", pci.domain, pci.bus_number, pci.slot, pci.function);
        else if (parse_ccw(address, &ccw))
                n = asprintf(ret, "  <address type='ccw' cssid='0x%" PRIx32 "' ssid='0x%" PRIx32 "' devno='0x%04" PRIx32 "'/>\n",
                             ccw.cssid, ccw.ssid, ccw.devno);
        else
                return text_refuse(ret_why, "An address is [[DOMAIN:]BUS:]SLOT[.FUNCTION] of PCI, such as 0000:00:05.0, "
                                            "or CSSID.SSID.DEVNO of ccw, such as fe.0.1000, in hexadecimal");

        return n < 0 ? -ENOMEM : 0;
}

static void print_property(FILE *f, const char *name, const char *type, const char *value) {
        fprintf(f, "      <qemu:property name='%s' type='%s' value='%s'/>\n", name, type, value);
}

static void print_number(FILE *f, const char *name, uint32_t value) {
        char digits[16];

        snprintf(digits, sizeof digits, "%" PRIu32, value);
        print_property(f, name, "unsigned", digits);
}

/* By an alias of our own; libvirt leaves those that begin with ua- to its users. */
static void print_override(FILE *f, const Target *t, const QemuOptions *o, bool hotplug, const char *alias) {
        fprintf(f, "<qemu:override xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n"
                   "  <qemu:device alias='%s'>\n"
                   "    <qemu:frontend>\n", alias);
        if (o->has_boot) {
                print_number(f, "bootindex", o->boot);
                print_number(f, "boot_tpgt", t->portal_group);
        }
        if (o->has_queues)
                print_number(f, "num_queues", o->queues);
        if (hotplug)
                print_property(f, "hotplug", "bool", "true");
        fputs("    </qemu:frontend>\n"
              "  </qemu:device>\n"
              "</qemu:override>\n", f);
}

int qemu_device_xml(const Target *t, const QemuOptions *o, uint32_t queues_max, char **ret, char **ret_why) {
        _cleanup_free_ char *address = NULL, *text = NULL;
        char alias[sizeof "ua-vhscsi-" + WWN_SIZE];
        size_t size;
        bool hotplug, override;
        FILE *f;
        int r;

        r = check_options(t, o, queues_max, &hotplug, ret_why);
        if (r < 0)
                return r;
        if (o->address) {
                r = format_address(o->address, &address, ret_why);
                if (r < 0)
                        return r;
        }

        f = open_memstream(&text, &size);
        if (!f)
                return -ENOMEM;

        override = o->has_boot || o->has_queues || hotplug;
        /* An alias has no dots. */
        snprintf(alias, sizeof alias, "ua-vhscsi-%s", t->wwn + strlen("naa."));

        fprintf(f, "<hostdev mode='subsystem' type='scsi_host'>\n"
                   "  <source protocol='vhost' wwpn='%s'/>\n", t->wwn);
        if (override)
                fprintf(f, "  <alias name='%s'/>\n", alias);
        fprintf(f, "%s</hostdev>\n", strempty(address));
        if (override)
                print_override(f, t, o, hotplug, alias);

        if (fclose(f) != 0)
                return -ENOMEM;

        *ret = TAKE_PTR(text);
        return 0;
}
