// SPDX-License-Identifier: GPL-2.0-only
/* The read-only attributes of a portal group: one "key value" a line, keys are only ever added. */
#include <linux/sysfs.h>

#include "vhscsi.h"

static ssize_t queues_show(const struct vhscsi_dev *d, bool broken, char *page, ssize_t at)
{
	unsigned int i;
	ssize_t n = 0;

	for (i = 0; i < VHSCSI_MAX_QUEUES; i++) {
		const struct vhscsi_queue *q = &d->queue[i];
		enum vhscsi_fault fault = READ_ONCE(q->ring.fault);

		if (q->live && !!fault == broken)
			n += sysfs_emit_at(page, at + n, "queue %u size %u fault %s\n",
					   i, q->ring.num, vhscsi_fault_name(fault));
	}
	return n;
}

ssize_t vhscsi_status_show(struct vhscsi_tpg *tpg, char *page)
{
	struct vhscsi_dev *d;
	ssize_t n = 0;

	mutex_lock(&tpg->mutex);
	d = tpg->dev;
	n += sysfs_emit_at(page, n, "attached %d\n", !!d);
	if (d) {
		n += sysfs_emit_at(page, n, "pid %d\ncomm %s\nfeatures %#llx\nworkers %u\n",
				   d->pid, d->comm, d->features, d->nworkers);
		/* As many as may be are more than a page holds: what matters first. */
		n += queues_show(d, true, page, n);
		n += queues_show(d, false, page, n);
	}
	mutex_unlock(&tpg->mutex);
	return n;
}

/* Of the guest that is attached now. */
ssize_t vhscsi_stats_show(struct vhscsi_tpg *tpg, char *page)
{
	struct vhscsi_queue_stats sum = {};
	unsigned int i, inflight = 0;
	struct vhscsi_dev *d;
	ssize_t n = 0;

	mutex_lock(&tpg->mutex);
	d = tpg->dev;
	for (i = 0; d && i < VHSCSI_MAX_QUEUES; i++) {
		const struct vhscsi_queue *q = &d->queue[i];

		sum.requests += READ_ONCE(q->stats.requests);
		sum.bytes_in += READ_ONCE(q->stats.bytes_in);
		sum.bytes_out += READ_ONCE(q->stats.bytes_out);
		sum.errors += READ_ONCE(q->stats.errors);
		sum.kicks += READ_ONCE(q->stats.kicks);
		sum.signals += READ_ONCE(q->stats.signals);
		inflight += READ_ONCE(q->inflight);
	}
	mutex_unlock(&tpg->mutex);

	n += sysfs_emit_at(page, n, "requests %llu\nread-bytes %llu\nwritten-bytes %llu\n",
			   sum.requests, sum.bytes_in, sum.bytes_out);
	n += sysfs_emit_at(page, n, "errors %llu\nkicks %llu\nsignals %llu\nin-flight %u\n",
			   sum.errors, sum.kicks, sum.signals, inflight);
	return n;
}
