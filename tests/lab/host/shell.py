# SPDX-License-Identifier: LGPL-2.1-or-later
"""A root shell in the machine, on the user's terminal."""
import os
import select
import sys
import termios
import tty

from host.machine import Lab
from host.stages import LabError, say


def shell(lab: Lab, argv: list[str]) -> int:
    with lab.machine() as vm:
        if argv:
            # `lab shell COMMAND…`: for scripts, and for one look.
            sys.stdout.flush()
            return vm.run(" ".join(argv), timeout=3600, check=False, echo=True).code
        if not sys.stdin.isatty():
            raise LabError("a shell needs a terminal; with a command, `lab shell COMMAND…`, it does not")
        say("    a machine of your own: nothing in it survives `exit`. nested-guest --help boots a guest in it.")
        columns, lines = os.get_terminal_size()
        vm.run(["modprobe", "vhost_scsi"], check=False)
        command = vm.start(["/bin/bash", "-c", f"stty cols {columns} rows {lines}; exec bash -i"], pty=True,
                           env={"TERM": os.environ.get("TERM", "linux")})
        saved = termios.tcgetattr(sys.stdin)
        tty.setraw(sys.stdin)
        try:
            while True:
                ready, _, _ = select.select([sys.stdin], [], [], 0.02)
                if ready:
                    command.feed(os.read(0, 4096))
                while not command.queue.empty():
                    kind, data = command.queue.get()
                    if kind in (b"X", b""):
                        return 0
                    os.write(1, data)
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)
            print()
