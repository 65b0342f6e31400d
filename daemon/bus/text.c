/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/parse.h"
#include "bus/text.h"

/* Well-formed UTF-8 which sd-bus refuses all the same: U+FDD0..U+FDEF, and the last two of each plane. */
static bool has_noncharacter(const char *s) {
        for (const unsigned char *p = (const unsigned char *) s; *p; p++) {
                if (p[0] == 0xEF && p[1] == 0xB7 && p[2] >= 0x90 && p[2] <= 0xAF)
                        return true;
                if ((p[0] & 0x0F) == 0x0F && p[1] == 0xBF && (p[2] == 0xBE || p[2] == 0xBF))
                        return true;
        }

        return false;
}

const char *text_for_bus(const char *s) {
        if (!s)
                return "";

        return string_is_utf8(s) && !has_noncharacter(s) ? s : "(not UTF-8)";
}
