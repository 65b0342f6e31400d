/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <inttypes.h>
#include <sha1.h>
#include <sha2.h>

#include "base/parse.h"
#include "model/backstore.h"
#include "model/source.h"

Backstore *backstore_new(const char *source) {
        _cleanup_(backstore_freep) Backstore *b = NULL;

        b = calloc(1, sizeof *b);
        if (!b)
                return NULL;

        b->hba = BACKSTORE_HBA_NONE;
        list_init(&b->luns);
        if (source) {
                b->source = strdup(source);
                if (!b->source)
                        return NULL;
        }

        return TAKE_PTR(b);
}

Backstore *backstore_free(Backstore *b) {
        if (!b)
                return NULL;

        assert(list_is_empty(&b->luns));

        free(b->source);
        free(b->name);
        free(b->serial);
        free(b->identity);
        free(b->mount);
        strv_free(b->attributes);
        free(b->place);
        free(b->device);
        free(b->file);
        free(b->found_by.device);
        free(b);
        return NULL;
}

bool backstore_agrees(const Backstore *a, const Backstore *b) {
        return a->hba == b->hba && streq(a->name, b->name) && streq(a->serial, b->serial) && a->readonly == b->readonly &&
               strv_equal(a->attributes, b->attributes);
}

bool backstore_is_file(const Backstore *b) {
        return b->source && source_kind(b->source) == SOURCE_FILE;
}

void backstore_place(const Backstore *b, char ret[static BACKSTORE_PLACE_SIZE]) {
        snprintf(ret, BACKSTORE_PLACE_SIZE, "%s_%" PRIu32 "/%s", backstore_plugin(b), b->hba, b->name);
}

bool backstore_parse_place(const char *place, const char *plugin, uint32_t *ret_hba, const char **ret_name) {
        const char *p = startswith(place, plugin), *slash;
        char number[16];

        slash = p && *p == '_' ? strchr(p, '/') : NULL;
        if (!slash || (size_t) (slash - p) > sizeof number)
                return false;

        snprintf(number, sizeof number, "%.*s", (int) (slash - p - 1), p + 1);
        if (parse_u32(number, ret_hba) < 0)
                return false;

        *ret_name = slash + 1;
        return true;
}

const char *backstore_plugin(const Backstore *b) {
        return backstore_is_file(b) ? "fileio" : "iblock";
}

int backstore_promise(Backstore *b, uint64_t size, const char *identity) {
        bool larger = size > b->size;

        if (identity && !b->identity && !streq(identity, b->source)) {
                b->identity = strdup(identity);
                if (!b->identity)
                        return -ENOMEM;
                larger = true;
        }

        b->size = MAX(b->size, size);
        return larger;
}

/* The first bytes of the SHA-256, in hex. */
static void digest_text(const char *source, size_t bytes, char *ret) {
        uint8_t digest[SHA256_DIGEST_LENGTH];
        SHA2_CTX c;

        SHA256Init(&c);
        SHA256Update(&c, (const uint8_t *) source, strlen(source));
        SHA256Final(digest, &c);

        for (size_t i = 0; i < bytes; i++)
                (void) snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}

int backstore_default_name(const char *source, char **ret) {
        char digits[13];
        char *s;

        digest_text(source, 6, digits);
        if (asprintf(&s, "d-%s", digits) < 0)
                return -ENOMEM;

        *ret = s;
        return 0;
}

int backstore_path_name(const char *source, const char *disk, char **ret) {
        char digits[13], place[9];
        char *s;

        digest_text(disk, 6, digits);
        digest_text(source, 4, place);
        if (asprintf(&s, "d-%s-p%s", digits, place) < 0)
                return -ENOMEM;

        *ret = s;
        return 0;
}

int backstore_default_serial(const char *source, char **ret) {
        /* 2b1f0a5e-6c1d-4b0e-9a8e-5d0c4f7f3a61: made once with uuidgen for this purpose; never to be changed, for every guest's disk
         * identity hangs on it. */
        static const uint8_t name_space[16] = {
                0x2b, 0x1f, 0x0a, 0x5e, 0x6c, 0x1d, 0x4b, 0x0e, 0x9a, 0x8e, 0x5d, 0x0c, 0x4f, 0x7f, 0x3a, 0x61,
        };
        uint8_t u[SHA1_DIGEST_LENGTH];
        SHA1_CTX c;
        char *s;

        SHA1Init(&c);
        SHA1Update(&c, name_space, sizeof name_space);
        SHA1Update(&c, (const uint8_t *) source, strlen(source));
        SHA1Final(u, &c);

        u[6] = (u[6] & 0x0f) | 0x50;
        u[8] = (u[8] & 0x3f) | 0x80;

        if (asprintf(&s, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                     u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]) < 0)
                return -ENOMEM;

        *ret = s;
        return 0;
}

void backstore_guest_digits(const char *serial, char ret[static BACKSTORE_GUEST_DIGITS + 1]) {
        size_t n = 0;

        /* drivers/target/target_core_spc.c, spc_gen_naa_6h_vendor_specific() */
        for (; *serial && n < BACKSTORE_GUEST_DIGITS; serial++) {
                int d = hex_digit(*serial);

                if (d >= 0)
                        ret[n++] = "0123456789abcdef"[d];
        }
        while (n < BACKSTORE_GUEST_DIGITS)
                ret[n++] = '0';
        ret[n] = 0;
}

int backstore_guest_wwid(const char *serial, char **ret) {
        char digits[BACKSTORE_GUEST_DIGITS + 1];
        char *s;

        backstore_guest_digits(serial, digits);
        if (asprintf(&s, "wwn-0x6001405%s", digits) < 0)
                return -ENOMEM;

        *ret = s;
        return 0;
}

bool backstore_name_is_valid(const char *name) {
        size_t n = strlen(name);

        if (n == 0 || n > BACKSTORE_NAME_MAX || name[0] == '.')
                return false;

        return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:+-") == n;
}

bool backstore_serial_is_valid(const char *serial) {
        size_t n = strlen(serial);

        if (n == 0 || n > BACKSTORE_SERIAL_MAX || serial[0] == ' ' || serial[n - 1] == ' ')
                return false;

        for (; *serial; serial++)
                if (*serial < ' ' || *serial > '~' || *serial == ',')
                        return false;

        return true;
}
