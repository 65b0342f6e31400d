#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The daemon on the bus: vhscsid-fake (fake-host.c), a private dbus-daemon with our policy, and a polkit that answers as told.

As root all of it; otherwise without what needs a second user. Run by meson; by hand: VHSCSID_FAKE=… SOURCE_ROOT=. test-bus.py [-v] [Class.test]"""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import xml.etree.ElementTree as ElementTree

FAKE = os.environ["VHSCSID_FAKE"]
ROOT = pathlib.Path(os.environ.get("SOURCE_ROOT", ".")).resolve()
sys.path.insert(0, str(ROOT / "tests/lab"))
from minibus import CALL, RETURN, Bus, BusError, Reader, Variant, Writer, plain, split      # noqa: E402

NAME, PATH = "org.vhostscsi", "/org/vhostscsi"
MANAGER, TARGET, LUN = f"{NAME}.Manager", f"{NAME}.Target", f"{NAME}.Lun"
PROPERTIES, OBJECT_MANAGER = "org.freedesktop.DBus.Properties", "org.freedesktop.DBus.ObjectManager"
DENIED = "org.freedesktop.DBus.Error.AccessDenied"
INTERACTIVE = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
INVALID_ARGS = "org.freedesktop.DBus.Error.InvalidArgs"
UNKNOWN_OBJECT = "org.freedesktop.DBus.Error.UnknownObject"
ALLOW_INTERACTIVE = 4
NOBODY = 65534
WWN = "naa.5001405aabbccdd0"

CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
    <allow own="org.freedesktop.PolicyKit1"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <include>{policy}</include>
  <policy user="{uid}">
    <allow own="org.vhostscsi"/>
  </policy>
</busconfig>
"""


