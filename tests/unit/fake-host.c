/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <limits.h>
#include <stdarg.h>
#include <sys/sysmacros.h>

#include "base/strv.h"
#include "fake-cfs.h"
#include "kernel/bringup.h"
#include "kernel/guests.h"
#include "kernel/uevents.h"
#include "model/qemu-device.h"

/* Stands for kernel/bringup.c, kernel/guests.c and kernel/uevents.c in vhscsid-fake: the whole daemon on a host that is made up, for
 * test-bus.py and for people with a debugger. The host has disks /dev/fake0 … (wwid=36000, …), and with VHSCSID_FAKE_FABRIC=bundled in the
 * environment the module vhscsi. It obeys lines on standard input, each answered with "ok" or "error: …" on standard output:
 *
 *   disk N [SIZE]       appears, or appears again as a new instance        attach WWN, detach WWN   a guest comes, goes
 *   gone N              is removed                                         foreign WWN N            a target of somebody else's with disk N
 *   suspend N, resume N with I/O in flight: unlinking waits                fail CALL PATTERN ERRNO [TIMES] the next such call fails (mkdir, …)
 *   node 0, node 1      /dev/vhost-scsi goes, comes                        run PID WWN NAME        a QEMU, of which the kernel knows nothing
 *   quit                                                                   end                     it ends
 *   journal             the mutating calls so far, and forgets them */

#define DISKS_MAX 1024U
#define DISKS_DEFAULT 4U
#define MAJOR 250U

typedef struct Disk {
        bool there;
        bool suspended;
        bool unread;            /* set aside at a start */
        uint64_t diskseq;
        uint64_t size;
} Disk;

struct Uevents {
        sd_event_source *input;
        uevents_device_t on_device;
        uevents_wanted_t is_wanted;
        void *userdata;
};

struct Guests {
        guests_news_t on_news;
        void *userdata;
};

static Disk disks[DISKS_MAX];
static Guests *guests;          /* NULL: nobody wants to know, or can */
static uint64_t last_diskseq;
static bool without_node;

void fabric_done(Fabric *f) {
        free(f->version);
        *f = (Fabric) {};
}

uint32_t fabric_queues_max(const Fabric *f) {
        return QEMU_QUEUES_MAX;
}

/* "node 0", or the file $RUNTIME_DIRECTORY/no-node, of whose coming and going the daemon hears nothing. */
const char *fabric_find_problem(const Fabric *f, const char **ret_why) {
        const char *directory = getenv("RUNTIME_DIRECTORY");
        char path[PATH_MAX];

        *ret_why = "The node is not there: so it was said on standard input, or by a file";
        snprintf(path, sizeof path, "%s/no-node", strempty(directory));
        return without_node || access(path, F_OK) == 0 ? "no-node" : NULL;
}

static void disk_appear(unsigned n, uint64_t size) {
        char node[32];

        snprintf(node, sizeof node, "/dev/fake%u", n);
        disks[n] = (Disk) { .there = true, .diskseq = ++last_diskseq, .size = size };
        fake_block_add_simple(makedev(MAJOR, n), node, disks[n].diskseq);
}

int bringup(Fabric *ret_fabric, int *ret_fd, const char **ret_step) {
        char *version = strdup("0");

        if (!version)
                return -ENOMEM;

        fake_reset();
        for (unsigned n = 0; n < DISKS_DEFAULT; n++)
                disk_appear(n, UINT64_C(1) << 20);

        *ret_fabric = (Fabric) { .module = "vhost_scsi", .origin = "in-tree", .version = version };
        if (streq_ptr(getenv("VHSCSID_FAKE_FABRIC"), "bundled")) {
                fake_set_bundled();
                *ret_fabric = (Fabric) { .module = "vhscsi", .origin = "bundled", .version = version };
        }
        *ret_fd = 0;
        return 0;
}

static int text(char **ret, const char *format, unsigned n) {
        *ret = NULL;
        return asprintf(ret, format, n) < 0 ? -ENOMEM : 0;
}

static int disk_describe(unsigned n, Device **ret) {
        _cleanup_(device_freep) Device *d = device_new();
        const Disk *disk = &disks[n];
        int r;

        if (!d)
                return -ENOMEM;

        d->devnum = makedev(MAJOR, n);
        d->kind = DEVICE_DISK;
        d->diskseq = disk->diskseq;
        d->size = disk->size;
        d->block_size = 512;
        d->valid_paths = d->total_paths = -1;
        d->stable = d->initialized = d->ready = true;
        d->suspended = disk->suspended;

        r = text(&d->name, "fake%u", n);
        if (r >= 0)
                r = text(&d->node, "/dev/fake%u", n);
        if (r >= 0)
                r = text(&d->identity, "wwid=3600%u", n);
        if (r >= 0)
                r = text(&d->link, "/dev/disk/by-id/scsi-3600%u", n);
        if (r >= 0)
                r = strv_extend(&d->keys, d->identity);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(d);
        return 0;
}

