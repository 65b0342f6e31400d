/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>

#include "model/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is accepted is canonical, and nothing of it can end an option of LIO's control file. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = strndup((const char *) data, size), *canonical = NULL, *again = NULL;
        const char *why = NULL;
        SourceKind kind, second;

        if (!text)
                return 0;

        if (source_parse(text, &kind, &canonical, &why) < 0) {
                if (!why)
                        abort();
                return 0;
        }

        if (strlen(canonical) > SOURCE_MAX)
                abort();
        for (const char *p = canonical; *p; p++)
                if (*p == ',' || (unsigned char) *p < ' ' || *p == 0x7f)
                        abort();
        if (strstr(canonical, "/../") || source_kind(canonical) != kind || isempty(source_value(canonical)))
                abort();
        if (source_parse(canonical, &second, &again, NULL) < 0 || second != kind || !streq(canonical, again))
                abort();

        return 0;
}
