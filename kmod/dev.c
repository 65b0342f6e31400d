// SPDX-License-Identifier: GPL-2.0-only
/* The node: what QEMU sets up by ioctl, in the order and with the errors of vhost. */
#include <linux/compat.h>
#include <linux/eventfd.h>
#include <linux/fs.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/virtio_config.h>
#include <target/target_core_fabric.h>

#include "vhscsi.h"

/* No VHOST_F_LOG_ALL: writes to the guest's memory are not logged yet. */
#define VHSCSI_FEATURES							\
	(BIT_ULL(VIRTIO_F_VERSION_1) | BIT_ULL(VIRTIO_F_ANY_LAYOUT) |	\
	 BIT_ULL(VIRTIO_RING_F_INDIRECT_DESC) |				\
	 BIT_ULL(VIRTIO_RING_F_EVENT_IDX) | BIT_ULL(VIRTIO_SCSI_F_HOTPLUG))

/* -- the life of an open node */

/* What a guest can make us say as often as it likes, to the log or to the daemon. */
static void limit_init(struct ratelimit_state *limit)
{
	ratelimit_state_init(limit, 5 * HZ, 10);
	/* What was not said is not worth a word either. */
	ratelimit_set_flags(limit, RATELIMIT_MSG_ON_RELEASE);
}

static int vhscsi_open(struct inode *inode, struct file *f)
{
	struct vhscsi_dev *d;
	unsigned int i;

	d = kvzalloc(sizeof(*d), GFP_KERNEL);
	if (!d)
		return -ENOMEM;

	mutex_init(&d->mutex);
	init_waitqueue_head(&d->idle);
	spin_lock_init(&d->event_lock);
	INIT_LIST_HEAD(&d->events);
	INIT_LIST_HEAD(&d->functions);
	limit_init(&d->resets);
	limit_init(&d->breaks);
	for (i = 0; i < VHSCSI_MAX_QUEUES; i++)
		vhscsi_queue_init(&d->queue[i], d, i);
	f->private_data = d;
	return 0;
}

static bool dev_is_idle(struct vhscsi_dev *d)
{
	unsigned int i;

	for (i = 0; i < VHSCSI_MAX_QUEUES; i++)
		if (READ_ONCE(d->queue[i].inflight))
			return false;
	return true;
}

static void tpgs_leave(struct vhscsi_dev *d)
{
	unsigned int i;

	for (i = 0; i < VHSCSI_MAX_TARGETS; i++) {
		struct vhscsi_tpg *tpg = d->tpg[i];

		if (!tpg)
			continue;
		mutex_lock(&tpg->mutex);
		tpg->dev = NULL;
		mutex_unlock(&tpg->mutex);
		d->tpg[i] = NULL;
		target_undepend_item(&tpg->se.tpg_group.cg_item);
		/* Who hears of it can remove it. */
		if (d->attached)
			vhscsi_uevent("detach", d, i);
	}
}

/* Takes no more requests and waits for the answers to those it has. */
static void dev_detach(struct vhscsi_dev *d)
{
	unsigned int i;

	if (!d->attached)
		return;

	for (i = 0; i < VHSCSI_MAX_QUEUES; i++) {
		struct vhscsi_queue *q = &d->queue[i];

		mutex_lock(&q->mutex);
		q->live = false;
		mutex_unlock(&q->mutex);
	}
	wait_event(d->idle, dev_is_idle(d));

	/* The worker that said so may hold the mutex still. */
	for (i = 0; i < VHSCSI_MAX_QUEUES; i++) {
		mutex_lock(&d->queue[i].mutex);
		mutex_unlock(&d->queue[i].mutex);
	}

	tpgs_leave(d);
	vhscsi_evt_drop(d);
	d->attached = false;
}

