/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a virtio-scsi request says, and what its response says. Compiles in user
 * space as well (tests/kmod).
 */
#ifndef VHSCSI_REQUEST_H
#define VHSCSI_REQUEST_H

#ifdef __KERNEL__
#include <linux/types.h>
#include <linux/virtio_scsi.h>
#else
#include "kernel-shim.h"
#endif

#define VHSCSI_REQ_SIZE		sizeof(struct virtio_scsi_cmd_req)
#define VHSCSI_RESP_SIZE	sizeof(struct virtio_scsi_cmd_resp)
/* Without the sense data: the least that can say what went wrong. */
#define VHSCSI_RESP_MIN		offsetof(struct virtio_scsi_cmd_resp, sense)

enum vhscsi_dir {
	VHSCSI_DIR_NONE,
	VHSCSI_DIR_OUT,			/* the guest writes */
	VHSCSI_DIR_IN,			/* the guest reads */
};

struct vhscsi_request {
	u8 target;
	u16 lun;
	u8 attr;			/* VIRTIO_SCSI_S_SIMPLE to _ACA */
	u64 tag;
	enum vhscsi_dir dir;
	u32 bytes;			/* of data, behind the header */
	const u8 *cdb;
};

/* How a command ended, in the target core's terms. */
struct vhscsi_result {
	u8 status;
	u8 response;			/* VIRTIO_SCSI_S_* */
	bool overflow;			/* it counts more than bytes for this CDB */
	u32 residual;			/* bytes that did not go over */
	const u8 *sense;
	u32 sense_len;
};

int vhscsi_lun_parse(const u8 lun[8], u8 *ret_target, u16 *ret_lun);
int vhscsi_request_parse(const struct virtio_scsi_cmd_req *h, u32 out_len,
			 u32 in_len, struct vhscsi_request *ret);
u32 vhscsi_response_fill(struct virtio_scsi_cmd_resp *resp,
			 const struct vhscsi_request *req,
			 const struct vhscsi_result *res);

#endif
