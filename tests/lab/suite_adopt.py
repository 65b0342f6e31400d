# SPDX-License-Identifier: LGPL-2.1-or-later
"""Coming from targetcli: what it set up is taken over as it is, with guests running on it."""
import json
import os
from pathlib import Path

from labdisks import dm_disks, mk_multipath, null_disks, rm_multipath, udev_settle, write_pattern
from labkit import CORE, VHOST, ConfigfsTrace, LabTest, configfs_snapshot, difference, run, service_restart, wait_until
from labtargetcli import clear, targetcli
from nested import NestedGuest

NAMES = ["naa.5001405adead0001", "naa.5001405adead0002", "naa.5001405adead0003"]


class AdoptTest(LabTest):
    def make(self) -> list[str]:
        """Three targets, eight LUNs, by the names that people give: /dev/mapper, /dev/dm-N, /dev/sdX, by-id, a kernel name."""
        self.addCleanup(rm_multipath)
        self.maps = mk_multipath(4)
        self.disks = dm_disks(2)
        self.nulls = null_disks(2)
        udev_settle()
        by_id = next(f"/dev/disk/by-id/{n}" for n in sorted(os.listdir("/dev/disk/by-id"))
                     if n.startswith("dm-uuid-mpath-") and os.path.realpath(f"/dev/disk/by-id/{n}") == os.path.realpath(self.maps[3].device))
        devices = [self.maps[0].device, os.path.realpath(self.maps[1].device), self.maps[2].device, by_id,
                   self.disks[0].device, os.path.realpath(self.disks[1].device), self.nulls[0].device, self.nulls[1].device]
        write_pattern(devices[0], 8, "adopt")
        self.addCleanup(clear)
        self.addCleanup(self.destroy_ours)     # or what we adopted would be repaired after the clear()
        # Made one by one, and not in the order in which they are used.
        targetcli(*(f"/backstores/block create name=vol{n} dev={d} readonly={n == 5}" for n, d in enumerate(devices)),
                  "/backstores/block/vol2 set attribute emulate_caw=0", "/backstores/block/vol4 set attribute queue_depth=32",
                  *(f"/vhost create {w}" for w in NAMES),
                  *(f"/vhost/{NAMES[t]}/tpg1/luns create /backstores/block/vol{n} lun={lun}"
                    for t, lun, n in ((0, 0, 3), (0, 1, 0), (0, 7, 6), (1, 0, 1), (1, 3, 2), (2, 0, 4), (2, 1, 5), (2, 2, 7))))
        return devices

    def kernel(self) -> dict:
        """With the inodes, without what counts."""
        return {**configfs_snapshot(VHOST), **configfs_snapshot(CORE)}

    def vpd(self) -> dict[str, tuple]:
        """What a guest makes of each LUN."""
        out = {}
        for wwn in NAMES:
            tpg = VHOST / wwn / "tpgt_1"
            for lun in sorted((tpg / "lun").glob("lun_*")):
                back = next(e for e in lun.iterdir() if e.is_symlink()).resolve()
                out[f"{wwn}/{lun.name}"] = ((tpg / "nexus").read_text(), back.name, (back / "wwn/vpd_unit_serial").read_text(),
                                            *((back / "attrib" / a).read_text() for a in
                                              ("emulate_caw", "emulate_3pc", "emulate_model_alias", "queue_depth", "block_size")))
        return out

    def progress(self, guest: NestedGuest, block: str) -> None:
        start = guest.io_status(block)["ops"]
        status = wait_until("the guest's I/O goes on", lambda: s if (s := guest.io_status(block))["ops"] >= start + 20 else None, 60)
        self.assertEqual((status["errors"], status["mismatches"], status["running"]), (0, 0, 1), status)

    def test_all_under_a_guest(self) -> None:
        """3 targets, 8 LUNs, a guest that reads: adopted, the service restarted, and not one call that changes anything."""
        self.make()
        guest = NestedGuest("guest")
        self.addCleanup(guest.stop)
        guest.start(NAMES[0])
        block = guest.block(1)
        guest.cmd(f"guestio start {block} 8")
        self.progress(guest, block)
        before, seen = self.kernel(), self.vpd()
        self.assertEqual(len(seen), 8)

        with ConfigfsTrace() as trace:
            dry = json.loads(run(["vhscsictl", "adopt", "--all", "--dry-run", "--json=short"]).stdout)
            self.assertEqual([(d["wwn"], d["status"]) for d in dry], [(w, 0) for w in NAMES])
            self.assertEqual([t.get("ManagedBy") for t in self.api.targets()], ["foreign"] * 3)
            self.assertEqual(run(["vhscsictl", "adopt", "--all"], timeout=120).stdout.split(), NAMES)
            self.progress(guest, block)
            service_restart()
            self.api.close()
            self.api = type(self.api)()
            self.api.settled()
            self.progress(guest, block)
            self.assertEqual(trace.changes(), [])
        self.assertTrue(before == self.kernel(), difference(before, self.kernel()))

        self.assertEqual(run(["vhscsictl", "status"]).returncode, 0)
        luns = {f"{t.wwn}/{n}": l.all() for t in self.api.targets() for l in t.luns() for n in [l.get("Number")]}
        self.assertEqual({l["State"] for l in luns.values()}, {"online"}, luns)
        self.assertEqual({l["Origin"] for l in luns.values()}, {"adopted"})
        # A name that may be another disk's tomorrow is stored of none that has a better one.
        sources = {k: l["Source"] for k, l in luns.items()}
        self.assertEqual([k for k, s in sources.items() if not s.startswith(("dm-uuid=", "path=/dev/nullb"))], [], sources)
        self.assertEqual(luns[f"{NAMES[1]}/0"]["Source"].split("=")[1].split("-")[0], "mpath")
        self.assertEqual([k for k, l in luns.items() if l["ReadOnly"]], [f"{NAMES[2]}/1"])
        # It is protected as ours is.
        target = self.api.target(NAMES[0])
        wait_until("the guest is known", lambda: target.get("Endpoint") == "attached")
        with self.unchanged("RemoveLun"), self.refused("InUse"):
            target.remove_lun(0)
        guest.stop()

        # Gone from the kernel as by a reboot, all comes again as it was.
        self.api.close()
        run("systemctl stop vhscsid")
        clear()
        run("systemctl start vhscsid")
        self.api = type(self.api)()
        self.api.settled()
        wait_until("all is up again", lambda: run(["vhscsictl", "status"], check=False).returncode == 0, 60)
        self.assertEqual(seen, self.vpd())

    def test_repaired(self) -> None:
        """Somebody takes a LUN, then a whole target away by hand; what was not ours before stays away."""
        disks = dm_disks(2)
        target = self.api.create()
        for d in disks:
            target.add_lun(d.device)
        nexus, lun = target.get("Nexus"), target.tpg / "lun/lun_1"
        serial = target.lun(1).get("UnitSerial")
        for also in (f"&& rmdir {lun}", "", f"&& rmdir {lun}"):
            link = next(e for e in lun.iterdir() if e.is_symlink())
            run(f"rm {link} {also}")
            wait_until("the LUN is back", lambda: lun.is_dir() and any(e.is_symlink() for e in lun.iterdir()), 60)
            wait_until("and is said to be", lambda: target.lun(1).get("State") == "online")
        clear()
        wait_until("the target is back", lambda: len(list(target.tpg.glob("lun/lun_*/d-*"))) == 2, 120)
        wait_until("and is said to be", lambda: target.get("State") == "online")
        self.assertEqual((nexus, serial), ((target.tpg / "nexus").read_text().strip(), target.lun(1).get("UnitSerial")))

    def test_altered(self) -> None:
        """What a guest would see change is said, and not changed back under it."""
        disk, = dm_disks(1)
        target, lun = self.api.export(disk.device)
        attribute = next((target.tpg / "lun/lun_0").glob("d-*")).resolve() / "attrib/emulate_3pc"
        self.assertEqual((attribute.read_text().strip(), *lun.get("LastError")), ("0", "", ""))
        attribute.write_text("1")
        with ConfigfsTrace() as trace:
            self.api.manager.call("Rescan")
            self.assertEqual(trace.changes(), [])
        code, text = lun.get("LastError")
        self.assertEqual((code, lun.get("State")), ("LunConflict", "online"))
        self.assertIn("attrib/emulate_3pc is 1, and not 0", text)
        attribute.write_text("0")
        self.api.manager.call("Rescan")
        self.assertEqual([*lun.get("LastError")], ["", ""])

    def test_their_service_starts_after_us(self) -> None:
        """targetctl restore: it clears everything first, ours as well, and makes the same again. In the end ours is complete."""
        devices = self.make()
        self.addCleanup(run, "rm -rf /etc/rtslib-fb-target/saveconfig.json", check=False)
        run(["targetctl", "save"], timeout=120)
        self.assertEqual(run(["vhscsictl", "adopt", "--all"], timeout=120).stdout.split(), NAMES)
        # Debian enables it when targetcli is installed; the machine's image has it masked.
        self.addCleanup(run, "systemctl disable -q rtslib-fb-targetctl; systemctl mask -q rtslib-fb-targetctl", check=False)
        run("systemctl unmask -q rtslib-fb-targetctl && systemctl enable -q rtslib-fb-targetctl")
        doctor = run(["vhscsictl", "doctor", "--json=short"], check=False)
        found = {f["code"]: f["message"] for f in json.loads(doctor.stdout)}
        self.assertEqual(doctor.returncode, 44)
        self.assertIn("3 of our targets", found.get("TargetctlRestores", str(found)))
        run(["systemctl", "disable", "-q", "rtslib-fb-targetctl"])
        self.assertNotIn("TargetctlRestores", run(["vhscsictl", "doctor", "--json=short"], check=False).stdout)
        seen = self.vpd()
        self.assertEqual((len(seen), len(devices)), (8, 8))
        run(["targetctl", "restore"], timeout=300, check=False)
        wait_until("ours is complete", lambda: run(["vhscsictl", "status"], check=False).returncode == 0 and len(self.vpd()) == 8, 120)
        # But for the nexus, which is in no file of theirs: they have made another, and with LUNs on it nobody can replace it.
        self.assertEqual({k: v[1:] for k, v in seen.items()}, {k: v[1:] for k, v in self.vpd().items()})
        # And it is left alone from then on.
        with ConfigfsTrace() as trace:
            service_restart()
            self.api.close()
            self.api = type(self.api)()
            self.api.settled()
            self.assertEqual(run(["vhscsictl", "status"]).returncode, 0)
            self.assertEqual(trace.changes(), [])

    def test_started_beside_their_service(self) -> None:
        """Their unit is active, and a guest runs on what it has restored: nothing of ours clears anything. Disarmed as doctor says, nor does it."""
        dropin = Path("/run/systemd/system/rtslib-fb-targetctl.service.d/disarm.conf")

        def disarm() -> None:
            dropin.parent.mkdir(parents=True, exist_ok=True)
            dropin.write_text("[Service]\nExecStop=\n")
            run("systemctl daemon-reload && systemctl stop rtslib-fb-targetctl")

        self.addCleanup(run, f"rm -rf /etc/rtslib-fb-target/saveconfig.json {dropin.parent}; systemctl mask -q rtslib-fb-targetctl", check=False)
        self.addCleanup(disarm)
        self.make()
        run(["targetctl", "save"], timeout=120)
        run("systemctl stop vhscsid && systemctl unmask -q rtslib-fb-targetctl && systemctl start rtslib-fb-targetctl", timeout=300)
        guest = NestedGuest("guest")
        self.addCleanup(guest.stop)
        guest.start(NAMES[0])
        block = guest.block(1)
        guest.cmd(f"guestio start {block} 8")
        self.progress(guest, block)
        before = self.kernel()

        with ConfigfsTrace() as trace:
            for managed in ("foreign", "vhscsid"):
                run("systemctl start vhscsid")
                self.api.close()
                self.api = type(self.api)()
                self.api.settled()
                self.assertEqual([t.get("ManagedBy") for t in self.api.targets()], [managed] * 3)
                self.assertEqual(run("systemctl is-active rtslib-fb-targetctl").stdout.strip(), "active")
                self.progress(guest, block)
                out = run(["vhscsictl", "adopt", "--all"], timeout=120)
                self.assertEqual("systemctl edit rtslib-fb-targetctl.service" in out.stderr, managed == "foreign", out.stderr)
                run("systemctl stop vhscsid")
            disarm()
            self.assertEqual(run("systemctl is-active rtslib-fb-targetctl", check=False).stdout.strip(), "inactive")
            self.progress(guest, block)
            self.assertEqual(trace.changes(), [])
        self.assertTrue(before == self.kernel(), difference(before, self.kernel()))
        run("systemctl start vhscsid")
        self.api.close()
        self.api = type(self.api)()
        self.api.settled()

    def test_refused(self) -> None:
        """One target cannot be kept as it is: it stays theirs, and does not keep the others."""
        disk, = dm_disks(1)
        self.addCleanup(clear)
        self.addCleanup(self.destroy_ours)     # or what we adopted would be repaired after the clear()
        targetcli("/backstores/ramdisk create name=ram size=1M", f"/backstores/block create name=disk dev={disk.device}",
                  *(f"/vhost create {w}" for w in NAMES[:2]),
                  f"/vhost/{NAMES[0]}/tpg1/luns create /backstores/ramdisk/ram lun=4",
                  f"/vhost/{NAMES[1]}/tpg1/luns create /backstores/block/disk")
        before = self.kernel()
        out = run(["vhscsictl", "adopt", "--all"], check=False, timeout=120)
        self.assertEqual((out.returncode, out.stdout.split()), (23, [NAMES[1]]))
        self.assertRegex(out.stderr, rf"adopt {NAMES[0]}: LUN 4 stands on rd_mcp_\d+/ram")
        self.assertTrue(before == self.kernel(), difference(before, self.kernel()))
        managed = {t.wwn: t.get("ManagedBy") for t in self.api.targets()}
        self.assertEqual(managed, {NAMES[0]: "foreign", NAMES[1]: "vhscsid"})
        with self.unchanged("unknown"), self.refused("NotFound"):
            self.api.manager.call("Adopt", "sa{sv}", "naa.5001405000000000", {})
