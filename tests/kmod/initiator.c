/* SPDX-License-Identifier: GPL-2.0-only */
/* A vhost-scsi initiator in user space: drives a node without any guest.
 *
 *      kmod-initiator check NODE WWPN BLOCKS [WITHOUT...]
 *                                               the checks but those; a line "ok NAME" or "not ok NAME: why" each. LUN 0 has that many
 *                                               blocks of 512
 *      kmod-initiator bad NODE WWPN CHAIN [Q]   one chain that is none, in the third queue or in that one; says what the device made of it
 *      kmod-initiator event NODE WWPN           says "ready", then waits for an event and prints it
 *      kmod-initiator load NODE WWPN            reads and writes without end, after a line "running"; ends at the first error
 *      kmod-initiator load-through NODE WWPN    the same, through all errors
 *      kmod-initiator churn NODE WWPN ROUNDS    as many rounds of reads and writes, each with something changed under them: memory
 *                                               table, rings, eventfds
 *      kmod-initiator attach NODE WWPN TIMES    opens, attaches, sends a command and closes so often
 *      kmod-initiator bench NODE WWPN QUEUES DEPTH BYTES read|write MS
 *                                               requests a second (see bench.h)
 *      kmod-initiator talk NODE WWPN            does as standard input tells it (see the top of talk.c)
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "checks.h"
#include "talk.h"

/* Prints "broken", "answered" or "silent", then proves that the device works again once its rings are set up anew. */
static int bad(const char *node, const char *wwpn, const char *name, unsigned q) {
        struct pollfd p[2];

        attach(node, wwpn);
        /* A ring that is in no memory at all holds no chain either: the device, which may be late, would find it before we hide it. */
        if (strcmp(name, "ring-memory") == 0)
                device_hide_ring(&dev, q, true);
        else
                bad_chain_offer(&dev, q, name);
        queue_kick(&dev, q);

        p[0] = (struct pollfd) {.fd = dev.q[q].err, .events = POLLIN};
        p[1] = (struct pollfd) {.fd = dev.q[q].call, .events = POLLIN};
        if (poll(p, 2, DEADLINE) < 0)
                die("poll: %s", strerror(errno));
        printf("%s\n", p[0].revents ? "broken" : p[1].revents ? "answered" : "silent");
        fflush(stdout);
        /* The suite looks at the device's status meanwhile. */
        if (getchar() == EOF)
                die("nobody there");

        current = name;
        if (device_endpoint(&dev, VHOST_SCSI_CLEAR_ENDPOINT, wwpn) < 0)
                die("CLEAR_ENDPOINT");
        device_hide_ring(&dev, q, false);
        device_rings(&dev);
        if (device_endpoint(&dev, VHOST_SCSI_SET_ENDPOINT, wwpn) < 0)
                die("SET_ENDPOINT");
        check_inquiry();
        if (!failures)
                printf("works\n");
        return failures ? 1 : 0;
}

static int event(const char *node, const char *wwpn) {
        struct piece p = {DATA_AT, sizeof(struct virtio_scsi_event), true};
        struct virtio_scsi_event e;
        struct vring_used_elem used;

        attach(node, wwpn);
        current = "event";
        queue_offer(&dev, EVT, &p, 1, 0);
        queue_kick(&dev, EVT);
        printf("ready\n");
        fflush(stdout);
        if (!check(queue_wait(&dev, EVT, &used, DEADLINE)))
                return 1;
        guest_read(&dev, DATA_AT, &e, sizeof(e));
        printf("event %u reason %u lun %u:%u\n", e.event, e.reason, e.lun[1], (e.lun[2] & 0x3f) << 8 | e.lun[3]);
        return 0;
}

static int load(const char *node, const char *wwpn, bool through) {
        attach(node, wwpn);
        take_attention();
        current = "load";
        for (unsigned round = 0;; round++) {
                check_depth();
                if (current_failed && !through)
                        return 1;
                if (round == 0)
                        printf("running\n");
                fflush(stdout);
        }
}

/* Whatever changes, every request is answered, and once, with the right data. */
static int churn(const char *node, const char *wwpn, unsigned rounds) {
        attach(node, wwpn);
        take_attention();
        current = "churn";
        for (unsigned i = 0; i < rounds && !current_failed; i++)
                check_depth_while(i);
        device_close(&dev);
        printf("%s\n", current_failed ? "failed" : "done");
        return current_failed ? 1 : 0;
}

static int attach_often(const char *node, const char *wwpn, unsigned times) {
        attach(node, wwpn);
        current = "attach";
        for (unsigned i = 0; i < times && failures == 0; i++) {
                device_reopen(&dev, node);
                check(device_endpoint(&dev, VHOST_SCSI_SET_ENDPOINT, wwpn) == 0);
                take_attention();
        }
        device_close(&dev);
        printf("%s\n", failures ? "failed" : "done");
        return failures ? 1 : 0;
}

static unsigned number(const char *text) {
        return (unsigned) strtoul(text, NULL, 10);
}

int main(int argc, char *argv[]) {
        if (argc >= 5 && strcmp(argv[1], "check") == 0)
                return checks(argv[2], argv[3], number(argv[4]), argv + 5);
        if ((argc == 5 || argc == 6) && strcmp(argv[1], "bad") == 0)
                return bad(argv[2], argv[3], argv[4], argc == 6 ? number(argv[5]) % QUEUES : IO);
        if (argc == 4 && strcmp(argv[1], "event") == 0)
                return event(argv[2], argv[3]);
        if (argc == 4 && (strcmp(argv[1], "load") == 0 || strcmp(argv[1], "load-through") == 0))
                return load(argv[2], argv[3], strcmp(argv[1], "load") != 0);
        if (argc == 5 && strcmp(argv[1], "churn") == 0)
                return churn(argv[2], argv[3], number(argv[4]));
        if (argc == 5 && strcmp(argv[1], "attach") == 0)
                return attach_often(argv[2], argv[3], number(argv[4]));
        if (argc == 9 && strcmp(argv[1], "bench") == 0)
                return bench(&(struct bench) {
                        .node = argv[2], .wwpn = argv[3], .queues = number(argv[4]), .depth = number(argv[5]), .bytes = number(argv[6]),
                        .write = strcmp(argv[7], "write") == 0, .ms = number(argv[8]),
                });
        if (argc == 4 && strcmp(argv[1], "talk") == 0)
                return talk(argv[2], argv[3]);
        die("usage: see the top of initiator.c");
}
