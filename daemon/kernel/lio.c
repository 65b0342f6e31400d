/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "base/errno.h"
#include "base/parse.h"
#include "kernel/backstore-info.h"
#include "kernel/lio.h"
#include "model/backstore.h"

/* Reads core/<plugin>_<N>/<name>/<file>; a file that is not there leaves NULL. */
static int read_backstore(Cfs *c, const LunWant *want, uint32_t hba, const char *file, char **ret) {
        char path[512];
        int r;

        snprintf(path, sizeof path, "core/%s_%u/%s/%s", plan_plugin(want), hba, want->name, file);
        r = cfs_read(c, path, ret);
        return r == -ENOENT ? 0 : r;
}

int lio_observe_target(Cfs *c, const char *wwn, TargetSeen *ret) {
        _cleanup_(target_seen_done) TargetSeen seen = {};
        char path[512];
        int r;

        /* One look tells of all three as a rule: a missing nexus reads as ENODEV (facts 1.2), a missing group as ENOENT. */
        snprintf(path, sizeof path, "vhost/%s/tpgt_1/nexus", wwn);
        r = cfs_read(c, path, &seen.nexus);
        if (r >= 0 || r == -ENODEV)
                seen.wwn_dir = seen.tpg_dir = true;
        else if (r == -ENOENT) {
                snprintf(path, sizeof path, "vhost/%s", wwn);
                r = cfs_exists(c, path);
                if (r < 0)
                        return r;
                seen.wwn_dir = r > 0;
        } else
                return r;

        *ret = seen;
        seen = (TargetSeen) {};
        return 0;
}

static int observe_attributes(Cfs *c, const LunWant *want, LunSeen *seen) {
        const char *const *const lists[] = { plan_default_attributes, (const char *const *) want->attributes };

        for (size_t i = 0; i < ELEMENTSOF(lists); i++)
                for (const char *const *a = lists[i]; a && *a; a++) {
                        _cleanup_free_ char *value = NULL;
                        size_t n = strcspn(*a, "=");
                        char file[128];
                        char *s;
                        int r;

                        snprintf(file, sizeof file, "attrib/%.*s", (int) n, *a);
                        r = read_backstore(c, want, seen->hba, file, &value);
                        if (r < 0)
                                return r;
                        if (!value)
                                continue;

                        if (asprintf(&s, "%.*s=%s", (int) n, *a, value) < 0)
                                return -ENOMEM;
                        r = strv_consume(&seen->attributes, s);
                        if (r < 0)
                                return r;
                }

        return 0;
}

/* Of one that does not bear our mark, which tells as much. */
static int observe_open(Cfs *c, const LunWant *want, LunSeen *seen) {
        _cleanup_(backstore_info_done) BackstoreInfo info = {};
        _cleanup_free_ char *text = NULL;
        int r;

        r = read_backstore(c, want, seen->hba, "info", &text);
        if (r >= 0 && text)
                r = backstore_info_parse(text, &info);
        if (r < 0)
                return r == -EBADMSG ? 0 : r;

        seen->devnum = info.devnum;
        seen->file = TAKE_PTR(info.file);
        return 0;
}

static int observe_backstore(Cfs *c, const LunWant *want, LunSeen *seen) {
        _cleanup_free_ char *enable = NULL, *serial = NULL;
        const char *s;
        int r;

        r = read_backstore(c, want, seen->hba, "enable", &enable);
        if (r < 0)
                return r;
        seen->enabled = enable && !streq(enable, "0");

        r = read_backstore(c, want, seen->hba, "alias", &seen->alias);
        if (r < 0)
                return r;

        r = read_backstore(c, want, seen->hba, "wwn/vpd_unit_serial", &serial);
        if (r < 0)
                return r;
        /* drivers/target/target_core_configfs.c, target_wwn_vpd_unit_serial_show() */
        s = serial ? startswith(serial, "T10 VPD Unit Serial Number: ") : NULL;
        if (s) {
                seen->serial = strdup(s);
                if (!seen->serial)
                        return -ENOMEM;
        }

        if (seen->enabled && !plan_parse_mark(seen->alias, &seen->diskseq, &seen->devnum)) {
                r = observe_open(c, want, seen);
                if (r < 0)
                        return r;
        }

        return observe_attributes(c, want, seen);
}

