# SPDX-License-Identifier: LGPL-2.1-or-later
"""Disks that udev rules export: every map once, never a path, nothing the host uses, never again what was removed."""
import contextlib
import re
from pathlib import Path

from labdisks import DmDisk, dm_disks, mk_multipath, multipath_maps, rm_multipath, udev_settle, udev_trigger
from labkit import UNIT, LabTest, Target, run, service_kill, service_restart, service_start, service_stop, wait_until

WWN = "naa.5001405aaaaaaaaa"
OTHER = "naa.5001405bbbbbbbbb"
RULES = Path("/run/udev/rules.d/58-lab-autoexport.rules")
REMOVED = Path("/var/lib/vhscsid/removed.json")
MAPS = 8
ALL_MAPS = f'ENV{{DM_UUID}}=="mpath-*", ENV{{VHOSTSCSI_TARGET}}="{WWN}"'


class RulesTest(LabTest):
    def setUp(self) -> None:
        # The last first: the wishes go before the targets do, and then what is remembered of that.
        self.addCleanup(self.forget)
        super().setUp()
        self.addCleanup(self.rule, "")
        self.disks: list[DmDisk] = []

    def forget(self) -> None:
        service_stop()
        REMOVED.unlink(missing_ok=True)
        service_start()

    def clean(self) -> None:
        super().clean()
        for disk in self.disks:
            disk.remove()

    def trigger(self) -> None:
        """An event for every disk, and the service has looked at each of them when this returns."""
        udev_trigger("--subsystem-match=block")
        self.api.manager.call("Rescan")
        self.api.settled()

    def rule(self, *lines: str) -> None:
        RULES.parent.mkdir(parents=True, exist_ok=True)
        RULES.write_text("\n".join(lines) + "\n")
        run(["udevadm", "control", "--reload"])
        udev_trigger("--subsystem-match=block")

    def rule_for(self, disk: DmDisk, **properties: str) -> str:
        sets = "".join(f', ENV{{VHOSTSCSI_{k}}}="{v}"' for k, v in properties.items())
        return f'ENV{{DM_NAME}}=="{disk.name}"{sets}'

    def dm_disks(self, count: int) -> list[DmDisk]:
        self.disks += dm_disks(count, 48)
        return self.disks[-count:]

    def restart(self) -> None:
        self.api.close()
        service_restart()
        self.api = type(self.api)()

    def target(self, wwn: str = WWN) -> Target | None:
        return next((t for t in self.api.targets() if t.wwn == wwn), None)

    def numbers(self, wwn: str = WWN) -> dict[str, int]:
        target = self.target(wwn)
        return {lun.get("Source"): lun.get("Number") for lun in target.luns()} if target else {}

    def exported(self, count: int, wwn: str = WWN) -> Target:
        def done() -> Target | None:
            target = self.target(wwn)
            return target if target and len(target.luns()) == count and target.get("State") == "online" else None
        return wait_until(f"{count} LUNs of {wwn} are online", done, 120, 0.2)

    def said(self, pattern: str) -> int:
        """How often the service's log has it."""
        run(["journalctl", "--sync"])
        return len(re.findall(pattern, run(["journalctl", "-b", "-u", UNIT, "-o", "cat", "--no-pager"]).stdout))


