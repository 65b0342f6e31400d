// SPDX-License-Identifier: GPL-2.0-only
#include <linux/rculist.h>
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

/* -- task management */

static bool lun_exists(struct vhscsi_tpg *tpg, u16 number)
{
	struct se_lun *lun;
	bool found = false;

	rcu_read_lock();
	hlist_for_each_entry_rcu(lun, &tpg->se.tpg_lun_hlist, link)
		found = found || lun->unpacked_lun == number;
	rcu_read_unlock();
	return found;
}

/* Which of the commands in flight a function is about. */
struct tmf_scope {
	u8 target;
	bool any_lun, any_tag;
	u16 lun;
	u64 tag;
};

static bool tmf_is_about(const struct tmf_scope *s, const struct vhscsi_cmd *cmd)
{
	return cmd->req.target == s->target &&
	       (s->any_lun || cmd->req.lun == s->lun) &&
	       (s->any_tag || cmd->req.tag == s->tag);
}

/*
 * Hands a part of the function to the target core, which gives it back to
 * vhscsi_tmf_done. -ENOMEM: it does not.
 */
static int tmf_part(struct vhscsi_cmd *whole, const struct vhscsi_chain *c,
		    u16 lun, int function, u64 tag)
{
	struct vhscsi_queue *q = whole->q;
	struct vhscsi_cmd *part = vhscsi_cmd_get(q, c);
	int r;

	if (!part)
		return -ENOMEM;
	part->tmf = true;
	part->whole = whole;
	/* One that a reset of the unit ends says nothing. Its command is waited for, too. */
	part->response = VIRTIO_SCSI_S_FUNCTION_SUCCEEDED;

	atomic_inc(&whole->waits);
	r = target_submit_tmr(&part->se, q->dev->tpg[whole->req.target]->session,
			      part->sense, lun, NULL, function, GFP_KERNEL, tag,
			      TARGET_SCF_ACK_KREF);
	if (r) {
		atomic_dec(&whole->waits);
		vhscsi_cmd_put(part);
		return -ENOMEM;
	}
	return 0;
}

/* What a function does with the commands that it is about. */
enum tmf_deed {
	TMF_COUNT,
	TMF_AWAIT,			/* that they are answered */
	TMF_ABORT,			/* and await that */
};

/*
 * Has the function wait for a command's answer; the caller holds the command's
 * queue's mutex. What the target core says of an abort is not enough: it does not
 * find a command that is not submitted yet, or was completed and not given back.
 *
 * A command counts itself off at one function. At another that is about it as
 * well, one that comes later, it need not: that is not answered before the first.
 *
 * The target core rejects the functions for a task set, so it gets one for each
 * task, once. It finds them by tag: by ours, for a guest's need not be unique.
 */
static int tmf_claim(struct vhscsi_cmd *whole, const struct vhscsi_chain *c,
		     struct vhscsi_cmd *cmd, enum tmf_deed deed)
{
	int r;

	if (cmd->whole) {
		whole->ordered = true;
	} else {
		cmd->whole = whole;
		atomic_inc(&whole->waits);
	}
	if (deed != TMF_ABORT || cmd->aborted)
		return 0;

	r = tmf_part(whole, c, cmd->req.lun, TMR_ABORT_TASK, cmd->se.tag);
	cmd->aborted = !r;
	return r;
}

/*
 * Goes through the commands in flight. Returns how many there are in the scope,
 * -ENOMEM when not all of them can be aborted.
 */
static int tmf_walk(struct vhscsi_cmd *whole, const struct vhscsi_chain *c,
		    const struct tmf_scope *s, enum tmf_deed deed)
{
	struct vhscsi_dev *d = whole->q->dev;
	struct vhscsi_cmd *cmd;
	unsigned int i;
	int n = 0, r = 0;

	for (i = VHSCSI_IO_QUEUE; i < VHSCSI_MAX_QUEUES && !r; i++) {
		struct vhscsi_queue *other = &d->queue[i];

		if (!READ_ONCE(other->inflight))
			continue;
		mutex_lock_nested(&other->mutex, SINGLE_DEPTH_NESTING);
		for (cmd = other->all; cmd; cmd = cmd->older) {
			if (!cmd->busy || !tmf_is_about(s, cmd))
				continue;
			n++;
			if (deed == TMF_COUNT)
				continue;
			r = tmf_claim(whole, c, cmd, deed);
			if (r)
				break;
		}
		mutex_unlock(&other->mutex);
	}
	return r ?: n;
}

