/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>

#include "dbus/vhostscsi-names.h"
#include "engine/refusal.h"

static const char *const names[_REFUSAL_MAX] = {
        [REFUSAL_NOT_FOUND] = VHOSTSCSI_ERROR("NotFound"),
        [REFUSAL_ALREADY_EXISTS] = VHOSTSCSI_ERROR("AlreadyExists"),
        [REFUSAL_IN_USE] = VHOSTSCSI_ERROR("InUse"),
        [REFUSAL_FOREIGN] = VHOSTSCSI_ERROR("Foreign"),
        [REFUSAL_INVALID_ARGS] = "org.freedesktop.DBus.Error.InvalidArgs",
        [REFUSAL_INVALID_WWN] = VHOSTSCSI_ERROR("InvalidWwn"),
        [REFUSAL_INVALID_SOURCE] = VHOSTSCSI_ERROR("InvalidSource"),
        [REFUSAL_LUN_CONFLICT] = VHOSTSCSI_ERROR("LunConflict"),
        [REFUSAL_LUN_OUT_OF_RANGE] = VHOSTSCSI_ERROR("LunOutOfRange"),
        [REFUSAL_DEVICE_NOT_FOUND] = VHOSTSCSI_ERROR("DeviceNotFound"),
        [REFUSAL_DEVICE_BUSY] = VHOSTSCSI_ERROR("DeviceBusy"),
        [REFUSAL_DEVICE_IS_PATH_MEMBER] = VHOSTSCSI_ERROR("DeviceIsPathMember"),
        [REFUSAL_DEVICE_UNSAFE] = VHOSTSCSI_ERROR("DeviceUnsafe"),
        [REFUSAL_SERIAL_CONFLICT] = VHOSTSCSI_ERROR("SerialConflict"),
        [REFUSAL_NOT_READY] = VHOSTSCSI_ERROR("NotReady"),
        [REFUSAL_TIMED_OUT] = VHOSTSCSI_ERROR("TimedOut"),
        [REFUSAL_GENERATION_MISMATCH] = VHOSTSCSI_ERROR("GenerationMismatch"),
        [REFUSAL_CONFIG_CORRUPT] = VHOSTSCSI_ERROR("ConfigCorrupt"),
        [REFUSAL_IMPORT_REJECTED] = VHOSTSCSI_ERROR("ImportRejected"),
        [REFUSAL_KERNEL] = VHOSTSCSI_ERROR("Kernel"),
        [REFUSAL_STORE_FAILED] = VHOSTSCSI_ERROR("StoreFailed"),
};

void refusal_done(Refusal *r) {
        free(r->text);
        *r = (Refusal) {};
}

int refuse(Refusal *ret, RefusalKind kind, const char *format, ...) {
        va_list ap;
        char *s;
        int n;

        va_start(ap, format);
        n = vasprintf(&s, format, ap);
        va_end(ap);
        if (n < 0)
                return -ENOMEM;

        *ret = (Refusal) { .kind = kind, .text = s };
        return REFUSED;
}

const char *refusal_bus_name(RefusalKind kind) {
        return names[kind];
}

const char *refusal_short_name(RefusalKind kind) {
        return strrchr(names[kind], '.') + 1;
}

RefusalKind refusal_from_short_name(const char *name) {
        for (RefusalKind k = 0; k < _REFUSAL_MAX; k++)
                if (streq_ptr(refusal_short_name(k), name))
                        return k;

        return REFUSAL_KERNEL;
}
