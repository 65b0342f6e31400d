/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "base/cleanup.h"

/* Kernel modules: which are loaded, and loading those that are not. */

/* What a start needs for it; {} to begin with. libkmod is opened for the first module that is missing, and no earlier: it brings libcrypto
 * and others along, for 1.5 MiB and most of a start's relocations, and where the unit runs modprobe before us it is never needed. */
typedef struct Modules {
        void *library;
        struct kmod_ctx *context;
} Modules;

void modules_done(Modules *m);

bool module_is_loaded(const char *name);

/* -ENOENT: this system does not have the module. -EPERM: modprobe's configuration forbids it. -EOPNOTSUPP: there is no libkmod. */
int modules_load(Modules *m, const char *name);
/* Fine if it is loaded. */
int modules_ensure(Modules *m, const char *name);