static int vhscsi_release(struct inode *inode, struct file *f)
{
	struct vhscsi_dev *d = f->private_data;
	unsigned int i;

	mutex_lock(&d->mutex);
	dev_detach(d);
	mutex_unlock(&d->mutex);

	for (i = 0; i < VHSCSI_MAX_QUEUES; i++)
		vhscsi_queue_stop(&d->queue[i]);
	vhscsi_workers_stop(d);

	for (i = 0; i < VHSCSI_MAX_QUEUES; i++) {
		struct vhscsi_queue *q = &d->queue[i];

		if (q->call)
			eventfd_ctx_put(q->call);
		if (q->err)
			eventfd_ctx_put(q->err);
		vhscsi_cmds_free(q);
	}
	if (d->mm)
		mmput(d->mm);
	kvfree(d->mem);
	kvfree(d);
	return 0;
}

/* -- SET_ENDPOINT */

static int tpg_claim(struct vhscsi_tpg *tpg, struct vhscsi_dev *d)
{
	int r = 0;

	mutex_lock(&tpg->mutex);
	if (!tpg->session) {
		r = -ENODEV;
	} else if (tpg->dev) {
		r = -EEXIST;
	} else {
		tpg->dev = d;
		tpg->joining = true;
	}
	mutex_unlock(&tpg->mutex);
	return r;
}

/* It cannot be removed while a guest is attached. After an error it may be gone. */
static int tpg_join(struct vhscsi_tpg *tpg, int r)
{
	r = r ?: target_depend_item(&tpg->se.tpg_group.cg_item);
	if (r) {
		mutex_lock(&tpg->mutex);
		tpg->dev = NULL;
		mutex_unlock(&tpg->mutex);
	}
	vhscsi_tpg_joined(tpg);
	return r;
}

/*
 * Every portal group of the target that can be had, or none if one of them is another's;
 * tells why when it is none. First they are claimed, and then configfs is told, with
 * no mutex held: it takes its own, under which it calls us elsewhere.
 */
static int tpgs_join(struct vhscsi_dev *d, const char *wwpn)
{
	int r = -ENODEV, taken = 0;
	struct vhscsi_tpg *tpg;
	unsigned int i, n = 0;

	mutex_lock(&vhscsi_tpgs_mutex);
	list_for_each_entry(tpg, &vhscsi_tpgs, link) {
		if (strcmp(tpg->tport->name, wwpn))
			continue;

		r = tpg_claim(tpg, d);
		if (r == -EEXIST)
			taken = r;
		else if (!r)
			d->tpg[tpg->tag] = tpg;
	}
	mutex_unlock(&vhscsi_tpgs_mutex);

	for (i = 0; i < VHSCSI_MAX_TARGETS; i++) {
		int joined;

		if (!d->tpg[i])
			continue;
		joined = tpg_join(d->tpg[i], taken);
		if (joined) {
			d->tpg[i] = NULL;
			r = joined;
		} else {
			n++;
		}
	}

	if (n)
		return 0;
	/* A LUN may have come or gone meanwhile. */
	vhscsi_evt_drop(d);
	return taken ?: r;
}

static int queues_start(struct vhscsi_dev *d)
{
	unsigned int i;
	int r = 0;

	for (i = 0; i < VHSCSI_MAX_QUEUES; i++) {
		struct vhscsi_queue *q = &d->queue[i];

		if (!q->ring.num || !q->ring.desc)
			continue;
		mutex_lock(&q->mutex);
		q->mem = d->mem;
		q->reported = false;
		q->ring.event_idx = d->features & BIT_ULL(VIRTIO_RING_F_EVENT_IDX);
		q->ordered = false;
		r = vhscsi_ring_start(&q->ring);
		q->live = !r;
		mutex_unlock(&q->mutex);
		if (r)
			break;
	}
	return r;
}

