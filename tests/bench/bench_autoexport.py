#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A SAN appears: N maps of two paths each, exported by a udev rule. How long after udev and multipathd are done with them do the LUNs
come? In the lab: `lab bench autoexport [N]`, N at most 16: so many the journal names one by one. The machine is emulated, so look at the
ratios, not at the seconds."""
import json
import re
import subprocess
import sys
import time
from pathlib import Path

from labdisks import mk_multipath, rm_multipath
from labkit import UNIT, Api, run, service_start, service_stop, wait_until

WWN = "naa.5001405f20000001"
RULES = Path("/run/udev/rules.d/58-lab-autoexport.rules")
EVENTS = Path("/run/lab-events")
RUNS = 3
EVENT = re.compile(r"^UDEV +\[([\d.]+)\] (\w+) .*?\n(.*?)(?:\n\n|\Z)", re.M | re.S)


def events() -> list[tuple[float, dict[str, str]]]:
    """What udev told its listeners, with the time of CLOCK_MONOTONIC at which a listener had it."""
    return [(float(when), dict(line.split("=", 1) for line in body.splitlines() if "=" in line))
            for when, _, body in EVENT.findall(EVENTS.read_text())]


def up_times() -> dict[str, float]:
    """Source -> when the service said that its LUN is up."""
    run(["journalctl", "--sync"])
    lines = run(["journalctl", "-b", "-u", UNIT, "-o", "json", "--no-pager"]).stdout.splitlines()
    up = {}
    for entry in map(json.loads, lines):
        if m := re.search(rf"Target {WWN}: LUN \d+ \((.*)\) is up", str(entry.get("MESSAGE"))):
            up[m[1]] = int(entry["__MONOTONIC_TIMESTAMP"]) / 1e6
    return up


def appear(count: int) -> tuple[float, dict[str, float], float]:
    """When modprobe began, when each map could be used first, when udev had nothing more to say."""
    with EVENTS.open("w") as out:
        monitor = subprocess.Popen(["udevadm", "monitor", "-u", "-p", "-s", "block"], stdout=out)
        wait_until("the monitor listens", lambda: "monitor will print" in EVENTS.read_text() or EVENTS.stat().st_size)
        begin = time.monotonic()
        mk_multipath(count)
        monitor.terminate()
        monitor.wait(30)
    first: dict[str, float] = {}
    last = begin
    for when, properties in events():
        last = max(last, when)
        uuid = properties.get("DM_UUID", "")
        if uuid.startswith("mpath-") and properties.get("MPATH_DEVICE_READY") == "1":
            first.setdefault(f"dm-uuid={uuid}", when)
    if len(first) != count:
        raise SystemExit(f"{len(first)} of {count} maps have had their event")
    return begin, first, last


def export(count: int) -> tuple[float, float, float, list[float]]:
    service_start()
    api = Api()
    begin, first, last = appear(count)

    def online() -> bool:
        target = next((t for t in api.targets() if t.wwn == WWN), None)
        return bool(target) and len(target.luns()) == count and target.get("State") == "online"
    wait_until("all LUNs are online", online, 120)
    up = up_times()
    api.target(WWN).destroy()
    api.close()
    service_stop()
    Path("/var/lib/vhscsid/removed.json").unlink(missing_ok=True)
    rm_multipath()
    if sorted(up) != sorted(first):
        raise SystemExit(f"exported: {sorted(up)}, maps: {sorted(first)}")
    return max(first.values()) - begin, last - begin, max(up.values()) - begin, [up[s] - first[s] for s in up]


def alone(count: int) -> float:
    begin, first, _ = appear(count)
    rm_multipath()
    return max(first.values()) - begin


def main(count: int) -> int:
    service_stop()
    RULES.parent.mkdir(parents=True, exist_ok=True)
    RULES.write_text(f'ENV{{DM_UUID}}=="mpath-*", ENV{{VHOSTSCSI_TARGET}}="{WWN}"\n')
    run(["udevadm", "control", "--reload"])
    print(f"{count} maps of two paths appear, seconds from modprobe on; median of {RUNS}", flush=True)
    without = sorted(alone(count) for _ in range(RUNS))
    print(f"  last map usable, without the service   {without[RUNS // 2]:8.2f} s   ({', '.join(f'{s:.2f}' for s in without)})", flush=True)
    runs = sorted((export(count) for _ in range(RUNS)), key=lambda r: r[2] / r[0])
    usable, quiet, online, delays = runs[RUNS // 2]
    delays = sorted(d for r in runs for d in r[3])
    print(f"  last map usable                        {usable:8.2f} s   ({', '.join(f'{r[0]:.2f}' for r in runs)})")
    print(f"  last LUN online                        {online:8.2f} s   ({', '.join(f'{r[2]:.2f}' for r in runs)})")
    print(f"  last event of udev's                   {quiet:8.2f} s   ({', '.join(f'{r[1]:.2f}' for r in runs)})")
    print(f"  a map's event to its LUN online        {delays[len(delays) // 2]:8.3f} s   (at most {delays[-1]:.3f})", flush=True)
    met = online / usable <= 1.1
    print(f"  {'reached' if met else 'MISSED '}  last LUN / last map usable     {online / usable:.3f}   (to reach: at most 1.100)")
    print(f"           last LUN / last event of udev's {online / quiet:.3f}", flush=True)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8))
