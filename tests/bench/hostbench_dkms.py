# SPDX-License-Identifier: LGPL-2.1-or-later
"""`lab bench dkms`: what `-Ddkms=true` installs is built, installed, loaded and removed by DKMS, in the lab's machine."""
import tempfile
from pathlib import Path

from host.build import SOURCE, run_logged, tar_of
from host.module import kernel_release
from host.payload import LIB
from host.stages import stage
from host.vm import Vm
from morepackages import install_packages

CHECKS = """
import os
from labkit import wait_until
from labkmod import Fabric
wait_until("the node", lambda: os.path.exists("/dev/vhost-scsi"))
fabric = Fabric("vhost", "vhost-scsi")
fabric.create()
try:
    seen = fabric.checks()
finally:
    fabric.destroy()
wrong = {name: why for name, why in seen.items() if why}
assert len(seen) >= 20 and not wrong, wrong
print(f"{len(seen)} checks of the initiator passed")
"""


def sources(to: Path) -> None:
    """What our own installation has for DKMS, and no more."""
    with stage("meson install -Ddkms=true") as s, tempfile.TemporaryDirectory(prefix="vhscsid-bench.") as work:
        run_logged(s, ["meson", "setup", "--prefix=/usr", "-Ddkms=true", "-Dtests=false", "-Dman=disabled", work, str(SOURCE)])
        run_logged(s, ["meson", "install", "-C", work, "--no-rebuild", "--tags", "dkms", "--destdir", str(to)])


def bench(vm: Vm, _: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="vhscsid-bench.") as d:
        top = Path(d)
        sources(top)
        version = next((top / "usr/src").glob("vhscsi-*")).name.removeprefix("vhscsi-")
        vm.put_tar(tar_of(top))
    install_packages(vm, "dkms", f"linux-headers-{kernel_release()}")
    with stage("dkms install"):
        vm.run(f"dkms install vhscsi/{version}", timeout=1200)
    print(vm.run("dkms status").text.strip(), flush=True)
    # By the name by which rtslib asks.
    vm.run("systemctl stop vhscsid; modprobe -r vhost_scsi; modprobe tcm_vhost")
    found = vm.run("modinfo -F filename vhscsi; cat /sys/module/vhscsi/version; test ! -e /sys/module/vhost_scsi").text.split()
    print(f"loaded: {found[0]}, version {found[1]}", flush=True)
    assert "/updates/dkms/" in found[0] and found[1] == version, found
    code = f"import sys; sys.path.insert(0, '/{LIB}')\n{CHECKS}"
    print(vm.run(["python3", "-c", code], timeout=300).text.strip(), flush=True)
    vm.run(f"modprobe -r vhscsi && dkms remove vhscsi/{version} --all", timeout=120)
    assert vm.run("modinfo vhscsi", check=False).code != 0, "dkms remove left the module"
    print("removed", flush=True)
    return 0
