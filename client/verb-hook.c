/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/errno.h"
#include "base/fileio.h"
#include "base/parse.h"
#include "connection.h"
#include "dbus/vhostscsi-names.h"
#include "domain.h"
#include "exit-status.h"
#include "hook-settings.h"
#include "verbs.h"
#include "watch.h"

/* libvirt's hook of QEMU domains. libvirt waits for it, and takes its words only at "prepare": a failing "started" or "reconnect" would
 * kill a guest that runs (src/qemu/qemu_process.c), so what is said there is said and no more. Nothing goes to standard output,
 * which libvirt takes for another XML at "migrate" and "restore". Nothing is asked of libvirt, which waits. */

#define DOMAIN_MAX (4U * 1024 * 1024)           /* as much as libvirt takes from its own clients */
#define SETTLED_USEC (UINT64_C(5) * 1000000)    /* for what is not refused in any case */
#define RETURN_USEC (UINT64_C(30) * 1000000)    /* for the same, when the daemon is restarted: it looks at everything before it answers */
#define GRACE_USEC UINT64_C(1000000)            /* the daemon's own words at the deadline are better than ours */
#define ASKED_USEC (UINT64_C(5) * 1000000)      /* so long it waits for the kernel, to say who is attached, however short the deadline is */
#define NUMBER_MAX 64U                          /* bytes of a small file with a number or a name in it */

#define FABRIC_DIR "/sys/kernel/config/target/vhost"
#define RUN_DIR "/run/libvirt/qemu"

typedef struct Hook {
        Client *client;
        const char *guest;
        Domain domain;
        HookSettings settings;
        pid_t parent;
        uint32_t libvirt;       /* the parent, if it is a libvirt daemon: if that ends, nobody starts the guest, nor tells of its end */
        Watch watch;
        uint64_t until;         /* CLOCK_MONOTONIC, µs */
        uint64_t patience;      /* µs, from when the daemon leaves */
        sd_bus_error silence;   /* why the daemon, or the bus, gives no answer: it is asked once */
} Hook;

static void hook_done(Hook *h) {
        watch_done(&h->watch);
        domain_done(&h->domain);
        sd_bus_error_free(&h->silence);
}

static uint64_t usec_left(const Hook *h) {
        uint64_t now = monotonic_usec();

        return h->until > now ? h->until - now : 0;
}

/* ---- processes ---- */

/* Looked for once, at the begin: later, init has taken its place if it ended. -ESRCH: it has ended already. */
static int find_libvirt(Hook *h) {
        static const char *const names[] = { "libvirtd", "virtqemud" };
        _cleanup_free_ char *name = NULL;
        char path[64];
        int r;

        h->parent = getppid();
        snprintf(path, sizeof path, "/proc/%d/comm", (int) h->parent);
        r = read_attribute_at(AT_FDCWD, path, NUMBER_MAX, &name);
        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(names); i++)
                if (streq(name, names[i]))
                        h->libvirt = (uint32_t) h->parent;

        /* Whom init has taken over was libvirt's: nobody else calls the hook by that name. */
        return getppid() != h->parent || (h->client->arguments->is_hook && h->parent == 1 && h->libvirt == 0) ? -ESRCH : 0;
}

/* QEMU's, of a guest that runs. 0: libvirt does not say. */
static uint32_t qemu_pid(const Hook *h) {
        _cleanup_free_ char *path = NULL, *text = NULL;
        uint32_t pid;
        size_t size;

        if (strchr(h->guest, '/') || asprintf(&path, "%s" RUN_DIR "/%s.pid", hook_root(), h->guest) < 0) {
                path = NULL;
                return 0;
        }

        return read_file_at(AT_FDCWD, path, NUMBER_MAX, &text, &size) >= 0 && parse_u32(text, &pid) >= 0 ? pid : 0;
}

/* ---- asking ---- */

/* Did the daemon itself say so, rather than the bus in its stead? */
static bool is_answer(const sd_bus_error *e) {
        return startswith(e->name, VHOSTSCSI_ERROR("")) || sd_bus_error_has_name(e, SD_BUS_ERROR_ACCESS_DENIED) ||
                sd_bus_error_has_name(e, SD_BUS_ERROR_INVALID_ARGS) ||
                sd_bus_error_has_name(e, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED);
}

/* What else the daemon is told of an owner. */
typedef struct Owner {
        bool running;
        bool waits;
        uint32_t pid;           /* 0: none is named */
} Owner;

