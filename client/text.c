/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <wchar.h>

#include "text.h"

static bool utf8_terminal;

void text_init(void) {
        (void) setlocale(LC_CTYPE, "");
        utf8_terminal = streq(nl_langinfo(CODESET), "UTF-8");

        /* Widths are needed in any locale: what we are given is UTF-8 wherever we run. */
        if (!utf8_terminal)
                (void) setlocale(LC_CTYPE, "C.UTF-8");
}

bool text_is_utf8(void) {
        return utf8_terminal;
}

/* Decodes one character. Returns its length in bytes, or 0 if there is no well-formed one. */
static size_t utf8_decode(const char *s, uint32_t *ret) {
        static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
        const unsigned char *p = (const unsigned char *) s;
        size_t n;
        uint32_t c;

        if (p[0] < 0x80) {
                *ret = p[0];
                return p[0] ? 1 : 0;
        }

        if ((p[0] & 0xe0) == 0xc0)
                n = 2;
        else if ((p[0] & 0xf0) == 0xe0)
                n = 3;
        else if ((p[0] & 0xf8) == 0xf0)
                n = 4;
        else
                return 0;

        c = p[0] & (0xffu >> (n + 1));
        for (size_t i = 1; i < n; i++) {
                if ((p[i] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | (p[i] & 0x3f);
        }

        if (c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
                return 0;

        *ret = c;
        return n;
}

static bool is_harmless(uint32_t c) {
        if (c < 0x20 || (c >= 0x7f && c < 0xa0))
                return false;
        if (c == 0x2028 || c == 0x2029)
                return false;

        /* The marks that make a terminal show text in another order than it is written. */
        return !(c == 0x200e || c == 0x200f || c == 0x61c || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069));
}

char *text_escape(const char *s) {
        char *buf, *q;

        assert(s);

        buf = q = malloc(strlen(s) * 4 + 1);
        if (!buf)
                return NULL;

        while (*s) {
                uint32_t c = 0;
                size_t n = utf8_decode(s, &c);

                if (n > 0 && is_harmless(c)) {
                        memcpy(q, s, n);
                        q += n;
                } else if (n == 1 && (c == '\n' || c == '\t')) {
                        *q++ = '\\';
                        *q++ = c == '\n' ? 'n' : 't';
                } else {
                        if (n == 0)
                                n = 1;
                        for (size_t i = 0; i < n; i++)
                                q += sprintf(q, "\\x%02x", (unsigned) (unsigned char) s[i]);
                }

                s += n;
        }

        *q = 0;
        return buf;
}

static size_t character_width(uint32_t c) {
        int w = wcwidth((wchar_t) c);

        return w < 0 ? 1 : (size_t) w;
}

size_t text_width(const char *s) {
        size_t width = 0;

        while (*s) {
                uint32_t c = 0;
                size_t n = utf8_decode(s, &c);

                width += n == 0 ? 1 : character_width(c);
                s += n == 0 ? 1 : n;
        }

        return width;
}

char *text_shorten(const char *s, size_t columns) {
        const char *ellipsis = text_is_utf8() ? "…" : "...";
        size_t room, width = 0, length = 0;
        char *r;

        if (text_width(s) <= columns)
                return strdup(s);

        room = text_width(ellipsis);
        room = columns > room ? columns - room : 0;

        while (s[length]) {
                uint32_t c = 0;
                size_t n = utf8_decode(s + length, &c), w;

                w = n == 0 ? 1 : character_width(c);
                if (width + w > room)
                        break;
                width += w;
                length += n == 0 ? 1 : n;
        }

        r = malloc(length + strlen(ellipsis) + 1);
        if (!r)
                return NULL;

        memcpy(r, s, length);
        strcpy(r + length, ellipsis);
        return r;
}

void text_format_size(uint64_t bytes, char ret[static TEXT_SIZE_MAX]) {
        static const char units[] = "BKMGTPE";
        uint64_t divisor = 1, tenth;
        size_t u = 0;

        while (u + 2 < sizeof units && bytes / divisor >= 1024) {
                divisor *= 1024;
                u++;
        }

        tenth = bytes % divisor * 10 / divisor;
        if (tenth == 0 || u == 0)
                (void) snprintf(ret, TEXT_SIZE_MAX, "%" PRIu64 "%c", bytes / divisor, units[u]);
        else
                (void) snprintf(ret, TEXT_SIZE_MAX, "%" PRIu64 ".%u%c", bytes / divisor, (unsigned) tenth, units[u]);
}

int text_parse_timespan(const char *s, uint64_t *ret_usec) {
        static const struct {
                const char *name;
                uint64_t usec;
        } units[] = {
                { "us", 1 },          { "ms", 1000 },         { "s", 1000000 },       { "sec", 1000000 },
                { "m", 60000000 },    { "min", 60000000 },    { "h", 3600000000 },    { "", 1000000 },
        };
        uint64_t sum = 0;
        bool any = false;

        assert(s);

        for (;;) {
                uint64_t value = 0, part;
                size_t n = 0, u;

                s += strspn(s, " ");
                if (!*s)
                        break;

                if (!isdigit((unsigned char) *s))
                        return -EINVAL;
                for (; isdigit((unsigned char) *s); s++)
                        if (__builtin_mul_overflow(value, (uint64_t) 10, &value) ||
                            __builtin_add_overflow(value, (uint64_t) (*s - '0'), &value))
                                return -ERANGE;

                while (isalpha((unsigned char) s[n]))
                        n++;
                for (u = 0; u < ELEMENTSOF(units); u++)
                        if (strlen(units[u].name) == n && strncmp(units[u].name, s, n) == 0)
                                break;
                if (u == ELEMENTSOF(units))
                        return -EINVAL;
                s += n;

                if (__builtin_mul_overflow(value, units[u].usec, &part) || __builtin_add_overflow(sum, part, &sum))
                        return -ERANGE;
                any = true;
        }

        if (!any)
                return -EINVAL;

        *ret_usec = sum;
        return 0;
}

char *text_snake_case(const char *s) {
        char *buf, *q;

        buf = q = malloc(strlen(s) * 2 + 1);
        if (!buf)
                return NULL;

        for (const char *p = s; *p; p++) {
                bool upper = *p >= 'A' && *p <= 'Z';

                if (upper && p > s)
                        *q++ = '_';
                *q++ = upper ? (char) (*p - 'A' + 'a') : *p;
        }

        *q = 0;
        return buf;
}
