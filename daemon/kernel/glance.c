/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "base/errno.h"
#include "base/strv.h"
#include "kernel/glance.h"
#include "kernel/roll.h"
#include "model/identity.h"

#define DATABASE "/run/udev/data"
#define ENTRY_MAX 16384U        /* bytes; some hundreds are usual */
#define NODE_SIZE 128U          /* no kernel names a disk at such length */

/* What is known of it; all of it is input, and may be NULL. */
typedef struct Known {
        const char *name;               /* the kernel's: sda */
        const char *node;
        const char *wish;
        const char *wwn, *serial;
        char *const *links;
        bool versioned;                 /* the entry says that it is of the form that we know */
} Known;

static int known_names(const Known *k, char ***ret) {
        bool nvme;
        int r;

        /* What a rule wants exported, somebody wants. */
        if (!k->name || !k->node || k->wish)
                return 0;

        /* The names of maps are the kernel's, and so may be the WWID of NVMe. */
        nvme = startswith(k->name, "nvme");
        if (startswith(k->name, "dm-") || (nvme && !k->wwn))
                return 0;

        r = identity_keys(&(IdentityFacts) { .node = k->node, .links = k->links, .wwid = nvme ? k->wwn : k->serial }, ret);
        return r == -EINVAL ? 0 : r < 0 ? r : 1;
}

int glance_udev(struct udev_device *device, char ***ret) {
        _cleanup_(strv_freep) char **links = NULL;
        int r;

        r = roll_links(device, &links);
        if (r < 0)
                return r;

        return known_names(&(Known) {
                .name = udev_device_get_sysname(device),
                .node = udev_device_get_devnode(device),
                .wish = udev_device_get_property_value(device, "VHOSTSCSI_TARGET"),
                .wwn = udev_device_get_property_value(device, "ID_WWN"),
                .serial = udev_device_get_property_value(device, "ID_SERIAL"),
                .links = links,
        }, ret);
}

/* ---- udev's files ---- */

int glance_open(void) {
        int fd = open(DATABASE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 ? negative_errno() : fd;
}

/* udev puts a new file in the place of the old one, so what is read is of one piece. 1; 0: not to be understood. */
static int read_entry(int data_fd, const char *number, char text[static ENTRY_MAX], Known *k) {
        char name[1 + ROLL_NUMBER_SIZE] = "b";
        _cleanup_close_ int fd = -EBADF;
        ssize_t n;

        (void) strcpy(name + 1, number);
        fd = openat(data_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0) {
                if (errno != ENOENT)
                        return 0;

                /* udev has nothing to tell: it has no name but the kernel's. */
                text[0] = 0;
                k->versioned = true;
                return 1;
        }

        n = read(fd, text, ENTRY_MAX);
        if (n < 0 || n == ENTRY_MAX || memchr(text, 0, (size_t) n))
                return 0;

        text[n] = 0;
        return 1;
}

static void parse_property(const char *value, Known *k) {
        const char *v;

        if ((v = startswith(value, "VHOSTSCSI_TARGET=")))
                k->wish = v;
        else if ((v = startswith(value, "ID_WWN=")))
                k->wwn = v;
        else if ((v = startswith(value, "ID_SERIAL=")))
                k->serial = v;
}

/* 1; 0: a line that no entry has. */
static int parse_line(const char *line, Known *k, char ***links) {
        int r;

        if (line[0] < 'A' || line[0] > 'Z' || line[1] != ':')
                return 0;

        switch (line[0]) {
        case 'V':
                k->versioned = streq(line + 2, "1");
                return k->versioned;
        case 'E':
                parse_property(line + 2, k);
                return 1;
        case 'S':
                r = strv_consume(links, strjoin3("/dev/", line + 2, ""));
                return r < 0 ? r : 1;
        default:
                return 1;
        }
}

/* As the kernel's own link to the device ends: "cciss!c0d0" is /dev/cciss/c0d0. */
static int find_node(int root_fd, const char *number, char ret[static NODE_SIZE]) {
        char link[PATH_MAX];
        const char *name;
        ssize_t n;

        n = readlinkat(root_fd, number, link, sizeof link - 1);
        if (n < 0)
                return errno == ENOENT ? -ENODEV : 0;

        link[n] = 0;
        name = strrchr(link, '/');
        if (!name || isempty(name + 1) || strlen(name) > NODE_SIZE - sizeof "/dev")
                return 0;

        (void) stpcpy(stpcpy(ret, "/dev"), name);
        for (char *p = ret; (p = strchr(p, '!')); )
                *p = '/';
        return 1;
}

int glance_files(int root_fd, int data_fd, const char *number, char ***ret) {
        _cleanup_(strv_freep) char **links = NULL;
        char node[NODE_SIZE], text[ENTRY_MAX];
        Known known = { .name = node + strlen("/dev/"), .node = node };
        char *rest = text, *line;
        int r;

        r = find_node(root_fd, number, node);
        if (r > 0)
                r = read_entry(data_fd, number, text, &known);
        while (r > 0 && (line = strsep(&rest, "\n")))
                if (!isempty(line))
                        r = parse_line(line, &known, &links);
        if (r <= 0 || !known.versioned)
                return MIN(r, 0);

        known.links = links;
        return known_names(&known, ret);
}
