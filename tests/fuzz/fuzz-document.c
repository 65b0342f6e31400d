/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>

#include "base/parse.h"
#include "store/document-json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool fine) {
        if (!fine)
                abort();
}

/* What is accepted is written as something that is accepted, and that is written as the same bytes: a dump restores. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(document_done) Document d = {}, e = {};
        _cleanup_free_ char *why = NULL, *first = NULL, *second = NULL;
        size_t first_size, second_size;

        if (document_json_parse((const char *) data, size, &d, &why) < 0) {
                check(why && !string_has_control(why) && string_is_utf8(why));
                return 0;
        }

        check(document_json_format(&d, &first, &first_size) == 0);
        check(document_json_parse(first, first_size, &e, &why) == 0);
        check(document_json_format(&e, &second, &second_size) == 0);
        check(first_size == second_size && memcmp(first, second, first_size) == 0);
        check(d.n_targets == e.n_targets && document_count_luns(&d) == document_count_luns(&e));
        return 0;
}
