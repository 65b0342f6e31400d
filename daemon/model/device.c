/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/strv.h"
#include "model/device.h"

Device *device_new(void) {
        Device *d = malloc(sizeof *d);

        if (d)
                *d = (Device) { .valid_paths = -1, .total_paths = -1 };

        return d;
}

Device *device_free(Device *d) {
        if (!d)
                return NULL;

        free(d->name);
        free(d->node);
        free(d->identity);
        strv_free(d->keys);
        free(d->link);
        free(d->place);
        free(d->dm_name);
        free(d->mount);
        free(d->path_of);
        free(d->model);
        free(d->wish_target);
        free(d->wish_number);
        free(d->wish_readonly);
        free(d);
        return NULL;
}

const char *device_key(const Device *d, const char *kind) {
        for (char **k = d->keys; k && *k; k++) {
                const char *value = startswith(*k, kind);

                if (value && *value == '=')
                        return *k;
        }

        return NULL;
}

bool device_equal(const Device *a, const Device *b) {
        return a->devnum == b->devnum &&
                a->disk == b->disk &&
                a->kind == b->kind &&
                streq_ptr(a->name, b->name) &&
                streq_ptr(a->node, b->node) &&
                streq_ptr(a->identity, b->identity) &&
                strv_equal(a->keys, b->keys) &&
                streq_ptr(a->link, b->link) &&
                streq_ptr(a->place, b->place) &&
                streq_ptr(a->dm_name, b->dm_name) &&
                streq_ptr(a->mount, b->mount) &&
                streq_ptr(a->path_of, b->path_of) &&
                streq_ptr(a->model, b->model) &&
                streq_ptr(a->wish_target, b->wish_target) &&
                streq_ptr(a->wish_number, b->wish_number) &&
                streq_ptr(a->wish_readonly, b->wish_readonly) &&
                a->diskseq == b->diskseq &&
                a->size == b->size &&
                a->block_size == b->block_size &&
                a->valid_paths == b->valid_paths &&
                a->total_paths == b->total_paths &&
                a->stable == b->stable &&
                a->initialized == b->initialized &&
                a->ready == b->ready &&
                a->suspended == b->suspended &&
                a->read_only == b->read_only &&
                a->path_member == b->path_member &&
                a->ignored == b->ignored &&
                a->unsuitable == b->unsuitable;
}

bool device_is_map(const Device *d) {
        return d->kind == DEVICE_MULTIPATH || d->kind == DEVICE_MAP;
}

/* NULL: it is ready. */
static const char *why_not_ready(const Device *d) {
        if (!d->initialized)
                return "udev has not processed it yet";
        if (d->size == 0)
                return device_is_map(d) ? "no table yet" : "size is 0";
        if (d->suspended)
                return "suspended";
        if (!d->ready)
                return device_is_map(d) ? "not released by device-mapper's udev rules" : "not ready";

        return NULL;
}

static const char *why_unsuitable(const Device *d) {
        const char *name = strempty(d->name);

        if (startswith(name, "sr"))
                return "a CD-ROM drive";
        if (startswith(name, "fd"))
                return "a floppy disk drive";
        if (startswith(name, "zram"))
                return "compressed memory";

        return "a zoned disk";
}

static DeviceVerdict verdict(const Device *d, const char **ret_why) {
        *ret_why = why_not_ready(d);
        if (*ret_why)
                return DEVICE_NOT_READY;

        if (d->ignored) {
                *ret_why = "hidden by VHOSTSCSI_IGNORE";
                return DEVICE_IGNORED;
        }

        if (d->path_member) {
                *ret_why = "path of a multipath map";
                return DEVICE_PATH_MEMBER;
        }

        if (d->unsuitable) {
                *ret_why = why_unsuitable(d);
                return DEVICE_UNSUITABLE;
        }

        return DEVICE_USABLE;
}

DeviceVerdict device_verdict(const Device *d, char **ret_detail) {
        const char *why;
        DeviceVerdict v = verdict(d, &why);
        char *detail = NULL;

        if (!ret_detail)
                return v;

        /* Out of memory, the verdict is still right, only shorter. */
        if (v == DEVICE_PATH_MEMBER && !isempty(d->path_of)) {
                if (asprintf(&detail, "path of multipath map %s", d->path_of) < 0)
                        detail = NULL;
        } else if (why)
                detail = strdup(why);

        *ret_detail = detail;
        return v;
}

DeviceHealth device_health(const Device *d, bool writable, bool gone) {
        if (!d)
                return gone ? HEALTH_GONE : HEALTH_UNKNOWN;

        /* The worst first: whatever the paths are like, nothing moves while a map is suspended. */
        if (d->suspended)
                return HEALTH_SUSPENDED;
        if (d->kind == DEVICE_MULTIPATH && (d->valid_paths == 0 || d->total_paths == 0))
                return HEALTH_NO_PATH;
        if (d->read_only && writable)
                return HEALTH_READ_ONLY;
        if (d->kind == DEVICE_MULTIPATH && d->valid_paths > 0 && d->valid_paths < d->total_paths)
                return HEALTH_DEGRADED;

        return HEALTH_OK;
}

const char *device_kind_to_string(DeviceKind k) {
        static const char *const names[_DEVICE_KIND_MAX] = {
                [DEVICE_DISK] = "disk",
                [DEVICE_PARTITION] = "partition",
                [DEVICE_MULTIPATH] = "multipath",
                [DEVICE_MAP] = "map",
                [DEVICE_FILE] = "file",
        };

        assert(k < _DEVICE_KIND_MAX);
        return names[k];
}

const char *device_verdict_to_string(DeviceVerdict v) {
        static const char *const names[_DEVICE_VERDICT_MAX] = {
                [DEVICE_USABLE] = "usable",
                [DEVICE_NOT_READY] = "not-ready",
                [DEVICE_IGNORED] = "ignored",
                [DEVICE_PATH_MEMBER] = "path-member",
                [DEVICE_IN_USE] = "in-use",
                [DEVICE_HELD] = "held",
                [DEVICE_UNSUITABLE] = "unsuitable",
        };

        assert(v < _DEVICE_VERDICT_MAX);
        return names[v];
}

const char *device_health_to_string(DeviceHealth h) {
        static const char *const names[_HEALTH_MAX] = {
                [HEALTH_OK] = "ok",
                [HEALTH_DEGRADED] = "degraded",
                [HEALTH_NO_PATH] = "no-path",
                [HEALTH_SUSPENDED] = "suspended",
                [HEALTH_READ_ONLY] = "read-only",
                [HEALTH_GONE] = "gone",
                [HEALTH_UNKNOWN] = "unknown",
        };

        assert(h < _HEALTH_MAX);
        return names[h];
}