class Polkit(Bus):
    """Owns polkit's name and answers CheckAuthorization by `answers`: action -> (authorized, challenge, kept), or None to let wait."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.default: tuple | None = (False, False, False)
        self.policy: dict[str, tuple | None] = {}
        self.asked: list[dict] = []
        self.cancelled: list[str] = []
        self.waiting: list[tuple[int, str]] = []
        self.call("RequestName", "su", "org.freedesktop.PolicyKit1", 0)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        with contextlib.suppress(OSError, BusError):
            while True:
                self._receive(3600)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        super().close()

    def answer(self, serial: int, dest: str, result: tuple) -> None:
        authorized, challenge, kept = result
        details = {"polkit.retains_authorization_after_challenge": "true"} if kept else {}
        self.reply(serial, dest, "(bba{ss})", (authorized, challenge, details))

    def reply(self, serial: int, dest: str, sig: str, *args) -> None:
        self.serial += 1
        body, head = Writer(), Writer()
        for part, value in zip(split(sig), args, strict=True):
            body.put(part, value)
        head.data += struct.pack("<cBBBII", b"l", RETURN, 1, 1, len(body.data), self.serial)
        fields = [(5, Variant("u", serial)), (6, Variant("s", dest))] + ([(8, Variant("g", sig))] if sig else [])
        head.put("a(yv)", fields)
        head.pad(8)
        self.sock.sendall(bytes(head.data + body.data))

    def _dispatch(self, message: bytes) -> None:
        if message[1] != CALL:
            return super()._dispatch(message)
        reader = Reader(message)
        serial = struct.unpack_from("<I", message, 8)[0]
        reader.at = 12
        fields = {k: v.value for k, v in reader.get("a(yv)")}
        reader.pad(8)
        body = Reader(message[reader.at:])
        args = [body.get(part) for part in split(fields.get(8, ""))]
        if fields[3] == "CancelCheckAuthorization":
            self.cancelled.append(args[0])
            return self.reply(serial, fields[7], "")
        (kind, subject), action, details, flags, cancellation = args
        self.asked.append({"kind": kind, "name": plain(subject).get("name"), "action": action, "details": details,
                           "interactive": bool(flags & 1), "cancellation": cancellation})
        result = self.policy.get(action, self.default)
        if result is None:
            self.waiting.append((serial, fields[7]))
        else:
            self.answer(serial, fields[7], result)


class Host:
    """A bus and a daemon on it. fabric: in-tree (vhost_scsi) or bundled (vhscsi)."""

    def __init__(self, fabric: str = "in-tree") -> None:
        self.fabric = fabric
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="vhscsid-bus-"))
        self.dir.chmod(0o755)
        self.socket = str(self.dir / "bus")
        # Of a file that others may write the daemon believes nothing.
        os.umask(0o022)
        config = self.dir / "bus.conf"
        config.write_text(CONFIG.format(socket=self.socket, policy=ROOT / "dbus/org.vhostscsi.conf", uid=os.geteuid()))
        self.log = open(self.dir / "log", "w+")
        self.broker = subprocess.Popen(["dbus-daemon", "--nofork", "--nopidfile", "--nosyslog", f"--config-file={config}"],
                                       stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.daemon: subprocess.Popen | None = None
        try:
            wait_until("the bus", self.listens)
            self.start()
        except BaseException:
            self.close()
            raise

    def listens(self) -> bool:
        """The socket is there a moment before anybody listens at it."""
        with socket.socket(socket.AF_UNIX) as s:
            return s.connect_ex(self.socket) == 0

    def start(self) -> None:
        env = os.environ | {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self.socket}", "RUNTIME_DIRECTORY": f"{self.dir}/run",
                            "VHSCSID_FAKE_FABRIC": self.fabric}
        env.pop("NOTIFY_SOCKET", None)
        self.daemon = subprocess.Popen([FAKE, f"--state-dir={self.dir}/state"], env=env, text=True,
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)
        bus = Bus(self.socket)
        wait_until("the daemon", lambda: self.daemon.poll() is not None or bus.call("NameHasOwner", "s", NAME)[0])
        bus.close()

    def tell(self, line: str) -> list[str]:
        """Commands of fake-host.c."""
        self.daemon.stdin.write(line + "\n")
        self.daemon.stdin.flush()
        lines = []
        while (answer := self.daemon.stdout.readline().rstrip("\n")) != "ok":
            if not answer or answer.startswith("error"):
                raise AssertionError(f"{line}: {answer or 'the daemon is gone'}\n{self.logged()}")
            lines.append(answer)
        return lines

    def stop(self) -> int:
        if self.daemon.poll() is None:
            self.tell("quit")
        code = self.daemon.wait(20)
        self.daemon.stdin.close()
        self.daemon.stdout.close()
        return code

    def kill(self) -> None:
        self.daemon.kill()
        self.daemon.wait()
        self.daemon.stdin.close()
        self.daemon.stdout.close()

    def logged(self) -> str:
        self.log.flush()
        return (self.dir / "log").read_text()

    def stored(self) -> dict[str, bytes]:
        return {f.name: f.read_bytes() for f in sorted((self.dir / "state/targets").iterdir())}

    def close(self) -> None:
        if self.daemon and self.daemon.poll() is None:
            self.kill()
        self.broker.terminate()
        self.broker.wait()
        self.log.close()
        shutil.rmtree(self.dir)


def wait_until(what: str, condition, timeout: float = 20):
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited in vain for {what}")
        time.sleep(0.01)
    return result


def options(**given) -> dict[str, Variant]:
    sigs = {bool: "b", str: "s", dict: "a{sv}"}
    wide = {"timeout", "if-generation", "generation", "wait"}
    named = {k.replace("_", "-"): v for k, v in given.items()}
    return {k: v if isinstance(v, Variant) else Variant(sigs.get(type(v), "t" if k in wide else "u"), v) for k, v in named.items()}


def target_path(wwn: str) -> str:
    return f"{PATH}/target/{wwn.replace('.', '_2e')}"


class BusTest(unittest.TestCase):
    FABRIC = "in-tree"

    def setUp(self) -> None:
        self.host = Host(self.FABRIC)
        self.addCleanup(self.host.close)
        self.bus = Bus(self.host.socket)
        self.addCleanup(self.bus.close)

    def tearDown(self) -> None:
        # Leaks and undefined behaviour, where the build looks for them, are in the exit status.
        if self.host.daemon.poll() is None:
            self.assertEqual(self.host.stop(), 0, self.host.logged())

    def call(self, path: str, interface: str, member: str, sig: str = "", *args, bus: Bus | None = None, flags: int = 0,
             timeout: float = 20) -> tuple:
        bus = bus or self.bus
        return bus.wait(bus.send(member, sig, *args, path=path, interface=interface, dest=NAME, flags=flags), timeout)

    def manager(self, member: str, sig: str = "", *args, **how) -> tuple:
        return self.call(PATH, MANAGER, member, sig, *args, **how)

    def create(self, wwn: str = WWN, **given) -> str:
        return self.manager("CreateTarget", "sa{sv}", wwn, options(**given))[0]

    def add_lun(self, target: str, source: str, **given) -> str:
        return self.call(target, TARGET, "AddLun", "sa{sv}", source, options(**given))[0]

    def get(self, path: str, interface: str, name: str):
        return plain(self.call(path, PROPERTIES, "Get", "ss", interface, name)[0])

    def get_all(self, path: str, interface: str) -> dict:
        return plain(self.call(path, PROPERTIES, "GetAll", "s", interface)[0])

    def objects(self) -> dict:
        return plain(self.call(PATH, OBJECT_MANAGER, "GetManagedObjects")[0])

    @contextlib.contextmanager
    def refused(self, *names: str, saying: str = ""):
        with self.assertRaises(BusError) as caught:
            yield
        full = [n if "." in n else f"{NAME}.Error.{n}" for n in names]
        self.assertIn(caught.exception.name, full, caught.exception)
        self.assertIn(saying, caught.exception.message)

    @contextlib.contextmanager
    def unchanged(self):
        before = self.host.stored()
        self.host.tell("journal")
        yield
        self.assertEqual(self.host.stored(), before)
        # A probe is an rmdir that is refused.
        self.assertEqual([line for line in self.host.tell("journal") if "-> -EBUSY" not in line and "-> -ENOTEMPTY" not in line], [])

    def as_nobody(self) -> Bus:
        if os.geteuid() != 0:
            self.skipTest("needs root to be somebody else")
        os.seteuid(NOBODY)
        try:
            bus = Bus(self.host.socket)
        finally:
            os.seteuid(0)
        self.addCleanup(bus.close)
        return bus

    def polkit(self) -> Polkit:
        polkit = Polkit(self.host.socket)
        self.addCleanup(polkit.close)
        return polkit


class Interface(BusTest):
    def test_introspection_is_the_xml(self) -> None:
        target = self.create()
        lun = self.add_lun(target, "wwid=36000")
        for path, name in ((PATH, MANAGER), (target, TARGET), (lun, LUN)):
            live = ElementTree.fromstring(self.call(path, "org.freedesktop.DBus.Introspectable", "Introspect")[0])
            file = ElementTree.parse(ROOT / f"dbus/{name}.xml")
            self.assertEqual(*(self.describe(next(i for i in tree.iter("interface") if i.get("name") == name)) for tree in (live, file)))

    @staticmethod
    def describe(interface: ElementTree.Element) -> dict:
        def notes(e: ElementTree.Element) -> list:
            return [(a.get("name"), a.get("value")) for a in e.findall("annotation") if "EmitsChangedSignal" in a.get("name")]
        result = {p.get("name"): (p.get("type"), p.get("access"), [n for n in notes(p) if n[1] != "true"])
                  for p in interface.findall("property")}
        result |= {m.get("name"): [(a.get("name"), a.get("type"), a.get("direction")) for a in m.findall("arg")]
                   for m in interface.findall("method")}
        return result

    def test_children(self) -> None:
        target = self.create()
        self.add_lun(target, "wwid=36000", number=7)
        other = self.create("")
        self.assertEqual(set(self.objects()), {target, f"{target}/lun/7", other})
        tree = ElementTree.fromstring(self.call(target, "org.freedesktop.DBus.Introspectable", "Introspect")[0])
        self.assertEqual([n.get("name") for n in tree.findall("node")], ["lun/7"])

    def test_one_path_an_object(self) -> None:
        target = self.create()
        self.add_lun(target, "wwid=36000")
        for path in (target.replace("naa", "n_61a"), target + "/lun/00", target + "/lun/1", target + "/lun", target + "/lun/0/x",
                     f"{PATH}/target/naa_2e5001405aabbccdd9", f"{PATH}/target"):
            for interface in (TARGET, LUN):
                with self.subTest(path), self.refused(UNKNOWN_OBJECT, "org.freedesktop.DBus.Error.UnknownInterface",
                                                      "org.freedesktop.DBus.Error.UnknownProperty"):
                    self.get(path, interface, "State")

    def test_properties_are_read_only(self) -> None:
        target = self.create()
        with self.unchanged(), self.refused(DENIED, "org.freedesktop.DBus.Error.PropertyReadOnly"):
            self.call(target, PROPERTIES, "Set", "ssv", TARGET, "Label", Variant("s", "x"))

    def test_policy_names_members(self) -> None:
        for interface, member in ((MANAGER, "Acquires"), (f"{NAME}.Secret", "Do")):
            with self.refused(DENIED):
                self.call(PATH, interface, member)

    def test_starting_and_version(self) -> None:
        values = self.get_all(PATH, MANAGER)
        self.assertEqual((values["State"], values["Fabric"]), ("running", {"module": "vhost_scsi", "version": "0", "origin": "in-tree"}))


class Calls(BusTest):
    def test_life_of_a_target(self) -> None:
        target = self.create(label="größer", nexus="naa.5001405aabbccdd1")
        self.assertEqual(target, target_path(WWN))
        self.assertEqual(self.manager("ListTargets"), ([(WWN, target)],))
        self.assertEqual(self.manager("GetTarget", "s", "50:01:40:5A:AB:BC:CD:D0"), (target,))
        values = self.get_all(target, TARGET)
        self.assertEqual(values, {"Wwn": WWN, "Label": "größer", "State": "online", "ManagedBy": "vhscsid", "PortalGroup": 1,
                                  "Nexus": "naa.5001405aabbccdd1", "Endpoint": "unknown", "Owners": [], "OwnerDetails": [],
                                  "Luns": [], "LastError": ("", "")})
        lun = self.add_lun(target, "wwid=36001", number=5, readonly=True, name="data", serial="0123456789abcdef0123456789",
                           attributes={"queue_depth": Variant("u", 32), "emulate_tpu": Variant("b", False)})
        values = self.get_all(lun, LUN)
        backstore = values.pop("Backstore")
        self.assertRegex(backstore, r"^iblock_\d+/data$")
        self.assertEqual(values, {"Number": 5, "Source": "wwid=36001", "Device": "/dev/fake1", "State": "online", "Health": "ok",
                                  "Size": 1 << 20, "BlockSize": 512, "ReadOnly": True, "UnitSerial": "0123456789abcdef0123456789",
                                  "GuestWwid": "wwn-0x60014050123456789abcdef012345678", "Origin": "manual", "LastError": ("", ""),
                                  "Attributes": {"queue_depth": "32", "emulate_tpu": "0"}})
        self.assertEqual(self.get_all(target, TARGET)["Endpoint"], "idle")
        self.call(target, TARGET, "SetLabel", "sa{sv}", "other", {})
        self.assertEqual(self.get(target, TARGET, "Label"), "other")
        self.call(lun, LUN, "Remove", "a{sv}", {})
        self.assertEqual(self.get(target, TARGET, "Luns"), [])
        self.add_lun(target, "wwid=36001")
        self.call(target, TARGET, "RemoveLun", "ua{sv}", 0, {})
        self.call(target, TARGET, "Destroy", "a{sv}", {})
        self.assertEqual((self.manager("ListTargets"), self.objects(), self.host.stored()), (([],), {}, {}))

    def test_options_are_checked(self) -> None:
        target = self.create()
        lun = self.add_lun(target, "wwid=36000")
        calls = [(PATH, MANAGER, "CreateTarget", "sa{sv}", [""]), (PATH, MANAGER, "Export", "sa{sv}", ["wwid=36001"]),
                 (target, TARGET, "AddLun", "sa{sv}", ["wwid=36001"]), (target, TARGET, "RemoveLun", "ua{sv}", [0]),
                 (target, TARGET, "SetLabel", "sa{sv}", ["x"]), (target, TARGET, "Destroy", "a{sv}", []), (lun, LUN, "Remove", "a{sv}", []),
                 (PATH, MANAGER, "ListDevices", "a{sv}", [])]
        with self.unchanged():
            for *where, sig, args in calls:
                with self.subTest(where), self.refused(INVALID_ARGS, saying='"colour"'):
                    self.call(*where, sig, *args, {"colour": Variant("s", "red")})
                if where[2] == "ListDevices":
                    continue
                with self.subTest(where), self.refused(INVALID_ARGS, saying='"dry-run" is a boolean (b)'):
                    self.call(*where, sig, *args, {"dry-run": Variant("s", "yes")})
                with self.subTest(where), self.refused(INVALID_ARGS, saying='"timeout" is a 64-bit number (t)'):
                    self.call(*where, sig, *args, {"timeout": Variant("u", 1)})
                with self.subTest(where), self.refused(INVALID_ARGS, saying="twice"):
                    self.call(*where, sig, *args, Twice("force", Variant("b", True)))

    def test_odd_attributes(self) -> None:
        target = self.create()

        def given(name: str, value: Variant) -> dict:
            return {"attributes": Variant("a{sv}", {name: value})}
        with self.unchanged():
            for name, value, saying in (("queue_depth", Variant("d", 1.0), "not d"), ("queue_depth", Variant("as", ["1"]), "not as"),
                                        ("queue_depth", Variant("i", -1), "queue_depth"), ("no_such", Variant("u", 1), "no_such"),
                                        ("queue_depth", Variant("s", "9" * 100000), "No number"), ("a=b", Variant("u", 1), "a=b"), ("", Variant("u", 1), ""), ("x" * 100000, Variant("u", 1), "odd name")):
                with self.subTest(name[:20]), self.refused(INVALID_ARGS, saying=saying):
                    self.call(target, TARGET, "AddLun", "sa{sv}", "wwid=36000", given(name, value))
            with self.refused(INVALID_ARGS, saying="twice"):
                self.call(target, TARGET, "AddLun", "sa{sv}", "wwid=36000",
                          {"attributes": Variant("a{sv}", Twice("queue_depth", Variant("u", 1)))})
            with self.refused(INVALID_ARGS, saying="64"):
                many = {f"a{n}": Variant("u", 1) for n in range(1000)}
                self.call(target, TARGET, "AddLun", "sa{sv}", "wwid=36000", {"attributes": Variant("a{sv}", many)})

    def test_hostile_arguments(self) -> None:
        target = self.create()
        self.add_lun(target, "wwid=36000", number=3)
        with self.unchanged():
            for wwn in ("naa.500140", WWN + "0", "naa.7001405aabbccdd0", "fc.5001405aabbccdd0", "iqn.2001-04.x", "naa.5001405aabbccd/", "..",
                        "naa.5001405aabbccdd0\n", "x" * (1 << 20), "größer"):
                with self.subTest(wwn[:30]), self.refused("InvalidWwn"):
                    self.create(wwn)
                with self.subTest(wwn[:30]), self.refused("InvalidWwn"):
                    self.manager("GetTarget", "s", wwn)
            with self.refused("InvalidWwn"):
                self.manager("GetTarget", "s", "")
            with self.refused("AlreadyExists", saying=WWN):
                self.create(WWN.upper())
            for source in ("/dev/null", "/dev", "/dev/nosuch", "/proc/self/fd/0", "/dev/x,y", "/dev/x\ny", "wwid=3600,0", "", "sda", "x" * (1 << 20)):
                with self.subTest(source[:30]), self.refused("InvalidSource", "DeviceNotFound"):
                    self.add_lun(target, source)
                with self.subTest(source[:30]), self.refused("InvalidSource", "DeviceNotFound"):
                    self.manager("Export", "sa{sv}", source, {})
            for number, name in ((3, "LunConflict"), (16384, "LunOutOfRange"), (2**32 - 1, "LunOutOfRange")):
                with self.subTest(number), self.refused(name):
                    self.add_lun(target, "wwid=36001", number=number)
            for number, name in ((4, "NotFound"), (16384, "LunOutOfRange"), (2**32 - 1, "LunOutOfRange")):
                with self.subTest(number), self.refused(name):
                    self.call(target, TARGET, "RemoveLun", "ua{sv}", number, {})
            with self.refused(INVALID_ARGS):
                self.call(target, TARGET, "SetLabel", "sa{sv}", "x\ny", {})

    def test_dry_run_and_generation(self) -> None:
        target = self.create()
        lun = self.add_lun(target, "wwid=36000")
        generation = self.get(PATH, MANAGER, "Generation")
        with self.unchanged():
            self.assertEqual(self.create("naa.5001405aabbccdd2", dry_run=True), target_path("naa.5001405aabbccdd2"))
            self.assertEqual(self.add_lun(target, "wwid=36001", dry_run=True), f"{target}/lun/1")
            made = self.manager("Export", "sa{sv}", "wwid=36001", options(dry_run=True, target="naa.5001405aabbccdd2", number=4))
            self.assertEqual(made, (target_path("naa.5001405aabbccdd2"), target_path("naa.5001405aabbccdd2") + "/lun/4"))
            self.call(target, TARGET, "SetLabel", "sa{sv}", "x", options(dry_run=True))
            self.call(lun, LUN, "Remove", "a{sv}", options(dry_run=True))
            self.call(target, TARGET, "Destroy", "a{sv}", options(dry_run=True))
            with self.refused("GenerationMismatch"):
                self.add_lun(target, "wwid=36001", if_generation=generation - 1)
        self.assertEqual(self.get(PATH, MANAGER, "Generation"), generation)
        self.add_lun(target, "wwid=36001", if_generation=generation)
        self.assertGreater(self.get(PATH, MANAGER, "Generation"), generation)

    def test_export(self) -> None:
        target, lun = self.manager("Export", "sa{sv}", "wwid=36000", {})
        self.assertRegex(target, r"/naa_2e5001405[0-9a-f]{9}$")
        self.assertEqual((lun, self.get(lun, LUN, "State")), (f"{target}/lun/0", "online"))
        wwn = self.get(target, TARGET, "Wwn")
        self.assertEqual(self.manager("Export", "sa{sv}", "wwid=36001", options(target=wwn)), (target, f"{target}/lun/1"))
        self.assertEqual(self.manager("Export", "sa{sv}", "wwid=36002", options(target=WWN)), (target_path(WWN), f"{target_path(WWN)}/lun/0"))
        stored = self.host.stored()
        # Refused by what is exported already, after a target was made: that goes again before the answer.
        with self.refused("AlreadyExists", saying="LUN 0"):
            self.manager("Export", "sa{sv}", "wwid=36000", {})
        with self.refused("LunOutOfRange"):
            self.manager("Export", "sa{sv}", "wwid=36003", options(number=20000))
        with self.refused("InvalidWwn"):
            self.manager("Export", "sa{sv}", "wwid=36003", options(target="x"))
        self.host.tell("fail write *enable 5")
        with self.refused("Kernel", saying="enable"):
            self.manager("Export", "sa{sv}", "wwid=36003", {})
        self.assertEqual(self.host.stored(), stored)
        self.assertEqual(len(self.manager("ListTargets")[0]), 2)

    def test_kernel_refuses(self) -> None:
        target = self.create()
        before = self.host.stored()
        self.host.tell("fail symlink * 12")
        with self.refused("Kernel", saying="Cannot allocate memory"):
            self.add_lun(target, "wwid=36000")
        self.host.tell("fail write *enable 16")
        with self.refused("DeviceBusy"):
            self.add_lun(target, "wwid=36000")
        self.host.tell("fail mkdir vhost/*ddf 12")
        with self.refused("Kernel"):
            self.create("naa.5001405aabbccddf")
        self.assertEqual((self.host.stored(), list(self.objects())), (before, [target]))
        self.assertEqual(self.get(PATH, MANAGER, "State"), "running")

    def lun_properties(self) -> dict:
        return {path: o[LUN] for path, o in self.objects().items() if LUN in o}

    def test_destroy_refused_half_way(self) -> None:
        """All of it comes back, also what was down already; but not what was removed for itself meanwhile."""
        target = self.create()
        luns = [self.add_lun(target, f"wwid=3600{n}") for n in range(3)]
        before, stored = self.lun_properties(), self.host.stored()
        for step in (f"vhost/{WWN} 12 2", "*lun_1 12", "core/iblock_2 12"):
            with self.subTest(step):
                self.host.tell(f"fail rmdir {step}")
                with self.refused("Kernel", saying="Cannot allocate memory"):
                    self.call(target, TARGET, "Destroy", "a{sv}", {})
                wait_until("the LUNs", lambda: self.lun_properties() == before)
                self.assertEqual(self.host.stored(), stored)
        self.host.tell("suspend 0")
        serial = self.bus.send("Destroy", "a{sv}", {}, path=target, interface=TARGET, dest=NAME)
        self.call(luns[1], LUN, "Remove", "a{sv}", {})
        self.assertEqual(self.get(target, TARGET, "Luns"), [luns[0], luns[2]])
        self.host.tell(f"fail rmdir vhost/{WWN} 12 2")
        self.host.tell("resume 0")
        with self.refused("Kernel"):
            self.bus.wait(serial, 20)
        del before[luns[1]]
        wait_until("the LUNs", lambda: self.lun_properties() == before)

    def test_destroy_that_hangs(self) -> None:
        """Nobody waits for it any more: then what is down is free for others."""
        target, other = self.create(), self.create("naa.5001405aabbccddf")
        luns = [self.add_lun(target, f"wwid=3600{n}") for n in range(2)]
        self.host.tell("suspend 0")
        with self.refused("TimedOut"):
            self.call(target, TARGET, "Destroy", "a{sv}", options(timeout=300000))
        wait_until("the other LUN", lambda: luns[1] not in self.objects())
        self.assertIn(luns[0], self.objects())
        self.add_lun(other, "wwid=36001")
        self.host.tell("resume 0")
        wait_until("the rest", lambda: target not in self.objects())

    def test_removal_cannot_be_stored(self) -> None:
        """What the kernel did is stored neither as done nor as taken back: it stays as it was stored, and goes on when it can be."""
        target = self.create()
        lun = self.add_lun(target, "wwid=36000")
        new, file = (self.host.dir / "state/targets" / name for name in (f".{WWN}.json.new", f"{WWN}.json"))
        for call in ((lun, LUN, "Remove"), (target, TARGET, "RemoveLun", 0)):
            with self.subTest(call[2]):
                self.host.tell("suspend 0")
                serial = self.bus.send(call[2], "ua{sv}" if call[3:] else "a{sv}", *call[3:], {}, path=call[0], interface=call[1], dest=NAME)
                wait_until("the removal", lambda: self.get(lun, LUN, "State") == "draining")
                stored = file.read_bytes()
                new.mkdir()
                self.host.tell("resume 0")
                with self.refused("StoreFailed", saying="could not be taken back"):
                    self.bus.wait(serial, 20)
                properties = self.get_all(lun, LUN)
                self.assertEqual((properties["State"], properties["LastError"][0]), ("draining", "StoreFailed"))
                self.assertEqual(file.read_bytes(), stored)
                self.assertIs(json.loads(stored)["luns"][0]["wanted"], False)
                new.rmdir()
                wait_until("the end", lambda: lun not in self.objects())
                self.assertEqual(json.loads(file.read_bytes())["luns"], [])
                self.assertEqual(self.add_lun(target, "wwid=36000"), lun)

    def test_absent_device_waits(self) -> None:
        target = self.create()
        lun = self.add_lun(target, "wwid=36009")
        values = self.get_all(lun, LUN)
        self.assertEqual((values["State"], values["Device"], values["Size"]), ("waiting", "", 0))
        self.assertEqual(self.get(target, TARGET, "State"), "incomplete")
        self.host.tell("disk 9 4096")
        wait_until("the LUN", lambda: self.get(lun, LUN, "State") == "online")
        self.assertEqual((self.get(lun, LUN, "Size"), self.get(target, TARGET, "State")), (4096, "online"))

    def test_devices(self) -> None:
        target = self.create()
        lun = self.add_lun(target, "wwid=36002")
        devices = plain(self.manager("ListDevices", "a{sv}", {})[0])
        self.assertEqual([d["name"] for d in devices], ["fake0", "fake1", "fake2", "fake3"])
        self.assertEqual(devices[2], {"path": "/dev/fake2", "name": "fake2", "type": "disk", "model": "", "identity": "wwid=36002",
                                      "size": 1 << 20, "verdict": "usable", "reason": "", "luns": [lun]})

    def test_foreign(self) -> None:
        self.host.tell("foreign naa.6001405000000001 1")
        self.manager("Rescan")
        path = target_path("naa.6001405000000001")
        values = self.get_all(path, TARGET)
        self.assertEqual((values["State"], values["ManagedBy"], values["Endpoint"], values["Luns"]),
                         ("foreign", "foreign", "unknown", [f"{path}/lun/0"]))
        values = self.get_all(f"{path}/lun/0", LUN)
        self.assertEqual((values["Backstore"], values["Source"]), ("iblock_501/theirs", ""))
        with self.unchanged():
            for member, sig, args in (("AddLun", "sa{sv}", ["wwid=36000", {}]), ("RemoveLun", "ua{sv}", [0, {}]), ("Destroy", "a{sv}", [{}]),
                                      ("SetLabel", "sa{sv}", ["x", {}]), ("Destroy", "a{sv}", [options(force=True)])):
                with self.subTest(member), self.refused("Foreign"):
                    self.call(path, TARGET, member, sig, *args)
            with self.refused("AlreadyExists", saying="somebody else"):
                self.create("naa.6001405000000001")
            with self.refused("Foreign"):
                self.manager("Export", "sa{sv}", "wwid=36000", options(target="naa.6001405000000001"))

    def test_guest(self) -> None:
        target = self.create()
        lun = self.add_lun(target, "wwid=36000")
        self.host.tell(f"attach {WWN}")
        time.sleep(0.2)
        self.assertEqual(self.get(target, TARGET, "Endpoint"), "attached")
        with self.unchanged():
            for path, interface, member, sig, args in ((target, TARGET, "Destroy", "a{sv}", []), (lun, LUN, "Remove", "a{sv}", []),
                                                       (target, TARGET, "RemoveLun", "ua{sv}", [0])):
                with self.subTest(member), self.refused("InUse", saying=WWN):
                    self.call(path, interface, member, sig, *args, {})
        self.host.tell(f"detach {WWN}")
        # Asked anew for each removal, however fresh the last answer is.
        self.call(lun, LUN, "Remove", "a{sv}", {})
        self.add_lun(target, "wwid=36000")
        self.host.tell(f"attach {WWN}")
        self.call(target, TARGET, "RemoveLun", "ua{sv}", 0, options(force=True))
        self.assertEqual(self.get(target, TARGET, "Luns"), [])
        self.host.tell(f"detach {WWN}")

    def test_restart(self) -> None:
        target = self.create(label="x")
        lun = self.add_lun(target, "wwid=36000", number=9)
        waiting = self.add_lun(target, "wwid=36009")
        names = ("Nexus", "Label", "Luns", "State"), ("UnitSerial", "GuestWwid", "Backstore", "Source", "State")
        before = [[self.get(p, i, n) for n in ns] for p, i, ns in ((target, TARGET, names[0]), (lun, LUN, names[1]), (waiting, LUN, names[1]))]
        self.assertEqual(self.host.stop(), 0, self.host.logged())
        self.host.start()
        wait_until("the LUN", lambda: self.get(lun, LUN, "State") == "online")
        after = [[self.get(p, i, n) for n in ns] for p, i, ns in ((target, TARGET, names[0]), (lun, LUN, names[1]), (waiting, LUN, names[1]))]
        self.assertEqual(after, before)

    def test_removal_that_hangs(self) -> None:
        target = self.create()
        lun = self.add_lun(target, "wwid=36000")
        self.add_lun(target, "wwid=36001")
        self.host.tell("suspend 0")
        serial = self.bus.send("Remove", "a{sv}", {}, path=lun, interface=LUN, dest=NAME)
        wait_until("the removal", lambda: self.objects()[lun][LUN]["State"] == "draining")
        slowest = 0.0
        for _ in range(50):
            begin = time.monotonic()
            self.get(lun, LUN, "State")
            self.objects()
            slowest = max(slowest, time.monotonic() - begin)
        self.assertLess(slowest, 0.5)
        with self.refused("TimedOut"):
            self.call(lun, LUN, "Remove", "a{sv}", options(timeout=100000))
        self.host.tell("resume 0")
        self.assertEqual(self.bus.wait(serial, 20), ())
        self.assertNotIn(lun, self.objects())

    def test_endpoint_of_a_failed_target(self) -> None:
        """A target that is tried again later is asked now."""
        target = self.create()
        lun = self.add_lun(target, "wwid=36000")
        for _ in range(3):
            self.host.tell("fail unlink * 5")
            with self.refused("Kernel"):
                self.call(lun, LUN, "Remove", "a{sv}", {})
        begin = time.monotonic()
        self.assertEqual(self.get_all(target, TARGET)["Endpoint"], "idle")
        self.assertLess(time.monotonic() - begin, 1)


class Statistics(BusTest):
    FABRIC_COUNTERS: dict = {}

    def test_statistics(self) -> None:
        """Of each LUN that is up; and what the fabric's module counts, where it does."""
        target = self.create()
        lun = self.add_lun(target, "wwid=36000", number=7)
        waiting = self.add_lun(target, "wwid=36009")
        place = self.get(lun, LUN, "Backstore")
        values = {f"vhost/{WWN}/tpgt_1/lun/lun_7/statistics/scsi_tgt_port/in_cmds": 1000,
                  f"vhost/{WWN}/tpgt_1/lun/lun_7/statistics/scsi_tgt_port/read_mbytes": 5,
                  f"vhost/{WWN}/tpgt_1/lun/lun_7/statistics/scsi_tgt_port/write_mbytes": (1 << 44) - 1,
                  f"core/{place}/statistics/scsi_tgt_dev/resets": 3, f"core/{place}/statistics/scsi_tgt_dev/aborts_complete": 2}
        for path, value in values.items():
            self.host.tell(f"set {path} {value}")
        counted = {"commands": 1000, "read-bytes": 5 << 20, "written-bytes": (1 << 64) - (1 << 20), "resets": 3, "aborts": 2}
        with self.unchanged():
            self.assertEqual(self.call(lun, LUN, "GetStatistics")[0], counted)
            self.assertEqual(self.call(waiting, LUN, "GetStatistics")[0], {})
            self.assertEqual(self.call(target, TARGET, "GetStatistics")[0], {"lun/7": counted} | self.FABRIC_COUNTERS)
        # Together, each is answered, and rightly.
        asked = [(self.bus.send("GetStatistics", "", path=path, interface=interface, dest=NAME), path)
                 for path, interface in ((lun, LUN), (target, TARGET)) * 20]
        for serial, path in asked:
            self.assertEqual(self.bus.wait(serial, 20)[0], counted if path == lun else {"lun/7": counted} | self.FABRIC_COUNTERS)

    def test_statistics_of_one_that_drains(self) -> None:
        """It is left alone, and the others tell."""
        target = self.create()
        lun = self.add_lun(target, "wwid=36000")
        self.add_lun(target, "wwid=36001")
        self.host.tell("suspend 0")
        serial = self.bus.send("Remove", "a{sv}", {}, path=lun, interface=LUN, dest=NAME)
        wait_until("the removal", lambda: self.objects()[lun][LUN]["State"] == "draining")
        self.assertEqual(set(self.call(target, TARGET, "GetStatistics")[0]), {"lun/1"} | set(self.FABRIC_COUNTERS))
        self.assertEqual(self.call(lun, LUN, "GetStatistics")[0], {})
        self.host.tell("resume 0")
        self.assertEqual(self.bus.wait(serial, 20), ())

    def test_statistics_of_a_foreign_target(self) -> None:
        self.host.tell("foreign naa.6001405000000001 1")
        self.manager("Rescan")
        zero = {"commands": 0, "read-bytes": 0, "written-bytes": 0, "resets": 0, "aborts": 0}
        self.assertEqual(self.call(target_path("naa.6001405000000001"), TARGET, "GetStatistics")[0], {"lun/0": zero} | self.FABRIC_COUNTERS)


