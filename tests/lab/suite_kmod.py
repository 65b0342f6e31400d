# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bundled fabric module, driven by an initiator without a guest; the kernel's own module is the oracle for what it shall do."""
import errno
import os
import re
import signal
import subprocess
import unittest

from labkit import CONFIGFS, run, service_stop, wait_until

LIB = "/usr/local/lib/vhscsid-lab"
INITIATOR = f"{LIB}/kmod-initiator"
WWN, NEXUS = "naa.5001405aaaaaaaaa", "naa.5001405bbbbbbbbb"
PAGES = 4096                            # of a RAM disk: 16 MiB
BLOCKS = PAGES * 8
# What the kernel's module does not do (6.1), and our own must. It is not asked, for some of these stop its ring for good.
IN_TREE_GAPS = ["abort-task", "huge", "reset-wrong-target", "short-read", "unaligned", "used-length"]
# What a chain that is none is called in the module's status.
BAD_CHAINS = {"head": "head", "next": "next", "loop": "loop", "order": "order", "address": "address", "address-wrap": "address",
              "length": "address", "indirect-odd": "indirect", "indirect-nested": "indirect", "indirect-loop": "loop",
              "no-response": "response", "avail-index": "avail-index"}


class Fabric:
    """A fabric with one target, and one RAM disk as LUN 0 of it."""

    def __init__(self, name: str, node: str):
        self.top, self.node = CONFIGFS / name, f"/dev/{node}"
        self.tpg = self.top / WWN / "tpgt_1"
        # An HBA of its own each: it goes with its last disk.
        self.disk = CONFIGFS / "core" / ("rd_mcp_77" if name == "vhscsi" else "rd_mcp_78") / name

    def create(self) -> None:
        self.disk.mkdir(parents=True)
        (self.disk / "control").write_text(f"rd_pages={PAGES}")
        (self.disk / "enable").write_text("1")
        self.top.mkdir(exist_ok=True)
        self.tpg.parent.mkdir()
        self.tpg.mkdir()
        (self.tpg / "nexus").write_text(NEXUS)
        self.link(0)

    def link(self, number: int) -> None:
        lun = self.tpg / "lun" / f"lun_{number}"
        lun.mkdir()
        (lun / "disk").symlink_to(self.disk)

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
        for directory in (self.tpg.parent, self.top, self.disk, self.disk.parent):
            if directory.is_dir():
                directory.rmdir()

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

    def made(self, name: str, node: str) -> Fabric:
        fabric = Fabric(name, node)
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
        for chain, fault in BAD_CHAINS.items():
            with self.subTest(chain=chain):
                child = self.start("bad", self.fabric.node, WWN, chain)
                self.said(child, "broken")
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
