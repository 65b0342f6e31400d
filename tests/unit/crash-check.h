/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "crash-daemon.h"

/* What must be so when a daemon has been killed, or its files have been through a loss of power. */

typedef enum Verdict {
        VERDICT_RIGHT,
        VERDICT_LOST,           /* a change that was acknowledged is not there */
        VERDICT_WRONG,          /* neither as before nor as after the change that was under way; or kernel, store and memory disagree */
        VERDICT_FOREIGN,        /* something of somebody else's is not as it was */
        _VERDICT_MAX,
} Verdict;

/* Two documents. Of each target is either wholly what before says, or what after says; what the kernel was promised of a disk (size, identity)
 * is no matter of any caller's. before: everything acknowledged. NULL for none. *ret_what, if it is not RIGHT: malloc()ed. */
Verdict check_document(const char *document, const char *before, const char *after, char **ret_what);

/* One daemon after the other over what was left: the first mends, the second finds nothing to do, a third on an empty kernel makes the same of
 * it; no file is there that none of them needs. theirs: host_theirs() before. ret_document: of the first; malloc()ed. */
Verdict check_recovery(const Host *h, const char *state_dir, const char *theirs, char **ret_document, char **ret_what);
