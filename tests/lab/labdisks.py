# SPDX-License-Identifier: LGPL-2.1-or-later
"""Disks for the suites: multipath maps over scsi_debug, memory-backed null_blk, device-mapper tables."""
import itertools
import json
import os
from pathlib import Path

from labkit import run, wait_until

NULLB = Path("/sys/kernel/config/nullb")
DEBUG = Path("/sys/bus/pseudo/drivers/scsi_debug")
_numbers = itertools.count(1)


# -- multipath

class Map:
    """A multipath map with its paths (kernel names, such as sdb)."""

    def __init__(self, name: str, uuid: str, dm: str, paths: list[str]):
        self.name, self.uuid, self.dm, self.paths = name, uuid, dm, paths
        self.device = f"/dev/mapper/{name}"
        self.wwid = uuid.removeprefix("mpath-")
        self.by_id = f"/dev/disk/by-id/dm-uuid-{uuid}"

    def set_path(self, path: str, running: bool) -> None:
        Path(f"/sys/block/{path}/device/state").write_text("running\n" if running else "offline\n")

    def suspend(self) -> None:
        # --noflush: I/O in flight stays in flight, which is what a LUN's removal must wait for.
        run(["dmsetup", "suspend", "--noflush", "--nolockfs", self.name])

    def resume(self) -> None:
        run(["dmsetup", "resume", self.name])


def multipath_maps() -> list[Map]:
    answer = json.loads(run(["multipathd", "show", "maps", "json"]).stdout)
    return [Map(m["name"], f"mpath-{m['uuid']}", m["sysfs"],
                [p["dev"] for group in m["path_groups"] for p in group["paths"]]) for m in answer["maps"]]


def mk_multipath(count: int, paths: int = 2, size_mb: int = 16) -> list[Map]:
    """`count` maps of `paths` paths each. scsi_debug has one memory: what is written to one disk is read from all."""
    run(["modprobe", "scsi_debug", f"add_host={paths}", f"max_luns={count}", "vpd_use_hostno=0", f"dev_size_mb={size_mb}"])

    def ready() -> list[Map]:
        maps = [m for m in multipath_maps() if len(m.paths) == paths and os.path.exists(m.by_id)]
        return sorted(maps, key=lambda m: m.wwid) if len(maps) == count else []
    maps = wait_until(f"{count} maps of {paths} paths", ready, 60, 0.2)
    udev_settle()
    return maps


def rm_multipath() -> None:
    """Takes the hosts away (also under an open map), then the maps that are left."""
    for _ in range(len(list(DEBUG.glob("adapter*")))):
        (DEBUG / "add_host").write_text("-1")
    wait_until("the maps are flushed", lambda: run("multipath -F; ! dmsetup ls --target multipath | grep -q '('",
                                                  check=False).returncode == 0, 30, 0.3)
    wait_until("scsi_debug is unloaded", lambda: run(["modprobe", "-r", "scsi_debug"], check=False).returncode == 0, 30, 0.3)


def udev_settle() -> None:
    run(["udevadm", "settle", "--timeout=60"])


# -- null_blk: cheap, keeps data, has no stable identity

class NullDisk:
    def __init__(self, size_mb: int = 32, name: str = ""):
        run(["modprobe", "null_blk", "nr_devices=0"])
        self.dir = NULLB / (name or f"nullb{100 + next(_numbers)}")
        self.dir.mkdir()
        for key, value in (("size", size_mb), ("memory_backed", 1), ("power", 1)):
            (self.dir / key).write_text(str(value))
        self.kernel = self.dir.name         # since 5.19 the directory names the disk
        self.device = f"/dev/{self.kernel}"
        wait_until(f"{self.device} is there", lambda: os.path.exists(self.device))

    def remove(self) -> None:
        if self.dir.exists():
            (self.dir / "power").write_text("0")
            self.dir.rmdir()


def null_disks(count: int, size_mb: int = 32) -> list[NullDisk]:
    disks = [NullDisk(size_mb) for _ in range(count)]
    udev_settle()
    return disks


# -- device mapper: a stable identity (DM_UUID), and tables that fail or wait

class DmDisk:
    def __init__(self, under: str, name: str = "", uuid: str = ""):
        number = next(_numbers)
        self.name = name or f"labdm{number}"
        self.uuid = uuid or f"LAB-{number:04d}"
        self.under = under
        self.sectors = int(run(["blockdev", "--getsz", under]).stdout)
        self.device = f"/dev/mapper/{self.name}"
        self.by_id = f"/dev/disk/by-id/dm-uuid-{self.uuid}"
        self.create()

    def table(self, kind: str) -> str:
        return f"0 {self.sectors} {kind} {self.under} 0" if kind == "linear" else f"0 {self.sectors} {kind}"

    def create(self) -> "DmDisk":
        run(["dmsetup", "create", self.name, "--uuid", self.uuid, "--table", self.table("linear")])
        wait_until(f"{self.by_id} is there", lambda: os.path.exists(self.by_id))
        return self

    def load(self, kind: str) -> None:
        run(f"dmsetup suspend --noflush {self.name} && dmsetup load {self.name} --table '{self.table(kind)}' && "
            f"dmsetup resume {self.name}")

    def suspend(self) -> None:
        run(["dmsetup", "suspend", "--noflush", "--nolockfs", self.name])

    def resume(self) -> None:
        run(["dmsetup", "resume", self.name])

    def remove(self) -> None:
        if os.path.exists(f"/dev/mapper/{self.name}"):
            run(["dmsetup", "resume", self.name], check=False)
            wait_until(f"{self.name} is removed", lambda: run(["dmsetup", "remove", self.name], check=False).returncode == 0)


def dm_disks(count: int, size_mb: int = 32) -> list[DmDisk]:
    """Each over a null_blk of its own."""
    disks = [DmDisk(d.device) for d in null_disks(count, size_mb)]
    udev_settle()
    return disks


def write_pattern(device: str, mib: int, seed: str = "lab") -> None:
    """Data that no other disk has, straight to the device."""
    block = (seed.encode() * 4096)[:4096]
    with open(device, "r+b", buffering=0) as f:
        for n in range(mib * 256):
            f.write(n.to_bytes(8, "little") + block[8:])
        os.fsync(f.fileno())


def sha256(device: str, mib: int) -> str:
    return run(f"dd if={device} bs=1M count={mib} iflag=direct status=none | sha256sum").stdout.split()[0]
