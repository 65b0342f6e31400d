// SPDX-License-Identifier: GPL-2.0-only
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <scsi/scsi_common.h>
#include <scsi/scsi_proto.h>
#include <target/target_core_backend.h>
#include <target/target_core_fabric.h>

#include "vhscsi.h"

/* -- commands */

static void apart_work(struct work_struct *work)
{
	struct vhscsi_cmd *cmd = container_of(work, struct vhscsi_cmd, apart_work);

	/* Nothing of it may be looked at afterwards, nor of its queue. */
	vhscsi_submit_here(&cmd->se);
}

/* Of the queue's own, or a new one: there are as many as were ever in flight. */
struct vhscsi_cmd *vhscsi_cmd_get(struct vhscsi_queue *q,
				  const struct vhscsi_chain *c)
{
	struct vhscsi_cmd *cmd = q->free;

	if (cmd) {
		q->free = cmd->next;
	} else {
		/* Zeroed for sense's sake: who builds that leaves gaps (vhscsi_cmd_put). */
		cmd = kzalloc(sizeof(*cmd), GFP_KERNEL);
		if (!cmd)
			return NULL;
		INIT_WORK(&cmd->apart_work, apart_work);
		cmd->older = q->all;
		q->all = cmd;
	}

	memset(cmd, 0, offsetof(struct vhscsi_cmd, sgl_inline));
	cmd->q = q;
	cmd->head = c->head;
	cmd->sgl = cmd->sgl_inline;
	cmd->in = cmd->in_inline;
	q->inflight++;
	cmd->busy = true;
	return cmd;
}

void vhscsi_cmd_put(struct vhscsi_cmd *cmd)
{
	struct vhscsi_queue *q = cmd->q;

	vhscsi_data_unmap(cmd);
	/* All of it goes to the guest, whatever part the next command's sense will fill. */
	if (cmd->se.scsi_sense_length)
		memset(cmd->sense, 0, sizeof(cmd->sense));
	if (cmd->in != cmd->in_inline)
		kvfree(cmd->in);
	q->napart -= cmd->apart;
	cmd->busy = false;
	cmd->next = q->free;
	q->free = cmd;
	q->inflight--;
}

void vhscsi_cmds_free(struct vhscsi_queue *q)
{
	while (q->all) {
		struct vhscsi_cmd *cmd = q->all;

		q->all = cmd->older;
		kvfree(cmd->sgl_kept);
		kfree(cmd);
	}
}

/* -- answers */

/* An answer without a command: the request was none, or there is no room for it. */
static void answer_failure(struct vhscsi_queue *q, const struct vhscsi_chain *c,
			   u8 response)
{
	struct virtio_scsi_cmd_resp resp = { .response = response };
	size_t len = min_t(size_t, c->in_len, sizeof(resp));

	q->stats.errors++;
	if (len < VHSCSI_RESP_MIN) {
		vhscsi_ring_break(&q->ring, VHSCSI_FAULT_RESPONSE);
		return;
	}
	if (vhscsi_copy_out(c->segs + c->nout, c->nin, &resp, len)) {
		vhscsi_ring_break(&q->ring, VHSCSI_FAULT_ADDRESS);
		return;
	}
	vhscsi_ring_put(&q->ring, c->head, len);
}

static void result_of(struct vhscsi_cmd *cmd, struct vhscsi_result *ret)
{
	const struct se_cmd *se = &cmd->se;

	*ret = (struct vhscsi_result) {
		/* One that was cancelled came back without a status. */
		.response = cmd->answered ? VIRTIO_SCSI_S_OK :
			    cmd->aborted ? VIRTIO_SCSI_S_ABORTED : VIRTIO_SCSI_S_RESET,
		.status = se->scsi_status,
		.overflow = se->se_cmd_flags & SCF_OVERFLOW_BIT,
		.sense = cmd->sense,
		.sense_len = se->scsi_sense_length,
	};
	if (se->se_cmd_flags & SCF_UNDERFLOW_BIT)
		ret->residual = se->residual_count;
}

void vhscsi_io_answer(struct vhscsi_cmd *cmd)
{
	struct vhscsi_queue *q = cmd->q;
	struct virtio_scsi_cmd_resp resp;
	struct vhscsi_result res;
	u32 used, data;
	int r;

	result_of(cmd, &res);
	used = vhscsi_response_fill(&resp, &cmd->req, &res);
	data = used - VHSCSI_RESP_SIZE;

	if (cmd->bounced && data && vhscsi_data_unbounce(cmd, data)) {
		vhscsi_ring_break(&q->ring, VHSCSI_FAULT_ADDRESS);
		return;
	}
	if (cmd->in[0].len >= sizeof(resp))
		r = copy_to_user(u64_to_user_ptr(cmd->in[0].uva), &resp, sizeof(resp));
	else
		r = vhscsi_copy_out(cmd->in, cmd->nin, &resp, sizeof(resp));
	if (r) {
		vhscsi_ring_break(&q->ring, VHSCSI_FAULT_ADDRESS);
		return;
	}
	vhscsi_ring_put(&q->ring, cmd->head, used);

	if (resp.response || resp.status)
		q->stats.errors++;
	else if (cmd->req.dir == VHSCSI_DIR_IN)
		q->stats.bytes_in += data;
	else
		q->stats.bytes_out += cmd->req.bytes - res.residual;
}

