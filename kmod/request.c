// SPDX-License-Identifier: GPL-2.0-only
#ifdef __KERNEL__
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/string.h>
#include <asm/byteorder.h>
#include <scsi/scsi_proto.h>
#endif

#include "request.h"

/*
 * virtio 1.2, 5.6.6.1: the first byte is 1, the second the target, then a
 * single-level LUN structure, then zeros, which nobody sends wrong and nobody
 * checks. Returns 0 or a VIRTIO_SCSI_S_*.
 *
 * The REPORT LUNS well known unit (0xc1 0x01) has no target in it, so no portal
 * group of ours to answer for it.
 */
int vhscsi_lun_parse(const u8 lun[8], u8 *ret_target, u16 *ret_lun)
{
	if (lun[0] != 1)
		return VIRTIO_SCSI_S_BAD_TARGET;

	*ret_target = lun[1];
	*ret_lun = (lun[2] << 8 | lun[3]) & 0x3fff;
	return 0;
}

/*
 * 0, or the VIRTIO_SCSI_S_* to answer with. The lengths are those of the whole
 * chain; h is valid when out_len covers it, and the result points into it.
 */
int vhscsi_request_parse(const struct virtio_scsi_cmd_req *h, u32 out_len,
			 u32 in_len, struct vhscsi_request *ret)
{
	u32 out, in;
	int r;

	memset(ret, 0, sizeof(*ret));

	if (out_len < VHSCSI_REQ_SIZE || in_len < VHSCSI_RESP_SIZE)
		return VIRTIO_SCSI_S_FAILURE;

	r = vhscsi_lun_parse(h->lun, &ret->target, &ret->lun);
	if (r)
		return r;

	out = out_len - VHSCSI_REQ_SIZE;
	in = in_len - VHSCSI_RESP_SIZE;
	/* VIRTIO_SCSI_F_INOUT is not offered: the target core has no such command. */
	if (out && in)
		return VIRTIO_SCSI_S_FAILURE;

	ret->dir = out ? VHSCSI_DIR_OUT : in ? VHSCSI_DIR_IN : VHSCSI_DIR_NONE;
	ret->bytes = out + in;
	ret->tag = le64_to_cpu((__force __le64)h->tag);
	/* Three bits; what is none of ours is a simple task (5.6.6.1.2). */
	ret->attr = h->task_attr & 7;
	if (ret->attr > VIRTIO_SCSI_S_ACA)
		ret->attr = VIRTIO_SCSI_S_SIMPLE;
	ret->cdb = h->cdb;
	return 0;
}

/*
 * A VERIFY that is not to compare (BYTCHK 0) comes without data, and the target
 * core counts the blocks that it names as data all the same.
 */
static bool cdb_has_data(const u8 *cdb)
{
	switch (cdb[0]) {
	case VERIFY:
	case VERIFY_12:
	case VERIFY_16:
		return cdb[1] & 0x06;
	}
	return true;
}

/*
 * Returns what the used ring shall say was written. That counts from the first
 * byte of the response (2.7.8.2), so what is in front of data counts whole.
 */
u32 vhscsi_response_fill(struct virtio_scsi_cmd_resp *resp,
			 const struct vhscsi_request *req,
			 const struct vhscsi_result *res)
{
	u32 sense = min_t(u32, res->sense_len, sizeof(resp->sense));
	u32 residual = res->overflow ? 0 : min_t(u32, res->residual, req->bytes);

	memset(resp, 0, sizeof(*resp));
	resp->response = res->response;
	if (res->response == VIRTIO_SCSI_S_OK) {
		resp->status = res->status;
		resp->sense_len = (__force __virtio32)cpu_to_le32(sense);
		if (sense)
			memcpy(resp->sense, res->sense, sense);
		/* A status that says more than "done" goes before the overrun. */
		if (res->overflow && !res->status && cdb_has_data(req->cdb))
			resp->response = VIRTIO_SCSI_S_OVERRUN;
	} else {
		/* Nothing is known of what went over: nothing did. */
		residual = req->bytes;
	}
	resp->resid = (__force __virtio32)cpu_to_le32(residual);

	if (req->dir != VHSCSI_DIR_IN || res->response != VIRTIO_SCSI_S_OK ||
	    res->status)
		return VHSCSI_RESP_SIZE;
	return VHSCSI_RESP_SIZE + req->bytes - residual;
}
