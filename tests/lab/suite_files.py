# SPDX-License-Identifier: LGPL-2.1-or-later
"""LUNs on files: never a blank file, never the wrong one."""
import os
from pathlib import Path

from labdisks import NullDisk, sha256, udev_settle, write_pattern
from labkit import CONFIGFS, Lun, LabTest, Target, run, service_start, service_stop, wait_until
from nested import NestedGuest

MOUNT = Path("/srv/lab")
FILE = MOUNT / "disk.img"
MIB = 16


def fileio() -> list[str]:
    return sorted(str(p.relative_to(CONFIGFS / "core")) for p in (CONFIGFS / "core").glob("fileio_*/*") if p.is_dir())


class FilesTest(LabTest):
    def setUp(self) -> None:
        super().setUp()
        MOUNT.mkdir(parents=True, exist_ok=True)
        self.addCleanup(lambda: run(f"while umount -l {MOUNT} 2>/dev/null; do :; done", check=False))

    def filesystem(self, seed: str) -> str:
        """A disk with an ext4 that has the file with a content of its own."""
        disk = NullDisk(64)
        self.addCleanup(lambda: wait_until("the disk is free", lambda: (run(f"wipefs -a {disk.device}", check=False), disk.remove(), True)[2]))
        run(["mkfs.ext4", "-q", disk.device])
        udev_settle()
        run(["mount", disk.device, str(MOUNT)])
        run(["truncate", "-s", f"{MIB}M", str(FILE)])
        write_pattern(str(FILE), MIB, seed)
        run(["umount", str(MOUNT)])
        return disk.device

    def export(self, device: str) -> tuple[Target, Lun]:
        run(["mount", device, str(MOUNT)])
        target = self.api.create()
        return target, target.add_lun(f"file={FILE}")

    def start_anew(self, target: Target) -> None:
        """As after a reboot: nothing of the target is in the kernel."""
        service_stop()
        target.take_down()
        for store in fileio():
            (CONFIGFS / "core" / store).rmdir()
            (CONFIGFS / "core" / store).parent.rmdir()
        service_start()
        self.api.close()
        self.api = type(self.api)()

    def again(self, target: Target) -> Lun:
        return self.api.target(target.wwn).lun(0)

    def is_whole(self, lun: Lun) -> None:
        """The guest has it, and so it is shown."""
        self.assertEqual({k: lun.get(k) for k in ("State", "Health", "Device", "Size", "BlockSize")},
                         {"State": "online", "Health": "ok", "Device": str(FILE), "Size": MIB << 20, "BlockSize": 512})

    def test_a_guest_reads_the_file(self) -> None:
        target, lun = self.export(self.filesystem("one"))
        self.is_whole(lun)
        self.assertRegex(lun.get("Backstore"), r"^fileio_[0-9]+/d-")
        guest = NestedGuest("files")
        self.addCleanup(guest.stop)
        guest.start(target.wwn)
        self.assertEqual(guest.cmd(f"sum {guest.block(0)} {MIB}").strip(), sha256(str(FILE), MIB))
        guest.cmd(f"dd if=/dev/zero of=/dev/{guest.block(0)} bs=1M count=1 conv=fsync")
        wait_until("the file has what the guest wrote", lambda: FILE.read_bytes()[:1 << 20] == bytes(1 << 20))

    def test_never_blank_never_another(self) -> None:
        right, wrong = self.filesystem("one"), self.filesystem("two")
        target, lun = self.export(right)
        good = sha256(str(FILE), MIB)
        serial, wwid = lun.get("UnitSerial"), lun.get("GuestWwid")

        # The kernel holds it.
        self.assertNotEqual(run(["umount", str(MOUNT)], check=False).returncode, 0)
        with self.unchanged("the filesystem goes and another comes"):
            run(["umount", "-l", str(MOUNT)])
            self.api.manager.call("Rescan", timeout=120)
            self.is_whole(lun)
            run(["mount", wrong, str(MOUNT)])
            self.api.manager.call("Rescan", timeout=120)
            self.is_whole(lun)
        bad = sha256(str(FILE), MIB)
        self.assertNotEqual(good, bad)

        # Nothing of it is in the kernel any more, and the wrong filesystem is there.
        self.start_anew(target)
        lun = self.again(target)
        self.assertEqual(lun.get("State"), "failed")
        self.assertRegex(lun.get("LastError")[1], "another filesystem")
        self.assertEqual(fileio(), [])
        run(["umount", str(MOUNT)])
        lun.wait_state("waiting")
        self.assertEqual(list(MOUNT.iterdir()), [], "a file was made below the mount point")

        # A file of that name below the mount point, with nothing mounted.
        run(["truncate", "-s", f"{MIB}M", str(FILE)])
        self.api.manager.call("Rescan", timeout=120)
        self.assertEqual((lun.get("State"), fileio()), ("waiting", []))
        FILE.unlink()

        # The right one, and the file is not there, is smaller, is there.
        run(["mount", right, str(MOUNT)])
        lun.wait_state("online")
        self.assertEqual((lun.get("UnitSerial"), lun.get("GuestWwid")), (serial, wwid))
        away = FILE.with_suffix(".away")
        FILE.rename(away)
        self.start_anew(target)
        lun = self.again(target)
        self.assertEqual(lun.get("State"), "failed")
        self.assertRegex(lun.get("LastError")[1], "No such file")
        self.assertFalse(FILE.exists())
        run(["truncate", "-s", "1M", str(FILE)])
        self.start_anew(target)
        lun = self.again(target)
        self.assertEqual((lun.get("State"), FILE.stat().st_size), ("failed", 1 << 20))
        away.rename(FILE)
        self.start_anew(target)
        self.again(target).wait_state("online")
        self.assertEqual(sha256(str(FILE), MIB), good)
        run(["umount", "-l", str(MOUNT)])
        run(["mount", wrong, str(MOUNT)])
        self.assertEqual(sha256(str(FILE), MIB), bad)

    def test_another_part_of_the_filesystem(self) -> None:
        """What is bound there must be the same directory of the filesystem: the other one has a file of that name as well."""
        device = self.filesystem("whole")
        whole = Path("/srv/whole")
        whole.mkdir(exist_ok=True)
        self.addCleanup(lambda: run(["umount", "-l", str(whole)], check=False))
        run(["mount", device, str(whole)])
        for part in ("one", "two"):
            (whole / part).mkdir()
            run(["truncate", "-s", f"{MIB}M", str(whole / part / FILE.name)])
        run(["mount", "--bind", str(whole / "one"), str(MOUNT)])
        target = self.api.create()
        self.assertEqual(target.add_lun(f"file={FILE}").get("State"), "online")
        run(["umount", "-l", str(MOUNT)])

        for what in (whole / "two", whole):
            run(["mount", "--bind", str(what), str(MOUNT)])
            self.start_anew(target)
            lun = self.again(target)
            self.assertEqual((lun.get("State"), fileio()), ("failed", []), what)
            self.assertRegex(lun.get("LastError")[1], "another filesystem")
            run(["umount", str(MOUNT)])
            lun.wait_state("waiting")
        run(["mount", "--bind", str(whole / "one"), str(MOUNT)])
        lun.wait_state("online")

    def test_the_mount_is_late(self) -> None:
        device = self.filesystem("late")
        target, _ = self.export(device)
        run(["umount", "-l", str(MOUNT)])
        self.start_anew(target)
        lun = self.again(target)
        self.assertEqual((lun.get("State"), self.api.target(target.wwn).get("State")), ("waiting", "incomplete"))
        run(["mount", device, str(MOUNT)])
        lun.wait_state("online")

    def test_a_filesystem_in_memory_is_another_each_time(self) -> None:
        def mount() -> None:
            run(["mount", "-t", "tmpfs", "lab", str(MOUNT)])
            run(["truncate", "-s", f"{MIB}M", str(FILE)])
        mount()
        target = self.api.create()
        self.assertEqual(target.add_lun(f"file={FILE}").get("State"), "online")
        run(["umount", "-l", str(MOUNT)])
        mount()
        self.start_anew(target)
        self.assertEqual((self.again(target).get("State"), fileio()), ("failed", []))

    def test_refused(self) -> None:
        run(["mount", "-t", "tmpfs", "lab", str(MOUNT)])
        target = self.api.create()
        run(["truncate", "-s", f"{MIB}M", str(FILE)])
        empty, loop, swap, fifo = (MOUNT / name for name in ("empty", "loop", "swap", "fifo"))
        empty.touch()
        run(["truncate", "-s", f"{MIB}M", str(loop)])
        os.mkfifo(fifo)
        run(["modprobe", "loop"])
        device = run(["losetup", "--find", "--show", str(loop)]).stdout.strip()
        self.addCleanup(run, ["losetup", "-d", device], check=False)
        (MOUNT / "null").symlink_to("/dev/null")
        (MOUNT / "version").symlink_to("/proc/version")
        for source, error in ((empty, "NotReady"), (loop, "DeviceUnsafe"), (fifo, "InvalidSource"), (MOUNT, "InvalidSource"),
                              (MOUNT / "none", "DeviceNotFound"), (MOUNT / "null", "InvalidSource"), (MOUNT / "version", "DeviceUnsafe"),
                              ("/proc/self/exe", "DeviceUnsafe"), ("/sys/kernel/uevent_seqnum", "DeviceUnsafe"),
                              ("/dev/null", "InvalidSource"), (f"{FILE},fd_dev_size=1", "InvalidSource"), ("srv/x", "InvalidSource"),
                              (f"{MOUNT}/../lab/disk.img", "InvalidSource")):
            with self.subTest(str(source)), self.unchanged(str(source)), self.refused(error):
                target.add_lun(f"file={source}")
        with self.unchanged("readonly"), self.refused("org.freedesktop.DBus.Error.InvalidArgs"):
            target.add_lun(f"file={FILE}", readonly=True)
        # One file by two names is one disk.
        (MOUNT / "link").symlink_to(FILE)
        target.add_lun(f"file={MOUNT}/link")
        with self.unchanged("twice"), self.refused("AlreadyExists"):
            target.add_lun(f"file={FILE}")
