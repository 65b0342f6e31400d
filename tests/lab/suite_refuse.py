# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is refused, and that a refusal changes nothing: not one byte in configfs, not one in the store."""
import os
import re
import uuid

from labdisks import DmDisk, NullDisk, dm_disks, mk_multipath, udev_settle
from labkit import INVALID_ARGS, STORE, Api, BusError, LabTest, Target, Variant, run, service_pid, service_restart, wait_until

ALREADY = ("AlreadyExists", "DeviceBusy", "LunConflict", "InUse")


class IdentityTest(LabTest):
    @classmethod
    def setUpClass(cls) -> None:
        cls.maps = mk_multipath(2)

    def sources(self, m) -> list[str]:
        return [f"dm-uuid={m.uuid}", m.by_id, m.device, f"/dev/{m.dm}", f"path={m.device}",
                f"by-id={os.path.basename(m.by_id)}", f"by-id=dm-name-{m.name}"]

    def test_every_name_is_one_identity(self) -> None:
        m = self.maps[0]
        seen = set()
        for source in self.sources(m):
            with self.subTest(source):
                target, lun = self.api.export(source)
                v = lun.all()
                self.assertEqual(v["State"], "online")
                self.assertNotRegex(v["Source"], r"^(path=)?/dev/(sd|dm-)", "a name of this boot only")
                place = f"/sys/kernel/config/target/core/{v['Backstore']}"
                path = open(f"{place}/udev_path").read().strip()
                self.assertEqual(os.path.realpath(path), f"/dev/{m.dm}")
                self.assertTrue(path.startswith("/dev/disk/by-id/"), path)
                serial = open(f"{place}/wwn/vpd_unit_serial").read().split(":")[1].strip()
                self.assertEqual(serial, v["UnitSerial"])
                self.assertEqual(uuid.UUID(serial).version, 5)
                self.assertEqual(v["GuestWwid"], "wwn-0x6001405" + serial.replace("-", "")[:25])
                seen.add((v["Source"], v["UnitSerial"], v["GuestWwid"], v["Size"]))
                target.destroy()
        self.assertEqual(len(seen), 1, f"one disk, several identities: {seen}")

    def test_second_export_needs_shareable(self) -> None:
        m = self.maps[0]
        target, lun = self.api.export(m.device)
        for source in self.sources(m):
            other = self.api.create()
            for t in (target, other):
                with self.subTest(f"{source} in {t.wwn}"), self.unchanged(source), self.refused(*ALREADY) as caught:
                    t.add_lun(source)
                self.assertIn(target.wwn, caught[0].message, "says who has it")
            other.destroy()
        other, second = self.api.export(f"/dev/{m.dm}", shareable=True)
        self.assertEqual(second.get("Backstore"), lun.get("Backstore"), "one disk is one backstore")
        self.assertEqual(second.get("GuestWwid"), lun.get("GuestWwid"))
        lun.remove()
        self.assertEqual(second.get("State"), "online")
        other.destroy()
        self.assertEqual([d for d in os.listdir("/sys/kernel/config/target/core") if d.startswith("iblock")], [])

    def test_two_maps_two_identities(self) -> None:
        target = self.api.create()
        luns = [target.add_lun(m.device) for m in self.maps]
        for name in ("Source", "UnitSerial", "GuestWwid", "Backstore"):
            self.assertEqual(len({lun.get(name) for lun in luns}), 2, name)

    def test_path_member(self) -> None:
        m = self.maps[0]
        target = self.api.create()
        for path in m.paths:
            for source in (f"/dev/{path}", f"path=/dev/{path}"):
                with self.subTest(source), self.unchanged(source), self.refused("DeviceIsPathMember", saying=m.name):
                    target.add_lun(source)
        with self.unchanged("export"), self.refused("DeviceIsPathMember", saying=m.name):
            self.api.export(f"/dev/{m.paths[0]}")


