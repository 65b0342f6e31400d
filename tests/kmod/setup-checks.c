/* SPDX-License-Identifier: GPL-2.0-only */
/* What is set up by ioctl: refused where it cannot be, and otherwise requests go on. */
#include <errno.h>

#include "checks.h"

/* Ring not yet set up, fd of another kind, no such feature: refused, and nothing is the worse for it. */
void check_ioctls(void) {
        struct vhost_vring_state num = {IO, 100}, far = {4000, 128};
        struct vhost_vring_file file = {IO, dev.fd};
        struct vhost_memory padded = {.padding = 1};
        uint64_t features = dev.offered | 1ULL << 62;

        check(device_ioctl(&dev, VHOST_SET_OWNER, NULL) == -EBUSY);
        check(device_ioctl(&dev, VHOST_SET_VRING_NUM, &num) == -EBUSY);
        check(device_ioctl(&dev, VHOST_SET_VRING_NUM, &far) == -ENOBUFS);
        check(device_ioctl(&dev, VHOST_SET_VRING_KICK, &file) == -EINVAL);
        check(device_ioctl(&dev, VHOST_SET_VRING_CALL, &file) == -EINVAL);
        check(device_ioctl(&dev, VHOST_SET_FEATURES, &features) == -EOPNOTSUPP);
        check(device_ioctl(&dev, VHOST_SET_MEM_TABLE, &padded) == -EOPNOTSUPP);
        check(device_ioctl(&dev, _IO(VHOST_VIRTIO, 0xfe), NULL) < 0);
        check_ready();
}

static int vring_worker(unsigned long request, unsigned q, unsigned *worker) {
        struct vhost_vring_worker w = {q, *worker};
        int r = device_ioctl(&dev, request, &w);

        *worker = w.worker_id;
        return r;
}

/* Threads of the owner's own: queues go to them and from them while there is I/O. */
void check_workers(void) {
        struct vhost_worker_state a, b, none = {4000};
        unsigned first = 4000, id;

        if (!check(vring_worker(VHOST_GET_VRING_WORKER, IO, &first) == 0))
                return;
        check(device_ioctl(&dev, VHOST_NEW_WORKER, &a) == 0 && device_ioctl(&dev, VHOST_NEW_WORKER, &b) == 0);
        check(a.worker_id != b.worker_id && a.worker_id != first && b.worker_id != first);
        for (unsigned i = 0; i < 8; i++) {
                id = i & 1 ? a.worker_id : b.worker_id;
                check(vring_worker(VHOST_ATTACH_VRING_WORKER, IO, &id) == 0);
                check(vring_worker(VHOST_ATTACH_VRING_WORKER, CTL, &id) == 0);
                id = 4000;
                check(vring_worker(VHOST_GET_VRING_WORKER, IO, &id) == 0 && id == (i & 1 ? a.worker_id : b.worker_id));
                check_depth_while(i * 3);
        }
        id = 4000;
        check(vring_worker(VHOST_ATTACH_VRING_WORKER, IO, &id) == -ENODEV);
        check(device_ioctl(&dev, VHOST_FREE_WORKER, &none) == -ENODEV);
        check(device_ioctl(&dev, VHOST_FREE_WORKER, &a) == -EBUSY);
        check(device_ioctl(&dev, VHOST_FREE_WORKER, &b) == 0 && device_ioctl(&dev, VHOST_FREE_WORKER, &b) == -ENODEV);
        /* Another endpoint leaves them where they are. */
        check(device_endpoint(&dev, VHOST_SCSI_CLEAR_ENDPOINT, dev.wwpn) == 0);
        check(device_endpoint(&dev, VHOST_SCSI_SET_ENDPOINT, dev.wwpn) == 0);
        check(vring_worker(VHOST_GET_VRING_WORKER, IO, &id) == 0 && id == a.worker_id);
        check_depth();
}

void check_endpoint(const char *node) {
        struct device other;
        int r;

        check(device_endpoint(&dev, VHOST_SCSI_SET_ENDPOINT, dev.wwpn) == -EEXIST);
        check(device_endpoint(&dev, VHOST_SCSI_CLEAR_ENDPOINT, "naa.5001405000000bad") == -EINVAL);

        device_open(&other, node, dev.wwpn, QUEUES);
        r = device_endpoint(&other, VHOST_SCSI_SET_ENDPOINT, "naa.5001405000000bad");
        check(r < 0);
        r = device_endpoint(&other, VHOST_SCSI_SET_ENDPOINT, dev.wwpn);
        check(r < 0);
        device_close(&other);
        check_ready();
}

/* What a reset of the guest does: the endpoint goes and comes, on the same rings or new ones. */
void check_attach_again(void) {
        for (unsigned i = 0; i < 10; i++) {
                struct vhost_vring_state base = {.index = IO};

                check(device_endpoint(&dev, VHOST_SCSI_CLEAR_ENDPOINT, dev.wwpn) == 0);
                check(device_ioctl(&dev, VHOST_GET_VRING_BASE, &base) == 0);
                check(base.num == dev.q[IO].ring.avail->idx);
                if (i & 1)
                        device_rings(&dev);
                if (!check(device_endpoint(&dev, VHOST_SCSI_SET_ENDPOINT, dev.wwpn) == 0))
                        return;
                check_ready();
        }
}
