# SPDX-License-Identifier: LGPL-2.1-or-later
"""The life of a LUN under a guest: paths fail and return, disks are pulled and come back, grow; and what is said of each device."""
import os
import re
import subprocess
from pathlib import Path
from typing import Any, Callable

from labdisks import (DEBUG, DmDisk, Map, NullDisk, multipath_configure, multipath_maps, null_disks, scsi_delete, scsi_disk, scsi_load,
                      scsi_scan, sha256, udev_settle, udev_trigger, write_pattern)
from labkit import CORE, LUN, Api, ConfigfsTrace, LabTest, Lun, Target, plain, run, service_start, service_stop, wait_until
from minibus import Bus, Variant
from nested import NestedGuest

WWID = "1Linux_scsi_debug_200"          # and the LUN's digit
MAPS, PLAIN, CDROM = (0, 1, 2, 3), (4, 5, 6, 7), 8
WAITS = 3                               # without a path, this map lets I/O wait; the others fail it
# multipathd leaves the plain ones alone.
CONFIGURATION = f"""
defaults {{
	no_path_retry fail
}}
blacklist {{
	wwid "{WWID}[{PLAIN[0]}-{CDROM}]"
}}
multipaths {{
	multipath {{
		wwid "{WWID}{WAITS}"
		no_path_retry queue
	}}
}}
"""

LVM = "-y --config 'devices { types = [\"nullb\", 16] }'"


def designators(page: bytes) -> tuple[list[bytes], list[bytes]]:
    """Of VPD page 0x83: those of the logical unit, and those of the port and its group."""
    found: dict[int, list[bytes]] = {}
    rest = page[4:4 + int.from_bytes(page[2:4], "big")]
    while rest:
        found.setdefault(rest[1] >> 4 & 3, []).append(rest[:4 + rest[3]])
        rest = rest[4 + rest[3]:]
    return found.get(0, []), found.get(1, [])


class Watch:
    """What the bus tells of a LUN."""

    def __init__(self, lun: Lun):
        self.bus = Bus()
        self.bus.match(f"type='signal',sender='org.vhostscsi',member='PropertiesChanged',path='{lun.path}'")

    def changes(self, *names: str) -> list[dict]:
        """Signal by signal since the last call; only these properties."""
        seen = [plain(s.args[1]) for s in self.bus.drain(0.3) if s.member == "PropertiesChanged" and s.args[0] == LUN]
        return [{k: v for k, v in s.items() if k in names} for s in seen] if names else seen