class MapsTest(RulesTest):
    def clean(self) -> None:
        super().clean()
        with contextlib.suppress(AssertionError):
            rm_multipath()

    def assert_maps(self, target: Target, count: int = MAPS) -> None:
        udev_settle()
        self.api.settled()
        maps = {f"dm-uuid={m.uuid}": m for m in multipath_maps()}
        luns = {lun.get("Source"): lun.all() for lun in target.luns()}
        self.assertEqual(len(maps), count)
        self.assertEqual(sorted(luns), sorted(maps))
        self.assertEqual(sorted(v["Number"] for v in luns.values()), list(range(count)))
        for source, v in luns.items():
            self.assertEqual((v["Origin"], v["State"]), ("udev", "online"), source)
            # What the kernel has open is the map itself.
            opened = Path(f"/sys/kernel/config/target/core/{v['Backstore']}/udev_path").read_text().strip()
            self.assertEqual(Path(opened).resolve().name, maps[source].dm)

    def test_every_map_and_no_path(self) -> None:
        self.rule(ALL_MAPS)
        mk_multipath(MAPS)
        self.assert_maps(self.exported(MAPS))
        numbers = self.numbers()
        with self.unchanged("the rule goes"):
            self.rule("")
            self.trigger()
        with self.unchanged("a restart"):
            self.restart()
            self.api.settled()
        self.assertEqual(self.numbers(), numbers)

    def test_a_rule_that_meets_the_paths_too(self) -> None:
        """multipath knows the disks from before, and claims their paths at once; then a rule may match whatever it likes."""
        mk_multipath(4)
        rm_multipath()
        self.rule(ALL_MAPS, f'SUBSYSTEM=="block", KERNEL=="sd*", ENV{{VHOSTSCSI_TARGET}}="{WWN}"')
        mk_multipath(4)
        self.assert_maps(self.exported(4), 4)
        self.trigger()
        self.assert_maps(self.exported(4), 4)

    def test_restarted_in_the_middle(self) -> None:
        self.rule(ALL_MAPS)
        run(["modprobe", "scsi_debug", "add_host=2", f"max_luns={MAPS}", "vpd_use_hostno=0", "dev_size_mb=16"])
        wait_until("the first LUN is there", lambda: self.numbers(), 60, 0.02)
        before = self.numbers()
        service_kill()
        service_start()
        self.api.close()
        self.api = type(self.api)()
        self.assert_maps(self.exported(MAPS))
        after = self.numbers()
        self.assertEqual({source: after[source] for source in before}, before, "a number that was given stays")

    def test_removed_stays_removed(self) -> None:
        self.rule(ALL_MAPS)
        mk_multipath(4)
        target = self.exported(4)
        source = target.lun(3).get("Source")
        target.remove_lun(3)
        for _ in range(2):
            self.trigger()
            self.assertEqual(sorted(self.numbers().values()), [0, 1, 2])
            self.restart()
            self.api.settled()

        # By hand it is back, and no longer forbidden.
        target = self.target()
        target.add_lun(source, number=3).wait_state("online")
        self.assertEqual(target.lun(3).get("Origin"), "manual")
        self.assertNotIn(source, REMOVED.read_text())

        # A whole target as well, until somebody makes it by hand; its disks were removed with it, each for itself.
        target.destroy()
        self.restart()
        self.trigger()
        self.assertIsNone(self.target())
        target = self.api.create(WWN)
        self.trigger()
        self.assertEqual(self.numbers(), {})
        target.add_lun(source).wait_state("online")

    def test_removed_and_the_disk_comes_again(self) -> None:
        """The map goes with all its paths, and another instance of it comes: it is still the disk that was removed."""
        self.rule(ALL_MAPS)
        mk_multipath(2)
        self.exported(2).remove_lun(0)
        self.exported(1)
        kept = self.numbers()
        self.target().remove_lun(1)
        rm_multipath()
        mk_multipath(2)
        self.trigger()
        self.assertEqual(self.numbers(), {})
        self.target().add_lun(*kept).wait_state("online")


