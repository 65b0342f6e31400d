#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""vhscsi.ko beside vhost_scsi by the instructions that they need: one CPU whose clock is its instruction counter, so what is measured
is the same in every run and on every machine.

    tests/bench/icount.py [QUEUES×DEPTH×BYTES[w]]...

Nothing but the lab's kernel, both modules and the initiator of tests/kmod boots here, in seconds. `lab bench kmod` is the wall clock's."""
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lab"))

from host.cpio import Cpio  # noqa: E402
from host.image import ensure_image  # noqa: E402
from host.module import kernel_release, module  # noqa: E402
from host.payload import INITIATOR, KMOD_TESTS, compiled  # noqa: E402
from host.stages import LabError, stage  # noqa: E402

# What is to be reached, as a ratio to vhost_scsi.
WANTED = {"1x1x4096": 1.1, "1x32x4096": 1.15, "1x128x4096": 1.15, "4x32x4096": 1.0, "1x32x4096w": 1.0, "1x32x65536": 1.0,
          "1x8x1048576": 1.0}
MS = 200
TIMEOUT = 900
INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r m; do insmod "/modules/$m"; done < /modules/order
insmod /modules/vhscsi.ko fabric=vhscsi node=vhscsi
mount -t configfs none /sys/kernel/config
cd /sys/kernel/config/target
for f in vhost vhscsi; do
    d=core/rd_mcp_$([ $f = vhost ] && echo 1 || echo 2)/disk
    mkdir -p $d
    echo rd_pages=4096,rd_nullio=1 > $d/control
    echo 1 > $d/enable
    mkdir $f
    mkdir -p $f/naa.5001405aaaaaaaaa/tpgt_1
    cd $f/naa.5001405aaaaaaaaa/tpgt_1
    echo naa.5001405bbbbbbbbb > nexus
    mkdir lun/lun_0
    ln -s /sys/kernel/config/target/$d lun/lun_0/disk
    cd /sys/kernel/config/target
done
while read -r name queues depth bytes direction; do
    for node in vhost-scsi vhscsi; do
        r=$(printf '\\n\\n' | /bin/initiator bench /dev/$node naa.5001405aaaaaaaaa $queues $depth $bytes $direction MS 2>&1 | tr '\\n' ' ')
        echo "RESULT $name $node $r"
    done
done < /list
echo DONE
poweroff -f
""".replace(" MS ", f" {MS} ")


def from_image(path: str) -> bytes:
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["debugfs", "-R", f"dump {path} {out.name}", str(ensure_image() / "root.img")], check=True, capture_output=True)
        return Path(out.name).read_bytes()


def module_order(release: str) -> list[str]:
    """vhost_scsi and what it needs, in the order to load them."""
    depends = dict(line.split(":") for line in from_image(f"/usr/lib/modules/{release}/modules.dep").decode().splitlines())
    wanted = next(m for m in depends if m.endswith("/vhost_scsi.ko"))
    return [*reversed(depends[wanted].split()), wanted]


def initramfs(names: list[str]) -> bytes:
    release = kernel_release()
    cpio = Cpio()
    for directory in ("bin", "dev", "proc", "sys", "modules"):
        cpio.directory(directory)
    cpio.file("init", INIT.encode(), 0o755)
    cpio.file("bin/busybox", from_image("/usr/bin/busybox"), 0o755)
    cpio.file("bin/initiator", compiled(*(KMOD_TESTS / name for name in INITIATOR)), 0o755)
    order = module_order(release)
    for path in order:
        cpio.file(f"modules/{Path(path).name}", from_image(f"/usr/lib/modules/{release}/{path}"))
    cpio.file("modules/order", "".join(f"{Path(path).name}\n" for path in order).encode())
    cpio.file("modules/vhscsi.ko", module())
    lines = []
    for name in names:
        found = re.fullmatch(r"(\d+)x(\d+)x(\d+)(w?)", name)
        if not found:
            raise LabError(f"{name}: QUEUESxDEPTHxBYTES, and a w for writes")
        lines.append(f"{name} {found[1]} {found[2]} {found[3]} {'write' if found[4] else 'read'}\n")
    cpio.file("list", "".join(lines).encode())
    return cpio.finish()


def results(names: list[str]) -> dict[str, dict[str, float]]:
    with tempfile.TemporaryDirectory(prefix="vhscsid-bench.") as d:
        (Path(d) / "initrd").write_bytes(initramfs(names))
        argv = ["qemu-system-x86_64", "-machine", "q35", "-accel", "tcg", "-icount", "shift=0,sleep=off", "-cpu", "max,erms=off",
                "-m", "1024", "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-no-reboot",
                "-kernel", str(ensure_image() / "vmlinux"), "-initrd", f"{d}/initrd",
                "-append", "console=ttyS0 mitigations=off quiet panic=-1 rdinit=/init"]
        with stage("counting instructions"):
            out = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT).stdout
    if "DONE" not in out:
        raise LabError(f"it did not get to its end:\n{out[-3000:]}")
    seen: dict[str, dict[str, float]] = {}
    for name, node, said in re.findall(r"^RESULT (\S+) (\S+) (.*)$", out, re.M):
        found = re.fullmatch(r"open (\d+) *\r?", said)
        if not found:
            raise LabError(f"{name} on {node}: {said}")
        seen.setdefault(name, {})[node] = float(found[1])
    return seen


def main(names: list[str]) -> int:
    missed = 0
    for name, by_node in results(names or list(WANTED)).items():
        ratio = by_node["vhscsi"] / by_node["vhost-scsi"]
        wanted = WANTED.get(name, 1.0)
        missed += ratio < wanted
        print(f"  {'reached' if ratio >= wanted else 'MISSED '}  {name:14} vhost_scsi {by_node['vhost-scsi']:9.0f}   "
              f"vhscsi {by_node['vhscsi']:9.0f}   {ratio:.2f}   (to reach: {wanted:.2f})", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as e:
        print(f"icount: {e}", file=sys.stderr)
        sys.exit(1)
