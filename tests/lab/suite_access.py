# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may do what: nobody reads, root changes, a polkit rule gives out single actions."""
import json
import re
import shutil
import signal
import xml.etree.ElementTree as ET
from pathlib import Path

from labdisks import dm_disks
from labkit import (ACCESS_DENIED, BUS_NAME, LUN, MANAGER, ROOT, STORE, TARGET, Api, BusError, LabTest, Remote, as_user,
                    options, run, service_kill, service_pid, service_restart, service_start, service_stop, wait_until)
from minibus import split

READING = {MANAGER: {"GetTarget", "ListTargets", "ListDevices", "Check"}, TARGET: {"GetQemuArguments", "GetLibvirtXml", "GetStatistics"},
           LUN: {"GetStatistics"}}
OWNERS = Path("/run/vhscsid/owners.json")
RULE = Path("/etc/polkit-1/rules.d/10-lab.rules")
SAMPLE = Path("/usr/share/doc/vhscsid/examples/org.vhostscsi.rules")
OPERATOR = "lab-operator"
DUMMY = {"s": "/dev/null", "u": 0, "b": True, "a{sv}": {}, "o": "/x", "t": 0, "h": 0}


def attempt(path: str, interface: str, member: str, sig: str, *args) -> str:
    """The error's name, or '' when it was done."""
    api = Api()
    try:
        Remote(api, path, interface).call(member, sig, *args)
    except BusError as e:
        return e.name
    finally:
        api.close()
    return ""


