/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "kernel/cfs.h"

/* The calls of kernel/cfs.h, each of which prints itself and what came of it on a line: "mkdir core/iblock_1 -> -EEXIST". */

extern Cfs *cfs;
extern unsigned operations;

void make(const char *path);
void drop(const char *path);
void link_to(const char *target, const char *path);
void unlink_at(const char *path);
void put(const char *path, const char *value);

/* What depends on the device is printed as a letter: the device number, what the driver can do at once, the HBA's running number. */
void get(const char *path);
void get_some(const char *path);                                /* a number of which only matters whether it is 0 */

void list(const char *path, bool directories, bool links);
void list_own(const char *path, const char *mark);              /* only names that contain the mark: the host may have more */
void where(const char *path);
void exists(const char *path);
void diskseq(const char *what, dev_t devnum);

const char *long_text(char fill, size_t n);                     /* n times that letter; static, one at a time */
const char *format(const char *f, ...) _printf_(1, 2);          /* static, two at a time */