class RefuseTest(LabTest):
    def refuse(self, target: Target, source: str, *names: str) -> None:
        with self.subTest(source[:60]):
            with self.unchanged(source[:60]), self.refused(*names) as caught:
                target.add_lun(source)
            self.assertLess(len(caught[0].message), 1000)
            with self.unchanged(source[:60]), self.refused(*names):
                self.api.export(source)

    def test_the_hosts_own_disks(self) -> None:
        mounted, swap, holder, whole = dm_disks(4)
        run(f"mkfs.ext4 -q {mounted.device} && mount {mounted.device} /mnt && mkswap {swap.device} && swapon {swap.device}")
        self.addCleanup(run, f"umount /mnt; swapoff {swap.device}", check=False)
        over = DmDisk(holder.device)
        self.addCleanup(over.remove)
        # A partition in use makes its disk unsafe.
        run(f"echo ',8M' | sfdisk -q {whole.under}", check=False)
        udev_settle()
        target = self.api.create()
        for disk in (mounted, swap):
            for source in (disk.device, disk.by_id, f"dm-uuid={disk.uuid}"):
                self.refuse(target, source, "DeviceUnsafe", "DeviceBusy")
        self.refuse(target, mounted.under, "DeviceUnsafe", "DeviceBusy")
        self.refuse(target, "/dev/vda", "DeviceUnsafe")
        self.refuse(target, holder.device, "DeviceBusy", "DeviceUnsafe")

    def test_a_mount_is_seen_when_it_counts(self) -> None:
        """Mounted and unmounted between two calls: the answer is of now, not of what was seen before."""
        disk, = dm_disks(1)
        run(f"mkfs.ext4 -q {disk.device}")
        target = self.api.create()
        for _ in range(3):
            run(f"mount {disk.device} /mnt")
            with self.unchanged("mounted"), self.refused("DeviceUnsafe", "DeviceBusy"):
                target.add_lun(disk.device)
            run("umount /mnt")
            target.add_lun(disk.device)
            target.remove_lun(0)

    def test_no_disk_at_all(self) -> None:
        os.makedirs("/run/lab", exist_ok=True)
        os.chdir("/run/lab")
        with open("/run/lab/file", "wb") as f:
            f.truncate(1 << 20)
        for link, to in (("dangling", "nowhere"), ("loop", "loop"), ("disk", "/dev/vda")):
            if not os.path.islink(link):
                os.symlink(to, link)
        target = self.api.create()
        for source in ("/dev/null", "/dev/zero", "/dev/vhost-scsi", "/dev", "/dev/disk/by-id", "/dev/mapper/", "/dev/mapper/control",
                       "/run/lab/dangling", "/run/lab/loop", "/run/lab/file", "/run/lab/disk", "/proc/self/fd/0", "/proc/1/fd/0",
                       "/dev/fd/0", "/dev/stdin", "/", "//", "", " ", "vda", "./vda", "../dev/vda", "/dev/../dev/vda",
                       "/dev/./vda", "/dev//vda", "/dev/nosuchdisk", "/dev/mapper/nosuchmap", "path=", "dm-uuid=", "wwid=", "by-id=",
                       "by-id=../../vda", "by-id=/dev/vda", "colour=red", "=", "dm-uuid", "path=relative"):
            self.refuse(target, source)

    def test_what_would_inject_into_control(self) -> None:
        disk, = dm_disks(1)
        target = self.api.create()
        for source in (f"{disk.device},readonly=1", f"{disk.device}\n", f"{disk.device}\nudev_path=/dev/vda", f"{disk.device}\t",
                       f"{disk.device}\x7f", f"{disk.device}\x01", "dm-uuid=a,b", "wwid=a\nb", "by-id=a,udev_path=/dev/vda",
                       "/dev/" + "x" * 4000, "/dev/" + "x/" * 3000, "dm-uuid=" + "m" * 100000, "/dev/mapper/\u202egnp"):
            self.refuse(target, source)
        for name in ("a/b", "..", ".", "a,b", "a\nb", "", "n" * 300, "/", "a\tb"):
            with self.subTest(name=name[:20]), self.unchanged(name[:20]), self.refused(INVALID_ARGS):
                target.add_lun(disk.device, name=name)
        for serial in ("a,b", "a\nb", "s" * 300):
            with self.subTest(serial=serial[:20]), self.unchanged(serial[:20]), self.refused(INVALID_ARGS, "SerialConflict"):
                target.add_lun(disk.device, serial=serial)

    def test_names_and_serials_that_are_taken(self) -> None:
        first, second = dm_disks(2)
        target = self.api.create()
        target.add_lun(first.device, serial="0123456789abcdef0123456789ab", name="one")
        with self.unchanged("serial"), self.refused("SerialConflict"):
            target.add_lun(second.device, serial="0123456789abcdef0123456789ab")
        with self.unchanged("serial, same first 25 digits"), self.refused("SerialConflict"):
            target.add_lun(second.device, serial="0123456789abcdef012345678ffff")

    def test_a_kernel_that_says_no_leaves_nothing(self) -> None:
        """Somebody has the disk open exclusively: LIO's enable fails, and all that was made before it is unmade."""
        disk, = dm_disks(1)
        target = self.api.create()
        fd = os.open(disk.device, os.O_RDWR | os.O_EXCL)
        try:
            with self.unchanged("held"), self.refused("DeviceBusy", "Kernel"):
                target.add_lun(disk.device)
        finally:
            os.close(fd)
        self.assertEqual(target.add_lun(disk.device).get("State"), "online")

    def test_absent_is_waiting_not_refused(self) -> None:
        target = self.api.create()
        lun = target.add_lun("dm-uuid=LAB-later")
        self.assertEqual((lun.get("State"), lun.get("Size"), target.get("State")), ("waiting", 0, "incomplete"))
        disk = DmDisk(NullDisk().device, uuid="LAB-later")
        self.addCleanup(disk.remove)
        lun.wait_state("online")
        self.assertEqual(target.get("State"), "online")
        target.destroy()