/*
 * What the function comes to; parts of it may be under way.
 *
 * A guest is the only initiator of its portal group, and what others have in
 * flight at a backstore is none of its business: its task set is what it sent
 * itself. So CLEAR TASK SET is ABORT TASK SET, as it is in QEMU.
 */
static u8 tmf_start(struct vhscsi_cmd *whole, const struct vhscsi_chain *c,
		    const struct virtio_scsi_ctrl_tmf_req *h)
{
	struct vhscsi_tpg *tpg = whole->q->dev->tpg[whole->req.target];
	struct tmf_scope scope = {
		.target = whole->req.target,
		.lun = whole->req.lun,
		.tag = le64_to_cpu((__force __le64)h->tag),
	};
	int r;

	if (whole->function != VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET &&
	    !lun_exists(tpg, scope.lun))
		return VIRTIO_SCSI_S_INCORRECT_LUN;

	switch (whole->function) {
	case VIRTIO_SCSI_T_TMF_ABORT_TASK:
		r = tmf_walk(whole, c, &scope, TMF_ABORT);
		break;
	case VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET:
		scope.any_lun = true;
		fallthrough;
	case VIRTIO_SCSI_T_TMF_ABORT_TASK_SET:
	case VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET:
		scope.any_tag = true;
		r = tmf_walk(whole, c, &scope, TMF_ABORT);
		break;
	case VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET:
		scope.any_tag = true;
		tmf_walk(whole, c, &scope, TMF_AWAIT);
		r = tmf_part(whole, c, scope.lun, TMR_LUN_RESET, 0);
		break;
	case VIRTIO_SCSI_T_TMF_QUERY_TASK_SET:
		scope.any_tag = true;
		fallthrough;
	case VIRTIO_SCSI_T_TMF_QUERY_TASK:
		r = tmf_walk(whole, c, &scope, TMF_COUNT);
		/* FUNCTION COMPLETE, the standard's 0, says that there is none. */
		return r ? VIRTIO_SCSI_S_FUNCTION_SUCCEEDED : VIRTIO_SCSI_S_OK;
	default:
		/* CLEAR ACA among them: the target core has no ACA. */
		return VIRTIO_SCSI_S_FUNCTION_REJECTED;
	}
	/* Nothing to abort is what the guest wanted. */
	return r < 0 ? VIRTIO_SCSI_S_FUNCTION_REJECTED : VIRTIO_SCSI_S_FUNCTION_SUCCEEDED;
}

/*
 * The commands that a function ended are answered before the function itself
 * (virtio 1.2, 5.6.6.2). The target core gave them back by now, so they are on
 * some queue's list, or somebody who holds the queue's mutex is answering them.
 */
static void tmf_answer_commands(struct vhscsi_dev *d)
{
	unsigned int i;

	for (i = VHSCSI_IO_QUEUE; i < VHSCSI_MAX_QUEUES; i++) {
		struct vhscsi_queue *other = &d->queue[i];

		if (!other->ring.num)
			continue;
		mutex_lock_nested(&other->mutex, SINGLE_DEPTH_NESTING);
		vhscsi_queue_reap(other);
		vhscsi_queue_publish(other);
		mutex_unlock(&other->mutex);
		/* If it was the last one, its worker has to say so. */
		vhscsi_queue_wake(other);
	}
}

static void tmf_answer(struct vhscsi_cmd *whole)
{
	struct vhscsi_queue *q = whole->q;
	struct vhscsi_dev *d = q->dev;

	tmf_answer_commands(d);
	if (whole->response == VIRTIO_SCSI_S_FUNCTION_SUCCEEDED &&
	    (whole->function == VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET ||
	     whole->function == VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET) &&
	    __ratelimit(&d->resets))
		vhscsi_uevent("reset", d, whole->req.target);
	if (!q->ring.fault)
		ctl_reply(q, whole->head, whole->in, whole->nin, &whole->response, 1);
	list_del(&whole->link);
	vhscsi_cmd_put(whole);
}

/* Nothing that the function waited for is left. */
static void tmf_ready(struct vhscsi_cmd *whole)
{
	struct vhscsi_dev *d = whole->q->dev;
	struct vhscsi_cmd *f, *next;
	bool older = false;

	whole->ready = true;
	list_for_each_entry_safe(f, next, &d->functions, link) {
		if (f->ready && !(f->ordered && older))
			tmf_answer(f);
		else
			older = true;
	}
}