static int disk_tell(Uevents *u, unsigned n) {
        Device *d = NULL;
        int r;

        if (disks[n].there) {
                r = disk_describe(n, &d);
                if (r < 0)
                        return r;
        }

        disks[n].unread = false;
        u->on_device(makedev(MAJOR, n), d, u->userdata);
        return 0;
}

static int lio(int (*call)(const char *), const char *wwn) {
        char path[320];

        snprintf(path, sizeof path, "vhost/%s/tpgt_1", wwn);
        return call(path);
}

static int guest(int (*call)(const char *), const char *wwn) {
        int r = lio(call, wwn);

        if (r >= 0 && guests)
                guests->on_news(wwn, guests->userdata);
        return r;
}

int guests_new(sd_event *event, guests_news_t on_news, void *userdata, Guests **ret) {
        guests = calloc(1, sizeof *guests);
        if (!guests)
                return -ENOMEM;

        *guests = (Guests) { .on_news = on_news, .userdata = userdata };
        *ret = guests;
        return 0;
}

Guests *guests_free(Guests *g) {
        guests = NULL;
        free(g);
        return NULL;
}

/* value NULL: makes a directory, which may be there. */
_printf_(3, 4)
static int put(Cfs *c, const char *value, const char *format, ...) {
        char path[400];
        va_list ap;
        int r;

        va_start(ap, format);
        vsnprintf(path, sizeof path, format, ap);
        va_end(ap);

        r = value ? cfs_write(c, path, value) : cfs_mkdir(c, path);
        return r == -EEXIST ? 0 : r;
}

/* What somebody else does with targetcli, through the same door. */
static int foreign(const char *wwn, unsigned n) {
        _cleanup_(cfs_freep) Cfs *c = NULL;
        char node[32], store[64], control[64], link[400];
        int r;

        snprintf(node, sizeof node, "/dev/fake%u", n);
        snprintf(control, sizeof control, "udev_path=%s", node);
        snprintf(store, sizeof store, "core/iblock_%u/theirs", n + 500);
        snprintf(link, sizeof link, "vhost/%s/tpgt_1/lun/lun_0/link", wwn);

        r = cfs_new(0, &c);
        if (r >= 0)
                r = put(c, NULL, "core/iblock_%u", n + 500);
        if (r >= 0)
                r = put(c, NULL, "%s", store);
        if (r >= 0)
                r = put(c, control, "%s/control", store);
        if (r >= 0)
                r = put(c, node, "%s/udev_path", store);
        if (r >= 0)
                r = put(c, "1", "%s/enable", store);
        if (r >= 0)
                r = put(c, NULL, "vhost");
        if (r >= 0)
                r = put(c, NULL, "vhost/%s", wwn);
        if (r >= 0)
                r = put(c, NULL, "vhost/%s/tpgt_1", wwn);
        if (r >= 0)
                r = put(c, "naa.5001405000000fff", "vhost/%s/tpgt_1/nexus", wwn);
        if (r >= 0)
                r = put(c, NULL, "vhost/%s/tpgt_1/lun/lun_0", wwn);

        return r < 0 ? r : cfs_symlink(c, store, link);
}

static int fail(const char *call, const char *pattern, int error, unsigned times) {
        static const char *const names[] = { "mkdir", "rmdir", "symlink", "unlink", "write", "read", "list" };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (streq(call, names[i])) {
                        fake_fail(1U << i, pattern, 1, -error, times);
                        return 0;
                }

        return -EINVAL;
}

static int journal(void) {
        _cleanup_(strv_freep) char **lines = fake_journal();

        for (char **l = lines; l && *l; l++)
                puts(*l);
        fake_journal_clear();
        return 0;
}

static int obey(Uevents *u, char *line) {
        char *save = NULL, *word[5] = {};
        unsigned n, k = 0;

        for (char *w = strtok_r(line, " \n", &save); w && k < ELEMENTSOF(word); w = strtok_r(NULL, " \n", &save))
                word[k++] = w;
        if (k == 0)
                return -EINVAL;

        if (streq(word[0], "journal"))
                return journal();
        if (streq(word[0], "quit"))
                return sd_event_exit(sd_event_source_get_event(u->input), 0);
        if (streq(word[0], "end")) {
                fake_process_set(0, "", "");
                return 0;
        }
        if (k < 2)
                return -EINVAL;
        if (streq(word[0], "run")) {
                if (k == 4)
                        fake_process_set((uint32_t) atoi(word[1]), word[2], word[3]);
                return k == 4 ? 0 : -EINVAL;
        }
        if (streq(word[0], "attach"))
                return guest(fake_attach, word[1]);
        if (streq(word[0], "detach"))
                return guest(fake_detach, word[1]);
        if (streq(word[0], "set"))
                return k == 3 ? fake_set_value(word[1], word[2]) : -EINVAL;
        if (streq(word[0], "fail"))
                return k >= 4 ? fail(word[1], word[2], atoi(word[3]), k > 4 ? (unsigned) atoi(word[4]) : 1) : -EINVAL;

        n = (unsigned) atoi(word[streq(word[0], "foreign") && k == 3 ? 2 : 1]);
        if (n >= DISKS_MAX)
                return -ERANGE;
        if (streq(word[0], "foreign"))
                return foreign(word[1], n);

        if (streq(word[0], "node")) {
                without_node = n == 0;
                return 0;
        }

        if (streq(word[0], "disk"))
                disk_appear(n, k == 3 ? strtoull(word[2], NULL, 10) : UINT64_C(1) << 20);
        else if (streq(word[0], "gone")) {
                disks[n].there = false;
                fake_block_remove(makedev(MAJOR, n));
        } else if (streq(word[0], "suspend") || streq(word[0], "resume")) {
                disks[n].suspended = streq(word[0], "suspend");
                fake_block_set_suspended(makedev(MAJOR, n), disks[n].suspended);
        } else
                return -EINVAL;

        return disk_tell(u, n);
}