class WwnTest(LabTest):
    def test_canonicalised(self) -> None:
        wanted = "naa.5001405aabbccdd0"
        for given in ("naa.5001405AABBCCDD0", "5001405aabbccdd0", "0x5001405aabbccdd0", "50:01:40:5a:ab:bc:cd:d0", "NAA.5001405aabbccdd0"):
            with self.subTest(given):
                target = self.api.create(given)
                self.assertEqual((target.wwn, target.get("Wwn")), (wanted, wanted))
                self.assertTrue((STORE / f"targets/{wanted}.json").exists())
                target.destroy()
                self.assertFalse((STORE / f"targets/{wanted}.json").exists())

    def test_hostile(self) -> None:
        good = "5001405aabbccdd0"
        hostile = [f"naa.{good[:-1]}", f"naa.{good}0", f"fc.{good}", f"iqn.2003-01.org.linux-iscsi:{good}", "naa.", "naa", "naa.zzz",
                   "naa.5001405aabbccddg", "naa./etc/passwd00000", "naa.../../../../x", "..", ".", "/", f"/{good}", f"naa.{good}/",
                   f"naa.{good}/..", f" naa.{good}", f"naa.{good} ", f"naa.{good}\n", f"naa.{good}\t", "naa.\n", "\n", " ", "naa.0000000000000000",
                   "naa.f001405aabbccdd0", f"naa.naa.{good}", f"naa.0x{good}", f"naa.{good}\u00e9", "naa.５００１４０５ａａｂｂｃｃｄｄ０",
                   "naa." + "5" * 1000, "n" * (1 << 20), "naa." + "5" * (1 << 20), "%s%s%n", "$(reboot)", "-", "--help"]
        for wwn in hostile:
            with self.subTest(wwn[:40]), self.unchanged(wwn[:40]):
                with self.refused("InvalidWwn") as caught:
                    self.api.create(wwn)
                self.assertLess(len(caught[0].message), 1000)
        for wwn in ("", *hostile[:10]):
            with self.subTest(f"GetTarget {wwn[:40]}"), self.refused("InvalidWwn"):
                self.api.target(wwn)
        for option in ("nexus", ):
            for wwn in ("zzz", good[:-1], "a" * 100000, ""):
                with self.subTest(f"{option}={wwn[:20]}"), self.unchanged(option), self.refused("InvalidWwn", INVALID_ARGS):
                    self.api.create(**{option: wwn})
        disk, = dm_disks(1)
        with self.unchanged("Export"), self.refused("InvalidWwn"):
            self.api.export(disk.device, target="naa.zz")

    def test_bytes_that_are_no_string(self) -> None:
        """The bus itself disconnects who sends these. The service must not even notice."""
        pid = service_pid()
        for raw in (b"naa.\xff\xfe", b"naa.5001405aabbccd\x000", b"\xc0\xaf", b"\xed\xa0\x80"):
            with self.subTest(raw), self.unchanged(str(raw)):
                with self.assertRaises((BusError, ConnectionError)) as caught:
                    self.api.create(raw)
                self.assertIn(getattr(caught.exception, "name", "disconnected"), ("disconnected", INVALID_ARGS))
                self.api.close()
                self.api = Api()
                self.assertEqual(self.api.manager.get("State"), "running")
        self.assertEqual(service_pid(), pid)

    def test_label(self) -> None:
        target = self.api.create()
        for label in ("a\nb", "\x01", "x" * 100000):
            with self.subTest(label[:10]), self.unchanged("label"), self.refused(INVALID_ARGS):
                target.call("SetLabel", "sa{sv}", label, {})
        target.call("SetLabel", "sa{sv}", "", {})


