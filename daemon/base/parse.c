/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/parse.h"

int parse_u64(const char *s, uint64_t *ret) {
        uint64_t v = 0;

        if (isempty(s) || (s[0] == '0' && s[1]))
                return -EINVAL;

        for (; *s; s++) {
                if (*s < '0' || *s > '9')
                        return -EINVAL;
                if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t) (*s - '0'), &v))
                        return -ERANGE;
        }

        *ret = v;
        return 0;
}

int parse_u32(const char *s, uint32_t *ret) {
        uint64_t v;
        int r;

        r = parse_u64(s, &v);
        if (r < 0)
                return r;
        if (v > UINT32_MAX)
                return -ERANGE;

        *ret = (uint32_t) v;
        return 0;
}

int parse_boolean(const char *s) {
        static const char *const yes[] = { "1", "yes", "true", "on" }, *const no[] = { "0", "no", "false", "off" };

        for (size_t i = 0; i < ELEMENTSOF(yes); i++) {
                if (streq(s, yes[i]))
                        return 1;
                if (streq(s, no[i]))
                        return 0;
        }

        return -EINVAL;
}

int hex_digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -EINVAL;
}

bool string_is_utf8(const char *s) {
        const unsigned char *p = (const unsigned char *) s;

        while (*p) {
                uint32_t c = *p, least;
                unsigned n;

                if (c < 0x80) {
                        p++;
                        continue;
                }

                if ((c & 0xe0) == 0xc0)
                        n = 1, c &= 0x1f, least = 0x80;
                else if ((c & 0xf0) == 0xe0)
                        n = 2, c &= 0x0f, least = 0x800;
                else if ((c & 0xf8) == 0xf0)
                        n = 3, c &= 0x07, least = 0x10000;
                else
                        return false;

                for (p++; n > 0; n--, p++) {
                        if ((*p & 0xc0) != 0x80)
                                return false;
                        c = c << 6 | (*p & 0x3f);
                }

                if (c < least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
                        return false;
        }

        return true;
}

bool string_has_control(const char *s) {
        for (; *s; s++)
                if ((unsigned char) *s < ' ' || *s == 0x7f)
                        return true;

        return false;
}
