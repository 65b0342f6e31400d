# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reboots of a host that came from targetcli: ours brings everything up again, beside their service and without it."""
import json

from host.payload import LIB
from host.vm import Vm
from hostsuite_reboot import inside

WWNS = ["naa.5001405bee500001", "naa.5001405bee500002"]

# What the guests of both targets know.
VIEW = """
def view():
    out = {}
    for wwn in %r:
        for lun in sorted((VHOST / wwn / "tpgt_1/lun").glob("lun_*")):
            for link in [e for e in lun.iterdir() if e.is_symlink()]:
                back = link.resolve()
                out[wwn + "/" + lun.name] = [back.name, (back / "wwn/vpd_unit_serial").read_text().split(":")[1].strip(),
                                             (VHOST / wwn / "tpgt_1/nexus").read_text().strip()]
    return out
""" % (WWNS,)

# Four disks of two paths that are there at each boot.
DISKS = """[Unit]
Description=Disks of the lab
DefaultDependencies=no
After=systemd-udevd.service sys-kernel-config.mount
[Service]
Type=oneshot
ExecStart=/sbin/modprobe scsi_debug add_host=2 max_luns=4 vpd_use_hostno=0 dev_size_mb=16
RemainAfterExit=yes
[Install]
WantedBy=sysinit.target
"""

SETUP = VIEW + """
from labtargetcli import targetcli
with open("/etc/systemd/system/lab-disks.service", "w") as f:
    f.write(%r)
run("systemctl daemon-reload && systemctl enable -q lab-disks && systemctl start lab-disks")
wait_until("four maps", lambda: len(multipath_maps()) == 4, 240, 0.2)
udev_settle()
maps = sorted(multipath_maps(), key=lambda m: m.name)
script = [f"/backstores/block create name=vol{n} dev=/dev/disk/by-id/dm-uuid-mpath-{m.wwid}" for n, m in enumerate(maps)]
script += [f"/vhost create {w}" for w in %r]
script += [f"/vhost/{%r[n // 2]}/tpg1/luns create /backstores/block/vol{3 - n} lun={n}" for n in range(4)]
targetcli(*script)
run("targetctl save", timeout=100)
before = view()
run("vhscsictl adopt --all", timeout=100)
run("sync")
print(json.dumps([before, view()]))
"""

AFTER = VIEW + """
wait_until("theirs has done its start", lambda: run("systemctl is-active rtslib-fb-targetctl", check=False).stdout.strip() != "activating", 240, 0.5)
wait_until("all is up", lambda: run(["vhscsictl", "status"], check=False).returncode == 0, 240, 0.5)
print(json.dumps([view(), [t.get("ManagedBy") for t in api.targets()],
                  run("systemctl is-active rtslib-fb-targetctl", check=False).stdout.strip()]))
"""


# A guest that is started when the gate has opened keeps its disk: the same LUN, and no I/O error, whatever ours does from then on.
GUEST = """
from nested import NestedGuest
wwn = %r
run(["vhscsictl", "acquire", wwn, "lab", "--wait=2min"], timeout=150)
luns = VHOST / wwn / "tpgt_1/lun"
def links():
    return {str(p): p.lstat().st_ino for p in luns.glob("lun_*/*") if p.is_symlink()}
inodes = links()
guest = NestedGuest("gate")
guest.start(wwn)
block = guest.block(0)
guest.cmd(f"guestio start {block} 8")
def progress():
    start = guest.io_status(block)["ops"]
    return wait_until("the guest's I/O goes on", lambda: s if (s := guest.io_status(block))["ops"] >= start + 20 else None, 60)
progress()
with ConfigfsTrace() as trace:
    api.manager.call("Rescan")
    service_restart()
    api = Api()
    api.settled()
    api.manager.call("Rescan")
    status = progress()
    changes = trace.changes()
same = inodes == links()
guest.stop()
run(["vhscsictl", "release", wwn, "lab"])
print(json.dumps([status["errors"], status["mismatches"], same, len(inodes), changes]))
""" % (WWNS[0],)


def guest_is_never_cut(vm: Vm) -> None:
    errors, mismatches, same, n, changes = inside(vm, GUEST, timeout=400)
    assert (errors, mismatches, same, n, changes) == (0, 0, True, 2, []), (errors, mismatches, same, n, changes)


def prepare(vm: Vm) -> dict:
    before, adopted = inside(vm, SETUP % (DISKS, WWNS, WWNS), timeout=400)
    assert len(before) == 4 and before == adopted, (before, adopted)
    return adopted


def check(vm: Vm, wanted: dict, theirs: str) -> None:
    view, managed, state = inside(vm, AFTER, timeout=400)
    if theirs == "active":
        # Their file has no nexus: each restore of theirs makes a new one, and while LUNs stand on it nobody can give the old one back.
        view, wanted = {k: v[:2] for k, v in view.items()}, {k: v[:2] for k, v in wanted.items()}
    assert view == wanted, f"\n{json.dumps(view, indent=1)}\nis not\n{json.dumps(wanted, indent=1)}"
    assert managed == ["vhscsid"] * 2, managed
    assert state == theirs, state


def alone(vm: Vm) -> None:
    """Their service is disarmed, as doctor says: the same nexus, serials and numbers."""
    wanted = prepare(vm)
    vm.reboot()
    check(vm, wanted, "inactive")


def enable_theirs(vm: Vm, after: str = "") -> None:
    vm.run("systemctl unmask -q rtslib-fb-targetctl && systemctl enable -q rtslib-fb-targetctl")
    # It does not wait for disks; here it finds them.
    vm.run("mkdir -p /etc/systemd/system/rtslib-fb-targetctl.service.d && printf '[Unit]\\nAfter=lab-disks.service multipathd.service "
           f"{after}\\n[Service]\\nExecStartPre=/bin/udevadm settle\\n' > /etc/systemd/system/rtslib-fb-targetctl.service.d/late.conf && sync")


def with_their_service(vm: Vm) -> None:
    """It is enabled still, holds the same targets, and comes first; and then it is started once more, after us."""
    wanted = prepare(vm)
    enable_theirs(vm)
    vm.reboot()
    check(vm, wanted, "active")
    guest_is_never_cut(vm)
    vm.run("targetctl restore", timeout=300, check=False)
    check(vm, wanted, "active")
    # Nothing is done about it from then on.
    vm.run(["python3", "-c", f"import sys; sys.path.insert(0, '/{LIB}')\nfrom labkit import *\nwith ConfigfsTrace() as t:\n"
            "    service_restart()\n    api = Api()\n    api.settled()\n    assert t.changes() == [], t.changes()"], timeout=200)


def before_their_service(vm: Vm) -> None:
    """Ours comes first, for somebody has taken our After= away: theirs clears it all and makes it again, and in the end ours is complete."""
    wanted = prepare(vm)
    vm.run("sed 's/ target.service rtslib-fb-targetctl.service//' \"$(systemctl show -P FragmentPath vhscsid)\" > /etc/systemd/system/vhscsid.service"
           " && ! grep -q rtslib-fb-targetctl /etc/systemd/system/vhscsid.service && systemctl daemon-reload && systemctl reenable -q vhscsid")
    enable_theirs(vm, "vhscsid.service")
    vm.reboot()
    check(vm, wanted, "active")
    order = vm.run("systemctl show -P ActiveEnterTimestampMonotonic vhscsid; systemctl show -P InactiveExitTimestampMonotonic rtslib-fb-targetctl").text
    ours, theirs = (int(n) for n in order.split())
    assert 0 < ours <= theirs, order
    guest_is_never_cut(vm)


TESTS = [alone, with_their_service, before_their_service]
