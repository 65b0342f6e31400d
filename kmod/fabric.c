// SPDX-License-Identifier: GPL-2.0-only
/* What LIO wants of a fabric: targets, portal groups in configfs, and the way back of commands. */
#include <linux/configfs.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <scsi/scsi_proto.h>
#include <target/target_core_fabric.h>

#include "vhscsi.h"

LIST_HEAD(vhscsi_tpgs);
/* Guards the list above. */
DEFINE_MUTEX(vhscsi_tpgs_mutex);
static DECLARE_WAIT_QUEUE_HEAD(tpg_wait);

static struct target_core_fabric_ops vhscsi_ops;

/* -- commands */

static int fabric_check_stop_free(struct se_cmd *se)
{
	return target_put_sess_cmd(se);
}

/*
 * The command is ours again, whatever became of it. In any context, so it is put
 * where the worker finds it, and no more.
 */
static void fabric_release_cmd(struct se_cmd *se)
{
	struct vhscsi_cmd *cmd = to_vhscsi_cmd(se);
	struct vhscsi_queue *q = cmd->q;
	bool large = vhscsi_cmd_is_large(cmd);

	/* Once it is on the list another may answer it and the device may go. */
	rcu_read_lock();
	if (llist_add(&cmd->node, &q->done))
		vhscsi_queue_done(q, large);
	rcu_read_unlock();
}

static int fabric_queue_status(struct se_cmd *se)
{
	/* The target core still has it, and gives it back when it is through. */
	to_vhscsi_cmd(se)->answered = true;
	return 0;
}

static void fabric_queue_tm_rsp(struct se_cmd *se)
{
	switch (se->se_tmr_req->response) {
	case TMR_FUNCTION_COMPLETE:
	/* Nothing to abort is what the guest wanted. */
	case TMR_TASK_DOES_NOT_EXIST:
		to_vhscsi_cmd(se)->response = VIRTIO_SCSI_S_FUNCTION_SUCCEEDED;
		break;
	case TMR_LUN_DOES_NOT_EXIST:
		to_vhscsi_cmd(se)->response = VIRTIO_SCSI_S_INCORRECT_LUN;
		break;
	default:
		to_vhscsi_cmd(se)->response = VIRTIO_SCSI_S_FUNCTION_REJECTED;
	}
	transport_generic_free_cmd(se, 0);
}

static int fabric_write_pending(struct se_cmd *se)
{
	/* The guest's memory is here already. */
	target_execute_cmd(se);
	return 0;
}

static void fabric_aborted_task(struct se_cmd *se)
{
	/* release_cmd answers it. */
}

static int fabric_get_cmd_state(struct se_cmd *se)
{
	return 0;
}

/* -- the nexus */

static int nexus_make(struct vhscsi_tpg *tpg, const char *name)
{
	struct se_session *s;

	if (tpg->session)
		return -EEXIST;
	s = target_setup_session(&tpg->se, 0, 0, TARGET_PROT_NORMAL, name, tpg, NULL);
	if (IS_ERR(s))
		return PTR_ERR(s);
	tpg->session = s;
	return 0;
}

static int nexus_drop(struct vhscsi_tpg *tpg)
{
	if (!tpg->session)
		return -ENODEV;
	if (tpg->nluns || tpg->dev)
		return -EBUSY;
	target_remove_session(tpg->session);
	tpg->session = NULL;
	return 0;
}

/* As vhost_scsi has it: the kind of a name is told by what is in it. */
static int wwn_proto(const char *name)
{
	if (strstr(name, "naa."))
		return SCSI_PROTOCOL_SAS;
	if (strstr(name, "fc."))
		return SCSI_PROTOCOL_FCP;
	if (strstr(name, "iqn."))
		return SCSI_PROTOCOL_ISCSI;
	return -EINVAL;
}

static ssize_t vhscsi_tpg_nexus_show(struct config_item *item, char *page)
{
	struct vhscsi_tpg *tpg = to_vhscsi_tpg(to_tpg(item));
	ssize_t r = -ENODEV;

	mutex_lock(&tpg->mutex);
	if (tpg->session)
		r = sysfs_emit(page, "%s\n", tpg->session->se_node_acl->initiatorname);
	mutex_unlock(&tpg->mutex);
	return r;
}

static ssize_t vhscsi_tpg_nexus_store(struct config_item *item, const char *page, size_t count)
{
	struct vhscsi_tpg *tpg = to_vhscsi_tpg(to_tpg(item));
	char name[TRANSPORT_IQN_LEN];
	int r;

	if (count >= sizeof(name))
		return -EINVAL;
	strscpy(name, page, sizeof(name));
	strim(name);

	mutex_lock(&tpg->mutex);
	if (!strcmp(name, "NULL"))
		r = nexus_drop(tpg);
	else if (wwn_proto(name) != tpg->tport->proto)
		r = -EINVAL;
	else
		r = nexus_make(tpg, name);
	mutex_unlock(&tpg->mutex);

	return r ?: count;
}

