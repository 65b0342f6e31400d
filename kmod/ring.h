/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A split virtqueue, the device's side (virtio 1.2, 2.7). Compiles in user space
 * as well (tests/kmod): what it needs of the kernel is copy_from_user and such.
 *
 * The driver is hostile until proven otherwise, and it is never proven: every
 * number that comes out of the ring is read once and checked. A ring on which
 * something impossible was seen is broken, says why, and stays so until it is
 * set up again.
 */
#ifndef VHSCSI_RING_H
#define VHSCSI_RING_H

#ifdef __KERNEL__
#include <linux/types.h>
#include <linux/virtio_ring.h>
#else
#include "kernel-shim.h"
#endif

#include "mem.h"

/* What one chain may have at most, after splitting at region borders. */
#define VHSCSI_MAX_SEGS		2048
/* Entries of an indirect table. */
#define VHSCSI_MAX_TABLE	2048
#define VHSCSI_MAX_RING		32768

enum vhscsi_fault {
	VHSCSI_FAULT_NONE,
	VHSCSI_FAULT_RING_MEMORY,	/* the ring itself is not accessible */
	VHSCSI_FAULT_AVAIL_INDEX,	/* more available than the ring holds */
	VHSCSI_FAULT_OVERCOMMIT,	/* more taken than it holds: a head twice */
	VHSCSI_FAULT_HEAD,		/* a head that is no descriptor */
	VHSCSI_FAULT_NEXT,		/* a next that is no descriptor */
	VHSCSI_FAULT_LOOP,		/* a chain longer than its table */
	VHSCSI_FAULT_ORDER,		/* device-readable after writable */
	VHSCSI_FAULT_INDIRECT,		/* nested, empty, odd or too long */
	VHSCSI_FAULT_ADDRESS,		/* not in the guest's memory */
	VHSCSI_FAULT_SEGMENTS,		/* more than VHSCSI_MAX_SEGS */
	VHSCSI_FAULT_LENGTH,		/* 4 GiB and more in one direction */
	VHSCSI_FAULT_RESPONSE,		/* no room for the shortest response */
	VHSCSI_FAULT_MAX,
};

struct vhscsi_ring {
	unsigned int num;		/* a power of two; 0: not set up */
	bool event_idx;
	struct vring_desc __user *desc;
	struct vring_avail __user *avail;
	struct vring_used __user *used;

	u16 last_avail;			/* the next one to take */
	u16 avail_seen;			/* where the driver was when we looked */
	unsigned int taken;		/* and not given back yet */
	u16 used_idx;			/* the next one to give back */
	u16 published;			/* what of it the driver can see */
	u16 signalled;			/* used_idx at the last decision */
	bool signalled_valid;
	u16 told;			/* last_avail when it was told to kick from there on */
	bool told_valid;
	bool quiet;			/* the driver was told not to kick */
	enum vhscsi_fault fault;
};

/* One request of the driver, and room to read the next into. */
struct vhscsi_chain {
	u16 head;
	unsigned int nout, nin;		/* segments; the first nout are out */
	u32 out_len, in_len;
	struct vhscsi_seg segs[VHSCSI_MAX_SEGS];
	struct vring_desc table[VHSCSI_MAX_TABLE];
};

const char *vhscsi_fault_name(enum vhscsi_fault fault);

int vhscsi_ring_start(struct vhscsi_ring *r);
int vhscsi_ring_next(struct vhscsi_ring *r, const struct vhscsi_mem *mem,
		     struct vhscsi_chain *c);
void vhscsi_ring_put(struct vhscsi_ring *r, u16 head, u32 len);
bool vhscsi_ring_publish(struct vhscsi_ring *r);
void vhscsi_ring_quiet(struct vhscsi_ring *r);
bool vhscsi_ring_ready(struct vhscsi_ring *r);
bool vhscsi_ring_listen(struct vhscsi_ring *r);

/* From a walk along the chain that found what the ring itself cannot see. */
static inline int vhscsi_ring_break(struct vhscsi_ring *r,
				    enum vhscsi_fault fault)
{
	r->fault = fault;
	return -EBADMSG;
}

#endif