/* "core/iblock_3/disk1", disk1 being the wanted name: 3. */
static bool link_names(const LunWant *want, const char *target, uint32_t *ret_hba) {
        const char *place = target ? startswith(target, "core/") : NULL, *name;

        return place && backstore_parse_place(place, plan_plugin(want), ret_hba, &name) && streq(name, want->name);
}

int lio_observe_lun(Cfs *c, const LunWant *want, LunSeen *ret) {
        _cleanup_(strv_freep) char **links = NULL, **entries = NULL;
        _cleanup_(lun_seen_done) LunSeen seen = {};
        char path[1024];
        int r;

        snprintf(path, sizeof path, "vhost/%s/tpgt_1/lun/lun_%u", want->wwn, want->number);
        r = cfs_list(c, path, false, true, &links);
        if (r < 0 && r != -ENOENT)
                return r;
        seen.dir = r >= 0;

        if (links && links[0]) {
                seen.link = strdup(links[0]);
                if (!seen.link)
                        return -ENOMEM;

                snprintf(path, sizeof path, "vhost/%s/tpgt_1/lun/lun_%u/%s", want->wwn, want->number, seen.link);
                r = cfs_readlink(c, path, &seen.link_target);
                if (r < 0)
                        return r;
        }

        /* A backstore of the wanted name under another number may be one to take over. */
        if (!want->wanted || !link_names(want, seen.link_target, &seen.hba))
                seen.hba = want->hba;
        snprintf(path, sizeof path, "core/%s_%u", plan_plugin(want), seen.hba);
        r = cfs_list(c, path, true, false, &entries);
        if (r < 0 && r != -ENOENT)
                return r;
        seen.hba_dir = r >= 0;
        seen.backstore_dir = strv_contains(entries, want->name);
        seen.hba_others = strv_length(entries) > (seen.backstore_dir ? 1U : 0U) || (want->fresh && seen.hba_dir && !seen.backstore_dir);

        if (seen.backstore_dir) {
                r = observe_backstore(c, want, &seen);
                if (r < 0)
                        return r;
        }

        *ret = seen;
        seen = (LunSeen) {};
        return 0;
}

static int read_info(Cfs *c, const char *path, BackstoreInfo *ret) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = cfs_read(c, path, &text);
        return r < 0 ? r : backstore_info_parse(text, ret);
}

static int verify(Cfs *c, const char *info_path, const char *mark) {
        _cleanup_(backstore_info_done) BackstoreInfo info = {};
        uint64_t meant_diskseq, diskseq;
        dev_t meant;
        int r;

        if (!plan_parse_mark(mark, &meant_diskseq, &meant))
                return -EINVAL;

        r = read_info(c, info_path, &info);
        if (r < 0)
                return r;
        if (info.devnum != meant)
                return -ESTALE;

        /* It is open now, so its number cannot be given to another one any more. */
        if (meant_diskseq == 0)
                return 0;

        r = cfs_block_diskseq(c, meant, &diskseq);
        if (r < 0)
                return r;

        return diskseq == meant_diskseq ? 0 : -ESTALE;
}

/* Opens the file itself and hands that to the kernel, which would make a missing one (O_CREAT: fd_configure_device(),
 * drivers/target/target_core_file.c), or take another that was put in its place. */
static int open_file(const char *path, uint64_t size, uint64_t mount) {
        _cleanup_close_ int fd = -EBADF;
        struct statx st;

        fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return negative_errno();
        if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_SIZE | STATX_MNT_ID, &st) < 0)
                return negative_errno();
        if (!S_ISREG(st.stx_mode))
                return -EINVAL;
        if (!(st.stx_mask & STATX_MNT_ID))
                return -EOPNOTSUPP;
        if (st.stx_mnt_id != mount || st.stx_size < size)
                return -ESTALE;

        return TAKE_FD(fd);
}

