/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "base/parse.h"
#include "kernel/lio-statistics.h"

typedef struct Source {
        const char *file;       /* below the LUN, or the backstore */
        const char *name;
        unsigned shift;         /* the kernel counts in units of 2^shift */
} Source;

/* drivers/target/target_core_stat.c */
static const Source lun_sources[] = {
        { "statistics/scsi_tgt_port/in_cmds",      "commands",      0  },
        { "statistics/scsi_tgt_port/read_mbytes",  "read-bytes",    20 },
        { "statistics/scsi_tgt_port/write_mbytes", "written-bytes", 20 },
};

static const Source backstore_sources[] = {
        { "statistics/scsi_tgt_dev/resets",          "resets", 0 },
        { "statistics/scsi_tgt_dev/aborts_complete", "aborts", 0 },
};

static void tell(int64_t lun, const char *name, uint64_t value, lio_counter_t on_counter, void *userdata) {
        Counter c = { .lun = lun, .value = value };

        snprintf(c.name, sizeof c.name, "%s", name);
        on_counter(&c, userdata);
}

int lio_count_group(Cfs *c, const char *wwn, uint32_t portal_group, lio_counter_t on_counter, void *userdata) {
        _cleanup_free_ char *text = NULL;
        char path[512];
        int r;

        snprintf(path, sizeof path, "vhost/%s/tpgt_%" PRIu32 "/stats", wwn, portal_group);
        r = cfs_read(c, path, &text);
        if (r < 0)
                return r == -ENOENT ? 0 : r;

        /* "KEY VALUE" lines; later versions may have more of them. */
        for (char *save = NULL, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                char *end = strchr(line, ' ');
                uint64_t value;

                if (!end || parse_u64(end + 1, &value) < 0)
                        continue;
                *end = 0;
                tell(COUNTER_FABRIC, line, value, on_counter, userdata);
        }

        return 0;
}

static int count(Cfs *c, const char *directory, const Source *sources, size_t n, uint32_t number, lio_counter_t on_counter, void *userdata) {
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *text = NULL;
                char path[640];
                uint64_t value;
                int r;

                snprintf(path, sizeof path, "%s/%s", directory, sources[i].file);
                r = cfs_read(c, path, &text);
                /* Not linked any more, or not yet. */
                if (r == -ENOENT || r == -ENODEV)
                        continue;
                if (r < 0)
                        return r;

                if (parse_u64(text, &value) >= 0)
                        tell(number, sources[i].name, value << sources[i].shift, on_counter, userdata);
        }

        return 0;
}

int lio_count_lun(Cfs *c, const char *wwn, uint32_t portal_group, uint32_t number, const char *place, lio_counter_t on_counter,
                  void *userdata) {
        char directory[512];
        int r;

        snprintf(directory, sizeof directory, "vhost/%s/tpgt_%" PRIu32 "/lun/lun_%" PRIu32, wwn, portal_group, number);
        r = count(c, directory, lun_sources, ELEMENTSOF(lun_sources), number, on_counter, userdata);
        if (r < 0)
                return r;

        snprintf(directory, sizeof directory, "core/%s", place);
        return count(c, directory, backstore_sources, ELEMENTSOF(backstore_sources), number, on_counter, userdata);
}
