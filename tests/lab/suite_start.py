# SPDX-License-Identifier: LGPL-2.1-or-later
"""A start reads what is wanted first, and the rest of the host's disks when it is over: none of that may be noticed, but by the time it takes."""
from pathlib import Path

from labdisks import NullDisk, null_disks, udev_settle, udev_trigger
from labkit import ConfigfsTrace, LabTest, run, service_pid, service_restart, service_start, service_stop, wait_until

RULE = Path("/run/udev/rules.d/61-lab-start.rules")


class StartTest(LabTest):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.rule, "")

    def rule(self, *lines: str) -> None:
        RULE.parent.mkdir(parents=True, exist_ok=True)
        RULE.write_text("\n".join(lines) + "\n")
        run(["udevadm", "control", "--reload"])

    def disk(self) -> NullDisk:
        disk = NullDisk()
        self.addCleanup(disk.remove)
        return disk

    def named(self, disk: NullDisk, what: str) -> None:
        """A lasting name, as a rule of udev's gives it, or none."""
        self.rule(*([f'KERNEL=="{disk.kernel}", {what}'] if what else []))
        udev_trigger("-c", "change", disk.device)

    def test_open_under_a_name_that_it_lost(self) -> None:
        """Nothing wanted names the disk any more, and a guest may have it: it is not to be taken for one that is gone."""
        disk = self.disk()
        self.named(disk, 'SYMLINK+="disk/by-id/lab-lost"')
        target = self.api.create()
        lun = target.add_lun("by-id=lab-lost")
        lun.wait_state("online")
        inode = (target.tpg / "lun/lun_0").stat().st_ino
        self.named(disk, "")
        self.assertFalse(Path("/dev/disk/by-id/lab-lost").exists())
        self.assertEqual(lun.get("State"), "online")
        with ConfigfsTrace() as trace:
            service_restart()
            self.assertEqual((lun.get("State"), lun.get("Health"), lun.get("Device")), ("online", "ok", disk.device))
            self.api.settled()
            self.assertEqual(trace.changes(), [])
        self.assertEqual((target.tpg / "lun/lun_0").stat().st_ino, inode)

    def test_two_disks_of_one_name(self) -> None:
        """Two answer to the wanted WWID, and no map holds them: neither is taken, also where the service was not there when they came."""
        target = self.api.create()
        lun = target.add_lun("wwid=36001405labstart")
        self.assertEqual(lun.get("State"), "waiting")
        service_stop()
        self.rule('KERNEL=="nullb*", ENV{ID_BUS}="scsi", ENV{ID_SERIAL}="36001405labstart"')
        first, second = self.disk(), self.disk()
        udev_settle()
        with ConfigfsTrace() as trace:
            service_start()
            self.api.settled()
            self.assertEqual(lun.get("State"), "waiting")
            self.assertEqual([c for c in trace.changes() if "iblock" in c], [])
        self.assertIn("Several devices", lun.get("LastError")[1])
        second.remove()
        lun.wait_state("online")
        self.assertEqual(lun.get("Device"), first.device)

    def test_all_are_listed(self) -> None:
        """Who asks for the host's disks has all of them, also as the first who asks."""
        null_disks(48)
        before = sorted(d["path"] for d in self.api.devices())
        self.assertGreaterEqual(len(before), 48)
        service_restart()
        self.assertEqual(sorted(d["path"] for d in self.api.devices()), before)

    def test_calm_afterwards(self) -> None:
        """The rest is read by itself, once, and then nothing is done any more."""
        null_disks(48)
        service_restart()

        def calls() -> int:
            return sum(int(line.split()[1]) for line in Path(f"/proc/{service_pid()}/io").read_text().splitlines()
                       if line.startswith("syscr"))
        seen = [calls()]

        def is_calm() -> bool:
            seen.append(calls())
            return seen[-1] == seen[-2]
        wait_until("they are read", lambda: calls() >= seen[0] + 48, 30)
        wait_until("nothing more is read", is_calm, 30, 0.5)

        # Asked now, there is nothing to be read first.
        costs = []
        for _ in range(2):
            before = calls()
            self.assertGreaterEqual(len(self.api.devices()), 48)
            costs.append(calls() - before)
        self.assertLess(costs[0] - costs[1], 48, costs)
