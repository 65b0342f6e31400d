#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The functional checks of vhscsi.ko on another kernel than the lab's.

    tests/bench/otherkernel.py PACKAGES

A directory with the packages of one kernel: linux-image, both linux-headers, linux-kbuild (`apt-get download` them), or what
tests/lab/debug-kernel has built. The module is built against the headers, warnings being errors, and tests/kmod's initiator drives it on two
CPUs: its checks, then requests while memory table, rings and eventfds change under them, chains that are none, and owners that are killed.
The kernel panics at the first oops, and no complaint of it is forgiven, nor a leak where it looks for some (kmemleak). What it allocates is
not zeroed, as Debian's is by default, but filled with a pattern: none of that may reach the guest."""
import re
import sys
import tempfile
from pathlib import Path

from barekernel import WWN, LabError, PackagedKernel, run_bare, stage

BLOCKS = 32768
# Chains that break a ring whichever queue it is.
BAD = ("head", "next", "loop", "order", "address", "address-wrap", "length", "indirect-odd", "indirect-nested", "indirect-loop", "indirect-empty",
       "indirect-address", "indirect-long", "avail-index")
POISON = "init_on_alloc=0 slub_debug=P,kmalloc-1k,kmalloc-2k,kmalloc-4k"
SCRIPT = f"""
show ramdisk
/bin/initiator check /dev/vhscsi {WWN} {BLOCKS}
echo "CHURN $(/bin/initiator churn /dev/vhscsi {WWN} 20)"
echo "OFTEN $(/bin/initiator attach /dev/vhscsi {WWN} 50)"
for q in 0 2; do
    for chain in {" ".join(BAD)}; do
        echo "BAD $chain $q $(echo | /bin/initiator bad /dev/vhscsi {WWN} $chain $q | tr '\\n' ' ')"
    done
done
for n in 1 2 3 4 5; do
    mkfifo /loads$n
    /bin/initiator load /dev/vhscsi {WWN} > /loads$n &
    read -r word < /loads$n
    kill -9 $!
    wait $!
done
echo "KILLED $(/bin/initiator attach /dev/vhscsi {WWN} 1)"
"""


def main(packages: str) -> int:
    with tempfile.TemporaryDirectory(prefix="vhscsid-bench.") as d:
        kernel = PackagedKernel(Path(packages), Path(d))
        with stage(f"checks on {kernel.release}"):
            out = run_bare(kernel, SCRIPT, {}, ["-accel", "tcg,thread=multi", "-smp", "2"], 500, POISON)
    lines = re.findall(r"^((?:not )?ok .*|CHURN .*|OFTEN .*|BAD .*|KILLED .*|LEAKS .*)$", out, re.M)
    print("\n".join(lines))
    wrong = [line for line in lines if line.startswith("not ok") or (line.startswith("BAD") and not re.fullmatch(r"BAD \S+ \d broken works *", line))]
    ended = {"CHURN done", "OFTEN done", "KILLED done"} <= set(lines)
    return 0 if ended and not wrong and len(lines) > 20 else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]) if len(sys.argv) == 2 else __doc__)
    except LabError as e:
        print(f"otherkernel: {e}", file=sys.stderr)
        sys.exit(1)
