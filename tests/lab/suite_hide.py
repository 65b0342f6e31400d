# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is on a guest's disk is none of the host's business: LVM, kpartx and udisks, with the shipped udev rules and without."""
import contextlib
import os
import re
import struct
from pathlib import Path

from labdisks import Map, NullDisk, mk_multipath, multipath_maps, rm_multipath, udev_settle, udev_trigger
from labkit import CORE, LabTest, Lun, Target, run, service_start, service_stop, wait_until

SHIPPED = ("59-vhscsid.rules", "62-vhscsid-hide.rules")
RULES = Path("/run/udev/rules.d")
PLAIN = Path("/etc/multipath/conf.d/lab-plain.conf")
VG, LV = "guestvg", "guestvg-root"


def reload_rules() -> None:
    run(["udevadm", "control", "--reload"])


def properties(device: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in run(["udevadm", "info", "-q", "property", device]).stdout.splitlines())


def lvm_is_quiet() -> None:
    """udev has told LVM what it had to tell, and LVM has done what it does then."""
    udev_settle()
    wait_until("LVM's units are over", lambda: not run("systemctl list-units --plain --no-legend --state=active,activating,reloading "
                                                      "'lvm-activate-*'").stdout.strip(), 30)
    udev_settle()


def lvm_forget() -> None:
    """As after a boot: LVM has seen no disk yet."""
    run("rm -f /run/lvm/pvs_online/* /run/lvm/vgs_online/*; systemctl reset-failed 'lvm-activate-*'", check=False)


def active() -> list[str]:
    """The guest's volumes, and partitions by kpartx, that this host has made a live map of."""
    maps = run(["dmsetup", "info", "-c", "--noheadings", "--separator", " ", "-o", "name,tables_loaded"]).stdout.splitlines()
    return sorted(name for name, table in (m.rsplit(" ", 1) for m in maps if " " in m) if table != "None" and (name.startswith(VG) or "-part" in name))


def activations() -> int:
    """How often udev's rules had LVM activate the guest's group."""
    run(["journalctl", "--sync"])
    return run(["journalctl", "-b", "-o", "cat", "--no-pager"]).stdout.count(f"Started lvm-activate-{VG}.service")


def write_table(device: str, mib: int) -> None:
    """A DOS partition table with one partition for LVM, from 1 MiB on. (The image has no fdisk.)"""
    entry = struct.pack("<B3sB3sII", 0, b"\xfe\xff\xff", 0x8e, b"\xfe\xff\xff", 2048, mib * 2048)
    with open(device, "r+b", buffering=0) as f:
        f.write(bytes(446) + entry + bytes(48) + b"\x55\xaa")
        os.fsync(f.fileno())


def make_group(device: str) -> None:
    """As the guest does it; the host has let go of it when this returns."""
    run(f"pvcreate -qy {device} && vgcreate -qy {VG} {device} && lvcreate -qy -n root -L 16M {VG}")
    # Not before udev's rules have heard of the group: they have LVM activate it, maybe after it was let go.
    lvm_is_quiet()
    run(["vgchange", "-qan", VG])
    lvm_is_quiet()
    wait_until("nothing of the group is active", lambda: LV not in active())


class HideTest(LabTest):
    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.shipped, True)

    def clean(self) -> None:
        self.let_go()
        super().clean()
        self.let_go()
        with contextlib.suppress(AssertionError):
            rm_multipath()
        lvm_forget()

    def let_go(self) -> None:
        run(f"vgchange -qan {VG}; for m in $(dmsetup ls | awk '/-part/ {{ print $1 }}'); do dmsetup remove $m; done", check=False)

    def shipped(self, there: bool) -> None:
        """With or without the rules that we ship, whatever is installed."""
        RULES.mkdir(parents=True, exist_ok=True)
        for name in SHIPPED:
            (RULES / name).unlink(missing_ok=True)
            if not there:
                (RULES / name).symlink_to("/dev/null")
        reload_rules()

    def reconnect(self) -> None:
        self.api.close()
        self.api = type(self.api)()

    def power_off(self, target: Target) -> None:
        """What a reboot leaves of service, target and map: the store, and what is on the disk."""
        service_stop()
        for lun in target.tpg.glob("lun/lun_*"):
            for link in lun.iterdir():
                if link.is_symlink():
                    link.unlink()
            lun.rmdir()
        for hba in CORE.glob("iblock_*"):
            for backstore in hba.iterdir():
                if backstore.is_dir():
                    backstore.rmdir()
            hba.rmdir()
        target.tpg.rmdir()
        target.tpg.parent.rmdir()
        self.flush()

    def flush(self) -> None:
        self.let_go()
        wait_until("the map is flushed", lambda: run("multipath -F; ! dmsetup ls --target multipath | grep -q '('",
                                                    check=False).returncode == 0, 30, 0.3)
        lvm_forget()

    def map_comes(self) -> None:
        run(["multipath", "-r"])
        wait_until("the map is there", lambda: any(os.path.exists(m.by_id) for m in multipath_maps()), 60, 0.2)
        lvm_is_quiet()

    def power_on(self) -> Lun:
        """Disks first, the service later, as at every boot."""
        self.map_comes()
        service_start()
        self.reconnect()
        self.api.settled()
        return self.api.targets()[0].luns()[0]

    def assert_paths_left_alone(self, m: Map) -> None:
        for path in m.paths:
            holders = os.listdir(f"/sys/block/{path}/holders")
            self.assertEqual(holders, [m.dm], f"{path} has other holders than its map")
            for part in Path(f"/sys/block/{path}").glob(f"{path}*"):
                self.assertEqual(os.listdir(part / "holders"), [], part.name)


