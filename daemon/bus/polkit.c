/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <systemd/sd-event.h>

#include "base/list.h"
#include "base/log.h"
#include "bus/polkit.h"
#include "dbus/vhostscsi-names.h"

#define POLKIT_NAME "org.freedesktop.PolicyKit1"
#define POLKIT_PATH "/org/freedesktop/PolicyKit1/Authority"
#define POLKIT_INTERFACE "org.freedesktop.PolicyKit1.Authority"

#define POLKIT_ALLOW_USER_INTERACTION 1U

/* One message that waits for polkit, or that polkit answered and whose handler is about to run again. */
typedef struct Query {
        List link;
        sd_bus_message *message;        /* held, so that its address stands for it */
        unsigned granted;               /* PolkitActions */
        unsigned asked;                 /* the one that is being asked */
        bool interactive;
        char cancellation[32];
        sd_bus_slot *slot;              /* the call to polkit, while it is under way */
        sd_bus_track *track;            /* the caller */
        sd_event_source *unused;        /* frees an answer for which no handler came: its object is gone */
        sd_bus_error denial;
} Query;

/* There is one bus in the process; with the list here handlers need no second context beside their object. */
static List queries = LIST_INIT(queries);
static unsigned n_asked;

static const char *action_name(unsigned action) {
        switch ((PolkitActions) action) {
        case POLKIT_MANAGE_TARGETS:
                return VHOSTSCSI_ACTION_MANAGE_TARGETS;
        case POLKIT_MANAGE_LUNS:
                return VHOSTSCSI_ACTION_MANAGE_LUNS;
        case POLKIT_MANAGE_CONFIG:
                return VHOSTSCSI_ACTION_MANAGE_CONFIG;
        case POLKIT_ACQUIRE:
                return VHOSTSCSI_ACTION_ACQUIRE;
        case POLKIT_FORCE:
                return VHOSTSCSI_ACTION_FORCE;
        case _POLKIT_ACTIONS_END:
                break;
        }

        assert(false);
        return "";
}

static Query *query_free(Query *q) {
        if (!q)
                return NULL;

        list_unlink(&q->link);
        sd_bus_slot_unref(q->slot);
        sd_bus_track_unref(q->track);
        sd_event_source_disable_unref(q->unused);
        sd_bus_message_unref(q->message);
        sd_bus_error_free(&q->denial);
        free(q);
        return NULL;
}

DEFINE_CLEANUP(Query *, query_free);

static Query *query_find(sd_bus_message *m) {
        Query *q;

        LIST_FOREACH(&queries, q, Query, link)
                if (q->message == m)
                        return q;

        return NULL;
}

static int on_unused(sd_event_source *source, void *userdata) {
        query_free(userdata);
        return 0;
}

/* Nobody is there any more to be answered; the dialogue on somebody's screen goes as well. */
static int on_caller_gone(sd_bus_track *track, void *userdata) {
        Query *q = userdata;

        if (q->slot)
                (void) sd_bus_call_method_async(sd_bus_message_get_bus(q->message), NULL, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE,
                                                "CancelCheckAuthorization", NULL, NULL, "s", q->cancellation);
        query_free(q);
        return 0;
}

static int query_new(sd_bus_message *m, Query **ret) {
        _cleanup_(query_freep) Query *q = NULL;
        int r;

        q = calloc(1, sizeof *q);
        if (!q)
                return -ENOMEM;

        list_init(&q->link);
        q->message = sd_bus_message_ref(m);
        q->interactive = sd_bus_message_get_allow_interactive_authorization(m) > 0;

        r = sd_bus_track_new(sd_bus_message_get_bus(m), &q->track, on_caller_gone, q);
        if (r >= 0)
                r = sd_bus_track_add_sender(q->track, m);
        if (r < 0)
                return r;

        list_append(&queries, &q->link);
        *ret = TAKE_PTR(q);
        return 0;
}

static void query_deny(Query *q, const char *name) {
        (void) sd_bus_error_set(&q->denial, name,
                                streq(name, SD_BUS_ERROR_ACCESS_DENIED) ? "Access denied" : "Interactive authentication required");
}

/* "auth_admin" for everybody makes a challenge of each denial, also for a system user that no person stands behind. Our policy keeps the
 * answers of active sessions only, and polkit says whether it would keep this one: there is somebody then to ask. */
static int read_person(sd_bus_message *reply, bool *ret) {
        const char *key, *value;
        int r;

        r = sd_bus_message_enter_container(reply, 'a', "{ss}");
        if (r < 0)
                return r;

        while ((r = sd_bus_message_read(reply, "{ss}", &key, &value)) > 0)
                if (streq(key, "polkit.retains_authorization_after_challenge"))
                        *ret = true;

        return r < 0 ? r : sd_bus_message_exit_container(reply);
}

