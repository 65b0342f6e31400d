/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <limits.h>

#include "base/parse.h"
#include "base/strv.h"
#include "base/text.h"
#include "kernel/blockdev.h"
#include "kernel/sysfs.h"
#include "model/identity.h"

const char *const blockdev_property_names[_BLOCKDEV_PROPERTY_MAX] = {
        [BLOCKDEV_DISKSEQ] = "DISKSEQ",
        [BLOCKDEV_DM_MULTIPATH_DEVICE_PATH] = "DM_MULTIPATH_DEVICE_PATH",
        [BLOCKDEV_DM_NAME] = "DM_NAME",
        [BLOCKDEV_DM_SUSPENDED] = "DM_SUSPENDED",
        [BLOCKDEV_DM_UDEV_DISABLE_OTHER_RULES_FLAG] = "DM_UDEV_DISABLE_OTHER_RULES_FLAG",
        [BLOCKDEV_DM_UDEV_PRIMARY_SOURCE_FLAG] = "DM_UDEV_PRIMARY_SOURCE_FLAG",
        [BLOCKDEV_DM_UUID] = "DM_UUID",
        [BLOCKDEV_ID_BUS] = "ID_BUS",
        [BLOCKDEV_ID_IGNORE_DISKSEQ] = "ID_IGNORE_DISKSEQ",
        [BLOCKDEV_ID_MODEL] = "ID_MODEL",
        [BLOCKDEV_ID_SCSI] = "ID_SCSI",
        [BLOCKDEV_ID_SERIAL] = "ID_SERIAL",
        [BLOCKDEV_ID_WWN] = "ID_WWN",
        [BLOCKDEV_VHOSTSCSI_IGNORE] = "VHOSTSCSI_IGNORE",
        [BLOCKDEV_VHOSTSCSI_LUN] = "VHOSTSCSI_LUN",
        [BLOCKDEV_VHOSTSCSI_READONLY] = "VHOSTSCSI_READONLY",
        [BLOCKDEV_VHOSTSCSI_TARGET] = "VHOSTSCSI_TARGET",
};

static bool property_is(const BlockdevFacts *f, BlockdevProperty p, const char *value) {
        return streq_ptr(f->properties[p], value);
}

static bool name_is(const char *name, const char *driver) {
        const char *rest = startswith(name, driver);

        return rest && isdigit((unsigned char) *rest);
}

/* Of the disk, for a partition has no queue/ of its own. */
static int queue_text(int dirfd, bool partition, const char *name, char **ret) {
        char path[64];

        (void) snprintf(path, sizeof path, "%squeue/%s", partition ? "../" : "", name);
        return sysfs_read(dirfd, path, ret);
}

static int read_geometry(int dirfd, const BlockdevFacts *f, Device *d) {
        _cleanup_free_ char *block_size = NULL, *zoned = NULL;
        uint64_t sectors;
        int r;

        r = sysfs_read_u64(dirfd, "size", 0, &sectors);
        if (r < 0)
                return r;
        d->size = sectors <= UINT64_MAX / 512 ? sectors * 512 : 0;

        r = queue_text(dirfd, f->partition, "logical_block_size", &block_size);
        if (r < 0)
                return r;
        if (!block_size || parse_u32(block_size, &d->block_size) < 0)
                d->block_size = 512;

        r = queue_text(dirfd, f->partition, "zoned", &zoned);
        if (r < 0)
                return r;
        d->unsuitable = name_is(f->name, "sr") || name_is(f->name, "fd") || name_is(f->name, "zram") ||
                        (zoned && !streq(zoned, "none"));

        r = sysfs_read_is(dirfd, "ro", "1");
        if (r < 0)
                return r;
        d->read_only = r > 0;

        return 0;
}

/* udev's links of an older instance: its database is read by number, and events of the newer one are still to be
 * processed. */
static bool links_are_stale(const BlockdevFacts *f, uint64_t diskseq) {
        if (diskseq == 0 || f->partition || property_is(f, BLOCKDEV_ID_IGNORE_DISKSEQ, "1"))
                return false;

        if (f->event_diskseq > 0 && f->event_diskseq != diskseq)
                return true;

        for (size_t i = 0; f->links && f->links[i]; i++) {
                const char *n = startswith(f->links[i], "/dev/disk/by-diskseq/");
                uint64_t v;

                if (n && parse_u64(n, &v) >= 0 && v != diskseq)
                        return true;
        }

        return false;
}

static int read_instance(int dirfd, const BlockdevFacts *f, Device *d) {
        const char *property = f->properties[BLOCKDEV_DISKSEQ];
        int r;

        r = sysfs_read_u64(dirfd, f->partition ? "../diskseq" : "diskseq", 0, &d->diskseq);
        if (r < 0)
                return r;
        if (d->diskseq == 0 && property && parse_u64(property, &d->diskseq) < 0)
                d->diskseq = 0;

        d->initialized = f->initialized && !links_are_stale(f, d->diskseq);
        d->ready = d->initialized;
        return 0;
}

