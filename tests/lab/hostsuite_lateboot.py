# SPDX-License-Identifier: LGPL-2.1-or-later
"""A boot at which every disk is late: maps, volumes and plain disks come one after the other, in an order that nobody foresaw."""
import json
import os
import random
import sys

from host.vm import Vm
from hostsuite_reboot import SUMMARY, inside

# LUN by LUN: four multipath maps (two paths each), four plain disks by WWID, four dm volumes. Numbers leave gaps; each target has all kinds.
SOURCES = {**{f"map{n}": f"dm-uuid=mpath-1Linux_scsi_debug_200{n}" for n in range(4)},
           **{f"plain{n}": f"wwid=1Linux_scsi_debug_200{n}" for n in range(4, 8)},
           **{f"volume{n}": f"dm-uuid=LAB-late{n}" for n in range(4)}}
WWNS = [f"naa.5001405dddddddd{n}" for n in range(3)]
PLACES = {name: (WWNS[i % 3], (0, 1, 7, 300, 16383)[i // 3]) for i, name in enumerate(SOURCES)}

BLACKLIST = """blacklist {
	wwid "1Linux_scsi_debug_200[4-7]"
}
"""
DISKS = """
def status():
    return run(["vhscsictl", "status"], check=False).returncode

def prepare():
    hosts = scsi_load(2, 8, "dev_size_mb=16")
    NullDisk(name="nullb300", size_mb=64)
    return hosts

def make(piece, hosts):
    kind, n, path = piece
    if kind == "volume":
        start = n * 8 * 2048
        run(f"dmsetup create late{n} --uuid LAB-late{n} --table '0 {8 * 2048} linear /dev/nullb300 {start}'")
    else:
        scsi_scan(hosts[path], n)
"""


def pieces() -> list[tuple[str, int, int]]:
    """What has to come for all to be there: a map is there with its first path."""
    return ([("map", n, path) for n in range(4) for path in range(2)] + [("plain", n, 0) for n in range(4, 8)] +
            [("volume", n, 0) for n in range(4)])


def all_late(vm: Vm) -> None:
    seed = int(os.environ.get("LAB_SEED", random.randrange(1 << 32)))
    print(f"    seed {seed} (LAB_SEED={seed} repeats it)", file=sys.stderr, flush=True)
    order = pieces()
    random.Random(seed).shuffle(order)

    before = inside(vm, SUMMARY + DISKS + f"""
multipath_configure({BLACKLIST!r})
hosts = prepare()
for piece in {pieces()!r}:
    make(piece, hosts)
udev_settle()
targets = [api.create(wwn, label=f"late {{n}}") for n, wwn in enumerate({WWNS!r})]
assert status() == 0
for name, (wwn, number) in {PLACES!r}.items():
    api.target(wwn).add_lun({SOURCES!r}[name], number=number, readonly=name == "plain5")
wait_until("all are online", lambda: {{t.get("State") for t in targets}} == {{"online"}}, 90)
wait_until("both paths of each", lambda: [len(m.paths) for m in multipath_maps()] == [2] * 4, 60)
assert status() == 0
os.sync()               # the lab's own files: the store has to see to itself
print(json.dumps(summary()))
""")
    vm.reboot()

    nothing = inside(vm, SUMMARY + DISKS + """
prepare()
print(json.dumps({"status": status(), "luns": summary(), "states": [t.get("State") for t in api.targets()],
                  "core": [p.name for p in CORE.glob("iblock_*")]}))
""")
    waiting = {w: {n: {**lun, "State": "waiting", "Size": 0} for n, lun in t["luns"].items()} for w, t in before.items()}
    for luns in waiting.values():
        for lun in luns.values():
            lun.pop("vpd")
    assert {w: t["luns"] for w, t in nothing["luns"].items()} == waiting, nothing
    assert nothing["status"] == 40 and nothing["states"] == ["incomplete"] * 3 and nothing["core"] == [], nothing

    # One after the other: after each exactly those are up whose disk there is.
    after = inside(vm, SUMMARY + DISKS + f"""
places, order = {PLACES!r}, {order!r}
hosts, there = scsi_hosts(), set()
for i, piece in enumerate(order):
    make(piece, hosts)
    there.add(f"{{piece[0]}}{{piece[1]}}")
    lun = api.target(places[f"{{piece[0]}}{{piece[1]}}"][0]).lun(places[f"{{piece[0]}}{{piece[1]}}"][1])
    lun.wait_state("online", 60)
    for name, (wwn, number) in places.items():
        state = api.target(wwn).lun(number).get("State")
        assert (state == "online") == (name in there), (i, piece, name, state)
    for wwn in {WWNS!r}:
        whole = all(n in there for n, p in places.items() if p[0] == wwn)
        wait_until("the target's state", lambda: api.target(wwn).get("State") == ("online" if whole else "incomplete"), 10)
    assert status() == (0 if len(there) == len(places) else 40), (i, status())
assert len(there) == 12
wait_until("both paths of each", lambda: [len(m.paths) for m in multipath_maps()] == [2] * 4, 60)
wait_until("all is well", lambda: status() == 0 and {{l.get("Health") for t in api.targets() for l in t.luns()}} == {{"ok"}}, 10)
print(json.dumps(summary()))
""", timeout=300)
    assert after == before, f"not the same after the boot:\nbefore {json.dumps(before, indent=1)}\nafter {json.dumps(after, indent=1)}"


def all_at_once(vm: Vm) -> None:
    """The same without waiting for each: the daemon has to catch up by itself, and a restart in the middle of it changes nothing."""
    seed = int(os.environ.get("LAB_SEED", random.randrange(1 << 32)))
    print(f"    seed {seed} (LAB_SEED={seed} repeats it)", file=sys.stderr, flush=True)
    order = pieces()
    random.Random(seed).shuffle(order)
    result = inside(vm, SUMMARY + DISKS + f"""
multipath_configure({BLACKLIST!r})
hosts = prepare()
places = {PLACES!r}
targets = [api.create(wwn) for wwn in {WWNS!r}]
for name, (wwn, number) in places.items():
    api.target(wwn).add_lun({SOURCES!r}[name], number=number)
assert status() == 40
serials = {{l.path: l.get("UnitSerial") for t in targets for l in t.luns()}}
for i, piece in enumerate({order!r}):
    make(piece, hosts)
    if i == 8:
        service_restart()
api = Api()
wait_until("all are up", lambda: status() == 0, 90)
found = {{l.path: l.get("UnitSerial") for t in api.targets() for l in t.luns()}}
print(json.dumps({{"same": found == serials, "states": [l.get("State") for t in api.targets() for l in t.luns()],
                   "linked": len(list(VHOST.glob("naa.5001405dddddddd*/tpgt_1/lun/lun_*/*d-*")))}}))
""", timeout=300)
    assert result == {"same": True, "states": ["online"] * 12, "linked": 12}, result


TESTS = [all_late, all_at_once]