static int dev_attach(struct vhscsi_dev *d, const struct vhost_scsi_target *t)
{
	unsigned int i, n = 0;
	int r;

	if (d->attached)
		return -EEXIST;
	if (!d->mem)
		return -EFAULT;
	for (i = 0; i < VHSCSI_MAX_QUEUES; i++) {
		const struct vhscsi_ring *ring = &d->queue[i].ring;

		if (!ring->desc && !ring->avail && !ring->used)
			continue;
		if (!ring->num || !vhscsi_queue_access_ok(ring))
			return -EFAULT;
		n += !d->queue[i].pinned;
	}

	r = vhscsi_workers_start(d, n);
	if (r)
		return r;
	strscpy(d->wwpn, t->vhost_wwpn, sizeof(d->wwpn));
	r = tpgs_join(d, d->wwpn);
	if (r)
		return r;

	d->attached = true;
	for (i = 0; i < VHSCSI_MAX_TARGETS; i++)
		if (d->tpg[i])
			vhscsi_uevent("attach", d, i);
	r = queues_start(d);
	if (r) {
		dev_detach(d);
		return r;
	}

	/* The guest may have been quicker than we. */
	for (i = 0; i < VHSCSI_MAX_QUEUES; i++)
		if (d->queue[i].live)
			vhscsi_queue_wake(&d->queue[i]);
	return 0;
}

static int dev_endpoint(struct vhscsi_dev *d, unsigned int cmd, void __user *arg)
{
	struct vhost_scsi_target t;

	if (copy_from_user(&t, arg, sizeof(t)))
		return -EFAULT;
	if (t.reserved)
		return -EOPNOTSUPP;
	if (strnlen(t.vhost_wwpn, sizeof(t.vhost_wwpn)) == sizeof(t.vhost_wwpn))
		return -EINVAL;

	if (cmd == VHOST_SCSI_SET_ENDPOINT)
		return dev_attach(d, &t);

	if (d->attached && strcmp(t.vhost_wwpn, d->wwpn))
		return -EINVAL;
	dev_detach(d);
	return 0;
}

/* -- the other ioctls */

static int dev_worker(struct vhscsi_dev *d, unsigned int cmd, void __user *arg)
{
	struct vhost_worker_state s;
	int r;

	if (cmd == VHOST_NEW_WORKER) {
		r = vhscsi_worker_add(d, &s.worker_id);
		if (r)
			return r;
		if (!copy_to_user(arg, &s, sizeof(s)))
			return 0;
		vhscsi_worker_remove(d, s.worker_id);
		return -EFAULT;
	}
	if (copy_from_user(&s, arg, sizeof(s)))
		return -EFAULT;
	return vhscsi_worker_remove(d, s.worker_id);
}

static int dev_set_owner(struct vhscsi_dev *d)
{
	if (d->mm)
		return -EBUSY;
	d->mm = get_task_mm(current);
	if (!d->mm)
		return -ESRCH;
	d->pid = task_tgid_nr(current);
	get_task_comm(d->comm, current->group_leader);
	return 0;
}

static int dev_set_features(struct vhscsi_dev *d, u64 features)
{
	if (features & ~VHSCSI_FEATURES)
		return -EOPNOTSUPP;
	/* Without it a ring is of the guest's byte order, and ours are little. */
	if (IS_ENABLED(CONFIG_CPU_BIG_ENDIAN) && !(features & BIT_ULL(VIRTIO_F_VERSION_1)))
		return -EOPNOTSUPP;
	if (d->attached && features != d->features)
		return -EBUSY;
	d->features = features;
	return 0;
}

static int dev_set_mem(struct vhscsi_dev *d, struct vhost_memory __user *arg)
{
	struct vhost_memory h;
	struct vhscsi_mem *mem, *old = d->mem;
	unsigned int i;
	int r;

	if (copy_from_user(&h, arg, sizeof(h)))
		return -EFAULT;
	if (h.padding)
		return -EOPNOTSUPP;
	if (h.nregions > VHSCSI_MAX_REGIONS)
		return -E2BIG;

	mem = kvzalloc(struct_size(mem, r, h.nregions), GFP_KERNEL);
	if (!mem)
		return -ENOMEM;
	mem->n = h.nregions;
	for (i = 0; i < mem->n; i++) {
		struct vhost_memory_region region;

		if (copy_from_user(&region, &arg->regions[i], sizeof(region)) ||
		    !access_ok(u64_to_user_ptr(region.userspace_addr), region.memory_size)) {
			kvfree(mem);
			return -EFAULT;
		}
		mem->r[i].gpa = region.guest_phys_addr;
		mem->r[i].size = region.memory_size;
		mem->r[i].uva = region.userspace_addr;
	}
	r = vhscsi_mem_seal(mem);
	if (r) {
		kvfree(mem);
		return r;
	}

	/* A request sees one table or the other. When all have the new, none has the old. */
	for (i = 0; i < VHSCSI_MAX_QUEUES; i++) {
		mutex_lock(&d->queue[i].mutex);
		d->queue[i].mem = mem;
		mutex_unlock(&d->queue[i].mutex);
	}
	d->mem = mem;
	kvfree(old);
	return 0;
}

