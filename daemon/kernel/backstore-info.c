/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <sys/sysmacros.h>

#include "kernel/backstore-info.h"

/* Whoever gave the path in the middle may have given one with such words in it: what the kernel itself wrote stands last. */
static const char *last_of(const char *text, const char *word) {
        const char *found = NULL;

        for (const char *p = strstr(text, word); p; p = strstr(p + 1, word))
                found = p;

        return found;
}

static int parse_file(const char *name, BackstoreInfo *ret) {
        const char *size = last_of(name, "  Size: ");
        uint64_t bytes;

        if (!size || sscanf(size, "  Size: %" SCNu64, &bytes) != 1)
                return -EBADMSG;

        ret->file = strndup(name, (size_t) (size - name));
        ret->size = bytes;
        return ret->file ? 0 : -ENOMEM;
}

int backstore_info_parse(const char *text, BackstoreInfo *ret) {
        const char *p = strstr(text, "TCM FILEIO ID: ");
        unsigned ma, mi;

        *ret = (BackstoreInfo) {};
        if (p) {
                p = strstr(p, "File: ");
                return p ? parse_file(p + strlen("File: "), ret) : -EBADMSG;
        }

        p = last_of(text, "Major: ");
        if (!p || sscanf(p, "Major: %u Minor: %u", &ma, &mi) != 2)
                return -EBADMSG;

        ret->devnum = makedev(ma, mi);
        p = last_of(text, "readonly: ");
        ret->readonly = p && p[strlen("readonly: ")] == '1';
        return 0;
}

void backstore_info_done(BackstoreInfo *i) {
        free(i->file);
        *i = (BackstoreInfo) {};
}
