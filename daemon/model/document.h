/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

#include "model/wwn.h"

/* What somebody wants of targets, as a file says it: the result of reading targetcli's or our own format, and what is written in one of
 * them. Values only: nothing of it is known to a registry or to the kernel. */

#define DOCUMENT_TARGETS_MAX 4096U
#define DOCUMENT_LUNS_MAX 65536U        /* of all targets together */
#define DOCUMENT_NOTES_MAX 4096U        /* more are only counted */

typedef struct DocumentLun {
        uint32_t number;
        char *source;           /* any spelling that source_parse() takes, as the file has it */
        char *name, *serial;    /* NULL: by default */
        bool readonly;
        bool shareable;         /* another LUN of the host may stand on the same disk */
        char **attributes;      /* "name=value", sorted */

        /* What guests were promised (model/backstore.h). 0 and NULL: nothing. */
        uint64_t size;
        char *identity;
        char *mount;

        char *place;            /* of targetcli's: core/<plugin>_<any number>/<name> is where it is if it is live, here as "iblock/disk1" */
} DocumentLun;

typedef struct DocumentTarget {
        char wwn[WWN_SIZE];
        char *label;            /* NULL: not said */
        char nexus[WWN_SIZE];   /* "": not said */
        DocumentLun *luns;
        size_t n_luns, room_luns;
} DocumentTarget;

/* What of the file is not kept, and why. */
typedef struct DocumentNote {
        char *object;           /* "naa.…", "naa.…/lun 3", "backstore block/disk1" or "file" */
        char *text;             /* a line for people */
        bool usual;             /* every file of its kind loses that: it need not worry anybody */
        bool left_out;          /* a LUN that is not in what is written */
} DocumentNote;

typedef struct Document {
        DocumentTarget *targets;
        size_t n_targets, room_targets;
        DocumentNote *notes;    /* in the order of the file */
        size_t n_notes, room_notes;
        size_t n_unsaid;        /* notes beyond DOCUMENT_NOTES_MAX */

        size_t n_left_out;      /* LUNs that the other format has no words for; each is a note as well */
        char *left_out;         /* the first of them, and why */
} Document;

void document_done(Document *d);
void document_lun_done(DocumentLun *l);

/* What these return is valid until the next one is added to the same array. A double is found by document_finish(). -ENOMEM; -EFBIG: more
 * than DOCUMENT_TARGETS_MAX. */
int document_add_target(Document *d, const char *wwn, DocumentTarget **ret);
int document_target_add_lun(DocumentTarget *t, uint32_t number, const char *source, DocumentLun **ret);

/* The text may come from the file: what is not printable of it is replaced. */
int document_note(Document *d, const char *object, const char *format, ...) _printf_(3, 4);

/* The note of a LUN that is not in what is written. */
int document_leave_out(Document *d, const char *object, const char *format, ...) _printf_(3, 4);

/* Of one that is finished: that target only, and what is said of it and of the whole file. -ENOENT: it is not there. */
int document_keep_target(Document *d, const char *wwn);

/* Puts targets and LUNs in order, and refuses what contradicts itself, in time n log n: two targets of one WWN, two LUNs of one number, a
 * source that is none; LUNs on the same source that say different things of it; a name or a serial for two disks. (As in targetcli, a device
 * and a file may have one name. The paths of a disk that are exported one by one have one serial.) -EINVAL or -EFBIG with a sentence. */
int document_finish(Document *d, char **ret_why);

/* Of one that is finished. NULL: not there. */
DocumentTarget *document_target(const Document *d, const char *wwn);
DocumentLun *document_target_lun(const DocumentTarget *t, uint32_t number);
size_t document_count_luns(const Document *d);
