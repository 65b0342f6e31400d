/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <glib.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "base/errno.h"
#include "base/fileio.h"
#include "base/log.h"
#include "bus/bus-config.h"
#include "bus/bus-lun.h"
#include "bus/bus-manager.h"
#include "bus/bus-target.h"
#include "bus/publish.h"
#include "crash-calls.h"
#include "crash-daemon.h"
#include "dbus/vhostscsi-names.h"
#include "engine-fixture.h"
#include "engine/change.h"
#include "engine/foreign.h"
#include "engine/queue.h"

#define DEADLINE_USEC UINT64_C(60000000)
#define TRIES 4U
#define FOREIGN_DISK 200U
#define ADOPTED_DISK 201U

/* ---- the daemon ---- */

int __wrap_polkit_authorize(sd_bus_message *m, unsigned actions, const char *wwn, sd_bus_error *error);

/* Who may do what is no matter here. */
int __wrap_polkit_authorize(sd_bus_message *m, unsigned actions, const char *wwn, sd_bus_error *error) {
        return 1;
}

int __wrap_wwn_generate(char ret[static WWN_SIZE]);

/* The same each time, so that two runs of one life can be compared. */
int __wrap_wwn_generate(char ret[static WWN_SIZE]) {
        memcpy(ret, "naa.5001405cffffffff", WWN_SIZE);
        return 0;
}

static void tell_devices(Fixture *f, const Host *h) {
        for (unsigned i = 1; i <= h->n_disks; i++)
                fixture_add_wished_device(f, i, 100 + i, i <= h->n_wished ? WWN_A : NULL);
        fixture_add_device(f, FOREIGN_DISK, 100 + FOREIGN_DISK);
        fixture_add_device(f, ADOPTED_DISK, 100 + ADOPTED_DISK);
}

static int serve(Engine *e, int fd, sd_bus **ret) {
        sd_bus *bus = NULL;
        sd_id128_t id;
        int r;

        r = sd_id128_randomize(&id);
        if (r >= 0)
                r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_fd(bus, fd, fd);
        if (r >= 0)
                r = sd_bus_set_server(bus, true, id);
        if (r >= 0)
                r = sd_bus_set_anonymous(bus, true);
        if (r >= 0)
                r = bus_manager_add(bus, e);
        if (r >= 0)
                r = bus_config_add(bus, e);
        if (r >= 0)
                r = bus_target_add(bus, e);
        if (r >= 0)
                r = bus_lun_add(bus, e);
        if (r >= 0)
                r = publish_start(bus, e);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r >= 0)
                r = sd_bus_attach_event(bus, e->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                *ret = bus;
        return r;
}

/* As daemon_start() has it: the first look is over when the first call is heard. Its end is not tidy: it is killed. */
G_NORETURN static void daemon_main(const Host *h, const char *state_dir, int fd) {
        Fixture f = { .state_dir = g_strdup(state_dir) };
        Engine *e = &f.engine;
        sd_bus *bus;

        /* What is done to it is loud. */
        if (!g_test_verbose())
                log_set_max_level(LOG_CRIT);

        if (fixture_start(&f) < 0)
                _exit(EXIT_FAILURE);

        tell_devices(&f, h);
        e->survey_wanted = true;
        fixture_run(&f);
        for (unsigned i = 0; i < TRIES && e->retry_at > 0; i++) {
                fixture_pass_time(&f);
                fixture_run(&f);
        }
        if (serve(e, fd, &bus) < 0)
                _exit(EXIT_FAILURE);

        for (;;) {
                if (sd_event_run(e->event, UINT64_MAX) < 0)
                        _exit(EXIT_FAILURE);
                if (sd_bus_is_open(bus) <= 0)
                        _exit(EXIT_SUCCESS);
                if (e->retry_at > 1 && queue_is_idle(e))
                        fixture_pass_time(&f);
        }
}

/* ---- its caller ---- */

void daemon_spawn(CrashDaemon *d, const Host *h, const char *state_dir) {
        pid_t parent = getpid();
        int fds[2];

        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), ==, 0);
        d->pid = fork();
        g_assert_cmpint(d->pid, >=, 0);
        if (d->pid == 0) {
                (void) setpgid(0, 0);
                (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
                calls->daemon = getpid();
                close(fds[0]);
                if (getppid() != parent)
                        _exit(EXIT_FAILURE);
                daemon_main(h, state_dir, fds[1]);
        }

        (void) setpgid(d->pid, d->pid);
        close(fds[1]);
        g_assert_cmpint(sd_bus_new(&d->bus), >=, 0);
        g_assert_cmpint(sd_bus_set_fd(d->bus, fds[0], fds[0]), >=, 0);
        g_assert_cmpint(sd_bus_set_anonymous(d->bus, true), >=, 0);
        /* It may have ended by now; then no call is answered. */
        (void) sd_bus_start(d->bus);
}

