/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>

#include "model/wwn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is accepted is canonical: 21 bytes that parse to themselves. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = strndup((const char *) data, size);
        char wwn[WWN_SIZE], again[WWN_SIZE];

        if (!text || wwn_parse(text, wwn) < 0)
                return 0;

        if (strlen(wwn) != WWN_SIZE - 1 || !startswith(wwn, "naa."))
                abort();
        if (wwn[4] != '5' && wwn[4] != '6')
                abort();
        if (strspn(wwn + 4, "0123456789abcdef") != 16)
                abort();
        if (wwn_parse(wwn, again) < 0 || !streq(wwn, again))
                abort();

        return 0;
}
