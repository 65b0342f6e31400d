// SPDX-License-Identifier: GPL-2.0-only
#ifdef __KERNEL__
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/uaccess.h>
#include <asm/barrier.h>
#include <asm/byteorder.h>
#endif

#include "ring.h"

/*
 * The fields are little endian with VIRTIO_F_VERSION_1; without it they are of
 * the guest's own order, which dev.c accepts only where that is the same.
 */
static int read_u16(u16 *to, const __virtio16 __user *from)
{
	__le16 v;

	if (get_user(v, (const __le16 __user *)from))
		return -EFAULT;
	*to = le16_to_cpu(v);
	return 0;
}

static int write_u16(u16 v, __virtio16 __user *to)
{
	return put_user(cpu_to_le16(v), (__le16 __user *)to);
}

static u16 from_u16(__virtio16 v)
{
	return le16_to_cpu((__force __le16)v);
}

static u32 from_u32(__virtio32 v)
{
	return le32_to_cpu((__force __le32)v);
}

static u64 from_u64(__virtio64 v)
{
	return le64_to_cpu((__force __le64)v);
}

const char *vhscsi_fault_name(enum vhscsi_fault fault)
{
	static const char * const names[VHSCSI_FAULT_MAX] = {
		[VHSCSI_FAULT_NONE]		= "none",
		[VHSCSI_FAULT_RING_MEMORY]	= "ring-memory",
		[VHSCSI_FAULT_AVAIL_INDEX]	= "avail-index",
		[VHSCSI_FAULT_OVERCOMMIT]	= "overcommit",
		[VHSCSI_FAULT_HEAD]		= "head",
		[VHSCSI_FAULT_NEXT]		= "next",
		[VHSCSI_FAULT_LOOP]		= "loop",
		[VHSCSI_FAULT_ORDER]		= "order",
		[VHSCSI_FAULT_INDIRECT]		= "indirect",
		[VHSCSI_FAULT_ADDRESS]		= "address",
		[VHSCSI_FAULT_SEGMENTS]		= "segments",
		[VHSCSI_FAULT_LENGTH]		= "length",
		[VHSCSI_FAULT_RESPONSE]		= "response",
	};

	return (unsigned int)fault < VHSCSI_FAULT_MAX ? names[fault] : "unknown";
}

/*
 * From the indices that were set to a ring in use: the used index is whatever
 * the driver's memory says, for a guest that was reset starts it anew.
 */
int vhscsi_ring_start(struct vhscsi_ring *r)
{
	r->fault = VHSCSI_FAULT_NONE;
	r->avail_seen = r->last_avail;
	r->signalled_valid = false;
	r->told_valid = false;
	r->quiet = false;
	r->taken = 0;

	if (read_u16(&r->used_idx, &r->used->idx))
		return -EFAULT;
	r->published = r->used_idx;

	/* Nothing of an earlier life may keep the driver from kicking. */
	return write_u16(0, &r->used->flags);
}

/*
 * Two loads a descriptor. A table of three is what nearly every request has, and
 * copy_from_user spends more on looking where it goes than on copying that.
 */
static int descs_read(struct vring_desc *to, const void __user *at, unsigned int n)
{
	const u64 __user *from = at;
	u64 *words = (u64 *)to;

	if (!user_access_begin(from, n * sizeof(*to)))
		return -EFAULT;
	for (n *= 2; n; n--)
		unsafe_get_user(*words++, from++, efault);
	user_access_end();
	return 0;
efault:
	user_access_end();
	return -EFAULT;
}

/* 1: there is something to take, 0: nothing, negative: broken. */
static int ring_has_avail(struct vhscsi_ring *r)
{
	u16 idx;

	if (r->last_avail != r->avail_seen)
		return 1;

	if (read_u16(&idx, &r->avail->idx))
		return vhscsi_ring_break(r, VHSCSI_FAULT_RING_MEMORY);
	if ((u16)(idx - r->last_avail) > r->num)
		return vhscsi_ring_break(r, VHSCSI_FAULT_AVAIL_INDEX);
	if (idx == r->last_avail)
		return 0;

	/* The entries after the index that says that they are there. */
	smp_rmb();
	r->avail_seen = idx;
	return 1;
}