static int dev_events_missed(struct vhscsi_dev *d, unsigned int cmd, u32 __user *arg)
{
	u32 v;

	if (cmd == VHOST_SCSI_GET_EVENTS_MISSED)
		return put_user((u32)READ_ONCE(d->events_missed), arg);

	if (get_user(v, arg))
		return -EFAULT;
	spin_lock(&d->event_lock);
	d->events_missed = v;
	spin_unlock(&d->event_lock);
	return 0;
}

static long dev_ioctl(struct vhscsi_dev *d, unsigned int cmd, void __user *arg)
{
	u64 features;

	/* Who only asks need not be the owner. */
	switch (cmd) {
	case VHOST_GET_FEATURES:
		features = VHSCSI_FEATURES;
		return copy_to_user(arg, &features, sizeof(features)) ? -EFAULT : 0;
	case VHOST_GET_BACKEND_FEATURES:
		features = 0;
		return copy_to_user(arg, &features, sizeof(features)) ? -EFAULT : 0;
	case VHOST_SCSI_GET_ABI_VERSION:
		return put_user(VHOST_SCSI_ABI_VERSION, (int __user *)arg);
	case VHOST_SET_OWNER:
		return dev_set_owner(d);
	case VHOST_SET_FEATURES:
		if (copy_from_user(&features, arg, sizeof(features)))
			return -EFAULT;
		return dev_set_features(d, features);
	case VHOST_SET_BACKEND_FEATURES:
		if (copy_from_user(&features, arg, sizeof(features)))
			return -EFAULT;
		return features ? -EOPNOTSUPP : 0;
	case VHOST_SCSI_SET_EVENTS_MISSED:
	case VHOST_SCSI_GET_EVENTS_MISSED:
		return dev_events_missed(d, cmd, arg);
	}

	if (!d->mm || d->mm != current->mm)
		return -EPERM;

	switch (cmd) {
	case VHOST_SET_MEM_TABLE:
		return dev_set_mem(d, arg);
	case VHOST_SCSI_SET_ENDPOINT:
	case VHOST_SCSI_CLEAR_ENDPOINT:
		return dev_endpoint(d, cmd, arg);
	case VHOST_NEW_WORKER:
	case VHOST_FREE_WORKER:
		return dev_worker(d, cmd, arg);
	case VHOST_ATTACH_VRING_WORKER:
	case VHOST_GET_VRING_WORKER:
	case VHOST_SET_VRING_NUM:
	case VHOST_SET_VRING_BASE:
	case VHOST_GET_VRING_BASE:
	case VHOST_SET_VRING_ADDR:
	case VHOST_SET_VRING_KICK:
	case VHOST_SET_VRING_CALL:
	case VHOST_SET_VRING_ERR:
		return vhscsi_queue_ioctl(d, cmd, arg);
	}
	return -ENOTTY;
}

static long vhscsi_ioctl(struct file *f, unsigned int cmd, unsigned long arg)
{
	struct vhscsi_dev *d = f->private_data;
	long r;

	mutex_lock(&d->mutex);
	r = dev_ioctl(d, cmd, (void __user *)arg);
	mutex_unlock(&d->mutex);
	return r;
}

const struct file_operations vhscsi_fops = {
	.owner = THIS_MODULE,
	.open = vhscsi_open,
	.release = vhscsi_release,
	.unlocked_ioctl = vhscsi_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
#ifdef HAVE_NO_LLSEEK
	.llseek = no_llseek,
#endif
};
