/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sys/stat.h>

#include "base/errno.h"
#include "engine/files.h"
#include "engine/hotplug.h"
#include "engine/survey.h"
#include "model/source.h"

void surveyed_device_done(SurveyedDevice *s) {
        free(s->detail);
        *s = (SurveyedDevice) {};
}

/* Is the device open as a backstore of ours? Then its holder is we ourselves. */
static bool is_exported(Engine *e, const Device *d) {
        for (char **k = d->keys; k && *k; k++) {
                const Backstore *b = registry_backstore(&e->registry, *k);

                if (b && b->devnum == d->devnum)
                        return true;
        }

        return false;
}

static int survey_mounts(Engine *e, const Device *d, const Mounts *mounts, SurveyedDevice *s) {
        _cleanup_free_ dev_t *stack = NULL;
        size_t n = 0;
        int r;

        r = uevents_stack(e->uevents, d, &stack, &n);
        if (r < 0)
                return r == -ENOMEM ? r : 0;

        for (size_t i = 0; i < n; i++) {
                const Device *above = inventory_by_devnum(e->inventory, stack[i]);
                _cleanup_free_ char *use = NULL;
                int k;

                r = mounts_use(mounts, stack[i], &use);
                if (r < 0)
                        return r;
                if (r == 0)
                        continue;

                k = stack[i] == d->devnum || !above ? asprintf(&s->detail, "%s", use) :
                                                      asprintf(&s->detail, "%s (%s)", use, above->dm_name ?: above->name);
                if (k < 0) {
                        s->detail = NULL;
                        return -ENOMEM;
                }

                s->verdict = DEVICE_IN_USE;
                return 0;
        }

        return 0;
}

static int survey_holders(Engine *e, const Device *d, SurveyedDevice *s) {
        _cleanup_(strv_freep) char **holders = NULL;
        int r;

        r = uevents_holders(e->uevents, d, &holders);
        if (r < 0)
                return r == -ENOMEM ? r : 0;
        if (!holders || !holders[0])
                return 0;

        if (asprintf(&s->detail, "held by %s%s", holders[0], holders[1] ? " and others" : "") < 0) {
                s->detail = NULL;
                return -ENOMEM;
        }

        s->verdict = DEVICE_HELD;
        return 0;
}

static int survey_file(Engine *e, const Device *d, const Mounts *mounts, SurveyedDevice *ret) {
        SurveyedDevice s = {};
        int r = 0;

        if (!registry_backstore(&e->registry, d->identity))
                r = mounts_use_file(mounts, d->node, &s.detail);
        if (r < 0)
                return r;

        s.verdict = r > 0 ? DEVICE_IN_USE : DEVICE_USABLE;
        *ret = s;
        return 0;
}

int survey_device(Engine *e, const Device *d, const Mounts *mounts, SurveyedDevice *ret) {
        _cleanup_(surveyed_device_done) SurveyedDevice s = {};
        _cleanup_free_ char *map = NULL;
        int r;

        s.verdict = device_verdict(d, &s.detail);

        if (d->kind == DEVICE_FILE)
                return survey_file(e, d, mounts, ret);

        /* Whatever udev says of it, sysfs knows whose path it is. */
        if (e->uevents && s.verdict != DEVICE_PATH_MEMBER && uevents_multipath_holder(e->uevents, d, &map) > 0) {
                free(s.detail);
                if (asprintf(&s.detail, "path of multipath map %s", map) < 0) {
                        s.detail = NULL;
                        return -ENOMEM;
                }
                s.verdict = DEVICE_PATH_MEMBER;
        }

        if (e->uevents && s.verdict == DEVICE_USABLE && !is_exported(e, d)) {
                r = survey_mounts(e, d, mounts, &s);
                if (r >= 0 && s.verdict == DEVICE_USABLE)
                        r = survey_holders(e, d, &s);
                if (r < 0)
                        return r;
        }

        *ret = s;
        s = (SurveyedDevice) {};
        return 0;
}

/* Opens nothing. Resolved as text first, so that it ends at a name under /dev: /dev/fd/0 would be whatever the daemon has open. (openat2()
 * with RESOLVE_NO_MAGICLINKS would do, but RestrictSUIDSGID= in the unit forbids it.) */
static int stat_node(const char *path, struct stat *ret) {
        _cleanup_free_ char *real = NULL;

        real = realpath(path, NULL);
        if (!real)
                return negative_errno();
        if (!startswith(real, "/dev/"))
                return -ELOOP;
        if (lstat(real, ret) < 0)
                return negative_errno();

        return 0;
}

