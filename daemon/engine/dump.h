/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"
#include "engine/refusal.h"
#include "model/document.h"

/* What is wanted, as a document that another host, or another program, can read. */

typedef struct DumpOptions {
        const Target *target;   /* this one only; NULL: all of ours */
        bool portable;          /* no LUN by a name that means something else on another host: refused if there is one */
        bool partly;            /* one that is refused for that is left out (model/document.h) */
        bool device_paths;      /* sources of devices as paths, for targetcli; those of files are as ever */
        bool empty_labels;      /* that a target has no label is said as well */
} DumpOptions;

int dump_document(Engine *e, const DumpOptions *o, Document *ret, Refusal *refusal);

/* What was wanted at that generation (store/history.h). wwn in place of DumpOptions.target: that one may be no more; NULL: all of them.
 * NotFound, ConfigCorrupt. */
int dump_past(Engine *e, uint64_t generation, const char *wwn, const DumpOptions *o, Document *ret, Refusal *refusal);
