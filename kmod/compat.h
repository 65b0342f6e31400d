/* SPDX-License-Identifier: GPL-2.0-only */
/* What differs between kernels, as conftest.sh found it by compiling. */
#ifndef VHSCSI_COMPAT_H
#define VHSCSI_COMPAT_H

#include <linux/eventfd.h>

#include "conftest.h"

/* Commands complete where the backend completes them, without a workqueue. */
#ifdef HAVE_DIRECT_COMPL
#define VHSCSI_DIRECT	true
#else
#define VHSCSI_DIRECT	false
#endif

static inline void vhscsi_eventfd_signal(struct eventfd_ctx *ctx)
{
#ifdef HAVE_EVENTFD_SIGNAL_COUNT
	eventfd_signal(ctx, 1);
#else
	eventfd_signal(ctx);
#endif
}

#endif
