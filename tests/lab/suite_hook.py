# SPDX-License-Identifier: LGPL-2.1-or-later
"""Our hook between libvirt and its guests: who may start, when, and what an admin is told."""
import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import Iterator

from labdisks import dm_disks
from labkit import Target, run, service_pid, service_restart, wait_until
from lablibvirt import Domain, LibvirtCase, ctl, virsh

HOOK = Path("/etc/libvirt/hooks/qemu.d/50-vhscsid")
HOOK_CONF = Path("/etc/vhscsid/libvirt-hook.conf")
# Hooks before and after ours. A named pipe of the hook's name and the operation stops libvirt there until somebody has opened and closed it.
GATES = Path("/run/lab-gates")
GATE = f"""#!/bin/sh
cat > /dev/null
pipe={GATES}/$(basename "$0")-$2
[ ! -p "$pipe" ] || read -r _ < "$pipe" || true
"""
BEFORE, AFTER = "40-gate", "60-gate"


class HookCase(LibvirtCase):
    """Our hook between libvirt and the guest: vhscsictl libvirt-hook."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        run(["vhscsictl", "libvirt-hook", "--install"])
        cls.restart_libvirt()

    @classmethod
    def tearDownClass(cls) -> None:
        HOOK.unlink()
        super().tearDownClass()

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(HOOK_CONF.unlink, missing_ok=True)

    def deadline(self, seconds: int) -> None:
        HOOK_CONF.parent.mkdir(parents=True, exist_ok=True)
        HOOK_CONF.write_text(f"deadline = {seconds}s\n")


class HookTest(HookCase):
    def assert_refused(self, domain: Domain, *saying: str) -> None:
        """The hook's line is in virsh's error, and nothing was left running."""
        result = virsh("start", domain.name, check=False)
        self.assertNotEqual(result.returncode, 0)
        for words in (f"vhscsid: cannot start {domain.name}: ", *saying):
            self.assertIn(words, result.stderr)
        self.assertFalse(domain.alive())

    def test_map_that_is_late(self) -> None:
        """Missing: refused. It comes within the deadline: started, the target is the guest's; destroy: it is nobody's."""
        disk, = dm_disks(1)
        disk.remove()
        target = self.api.create()
        lun = target.add_lun(f"dm-uuid={disk.uuid}", number=2)
        self.assertEqual(lun.get("State"), "waiting")
        guest = self.domain("late", ctl("libvirt-xml", target.wwn))
        self.deadline(1)
        self.assert_refused(guest, "LUN 2", target.wwn)
        wait_until("it is nobody's", lambda: target.get("Owners") == [])

        self.deadline(100)
        with subprocess.Popen(["virsh", "--quiet", "start", guest.name], stderr=subprocess.PIPE, text=True) as start:
            wait_until("the hook waits", lambda: run(["pgrep", "-f", f"50-vhscsid {guest.name} prepare"], check=False).stdout, 60)
            disk.create()
            self.assertEqual((start.wait(120), start.stderr.read()), (0, ""))
        guest.wait_ready()
        self.assert_sees(guest, target)
        self.assertEqual(target.get("Owners"), [guest.uuid])
        guest.stop()
        wait_until("it is nobody's again", lambda: target.get("Owners") == [])
        wait_until("it is idle", lambda: target.get("Endpoint") == "idle")

    def test_second_guest(self) -> None:
        """Refused, naming the first, whoever was restarted meanwhile, and while the first is paused."""
        disk, = dm_disks(1)
        target = self.api.create()
        target.add_lun(disk.device)
        xml = ctl("libvirt-xml", target.wwn)
        # Whoever is second hears so at once; a deadline that a busy machine misses would let it start.
        self.deadline(100)
        first = self.domain("first", xml).start()
        second = self.domain("second", xml)
        self.assert_refused(second, first.name, target.wwn)
        self.restart_libvirt()
        self.assert_refused(second, first.name)
        service_restart()
        self.assert_refused(second, first.name)
        virsh("suspend", first.name)
        self.assert_refused(second, first.name)
        service_restart()
        self.restart_libvirt()
        self.assert_refused(second, first.name)
        virsh("resume", first.name)
        self.assertEqual(len(first.disks()), 1)
        first.stop()
        virsh("start", "--paused", second.name)
        self.assertEqual(target.get("Owners"), [second.uuid])


class KilledTest(HookCase):
    """SIGKILL to each who has a part in a start, at each stage of it: once all is quiet, who runs has its targets, and nobody else has.

    Its guests are paused: what counts is that QEMU is there."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        GATES.mkdir(exist_ok=True)
        for name in (BEFORE, AFTER):
            gate = HOOK.with_name(name)
            gate.write_text(GATE)
            gate.chmod(0o755)

    @classmethod
    def tearDownClass(cls) -> None:
        for name in (BEFORE, AFTER):
            HOOK.with_name(name).unlink()
        super().tearDownClass()

    def setUp(self) -> None:
        super().setUp()
        self.deadline(30)
        self.targets = [self.api.create(), self.api.create()]
        for target, disk in zip(self.targets, dm_disks(2)):
            target.add_lun(disk.device)
        self.guest = self.domain("killed", *(ctl("libvirt-xml", target.wwn) for target in self.targets))

    @contextlib.contextmanager
    def starting(self) -> Iterator[subprocess.Popen]:
        with subprocess.Popen(["virsh", "--quiet", "start", "--paused", self.guest.name], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as start:
            try:
                yield start
            finally:
                start.kill()

    @contextlib.contextmanager
    def stopped_at(self, gate: str) -> Iterator[None]:
        """The start that goes on has come there, and goes on after the block."""
        pipe = GATES / gate

        def opened() -> int | None:
            try:
                return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                return None             # nobody reads
        try:
            fd = wait_until(f"the start is at {gate}", opened, 60)
            try:
                yield
            finally:
                pipe.unlink()
                os.close(fd)
        finally:
            pipe.unlink(missing_ok=True)

    def hook_pid(self, operation: str) -> int:
        return int(wait_until(f"our hook is at {operation}", lambda: run(["pgrep", "-f", f"50-vhscsid {self.guest.name} {operation}"],
                                                                        check=False).stdout.split(), 60)[0])

    def wait_for_hooks(self) -> None:
        wait_until("no hook is left", lambda: run(["pgrep", "-f", f"0-(gate|vhscsid) {self.guest.name} "], check=False).returncode == 1, 60)

    def qemu_pid(self) -> int:
        return int(Path(f"/run/libvirt/qemu/{self.guest.name}.pid").read_text())

    def kill(self, victim: str) -> None:
        pid = {"vhscsid": service_pid, "qemu": self.qemu_pid,
               "libvirtd": lambda: int(run(["systemctl", "show", "-P", "MainPID", "libvirtd"]).stdout)}[victim]()
        os.kill(pid, signal.SIGKILL)
        wait_until(f"{victim} is gone", lambda: not os.path.exists(f"/proc/{pid}"))
        if victim == "libvirtd":
            run("systemctl reset-failed libvirtd; systemctl start libvirtd", timeout=120)

    def owners(self, target: Target) -> list[str]:
        return self.api.target(target.wwn).get("Owners")

    def assert_settled(self, alive: bool | None) -> None:
        """It runs, or does not (None: libvirt decides), and has its targets accordingly. Then it is gone, for the next one."""
        self.wait_for_hooks()
        if alive is None:
            virsh("list")
            alive = self.guest.alive()
        wait_until("libvirt knows", lambda: self.guest.alive() == alive, 60)
        wanted = [self.guest.uuid] if alive else []
        for target in self.targets:
            wait_until(f"target {target.wwn} is {wanted}", lambda t=target: self.owners(t) == wanted or self.fail(self.owners(t)), 60)
        self.guest.stop()
        for target in self.targets:
            wait_until("it is nobody's", lambda t=target: self.owners(t) == [], 60)

    def assert_pids(self) -> None:
        """Each target is QEMU's until that ends."""
        for target in self.targets:
            details, = target.get("OwnerDetails")
            self.assertEqual((details["owner"], details["name"], details["pid"]), (self.guest.uuid, self.guest.name, self.qemu_pid()))

    def test_killed_while_it_waits(self) -> None:
        """One target is had, the other one lacks a disk that never comes."""
        self.targets[1].add_lun("dm-uuid=LAB-never")
        self.deadline(20)
        # A daemon that is back is asked again, and still lacks the disk.
        for victim in ("hook", "libvirtd", "vhscsid"):
            with self.subTest(victim), self.starting() as start:
                pid = self.hook_pid("prepare")
                wait_until("it waits for the second", lambda: self.owners(self.targets[0]) == [self.guest.uuid])
                if victim == "hook":
                    os.kill(pid, signal.SIGKILL)
                else:
                    self.kill(victim)
                start.wait(120)
                self.assert_settled(False)

    def killed_at(self, gate: str, victim: str, alive: bool | None) -> None:
        os.mkfifo(GATES / gate)
        with self.subTest(f"{victim} at {gate}"), self.starting() as start:
            with self.stopped_at(gate):
                self.assertEqual([self.owners(t) for t in self.targets], [[self.guest.uuid]] * 2)
                self.kill(victim)
            start.wait(120)
            self.assert_settled(alive)

    def test_killed_behind_prepare(self) -> None:
        self.killed_at(f"{AFTER}-prepare", "libvirtd", False)
        self.killed_at(f"{AFTER}-prepare", "vhscsid", True)

    def test_killed_before_qemu(self) -> None:
        self.killed_at(f"{AFTER}-start", "libvirtd", False)
        self.killed_at(f"{AFTER}-start", "vhscsid", True)

    def test_killed_before_our_hook_says_that_it_runs(self) -> None:
        self.killed_at(f"{BEFORE}-started", "qemu", False)
        self.killed_at(f"{BEFORE}-started", "vhscsid", True)
        # It may find the guest again, or take it for lost.
        self.killed_at(f"{BEFORE}-started", "libvirtd", None)

    def test_killed_when_it_has_started(self) -> None:
        """A daemon that hangs holds our hook up while it tells that QEMU runs: libvirt takes the hook's end for a no, and the guest with it."""
        os.mkfifo(GATES / f"{BEFORE}-started")
        with self.starting() as start:
            with self.stopped_at(f"{BEFORE}-started"):
                daemon = service_pid()
                os.kill(daemon, signal.SIGSTOP)
            try:
                os.kill(self.hook_pid("started"), signal.SIGKILL)
            finally:
                os.kill(daemon, signal.SIGCONT)
            start.wait(120)
            self.assert_settled(False)

    def test_killed_while_it_runs(self) -> None:
        """Whose process it is: QEMU's, from its start on and through the ends of both daemons, until its own."""
        virsh("start", "--paused", self.guest.name)
        self.assert_pids()
        self.kill("libvirtd")
        wait_until("libvirt has found it again", self.guest.alive, 60)
        self.wait_for_hooks()
        self.assert_pids()
        self.kill("vhscsid")
        wait_until("the service is back", lambda: self.owners(self.targets[0]) == [self.guest.uuid], 60)
        self.assert_pids()
        self.restart_libvirt()
        self.assertTrue(self.guest.alive())
        self.assert_pids()
        self.kill("qemu")
        self.assert_settled(False)
