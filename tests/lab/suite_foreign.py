# SPDX-License-Identifier: LGPL-2.1-or-later
"""What others made in configfs: shown, and never touched."""
import os
import re
from pathlib import Path

from labdisks import dm_disks, null_disks
from labkit import CONFIGFS, CORE, VHOST, ConfigfsTrace, LabTest, configfs_snapshot, difference, run, service_restart, wait_until

WWN = "naa.5001405f0e161600"
HBA = "iblock_0"


def make_foreign(device: str, wwn: str = WWN, name: str = "theirs") -> None:
    run(f"""set -e
        cd {CORE}; mkdir -p {HBA}/{name}
        printf udev_path={device} > {HBA}/{name}/control; printf {device} > {HBA}/{name}/udev_path; printf 1 > {HBA}/{name}/enable
        cd {VHOST}; mkdir -p {wwn}/tpgt_1; printf naa.5001405f0e1616ff > {wwn}/tpgt_1/nexus
        mkdir {wwn}/tpgt_1/lun/lun_0; ln -s {CORE}/{HBA}/{name} {wwn}/tpgt_1/lun/lun_0/link""")


def unmake_foreign(wwn: str = WWN, name: str = "theirs") -> None:
    run(f"cd {VHOST}/{wwn}/tpgt_1 && rm -f lun/lun_0/link && rmdir lun/lun_0 && cd / && rmdir {VHOST}/{wwn}/tpgt_1 {VHOST}/{wwn}; "
        f"rmdir {CORE}/{HBA}/{name} {CORE}/{HBA}", check=False)


class ForeignTest(LabTest):
    def setUp(self) -> None:
        super().setUp()
        self.disk, self.ours = null_disks(2)
        make_foreign(self.disk.device)
        self.addCleanup(unmake_foreign)

    def known(self):
        """The service looks for itself, or when asked to."""
        self.api.manager.call("Rescan")
        return wait_until("the foreign target is listed", lambda: self.api.target(WWN) if (WWN in dict(map(reversed, self.api.list_targets())))
                          else None)

    def theirs(self) -> dict:
        """All that is theirs, the inodes too."""
        return {**configfs_snapshot(VHOST / WWN), **configfs_snapshot(CORE / HBA)}

    def test_shown_read_only(self) -> None:
        before = self.theirs()
        target = self.known()
        v = target.all()
        self.assertEqual((v["ManagedBy"], v["State"], v["Wwn"], v["Nexus"]), ("foreign", "foreign", WWN, "naa.5001405f0e1616ff"))
        self.assertEqual(len(v["Luns"]), 1)
        lun = target.luns()[0].all()
        self.assertEqual((lun["Number"], lun["Backstore"]), (0, f"{HBA}/theirs"))
        calls = [lambda: target.add_lun(self.ours.device), lambda: target.remove_lun(0), lambda: target.remove_lun(0, force=True),
                 lambda: target.destroy(), lambda: target.destroy(force=True), lambda: target.call("SetLabel", "sa{sv}", "mine", {}),
                 lambda: target.luns()[0].remove(force=True), lambda: self.api.export(self.ours.device, target=WWN)]
        for n, call in enumerate(calls):
            with self.subTest(n), self.unchanged(str(n)), self.refused("Foreign", "AlreadyExists"):
                call()
        with self.unchanged("create"), self.refused("AlreadyExists", saying="(?i)foreign|vhscsid did not|not made|targetcli|another|somebody"):
            self.api.create(WWN)
        with self.unchanged("create, if-absent"), self.refused("AlreadyExists", "Foreign"):
            self.api.create(WWN, if_absent=True)
        # Its disk is in use, whoever exported it.
        with self.unchanged("same disk"), self.refused("DeviceBusy", "LunConflict", "AlreadyExists", "InUse"):
            self.api.export(self.disk.device)
        self.assertEqual(before, self.theirs())

    def test_never_touched(self) -> None:
        """Beside it ours come and go, the service restarts, everything is destroyed."""
        before = self.theirs()
        self.known()
        with ConfigfsTrace() as trace:
            target, lun = self.api.export(self.ours.device)
            self.assertNotEqual(lun.get("Backstore").split("/")[0], HBA)
            service_restart()
            self.api.close()
            self.api = type(self.api)()
            self.api.settled()
            self.api.target(target.wwn).destroy(force=True)
            self.assertTrue(trace.changes())
        self.assertEqual(before, self.theirs(), difference(before, self.theirs()))
        self.assertEqual(self.api.target(WWN).get("ManagedBy"), "foreign")

    def test_comes_and_goes(self) -> None:
        target = self.known()
        unmake_foreign()
        self.api.manager.call("Rescan")
        wait_until("it is gone", lambda: not self.api.list_targets())
        make_foreign(self.disk.device)
        self.assertEqual(self.known(), target)

    def test_hba_numbers_are_shared(self) -> None:
        """targetcli, and a hole that a foreign HBA fills: our next backstore takes a free number."""
        run(f"mkdir {CORE}/iblock_1 {CORE}/iblock_3 {CORE}/rd_mcp_2")
        self.addCleanup(run, f"rmdir {CORE}/iblock_1 {CORE}/iblock_3 {CORE}/rd_mcp_2", check=False)
        disks = dm_disks(3)
        target = self.api.create()
        places = [target.add_lun(d.device).get("Backstore").split("/")[0] for d in disks]
        self.assertEqual(len(set(places) | {"iblock_0", "iblock_1", "iblock_3"}), 6, places)
        for place in ("iblock_1", "iblock_3", "rd_mcp_2"):
            self.assertEqual([e for e in os.listdir(CORE / place) if (CORE / place / e).is_dir()], [])
        target.destroy()
        self.assertTrue((CORE / "iblock_1").exists() and (CORE / "iblock_3").exists())

    def test_targetcli_lives_beside(self) -> None:
        target, lun = self.api.export(self.ours.device)
        out = run(["targetcli", "ls"], timeout=120).stdout
        self.assertIn(target.wwn, out)
        self.assertIn(lun.get("Backstore").split("/")[1], out)
        self.assertEqual(lun.get("State"), "online")


class KernelLimitTest(LabTest):
    def test_our_mark_is_in_the_alias(self) -> None:
        """The kernel itself tells ours from theirs."""
        disk, = dm_disks(1)
        _, lun = self.api.export(disk.device)
        alias = (CORE / lun.get("Backstore") / "alias").read_text()
        seq = Path(f"/sys/block/{Path(disk.device).resolve().name}/diskseq").read_text().strip()
        self.assertTrue(re.search(rf"vhscsid diskseq={seq}\b", alias), alias)
        self.assertTrue(CONFIGFS.is_dir())
