/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/parse.h"
#include "base/text.h"

/* How many bytes at s are one printable character, 0 if none are. */
static size_t printable_length(const char *s) {
        unsigned char c = (unsigned char) *s;
        char buf[5] = {};
        size_t n;

        if (c < 0x80)
                return c >= ' ' && c != 0x7f ? 1 : 0;

        n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
        strncpy(buf, s, n);
        if (strlen(buf) != n || !string_is_utf8(buf))
                return 0;

        /* U+0080 to U+009F are control characters as well. */
        if (c == 0xc2 && (unsigned char) s[1] < 0xa0)
                return 0;

        return n;
}

int text_printable(const char *s, char **ret) {
        _cleanup_free_ char *copy = strdup(s);

        if (!copy)
                return -ENOMEM;

        for (char *p = copy; *p;) {
                size_t n = printable_length(p);

                if (n == 0)
                        *p = '?';
                p += MAX(n, (size_t) 1);
        }

        *ret = TAKE_PTR(copy);
        return 0;
}
