# SPDX-License-Identifier: LGPL-2.1-or-later
"""Disks that are late, go and come back: one rule, whatever the event was called."""
import os
import subprocess
from pathlib import Path

from labdisks import DmDisk, NullDisk, dm_disks, mk_multipath, multipath_maps, rm_multipath, udev_settle, udev_trigger
from labkit import ConfigfsTrace, LabTest, run, service_restart, service_start, service_stop, wait_until

DEBUG_ADD = Path("/sys/bus/pseudo/drivers/scsi_debug/add_host")


class LateTest(LabTest):
    def test_all_come_late_and_keep_their_numbers(self) -> None:
        target = self.api.create()
        luns = [target.add_lun(f"dm-uuid=LAB-late{n}", number=n * 3) for n in range(4)]
        self.assertEqual({lun.get("State") for lun in luns}, {"waiting"})
        serials = [lun.get("UnitSerial") for lun in luns]
        disks = {}
        for n in (2, 0, 3, 1):
            disks[n] = DmDisk(NullDisk().device, uuid=f"LAB-late{n}")
            self.addCleanup(disks[n].remove)
            luns[n].wait_state("online")
        self.assertEqual([lun.get("UnitSerial") for lun in luns], serials)
        self.assertEqual(target.get("State"), "online")
        target.destroy()

    def test_late_over_a_restart(self) -> None:
        target = self.api.create()
        target.add_lun("dm-uuid=LAB-over", number=4)
        service_restart()
        self.assertEqual(target.lun(4).get("State"), "waiting")
        service_stop()
        disk = DmDisk(NullDisk().device, uuid="LAB-over")
        self.addCleanup(disk.remove)
        service_start()
        target.lun(4).wait_state("online")
        target.destroy()

    def test_by_id_and_dm_name(self) -> None:
        target = self.api.create()
        lun = target.add_lun("by-id=dm-name-labname")
        self.assertEqual(lun.get("State"), "waiting")
        disk = DmDisk(NullDisk().device, name="labname", uuid="LAB-name")
        self.addCleanup(disk.remove)
        lun.wait_state("online")
        target.destroy()

    def test_a_table_that_is_not_loaded_yet(self) -> None:
        """dm's add event comes before there is a table: not usable, size 0. The resume's change event is what counts."""
        under = NullDisk()
        target = self.api.create()
        lun = target.add_lun("dm-uuid=LAB-empty")
        run("dmsetup create labempty --notable --uuid LAB-empty")
        self.addCleanup(run, "dmsetup remove labempty", check=False)
        udev_settle()
        self.assertEqual(lun.get("State"), "waiting")
        run(f"dmsetup load labempty --table '0 65536 linear {under.device} 0' && dmsetup resume labempty")
        lun.wait_state("online")
        target.destroy()

    def test_suspended_is_degraded_not_gone(self) -> None:
        disk, = dm_disks(1)
        target, lun = self.api.export(disk.device)
        with ConfigfsTrace() as trace:
            disk.load("error")
            disk.load("linear")
            for event in ("add", "change", "change"):
                udev_trigger("-c", event, os.path.realpath(disk.device))
            self.assertEqual(lun.get("State"), "online")
            self.assertEqual(trace.changes(), [])

    def test_multipath_map_late_path_by_path(self) -> None:
        """The wanted map comes with its first path; the second changes nothing; all paths gone and back: the LUN was never taken down."""
        target = self.api.create()
        lun = target.add_lun("dm-uuid=mpath-1Linux_scsi_debug_2000", number=2)
        self.assertEqual(lun.get("State"), "waiting")
        mk_multipath(1, paths=1)
        lun.wait_state("online", 60)
        inode = (target.tpg / "lun/lun_2").stat().st_ino
        with ConfigfsTrace() as trace:
            DEBUG_ADD.write_text("1")
            wait_until("two paths", lambda: len(multipath_maps()[0].paths) == 2, 60)
            m = multipath_maps()[0]
            for path in m.paths:
                m.set_path(path, False)
            wait_until("the map has no path", lambda: run(["multipath", "-ll"]).stdout.count("failed") == 2, 60)
            wait_until("the LUN says so", lambda: (lun.get("State"), lun.get("Health")) == ("degraded", "no-path"), 30)
            for path in m.paths:
                m.set_path(path, True)
            wait_until("the LUN is well again", lambda: (lun.get("State"), lun.get("Health")) == ("online", "ok"), 60)
            self.assertEqual(trace.changes(), [])
        self.assertEqual((target.tpg / "lun/lun_2").stat().st_ino, inode)

    def test_ready_waits_for_a_map(self) -> None:
        """vhscsictl ready: not yet, without the map; with --wait it ends when the map is there, and all is well then."""
        rm_multipath()
        self.addCleanup(rm_multipath)
        self.addCleanup(self.destroy_ours)
        target = self.api.create()
        lun = target.add_lun("dm-uuid=mpath-1Linux_scsi_debug_2000")
        ready = ["vhscsictl", "ready", target.wwn]
        result = run(ready, check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("LUN 0", result.stdout + result.stderr)
        with subprocess.Popen([*ready, "--wait=250s"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as waiting:
            mk_multipath(1)
            out, _ = waiting.communicate(timeout=60)
            state = lun.get("State")
        self.assertEqual((waiting.returncode, state), (0, "online"), out)

    def test_many_at_once(self) -> None:
        """64 disks appear in one go, with a daemon that waits for them: none is missed."""
        target = self.api.create()
        for n in range(64):
            target.add_lun(f"dm-uuid=LAB-burst{n}")
        unders = [NullDisk() for _ in range(64)]
        disks = [DmDisk(u.device, name=f"burst{n}", uuid=f"LAB-burst{n}") for n, u in enumerate(unders)]
        wait_until("all are up", lambda: target.get("State") == "online", 120)
        self.assertEqual(len(list(target.tpg.glob("lun/lun_*"))), 64)
        target.destroy()
        self.assertEqual(list(Path("/sys/kernel/config/target/core").glob("iblock_*")), [])
        for disk in disks:
            disk.remove()
