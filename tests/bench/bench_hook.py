#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What libvirt's hook costs a guest that has no target, which is every guest of a host for each of its operations. To be run by hand, built for
release:

    tests/bench/bench_hook.py build/client/vhscsictl

Medians of 20 runs, from the fork to the exit status, beside /bin/true's; the hook is to stay below 20 ms."""

import statistics
import subprocess
import sys
import tempfile
import time

RUNS = 20
DISK = ("<disk type='block' device='disk'><driver name='qemu' type='raw' cache='none'/><source dev='/dev/mapper/mpath{0}'/><target dev='sd{0}' bus='scsi'/>"
        "<address type='drive' controller='0' bus='0' target='0' unit='{0}'/></disk>\n")


def domain(disks: int) -> bytes:
    return ("<domain type='kvm' id='3'><name>vm-a</name><uuid>6ba7b810-9dad-11d1-80b4-00c04fd430c8</uuid><devices>\n"
            + "".join(DISK.format(n) for n in range(disks)) + "</devices></domain>\n").encode()


def median(program: list[str], given: bytes) -> float:
    """In milliseconds."""
    times = []
    with tempfile.TemporaryFile() as f:
        f.write(given)
        for _ in range(RUNS):
            f.seek(0)
            begin = time.perf_counter()
            subprocess.run(program, stdin=f, check=True)
            times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000


def main() -> int:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    plain = median(["/bin/true"], b"")
    rows = [("/bin/true", plain)]
    for operation, disks in (("start", 4), ("prepare", 4), ("prepare", 256)):
        given = domain(disks)
        rows.append((f"{operation}, {len(given) / 1024:.0f} KiB of XML", median([sys.argv[1], "libvirt-hook", "vm-a", operation, "begin", "-"], given)))
    for what, taken in rows:
        print(f"{what:<32} {taken:6.1f} ms  {taken / plain:5.1f}")
    return 0 if all(taken <= 20 for _, taken in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