class GroupTest(HideTest):
    def exported(self) -> tuple[Map, Target, Lun]:
        m, = mk_multipath(1, size_mb=64)
        make_group(m.device)
        target, lun = self.api.export(m.device)
        self.assertEqual(lun.get("State"), "online")
        lvm_forget()
        return m, target, lun

    def test_online(self) -> None:
        """While the LUN is up the kernel keeps LVM off; the rule spares it the attempt."""
        m, _, lun = self.exported()
        for there in (True, False):
            with self.subTest(shipped=there):
                self.shipped(there)
                before = activations()
                with self.unchanged("events"):
                    for action in ("change", "add"):
                        lvm_forget()
                        udev_trigger("--subsystem-match=block", "-c", action)
                        lvm_is_quiet()
                        self.assertEqual(active(), [])
                self.assertEqual(activations() > before, not there, "LVM was asked to")
                self.assertEqual(properties(m.device).get("ID_FS_TYPE"), None if there else "LVM2_member")
                with self.unchanged("LVM by hand"):
                    for command in ("pvscan --cache -aay", f"vgchange -aay {VG}", f"vgchange -ay {VG}", f"lvchange -ay {VG}/root"):
                        self.assertNotEqual(run(command, check=False).returncode, 0, command)
                        self.assertEqual(active(), [], command)
                lvm_forget()
                service_stop()
                udev_trigger("--subsystem-match=block", "-c", "add")
                service_start()
                self.reconnect()
                self.api.settled()
                lvm_is_quiet()
                self.assertEqual(active(), [])
                self.assertEqual(Lun(self.api, lun.path).get("State"), "online")
                self.assert_paths_left_alone(multipath_maps()[0])
        # Nobody exports it any more: it is the host's again, when there is news of it.
        self.shipped(True)
        self.api.targets()[0].destroy()
        udev_trigger(m.device)
        self.assertEqual(properties(m.device).get("ID_FS_TYPE"), "LVM2_member")
        self.assertNotIn("VHOSTSCSI_HIDE", properties(m.device))

    def test_boot_with_the_rules(self) -> None:
        """No rule names this disk: it is hidden because the store wants it, before the service runs."""
        _, target, _ = self.exported()
        for _ in range(3):
            self.power_off(target)
            before = activations()
            lun = self.power_on()
            self.assertEqual(active(), [])
            self.assertEqual(activations(), before)
            self.assertEqual(lun.get("State"), "online")
            target = self.api.targets()[0]

    def test_boot_without_the_rules(self) -> None:
        """What the manual says of a host without them: LVM is first, the LUN says who has its disk, and is up as soon as it may."""
        _, target, _ = self.exported()
        self.shipped(False)
        self.power_off(target)
        lun = self.power_on()
        self.assertEqual(active(), [LV], "this test proves nothing: LVM does not activate what it finds")
        self.assertEqual((lun.get("State"), lun.get("LastError")[0]), ("failed", "DeviceBusy"))
        run(["vgchange", "-qan", VG])
        lun.wait_state("online", 120)
        self.assertEqual(active(), [])

    def test_late(self) -> None:
        """The map comes while the service waits for it."""
        _, target, _ = self.exported()
        for there in (True, True, False, False):
            with self.subTest(shipped=there):
                self.shipped(there)
                self.power_off(target)
                service_start()
                self.reconnect()
                target = self.api.targets()[0]
                lun, = target.luns()
                self.assertEqual(lun.get("State"), "waiting")
                self.map_comes()
                if there:
                    lun.wait_state("online")
                    self.assertEqual(active(), [])
                    continue
                # A race, without the rules. Whoever wins, the LUN is attached as soon as LVM lets go.
                wait_until("one of the two has it", lambda: bool(active()) != (lun.get("State") == "online"), 30)
                self.let_go()
                lun.wait_state("online", 120)
                self.assertEqual(active(), [])


