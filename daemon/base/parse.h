/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"

/* Strict: the whole string, no sign, no white space, decimal without leading zeros. -EINVAL for the form, -ERANGE for the value. */
int parse_u32(const char *s, uint32_t *ret);
int parse_u64(const char *s, uint64_t *ret);
/* 1/yes/true/on and 0/no/false/off. Returns 0 or 1, or -EINVAL. */
int parse_boolean(const char *s);

int hex_digit(char c);                          /* 0..15 or -EINVAL */
bool string_is_utf8(const char *s);             /* well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms) */
bool string_has_control(const char *s);         /* any byte below ' ' or 0x7f */
