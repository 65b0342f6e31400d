# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bundled fabric module, driven by an initiator without a guest; the kernel's own module is the oracle for what it shall do."""
import errno
import re
import signal
from pathlib import Path

from labdisks import dm_disks, sha256, write_pattern
from labkit import VHOST, run, wait_until
from labkmod import INITIATOR, LIB, LUN_RESET, NEXUS, NEXUS_RESET, SUCCEEDED, WWN, Fabric, KernelLog, KmodTest, Talk, Uevents
from nested import NestedGuest

# What the kernel's module does not do (6.1), and our own must. It is not asked, for some of these stop its ring for good.
IN_TREE_GAPS = ["huge", "no-blocks", "reset-wrong-target", "short-read", "task-set", "unaligned", "used-length", "verify", "workers",
                "wrong-way"]
# What a chain that is none is called in the module's status.
BAD_CHAINS = {"head": "head", "next": "next", "loop": "loop", "order": "order", "address": "address", "address-wrap": "address",
              "length": "address", "indirect-odd": "indirect", "indirect-nested": "indirect", "indirect-loop": "loop",
              "indirect-empty": "indirect", "indirect-next": "indirect", "indirect-address": "address", "indirect-long": "indirect",
              "empty": "response", "no-room": "response", "ring-memory": "ring-memory",
              "no-response": "response", "avail-index": "avail-index"}
# What is a poor request, but one that can be answered.
BAD_REQUESTS = ("short-request", "short-response")


class Kmod(KmodTest):
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
        self.bad_chains(2, BAD_CHAINS | dict.fromkeys(BAD_REQUESTS, "none"))

    def test_bad_chains_of_the_control_queue(self) -> None:
        """An answer there may be one byte long."""
        self.bad_chains(0, BAD_CHAINS | dict.fromkeys((*BAD_REQUESTS, "no-room"), "none"))

    def test_bad_chains_of_the_event_queue(self) -> None:
        """Nobody looks at them before there is something to say."""
        self.bad_chains(1, BAD_CHAINS | dict.fromkeys(BAD_REQUESTS, "none"))

    def bad_chains(self, queue: int, chains: dict[str, str]) -> None:
        for chain, fault in chains.items():
            with self.subTest(chain=chain):
                child = self.start("bad", self.fabric.node, WWN, chain, str(queue))
                if queue == 1:
                    wait_until("the device is attached", lambda: self.fabric.status()["attached"] == "1")
                    self.fabric.link(300)
                self.said(child, "answered" if fault == "none" else "broken")
                self.assertEqual(self.fabric.faults(), dict.fromkeys(range(4), "none") | {queue: fault})
                if queue == 1:
                    self.fabric.unlink(300)
                child.stdin.write("\n")
                child.stdin.flush()
                self.said(child, "works")
                self.assertEqual(child.wait(20), 0)

    def test_checks_of_disks(self) -> None:
        """The backends have ways of their own with a scatter list."""
        for control in ("udev_path", "fd_dev_name"):
            with self.subTest(control=control):
                disk, _ = self.slow(0, control)
                self.assertEqual({k: v for k, v in self.fabric.checks(blocks=disk.sectors).items() if v}, {})

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
        cycles = 1000

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

    def test_uevent_limit(self) -> None:
        """A guest can reset its disk as often as it likes, and the host's daemons do not hear of each."""
        heard = Uevents("vhscsi")
        self.addCleanup(heard.close)
        talk = Talk(self, self.fabric)
        for _ in range(100):
            self.assertEqual(talk.function(LUN_RESET, 0), SUCCEEDED)
        self.assertEqual(talk.tell("clear"), "0")
        resets = 0
        while (event := heard.next()[0]) != "detach":
            resets += event == "reset"
        # 10 in 5 seconds: the machine is slow, but not that slow.
        self.assertGreaterEqual(resets, 1)
        self.assertLessEqual(resets, 50)

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
            self.refused("/dev/vhost-scsi is there already: unload vhost_scsi first")
            # One of the names alone would be a second fabric of the other's name: LIO takes it, and cannot tell them apart.
            for one in ("node=vhscsi", "fabric=vhscsi"):
                self.refused("fabric= and node= go together: give both, or neither", one)
        finally:
            run(["insmod", f"{LIB}/vhscsi.ko", "fabric=vhscsi", "node=vhscsi"])
        self.assertIsNone(child.poll())

    def refused(self, why: str, *parameters: str) -> None:
        log = KernelLog()
        self.addCleanup(log.close)
        self.assertNotEqual(run(["insmod", f"{LIB}/vhscsi.ko", *parameters], check=False).returncode, 0)
        self.assertEqual(log.lines(), [f"vhscsi: {why}"])

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
