/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/text.h"
#include "store/lost.h"

void lost_done(Lost *l) {
        free(l->text);
}

int lost_add(Lost *l, const char *what, const char *why) {
        _cleanup_free_ char *excerpt = NULL;
        char *text;
        int r;

        if (l->n >= LOST_NAMED) {
                l->n++;
                return 0;
        }

        r = text_excerpt(what, &excerpt);
        if (r < 0)
                return r;
        if (asprintf(&text, "%s%s%s%s%s%s", strempty(l->text), l->text ? ", " : "", excerpt, why ? " (" : "", strempty(why), why ? ")" : "") < 0)
                return -ENOMEM;

        free(l->text);
        l->text = text;
        l->n++;
        return 0;
}

int lost_add_member(Lost *l, const char *key, Json *v, const char *why) {
        _cleanup_free_ char *excerpt = NULL, *text = NULL;
        int r;

        if (l->n >= LOST_NAMED || !v || json_object_is_type(v, json_type_object) || json_object_is_type(v, json_type_array))
                return lost_add(l, key, why);

        r = text_excerpt(json_object_get_string(v), &excerpt);
        if (r < 0)
                return r;
        if (asprintf(&text, "%s=%s", key, excerpt) < 0) {
                text = NULL;
                return -ENOMEM;
        }

        return lost_add(l, text, why);
}

int lost_add_members(Lost *l, Json *o, const char *why) {
        const char *key;
        Json *v;

        if (!json_object_is_type(o, json_type_object))
                return lost_add(l, json_object_to_json_string(o), why);

        JSON_FOREACH(o, key, v) {
                int r;

                if (json_object_is_type(v, json_type_int) && json_object_get_int64(v) == 0)
                        continue;

                r = lost_add_member(l, key, v, why);
                if (r < 0)
                        return r;
        }

        return 0;
}

int lost_say(const Lost *l, Document *d, const char *object, const char *what) {
        if (l->n == 0)
                return 0;
        if (l->n > LOST_NAMED)
                return document_note(d, object, "%s: %s and %zu more", what, l->text, l->n - LOST_NAMED);

        return document_note(d, object, "%s: %s", what, l->text);
}
