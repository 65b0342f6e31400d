// SPDX-License-Identifier: GPL-2.0-only
#include <linux/mm.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <scsi/scsi_common.h>
#include <scsi/scsi_proto.h>
#include <target/target_core_fabric.h>

#include "vhscsi.h"

/* The block layer's unit: a piece of a transfer that is no multiple of it is no bio's. */
#define BLOCK_MASK	511u

/* -- memory of the guest, by segments */

/* From the first segments; 0 or -EFAULT, also when there is less than that. */
int vhscsi_copy_in(void *to, const struct vhscsi_seg *segs, unsigned int n,
		   size_t len)
{
	unsigned int i;

	for (i = 0; i < n && len; i++) {
		size_t part = min_t(size_t, segs[i].len, len);

		if (copy_from_user(to, u64_to_user_ptr(segs[i].uva), part))
			return -EFAULT;
		to += part;
		len -= part;
	}
	return len ? -EFAULT : 0;
}

int vhscsi_copy_out(const struct vhscsi_seg *segs, unsigned int n,
		    const void *from, size_t len)
{
	unsigned int i;

	for (i = 0; i < n && len; i++) {
		size_t part = min_t(size_t, segs[i].len, len);

		if (copy_to_user(u64_to_user_ptr(segs[i].uva), from, part))
			return -EFAULT;
		from += part;
		len -= part;
	}
	return len ? -EFAULT : 0;
}

/* Walks the segments that hold a request's data: what is behind the header. */
struct data_walk {
	const struct vhscsi_seg *segs;
	u32 skip, left;
};

static bool data_next(struct data_walk *w, struct vhscsi_seg *ret)
{
	for (; w->left; w->segs++) {
		if (w->skip >= w->segs->len) {
			w->skip -= w->segs->len;
			continue;
		}
		ret->uva = w->segs->uva + w->skip;
		ret->len = min(w->segs->len - w->skip, w->left);
		w->skip = 0;
		w->left -= ret->len;
		w->segs++;
		return true;
	}
	return false;
}

/* -- commands */

/* Of the queue's own, or a new one: there are as many as were ever in flight. */
struct vhscsi_cmd *vhscsi_cmd_get(struct vhscsi_queue *q,
				  const struct vhscsi_chain *c)
{
	struct vhscsi_cmd *cmd = q->free;

	if (cmd) {
		q->free = cmd->next;
	} else {
		cmd = kmalloc(sizeof(*cmd), GFP_KERNEL);
		if (!cmd)
			return NULL;
	}

	memset(cmd, 0, offsetof(struct vhscsi_cmd, pages_inline));
	cmd->q = q;
	cmd->head = c->head;
	cmd->pages = cmd->pages_inline;
	cmd->sgl = cmd->sgl_inline;
	cmd->in = cmd->in_inline;
	q->inflight++;
	list_add_tail(&cmd->link, &q->busy);
	return cmd;
}

static void cmd_unmap(struct vhscsi_cmd *cmd)
{
	unsigned int i;

	if (cmd->bounced)
		for (i = 0; i < cmd->npages; i++)
			__free_page(cmd->pages[i]);
	else if (cmd->npages)
		unpin_user_pages_dirty_lock(cmd->pages, cmd->npages,
					    cmd->req.dir == VHSCSI_DIR_IN);
	cmd->npages = 0;
	cmd->npieces = 0;
	cmd->bounced = false;

	if (cmd->pages != cmd->pages_inline)
		kvfree(cmd->pages);
	if (cmd->sgl != cmd->sgl_inline)
		kvfree(cmd->sgl);
	cmd->pages = cmd->pages_inline;
	cmd->sgl = cmd->sgl_inline;
}

void vhscsi_cmd_put(struct vhscsi_cmd *cmd)
{
	struct vhscsi_queue *q = cmd->q;

	cmd_unmap(cmd);
	if (cmd->in != cmd->in_inline)
		kvfree(cmd->in);
	list_del(&cmd->link);
	cmd->next = q->free;
	q->free = cmd;
	q->inflight--;
}

void vhscsi_cmds_free(struct vhscsi_queue *q)
{
	while (q->free) {
		struct vhscsi_cmd *cmd = q->free;

		q->free = cmd->next;
		kfree(cmd);
	}
}

