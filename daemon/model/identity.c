/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/strv.h"
#include "model/identity.h"
#include "model/source.h"

#define BY_ID "/dev/disk/by-id/"
#define BY_PATH "/dev/disk/by-path/"
#define LINKS_MAX 256           /* no device has so many; rules that went wild shall not cost us the memory */

/* Kinds of by-id links, the most stable first. */
static const char *const link_ranks[] = {
        "dm-uuid-",
        "wwn-",
        "scsi-3",               /* NAA; the digits are those of SCSI's VPD page 0x83 */
        "scsi-2",               /* EUI-64 */
        "scsi-8",               /* SCSI name string */
        "nvme-eui.",
        "nvme-uuid.",
        "nvme-nvme.",
        "virtio-",
        "scsi-S",               /* vendor, model, unit serial */
        "scsi-1",               /* T10 vendor */
        "scsi-",
        "nvme-",
        "ata-",
        "ccw-",
        "mmc-",
        "usb-",
        "md-uuid-",
        "",
};

/* Names that may move to another disk: an alias that an admin gives, and what is written on the disk itself, which a
 * guest can write as well. They will do for finding a device, and never for remembering it. */
static const char *const passing_links[] = { "dm-name-", "md-name-", "lvm-pv-uuid-" };

static size_t link_rank(const char *id) {
        size_t rank = 0;

        for (size_t i = 0; i < ELEMENTSOF(passing_links); i++)
                if (startswith(id, passing_links[i]))
                        return SIZE_MAX;

        while (!startswith(id, link_ranks[rank]))
                rank++;

        return rank;
}

/* Appends KIND=VALUE in its canonical form, unless that is no source or there already. */
static int keys_add(char ***keys, const char *kind, const char *value, char **ret_text) {
        _cleanup_free_ char *raw = NULL, *text = NULL;
        SourceKind k;
        int r;

        raw = strjoin3(kind, "=", value);
        if (!raw)
                return -ENOMEM;

        r = source_parse(raw, &k, &text, NULL);
        if (r == -EINVAL)
                return 0;
        if (r < 0)
                return r;

        if (!strv_contains(*keys, text)) {
                r = strv_extend(keys, text);
                if (r < 0)
                        return r;
        }

        if (ret_text) {
                free(*ret_text);
                *ret_text = TAKE_PTR(text);
        }
        return 0;
}

typedef struct Names {
        char *dm_uuid, *wwid, *by_id, *by_path, *mapper, *node;         /* canonical texts, NULL where there is none */
        char **keys;
} Names;

static void names_done(Names *n) {
        free(n->dm_uuid);
        free(n->wwid);
        free(n->by_id);
        free(n->by_path);
        free(n->mapper);
        free(n->node);
        strv_free(n->keys);
}

static int names_add_links(Names *n, char *const *links) {
        size_t best = SIZE_MAX;
        int r;

        for (size_t i = 0; links && links[i] && i < LINKS_MAX; i++) {
                _cleanup_free_ char *text = NULL;
                const char *id = startswith(links[i], BY_ID), *place = startswith(links[i], BY_PATH);
                size_t rank;

                /* Where it is, which is not who it is. */
                if (place) {
                        r = keys_add(&n->keys, "by-path", place, &text);
                        if (r < 0)
                                return r;
                        if (text && (!n->by_path || strcmp(text, n->by_path) < 0)) {
                                free(n->by_path);
                                n->by_path = TAKE_PTR(text);
                        }
                }
                if (!id)
                        continue;

                r = keys_add(&n->keys, "by-id", id, &text);
                if (r < 0)
                        return r;
                if (!text)
                        continue;

                /* Among equals the first in the alphabet: udev tells the links in no order. */
                rank = link_rank(id);
                if (rank == SIZE_MAX || rank > best || (rank == best && strcmp(text, n->by_id) > 0))
                        continue;

                best = rank;
                free(n->by_id);
                n->by_id = TAKE_PTR(text);
        }

        return 0;
}

static int names_collect(Names *n, const IdentityFacts *f) {
        const char *wwid = f->wwid;
        int r;

        if (!isempty(f->dm_uuid)) {
                r = keys_add(&n->keys, "dm-uuid", f->dm_uuid, &n->dm_uuid);
                if (r < 0)
                        return r;
                if (f->kind == DEVICE_MULTIPATH)
                        wwid = startswith(f->dm_uuid, "mpath-");
        }

        if (!isempty(wwid)) {
                r = keys_add(&n->keys, "wwid", wwid, &n->wwid);
                if (r < 0)
                        return r;
        }

        if (!isempty(f->dm_name)) {
                _cleanup_free_ char *path = NULL;

                if (asprintf(&path, "/dev/mapper/%s", f->dm_name) < 0) {
                        path = NULL;
                        return -ENOMEM;
                }

                r = keys_add(&n->keys, "path", path, &n->mapper);
                if (r < 0)
                        return r;
        }

        r = names_add_links(n, f->links);
        if (r < 0)
                return r;

        r = keys_add(&n->keys, "path", f->node, &n->node);
        if (r < 0)
                return r;

        return n->node ? 0 : -EINVAL;
}

static void keys_put_first(char **keys, const char *first) {
        strv_sort(keys);

        for (size_t i = 0; keys[i]; i++)
                if (streq(keys[i], first)) {
                        char *k = keys[i];

                        memmove(keys + 1, keys, i * sizeof *keys);
                        keys[0] = k;
                        return;
                }
}

int identity_keys(const IdentityFacts *facts, char ***ret) {
        _cleanup_(names_done) Names n = {};
        int r;

        r = names_collect(&n, facts);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(n.keys);
        return 0;
}

int identity_apply(Device *d, const IdentityFacts *facts) {
        _cleanup_(names_done) Names n = {};
        _cleanup_free_ char *identity = NULL, *link = NULL, *place = NULL;
        const char *best;
        int r;

        r = names_collect(&n, facts);
        if (r < 0)
                return r;

        /* A map without a UUID is known by its name rather than by a number that the next map may get. */
        best = n.dm_uuid ?: n.wwid ?: n.by_id ?: n.mapper ?: n.node;
        identity = strdup(best);
        if (!identity)
                return -ENOMEM;

        if (!n.by_id)
                link = strdup(facts->node);
        else if (asprintf(&link, BY_ID "%s", source_value(n.by_id)) < 0)
                link = NULL;
        if (!link)
                return -ENOMEM;

        if (n.by_path && asprintf(&place, BY_PATH "%s", source_value(n.by_path)) < 0) {
                place = NULL;
                return -ENOMEM;
        }

        keys_put_first(n.keys, best);

        free(d->identity);
        d->identity = TAKE_PTR(identity);
        free(d->link);
        d->link = TAKE_PTR(link);
        free(d->place);
        d->place = TAKE_PTR(place);
        strv_free(d->keys);
        d->keys = TAKE_PTR(n.keys);
        d->stable = n.dm_uuid || n.wwid || n.by_id;
        return 0;
}