static int slave_has_failed(int dirfd, const char *name) {
        static const char *const failed[] = { "offline", "transport-offline", "cancel", "deleted", "dead", "deleting" };
        _cleanup_free_ char *state = NULL;
        char path[NAME_MAX + 32];
        int r;

        (void) snprintf(path, sizeof path, "slaves/%s/device/state", name);
        r = sysfs_read(dirfd, path, &state);
        if (r < 0)
                return r;

        for (size_t i = 0; state && i < ELEMENTSOF(failed); i++)
                if (streq(state, failed[i]))
                        return 1;

        return 0;
}

/* Only events tell which paths the map itself has given up. Until one does (we have just been started), the states of
 * the path disks are the next best. */
static int read_paths(int dirfd, const BlockdevFacts *f, Device *d) {
        _cleanup_(strv_freep) char **slaves = NULL;
        int valid = 0, r;
        size_t total;

        r = sysfs_list(dirfd, "slaves", &slaves);
        if (r < 0)
                return r;

        total = strv_length(slaves);
        for (char **s = slaves; *s && f->valid_paths < 0; s++) {
                r = slave_has_failed(dirfd, *s);
                if (r < 0)
                        return r;
                valid += r == 0;
        }

        d->total_paths = (int) MIN(total, (size_t) INT_MAX);
        /* The count of an event may be older than the table. */
        d->valid_paths = MIN(f->valid_paths >= 0 ? f->valid_paths : valid, d->total_paths);
        return 0;
}

/* uuid and name: as the kernel has them; NULL: that of udev. */
static int read_map(int dirfd, const BlockdevFacts *f, const char *uuid, Device *d) {
        bool released = !property_is(f, BLOCKDEV_DM_UDEV_DISABLE_OTHER_RULES_FLAG, "1");
        bool suspended_then = property_is(f, BLOCKDEV_DM_SUSPENDED, "1");
        int r;

        d->kind = uuid && startswith(uuid, "mpath-") ? DEVICE_MULTIPATH : DEVICE_MAP;

        r = sysfs_read_is(dirfd, "dm/suspended", "1");
        if (r < 0)
                return r;
        d->suspended = r > 0;

        /* multipath's rules raise the same flag for a map that has run out of paths, or seems to (an event PATH_FAILED
         * while others work): that is health. What remains to know is that the map was activated once, which the
         * primary source flag says; that stays (multipath-tools 11-dm-mpath.rules, lvm2 10-dm.rules). */
        if (d->kind == DEVICE_MULTIPATH && property_is(f, BLOCKDEV_DM_UDEV_PRIMARY_SOURCE_FLAG, "1"))
                released = true;

        /* Suspended when udev looked: the event of the resume is still to come. */
        d->ready = d->initialized && d->size > 0 && released && !suspended_then;

        return d->kind == DEVICE_MULTIPATH ? read_paths(dirfd, f, d) : 0;
}

static int read_path_of(int dirfd, const BlockdevFacts *f, Device *d) {
        const char *p = f->properties[BLOCKDEV_DM_MULTIPATH_DEVICE_PATH];
        int r;

        r = sysfs_multipath_holder(dirfd, &d->path_of);
        if (r < 0)
                return r;

        d->path_member = r > 0 || (!isempty(p) && !streq(p, "0"));
        if (d->path_member && !d->path_of) {
                d->path_of = strdup("");
                if (!d->path_of)
                        return -ENOMEM;
        }

        return 0;
}

/* What identifies a whole disk by its own word. Left to by-id links: disks of other buses, whose ID_SERIAL is model and
 * serial number. */
static int read_wwid(int dirfd, const BlockdevFacts *f, char **ret) {
        const char *bus = f->properties[BLOCKDEV_ID_BUS], *value = NULL;
        char *wwid = NULL;
        int r;

        if (startswith(f->name, "nvme")) {
                r = sysfs_read(dirfd, "wwid", &wwid);
                if (r < 0)
                        return r;
                if (!isempty(wwid)) {
                        *ret = wwid;
                        return 0;
                }
                free(wwid);
                value = f->properties[BLOCKDEV_ID_WWN];
        } else if (isempty(bus) ? property_is(f, BLOCKDEV_ID_SCSI, "1") : streq(bus, "scsi"))
                value = f->properties[BLOCKDEV_ID_SERIAL];

        wwid = value ? strdup(value) : NULL;
        if (value && !wwid)
                return -ENOMEM;

        *ret = wwid;
        return 0;
}

