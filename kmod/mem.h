/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guest's memory: which of its addresses are where in the owner's address
 * space. Compiles in user space as well (tests/kmod).
 */
#ifndef VHSCSI_MEM_H
#define VHSCSI_MEM_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include "kernel-shim.h"
#endif

/* KVM's own limit is higher, but QEMU never needs more for a machine. */
#define VHSCSI_MAX_REGIONS	509

struct vhscsi_region {
	u64 gpa;
	u64 size;
	u64 uva;
};

/* Sorted by guest address, no two overlap, none wraps (vhscsi_mem_seal). */
struct vhscsi_mem {
	unsigned int n;
	struct vhscsi_region r[];
};

/* A piece of the owner's memory; never empty, never across a region's end. */
struct vhscsi_seg {
	u64 uva;
	u32 len;
};

int vhscsi_mem_seal(struct vhscsi_mem *mem);
int vhscsi_mem_translate(const struct vhscsi_mem *mem, u64 gpa, u32 len,
			 struct vhscsi_seg *segs, unsigned int max);

#endif