static int append_owner(sd_bus_message *m, const Hook *h, const Owner *o) {
        int r;

        r = sd_bus_message_append(m, "{sv}{sv}{sv}", "kind", "s", "libvirt", "name", "s", h->guest, "uuid", "s", h->domain.uuid);
        if (r >= 0 && o->running)
                r = sd_bus_message_append(m, "{sv}", "running", "b", 1);
        if (r >= 0 && o->pid > 0)
                r = sd_bus_message_append(m, "{sv}", "pid", "u", o->pid);
        if (r >= 0 && o->waits)
                r = sd_bus_message_append(m, "{sv}", "wait", "t", usec_left(h));
        return r;
}

/* A call that the bus holds until the daemon is there would let that wait from then on, past the deadline: so it is started first, and told what
 * is left. */
static int start_daemon(Hook *h, sd_bus_error *error) {
        _cleanup_message_ sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(h->client->bus, &m, "org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                           "StartServiceByName");
        if (r >= 0)
                r = sd_bus_message_append(m, "su", VHOSTSCSI_BUS_NAME, 0);
        if (r >= 0)
                r = sd_bus_call(h->client->bus, m, usec_left(h) + GRACE_USEC, error, NULL);

        /* Not the bus's to start: it is there, or it is not. */
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN)) {
                sd_bus_error_free(error);
                return 0;
        }

        return r;
}

static int ask_once(Hook *h, const char *member, const char *wwn, const Owner *owner, sd_bus_error *error) {
        _cleanup_message_ sd_bus_message *m = NULL;
        uint64_t timeout;
        int r;

        h->watch.news = false;
        r = client_open(h->client, usec_left(h) + GRACE_USEC);
        if (r >= 0 && !h->watch.client) {
                h->watch.client = h->client;
                r = watch_daemon(&h->watch);
        }
        if (r >= 0 && owner && owner->waits)
                r = start_daemon(h, error);
        timeout = MAX(usec_left(h), owner && owner->waits ? ASKED_USEC : 0);
        if (r >= 0)
                r = sd_bus_message_new_method_call(h->client->bus, &m, VHOSTSCSI_BUS_NAME, VHOSTSCSI_ROOT_PATH, VHOSTSCSI_MANAGER_INTERFACE,
                                                   member);
        if (r >= 0)
                r = sd_bus_message_append(m, "ss", wwn, h->domain.uuid);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0 && owner)
                r = append_owner(m, h, owner);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_set_allow_interactive_authorization(m, false);
        if (r >= 0)
                r = sd_bus_call(h->client->bus, m, timeout + GRACE_USEC, error, NULL);
        if (r < 0 && r != -ENOMEM && !sd_bus_error_is_set(error))
                sd_bus_error_setf(error, SD_BUS_ERROR_DISCONNECTED, "%s", strerror(-r));

        return r;
}

/* Until the daemon comes, or has gone so that the bus starts it if it is asked for. false: in vain. */
static bool await_daemon(Hook *h) {
        h->until = MAX(h->until, h->patience > 0 ? monotonic_usec() + h->patience : 0);
        h->patience = 0;

        while (!h->watch.news && usec_left(h) > 0)
                if (sd_event_run(h->client->event, usec_left(h)) < 0)
                        return false;

        return h->watch.news;
}

/* Whatever is asked may be asked again, of a daemon that is restarted meanwhile. owner NULL: nothing is told. Negative with an error that has
 * a name, or -ENOMEM without. */
static int ask(Hook *h, const char *member, const char *wwn, const Owner *owner, sd_bus_error *error) {
        int r;

        if (sd_bus_error_is_set(&h->silence))
                return sd_bus_error_copy(error, &h->silence);

        for (;;) {
                r = ask_once(h, member, wwn, owner, error);
                if (r >= 0 || r == -ENOMEM || is_answer(error))
                        return r;
                if (!watch_loses(&h->watch, error) || !await_daemon(h))
                        break;
                sd_bus_error_free(error);
        }

        (void) sd_bus_error_copy(&h->silence, error);
        return r;
}

/* ---- the operations ---- */

/* As the kernel knows it. libvirt passes other spellings on, under which nothing is found. */
static bool is_wwpn(const char *s) {
        const char *digits = startswith(s, "naa.");

        return digits && strlen(digits) == 16 && strspn(digits, "0123456789abcdef") == 16;
}

