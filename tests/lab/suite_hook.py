# SPDX-License-Identifier: LGPL-2.1-or-later
"""Our hook between libvirt and its guests: who may start, when, and what an admin is told."""
import subprocess
from pathlib import Path

from labdisks import dm_disks
from labkit import run, service_restart, wait_until
from lablibvirt import Domain, LibvirtCase, ctl, virsh

HOOK = Path("/etc/libvirt/hooks/qemu.d/50-vhscsid")
HOOK_CONF = Path("/etc/vhscsid/libvirt-hook.conf")


class HookTest(LibvirtCase):
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
        self.deadline(1)
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
        second.start()
        self.assert_sees(second, target)
