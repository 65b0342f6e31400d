#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bringing one target with N LUNs up from nothing: vhscsid at its start, a sequential loop in C, `targetctl restore`. In the lab:
`lab bench [N]`. The machine is emulated, so look at the ratios, not at the seconds."""
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from labkit import BUS_NAME, CORE, Api, run, service_pid, service_start, service_stop, wait_until

DAEMON = "/usr/libexec/vhscsid"
FLOOR = "/usr/local/lib/vhscsid-lab/floor"
SAVED = "/run/lab-saveconfig.json"
WWN = "naa.5001405f20000000"
RUNS = 3


def down() -> float:
    seconds = float(run([FLOOR, "down"], timeout=600).stdout)
    left = [d for d in os.listdir(CORE) if d.startswith("iblock_")]
    if left:
        raise SystemExit(f"still there: {left}")
    return seconds


def floor(count: int) -> float:
    seconds = float(run([FLOOR, "up", str(count)], timeout=600).stdout)
    down()
    return seconds


def make_wanted(count: int) -> None:
    service_start()
    api = Api()
    target = api.create(WWN)
    # Fewer than the bus lets one connection have under way.
    for start in range(0, count, 64):
        for serial in [target.send("AddLun", "sa{sv}", f"/dev/nullb{n}", {}) for n in range(start, min(start + 64, count))]:
            api.bus.wait(serial, 300)
    api.close()
    service_stop()
    down()


def wait_online() -> None:
    api = Api()
    # Asked of the bus: a call to the service itself would have systemd start a second one.
    wait_until("the name is owned", lambda: api.bus.call("NameHasOwner", "s", BUS_NAME)[0], 600, 0.02)
    target = api.target(WWN)
    wait_until("all are up", lambda: target.get("State") == "online", 600, 0.02)
    api.close()


def restore_alone() -> float:
    """The process by itself, from its exec to the last LUN online: as the two others are timed."""
    begin = time.monotonic()
    process = subprocess.Popen([DAEMON], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_online()
    seconds = time.monotonic() - begin
    process.terminate()
    process.wait(60)
    down()
    return seconds


def restore_by_systemd() -> tuple[float, int]:
    """From `systemctl start` on, with the modules, the unit's sandbox and its system call filters; and the resident memory when all is
    quiet."""
    begin = time.monotonic()
    service_start()
    wait_online()
    seconds = time.monotonic() - begin
    api = Api()
    api.settled()
    api.close()
    wait_until("no child is left", lambda: run(["pgrep", "-P", str(service_pid())], check=False).stdout == "")
    status = Path(f"/proc/{service_pid()}/status").read_text()
    service_stop()
    down()
    return seconds, int(status.split("VmRSS:")[1].split()[0])


def targetctl(count: int) -> float:
    """rtslib's own saved configuration of the floor's target."""
    run([FLOOR, "up", str(count)], timeout=600)
    os.makedirs("/etc/rtslib-fb-target", exist_ok=True)
    run(["targetctl", "save", SAVED], timeout=1800)
    luns = json.loads(Path(SAVED).read_text())["targets"][0]["tpgs"][0]["luns"]
    if len(luns) != count:
        raise SystemExit(f"targetctl saved {len(luns)} LUNs of {count}")
    down()
    begin = time.monotonic()
    subprocess.run(["targetctl", "restore", SAVED], check=True, timeout=3600)
    seconds = time.monotonic() - begin
    down()
    return seconds


def main(count: int) -> int:
    print(f"{count} LUNs on null_blk, {os.cpu_count()} CPUs, Linux {os.uname().release}", flush=True)
    run(["modprobe", "null_blk", f"nr_devices={count}", "gb=1"])
    run(["udevadm", "settle", "--timeout=180"], timeout=200)
    run(["modprobe", "-a", "vhost_scsi", "target_core_iblock"])
    wait_until("configfs is mounted", CORE.is_dir)

    floors = sorted(floor(count) for _ in range(RUNS))
    print(f"  C floor, one after the other   {floors[RUNS // 2]:8.2f} s   ({', '.join(f'{s:.2f}' for s in floors)})", flush=True)
    make_wanted(count)
    runs = sorted(restore_alone() for _ in range(RUNS))
    ours = runs[RUNS // 2]
    print(f"  vhscsid, exec to all online    {ours:8.2f} s   ({', '.join(f'{s:.2f}' for s in runs)})", flush=True)
    units = sorted(restore_by_systemd() for _ in range(RUNS))
    unit, rss = units[RUNS // 2]
    print(f"  the same by systemctl start    {unit:8.2f} s   ({', '.join(f'{s:.2f}' for s, _ in units)}; the unit's sandbox is in it)",
          flush=True)
    print(f"  vhscsid, resident when idle    {rss / 1024:8.2f} MiB", flush=True)
    theirs = targetctl(count)
    print(f"  targetctl restore              {theirs:8.2f} s", flush=True)
    met = (ours / floors[RUNS // 2] <= 0.5, theirs / ours >= 50, rss <= 8 * 1024)
    for text, ok in zip((f"vhscsid / floor      {ours / floors[RUNS // 2]:.2f}   (to reach: at most 0.50)",
                         f"targetctl / vhscsid  {theirs / ours:.0f}   (to reach: at least 50)",
                         f"RSS                  {rss / 1024:.2f} MiB   (to reach: at most 8)"), met):
        print(f"  {'reached' if ok else 'MISSED '}  {text}", flush=True)
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 256))