static int on_input(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        char line[1024];
        int r;

        /* Unbuffered: one line, and the loop asks again if there are more. */
        if (!fgets(line, sizeof line, stdin))
                return sd_event_source_set_enabled(source, SD_EVENT_OFF);

        r = obey(userdata, line);
        if (r < 0)
                printf("error: %s\n", strerror(-r));
        else
                puts("ok");
        fflush(stdout);
        return 0;
}

int uevents_new(sd_event *event, size_t receive_buffer, uevents_device_t on_device, uevents_lost_t on_lost, void *userdata, Uevents **ret) {
        _cleanup_(uevents_freep) Uevents *u = calloc(1, sizeof *u);
        int r;

        if (!u)
                return -ENOMEM;

        u->on_device = on_device;
        u->userdata = userdata;
        setvbuf(stdin, NULL, _IONBF, 0);

        /* A regular file or /dev/null cannot be waited for; then nobody wants anything of the host. */
        r = sd_event_add_io(event, &u->input, STDIN_FILENO, EPOLLIN, on_input, u);
        if (r < 0 && r != -EPERM)
                return r;

        *ret = TAKE_PTR(u);
        return 0;
}

Uevents *uevents_free(Uevents *u) {
        if (!u)
                return NULL;

        sd_event_source_disable_unref(u->input);
        free(u);
        return NULL;
}

void uevents_defer_unwanted(Uevents *u, uevents_wanted_t is_wanted) {
        u->is_wanted = is_wanted;
}

static int read_unread(Uevents *u) {
        int r = 0;

        for (unsigned n = 0; r >= 0 && n < DISKS_MAX; n++)
                if (disks[n].unread)
                        r = disk_tell(u, n);

        return r;
}

void uevents_flush(Uevents *u) {
        (void) read_unread(u);
}

int uevents_suspect(Uevents *u, dev_t devnum, bool wanted) {
        return 0;
}

int uevents_enumerate(Uevents *u) {
        int r = 0;

        for (unsigned n = 0; r >= 0 && n < DISKS_MAX; n++)
                if (disks[n].there)
                        r = disk_tell(u, n);

        return r;
}

int uevents_enumerate_wanted(Uevents *u) {
        for (unsigned n = 0; n < DISKS_MAX; n++) {
                _cleanup_(device_freep) Device *d = NULL;
                int r;

                if (!disks[n].there)
                        continue;

                r = disk_describe(n, &d);
                if (r < 0)
                        return r;

                disks[n].unread = true;
                if (u->is_wanted(d->devnum, d->keys, u->userdata))
                        r = disk_tell(u, n);
                if (r < 0)
                        return r;
        }

        return 0;
}

int uevents_catch_up(Uevents *u) {
        return read_unread(u);
}

void uevents_read_unread(Uevents *u, dev_t devnum) {
        if (major(devnum) == MAJOR && minor(devnum) < DISKS_MAX && disks[minor(devnum)].unread)
                (void) disk_tell(u, minor(devnum));
}

int uevents_read_device(Uevents *u, dev_t devnum, Device **ret) {
        if (major(devnum) != MAJOR || minor(devnum) >= DISKS_MAX || !disks[minor(devnum)].there)
                return -ENODEV;

        return disk_describe(minor(devnum), ret);
}

int uevents_is_suspended(Uevents *u, const Device *d) {
        return d->suspended;
}

int uevents_holders(Uevents *u, const Device *d, char ***ret) {
        *ret = NULL;
        return 0;
}

int uevents_multipath_holder(Uevents *u, const Device *d, char **ret) {
        return 0;
}

int uevents_stack(Uevents *u, const Device *d, dev_t **ret, size_t *ret_n) {
        dev_t *stack = malloc(sizeof *stack);

        if (!stack)
                return -ENOMEM;

        stack[0] = d->devnum;
        *ret = stack;
        *ret_n = 1;
        return 0;
}
