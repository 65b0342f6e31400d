// SPDX-License-Identifier: GPL-2.0-only
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cgroup.h>
#include <linux/kthread.h>
#include <linux/mmu_context.h>
#include <linux/rcupdate.h>
#include <linux/sched/clock.h>
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
	struct vhscsi_worker *w;

	rcu_read_lock();
	w = READ_ONCE(q->worker);
	if (w && !test_and_set_bit(q->index, w->todo))
		wake_up_process(w->task);
	rcu_read_unlock();
}

static void queue_broken(struct vhscsi_queue *q)
{
	struct vhscsi_dev *d = q->dev;
	unsigned int i;

	q->reported = true;
	if (q->err)
		vhscsi_eventfd_signal(q->err);
	if (!__ratelimit(&d->breaks))
		return;
	pr_warn("%s: queue %u of %s (pid %d) is broken: %s\n", d->wwpn, q->index,
		d->comm, d->pid, vhscsi_fault_name(q->ring.fault));
	/* Which queue, and why, is in status. */
	for (i = 0; i < VHSCSI_MAX_TARGETS; i++)
		if (d->tpg[i])
			vhscsi_uevent("broken", d, i);
}

/* What others wait for, after the queue was served. */
static void queue_settle(struct vhscsi_queue *q)
{
	if (q->ring.fault && !q->reported)
		queue_broken(q);
	if (!q->live && !q->inflight)
		wake_up(&q->dev->idle);
}

/*
 * The first of some commands is done. They shall be answered together, so whoever
 * completes in a workqueue gets to the end of what is in line there. One alone is
 * sooner answered by the worker, which has the guest's memory at hand; and so is a
 * large one, for what is in line there may be to copy the next. The worker that is
 * about to look anyway need not be told.
 */
void vhscsi_queue_done(struct vhscsi_queue *q, bool large)
{
	struct vhscsi_worker *w = READ_ONCE(q->worker);

	if (in_task() && w && w->task == current && w->serving == q)
		return;

	if (!large && in_task() && current->flags & PF_WQ_WORKER &&
	    READ_ONCE(q->inflight) > 1 && q->index != VHSCSI_CTL_QUEUE)
		queue_work(vhscsi_wq, &q->done_work);
	else
		vhscsi_queue_wake(q);
}

/* Where the completions were, for that spares a switch to the worker. */
void vhscsi_done_work(struct work_struct *work)
{
	struct vhscsi_queue *q = container_of(work, struct vhscsi_queue, done_work);
	struct vhscsi_dev *d = q->dev;

	kthread_use_mm(d->mm);
	mutex_lock(&q->mutex);
	vhscsi_queue_reap(q);
	vhscsi_queue_publish(q);
	queue_settle(q);
	mutex_unlock(&q->mutex);
	kthread_unuse_mm(d->mm);
}

/* -- polling: off unless poll_us is set */

#define POLL_START_NS	10000

/* Whether a queue whose driver does not kick has something. */
static bool queue_is_ready(struct vhscsi_queue *q)
{
	bool ready = false;

	/* A ring may be moved. If it is right now, that is no reason to wait. */
	if (mutex_trylock(&q->mutex)) {
		ready = q->live && vhscsi_ring_ready(&q->ring);
		mutex_unlock(&q->mutex);
	}
	return ready;
}

/*
 * Looks after the queues that were not told to kick until one has something, or
 * for as long as that was worth while lately; then they are told to.
 */
static void worker_poll(struct vhscsi_worker *w)
{
	u64 until = local_clock() + w->poll_ns;
	unsigned int i;

	while (local_clock() < until && !need_resched() && !kthread_should_stop()) {
		if (!bitmap_empty(w->todo, VHSCSI_MAX_QUEUES))
			return;
		for_each_set_bit(i, w->silent, VHSCSI_MAX_QUEUES) {
			if (queue_is_ready(&w->dev->queue[i])) {
				set_bit(i, w->todo);
				return;
			}
		}
		cpu_relax();
	}

	w->tell = true;
	for_each_set_bit(i, w->silent, VHSCSI_MAX_QUEUES)
		set_bit(i, w->todo);
	bitmap_zero(w->silent, VHSCSI_MAX_QUEUES);
}

/* It pays where the next request comes sooner than the polling would end. */
static void worker_sleep(struct vhscsi_worker *w)
{
	u64 limit = READ_ONCE(vhscsi_poll_us) * NSEC_PER_USEC;
	u64 slept;

	if (!limit) {
		schedule();
		w->poll_ns = 0;
		return;
	}

	slept = local_clock();
	schedule();
	slept = local_clock() - slept;
	if (slept < limit)
		w->poll_ns = clamp_t(u64, w->poll_ns * 2, POLL_START_NS, limit);
	else
		w->poll_ns = 0;
}

/* -- queues */

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
			w->serving = q;
			taken = vhscsi_io_fetch(q, &w->chain);
			w->serving = NULL;
		}
	}
	/* What a submission completed on the spot is answered at once as well. */
	vhscsi_queue_reap(q);
	vhscsi_queue_publish(q);

	if (q->live && q->index != VHSCSI_EVT_QUEUE) {
		if (taken == VHSCSI_BATCH)
			more = true;
		else if (w->poll_ns && !w->tell)
			__set_bit(q->index, w->silent);
		else
			more = vhscsi_ring_listen(&q->ring);
	}
	queue_settle(q);
	mutex_unlock(&q->mutex);
	return more;
}

