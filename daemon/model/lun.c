/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <json-c/json.h>

#include "model/lun.h"
#include "model/source.h"

Lun *lun_new(uint32_t number, Backstore *b) {
        Lun *l = calloc(1, sizeof *l);

        if (!l)
                return NULL;

        list_init(&l->publish_link);
        l->number = number;
        l->wanted = true;
        l->backstore = b;
        list_append(&b->luns, &l->backstore_link);
        return l;
}

static void leave_backstore(Lun *l) {
        list_unlink(&l->backstore_link);
        if (list_is_empty(&l->backstore->luns))
                backstore_free(l->backstore);
        l->backstore = NULL;
}

Lun *lun_free(Lun *l) {
        if (!l)
                return NULL;

        leave_backstore(l);
        list_unlink(&l->publish_link);
        json_object_put(l->unknown);
        free(l->error_code);
        free(l->error_text);
        free(l->published.device);
        free(l->published.error_code);
        free(l->published.error_text);
        free(l->published.place);
        free(l);
        return NULL;
}

void lun_set_backstore(Lun *l, Backstore *b) {
        if (l->backstore == b)
                return;

        leave_backstore(l);
        l->backstore = b;
        list_append(&b->luns, &l->backstore_link);
}

bool lun_is_gone(const Lun *l, bool instance_there) {
        /* An open file is there, whatever happens to its name. */
        return !backstore_is_file(l->backstore) && l->backstore->devnum != 0 && !instance_there;
}

/* Found by a name that is anybody's, for it had none of its own; this one has. */
static bool has_another_nature(const Backstore *b, const Device *d) {
        return b->size > 0 && !b->identity && source_kind(b->source) == SOURCE_PATH && d->stable;
}

bool lun_fits(const Lun *l, const Device *d, char **ret_why) {
        const Backstore *b = l->backstore;
        char *why = NULL;
        int r = 0;

        if (d->kind == DEVICE_FILE && b->identity && !strv_contains(d->keys, b->identity))
                r = asprintf(&why, "another filesystem than before is mounted on %s, where %s should be", strempty(b->mount), d->node);
        else if (b->identity && !strv_contains(d->keys, b->identity))
                r = asprintf(&why, "%s is another disk than before: %s, and not %s", d->node, d->identity, b->identity);
        else if (has_another_nature(b, d))
                r = asprintf(&why, "%s is another disk than before: %s, and that one had no lasting name", d->node, d->identity);
        else if (d->size < b->size)
                r = asprintf(&why, "%s has %" PRIu64 " bytes, and its guests know %" PRIu64, d->node, d->size, b->size);
        else if (d->read_only && !b->readonly)
                r = asprintf(&why, "%s is read-only, and the LUN is not", d->node);
        else
                return true;

        if (ret_why)
                *ret_why = r < 0 ? NULL : why;
        else if (r >= 0)
                free(why);
        return false;
}

DeviceHealth lun_health(const Lun *l, const Device *device, bool gone) {
        if (gone)
                return HEALTH_GONE;
        /* An open file can be read and written, whatever is mounted where it was found. */
        if (l->linked && backstore_is_file(l->backstore))
                return HEALTH_OK;

        return device_health(device, !l->backstore->readonly, l->backstore->removed);
}

LunState lun_state(const Lun *l, const Device *device, bool gone) {
        if (!l->wanted)
                return LUN_DRAINING;

        if (l->linked)
                switch (lun_health(l, device, gone)) {
                case HEALTH_NO_PATH:
                case HEALTH_SUSPENDED:
                case HEALTH_READ_ONLY:
                case HEALTH_GONE:
                        return LUN_DEGRADED;
                case HEALTH_OK:
                case HEALTH_DEGRADED:
                case HEALTH_UNKNOWN:
                case _HEALTH_MAX:
                        return LUN_ONLINE;
                }

        if (l->error_code)
                return LUN_FAILED;

        return device && device_verdict(device, NULL) == DEVICE_USABLE ? LUN_ATTACHING : LUN_WAITING;
}

void lun_set_error(Lun *l, const char *code, const char *text) {
        l->misfit = false;
        (void) free_and_strdup(&l->error_code, code);
        (void) free_and_strdup(&l->error_text, text);
}

const char *lun_state_to_string(LunState s) {
        static const char *const names[_LUN_STATE_MAX] = {
                [LUN_WAITING] = "waiting",
                [LUN_ATTACHING] = "attaching",
                [LUN_ONLINE] = "online",
                [LUN_DEGRADED] = "degraded",
                [LUN_DRAINING] = "draining",
                [LUN_FAILED] = "failed",
        };

        return names[s];
}

static const char *const origins[_LUN_ORIGIN_MAX] = {
        [LUN_MANUAL] = "manual",
        [LUN_UDEV] = "udev",
        [LUN_IMPORT] = "import",
        [LUN_ADOPTED] = "adopted",
};

const char *lun_origin_to_string(LunOrigin o) {
        return origins[o];
}

int lun_origin_from_string(const char *s, LunOrigin *ret) {
        for (LunOrigin o = 0; o < _LUN_ORIGIN_MAX; o++)
                if (streq(origins[o], s)) {
                        *ret = o;
                        return 0;
                }

        return -EINVAL;
}
