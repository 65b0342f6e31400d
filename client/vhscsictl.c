/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "arguments.h"
#include "bus-client.h"
#include "config.h"
#include "exit-status.h"
#include "hook-settings.h"
#include "print.h"
#include "text.h"
#include "verbs.h"

#define WHAT_COLUMNS 120

typedef struct Verb {
        const char *name;
        int min, max;           /* arguments after the verb */
        uint64_t options;       /* VerbOption: those that it takes */
        int (*run)(Client *c, char **argv);
} Verb;

static const Verb verbs[] = {
        { "list",       0, 0, 0,                                                                    verb_list },
        { "show",       1, 1, 0,                                                                    verb_show },
        { "status",     0, 0, 0,                                                                    verb_status },
        { "devices",    0, 0, 0,                                                                    verb_devices },
        { "stat",       0, 1, OPTION_WATCH,                                                         verb_stat },
        { "doctor",     0, 0, 0,                                                                    verb_doctor },
        { "monitor",    0, 0, 0,                                                                    verb_monitor },
        { "ready",      1, 1, OPTION_WAIT,                                                          verb_ready },
        { "qemu-args",  1, 1, OPTIONS_DEVICE | OPTION_BUS | OPTION_ADDR | OPTION_DEVNO | OPTION_MIGRATABLE | OPTION_SHELL, verb_qemu_args },
        { "libvirt-xml", 1, 1, OPTIONS_DEVICE | OPTION_ADDRESS,                                     verb_libvirt_xml },
        { "create",     0, 1, OPTIONS_CHANGE | OPTION_LABEL | OPTION_SEED | OPTION_NEXUS | OPTION_IF_ABSENT, verb_create },
        { "set-label",  2, 2, OPTIONS_CHANGE,                                                       verb_set_label },
        { "destroy",    1, 1, OPTIONS_CHANGE | OPTION_FORCE,                                        verb_destroy },
        { "adopt",      0, 1, OPTIONS_CHANGE | OPTION_ALL,                                          verb_adopt },
        { "add-lun",    2, 2, OPTIONS_CHANGE | OPTIONS_LUN,                                         verb_add_lun },
        { "remove-lun", 2, 2, OPTIONS_CHANGE | OPTION_FORCE,                                        verb_remove_lun },
        { "export",     1, 1, OPTIONS_CHANGE | OPTIONS_LUN | OPTION_TARGET,                         verb_export },
        { "acquire",    2, 2, OPTIONS_CHANGE | OPTION_FORCE | OPTION_NAME | OPTION_PID | OPTION_SEED | OPTION_WAIT, verb_acquire },
        { "release",    2, 2, OPTIONS_CHANGE | OPTION_FORCE,                                        verb_release },
        { "libvirt-hook", 0, 4, OPTION_INSTALL | OPTION_STRICT | OPTION_WAIT,                       verb_libvirt_hook },
        { "plan",       0, 1, OPTION_PRUNE | OPTION_FORCE | OPTION_IF_GENERATION | OPTION_TIMEOUT,  verb_plan },
        { "apply",      0, 1, OPTIONS_CHANGE | OPTION_PRUNE | OPTION_FORCE | OPTION_PARTLY,         verb_apply },
        { "import",     1, 2, OPTIONS_CHANGE | OPTION_FORCE | OPTION_PARTLY | OPTION_TARGET,        verb_import },
        { "dump",       1, 1, OPTION_TARGET | OPTION_PORTABLE | OPTION_PARTLY | OPTION_GENERATION,  verb_dump },
        { "history",    0, 0, 0,                                                                    verb_history },
        { "diff",       0, 2, 0,                                                                    verb_diff },
        { "rollback",   1, 1, OPTIONS_CHANGE | OPTION_FORCE | OPTION_PARTLY,                        verb_rollback },
        { "rescan",     0, 0, 0,                                                                    verb_rescan },
};

