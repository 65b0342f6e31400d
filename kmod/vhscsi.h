/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The objects and who guards them.
 *
 *   dev    an open node. dev->mutex: one ioctl at a time.
 *   queue  a virtqueue. queue->mutex guards everything in it but todo and done;
 *          whoever serves the queue holds it, and an ioctl that changes it.
 *          Queue 0's may be held when another's is taken.
 *   worker a kernel thread in the owner's address space that serves some queues.
 *          They are started by the first SET_ENDPOINT and live as long as dev.
 *   tpg    a portal group. tpg->mutex guards its nexus and who is attached.
 *
 * Order: dev->mutex, vhscsi_tpgs_mutex, tpg->mutex, queue->mutex.
 *
 * A command belongs to the worker until it is submitted, or handed to a work item
 * that does that (submit_apart); then to the target core, which gives it back by
 * release_cmd: also when it was aborted, and in any context. That puts it on
 * queue->done. One alone the worker answers, and a large one; many the workqueue in
 * which they completed (vhscsi_done_work). What was completed while the worker
 * submits it, the worker answers as soon as it has.
 *
 * A task management function is answered when no command waits for an answer that
 * it is about. It counts them, and they count themselves off when they are answered,
 * under their own queue's mutex; the last puts it on queue 0's done.
 */
#ifndef VHSCSI_H
#define VHSCSI_H

#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/eventfd.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mm_types.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/ratelimit.h>
#include <linux/scatterlist.h>
#include <linux/vhost.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <target/target_core_base.h>

#include "compat.h"
#include "mem.h"
#include "request.h"
#include "ring.h"

#define VHSCSI_VERSION		"0.1.0"

#define VHSCSI_CTL_QUEUE	0
#define VHSCSI_EVT_QUEUE	1
#define VHSCSI_IO_QUEUE		2
#define VHSCSI_MAX_QUEUES	130
#define VHSCSI_MAX_TARGETS	256
#define VHSCSI_MAX_EVENTS	128
/* A data buffer is at most that many pages long, and in that many pieces. */
#define VHSCSI_MAX_PAGES	2048
#define VHSCSI_MAX_PIECES	(VHSCSI_MAX_PAGES + VHSCSI_MAX_SEGS)
#define VHSCSI_INLINE_PIECES	17	/* 64 KiB that begin anywhere */
#define VHSCSI_KEPT_PIECES	256	/* 1 MiB; more is taken anew each time */
#define VHSCSI_INLINE_RESP	2
#define VHSCSI_BATCH		128
#define VHSCSI_LARGE		(256u << 10)	/* bytes, see vhscsi_cmd_is_large */
#define VHSCSI_MAX_APART	8	/* of a queue in flight */
/* As many of ours as there can be queues, and of the owner's. */
#define VHSCSI_MAX_WORKERS	(2 * VHSCSI_MAX_QUEUES)
/* What one guest may have of the host's memory for buffers that need a copy: 64 MiB. */
#define VHSCSI_MAX_BOUNCED	((64UL << 20) / PAGE_SIZE)

struct vhscsi_dev;
struct vhscsi_tpg;
struct vhscsi_queue;

struct vhscsi_cmd {
	struct se_cmd se;
	struct llist_node node;		/* of a batch, later queue->done */
	struct vhscsi_cmd *next;	/* queue->free */
	struct vhscsi_queue *q;
	u16 head;
	bool answered;			/* the target core gave a status */
	bool aborted;			/* a task management function is at it */

	/* Of a task management function: the function that waits for this one, or part. */
	struct vhscsi_cmd *whole;
	bool tmf;

	/* A function itself, which may be several of the target core's: queue 0's mutex. */
	bool ready;			/* to be answered */
	bool ordered;			/* but not before those that came before it */
	u8 response;
	u32 function;
	atomic_t waits;			/* parts, and commands; by nobody's mutex */
	struct list_head link;		/* dev->functions */

	struct vhscsi_request req;

	bool apart;			/* submitted by apart_work */

	/* The response's place, and that of bounced data for the guest. */
	struct vhscsi_seg *in;
	unsigned int nin;
	struct vhscsi_seg in_inline[VHSCSI_INLINE_RESP];

