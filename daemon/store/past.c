/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>

#include "base/log.h"
#include "store/past.h"
#include "store/target-json.h"

static int target_read(const History *h, uint64_t generation, PastTarget *p) {
        _cleanup_free_ char *text = NULL, *why = NULL;
        _cleanup_(target_freep) Target *t = NULL;
        size_t size;
        int r;

        r = history_read_file(h, generation, p->wwn, &text, &size);
        if (r == 0)
                return 0;
        if (r >= 0)
                r = target_json_parse(text, size, &t, &why);
        if (r >= 0 && !streq(t->wwn, p->wwn))
                r = -EBADMSG;
        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                log_warning_errno(r, "history/%" PRIu64 ".%s.json cannot be used (%s)", generation, p->wwn, why ?: "no file of that target");
                return -EBADMSG;
        }

        p->target = TAKE_PTR(t);
        return 0;
}

static int target_add(Map *past, const History *h, uint64_t generation, const char *wwn) {
        PastTarget *p;
        int r;

        p = calloc(1, sizeof *p);
        if (!p)
                return -ENOMEM;

        (void) snprintf(p->wwn, sizeof p->wwn, "%s", wwn);
        r = map_put(past, p->wwn, p);
        if (r < 0) {
                free(p);
                return r;
        }

        return target_read(h, generation, p);
}

int past_new(const History *h, uint64_t generation, Map **ret, char ret_wwn[static WWN_SIZE]) {
        _cleanup_(past_freep) Map *past = map_new();
        const HistoryEntry *e;
        int r;

        if (!past)
                return -ENOMEM;

        /* The oldest file counts that is younger than that generation. */
        LIST_FOREACH(history_entries(h), e, const HistoryEntry, link)
                for (char **t = e->generation > generation ? e->targets : NULL; t && *t; t++) {
                        if (map_get(past, *t))
                                continue;

                        r = target_add(past, h, e->generation, *t);
                        if (r < 0) {
                                (void) snprintf(ret_wwn, WWN_SIZE, "%s", *t);
                                return r;
                        }
                }

        *ret = TAKE_PTR(past);
        return 0;
}

Map *past_free(Map *past) {
        PastTarget *p;

        if (!past)
                return NULL;

        MAP_FOREACH(past, p) {
                target_free(p->target);
                free(p);
        }
        map_free(past);
        return NULL;
}
