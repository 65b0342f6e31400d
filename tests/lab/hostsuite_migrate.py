# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two hosts that see the same disks: what one has dumped, the other imports, and a guest that moves finds its disks."""
from host.payload import LIB
from host.vm import Vm
from hostsuite_reboot import inside

SEED = "0c7ff7f0-6f0c-4d5a-9d3e-3f0b6f6f6f01"
NUMBERS = (3, 9)

# Two maps, as every host of the SAN has them: what they are called is the array's word (vpd_use_hostno=0).
FIRST = f"""
maps = mk_multipath(2)
t = api.create(seed={SEED!r}, label="moves")
t.add_lun(maps[0].device, number={NUMBERS[0]})
t.add_lun(maps[1].device, number={NUMBERS[1]}, name="data", serial="0123456789abcdef0123456789", readonly=True)
print(json.dumps(t.wwn))
"""
SECOND = """
mk_multipath(2)
print(json.dumps([t.wwn for t in api.targets()]))
"""

# What any guest is told, asked as a guest does: standard data, serial number (page 80), designators (page 83).
SEEN = """
t = api.target(%r)
wait_until("its disks are there", lambda: {l.get("State") for l in t.luns()} == {"online"}, 60)
pages = ["", " 80", " 83"]
numbers = %r
out = run(["/%s/kmod-initiator", "talk", "/dev/vhost-scsi", t.wwn],
          input="".join(f"inquiry {n}{page}\\n" for n in numbers for page in pages) + "exit\\n").stdout.split()
assert out[0] == "ready" and len(out) == 1 + len(numbers) * len(pages), out
answers = iter(out[1:])
luns = {}
for n in numbers:
    luns[n] = {page.strip() or "standard": next(answers) for page in pages}
    luns[n].update({k: t.lun(n).get(k) for k in ("Source", "UnitSerial", "GuestWwid", "ReadOnly", "Size")})
print(json.dumps({"nexus": t.get("Nexus"), "luns": luns}))
"""


def seen(vm: Vm, wwn: str) -> dict:
    return inside(vm, SEEN % (wwn, NUMBERS, LIB))


def dump_here_import_there(vm: Vm) -> None:
    another = Vm(vm.image)
    another.prepare = vm.prepare
    with another:
        wwn, there = inside(vm, FIRST, 300), inside(another, SECOND, 300)
        assert there == [], there
        before = seen(vm, wwn)
        dump = vm.run(["vhscsictl", "dump", "native", "--portable", f"--target={wwn}"]).out
        another.run(["vhscsictl", "import", "native", "-"], input=dump)
        after = seen(another, wwn)
        again = another.run(["vhscsictl", "dump", "native", "--portable", f"--target={wwn}"]).out

        for number, lun in before["luns"].items():
            # The pages hold what the service says that they hold, or comparing them would say nothing.
            assert bytes.fromhex(lun["80"])[4:].rstrip(b"\0").decode() == lun["UnitSerial"], lun
            assert lun["GuestWwid"].removeprefix("wwn-0x") in lun["83"], lun
            assert b"LIO-ORG" in bytes.fromhex(lun["standard"]), lun
            assert after["luns"][number] == lun, f"LUN {number}:\n  before {lun}\n  after  {after['luns'][number]}"
        assert before["luns"][str(NUMBERS[0])]["83"] != before["luns"][str(NUMBERS[1])]["83"], before
        assert before == after, f"before {before}\nafter  {after}"
        assert dump == again, f"before {dump!r}\nafter  {again!r}"


TESTS = [dump_here_import_there]
