# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tests from outside the machine: reboots, power cuts. Each is a function of a new machine; code for its inside is below it."""
import json
import time

from host.payload import LIB
from host.vm import Vm

SERVICE = "/etc/systemd/system/lab-late.service"


def inside(vm: Vm, code: str, timeout: float = 180):
    """Runs Python in the machine; what it prints last is JSON, and the result."""
    head = (f"import sys; sys.path.insert(0, '/{LIB}')\nimport json, os, time\nfrom labkit import *\nfrom labdisks import *\n"
            "service_start()\napi = Api()\n")
    text = vm.run(["python3", "-c", head + code], timeout=timeout).text
    return json.loads(text.splitlines()[-1])


SUMMARY = """
def summary():
    out = {}
    for t in api.targets():
        v = t.all()
        out[t.wwn] = {"nexus": v["Nexus"], "label": v["Label"], "file": (t.tpg / "nexus").read_text().strip(), "luns": {}}
        for l in t.luns():
            l = l.all()
            place = CORE / l["Backstore"]
            out[t.wwn]["luns"][str(l["Number"])] = {k: l[k] for k in ("State", "Source", "UnitSerial", "GuestWwid", "ReadOnly", "Size")}
            if l["State"] == "online":
                out[t.wwn]["luns"][str(l["Number"])]["vpd"] = (place / "wwn/vpd_unit_serial").read_text().split(":")[1].strip()
    return out
"""

# Disks that come by themselves at boot: two at once, a multipath map as well, one ten seconds after the service is up.
LATE_UNIT = """[Unit]
Description=Disks of the lab
DefaultDependencies=no
After=systemd-udevd.service sys-kernel-config.mount
[Service]
Type=exec
ExecStart=/usr/bin/python3 /usr/local/lib/vhscsid-lab/late_disks.py
RemainAfterExit=yes
[Install]
WantedBy=sysinit.target
"""
LATE_CODE = """import subprocess, sys, time
sys.path.insert(0, "/usr/local/lib/vhscsid-lab")
from labdisks import DmDisk, NullDisk
subprocess.run(["modprobe", "scsi_debug", "add_host=2", "max_luns=1", "vpd_use_hostno=0", "dev_size_mb=16"], check=True)
DmDisk(NullDisk(name="nullb201").device, name="early", uuid="LAB-early")
under = NullDisk(name="nullb202")
while subprocess.run(["systemctl", "is-active", "--quiet", "vhscsid"]).returncode:
    time.sleep(0.1)
time.sleep(float(sys.argv[1]) if len(sys.argv) > 1 else 10)
DmDisk(under.device, name="late", uuid="LAB-late")
"""


def setup(vm: Vm) -> dict:
    vm.run(["tee", SERVICE], input=LATE_UNIT.encode())
    vm.run(["tee", f"/{LIB}/late_disks.py"], input=LATE_CODE.encode())
    vm.run("systemctl daemon-reload; systemctl enable --quiet lab-late; systemctl enable --quiet vhscsid; systemctl start vhscsid; "
           "systemctl start lab-late; sync")        # the lab's own files; the store has to see to itself
    return inside(vm, SUMMARY + """
t = api.create("naa.5001405cccccccc0", label="over a reboot")
for number, source in ((3, "dm-uuid=mpath-1Linux_scsi_debug_2000"), (0, "dm-uuid=LAB-early"), (16383, "dm-uuid=LAB-late")):
    t.add_lun(source, number=number, readonly=number == 0)
u = api.create()
wait_until("all are online", lambda: {l.get("State") for l in t.luns()} == {"online"}, 90)
print(json.dumps(summary()))
""")