class BundledStatistics(Statistics):
    FABRIC = "bundled"
    FABRIC_COUNTERS = {"fabric": dict.fromkeys(("requests", "read-bytes", "written-bytes", "errors", "kicks", "signals", "in-flight"), 0)}


class GuestDevice(BusTest):
    """GetQemuArguments and GetLibvirtXml; every form of them is in test-qemu-device."""

    def arguments(self, target: str, **given) -> list[str]:
        return self.call(target, TARGET, "GetQemuArguments", "a{sv}", options(**given))[0]

    def xml(self, target: str, **given) -> str:
        return self.call(target, TARGET, "GetLibvirtXml", "a{sv}", options(**given))[0]

    def test_forms(self) -> None:
        target = self.create()
        self.add_lun(target, "wwid=36000")
        with self.unchanged():
            self.assertEqual(self.arguments(target), ["-device", f"vhost-scsi-pci,wwpn={WWN}"])
            self.assertEqual(self.arguments(target, bus="pci", addr="0x5", boot=1, queues=4, migratable=True,
                                            **{"qemu-version": "10.2"}),
                             ["-device", f"vhost-scsi-pci,wwpn={WWN},bus=pci.0,addr=0x5,bootindex=1,boot_tpgt=1,num_queues=4,hotplug=on,"
                              "migratable=on"])
            self.assertEqual(self.arguments(target, bus="ccw", devno="fe.0.1000"), ["-device", f"vhost-scsi-ccw,wwpn={WWN},devno=fe.0.1000"])

            hostdev = ElementTree.fromstring(self.xml(target, address="0000:00:05.0"))
            self.assertEqual(hostdev.attrib, {"mode": "subsystem", "type": "scsi_host"})
            self.assertEqual(hostdev.find("source").attrib, {"protocol": "vhost", "wwpn": WWN})
            self.assertEqual(hostdev.find("address").attrib,
                             {"type": "pci", "domain": "0x0000", "bus": "0x00", "slot": "0x05", "function": "0x0"})
            both = ElementTree.fromstring(f"<both>{self.xml(target, boot=1)}</both>")
            qemu = "{http://libvirt.org/schemas/domain/qemu/1.0}"
            self.assertEqual([e.tag for e in both], ["hostdev", f"{qemu}override"])
            self.assertEqual(both[0].find("alias").get("name"), both[1].find(f"{qemu}device").get("alias"))
            self.assertEqual({p.get("name"): p.get("value") for p in both[1].iter(f"{qemu}property")}, {"bootindex": "1", "boot_tpgt": "1"})

    def test_refused(self) -> None:
        target = self.create()
        for member, sig in (("GetQemuArguments", "as"), ("GetLibvirtXml", "s")):
            with self.subTest(member):
                for given, saying in (({"no-such": True}, "no-such"), ({"boot": "1"}, "boot"), ({"qemu-version": "new"}, "version of QEMU"),
                                      ({"queues": 1000}, "1 to 128"), ({"force": True}, "force")):
                    with self.refused(INVALID_ARGS, saying=saying):
                        self.call(target, TARGET, member, "a{sv}", options(**given))
                with self.refused("NotFound", saying="LUN 0"):
                    self.call(target, TARGET, member, "a{sv}", options(boot=1))
                with self.refused(UNKNOWN_OBJECT):
                    self.call(target_path("naa.5001405000000000"), TARGET, member, "a{sv}", {})
        for given in ({"bus": "isa"}, {"addr": "x"}, {"bus": "ccw", "devno": "x"}, {"address": "0x5"}):
            with self.subTest(given), self.refused(INVALID_ARGS):
                self.arguments(target, **given)
        for given in ({"address": "x"}, {"bus": "pci"}):
            with self.subTest(given), self.refused(INVALID_ARGS):
                self.xml(target, **given)

    def test_everybody_may_ask(self) -> None:
        target, nobody = self.create(), self.as_nobody()
        self.assertEqual(self.call(target, TARGET, "GetQemuArguments", "a{sv}", {}, bus=nobody)[0], self.arguments(target))
        self.assertEqual(self.call(target, TARGET, "GetLibvirtXml", "a{sv}", {}, bus=nobody)[0], self.xml(target))

    def test_foreign(self) -> None:
        self.host.tell("foreign naa.6001405000000001 1")
        self.manager("Rescan")
        path = target_path("naa.6001405000000001")
        self.assertEqual(self.arguments(path, boot=1),
                         ["-device", "vhost-scsi-pci,wwpn=naa.6001405000000001,bootindex=1,boot_tpgt=1"])
        self.assertIn("wwpn='naa.6001405000000001'", self.xml(path))