	bool bounced;
	unsigned int npieces;
	struct scatterlist *sgl;
	struct scatterlist sgl_inline[VHSCSI_INLINE_PIECES];

	u8 cdb[VIRTIO_SCSI_CDB_SIZE];
	u8 sense[TRANSPORT_SENSE_BUFFER];

	/* From here on it stays from one request to the next. */
	struct work_struct apart_work;
	struct scatterlist *sgl_kept;	/* a larger one that was needed once */
	unsigned int nkept;

	struct vhscsi_cmd *older;	/* queue->all */
	bool busy;
};

struct vhscsi_queue_stats {
	u64 requests, bytes_in, bytes_out, errors, kicks, signals;
};

struct vhscsi_worker {
	struct vhscsi_dev *dev;
	unsigned int id;		/* where it is in dev->workers */
	bool pool;			/* ours, not one that the owner asked for */
	struct task_struct *task;
	/* Its beginning: whose cgroups it joins, what came of it, and that it did. */
	struct task_struct *owner;
	int error;
	struct completion begun;
	DECLARE_BITMAP(todo, VHSCSI_MAX_QUEUES);
	/* Polling: queues that do not kick, for how long, and that it is over. */
	DECLARE_BITMAP(silent, VHSCSI_MAX_QUEUES);
	u64 poll_ns;
	bool tell;
	struct vhscsi_queue *serving;	/* whose commands it submits; its own */
	struct vhscsi_chain chain;
};

struct vhscsi_queue {
	struct mutex mutex;		/* see above, as all of these */
	struct vhscsi_dev *dev;
	struct vhscsi_worker *worker;	/* RCU: it may be another's the next moment */
	bool pinned;			/* by the owner; dev->mutex */
	unsigned int index;
	bool live;			/* requests may be taken */
	bool reported;			/* that the ring is broken */
	struct vhscsi_ring ring;
	struct vhscsi_mem *mem;		/* dev's */
	unsigned int inflight;
	u64 serial;			/* of the next command */
	unsigned int napart;		/* of those in flight */
	bool ordered;			/* its driver minds the order of commands */
	struct vhscsi_cmd *all, *free;
	struct eventfd_ctx *call, *err;
	struct llist_head done;
	struct work_struct done_work;	/* wakes the worker */
	struct vhscsi_queue_stats stats;

	/* dev->mutex */
	struct file *kick;
	wait_queue_head_t *kick_head;
	wait_queue_entry_t kick_wait;
	poll_table kick_table;
};

struct vhscsi_event {
	struct list_head link;
	u32 event, reason;
	u8 lun[8];
};

struct vhscsi_dev {
	struct mutex mutex;		/* one ioctl at a time */
	struct mm_struct *mm;
	pid_t pid;
	char comm[TASK_COMM_LEN];
	u64 features;
	struct vhscsi_mem *mem;
	bool attached;
	char wwpn[TRANSPORT_IQN_LEN];
	/* Set before any queue is live, cleared when all are drained. */
	struct vhscsi_tpg *tpg[VHSCSI_MAX_TARGETS];

	struct vhscsi_worker *workers[VHSCSI_MAX_WORKERS];
	unsigned int nworkers;
	wait_queue_head_t idle;

	struct list_head functions;	/* unanswered, oldest first; queue 0's mutex */
	atomic_long_t bounced;		/* pages that commands have instead of the guest's */
	struct ratelimit_state resets, breaks;

	spinlock_t event_lock;		/* what follows of events */
	struct list_head events;
	unsigned int nevents;
	bool events_missed;

	struct vhscsi_queue queue[VHSCSI_MAX_QUEUES];
};

struct vhscsi_tport {
	struct se_wwn wwn;
	u8 proto;
	char name[TRANSPORT_IQN_LEN];
};

struct vhscsi_tpg {
	struct se_portal_group se;
	struct vhscsi_tport *tport;
	struct list_head link;		/* vhscsi_tpgs_mutex */
	u16 tag;
	struct mutex mutex;		/* what follows */
	struct se_session *session;
	unsigned int nluns;
	struct vhscsi_dev *dev;
	bool joining;			/* dev's it is, but configfs does not know it yet */
};

static inline struct vhscsi_tpg *to_vhscsi_tpg(struct se_portal_group *se)
{
	return container_of(se, struct vhscsi_tpg, se);
}

