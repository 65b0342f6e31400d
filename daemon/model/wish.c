/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/parse.h"
#include "model/lun.h"
#include "model/wish.h"

static const char *parse_target(const char *text, char ret[static WWN_SIZE]) {
        const char *seed = startswith(text, "seed:");

        if (!seed && wwn_parse(text, ret) < 0)
                return "VHOSTSCSI_TARGET is neither seed:TEXT nor a WWN (naa. and 16 hex digits, the first 5 or 6)";
        if (!seed)
                return NULL;

        /* What another program than udev made of bytes that are no text would be another seed. */
        if (strnlen(seed, WISH_SEED_MAX + 1) > WISH_SEED_MAX || !string_is_utf8(seed) || string_has_control(seed))
                return "the seed in VHOSTSCSI_TARGET is not UTF-8 of at most 255 bytes without control characters";

        return wwn_from_seed(seed, ret) < 0 ? "the seed in VHOSTSCSI_TARGET is empty" : NULL;
}

int wish_parse(const Device *d, Wish *ret, const char **ret_why) {
        const char *why;
        Wish w = {};
        int r;

        if (isempty(d->wish_target))
                return 0;

        why = parse_target(d->wish_target, w.wwn);

        if (!why && !isempty(d->wish_number)) {
                w.has_number = true;
                if (parse_u32(d->wish_number, &w.number) < 0 || w.number > LUN_NUMBER_MAX)
                        why = "VHOSTSCSI_LUN is not a number from 0 to 16383";
        }

        if (!why && !isempty(d->wish_readonly)) {
                r = parse_boolean(d->wish_readonly);
                if (r < 0)
                        why = "VHOSTSCSI_READONLY is neither 1 nor 0";
                else
                        w.readonly = r > 0;
        }

        if (why) {
                *ret_why = why;
                return -EINVAL;
        }

        *ret = w;
        return 1;
}
