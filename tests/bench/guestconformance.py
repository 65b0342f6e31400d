# SPDX-License-Identifier: LGPL-2.1-or-later
"""In the lab's machine, for hostbench_guest: what a nested guest finds when it examines a vhost-scsi disk, on one module and on the other."""
import re
import subprocess
import sys
from pathlib import Path

from cpio import Cpio
from labkit import run, service_stop
from nested import LIB, NestedGuest
from labkmod import WWN, Fabric

PROGRAMS = ("fio", "iscsi-test-cu", "sg_inq", "sg_luns", "sg_reset", "sg_readcap", "sg_turs", "sg_vpd", "sg_verify")
FIO = ("fio --name=v --filename=/dev/sda --direct=1 --verify=crc32c --verify_fatal=1 --do_verify=1 --randrepeat=1 --group_reporting "
       "--output-format=terse --terse-version=3 --size=12m ")
# Name, and what decides: its exit status.
COMMANDS = {
    "sg_turs": "sg_turs /dev/sg0",
    "sg_inq": "sg_inq /dev/sg0",
    "sg_inq serial": "sg_inq -p 0x80 /dev/sg0",
    "sg_vpd identification": "sg_vpd -p 0x83 /dev/sg0",
    "sg_vpd block limits": "sg_vpd -p bl /dev/sg0",
    "sg_readcap 16": "sg_readcap --16 /dev/sg0",
    "sg_luns": "sg_luns /dev/sg0",
    "sg_luns well known": "sg_luns -s 1 /dev/sg0",
    "sg_verify": "sg_verify --count=128 /dev/sg0",
    "sg_reset device": "sg_reset --device /dev/sg0",
    "sg_reset target": "sg_reset --target /dev/sg0",
    "sg_reset bus": "sg_reset --bus /dev/sg0",
    "sg_reset host": "sg_reset --host /dev/sg0",
    "read after resets": "sg_turs -n 4 /dev/sg0; sg_turs /dev/sg0",
    "fio random, 4 KiB": FIO + "--rw=randwrite --bs=4k --ioengine=psync",
    "fio random, 512 B to 256 KiB": FIO + "--rw=randwrite --bsrange=512-256k --bs_unaligned=0 --blockalign=512 --ioengine=psync",
    "fio sequential, 1 MiB": FIO + "--rw=write --bs=1m --ioengine=psync",
    "fio four jobs": FIO.replace("--size=12m", "--size=3m --offset_increment=3m") + "--numjobs=4 --rw=randwrite --bs=16k --ioengine=psync",
}


def guest_programs() -> bytes:
    """An initramfs on top of the guest's own: the programs, and the libraries that they need."""
    files: set[Path] = set()
    for name in PROGRAMS:
        path = Path(run(["which", name]).stdout.strip())
        files |= {path, *(Path(p) for p in re.findall(r"(/\S+) \(0x", run(["ldd", str(path)]).stdout))}
    cpio = Cpio()
    for directory in sorted({parent for f in files for parent in list(f.parents)[:-1]}):
        cpio.directory(str(directory).lstrip("/"))
    for f in sorted(files):
        cpio.file(str(f).lstrip("/"), f.read_bytes(), 0o755)
    cpio.directory("tmp")
    return cpio.finish()


def cunit(text: str) -> dict[str, str]:
    found, suite = {}, ""
    for part in re.split(r"^(?=Suite: |  Test: )", text, flags=re.M):
        if m := re.match(r"Suite: (\S+)", part):
            suite = m[1]
        elif m := re.match(r"  Test: (\S+) \.\.\.", part):
            # A test that is skipped says that it passed as well.
            result = "FAILED" if "FAILED" in part else "skipped" if "[SKIPPED]" in part else "passed" if "passed" in part else "no end"
            found[f"{suite}.{m[1]}"] = result
    return found


def examine(guest: NestedGuest, tests: str) -> dict[str, str]:
    results = {}
    for name, command in COMMANDS.items():
        code = int(guest.cmd(f"{command} > /tmp/out 2>&1; echo $?", timeout=400).split()[-1])
        results[name] = "passed" if code == 0 else f"FAILED ({code})"
        if code:
            print(f"    {name}: {guest.cmd('tail -n 3 /tmp/out').strip()}", flush=True)
    results |= cunit(guest.cmd(f"iscsi-test-cu --dataloss -t {tests} /dev/sg0 2>&1", timeout=1500, check=False))
    results["read at the end"] = "passed" if "0" == guest.cmd("sg_turs -n 4 /dev/sg0; sg_turs /dev/sg0; echo $?").split()[-1] else "FAILED"
    return results


def on_module(load: list[str], unload: str, tests: str) -> dict[str, str]:
    run(load)
    fabric = Fabric("vhost", "vhost-scsi")
    guest = NestedGuest("conformance")
    try:
        fabric.create()
        guest.start(WWN, ["-m", "640"], timeout=300)
        return examine(guest, tests)
    finally:
        guest.stop()
        fabric.destroy()
        run(["rmmod", unload])


def main(tests: str) -> int:
    service_stop()
    with open(LIB / "nested/init.cpio", "ab") as init:
        init.write(guest_programs())
    run(["modprobe", "target_core_mod"])
    subprocess.run(["modprobe", "-r", "vhost_scsi"], check=False)
    theirs = on_module(["modprobe", "vhost_scsi"], "vhost_scsi", tests)
    ours = on_module(["insmod", str(LIB / "vhscsi.ko")], "vhscsi", tests)
    rank = {"passed": 2, "skipped": 1}
    worse = 0
    print(f"{'test':50} {'vhost_scsi':12} vhscsi")
    for name in theirs | ours:
        a, b = theirs.get(name, "missing"), ours.get(name, "missing")
        less = rank.get(b, 0) < rank.get(a, 0)
        worse += less
        print(f"{name:50} {a:12} {b}{'   WORSE' if less else '   other' if a != b else ''}")
    for name, results in (("vhost_scsi", theirs), ("vhscsi", ours)):
        print(f"{name}: {sum(r == 'passed' for r in results.values())} passed, {sum(r == 'skipped' for r in results.values())} skipped, "
              f"{sum(r not in rank for r in results.values())} failed")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "ALL"))
