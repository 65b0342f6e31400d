// SPDX-License-Identifier: GPL-2.0-only
/* A virtqueue as its owner sets it up by ioctl: where it is, who kicks, and whom we call. */
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/log2.h>
#include <linux/uaccess.h>

#include "vhscsi.h"

static int kick_wake(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct vhscsi_queue *q = container_of(wait, struct vhscsi_queue, kick_wait);

	if (key_to_poll(key) & EPOLLIN) {
		q->stats.kicks++;	/* the eventfd's lock is held */
		vhscsi_queue_wake(q);
	}
	return 0;
}

static void kick_queue(struct file *f, wait_queue_head_t *head, poll_table *table)
{
	struct vhscsi_queue *q = container_of(table, struct vhscsi_queue, kick_table);

	q->kick_head = head;
	add_wait_queue(head, &q->kick_wait);
}

void vhscsi_queue_init(struct vhscsi_queue *q, struct vhscsi_dev *d, unsigned int index)
{
	mutex_init(&q->mutex);
	q->dev = d;
	q->index = index;
	init_llist_head(&q->done);
	INIT_WORK(&q->done_work, vhscsi_done_work);
	init_waitqueue_func_entry(&q->kick_wait, kick_wake);
	init_poll_funcptr(&q->kick_table, kick_queue);
}

/* After this nobody is in kick_wake any more. */
void vhscsi_queue_stop(struct vhscsi_queue *q)
{
	if (q->kick_head)
		remove_wait_queue(q->kick_head, &q->kick_wait);
	q->kick_head = NULL;
	if (q->kick)
		fput(q->kick);
	q->kick = NULL;
}

static int kick_set(struct vhscsi_queue *q, int fd)
{
	struct file *f = NULL;

	if (fd != VHOST_FILE_UNBIND) {
		f = eventfd_fget(fd);
		if (IS_ERR(f))
			return PTR_ERR(f);
	}

	vhscsi_queue_stop(q);
	q->kick = f;
	/* One that came before us counts. */
	if (f && vfs_poll(f, &q->kick_table) & EPOLLIN)
		vhscsi_queue_wake(q);
	return 0;
}

bool vhscsi_queue_access_ok(const struct vhscsi_ring *r)
{
	return access_ok(r->desc, r->num * sizeof(*r->desc)) &&
	       access_ok(r->avail, struct_size(r->avail, ring, r->num + 1)) &&
	       access_ok(r->used, struct_size(r->used, ring, r->num) + sizeof(u16));
}

static int queue_worker(struct vhscsi_queue *q, unsigned int cmd,
			struct vhost_vring_worker __user *arg)
{
	struct vhost_vring_worker w;

	if (copy_from_user(&w, arg, sizeof(w)))
		return -EFAULT;
	if (cmd == VHOST_ATTACH_VRING_WORKER)
		return vhscsi_worker_attach(q, w.worker_id);
	/* Ours are dealt out by SET_ENDPOINT. */
	return q->worker ? put_user(q->worker->id, &arg->worker_id) : -EINVAL;
}

static int queue_set_addr(struct vhscsi_queue *q, const struct vhost_vring_addr *a)
{
	struct vhscsi_ring ring;
	int r = 0;

	if (a->flags)
		return -EOPNOTSUPP;
	if (a->desc_user_addr != (unsigned long)a->desc_user_addr ||
	    a->avail_user_addr != (unsigned long)a->avail_user_addr ||
	    a->used_user_addr != (unsigned long)a->used_user_addr)
		return -EFAULT;
	if (a->avail_user_addr % VRING_AVAIL_ALIGN_SIZE ||
	    a->used_user_addr % VRING_USED_ALIGN_SIZE)
		return -EINVAL;

	mutex_lock(&q->mutex);
	ring = q->ring;
	ring.desc = u64_to_user_ptr(a->desc_user_addr);
	ring.avail = u64_to_user_ptr(a->avail_user_addr);
	ring.used = u64_to_user_ptr(a->used_user_addr);
	ring.told_valid = false;
	if (q->live && !vhscsi_queue_access_ok(&ring))
		r = -EINVAL;
	else
		q->ring = ring;
	mutex_unlock(&q->mutex);
	return r;
}

static int queue_set_eventfd(struct vhscsi_queue *q, struct eventfd_ctx **slot, int fd)
{
	struct eventfd_ctx *ctx = NULL;

	if (fd != VHOST_FILE_UNBIND) {
		ctx = eventfd_ctx_fdget(fd);
		if (IS_ERR(ctx))
			return PTR_ERR(ctx);
	}
	mutex_lock(&q->mutex);
	swap(ctx, *slot);
	mutex_unlock(&q->mutex);
	if (ctx)
		eventfd_ctx_put(ctx);
	return 0;
}

long vhscsi_queue_ioctl(struct vhscsi_dev *d, unsigned int cmd, void __user *arg)
{
	struct vhost_vring_state s;
	struct vhost_vring_addr a;
	struct vhost_vring_file f;
	struct vhscsi_queue *q;
	u32 index;

	if (get_user(index, (u32 __user *)arg))
		return -EFAULT;
	if (index >= VHSCSI_MAX_QUEUES)
		return -ENOBUFS;
	q = &d->queue[index];

	switch (cmd) {
	case VHOST_SET_VRING_NUM:
		if (q->live)
			return -EBUSY;
		if (copy_from_user(&s, arg, sizeof(s)))
			return -EFAULT;
		if (!is_power_of_2(s.num) || s.num > VHSCSI_MAX_RING)
			return -EINVAL;
		q->ring.num = s.num;
		return 0;
	case VHOST_SET_VRING_BASE:
		if (q->live)
			return -EBUSY;
		if (copy_from_user(&s, arg, sizeof(s)))
			return -EFAULT;
		if (s.num > U16_MAX)
			return -EINVAL;
		q->ring.last_avail = s.num;
		return 0;
	case VHOST_GET_VRING_BASE:
		s.index = index;
		s.num = READ_ONCE(q->ring.last_avail);
		return copy_to_user(arg, &s, sizeof(s)) ? -EFAULT : 0;
	case VHOST_SET_VRING_ADDR:
		if (copy_from_user(&a, arg, sizeof(a)))
			return -EFAULT;
		return queue_set_addr(q, &a);
	case VHOST_ATTACH_VRING_WORKER:
	case VHOST_GET_VRING_WORKER:
		return queue_worker(q, cmd, arg);
	case VHOST_SET_VRING_KICK:
	case VHOST_SET_VRING_CALL:
	case VHOST_SET_VRING_ERR:
		if (copy_from_user(&f, arg, sizeof(f)))
			return -EFAULT;
		if (cmd == VHOST_SET_VRING_KICK)
			return kick_set(q, f.fd);
		return queue_set_eventfd(q, cmd == VHOST_SET_VRING_CALL ?
					 &q->call : &q->err, f.fd);
	}
	return -ENOTTY;
}
