/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>

#include "base/log.h"
#include "engine/hotplug.h"
#include "engine/record.h"

/* The steps of a removal have generations as well, and leave nothing in the history. */
#define GENERATION_GAP 1000000U

int record_start(Engine *e, const char *state_dir) {
        uint64_t newest;
        int r;

        r = history_new(state_dir, &e->history);
        if (r < 0)
                return r;

        newest = history_newest(e->history);
        if (newest >= e->registry.generation)
                e->registry.generation = newest + GENERATION_GAP;

        return 0;
}

static void creds_unrefp(sd_bus_creds **c) {
        sd_bus_creds_unref(*c);
}

/* Of no consequence: who may do what has been decided before. The name is that of the process which has the pid now. */
static void find_caller(const Engine *e, uint32_t *ret_uid, sd_bus_creds **ret_creds, const char **ret_program) {
        sd_bus_message *m = e->bus ? sd_bus_get_current_message(e->bus) : NULL;
        uid_t uid;

        *ret_uid = HISTORY_NOBODY;
        *ret_program = "";
        if (!m || !sd_bus_message_is_method_call(m, NULL, NULL))
                return;
        if (sd_bus_query_sender_creds(m, SD_BUS_CREDS_EUID | SD_BUS_CREDS_PID | SD_BUS_CREDS_COMM | SD_BUS_CREDS_AUGMENT, ret_creds) < 0)
                return;

        if (sd_bus_creds_get_euid(*ret_creds, &uid) >= 0)
                *ret_uid = uid;
        if (sd_bus_creds_get_comm(*ret_creds, ret_program) < 0)
                *ret_program = "";
}

static void begin(Engine *e, const char *format, va_list ap) _printf_(2, 0);

static void begin(Engine *e, const char *format, va_list ap) {
        _cleanup_(creds_unrefp) sd_bus_creds *creds = NULL;
        _cleanup_free_ char *reason = NULL;
        const char *program;
        uint32_t uid;

        if (e->recording++ > 0 || !e->history)
                return;

        if (vasprintf(&reason, format, ap) < 0) {
                reason = NULL;
                log_oom();
        }

        find_caller(e, &uid, &creds, &program);
        if (history_begin(e->history, uid, program, strempty(reason)) < 0)
                log_oom();
}

Engine *record_begin(Engine *e, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        begin(e, format, ap);
        va_end(ap);
        return e;
}

Engine *record_beginv(Engine *e, const char *format, va_list ap) {
        begin(e, format, ap);
        return e;
}

void record_end(Engine *e) {
        assert(e->recording > 0);
        e->recording--;
}

static int keep(Engine *e, const char *wwn) {
        int r;

        assert(e->recording > 0);
        r = e->history ? history_keep(e->history, wwn, e->registry.generation + 1) : 0;
        return r < 0 ? log_warning_errno(r, "Cannot keep the file of target %s in the history", wwn) : 0;
}

int record_save(Engine *e, const Target *t) {
        int r = keep(e, t->wwn);

        if (r < 0)
                return r;

        r = store_save(e->store, t);
        if (r < 0 && e->history)
                history_settle(e->history, t->wwn);

        return r;
}

int record_remove(Engine *e, const char *wwn) {
        int r = keep(e, wwn);

        if (r < 0)
                return r;

        /* If it was made by this very change, nothing has happened. */
        r = store_remove(e->store, wwn);
        if (e->history)
                history_settle(e->history, wwn);

        return r;
}

/* The file is as the registry has it. */
static void note_stored(Engine *e, Target *t) {
        list_unlink(&t->save_link);
        if (t->wanted)
                registry_forget_finished(&e->registry, t);
        e->registry.generation++;
        e->registry.publish_self = true;
}

int record_store(Engine *e, Target *t, Refusal *refusal, const char *format, ...) {
        va_list ap;
        int r;

        /* It may build on an HBA or a disk that another target has let go of, and whose file does not say so yet. */
        hotplug_save_others(e, t);

        va_start(ap, format);
        begin(e, format, ap);
        va_end(ap);
        r = record_save(e, t);
        record_end(e);
        if (r < 0)
                return refuse(refusal, REFUSAL_STORE_FAILED, "Cannot store target %s: %s. Nothing was changed", t->wwn, strerror(-r));

        note_stored(e, t);
        return 0;
}

int record_undo(Engine *e, Target *t, const char *format, ...) {
        va_list ap;
        int r;

        va_start(ap, format);
        begin(e, format, ap);
        va_end(ap);
        r = record_save(e, t);
        record_end(e);
        if (r < 0)
                return log_error_errno(r, "Cannot store what is taken back of target %s", t->wwn);

        note_stored(e, t);
        return 0;
}