/* Adds one descriptor that is data to the chain. */
static int chain_add(struct vhscsi_ring *r, const struct vhscsi_mem *mem,
		     struct vhscsi_chain *c, const struct vring_desc *d)
{
	bool in = from_u16(d->flags) & VRING_DESC_F_WRITE;
	unsigned int have = c->nout + c->nin;
	u32 len = from_u32(d->len);
	u32 *total = in ? &c->in_len : &c->out_len;
	int n;

	if (!in && c->nin)
		return vhscsi_ring_break(r, VHSCSI_FAULT_ORDER);
	if (*total + len < len)
		return vhscsi_ring_break(r, VHSCSI_FAULT_LENGTH);

	n = vhscsi_mem_translate(mem, from_u64(d->addr), len, c->segs + have,
				 VHSCSI_MAX_SEGS - have);
	if (n < 0)
		return vhscsi_ring_break(r, n == -ENOBUFS ?
					 VHSCSI_FAULT_SEGMENTS :
					 VHSCSI_FAULT_ADDRESS);

	*total += len;
	if (in)
		c->nin += n;
	else
		c->nout += n;
	return 0;
}

/* Copies an indirect table, which may itself lie across regions. */
static int table_read(struct vhscsi_ring *r, const struct vhscsi_mem *mem,
		      struct vhscsi_chain *c, u64 gpa, u32 len)
{
	unsigned int have = c->nout + c->nin;
	u8 *to = (u8 *)c->table;
	int i, n;

	/* The segments behind those of the chain are free yet. */
	n = vhscsi_mem_translate(mem, gpa, len, c->segs + have,
				 VHSCSI_MAX_SEGS - have);
	if (n < 0)
		return vhscsi_ring_break(r, n == -ENOBUFS ?
					 VHSCSI_FAULT_SEGMENTS :
					 VHSCSI_FAULT_ADDRESS);

	for (i = 0; i < n; i++) {
		const struct vhscsi_seg *s = &c->segs[have + i];

		const void __user *from = (const void __user *)(uintptr_t)s->uva;

		/* Across regions it may be split anywhere. */
		if (n == 1 ? descs_read(c->table, from, len / sizeof(c->table[0])) != 0 :
			     copy_from_user(to, from, s->len) != 0)
			return vhscsi_ring_break(r, VHSCSI_FAULT_ADDRESS);
		to += s->len;
	}
	return 0;
}

static int chain_add_table(struct vhscsi_ring *r, const struct vhscsi_mem *mem,
			   struct vhscsi_chain *c, const struct vring_desc *d)
{
	u32 len = from_u32(d->len), i = 0, steps = 0, n;
	int ret;

	n = len / sizeof(c->table[0]);
	if (!n || len % sizeof(c->table[0]) || n > VHSCSI_MAX_TABLE ||
	    from_u16(d->flags) & VRING_DESC_F_NEXT)
		return vhscsi_ring_break(r, VHSCSI_FAULT_INDIRECT);

	ret = table_read(r, mem, c, from_u64(d->addr), len);
	if (ret)
		return ret;

	for (;;) {
		const struct vring_desc *e = &c->table[i];
		u16 flags = from_u16(e->flags);

		if (++steps > n)
			return vhscsi_ring_break(r, VHSCSI_FAULT_LOOP);
		if (flags & VRING_DESC_F_INDIRECT)
			return vhscsi_ring_break(r, VHSCSI_FAULT_INDIRECT);

		ret = chain_add(r, mem, c, e);
		if (ret)
			return ret;

		if (!(flags & VRING_DESC_F_NEXT))
			return 0;
		i = from_u16(e->next);
		if (i >= n)
			return vhscsi_ring_break(r, VHSCSI_FAULT_NEXT);
	}
}

/* 1: the chain is the driver's next request, 0: there is none, negative: broken. */
int vhscsi_ring_next(struct vhscsi_ring *r, const struct vhscsi_mem *mem,
		     struct vhscsi_chain *c)
{
	unsigned int i, steps = 0;
	u16 head, flags;
	int ret;

	if (r->fault)
		return -EBADMSG;
	ret = ring_has_avail(r);
	if (ret <= 0)
		return ret;

	/* A driver that keeps to its own descriptors has none left by then. */
	if (r->taken == r->num)
		return vhscsi_ring_break(r, VHSCSI_FAULT_OVERCOMMIT);
	if (read_u16(&head, &r->avail->ring[r->last_avail & (r->num - 1)]))
		return vhscsi_ring_break(r, VHSCSI_FAULT_RING_MEMORY);
	if (head >= r->num)
		return vhscsi_ring_break(r, VHSCSI_FAULT_HEAD);

