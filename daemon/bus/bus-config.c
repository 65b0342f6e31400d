/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/errno.h"
#include "base/fileio.h"
#include "base/text.h"
#include "bus/bus-config.h"
#include "bus/bus-error.h"
#include "bus/options.h"
#include "bus/polkit.h"
#include "bus/probe.h"
#include "bus/text.h"
#include "dbus/vhostscsi-names.h"
#include "engine/change.h"
#include "engine/dump.h"
#include "engine/request.h"
#include "store/document-json.h"
#include "store/saveconfig.h"

typedef enum Format {
        FORMAT_NATIVE,
        FORMAT_TARGETCLI,
} Format;

static int parse_format(const char *s, Format *ret, sd_bus_error *error) {
        if (streq(s, "native"))
                *ret = FORMAT_NATIVE;
        else if (streq(s, "targetcli"))
                *ret = FORMAT_TARGETCLI;
        else
                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, "There are the formats native and targetcli");

        return 0;
}

/* A regular file or a memfd, from its beginning: what may have us wait for somebody (a pipe, a device) is refused. */
static int read_file(int fd, size_t max, char **ret, size_t *ret_size, sd_bus_error *error) {
        _cleanup_free_ char *text = NULL;
        struct stat st;
        size_t n = 0;

        if (fstat(fd, &st) < 0)
                return negative_errno();
        if (!S_ISREG(st.st_mode))
                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, "The document is to be a regular file or a memfd");
        if (st.st_size > (off_t) max)
                return sd_bus_error_setf(error, VHOSTSCSI_ERROR("ImportRejected"), "The document is larger than %zu bytes", max);

        text = malloc((size_t) st.st_size + 1);
        if (!text)
                return -ENOMEM;

        while (n < (size_t) st.st_size) {
                ssize_t k = pread(fd, text + n, (size_t) st.st_size - n, (off_t) n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return sd_bus_error_setf(error, VHOSTSCSI_ERROR("ImportRejected"), "The document cannot be read: %s", strerror(errno));
                if (k == 0)
                        break;
                n += (size_t) k;
        }

        *ret = TAKE_PTR(text);
        *ret_size = n;
        return 0;
}

static int read_document(int fd, Format format, Document *ret, sd_bus_error *error) {
        _cleanup_free_ char *text = NULL, *why = NULL, *printable = NULL;
        size_t size;
        int r;

        r = read_file(fd, format == FORMAT_NATIVE ? DOCUMENT_JSON_MAX : SAVECONFIG_MAX, &text, &size, error);
        if (r < 0)
                return r;

        r = format == FORMAT_NATIVE ? document_json_parse(text, size, ret, &why) : saveconfig_parse(text, size, ret, &why);
        if (r >= 0 || r == -ENOMEM)
                return r;

        if (why && text_printable(why, &printable) < 0)
                return -ENOMEM;
        return sd_bus_error_setf(error, r == -EPROTONOSUPPORT ? VHOSTSCSI_ERROR("ConfigTooNew") : VHOSTSCSI_ERROR("ImportRejected"),
                                 "The document is refused: %s", printable ?: strerror(-r));
}

static int append_line(sd_bus_message *reply, const char *object, const char *action, const char *note) {
        _cleanup_free_ char *text = NULL;
        int r;

        /* Parts of it may be names that anybody gave a device. */
        r = text_printable(strempty(note), &text);
        return r < 0 ? r : sd_bus_message_append(reply, "(sss)", text_for_bus(object), action, text);
}

static int append_notes(sd_bus_message *reply, const Document *d) {
        char more[64];
        int r = 0;

        for (size_t i = 0; r >= 0 && i < d->n_notes; i++) {
                const DocumentNote *n = &d->notes[i];

                r = append_line(reply, n->object, n->left_out ? "refuse" : n->usual ? "info" : "note", n->text);
        }
        if (r >= 0 && d->n_unsaid > 0) {
                snprintf(more, sizeof more, "%zu notes more", d->n_unsaid);
                r = append_line(reply, "file", "note", more);
        }

        return r;
}

