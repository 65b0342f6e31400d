/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/log.h"
#include "daemon.h"

#define MALLOC_THRESHOLD (128 * 1024)   /* bytes */

static int help(const char *name) {
        printf("%s [OPTIONS…]\n\n"
               "Keeps vhost-scsi targets as they are wanted; serves org.vhostscsi on the system bus.\n"
               "Normally started by systemd: systemctl enable --now vhscsid.service\n\n"
               "  -h --help             Show this help\n"
               "     --version          Show the version\n"
               "     --state-dir=PATH   Where targets are stored (default: " STATE_DIR ")\n"
               "     --debug            Log everything\n\n"
               "See vhscsid(8).\n",
               name);
        return EXIT_SUCCESS;
}

int main(int argc, char *argv[]) {
        enum {
                ARG_VERSION = 0x100,
                ARG_STATE_DIR,
                ARG_DEBUG,
        };
        static const struct option options[] = {
                { "help", no_argument, NULL, 'h' },
                { "version", no_argument, NULL, ARG_VERSION },
                { "state-dir", required_argument, NULL, ARG_STATE_DIR },
                { "debug", no_argument, NULL, ARG_DEBUG },
                {},
        };
        const char *state_dir = STATE_DIR;
        Daemon d = {};
        sigset_t mask;
        int c, r;

        log_parse_environment();

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case 'h':
                        return help(argv[0]);
                case ARG_VERSION:
                        puts("vhscsid " PACKAGE_VERSION);
                        return EXIT_SUCCESS;
                case ARG_STATE_DIR:
                        state_dir = optarg;
                        break;
                case ARG_DEBUG:
                        log_set_max_level(LOG_DEBUG);
                        break;
                default:
                        return EXIT_FAILURE;
                }

        if (optind < argc) {
                log_error("Unexpected argument %s", argv[optind]);
                return EXIT_FAILURE;
        }

        /* Said, they stay what they are by default. Unsaid, they grow with the largest block that was ever freed, and after one long answer as much
         * memory as that took stays with us for good. */
        (void) mallopt(M_MMAP_THRESHOLD, MALLOC_THRESHOLD);
        (void) mallopt(M_TRIM_THRESHOLD, MALLOC_THRESHOLD);

        umask(0077);
        sigemptyset(&mask);
        sigaddset(&mask, SIGTERM);
        sigaddset(&mask, SIGINT);
        sigaddset(&mask, SIGCHLD);
        sigprocmask(SIG_BLOCK, &mask, NULL);
        (void) signal(SIGPIPE, SIG_IGN);

        r = daemon_start(&d, state_dir);
        if (r >= 0)
                r = daemon_run(&d);
        daemon_done(&d);

        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
