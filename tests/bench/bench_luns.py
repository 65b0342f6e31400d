#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A target that has N LUNs on null_blk: adding one more, beside adding it to 16, and beside what a plain C loop over configfs needs for the
same; listing them, beside `targetcli ls`; starting over them, with nothing to do; the memory of it all. In the lab: `lab bench luns [N]`. The
machine is emulated, so look at the ratios, not at the seconds."""
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench_restore import FLOOR, TRACE_KIB, WWN, apply_luns, listed, make_disks
from labkit import TRACING, Api, ConfigfsTrace, Target, run, service_pid, service_start, service_stop, wait_until

FEW = 16
ROUNDS, TIMES = 5, 20           # ours and the floor's in turns
RUNS = 5


def timed(argv: list[str]) -> float:
    begin = time.monotonic()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, timeout=1800)
    return time.monotonic() - begin


def add_often(target: Target, number: int) -> list[float]:
    seconds = []
    for _ in range(TIMES):
        begin = time.monotonic()
        target.add_lun(f"/dev/nullb{number}", number=number)
        seconds.append(time.monotonic() - begin)
        target.remove_lun(number)
    return seconds


def floor_often(number: int) -> list[float]:
    """In the same target, by a plain loop, while nobody looks."""
    service_stop()
    seconds = [float(line) for line in run([FLOOR, "add", WWN, str(number), str(TIMES)], timeout=600).stdout.split()]
    service_start()
    return seconds


def connect() -> tuple[Api, Target]:
    api = Api()
    target = api.target(WWN)
    wait_until("all are up", lambda: target.get("State") == "online", 600, 0.02)
    return api, target


def add_to(count: int) -> tuple[float, float]:
    """Medians, ours and the floor's, of adding one to so many."""
    ours, floor = [], []
    for _ in range(ROUNDS):
        api, target = connect()
        ours += add_often(target, count)
        api.close()
        floor += floor_often(count)
    print(f"  AddLun at {count} LUNs: {statistics.median(ours) * 1000:.1f} ms (least {min(ours) * 1000:.1f}); C floor "
          f"{statistics.median(floor) * 1000:.1f} ms (least {min(floor) * 1000:.1f})", flush=True)
    return statistics.median(ours), statistics.median(floor)


def start_over() -> tuple[list[float], list[float], int]:
    """Over what is live: until READY=1, until nothing is left to do, and how often configfs was changed."""
    ready, calm = [], []
    for _ in range(RUNS):
        service_stop()
        begin = time.monotonic()
        service_start()
        ready.append(time.monotonic() - begin)
        api, _ = connect()
        calm.append(time.monotonic() - begin)
        api.close()
    service_stop()
    with ConfigfsTrace() as trace:
        service_start()
        api, _ = connect()
        api.settled()
        api.close()
        changes = [c for c in trace.changes(failed=True) if c.startswith("vhscsid")]
        trace.disarm()
    return ready, calm, len(changes)


def resident() -> float:
    """MiB, when all is quiet."""
    wait_until("no child is left", lambda: run(["pgrep", "-P", str(service_pid())], check=False).stdout == "")
    return int(Path(f"/proc/{service_pid()}/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


def main(count: int) -> int:
    print(f"{count} LUNs on null_blk, {os.cpu_count()} CPUs, emulated, Linux {os.uname().release}; medians", flush=True)
    make_disks(count + 1)
    (TRACING / "buffer_size_kb").write_text(str(TRACE_KIB))
    service_start()
    apply_luns(FEW)
    few, few_floor = add_to(FEW)
    apply_luns(count)
    many, many_floor = add_to(count)

    ready, calm, changes = start_over()
    print(f"  systemctl start over {count} live ones: READY=1 after {listed(ready)} s, the target online after {listed(calm)} s; "
          f"{changes} calls that change configfs", flush=True)
    memory = resident()
    list_ours, json_ours = ([timed(["vhscsictl", *argv, "list"]) for _ in range(RUNS)] for argv in ([], ["--json=short"]))
    theirs = timed(["targetcli", "ls"])
    print(f"  vhscsictl list {listed(list_ours)} s, --json {listed(json_ours)} s; targetcli ls {theirs:.2f} s", flush=True)

    met = True
    for what, figure, bound, at_most in (
            (f"AddLun at {count} / at {FEW} LUNs", many / few, 1.2, True),
            ("targetcli ls / vhscsictl list", theirs / statistics.median(list_ours), 20, False),
            ("targetcli ls / vhscsictl --json list", theirs / statistics.median(json_ours), 20, False),
            ("changing calls of a start, no drift", changes, 0, True),
            ("resident, MiB", memory, 6 + 2 * count / 1000, True)):
        reached = figure <= bound if at_most else figure >= bound
        met = met and reached
        print(f"  {'reached' if reached else 'MISSED '}  {what:40} {figure:8.2f}   (to reach: at {'most' if at_most else 'least'} {bound:g})",
              flush=True)
    print(f"  beside it the C floor: {count} / {FEW} LUNs x {many_floor / few_floor:.2f}; AddLun / floor: {few / few_floor:.2f} at {FEW}, "
          f"{many / many_floor:.2f} at {count}", flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1024))
