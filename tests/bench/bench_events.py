#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""From the event that udev tells its listeners of a disk to the LUN that stands on it: N times, and what of that is the kernel's own. In the
lab: `lab bench events [N]`. The machine is emulated, so look at the difference, not at the milliseconds."""
import ctypes
import os
import socket
import statistics
import struct
import sys
import threading
import time
from pathlib import Path

from labdisks import DmDisk, NullDisk
from labkit import Api, run, service_start, wait_until

FLOOR = "/usr/local/lib/vhscsid-lab/floor"
NETLINK_KOBJECT_UEVENT, UDEV_GROUP = 15, 2
IN_CREATE = 0x100
UUID = "LAB-event"


class Udev:
    """A listener beside the daemon, of the same multicast group."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT)
        self.socket.bind((0, UDEV_GROUP))
        self.socket.settimeout(60)

    def usable(self) -> float:
        """When the event came that says that the map has a table. libudev's header is 40 bytes, the properties begin where it says."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            message = self.socket.recv(65536)
            now = time.monotonic()
            offset, = struct.unpack_from("I", message, 16)
            properties = message[offset:].split(b"\0")
            if b"DM_UUID=" + UUID.encode() in properties and b"ACTION=remove" not in properties and b"DM_SUSPENDED=0" in properties:
                return now
        raise SystemExit("udev has not told of the disk")


class Links:
    """Says when lun_0 of a portal group was made, and waits for the link in it, which comes next."""

    def __init__(self, luns: Path) -> None:
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(os.O_CLOEXEC)
        if self.libc.inotify_add_watch(self.fd, str(luns).encode(), IN_CREATE) < 0:
            raise SystemExit(f"inotify: {os.strerror(ctypes.get_errno())}")
        self.lun = luns / "lun_0"

    def linked(self) -> float:
        os.read(self.fd, 4096)
        while not any(e.is_symlink() for e in os.scandir(self.lun)):
            time.sleep(0.0002)
        return time.monotonic()

    def close(self) -> None:
        os.close(self.fd)


def percentile(values: list[float], p: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * p))]


def told(name: str, values: list[float]) -> None:
    ms = [v * 1000 for v in values]
    print(f"  {name:<38} p50 {statistics.median(ms):7.1f} ms   p99 {percentile(ms, 0.99):7.1f} ms   (at least {min(ms):.1f})", flush=True)


def floor(count: int) -> list[float]:
    """One LUN with its target, in C, on a disk of the same kind."""
    out = []
    for _ in range(count):
        out.append(float(run([FLOOR, "up", "1"]).stdout))
        run([FLOOR, "down"])
    return out


def main(count: int) -> int:
    run(["modprobe", "null_blk", "nr_devices=1", "gb=1"])
    run(["modprobe", "-a", "vhost_scsi", "target_core_iblock"])
    service_start()
    api = Api()
    target = api.create()
    under = NullDisk()
    links, udev = Links(target.tpg / "lun"), Udev()
    delays: list[float] = []
    made: list[DmDisk] = []
    for _ in range(count):
        lun = target.add_lun(f"dm-uuid={UUID}", number=0)
        if lun.get("State") != "waiting":
            raise SystemExit(f"the LUN is {lun.get('State')}")
        # In the background: who waits for it sees the event late.
        maker = threading.Thread(target=lambda: made.append(DmDisk(under.device, name="event", uuid=UUID)))
        maker.start()
        event = udev.usable()
        delays.append(links.linked() - event)
        wait_until("it is said to be online", lambda: lun.get("State") == "online", 60)
        maker.join()
        target.remove_lun(0)
        made.pop().remove()
        wait_until("the service knows that it is gone", lambda: f"dm-uuid={UUID}" not in [d["identity"] for d in api.devices()])
    links.close()
    target.destroy()
    api.close()

    kernel = floor(count)
    print(f"{count} disks come, one after the other; Linux {os.uname().release}, {os.cpu_count()} CPUs")
    told("udev's event to the LUN linked", delays)
    told("a target with one LUN by a loop in C", kernel)
    print(f"  {'the difference':<38} p50 {(statistics.median(delays) - statistics.median(kernel)) * 1000:7.1f} ms   "
          f"p99 {(percentile(delays, 0.99) - percentile(kernel, 0.99)) * 1000:7.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100))