void vhscsi_queue_publish(struct vhscsi_queue *q)
{
	if (q->ring.fault || !vhscsi_ring_publish(&q->ring) || !q->call)
		return;
	q->stats.signals++;
	vhscsi_eventfd_signal(q->call);
}

/* Answers what the target core gave back. */
unsigned int vhscsi_queue_reap(struct vhscsi_queue *q)
{
	struct vhscsi_cmd *cmd, *next;
	struct llist_node *list;
	unsigned int n = 0;

	if (llist_empty(&q->done))
		return 0;

	list = llist_reverse_order(llist_del_all(&q->done));
	llist_for_each_entry_safe(cmd, next, list, node) {
		n++;
		if (cmd->tmf) {
			vhscsi_tmf_done(cmd);
			continue;
		}
		/* A ring that broke takes no answers; the pages go back all the same. */
		if (!q->ring.fault)
			vhscsi_io_answer(cmd);
		/* Not after its pages are given back, nor after the next one's copy. */
		if (vhscsi_cmd_is_large(cmd))
			vhscsi_queue_publish(q);
		if (cmd->whole)
			vhscsi_tmf_put(cmd->whole);
		vhscsi_cmd_put(cmd);
	}
	return n;
}

/* -- requests */

static int task_attr(u8 attr)
{
	switch (attr) {
	case VIRTIO_SCSI_S_ORDERED:
		return TCM_ORDERED_TAG;
	case VIRTIO_SCSI_S_HEAD:
		return TCM_HEAD_TAG;
	case VIRTIO_SCSI_S_ACA:
		return TCM_ACA_TAG;
	}
	return TCM_SIMPLE_TAG;
}

/* A request becomes a command, ready to be submitted; NULL: it was answered. */
static struct vhscsi_cmd *io_accept(struct vhscsi_queue *q,
				    const struct vhscsi_chain *c)
{
	static const enum dma_data_direction dirs[] = {
		[VHSCSI_DIR_NONE] = DMA_NONE,
		[VHSCSI_DIR_OUT] = DMA_TO_DEVICE,
		[VHSCSI_DIR_IN] = DMA_FROM_DEVICE,
	};
	struct virtio_scsi_cmd_req h;
	struct vhscsi_request req;
	struct vhscsi_tpg *tpg;
	struct vhscsi_cmd *cmd;
	int r;

	q->stats.requests++;

	/* In one piece it mostly is, and then its size is known (see table_copy). */
	if (c->nout && c->segs[0].len >= sizeof(h))
		r = copy_from_user(&h, u64_to_user_ptr(c->segs[0].uva), sizeof(h));
	else if (c->out_len >= sizeof(h))
		r = vhscsi_copy_in(&h, c->segs, c->nout, sizeof(h));
	else
		r = 0;
	if (r) {
		vhscsi_ring_break(&q->ring, VHSCSI_FAULT_ADDRESS);
		return NULL;
	}
	r = vhscsi_request_parse(&h, c->out_len, c->in_len, &req);
	if (r) {
		answer_failure(q, c, r);
		return NULL;
	}
	tpg = q->dev->tpg[req.target];
	if (!tpg) {
		answer_failure(q, c, VIRTIO_SCSI_S_BAD_TARGET);
		return NULL;
	}
	/* The target core would read a long one from behind our 32 bytes. */
	if (scsi_command_size(h.cdb) > sizeof(h.cdb)) {
		answer_failure(q, c, VIRTIO_SCSI_S_FAILURE);
		return NULL;
	}

	cmd = vhscsi_cmd_get(q, c);
	if (!cmd) {
		answer_failure(q, c, VIRTIO_SCSI_S_BUSY);
		return NULL;
	}
	if (req.attr != VIRTIO_SCSI_S_SIMPLE)
		q->ordered = true;
	memcpy(cmd->cdb, h.cdb, sizeof(cmd->cdb));
	cmd->req = req;
	cmd->req.cdb = cmd->cdb;

	r = vhscsi_data_map(cmd, c);
	if (!r) {
		/* Guests may use a tag twice, and what aborts must not. */
		cmd->se.tag = q->serial++ * VHSCSI_MAX_QUEUES + q->index;
		r = target_init_cmd(&cmd->se, tpg->session, cmd->sense, req.lun,
				    req.bytes, task_attr(req.attr),
				    dirs[req.dir], 0);
	}
	if (r) {
		vhscsi_cmd_put(cmd);
		answer_failure(q, c, r == -ENOMEM ? VIRTIO_SCSI_S_BUSY :
			       VIRTIO_SCSI_S_FAILURE);
		return NULL;
	}

	/* It answers by itself where it does not like the command. */
	if (target_submit_prep(&cmd->se, cmd->cdb,
			       cmd->npieces ? cmd->sgl : NULL, cmd->npieces,
			       NULL, 0, NULL, 0, GFP_KERNEL))
		return NULL;
	vhscsi_data_trim(cmd);
	return cmd;
}

