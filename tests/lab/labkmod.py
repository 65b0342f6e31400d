# SPDX-License-Identifier: LGPL-2.1-or-later
"""For the suites of the bundled fabric module: it is loaded under other names beside vhost_scsi, and driven by an initiator without a guest."""
import os
import re
import socket
import subprocess
import unittest
from pathlib import Path

from labdisks import DmDisk, dm_disks, udev_settle
from labkit import CONFIGFS, run, service_stop, wait_until

LIB = "/usr/local/lib/vhscsid-lab"
INITIATOR = f"{LIB}/kmod-initiator"
WWN, NEXUS = "naa.5001405aaaaaaaaa", "naa.5001405bbbbbbbbb"
PAGES = 4096                            # of a RAM disk: 16 MiB
BLOCKS = PAGES * 8
# The functions of task management, and what virtio calls their ends.
ABORT_TASK, ABORT_TASK_SET, CLEAR_TASK_SET, NEXUS_RESET, LUN_RESET, QUERY_TASK, QUERY_TASK_SET = 0, 1, 3, 4, 5, 6, 7
OK, ABORTED, RESET, BUSY, SUCCEEDED = 0, 2, 4, 5, 10
TASK_ABORTED = 0x40
KOBJECT_UEVENT = 15                     # linux/netlink.h
PANIC_ON_WARN = Path("/proc/sys/kernel/panic_on_warn")


class Backstore:
    """An HBA of its own each: it goes with its last disk."""

    _numbers = iter(range(70, 100000))

    def __init__(self, control: str):
        kind = {"rd": "rd_mcp", "fd": "fileio"}.get(control.partition("_")[0], "iblock")
        self.dir = CONFIGFS / "core" / f"{kind}_{next(self._numbers)}" / "disk"
        self.dir.mkdir(parents=True)
        (self.dir / "control").write_text(control)
        (self.dir / "enable").write_text("1")

    def attribute(self, name: str, value: int) -> None:
        (self.dir / "attrib" / name).write_text(str(value))

    def remove(self) -> None:
        self.dir.rmdir()
        self.dir.parent.rmdir()


class Fabric:
    """A fabric with one target, and one RAM disk as LUN 0 of it."""

    def __init__(self, name: str, node: str, wwn: str = WWN):
        self.top, self.node, self.wwn = CONFIGFS / name, f"/dev/{node}", wwn
        self.tpg = self.top / wwn / "tpgt_1"
        self.disk: Backstore | None = None

    def create(self) -> None:
        self.disk = Backstore(f"rd_pages={PAGES}")
        self.top.mkdir(exist_ok=True)
        self.tpg.parent.mkdir()
        self.tpg.mkdir()
        (self.tpg / "nexus").write_text(NEXUS)
        self.link(0)

    def link(self, number: int, disk: Backstore | None = None) -> None:
        lun = self.tpg / "lun" / f"lun_{number}"
        lun.mkdir()
        (lun / "disk").symlink_to((disk or self.disk).dir)

    def unlink(self, number: int) -> None:
        lun = self.tpg / "lun" / f"lun_{number}"
        (lun / "disk").unlink()
        lun.rmdir()

    def destroy(self) -> None:
        if self.tpg.is_dir():
            for lun in sorted((self.tpg / "lun").glob("lun_*")):
                for link in lun.iterdir():
                    if link.is_symlink():
                        link.unlink()
                lun.rmdir()
            self.tpg.rmdir()
        if self.tpg.parent.is_dir():
            self.tpg.parent.rmdir()
        if self.top.is_dir() and not any(p.is_dir() and p.name != "discovery_auth" for p in self.top.iterdir()):
            self.top.rmdir()
        if self.disk:
            self.disk.remove()
            self.disk = None

    def status(self) -> dict[str, str]:
        return dict(line.split(" ", 1) for line in (self.tpg / "status").read_text().splitlines() if not line.startswith("queue "))

    def faults(self) -> dict[int, str]:
        """Of each live queue."""
        return {int(m[1]): m[2] for m in re.finditer(r"^queue (\d+) size \d+ fault (\S+)$", (self.tpg / "status").read_text(), re.M)}

    def stats(self) -> dict[str, int]:
        return {k: int(v) for k, v in (line.split() for line in (self.tpg / "stats").read_text().splitlines())}

    def checks(self, *without: str, blocks: int = BLOCKS) -> dict[str, str]:
        """Name of each check: what is wrong with it, or nothing."""
        result = run([INITIATOR, "check", self.node, WWN, str(blocks), *without], timeout=240, check=False)
        seen = {}
        for line in result.stdout.splitlines():
            if m := re.fullmatch(r"ok (\S+)", line):
                seen[m[1]] = ""
            elif m := re.fullmatch(r"not ok (\S+): (.*)", line):
                seen[m[1]] = m[2]
        assert "attach-again" in seen, f"the initiator did not get to its end: {result.stdout}{result.stderr}"
        return seen