static inline struct vhscsi_cmd *to_vhscsi_cmd(struct se_cmd *se)
{
	return container_of(se, struct vhscsi_cmd, se);
}

/*
 * One whose data is more work than all that a batch spares: it waits for no other,
 * if there is more than one CPU to do them.
 */
static inline bool vhscsi_cmd_is_large(const struct vhscsi_cmd *cmd)
{
	return cmd->req.bytes >= VHSCSI_LARGE && num_online_cpus() > 1;
}

/* main.c */
extern unsigned int vhscsi_poll_us;
extern struct workqueue_struct *vhscsi_wq, *vhscsi_apart_wq;
void vhscsi_uevent(const char *event, const struct vhscsi_dev *d, u16 tag);

/* dev.c */
extern const struct file_operations vhscsi_fops;

/* queue.c */
void vhscsi_queue_init(struct vhscsi_queue *q, struct vhscsi_dev *d, unsigned int index);
/* After it nobody kicks. */
void vhscsi_queue_stop(struct vhscsi_queue *q);
bool vhscsi_queue_access_ok(const struct vhscsi_ring *r);
long vhscsi_queue_ioctl(struct vhscsi_dev *d, unsigned int cmd, void __user *arg);

/* worker.c */
int vhscsi_workers_start(struct vhscsi_dev *d, unsigned int wanted);
void vhscsi_workers_stop(struct vhscsi_dev *d);
int vhscsi_worker_add(struct vhscsi_dev *d, unsigned int *ret_id);
int vhscsi_worker_remove(struct vhscsi_dev *d, unsigned int id);
int vhscsi_worker_attach(struct vhscsi_queue *q, unsigned int id);
void vhscsi_queue_wake(struct vhscsi_queue *q);
void vhscsi_queue_done(struct vhscsi_queue *q, bool large);
void vhscsi_done_work(struct work_struct *work);

/* io.c */
struct vhscsi_cmd *vhscsi_cmd_get(struct vhscsi_queue *q,
				  const struct vhscsi_chain *c);
void vhscsi_cmd_put(struct vhscsi_cmd *cmd);
void vhscsi_cmds_free(struct vhscsi_queue *q);
unsigned int vhscsi_io_fetch(struct vhscsi_queue *q, struct vhscsi_chain *c);
void vhscsi_io_answer(struct vhscsi_cmd *cmd);
unsigned int vhscsi_queue_reap(struct vhscsi_queue *q);
void vhscsi_queue_publish(struct vhscsi_queue *q);

/* data.c */
bool vhscsi_cdb_is_transfer(const u8 *cdb);
int vhscsi_copy_in(void *to, const struct vhscsi_seg *segs, unsigned int n,
		   size_t len);
int vhscsi_copy_out(const struct vhscsi_seg *segs, unsigned int n,
		    const void *from, size_t len);
int vhscsi_data_map(struct vhscsi_cmd *cmd, const struct vhscsi_chain *c);
void vhscsi_data_unmap(struct vhscsi_cmd *cmd);
void vhscsi_data_trim(struct vhscsi_cmd *cmd);
int vhscsi_data_unbounce(struct vhscsi_cmd *cmd, u32 bytes);

/* ctl.c */
unsigned int vhscsi_ctl_fetch(struct vhscsi_queue *q, struct vhscsi_chain *c);
void vhscsi_tmf_done(struct vhscsi_cmd *cmd);
void vhscsi_tmf_put(struct vhscsi_cmd *whole);

/* evt.c */
void vhscsi_evt_add(struct vhscsi_tpg *tpg, u64 lun, u32 reason);
void vhscsi_evt_serve(struct vhscsi_queue *q, struct vhscsi_chain *c);
void vhscsi_evt_drop(struct vhscsi_dev *d);

/* fabric.c */
extern struct list_head vhscsi_tpgs;
extern struct mutex vhscsi_tpgs_mutex;
void vhscsi_tpg_joined(struct vhscsi_tpg *tpg);
int vhscsi_fabric_register(const char *name);
void vhscsi_fabric_unregister(void);

/* stats.c */
ssize_t vhscsi_status_show(struct vhscsi_tpg *tpg, char *page);
ssize_t vhscsi_stats_show(struct vhscsi_tpg *tpg, char *page);

#endif