def check_back(vm: Vm, before: dict) -> None:
    # Nothing is asked of it before: that would start a service that the boot forgot.
    vm.run(["python3", "-c", f"""import sys; sys.path.insert(0, '/{LIB}')
from labkit import run, wait_until
wait_until("the boot has started the service", lambda: run("systemctl is-active vhscsid", check=False).stdout.strip() == "active", 90)
"""], timeout=120)
    early = inside(vm, SUMMARY + """
t = api.target("naa.5001405cccccccc0")
wait_until("the two that are there are up", lambda: [t.lun(n).get("State") for n in (0, 3)] == ["online", "online"], 60)
print(json.dumps({"late": t.lun(16383).get("State"), "state": t.get("State"), "seen": os.path.exists("/dev/mapper/late")}))
""")
    if not early["seen"]:
        assert early["late"] == "waiting" and early["state"] == "incomplete", early
    after = inside(vm, SUMMARY + """
t = api.target("naa.5001405cccccccc0")
wait_until("the late one is up", lambda: os.path.exists("/dev/mapper/late") and t.lun(16383).get("State") == "online", 90)
wait_until("the target is whole", lambda: t.get("State") == "online")
print(json.dumps(summary()))
""")
    assert after == before, f"not the same after the boot:\nbefore {json.dumps(before, indent=1)}\nafter {json.dumps(after, indent=1)}"


def reboot(vm: Vm) -> None:
    before = setup(vm)
    assert before["naa.5001405cccccccc0"]["nexus"] == before["naa.5001405cccccccc0"]["file"], before
    vm.reboot()
    check_back(vm, before)


def power_cut(vm: Vm) -> None:
    """What was answered before the power went is there: same numbers, serials, nexus; and so after a second cut in the middle of the boot."""
    before = setup(vm)
    vm.reset()
    vm.reset()
    check_back(vm, before)


def power_cut_under_load(vm: Vm) -> None:
    """Targets are made and destroyed as fast as it goes; the power goes in the middle. Every answer that got out is true afterwards,
    no file is broken, nothing is left in a half state."""
    for round_number in range(3):
        command = vm.start(["python3", "-u", "-c", f"import sys; sys.path.insert(0, '/{LIB}')\nfrom labkit import *\n"
                            "service_start()\napi = Api()\nn = 0\nwhile True:\n"
                            "    n += 1\n    t = api.create(label=f'n{n}')\n    print('made', t.wwn, flush=True)\n"
                            "    if n % 3 == 0:\n        t.destroy()\n        print('gone', t.wwn, flush=True)\n"
                            "    else:\n        t.add_lun(f'dm-uuid=LAB-power{n}')\n        print('lun', t.wwn, flush=True)\n"])
        text, deadline = "", time.monotonic() + 60
        while text.count("\n") < 12 + round_number * 9:
            kind, data = command.queue.get(timeout=max(0.1, deadline - time.monotonic()))
            assert kind == b"O", (kind, data)
            text += data.decode()
        vm.reset()
        lines = [line.split() for line in text.splitlines() if line.count("naa.") == 1 and len(line.split()[1]) == 20]
        made = {w for what, w in lines if what == "made"}
        gone = {w for what, w in lines if what == "gone"}
        with_lun = {w for what, w in lines if what == "lun"}
        assert len(made) >= 4, text
        found = inside(vm, """
api.settled()
print(json.dumps({"targets": {t.wwn: len(t.get("Luns")) for t in api.targets()}, "kernel": os.listdir(VHOST) if VHOST.exists() else [],
                  "files": os.listdir(STORE / "targets"), "state": api.manager.get("State")}))
""")
        alive = set(found["targets"])
        # A destroy that was under way when the power went may have been stored without having been told.
        missing = made - gone - alive
        assert len(missing) <= 1, f"answered, and lost: {missing}"
        assert not missing & with_lun, f"answered, and lost: {missing & with_lun}"
        assert not gone & alive, f"destroyed, and back: {gone & alive}"
        assert all(found["targets"][w] == 1 for w in with_lun), found
        assert {f for f in found["files"]} == {f"{w}.json" for w in alive}, found["files"]
        assert alive <= {k for k in found["kernel"] if k.startswith("naa.")}, found
        assert found["state"] == "running", found
        inside(vm, "[t.destroy() for t in api.targets()]\nprint('[]')")


TESTS = [reboot, power_cut, power_cut_under_load]