class Uevents:
    """What the kernel says of a node, as it says it."""

    def __init__(self, node: str):
        self.node = node
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, KOBJECT_UEVENT)
        self.socket.bind((0, 1))
        self.socket.settimeout(20)

    def next(self) -> tuple[str, str, str, str]:
        while True:
            message = self.socket.recv(8192).decode(errors="replace").split("\0")
            if message[0] == f"change@/devices/virtual/misc/{self.node}":
                values = dict(v.split("=", 1) for v in message[1:] if "=" in v)
                return values["VHSCSI_EVENT"], values["WWPN"], values["TPGT"], values["PID"]

    def close(self) -> None:
        self.socket.close()


class Talk:
    """An initiator that does as it is told (tests/kmod/talk.c)."""

    def __init__(self, test: "KmodTest", fabric: Fabric):
        self.test = test
        self.child = test.start("talk", fabric.node, fabric.wwn)
        test.said(self.child, "ready")

    def tell(self, line: str) -> str:
        self.child.stdin.write(f"{line}\n")
        self.child.stdin.flush()
        return self.child.stdout.readline().strip()

    def send(self, *lines: str) -> None:
        for line in lines:
            self.test.assertEqual(self.tell(line), "sent")

    def answers(self, count: int) -> list[str]:
        return [self.tell("next") for _ in range(count)]

    def function(self, subtype: int, lun: int, tag: int = 0) -> int:
        """One that is answered at once."""
        self.send(f"tmf {subtype} {lun} {tag}")
        found = re.fullmatch(rf"tmf {subtype} response (\d+)", answer := self.tell("next"))
        assert found, answer
        return int(found[1])


class KernelLog:
    """What the kernel says from now on; its log is a ring, so lines cannot be counted."""

    def __init__(self):
        self.fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.lseek(self.fd, 0, os.SEEK_END)

    def lines(self) -> list[str]:
        said = []
        while True:
            try:
                said.append(os.read(self.fd, 8192).decode(errors="replace").partition(";")[2].splitlines()[0])
            except BlockingIOError:
                return said
            except BrokenPipeError:
                continue                # some are overwritten; the next is there

    def complaints(self) -> list[str]:
        return [line for line in self.lines() if re.search(r"BUG:|WARNING:|Oops|general protection|refcount_t|hung task|Call Trace", line)]

    def close(self) -> None:
        os.close(self.fd)


class KmodTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        service_stop()
        run(["modprobe", "-a", "target_core_mod", "vhost_scsi"])
        run(["insmod", f"{LIB}/vhscsi.ko", "fabric=vhscsi", "node=vhscsi"])
        wait_until("the node", lambda: os.path.exists("/dev/vhscsi"))
        # What the kernel warns of, no test survives.
        PANIC_ON_WARN.write_text("1")

    @classmethod
    def tearDownClass(cls) -> None:
        run(["rmmod", "vhscsi"])
        PANIC_ON_WARN.write_text("0")

    def setUp(self) -> None:
        self.log = KernelLog()
        self.addCleanup(self.log.close)
        self.fabric = self.made("vhscsi", "vhscsi")

    def tearDown(self) -> None:
        self.assertEqual(self.log.complaints(), [])

    def made(self, name: str, node: str, wwn: str = WWN) -> Fabric:
        fabric = Fabric(name, node, wwn)
        self.addCleanup(fabric.destroy)
        fabric.create()
        return fabric

    def start(self, *argv: str) -> subprocess.Popen:
        child = subprocess.Popen([INITIATOR, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(child.communicate)
        self.addCleanup(child.kill)
        return child

    def said(self, child: subprocess.Popen, *wanted: str) -> str:
        line = child.stdout.readline().strip()
        self.assertIn(line, wanted)
        return line

    def slow(self, number: int = 1, control: str = "udev_path") -> tuple[DmDisk, Backstore]:
        """A LUN of the fabric on a disk that can be told to wait; fd_dev_name: as a file, whose reads keep waiting who submits them."""
        disk, = dm_disks(1)
        self.addCleanup(disk.remove)
        store = Backstore(f"{control}={disk.device}")
        self.addCleanup(store.remove)
        lun = self.fabric.tpg / f"lun/lun_{number}"
        if lun.is_dir():
            self.fabric.unlink(number)
        self.fabric.link(number, store)
        self.addCleanup(lambda: lun.is_dir() and self.fabric.unlink(number))
        return disk, store

    def suspend(self, disk: DmDisk) -> None:
        udev_settle()
        disk.suspend()
        # A file's reads come from the page cache otherwise.
        Path("/proc/sys/vm/drop_caches").write_text("1")
        # Before everything else that is cleaned up, for it may hang on the disk.
        self.addCleanup(disk.resume)

    def in_flight(self, count: int) -> None:
        wait_until(f"{count} requests are in flight", lambda: self.fabric.stats()["in-flight"] == count)