static int append_changes(sd_bus_message *reply, const ChangeList *l) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < l->n; i++) {
                const Change *c = l->changes + i;
                char object[WWN_SIZE + 32];

                if (c->number < 0)
                        snprintf(object, sizeof object, "%s", c->wwn);
                else
                        snprintf(object, sizeof object, "%s/lun %" PRIi64, c->wwn, c->number);
                r = append_line(reply, object, change_action_to_string(c->action), c->note);
        }

        return r;
}

static int make_reply(sd_bus_message *m, const Document *d, const ChangeList *l, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(sss)");
        if (r >= 0)
                r = append_changes(reply, l);
        if (r >= 0)
                r = append_notes(reply, d);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(reply);
        return 0;
}

/* Has the kernel a part in it? */
static bool is_awaited(const Change *c) {
        switch (c->action) {
        case CHANGE_CREATE:
        case CHANGE_ADOPT:
        case CHANGE_REMOVE:
                return true;
        case CHANGE_KEEP:
        case CHANGE_LABEL:
        case CHANGE_RELEASE:
        case CHANGE_REFUSE:
        case _CHANGE_ACTION_MAX:
                break;
        }

        return false;
}

/* The caller waits for the passes, and for the signals. */
static int await_changes(Engine *e, sd_bus_message *m, sd_bus_message *reply, const ChangeList *l, uint64_t timeout) {
        _cleanup_free_ Awaited *awaited = calloc(l->n + 1, sizeof *awaited);
        bool changed = false;
        Request *request;
        size_t n = 0;
        int r;

        if (!awaited)
                return -ENOMEM;

        for (size_t i = 0; i < l->n; i++) {
                const Change *c = l->changes + i;

                changed = changed || (c->action != CHANGE_KEEP && c->action != CHANGE_REFUSE);
                if (!is_awaited(c))
                        continue;
                memcpy(awaited[n].wwn, c->wwn, WWN_SIZE);
                awaited[n++].number = c->number;
        }

        if (!changed)
                return sd_bus_send(NULL, reply, NULL);

        r = request_new(e, REQUEST_APPLY, m, sd_bus_message_ref(reply), NULL, timeout, &request);
        if (r < 0)
                return r;

        request->awaited = TAKE_PTR(awaited);
        request->n_awaited = n;
        return 1;
}

/* What Plan, Apply, ImportConfig and Rollback have in common. authorized: 1, or 2 after a look. */
static int change(Engine *e, sd_bus_message *m, const Document *d, int authorized, const ChangeOptions *o, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(change_list_done) ChangeList list = {};
        _cleanup_(refusal_done) Refusal refusal = {};
        int r;

        if (authorized == 1 && change_list_must_look(e, d, o)) {
                r = probe_hold(e, m, o->common.timeout);
                return r < 0 ? r : 1;
        }

        r = change_list_make(e, d, o, &list, &refusal);
        if (r >= 0 && !o->common.dry_run)
                r = change_list_perform(e, &list, o, &refusal);
        if (r < 0)
                return bus_error_set(error, r, &refusal);

        r = make_reply(m, d, &list, &reply);
        if (r < 0)
                return r;

        return o->common.dry_run ? sd_bus_send(NULL, reply, NULL) : await_changes(e, m, reply, &list, o->common.timeout);
}

static int keep_target(Document *d, const char *name, sd_bus_error *error) {
        char wwn[WWN_SIZE];

        if (wwn_parse(name, wwn) < 0)
                return sd_bus_error_set(error, VHOSTSCSI_ERROR("InvalidWwn"), "target: expected naa. and 16 hexadecimal digits, the first 5 or 6");
        if (document_keep_target(d, wwn) < 0)
                return sd_bus_error_setf(error, VHOSTSCSI_ERROR("NotFound"), "The document has no target %s", wwn);

        return 0;
}

/* target: of the document, that one only; NULL: all. */
static int change_from_file(Engine *e, sd_bus_message *m, int fd, Format format, const char *target, int authorized, const ChangeOptions *o,
                            sd_bus_error *error) {
        _cleanup_(document_done) Document d = {};
        int r;

        r = read_document(fd, format, &d, error);
        if (r >= 0 && target)
                r = keep_target(&d, target, error);

        return r < 0 ? r : change(e, m, &d, authorized, o, error);
}

