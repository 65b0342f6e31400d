# SPDX-License-Identifier: LGPL-2.1-or-later
"""The bus API: members, signatures, properties, signals, options."""
import time
import xml.etree.ElementTree as ET

from labdisks import dm_disks
from labkit import (BUS_NAME, INVALID_ARGS, LUN, MANAGER, ROOT, TARGET, LabTest, Remote, Variant, fabric, options, plain, run,
                    service_pid, service_stop, wait_until)

METHODS = {
    MANAGER: {"CreateTarget": ("sa{sv}", "o"), "GetTarget": ("s", "o"), "ListTargets": ("", "a(so)"),
              "ListDevices": ("a{sv}", "aa{sv}"), "Export": ("sa{sv}", "oo"), "Adopt": ("sa{sv}", "o"),
              "Plan": ("ha{sv}", "a(sss)"), "Apply": ("ha{sv}", "a(sss)"), "ImportConfig": ("sha{sv}", "a(sss)"),
              "ExportConfig": ("sa{sv}", "h"), "History": ("a{sv}", "a(ttussas)"), "Rollback": ("ta{sv}", "a(sss)"), "Rescan": ("", "")},
    TARGET: {"AddLun": ("sa{sv}", "o"), "RemoveLun": ("ua{sv}", ""), "SetLabel": ("sa{sv}", ""), "Destroy": ("a{sv}", ""),
             "GetStatistics": ("", "a{sa{st}}")},
    LUN: {"Remove": ("a{sv}", ""), "GetStatistics": ("", "a{st}")},
}
PROPERTIES = {
    MANAGER: {"Version": "s", "State": "s", "Generation": "t", "Fabric": "a{sv}", "Problems": "a(ss)"},
    TARGET: {"Wwn": "s", "Label": "s", "State": "s", "ManagedBy": "s", "PortalGroup": "u", "Nexus": "s", "Endpoint": "s",
             "Owners": "as", "Luns": "ao", "LastError": "(ss)"},
    LUN: {"Number": "u", "Source": "s", "Device": "s", "State": "s", "Health": "s", "Size": "t", "BlockSize": "u",
          "ReadOnly": "b", "Backstore": "s", "UnitSerial": "s", "GuestWwid": "s", "Origin": "s", "LastError": "(ss)",
          "Attributes": "a{sv}"},
}
# The issue at hand lists these as "all listed properties" less those whose member comes later.
LATER = {TARGET: {"Owners"}, LUN: {"Attributes"}}