void daemon_reap(CrashDaemon *d) {
        fake_freeze();
        (void) kill(-d->pid, SIGKILL);
        /* Its passes have become ours (PR_SET_CHILD_SUBREAPER). */
        while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
                ;
        fake_thaw();
        d->bus = sd_bus_close_unref(d->bus);
        g_clear_pointer(&d->error, g_free);
}

static Answer call(CrashDaemon *d, sd_bus_message *m, sd_bus_message **ret) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = sd_bus_call(d->bus, m, DEADLINE_USEC, &error, ret);
        if (r >= 0)
                return ANSWER_DONE;
        if (sd_bus_is_open(d->bus) <= 0 || r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE)
                return ANSWER_NONE;

        g_free(d->error);
        d->error = g_strdup_printf("%s: %s", error.name, error.message);
        return ANSWER_REFUSED;
}

static void new_call(CrashDaemon *d, const char *wwn, const char *member, sd_bus_message **ret) {
        _cleanup_free_ char *path = NULL;

        if (wwn)
                g_assert_cmpint(sd_bus_path_encode(VHOSTSCSI_TARGET_PREFIX, wwn, &path), >=, 0);
        if (sd_bus_message_new_method_call(d->bus, ret, NULL, path ?: VHOSTSCSI_ROOT_PATH,
                                           path ? VHOSTSCSI_TARGET_INTERFACE : VHOSTSCSI_MANAGER_INTERFACE, member) < 0)
                *ret = NULL;
}

static void append_document(sd_bus_message *m, const char *text, bool prune) {
        _cleanup_close_ int fd = memfd_create("document", MFD_CLOEXEC);

        g_assert_cmpint(fd, >=, 0);
        g_assert_cmpint(write_all(fd, text, strlen(text)), ==, 0);
        g_assert_cmpint(lseek(fd, 0, SEEK_SET), ==, 0);
        g_assert_cmpint(sd_bus_message_append(m, "ha{sv}", fd, 1, "prune", "b", prune), >=, 0);
}

bool order_is_list(const Order *o) {
        return o->kind == ORDER_APPLY || o->kind == ORDER_PRUNE || o->kind == ORDER_ROLLBACK;
}

/* Apply answers with a line for each change: what was refused on the way stands there. */
static bool has_refusals(CrashDaemon *d, sd_bus_message *reply) {
        const char *object, *action, *note;
        bool refused = false;

        g_assert_cmpint(sd_bus_message_enter_container(reply, 'a', "(sss)"), >, 0);
        while (sd_bus_message_read(reply, "(sss)", &object, &action, &note) > 0)
                if (streq(action, change_action_to_string(CHANGE_REFUSE))) {
                        refused = true;
                        g_free(d->error);
                        d->error = g_strdup_printf("%s: %s", object, note);
                }

        return refused;
}

Answer daemon_order(CrashDaemon *d, const Order *o) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        static const struct {
                const char *member;
                bool of_target;
        } members[] = {
                [ORDER_CREATE] = { "CreateTarget", false },
                [ORDER_LABEL] = { "SetLabel", true },
                [ORDER_ADD] = { "AddLun", true },
                [ORDER_REMOVE] = { "RemoveLun", true },
                [ORDER_DESTROY] = { "Destroy", true },
                [ORDER_APPLY] = { "Apply", false },
                [ORDER_PRUNE] = { "Apply", false },
                [ORDER_ADOPT] = { "Adopt", false },
                [ORDER_ROLLBACK] = { "Rollback", false },
        };
        Answer answer;
        int r = 0;

        new_call(d, members[o->kind].of_target ? o->wwn : NULL, members[o->kind].member, &m);
        if (!m)
                return ANSWER_NONE;

        switch (o->kind) {
        case ORDER_CREATE:
                r = sd_bus_message_append(m, "sa{sv}", o->wwn, 2, "nexus", "s", "naa.5001405c000000ff", "label", "s", o->text);
                break;
        case ORDER_LABEL:
                r = sd_bus_message_append(m, "sa{sv}", o->text, 0);
                break;
        case ORDER_ADD:
                r = sd_bus_message_append(m, "sa{sv}", o->text, 1, "number", "u", o->number);
                break;
        case ORDER_REMOVE:
                r = sd_bus_message_append(m, "ua{sv}", o->number, 0);
                break;
        case ORDER_DESTROY:
                r = sd_bus_message_append(m, "a{sv}", 0);
                break;
        case ORDER_ADOPT:
                r = sd_bus_message_append(m, "sa{sv}", o->wwn, 0);
                break;
        case ORDER_APPLY:
        case ORDER_PRUNE:
                append_document(m, o->text, o->kind == ORDER_PRUNE);
                break;
        case ORDER_ROLLBACK:
                r = sd_bus_message_append(m, "ta{sv}", (uint64_t) o->number, 0);
                break;
        }
        g_assert_cmpint(r, >=, 0);

        answer = call(d, m, &reply);
        if (answer == ANSWER_DONE && order_is_list(o) && has_refusals(d, reply))
                answer = ANSWER_REFUSED;
        return answer;
}

