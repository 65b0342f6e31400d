// SPDX-License-Identifier: GPL-2.0-only
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/device.h>
#include <linux/kobject.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/namei.h>

#include "vhscsi.h"

static char *fabric = "vhost";
module_param(fabric, charp, 0444);
MODULE_PARM_DESC(fabric, "name of the fabric in configfs (default: vhost); to try the module beside vhost_scsi");

static char *node = "vhost-scsi";
module_param(node, charp, 0444);
MODULE_PARM_DESC(node, "name of the node in /dev (default: vhost-scsi); goes with fabric");

static bool __init names_go_together(void)
{
	return !strcmp(fabric, "vhost") == !strcmp(node, "vhost-scsi");
}

unsigned int vhscsi_poll_us;
module_param_named(poll_us, vhscsi_poll_us, uint, 0644);
MODULE_PARM_DESC(poll_us, "longest time, in microseconds, to look for the next request before sleeping (default: 0, never)");

struct workqueue_struct *vhscsi_wq, *vhscsi_apart_wq;

static struct miscdevice vhscsi_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.fops = &vhscsi_fops,
};

/*
 * For the daemon: what happened to a portal group, without its having to ask.
 * May sleep.
 */
void vhscsi_uevent(const char *event, const struct vhscsi_dev *d, u16 tag)
{
	char e[32], w[TRANSPORT_IQN_LEN + 8], t[16], p[24];
	char *env[5] = { e, w, t, p, NULL };

	snprintf(e, sizeof(e), "VHSCSI_EVENT=%s", event);
	snprintf(w, sizeof(w), "WWPN=%s", d->wwpn);
	snprintf(t, sizeof(t), "TPGT=%u", tag);
	snprintf(p, sizeof(p), "PID=%d", d->pid);
	kobject_uevent_env(&vhscsi_misc.this_device->kobj, KOBJ_CHANGE, env);
}

/*
 * misc_register is sure to refuse a second node of a name, but with a stack trace
 * of sysfs. Where it can be seen before, one line will do.
 */
static bool __init node_exists(void)
{
	struct path path;
	char name[64];

	if (snprintf(name, sizeof(name), "/sys/class/misc/%s", node) >= sizeof(name) ||
	    kern_path(name, 0, &path))
		return false;
	path_put(&path);
	return true;
}

static int __init vhscsi_init(void)
{
	int r;

	/* The node's name is what keeps a second fabric of one name out: see below. */
	if (!names_go_together()) {
		pr_err("fabric= and node= go together: give both, or neither\n");
		return -EINVAL;
	}
	vhscsi_misc.name = node;
	/* Of the CPU that it is used on, as the target core's are: see submit_batch. */
	vhscsi_wq = alloc_workqueue("vhscsi", WQ_MEM_RECLAIM, 0);
	if (!vhscsi_wq)
		return -ENOMEM;
	/* Of whatever CPU is idle, among those that the admin leaves to such. */
	vhscsi_apart_wq = alloc_workqueue("vhscsi-apart", WQ_MEM_RECLAIM | WQ_UNBOUND, 0);
	if (!vhscsi_apart_wq) {
		destroy_workqueue(vhscsi_wq);
		return -ENOMEM;
	}

	/*
	 * The node first: LIO takes a second fabric of one name without a word,
	 * and unregistering it later removes the first. Two nodes of one name
	 * there cannot be.
	 */
	r = node_exists() ? -EEXIST : misc_register(&vhscsi_misc);
	if (r == -EEXIST)
		pr_err("/dev/%s is there already: unload vhost_scsi first\n", node);
	if (r)
		goto fail;

	r = vhscsi_fabric_register(fabric);
	if (r) {
		misc_deregister(&vhscsi_misc);
		goto fail;
	}
	return 0;

fail:
	destroy_workqueue(vhscsi_apart_wq);
	destroy_workqueue(vhscsi_wq);
	return r;
}

static void __exit vhscsi_exit(void)
{
	vhscsi_fabric_unregister();
	misc_deregister(&vhscsi_misc);
	destroy_workqueue(vhscsi_apart_wq);
	destroy_workqueue(vhscsi_wq);
}

module_init(vhscsi_init);
module_exit(vhscsi_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("vhost-scsi fabric of the target core");
MODULE_VERSION(VHSCSI_VERSION);
/* rtslib loads the fabric by this name. */
MODULE_ALIAS("tcm_vhost");
