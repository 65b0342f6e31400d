/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "model/target.h"

/* The device by which QEMU gives a target to a guest, as arguments for its command line, and as XML for libvirt. */

#define QEMU_QUEUES_MAX 128     /* max_io_vqs of vhost_scsi, drivers/vhost/scsi.c, unless the admin sets it; vhscsi has as many */

typedef struct QemuOptions {
        const char *bus;        /* pci or ccw; NULL: pci */
        const char *addr;       /* pci, hexadecimal as in QEMU: [BUS:]SLOT[.FUNCTION]; NULL: QEMU chooses */
        const char *devno;      /* ccw, hexadecimal: CSSID.SSID.DEVNO; NULL: QEMU chooses */
        const char *address;    /* libvirt: [[DOMAIN:]BUS:]SLOT[.FUNCTION] or CSSID.SSID.DEVNO; NULL: libvirt chooses */
        const char *version;    /* of QEMU; NULL: not known, so nothing that only some have */
        bool has_boot;
        uint32_t boot;          /* bootindex */
        bool has_queues;
        uint32_t queues;
        bool migratable;
} QemuOptions;

/* Both return 0; -EINVAL for an option that cannot be, with the reason in *ret_why; -ENOENT if the target lacks what the options need,
 * likewise. queues_max: what the kernel's module takes. ret: to be freed with strv_free(). */
int qemu_device_arguments(const Target *t, const QemuOptions *o, uint32_t queues_max, char ***ret, char **ret_why);

/* The <hostdev>, and after it a <qemu:override> if something is wanted that libvirt has no words for. bus, addr, devno and migratable are
 * not looked at. */
int qemu_device_xml(const Target *t, const QemuOptions *o, uint32_t queues_max, char **ret, char **ret_why);
