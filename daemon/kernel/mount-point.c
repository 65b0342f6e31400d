/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <libmount.h>
#include <libudev.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/errno.h"
#include "base/log.h"
#include "base/text.h"
#include "kernel/mount-point.h"

typedef struct udev Udev;
typedef struct udev_device UdevDevice;

DEFINE_CLEANUP(Udev *, udev_unref);
DEFINE_CLEANUP(UdevDevice *, udev_device_unref);

struct MountTable {
        struct libmnt_table *table;
};

struct MountWatch {
        struct libmnt_monitor *monitor;
        sd_event_source *source;
        mount_watch_t changed;
        void *userdata;
};

void mount_point_done(MountPoint *p) {
        free(p->target);
        free(p->filesystem);
        *p = (MountPoint) {};
}

int mount_table_read(const char *mountinfo, MountTable **ret) {
        _cleanup_(mount_table_freep) MountTable *t = calloc(1, sizeof *t);
        int r;

        if (!t)
                return -ENOMEM;

        t->table = mnt_new_table();
        if (!t->table)
                return -ENOMEM;

        r = mnt_table_parse_file(t->table, mountinfo);
        if (r < 0)
                return r;
        if (r > 0)
                return -EBADMSG;

        *ret = TAKE_PTR(t);
        return 0;
}

int mount_table_new(MountTable **ret) {
        return mount_table_read("/proc/self/mountinfo", ret);
}

MountTable *mount_table_free(MountTable *t) {
        if (!t)
                return NULL;

        mnt_unref_table(t->table);
        free(t);
        return NULL;
}

/* Where no udev runs, there is nobody to wait for. */
static bool udev_will_tell(UdevDevice *device) {
        return device && udev_device_get_is_initialized(device) <= 0 && access("/run/udev/control", F_OK) >= 0;
}

/* NULL: udev knows none; or not yet, then the device is told. Of a filesystem on several disks the mount's source is one of them, and all have
 * the same. */
static int read_uuid(const char *source, char **ret, dev_t *ret_awaited) {
        _cleanup_(udev_device_unrefp) UdevDevice *device = NULL;
        _cleanup_(udev_unrefp) Udev *udev = NULL;
        const char *uuid;
        struct stat st;
        char *s = NULL;

        if (!source || !startswith(source, "/dev/") || stat(source, &st) < 0 || !S_ISBLK(st.st_mode)) {
                *ret = NULL;
                return 0;
        }

        udev = udev_new();
        if (!udev)
                return -ENOMEM;

        device = udev_device_new_from_devnum(udev, 'b', st.st_rdev);
        uuid = device ? udev_device_get_property_value(device, "ID_FS_UUID") : NULL;
        if (uuid && asprintf(&s, "uuid=%s", uuid) < 0)
                return -ENOMEM;
        if (!uuid && udev_will_tell(device))
                *ret_awaited = st.st_rdev;

        *ret = s;
        return 0;
}

static bool is_memory(struct libmnt_fs *fs) {
        const char *type = strempty(mnt_fs_get_fstype(fs));

        return streq(type, "tmpfs") || streq(type, "ramfs");
}

static int name_whole(struct libmnt_fs *fs, char **ret, dev_t *ret_awaited) {
        const char *type = strempty(mnt_fs_get_fstype(fs)), *source = strempty(mnt_fs_get_source(fs));
        struct statfs st;
        int r;

        r = read_uuid(source, ret, ret_awaited);
        if (r < 0 || *ret)
                return r;

        /* In memory: such a look waits for nobody. The kernel gives each instance a random number (mm/shmem.c, shmem_fill_super()). */
        if (is_memory(fs)) {
                if (statfs(mnt_fs_get_target(fs), &st) < 0)
                        return negative_errno();
                r = asprintf(ret, "%s:%08x%08x", type, (unsigned) st.f_fsid.__val[0], (unsigned) st.f_fsid.__val[1]);
        } else
                r = asprintf(ret, "%s:%s", type, source);

        return r < 0 ? -ENOMEM : 0;
}

static int name_filesystem(struct libmnt_fs *fs, char **ret, dev_t *ret_awaited) {
        _cleanup_free_ char *whole = NULL, *part = NULL;
        const char *root = mnt_fs_get_root(fs);
        int r;

        r = name_whole(fs, &whole, ret_awaited);
        if (r < 0)
                return r;

        /* Of btrfs, what is mounted by default may be a subvolume. */
        if (isempty(root) || streq(root, "/")) {
                *ret = TAKE_PTR(whole);
                return 0;
        }

        r = text_printable(root, &part);
        if (r < 0)
                return r;

        return asprintf(ret, "%s:%s", whole, part) < 0 ? -ENOMEM : 0;
}

/* Not mnt_table_find_mountpoint(), which asks the file as well. Backwards: of several on one directory the last is the one to be seen. */
static struct libmnt_fs *find(const MountTable *t, char *path) {
        for (;;) {
                struct libmnt_fs *fs = mnt_table_find_target(t->table, isempty(path) ? "/" : path, MNT_ITER_BACKWARD);

                if (fs || isempty(path))
                        return fs;
                *strrchr(path, '/') = 0;
        }
}

int mount_table_find(const MountTable *t, const char *path, MountPoint *ret) {
        _cleanup_(mount_point_done) MountPoint p = {};
        _cleanup_free_ char *copy = strdup(path);
        struct libmnt_fs *fs;
        int r;

        if (!copy)
                return -ENOMEM;

        fs = find(t, copy);
        if (!fs || !mnt_fs_get_target(fs))
                return -ENOENT;

        r = name_filesystem(fs, &p.filesystem, &p.awaited);
        if (r < 0)
                return r;

        p.target = strdup(mnt_fs_get_target(fs));
        if (!p.target)
                return -ENOMEM;

        p.id = (uint64_t) mnt_fs_get_id(fs);
        p.devnum = mnt_fs_get_devno(fs);
        p.pseudo = mnt_fs_is_pseudofs(fs) && !is_memory(fs);
        p.network = mnt_fs_is_netfs(fs) || startswith(strempty(mnt_fs_get_fstype(fs)), "fuse") ||
                    streq(strempty(mnt_fs_get_fstype(fs)), "9p");
        *ret = p;
        p = (MountPoint) {};
        return 0;
}

static int on_monitor(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        MountWatch *w = userdata;

        (void) mnt_monitor_event_cleanup(w->monitor);
        w->changed(w->userdata);
        return 0;
}

int mount_watch_new(sd_event *event, mount_watch_t changed, void *userdata, MountWatch **ret) {
        _cleanup_(mount_watch_freep) MountWatch *w = calloc(1, sizeof *w);
        int fd, r;

        if (!w)
                return -ENOMEM;

        w->changed = changed;
        w->userdata = userdata;
        w->monitor = mnt_new_monitor();
        if (!w->monitor)
                return -ENOMEM;

        r = mnt_monitor_enable_kernel(w->monitor, true);
        if (r < 0)
                return r;

        fd = mnt_monitor_get_fd(w->monitor);
        if (fd < 0)
                return fd;

        r = sd_event_add_io(event, &w->source, fd, EPOLLIN, on_monitor, w);
        if (r < 0)
                return r;

        (void) sd_event_source_set_description(w->source, "mounts");
        *ret = TAKE_PTR(w);
        return 0;
}

MountWatch *mount_watch_free(MountWatch *w) {
        if (!w)
                return NULL;

        sd_event_source_disable_unref(w->source);
        mnt_unref_monitor(w->monitor);
        free(w);
        return NULL;
}
