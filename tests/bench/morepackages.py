# SPDX-License-Identifier: LGPL-2.1-or-later
"""Packages that a bench needs in the machine, and that are too large for the image: downloaded here, installed there."""
import subprocess
import tempfile
from pathlib import Path

from host.build import run_logged, tar_of
from host.image import ensure_image
from host.stages import stage
from host.vm import Vm

WHERE = "var/lib/lab-packages"


def download(to: Path, names: tuple[str, ...]) -> None:
    """What apt would install in the machine."""
    (to / "partial").mkdir(parents=True)
    with stage(f"packages: {' '.join(names)}") as s, tempfile.TemporaryDirectory(prefix="vhscsid-bench.") as work:
        status = Path(work) / "status"
        subprocess.run(["debugfs", "-R", f"dump /var/lib/dpkg/status {status}", str(ensure_image() / "root.img")], check=True,
                       capture_output=True)
        run_logged(s, ["apt-get", "install", "--download-only", "-y", "-qq", "--no-install-recommends",
                       "-o", f"Dir::State::status={status}", "-o", f"Dir::Cache::archives={to}", "-o", "Debug::NoLocking=1",
                       "-o", "APT::Sandbox::User=root", *names])
        (to / "partial").rmdir()
        (to / "lock").unlink(missing_ok=True)


def install_packages(vm: Vm, *names: str) -> None:
    with tempfile.TemporaryDirectory(prefix="vhscsid-bench.") as d:
        download(Path(d) / WHERE, names)
        body = tar_of(Path(d))
    with stage("installing them"):
        vm.put_tar(body)
        # Not by dpkg, which knows no order among them. No word of them is needed from a mirror.
        vm.run("DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "
               f"-o Dpkg::Options::=--force-unsafe-io /{WHERE}/*.deb", timeout=900)
