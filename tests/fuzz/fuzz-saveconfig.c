/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdint.h>

#include "base/parse.h"
#include "store/document-json.h"
#include "store/saveconfig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool fine) {
        if (!fine)
                abort();
}

static void check_notes(const Document *d) {
        for (size_t i = 0; i < d->n_notes; i++)
                check(string_is_utf8(d->notes[i].object) && string_is_utf8(d->notes[i].text) && !string_has_control(d->notes[i].object) &&
                      !string_has_control(d->notes[i].text));
}

/* Whatever is imported can be said in our own format, and is read from that as the same; and what of it is written in targetcli's again is
 * read from that: its LUNs are all there, but for those that a note leaves out. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(document_done) Document d = {}, native = {}, again = {};
        _cleanup_free_ char *why = NULL, *first = NULL, *second = NULL, *saved = NULL;
        size_t first_size, second_size, saved_size, n_notes, left_out = 0;

        if (saveconfig_parse((const char *) data, size, &d, &why) < 0) {
                check(why && !string_has_control(why) && string_is_utf8(why));
                return 0;
        }
        check_notes(&d);

        check(document_json_format(&d, &first, &first_size) == 0);
        check(document_json_parse(first, first_size, &native, &why) == 0);
        check(document_json_format(&native, &second, &second_size) == 0);
        check(first_size == second_size && memcmp(first, second, first_size) == 0);

        n_notes = d.n_notes;
        check(saveconfig_format(&d, &saved, &saved_size) == 0);
        check_notes(&d);
        for (size_t i = n_notes; i < d.n_notes; i++)
                left_out += d.notes[i].left_out;
        check(d.n_unsaid > 0 || left_out == d.n_left_out);
        check(saveconfig_parse(saved, saved_size, &again, &why) == 0);
        check(again.n_targets == d.n_targets);
        check(d.n_unsaid > 0 || document_count_luns(&again) + left_out == document_count_luns(&d));
        return 0;
}