class Documents(BusTest):
    """Whole configurations over a descriptor."""

    def document(self, *targets: dict, **more) -> int:
        return self.memfd(json.dumps({"format": "vhscsid", "version": 1, "targets": list(targets), **more}).encode())

    def memfd(self, content: bytes) -> int:
        fd = os.memfd_create("document")
        self.addCleanup(os.close, fd)
        os.write(fd, content)
        return fd

    def lines(self, member: str, *args) -> list[tuple[str, str]]:
        return [(o.replace(WWN, "T"), a) for o, a, _ in self.manager(member, *args)[0]]

    def test_apply_and_dump(self) -> None:
        doc = self.document({"wwn": WWN, "label": "web", "luns": [{"number": 3, "source": "wwid=36001"}, {"number": 4, "source": "wwid=36009"}]})
        made = [("T", "create"), ("T/lun 3", "create"), ("T/lun 4", "create")]
        self.assertEqual(self.lines("Plan", "ha{sv}", doc, {}), made)
        self.assertEqual(self.manager("ListTargets")[0], [])
        self.assertEqual(self.lines("Apply", "ha{sv}", doc, {"dry-run": Variant("b", True)}), made)
        self.assertEqual(self.manager("ListTargets")[0], [])
        self.assertEqual(self.lines("Apply", "ha{sv}", doc, {}), made)
        target = target_path(WWN)
        # When the reply is there, a Get agrees.
        self.assertEqual([self.get(f"{target}/lun/{n}", LUN, "State") for n in (3, 4)], ["online", "waiting"])
        self.assertEqual(self.get(target, TARGET, "Label"), "web")
        generation = self.get(PATH, MANAGER, "Generation")
        self.assertEqual({a for _, a in self.lines("Apply", "ha{sv}", doc, {})}, {"keep"})
        self.assertEqual(self.get(PATH, MANAGER, "Generation"), generation)

        fd, = self.manager("ExportConfig", "sa{sv}", "native", {"portable": Variant("b", True)})
        self.addCleanup(os.close, fd)
        dumped = json.loads(os.read(fd, 1 << 20))
        self.assertEqual([lun["source"] for lun in dumped["targets"][0]["luns"]], ["wwid=36001", "wwid=36009"])
        self.call(target, TARGET, "Destroy", "a{sv}", {})
        self.assertEqual(self.lines("ImportConfig", "sha{sv}", "native", self.memfd(json.dumps(dumped).encode()), {}), made)
        self.assertEqual(self.get(f"{target}/lun/3", LUN, "Origin"), "import")
        fd, = self.manager("ExportConfig", "sa{sv}", "targetcli", options(target=WWN, partly=True))
        self.addCleanup(os.close, fd)
        saved = json.loads(os.read(fd, 1 << 20))
        self.assertEqual([t["fabric"] for t in saved["targets"]], ["vhost"])

    def test_whose_failure(self) -> None:
        """What the kernel refuses of a document is the answer, and says of which LUN and which step; what was wrong before is nobody's."""
        luns = [{"number": 0, "source": "wwid=36001"}, {"number": 1, "source": "wwid=36009"}, {"number": 2, "source": "wwid=36002"},
                {"number": 3, "source": "wwid=36003"}]
        self.manager("Apply", "ha{sv}", self.document({"wwn": WWN, "luns": luns[:2]}), {})
        target = target_path(WWN)
        self.host.tell(f"fail write core/{self.get(f'{target}/lun/1', LUN, 'Backstore')}/enable 5 1000")
        self.host.tell("disk 9")
        wait_until("the failure", lambda: self.get(f"{target}/lun/1", LUN, "State") == "failed")
        doc = self.document({"wwn": WWN, "label": "web", "luns": luns[:3]})
        self.assertEqual([a for _, a in self.lines("Apply", "ha{sv}", doc, {})], ["change", "keep", "keep", "create"])
        self.assertEqual(self.get(f"{target}/lun/1", LUN, "State"), "failed")

        self.host.tell("fail mkdir *lun_3 12")
        with self.refused("Kernel", saying=f"target {WWN}, LUN 3: mkdir vhost/{WWN}/tpgt_1/lun/lun_3: Cannot allocate memory"):
            self.manager("Apply", "ha{sv}", self.document({"wwn": WWN, "luns": luns}), {})

    def identity(self, target: str) -> tuple:
        """What a guest, and a reservation of it, knows the target and its disks by."""
        luns = [self.get_all(path, LUN) for path in self.get(target, TARGET, "Luns")]
        return (self.get(target, TARGET, "Wwn"), self.get(target, TARGET, "Nexus"),
                [(n["Number"], n["UnitSerial"], n["GuestWwid"], n["Backstore"].partition("/")[2], n["ReadOnly"], n["State"]) for n in luns])

    def test_to_another_host(self) -> None:
        """One target, from one daemon to another that knows nothing: the guest there finds what it had here."""
        self.create()
        target = self.create("", seed="9a6b1c52-6a4f-4a60-8a5b-0d6a1a9d1f55")
        self.add_lun(target, "wwid=36001", number=3)
        self.add_lun(target, "wwid=36002", number=300, name="data", serial="0123456789abcdef0123456789", readonly=True)
        here = self.identity(target)
        fd, = self.manager("ExportConfig", "sa{sv}", "native", options(target=here[0], portable=True))
        self.addCleanup(os.close, fd)

        other = Host()
        self.addCleanup(other.close)
        self.bus = Bus(other.socket)
        self.addCleanup(self.bus.close)
        # The same name without the document, too; the nexus is all that does not follow from seed and disks.
        self.assertEqual(self.create("", seed="9a6b1c52-6a4f-4a60-8a5b-0d6a1a9d1f55"), target)
        self.assertNotEqual(self.get(target, TARGET, "Nexus"), here[1])
        self.call(target, TARGET, "Destroy", "a{sv}", {})
        self.assertEqual([a for _, a, _ in self.manager("ImportConfig", "sha{sv}", "native", fd, {})[0]], ["create"] * 3)
        self.assertEqual([wwn for _, wwn in self.manager("ListTargets")[0]], [target])
        self.assertEqual(self.identity(target), here)
        self.assertEqual(other.stop(), 0, other.logged())

    def test_prune(self) -> None:
        target = self.create()
        self.add_lun(target, "wwid=36001")
        empty = self.document()
        self.assertEqual(self.lines("Apply", "ha{sv}", empty, {}), [])
        self.assertEqual(self.lines("Plan", "ha{sv}", empty, {"prune": Variant("b", True)}), [("T", "remove")])
        self.assertEqual(self.lines("Apply", "ha{sv}", empty, {"prune": Variant("b", True)}), [("T", "remove")])
        self.assertEqual(self.manager("ListTargets")[0], [])

    def test_targetcli(self) -> None:
        saved = {"storage_objects": [{"plugin": "block", "name": "disk1", "dev": "/dev/fake1", "wwn": "0d9b5c2e-1111-2222-3333-444455556666",
                                      "readonly": False, "write_back": False, "attributes": {}},
                                     {"plugin": "ramdisk", "name": "ram", "size": 1048576, "wwn": "x", "attributes": {}}],
                 "targets": [{"fabric": "vhost", "wwn": WWN, "tpgs": [{"tag": 1, "enable": True, "luns": [
                     {"index": 2, "storage_object": "/backstores/block/disk1", "alias": "a"},
                     {"index": 5, "storage_object": "/backstores/ramdisk/ram", "alias": "b"}]}]},
                     {"fabric": "iscsi", "wwn": "iqn.2003-01.org.x:1", "tpgs": []}]}
        lines = self.manager("ImportConfig", "sha{sv}", "targetcli", self.memfd(json.dumps(saved).encode()), {})[0]
        # The machine of this test has no such path; what is refused does not keep the target.
        self.assertEqual([(o.replace(WWN, "T"), a) for o, a, _ in lines if a != "note"], [("T", "create"), ("T/lun 2", "refuse")])
        self.assertEqual(self.manager("ListTargets")[0], [(WWN, target_path(WWN))])
        notes = " ".join(f"{o} {n}" for o, a, n in lines if a == "note")
        for word in ("iscsi", "ram"):
            self.assertIn(word, notes)

    def saveconfig(self, targets: int, luns: int) -> dict:
        """As targetcli writes it, with disks that may come later."""
        names = [[f"disk{t}-{n}" for n in range(luns)] for t in range(targets)]
        return {
            "fabric_modules": [],
            "storage_objects": [{"plugin": "block", "name": name, "dev": f"/dev/disk/by-id/dm-uuid-LAB-{name}", "readonly": False, "write_back": False,
                                 "wwn": f"{t:04x}{n:04x}-1111-4222-8333-444455556666", "attributes": {"emulate_tpu": 0}, "alua_tpgs": []}
                                for t, part in enumerate(names) for n, name in enumerate(part)],
            "targets": [{"fabric": "vhost", "wwn": f"naa.50014050000000{t:02x}", "tpgs": [
                {"tag": 1, "enable": True, "attributes": {}, "parameters": {}, "node_acls": [], "portals": [],
                 "luns": [{"index": n, "storage_object": f"/backstores/block/{name}", "alias": f"{n:010x}", "alua_tg_pt_gp_name": "default_tg_pt_gp"}
                          for n, name in enumerate(part)]}]} for t, part in enumerate(names)]}

    def test_ten_thousand(self) -> None:
        """A large one, whole: all of it is there afterwards, and a second time there is nothing left to do."""
        fd = self.memfd(json.dumps(self.saveconfig(4, 2500)).encode())
        for action in ("create", "keep"):
            lines = self.manager("ImportConfig", "sha{sv}", "targetcli", fd, {}, timeout=120)[0]
            self.assertEqual([a for _, a, _ in lines if a not in ("note", "info")], [action] * 10004)
        targets = self.manager("ListTargets")[0]
        self.assertEqual([len(self.get(path, TARGET, "Luns")) for _, path in targets], [2500] * 4)
        self.assertEqual(self.get(PATH, MANAGER, "State"), "running")

    def test_hostile(self) -> None:
        """Each is refused with one clear line, and the daemon lives."""
        whole = json.dumps(self.saveconfig(1, 2)).encode()
        bad = [whole[:n] for n in range(len(whole))]
        bad += [b"[" * 10000, b'{"targets":' * 10000, b'{"storage_objects":' + b"[" * 10000 + b"]" * 10000 + b"}",
                b'{"targets":[],"targets":[]}', b'{"storage_objects":[{"name":"a","name":"b"}]}', b'{"targets":[1]}', b'{"targets":{}}', b'{}', b'"x"',
                b'{"targets":[' + b"1," * 1100000 + b"1]}", b"\xff" * 100, b"\0" + whole, whole + whole]
        for text in bad:
            fd = os.memfd_create("document")
            os.write(fd, text)
            try:
                with self.assertRaises(BusError) as caught:
                    self.manager("ImportConfig", "sha{sv}", "targetcli", fd, {})
            finally:
                os.close(fd)
            said = caught.exception
            self.assertEqual((said.name, "\n" in said.message), (f"{NAME}.Error.ImportRejected", False), (text[:80], said))
            self.assertLess(len(said.message), 300)
        fd = self.memfd(b"")
        os.ftruncate(fd, (64 << 20) + 1)
        with self.refused("ImportRejected", saying="larger than"):
            self.manager("ImportConfig", "sha{sv}", "targetcli", fd, {})
        self.assertEqual(self.manager("ListTargets")[0], [])
        lines = self.manager("ImportConfig", "sha{sv}", "targetcli", self.memfd(whole), {})[0]
        self.assertEqual([a for _, a, _ in lines if a != "info"], ["create"] * 3)

    def test_one_target(self) -> None:
        """Of a document that has several, and what is said of the others is not said."""
        other = WWN[:-1] + ("0" if WWN[-1] != "0" else "1")
        saved = {"storage_objects": [], "targets": [
            {"fabric": "vhost", "wwn": wwn, "tpgs": [{"tag": 1, "luns": [], "what": 1}]} for wwn in (other, WWN)]}
        fd = self.memfd(json.dumps(saved).encode())
        lines = self.manager("ImportConfig", "sha{sv}", "targetcli", fd, options(target=WWN.upper().replace("NAA.", "0x")))[0]
        self.assertEqual([(o, a) for o, a, _ in lines], [(WWN, "create"), (WWN, "note")])
        self.assertEqual([w for w, _ in self.manager("ListTargets")[0]], [WWN])
        for wwn, why in ((WWN[:-2] + "zz", "InvalidWwn"), (WWN[:-3] + "777", "NotFound")):
            with self.refused(why):
                self.manager("ImportConfig", "sha{sv}", "targetcli", fd, options(target=wwn))
        with self.refused(INVALID_ARGS):
            self.manager("Apply", "ha{sv}", self.document(), options(target=WWN))

    def test_nothing_is_lost_silently(self) -> None:
        """What targetcli has no words for is a refusal, or is left out as asked for; and it is told."""
        target = self.create(label="web")
        self.add_lun(target, "wwid=36001", number=1)
        for n in (8, 9):
            self.add_lun(target, f"wwid=3600{n}", number=n)             # not there
        with self.refused("ImportRejected", saying=f"2 LUNs cannot be said in this format. The first is {WWN}/lun 8: wwid=36008 is not there"):
            self.manager("ExportConfig", "sa{sv}", "targetcli", {})
        fd, = self.manager("ExportConfig", "sa{sv}", "targetcli", options(partly=True))
        self.addCleanup(os.close, fd)
        saved = json.loads(os.read(fd, 1 << 20))
        self.assertEqual([lun["index"] for lun in saved["targets"][0]["tpgs"][0]["luns"]], [1])
        losses = self.manager("CheckExport", "sa{sv}", "targetcli", {})[0]
        self.assertEqual([(o.replace(WWN, "T"), a) for o, a, _ in losses],
                         [("T/lun 8", "refuse"), ("T/lun 9", "refuse"), ("T", "note"), ("file", "note")])
        self.assertRegex(losses[2][2], "nexus.*label")
        self.assertEqual(self.manager("CheckExport", "sa{sv}", "native", {})[0], [])
        with self.refused("NotFound"):
            self.manager("CheckExport", "sa{sv}", "native", options(target=WWN[:-3] + "777"))
        self.host.tell("disk 8")
        self.host.tell("disk 9")
        wait_until("the disks", lambda: [self.get(f"{target}/lun/{n}", LUN, "State") for n in (8, 9)] == ["online"] * 2)
        fd, = self.manager("ExportConfig", "sa{sv}", "targetcli", {})
        self.addCleanup(os.close, fd)
        self.assertEqual(len(json.loads(os.read(fd, 1 << 20))["storage_objects"]), 3)

    def test_refused(self) -> None:
        pipe, other = os.pipe()
        self.addCleanup(os.close, pipe)
        self.addCleanup(os.close, other)
        bad = [(pipe, INVALID_ARGS), (self.memfd(b""), "ImportRejected"), (self.memfd(b"{"), "ImportRejected"),
               (self.memfd(b"[" * 100000), "ImportRejected"), (self.memfd(b"\xff\0"), "ImportRejected"),
               (self.document(surprise=1), "ImportRejected"), (self.document(version=99), "ConfigTooNew"),
               (self.document({"wwn": "naa.1", "luns": []}), "ImportRejected"),
               (self.document({"wwn": WWN, "luns": [{"number": 0, "source": "/dev/nothing"}]}), "DeviceNotFound")]
        for n, (fd, name) in enumerate(bad):
            for member in ("Plan", "Apply"):
                with self.subTest(f"{n} {member}"):
                    if (member, name) == ("Plan", "DeviceNotFound"):
                        self.assertEqual(self.lines(member, "ha{sv}", fd, {}), [("T", "create"), ("T/lun 0", "refuse")])
                        continue
                    with self.refused(name):
                        self.manager(member, "ha{sv}", fd, {})
        self.assertEqual(self.manager("ListTargets")[0], [])
        with self.refused(INVALID_ARGS):
            self.manager("ImportConfig", "sha{sv}", "xml", self.document(), {})
        with self.refused(INVALID_ARGS):
            self.manager("ImportConfig", "sha{sv}", "native", self.document(), {"prune": Variant("b", True)})
        with self.refused("NotFound"):
            self.manager("ExportConfig", "sa{sv}", "native", {"target": Variant("s", WWN)})


