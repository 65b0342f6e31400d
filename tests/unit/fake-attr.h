/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "fake-lio.h"

/* Between fake-attr.c and fake-backstore.c. */

int kernel_strtou32(const char *s, uint32_t *ret);
int kernel_strtobool(const char *s, bool *ret);
void set_number(char **value, uint64_t number);
int store_text(Node *n, const Attribute *a, char **value, const char *text);    /* alias, udev_path */
int store_u32(Node *n, const Attribute *a, char **value, const char *text);

extern const NodeType node_type_group, node_type_unmakeable;
