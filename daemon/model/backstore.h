/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/index.h"
#include "base/list.h"
#include "base/map.h"
#include "base/strv.h"

/* The device as LIO opens it: core/iblock_<hba>/<name>, or core/fileio_<hba>/<name> for a file. One for each distinct source, shared by the
 * LUNs on it. Alive as long as a LUN stands on it. */

#define BACKSTORE_NAME_MAX 64   /* our limit for names that an admin gives; the guest sees the first 16 bytes as model (facts 1.9) */
#define BACKSTORE_SERIAL_MAX 64
#define BACKSTORE_FILESYSTEM "filesystem="       /* what the identity of a file begins with */
#define BACKSTORE_GUEST_DIGITS 25U      /* of a serial: what guests tell disks apart by (facts 1.9) */
#define BACKSTORE_HBA_NONE UINT32_MAX
/* It is a directory's name; the kernel takes 11 digits (facts 1.12), but the table of those in use is not for that. */
#define BACKSTORE_HBA_MAX 1048575U

typedef struct Backstore {
        /* Intent, stored with each LUN. */
        char *source;           /* canonical text; NULL for a foreign one */
        char *name;
        char *serial;           /* unit serial */
        bool unmarked;          /* made by somebody else and taken over: the kernel's object does not bear our mark, until it is made anew */
        uint32_t hba;           /* reserved before the kernel is touched, so that the store proves whose an empty HBA directory is */
        bool hba_fresh;         /* no pass has tried the number yet: a directory of that name is not ours; not stored */
        bool readonly;
        char **attributes;      /* "name=value", sorted; only what the admin set */
        /* What its guests were promised, so that nothing else is ever put in its place. Noted when it comes up, and when it grows. */
        uint64_t size;          /* bytes; 0: nothing yet */
        char *identity;         /* what a source that is a weaker name turned out to mean; NULL: nothing yet, or the source itself. Of a
                                 * file: "filesystem=…", the one it is on. */
        char *mount;            /* of a file: where that is mounted */

        List luns;              /* Lun.backstore_link */

        /* Observed. */
        bool present;           /* the directory exists, as far as we know */
        dev_t devnum;           /* what it has open; 0: nothing */
        uint64_t diskseq;       /* instance of that */
        bool removed;           /* nothing is open, because what was has been removed from the host */

        /* Of a foreign one, which has no intent, but a serial, devnum, size and readonly as they were seen. */
        char *place;            /* iblock_3/disk1, fileio_1/x, … */
        char *device;           /* its udev_path */
        char *file;             /* of fileio: what it has open */
        bool known;             /* a close look was taken: attributes, crowded */
        bool crowded;           /* its HBA has other backstores, too */

        /* How the registry finds it (model/finder.h), whose business alone this is. */
        struct {
                IndexLink name, guest, disk, open;
                char digits[BACKSTORE_GUEST_DIGITS + 1];
                char devnum[MAP_NUMBER_SIZE];
                char *device;   /* of a foreign one, as a source */
        } found_by;
} Backstore;

Backstore *backstore_new(const char *source);
Backstore *backstore_free(Backstore *b);                        /* returns NULL; no LUN may stand on it */
DEFINE_CLEANUP(Backstore *, backstore_free);

/* Two descriptions of one source: is it the same backstore by all that is stored of it? */
bool backstore_agrees(const Backstore *a, const Backstore *b);

/* Notes what guests are shown: the larger size, and an identity if there was none. 1: something is new. identity may be NULL. */
int backstore_promise(Backstore *b, uint64_t size, const char *identity);

#define BACKSTORE_PLACE_SIZE (sizeof "fileio_4294967295/" + BACKSTORE_NAME_MAX)
/* Of one of ours: where it stands below core/, iblock_3/disk1. */
void backstore_place(const Backstore *b, char ret[static BACKSTORE_PLACE_SIZE]);

/* Of whosever: "iblock_3/disk1", for the plugin iblock, is 3 and disk1. false: it is of another plugin, or has no such number. */
bool backstore_parse_place(const char *place, const char *plugin, uint32_t *ret_hba, const char **ret_name);

/* iblock, or fileio. */
const char *backstore_plugin(const Backstore *b);
bool backstore_is_file(const Backstore *b);

/* "d-" and 12 hex digits of the SHA-256 of the source. */
int backstore_default_name(const char *source, char **ret);
/* Of one path to a disk: that of the disk, "-p", and 8 hex digits for the path. The 16 bytes that guests see as the model end with the p: all
 * paths of a disk look the same. */
int backstore_path_name(const char *source, const char *disk, char **ret);
/* UUIDv5 of the source in a name space of our own: the same on every host, and unique in its first 25 hex digits, from which LIO makes
 * the guest's NAA (facts 1.9). */
int backstore_default_serial(const char *source, char **ret);

/* The first hex digits of a serial, whatever stands between, and zeros if there are too few. */
void backstore_guest_digits(const char *serial, char ret[static BACKSTORE_GUEST_DIGITS + 1]);
/* What the guest's udev will call the disk: wwn-0x6001405… from a unit serial. */
int backstore_guest_wwid(const char *serial, char **ret);

/* Letters, digits and . _ : + - (at most BACKSTORE_NAME_MAX, not starting with a dot): it becomes a directory's name. */
bool backstore_name_is_valid(const char *name);
/* Printable ASCII without a comma and without blanks at its ends, at most BACKSTORE_SERIAL_MAX. */
bool backstore_serial_is_valid(const char *serial);