	c->head = head;
	c->nout = 0;
	c->nin = 0;
	c->out_len = 0;
	c->in_len = 0;

	for (i = head;;) {
		struct vring_desc d;

		if (++steps > r->num)
			return vhscsi_ring_break(r, VHSCSI_FAULT_LOOP);
		if (descs_read(&d, &r->desc[i], 1))
			return vhscsi_ring_break(r, VHSCSI_FAULT_RING_MEMORY);

		flags = from_u16(d.flags);
		if (flags & VRING_DESC_F_INDIRECT)
			ret = chain_add_table(r, mem, c, &d);
		else
			ret = chain_add(r, mem, c, &d);
		if (ret)
			return ret;

		/* chain_add_table refused one that would go on. */
		if (!(flags & VRING_DESC_F_NEXT))
			break;
		i = from_u16(d.next);
		if (i >= r->num)
			return vhscsi_ring_break(r, VHSCSI_FAULT_NEXT);
	}

	r->last_avail++;
	r->taken++;
	return 1;
}

/* Gives a request back; the driver does not see it before the next publish. */
void vhscsi_ring_put(struct vhscsi_ring *r, u16 head, u32 len)
{
	struct vring_used_elem __user *e = &r->used->ring[r->used_idx & (r->num - 1)];

	if (!user_access_begin(e, sizeof(*e))) {
		r->fault = VHSCSI_FAULT_RING_MEMORY;
		return;
	}
	unsafe_put_user(cpu_to_le32(head), (__le32 __user *)&e->id, efault);
	unsafe_put_user(cpu_to_le32(len), (__le32 __user *)&e->len, efault);
	user_access_end();
	r->used_idx++;
	r->taken--;
	return;
efault:
	user_access_end();
	r->fault = VHSCSI_FAULT_RING_MEMORY;
}

/* Shows the driver what was put. True: it wants to be told. */
bool vhscsi_ring_publish(struct vhscsi_ring *r)
{
	u16 old = r->signalled, v;
	bool first = !r->signalled_valid;

	if (r->published == r->used_idx)
		return false;

	/* The entries before the index. */
	smp_wmb();
	if (write_u16(r->used_idx, &r->used->idx)) {
		r->fault = VHSCSI_FAULT_RING_MEMORY;
		return false;
	}
	r->published = r->used_idx;

	/* The index before the look at whether anyone waits for it. */
	smp_mb();
	if (!r->event_idx) {
		if (read_u16(&v, &r->avail->flags)) {
			r->fault = VHSCSI_FAULT_RING_MEMORY;
			return false;
		}
		return !(v & VRING_AVAIL_F_NO_INTERRUPT);
	}

	r->signalled = r->used_idx;
	r->signalled_valid = true;
	if (first)
		return true;
	if (read_u16(&v, &r->avail->ring[r->num])) {
		r->fault = VHSCSI_FAULT_RING_MEMORY;
		return false;
	}
	return vring_need_event(v, r->used_idx, old);
}

/* No kicks, please: we look by ourselves. With event idx silence is the default. */
void vhscsi_ring_quiet(struct vhscsi_ring *r)
{
	if (r->quiet)
		return;
	r->quiet = true;
	if (!r->event_idx && write_u16(VRING_USED_F_NO_NOTIFY, &r->used->flags))
		r->fault = VHSCSI_FAULT_RING_MEMORY;
}

/* Whether there is something to take, without asking for a kick. */
bool vhscsi_ring_ready(struct vhscsi_ring *r)
{
	return !r->fault && ring_has_avail(r) > 0;
}

/*
 * From here on the driver kicks for the next request. True: one came in between
 * and nobody will tell, so look again.
 */
bool vhscsi_ring_listen(struct vhscsi_ring *r)
{
	int ret;

	if (r->fault)
		return false;

	r->quiet = false;

	/* It knows already: whoever comes kicks. */
	if (r->event_idx && r->told_valid && r->told == r->last_avail)
		return false;

	if (r->event_idx)
		ret = write_u16(r->last_avail,
				(__virtio16 __user *)&r->used->ring[r->num]);
	else
		ret = write_u16(0, &r->used->flags);
	if (ret) {
		r->fault = VHSCSI_FAULT_RING_MEMORY;
		return false;
	}

	r->told = r->last_avail;
	r->told_valid = true;

	/* The wish before the look. */
	smp_mb();
	return ring_has_avail(r) > 0;
}
