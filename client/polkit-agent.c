/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/errno.h"
#include "polkit-agent.h"

#define REGISTER_TIMEOUT_MS 10000

static _Noreturn void agent_run(int notify_fd) {
        char number[16];
        int tty;

        (void) prctl(PR_SET_PDEATHSIG, SIGTERM);

        /* Our output may go into a pipe or a file; the question for the password must not. */
        if (!isatty(STDOUT_FILENO) || !isatty(STDERR_FILENO)) {
                tty = open("/dev/tty", O_WRONLY | O_NOCTTY);
                if (tty < 0 || dup2(tty, STDOUT_FILENO) < 0 || dup2(tty, STDERR_FILENO) < 0)
                        _exit(EXIT_FAILURE);
        }

        if (fcntl(notify_fd, F_SETFD, 0) < 0)
                _exit(EXIT_FAILURE);
        (void) snprintf(number, sizeof number, "%d", notify_fd);

        execlp("pkttyagent", "pkttyagent", "--notify-fd", number, "--fallback", (char *) NULL);
        _exit(EXIT_FAILURE);
}

int polkit_agent_start(PolkitAgent *a) {
        struct pollfd p = { .events = POLLIN };
        int fds[2], r;

        assert(a->pid == 0);

        /* polkit lets root through without asking, and without a terminal nobody could answer. */
        if (geteuid() == 0 || !isatty(STDIN_FILENO))
                return 0;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return negative_errno();

        a->pid = fork();
        if (a->pid < 0) {
                r = negative_errno();
                a->pid = 0;
                safe_close(fds[0]);
                safe_close(fds[1]);
                return r;
        }
        if (a->pid == 0)
                agent_run(fds[1]);

        /* The agent closes its end when it is registered; so does its death. */
        safe_close(fds[1]);
        p.fd = fds[0];
        do
                r = poll(&p, 1, REGISTER_TIMEOUT_MS);
        while (r < 0 && errno == EINTR);
        safe_close(fds[0]);

        if (waitpid(a->pid, NULL, WNOHANG) != 0) {
                a->pid = 0;
                return 0;
        }

        return 1;
}

void polkit_agent_stop(PolkitAgent *a) {
        if (a->pid <= 0)
                return;

        /* It puts the terminal's echo back on SIGTERM, even if the user has stopped it meanwhile. */
        (void) kill(a->pid, SIGTERM);
        (void) kill(a->pid, SIGCONT);
        while (waitpid(a->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        a->pid = 0;
}