static ssize_t vhscsi_tpg_status_show(struct config_item *item, char *page)
{
	return vhscsi_status_show(to_vhscsi_tpg(to_tpg(item)), page);
}

static ssize_t vhscsi_tpg_stats_show(struct config_item *item, char *page)
{
	return vhscsi_stats_show(to_vhscsi_tpg(to_tpg(item)), page);
}

CONFIGFS_ATTR(vhscsi_tpg_, nexus);
CONFIGFS_ATTR_RO(vhscsi_tpg_, status);
CONFIGFS_ATTR_RO(vhscsi_tpg_, stats);

static struct configfs_attribute *vhscsi_tpg_attrs[] = {
	&vhscsi_tpg_attr_nexus,
	&vhscsi_tpg_attr_status,
	&vhscsi_tpg_attr_stats,
	NULL,
};

/* T10 PI is not offered to guests, so what rtslib restores of vhost_scsi can be but this. */
static ssize_t vhscsi_tpg_attrib_fabric_prot_type_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "0\n");
}

static ssize_t vhscsi_tpg_attrib_fabric_prot_type_store(struct config_item *item, const char *page,
							size_t count)
{
	u8 type;
	int r = kstrtou8(page, 0, &type);

	return r ?: type ? -EINVAL : count;
}

CONFIGFS_ATTR(vhscsi_tpg_attrib_, fabric_prot_type);

static struct configfs_attribute *vhscsi_tpg_attrib_attrs[] = {
	&vhscsi_tpg_attrib_attr_fabric_prot_type,
	NULL,
};

/* rtslib takes a fabric without a version for none. */
static ssize_t vhscsi_wwn_version_show(struct config_item *item, char *page)
{
	return sysfs_emit(page, "vhscsi %s\n", VHSCSI_VERSION);
}

CONFIGFS_ATTR_RO(vhscsi_wwn_, version);

static struct configfs_attribute *vhscsi_wwn_attrs[] = {
	&vhscsi_wwn_attr_version,
	NULL,
};

/* -- targets, portal groups, LUNs */

static struct se_wwn *fabric_make_wwn(struct target_fabric_configfs *tf,
				      struct config_group *group, const char *name)
{
	struct vhscsi_tport *tport;
	int proto = wwn_proto(name);

	if (proto < 0 || strlen(name) >= sizeof(tport->name))
		return ERR_PTR(-EINVAL);

	tport = kzalloc(sizeof(*tport), GFP_KERNEL);
	if (!tport)
		return ERR_PTR(-ENOMEM);
	tport->proto = proto;
	strscpy(tport->name, name, sizeof(tport->name));
	return &tport->wwn;
}

static void fabric_drop_wwn(struct se_wwn *wwn)
{
	kfree(container_of(wwn, struct vhscsi_tport, wwn));
}

static struct se_portal_group *fabric_make_tpg(struct se_wwn *wwn, const char *name)
{
	struct vhscsi_tpg *tpg;
	u16 tag;
	int r;

	if (strncmp(name, "tpgt_", 5) || kstrtou16(name + 5, 10, &tag) ||
	    tag >= VHSCSI_MAX_TARGETS)
		return ERR_PTR(-EINVAL);

	tpg = kzalloc(sizeof(*tpg), GFP_KERNEL);
	if (!tpg)
		return ERR_PTR(-ENOMEM);
	mutex_init(&tpg->mutex);
	tpg->tport = container_of(wwn, struct vhscsi_tport, wwn);
	tpg->tag = tag;

	r = core_tpg_register(wwn, &tpg->se, tpg->tport->proto);
	if (r) {
		kfree(tpg);
		return ERR_PTR(r);
	}

	mutex_lock(&vhscsi_tpgs_mutex);
	list_add_tail(&tpg->link, &vhscsi_tpgs);
	mutex_unlock(&vhscsi_tpgs_mutex);
	return &tpg->se;
}

/* The last that its claimer does with it, if it does not depend on it. */
void vhscsi_tpg_joined(struct vhscsi_tpg *tpg)
{
	/* With fabric_drop_tpg: all that was done with it is done by then. */
	smp_store_release(&tpg->joining, false);
	wake_up_all(&tpg_wait);
}

/*
 * No guest is attached: that one depends on it, and configfs refuses. But somebody may
 * have found it in the list and be about to hear that it is gone.
 */