class AccessTest(LabTest):
    def as_nobody(self, path: str, interface: str, member: str, sig: str, *args) -> str:
        return as_user("nobody", lambda: attempt(path, interface, member, sig, *args))

    def test_every_mutating_member_is_denied(self) -> None:
        disk, = dm_disks(1)
        target = self.api.create()
        lun = target.add_lun(disk.device)
        tried = 0
        for path, name in ((ROOT, MANAGER), (target.path, TARGET), (lun.path, LUN)):
            interface = next(i for i in ET.fromstring(self.api.introspect(path)).findall("interface") if i.get("name") == name)
            for method in interface.findall("method"):
                member = method.get("name")
                if member in READING[name]:
                    continue
                sig = "".join(a.get("type") for a in method.findall("arg") if a.get("direction", "in") == "in")
                with self.subTest(member), self.unchanged(member):
                    self.assertEqual(self.as_nobody(path, name, member, sig, *(DUMMY[s] for s in split(sig))), ACCESS_DENIED)
                tried += 1
        self.assertGreaterEqual(tried, 7)

    def test_denied_tells_nothing(self) -> None:
        """The same answer whether the disk, the target or the LUN exists: nothing is looked at for who may not ask."""
        disk, = dm_disks(1)
        target = self.api.create()
        target.add_lun(disk.device)
        for source in (disk.device, "/dev/vda", "/dev/nosuchdisk", "/root/secret", "/dev/vda,x"):
            with self.subTest(source):
                self.assertEqual(self.as_nobody(target.path, TARGET, "AddLun", "sa{sv}", source, {}), ACCESS_DENIED)
                self.assertEqual(self.as_nobody(ROOT, MANAGER, "Export", "sa{sv}", source, {}), ACCESS_DENIED)
        for number in (0, 1, 99999):
            self.assertEqual(self.as_nobody(target.path, TARGET, "RemoveLun", "ua{sv}", number, {}), ACCESS_DENIED)
        self.assertEqual(self.as_nobody(target.path, TARGET, "Destroy", "a{sv}", {}), ACCESS_DENIED)

    def test_nobody_reads(self) -> None:
        disk, = dm_disks(1)
        target, lun = self.api.export(disk.device)

        def read() -> list:
            api = Api()
            return [api.list_targets()[0][1], api.target(target.wwn).get("State"), Remote(api, lun.path, LUN).get("State"),
                    api.manager.get("State"), len(api.managed()), len(api.devices()) > 0]
        self.assertEqual(as_user("nobody", read), [target.wwn, "online", "online", "running", len(self.api.managed()), True])
        out = run(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "vhscsictl", "list"]).stdout
        self.assertIn(target.wwn, out)

    def test_properties_are_read_only(self) -> None:
        target = self.api.create()
        for name in ("Label", "State", "Wwn"):
            with self.subTest(name), self.unchanged(name), self.refused("org.freedesktop.DBus.Error.PropertyReadOnly", ACCESS_DENIED):
                from minibus import Variant
                self.api.properties(target.path, "Set", "ssv", TARGET, name, Variant("s", "x"))

    def test_a_rule_gives_single_actions(self) -> None:
        first, second = dm_disks(2)
        target = self.api.create()
        target.add_lun(first.device)
        RULE.write_text('polkit.addRule(function(action, subject) {\n'
                        '  if (subject.user == "nobody" && action.id == "org.vhostscsi.manage-luns") return polkit.Result.YES;\n});\n')
        self.addCleanup(RULE.unlink, missing_ok=True)
        wait_until("polkit knows the rule", lambda: run(
            ["pkcheck", "--action-id", "org.vhostscsi.manage-luns", "--process", self.nobody_process()], check=False).returncode == 0)
        add = ("AddLun", "sa{sv}", second.device)
        self.assertEqual(self.as_nobody(target.path, TARGET, *add, {}), "")
        self.assertEqual(self.as_nobody(target.path, TARGET, "RemoveLun", "ua{sv}", 1, options({"force": True})), ACCESS_DENIED)
        self.assertEqual(len(target.get("Luns")), 2)
        self.assertEqual(self.as_nobody(target.path, TARGET, "RemoveLun", "ua{sv}", 1, {}), "")
        self.assertEqual(self.as_nobody(ROOT, MANAGER, "CreateTarget", "sa{sv}", "", {}), ACCESS_DENIED)
        self.assertEqual(self.as_nobody(target.path, TARGET, "Destroy", "a{sv}", {}), ACCESS_DENIED)

    def test_the_sample_rule(self) -> None:
        """Who may start virtual machines, a member of group libvirt, may acquire targets for them, and no more."""
        disk, = dm_disks(1)
        target = self.api.create()
        run(["useradd", "--no-create-home", "--groups=libvirt", OPERATOR])
        self.addCleanup(run, ["userdel", OPERATOR])

        def tried(user: str, remote: Remote, member: str, sig: str, *args) -> str:
            return as_user(user, lambda: attempt(remote.path, remote.interface, member, sig, *args))

        # What this seed makes is not there yet.
        seeded = run(["vhscsictl", "create", "--seed=x", "--dry-run"]).stdout.strip()
        acquire = (self.api.manager, "Acquire", "ssa{sv}", target.wwn, "vm")
        self.assertEqual(tried(OPERATOR, *acquire, {}), ACCESS_DENIED)
        shutil.copy(SAMPLE, RULE)
        self.addCleanup(RULE.unlink)
        wait_until("polkit knows the rule", lambda: tried(OPERATOR, *acquire, {}) == "")
        self.assertEqual(target.get("Owners"), ["vm"])
        self.assertEqual(tried("nobody", *acquire, {}), ACCESS_DENIED)
        with self.unchanged():
            self.assertEqual(tried(OPERATOR, *acquire, options({"force": True})), ACCESS_DENIED)
            self.assertEqual(tried(OPERATOR, *acquire[:3], seeded, "vm", options({"seed": "x"})), ACCESS_DENIED)
            self.assertEqual(tried(OPERATOR, target, "AddLun", "sa{sv}", disk.device, {}), ACCESS_DENIED)
            self.assertEqual(tried(OPERATOR, target, "Destroy", "a{sv}", {}), ACCESS_DENIED)
            self.assertEqual(tried(OPERATOR, self.api.manager, "CreateTarget", "sa{sv}", "", {}), ACCESS_DENIED)
        self.assertEqual(tried(OPERATOR, self.api.manager, "Release", "ssa{sv}", target.wwn, "vm", {}), "")
        self.assertEqual(target.get("Owners"), [])

    def nobody_process(self) -> str:
        if not hasattr(self, "sleeper"):
            import subprocess
            self.sleeper = subprocess.Popen(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "sleep", "infinity"])
            self.addCleanup(self.sleeper.wait)
            self.addCleanup(self.sleeper.kill)
        stat = Path(f"/proc/{self.sleeper.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return f"{self.sleeper.pid},{stat[19]},{65534}"

    def test_who_may_own_and_send(self) -> None:
        out = as_user("nobody", lambda: run(["busctl", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "RequestName", "su",
                                             "org.vhostscsi.x", "0"], check=False).returncode)
        self.assertNotEqual(out, 0)
        self.assertNotEqual(as_user("nobody", lambda: run(["cat", str(STORE)], check=False).returncode), 0)
        # A member that the policy does not name never reaches the service.
        self.assertIn(self.as_nobody(ROOT, "org.vhostscsi.Secret", "Do", ""), (ACCESS_DENIED,))

    def test_the_caller_may_vanish(self) -> None:
        """The caller is gone before polkit has answered: nothing is done in its name, nothing breaks."""
        target = self.api.create()
        for _ in range(20):
            def leave() -> bool:
                api = Api()
                Remote(api, target.path, TARGET).send("Destroy", "a{sv}", {})
                api.close()
                return True
            as_user("nobody", leave)
        self.assertEqual(target.get("State"), "online")

    def test_one_owner(self) -> None:
        """Whatever becomes of the service, until the process has ended, which the unit has to be able to see of anybody's."""
        disk, = dm_disks(1)
        target = self.api.create()
        target.add_lun(disk.device)
        pid, started, _ = map(int, self.nobody_process().split(","))
        target.acquire("a", name="vm-a", kind="lab", pid=pid)
        who = rf"vm-a \(lab, pid {pid}\) has target {target.wwn}"
        for step in (lambda: None, service_restart, lambda: (service_stop(), service_start()), lambda: (service_kill(), service_start())):
            step()
            with self.unchanged(), self.refused("InUse", saying=who):
                target.acquire("b")
            with self.unchanged(), self.refused("InUse", saying=who):
                target.destroy()
            self.assertEqual(self.api.manager.call("Check", "sa{sv}", target.wwn, {})[1][0][0], "held")
            target.acquire("a")
            self.assertEqual(target.get("Owners"), ["a"])

        # Another process has that number by now.
        service_stop()
        stored = json.loads(OWNERS.read_text())
        self.assertEqual([(o["pid"], o["started"]) for o in stored["owners"]], [(pid, started)])
        stored["owners"][0]["started"] -= 1
        OWNERS.write_text(json.dumps(stored))
        service_start()
        self.assertEqual(target.get("Owners"), [])

        target.acquire("b", pid=pid)
        self.sleeper.send_signal(signal.SIGKILL)
        wait_until("its end is seen", lambda: target.get("Owners") == [])
        target.acquire("c")
        with self.refused("InUse", saying="c has target"):
            target.release("b")
        target.release("c")
        self.assertEqual((target.get("Owners"), self.api.manager.call("Check", "sa{sv}", target.wwn, {})[0]), ([], True))

    def test_the_unit(self) -> None:
        out = run(["systemd-analyze", "security", "--no-pager", "vhscsid.service"]).stdout
        score = float(re.search(r"Overall exposure level for .*: ([0-9.]+)", out)[1])
        # 0.2 of it is /proc, where the processes of owners are told apart.
        self.assertLessEqual(score, 1.6, out)
        run(["systemd-analyze", "verify", "--man=no", "vhscsid.service"])
        self.assertEqual(run(["systemctl", "show", "-P", "Type", "vhscsid"]).stdout.strip(), "notify")
        status = Path(f"/proc/{service_pid()}/status").read_text()
        self.assertRegex(status, r"NoNewPrivs:\t1")
        self.assertRegex(status, r"CapEff:\t0000000000000000|CapEff:\t0000000000001000", "none, or CAP_NET_ADMIN for the buffer")
        self.assertTrue(BUS_NAME in run(["busctl", "list", "--no-pager"]).stdout)