static int read_model(int dirfd, const BlockdevFacts *f, Device *d) {
        _cleanup_free_ char *raw = NULL;
        int r;

        r = sysfs_read(dirfd, f->partition ? "../device/model" : "device/model", &raw);
        if (r < 0)
                return r;
        if (!raw && f->properties[BLOCKDEV_ID_MODEL]) {
                raw = strdup(f->properties[BLOCKDEV_ID_MODEL]);
                if (!raw)
                        return -ENOMEM;
        }

        for (size_t n = raw ? strlen(raw) : 0; n > 0 && isspace((unsigned char) raw[n - 1]);)
                raw[--n] = 0;

        return isempty(raw) ? 0 : text_printable(raw, &d->model);
}

static int read_names(int dirfd, const BlockdevFacts *f, Device *d) {
        IdentityFacts identity = { .node = d->node, .links = d->initialized ? f->links : NULL };
        _cleanup_free_ char *dm_name = NULL, *dm_uuid = NULL, *wwid = NULL;
        int r;

        if (f->partition)
                d->kind = DEVICE_PARTITION;
        else if (name_is(f->name, "dm-")) {
                /* The kernel's words first: they are there before udev's, and follow a rename. */
                r = sysfs_read(dirfd, "dm/name", &dm_name);
                if (r >= 0)
                        r = sysfs_read(dirfd, "dm/uuid", &dm_uuid);
                if (r < 0)
                        return r;

                identity.dm_name = dm_name ?: f->properties[BLOCKDEV_DM_NAME];
                identity.dm_uuid = dm_uuid ?: f->properties[BLOCKDEV_DM_UUID];
                r = text_printable(strempty(identity.dm_name), &d->dm_name);
                if (r < 0)
                        return r;

                r = read_map(dirfd, f, identity.dm_uuid, d);
                if (r < 0)
                        return r;
        } else if (d->initialized) {
                r = read_wwid(dirfd, f, &wwid);
                if (r < 0)
                        return r;
                identity.wwid = wwid;
        }

        identity.kind = d->kind;
        return identity_apply(d, &identity);
}

/* Kept as it stands: what it means, and whether it means anything, model/wish.h says. */
static int read_wish(int dirfd, const BlockdevFacts *f, Device *d) {
        const struct {
                BlockdevProperty property;
                char **value;
        } wishes[] = {
                { BLOCKDEV_VHOSTSCSI_TARGET, &d->wish_target },
                { BLOCKDEV_VHOSTSCSI_LUN, &d->wish_number },
                { BLOCKDEV_VHOSTSCSI_READONLY, &d->wish_readonly },
        };
        int r;

        /* An older instance's properties are nobody's wish for this one. */
        if (!d->initialized || isempty(f->properties[BLOCKDEV_VHOSTSCSI_TARGET]))
                return 0;

        for (size_t i = 0; i < ELEMENTSOF(wishes); i++)
                if (!isempty(f->properties[wishes[i].property])) {
                        *wishes[i].value = strdup(f->properties[wishes[i].property]);
                        if (!*wishes[i].value)
                                return -ENOMEM;
                }

        if (!f->partition)
                return 0;

        r = sysfs_read_devnum(dirfd, "../dev", &d->disk);
        return r < 0 ? r : 0;
}

/* The directory is empty as soon as the device is removed. */
static int is_still_there(int dirfd, dev_t devnum) {
        dev_t now;
        int r;

        r = sysfs_read_devnum(dirfd, "dev", &now);
        return r > 0 && now != devnum ? 0 : r;
}

int blockdev_read(int dirfd, const BlockdevFacts *facts, Device **ret) {
        _cleanup_(device_freep) Device *d = NULL;
        int r;

        d = device_new();
        if (!d)
                return -ENOMEM;

        d->devnum = facts->devnum;
        d->ignored = facts->properties[BLOCKDEV_VHOSTSCSI_IGNORE] &&
                     parse_boolean(facts->properties[BLOCKDEV_VHOSTSCSI_IGNORE]) > 0;
        d->name = strdup(facts->name);
        d->node = strdup(facts->node);
        if (!d->name || !d->node)
                return -ENOMEM;

        r = read_instance(dirfd, facts, d);
        if (r >= 0)
                r = read_geometry(dirfd, facts, d);
        if (r >= 0)
                r = read_names(dirfd, facts, d);
        if (r >= 0)
                r = read_path_of(dirfd, facts, d);
        if (r >= 0)
                r = read_model(dirfd, facts, d);
        if (r >= 0)
                r = read_wish(dirfd, facts, d);
        if (r < 0)
                return r;

        r = is_still_there(dirfd, facts->devnum);
        if (r <= 0)
                return r < 0 ? r : -ENODEV;

        *ret = TAKE_PTR(d);
        return 0;
}