class ApiTest(LabTest):
    def interfaces(self, path: str) -> dict[str, ET.Element]:
        return {i.get("name"): i for i in ET.fromstring(self.api.introspect(path)).findall("interface")}

    def check_interface(self, path: str, name: str) -> None:
        interface = self.interfaces(path).get(name)
        self.assertIsNotNone(interface, f"{path} has no {name}")
        methods = {m.get("name"): tuple("".join(a.get("type") for a in m.findall("arg") if a.get("direction", "in") == d)
                                        for d in ("in", "out")) for m in interface.findall("method")}
        for member, signatures in METHODS[name].items():
            self.assertEqual(methods.get(member), signatures, f"{name}.{member}")
        properties = {p.get("name"): p for p in interface.findall("property")}
        for member, sig in PROPERTIES[name].items():
            if member not in properties and member in LATER.get(name, ()):
                continue
            self.assertIn(member, properties, name)
            self.assertEqual(properties[member].get("type"), sig, f"{name}.{member}")
            self.assertEqual(properties[member].get("access"), "read", f"{name}.{member}")
        values = self.api.properties(path, "GetAll", "s", name)[0]
        for member, value in values.items():
            self.assertEqual(value.sig, properties[member].get("type"), f"{name}.{member} as sent")

    def test_introspection(self) -> None:
        disk, = dm_disks(1)
        target = self.api.create()
        lun = target.add_lun(disk.device)
        self.check_interface(ROOT, MANAGER)
        self.assertIn("org.freedesktop.DBus.ObjectManager", self.interfaces(ROOT))
        self.check_interface(target.path, TARGET)
        self.check_interface(lun.path, LUN)

    def test_busctl_and_gdbus(self) -> None:
        out = run(["busctl", "introspect", BUS_NAME, ROOT, MANAGER]).stdout.split("\n")
        line = next(line.split() for line in out if line.startswith(".CreateTarget"))
        self.assertEqual(line[1:4], ["method", "sa{sv}", "o"])
        out = run(["busctl", "call", BUS_NAME, ROOT, MANAGER, "CreateTarget", "sa{sv}", "", "1", "label", "s", "by busctl"]).stdout
        path = out.split('"')[1]
        self.assertRegex(path, r"^/org/vhostscsi/target/naa_2e5001405[0-9a-f]{9}$")
        out = run(["gdbus", "call", "--system", "-d", BUS_NAME, "-o", path, "-m", "org.freedesktop.DBus.Properties.Get",
                   TARGET, "Label"]).stdout
        self.assertEqual(out.strip(), "(<'by busctl'>,)")
        out = run(["gdbus", "call", "--system", "-d", BUS_NAME, "-o", path, "-m", f"{TARGET}.Destroy", "{}"]).stdout
        self.assertEqual(out.strip(), "()")
        self.assertEqual(self.api.list_targets(), [])

    def test_create(self) -> None:
        target = self.api.create(label="Mail: größer")
        self.assertRegex(target.wwn, r"^naa\.5001405[0-9a-f]{9}$")
        self.assertEqual(self.api.list_targets(), [(target.path, target.wwn)])
        self.assertEqual(self.api.target(target.wwn), target)
        self.assertEqual(self.api.target(target.wwn.upper().replace("NAA", "naa")), target)
        self.assertTrue(target.tpg.is_dir())
        nexus = (target.tpg / "nexus").read_text().strip()
        values = target.all()
        self.assertEqual((values["Wwn"], values["Label"], values["State"], values["ManagedBy"], values["PortalGroup"],
                          values["Nexus"], values["Luns"], values["LastError"]),
                         (target.wwn, "Mail: größer", "online", "vhscsid", 1, nexus, [], ("", "")))
        target.call("SetLabel", "sa{sv}", "other", {})
        self.assertEqual(target.get("Label"), "other")

    def test_create_options(self) -> None:
        first = self.api.create(seed="e0a1f2c4-9d1b-4c53-a8e7-1f0a6a0f3f11")
        wwn = first.wwn
        first.destroy()
        again = self.api.create(seed="e0a1f2c4-9d1b-4c53-a8e7-1f0a6a0f3f11")
        self.assertEqual(again.wwn, wwn, "a seed gives one name on every host")
        with self.unchanged("if-absent"):
            self.assertEqual(self.api.create(wwn, if_absent=True), again)
        with self.unchanged("taken"), self.refused("AlreadyExists", saying=wwn):
            self.api.create(wwn)
        target = self.api.create("naa.5001405aabbccdd0", nexus="naa.5001405aabbccdd1")
        self.assertEqual(target.get("Nexus"), "naa.5001405aabbccdd1")
        self.assertEqual((target.tpg / "nexus").read_text().strip(), "naa.5001405aabbccdd1")

    def test_unknown_option_is_named(self) -> None:
        disk, = dm_disks(1)
        target = self.api.create()
        lun = target.add_lun(disk.device)
        bad = {"colour": Variant("s", "red")}
        calls = [(self.api.manager, "CreateTarget", "sa{sv}", [""]), (self.api.manager, "Export", "sa{sv}", [disk.device]),
                 (target, "AddLun", "sa{sv}", [disk.device]), (target, "RemoveLun", "ua{sv}", [0]),
                 (target, "SetLabel", "sa{sv}", ["x"]), (target, "Destroy", "a{sv}", []), (lun, "Remove", "a{sv}", [])]
        for remote, member, sig, args in calls:
            with self.subTest(member), self.unchanged(member), self.refused(INVALID_ARGS, saying="colour"):
                remote.call(member, sig, *args, bad)
            with self.subTest(f"{member}, wrong type"), self.unchanged(member), self.refused(INVALID_ARGS, saying="dry-run"):
                remote.call(member, sig, *args, {"dry-run": Variant("s", "yes")})

    def test_dry_run_and_generation(self) -> None:
        disk, = dm_disks(1)
        target = self.api.create()
        generation = self.api.manager.get("Generation")
        with self.unchanged("dry-run"):
            self.api.create(dry_run=True)
            target.add_lun(disk.device, dry_run=True)
            target.destroy(dry_run=True)
        self.assertEqual(self.api.manager.get("Generation"), generation)
        with self.unchanged("old generation"), self.refused("GenerationMismatch"):
            target.add_lun(disk.device, if_generation=generation - 1)
        target.add_lun(disk.device, if_generation=generation)
        self.assertGreater(self.api.manager.get("Generation"), generation)

    def test_lun_properties(self) -> None:
        disk, = dm_disks(1, 48)
        target = self.api.create()
        lun = target.add_lun(disk.device, number=7, readonly=True, name="data", serial="0123456789abcdef0123456789")
        values = lun.all()
        self.assertEqual(lun.path, f"{target.path}/lun/7")
        self.assertEqual((values["Number"], values["Source"], values["State"], values["Health"], values["Size"],
                          values["BlockSize"], values["ReadOnly"], values["UnitSerial"], values["Origin"], values["LastError"]),
                         (7, f"dm-uuid={disk.uuid}", "online", "read-only" if values["Health"] == "read-only" else "ok",
                          48 << 20, 512, True, "0123456789abcdef0123456789", "manual", ("", "")))
        self.assertRegex(values["Backstore"], r"^iblock_\d+/data$")
        self.assertEqual(values["GuestWwid"], "wwn-0x60014050123456789abcdef012345678")
        self.assertEqual(target.get("Luns"), [lun.path])
        links = [p for p in (target.tpg / "lun/lun_7").iterdir() if p.is_symlink()]
        self.assertEqual([str(p.resolve()) for p in links], [f"/sys/kernel/config/target/core/{values['Backstore']}"])
        lun.remove()
        self.assertEqual(target.get("Luns"), [])
        self.assertFalse((target.tpg / "lun/lun_7").exists())

    def test_numbers(self) -> None:
        disks = dm_disks(4)
        target = self.api.create()
        self.assertEqual(target.add_lun(disks[0].device).get("Number"), 0)
        self.assertEqual(target.add_lun(disks[1].device, number=16383).get("Number"), 16383)
        self.assertEqual(target.add_lun(disks[2].device).get("Number"), 1)
        target.remove_lun(0)
        self.assertEqual(target.add_lun(disks[3].device).get("Number"), 0)

    def test_export(self) -> None:
        disks = dm_disks(2)
        target, lun = self.api.export(disks[0].device)
        self.assertEqual(target.get("Luns"), [lun.path])
        same, second = self.api.export(disks[1].device, target=target.wwn, number=4)
        self.assertEqual((same, second.get("Number")), (target, 4))

    def test_signals(self) -> None:
        disks = dm_disks(8)
        target = self.api.create()
        self.api.bus.match(f"type='signal',sender='{BUS_NAME}'")
        self.api.bus.drain()
        lun = target.add_lun(disks[0].device)
        # Whatever a reply implies was signalled before it: no waiting here.
        signals = self.api.bus.drain()
        added = [s for s in signals if s.member == "InterfacesAdded" and s.args[0] == lun.path]
        self.assertEqual(len(added), 1, signals)
        self.assertEqual(plain(added[0].args[1])[LUN]["Number"], 0)
        changed = [s for s in signals if s.member == "PropertiesChanged" and s.path == target.path and s.args[0] == TARGET]
        self.assertTrue(any("Luns" in s.args[1] or "Luns" in s.args[2] for s in changed), signals)
        serials = [target.send("AddLun", "sa{sv}", d.device, {}) for d in disks[1:]]
        for serial in serials:
            self.api.bus.wait(serial)
        signals = self.api.bus.drain()
        changed = [s for s in signals if s.member == "PropertiesChanged" and s.path == target.path]
        self.assertLessEqual(len(changed), len(serials) + 1, "changes of one turn of the loop are one signal")
        target.destroy()
        removed = {s.args[0] for s in self.api.bus.drain() if s.member == "InterfacesRemoved"}
        self.assertEqual(removed, {target.path, *(f"{target.path}/lun/{n}" for n in range(8))})

    def test_get_agrees_after_a_reply(self) -> None:
        disks = dm_disks(3)
        target = self.api.create()
        for n, disk in enumerate(disks):
            lun = target.add_lun(disk.device)
            self.assertEqual((lun.get("State"), len(target.get("Luns"))), ("online", n + 1))
        for n in range(3):
            target.remove_lun(n)
            self.assertEqual(len(target.get("Luns")), 2 - n)
            self.assertNotIn(f"{target.path}/lun/{n}", self.api.managed())

    def test_not_found(self) -> None:
        target = self.api.create()
        with self.refused("NotFound"):
            target.remove_lun(5)
        with self.refused("NotFound"):
            self.api.target("naa.5001405ffffffff0")
        ghost = Remote(self.api, "/org/vhostscsi/target/naa_2e5001405ffffffff0", TARGET)
        for member, args in (("Destroy", ("a{sv}", {})), ("AddLun", ("sa{sv}", "/dev/null", {}))):
            with self.refused("NotFound", "org.freedesktop.DBus.Error.UnknownObject"):
                ghost.call(member, *args)

    def test_activation(self) -> None:
        service_stop()
        self.assertEqual(service_pid(), 0)
        self.assertEqual(self.api.manager.get("State"), "running")
        self.assertNotEqual(service_pid(), 0)
        self.assertEqual(self.api.manager.get("Fabric")["module"], fabric())

    def test_list_devices(self) -> None:
        disk, = dm_disks(1)
        device = wait_until("the disk is listed", lambda: next((d for d in self.api.devices() if disk.device in d.values() or
                            f"dm-uuid={disk.uuid}" in map(str, d.values())), None))
        self.assertLessEqual({"path", "identity", "size", "verdict", "reason", "luns"}, device.keys())
        self.assertEqual((device["size"], device["luns"]), (32 << 20, []))
        root = next(d for d in self.api.devices() if d["path"] == "/dev/vda")
        self.assertNotEqual(root["verdict"], device["verdict"])
        self.assertTrue(root["reason"])
        target, lun = self.api.export(disk.device)
        device = next(d for d in self.api.devices() if d["path"] == device["path"])
        self.assertEqual(device["luns"], [lun.path])

    def test_many_calls_at_once(self) -> None:
        """One connection, a hundred calls under way: each is answered, in good time."""
        target = self.api.create()
        begin = time.monotonic()
        serials = [target.send("SetLabel", "sa{sv}", f"label {n}", options({})) for n in range(100)]
        for serial in serials:
            self.api.bus.wait(serial, 60)
        self.assertEqual(target.get("Label"), "label 99")
        self.assertLess(time.monotonic() - begin, 60)
