/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/parse.h"
#include "base/strv.h"
#include "kernel/lio-survey.h"
#include "model/attribute.h"

int lio_survey_list(Cfs *c, char ***ret) {
        _cleanup_(strv_freep) char **all = NULL, **names = NULL;
        int r;

        r = cfs_list(c, "vhost", true, false, &all);
        if (r < 0)
                return r == -ENOENT ? 0 : r;

        /* What the fabric takes for a WWN (facts 1.2); beside them stands discovery_auth, which every fabric has. */
        for (char **n = all; n && *n; n++)
                if (strstr(*n, "naa.") || strstr(*n, "fc.") || strstr(*n, "iqn.")) {
                        r = strv_extend(&names, *n);
                        if (r < 0)
                                return r;
                }

        *ret = TAKE_PTR(names);
        return 0;
}

static bool name_number(const char *name, const char *prefix, uint32_t *ret) {
        const char *s = startswith(name, prefix);

        return s && parse_u32(s, ret) >= 0;
}

/* The texts that a LioFound of a LUN points to. */
typedef struct Look {
        char *place, *udev_path, *serial;
        char **attributes;
} Look;

static void look_done(Look *l) {
        free(l->place);
        free(l->udev_path);
        free(l->serial);
        strv_free(l->attributes);
}

/* That a look failed says nothing of what is there. */
static bool is_failure(int r) {
        return r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -EINTR || r == -EIO;
}

/* Reads a file of a backstore; one that is not there, or that nobody can read, leaves NULL. */
static int read_of(Cfs *c, const char *backstore, const char *file, char **ret) {
        _cleanup_free_ char *path = NULL;
        int r;

        if (asprintf(&path, "%s/%s", backstore, file) < 0)
                return -ENOMEM;

        r = cfs_read(c, path, ret);
        return is_failure(r) ? r : 0;
}

static int look_at_attribute(Cfs *c, const char *backstore, const char *name, Look *look) {
        _cleanup_free_ char *file = NULL, *value = NULL;
        char *s;
        int r;

        if (asprintf(&file, "attrib/%s", name) < 0)
                return -ENOMEM;
        r = read_of(c, backstore, file, &value);
        if (r < 0 || !value)
                return r;

        return asprintf(&s, "%s=%s", name, value) < 0 ? -ENOMEM : strv_consume(&look->attributes, s);
}

static int look_at_attributes(Cfs *c, const char *backstore, Look *look) {
        static const char *const of_the_disk[] = { "hw_max_sectors", "hw_queue_depth" };
        const char *name;
        int r = 0;

        for (size_t i = 0; r >= 0 && (name = attribute_name(i)); i++)
                if (attribute_is_settable(name))
                        r = look_at_attribute(c, backstore, name, look);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(of_the_disk); i++)
                r = look_at_attribute(c, backstore, of_the_disk[i], look);

        return r;
}

static int look_at_hba(Cfs *c, const char *backstore, bool *ret_crowded) {
        _cleanup_free_ char *hba = strdup(backstore);
        _cleanup_(strv_freep) char **entries = NULL;
        int r;

        if (!hba)
                return -ENOMEM;

        *strrchr(hba, '/') = 0;
        r = cfs_list(c, hba, true, false, &entries);
        if (r < 0)
                return r;

        *ret_crowded = strv_length(entries) > 1;
        return 0;
}

static int look_at_backstore(Cfs *c, const char *backstore, bool closely, Look *look, LioFound *f) {
        _cleanup_free_ char *serial = NULL, *info = NULL;
        const char *s;
        int r;

        r = read_of(c, backstore, "udev_path", &look->udev_path);
        if (r >= 0)
                r = read_of(c, backstore, "wwn/vpd_unit_serial", &serial);
        if (r >= 0)
                r = read_of(c, backstore, "info", &info);
        if (r >= 0 && closely)
                r = look_at_attributes(c, backstore, look);
        if (r >= 0 && closely)
                r = look_at_hba(c, backstore, &f->crowded);
        if (r < 0)
                return r;

        s = serial ? startswith(serial, "T10 VPD Unit Serial Number: ") : NULL;
        look->serial = s ? strdup(s) : NULL;
        if (s && !look->serial)
                return -ENOMEM;

        f->udev_path = look->udev_path;
        f->serial = look->serial;
        f->attributes = look->attributes;
        r = info ? backstore_info_parse(info, &f->info) : 0;
        return r == -ENOMEM ? r : 0;
}

