// SPDX-License-Identifier: GPL-2.0-only
/* The data of a command: where it is in the guest's memory, as the target core wants it. */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <scsi/scsi_proto.h>

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

/* How many of the entries, one after the other, are of the huge page that the first is of. */
static int entries_of(const struct folio *folio, struct scatterlist *sg,
		      const struct scatterlist *end)
{
	struct scatterlist *s = sg + 1;

	while (s < end && page_folio(sg_page(s)) == folio)
		s++;
	return s - sg;
}

/*
 * References, not pins, as vhost_scsi has it: the accounting of pins costs more
 * than all else that is done for a page, and a guest's memory is not forked
 * (QEMU, MADV_DONTFORK). What was written to is dirty, whatever the page tables
 * say by now. A huge page's references are given back together.
 */
static void pages_release(struct scatterlist *sg, unsigned int n, bool written)
{
	struct scatterlist *end = sg + n;

	while (sg < end) {
		struct folio *folio = page_folio(sg_page(sg));
		int refs;

		if (written && !folio_test_dirty(folio))
			set_page_dirty_lock(&folio->page);
		if (folio_test_large(folio)) {
			refs = entries_of(folio, sg, end);
			folio_put_refs(folio, refs);
			sg += refs;
		} else {
			put_page(&folio->page);
			sg++;
		}
	}
}

static unsigned int pages_of(u32 bytes)
{
	return DIV_ROUND_UP(bytes, PAGE_SIZE);
}

void vhscsi_data_unmap(struct vhscsi_cmd *cmd)
{
	if (!cmd->bounced && cmd->req.dir == VHSCSI_DIR_IN)
		pages_release(cmd->sgl, cmd->npieces, true);
	else
		pages_release(cmd->sgl, cmd->npieces, false);
	if (cmd->bounced)
		atomic_long_sub(pages_of(cmd->req.bytes), &cmd->q->dev->bounced);
	cmd->npieces = 0;
	cmd->bounced = false;

	if (cmd->sgl != cmd->sgl_inline && cmd->sgl != cmd->sgl_kept)
		kvfree(cmd->sgl);
	cmd->sgl = cmd->sgl_inline;
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
	cmd->nin = n;
	while (n--)
		cmd->in[n] = in[n];
	return 0;
}

static int cmd_room(struct vhscsi_cmd *cmd, unsigned int pieces)
{
	struct scatterlist *sgl;

	if (pieces <= VHSCSI_INLINE_PIECES)
		return 0;
	if (pieces <= cmd->nkept) {
		cmd->sgl = cmd->sgl_kept;
		return 0;
	}
	if (pieces > VHSCSI_MAX_PIECES)
		return -E2BIG;

	sgl = kvmalloc_array(pieces, sizeof(*sgl), GFP_KERNEL);
	if (!sgl)
		return -ENOMEM;
	cmd->sgl = sgl;
	if (pieces <= VHSCSI_KEPT_PIECES) {
		kvfree(cmd->sgl_kept);
		cmd->sgl_kept = sgl;
		cmd->nkept = pieces;
	}
	return 0;
}

/* Those whose data goes to the backend as it is. */
bool vhscsi_cdb_is_transfer(const u8 *cdb)
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
	bool transfer = vhscsi_cdb_is_transfer(cdb), straight = transfer || in, first = true;
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

/* A page an entry: the target core and its backends count on that. */
static void sg_put(struct scatterlist *sg, struct page *p, u32 len, u32 offset)
{
	sg->page_link = 0;
	sg_set_page(sg, p, len, offset);
}

/*
 * The pages of a segment are looked up into the end of the entries that they will
 * have: none is overwritten before its turn.
 */
static int cmd_take_pages(struct vhscsi_cmd *cmd, struct data_walk w)
{
	unsigned int flags = cmd->req.dir == VHSCSI_DIR_IN ? FOLL_WRITE : 0;
	struct vhscsi_seg s;

	while (data_next(&w, &s)) {
		struct scatterlist *sg = cmd->sgl + cmd->npieces;
		u32 offset = offset_in_page(s.uva);
		int i, got, n = (offset + (u64)s.len + PAGE_SIZE - 1) >> PAGE_SHIFT;
		struct page **pages = (struct page **)(sg + n) - n;

		got = get_user_pages_fast(s.uva - offset, n, flags, pages);
		for (i = 0; i < got; i++) {
			u32 part = min_t(u32, s.len, PAGE_SIZE - offset);

			sg_put(sg++, pages[i], part, offset);
			s.len -= part;
			offset = 0;
		}
		if (got > 0)
			cmd->npieces += got;
		if (got != n)
			return -EFAULT;
	}
	return 0;
}

static int cmd_bounce(struct vhscsi_cmd *cmd, struct data_walk w)
{
	bool out = cmd->req.dir == VHSCSI_DIR_OUT;
	atomic_long_t *bounced = &cmd->q->dev->bounced;
	unsigned int offset = 0;
	struct vhscsi_seg s;
	u32 left;

	/* Or a guest could have all of the host's memory. */
	if (atomic_long_add_return(pages_of(w.left), bounced) > VHSCSI_MAX_BOUNCED) {
		atomic_long_sub(pages_of(w.left), bounced);
		return -ENOMEM;
	}
	cmd->bounced = true;
	for (left = w.left; left; ) {
		u32 part = min_t(u32, left, PAGE_SIZE);
		/* Zeroed: what the command does not fill goes to the guest too. */
		struct page *p = alloc_page(GFP_KERNEL | __GFP_ZERO);

		if (!p)
			return -ENOMEM;
		sg_put(&cmd->sgl[cmd->npieces++], p, part, 0);
		left -= part;
	}

	while (out && data_next(&w, &s)) {
		while (s.len) {
			u32 in_page = offset_in_page(offset);
			u32 part = min_t(u32, s.len, PAGE_SIZE - in_page);
			void *to = sg_virt(&cmd->sgl[offset >> PAGE_SHIFT]);

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
int vhscsi_data_unbounce(struct vhscsi_cmd *cmd, u32 bytes)
{
	struct data_walk w = { cmd->in, VHSCSI_RESP_SIZE, bytes };
	unsigned int offset = 0;
	struct vhscsi_seg s;

	while (data_next(&w, &s)) {
		while (s.len) {
			u32 in_page = offset_in_page(offset);
			u32 part = min_t(u32, s.len, PAGE_SIZE - in_page);
			void *from = sg_virt(&cmd->sgl[offset >> PAGE_SHIFT]);

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
int vhscsi_data_map(struct vhscsi_cmd *cmd, const struct vhscsi_chain *c)
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
			pieces = pages_of(w.left);
	}

	r = cmd_keep_in(cmd, c, in && !straight);
	if (r || !pieces)
		return r;
	r = cmd_room(cmd, pieces);
	if (r)
		return r;
	r = straight ? cmd_take_pages(cmd, w) : cmd_bounce(cmd, w);
	if (!r)
		sg_mark_end(&cmd->sgl[cmd->npieces - 1]);
	return r;
}

/*
 * The CDB may ask for less than the buffer holds. The target core then shortens
 * data_length, and backends go by the scatter list nevertheless.
 */
void vhscsi_data_trim(struct vhscsi_cmd *cmd)
{
	u32 left = cmd->se.data_length;
	unsigned int i;

	if (left >= cmd->req.bytes || !vhscsi_cdb_is_transfer(cmd->cdb))
		return;
	if (!left) {
		cmd->se.t_data_nents = 0;
		return;
	}
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
