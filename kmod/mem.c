// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest's memory. Nothing in here trusts a number: the table comes from the
 * owner, the addresses from the guest.
 */
#ifdef __KERNEL__
#include <linux/errno.h>
#include <linux/minmax.h>
#include <linux/sort.h>
#endif

#include "mem.h"

static int region_cmp(const void *a, const void *b)
{
	const struct vhscsi_region *x = a, *y = b;

	if (x->gpa == y->gpa)
		return 0;
	return x->gpa < y->gpa ? -1 : 1;
}

/*
 * Puts a table that was filled in any order into the form that translation
 * wants. -EFAULT for a region that is empty or wraps, as vhost has it; -EINVAL
 * for two that overlap: which one is meant nobody can know.
 */
int vhscsi_mem_seal(struct vhscsi_mem *mem)
{
	unsigned int i;

	for (i = 0; i < mem->n; i++) {
		const struct vhscsi_region *r = &mem->r[i];

		if (!r->size || r->gpa + r->size - 1 < r->gpa ||
		    r->uva + r->size - 1 < r->uva)
			return -EFAULT;
	}

	sort(mem->r, mem->n, sizeof(mem->r[0]), region_cmp, NULL);

	for (i = 1; i < mem->n; i++)
		if (mem->r[i].gpa - mem->r[i - 1].gpa < mem->r[i - 1].size)
			return -EINVAL;

	return 0;
}

/* The last region that does not begin after the address, or NULL. */
static const struct vhscsi_region *region_find(const struct vhscsi_mem *mem,
					       u64 gpa)
{
	unsigned int lo = 0, hi = mem->n;

	while (lo < hi) {
		unsigned int mid = lo + (hi - lo) / 2;

		if (mem->r[mid].gpa <= gpa)
			lo = mid + 1;
		else
			hi = mid;
	}

	return lo ? &mem->r[lo - 1] : NULL;
}

/*
 * Where a range of guest memory is: one segment, or one for each region that it
 * lies in. Returns how many; -EFAULT when any byte of it is nowhere, -ENOBUFS
 * when there is no room for the segments. An empty range has none.
 */
int vhscsi_mem_translate(const struct vhscsi_mem *mem, u64 gpa, u32 len,
			 struct vhscsi_seg *segs, unsigned int max)
{
	const struct vhscsi_region *r, *end = mem->r + mem->n;
	unsigned int n = 0;

	if (!len)
		return 0;

	r = region_find(mem, gpa);
	for (; r && r < end; r++) {
		u64 offset = gpa - r->gpa;
		u32 run;

		/* Before this region there is a hole, or after the last. */
		if (gpa < r->gpa || offset >= r->size)
			return -EFAULT;
		if (n == max)
			return -ENOBUFS;

		run = min_t(u64, len, r->size - offset);
		segs[n].uva = r->uva + offset;
		segs[n].len = run;
		n++;

		len -= run;
		if (!len)
			return n;
		/* More of it than there are addresses. */
		gpa += run;
		if (!gpa)
			return -EFAULT;
	}

	return -EFAULT;
}
