// SPDX-License-Identifier: GPL-2.0-only
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cgroup.h>
#include <linux/kthread.h>
#include <linux/mmu_context.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "vhscsi.h"

/*
 * There is something to do for the queue. From any context; one wake-up for
 * however many callers come before the worker looks. The caller holds what keeps
 * the device alive: a kick's wait queue, or RCU (vhscsi_workers_stop).
 */
void vhscsi_queue_wake(struct vhscsi_queue *q)
{
	struct vhscsi_worker *w = READ_ONCE(q->worker);

	if (w && !test_and_set_bit(q->index, w->todo))
		wake_up_process(w->task);
}

static void queue_broken(struct vhscsi_queue *q)
{
	struct vhscsi_dev *d = q->dev;

	q->reported = true;
	pr_warn_ratelimited("%s: queue %u of %s (pid %d) is broken: %s\n", d->wwpn,
			    q->index, d->comm, d->pid,
			    vhscsi_fault_name(q->ring.fault));
	if (q->err)
		vhscsi_eventfd_signal(q->err);
	vhscsi_uevent("broken", d->wwpn, d->pid, q->index);
}

/* Answers what is done, takes what is new. True: there is more. */
static bool queue_serve(struct vhscsi_worker *w, struct vhscsi_queue *q)
{
	unsigned int taken = 0;
	bool more = false;

	mutex_lock(&q->mutex);

	vhscsi_queue_reap(q);
	if (q->live && !q->ring.fault) {
		switch (q->index) {
		case VHSCSI_CTL_QUEUE:
			taken = vhscsi_ctl_fetch(q, &w->chain);
			break;
		case VHSCSI_EVT_QUEUE:
			vhscsi_evt_serve(q, &w->chain);
			break;
		default:
			taken = vhscsi_io_fetch(q, &w->chain);
		}
	}
	/* What a submission completed on the spot is answered at once as well. */
	vhscsi_queue_reap(q);
	vhscsi_queue_publish(q);

	if (q->live && q->index != VHSCSI_EVT_QUEUE)
		more = taken == VHSCSI_BATCH || vhscsi_ring_listen(&q->ring);
	if (q->ring.fault && !q->reported)
		queue_broken(q);
	if (!q->live && !q->inflight)
		wake_up(&w->dev->idle);

	mutex_unlock(&q->mutex);
	return more;
}

static int worker_run(void *data)
{
	struct vhscsi_worker *w = data;
	struct vhscsi_dev *d = w->dev;
	unsigned int i;

	kthread_use_mm(d->mm);
	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (kthread_should_stop())
			break;
		if (bitmap_empty(w->todo, VHSCSI_MAX_QUEUES)) {
			schedule();
			continue;
		}
		__set_current_state(TASK_RUNNING);

		for_each_set_bit(i, w->todo, VHSCSI_MAX_QUEUES) {
			/* Before the look: what comes later sets it again. */
			clear_bit(i, w->todo);
			smp_mb__after_atomic();
			if (queue_serve(w, &d->queue[i]))
				set_bit(i, w->todo);
		}
		cond_resched();
	}
	__set_current_state(TASK_RUNNING);
	kthread_unuse_mm(d->mm);
	return 0;
}

static struct vhscsi_worker *worker_new(struct vhscsi_dev *d, unsigned int i)
{
	struct vhscsi_worker *w;
	struct task_struct *t;
	int r;

	w = kvzalloc(sizeof(*w), GFP_KERNEL);
	if (!w)
		return ERR_PTR(-ENOMEM);
	w->dev = d;

	t = kthread_create(worker_run, w, "vhscsi-%d-%u", d->pid, i);
	if (IS_ERR(t)) {
		kvfree(w);
		return ERR_CAST(t);
	}
	w->task = t;

	/* What is done for a guest counts as the guest's. */
	r = cgroup_attach_task_all(current, t);
	if (r) {
		kthread_stop(t);
		kvfree(w);
		return ERR_PTR(r);
	}
	wake_up_process(t);
	return w;
}

/*
 * As many as there are queues to serve, but never more than CPUs: those would
 * only take turns. The queues are dealt out to them.
 */
int vhscsi_workers_start(struct vhscsi_dev *d, unsigned int wanted)
{
	unsigned int i, n = clamp(wanted, 1U, num_online_cpus());

	if (!d->workers) {
		d->workers = kcalloc(VHSCSI_MAX_QUEUES, sizeof(*d->workers), GFP_KERNEL);
		if (!d->workers)
			return -ENOMEM;
	}

	while (d->nworkers < n) {
		struct vhscsi_worker *w = worker_new(d, d->nworkers);

		if (IS_ERR(w))
			return PTR_ERR(w);
		d->workers[d->nworkers++] = w;
	}

	for (i = 0; i < VHSCSI_MAX_QUEUES; i++)
		WRITE_ONCE(d->queue[i].worker, d->workers[i % n]);
	return 0;
}

/* Nothing is in flight and nobody can kick any more. */
void vhscsi_workers_stop(struct vhscsi_dev *d)
{
	unsigned int i;

	/*
	 * A release_cmd may have given us the last command and not have woken
	 * the worker yet.
	 */
	synchronize_rcu();

	for (i = 0; i < d->nworkers; i++) {
		kthread_stop(d->workers[i]->task);
		kvfree(d->workers[i]);
	}
	kfree(d->workers);
}
