#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""vhscsi.ko beside vhost_scsi by the instructions that they need: one CPU whose clock is its instruction counter, so what is measured
is the same in every run and on every machine. `lab bench kmod` is the wall clock's.

    tests/bench/icount.py [--kernel=PACKAGES] [QUEUESxDEPTHxBYTES[w][@DISK]]...

The kernel is the lab's, or one whose packages (linux-image, both linux-headers, linux-kbuild) are in a directory. A w is for writes; the
disk is nullio, ramdisk, iblock or fileio."""
import re
import sys
import tempfile
from pathlib import Path

from barekernel import WWN, LabKernel, LabError, PackagedKernel, run_bare, stage

# What is to be reached, as a ratio to vhost_scsi; 1 where nothing is said.
WANTED = {"1x1x4096": 1.1, "1x32x4096": 1.15, "1x128x4096": 1.15}
WANTED_NEWER = {"1x32x4096": 1.2}
DISKS = ("nullio", "ramdisk", "iblock", "fileio")
ROWS = ["1x1x4096", "1x1x4096w", "1x128x4096", "4x32x4096",
        *(f"1x{depth}x{size}{w}@{disk}".removesuffix("@nullio")
          for disk in DISKS for depth, size in ((32, 4096), (32, 65536), (8, 1 << 20)) for w in ("", "w"))]
MS = 200
TIMEOUT = 1500
SCRIPT = f"""
shown=
while read -r name disk queues depth bytes direction; do
    [ "$disk" = "$shown" ] || show $disk
    shown=$disk
    for node in vhost-scsi vhscsi; do
        r=$(printf '\\n\\n' | /bin/initiator bench /dev/$node {WWN} $queues $depth $bytes $direction {MS} 2>&1 | tr '\\n' ' ')
        echo "RESULT $name $node $r"
    done
done < /list
"""


def listed(names: list[str]) -> str:
    lines = []
    for name in names:
        found = re.fullmatch(rf"(\d+)x(\d+)x(\d+)(w?)(?:@({'|'.join(DISKS)}))?", name)
        if not found:
            raise LabError(f"{name}: QUEUESxDEPTHxBYTES, a w for writes, and @ a disk")
        lines.append(f"{name} {found[5] or DISKS[0]} {found[1]} {found[2]} {found[3]} {'write' if found[4] else 'read'}\n")
    return "".join(lines)


def results(kernel: LabKernel | PackagedKernel, names: list[str]) -> dict[str, dict[str, float]]:
    with stage(f"counting instructions on {kernel.release}"):
        out = run_bare(kernel, SCRIPT, {"list": listed(names)}, ["-accel", "tcg", "-icount", "shift=0,sleep=off"], TIMEOUT)
    seen: dict[str, dict[str, float]] = {}
    for name, node, said in re.findall(r"^RESULT (\S+) (\S+) (.*)$", out, re.M):
        found = re.fullmatch(r"open (\d+) *", said)
        if not found:
            raise LabError(f"{name} on {node}: {said}")
        seen.setdefault(name, {})[node] = float(found[1])
    return seen


def table(seen: dict[str, dict[str, float]], to_reach: dict[str, float]) -> int:
    missed = 0
    for name, by_node in seen.items():
        ratio = by_node["vhscsi"] / by_node["vhost-scsi"]
        wanted = to_reach.get(name, 1.0)
        missed += ratio < wanted
        print(f"  {'reached' if ratio >= wanted else 'MISSED '}  {name:20} vhost_scsi {by_node['vhost-scsi']:9.0f}   "
              f"vhscsi {by_node['vhscsi']:9.0f}   {ratio:.2f}   (to reach: {wanted:.2f})", flush=True)
    return 1 if missed else 0


def main(arguments: list[str]) -> int:
    names = [a for a in arguments if not a.startswith("-")] or ROWS
    packages = next((a.removeprefix("--kernel=") for a in arguments if a.startswith("--kernel=")), None)
    if packages is None:
        return table(results(LabKernel(), names), WANTED)
    with tempfile.TemporaryDirectory(prefix="vhscsid-bench.") as d:
        return table(results(PackagedKernel(Path(packages), Path(d)), names), WANTED_NEWER)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as e:
        print(f"icount: {e}", file=sys.stderr)
        sys.exit(1)
