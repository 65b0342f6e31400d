/* SPDX-License-Identifier: GPL-2.0-only */
/* What differs between kernels, as conftest.sh found it by compiling. */
#ifndef VHSCSI_COMPAT_H
#define VHSCSI_COMPAT_H

#include <linux/eventfd.h>
#include <linux/vhost.h>
#include <target/target_core_base.h>
#include <target/target_core_fabric.h>

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

/* Since 6.5. The ioctls work whatever the kernel's headers have. */
#ifndef VHOST_NEW_WORKER
struct vhost_worker_state {
	unsigned int worker_id;
};

struct vhost_vring_worker {
	unsigned int index;
	unsigned int worker_id;
};

#define VHOST_NEW_WORKER		_IOR(VHOST_VIRTIO, 0x8, struct vhost_worker_state)
#define VHOST_FREE_WORKER		_IOW(VHOST_VIRTIO, 0x9, struct vhost_worker_state)
#define VHOST_ATTACH_VRING_WORKER	_IOW(VHOST_VIRTIO, 0x15, struct vhost_vring_worker)
#define VHOST_GET_VRING_WORKER		_IOWR(VHOST_VIRTIO, 0x16, struct vhost_vring_worker)
#endif

/*
 * A command is handed to the target core's own queue for its device and CPU, where
 * it may wait for ever without anybody else's doing so; or submitted right here.
 */
#ifdef HAVE_DIRECT_SUBMIT
static inline void vhscsi_submit_queued(struct se_cmd *se)
{
	/* As default_submit_type says, unless an admin told the device otherwise. */
	target_submit(se);
}

static inline void vhscsi_submit_here(struct se_cmd *se)
{
	sense_reason_t r;

	se->t_state = TRANSPORT_NEW_CMD;
	se->transport_state |= CMD_T_ACTIVE;
	r = transport_generic_new_cmd(se);
	if (r)
		transport_generic_request_failure(se, r);
}
#else
static inline void vhscsi_submit_queued(struct se_cmd *se)
{
	target_queue_submission(se);
}

static inline void vhscsi_submit_here(struct se_cmd *se)
{
	target_submit(se);
}
#endif

#endif