class WishTest(RulesTest):
    def test_number_readonly_and_seed(self) -> None:
        plain, numbered, seeded = self.dm_disks(3)
        self.rule(self.rule_for(plain, TARGET=WWN), self.rule_for(numbered, TARGET=WWN.upper().replace("NAA.", "0x"), LUN="7", READONLY="1"),
                  self.rule_for(seeded, TARGET="seed:guest é 1", LUN="16383", READONLY="0"))
        target = self.exported(2)
        self.assertEqual(self.numbers(), {f"dm-uuid={plain.uuid}": 0, f"dm-uuid={numbered.uuid}": 7})
        self.assertEqual((target.lun(0).get("ReadOnly"), target.lun(7).get("ReadOnly")), (False, True))
        backstore = Path("/sys/kernel/config/target/core") / target.lun(7).get("Backstore")
        self.assertIn("readonly: 1", (backstore / "info").read_text())

        # The same target that the seed makes by hand.
        by_hand = self.api.create("", seed="guest é 1", if_absent=True)
        self.exported(1, by_hand.wwn)
        self.assertEqual(self.numbers(by_hand.wwn), {f"dm-uuid={seeded.uuid}": 16383})

        # The number was stored when the LUN was made; the rule may say what it likes now.
        with self.unchanged("the rule wishes another number and target"):
            self.rule(self.rule_for(plain, TARGET=WWN, LUN="9"), self.rule_for(numbered, TARGET=OTHER, LUN="8"))
            self.trigger()

    def test_a_number_that_is_taken(self) -> None:
        first, second = self.dm_disks(2)
        self.rule(self.rule_for(first, TARGET=WWN, LUN="3"))
        target = self.exported(1)
        with self.unchanged("3 is taken"):
            self.rule(self.rule_for(first, TARGET=WWN, LUN="3"), self.rule_for(second, TARGET=WWN, LUN="3"))
            for _ in range(3):
                self.trigger()
        self.assertEqual(self.said(f"{second.name} is not exported"), 1)
        target.remove_lun(3)
        self.trigger()
        self.assertEqual(self.numbers(), {f"dm-uuid={second.uuid}": 3})

    def test_ignore(self) -> None:
        """VHOSTSCSI_IGNORE=1 is stronger than a wish, and than a hand."""
        disk, = self.dm_disks(1)
        self.rule(self.rule_for(disk, TARGET=WWN, IGNORE="1"))
        self.trigger()
        self.assertIsNone(self.target())
        listed = next(d for d in self.api.devices() if d["identity"] == f"dm-uuid={disk.uuid}")
        self.assertEqual((listed["verdict"], listed["reason"]), ("ignored", "hidden by VHOSTSCSI_IGNORE"))
        target = self.api.create(OTHER)
        for source in (disk.device, f"dm-uuid={disk.uuid}"):
            with self.unchanged(source), self.refused("DeviceUnsafe", saying="VHOSTSCSI_IGNORE"):
                target.add_lun(source)
            with self.unchanged(source), self.refused("DeviceUnsafe", saying="VHOSTSCSI_IGNORE"):
                self.api.export(source)
        self.rule(self.rule_for(disk, TARGET=WWN))
        self.exported(1)

    def test_in_use_until_it_is_free(self) -> None:
        mounted, swap, volume = disks = self.dm_disks(3)
        run(f"mkfs.ext4 -q {mounted.device} && mount {mounted.device} /mnt && mkswap {swap.device} && swapon {swap.device} && "
            f"pvcreate -qy {volume.device} && vgcreate -qy labhost {volume.device} && lvcreate -qy -n data -L 16M labhost")
        self.addCleanup(run, f"umount /mnt; swapoff {swap.device}; vgchange -an labhost", check=False)
        with self.unchanged("all are in use"):
            self.rule(*(self.rule_for(d, TARGET=WWN) for d in disks))
            for _ in range(3):
                self.trigger()
        for disk, why in ((mounted, "mounted on /mnt"), (swap, "swap"), (volume, "held by|DeviceBusy|labhost")):
            self.assertEqual(self.said(f"{disk.name} is not exported as a udev rule wishes: .*({why})"), 1, disk.name)

        # Each as soon as it is free and there is news of it; nothing else is touched.
        for n, (disk, command) in enumerate(((mounted, "umount /mnt"), (swap, f"swapoff {swap.device}"),
                                             (volume, "vgchange -an labhost"))):
            run(command)
            udev_trigger(disk.device)
            self.exported(n + 1)
            self.assertIn(f"dm-uuid={disk.uuid}", self.numbers())

        # And now the other way round: what the guest has, the host does not get.
        for command in (f"mount {mounted.device} /mnt", f"swapon {swap.device}"):
            self.assertNotEqual(run(command, check=False).returncode, 0, command)
        run("vgchange -ay labhost", check=False)
        self.assertNotIn("labhost-data", run(["dmsetup", "ls"]).stdout)

    def test_hostile(self) -> None:
        """What makes no sense changes nothing and is said once, however often the disk has news."""
        disk, = self.dm_disks(1)
        before = self.said("is not exported")
        values = ("naa.4001405aaaaaaaaa", "../../../etc", "seed:", "%%s%%n%%n", "x" * 400, "seed:" + "s" * 256, f"{WWN} {OTHER}", WWN + "0")
        for value in values:
            with self.subTest(value[:20]), self.unchanged(value[:20]):
                self.rule(self.rule_for(disk, TARGET=value))
                for _ in range(2):
                    self.trigger()
                self.assertEqual(self.api.list_targets(), [])
        # Five, for what is wrong in the same way as the last is not said again: no WWN, an empty seed, no WWN, too long a seed, no WWN.
        self.assertEqual(self.said("is not exported") - before, 5)
        for number in ("-1", "16384", "0x10", "1e3", "99999999999999999999", "7 "):
            with self.subTest(number=number), self.unchanged(number):
                self.rule(self.rule_for(disk, TARGET=WWN, LUN=number))
                self.trigger()
        with self.unchanged("readonly"):
            self.rule(self.rule_for(disk, TARGET=WWN, READONLY="perhaps"))
            self.trigger()
        self.assertEqual(self.said("VHOSTSCSI_LUN is not a number"), 1)
        self.assertEqual(self.said("VHOSTSCSI_READONLY is neither"), 1)
        # The service is as well as before.
        self.rule(self.rule_for(disk, TARGET=WWN))
        self.exported(1)
