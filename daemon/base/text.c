/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>

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

int text_excerpt(const char *s, char **ret) {
        _cleanup_free_ char *cut = NULL, *printable = NULL;
        size_t n = strnlen(s, TEXT_EXCERPT + 1);
        int r;

        if (n <= TEXT_EXCERPT)
                return text_printable(s, ret);

        /* Not in the middle of a character. */
        for (n = TEXT_EXCERPT; n > TEXT_EXCERPT - 4 && ((unsigned char) s[n] & 0xc0) == 0x80;)
                n--;

        cut = strndup(s, n);
        if (!cut)
                return -ENOMEM;
        r = text_printable(cut, &printable);
        if (r < 0)
                return r;

        return asprintf(ret, "%s…", printable) < 0 ? -ENOMEM : 0;
}

int text_refuse(char **ret_why, const char *format, ...) {
        va_list ap;
        int n;

        va_start(ap, format);
        n = vasprintf(ret_why, format, ap);
        va_end(ap);
        if (n < 0)
                *ret_why = NULL;

        return -EINVAL;
}