static int plan_or_apply(sd_bus_message *m, Engine *e, bool dry_run, sd_bus_error *error) {
        ChangeOptions o = { .origin = LUN_MANUAL };
        int fd, r;

        r = sd_bus_message_read(m, "h", &fd);
        if (r >= 0)
                r = options_read_change(m, &o.common, &o.prune, &o.partly, error);
        if (r < 0)
                return r;

        o.common.dry_run = o.common.dry_run || dry_run;
        r = probe_before_changes(e, m, &o.common, error);
        return r <= 0 ? (r < 0 ? r : 1) : change_from_file(e, m, fd, FORMAT_NATIVE, NULL, r, &o, error);
}

static int method_plan(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return plan_or_apply(m, userdata, true, error);
}

static int method_apply(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return plan_or_apply(m, userdata, false, error);
}

static int method_import_config(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        ChangeOptions o = { .origin = LUN_IMPORT };
        const char *name, *target;
        Format format;
        int fd, r, k;

        r = sd_bus_message_read(m, "sh", &name, &fd);
        if (r >= 0)
                r = options_read_import(m, &o.common, &o.partly, &target, error);
        if (r < 0)
                return r;

        r = probe_before_changes(userdata, m, &o.common, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        k = parse_format(name, &format, error);
        if (k < 0)
                return k;

        /* What cannot be kept of somebody else's file is said, and does not keep the rest. */
        o.partly = o.partly || format == FORMAT_TARGETCLI;
        o.reason = format == FORMAT_TARGETCLI ? "import targetcli" : "import native";
        return change_from_file(userdata, m, fd, format, target, r, &o, error);
}

/* Apply() of what was wanted then, and of nothing else. */
static int method_rollback(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const DumpOptions everything = { .empty_labels = true };
        ChangeOptions o = { .origin = LUN_MANUAL, .prune = true, .release = true };
        _cleanup_(refusal_done) Refusal refusal = {};
        _cleanup_(document_done) Document d = {};
        uint64_t generation;
        char reason[64];
        int r, k;

        r = sd_bus_message_read(m, "t", &generation);
        if (r >= 0)
                r = options_read_change(m, &o.common, NULL, &o.partly, error);
        if (r < 0)
                return r;

        r = probe_before_changes(userdata, m, &o.common, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        k = dump_past(userdata, generation, NULL, &everything, &d, &refusal);
        if (k < 0)
                return bus_error_set(error, k, &refusal);

        (void) snprintf(reason, sizeof reason, "rollback %" PRIu64, generation);
        o.reason = reason;
        return change(userdata, m, &d, r, &o, error);
}

static int append_entry(sd_bus_message *reply, const HistoryEntry *h) {
        int r;

        r = sd_bus_message_open_container(reply, 'r', "ttussas");
        if (r >= 0)
                r = sd_bus_message_append(reply, "ttuss", h->generation, h->time, h->uid, h->program, h->reason);
        if (r >= 0)
                r = sd_bus_message_append_strv(reply, h->targets);

        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int method_history(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const Engine *e = userdata;
        const List *entries;
        int r;

        r = options_read_none(m, error);
        if (r < 0)
                return r;
        r = polkit_authorize(m, POLKIT_MANAGE_CONFIG, NULL, error);
        if (r <= 0)
                return r < 0 ? r : 1;

        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(ttussas)");
        entries = history_entries(e->history);
        for (const List *i = entries->prev; r >= 0 && i != entries; i = i->prev)
                r = append_entry(reply, list_entry(i, HistoryEntry, link));
        if (r >= 0)
                r = sd_bus_message_close_container(reply);

        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int write_memfd(const char *text, size_t size) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = memfd_create("vhscsid-document", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return negative_errno();

        r = write_all(fd, text, size);
        if (r < 0)
                return r;

        if (lseek(fd, 0, SEEK_SET) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
                return negative_errno();

        return TAKE_FD(fd);
}

static int dump(Engine *e, const ExportOptions *x, Format format, Document *ret, Refusal *refusal) {
        DumpOptions o = { .portable = x->portable, .partly = x->partly, .device_paths = format == FORMAT_TARGETCLI };
        char wwn[WWN_SIZE];
        Target *t;
        int r;

        if (x->has_generation && x->target && wwn_parse(x->target, wwn) < 0)
                return refuse(refusal, REFUSAL_INVALID_WWN, "Not a WWN: expected naa. and 16 hexadecimal digits, the first 5 or 6");
        if (x->has_generation)
                return dump_past(e, x->generation, x->target ? wwn : NULL, &o, ret, refusal);

        if (x->target) {
                r = edit_find_target(e, x->target, &t, refusal);
                if (r < 0)
                        return r;
                o.target = t;
        }

        return dump_document(e, &o, ret, refusal);
}

/* The document, or only what it does not tell. */
static int export_config(sd_bus_message *m, Engine *e, bool only_check, sd_bus_error *error) {
        const ChangeList nothing = {};
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(refusal_done) Refusal refusal = {};
        _cleanup_(document_done) Document d = {};
        _cleanup_free_ char *text = NULL;
        _cleanup_close_ int fd = -EBADF;
        const char *name;
        ExportOptions o;
        Format format;
        size_t size;
        int r;

        r = sd_bus_message_read(m, "s", &name);
        if (r >= 0)
                r = options_read_dump(m, &o, error);
        if (r < 0)
                return r;

        r = polkit_authorize(m, POLKIT_MANAGE_CONFIG, NULL, error);
        if (r <= 0)
                return r < 0 ? r : 1;
        r = parse_format(name, &format, error);
        if (r < 0)
                return r;

        o.partly = o.partly || only_check;
        r = dump(e, &o, format, &d, &refusal);
        if (r < 0)
                return bus_error_set(error, r, &refusal);

        r = format == FORMAT_NATIVE ? document_json_format(&d, &text, &size) : saveconfig_format(&d, &text, &size);
        if (r < 0)
                return r;
        if (d.n_left_out > 0 && !o.partly)
                return sd_bus_error_setf(error, VHOSTSCSI_ERROR("ImportRejected"), "%zu LUN%s cannot be said in this format. %s %s", d.n_left_out,
                                         d.n_left_out == 1 ? "" : "s", d.n_left_out == 1 ? "It is" : "The first is", text_for_bus(d.left_out));

        if (only_check) {
                r = make_reply(m, &d, &nothing, &reply);
                return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
        }

        fd = write_memfd(text, size);
        return fd < 0 ? fd : sd_bus_reply_method_return(m, "h", fd);
}

static int method_export_config(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return export_config(m, userdata, false, error);
}

static int method_check_export(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return export_config(m, userdata, true, error);
}

static const sd_bus_vtable vtable[] = {
        SD_BUS_VTABLE_START(0),

        SD_BUS_METHOD_WITH_ARGS("Plan", SD_BUS_ARGS("h", document, "a{sv}", options), SD_BUS_RESULT("a(sss)", changes), method_plan,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Apply", SD_BUS_ARGS("h", document, "a{sv}", options), SD_BUS_RESULT("a(sss)", changes), method_apply,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ImportConfig", SD_BUS_ARGS("s", format, "h", document, "a{sv}", options),
                                SD_BUS_RESULT("a(sss)", changes), method_import_config, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ExportConfig", SD_BUS_ARGS("s", format, "a{sv}", options), SD_BUS_RESULT("h", document),
                                method_export_config, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("CheckExport", SD_BUS_ARGS("s", format, "a{sv}", options), SD_BUS_RESULT("a(sss)", losses),
                                method_check_export, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("History", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("a(ttussas)", changes), method_history,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Rollback", SD_BUS_ARGS("t", generation, "a{sv}", options), SD_BUS_RESULT("a(sss)", changes), method_rollback,
                                SD_BUS_VTABLE_UNPRIVILEGED),

        SD_BUS_VTABLE_END,
};

int bus_config_add(sd_bus *bus, Engine *e) {
        int r = sd_bus_add_object_vtable(bus, NULL, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE, vtable, e);

        return r < 0 ? r : 0;
}
