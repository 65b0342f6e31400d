#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""vhscsi.ko beside vhost_scsi on the same kernel, driven by the initiator of tests/kmod, turn by turn; and the memory of a device. In the
lab: `lab bench kmod [RUNS]`. The machine is emulated, so look at the ratios. tests/bench/icount.py has figures that no noise is in."""
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from labdisks import NullDisk
from labkit import CONFIGFS, run, service_stop, wait_until

LIB = "/usr/local/lib/vhscsid-lab"
INITIATOR = f"{LIB}/kmod-initiator"
WWN, NEXUS = "naa.5001405aaaaaaaaa", "naa.5001405bbbbbbbbb"
NODES = ("vhost-scsi", "vhscsi")        # theirs, ours
FABRICS = {"vhost-scsi": "vhost", "vhscsi": "vhscsi"}
FILE = "/run/lab-bench-file"
MIB = 16                                # of each disk
MS = 400


@dataclass
class Load:
    disk: str
    queues: int
    depth: int
    bytes: int
    direction: str
    wanted: float

    def __str__(self) -> str:
        return f"{self.disk:8} {self.direction:5} {self.bytes >> 10:5} KiB  {self.queues} × QD{self.depth}"


MAIN = [Load("nullio", 1, 1, 4096, "read", 1.0), Load("nullio", 1, 32, 4096, "read", 1.0), Load("nullio", 1, 128, 4096, "read", 1.0),
        Load("nullio", 2, 32, 4096, "read", 2.0)]
OTHERS = [Load(disk, 1, depth, size, direction, 1.0) for disk in ("nullio", "ramdisk", "iblock", "fileio")
          for size, depth in ((4096, 32), (65536, 32), (1 << 20, 8)) for direction in ("read", "write")
          if (disk, size, direction) != ("nullio", 4096, "read")]


class Initiator:
    def __init__(self, node: str, load: Load, ms: int = MS):
        self.child = subprocess.Popen([INITIATOR, "bench", f"/dev/{node}", WWN, str(load.queues), str(load.depth), str(load.bytes),
                                       load.direction, str(ms)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.expect("open")

    def expect(self, pattern: str) -> str:
        line = self.child.stdout.readline().strip()
        if not re.fullmatch(pattern, line):
            raise SystemExit(f"the initiator says {line!r}, exit {self.child.wait()}")
        return line

    def go(self) -> None:
        self.child.stdin.write("\n")
        self.child.stdin.flush()

    def measure(self) -> float:
        """Requests a second; all stays attached."""
        self.go()
        return float(self.expect(r"\d+"))

    def end(self) -> None:
        self.child.communicate("\n", timeout=60)


def make_disks() -> dict[str, Path]:
    null = NullDisk(MIB)
    with open(FILE, "wb") as f:
        f.truncate(MIB << 20)
    pages = (MIB << 20) // 4096
    disks = {}
    for name, kind, control in (("nullio", "rd_mcp_90", f"rd_pages={pages},rd_nullio=1"), ("ramdisk", "rd_mcp_91", f"rd_pages={pages}"),
                                ("iblock", "iblock_92", f"udev_path={null.device}"),
                                ("fileio", "fileio_93", f"fd_dev_name={FILE},fd_dev_size={MIB << 20}")):
        disks[name] = CONFIGFS / "core" / kind / name
        disks[name].mkdir(parents=True)
        (disks[name] / "control").write_text(control)
        (disks[name] / "enable").write_text("1")
    return disks


def make_targets() -> None:
    for fabric in FABRICS.values():
        (CONFIGFS / fabric).mkdir(exist_ok=True)
        tpg = CONFIGFS / fabric / WWN / "tpgt_1"
        tpg.mkdir(parents=True)
        (tpg / "nexus").write_text(NEXUS)


def show_disk(disk: Path) -> None:
    for fabric in FABRICS.values():
        lun = CONFIGFS / fabric / WWN / "tpgt_1/lun/lun_0"
        if lun.is_dir():
            (lun / "disk").unlink()
            lun.rmdir()
        lun.mkdir()
        (lun / "disk").symlink_to(disk)


def best(load: Load, runs: int) -> dict[str, float]:
    """Turn by turn, for what else the machine does comes and goes; the best, for it only ever takes."""
    seen = dict.fromkeys(NODES, 0.0)
    for _ in range(runs):
        for node in NODES:
            initiator = Initiator(node, load)
            seen[node] = max(seen[node], initiator.measure())
            initiator.end()
    return seen


def free_kib() -> int:
    Path("/proc/sys/vm/drop_caches").write_text("3")
    return int(re.search(r"MemFree: +(\d+)", Path("/proc/meminfo").read_text())[1])


def memory_kib(node: str, queues: int) -> int:
    """What an attached device takes after each of its queues was full once."""
    load = Load("nullio", queues, 32, 4096, "read", 0)
    initiator = Initiator(node, load, 100)
    before = free_kib()
    initiator.measure()
    after = free_kib()
    initiator.end()
    return before - after


def line(what: str, theirs: float, ours: float, ratio: float, wanted: float) -> bool:
    reached = ratio >= wanted
    print(f"  {'reached' if reached else 'MISSED '}  {what:36} vhost_scsi {theirs:9.0f}   vhscsi {ours:9.0f}   {ratio:5.2f}   "
          f"(to reach: {wanted:.1f})", flush=True)
    return reached


def main(runs: int) -> int:
    service_stop()
    run(["modprobe", "-a", "target_core_mod", "vhost_scsi", "target_core_iblock", "target_core_file"])
    run(["insmod", f"{LIB}/vhscsi.ko", "fabric=vhscsi", "node=vhscsi"])
    wait_until("the nodes are there", lambda: all(os.path.exists(f"/dev/{node}") for node in NODES))
    disks = make_disks()
    make_targets()
    print(f"{os.cpu_count()} CPUs, Linux {os.uname().release}; requests a second, best of {runs}", flush=True)
    met, shown = [], ""
    for load in MAIN + OTHERS:
        if load.disk != shown:
            show_disk(disks[load.disk])
            shown = load.disk
        seen = best(load, runs)
        met.append(line(str(load), *seen.values(), seen["vhscsi"] / seen["vhost-scsi"], load.wanted))
        if load is MAIN[-1]:
            print("  ---", flush=True)
    show_disk(disks["nullio"])
    theirs, ours = (memory_kib(node, 8) for node in NODES)
    met.append(line("memory of a device, 8 queues (KiB)", theirs, ours, theirs / max(ours, 1), 10.0))
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8))
