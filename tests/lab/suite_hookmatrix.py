# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirt's hook with every operation, of every kind of domain, whatever has become of the daemon: what fails, who is told, and that standard
output stays empty. Without libvirt: the hook is run as libvirt runs it."""
import contextlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Callable, Iterator

from hookcells import GUEST, UUID, cells, domain, expected
from labdisks import dm_disks
from labkit import UNIT, LabTest, run, service_pid, service_start, service_stop, wait_until

WINDOW = 8              # hooks at once: some of them wait for their time
DROPIN = Path(f"/run/systemd/system/{UNIT}.d/lab-starting.conf")
GATE = Path("/run/lab-may-start")


class HookMatrixTest(LabTest):
    def setUp(self) -> None:
        super().setUp()
        self.targets = [self.api.create() for _ in range(3)]
        for target, disk in zip(self.targets, dm_disks(3)):
            target.add_lun(disk.device)
        self.wwns = [target.wwn for target in self.targets]

    def begin(self, operation: str, xml: str, *options: str) -> subprocess.Popen:
        with tempfile.TemporaryFile() as f:
            f.write(xml.encode())
            f.seek(0)
            return subprocess.Popen(["vhscsictl", "libvirt-hook", *options, GUEST, operation, "begin", "-"], stdin=f, stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, text=True)

    def matrix(self, answers: bool, *options: str, begun: Callable[[], None] = lambda: None) -> None:
        running: list[tuple[tuple, subprocess.Popen]] = []
        count = 0

        def end() -> None:
            (operation, name, _, n), process = running.pop(0)
            out, error = process.communicate(timeout=120)
            with self.subTest(operation=operation, domain=name):
                self.assertEqual((process.returncode, error.count("\n"), out), (*expected(operation, n, answers), ""), error)

        for cell in cells(*self.wwns):
            running.append((cell, self.begin(cell[0], cell[2], *options)))
            count += 1
            if len(running) == WINDOW:
                begun()
                end()
        while running:
            end()
        print(f"    {count} hooks", flush=True)

    def assert_free(self) -> None:
        """Whatever came last: a release is the end of it."""
        self.assertEqual(self.begin("release", domain(*self.wwns)).wait(60), 0)
        for target in self.targets:
            wait_until("it is nobody's", lambda t=target: self.api.target(t.wwn).get("Owners") == [], 60)

    def test_up(self) -> None:
        self.matrix(True)
        self.assert_free()
        self.assertEqual(self.begin("prepare", domain(*self.wwns)).wait(60), 0)
        self.assertEqual([target.get("Owners") for target in self.targets], [[UUID]] * 3)
        self.assert_free()

    def test_absent(self) -> None:
        """Neither does it run, nor can the bus start it."""
        run(["systemctl", "mask", "--runtime", UNIT])
        self.addCleanup(run, ["systemctl", "unmask", "--runtime", UNIT])
        service_stop()
        self.matrix(False)

    @contextlib.contextmanager
    def held_up(self) -> Iterator[None]:
        """A start waits until somebody opens the gate."""
        DROPIN.parent.mkdir(parents=True, exist_ok=True)
        DROPIN.write_text(f"[Service]\nExecStartPre=/bin/sh -c 'read -r _ < {GATE} || :'\n")
        os.mkfifo(GATE)
        run(["systemctl", "daemon-reload"])
        try:
            yield
        finally:
            DROPIN.unlink()
            GATE.unlink()
            run(["systemctl", "daemon-reload"])

    def test_starting(self) -> None:
        """The bus starts it, and it takes its time: whoever asks waits."""
        service_stop()
        opened = []

        def open_gate() -> None:
            if not opened:
                wait_until("it is being started", lambda: run(["systemctl", "is-active", UNIT], check=False).stdout == "activating\n")
                opened.append(os.close(os.open(GATE, os.O_WRONLY)))

        with self.held_up():
            self.matrix(True, begun=open_gate)
        self.assertTrue(opened)
        self.assert_free()

    def test_hung(self) -> None:
        """It is there and says nothing: no guest waits longer than the deadline and its grace."""
        pid = service_pid()
        os.kill(pid, signal.SIGSTOP)
        try:
            self.matrix(False, "--wait=100ms")
        finally:
            os.kill(pid, signal.SIGCONT)
        service_start()
        self.assert_free()