/*
 * Remembers where the answer goes, for the chain is gone by then: the response,
 * and the data behind it when a copy has to be made.
 */
static int cmd_keep_in(struct vhscsi_cmd *cmd, const struct vhscsi_chain *c,
		       bool data)
{
	const struct vhscsi_seg *in = c->segs + c->nout;
	unsigned int n = 0;
	size_t len = 0;

	while (n < c->nin && (data || len < VHSCSI_RESP_SIZE))
		len += in[n++].len;

	if (n > VHSCSI_INLINE_RESP) {
		cmd->in = kvmalloc_array(n, sizeof(*in), GFP_KERNEL);
		if (!cmd->in) {
			cmd->in = cmd->in_inline;
			return -ENOMEM;
		}
	}
	memcpy(cmd->in, in, n * sizeof(*in));
	cmd->nin = n;
	return 0;
}

static int cmd_room(struct vhscsi_cmd *cmd, unsigned int pieces)
{
	if (pieces > VHSCSI_MAX_PIECES)
		return -E2BIG;
	if (pieces > VHSCSI_INLINE_PIECES) {
		struct page **pages = kvmalloc_array(pieces, sizeof(*pages), GFP_KERNEL);
		struct scatterlist *sgl = kvmalloc_array(pieces, sizeof(*sgl), GFP_KERNEL);

		if (!pages || !sgl) {
			kvfree(pages);
			kvfree(sgl);
			return -ENOMEM;
		}
		cmd->pages = pages;
		cmd->sgl = sgl;
	}
	sg_init_table(cmd->sgl, pieces);
	return 0;
}

/* Those whose data goes to the backend as it is. */
static bool cdb_is_transfer(const u8 *cdb)
{
	switch (cdb[0]) {
	case READ_6:
	case READ_10:
	case READ_12:
	case READ_16:
	case WRITE_6:
	case WRITE_10:
	case WRITE_12:
	case WRITE_16:
	case WRITE_VERIFY:
	case WRITE_VERIFY_16:
		return true;
	}
	return false;
}

/*
 * Whether the guest's own pages will do. A transfer goes to the block layer piece
 * by piece, so each has to be whole blocks. Anything else the target core maps as
 * one range of pages, so there must be no gap inside.
 *
 * And that it writes to, whatever the direction: an INQUIRY that comes with data
 * would overwrite pages that were only to be read, and the zero page is one.
 */
static bool data_is_straight(struct data_walk w, const u8 *cdb, bool in,
			     unsigned int *ret_pieces)
{
	bool transfer = cdb_is_transfer(cdb), straight = transfer || in, first = true;
	unsigned int pieces = 0;
	struct vhscsi_seg s;

	while (data_next(&w, &s)) {
		if (transfer) {
			if ((s.uva | s.len) & BLOCK_MASK)
				straight = false;
		} else if ((!first && offset_in_page(s.uva)) ||
			   (w.left && offset_in_page(s.uva + s.len))) {
			straight = false;
		}
		first = false;
		pieces += (offset_in_page(s.uva) + (u64)s.len + PAGE_SIZE - 1) >> PAGE_SHIFT;
	}

	*ret_pieces = pieces;
	return straight;
}

static int cmd_pin(struct vhscsi_cmd *cmd, struct data_walk w)
{
	unsigned int flags = cmd->req.dir == VHSCSI_DIR_IN ? FOLL_WRITE : 0;
	struct vhscsi_seg s;

	while (data_next(&w, &s)) {
		u32 offset = offset_in_page(s.uva);
		int i, got, n = (offset + (u64)s.len + PAGE_SIZE - 1) >> PAGE_SHIFT;

		got = pin_user_pages_fast(s.uva - offset, n, flags,
					  cmd->pages + cmd->npages);
		for (i = 0; i < got; i++) {
			u32 part = min_t(u32, s.len, PAGE_SIZE - offset);

			sg_set_page(&cmd->sgl[cmd->npieces++],
				    cmd->pages[cmd->npages++], part, offset);
			s.len -= part;
			offset = 0;
		}
		if (got != n)
			return -EFAULT;
	}
	return 0;
}

