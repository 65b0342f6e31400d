/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <libmount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/errno.h"
#include "base/fileio.h"
#include "base/log.h"
#include "base/parse.h"
#include "kernel/bringup.h"
#include "kernel/modules.h"
#include "model/qemu-device.h"

#define NODE_PATH      "/dev/vhost-scsi"
#define CONFIGFS_PATH  "/sys/kernel/config"
#define CONFIGFS_MAGIC 0x62656570       /* fs/configfs/mount.c; the uapi headers do not have it */
#define DBROOT_DEFAULT "/var/target"    /* DB_ROOT_DEFAULT, drivers/target/target_core_internal.h */

typedef struct libmnt_context MountContext;

DEFINE_CLEANUP(MountContext *, mnt_free_context);

void fabric_done(Fabric *f) {
        free(f->version);
        *f = (Fabric) {};
}

/* The bundled module can be loaded under another fabric name, beside the in-tree one, for measuring. */
static bool bundled_owns_fabric(void) {
        _cleanup_free_ char *fabric = NULL;

        if (!module_is_loaded("vhscsi"))
                return false;

        if (read_attribute_at(AT_FDCWD, "/sys/module/vhscsi/parameters/fabric", 64, &fabric) < 0)
                return true;

        return streq(fabric, "vhost");
}

static int fabric_load(Modules *modules, Fabric *f) {
        int r;

        *f = (Fabric) { .module = "vhscsi", .origin = "bundled" };
        if (bundled_owns_fabric())
                return 0;

        if (!module_is_loaded("vhost_scsi")) {
                r = modules_load(modules, "vhscsi");
                if (r >= 0)
                        return 0;
                if (r != -ENOENT)
                        log_warning_errno(r, "Cannot load module vhscsi, trying vhost_scsi");
        }

        *f = (Fabric) { .module = "vhost_scsi", .origin = "in-tree" };
        return modules_ensure(modules, "vhost_scsi");
}

static int fabric_read_version(Fabric *f, int root_fd) {
        static const char *const names[] = { "version", "srcversion" };
        _cleanup_free_ char *text = NULL;
        const char *p;

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                char path[128];
                int r;

                snprintf(path, sizeof path, "/sys/module/%s/%s", f->module, names[i]);
                r = read_attribute_at(AT_FDCWD, path, 256, &f->version);
                if (r >= 0 || r == -ENOMEM)
                        return r;
        }

        /* Debian has neither. "TCM_VHOST fabric module v0.1 on Linux/x86_64on 6.1.0": drivers/vhost/scsi.c */
        if (read_attribute_at(root_fd, "vhost/version", 4096, &text) >= 0) {
                p = strstr(text, " module ");
                if (p) {
                        p += strlen(" module ");
                        f->version = strndup(p, strcspn(p, " "));
                        return f->version ? 0 : -ENOMEM;
                }
        }

        f->version = strdup("");
        return f->version ? 0 : -ENOMEM;
}

static int configfs_mount(void) {
        _cleanup_(mnt_free_contextp) MountContext *m = NULL;
        struct statfs sfs;
        int r;

        if (statfs(CONFIGFS_PATH, &sfs) < 0)
                return negative_errno();
        if ((uint64_t) sfs.f_type == CONFIGFS_MAGIC)
                return 0;

        m = mnt_new_context();
        if (!m)
                return -ENOMEM;

        r = mnt_context_set_source(m, "configfs");
        if (r >= 0)
                r = mnt_context_set_target(m, CONFIGFS_PATH);
        if (r >= 0)
                r = mnt_context_set_fstype(m, "configfs");
        if (r < 0)
                return r;

        r = mnt_context_mount(m);
        if (r == 0)
                return 0;
        if (mnt_context_syscall_called(m) && mnt_context_get_syscall_errno(m) > 0)
                return -mnt_context_get_syscall_errno(m);

        return r < 0 ? r : -EIO;
}

const char *fabric_find_problem(const Fabric *f, const char **ret_why) {
        struct stat st;

        if (!module_is_loaded(f->module)) {
                *ret_why = "The vhost-scsi module is not loaded any more";
                return "no-module";
        }
        /* No access(): the unit's DevicePolicy= refuses that for each node that the service may not open (inode_permission(), fs/namei.c). */
        if (stat(NODE_PATH, &st) < 0) {
                *ret_why = "There is no " NODE_PATH ", which guests are started with";
                return "no-node";
        }

        return NULL;
}

uint32_t fabric_queues_max(const Fabric *f) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        uint32_t max;

        /* Of vhost_scsi, drivers/vhost/scsi.c; vhscsi has no such parameter. */
        if (asprintf(&path, "/sys/module/%s/parameters/max_io_vqs", f->module) < 0)
                return QEMU_QUEUES_MAX;

        return read_attribute_at(AT_FDCWD, path, 64, &text) >= 0 && parse_u32(text, &max) >= 0 ? max : QEMU_QUEUES_MAX;
}

/* Reservations that shall survive a power loss, and ALUA states, are written by the kernel into directories that it
 * does not make itself: target_core_pr.c, target_core_alua.c. Guests work without, so this is never fatal. */
static void dbroot_prepare(int root_fd) {
        static const char *const names[] = { "", "/pr", "/alua" };
        _cleanup_free_ char *dbroot = NULL;

        (void) read_attribute_at(root_fd, "dbroot", 4096, &dbroot);

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                _cleanup_free_ char *path = NULL;

                if (asprintf(&path, "%s%s", isempty(dbroot) ? DBROOT_DEFAULT : dbroot, names[i]) < 0) {
                        log_oom();
                        return;
                }

                if (mkdir(path, 0700) < 0 && errno != EEXIST) {
                        int r = negative_errno();

                        log_warning_errno(r, "Cannot create %s, guests' reservations will not survive a reboot", path);
                        return;
                }
        }
}

int bringup(Fabric *ret_fabric, int *ret_fd, const char **ret_step) {
        _cleanup_(modules_done) Modules modules = {};
        _cleanup_(fabric_done) Fabric fabric = {};
        _cleanup_close_ int fd = -EBADF;
        const char *ignored;
        int r;

        if (!ret_step)
                ret_step = &ignored;

        *ret_step = "load module configfs";
        r = modules_ensure(&modules, "configfs");
        if (r < 0)
                return r;

        *ret_step = "load module target_core_mod";
        r = modules_ensure(&modules, "target_core_mod");
        if (r < 0)
                return r;

        *ret_step = "load module target_core_iblock";
        r = modules_ensure(&modules, "target_core_iblock");
        if (r < 0)
                return r;

        *ret_step = "load module vhost_scsi";
        r = fabric_load(&modules, &fabric);
        if (r < 0)
                return r;

        *ret_step = "mount configfs on " CONFIGFS_PATH;
        r = configfs_mount();
        if (r < 0)
                return r;

        *ret_step = "open " CONFIGFS_PATH "/target";
        fd = open(CONFIGFS_PATH "/target", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return negative_errno();

        /* EINVAL: no module has registered the fabric, and this one is not loaded on demand, target_core_configfs.c. */
        *ret_step = "create " CONFIGFS_PATH "/target/vhost";
        if (mkdirat(fd, "vhost", 0755) < 0 && errno != EEXIST)
                return negative_errno();

        *ret_step = "read the fabric's version";
        r = fabric_read_version(&fabric, fd);
        if (r < 0)
                return r;

        dbroot_prepare(fd);

        *ret_step = NULL;
        *ret_fabric = fabric;
        fabric = (Fabric) {};
        *ret_fd = TAKE_FD(fd);
        return 0;
}