static bool is_memory(const struct se_device *dev)
{
	return !strcmp(dev->transport->name, "rd_mcp");
}

/*
 * Whether to submit it keeps nobody waiting: reads and writes of memory never do,
 * and those of a block device not while it has nothing else to do, for then it has
 * room for one more. A file's may wait for its file system, and other commands for
 * about anything.
 */
static bool submits_at_once(const struct vhscsi_cmd *cmd)
{
	const struct se_device *dev = cmd->se.se_dev;
	unsigned int i;

	/* One of two steps (COMPARE AND WRITE) is none of vhscsi_cdb_is_transfer. */
	if (!vhscsi_cdb_is_transfer(cmd->cdb) ||
	    cmd->se.se_cmd_flags & SCF_ALUA_NON_OPTIMIZED)
		return false;
	if (is_memory(dev))
		return true;
	if (strcmp(dev->transport->name, "iblock"))
		return false;
	for (i = 0; i < dev->queue_cnt; i++)
		if (!list_empty(&dev->queues[i].state_list))
			return false;
	return true;
}

/*
 * One alone. Before a kernel knows direct completion, its target core leaves what
 * is to be done at the end of a command to a workqueue. When the backend was through
 * before it returned, that waits in line by now, and what runs it would need a switch
 * there and one back. So we take it out of the line, if it has not begun, and do it.
 *
 * An item that waits is not initialized again before it ran, so it may be cancelled,
 * unless the command is one of two steps, each with an item of its own.
 */
static void submit_one(struct se_cmd *se)
{
	bool once = !se->transport_complete_callback;

	vhscsi_submit_here(se);
	/* The command's memory is the queue's, whose mutex we hold, even if it is done. */
	if (!VHSCSI_DIRECT && once && work_pending(&se->work) && cancel_work(&se->work))
		se->work.func(&se->work);
}

/*
 * The newest is the first of the list. The target core submits them in a workqueue,
 * one item for each device and CPU, so a disk that does not take them keeps no other
 * waiting. Nor does the core complete one before the last of them is submitted: that
 * is done in the same CPU's workqueues, one item a command, which wait in line.
 */
static void submit_batch(struct llist_node *list)
{
	struct vhscsi_cmd *cmd, *next;

	llist_for_each_entry_safe(cmd, next, llist_reverse_order(list), node) {
		if (VHSCSI_DIRECT && submits_at_once(cmd))
			vhscsi_submit_here(&cmd->se);
		else
			vhscsi_submit_queued(&cmd->se);
	}
}

/*
 * To submit a large one takes a while: the block layer wants it in pieces, and what is
 * in memory or in a file is copied there and then. So, while others are in flight, it
 * is submitted by itself, on a CPU that has nothing else to do. Not without end, for a
 * disk may not take them; and not once the driver has shown that it counts on the
 * order, which the target core keeps from when it has them: those before may come
 * later, as they may where the worker changes its CPU between two of them.
 */
static bool submit_apart(struct vhscsi_queue *q, struct vhscsi_cmd *cmd)
{
	if (!vhscsi_cmd_is_large(cmd) || q->ordered || q->inflight == 1 ||
	    q->napart == VHSCSI_MAX_APART)
		return false;
	/* Writes to a file wait for each other anyway, and so do those to many a disk. */
	if (cmd->req.dir != VHSCSI_DIR_IN && !is_memory(cmd->se.se_dev))
		return false;

	cmd->apart = true;
	q->napart++;
	queue_work(vhscsi_apart_wq, &cmd->apart_work);
	return true;
}

/*
 * Takes a batch of requests and submits it. First all, then all: completions of
 * the first would otherwise compete with the submission of the last.
 */
unsigned int vhscsi_io_fetch(struct vhscsi_queue *q, struct vhscsi_chain *c)
{
	struct llist_node *newest = NULL, *oldest = NULL;
	unsigned int n = 0;

	vhscsi_ring_quiet(&q->ring);
	while (n < VHSCSI_BATCH && !q->ring.fault) {
		struct vhscsi_cmd *cmd;

		if (vhscsi_ring_next(&q->ring, q->mem, c) <= 0)
			break;
		n++;
		cmd = io_accept(q, c);
		if (!cmd || submit_apart(q, cmd))
			continue;
		cmd->node.next = newest;
		newest = &cmd->node;
		oldest = oldest ?: newest;
	}

	/* One alone has none that it could wait for. */
	if (newest && newest == oldest &&
	    submits_at_once(llist_entry(newest, struct vhscsi_cmd, node)))
		submit_one(&llist_entry(newest, struct vhscsi_cmd, node)->se);
	else
		submit_batch(newest);
	return n;
}