static int cmd_bounce(struct vhscsi_cmd *cmd, struct data_walk w)
{
	bool out = cmd->req.dir == VHSCSI_DIR_OUT;
	unsigned int offset = 0;
	struct vhscsi_seg s;
	u32 left;

	cmd->bounced = true;
	for (left = w.left; left; ) {
		u32 part = min_t(u32, left, PAGE_SIZE);
		/* Zeroed: what the command does not fill goes to the guest too. */
		struct page *p = alloc_page(GFP_KERNEL | __GFP_ZERO);

		if (!p)
			return -ENOMEM;
		cmd->pages[cmd->npages++] = p;
		sg_set_page(&cmd->sgl[cmd->npieces++], p, part, 0);
		left -= part;
	}

	while (out && data_next(&w, &s)) {
		while (s.len) {
			u32 in_page = offset_in_page(offset);
			u32 part = min_t(u32, s.len, PAGE_SIZE - in_page);
			void *to = page_address(cmd->pages[offset >> PAGE_SHIFT]);

			if (copy_from_user(to + in_page, u64_to_user_ptr(s.uva), part))
				return -EFAULT;
			s.uva += part;
			s.len -= part;
			offset += part;
		}
	}
	return 0;
}

/* Back to the guest, as much as went over. */
static int cmd_unbounce(struct vhscsi_cmd *cmd, u32 bytes)
{
	struct data_walk w = { cmd->in, VHSCSI_RESP_SIZE, bytes };
	unsigned int offset = 0;
	struct vhscsi_seg s;

	while (data_next(&w, &s)) {
		while (s.len) {
			u32 in_page = offset_in_page(offset);
			u32 part = min_t(u32, s.len, PAGE_SIZE - in_page);
			void *from = page_address(cmd->pages[offset >> PAGE_SHIFT]);

			if (copy_to_user(u64_to_user_ptr(s.uva), from + in_page, part))
				return -EFAULT;
			s.uva += part;
			s.len -= part;
			offset += part;
		}
	}
	return 0;
}

/* Gives the command its data, as a scatter list. */
static int cmd_map(struct vhscsi_cmd *cmd, const struct vhscsi_chain *c)
{
	bool in = cmd->req.dir == VHSCSI_DIR_IN, straight = true;
	struct data_walk w = {
		in ? c->segs + c->nout : c->segs,
		in ? VHSCSI_RESP_SIZE : VHSCSI_REQ_SIZE,
		cmd->req.bytes,
	};
	unsigned int pieces = 0;
	int r;

	if (w.left > VHSCSI_MAX_PAGES * PAGE_SIZE)
		return -E2BIG;
	if (w.left) {
		straight = data_is_straight(w, cmd->cdb, in, &pieces);
		if (!straight)
			pieces = DIV_ROUND_UP(w.left, PAGE_SIZE);
	}

	r = cmd_keep_in(cmd, c, in && !straight);
	if (r || !pieces)
		return r;
	r = cmd_room(cmd, pieces);
	if (r)
		return r;
	r = straight ? cmd_pin(cmd, w) : cmd_bounce(cmd, w);
	if (!r)
		sg_mark_end(&cmd->sgl[cmd->npieces - 1]);
	return r;
}

/*
 * The CDB may ask for less than the buffer holds. The target core then shortens
 * data_length, and backends go by the scatter list nevertheless.
 */
