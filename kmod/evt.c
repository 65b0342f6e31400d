// SPDX-License-Identifier: GPL-2.0-only
#include <linux/slab.h>
#include <linux/spinlock.h>

#include "vhscsi.h"

/* A LUN of the group comes or goes; the caller holds tpg->mutex. */
void vhscsi_evt_add(struct vhscsi_tpg *tpg, u64 lun, u32 reason)
{
	struct vhscsi_dev *d = tpg->dev;
	struct vhscsi_event *e;

	if (!d || !(d->features & BIT_ULL(VIRTIO_SCSI_F_HOTPLUG)))
		return;

	e = kzalloc(sizeof(*e), GFP_KERNEL);
	if (e) {
		e->event = VIRTIO_SCSI_T_TRANSPORT_RESET;
		e->reason = reason;
		e->lun[0] = 1;
		e->lun[1] = tpg->tag;
		/* Flat space addressing, where the peripheral one ends. */
		e->lun[2] = lun >= 256 ? (lun >> 8 & 0x3f) | 0x40 : 0;
		e->lun[3] = lun;
	}

	spin_lock(&d->event_lock);
	if (e && d->nevents < VHSCSI_MAX_EVENTS) {
		list_add_tail(&e->link, &d->events);
		d->nevents++;
		e = NULL;
	} else {
		d->events_missed = true;
	}
	spin_unlock(&d->event_lock);

	kfree(e);
	vhscsi_queue_wake(&d->queue[VHSCSI_EVT_QUEUE]);
}

static struct vhscsi_event *event_take(struct vhscsi_dev *d, bool *ret_missed)
{
	struct vhscsi_event *e;

	spin_lock(&d->event_lock);
	e = list_first_entry_or_null(&d->events, struct vhscsi_event, link);
	if (e) {
		list_del(&e->link);
		d->nevents--;
		*ret_missed = d->events_missed;
		d->events_missed = false;
	}
	spin_unlock(&d->event_lock);
	return e;
}

static bool events_wait(struct vhscsi_dev *d)
{
	bool wait;

	spin_lock(&d->event_lock);
	wait = !list_empty(&d->events);
	spin_unlock(&d->event_lock);
	return wait;
}

/*
 * Buffers of the guest wait in the ring until there is something to say, and
 * events wait here until there is a buffer.
 */
void vhscsi_evt_serve(struct vhscsi_queue *q, struct vhscsi_chain *c)
{
	struct vhscsi_dev *d = q->dev;

	while (events_wait(d)) {
		struct virtio_scsi_event out = {};
		struct vhscsi_event *e;
		bool missed = false;
		int r;

		r = vhscsi_ring_next(&q->ring, q->mem, c);
		if (!r) {
			/* A buffer that comes now is kicked for. */
			if (vhscsi_ring_listen(&q->ring))
				continue;
			return;
		}
		if (r < 0)
			return;

		e = event_take(d, &missed);
		if (!e)
			return;
		out.event = (__force __virtio32)cpu_to_le32(e->event |
			(missed ? VIRTIO_SCSI_T_EVENTS_MISSED : 0));
		out.reason = (__force __virtio32)cpu_to_le32(e->reason);
		memcpy(out.lun, e->lun, sizeof(out.lun));
		kfree(e);

		if (c->in_len < sizeof(out)) {
			vhscsi_ring_break(&q->ring, VHSCSI_FAULT_RESPONSE);
			return;
		}
		if (vhscsi_copy_out(c->segs + c->nout, c->nin, &out, sizeof(out))) {
			vhscsi_ring_break(&q->ring, VHSCSI_FAULT_ADDRESS);
			return;
		}
		q->stats.requests++;
		vhscsi_ring_put(&q->ring, c->head, sizeof(out));
	}
}

void vhscsi_evt_drop(struct vhscsi_dev *d)
{
	struct vhscsi_event *e, *next;

	list_for_each_entry_safe(e, next, &d->events, link)
		kfree(e);
	INIT_LIST_HEAD(&d->events);
	d->nevents = 0;
}