static int survey_lun(Cfs *c, const LioFound *tpg, const char *lun_dir, uint32_t number, bool closely, lio_found_t found, void *userdata) {
        _cleanup_(strv_freep) char **links = NULL;
        _cleanup_(look_done) Look look = {};
        LioFound f = *tpg;
        int r;

        f.lun = number;
        r = cfs_list(c, lun_dir, false, true, &links);
        if (r < 0)
                return r;

        if (links && links[0]) {
                _cleanup_free_ char *link = NULL;

                if (asprintf(&link, "%s/%s", lun_dir, links[0]) < 0)
                        return -ENOMEM;
                r = cfs_readlink(c, link, &look.place);
                if (r < 0)
                        return r;

                f.place = startswith(look.place, "core/") ?: look.place;
                r = look_at_backstore(c, look.place, closely, &look, &f);
                if (r < 0)
                        return r;
        }

        found(&f, userdata);
        backstore_info_done(&f.info);
        return 0;
}

static int survey_portal_group(Cfs *c, const char *wwn, uint32_t tag, bool closely, lio_found_t found, void *userdata) {
        _cleanup_(strv_freep) char **luns = NULL;
        _cleanup_free_ char *nexus = NULL;
        LioFound f = { .wwn = wwn, .portal_group = tag, .lun = -1 };
        char path[1024];
        int r;

        snprintf(path, sizeof path, "vhost/%s/tpgt_%u/nexus", wwn, tag);
        r = cfs_read(c, path, &nexus);
        if (is_failure(r))
                return r;

        f.nexus = nexus;
        found(&f, userdata);

        snprintf(path, sizeof path, "vhost/%s/tpgt_%u/lun", wwn, tag);
        r = cfs_list(c, path, true, false, &luns);
        if (r < 0)
                return r;

        for (char **l = luns; l && *l; l++) {
                uint32_t number;

                if (!name_number(*l, "lun_", &number))
                        continue;

                snprintf(path, sizeof path, "vhost/%s/tpgt_%u/lun/%s", wwn, tag, *l);
                r = survey_lun(c, &f, path, number, closely, found, userdata);
                if (r < 0 && r != -ENOENT)
                        return r;
        }

        return 0;
}

int lio_survey_target(Cfs *c, const char *wwn, bool closely, lio_found_t found, void *userdata) {
        _cleanup_(strv_freep) char **groups = NULL;
        bool any = false;
        char path[512];
        int r;

        snprintf(path, sizeof path, "vhost/%s", wwn);
        r = cfs_list(c, path, true, false, &groups);
        if (r < 0)
                return r;

        for (char **g = groups; g && *g; g++) {
                uint32_t tag;

                if (!name_number(*g, "tpgt_", &tag))
                        continue;

                r = survey_portal_group(c, wwn, tag, closely, found, userdata);
                if (r < 0 && r != -ENOENT)
                        return r;
                any = true;
        }

        if (!any)
                found(&(LioFound) { .wwn = wwn, .lun = -1 }, userdata);

        return 0;
}

int lio_survey_hbas(Cfs *c, lio_found_hba_t found, void *userdata) {
        _cleanup_(strv_freep) char **hbas = NULL;
        int r;

        r = cfs_list(c, "core", true, false, &hbas);
        if (r < 0)
                return r;

        for (char **h = hbas; h && *h; h++) {
                char *underscore = strrchr(*h, '_');
                uint32_t number;

                if (!underscore || parse_u32(underscore + 1, &number) < 0)
                        continue;

                *underscore = 0;
                found(*h, number, userdata);
        }

        return 0;
}
