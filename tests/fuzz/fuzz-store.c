/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>

#include "model/target.h"
#include "store/target-json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A file that loads is written back as something that loads, and that is written back as the same bytes: nothing is lost by a save. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *why = NULL, *first = NULL, *second = NULL;
        size_t first_size, second_size;
        Target *t = NULL, *u = NULL;

        if (target_json_parse((const char *) data, size, &t, &why) < 0)
                return 0;

        if (target_json_format(t, &first, &first_size) < 0)
                abort();
        if (target_json_parse(first, first_size, &u, &why) < 0)
                abort();
        if (target_json_format(u, &second, &second_size) < 0)
                abort();
        if (first_size != second_size || memcmp(first, second, first_size) != 0)
                abort();

        target_free(t);
        target_free(u);
        return 0;
}
