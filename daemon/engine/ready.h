/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/engine.h"

/* Can a guest be started on a target now? What is in the way, each as a stable word for programs and a line for people. */

typedef struct Problem {
        const char *code;       /* static; org.vhostscsi(5) lists them */
        char *detail;           /* any bytes, as names of devices are */
} Problem;

typedef struct ProblemList {
        Problem *problems;
        size_t n, room;
        bool silent;            /* nobody tells of the end of one of them */
        bool lasting;           /* at least one of them is not about to be settled by a pass that runs or is due */
} ProblemList;

void problem_list_done(ProblemList *l);

/* wwn: canonical, or a foreign target's name; there need be no such target. Its endpoint was asked for just now. owner: whose having it is no
 * problem; "": nobody's is, NULL: everybody's. Looks at what is known, and waits for nothing. 0 or -ENOMEM; no problems: it is ready. */
int ready_check(Engine *e, const char *wwn, const char *owner, ProblemList *ret);