static const char help_text[] =
        "vhscsictl [OPTIONS...] VERB ...\n"
        "\n"
        "Give disks of this host to virtual machines through vhost-scsi.\n"
        "\n"
        "Look:\n"
        "  list                         The targets\n"
        "  show WWN                     One target, its LUNs, and what the guest calls them\n"
        "  devices                      The host's block devices, and which of them can be exported\n"
        "  ready WWN                    Can a guest be started on it? --wait=TIME waits until it can\n"
        "  qemu-args WWN                What gives it to a guest, on QEMU's command line\n"
        "  libvirt-xml WWN              The same for a domain of libvirt\n"
        "  status                       Is all well? The exit status says it, too\n"
        "  stat [WWN]                   What the kernel has counted: operations, bytes, errors\n"
        "  doctor                       What on this host will hurt some day, and what to do about it\n"
        "  monitor                      Follow what changes, a line each\n"
        "  history                      The last changes: when, who and what\n"
        "  diff [N [M]]                 What is different now, or was at generation M, from generation N\n"
        "\n"
        "Change:\n"
        "  create [WWN]                 Make a target; without a WWN, one is generated and printed\n"
        "  set-label WWN LABEL          Give a target a name for people\n"
        "  destroy WWN                  Remove a target and all its LUNs\n"
        "  adopt WWN                    Take over what somebody else made (targetcli), as it is\n"
        "  add-lun WWN SOURCE           Give a disk to a target; prints the LUN's number\n"
        "  remove-lun WWN LUN           Take a disk away\n"
        "  export DEVICE                create and add-lun in one; prints WWN and LUN\n"
        "  acquire WWN OWNER            Reserve a target for a guest, before it is started\n"
        "  release WWN OWNER            Give it back\n"
        "  libvirt-hook GUEST OP ...    libvirt's hook of QEMU domains: acquires and releases their targets\n"
        "  plan [FILE]                  What apply would do; vhscsid-document(5) has the format\n"
        "  apply [FILE]                 Make everything as the document says\n"
        "  import FORMAT [FILE]         Take over targetcli's configuration (targetcli), or a dump (native)\n"
        "  dump FORMAT                  Print what is wanted, as native or targetcli\n"
        "  rollback N                   Make everything as it was at generation N\n"
        "  rescan                       Have the daemon look at all devices and at the kernel again\n"
        "\n"
        "WWN is a target's WWN in any notation, or its label if no other target has the same.\n"
        "SOURCE and DEVICE: /dev/..., dm-uuid=..., wwid=..., by-id=..., file=/...; a disk may come later.\n"
        "\n"
        "Options of the verbs that change something:\n"
        "     --dry-run                 Check it, change nothing\n"
        "     --timeout=TIME            Give up waiting after TIME (30s, 5min)\n"
        "     --if-generation=N         Only if nothing has changed since generation N (see status)\n"
        "     --force                   destroy, remove-lun, plan, apply, import, rollback: even under a\n"
        "                               running guest\n"
        "                               acquire, release: from whoever has the target\n"
        "     --label=TEXT              create: a name for people\n"
        "     --seed=TEXT               create, acquire: derive the WWN from this, such as the guest's UUID\n"
        "     --nexus=WWN               create: the nexus, which keys persistent reservations\n"
        "     --if-absent               create: an existing target of ours is fine\n"
        "     --all                     adopt: every foreign target\n"
        "     --prune                   plan, apply: remove what is not in the document\n"
        "     --partly                  apply, import, rollback: what is refused does not keep the rest\n"
        "                               dump: what cannot be said in the format is left out\n"
        "     --portable                dump: for another host\n"
        "     --generation=N            dump: as it was then; see history\n"
        "     --wait=TIME               ready, acquire, libvirt-hook: wait so long for what is missing\n"
        "     --pid=PID                 acquire: released when this process ends\n"
        "     --strict                  libvirt-hook: without the daemon nothing is started\n"
        "     --install                 libvirt-hook: have libvirt call it\n"
        "     --target=WWN              export: to this target; import, dump: this one only\n"
        "     --lun=N                   add-lun, export: this number; else the lowest free one\n"
        "     --readonly                add-lun, export: the guest may not write\n"
        "     --name=TEXT               add-lun, export: the backstore's name, the guest's \"model\"\n"
        "                               acquire: the guest's name, for people\n"
        "     --serial=TEXT             add-lun, export: the unit serial, which makes the guest's wwn-...\n"
        "     --shareable               add-lun, export: the device may be exported more than once\n"
        "     --path                    add-lun, export: one path of a disk, without multipath here\n"
        "     --attribute=NAME=VALUE    add-lun, export: an LIO attribute; may be repeated\n"
        "     --bus=pci|ccw             qemu-args: the guest's bus; pci if not said\n"
        "     --addr=[BUS:]SLOT[.FN]    qemu-args: its place on pci, as 0x5 or pcie.0:0x5\n"
        "     --devno=CSSID.SSID.DEVNO  qemu-args: its place on ccw, as fe.0.1000\n"
        "     --address=ADDRESS         libvirt-xml: its place, as 0000:00:05.0 or fe.0.1000\n"
        "     --boot=N                  qemu-args, libvirt-xml: the guest may boot from LUN 0\n"
        "     --queues=N                qemu-args, libvirt-xml: so many request queues\n"
        "     --qemu-version=VERSION    qemu-args, libvirt-xml: use what this QEMU can do\n"
        "     --migratable              qemu-args: let it be migrated live; see vhscsictl(1) before\n"
        "     --shell                   qemu-args: quoted for a shell\n"
        "     --watch                   stat: what is added each second, until ^C\n"
        "\n"
        "Other options:\n"
        "  -h --help                    Show this help\n"
        "     --version                 Show the version\n"
        "  -H --host=[USER@]HOST        Talk to a remote host, by ssh\n"
        "  -M --machine=CONTAINER       Talk to a local container\n"
        "     --json[=short|pretty|off] Print JSON instead of tables\n"
        "     --no-ask-password         Do not ask for a password\n"
        "     --no-pager                Do not pipe output into a pager\n"
        "     --no-legend               Print no column titles\n"
        "  -l --full                     Do not shorten columns to fit the terminal\n"
        "\n"
        "Exit status: 0 is success, 2 a wrong command line; each kind of refusal and each verdict of\n"
        "'status' has its own number. See EXIT STATUS in vhscsictl(1).\n";