class LifeTest(LabTest):
    @classmethod
    def setUpClass(cls) -> None:
        multipath_configure(CONFIGURATION)
        cls.hosts = scsi_load(2, CDROM + 1, "dev_size_mb=16")
        for lun in MAPS:
            for host in cls.hosts:
                scsi_scan(host, lun)
        for lun in PLAIN:
            scsi_scan(cls.hosts[0], lun)

        def ready() -> dict[str, Map]:
            maps = {m.wwid: m for m in multipath_maps() if len(m.paths) == 2 and os.path.exists(m.by_id)}
            return maps if len(maps) == len(MAPS) else {}
        cls.maps = wait_until("the maps are there", ready, 60, 0.2)
        udev_settle()

    def map(self, lun: int) -> Map:
        """With the paths that it has now."""
        return next(m for m in multipath_maps() if m.wwid == f"{WWID}{lun}")

    def guest_with(self, source: str, number: int) -> tuple[Target, Lun, NestedGuest, str]:
        """A target with the disk, a guest on it, and the guest's name of it."""
        target = self.api.create()
        lun = target.add_lun(source, number=number)
        self.assertEqual(lun.get("State"), "online")
        guest = NestedGuest("life")
        self.addCleanup(guest.stop)
        guest.start(target.wwn)
        disk, = guest.disks()
        self.assertEqual("wwn-0x" + disk["wwid"].removeprefix("naa."), lun.get("GuestWwid"))
        return target, lun, guest, disk["block"]

    def link(self, target: Target, number: int) -> Path:
        return next(p for p in (target.tpg / f"lun/lun_{number}").iterdir() if p.is_symlink())

    def is_in(self, lun: Lun, state: str, health: str) -> None:
        wait_until(f"{lun.path} is {state}, {health}", lambda: (lun.get("State"), lun.get("Health")) == (state, health) or
                   (_ for _ in ()).throw(AssertionError(f"{lun.get('State')}, {lun.get('Health')}")), 60)

    def reads_on(self, guest: NestedGuest, block: str, least: int = 20) -> dict[str, int]:
        """The guest reads so much more, and not one read fails from here on."""
        start = guest.io_status(block)
        status = wait_until("the guest reads on", lambda: s if (s := guest.io_status(block))["ops"] >= start["ops"] + least else None, 60)
        self.assertEqual((status["errors"], status["running"]), (start["errors"], 1), status)
        return status

    # -- paths

    def test_paths_fail_one_by_one_and_return(self) -> None:
        """To none and back: on a map that then fails I/O, and on one that lets it wait."""
        fails, waits = self.map(0), self.map(WAITS)
        target, lun, guest, block = self.guest_with(fails.device, 7)
        other = target.add_lun(waits.device, number=8)
        guest.cmd("rescan")
        second = wait_until("the guest's second disk", lambda: next((d["block"] for d in guest.disks() if d["hctl"].endswith(":8")), ""))
        for m in (fails, waits):
            for path in m.paths:
                self.addCleanup(m.set_path, path, True)
        for name in (block, second):
            guest.cmd(f"guestio start {name} 8 ro")
        with ConfigfsTrace() as trace:
            self.to_none_and_back(fails, lun, self.link(target, 7), guest, block, False)
            self.to_none_and_back(waits, other, self.link(target, 8), guest, second, True)
            self.assertEqual(trace.changes(), [])
        self.assertEqual(guest.io_status(second)["errors"], 0)

    def to_none_and_back(self, m: Map, lun: Lun, link: Path, guest: NestedGuest, block: str, waits: bool) -> None:
        one, two = m.paths
        inode, watch = link.lstat().st_ino, Watch(lun)
        self.assertEqual(self.reads_on(guest, block)["errors"], 0)

        m.set_path(one, False)
        self.is_in(lun, "online", "degraded")
        self.assertEqual(self.reads_on(guest, block)["errors"], 0, "one path fails, and the guest notices")
        m.set_path(two, False)
        self.is_in(lun, "degraded", "no-path")
        seen: list[int] = []

        def stands_still() -> bool:
            seen.append(guest.io_status(block)["ops"])
            return len(seen) > 3 and len(set(seen[-3:])) == 1
        if waits:
            wait_until("the guest's reads wait", stands_still, 30, 0.3)
        else:
            wait_until("the guest's reads fail", lambda: guest.io_status(block)["errors"] > 0, 30)
        m.set_path(two, True)
        self.is_in(lun, "online", "degraded")
        # One that was under way may still fail; then none does.
        wait_until("the guest reads again", lambda: guest.cmd(f"dd if=/dev/{block} of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null") == "")
        after = self.reads_on(guest, block)["errors"]
        m.set_path(one, True)
        self.is_in(lun, "online", "ok")
        self.assertEqual(self.reads_on(guest, block)["errors"], after)

        self.assertEqual(watch.changes(), [{"Health": "degraded"}, {"Health": "no-path", "State": "degraded"},
                                           {"Health": "degraded", "State": "online"}, {"Health": "ok"}], "one signal a change, in order")
        self.assertEqual(link.lstat().st_ino, inode, "still the same link")

    def test_paths_deleted_map_stays(self) -> None:
        """The map outlives its paths, for the LUN holds it; the host's rescan brings new ones, and the guest reads."""
        m = self.map(1)
        target, lun, guest, block = self.guest_with(m.device, 3)
        content = guest.cmd(f"sum {block} 8")
        guest.cmd(f"guestio start {block} 8 ro")
        self.assertEqual(self.reads_on(guest, block)["errors"], 0)
        link, watch = self.link(target, 3), Watch(lun)
        inode = link.lstat().st_ino

        with ConfigfsTrace() as trace:
            scsi_delete(m.paths[0])
            wait_until("multipathd has let the path go", lambda: len(self.map(1).paths) == 1, 30)
            self.assertEqual(self.reads_on(guest, block)["errors"], 0)
            scsi_delete(m.paths[1])
            self.is_in(lun, "degraded", "no-path")
            self.assertTrue(Path(f"/sys/block/{m.dm}").exists(), "the map stays")
            wait_until("the guest's reads fail", lambda: guest.io_status(block)["errors"] > 0, 30)
            for host in self.hosts:
                scsi_scan(host, 1)
            self.is_in(lun, "online", "ok")
            wait_until("both paths are back", lambda: len(self.map(1).paths) == 2, 30)
            self.reads_on(guest, block)
            self.assertEqual(trace.changes(), [])
        self.assertEqual(guest.cmd(f"sum {block} 8"), content)
        self.assertEqual(link.lstat().st_ino, inode)
        healths = [c["Health"] for c in watch.changes() if "Health" in c]
        self.assertEqual([h for h in healths if h != "degraded"], ["no-path", "ok"], healths)

    def test_plain_disk_pulled_and_back(self) -> None:
        source = f"wwid={WWID}4"
        target, lun, guest, block = self.guest_with(source, 9)
        before = lun.all()
        self.assertEqual(before["Source"], source)
        content = guest.cmd(f"sum {block} 8")
        guest.cmd(f"guestio start {block} 8 ro")
        self.assertEqual(self.reads_on(guest, block)["errors"], 0)
        place, watch = CORE / before["Backstore"], Watch(lun)
        mark = (place / "alias").read_text()
        disk = scsi_disk(self.hosts[0], 4)

        scsi_delete(disk)
        lun.wait_state("waiting")
        self.assertFalse(place.parent.exists(), "the backstore holds the dead instance")
        self.assertFalse((target.tpg / "lun/lun_9").exists())
        self.assertEqual(target.get("State"), "incomplete")
        self.assertEqual((lun.get("Size"), lun.get("Device"), lun.get("Health")), (0, "", "gone"))
        self.assertEqual(run(["vhscsictl", "status"], check=False).returncode, 40)
        wait_until("the guest's reads fail", lambda: guest.io_status(block)["errors"] > 0, 30)

        scsi_scan(self.hosts[0], 4)
        lun.wait_state("online")
        after = lun.all()
        self.assertEqual({k: after[k] for k in ("Number", "UnitSerial", "GuestWwid", "Size", "Health", "Source")},
                         {k: before[k] for k in ("Number", "UnitSerial", "GuestWwid", "Size", "Health", "Source")})
        self.assertNotEqual((CORE / after["Backstore"] / "alias").read_text(), mark, "another instance")
        self.assertEqual(run(["vhscsictl", "status"], check=False).returncode, 0)
        guest.cmd(f"guestio stop {block}")
        guest.cmd("rescan")
        seen, = guest.disks()
        self.assertEqual("wwn-0x" + seen["wwid"].removeprefix("naa."), before["GuestWwid"])
        self.assertEqual(seen["hctl"].rsplit(":", 1)[1], "9")
        self.assertEqual(guest.cmd(f"sum {seen['block']} 8"), content)
        guest.cmd(f"guestio start {seen['block']} 8 ro")
        self.reads_on(guest, seen["block"])

        states = [c["State"] for c in watch.changes() if "State" in c]
        self.assertEqual([s for s in states if s in ("waiting", "online")], ["waiting", "online"], states)

    def test_pulled_again_and_again(self) -> None:
        """Also faster than the daemon can follow: whatever was missed, the end is what counts."""
        target = self.api.create()
        lun = target.add_lun(f"wwid={WWID}5", number=1)
        serial = lun.get("UnitSerial")
        for n in range(5):
            scsi_delete(scsi_disk(self.hosts[0], 5))
            scsi_scan(self.hosts[0], 5)
            if n % 2:
                lun.wait_state("online")
        disk = scsi_disk(self.hosts[0], 5)
        number = Path(f"/sys/block/{disk}/dev").read_text().strip()
        diskseq = Path(f"/sys/block/{disk}/diskseq").read_text().strip()
        wait_until("the last instance is up", lambda: lun.get("State") == "online" and
                   (CORE / lun.get("Backstore") / "alias").read_text().strip() == f"vhscsid diskseq={diskseq} dev={number}", 30)
        self.assertEqual(lun.get("UnitSerial"), serial)
        self.assertEqual(lun.get("Device"), f"/dev/{disk}")
        self.assertEqual(len(list(CORE.glob("iblock_*"))), 1)

    # -- paths that the guest shall group

    def test_paths_one_by_one(self) -> None:
        """A disk that multipath leaves alone here, by two paths, in two targets: one disk for the guest, behind two ports."""
        rule = Path("/run/udev/rules.d/61-lab-by-path.rules")
        rule.parent.mkdir(parents=True, exist_ok=True)
        rule.write_text('SUBSYSTEM=="block", KERNEL=="sd*", SUBSYSTEMS=="scsi", SYMLINK+="disk/by-path/lab-scsi-$id"\n')
        self.addCleanup(rule.unlink)
        run("udevadm control --reload")
        disks = [scsi_disk(self.hosts[0], 6), scsi_scan(self.hosts[1], 6)]
        self.addCleanup(lambda: scsi_delete(scsi_disk(self.hosts[1], 6)))
        places = [f"lab-scsi-{host}:0:0:6" for host in self.hosts]
        udev_trigger(*(f"/dev/{d}" for d in disks))
        wait_until("their links", lambda: all(os.path.exists(f"/dev/disk/by-path/{place}") for place in places))

        targets = [self.api.create(), self.api.create()]
        with self.unchanged("no path"), self.refused("DeviceIsPathMember", saying="one of several paths"):
            targets[0].add_lun(f"/dev/{disks[0]}")
        with self.unchanged("a path of a map"), self.refused("DeviceIsPathMember", saying="export the map"):
            targets[0].add_lun(f"/dev/{self.map(0).paths[0]}", path=Variant("b", True))
        luns = [targets[0].add_lun(f"/dev/{disks[0]}", path=Variant("b", True), number=4)]
        run(["vhscsictl", "add-lun", targets[1].wwn, f"/dev/disk/by-path/{places[1]}", "--path", "--lun=9"])
        luns.append(targets[1].lun(9))
        self.assertEqual([lun.get("State") for lun in luns], ["online", "online"])
        self.assertEqual([lun.get("Source") for lun in luns], [f"by-path={place}" for place in places])
        self.assertEqual([lun.get("Device") for lun in luns], [f"/dev/{d}" for d in disks])
        self.assertEqual(luns[0].get("UnitSerial"), luns[1].get("UnitSerial"))
        self.assertNotEqual(luns[0].get("Backstore"), luns[1].get("Backstore"))

        guest = NestedGuest("life")
        self.addCleanup(guest.stop)
        guest.start(targets[0].wwn, ["-device", f"vhost-scsi-pci,wwpn={targets[1].wwn}"])
        seen = wait_until("the guest has both", lambda: d if len(d := guest.disks()) == 2 else None)
        self.assertEqual({d["hctl"].rsplit(":", 1)[1] for d in seen}, {"4", "9"})
        for key in ("wwid", "model", "pg80", "size"):
            self.assertEqual(seen[0][key], seen[1][key], key)
        self.assertEqual("wwn-0x" + seen[0]["wwid"].removeprefix("naa."), luns[0].get("GuestWwid"))
        pages = [designators(bytes.fromhex(d["pg83"])) for d in seen]
        self.assertGreaterEqual(len(pages[0][0]), 2)
        self.assertEqual(pages[0][0], pages[1][0], "the designators of the disk")
        self.assertNotEqual(pages[0][1], pages[1][1], "the designators of the port")
        print(f"    of the disk: {', '.join(d.hex() for d in pages[0][0])}; of the ports: "
              f"{', '.join(d.hex() for d in pages[0][1])} and {', '.join(d.hex() for d in pages[1][1])}", flush=True)
        self.assertEqual(guest.cmd(f"sum {seen[0]['block']} 8"), guest.cmd(f"sum {seen[1]['block']} 8"))

        # One path goes and comes back; the guest has the other.
        first = next(d["block"] for d in seen if d["hctl"].endswith(":4"))
        guest.cmd(f"guestio start {first} 8 ro")
        serial = luns[1].get("UnitSerial")
        scsi_delete(disks[1])
        luns[1].wait_state("waiting")
        self.assertEqual(luns[0].get("State"), "online")
        self.reads_on(guest, first)
        scsi_scan(self.hosts[1], 6)
        luns[1].wait_state("online")
        self.assertEqual(luns[1].get("UnitSerial"), serial)
        self.assertEqual(self.reads_on(guest, first)["errors"], 0)

    # -- size

    def grown(self, lun: Lun, guest: NestedGuest, block: str, size: int, grow) -> None:
        """The device grows: one signal, the monitor says what to do in the guest, and that works."""
        watch = Watch(lun)
        monitor = subprocess.Popen(["vhscsictl", "monitor"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(lambda: (monitor.kill(), monitor.wait(), monitor.stdout.close()))
        self.assertIn("Following", monitor.stdout.readline())
        old = lun.get("Size")
        self.assertEqual(int(guest.disks()[0]["size"]), old)
        with ConfigfsTrace() as trace:
            grow()
            wait_until("the new size", lambda: lun.get("Size") == size, 60)
            self.assertEqual(trace.changes(), [])
        self.assertEqual(watch.changes(), [{"Size": size}])
        monitor.terminate()
        said = monitor.stdout.read()
        self.assertIn(f" size={size}\n", said)
        self.assertIn("/sys/class/block/sdX/device/rescan", said)
        # There is no event for it: the guest goes on with the old size until it looks.
        self.assertEqual(int(guest.disks()[0]["size"]), old)
        guest.cmd(f"recapacity {block}")
        wait_until("the guest has the new size", lambda: int(guest.disks()[0]["size"]) == size)
        guest.cmd(f"dd if=/dev/{block} of=/dev/null bs=1M skip={size // 1048576 - 1} count=1 iflag=direct 2>/dev/null")

    def test_device_mapper_grows(self) -> None:
        disk = DmDisk(NullDisk(96).device, sectors=32 * 2048)
        self.addCleanup(disk.remove)
        target, lun, guest, block = self.guest_with(disk.device, 0)
        self.grown(lun, guest, block, 96 << 20, lambda: disk.resize(96 * 2048))
        write_pattern(disk.device, 96, "grown")
        self.assertEqual(guest.cmd(f"sum {block} 96").strip(), sha256(disk.device, 96))
        guest.stop()
        target.destroy()

    def test_multipath_grows(self) -> None:
        m = self.map(2)
        target, lun, guest, block = self.guest_with(m.device, 0)

        def grow() -> None:
            (DEBUG / "virtual_gb").write_text("1")
            for path in m.paths:
                Path(f"/sys/block/{path}/device/rescan").write_text("1")

            def resized() -> bool:
                # A busy multipathd answers "timeout", and that was all.
                run(["multipathd", "resize", "map", m.name], check=False)
                return Path(f"/sys/block/{m.dm}/size").read_text().strip() == str(1 << 21)
            wait_until("multipathd has resized the map", resized, 60, 0.5)
        self.addCleanup((DEBUG / "virtual_gb").write_text, "0")
        self.grown(lun, guest, block, 1 << 30, grow)

    # -- what returns is not what went

    def anew(self, target: Target, meanwhile: Callable[[], Any]) -> Lun:
        """A reboot, of which this target notices that something else has happened to its disk."""
        service_stop()
        target.take_down()
        meanwhile()
        udev_settle()
        service_start()
        self.api.close()
        self.api = Api()
        return self.api.target(target.wwn).lun(0)

    def is_refused(self, lun: Lun, saying: str) -> None:
        lun.wait_state("failed")
        code, text = lun.get("LastError")
        self.assertEqual(code, "DeviceUnsafe")
        self.assertRegex(text, saying)
        self.assertEqual(list(CORE.glob("iblock_*")), [], "it is open")

    def test_returns_smaller(self) -> None:
        """The same disk by its name, and there is less of it: not under its guests; as it was, at once."""
        size = 48 << 20
        under = NullDisk(64)
        disk = DmDisk(under.device, sectors=size // 512)
        self.addCleanup(disk.remove)
        self.addCleanup(self.destroy_ours)
        target = self.api.create()
        serial = target.add_lun(disk.device).get("UnitSerial")

        def smaller() -> None:
            disk.remove()
            disk.sectors = size // 1024
            disk.create()
        lun = self.anew(target, smaller)
        self.assertEqual(lun.get("Source"), f"dm-uuid={disk.uuid}")
        self.is_refused(lun, f"{size // 2} bytes, and its guests know {size}")
        disk.resize(size // 512)
        lun.wait_state("online")
        self.assertEqual((lun.get("Size"), lun.get("UnitSerial"), lun.get("LastError")[0]), (size, serial, ""))

        # And of one that is pulled and returns while the service looks on.
        pulled = NullDisk(32)
        udev_settle()
        other = self.api.target(target.wwn).add_lun(pulled.device)
        pulled.remove()
        other.wait_state("waiting")
        short = NullDisk(16, pulled.kernel)
        other.wait_state("failed")
        self.assertRegex(other.get("LastError")[1], "bytes, and its guests know")
        short.remove()
        other.wait_state("waiting")
        NullDisk(32, pulled.kernel)
        other.wait_state("online")

    def test_returns_as_another(self) -> None:
        """By a name that may mean any disk, a second one: it is not the first."""
        disk = DmDisk(NullDisk().device)
        disk.remove()
        target = self.api.create()
        lun = target.add_lun(f"by-id=dm-name-{disk.name}")
        self.assertEqual(lun.get("State"), "waiting")
        self.addCleanup(disk.remove)
        self.addCleanup(self.destroy_ours)
        disk.create()
        lun.wait_state("online")
        mine = disk.uuid

        def another(uuid: str) -> None:
            disk.remove()
            disk.uuid, disk.by_id = uuid, f"/dev/disk/by-id/dm-uuid-{uuid}"
            disk.create()
        lun = self.anew(target, lambda: another("LAB-another"))
        self.is_refused(lun, f"another disk than before: dm-uuid=LAB-another, and not dm-uuid={mine}")
        another(mine)
        lun.wait_state("online")

    def test_renamed(self) -> None:
        """A map that is renamed under its LUNs is the same map; also for one that was found by the old name."""
        first, second = DmDisk(NullDisk().device), DmDisk(NullDisk().device)
        for disk in (first, second):
            self.addCleanup(disk.remove)
        self.addCleanup(self.destroy_ours)
        second.remove()
        target = self.api.create()
        luns = [target.add_lun(first.device), target.add_lun(f"by-id=dm-name-{second.name}")]
        second.create()
        luns[1].wait_state("online")
        watches = [Watch(lun) for lun in luns]
        with ConfigfsTrace() as trace:
            for disk, lun in zip((first, second), luns):
                run(["dmsetup", "rename", disk.name, f"{disk.name}-new"])
                disk.name += "-new"
                wait_until("its new name", lambda: lun.get("Device") == f"/dev/mapper/{disk.name}")
            udev_settle()
            self.api.manager.call("Rescan", timeout=120)
            self.assertEqual([(lun.get("State"), lun.get("Health")) for lun in luns], [("online", "ok")] * 2)
            self.assertEqual(trace.changes(), [])
        for disk, watch in zip((first, second), watches):
            self.assertEqual(watch.changes(), [{"Device": f"/dev/mapper/{disk.name}"}])

    # -- suspended, of which there is no event

    def test_suspended(self) -> None:
        """Noticed at the next look, whoever takes it, and with a signal; the resume makes an event of its own."""
        disk = DmDisk(NullDisk().device)
        self.addCleanup(disk.remove)
        self.addCleanup(self.destroy_ours)
        target = self.api.create()
        lun = target.add_lun(disk.device)
        watch = Watch(lun)
        look = {"Check": lambda: self.api.manager.call("Check", "sa{sv}", target.wwn, {}), "ListDevices": self.api.devices,
                "Rescan": lambda: self.api.manager.call("Rescan", timeout=120)}
        for by, act in look.items():
            with self.subTest(by):
                disk.suspend()
                answer = act()
                self.assertEqual((lun.get("State"), lun.get("Health")), ("degraded", "suspended"))
                if by == "Check":
                    self.assertEqual((answer[0], answer[1][0][0]), (False, "lun-degraded"))
                    self.assertRegex(answer[1][0][1], "is suspended")
                disk.resume()
                self.is_in(lun, "online", "ok")
                self.assertEqual(watch.changes(), [{"Health": "suspended", "State": "degraded"}, {"Health": "ok", "State": "online"}])

    # -- what is said of devices

    def verdict(self, name: str) -> tuple[str, str]:
        """By kernel name, as `vhscsictl devices` shows it, too."""
        device = next((d for d in self.api.devices() if d["name"] == name), None)
        assert device, f"{name} is not in the list"
        table = run(["vhscsictl", "--no-pager", "--no-legend", "devices"]).stdout.splitlines()
        row = next(line for line in table if line.split()[0] == device["path"])
        self.assertIn(f" {device['verdict']} ", row)
        self.assertIn(f" {device['reason'] or '-'} ", row + " ")
        return device["verdict"], device["reason"]

    def wait_verdict(self, name: str, said: tuple[str, str]) -> None:
        """udev may not be through with it yet."""
        wait_until(f"{name}: {said}", lambda: self.assertEqual(self.verdict(name), said) or True)

    def test_verdicts(self) -> None:
        m = self.map(0)
        self.wait_verdict(m.paths[0], ("path-member", f"path of multipath map {m.name}"))
        self.wait_verdict(m.dm, ("usable", ""))
        self.wait_verdict(scsi_disk(self.hosts[0], 7), ("usable", ""))

        mounted, part, swap, lvm, raid, ignored = disks = null_disks(6, 64)
        free = NullDisk()
        for cleanup in ("umount /mnt /srv", f"swapoff {swap.device}", f"vgremove -ff {LVM} vg-0"):
            self.addCleanup(run, cleanup, check=False)
        run(f"mkfs.ext4 -q {mounted.device} && mount {mounted.device} /srv")
        run(f"addpart {part.device} 1 2048 32768")
        one = f"{part.kernel}p1"
        udev_settle()
        run(f"mkfs.ext4 -q /dev/{one} && mount /dev/{one} /mnt")
        run(f"mkswap {swap.device} && swapon {swap.device}")
        run(f"vgcreate {LVM} vg-0 {lvm.device} && lvcreate {LVM} -n data -L 8M vg-0 && lvcreate {LVM} -n more -L 8M vg-0")
        self.make_raid(raid)
        Path("/run/udev/rules.d").mkdir(parents=True, exist_ok=True)
        rule = Path("/run/udev/rules.d/99-lab.rules")
        rule.write_text(f'KERNEL=="{ignored.kernel}", ENV{{VHOSTSCSI_IGNORE}}="1"\n')
        self.addCleanup(rule.unlink)
        run("udevadm control --reload")
        udev_trigger(ignored.device)

        expected = {mounted.kernel: ("in-use", "mounted on /srv"), part.kernel: ("in-use", f"mounted on /mnt ({one})"),
                    one: ("in-use", "mounted on /mnt"), swap.kernel: ("in-use", "in use as swap"),
                    lvm.kernel: ("held", "held by LVM volume vg-0/data and others"), raid.kernel: ("held", "held by md99"),
                    ignored.kernel: ("ignored", "hidden by VHOSTSCSI_IGNORE"), free.kernel: ("usable", ""),
                    "vda": ("in-use", "mounted on /")}
        for name, said in expected.items():
            with self.subTest(name):
                self.wait_verdict(name, said)

        volume = os.path.basename(os.path.realpath("/dev/mapper/vg--0-data"))
        self.wait_verdict(volume, ("usable", ""))

        # What is said is what happens.
        target = self.api.create()
        for name, error, said in (("srv", "DeviceUnsafe", "mounted on /srv"), ("swap", "DeviceUnsafe", "swap"),
                                  ("lvm", "DeviceBusy", "vg-0/data"), ("raid", "DeviceBusy", "md99"), ("ignored", "DeviceUnsafe", "IGNORE")):
            disk = dict(srv=mounted, swap=swap, lvm=lvm, raid=raid, ignored=ignored)[name]
            with self.subTest(name), self.unchanged(name), self.refused(error, saying=said):
                target.add_lun(disk.device)

        # Exported: whose it is.
        lun = target.add_lun(free.device, number=5)
        device = next(d for d in self.api.devices() if d["name"] == free.kernel)
        self.assertEqual(device["luns"], [lun.path])
        row = next(line for line in run(["vhscsictl", "--no-pager", "devices"]).stdout.splitlines() if line.startswith(free.device + " "))
        self.assertTrue(row.rstrip().endswith(f"{target.wwn}:5"), row)
        target.destroy()
        for disk in disks:
            self.assertTrue(os.path.exists(disk.device))

    def make_raid(self, disk: NullDisk) -> None:
        """By sysfs alone, as the image has no mdadm."""
        run(["modprobe", "raid1"])
        Path("/sys/module/md_mod/parameters/new_array").write_text("md99")
        md = Path("/sys/block/md99/md")
        number = Path(f"/sys/block/{disk.kernel}/dev").read_text().strip()
        self.addCleanup((md / "array_state").write_text, "clear")
        for name, value in (("metadata_version", "none"), ("level", "raid1"), ("raid_disks", "1"), ("new_dev", number),
                            (f"dev-{disk.kernel}/slot", "0"), ("array_state", "active")):
            (md / name).write_text(value)

    def test_verdicts_of_odd_devices(self) -> None:
        under = NullDisk()
        disk = DmDisk(under.device)
        self.addCleanup(disk.remove)
        dm = os.path.basename(os.path.realpath(disk.device))
        self.wait_verdict(dm, ("usable", ""))
        self.wait_verdict(under.kernel, ("held", f"held by {disk.name}"))
        disk.suspend()
        self.assertEqual(self.verdict(dm), ("not-ready", "suspended"), "of which there is no event")
        disk.resume()
        self.wait_verdict(dm, ("usable", ""))

        # Without a table, the kernel (5.15 and later) shows no disk at all; with one that is not live yet, an empty one.
        run(f"dmsetup create labempty --notable --uuid LAB-notable && dmsetup load labempty --table '0 65536 linear {NullDisk().device} 0'")
        self.addCleanup(run, "dmsetup remove labempty", check=False)
        place = Path("/sys/dev/block") / run("dmsetup info -c --noheadings --separator : -o major,minor labempty").stdout.strip()
        empty = os.path.basename(os.path.realpath(place))
        self.wait_verdict(empty, ("not-ready", "no table yet"))
        run("dmsetup resume labempty")
        self.wait_verdict(empty, ("usable", ""))

        # The kernel makes no event of a first size (block/genhd.c, set_capacity_and_notify()).
        run("modprobe zram num_devices=1 && echo 16M > /sys/block/zram0/disksize")
        udev_trigger("/dev/zram0")
        self.addCleanup(run, "modprobe -r zram", check=False)
        self.wait_verdict("zram0", ("unsuitable", "compressed memory"))

        (DEBUG / "ptype").write_text("5")
        self.addCleanup((DEBUG / "ptype").write_text, "0")
        cd = scsi_scan(self.hosts[1], CDROM)
        self.assertRegex(cd, r"^sr\d+$")
        self.addCleanup(scsi_delete, cd)
        # Whether it has a medium is up to the kernel's driver, and no answer is to be exported.
        kept = [("unsuitable", "a CD-ROM drive"), ("not-ready", "size is 0")]
        wait_until("the CD-ROM drive", lambda: self.assertIn(self.verdict(cd), kept) or True)