static bool target_exists(const char *wwn) {
        _cleanup_free_ char *path = NULL;

        if (asprintf(&path, "%s" FABRIC_DIR "/%s", hook_root(), wwn) < 0) {
                path = NULL;
                return false;
        }

        return access(path, F_OK) == 0;
}

/* Says why, in a line, and gives the exit status. */
static int refuse(const Hook *h, const char *error, const char *why) {
        client_note("vhscsid: cannot start %s: %s", h->guest, why);
        return exit_status_for_error(error)->status;
}

/* Without the daemon: what is there is as good as it was when the hook was not, unless somebody has to be sure. */
static int prepare_alone(const Hook *h, const char *wwn, const sd_bus_error *error) {
        bool exists = target_exists(wwn);
        _cleanup_free_ char *why = NULL;

        if (exists && !h->settings.strict) {
                client_note("vhscsid gives no answer (%s); %s is started on target %s, which is there, unchecked", strempty(error->message),
                            h->guest, wwn);
                return 0;
        }

        if (asprintf(&why, "vhscsid gives no answer (%s), and %s %s", strempty(error->message),
                     exists ? "without one nothing is started (strict) on target" : "there is no target", wwn) < 0) {
                why = NULL;
                return -ENOMEM;
        }

        return refuse(h, error->name, why);
}

static int prepare_target(Hook *h, const char *wwn) {
        Owner owner = { .waits = true, .pid = h->libvirt };
        _cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = ask(h, "Acquire", wwn, &owner, &error);
        if (r >= 0)
                return 0;
        if (!sd_bus_error_is_set(&error))
                return r;

        return is_answer(&error) ? refuse(h, error.name, strempty(error.message)) : prepare_alone(h, wwn, &error);
}

static bool is_orphan(const Hook *h) {
        return h->libvirt > 0 && getppid() != h->parent;
}

static int refuse_orphan(const Hook *h) {
        return refuse(h, VHOSTSCSI_ERROR("NotReady"), "the libvirt daemon that starts it has ended");
}

static int prepare(Hook *h) {
        size_t n = 0;
        int r = 0;

        for (size_t i = 0; h->domain.wwpns[i]; i++)
                if (!is_wwpn(h->domain.wwpns[i])) {
                        _cleanup_free_ char *why = NULL;

                        if (asprintf(&why, "no target is found by the wwpn '%s': write naa. and 16 digits, a to f as small letters",
                                     h->domain.wwpns[i]) < 0) {
                                why = NULL;
                                return -ENOMEM;
                        }
                        return refuse(h, VHOSTSCSI_ERROR("InvalidWwn"), why);
                }

        h->until = monotonic_usec() + h->settings.deadline;
        for (; r == 0 && h->domain.wwpns[n]; n += r == 0)
                r = is_orphan(h) ? refuse_orphan(h) : prepare_target(h, h->domain.wwpns[n]);
        if (r == 0 && is_orphan(h))
                r = refuse_orphan(h);

        /* All or nothing. libvirt calls for "release" now, but who calls by hand may not. */
        h->until = monotonic_usec() + SETTLED_USEC;
        for (size_t i = 0; r != 0 && i < n; i++) {
                _cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;

                (void) ask(h, "Release", h->domain.wwpns[i], NULL, &error);
        }

        return r;
}

/* It runs: from now on the end of QEMU is the end of it, whoever else comes and goes. */
static void running(Hook *h) {
        Owner owner = { .running = true, .pid = qemu_pid(h) };

        for (char **wwn = h->domain.wwpns; *wwn; wwn++) {
                _cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;

                if (!sd_bus_error_is_set(&h->silence) && ask(h, "Acquire", *wwn, &owner, &error) < 0)
                        client_note("vhscsid: %s runs, but does not have target %s: %s", h->guest, *wwn, strempty(error.message));
        }
}

/* Also after "prepare" was refused: then another one may have it, and that is no news. */
static void release(Hook *h) {
        for (char **wwn = h->domain.wwpns; *wwn; wwn++) {
                _cleanup_error_ sd_bus_error error = SD_BUS_ERROR_NULL;

                if (!sd_bus_error_is_set(&h->silence) && ask(h, "Release", *wwn, NULL, &error) < 0 &&
                    !sd_bus_error_has_name(&error, VHOSTSCSI_ERROR("InUse")) && !sd_bus_error_has_name(&error, VHOSTSCSI_ERROR("NotFound")))
                        client_note("vhscsid: target %s is not released by %s: %s", *wwn, h->guest, strempty(error.message));
        }
}

