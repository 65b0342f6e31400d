# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a newcomer runs first: a multipath LUN of the host, given to a guest by vhscsid. And the benchmark."""
import json
import sys

from host.machine import Lab
from host.payload import BENCH, LIB
from host.stages import LabError, elapsed, say, stage
from host.vm import Vm

READ_MIB = 8


def show(vm: Vm, command: str) -> str:
    """Runs what a user would type, and shows it with its output."""
    print(f"\n\033[1mhost# {command}\033[0m" if sys.stdout.isatty() else f"\nhost# {command}", flush=True)
    result = vm.run(command, timeout=60)
    print(result.text.rstrip(), flush=True)
    return result.text


def python(vm: Vm, code: str, timeout: float = 120) -> str:
    return vm.run(["python3", "-c", f"import sys; sys.path.insert(0, '/{LIB}')\n{code}"], timeout=timeout).text


def walk(vm: Vm) -> None:
    """The walk itself; raises where it goes wrong."""
    with stage("the host: two paths to a disk (scsi_debug), multipathd, a pattern written to /dev/mapper/mpatha"):
        data = python(vm, "import labdisks\n"
                          "m = labdisks.mk_multipath(1)[0]\n"
                          f"labdisks.write_pattern(m.device, {READ_MIB}, 'vhscsid demo')\n"
                          f"print(m.name, labdisks.sha256(m.device, {READ_MIB}))").split()
        name, wanted = data[-2], data[-1]
    show(vm, "multipath -ll")
    out = show(vm, "vhscsictl create")
    wwn = next((w.strip(".,") for w in out.split() if w.startswith("naa.")), "")
    if not wwn:
        raise LabError(f"`vhscsictl create` named no target: {out}")
    show(vm, f"vhscsictl add-lun {wwn} /dev/mapper/{name}")
    show(vm, "vhscsictl list")
    show(vm, f"vhscsictl show {wwn}")
    command = f"nested-guest start guest {wwn}"
    print(f"\nhost# {command}    (qemu-system-x86_64 -accel kvm … -device vhost-scsi-pci,wwpn={wwn})", flush=True)
    with stage("the guest boots"):
        vm.run(command, timeout=180)
    inquiry = vm.run("nested-guest cmd guest inquiry").text.strip()
    print(f"guest# dmesg | grep Direct-Access\n{inquiry}")
    disks = python(vm, "import json, nested\nprint(json.dumps(nested.NestedGuest('guest').disks()))")
    for disk in json.loads(disks.splitlines()[-1]):
        print(f"guest: /dev/{disk['block']}, {int(disk['size']) >> 20} MiB, {disk['wwid']}")
    got = vm.run(f"nested-guest cmd guest sum sda {READ_MIB}").text.strip()
    print(f"\nhost's  sha256 of the first {READ_MIB} MiB of /dev/mapper/{name}: {wanted}")
    print(f"guest's sha256 of the first {READ_MIB} MiB of /dev/sda:          {got}", flush=True)
    if got != wanted or "LIO-ORG" not in inquiry:
        raise LabError("the guest did not read what the host wrote")


def demo(lab: Lab) -> int:
    with lab.machine() as vm:
        walk(vm)
    say(f"    {elapsed():.0f} s in all")
    print("demo: success: the guest read through vhost-scsi what the host wrote to the multipath map", flush=True)
    return 0


def bench(lab: Lab, name: str, arguments: list[str]) -> int:
    if (BENCH / f"hostbench_{name}.py").exists():
        sys.path.insert(0, str(BENCH))
        with lab.machine() as vm:
            return __import__(f"hostbench_{name}").bench(vm, arguments)
    if not (BENCH / f"bench_{name}.py").exists():
        raise LabError(f"no bench {name}")
    with lab.machine() as vm:
        return vm.run(["python3", f"/{LIB}/bench_{name}.py", *arguments], timeout=3600, check=False, echo=True).code