static void query_read_reply(Query *q, sd_bus_message *reply) {
        const sd_bus_error *e = sd_bus_message_get_error(reply);
        int authorized, challenge, r;
        bool person = false;

        if (e) {
                if (!sd_bus_error_has_name(e, SD_BUS_ERROR_SERVICE_UNKNOWN) && !sd_bus_error_has_name(e, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                        log_warning("Cannot ask polkit for %s: %s", action_name(q->asked), strempty(e->message));
                query_deny(q, SD_BUS_ERROR_ACCESS_DENIED);
                return;
        }

        r = sd_bus_message_enter_container(reply, 'r', "bba{ss}");
        if (r >= 0)
                r = sd_bus_message_read(reply, "bb", &authorized, &challenge);
        if (r >= 0)
                r = read_person(reply, &person);
        if (r < 0) {
                log_warning_errno(r, "Cannot read polkit's answer");
                query_deny(q, SD_BUS_ERROR_ACCESS_DENIED);
        } else if (authorized)
                q->granted |= q->asked;
        else
                /* A challenge that was allowed and not met: nobody is there to meet it. */
                query_deny(q, challenge && person && !q->interactive ? SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED :
                                                                       SD_BUS_ERROR_ACCESS_DENIED);
}

static int on_reply(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Query *q = userdata;
        sd_bus *bus = sd_bus_message_get_bus(q->message);
        int r;

        q->slot = sd_bus_slot_unref(q->slot);
        query_read_reply(q, reply);

        /* The message is dispatched before anything of idle priority. */
        r = sd_event_add_defer(sd_bus_get_event(bus), &q->unused, on_unused, q);
        if (r >= 0)
                r = sd_event_source_set_priority(q->unused, SD_EVENT_PRIORITY_IDLE);
        if (r >= 0)
                r = sd_bus_enqueue_for_read(bus, q->message);
        if (r < 0) {
                log_warning_errno(r, "Cannot go on with a method call");
                (void) sd_bus_reply_method_errno(q->message, r, NULL);
                query_free(q);
        }

        return 1;
}

static int query_ask(Query *q, unsigned action, const char *wwn) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        sd_bus *bus = sd_bus_message_get_bus(q->message);
        int r;

        r = sd_bus_message_new_method_call(bus, &call, POLKIT_NAME, POLKIT_PATH, POLKIT_INTERFACE, "CheckAuthorization");
        if (r < 0)
                return r;

        snprintf(q->cancellation, sizeof q->cancellation, "vhscsid-%u", ++n_asked);
        r = sd_bus_message_append(call, "(sa{sv})s", "system-bus-name", 1, "name", "s", sd_bus_message_get_sender(q->message),
                                  action_name(action));
        if (r >= 0)
                r = wwn ? sd_bus_message_append(call, "a{ss}", 1, "target", wwn) : sd_bus_message_append(call, "a{ss}", 0);
        if (r >= 0)
                r = sd_bus_message_append(call, "us", q->interactive ? POLKIT_ALLOW_USER_INTERACTION : 0, q->cancellation);
        if (r < 0)
                return r;

        q->asked = action;
        /* People look for their password for longer than any timeout of the bus. */
        return sd_bus_call_async(bus, &q->slot, call, on_reply, q, q->interactive ? UINT64_MAX : 0);
}

/* By what the bus itself knows of the caller. */
int polkit_find_user(sd_bus_message *m, uint32_t *ret) {
        _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
        uid_t uid;
        int r;

        if (!sd_bus_message_get_sender(m))
                return -EACCES;

        r = sd_bus_query_sender_creds(m, SD_BUS_CREDS_EUID, &creds);
        if (r >= 0)
                r = sd_bus_creds_get_euid(creds, &uid);
        if (r < 0)
                return r;

        *ret = uid == getuid() ? 0 : uid;
        return 0;
}

int polkit_authorize(sd_bus_message *m, unsigned actions, const char *wwn, sd_bus_error *error) {
        Query *q = query_find(m);
        unsigned missing;
        uint32_t user;
        int r;

        if (!q) {
                r = polkit_find_user(m, &user);
                if (r >= 0 && user == 0)
                        return 1;
                if (r >= 0)
                        r = query_new(m, &q);
                if (r < 0)
                        return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED, "Access denied");
        }

        q->unused = sd_event_source_disable_unref(q->unused);
        if (sd_bus_error_is_set(&q->denial)) {
                r = sd_bus_error_move(error, &q->denial);
                query_free(q);
                return r;
        }

        missing = actions & ~q->granted;
        if (missing == 0) {
                query_free(q);
                return 1;
        }

        r = query_ask(q, missing & -missing, wwn);
        if (r < 0) {
                query_free(q);
                log_warning_errno(r, "Cannot ask polkit");
                return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED, "Access denied");
        }

        return 0;
}

void polkit_stop(void) {
        Query *q;

        LIST_FOREACH(&queries, q, Query, link)
                query_free(q);
}