static int perform_open_file(Cfs *c, const Step *s) {
        char path[512], value[64];
        _cleanup_close_ int fd = -EBADF;
        uint64_t size, mount;
        int at = 0, r;

        if (sscanf(s->value, "%" SCNu64 " %" SCNu64 " %n", &size, &mount, &at) != 2 || at == 0)
                return -EINVAL;

        fd = open_file(s->value + at, size, mount);
        if (fd < 0)
                return fd;

        snprintf(path, sizeof path, "%s/control", s->path);
        snprintf(value, sizeof value, "fd_dev_name=/proc/self/fd/%d", fd);
        r = cfs_write(c, path, value);
        if (r >= 0) {
                snprintf(value, sizeof value, "fd_dev_size=%" PRIu64, size);
                r = cfs_write(c, path, value);
        }
        if (r < 0)
                return r;

        snprintf(path, sizeof path, "%s/enable", s->path);
        return cfs_write(c, path, "1");
}

int lio_perform(Cfs *c, const Step *s) {
        int r;

        switch (s->op) {
        case STEP_MKDIR:
                /* It was not there when we looked: whoever made it since then, it was not us. */
                return cfs_mkdir(c, s->path);
        case STEP_WRITE:
                return cfs_write(c, s->path, s->value);
        case STEP_OPEN_FILE:
                return perform_open_file(c, s);
        case STEP_VERIFY:
                return verify(c, s->path, s->value);
        case STEP_SYMLINK:
                return cfs_symlink(c, s->value, s->path);
        case STEP_UNLINK:
                r = cfs_unlink(c, s->path);
                return r == -ENOENT ? 0 : r;
        case STEP_RMDIR:
                r = cfs_rmdir(c, s->path);
                return r == -ENOENT ? 0 : r;
        case _STEP_OP_MAX:
                break;
        }

        assert(false);
        return -EINVAL;
}

/* The rest of the line "KEY REST". */
static char *status_get(const char *status, const char *key) {
        size_t n = strlen(key);

        for (const char *line = status; line; line = strchr(line, '\n')) {
                line += *line == '\n';
                if (strncmp(line, key, n) == 0 && line[n] == ' ')
                        return strndup(line + n + 1, strcspn(line + n + 1, "\n"));
        }

        return NULL;
}

/* 1 or 0; -ENOENT: the module does not say, or there is no portal group. */
static int read_attached(Cfs *c, const char *wwn, Guest *ret) {
        _cleanup_free_ char *pid = NULL, *comm = NULL;
        Guest g = {};
        _cleanup_free_ char *text = NULL;
        char path[512];
        int r;

        snprintf(path, sizeof path, "vhost/%s/tpgt_1/status", wwn);
        r = cfs_read(c, path, &text);
        if (r < 0)
                return r;

        /* The first line of all, vhscsi(4). */
        if (!startswith(text, "attached "))
                return -EBADMSG;
        if (text[strlen("attached ")] == '0')
                return 0;

        pid = status_get(text, "pid");
        comm = status_get(text, "comm");
        if (pid && parse_u32(pid, &g.pid) >= 0) {
                if (comm)
                        (void) guest_set_name(&g, comm);
                *ret = g;
        }

        return 1;
}

uid_t lio_target_user(Cfs *c, const char *wwn) {
        char path[512];
        uid_t user;

        snprintf(path, sizeof path, "vhost/%s", wwn);
        return cfs_user(c, path, &user) < 0 ? 0 : user;
}

int lio_probe_attached(Cfs *c, const char *wwn, Guest *ret) {
        _cleanup_(strv_freep) char **luns = NULL;
        char path[512];
        int r;

        r = read_attached(c, wwn, ret);
        if (r != -ENOENT)
                return r;

        snprintf(path, sizeof path, "vhost/%s/tpgt_1/lun", wwn);
        r = cfs_list(c, path, true, false, &luns);
        if (r == -ENOENT)
                return -ENODATA;
        if (r < 0)
                return r;
        if (!luns || !luns[0])
                return -ENODATA;

        snprintf(path, sizeof path, "vhost/%s/tpgt_1", wwn);
        r = cfs_rmdir(c, path);
        if (r == -EBUSY)
                return 1;
        /* libvirt gives the target's directory to the user of its QEMU, from before a guest's start until after its end
         * (src/security/security_dac.c), and root without capabilities may not remove anything in it then. */
        if (r == -EACCES)
                return 1;
        if (r == -ENOTEMPTY)
                return 0;
        if (r < 0)
                return r;

        /* The last LUN directory went between two lines, by somebody else's hand, and the group with it: the next pass makes it anew. */
        return -EAGAIN;
}
