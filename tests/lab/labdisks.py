# SPDX-License-Identifier: LGPL-2.1-or-later
"""Disks for the suites: multipath maps over scsi_debug, memory-backed null_blk, device-mapper tables."""
import itertools
import json
import os
from pathlib import Path

from labkit import run, wait_until

NULLB = Path("/sys/kernel/config/nullb")
DEBUG = Path("/sys/bus/pseudo/drivers/scsi_debug")
SCSI_SCAN = Path("/sys/module/scsi_mod/parameters/scan")
MULTIPATH_MORE = Path("/etc/multipath/conf.d/lab.conf")
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
    # While it reconfigures, it answers something else.
    answer = json.loads(wait_until("multipathd answers", lambda: s if (s := run(["multipathd", "show", "maps", "json"],
                                                                                check=False).stdout).startswith("{") else "", 30))
    return [Map(m["name"], f"mpath-{m['uuid']}", m["sysfs"],
                [p["dev"] for group in m["path_groups"] for p in group["paths"]]) for m in answer["maps"]]


def mk_multipath(count: int, paths: int = 2, size_mb: int = 16) -> list[Map]:
    """`count` maps of `paths` paths each. scsi_debug has one memory: what is written to one disk is read from all."""
    run(["modprobe", "scsi_debug", f"add_host={paths}", f"max_luns={count}", "vpd_use_hostno=0", f"dev_size_mb={size_mb}"])

    def ready() -> list[Map]:
        maps = [m for m in multipath_maps() if len(m.paths) == paths and os.path.exists(m.by_id)]
        return sorted(maps, key=lambda m: m.wwid) if len(maps) == count else []
    maps = wait_until(f"{count} maps of {paths} paths", ready, 240, 0.2)
    udev_settle()
    return maps


def multipath_configure(text: str) -> None:
    """More configuration for multipathd (and for multipath's udev rules), also after a reboot; "" takes it back."""
    MULTIPATH_MORE.parent.mkdir(parents=True, exist_ok=True)
    MULTIPATH_MORE.unlink(missing_ok=True)
    if text:
        MULTIPATH_MORE.write_text(text)
    run(["multipathd", "reconfigure"])


def rm_multipath() -> None:
    """Takes the hosts away (also under an open map), then the maps that are left."""
    for _ in range(len(list(DEBUG.glob("adapter*")))):
        (DEBUG / "add_host").write_text("-1")
    wait_until("the maps are flushed", lambda: run("multipath -F; ! dmsetup ls --target multipath | grep -q '('",
                                                  check=False).returncode == 0, 30, 0.3)
    wait_until("scsi_debug is unloaded", lambda: run(["modprobe", "-r", "scsi_debug"], check=False).returncode == 0, 30, 0.3)


def udev_settle() -> None:
    run(["udevadm", "settle", "--timeout=60"])


def udev_trigger(*devices: str) -> None:
    """Without its own --settle, which counts the events that it asked for, and once was still counting after a minute."""
    run(["udevadm", "trigger", *devices])
    udev_settle()


# -- scsi_debug, disk by disk

def scsi_load(hosts: int, luns: int, *more: str) -> list[int]:
    """Hosts that share their disks, none of which is there before scsi_scan(); the hosts' numbers."""
    run(["modprobe", "scsi_mod"])
    SCSI_SCAN.write_text("manual")
    run(["modprobe", "scsi_debug", f"add_host={hosts}", f"max_luns={luns}", "vpd_use_hostno=0", *more])
    return scsi_hosts()


def scsi_hosts() -> list[int]:
    return sorted(int(p.name.removeprefix("host")) for p in DEBUG.glob("adapter*/host*"))


def scsi_disk(host: int, lun: int) -> str:
    """Its kernel name, or "". Disks are probed in the background: below the device one has its name a little before all others find it."""
    return next((p.name for p in Path(f"/sys/class/scsi_device/{host}:0:0:{lun}/device").glob("block/*")
                 if os.path.exists(f"/sys/block/{p.name}")), "")


def scsi_scan(host: int, lun: int) -> str:
    Path(f"/sys/class/scsi_host/host{host}/scan").write_text(f"0 0 {lun}")
    return wait_until(f"host {host} has disk {lun}", lambda: scsi_disk(host, lun))


def scsi_delete(disk: str) -> None:
    """Pulls it. The name goes at once, the device when nobody has it open any more."""
    Path(f"/sys/block/{disk}/device/delete").write_text("1")
    wait_until(f"{disk} is gone", lambda: not os.path.exists(f"/sys/block/{disk}"))


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
    def __init__(self, under: str, name: str = "", uuid: str = "", sectors: int = 0):
        number = next(_numbers)
        self.name = name or f"labdm{number}"
        self.uuid = uuid or f"LAB-{number:04d}"
        self.under = under
        self.sectors = sectors or int(run(["blockdev", "--getsz", under]).stdout)
        self.device = f"/dev/mapper/{self.name}"
        self.by_id = f"/dev/disk/by-id/dm-uuid-{self.uuid}"
        self.create()

    def table(self, kind: str) -> str:
        more = {"linear": f" {self.under} 0", "delay": f" {self.under} 0 30"}      # ms
        return f"0 {self.sectors} {kind}{more.get(kind, '')}"

    def create(self) -> "DmDisk":
        run(["dmsetup", "create", self.name, "--uuid", self.uuid, "--table", self.table("linear")])
        wait_until(f"{self.by_id} is there", lambda: os.path.exists(self.by_id))
        return self

    def load(self, kind: str) -> None:
        run(f"dmsetup suspend --noflush {self.name} && dmsetup load {self.name} --table '{self.table(kind)}' && "
            f"dmsetup resume {self.name}")

    def resize(self, sectors: int) -> None:
        """Live, as an admin grows a volume: the new table is loaded first, and takes its place between two I/Os."""
        self.sectors = sectors
        run(f"dmsetup load {self.name} --table '{self.table('linear')}' && dmsetup resume {self.name}")

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