class Problems(BusTest):
    """What in the state directory cannot be used: the daemon runs, and says so."""

    def restart(self) -> dict[str, str]:
        self.assertEqual(self.host.stop(), 0, self.host.logged())
        self.host.start()
        problems = dict(self.get(PATH, MANAGER, "Problems"))
        self.assertEqual(self.get(PATH, MANAGER, "State"), "degraded" if problems else "running")
        return problems

    def test_problems(self) -> None:
        target = self.create()
        self.add_lun(target, "wwid=36001")
        state = self.host.dir / "state"
        self.assertEqual(self.restart(), {})

        (state / f"targets/{WWN}.json").chmod(0o666)
        before = self.host.stored()
        self.assertEqual(self.restart(), {WWN: "others may write it"})
        self.assertEqual(self.host.stored(), before)
        with self.refused("ConfigCorrupt"):
            self.create()
        (state / f"targets/{WWN}.json").chmod(0o600)

        (state / "removed.json").write_text("{")
        (state / "removed.json.bad").mkdir()
        problems = self.restart()
        self.assertEqual(list(problems), ["removed.json"])
        self.assertIn("not JSON", problems["removed.json"])
        self.assertEqual(self.get(f"{target}/lun/0", LUN, "State"), "online")
        (state / "removed.json").unlink()
        (state / "removed.json.bad").rmdir()

        (state / "history").rename(state / "gone")
        (state / "history").write_text("x")
        problems = self.restart()
        self.assertEqual(list(problems), ["history"])
        self.assertIn("nothing can be changed", problems["history"])
        with self.refused("StoreFailed"):
            self.call(target, TARGET, "SetLabel", "sa{sv}", "x", {})
        (state / "history").unlink()
        (state / "gone").rename(state / "history")
        self.assertEqual(self.restart(), {})


    def test_healed(self) -> None:
        """What can be read again is no problem any more, and that is told."""
        removed = self.host.dir / "state/removed.json"
        removed.write_text('{"version":1,"removed":[]}')
        removed.chmod(0o666)
        self.assertEqual(list(self.restart()), ["removed.json"])
        removed.chmod(0o600)
        self.bus.match(f"type='signal',sender='{NAME}',path='{PATH}'")
        target = self.create()
        self.add_lun(target, "wwid=36000")
        told: dict = {}
        for signal in self.bus.drain():
            if signal.member == "PropertiesChanged":
                told |= plain(signal.args[1])
        self.assertEqual((told["State"], told["Problems"]), ("running", []))
        self.assertEqual(self.get(PATH, MANAGER, "Problems"), [])


class Gate(BusTest):
    """Before a guest is started."""

    def check(self, wwn: str = WWN, **how) -> list[str]:
        ready, problems = plain(self.manager("Check", "sa{sv}", wwn, {}, **how))
        self.assertEqual(ready, not problems)
        self.assertTrue(all(detail for _, detail in problems), problems)
        return [code for code, _ in problems]

    def test_check(self) -> None:
        self.assertEqual(self.check(), ["missing"])
        with self.refused("InvalidWwn"):
            self.check("naa.zzz")
        target = self.create()
        self.assertEqual(self.check(WWN.upper().replace("NAA.", "0x")), [])
        self.add_lun(target, "wwid=36000", number=1)
        self.add_lun(target, "wwid=36009", number=2)
        self.assertEqual(self.check(), ["lun-waiting"])
        self.host.tell("disk 9")
        wait_until("the LUN", lambda: self.check() == [])
        self.host.tell("suspend 0")
        self.assertEqual(self.check(), ["lun-degraded"])
        self.host.tell("resume 0")
        self.host.tell("node 0")
        self.assertEqual(self.check(), ["no-node"])
        self.host.tell("node 1")
        self.assertEqual(self.check(), [])
        self.host.tell(f"attach {WWN}")
        wait_until("the guest is seen", lambda: self.check() == ["in-use"])
        self.host.tell(f"detach {WWN}")
        wait_until("the guest is gone", lambda: self.check() == [])

    def test_check_of_others(self) -> None:
        self.host.tell("foreign naa.5001405aabbccdd1 2")
        self.manager("Rescan")
        self.assertEqual(self.check("naa.5001405aabbccdd1"), [])
        (self.host.dir / "state/targets/naa.5001405aabbccdd2.json").write_text("{")
        self.assertEqual(self.host.stop(), 0)
        self.host.start()
        self.assertEqual(self.check("naa.5001405aabbccdd2"), ["corrupt"])

    def test_check_while_it_comes_up(self) -> None:
        target = self.create()
        self.host.tell("fail write *enable* 5")
        with self.refused("Kernel"):
            self.add_lun(target, "wwid=36000")
        self.add_lun(target, "wwid=36009")
        self.host.tell("fail write *enable* 5")
        self.host.tell("disk 9")
        wait_until("the failure", lambda: self.check() == ["lun-failed"])
        wait_until("the next try", lambda: self.check() == [])


class History(BusTest):
    """What was, who changed it, and the way back."""

    def history(self) -> list[tuple]:
        return self.manager("History", "a{sv}", {})[0]

    def document(self, **more) -> dict:
        fd, = self.manager("ExportConfig", "sa{sv}", "native", options(**more))
        self.addCleanup(os.close, fd)
        return json.loads(os.read(fd, 1 << 20))

    def test_back(self) -> None:
        self.assertEqual(self.history(), [])
        begin = time.time()
        target = self.create()
        self.add_lun(target, "wwid=36001")
        then, before = self.get(PATH, MANAGER, "Generation"), self.document()
        self.call(target, TARGET, "SetLabel", "sa{sv}", "web", {})
        self.call(target, TARGET, "Destroy", "a{sv}", {})

        entries = self.history()
        self.assertEqual([e[4] for e in entries],
                         [f"destroy {WWN}", f"set-label {WWN} web", f"add-lun {WWN} wwid=36001 as LUN 0", f"create {WWN}"])
        for generation, at, uid, program, _, targets in entries:
            self.assertLess(abs(at / 1e6 - begin), 60)
            self.assertEqual((uid, targets), (os.geteuid(), [WWN]))
            self.assertEqual(program, pathlib.Path("/proc/self/comm").read_text("utf-8").strip().replace(" ", "_"))
            self.assertLessEqual(generation, self.get(PATH, MANAGER, "Generation"))
        self.assertEqual(entries[2][0], then)

        self.assertEqual(self.document(generation=then), before)
        self.assertEqual(self.document(generation=then, target=WWN), before)
        self.assertEqual(self.document(generation=entries[-1][0] - 1)["targets"], [])
        self.assertEqual(self.document(generation=entries[1][0])["targets"][0]["label"], "web")
        for generation in (0, entries[-1][0] - 2, self.get(PATH, MANAGER, "Generation") + 1, 2**64 - 1):
            with self.refused("NotFound"):
                self.manager("ExportConfig", "sa{sv}", "native", options(generation=generation))
            with self.refused("NotFound"):
                self.manager("Rollback", "ta{sv}", generation, {})

        plan = [(WWN, "create"), (f"{WWN}/lun 0", "create")]
        self.assertEqual([line[:2] for line in self.manager("Rollback", "ta{sv}", then, {"dry-run": Variant("b", True)})[0]], plan)
        self.assertEqual(self.manager("ListTargets")[0], [])
        with self.refused("GenerationMismatch"):
            self.manager("Rollback", "ta{sv}", then, {"if-generation": Variant("t", then)})
        self.assertEqual([line[:2] for line in self.manager("Rollback", "ta{sv}", then, {})[0]], plan)
        self.assertEqual(self.document(), before)
        self.assertEqual(self.get(f"{target}/lun/0", LUN, "State"), "online")
        self.assertEqual(self.history()[0][4], f"rollback {then}")
        self.assertEqual({a for _, a, _ in self.manager("Rollback", "ta{sv}", then, {})[0]}, {"keep"})
        self.assertEqual(len(self.history()), 5)

    def test_export_is_one_change(self) -> None:
        self.manager("Export", "sa{sv}", "wwid=36001", {"target": Variant("s", WWN)})
        self.assertEqual([e[4] for e in self.history()], ["export wwid=36001"])
        self.manager("Rollback", "ta{sv}", self.history()[0][0] - 1, {})
        self.assertEqual(self.manager("ListTargets")[0], [])

    def test_taken_back(self) -> None:
        """The kernel refuses what was stored: both are there, the second one by nobody."""
        target = self.create()
        self.host.tell("fail write *enable 5")
        with self.refused("Kernel"):
            self.add_lun(target, "wwid=36001")
        entries = self.history()
        self.assertEqual(entries[0][2:5], (2**32 - 1, "", f"taken back: add-lun {WWN} as LUN 0"))
        self.assertEqual(entries[1][2], os.geteuid())

    def test_options(self) -> None:
        for member, signature, *args in (("History", "a{sv}", options(surprise=1)), ("Rollback", "ta{sv}", 1, {"prune": Variant("b", True)})):
            with self.refused(INVALID_ARGS):
                self.manager(member, signature, *args)