class PartitionTest(HideTest):
    def test_partitions_of_a_map(self) -> None:
        """kpartx makes no partitions of a map that is a guest's, so nothing on them is found either."""
        m, = mk_multipath(1, size_mb=64)
        write_table(m.device, 48)
        run(f"kpartx -sa -p -part {m.device}")
        make_group(f"{m.device}-part1")
        self.let_go()
        target, lun = self.api.export(m.device)
        self.assertEqual(lun.get("State"), "online")
        for there in (True, False, True):
            with self.subTest(shipped=there):
                self.shipped(there)
                self.power_off(target)
                before = activations()
                lun = self.power_on()
                target = self.api.targets()[0]
                if not there:
                    self.assertNotEqual(active(), [], "this test proves nothing: kpartx does not do what it does")
                    self.assertEqual((lun.get("State"), lun.get("LastError")[0]), ("failed", "DeviceBusy"))
                    self.let_go()
                    lun.wait_state("online", 120)
                    continue
                self.assertEqual(lun.get("State"), "online")
                self.assertEqual(active(), [])
                self.assertEqual(activations(), before)
                self.assert_paths_left_alone(multipath_maps()[0])
                udev_trigger("--subsystem-match=block", "-c", "add")
                lvm_is_quiet()
                self.assertEqual(active(), [])

    def test_partitions_of_a_disk(self) -> None:
        """The kernel makes those, for everybody; LVM leaves them alone all the same."""
        PLAIN.parent.mkdir(exist_ok=True)
        PLAIN.write_text('blacklist {\n\twwid "1Linux_scsi_debug.*"\n}\n')
        self.addCleanup(run, ["multipathd", "reconfigure"])
        self.addCleanup(PLAIN.unlink)
        run(["multipathd", "reconfigure"])
        run(["modprobe", "scsi_debug", "add_host=1", "max_luns=1", "vpd_use_hostno=0", "dev_size_mb=64"])
        disk = self.scan()
        write_table(disk, 48)
        udev_settle()
        run(["blockdev", "--rereadpt", disk])
        wait_until("the partition is there", lambda: os.path.exists(f"{disk}1"))
        make_group(f"{disk}1")
        target, lun = self.api.export(disk)
        self.assertEqual((lun.get("State"), lun.get("Source")), ("online", "wwid=1Linux_scsi_debug_2000"))
        for there in (True, False, True):
            with self.subTest(shipped=there):
                self.shipped(there)
                service_stop()
                self.let_go()
                Path(f"/sys/block/{os.path.basename(disk)}/device/delete").write_text("1")
                self.power_off(target)
                before = activations()
                disk = self.scan()
                lvm_is_quiet()
                self.assertEqual(active(), [] if there else [LV])
                service_start()
                self.reconnect()
                self.api.settled()
                target = self.api.targets()[0]
                lun, = target.luns()
                if there:
                    self.assertEqual(activations(), before)
                    hidden = properties(f"{disk}1")
                    self.assertEqual((hidden.get("UDISKS_IGNORE"), hidden.get("ID_FS_TYPE")), ("1", None))
                else:
                    self.assertEqual(lun.get("State"), "failed")
                    self.let_go()
                lun.wait_state("online", 120)

    def scan(self) -> str:
        for host in Path("/sys/class/scsi_host").glob("host*"):
            if (host / "proc_name").read_text().strip() == "scsi_debug":
                (host / "scan").write_text("- - -")
        disk = wait_until("the disk is there", lambda: next((f"/dev/{d.name}" for d in Path("/sys/block").glob("sd*")), None), 30)
        udev_settle()
        self.assertTrue(re.fullmatch(r"/dev/sd[a-z]", disk))
        return disk


class WantedTest(HideTest):
    """vhscsid-wanted itself, called as udev calls it."""

    def asked(self, **env: str) -> bool:
        return run(["/usr/lib/udev/vhscsid-wanted"], check=False, env={"PATH": "/usr/bin:/bin", **env}).returncode == 0

    def test_every_name(self) -> None:
        disk = NullDisk()
        self.addCleanup(disk.remove)
        run(f"dmsetup create nameonly --table '0 8192 linear {disk.device} 0'")
        self.addCleanup(run, "dmsetup remove nameonly", check=False)
        other = NullDisk()
        udev_settle()
        target = self.api.create()
        for source in ("dm-uuid=mpath-3600a", "wwid=3600b", "by-id=virtio-disk1", "/dev/mapper/nameonly", other.device):
            target.add_lun(source)
        for env, wanted in (({"DM_UUID": "mpath-3600a"}, True), ({"DM_UUID": "mpath-3600"}, False), ({"DM_UUID": "mpath-3600a0"}, False),
                            ({"DM_UUID": "mpath-3600b"}, True), ({"DM_UUID": "LVM-3600b"}, False),
                            ({"ID_SERIAL": "3600b", "DEVTYPE": "disk"}, True), ({"ID_SERIAL": "3600b", "DEVTYPE": "partition"}, False),
                            ({"ID_SERIAL": "3600."}, False), ({"ID_SERIAL": "-e ."}, False), ({"DM_NAME": "nameonly"}, True),
                            ({"DEVLINKS": "/dev/disk/by-path/x /dev/disk/by-id/virtio-disk1"}, True),
                            ({"DEVLINKS": "/dev/disk/by-id/*"}, False), ({"DEVLINKS": "/dev/disk/by-id/virtio-disk"}, False),
                            ({"DEVNAME": other.device}, False), ({}, False)):
            with self.subTest(env):
                self.assertEqual(self.asked(**env), wanted)
