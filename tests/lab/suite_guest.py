# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real guest on a real LUN: what it sees, and what it must never notice."""
import contextlib
import json
import shutil
import subprocess
import sys
import time
from typing import Iterator

from labdisks import dm_disks, mk_multipath, null_disks, sha256, write_pattern
from labkit import (ERROR, CONFIGFS, ConfigfsTrace, LabTest, configfs_snapshot, difference, run, service_kill, service_pid,
                    service_restart, service_start, service_stop, store_snapshot, wait_until)
from nested import NestedGuest


class GuestTest(LabTest):
    @classmethod
    def setUpClass(cls) -> None:
        cls.map, = mk_multipath(1)

    def boot(self, target) -> NestedGuest:
        guest = NestedGuest("guest")
        self.addCleanup(guest.stop)
        guest.start(target.wwn)
        return guest

    def progress(self, guest: NestedGuest, block: str = "sda", least: int = 20) -> dict:
        """The guest's I/O goes on: so many more operations, still without an error."""
        start = guest.io_status(block)["ops"]
        status = wait_until("the guest's I/O goes on", lambda: s if (s := guest.io_status(block))["ops"] >= start + least else None, 60)
        self.assertEqual((status["errors"], status["mismatches"], status["running"]), (0, 0, 1), status)
        return status

    def test_service_comes_and_goes_unnoticed(self) -> None:
        """What the guest sees; then stop, start, restart, SIGKILL and a broken-off start under its I/O: not one change in configfs."""
        write_pattern(self.map.device, 8, "guest")
        disk, = dm_disks(1)
        target = self.api.create()
        lun = target.add_lun(self.map.device, number=5)
        other = target.add_lun(disk.device, number=300, readonly=True)
        self.assertEqual(target.get("Endpoint"), "idle")
        guest = self.boot(target)

        disks = {d["hctl"].rsplit(":", 1)[1]: d for d in guest.disks()}
        self.assertEqual(set(disks), {"5", "300"})
        seen = disks["5"]
        self.assertEqual(seen["vendor"].strip(), "LIO-ORG")
        self.assertEqual(seen["hctl"].split(":")[2], "1", "target number is the portal group")
        self.assertEqual("wwn-0x" + seen["wwid"].removeprefix("naa."), lun.get("GuestWwid"))
        self.assertEqual(bytes.fromhex(seen["pg80"])[4:].rstrip(b"\0").decode(), lun.get("UnitSerial"))
        self.assertEqual(int(seen["size"]), lun.get("Size"))
        self.assertEqual((seen["ro"], disks["300"]["ro"]), ("0", "1"))
        self.assertEqual(other.get("ReadOnly"), True)
        self.assertEqual(guest.cmd(f"sum {seen['block']} 8").strip(), sha256(self.map.device, 8))
        wait_until("the endpoint is attached", lambda: target.get("Endpoint") in ("attached", "unknown"))

        block = seen["block"]
        guest.cmd(f"guestio start {block} 8")
        self.progress(guest, block)
        kernel, store = configfs_snapshot(), store_snapshot()
        with ConfigfsTrace() as trace:
            for name, step in (("stop", service_stop), ("start", service_start), ("restart", service_restart), ("kill", service_kill),
                               ("start after kill", service_start), ("start again", service_start)):
                begin = time.monotonic()
                step()
                if service_pid():
                    self.api.close()
                    self.api = type(self.api)()
                    self.api.settled()
                    self.assertEqual(lun.__class__(self.api, lun.path).get("State"), "online", name)
                self.progress(guest, block)
                self.assertEqual(trace.changes(), [], f"{name} ({time.monotonic() - begin:.1f} s) changed configfs")
        self.assertTrue(kernel == configfs_snapshot(), difference(kernel, configfs_snapshot()))
        self.assertEqual(store, store_snapshot())
        # The pulled path: the guest sees nothing, the daemon says so and takes nothing down.
        with ConfigfsTrace() as trace:
            self.map.set_path(self.map.paths[0], False)
            wait_until("multipathd has failed the path", lambda: "failed" in run(["multipath", "-ll"]).stdout)
            self.progress(guest, block)
            self.map.set_path(self.map.paths[0], True)
            self.assertEqual(trace.changes(), [])
        self.assertEqual(self.api.target(target.wwn).lun(5).get("State"), "online")

    def test_in_use_and_force(self) -> None:
        disks = null_disks(3)
        target = self.api.create()
        for disk in disks[:2]:
            target.add_lun(disk.device)
        guest = self.boot(target)
        # The names are given in any order.
        block = guest.block(0)
        guest.cmd(f"guestio start {block} 8")
        self.progress(guest, block)
        with self.unchanged("RemoveLun"), self.refused("InUse"):
            target.remove_lun(0)
        with self.unchanged("Lun.Remove"), self.refused("InUse"):
            target.lun(1).remove()
        with self.unchanged("Destroy"), self.refused("InUse"):
            target.destroy()
        self.progress(guest, block)
        # A LUN added to the running guest is there after a rescan (facts: QEMU before 10.2 has no event).
        target.add_lun(disks[2].device, number=9)
        guest.cmd("rescan")
        wait_until("the guest has the new disk", lambda: "9" in [d["hctl"].rsplit(":", 1)[1] for d in guest.disks()])
        self.progress(guest, block)
        # Force takes one away; the other's I/O does not notice.
        target.remove_lun(1, force=True)
        self.assertFalse((target.tpg / "lun/lun_1").exists())
        self.progress(guest, block)
        # Destroy with force detaches the LUNs. The portal group itself stays as long as QEMU holds it, and goes after.
        try:
            target.destroy(force=True, timeout=20_000_000)
        except Exception as e:
            self.assertIn(getattr(e, "name", ""), (f"{ERROR}InUse", f"{ERROR}TimedOut"), e)
        wait_until("the disks are gone", lambda: not list(target.tpg.glob("lun/lun_*")))
        wait_until("the guest has I/O errors", lambda: guest.io_status(block)["errors"] > 0)
        guest.stop()
        wait_until("the target is gone", lambda: not target.tpg.parent.exists(), 60)
        # The kernel has done it a moment before the service hears so.
        wait_until("it is not listed any more", lambda: self.api.list_targets() == [])
        self.assertEqual(list((CONFIGFS / "core").glob("iblock_*")), [])

    def test_guest_that_never_acquired(self) -> None:
        """Paused, with nobody registered: /proc tells whose the target is, through the service's sandbox."""
        disk, = null_disks(1)
        target = self.api.create()
        target.add_lun(disk.device)
        guest = self.boot(target)
        pid = int(run(["systemctl", "show", "-P", "MainPID", "nested-guest"]).stdout)
        calls = (target.destroy, lambda: target.remove_lun(0), target.lun(0).remove, lambda: target.acquire("other"))
        wait_until("attached", lambda: target.get("Endpoint") == "attached")
        for call in calls:
            with self.unchanged(), self.refused("InUse", saying=rf"Guest guest \(pid {pid}\) is attached to target {target.wwn}"):
                call()
        guest.qmp("stop")
        wait_until("it looks idle", lambda: target.get("Endpoint") == "idle")
        service_restart()
        for call in calls:
            with self.unchanged(), self.refused("InUse", saying=rf"Guest guest \(pid {pid}\) runs with target {target.wwn}"):
                call()
        ready, problems = self.api.manager.call("Check", "sa{sv}", target.wwn, {})
        self.assertEqual((ready, [code for code, _ in problems]), (False, ["in-use"]))
        guest.stop()
        wait_until("idle again", lambda: target.get("Endpoint") == "idle")
        target.acquire("other")
        target.release("other")
        target.destroy()

    def test_whose_command_line_counts(self) -> None:
        """Root's, and that of the user to whom libvirt has given the target's directory; anybody may write the same."""
        disk, = null_disks(1)
        target = self.api.create()
        target.add_lun(disk.device)
        directory = target.tpg.parent

        @contextlib.contextmanager
        def process(user: str) -> Iterator[int]:
            argv = [sys.executable, "-c", "import time; time.sleep(1000)", "-name", "guest=imposter", "-device",
                    json.dumps({"driver": "vhost-scsi-pci", "wwpn": target.wwn})]
            # Not before it is that user.
            with subprocess.Popen(argv, user=user) as p:
                try:
                    yield p.pid
                finally:
                    p.kill()

        with process("root") as pid, self.refused("InUse", saying=rf"imposter \(pid {pid}\)"):
            target.acquire("a")
        with process("nobody") as pid:
            target.acquire("a")
            target.release("a")
            shutil.chown(directory, "nobody")
            self.addCleanup(lambda: directory.exists() and shutil.chown(directory, "root"))
            with self.refused("InUse", saying=rf"imposter \(pid {pid}\)"):
                target.acquire("a")
            shutil.chown(directory, "root")
        target.acquire("a")
        target.release("a")

    def test_paused_guest_has_its_target(self) -> None:
        """With the VM paused the kernel's endpoint is gone. What it has acquired is its own until QEMU ends."""
        disk, = null_disks(1)
        target = self.api.create()
        target.add_lun(disk.device)
        guest = self.boot(target)
        wait_until("attached", lambda: target.get("Endpoint") in ("attached", "unknown"))
        with self.refused("InUse"):
            target.destroy()
        pid = int(run(["systemctl", "show", "-P", "MainPID", "nested-guest"]).stdout)
        target.acquire("guest", name="vm-a", pid=pid, running=True)
        guest.qmp("stop")
        wait_until("it looks idle", lambda: target.get("Endpoint") == "idle")
        service_restart()
        for call in (target.destroy, lambda: target.remove_lun(0), lambda: target.acquire("other")):
            with self.unchanged(), self.refused("InUse", saying=rf"vm-a \(pid {pid}\) has target"):
                call()
        guest.qmp("cont")
        guest.cmd("guestio start sda 8")
        wait_until("I/O after the pause", lambda: guest.io_status("sda")["ops"] > 50)
        self.assertEqual(guest.io_status("sda")["errors"], 0)
        guest.stop()
        wait_until("nobody's", lambda: target.get("Owners") == [])
        wait_until("idle again", lambda: target.get("Endpoint") in ("idle", "unknown"))
        target.destroy()