static int resolve_path(Engine *e, const char *path, const Device **ret, Refusal *refusal) {
        const Device *known;
        Device *d = NULL;
        struct stat st;
        int r;

        r = stat_node(path, &st);
        if (r == -ELOOP)
                return refuse(refusal, REFUSAL_INVALID_SOURCE, "%s leads out of /dev", path);
        if (r < 0)
                return refuse(refusal, REFUSAL_DEVICE_NOT_FOUND, "There is no device %s: %s", path, strerror(-r));
        if (!S_ISBLK(st.st_mode))
                return refuse(refusal, REFUSAL_INVALID_SOURCE, "%s is %s, not a block device", path,
                              S_ISDIR(st.st_mode) ? "a directory" : S_ISCHR(st.st_mode) ? "a character device" :
                              S_ISREG(st.st_mode) ? "a regular file" : "something else");

        /* Its event may still be on the way to us. */
        if (e->uevents) {
                r = uevents_read_device(e->uevents, st.st_rdev, &d);
                if (r == -ENOMEM)
                        return r;
                if (r >= 0)
                        hotplug_on_device(st.st_rdev, d, e);
        }

        known = inventory_by_devnum(e->inventory, st.st_rdev);
        if (!known)
                return refuse(refusal, REFUSAL_DEVICE_NOT_FOUND, "The kernel has no block device behind %s", path);
        /* Its lasting name comes from udev; what it has now would be stored and mean another disk after a reboot. */
        if (e->uevents && !known->initialized)
                return refuse(refusal, REFUSAL_NOT_READY, "udev has not finished with %s yet, so it has no lasting name; try again", path);

        *ret = known;
        return 0;
}

int survey_resolve(Engine *e, const char *source, char **ret_source, const Device **ret_device, Refusal *refusal) {
        _cleanup_free_ char *text = NULL;
        const char *why = NULL;
        const Device *d = NULL;
        Device *found = NULL;
        SourceKind kind;
        char *s;
        int r;

        r = source_parse(source, &kind, &text, &why);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return refuse(refusal, REFUSAL_INVALID_SOURCE, "Invalid source: %s", why ?: "unknown form");

        hotplug_flush(e);
        if (kind == SOURCE_FILE)
                return files_resolve(e, text, ret_source, ret_device, refusal);

        if (kind == SOURCE_PATH) {
                r = resolve_path(e, source_value(text), &d, refusal);
                if (r < 0)
                        return r;
        } else {
                r = inventory_resolve(e->inventory, text, &found);
                if (r == -ENOTUNIQ)
                        return refuse(refusal, REFUSAL_INVALID_SOURCE, "Several devices answer to %s; name one of them", text);
                if (r >= 0) {
                        dev_t devnum = found->devnum;

                        hotplug_look_at_map(e, found);
                        d = inventory_by_devnum(e->inventory, devnum);
                } else if (kind == SOURCE_BY_PATH)
                        /* What is there later may be anything. */
                        return refuse(refusal, REFUSAL_DEVICE_NOT_FOUND, "There is no device at %s", text);
                else if (kind == SOURCE_BY_ID) {
                        _cleanup_(refusal_done) Refusal absent = {};
                        _cleanup_free_ char *link = NULL;

                        if (asprintf(&link, "/dev/disk/by-id/%s", source_value(text)) < 0)
                                return -ENOMEM;
                        if (resolve_path(e, link, &d, &absent) == -ENOMEM)
                                return -ENOMEM;
                }
        }

        s = strdup(d ? d->identity : text);
        if (!s)
                return -ENOMEM;

        *ret_source = s;
        *ret_device = d;
        return 0;
}

Backstore *survey_backstore(const Engine *e, const Registry *registry, const char *source, const Device *d) {
        Backstore *b = registry_backstore(registry, source);
        Device *named = NULL;

        for (char **k = d ? d->keys : NULL; !b && k && *k; k++)
                if (inventory_resolve(e->inventory, *k, &named) >= 0 && named == d)
                        b = registry_backstore(registry, *k);

        return b;
}

int survey_refuse(const Device *d, const SurveyedDevice *s, Refusal *refusal) {
        const char *name = d->dm_name ?: d->name;

        switch (s->verdict) {
        case DEVICE_PATH_MEMBER:
                return refuse(refusal, REFUSAL_DEVICE_IS_PATH_MEMBER, "%s is a %s; export the map", d->node, strempty(s->detail));
        case DEVICE_IN_USE:
                return refuse(refusal, REFUSAL_DEVICE_UNSAFE, "%s is in use by this host: %s", name, strempty(s->detail));
        case DEVICE_HELD:
                return refuse(refusal, REFUSAL_DEVICE_BUSY, "%s is %s", name, strempty(s->detail));
        case DEVICE_IGNORED:
        case DEVICE_UNSUITABLE:
                return refuse(refusal, REFUSAL_DEVICE_UNSAFE, "%s must not be exported: %s", name, strempty(s->detail));
        case DEVICE_NOT_READY:
                return refuse(refusal, REFUSAL_NOT_READY, "%s is not ready: %s", name, strempty(s->detail));
        case DEVICE_USABLE:
        case _DEVICE_VERDICT_MAX:
                break;
        }

        return 0;
}