static void cmd_trim(struct vhscsi_cmd *cmd)
{
	u32 left = cmd->se.data_length;
	unsigned int i;

	if (left >= cmd->req.bytes || !left || !cdb_is_transfer(cmd->cdb))
		return;
	for (i = 0; i < cmd->npieces; i++) {
		struct scatterlist *sg = &cmd->sgl[i];

		if (left <= sg->length) {
			sg->length = left;
			sg_mark_end(sg);
			cmd->se.t_data_nents = i + 1;
			return;
		}
		left -= sg->length;
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

	result_of(cmd, &res);
	used = vhscsi_response_fill(&resp, &cmd->req, &res);
	data = used - VHSCSI_RESP_SIZE;

	if (cmd->bounced && data && cmd_unbounce(cmd, data)) {
		vhscsi_ring_break(&q->ring, VHSCSI_FAULT_ADDRESS);
		return;
	}
	if (vhscsi_copy_out(cmd->in, cmd->nin, &resp, sizeof(resp))) {
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

/* Answers what the target core gave back. */
unsigned int vhscsi_queue_reap(struct vhscsi_queue *q)
{
	struct llist_node *list = llist_del_all(&q->done);
	struct vhscsi_cmd *cmd, *next;
	unsigned int n = 0;

	if (!list)
		return 0;

	list = llist_reverse_order(list);
	llist_for_each_entry_safe(cmd, next, list, node) {
		n++;
		if (cmd->tmf) {
			vhscsi_tmf_done(cmd);
			continue;
		}
		/* A ring that broke takes no answers; the pages go back all the same. */
		if (!q->ring.fault)
			vhscsi_io_answer(cmd);
		vhscsi_cmd_put(cmd);
	}
	return n;
}

void vhscsi_queue_publish(struct vhscsi_queue *q)
{
	if (q->ring.fault || !vhscsi_ring_publish(&q->ring) || !q->call)
		return;
	q->stats.signals++;
	vhscsi_eventfd_signal(q->call);
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
	struct virtio_scsi_cmd_req h = {};
	struct vhscsi_request req;
	struct vhscsi_tpg *tpg;
	struct vhscsi_cmd *cmd;
	int r;

	q->stats.requests++;

	if (c->out_len >= sizeof(h) &&
	    vhscsi_copy_in(&h, c->segs, c->nout, sizeof(h))) {
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
	memcpy(cmd->cdb, h.cdb, sizeof(cmd->cdb));
	cmd->req = req;
	cmd->req.cdb = cmd->cdb;

	r = cmd_map(cmd, c);
	if (!r) {
		/* Guests may use a tag twice, and what aborts must not. */
		cmd->se.tag = q->serial++ * VHSCSI_MAX_QUEUES + q->index;
		r = target_init_cmd(&cmd->se, tpg->session, cmd->sense, req.lun,
				    req.bytes, task_attr(req.attr),
				    dirs[req.dir], TARGET_SCF_ACK_KREF);
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
	cmd_trim(cmd);
	return cmd;
}

/*
 * The target core completes in the kernel's workqueues, one item a command. If a
 * thread submitted a batch, each command's completion would be let in between,
 * with a switch there and one back. Submitted from a workqueue as well, they all
 * wait in line behind it.
 */
void vhscsi_submit_work(struct work_struct *work)
{
	struct vhscsi_queue *q = container_of(work, struct vhscsi_queue, submit_work);
	struct llist_node *list = llist_reverse_order(llist_del_all(&q->submit));
	struct vhscsi_cmd *cmd, *next;

	/* From its submission on a command is not ours. */
	llist_for_each_entry_safe(cmd, next, list, node)
		target_submit(&cmd->se);
}

static void io_submit(struct vhscsi_queue *q, struct vhscsi_cmd *batch)
{
	struct vhscsi_cmd *cmd;

	if (!batch)
		return;
	if (VHSCSI_DIRECT || !batch->next) {
		while ((cmd = batch)) {
			batch = cmd->next;
			target_submit(&cmd->se);
		}
		return;
	}
	while ((cmd = batch)) {
		batch = cmd->next;
		llist_add(&cmd->node, &q->submit);
	}
	queue_work(vhscsi_wq, &q->submit_work);
}

/*
 * Takes a batch of requests and submits it. First all, then all: completions of
 * the first would otherwise compete with the submission of the last.
 */
unsigned int vhscsi_io_fetch(struct vhscsi_queue *q, struct vhscsi_chain *c)
{
	struct vhscsi_cmd *batch = NULL, **tail = &batch;
	unsigned int n = 0;

	vhscsi_ring_quiet(&q->ring);
	while (n < VHSCSI_BATCH && !q->ring.fault) {
		struct vhscsi_cmd *cmd;

		if (vhscsi_ring_next(&q->ring, q->mem, c) <= 0)
			break;
		n++;
		cmd = io_accept(q, c);
		if (cmd) {
			cmd->next = NULL;
			*tail = cmd;
			tail = &cmd->next;
		}
	}

	io_submit(q, batch);
	return n;
}