class Owners(BusTest):
    SECOND = 1_000_000

    def setUp(self) -> None:
        super().setUp()
        self.target = self.create()

    def send(self, owner: str, wwn: str = WWN, bus: Bus | None = None, **given) -> int:
        return (bus or self.bus).send("Acquire", "ssa{sv}", wwn, owner, options(**given), path=PATH, interface=MANAGER, dest=NAME)

    def acquire(self, owner: str, wwn: str = WWN, **given) -> None:
        self.assertEqual(self.bus.wait(self.send(owner, wwn, **given), 20), ())

    def answer(self, owner: str) -> str:
        try:
            self.acquire(owner, wait=self.SECOND // 10)
        except BusError as e:
            return e.name.rpartition(".")[2]
        return ""

    def release(self, owner: str, wwn: str = WWN, **given) -> None:
        self.manager("Release", "ssa{sv}", wwn, owner, options(**given))

    def owners(self) -> list:
        return self.get(self.target, TARGET, "Owners")

    def details(self) -> dict:
        found, = self.get(self.target, TARGET, "OwnerDetails")
        return found

    def check(self, **given) -> list[str]:
        return [code for code, _ in plain(self.manager("Check", "sa{sv}", WWN, options(**given))[1])]

    def process(self) -> subprocess.Popen:
        process = subprocess.Popen(["sleep", "300"])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def restart(self, kill: bool = False) -> None:
        if kill:
            self.host.kill()
        else:
            self.assertEqual(self.host.stop(), 0, self.host.logged())
        self.host.start()

    def test_one_owner(self) -> None:
        process = self.process()
        self.acquire("a", kind="libvirt", name="vm-a", uuid="6ba7b810", pid=process.pid)
        self.assertEqual(self.owners(), ["a"])
        self.acquire("a")
        self.assertEqual(self.details(), {"owner": "a", "kind": "libvirt", "name": "vm-a", "uuid": "6ba7b810", "pid": process.pid})
        said = f"vm-a (libvirt, pid {process.pid}) has target {WWN}"
        with self.refused("InUse", saying=said):
            self.acquire("b", wait=self.SECOND * 60)
        with self.refused("InUse", saying=said):
            self.release("b")
        self.assertEqual((self.check(), self.check(owner="a"), self.check(owner="b")), (["held"], [], ["held"]))
        self.acquire("b", force=True)
        self.assertEqual(self.details(), {"owner": "b", "kind": "", "name": "", "uuid": "", "pid": 0})
        process.kill()
        process.wait()
        self.release("b")
        self.release("b")
        self.assertEqual(self.owners(), [])
        for wwn, owner, given, error in ((WWN, "", {}, INVALID_ARGS), (WWN, "a\n", {}, INVALID_ARGS), (WWN, "a" * 256, {}, INVALID_ARGS),
                                         (WWN, "a", {"name": "\x1b"}, INVALID_ARGS), (WWN, "a", {"pid": 2**31 + 5}, INVALID_ARGS),
                                         (WWN, "a", {"pid": process.pid}, INVALID_ARGS), (WWN, "a", {"seed": ""}, INVALID_ARGS),
                                         (WWN, "a", {"seed": "x"}, INVALID_ARGS), ("naa.5001405aabbccddf", "a", {}, "NotFound"),
                                         ("naa.x", "a", {}, "InvalidWwn"), ("", "a", {}, "InvalidWwn"),
                                         (WWN, "a", {"if_generation": 1}, "GenerationMismatch")):
            with self.subTest((wwn, owner, given)), self.refused(error):
                self.acquire(owner, wwn, **given)
        with self.refused("NotFound"):
            self.release("a", "naa.5001405aabbccddf")
        self.acquire("a", dry_run=True)
        self.assertEqual(self.owners(), [])

    def test_nothing_is_taken_from_an_owner(self) -> None:
        """The kernel says idle all the time, as of a guest that is paused."""
        lun = self.add_lun(self.target, "wwid=36000")
        waiting = self.add_lun(self.target, "wwid=36009")
        self.acquire("a", name="vm-a", running=True)
        with self.unchanged():
            for path, interface, member, sig, args in ((self.target, TARGET, "Destroy", "a{sv}", []), (lun, LUN, "Remove", "a{sv}", [])):
                with self.subTest(member), self.refused("InUse", saying="vm-a has target"):
                    self.call(path, interface, member, sig, *args, {})
            document = os.memfd_create("document")
            self.addCleanup(os.close, document)
            os.write(document, b'{"format": "vhscsid", "version": 1, "targets": []}')
            with self.refused("InUse", saying="vm-a has target"):
                self.manager("Apply", "ha{sv}", document, options(prune=True))
        self.call(waiting, LUN, "Remove", "a{sv}", {})
        self.call(lun, LUN, "Remove", "a{sv}", options(force=True))
        self.call(self.target, TARGET, "Destroy", "a{sv}", options(force=True))

    def test_over_restarts(self) -> None:
        process, other = self.process(), self.process()
        second = self.create("naa.5001405aabbccdd5")
        self.acquire("a", name="vm-a", pid=process.pid)
        self.acquire("b", "naa.5001405aabbccdd5", pid=other.pid)
        before = self.details()
        for kill in (False, True):
            self.restart(kill)
            self.assertEqual(self.details(), before)
            with self.refused("InUse", saying="vm-a"):
                self.acquire("c")
        # One ends while we are there, one while we are not.
        process.kill()
        process.wait()
        wait_until("its end is seen", lambda: self.owners() == [])
        self.host.kill()
        other.kill()
        other.wait()
        self.host.start()
        self.assertEqual(self.get(second, TARGET, "Owners"), [])
        self.acquire("d")
        self.restart(True)
        self.assertEqual(self.owners(), ["d"])

    def test_another_process_of_that_number(self) -> None:
        process = self.process()
        self.acquire("a", pid=process.pid)
        self.host.kill()
        file = self.host.dir / "run/owners.json"
        stored = json.loads(file.read_text())
        self.assertGreater(stored["owners"][0]["started"], 0)
        stored["owners"][0]["started"] -= 1
        file.write_text(json.dumps(stored))
        self.host.start()
        self.assertEqual(self.owners(), [])
        self.host.kill()
        for bad in ("{", "[]", '{"version": 2, "owners": []}', '{"version": 1, "owners": [{}]}', '{"version": 1, "owners": 7}'):
            file.write_text(bad)
            self.host.start()
            self.assertEqual(self.owners(), [], bad)
            self.host.kill()
        self.host.start()

    def test_waits_for_disks(self) -> None:
        self.add_lun(self.target, "wwid=36009")
        with self.refused("NotReady", saying="LUN 0 waits for its disk, wwid=36009"):
            self.acquire("a")
        with self.refused("TimedOut", saying="LUN 0 waits for its disk, wwid=36009"):
            self.acquire("a", wait=self.SECOND // 5)
        self.assertEqual(self.owners(), [])
        serial = self.send("a", wait=self.SECOND * 60)
        again = self.send("a", wait=self.SECOND * 60)
        wait_until("it waits", lambda: self.answer("b") == "InUse")
        self.assertEqual(self.owners(), [])
        self.host.tell("disk 9")
        self.assertEqual(self.bus.wait(serial, 20), ())
        self.assertEqual(self.bus.wait(again, 20), ())
        self.assertEqual(self.owners(), ["a"])

    def test_wait_of_nothing(self) -> None:
        """The time is for what is missing, and not for the question whether a guest is attached."""
        self.add_lun(self.target, "wwid=36000")
        for wait in (0, 1):
            self.acquire("a", wait=wait)
            self.release("a")
        # Where an owner is known, the kernel is not asked: it may wait.
        self.acquire("a")
        self.host.tell("journal")
        self.assertEqual(self.answer("b"), "InUse")
        self.assertEqual(self.host.tell("journal"), [])
        self.release("a")
        self.add_lun(self.target, "wwid=36009")
        with self.refused("TimedOut", saying="waits for its disk"):
            self.acquire("a", wait=0)

    def test_the_question_is_of_the_time(self) -> None:
        """A pass that hangs in the kernel keeps the answer back for two seconds (STALL_USEC)."""
        other = self.create("naa.5001405aabbccdd7")
        for target in (self.target, other):
            self.add_lun(target, "wwid=36009", shareable=True)
        lun = self.add_lun(self.target, "wwid=36000")
        self.host.tell("suspend 0")
        remove = self.bus.send("Remove", "a{sv}", options(force=True), path=lun, interface=LUN, dest=NAME)
        wait_until("the unlinking hangs", lambda: self.get(lun, LUN, "State") == "draining")
        serials = [self.send("a", wwn, wait=self.SECOND * wait // 10) for wwn, wait in ((WWN, 22), ("naa.5001405aabbccdd7", 33))]
        for serial in reversed(serials):
            with self.refused("TimedOut", saying="waits for its disk"):
                self.bus.wait(serial, 20)
            self.assertTrue(self.bus.answered(serials[0]) or serial == serials[0])
        self.host.tell("resume 0")
        self.bus.wait(remove, 20)

    def test_waits_for_the_node(self) -> None:
        """Nobody tells the daemon that it has come."""
        missing = self.host.dir / "run/no-node"
        missing.touch()
        with self.refused("TimedOut", saying="node"):
            self.acquire("a", wait=1)
        serial = self.send("a", wait=self.SECOND * 600)
        wait_until("it waits", lambda: self.answer("b") == "InUse")
        looks: list[str] = []

        def is_quiet() -> bool:
            """Nothing wakes the daemon any more, after which it would look in any case."""
            looks.append((pathlib.Path("/proc") / str(self.host.daemon.pid) / "status").read_text().partition("voluntary_ctxt_switches")[2])
            return looks[-10:] == looks[-1:] * 10

        wait_until("it is quiet", is_quiet)
        missing.unlink()
        self.assertEqual(self.bus.wait(serial, 20), ())

    def test_a_guest_comes_meanwhile(self) -> None:
        """Who is attached is asked again when what was missing has come."""
        self.add_lun(self.target, "wwid=36000")
        self.add_lun(self.target, "wwid=36009")
        serial = self.send("a", wait=self.SECOND * 60)
        wait_until("it waits", lambda: self.answer("b") == "InUse")
        self.host.tell(f"attach {WWN}")
        self.host.tell("disk 9")
        with self.refused("InUse", saying="has not acquired"):
            self.bus.wait(serial, 20)
        self.host.tell(f"detach {WWN}")
        self.acquire("a", wait=self.SECOND * 60)

    def test_a_guest_that_runs_is_not_behind(self) -> None:
        """As after an upgrade: it is told of by "reconnect", while another one waits to be started."""
        self.add_lun(self.target, "wwid=36009")
        serial = self.send("b", wait=self.SECOND * 60)
        wait_until("it waits", lambda: self.answer("c") == "InUse")
        self.acquire("a", name="vm-a", running=True)
        with self.refused("InUse", saying="vm-a has target"):
            self.bus.wait(serial, 20)
        self.assertEqual(self.owners(), ["a"])

    def test_waits_for_a_target(self) -> None:
        other = "naa.5001405aabbccdd7"
        serial = self.send("a", other, wait=self.SECOND * 60)
        path = self.create(other)
        self.assertEqual(self.bus.wait(serial, 20), ())
        self.assertEqual(self.get(path, TARGET, "Owners"), ["a"])

    def test_the_caller_may_vanish(self) -> None:
        self.add_lun(self.target, "wwid=36009")
        bus = Bus(self.host.socket)
        self.send("a", bus=bus, wait=self.SECOND * 60)
        wait_until("the first call waits", lambda: self.answer("b") == "InUse")
        bus.close()
        wait_until("it is forgotten", lambda: self.answer("b") == "TimedOut")
        self.host.tell("disk 9")
        self.acquire("b", wait=self.SECOND * 60)
        self.assertEqual(self.owners(), ["b"])

    def test_release_ends_waiting(self) -> None:
        self.add_lun(self.target, "wwid=36009")
        serial = self.send("a", wait=self.SECOND * 60)
        wait_until("it waits", lambda: self.answer("b") == "InUse")
        self.release("a")
        with self.refused("NotReady", saying="released"):
            self.bus.wait(serial, 20)

    def test_seed(self) -> None:
        seed = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
        self.acquire("vm", "", seed=seed, name="vm-a")
        (wwn, path), = [t for t in self.manager("ListTargets")[0] if t[0] != WWN]
        self.assertEqual((self.get(path, TARGET, "Owners"), self.get(path, TARGET, "State"), self.get(path, TARGET, "Label")),
                         (["vm"], "online", "vm-a"))
        self.acquire("vm", wwn, seed=seed)
        self.assertEqual(path, self.manager("CreateTarget", "sa{sv}", "", options(seed=seed, if_absent=True))[0])
        self.release("vm", wwn)
        self.call(path, TARGET, "Destroy", "a{sv}", {})
        # What was made for it goes as well when the kernel refuses.
        self.host.tell(f"fail mkdir vhost/{wwn}* 5")
        with self.refused("NotReady"):
            self.acquire("vm", "", seed=seed)
        wait_until("it is gone", lambda: path not in self.objects())

    def seeded(self) -> list[str]:
        """The targets that seeds made."""
        return [path for wwn, path in self.manager("ListTargets")[0] if wwn != WWN]

    def test_a_seed_is_taken_back(self) -> None:
        """What was made for a caller goes with it, but not from under others."""
        self.host.tell("node 0")
        first, second = Bus(self.host.socket), Bus(self.host.socket)
        for bus in (first, second):
            self.addCleanup(bus.close)
            self.send("vm", "", bus=bus, seed="x", wait=self.SECOND * 60)
            wait_until("it is made", lambda: self.seeded())
        first.close()
        with self.refused("NotReady"):
            self.acquire("vm", "", seed="x")
        self.assertEqual(len(self.seeded()), 1)
        second.close()
        wait_until("it is gone", lambda: self.seeded() == [])

        serial = self.send("vm", "", seed="x", wait=self.SECOND * 60)
        path, = wait_until("it is made", lambda: self.seeded())
        wwn = self.get(path, TARGET, "Wwn")
        self.acquire("other", wwn, running=True)
        with self.refused("InUse", saying="other has target"):
            self.bus.wait(serial, 20)
        self.assertEqual(self.get(path, TARGET, "Owners"), ["other"])
        wait_until("it is up", lambda: self.get(path, TARGET, "State") == "online")

    def test_attached_guests(self) -> None:
        self.add_lun(self.target, "wwid=36000")
        self.host.tell(f"attach {WWN}")
        with self.refused("InUse", saying="has not acquired"):
            self.acquire("a")
        self.acquire("a", running=True)
        self.acquire("a")
        with self.refused("InUse", saying="a has target"):
            self.acquire("b", running=True)
        self.host.tell(f"detach {WWN}")
        with self.refused("InUse", saying="a has target"):
            self.acquire("b")

    def begin_a_guest(self) -> str:
        """Its QEMU runs, but not its driver: the target is neither given nor removed. Whom the errors name."""
        self.host.tell(f"run 4711 {WWN} web1")
        who = f"Guest web1 (pid 4711) runs with target {WWN}"
        with self.unchanged():
            with self.refused("InUse", saying=who):
                self.acquire("a")
            with self.refused("InUse", saying=who):
                self.call(self.target, TARGET, "Destroy", "a{sv}", {})
        return who

    def test_guests_that_wait(self) -> None:
        """The kernel says idle, and the target is not free."""
        lun = self.add_lun(self.target, "wwid=36000")
        who = self.begin_a_guest()
        with self.unchanged():
            with self.refused("InUse", saying=who):
                self.call(self.target, TARGET, "RemoveLun", "ua{sv}", 0, {})
            with self.refused("InUse", saying=who):
                self.call(lun, LUN, "Remove", "a{sv}", {})
        ready, problems = self.manager("Check", "sa{sv}", WWN, {})
        self.assertEqual((ready, [code for code, _ in problems]), (False, ["in-use"]))
        self.assertIn(who, problems[0][1])
        self.assertEqual(self.get(self.target, TARGET, "Endpoint"), "idle")
        # Another one's, and the right one's.
        self.acquire("a", running=True)
        self.release("a")
        self.acquire("b", force=True)
        self.release("b")
        self.host.tell("end")
        self.acquire("a")

    def test_guests_without_a_lun(self) -> None:
        """There is nothing to ask vhost_scsi by; but the process is there."""
        self.begin_a_guest()
        self.assertEqual(self.check(owner="a"), ["in-use"])
        self.assertEqual(self.get(self.target, TARGET, "Endpoint"), "unknown")
        self.acquire("a", running=True)
        self.release("a")
        self.host.tell("end")
        self.acquire("a")

    def test_a_full_disk(self) -> None:
        self.acquire("a")
        shutil.rmtree(self.host.dir / "run")
        with self.refused("StoreFailed"):
            self.release("a")
        self.assertEqual(self.owners(), ["a"])
        with self.refused("StoreFailed"):
            self.acquire("b", force=True)
        self.assertEqual(self.owners(), ["a"])

    def test_signals(self) -> None:
        self.bus.match(f"type='signal',sender='{NAME}'")
        self.acquire("a")
        told = [plain(s.args[1]) for s in self.bus.signals if s.path == self.target and s.member == "PropertiesChanged"]
        self.assertEqual([t["Owners"] for t in told if "Owners" in t], [["a"]])

    def test_who_may(self) -> None:
        nobody, polkit = self.as_nobody(), self.polkit()
        for granted, given, error in (({"acquire"}, {}, ""), ({"acquire"}, {"force": True}, DENIED), ({"manage-targets", "manage-luns"}, {}, DENIED)):
            polkit.policy = {f"{NAME}.{a}": (True, False, False) for a in granted}
            for member in ("Acquire", "Release"):
                with self.subTest((granted, given, member)), self.refused(error) if error else contextlib.nullcontext():
                    self.manager(member, "ssa{sv}", WWN, "a", options(**given), bus=nobody)
        polkit.policy = {f"{NAME}.acquire": (True, False, False)}
        with self.refused(DENIED):
            self.manager("Acquire", "ssa{sv}", "", "a", options(seed="x"), bus=nobody)
        self.manager("Acquire", "ssa{sv}", WWN, "a", options(running=True), bus=nobody)
        self.assertEqual(polkit.asked[-1]["details"], {"target": WWN})

    def test_whose_owner_it_is(self) -> None:
        """A key is no secret: who may acquire does not speak for another user's guests, but by force."""
        nobody, polkit = self.as_nobody(), self.polkit()
        polkit.default, polkit.policy = (True, False, False), {f"{NAME}.force": (False, False, False)}
        process = self.process()

        def as_nobody(member: str, **given) -> None:
            self.manager(member, "ssa{sv}", WWN, "a", options(**given), bus=nobody)

        def refused_to_nobody(said: str) -> None:
            for member, given in (("Release", {}), ("Acquire", {"pid": process.pid}), ("Acquire", {"running": True})):
                with self.subTest((member, given)), self.refused("InUse", saying=said):
                    as_nobody(member, **given)
            with self.refused(DENIED):
                as_nobody("Release", force=True)

        self.acquire("a", name="vm-a")
        refused_to_nobody("vm-a has target " + WWN + " by the word of user 0")
        self.restart(True)
        refused_to_nobody("by the word of user 0")
        polkit.policy = {}
        as_nobody("Acquire", force=True)
        polkit.policy = {f"{NAME}.force": (False, False, False)}
        as_nobody("Acquire")
        self.restart(True)
        as_nobody("Release")
        as_nobody("Acquire")
        # Root may speak for everybody, and from then on it is root's.
        self.acquire("a")
        refused_to_nobody("by the word of user 0")
        self.release("a")

        # Of those who wait as well; and what a service without users stored is root's.
        self.add_lun(self.target, "wwid=36009")
        serial = self.send("a", wait=self.SECOND * 60)
        wait_until("it waits", lambda: self.answer("b") == "InUse")
        with self.refused("InUse", saying="by the word of user 0"):
            as_nobody("Acquire")
        as_nobody("Release")
        self.host.tell("disk 9")
        self.bus.wait(serial, 20)
        self.host.kill()
        file = self.host.dir / "run/owners.json"
        stored = json.loads(file.read_text())
        del stored["owners"][0]["uid"]
        file.write_text(json.dumps(stored))
        self.host.start()
        with self.refused("InUse", saying="by the word of user 0"):
            as_nobody("Release")

    def test_a_seed_is_not_made_by_a_race(self) -> None:
        """The target goes after it was authorized that it is acquired, and before it is."""
        nobody, polkit = self.as_nobody(), self.polkit()
        polkit.policy = {f"{NAME}.acquire": (True, False, False)}
        path = self.create("", seed="x")
        lun = self.add_lun(path, "wwid=36000")
        self.host.tell("suspend 0")
        destroy = self.bus.send("Destroy", "a{sv}", options(force=True), path=path, interface=TARGET, dest=NAME)
        wait_until("the unlinking hangs", lambda: self.get(lun, LUN, "State") == "draining")
        serial = self.send("a", "", bus=nobody, seed="x")
        wait_until("polkit is asked", lambda: polkit.asked)
        self.manager("ListTargets")
        self.host.tell("resume 0")
        self.bus.wait(destroy, 20)
        # NotReady: so slow that the destruction was overtaken.
        with self.refused(DENIED, "NotReady"):
            nobody.wait(serial, 20)
        self.assertEqual(self.seeded(), [])


class Twice(dict):
    """A dictionary as only a hostile caller sends it."""

    def __init__(self, key: str, value: Variant) -> None:
        super().__init__({key: value})

    def items(self):
        return [*super().items(), *super().items()]


class Signals(BusTest):
    def setUp(self) -> None:
        super().setUp()
        self.bus.match(f"type='signal',sender='{NAME}'")

    def changes(self, signals: list, path: str) -> list[set]:
        return [set(s.args[1]) | set(s.args[2]) for s in signals if s.member == "PropertiesChanged" and s.path == path]

    def test_before_the_reply(self) -> None:
        target = self.create()
        signals = self.bus.drain()
        added = [s for s in signals if s.member == "InterfacesAdded"]
        self.assertEqual([(s.path, s.args[0]) for s in added], [(PATH, target)])
        self.assertEqual(plain(added[0].args[1])[TARGET]["Wwn"], WWN)
        lun = self.add_lun(target, "wwid=36000")
        signals = self.bus.drain()
        self.assertEqual([s.args[0] for s in signals if s.member == "InterfacesAdded"], [lun])
        self.assertIn("Luns", set().union(*self.changes(signals, target)))
        self.assertIn("State", set().union(*self.changes(signals, lun)))
        self.assertIn("Generation", set().union(*self.changes(signals, PATH)))
        self.call(target, TARGET, "SetLabel", "sa{sv}", "x", {})
        signals = self.bus.drain()
        self.assertEqual(self.changes(signals, target), [{"Label"}])
        self.assertEqual(plain(next(s for s in signals if s.path == target).args[1]), {"Label": "x"})
        self.call(target, TARGET, "SetLabel", "sa{sv}", "x", {})
        self.assertEqual(self.bus.drain(), [])
        self.call(target, TARGET, "Destroy", "a{sv}", {})
        removed = {s.args[0]: set(s.args[1]) for s in self.bus.drain() if s.member == "InterfacesRemoved"}
        self.assertEqual(set(removed), {target, lun})
        self.assertEqual(removed[target], set(plain(added[0].args[1])))

    def test_a_start_tells_nothing(self) -> None:
        """Whoever sees the name come reads what is there."""
        target = self.create()
        lun = self.add_lun(target, "wwid=36000")
        waiting = self.add_lun(target, "wwid=36009")
        self.assertEqual(self.host.stop(), 0, self.host.logged())
        self.bus.drain()
        self.host.start()
        wait_until("the LUN", lambda: self.get(lun, LUN, "State") == "online")
        self.assertEqual([s for s in self.bus.drain(0.3) if s.path and s.path.startswith(PATH)], [])
        self.host.tell("disk 9")
        wait_until("the other LUN", lambda: self.get(waiting, LUN, "State") == "online")
        signals = self.bus.drain(0.3)
        self.assertIn("State", set().union(*self.changes(signals, waiting)))
        self.assertEqual(self.changes(signals, lun), [])

    def test_a_reader_tells_nothing(self) -> None:
        target = self.create()
        self.add_lun(target, "wwid=36000")
        self.get_all(target, TARGET)
        self.bus.drain(0.3)
        self.get_all(target, TARGET)
        self.objects()
        self.assertEqual(self.bus.drain(0.3), [])

    def test_values_are_those_told(self) -> None:
        """Whoever follows the signals knows what GetManagedObjects says."""
        known: dict = self.objects()
        target = self.create()
        for n in range(4):
            self.add_lun(target, f"wwid=3600{n}")
        waiting = self.add_lun(target, "wwid=36009")
        self.host.tell("disk 9")
        wait_until("the LUN", lambda: self.get(waiting, LUN, "State") == "online")
        self.host.tell("gone 2")
        self.host.tell("suspend 3")
        self.call(target, TARGET, "RemoveLun", "ua{sv}", 1, {})
        self.manager("Rescan")
        self.host.tell("resume 3")
        wait_until("the LUN", lambda: self.get(f"{target}/lun/3", LUN, "Health") == "ok")
        for signal in self.bus.drain(0.3):
            if signal.member == "InterfacesAdded":
                known.setdefault(signal.args[0], {}).update(plain(signal.args[1]))
            elif signal.member == "InterfacesRemoved":
                for interface in signal.args[1]:
                    del known[signal.args[0]][interface]
                if not known[signal.args[0]]:
                    del known[signal.args[0]]
            elif signal.member == "PropertiesChanged" and signal.path in known:
                known[signal.path][signal.args[0]].update(plain(signal.args[1]))
        now = self.objects()
        for objects in (known, now):
            del objects[target][TARGET]["Endpoint"]
        self.assertEqual(known, now)

    def test_many_in_a_turn(self) -> None:
        target = self.create()
        for n in range(4, 60):
            self.host.tell(f"disk {n}")
        self.bus.drain()
        serials = [self.bus.send("AddLun", "sa{sv}", f"wwid=3600{n}", {}, path=target, interface=TARGET, dest=NAME) for n in range(60)]
        for serial in serials:
            self.bus.wait(serial, 60)
        signals = self.bus.drain()
        self.assertEqual(len([s for s in signals if s.member == "InterfacesAdded"]), 60)
        self.assertEqual(len(self.get(target, TARGET, "Luns")), 60)


class Bundled(BusTest):
    """With vhscsi, which tells of guests that come and go."""
    FABRIC = "bundled"

    def setUp(self) -> None:
        super().setUp()
        self.bus.match(f"type='signal',sender='{NAME}',interface='{PROPERTIES}'")

    def told(self, target: str) -> str:
        """The next Endpoint that is told."""
        def news() -> list:
            return [plain(s.args[1])["Endpoint"] for s in self.bus.drain(0.05) if s.path == target and "Endpoint" in s.args[1]]
        return wait_until("news of the endpoint", news)[-1]

    def test_endpoint(self) -> None:
        self.assertEqual(self.get(PATH, MANAGER, "Fabric"), {"module": "vhscsi", "version": "0", "origin": "bundled"})
        target = self.create()
        # No LUN is needed to ask by.
        self.assertEqual(self.objects()[target][TARGET]["Endpoint"], "idle")
        lun = self.add_lun(target, "wwid=36000")
        self.bus.drain()
        self.host.tell(f"attach {WWN}")
        self.assertEqual(self.told(target), "attached")
        self.assertEqual(self.objects()[target][TARGET]["Endpoint"], "attached")
        with self.unchanged():
            # By the process's name; by the guest's, where its command line tells.
            with self.refused("InUse", saying=f"Guest qemu-system-x86 (pid 4711) is attached to target {WWN}"):
                self.call(lun, LUN, "Remove", "a{sv}", {})
            self.host.tell(f"run 4711 {WWN} web1")
            with self.refused("InUse", saying=f"Guest web1 (pid 4711) is attached to target {WWN}"):
                self.call(lun, LUN, "Remove", "a{sv}", {})
            self.host.tell("end")
            self.assertEqual([line for line in self.host.tell("journal") if line.startswith("rmdir")], [])
        self.host.tell(f"detach {WWN}")
        self.assertEqual(self.told(target), "idle")

    def test_endpoint_after_start(self) -> None:
        target = self.create()
        self.add_lun(target, "wwid=36000")
        self.assertEqual(self.host.stop(), 0, self.host.logged())
        self.host.start()
        self.assertEqual(self.objects()[target][TARGET]["Endpoint"], "idle")

    def test_guest_that_was_there_before(self) -> None:
        """What a pass finds by the way is no answer: it does not look through the host's processes."""
        self.host.tell(f"run 4711 {WWN} web1")
        target = self.create()
        ready, problems = self.manager("Check", "sa{sv}", WWN, {})
        self.assertEqual((ready, [code for code, _ in problems]), (False, ["in-use"]))
        self.assertIn("web1 (pid 4711)", problems[0][1])
        self.assertEqual(self.get(target, TARGET, "Endpoint"), "idle")
        self.host.tell("end")

    def test_removal_that_waited(self) -> None:
        """What is to go once its guest does goes at once, not when its time has come."""
        target = self.create()
        lun = self.add_lun(target, "wwid=36000")
        self.host.tell(f"attach {WWN}")
        self.call(target, TARGET, "Destroy", "a{sv}", options(force=True))
        self.assertNotIn(lun, self.objects())
        self.assertEqual(self.get(target, TARGET, "LastError")[0], "InUse")
        # Each refusal makes the wait longer, so this one takes a second and more.
        wait_until("another try", lambda: self.host.logged().count("rmdir vhost") > 1)
        begin = time.monotonic()
        self.host.tell(f"detach {WWN}")
        wait_until("the target goes", lambda: target not in self.objects())
        self.assertLess(time.monotonic() - begin, 1)

    def test_introspection(self) -> None:
        target = self.create()
        live = ElementTree.fromstring(self.call(target, "org.freedesktop.DBus.Introspectable", "Introspect")[0])
        interface = next(i for i in live.iter("interface") if i.get("name") == TARGET)
        endpoint = next(p for p in interface.findall("property") if p.get("name") == "Endpoint")
        self.assertEqual([a.get("value") for a in endpoint.findall("annotation") if "EmitsChangedSignal" in a.get("name")], [])


class Authorization(BusTest):
    YES, NO, CHALLENGE, PERSON = (True, False, False), (False, False, False), (False, True, False), (False, True, True)

    def setUp(self) -> None:
        super().setUp()
        self.nobody = self.as_nobody()
        self.target = self.create()
        self.lun = self.add_lun(self.target, "wwid=36000")

    def try_as_nobody(self, path: str, interface: str, member: str, sig: str, *args, flags: int = 0) -> str:
        try:
            self.call(path, interface, member, sig, *args, bus=self.nobody, flags=flags)
        except BusError as e:
            return e.name
        return ""

    def mutating(self) -> list[tuple]:
        return [(PATH, MANAGER, "CreateTarget", "sa{sv}", "x,y", {}), (PATH, MANAGER, "Export", "sa{sv}", "/root/secret", {}),
                (PATH, MANAGER, "Rescan", ""), (self.target, TARGET, "AddLun", "sa{sv}", "/root/secret", {}),
                (self.target, TARGET, "RemoveLun", "ua{sv}", 99999, {}), (self.target, TARGET, "SetLabel", "sa{sv}", "x\n", {}),
                (self.target, TARGET, "Destroy", "a{sv}", {}), (self.lun, LUN, "Remove", "a{sv}", {}),
                (self.lun, LUN, "Remove", "a{sv}", options(force=True))]

    def test_without_polkit(self) -> None:
        with self.unchanged():
            for call in self.mutating():
                for flags in (0, ALLOW_INTERACTIVE):
                    with self.subTest(call[2]):
                        self.assertEqual(self.try_as_nobody(*call, flags=flags), DENIED)
        self.assertEqual(len(self.host.tell("journal")), 0, "a probe is for those who may act on its answer")
        self.assertIn(self.target, plain(self.call(PATH, OBJECT_MANAGER, "GetManagedObjects", bus=self.nobody)[0]))
        self.assertEqual(self.call(PATH, MANAGER, "ListTargets", bus=self.nobody), ([(WWN, self.target)],))
        self.assertEqual(len(self.call(PATH, MANAGER, "ListDevices", "a{sv}", {}, bus=self.nobody)[0]), 4)

    def test_what_polkit_is_asked(self) -> None:
        polkit = self.polkit()
        for call in self.mutating():
            with self.subTest(call[2]):
                self.assertEqual(self.try_as_nobody(*call), DENIED)
        self.assertEqual({(a["kind"], a["name"], a["interactive"]) for a in polkit.asked}, {("system-bus-name", self.nobody.name, False)})
        actions = [a["action"].removeprefix(f"{NAME}.") for a in polkit.asked]
        self.assertEqual(actions, ["manage-targets", "manage-targets", "manage-config", "manage-luns", "manage-luns", "manage-targets",
                                   "manage-targets", "manage-luns", "manage-luns"])
        self.assertEqual([a["details"].get("target") for a in polkit.asked], [None, None, None] + [WWN] * 6)
        polkit.asked.clear()
        self.call(self.lun, LUN, "Remove", "a{sv}", options(force=True))
        self.assertEqual(polkit.asked, [], "root needs no polkit")

    def test_answers(self) -> None:
        polkit = self.polkit()
        call = (self.target, TARGET, "SetLabel", "sa{sv}", "x", {})
        for answer, flags, error in ((self.NO, 0, DENIED), (self.NO, ALLOW_INTERACTIVE, DENIED), (self.CHALLENGE, 0, DENIED),
                                     (self.PERSON, 0, INTERACTIVE), (self.PERSON, ALLOW_INTERACTIVE, DENIED), (self.YES, 0, "")):
            polkit.default = answer
            with self.subTest((answer, flags)):
                self.assertEqual(self.try_as_nobody(*call, flags=flags), error)
                self.assertEqual(polkit.asked[-1]["interactive"], flags != 0)
        self.assertEqual(self.get(self.target, TARGET, "Label"), "x")

    def test_one_action_is_not_another(self) -> None:
        polkit = self.polkit()
        polkit.policy[f"{NAME}.manage-luns"] = self.YES
        self.assertEqual(self.try_as_nobody(self.target, TARGET, "Destroy", "a{sv}", {}), DENIED)
        self.assertEqual(self.try_as_nobody(PATH, MANAGER, "CreateTarget", "sa{sv}", "", {}), DENIED)
        self.assertEqual(self.try_as_nobody(PATH, MANAGER, "Export", "sa{sv}", "wwid=36001", {}), DENIED)
        self.assertEqual(self.try_as_nobody(PATH, MANAGER, "Export", "sa{sv}", "wwid=36001", options(target="naa.5001405aabbccddf")), DENIED)
        self.assertEqual(self.try_as_nobody(PATH, MANAGER, "Export", "sa{sv}", "wwid=36001", options(target=WWN)), "")
        self.assertEqual(self.try_as_nobody(self.lun, LUN, "Remove", "a{sv}", options(force=True)), DENIED)
        self.assertEqual([a["action"].removeprefix(f"{NAME}.") for a in polkit.asked[-2:]], ["manage-luns", "force"])
        polkit.policy[f"{NAME}.force"] = self.YES
        self.assertEqual(self.try_as_nobody(self.lun, LUN, "Remove", "a{sv}", options(force=True)), "")

    def test_asked_once_a_call(self) -> None:
        """The probe hands the message back as well, and does not ask again."""
        polkit = self.polkit()
        polkit.default = self.YES
        self.assertEqual(self.try_as_nobody(self.target, TARGET, "Destroy", "a{sv}", {}), "")
        self.assertEqual(len(polkit.asked), 1)
        self.assertEqual(self.objects(), {})

    def test_looked_up_again(self) -> None:
        """What the caller named is gone when polkit has answered."""
        polkit = self.polkit()
        polkit.default = None
        serial = self.nobody.send("AddLun", "sa{sv}", "wwid=36001", {}, path=self.target, interface=TARGET, dest=NAME)
        wait_until("the question", lambda: polkit.waiting)
        self.call(self.target, TARGET, "Destroy", "a{sv}", {})
        polkit.answer(*polkit.waiting[0], self.YES)
        with self.refused(UNKNOWN_OBJECT):
            self.nobody.wait(serial)

    def test_caller_vanishes(self) -> None:
        polkit = self.polkit()
        polkit.default = None
        for n in range(5):
            other = self.as_nobody()
            other.send("Destroy", "a{sv}", {}, path=self.target, interface=TARGET, dest=NAME)
            wait_until("the question", lambda: len(polkit.waiting) == n + 1)
            other.close()
            wait_until("the cancellation", lambda: len(polkit.cancelled) == n + 1)
        self.assertEqual(polkit.cancelled, [a["cancellation"] for a in polkit.asked])
        for serial, dest in polkit.waiting:
            polkit.answer(serial, dest, self.YES)
        self.assertEqual(self.get(self.target, TARGET, "State"), "online")

    def test_others_need_not_wait(self) -> None:
        polkit = self.polkit()
        polkit.default = None
        serials = [self.nobody.send("SetLabel", "sa{sv}", f"{n}", {}, path=self.target, interface=TARGET, dest=NAME) for n in range(100)]
        wait_until("the questions", lambda: len(polkit.waiting) == 100)
        self.call(self.target, TARGET, "SetLabel", "sa{sv}", "root", {})
        for n, (serial, dest) in enumerate(polkit.waiting):
            polkit.answer(serial, dest, self.YES if n == 42 else self.NO)
        answers = []
        for serial in serials:
            try:
                self.nobody.wait(serial)
                answers.append("")
            except BusError as e:
                answers.append(e.name)
        self.assertEqual(answers, ["" if n == 42 else DENIED for n in range(100)])
        self.assertEqual(self.get(self.target, TARGET, "Label"), "42")

    def test_polkit_leaves(self) -> None:
        polkit = self.polkit()
        polkit.default = None
        serial = self.nobody.send("SetLabel", "sa{sv}", "x", {}, path=self.target, interface=TARGET, dest=NAME)
        wait_until("the question", lambda: polkit.waiting)
        polkit.close()
        with self.refused(DENIED):
            self.nobody.wait(serial)

    def test_a_flood_starves_nobody(self) -> None:
        stop = threading.Event()

        def flood(bus: Bus) -> None:
            with contextlib.suppress(BusError, OSError):
                while not stop.is_set():
                    serials = [bus.send("GetTarget", "s", WWN, path=PATH, interface=MANAGER, dest=NAME) for _ in range(64)]
                    for serial in serials:
                        bus.wait(serial)
        threads = [threading.Thread(target=flood, args=(self.as_nobody(),)) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            begin = time.monotonic()
            for n in range(10):
                self.call(self.target, TARGET, "SetLabel", "sa{sv}", str(n), {})
            self.add_lun(self.target, "wwid=36001")
            taken = time.monotonic() - begin
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertLess(taken, 5)


if __name__ == "__main__":
    unittest.main()
