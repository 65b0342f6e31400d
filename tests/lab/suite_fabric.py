# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon on its own kernel module: it knows who is attached without asking, tells it, and shows what is counted. All other suites run so
with `lab --fabric=bundled suite`."""
import json
import signal
import subprocess

from labdisks import dm_disks
from labkit import TARGET, VHOST, LabTest, fabric, plain, run, service_start, service_stop, wait_until

LIB = "/usr/local/lib/vhscsid-lab"
PROPERTIES = "org.freedesktop.DBus.Properties"


class FabricTest(LabTest):
    @classmethod
    def setUpClass(cls) -> None:
        service_stop()
        if VHOST.is_dir():
            VHOST.rmdir()
        run(["modprobe", "-r", "vhost_scsi"])
        run(["modprobe", "-a", "target_core_mod", "target_core_iblock"])
        if fabric() != "vhscsi":
            run(["insmod", f"{LIB}/vhscsi.ko"])
        service_start()

    @classmethod
    def tearDownClass(cls) -> None:
        service_stop()
        VHOST.rmdir()
        run(["rmmod", "vhscsi"])

    def setUp(self) -> None:
        super().setUp()
        self.api.bus.match(f"type='signal',interface='{PROPERTIES}',member='PropertiesChanged'")
        self.target = self.api.create()
        self.wwn = self.target.get("Wwn")

    def guest(self, load: str = "load") -> subprocess.Popen:
        child = subprocess.Popen([f"{LIB}/kmod-initiator", load, "/dev/vhost-scsi", self.wwn], stdin=subprocess.PIPE,
                                 stdout=subprocess.PIPE, text=True)
        self.addCleanup(child.communicate)
        self.addCleanup(child.kill)
        self.assertEqual(child.stdout.readline().strip(), "running")
        return child

    def told(self, endpoint: str) -> None:
        def news() -> bool:
            return any(plain(s.args[1]).get("Endpoint") == endpoint for s in self.api.bus.drain(0.05)
                       if s.path == self.target.path and s.args[0] == TARGET)
        wait_until(f"news that the target is {endpoint}", news)

    def known(self) -> str:
        return self.api.managed()[self.target.path][TARGET]["Endpoint"]

    def statistics(self) -> dict[str, dict[str, int]]:
        return plain(self.target.call("GetStatistics")[0])

    def test_fabric(self) -> None:
        found = self.api.manager.get("Fabric")
        self.assertEqual((found["module"], found["origin"]), ("vhscsi", "bundled"))
        self.assertRegex(run(["vhscsictl", "--no-pager", "status"], check=False).stdout, r"Fabric: vhscsi \S+ \(bundled\)")

    def test_endpoint(self) -> None:
        disk, = dm_disks(1)
        self.assertEqual(self.known(), "idle")
        lun = self.target.add_lun(disk.device)
        child = self.guest()
        self.told("attached")
        self.assertEqual(self.known(), "attached")
        with self.refused("InUse"):
            lun.remove()
        child.send_signal(signal.SIGKILL)
        self.told("idle")
        self.assertEqual(self.known(), "idle")
        lun.remove()

    def test_waits_for_the_guest(self) -> None:
        """What is to go when the guest does goes as soon as the guest does."""
        disk, = dm_disks(1)
        self.target.add_lun(disk.device)
        # One that stays when its disk is pulled.
        child = self.guest("load-through")
        self.told("attached")
        self.target.destroy(force=True)
        self.assertEqual(self.target.get("LastError")[0], "InUse")
        child.send_signal(signal.SIGKILL)
        wait_until("the target is gone", lambda: self.target.path not in self.api.managed())
        self.assertFalse((VHOST / self.wwn).exists())

    def test_statistics(self) -> None:
        disk, = dm_disks(1)
        lun = self.target.add_lun(disk.device)
        self.assertEqual(self.statistics()["fabric"]["requests"], 0)
        self.guest()
        before = wait_until("requests are counted", lambda: (s := self.statistics())["fabric"]["requests"] > 0 and s)
        after = wait_until("and more", lambda: (s := self.statistics())["lun/0"]["commands"] > before["lun/0"]["commands"] and s)
        self.assertGreater(after["fabric"]["read-bytes"], 0)
        self.assertGreater(after["fabric"]["written-bytes"], 0)
        self.assertGreaterEqual(plain(lun.call("GetStatistics")[0])["commands"], after["lun/0"]["commands"])
        found, = json.loads(run(["vhscsictl", "stat", self.wwn, "--json=short"]).stdout)
        self.assertGreaterEqual(found["statistics"]["fabric"]["requests"], after["fabric"]["requests"])
        self.assertEqual(found["statistics"].keys(), {"fabric", "lun/0"})
        rows = run(["vhscsictl", "--no-pager", "--no-legend", "stat", self.wwn]).stdout.splitlines()
        self.assertEqual([row.split()[:2] for row in rows], [[self.wwn, "all"], [self.wwn, "0"]])
