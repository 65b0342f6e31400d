/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <json-c/json.h>

#include "model/target.h"

Target *target_new(const char *wwn) {
        _cleanup_(target_freep) Target *t = NULL;

        t = calloc(1, sizeof *t);
        if (!t)
                return NULL;

        list_init(&t->queue_link);
        list_init(&t->publish_link);
        list_init(&t->publishing);
        list_init(&t->save_link);
        list_init(&t->requests);
        t->wanted = true;
        t->portal_group = 1;
        t->wwn = strdup(wwn);
        t->label = strdup("");
        if (!t->wwn || !t->label)
                return NULL;

        return TAKE_PTR(t);
}

Target *target_free(Target *t) {
        if (!t)
                return NULL;

        assert(list_is_empty(&t->requests));

        list_unlink(&t->queue_link);
        list_unlink(&t->publish_link);
        list_unlink(&t->save_link);
        for (size_t i = 0; i < t->n_luns; i++)
                lun_free(t->luns[i]);

        json_object_put(t->unknown);
        free(t->draft.label);
        strv_free(t->draft.revived);
        target_free(t->draft.foreign);
        free(t->luns);
        free(t->wwn);
        free(t->label);
        free(t->seen_nexus);
        free(t->error_code);
        free(t->error_text);
        free(t->published.label);
        free(t->published.nexus);
        free(t->published.error_code);
        free(t->published.error_text);
        free(t);
        return NULL;
}

/* The index of the first LUN whose number is not below. */
static size_t position(const Target *t, uint32_t number) {
        size_t low = 0, high = t->n_luns;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (t->luns[middle]->number < number)
                        low = middle + 1;
                else
                        high = middle;
        }

        return low;
}

Lun *target_lun(const Target *t, uint32_t number) {
        size_t i = position(t, number);

        return i < t->n_luns && t->luns[i]->number == number ? t->luns[i] : NULL;
}

int target_add_lun(Target *t, Lun *l) {
        size_t i = position(t, l->number);

        if (i < t->n_luns && t->luns[i]->number == l->number)
                return -EEXIST;

        if (t->n_luns == t->room_luns) {
                size_t room = t->room_luns > 0 ? t->room_luns * 2 : 8;
                Lun **p = realloc(t->luns, room * sizeof *p);

                if (!p)
                        return -ENOMEM;
                t->luns = p;
                t->room_luns = room;
        }

        memmove(t->luns + i + 1, t->luns + i, (t->n_luns - i) * sizeof *t->luns);
        t->luns[i] = l;
        t->n_luns++;
        t->membership++;
        l->target = t;
        return 0;
}

void target_remove_lun(Target *t, Lun *l) {
        size_t i = position(t, l->number);

        assert(i < t->n_luns && t->luns[i] == l);

        memmove(t->luns + i, t->luns + i + 1, (t->n_luns - i - 1) * sizeof *t->luns);
        t->n_luns--;
        t->membership++;
        lun_free(l);
}

void target_let_go(Target *t, bool force) {
        t->wanted = false;
        t->force = t->force || force;
        /* The second time there is none that is wanted, and what was noted the first time stays. */
        for (size_t i = 0; i < t->n_luns; i++) {
                t->luns[i]->with_target = t->luns[i]->with_target || t->luns[i]->wanted;
                t->luns[i]->wanted = false;
        }
}

void target_let_stay(Target *t) {
        t->wanted = true;
        t->force = false;
        for (size_t i = 0; i < t->n_luns; i++)
                if (t->luns[i]->with_target) {
                        t->luns[i]->wanted = true;
                        t->luns[i]->force = t->luns[i]->with_target = t->luns[i]->finished = false;
                }
}

size_t target_count_unfinished(const Target *t) {
        size_t n = 0;

        for (size_t i = 0; i < t->n_luns; i++)
                n += !t->luns[i]->finished;

        return n;
}

int target_lowest_free_number(const Target *t, uint32_t *ret) {
        size_t low = 0, high = t->n_luns;

        /* Sorted and distinct: the first place where index and number part is the gap, and it can be bisected. */
        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (t->luns[middle]->number == middle)
                        low = middle + 1;
                else
                        high = middle;
        }

        if (low > LUN_NUMBER_MAX)
                return -ENOSPC;

        *ret = (uint32_t) low;
        return 0;
}

bool target_is_used(const Target *t) {
        return t->endpoint == ENDPOINT_ATTACHED || t->guest.pid > 0;
}

int target_describe_use(const Target *t, char **ret) {
        _cleanup_free_ char *who = NULL;
        int r;

        r = guest_describe(&t->guest, &who);
        if (r < 0)
                return r;

        return asprintf(ret, "%s %s target %s", who, t->endpoint == ENDPOINT_ATTACHED ? "is attached to" : "runs with", t->wwn) < 0 ? -ENOMEM : 0;
}

TargetState target_state(const Target *t) {
        if (t->foreign)
                return TARGET_FOREIGN;
        if (!t->wanted)
                return TARGET_REMOVING;
        if (t->error_code)
                return TARGET_FAILED;
        if (!t->up)
                return TARGET_INCOMPLETE;

        for (size_t i = 0; i < t->n_luns; i++)
                if (t->luns[i]->wanted && !t->luns[i]->linked)
                        return TARGET_INCOMPLETE;

        return TARGET_ONLINE;
}

void target_set_error(Target *t, const char *code, const char *text) {
        (void) free_and_strdup(&t->error_code, code);
        (void) free_and_strdup(&t->error_text, text);
}

const char *target_state_to_string(TargetState s) {
        static const char *const names[_TARGET_STATE_MAX] = {
                [TARGET_ONLINE] = "online",
                [TARGET_INCOMPLETE] = "incomplete",
                [TARGET_REMOVING] = "removing",
                [TARGET_FAILED] = "failed",
                [TARGET_FOREIGN] = "foreign",
        };

        return names[s];
}

const char *target_endpoint_to_string(TargetEndpoint e) {
        static const char *const names[_TARGET_ENDPOINT_MAX] = {
                [ENDPOINT_UNKNOWN] = "unknown",
                [ENDPOINT_IDLE] = "idle",
                [ENDPOINT_ATTACHED] = "attached",
        };

        return names[e];
}
