# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk that does not answer: its LUN waits in the kernel for ever, and nobody else does."""
import time

from labdisks import dm_disks, null_disks
from labkit import (CONFIGFS, Api, ConfigfsTrace, LabTest, options, run, service_kill, service_restart, service_start, service_stop,
                    wait_until)
from nested import NestedGuest


class HangTest(LabTest):
    def hold(self, count: int = 2):
        """A target whose LUN 0 has a guest's I/O in flight on a suspended map, and a removal under way."""
        disks = dm_disks(count)
        target = self.api.create()
        for disk in disks:
            target.add_lun(disk.device)
        guest = NestedGuest("hang")
        self.addCleanup(guest.stop)
        guest.start(target.wwn)
        # The resume is the first cleanup to run: whatever fails here, the guest can die and the target go.
        self.addCleanup(disks[0].resume)
        block = guest.block(0)
        guest.cmd(f"guestio start {block} 8")
        wait_until("the guest does I/O", lambda: guest.io_status(block)["ops"] > 10)
        disks[0].suspend()
        seen: list[int] = []

        def hangs() -> bool:
            seen.append(guest.io_status(block)["ops"])
            return len(seen) > 1 and seen[-1] == seen[-2]
        wait_until("the guest's I/O hangs", hangs, 20, 0.3)
        return target, guest, disks

    def calls(self, what: str, target, other) -> list[float]:
        """How long some hundreds of calls took, sorted."""
        took: list[float] = []

        def timed(function, *args, **kw):
            begin = time.monotonic()
            function(*args, **kw)
            took.append(time.monotonic() - begin)
        for _ in range(50):
            timed(target.get, "State")
            timed(self.api.list_targets)
            timed(target.lun(0).all)
            timed(self.api.managed)
            timed(other.call, "SetLabel", "sa{sv}", "busy", {})
        took.sort()
        print(f"    {len(took)} calls {what}: median {took[len(took) // 2] * 1000:.1f} ms, "
              f"p99 {took[int(len(took) * 0.99)] * 1000:.1f} ms, worst {took[-1] * 1000:.1f} ms", flush=True)
        return took

    def test_others_are_served(self) -> None:
        target, guest, disks = self.hold()
        extra = null_disks(4)
        other = self.api.create()
        before = self.calls("before", target, other)
        remover = Api()
        serial = remover.bus.send("RemoveLun", "ua{sv}", 0, options({"force": True}), path=target.path,
                                  interface=target.interface, dest="org.vhostscsi")
        wait_until("the LUN is draining", lambda: target.lun(0).get("State") == "draining")

        # Against the same calls a moment ago, for how fast this machine is nobody knows. One call that had to wait for the kernel would
        # not come back at all.
        beside = self.calls("beside a hanging removal (to reach: p99 of at most 50 ms)", target, other)
        self.assertLessEqual(sum(beside), 4 * sum(before))

        # Changes go on, elsewhere and in the same target.
        for n, disk in enumerate(extra[:2]):
            self.assertEqual(other.add_lun(disk.device, number=n).get("State"), "online")
        self.assertEqual(target.add_lun(extra[2].device, number=20).get("State"), "online")
        block = guest.block(1)
        guest.cmd(f"guestio start {block} 8")
        wait_until("the guest's other disk works", lambda: guest.io_status(block)["ops"] > 10)
        target.remove_lun(20, force=True)
        self.assertNotIn(serial, remover.bus.answers)
        self.assertEqual(target.lun(0).get("State"), "draining")

        disks[0].resume()
        remover.bus.wait(serial, 30)
        self.assertFalse((target.tpg / "lun/lun_0").exists())
        self.assertNotIn(target.lun(0).path, self.api.managed())

    def test_timeout_option(self) -> None:
        target, guest, disks = self.hold()
        begin = time.monotonic()
        with self.refused("TimedOut"):
            target.remove_lun(0, force=True, timeout=1_000_000)
        self.assertLess(time.monotonic() - begin, 5)
        disks[0].resume()
        wait_until("the removal ends by itself", lambda: not (target.tpg / "lun/lun_0").exists())

    def test_restart_while_it_hangs(self) -> None:
        """Stopped and killed while the kernel holds a child of ours: the next one starts, serves, and finishes the removal."""
        target, guest, disks = self.hold()
        with self.refused("TimedOut"):
            target.remove_lun(0, force=True, timeout=500_000)
        run("systemctl kill --signal=KILL vhscsid", check=False)
        # systemd waits for the unkillable child before it calls the unit dead; nobody may need to.
        wait_until("the daemon answers again", lambda: (service_start(), Api().manager.get("State"))[1], 150, 0.5)
        self.api.close()
        self.api = Api()
        wait_until("it is draining still", lambda: self.api.target(target.wwn).lun(0).get("State") == "draining", 30)
        other = self.api.create()
        disks[0].resume()
        wait_until("the removal ends", lambda: not (target.tpg / "lun/lun_0").exists(), 60)
        wait_until("it is no longer published", lambda: target.lun(0).path not in self.api.managed(), 30)
        other.destroy()


class StopTest(LabTest):
    def test_stop_is_quick_and_changes_nothing(self) -> None:
        disks = dm_disks(3)
        target = self.api.create()
        for disk in disks:
            target.add_lun(disk.device)
        with ConfigfsTrace() as trace:
            begin = time.monotonic()
            service_stop()
            self.assertLess(time.monotonic() - begin, 5)
            service_start()
            service_restart()
            service_kill()
            service_start()
            self.api.close()
            self.api = Api()
            self.api.settled()
            self.assertEqual(trace.changes(), [])
        self.assertEqual(len(list(CONFIGFS.glob("core/iblock_*/*/enable"))), 3)
