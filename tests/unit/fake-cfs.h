/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "kernel/cfs.h"

/* The other side of the fake configfs, for tests: kernel/cfs.h is the side that the daemon sees. There is one fake kernel; it outlives
 * every Cfs, as the real one outlives the daemon. It is shared with children forked after fake_reset(), so a pass in a child changes what
 * the parent sees, and killing the child kills the pass and not the kernel. cfs_new() of the fake takes any number for root_fd and does not
 * close it. All functions here are thread-safe, but for fake_reset().
 *
 * What it obeys is drivers/target/, drivers/vhost/scsi.c and fs/configfs/ of Linux 6.1; tests/lab/cfs-conformance.c compares it with a real
 * kernel. Not modelled (mkdir says ENOSYS): node ACLs, ALUA groups other than the default ones. Backstores of plugins other than iblock are
 * there to be foreign: any control text and enable succeed. */

/* An empty LIO with the fabric's module loaded and its directory made. Nobody may be inside a call, but for those that hang. */
void fake_reset(void);
void fake_set_fabric_loaded(bool loaded);       /* false: mkdir of vhost is EINVAL */
void fake_set_bundled(void);                    /* the module is vhscsi: before there are children, or portal groups */

/* --- block devices --- */

typedef struct FakeBlock {
        dev_t devnum;
        dev_t whole;                    /* of a partition: its disk; 0 for a disk */
        const char *node;               /* "/dev/nullb0" */
        const char *const *links;       /* other paths that lead to it, NULL-terminated, may be NULL */
        uint64_t diskseq;
        uint64_t size;                  /* bytes */
        uint32_t block_size;            /* 0: 512 */
        uint32_t queue_depth;           /* 0: 64 */
        uint32_t max_sectors;           /* 0: 248 */
        bool held;                      /* someone else has it open exclusively: mounted, LVM, a path of a map … */
        bool read_only;
        bool suspended;                 /* with I/O in flight: unlinking a LUN that stands on it waits */
        bool rotational;
        bool discard;                   /* the device can discard: emulate_tpu is possible */
        bool not_block;                 /* the path leads to something else: a character device, a file, a directory */
} FakeBlock;

void fake_block_add(const FakeBlock *b);        /* one with the same number is gone then, as by fake_block_remove() */
void fake_block_add_simple(dev_t devnum, const char *node, uint64_t diskseq);
/* Backstores that have it open keep it open and say so, as the kernel's do; it cannot be opened any more. */
void fake_block_remove(dev_t devnum);
void fake_block_set_held(dev_t devnum, bool held);
void fake_block_set_read_only(dev_t devnum, bool read_only);
void fake_block_set_suspended(dev_t devnum, bool suspended);    /* false lets the waiting calls go on */

/* --- guests --- */

/* QEMU's VHOST_SCSI_SET_ENDPOINT and CLEAR_ENDPOINT on "vhost/naa.…/tpgt_1". -ENODEV without nexus or LUN, -EBUSY if attached already. */
int fake_attach(const char *tpg);
int fake_detach(const char *tpg);

/* A QEMU with a target on its command line, in the place of the one before (fake-process.c). pid 0: there is none. */
void fake_process_set(uint32_t pid, const char *wwn, const char *name);

/* What an attribute says, from now on, whatever the rules: statistics, for example. -ENOENT if there is none. */
int fake_set_value(const char *path, const char *value);

/* --- faults --- */

typedef enum FakeCall {
        FAKE_MKDIR    = 1 << 0,
        FAKE_RMDIR    = 1 << 1,
        FAKE_SYMLINK  = 1 << 2,
        FAKE_UNLINK   = 1 << 3,
        FAKE_WRITE    = 1 << 4,
        FAKE_READ     = 1 << 5,
        FAKE_LIST     = 1 << 6,
        FAKE_READLINK = 1 << 7,
        FAKE_EXISTS   = 1 << 8,
        FAKE_DISKSEQ  = 1 << 9,
        FAKE_MUTATING = FAKE_MKDIR | FAKE_RMDIR | FAKE_SYMLINK | FAKE_UNLINK | FAKE_WRITE,
        FAKE_ANY      = (1 << 10) - 1,
} FakeCall;

/* The nth call from now (1: the next) of one of these kinds whose path matches the pattern (fnmatch, '*' takes '/' too; NULL: any) fails
 * with error (negative), and so do times - 1 matching ones after it, without effect. Up to 64 of these at a time. A path of
 * cfs_block_diskseq() is "MAJOR:MINOR". */
#define FAKE_ALWAYS UINT32_MAX
void fake_fail(unsigned calls, const char *pattern, unsigned nth, int error, unsigned times);

void fake_fail_none(void);                              /* forgets them */

/* Matching calls wait in the kernel, before they have an effect, until fake_release(): uninterruptible, so the caller's thread stays in the
 * call. Whoever needs a directory that such a call has locked waits with it: readers of that lun_L after an unlink (everything else goes
 * on), the rmdir of a backstore whose attribute is being written. If the waiting process is killed, its call takes effect at the release,
 * as in the kernel. */
void fake_hang(unsigned calls, const char *pattern);
void fake_release(void);                                /* all of them, and no more hanging */
unsigned fake_hanging(void);                            /* calls that wait now, for a lock too */
bool fake_wait_hanging(unsigned n, unsigned milliseconds);  /* until so many wait; false: they did not in time */

typedef enum FakeDeath {
        FAKE_DEATH_ERROR,       /* from then on every call of everyone fails with -ESHUTDOWN and changes nothing, until fake_revive() */
        FAKE_DEATH_KILL,        /* the process that makes the call kills itself with SIGKILL: for forked passes */
} FakeDeath;

/* Lets n more mutating calls happen and dies before the next one has an effect. */
void fake_die_after(unsigned n, FakeDeath how);
void fake_revive(void);                                 /* also forgets a death that has not happened */
bool fake_is_dead(void);

/* Nobody is inside a call from one to the other, so that whoever is killed meanwhile dies between two of them, as with the real kernel. Only
 * those who wait in one may die in it. Nothing else of the fake may be called meanwhile. */
void fake_freeze(void);
void fake_thaw(void);

/* --- looking --- */

unsigned fake_count(unsigned calls);                    /* since the last fake_reset() or fake_journal_clear(), failed ones too */
/* One line for each mutating call that was made, in order: "write core/iblock_0/a/enable 1 -> 0", "mkdir vhost -> -EEXIST". */
char **fake_journal(void);                              /* the caller frees it with strv_free() */
void fake_journal_clear(void);

typedef enum FakeSnapshot {
        FAKE_SNAPSHOT_STATE,    /* what two kernels in the same state have in common */
        FAKE_SNAPSHOT_IDS,      /* and a number for each object, that no other object ever had: shows what was made anew */
} FakeSnapshot;

/* All directories, links and attribute values, sorted, without statistics. malloc()ed. */
char *fake_snapshot(FakeSnapshot what);

/* Looks that wait for nothing, are not counted and cannot fail by a fault. */
typedef struct FakeOpened {
        dev_t devnum;
        uint64_t diskseq;
        bool read_only;
        bool gone;              /* the device was removed since */
} FakeOpened;

bool fake_opened(const char *backstore, FakeOpened *ret);       /* what it has open; false: nothing */
bool fake_block_is_open(dev_t devnum);                  /* by a backstore */
char **fake_children(const char *path);                 /* what was made in a directory, links too; the caller frees it with strv_free() */
char *fake_peek(const char *path);                      /* what an attribute says, or where a link leads; NULL: neither. malloc()ed. */