static int read_domain(Domain *ret, const char **ret_why) {
        _cleanup_free_ char *text = malloc(DOMAIN_MAX + 1);
        size_t size;
        int r;

        if (!text)
                return -ENOMEM;

        size = fread(text, 1, DOMAIN_MAX + 1, stdin);
        *ret_why = ferror(stdin) ? "it cannot be read" : size > DOMAIN_MAX ? "it is larger than 4 MiB" : NULL;
        if (*ret_why)
                return -EINVAL;

        r = domain_parse(text, size, ret, ret_why);
        if (r >= 0 && ret->wwpns && !ret->uuid) {
                *ret_why = "it has no uuid";
                return -EINVAL;
        }

        return r;
}

static int run_hook(Hook *h, const char *operation) {
        bool prepares = streq(operation, "prepare"), begun = streq(operation, "started") || streq(operation, "reconnect");
        bool orphan;
        const char *why;
        int r;

        if (!prepares && !begun && !streq(operation, "release"))
                return 0;

        orphan = find_libvirt(h) < 0;
        r = read_domain(&h->domain, &why);
        if (r == -EINVAL) {
                client_note("vhscsid: cannot %s %s: the domain on standard input: %s", prepares ? "start" : "tell of", h->guest, why);
                return prepares ? EXIT_USAGE : 0;
        }
        if (r < 0)
                return prepares ? r : 0;
        if (!h->domain.wwpns)
                return 0;

        if (prepares && orphan)
                return refuse_orphan(h);
        if (prepares) {
                r = hook_settings_load(&h->settings, h->client->arguments);
                return r < 0 ? r : prepare(h);
        }

        h->until = monotonic_usec() + SETTLED_USEC;
        h->patience = RETURN_USEC;
        if (begun)
                running(h);
        else
                release(h);
        return 0;
}

/* ---- --install ---- */

static int make_directories(char *path) {
        for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
                int r;

                *p = 0;
                r = mkdir(path, 0755) < 0 && errno != EEXIST ? negative_errno() : 0;
                *p = '/';
                if (r < 0)
                        return r;
        }

        return 0;
}

static int read_link(const char *path, char ret[static PATH_MAX]) {
        ssize_t n = readlink(path, ret, PATH_MAX - 1);

        if (n < 0)
                return negative_errno();

        ret[n] = 0;
        return 0;
}

/* A link to this very program, which knows by the link's name what it is called for: no shell comes between. */
static int install(Client *c) {
        char self[PATH_MAX], there[PATH_MAX];
        _cleanup_free_ char *path = NULL;
        int r;

        if (asprintf(&path, "%s" HOOK_DIR "/" HOOK_NAME, hook_root()) < 0) {
                path = NULL;
                return -ENOMEM;
        }

        r = read_link("/proc/self/exe", self);
        if (r >= 0)
                r = make_directories(path);
        if (r >= 0)
                r = symlink(self, path) < 0 ? negative_errno() : 0;
        if (r == -EEXIST) {
                if (read_link(path, there) < 0 || !streq(there, self)) {
                        client_note("vhscsictl: %s: %s is there already, and is another one. Remove it first.", c->what, path);
                        return exit_status_for_error(VHOSTSCSI_ERROR("AlreadyExists"))->status;
                }
                return 0;
        }
        if (r < 0) {
                client_note("vhscsictl: %s: %s: %s.", c->what, path, strerror(-r));
                return EXIT_FAILURE;
        }

        client_note("%s -> %s. A libvirtd or virtqemud that runs looks for hooks when it is restarted.", path, self);
        return 0;
}

int verb_libvirt_hook(Client *c, char **argv) {
        _cleanup_(hook_done) Hook h = { .client = c };

        if (c->arguments->given & OPTION_INSTALL) {
                if (argv[1] || (c->arguments->given & ~OPTION_INSTALL)) {
                        client_note("vhscsictl: %s: --install stands alone. See 'vhscsictl --help'.", c->what);
                        return EXIT_USAGE;
                }
                return install(c);
        }
        if (!argv[1] || !argv[2]) {
                client_note("vhscsictl: %s: something is missing. See 'vhscsictl --help'.", c->what);
                return EXIT_USAGE;
        }

        h.guest = argv[1];
        return run_hook(&h, argv[2]);
}
