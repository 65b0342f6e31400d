/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sha2.h>
#include <stdint.h>
#include <strings.h>
#include <sys/random.h>

#include "base/errno.h"
#include "base/parse.h"
#include "model/wwn.h"

#define HEX "0123456789abcdef"
#define DIGITS 16
#define OUI "5001405"
#define OWN_DIGITS 9            /* 36 bits */

int wwn_parse(const char *s, char ret[static WWN_SIZE]) {
        char wwn[WWN_SIZE] = "naa.";
        bool colons;

        if (strncasecmp(s, "naa.", 4) == 0)
                s += 4;
        else if (strncasecmp(s, "0x", 2) == 0)
                s += 2;

        /* Between all pairs or none: a name that was cut or glued together is not to be guessed at. */
        colons = strchr(s, ':');

        for (size_t i = 0; i < DIGITS; i++) {
                int d;

                if (colons && i > 0 && i % 2 == 0 && *s++ != ':')
                        return -EINVAL;

                d = hex_digit(*s++);
                if (d < 0)
                        return -EINVAL;

                wwn[4 + i] = HEX[d];
        }

        if (*s || (wwn[4] != '5' && wwn[4] != '6'))
                return -EINVAL;

        memcpy(ret, wwn, WWN_SIZE);
        return 0;
}

static void wwn_compose(const uint8_t bits[static 5], char ret[static WWN_SIZE]) {
        char wwn[WWN_SIZE] = "naa." OUI;

        for (size_t i = 0; i < OWN_DIGITS; i++)
                wwn[WWN_SIZE - 1 - OWN_DIGITS + i] = HEX[i % 2 == 0 ? bits[i / 2] >> 4 : bits[i / 2] & 15];

        memcpy(ret, wwn, WWN_SIZE);
}

int wwn_generate(char ret[static WWN_SIZE]) {
        uint8_t bits[5];
        ssize_t n;

        do
                n = getrandom(bits, sizeof bits, 0);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return negative_errno();
        if ((size_t) n != sizeof bits)
                return -EIO;

        wwn_compose(bits, ret);
        return 0;
}

int wwn_from_seed(const char *seed, char ret[static WWN_SIZE]) {
        uint8_t digest[SHA256_DIGEST_LENGTH];
        SHA2_CTX sha;

        /* Every caller that forgot its seed would get one and the same target. */
        if (isempty(seed))
                return -EINVAL;

        SHA256Init(&sha);
        SHA256Update(&sha, (const uint8_t *) seed, strlen(seed));
        SHA256Final(digest, &sha);

        wwn_compose(digest, ret);
        return 0;
}