static const Verb *verb_find(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                if (streq(verbs[i].name, name))
                        return verbs + i;

        return NULL;
}

/* "add-lun naa.5001405… /dev/sda": fit for a message, whatever the arguments are. */
static char *what_new(char **words) {
        _cleanup_free_ char *line = NULL, *escaped = NULL;
        size_t size = 1;
        char *p;

        for (char **w = words; *w; w++)
                size += strlen(*w) + 1;

        line = p = malloc(size);
        if (!line)
                return NULL;
        *p = 0;

        for (char **w = words; *w; w++) {
                p = stpcpy(p, w > words ? " " : "");
                p = stpcpy(p, *w);
        }

        escaped = text_escape(line);
        return escaped ? text_shorten(escaped, WHAT_COLUMNS) : NULL;
}

static int usage(const Client *c, const char *problem) {
        fprintf(stderr, "vhscsictl: %s: %s. See 'vhscsictl --help'.\n", c->what, problem);
        return EXIT_USAGE;
}

static int verb_check(const Client *c, const Verb **ret) {
        const Arguments *a = c->arguments;
        char problem[128];
        const Verb *v;

        v = verb_find(a->verb[0]);
        if (!v)
                return usage(c, "there is no such verb");

        if (a->n_verb - 1 < v->min)
                return usage(c, "something is missing");
        if (a->n_verb - 1 > v->max)
                return usage(c, "too many arguments");

        if (a->given & ~v->options) {
                (void) snprintf(problem, sizeof problem, "--%s is not for this verb", arguments_option_name(a->given & ~v->options));
                return usage(c, problem);
        }

        *ret = v;
        return 0;
}

static int run(const Arguments *a) {
        _cleanup_(client_done) Client c = { .arguments = a };
        const Verb *v;
        int r;

        if (a->help) {
                r = print_open_pager();
                if (r < 0)
                        return r;
                fputs(help_text, stdout);
                return 0;
        }
        if (a->version) {
                puts("vhscsictl " PACKAGE_VERSION);
                return 0;
        }

        /* Without a verb, as systemctl, show what there is. */
        c.what = a->n_verb > 0 ? what_new(a->verb) : strdup("list");
        if (!c.what)
                return -ENOMEM;

        if (a->n_verb == 0) {
                if (a->given)
                        return usage(&c, "a verb is missing");
                return verb_list(&c, NULL);
        }

        r = verb_check(&c, &v);
        if (r != 0)
                return r;

        r = v->run(&c, a->verb);
        if (r < 0) {
                fprintf(stderr, "vhscsictl: %s: %s.\n", c.what, strerror(-r));
                return EXIT_FAILURE;
        }

        return r;
}

/* libvirt's words are no options of ours, whatever a guest is called. */
static bool is_hook(int argc, char **argv) {
        const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;

        return argc > 0 && streq(slash ? slash + 1 : argv[0], HOOK_NAME);
}

static int hook_arguments(Arguments *a, int argc, char **argv) {
        static char verb[] = "libvirt-hook";

        argv[0] = verb;
        *a = (Arguments) { .verb = argv, .n_verb = argc, .is_hook = true };
        return 0;
}

int main(int argc, char **argv) {
        _cleanup_(arguments_done) Arguments a = {};
        int r, status;

        text_init();

        r = is_hook(argc, argv) ? hook_arguments(&a, argc, argv) : arguments_parse(&a, argc, argv);
        if (r > 0)
                return r;
        if (r == 0) {
                print_init(&a);
                r = run(&a);
        }

        status = r < 0 ? EXIT_FAILURE : r;
        if (r < 0)
                fprintf(stderr, "vhscsictl: %s.\n", strerror(-r));

        r = print_done();
        if (r < 0 && status == 0) {
                fprintf(stderr, "vhscsictl: cannot write the output: %s.\n", strerror(-r));
                return EXIT_FAILURE;
        }

        return status;
}