static int worker_run(void *data)
{
	struct vhscsi_worker *w = data;
	struct vhscsi_dev *d = w->dev;
	unsigned int i;

	/*
	 * What is done for a guest counts as the guest's. A QEMU without capabilities
	 * could not say so of us: the cpuset controller asks for CAP_SYS_NICE.
	 */
	w->error = cgroup_attach_task_all(w->owner, current);
	complete(&w->begun);

	kthread_use_mm(d->mm);
	for (;;) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (kthread_should_stop())
			break;
		if (bitmap_empty(w->todo, VHSCSI_MAX_QUEUES)) {
			if (bitmap_empty(w->silent, VHSCSI_MAX_QUEUES)) {
				worker_sleep(w);
			} else {
				__set_current_state(TASK_RUNNING);
				worker_poll(w);
			}
			continue;
		}
		__set_current_state(TASK_RUNNING);

		for_each_set_bit(i, w->todo, VHSCSI_MAX_QUEUES) {
			clear_bit(i, w->todo);
			/* Before the look: what comes later sets it again. */
			smp_mb__after_atomic();
			if (queue_serve(w, &d->queue[i]))
				set_bit(i, w->todo);
		}
		w->tell = false;
		cond_resched();
	}
	__set_current_state(TASK_RUNNING);
	kthread_unuse_mm(d->mm);
	return 0;
}

/* Into the first place that is free; of the owner's, there are no more than half. */
static struct vhscsi_worker *worker_new(struct vhscsi_dev *d, bool pool)
{
	unsigned int id = 0, n = 0, i;
	struct vhscsi_worker *w;
	struct task_struct *t;

	for (i = 0; i < VHSCSI_MAX_WORKERS; i++)
		n += d->workers[i] && d->workers[i]->pool == pool;
	if (n >= VHSCSI_MAX_WORKERS / 2)
		return ERR_PTR(-ENOSPC);
	while (d->workers[id])
		id++;

	w = kvzalloc(sizeof(*w), GFP_KERNEL);
	if (!w)
		return ERR_PTR(-ENOMEM);
	w->dev = d;
	w->id = id;
	w->pool = pool;
	/* Not of the thread that calls, which may be a virtual CPU with a quota of its own. */
	w->owner = current->group_leader;
	init_completion(&w->begun);

	t = kthread_create(worker_run, w, "vhscsi-%d-%u", d->pid, id);
	if (IS_ERR(t)) {
		kvfree(w);
		return ERR_CAST(t);
	}
	w->task = t;
	wake_up_process(t);
	wait_for_completion(&w->begun);
	if (w->error) {
		int r = w->error;

		kthread_stop(t);
		kvfree(w);
		return ERR_PTR(r);
	}

	d->workers[id] = w;
	d->nworkers++;
	return w;
}

/* Nobody can find it any more. */
static void worker_stop(struct vhscsi_worker *w)
{
	w->dev->workers[w->id] = NULL;
	w->dev->nworkers--;
	kthread_stop(w->task);
	kvfree(w);
}

/*
 * As many as there are queues to serve, but never more than CPUs: those would
 * only take turns. The queues are dealt out to them, but for those that the owner
 * has given to others.
 */
int vhscsi_workers_start(struct vhscsi_dev *d, unsigned int wanted)
{
	struct vhscsi_worker *pool[VHSCSI_MAX_QUEUES];
	unsigned int i, have = 0;

	wanted = clamp(wanted, 1U, min_t(unsigned int, num_online_cpus(), VHSCSI_MAX_QUEUES));
	for (i = 0; i < VHSCSI_MAX_WORKERS && have < wanted; i++)
		if (d->workers[i] && d->workers[i]->pool)
			pool[have++] = d->workers[i];
	while (have < wanted) {
		struct vhscsi_worker *w = worker_new(d, true);

		if (IS_ERR(w))
			return PTR_ERR(w);
		pool[have++] = w;
	}

	for (i = 0; i < VHSCSI_MAX_QUEUES; i++)
		if (!d->queue[i].pinned)
			WRITE_ONCE(d->queue[i].worker, pool[i % have]);
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
	for (i = 0; i < VHSCSI_MAX_QUEUES; i++)
		cancel_work_sync(&d->queue[i].done_work);

	for (i = 0; i < VHSCSI_MAX_WORKERS; i++)
		if (d->workers[i])
			worker_stop(d->workers[i]);
}

/* -- workers that the owner asks for; the caller holds dev->mutex */

int vhscsi_worker_add(struct vhscsi_dev *d, unsigned int *ret_id)
{
	struct vhscsi_worker *w = worker_new(d, false);

	if (IS_ERR(w))
		return PTR_ERR(w);
	*ret_id = w->id;
	return 0;
}

static struct vhscsi_worker *worker_find(struct vhscsi_dev *d, unsigned int id)
{
	return id < VHSCSI_MAX_WORKERS ? d->workers[id] : NULL;
}

int vhscsi_worker_attach(struct vhscsi_queue *q, unsigned int id)
{
	struct vhscsi_worker *w = worker_find(q->dev, id);

	if (!w)
		return -ENODEV;
	q->pinned = true;
	WRITE_ONCE(q->worker, w);
	return 0;
}

int vhscsi_worker_remove(struct vhscsi_dev *d, unsigned int id)
{
	struct vhscsi_worker *w = worker_find(d, id);
	unsigned int i;

	if (!w)
		return -ENODEV;
	if (w->pool)
		return -EBUSY;
	for (i = 0; i < VHSCSI_MAX_QUEUES; i++)
		if (d->queue[i].worker == w)
			return -EBUSY;

	/* Who saw it at a queue has told it by then. What it does not come to, others do. */
	synchronize_rcu();
	worker_stop(w);
	for (i = 0; i < VHSCSI_MAX_QUEUES; i++)
		if (d->queue[i].live)
			vhscsi_queue_wake(&d->queue[i]);
	return 0;
}
