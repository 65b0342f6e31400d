# SPDX-License-Identifier: LGPL-2.1-or-later
"""A kernel with nothing but busybox, both fabric modules and the initiator of tests/kmod: it boots in seconds, and need not be the lab's."""
import lzma
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))

from host.cpio import Cpio  # noqa: E402
from host.image import ensure_image, module_order  # noqa: E402
from host.module import built, kernel_release, module, point_headers_at  # noqa: E402
from host.payload import INITIATOR, KMOD_TESTS, compiled  # noqa: E402
from host.stages import LabError, stage  # noqa: E402

MODULES = ["vhost_scsi", "target_core_iblock", "target_core_file", "null_blk"]
WWN = "naa.5001405aaaaaaaaa"
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r m args; do insmod "/modules/$m" $args; done < /modules/order
mount -t configfs none /sys/kernel/config
cd /sys/kernel/config/target

store() {               # HBA NAME CONTROL
    mkdir -p core/$1/$2
    echo "$3" > core/$1/$2/control
    echo 1 > core/$1/$2/enable
}

# One of each kind for either fabric, for some are opened by one alone.
for f in vhost vhscsi; do
    n=$([ $f = vhost ] && echo 1 || echo 2)
    mkdir ../nullb/nullb$n
    echo 16 > ../nullb/nullb$n/size
    echo 1 > ../nullb/nullb$n/memory_backed
    echo 1 > ../nullb/nullb$n/power
    dd if=/dev/zero of=/file$n bs=1M count=16 2>/dev/null
    store rd_mcp_$n nullio rd_pages=4096,rd_nullio=1
    store rd_mcp_$n ramdisk rd_pages=4096
    store iblock_$n iblock udev_path=/dev/nullb$n
    store fileio_$n fileio fd_dev_name=/file$n,fd_dev_size=16777216
    mkdir -p $f $f/WWN/tpgt_1
    echo naa.5001405bbbbbbbbb > $f/WWN/tpgt_1/nexus
done

show() {                # NAME: LUN 0 of both
    for f in vhost vhscsi; do
        lun=$f/WWN/tpgt_1/lun/lun_0
        if [ -d $lun ]; then rm $lun/disk; rmdir $lun; fi
        mkdir $lun
        ln -s /sys/kernel/config/target/core/*_$([ $f = vhost ] && echo 1 || echo 2)/$1 $lun/disk
    done
}

""".replace("WWN", WWN)
END = """
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
if echo scan 2>/dev/null > /sys/kernel/debug/kmemleak; then
    # What is younger than that is not looked at.
    sleep 6
    echo scan > /sys/kernel/debug/kmemleak
    grep -B 4 -A 16 vhscsi /sys/kernel/debug/kmemleak && echo COMPLAINTS || echo LEAKS none
fi
dmesg | grep -E -A 100 'BUG:|WARNING:|Oops|Call Trace' && echo COMPLAINTS
echo DONE
poweroff -f
"""


def from_image(path: str) -> bytes:
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["debugfs", "-R", f"dump {path} {out.name}", str(ensure_image() / "root.img")], check=True, capture_output=True)
        return Path(out.name).read_bytes()


class LabKernel:
    """The lab's own."""

    def __init__(self):
        self.release = kernel_release()
        self.vmlinuz = ensure_image() / "vmlinux"
        self.ours = module()

    def read(self, path: str) -> bytes:
        """Of /lib/modules/RELEASE."""
        return from_image(f"/usr/lib/modules/{self.release}/{path}")


class PackagedKernel:
    """Of a directory with the packages of one: linux-image, both linux-headers, linux-kbuild."""

    def __init__(self, packages: Path, work: Path):
        missing = [package for program, package in (("depmod", "kmod"), ("pahole", "pahole")) if not shutil.which(program)]
        if missing:
            raise LabError(f"for a kernel from packages, apt-get install {' '.join(missing)}")
        with stage(f"unpacking {packages}") as s:
            for deb in sorted(packages.glob("*.deb")):
                s.note(deb.name)
                subprocess.run(["dpkg-deb", "-x", str(deb), str(work)], check=True)
            found = sorted((work / "boot").glob("vmlinuz-*"))
            if len(found) != 1:
                raise LabError(f"{packages}: one linux-image package is wanted, and there are {len(found)}")
            self.vmlinuz = found[0]
            self.release = self.vmlinuz.name.removeprefix("vmlinuz-")
            self.modules = work / "lib/modules" / self.release
            subprocess.run(["depmod", "-b", str(work), self.release], check=True)
        headers = work / f"usr/src/linux-headers-{self.release}"
        point_headers_at(headers, work)
        with stage(f"vhscsi.ko for {self.release}, warnings being errors") as s:
            self.ours = built(s, headers)

    def read(self, path: str) -> bytes:
        packed = self.modules / f"{path}.xz"
        return lzma.decompress(packed.read_bytes()) if packed.exists() else (self.modules / path).read_bytes()


def initramfs(kernel: LabKernel | PackagedKernel, script: str, files: dict[str, str]) -> bytes:
    cpio = Cpio()
    for directory in ("bin", "dev", "proc", "sys", "modules"):
        cpio.directory(directory)
    cpio.file("init", (INIT + script + END).encode(), 0o755)
    cpio.file("bin/busybox", from_image("/usr/bin/busybox"), 0o755)
    cpio.file("bin/initiator", compiled(*(KMOD_TESTS / name for name in INITIATOR)), 0o755)
    with tempfile.TemporaryDirectory() as d:
        for name in ("modules.dep", "modules.builtin"):
            (Path(d) / name).write_text(kernel.read(name).decode().replace(".ko.xz", ".ko"))
        paths = module_order(Path(d), MODULES)
    order = []
    for path in paths:
        name = Path(path).name
        cpio.file(f"modules/{name}", kernel.read(path))
        order.append(f"{name} nr_devices=0\n" if name == "null_blk.ko" else f"{name}\n")
    cpio.file("modules/vhscsi.ko", kernel.ours)
    cpio.file("modules/order", "".join([*order, "vhscsi.ko fabric=vhscsi node=vhscsi\n"]).encode())
    for name, text in files.items():
        cpio.file(name, text.encode())
    return cpio.finish()


def run_bare(kernel: LabKernel | PackagedKernel, script: str, files: dict[str, str], machine: list[str], timeout: float,
             append: str = "") -> str:
    """What the script printed, on a machine of its own."""
    with tempfile.TemporaryDirectory(prefix="vhscsid-bench.") as d:
        (Path(d) / "initrd").write_bytes(initramfs(kernel, script, files))
        argv = ["qemu-system-x86_64", "-machine", "q35", *machine, "-cpu", "max,erms=off", "-m", "1024", "-nodefaults", "-no-user-config",
                "-display", "none", "-serial", "stdio", "-no-reboot", "-kernel", str(kernel.vmlinuz), "-initrd", f"{d}/initrd",
                "-append", f"console=ttyS0 mitigations=off quiet panic=-1 oops=panic rdinit=/init {append}"]
        out = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout).stdout.replace("\r", "")
    if not re.search(r"^DONE$", out, re.M) or re.search(r"^COMPLAINTS$", out, re.M):
        raise LabError(f"it did not get to its end, or the kernel complained:\n{out[-8000:]}")
    return out