static void fabric_drop_tpg(struct se_portal_group *se)
{
	struct vhscsi_tpg *tpg = to_vhscsi_tpg(se);

	mutex_lock(&vhscsi_tpgs_mutex);
	list_del(&tpg->link);
	mutex_unlock(&vhscsi_tpgs_mutex);
	/* With vhscsi_tpg_joined. */
	wait_event(tpg_wait, !smp_load_acquire(&tpg->joining));

	if (tpg->session)
		target_remove_session(tpg->session);
	core_tpg_deregister(se);
	kfree(tpg);
}

static int fabric_post_link(struct se_portal_group *se, struct se_lun *lun)
{
	struct vhscsi_tpg *tpg = to_vhscsi_tpg(se);

	mutex_lock(&tpg->mutex);
	tpg->nluns++;
	vhscsi_evt_add(tpg, lun->unpacked_lun, VIRTIO_SCSI_EVT_RESET_RESCAN);
	mutex_unlock(&tpg->mutex);
	return 0;
}

static void lun_is_gone(struct se_portal_group *se, struct se_lun *lun)
{
	struct vhscsi_tpg *tpg = to_vhscsi_tpg(se);

	mutex_lock(&tpg->mutex);
	tpg->nluns--;
	vhscsi_evt_add(tpg, lun->unpacked_lun, VIRTIO_SCSI_EVT_RESET_REMOVED);
	mutex_unlock(&tpg->mutex);
}

#ifdef HAVE_FABRIC_POST_UNLINK
/* The core calls it without a look whether it is there. */
static void fabric_pre_unlink(struct se_portal_group *se, struct se_lun *lun)
{
}
#endif

/* -- constants */

static char *fabric_get_wwn(struct se_portal_group *se)
{
	return to_vhscsi_tpg(se)->tport->name;
}

static u16 fabric_get_tag(struct se_portal_group *se)
{
	return to_vhscsi_tpg(se)->tag;
}

/* Every initiator may log in and write: there is one, and it is the guest. */
static int fabric_yes(struct se_portal_group *se)
{
	return 1;
}

static int fabric_no(struct se_portal_group *se)
{
	return 0;
}

static u32 fabric_inst_index(struct se_portal_group *se)
{
	return 1;
}

static u32 fabric_sess_index(struct se_session *s)
{
	return 0;
}

static void fabric_node_attributes(struct se_node_acl *acl)
{
}

static struct target_core_fabric_ops vhscsi_ops = {
	.module				= THIS_MODULE,
	.max_data_sg_nents		= VHSCSI_MAX_PAGES,
	.tpg_get_wwn			= fabric_get_wwn,
	.tpg_get_tag			= fabric_get_tag,
	.tpg_check_demo_mode		= fabric_yes,
	.tpg_check_demo_mode_cache	= fabric_yes,
	.tpg_check_demo_mode_write_protect = fabric_no,
	.tpg_check_prod_mode_write_protect = fabric_no,
	.tpg_get_inst_index		= fabric_inst_index,
	.check_stop_free		= fabric_check_stop_free,
	.release_cmd			= fabric_release_cmd,
	.sess_get_index			= fabric_sess_index,
	.write_pending			= fabric_write_pending,
	.set_default_node_attributes	= fabric_node_attributes,
	.get_cmd_state			= fabric_get_cmd_state,
	.queue_data_in			= fabric_queue_status,
	.queue_status			= fabric_queue_status,
	.queue_tm_rsp			= fabric_queue_tm_rsp,
	.aborted_task			= fabric_aborted_task,
	.fabric_make_wwn		= fabric_make_wwn,
	.fabric_drop_wwn		= fabric_drop_wwn,
	.fabric_make_tpg		= fabric_make_tpg,
	.fabric_drop_tpg		= fabric_drop_tpg,
	.fabric_post_link		= fabric_post_link,
#ifdef HAVE_FABRIC_POST_UNLINK
	.fabric_pre_unlink		= fabric_pre_unlink,
	.fabric_post_unlink		= lun_is_gone,
#else
	.fabric_pre_unlink		= lun_is_gone,
#endif
	.tfc_wwn_attrs			= vhscsi_wwn_attrs,
	.tfc_tpg_base_attrs		= vhscsi_tpg_attrs,
	.tfc_tpg_attrib_attrs		= vhscsi_tpg_attrib_attrs,
#ifdef HAVE_DIRECT_SUBMIT
	.default_submit_type		= TARGET_QUEUE_SUBMIT,
	.direct_submit_supp		= 1,
#endif
#ifdef HAVE_DIRECT_COMPL
	.default_compl_type		= TARGET_DIRECT_COMPL,
	.direct_compl_supp		= 1,
#endif
};

int vhscsi_fabric_register(const char *name)
{
	vhscsi_ops.fabric_name = name;
	return target_register_template(&vhscsi_ops);
}

void vhscsi_fabric_unregister(void)
{
	target_unregister_template(&vhscsi_ops);
}