Answer daemon_settle(CrashDaemon *d) {
        Answer answer = ANSWER_DONE;

        /* What fails is due at once (daemon_main()), so that a second look waits for the second try. */
        for (unsigned i = 0; i < 2 && answer == ANSWER_DONE; i++) {
                _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;

                new_call(d, NULL, "Rescan", &m);
                answer = m ? call(d, m, &reply) : ANSWER_NONE;
        }

        return answer;
}

uint64_t daemon_generation(CrashDaemon *d) {
        uint64_t generation;

        g_assert_cmpint(sd_bus_get_property_trivial(d->bus, NULL, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE, "Generation", NULL, 't',
                                                    &generation), >=, 0);
        return generation;
}

char *daemon_dump(CrashDaemon *d) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        g_autofree char *path = NULL;
        char *text = NULL;
        int fd;

        new_call(d, NULL, "ExportConfig", &m);
        if (!m)
                return NULL;

        g_assert_cmpint(sd_bus_message_append(m, "sa{sv}", "native", 0), >=, 0);
        if (call(d, m, &reply) != ANSWER_DONE)
                return NULL;

        g_assert_cmpint(sd_bus_message_read(reply, "h", &fd), >=, 0);
        path = g_strdup_printf("/proc/self/fd/%d", fd);
        g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
        return text;
}

/* ---- the rest of the host ---- */

static void make(Cfs *c, const char *wwn, unsigned hba, unsigned disk) {
        g_autofree char *core = g_strdup_printf("core/iblock_%u", hba), *backstore = g_strdup_printf("%s/theirs", core);
        g_autofree char *control = g_strdup_printf("%s/control", backstore), *enable = g_strdup_printf("%s/enable", backstore);
        g_autofree char *serial = g_strdup_printf("%s/wwn/vpd_unit_serial", backstore);
        g_autofree char *udev_path = g_strdup_printf("%s/udev_path", backstore);
        g_autofree char *node = g_strdup_printf("/dev/fake%u", disk), *value = g_strdup_printf("udev_path=%s", node);
        g_autofree char *target = g_strdup_printf("vhost/%s", wwn), *tpg = g_strdup_printf("%s/tpgt_1", target);
        g_autofree char *nexus = g_strdup_printf("%s/nexus", tpg), *lun = g_strdup_printf("%s/lun/lun_0", tpg);
        g_autofree char *link = g_strdup_printf("%s/7c4ab1c3f2", lun);

        g_assert_cmpint(cfs_mkdir(c, core), ==, 0);
        g_assert_cmpint(cfs_mkdir(c, backstore), ==, 0);
        g_assert_cmpint(cfs_write(c, control, value), ==, 0);
        g_assert_cmpint(cfs_write(c, udev_path, node), ==, 0);
        g_assert_cmpint(cfs_write(c, enable, "1"), ==, 0);
        g_assert_cmpint(cfs_write(c, serial, target), ==, 0);
        g_assert_cmpint(cfs_mkdir(c, target), ==, 0);
        g_assert_cmpint(cfs_mkdir(c, tpg), ==, 0);
        g_assert_cmpint(cfs_write(c, nexus, wwn), ==, 0);
        g_assert_cmpint(cfs_mkdir(c, lun), ==, 0);
        g_assert_cmpint(cfs_symlink(c, backstore, link), ==, 0);
}

static void add_block(unsigned n) {
        g_autofree char *node = g_strdup_printf("/dev/fake%u", n);

        fake_block_add_simple(makedev(250, n), node, 100 + n);
}

void host_make(const Host *h) {
        Cfs *c;

        fake_reset();
        g_assert_cmpint(cfs_new(0, &c), ==, 0);
        for (unsigned i = 1; i <= h->n_disks; i++)
                add_block(i);
        add_block(FOREIGN_DISK);
        add_block(ADOPTED_DISK);
        (void) cfs_mkdir(c, "vhost");
        make(c, WWN_FOREIGN, 40, FOREIGN_DISK);
        if (h->adoptable)
                make(c, WWN_ADOPTED, 41, ADOPTED_DISK);
        cfs_free(c);
}

char *host_theirs(const Host *h) {
        _cleanup_free_ char *all = fake_snapshot(FAKE_SNAPSHOT_IDS);
        GString *s = g_string_new(NULL);

        for (char *save = NULL, *line = strtok_r(all, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
                if (strstr(line, WWN_FOREIGN) || strstr(line, "core/iblock_40") ||
                    (h->adoptable && (strstr(line, WWN_ADOPTED) || strstr(line, "core/iblock_41"))))
                        g_string_append_printf(s, "%s\n", line);

        g_assert_cmpuint(s->len, >, 100);
        return g_string_free(s, FALSE);
}