class NumberTest(LabTest):
    def test_numbers(self) -> None:
        first, second = dm_disks(2)
        target = self.api.create()
        target.add_lun(first.device, number=3)
        for number in (16384, 16385, 65536, 1 << 31, (1 << 32) - 1):
            with self.subTest(number), self.unchanged(str(number)), self.refused("LunOutOfRange"):
                target.add_lun(second.device, number=number)
            with self.subTest(f"remove {number}"), self.unchanged(str(number)), self.refused("LunOutOfRange", "NotFound"):
                target.remove_lun(number)
        with self.unchanged("taken"), self.refused("LunConflict", saying="3"):
            target.add_lun(second.device, number=3)
        for value in (Variant("i", -1), Variant("s", "5"), Variant("t", 5), Variant("q", 5)):
            with self.subTest(value), self.unchanged(str(value)), self.refused(INVALID_ARGS, saying="number"):
                target.call("AddLun", "sa{sv}", second.device, {"number": value})

    def test_a_number_stays_with_its_disk(self) -> None:
        """The disk is away; its number is not free."""
        disk, other = dm_disks(2)
        target = self.api.create()
        waiting = target.add_lun("dm-uuid=LAB-never", number=0)
        self.assertEqual(waiting.get("State"), "waiting")
        self.assertEqual(target.add_lun(disk.device).get("Number"), 1)
        service_restart()
        with self.refused("LunConflict"):
            target.add_lun(other.device, number=0)


class StoreTest(LabTest):
    def test_modes_and_content(self) -> None:
        disk, = dm_disks(1)
        target, lun = self.api.export(disk.device)
        self.assertEqual(oct(os.stat(STORE).st_mode)[-4:], "0700")
        self.assertEqual(oct(os.stat(STORE / "targets").st_mode)[-4:], "0700")
        path = STORE / f"targets/{target.wwn}.json"
        self.assertEqual(oct(path.stat().st_mode)[-4:], "0600")
        self.assertEqual([p.name for p in (STORE / "targets").iterdir()], [path.name], "no temporary file stays")
        text = path.read_text()
        self.assertIn(disk.uuid, text)
        for observed in ("online", "/dev/dm-", "diskseq"):
            self.assertNotIn(observed, text, "only what is wanted is stored")

    def test_a_broken_file_is_set_aside(self) -> None:
        disk, = dm_disks(1)
        healthy, lun = self.api.export(disk.device)
        broken = self.api.create()
        for content in ("", "{", "[]", '{"version":1}', "\0" * 100, '{"version":1,"wwn":"naa.5001405000000000"}'):
            with self.subTest(content[:20]):
                path = STORE / f"targets/{broken.wwn}.json"
                path.write_text(content)
                before = sorted(os.listdir(broken.tpg.parent))
                service_restart()
                wait_until("running", lambda: self.api.manager.get("State") != "starting")
                self.assertEqual(lun.get("State"), "online")
                self.assertEqual(sorted(os.listdir(broken.tpg.parent)), before, "a target that we cannot read is left alone")
                self.assertTrue(list(path.parent.glob(f"{broken.wwn}*.bad*")), os.listdir(path.parent))
                self.assertRegex(run("journalctl -b -u vhscsid -n 30 --no-pager -o cat").stdout, re.escape(broken.wwn))
                problems = self.api.manager.get("Problems")
                self.assertEqual([(w, bool(why)) for w, why in problems], [(broken.wwn, True)], "status says which, and why")
                self.assertIn(broken.wwn, run(["vhscsictl", "status"], check=False).stdout)
                for bad in path.parent.glob("*.bad*"):
                    bad.unlink()
        service_restart()
        run(f"rmdir {broken.tpg} {broken.tpg.parent}", check=False)

    def test_a_file_of_somebody_else(self) -> None:
        """Whoever could have written it may not say what guests get: nothing of it is touched until it is mended."""
        disk, = dm_disks(1)
        target, lun = self.api.export(disk.device)
        path = STORE / f"targets/{target.wwn}.json"
        directory = target.tpg / "lun/lun_0"
        inode, text = os.stat(directory).st_ino, path.read_text()
        self.addCleanup(os.chown, path, 0, -1)
        for spoil, mend, why in ((lambda: os.chown(path, 1, -1), lambda: os.chown(path, 0, -1), "another user"),
                                 (lambda: path.chmod(0o666), lambda: path.chmod(0o600), "others may write")):
            spoil()
            service_restart()
            wait_until("running", lambda: self.api.manager.get("State") != "starting")
            self.assertEqual(self.api.manager.get("State"), "degraded")
            (wwn, said), = self.api.manager.get("Problems")
            self.assertEqual(wwn, target.wwn)
            self.assertIn(why, said)
            self.assertIn(why, run(["vhscsictl", "status"], check=False).stdout)
            self.assertEqual((os.stat(directory).st_ino, path.read_text()), (inode, text))
            mend()
        service_restart()
        wait_until("running", lambda: self.api.manager.get("State") == "running")
        self.assertEqual(lun.get("State"), "online")
        self.assertEqual(os.stat(directory).st_ino, inode)