/*
 * The target core gave a part back, or the last command that a function waited for
 * was answered.
 */
void vhscsi_tmf_done(struct vhscsi_cmd *cmd)
{
	struct vhscsi_cmd *whole = cmd->whole;

	if (!whole) {
		tmf_ready(cmd);
		return;
	}
	if (cmd->response != VIRTIO_SCSI_S_FUNCTION_SUCCEEDED)
		whole->response = cmd->response;
	vhscsi_cmd_put(cmd);
	if (atomic_dec_and_test(&whole->waits))
		tmf_ready(whole);
}

/* A command that the function waits for was answered; the caller holds its queue's mutex. */
void vhscsi_tmf_put(struct vhscsi_cmd *whole)
{
	struct vhscsi_queue *q = whole->q;

	if (!atomic_dec_and_test(&whole->waits))
		return;
	llist_add(&whole->node, &q->done);
	vhscsi_queue_wake(q);
}

static void tmf_accept(struct vhscsi_queue *q, const struct vhscsi_chain *c,
		       const struct virtio_scsi_ctrl_tmf_req *h)
{
	struct vhscsi_cmd *whole;
	u8 target;
	u16 lun;

	if (vhscsi_lun_parse(h->lun, &target, &lun) || !q->dev->tpg[target]) {
		tmf_reply(q, c, VIRTIO_SCSI_S_BAD_TARGET);
		return;
	}
	/* The answer is one byte, so it is in one piece. */
	if (!c->nin) {
		vhscsi_ring_break(&q->ring, VHSCSI_FAULT_RESPONSE);
		return;
	}

	whole = vhscsi_cmd_get(q, c);
	if (!whole) {
		tmf_reply(q, c, VIRTIO_SCSI_S_FUNCTION_REJECTED);
		return;
	}
	whole->function = le32_to_cpu((__force __le32)h->subtype);
	whole->req.target = target;
	whole->req.lun = lun;
	whole->in[0] = c->segs[c->nout];
	whole->nin = 1;

	whole->tmf = true;
	list_add_tail(&whole->link, &q->dev->functions);
	/* One for us: it is not ready before we are done. */
	atomic_set(&whole->waits, 1);
	whole->response = tmf_start(whole, c, h);
	if (atomic_dec_and_test(&whole->waits))
		tmf_ready(whole);
}

/* -- the queue */

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
			tmf_accept(q, c, &h.tmf);
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

/*
 * What a function is about may be in its ring still. The driver put it there before
 * the function, but this queue may be served before that one.
 */
static void ctl_take_requests(struct vhscsi_dev *d, struct vhscsi_chain *c)
{
	unsigned int i;

	for (i = VHSCSI_IO_QUEUE; i < VHSCSI_MAX_QUEUES; i++) {
		struct vhscsi_queue *other = &d->queue[i];
		unsigned int n, left;

		if (!READ_ONCE(other->live))
			continue;
		mutex_lock_nested(&other->mutex, SINGLE_DEPTH_NESTING);
		/* A driver that adds more and more of them is not waited for. */
		left = other->live && !other->ring.fault ? other->ring.num : 0;
		while (left) {
			n = vhscsi_io_fetch(other, c);
			left -= min(n, left);
			if (n < VHSCSI_BATCH)
				break;
		}
		vhscsi_queue_reap(other);
		vhscsi_queue_publish(other);
		mutex_unlock(&other->mutex);
		/* That asks the driver for the next kick. */
		vhscsi_queue_wake(other);
	}
}

unsigned int vhscsi_ctl_fetch(struct vhscsi_queue *q, struct vhscsi_chain *c)
{
	unsigned int n = 0;
	u16 until = q->ring.last_avail;

	vhscsi_ring_quiet(&q->ring);
	while (n < VHSCSI_BATCH) {
		/* Those that are here now, and then, for they are older, all requests. */
		if (q->ring.last_avail == until) {
			if (!vhscsi_ring_ready(&q->ring))
				break;
			until = q->ring.avail_seen;
			ctl_take_requests(q->dev, c);
		}
		if (vhscsi_ring_next(&q->ring, q->mem, c) <= 0)
			break;
		n++;
		ctl_accept(q, c);
	}
	return n;
}
