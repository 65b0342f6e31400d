/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "engine/edit.h"
#include "model/document.h"

/* From what a document says to what there is: a list of changes, the same for Plan(), which shows it, and for Apply() and ImportConfig(),
 * which make them. What is as the document says already is kept: a second time nothing is left to do. */

typedef enum ChangeAction {
        CHANGE_KEEP,            /* as it is said already; or not in the document, and not to be pruned */
        CHANGE_CREATE,
        CHANGE_ADOPT,           /* somebody else made the target: taken over as it is */
        CHANGE_LABEL,           /* the target's label */
        CHANGE_REMOVE,
        CHANGE_RELEASE,         /* somebody else made the target: given back, as it is */
        CHANGE_REFUSE,          /* it cannot be done; the note says why */
        _CHANGE_ACTION_MAX,
} ChangeAction;

typedef struct Change {
        ChangeAction action;
        char wwn[WWN_SIZE];
        int64_t number;         /* of the LUN; -1: the target itself */
        char *note;             /* for people; NULL: nothing to say */
        RefusalKind refusal;    /* of a REFUSE */
        const DocumentTarget *target;   /* of what is in the document, else NULL */
        const DocumentLun *lun;
} Change;

typedef struct ChangeList {
        Change *changes;        /* by target, a target before its LUNs */
        size_t n, room;
} ChangeList;

void change_list_done(ChangeList *l);

typedef struct ChangeOptions {
        EditOptions common;     /* force: LUNs and targets go under a running guest; dry_run: nothing is done */
        bool prune;             /* what is ours and not in the document is removed */
        bool release;           /* but what was adopted is released */
        bool partly;            /* what is refused does not keep the rest */
        LunOrigin origin;
        const char *reason;     /* for the history */
} ChangeOptions;

/* Looks, and changes nothing. d is finished (model/document.h) and outlives the list. Foreign targets in it have been looked at closely just
 * now, and the endpoints of those that something is to be removed from. 0 or -ENOMEM, or REFUSED for the whole. */
int change_list_make(Engine *e, const Document *d, const ChangeOptions *o, ChangeList *ret, Refusal *refusal);

/* Makes them. Unless partly, nothing is done if one of them is a REFUSE: the first is the refusal. What fails on the way becomes one, in its
 * place in the list. The passes that follow do the kernel's part. */
int change_list_perform(Engine *e, ChangeList *l, const ChangeOptions *o, Refusal *refusal);

/* Before change_list_make(): foreign targets of the document are to be looked at closely, and those that lose something are asked who is
 * attached. Marks both; true: somebody has to wait for them. */
bool change_list_must_look(Engine *e, const Document *d, const ChangeOptions *o);

const char *change_action_to_string(ChangeAction a);

/* Takes what is in the refusal. */
void change_turn_down(Change *c, Refusal *refusal);
LunOptions change_lun_options(const DocumentLun *dl, LunOrigin origin);
