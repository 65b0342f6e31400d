# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bundled fabric module, driven by an initiator without a guest; the kernel's own module is the oracle for what it shall do."""
import errno
import os
import re
import signal
import socket
import subprocess
import threading
import unittest
from pathlib import Path

from labdisks import DmDisk, dm_disks, sha256, write_pattern
from labkit import CONFIGFS, VHOST, run, service_stop, wait_until
from nested import NestedGuest

LIB = "/usr/local/lib/vhscsid-lab"
INITIATOR = f"{LIB}/kmod-initiator"
WWN, NEXUS = "naa.5001405aaaaaaaaa", "naa.5001405bbbbbbbbb"
PAGES = 4096                            # of a RAM disk: 16 MiB
BLOCKS = PAGES * 8
# What the kernel's module does not do (6.1), and our own must. It is not asked, for some of these stop its ring for good.
IN_TREE_GAPS = ["huge", "no-blocks", "reset-wrong-target", "short-read", "task-set", "unaligned", "used-length", "workers",
                "wrong-way"]
# What a chain that is none is called in the module's status.
BAD_CHAINS = {"head": "head", "next": "next", "loop": "loop", "order": "order", "address": "address", "address-wrap": "address",
              "length": "address", "indirect-odd": "indirect", "indirect-nested": "indirect", "indirect-loop": "loop",
              "indirect-empty": "indirect", "indirect-next": "indirect", "indirect-address": "address", "indirect-long": "indirect",
              "empty": "response", "no-room": "response", "ring-memory": "ring-memory",
              "no-response": "response", "avail-index": "avail-index"}
# What is a poor request, but one that can be answered.
BAD_REQUESTS = ("short-request", "short-response")
# The functions of task management, and what virtio calls their ends.
ABORT_TASK, ABORT_TASK_SET, CLEAR_TASK_SET, NEXUS_RESET, LUN_RESET, QUERY_TASK, QUERY_TASK_SET = 0, 1, 3, 4, 5, 6, 7
OK, ABORTED, RESET, SUCCEEDED = 0, 2, 4, 10
TASK_ABORTED = 0x40
KOBJECT_UEVENT = 15                     # linux/netlink.h


class Backstore:
    """An HBA of its own each: it goes with its last disk."""

    _numbers = iter(range(70, 100000))

    def __init__(self, control: str):
        kind = "rd_mcp" if control.startswith("rd_") else "iblock"
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

    def checks(self, *without: str) -> dict[str, str]:
        """Name of each check: what is wrong with it, or nothing."""
        result = run([INITIATOR, "check", self.node, WWN, str(BLOCKS), *without], timeout=240, check=False)
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


def kernel_complaints() -> list[str]:
    return [line for line in run(["dmesg"]).stdout.splitlines()
            if re.search(r"BUG:|WARNING:|Oops|general protection|refcount_t|hung task|Call Trace", line)]


class KmodTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        service_stop()
        run(["modprobe", "-a", "target_core_mod", "vhost_scsi"])
        run(["insmod", f"{LIB}/vhscsi.ko", "fabric=vhscsi", "node=vhscsi"])
        wait_until("the node", lambda: os.path.exists("/dev/vhscsi"))

    @classmethod
    def tearDownClass(cls) -> None:
        run(["rmmod", "vhscsi"])

    def setUp(self) -> None:
        self.complaints = kernel_complaints()
        self.fabric = self.made("vhscsi", "vhscsi")

    def tearDown(self) -> None:
        self.assertEqual(kernel_complaints()[len(self.complaints):], [])

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

    def test_checks(self) -> None:
        seen = self.fabric.checks()
        self.assertEqual({k: v for k, v in seen.items() if v}, {})
        self.assertGreaterEqual(len(seen), 20)
        self.assertLessEqual(set(IN_TREE_GAPS), set(seen))
        self.assertEqual(self.fabric.status(), {"attached": "0"})

    def test_oracle(self) -> None:
        """The kernel's module passes the same but for its gaps: nothing is asked that a guest does not get today."""
        seen = self.made("vhost", "vhost-scsi").checks(*IN_TREE_GAPS)
        self.assertEqual({k: v for k, v in seen.items() if v}, {})
        self.assertGreaterEqual(len(seen), 18)

    def test_bad_chains(self) -> None:
        """Each breaks its ring and no other, status names it, and once the rings are set up anew all is well."""
        for chain, fault in (BAD_CHAINS | dict.fromkeys(BAD_REQUESTS, "none")).items():
            with self.subTest(chain=chain):
                child = self.start("bad", self.fabric.node, WWN, chain)
                self.said(child, "answered" if fault == "none" else "broken")
                self.assertEqual(self.fabric.faults(), {0: "none", 1: "none", 2: fault, 3: "none"})
                child.stdin.write("\n")
                child.stdin.flush()
                self.said(child, "works")
                self.assertEqual(child.wait(20), 0)

    def test_status(self) -> None:
        child = self.start("load", self.fabric.node, WWN)
        self.said(child, "running")
        status = self.fabric.status()
        self.assertEqual((status["attached"], status["pid"], status["comm"]), ("1", str(child.pid), "kmod-initiator"))
        self.assertEqual(int(status["features"], 16), 1 << 32 | 1 << 29 | 1 << 28 | 1 << 1)
        before = self.fabric.stats()
        after = wait_until("requests are counted", lambda: (s := self.fabric.stats())["requests"] > before["requests"] and s)
        self.assertGreaterEqual(after["read-bytes"], 64 * 20 * 4096)
        self.assertGreaterEqual(after["written-bytes"], 64 * 20 * 4096)
        # One for the attention of a unit that is new, if any: none of the load.
        self.assertLessEqual(after["errors"], 1)
        # A ring of 64 requests is kicked once and answered in batches.
        self.assertLess(after["kicks"] + after["signals"], after["requests"])

    def test_in_use(self) -> None:
        """While a guest is attached nothing can be taken from under it; when it is killed in the middle of I/O, all can."""
        child = self.start("load-through", self.fabric.node, WWN)
        self.said(child, "running")
        self.fabric.unlink(0)
        self.fabric.link(0)
        self.fabric.unlink(0)
        with self.assertRaises(OSError) as caught:
            self.fabric.tpg.rmdir()
        self.assertEqual(caught.exception.errno, errno.EBUSY)
        with self.assertRaises(OSError) as caught:
            (self.fabric.tpg / "nexus").write_text("NULL")
        self.assertEqual(caught.exception.errno, errno.EBUSY)
        self.assertNotEqual(run(["rmmod", "vhscsi"], check=False).returncode, 0)
        self.assertIsNone(child.poll())
        child.send_signal(signal.SIGKILL)
        self.assertNotEqual(child.wait(30), 0)
        self.assertEqual(self.fabric.status(), {"attached": "0"})
        self.fabric.tpg.rmdir()

    def test_kill(self) -> None:
        for _ in range(10):
            child = self.start("load", self.fabric.node, WWN)
            self.said(child, "running")
            child.send_signal(signal.SIGKILL)
            child.wait(30)
            self.assertEqual(self.fabric.status(), {"attached": "0"})

    def slow(self) -> tuple[DmDisk, Backstore]:
        """LUN 1 of the fabric, on a disk that can be told to wait."""
        disk, = dm_disks(1)
        self.addCleanup(disk.remove)
        store = Backstore(f"udev_path={disk.device}")
        self.addCleanup(store.remove)
        self.fabric.link(1, store)
        self.addCleanup(lambda: (self.fabric.tpg / "lun/lun_1").is_dir() and self.fabric.unlink(1))
        return disk, store

    def suspend(self, disk: DmDisk) -> None:
        disk.suspend()
        # Before everything else that is cleaned up, for it may hang on the disk.
        self.addCleanup(disk.resume)

    def in_flight(self, count: int) -> None:
        wait_until(f"{count} requests are in flight", lambda: self.fabric.stats()["in-flight"] == count)

    def test_task_management(self) -> None:
        """Under a disk that does not answer: what is asked about is found, what is aborted says so, and before its function does."""
        disk, _ = self.slow()
        talk = Talk(self, self.fabric)
        self.suspend(disk)
        talk.send("read 7 1", "write 8 1 1", "read 9 1")
        self.in_flight(3)
        self.assertEqual([talk.function(QUERY_TASK, lun, tag) for lun, tag in ((1, 7), (1, 8), (1, 6), (0, 7))],
                         [SUCCEEDED, SUCCEEDED, OK, OK])
        self.assertEqual([talk.function(QUERY_TASK_SET, lun) for lun in (1, 0)], [SUCCEEDED, OK])
        # Others are none of its business.
        self.assertEqual([talk.function(f, 0) for f in (ABORT_TASK_SET, CLEAR_TASK_SET)], [SUCCEEDED, SUCCEEDED])
        talk.send("read 20 0", f"tmf {ABORT_TASK} 1 7")
        self.assertEqual(talk.tell("next"), "io 20 response 0 status 0")
        self.in_flight(5)                       # the function and its part of it
        disk.resume()
        answers = talk.answers(4)
        self.assertEqual(sorted(answers), ["io 7 response 2 status 0", "io 8 response 0 status 0", "io 9 response 0 status 0",
                                           f"tmf {ABORT_TASK} response {SUCCEEDED}"])
        self.assertLess(answers.index("io 7 response 2 status 0"), answers.index(f"tmf {ABORT_TASK} response {SUCCEEDED}"))

        for function, lun, ended in ((ABORT_TASK, 1, ABORTED), (ABORT_TASK_SET, 1, ABORTED), (CLEAR_TASK_SET, 1, ABORTED),
                                     (NEXUS_RESET, 0, ABORTED), (LUN_RESET, 1, RESET)):
            with self.subTest(function=function):
                self.suspend(disk)
                # A tag that is used twice, which no specification forbids a guest to do wrong.
                talk.send("read 5 1", "read 5 1 1")
                self.in_flight(2)
                talk.send(f"tmf {function} {lun} 5")
                # The function, and the core's part of it for each command, or for the unit.
                self.in_flight(4 if function == LUN_RESET else 5)
                disk.resume()
                self.assertEqual(talk.answers(3), [f"io 5 response {ended} status 0"] * 2 + [f"tmf {function} response {SUCCEEDED}"])
        # The unit says that it was reset, once.
        talk.send("read 6 1", "read 7 1")
        self.assertEqual(talk.answers(2), ["io 6 response 0 status 2", "io 7 response 0 status 0"])

    def test_task_aborted_status(self) -> None:
        """Another guest's reset of a disk that both have: the commands that it ends say so, if the disk is told to have them."""
        disk, store = self.slow()
        other = self.made("vhscsi", "vhscsi", "naa.5001405ccccccccc")
        for tas, answer in ((1, f"io 1 response {OK} status {TASK_ABORTED}"), (0, f"io 1 response {RESET} status 0")):
            with self.subTest(tas=tas):
                self.fabric.unlink(1)
                store.attribute("emulate_tas", tas)
                self.fabric.link(1, store)
                other.link(1, store)
                here, there = Talk(self, self.fabric), Talk(self, other)
                here.send("read 9 1", "read 9 1")       # for the attention of a unit that is new
                here.answers(2)
                self.suspend(disk)
                here.send("read 1 1")
                self.in_flight(1)
                there.send(f"tmf {LUN_RESET} 1 0")
                wait_until("the reset waits", lambda: other.stats()["in-flight"] == 2)
                disk.resume()
                self.assertEqual(there.tell("next"), f"tmf {LUN_RESET} response {SUCCEEDED}")
                self.assertEqual(here.tell("next"), answer)
                self.assertEqual([here.tell("clear"), there.tell("clear")], ["0", "0"])
                other.unlink(1)

    def test_unlink_in_flight(self) -> None:
        """A LUN goes while its disk does not answer: that waits, the guest's other disk does not, and in the end all is answered."""
        disk, _ = self.slow()
        talk = Talk(self, self.fabric)
        self.suspend(disk)
        talk.send("read 1 1", "write 2 1")
        self.in_flight(2)
        unlink = threading.Thread(target=(self.fabric.tpg / "lun/lun_1/disk").unlink)
        unlink.start()
        self.addCleanup(unlink.join)
        self.addCleanup(disk.resume)
        for tag in range(10, 20):
            talk.send(f"read {tag} 0")
            self.assertRegex(talk.tell("next"), rf"io {tag} response 0 status [02]")
        self.assertTrue(unlink.is_alive())
        disk.resume()
        self.assertEqual(sorted(talk.answers(2)), ["io 1 response 0 status 0", "io 2 response 0 status 0"])
        unlink.join(30)
        self.assertFalse(unlink.is_alive())
        (self.fabric.tpg / "lun/lun_1").rmdir()

    def test_kill_in_flight(self) -> None:
        """A process that is killed goes when its disk answers, and not before; nobody else waits for it."""
        disk, _ = self.slow()
        talk = Talk(self, self.fabric)
        self.suspend(disk)
        talk.send("read 1 1", "write 2 1", f"tmf {ABORT_TASK} 1 1", f"tmf {LUN_RESET} 1 0")
        talk.child.kill()
        # It holds the device, so another cannot have it; looking is possible all the time.
        self.assertEqual(self.fabric.status()["attached"], "1")
        other = self.made("vhscsi", "vhscsi", "naa.5001405ccccccccc")
        Talk(self, other).send("read 1 0")
        disk.resume()
        talk.child.wait(30)
        wait_until("it is detached", lambda: self.fabric.status() == {"attached": "0"})

    def test_polling(self) -> None:
        """Looking for requests instead of sleeping: all works, and a busy guest kicks less."""
        def kicks_each() -> float:
            # A driver that kicks when it is asked to; one request at a time.
            child = self.start("bench", self.fabric.node, WWN, "1", "1", "4096", "read", "300")
            self.said(child, "open")
            child.stdin.write("\n")
            child.stdin.flush()
            self.assertGreater(int(child.stdout.readline()), 100)
            stats = self.fabric.stats()
            child.kill()
            child.wait(20)
            return stats["kicks"] / stats["requests"]

        without = kicks_each()
        parameter = Path("/sys/module/vhscsi/parameters/poll_us")
        self.assertEqual(parameter.read_text(), "0\n")
        parameter.write_text("20000")
        self.addCleanup(parameter.write_text, "0")
        seen = self.fabric.checks()
        self.assertEqual({k: v for k, v in seen.items() if v}, {})
        self.assertLess(kicks_each(), without / 2)

    def test_churn(self) -> None:
        """Memory table, rings and eventfds change under requests in flight."""
        child = self.start("churn", self.fabric.node, WWN, "64")
        self.said(child, "done")
        self.assertEqual(child.wait(20), 0)

    def test_cycles(self) -> None:
        """Attached and detached many times: nothing is left behind of any."""
        cycles = 200

        def objects() -> dict[str, int]:
            Path("/proc/sys/vm/drop_caches").write_text("3")
            found = {f[0]: int(f[1]) for line in Path("/proc/slabinfo").read_text().splitlines()[2:]
                     if (f := line.split())[0].startswith(("kmalloc-", "task_struct", "eventpoll", "mm_struct", "filp", "pid"))}
            # Not the slab of vmap_area: the stacks of threads that have ended are purged by the thousand, when there are enough (mm/vmalloc.c).
            found["vmalloc"] = sum("unpurged" not in line for line in Path("/proc/vmallocinfo").read_text().splitlines())
            return found

        run([INITIATOR, "attach", self.fabric.node, WWN, "20"], timeout=120)
        before = objects()
        self.assertEqual(run([INITIATOR, "attach", self.fabric.node, WWN, str(cycles)], timeout=240).stdout, "done\n")
        wait_until("the kernel has as many objects as before",
                   lambda: not (more := {k: n - before[k] for k, n in objects().items() if n - before[k] >= cycles}) or self.fail(more),
                   every=1)

    def test_huge_pages(self) -> None:
        """A huge page's references are given back together: not one too few, or the guest's memory stays, nor one too many."""
        def meminfo(key: str) -> int:
            Path("/proc/sys/vm/drop_caches").write_text("3")
            return int(re.search(rf"^{key}: +(\d+)", Path("/proc/meminfo").read_text(), re.M)[1])

        shmem = Path("/sys/kernel/mm/transparent_hugepage/shmem_enabled")
        self.addCleanup(shmem.write_text, re.search(r"\[(\w+)\]", shmem.read_text())[1])
        shmem.write_text("force")
        child = self.start("load", self.fabric.node, WWN)
        self.said(child, "running")
        self.assertGreater(meminfo("ShmemHugePages"), 16 << 10)
        child.kill()
        child.wait(30)
        free = meminfo("MemFree")
        # Its largest requests are of 8 MiB.
        for _ in range(4):
            self.assertEqual({k: v for k, v in self.fabric.checks().items() if v}, {})
        wait_until("the guests' memory is free again", lambda: meminfo("MemFree") > free - (16 << 10), every=0.5)

    def test_uevents(self) -> None:
        heard = Uevents("vhscsi")
        self.addCleanup(heard.close)
        talk = Talk(self, self.fabric)
        pid = str(talk.child.pid)
        self.assertEqual(heard.next(), ("attach", WWN, "1", pid))
        talk.function(LUN_RESET, 0)
        self.assertEqual(heard.next(), ("reset", WWN, "1", pid))
        talk.function(NEXUS_RESET, 0)
        self.assertEqual(heard.next(), ("reset", WWN, "1", pid))
        self.assertEqual(talk.tell("clear"), "0")
        self.assertEqual(heard.next(), ("detach", WWN, "1", pid))
        self.assertEqual(talk.tell("set"), "0")
        self.assertEqual(heard.next(), ("attach", WWN, "1", pid))
        talk.child.kill()
        self.assertEqual(heard.next(), ("detach", WWN, "1", pid))
        # Who hears of it finds it so.
        self.assertEqual(self.fabric.status(), {"attached": "0"})
        child = self.start("bad", self.fabric.node, WWN, "loop")
        self.assertEqual([heard.next()[0] for _ in range(2)], ["attach", "broken"])
        self.assertEqual(self.fabric.faults()[2], "loop")
        child.kill()

    def test_event(self) -> None:
        child = self.start("event", self.fabric.node, WWN)
        self.said(child, "ready")
        self.fabric.link(300)
        self.said(child, "event 1 reason 1 lun 1:300")
        self.assertEqual(child.wait(20), 0)
        child = self.start("event", self.fabric.node, WWN)
        self.said(child, "ready")
        self.fabric.unlink(300)
        self.said(child, "event 1 reason 2 lun 1:300")

    def test_names(self) -> None:
        """What rtslib and the daemon know vhost_scsi to say."""
        self.assertRegex((self.fabric.top / "version").read_text(), r"^vhscsi \d")
        prot = self.fabric.tpg / "attrib/fabric_prot_type"
        self.assertEqual(prot.read_text().strip(), "0")
        prot.write_text("0")
        with self.assertRaises(OSError) as caught:
            prot.write_text("1")
        self.assertEqual(caught.exception.errno, errno.EINVAL)
        target = self.fabric.tpg.parent
        for parent, name in ((self.fabric.top, "0123456789abcdef"), (target, "tpgt_256"), (target, "tpgt_x")):
            with self.subTest(name=name), self.assertRaises(OSError) as caught:
                (parent / name).mkdir()
            self.assertEqual(caught.exception.errno, errno.EINVAL)
        with self.assertRaises(OSError) as caught:
            (self.fabric.tpg / "nexus").write_text(NEXUS)
        self.assertEqual(caught.exception.errno, errno.EEXIST)
        other = self.fabric.tpg.parent / "tpgt_2"
        other.mkdir()
        self.addCleanup(lambda: other.is_dir() and other.rmdir())
        with self.assertRaises(OSError) as caught:
            (other / "nexus").read_text()
        self.assertEqual(caught.exception.errno, errno.ENODEV)
        (other / "nexus").write_text(NEXUS)
        self.assertEqual((other / "nexus").read_text().strip(), NEXUS)
        (other / "nexus").write_text("NULL")
        other.rmdir()

    def test_same_names(self) -> None:
        """Beside vhost_scsi under its names it does not load, says why in one line, and both go on."""
        fabric = self.made("vhost", "vhost-scsi")
        child = self.start("load", fabric.node, WWN)
        self.said(child, "running")
        self.fabric.destroy()
        run(["rmmod", "vhscsi"])
        try:
            refused = run(["insmod", f"{LIB}/vhscsi.ko"], check=False)
            self.assertNotEqual(refused.returncode, 0)
            self.assertIn("/dev/vhost-scsi is there already", run(["dmesg"]).stdout)
        finally:
            run(["insmod", f"{LIB}/vhscsi.ko", "fabric=vhscsi", "node=vhscsi"])
        self.assertIsNone(child.poll())

    def test_instead(self) -> None:
        """In the place of vhost_scsi, under its names: targetcli makes and removes a target, QEMU boots a guest from another."""
        self.fabric.destroy()
        run(["rmmod", "vhscsi"])
        run(["modprobe", "-r", "vhost_scsi"])
        try:
            run(["insmod", f"{LIB}/vhscsi.ko"])
            try:
                self.check_instead()
            finally:
                if VHOST.is_dir():
                    VHOST.rmdir()
                run(["rmmod", "vhscsi"])
        finally:
            run(["modprobe", "vhost_scsi"])
            run(["insmod", f"{LIB}/vhscsi.ko", "fabric=vhscsi", "node=vhscsi"])

    def check_instead(self) -> None:
        disk, = dm_disks(1)
        self.addCleanup(disk.remove)
        write_pattern(disk.device, 4, "kmod")
        wwn = "naa.5001405ddddddddd"
        for line in (f"/backstores/block create name=kmod dev={disk.device}", f"/vhost create {wwn}",
                     f"/vhost/{wwn}/tpg1/luns create /backstores/block/kmod"):
            run(["targetcli", *line.split()], timeout=120)
        fabric = Fabric("vhost", "vhost-scsi", wwn)
        guest = NestedGuest("kmod")
        try:
            guest.start(wwn)
            block = guest.block(0)
            self.assertEqual(guest.cmd(f"sum {block} 4").strip(), sha256(disk.device, 4))
            status = fabric.status()
            self.assertEqual((status["attached"], status["comm"]), ("1", "qemu-system-x86"))
            guest.cmd(f"guestio start {block} 8")
            done = wait_until("the guest does I/O", lambda: (s := guest.io_status(block))["ops"] > 50 and s, 60)
            self.assertEqual((done["errors"], done["mismatches"]), (0, 0))
            self.assertEqual(set(fabric.faults().values()), {"none"})
        finally:
            guest.stop()
            wait_until("the guest is gone", lambda: fabric.status()["attached"] == "0")
            run(["targetcli", "/vhost", "delete", wwn], timeout=120)
            run(["targetcli", "/backstores/block", "delete", "kmod"], timeout=120)
