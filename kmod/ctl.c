// SPDX-License-Identifier: GPL-2.0-only
#include <linux/string.h>
#include <target/target_core_fabric.h>

#include "vhscsi.h"

/* The longest request of the control queue; its type tells which it is. */
union ctl_request {
	__virtio32 type;
	struct virtio_scsi_ctrl_tmf_req tmf;
	struct virtio_scsi_ctrl_an_req an;
};

static void ctl_reply(struct vhscsi_queue *q, u16 head,
		      const struct vhscsi_seg *segs, unsigned int n,
		      const void *reply, size_t len)
{
	if (vhscsi_copy_out(segs, n, reply, len))
		vhscsi_ring_break(&q->ring, VHSCSI_FAULT_RESPONSE);
	else
		vhscsi_ring_put(&q->ring, head, len);
}

static void tmf_reply(struct vhscsi_queue *q, const struct vhscsi_chain *c,
		      u8 response)
{
	struct virtio_scsi_ctrl_tmf_resp resp = { .response = response };

	ctl_reply(q, c->head, c->segs + c->nout, c->nin, &resp, sizeof(resp));
}

/*
 * What the target core can do by itself. It rejects the task set functions, and
 * so do we: a guest then resets the unit, which it would do next anyway.
 */
static int tmf_function(u32 subtype)
{
	switch (subtype) {
	case VIRTIO_SCSI_T_TMF_ABORT_TASK:
		return TMR_ABORT_TASK;
	case VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET:
		return TMR_LUN_RESET;
	}
	return -EOPNOTSUPP;
}

static void tmf_submit(struct vhscsi_queue *q, const struct vhscsi_chain *c,
		       const struct virtio_scsi_ctrl_tmf_req *h)
{
	int fn = tmf_function(le32_to_cpu((__force __le32)h->subtype));
	struct vhscsi_tpg *tpg;
	struct vhscsi_cmd *cmd;
	u8 target;
	u16 lun;
	int r;

	if (vhscsi_lun_parse(h->lun, &target, &lun) || !q->dev->tpg[target]) {
		tmf_reply(q, c, VIRTIO_SCSI_S_BAD_TARGET);
		return;
	}
	if (fn < 0) {
		tmf_reply(q, c, VIRTIO_SCSI_S_FUNCTION_REJECTED);
		return;
	}
	/* The answer is one byte, so it is in one piece. */
	if (!c->nin) {
		vhscsi_ring_break(&q->ring, VHSCSI_FAULT_RESPONSE);
		return;
	}

	cmd = vhscsi_cmd_get(q, c);
	if (!cmd) {
		tmf_reply(q, c, VIRTIO_SCSI_S_FUNCTION_REJECTED);
		return;
	}
	cmd->tmf = true;
	cmd->response = VIRTIO_SCSI_S_FUNCTION_REJECTED;
	cmd->in[0] = c->segs[c->nout];
	cmd->nin = 1;

	tpg = q->dev->tpg[target];
	r = target_submit_tmr(&cmd->se, tpg->session, cmd->sense, lun, NULL, fn,
			      GFP_KERNEL, le64_to_cpu((__force __le64)h->tag),
			      TARGET_SCF_ACK_KREF);
	if (r) {
		vhscsi_cmd_put(cmd);
		tmf_reply(q, c, VIRTIO_SCSI_S_FUNCTION_REJECTED);
	}
}

static void ctl_accept(struct vhscsi_queue *q, const struct vhscsi_chain *c)
{
	struct virtio_scsi_ctrl_an_resp an = { .response = VIRTIO_SCSI_S_OK };
	size_t len = min_t(size_t, c->out_len, sizeof(union ctl_request));
	union ctl_request h = {};

	q->stats.requests++;
	if (vhscsi_copy_in(&h, c->segs, c->nout, len)) {
		vhscsi_ring_break(&q->ring, VHSCSI_FAULT_ADDRESS);
		return;
	}

	switch (le32_to_cpu((__force __le32)h.type)) {
	case VIRTIO_SCSI_T_TMF:
		if (len >= sizeof(h.tmf)) {
			tmf_submit(q, c, &h.tmf);
			return;
		}
		break;
	case VIRTIO_SCSI_T_AN_QUERY:
	case VIRTIO_SCSI_T_AN_SUBSCRIBE:
		/* No event of these is ever sent: none is what we support. */
		if (len >= sizeof(h.an)) {
			ctl_reply(q, c->head, c->segs + c->nout, c->nin, &an, sizeof(an));
			return;
		}
		break;
	}
	tmf_reply(q, c, VIRTIO_SCSI_S_FAILURE);
}

unsigned int vhscsi_ctl_fetch(struct vhscsi_queue *q, struct vhscsi_chain *c)
{
	unsigned int n = 0;

	vhscsi_ring_quiet(&q->ring);
	while (n < VHSCSI_BATCH && !q->ring.fault) {
		if (vhscsi_ring_next(&q->ring, q->mem, c) <= 0)
			break;
		n++;
		if (q->inflight >= q->ring.num) {
			vhscsi_ring_break(&q->ring, VHSCSI_FAULT_AVAIL_INDEX);
			break;
		}
		ctl_accept(q, c);
	}
	return n;
}

/*
 * The commands that a function ended are answered before the function itself
 * (virtio 1.2, 5.6.6.2). The target core gave them back by now, so they are on
 * some queue's list.
 */
void vhscsi_ctl_answer(struct vhscsi_cmd *cmd)
{
	struct vhscsi_queue *q = cmd->q;
	struct vhscsi_dev *d = q->dev;
	unsigned int i;

	for (i = VHSCSI_IO_QUEUE; i < VHSCSI_MAX_QUEUES; i++) {
		struct vhscsi_queue *other = &d->queue[i];

		if (llist_empty(&other->done))
			continue;
		mutex_lock_nested(&other->mutex, SINGLE_DEPTH_NESTING);
		vhscsi_queue_reap(other);
		vhscsi_queue_publish(other);
		mutex_unlock(&other->mutex);
		/* If it was the last one, its worker has to say so. */
		vhscsi_queue_wake(other);
	}

	ctl_reply(q, cmd->head, cmd->in, cmd->nin, &cmd->response, 1);
}
