/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

/* What ring.c, mem.c and request.c of kmod/ know of the kernel, in user space. Memory of the "user" is one window: any other address
 * faults, as it would there, and what is inside of it is watched by the sanitizers. */

#include <endian.h>
#include <errno.h>
#include <linux/types.h>
#include <linux/virtio_ring.h>
#include <linux/virtio_scsi.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define __user
#define __force

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

/* scsi/scsi_proto.h, which user space has not whole. */
#define VERIFY 0x2f
#define VERIFY_12 0xaf
#define VERIFY_16 0x8f

#define le16_to_cpu(v) le16toh(v)
#define le32_to_cpu(v) le32toh(v)
#define le64_to_cpu(v) le64toh(v)
#define cpu_to_le16(v) htole16(v)
#define cpu_to_le32(v) htole32(v)
#define min_t(type, a, b) ((type) (a) < (type) (b) ? (type) (a) : (type) (b))
#define smp_rmb() atomic_thread_fence(memory_order_acquire)
#define smp_wmb() atomic_thread_fence(memory_order_release)
#define smp_mb() atomic_thread_fence(memory_order_seq_cst)

struct shim_window {
        uint8_t *base;
        size_t size;
};
extern struct shim_window shim_window;

static inline bool shim_may(const void *at, size_t n) {
        uintptr_t a = (uintptr_t) at, base = (uintptr_t) shim_window.base;

        return a >= base && n <= shim_window.size && a - base <= shim_window.size - n;
}

static inline unsigned long copy_from_user(void *to, const void *from, size_t n) {
        if (!shim_may(from, n))
                return n;
        memcpy(to, from, n);
        return 0;
}

static inline unsigned long copy_to_user(void *to, const void *from, size_t n) {
        if (!shim_may(to, n))
                return n;
        memcpy(to, from, n);
        return 0;
}

#define get_user(v, from) (copy_from_user(&(v), (from), sizeof(*(from))) ? -EFAULT : 0)
#define put_user(v, to) (copy_to_user((to), &(__typeof__(*(to))) {(v)}, sizeof(*(to))) ? -EFAULT : 0)

/* Of a range that is no window the first access faults, as on a page that is not there. */
#define user_access_begin(at, n) true
#define user_access_end() ((void) 0)
#define unsafe_get_user(v, from, label) \
        do { \
                if (copy_from_user(&(v), (from), sizeof(v))) \
                        goto label; \
        } while (0)
#define unsafe_put_user(v, to, label) \
        do { \
                if (copy_to_user((to), &(__typeof__(*(to))) {(v)}, sizeof(*(to)))) \
                        goto label; \
        } while (0)

static inline void sort(void *base, size_t n, size_t size, int (*cmp)(const void *, const void *), void *swap) {
        if (n > 0)
                qsort(base, n, size, cmp);
}
