#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bringing one target with N LUNs up from nothing: vhscsid at its start, a sequential loop in C, `targetctl restore`. In the lab:
`lab bench restore [--runs=R] [N …]`. Theirs is measured up to 256 LUNs and extrapolated beyond, from two sizes and that it is quadratic. The
machine is emulated, so look at the ratios, not at the seconds."""
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from labkit import BUS_NAME, CORE, TARGET, TRACING, Api, ConfigfsTrace, run, service_pid, service_start, service_stop, wait_until
from minibus import Bus, Signal, plain

DAEMON = "/usr/libexec/vhscsid"
FLOOR = "/usr/local/lib/vhscsid-lab/floor"
SAVED = "/run/lab-saveconfig.json"
DBUS = "org.freedesktop.DBus"
WWN = "naa.5001405f20000000"
RUNS = 3
THEIRS_MAX = 256
TRACE_KIB = 16384


@dataclass
class Row:
    """What was measured with so many LUNs; seconds."""
    count: int
    floor: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    unit: list[float] = field(default_factory=list)
    rss: int = 0                # KiB
    theirs: float | None = None
    extrapolated: bool = False
    calls: float = 0            # that change configfs, or would, a LUN


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


def make_disks(count: int) -> None:
    run(["modprobe", "null_blk", f"nr_devices={count}", "gb=1"], timeout=600)
    run(["udevadm", "settle", "--timeout=600"], timeout=610)
    run(["modprobe", "-a", "vhost_scsi", "target_core_iblock"])
    wait_until("configfs is mounted", CORE.is_dir)


def apply_luns(count: int) -> None:
    """The service runs, and has the target with so many in the end, those that it has already among them."""
    luns = [{"number": n, "source": f"/dev/nullb{n}"} for n in range(count)]
    document = {"format": "vhscsid", "version": 1, "targets": [{"wwn": WWN, "luns": luns}]}
    run(["vhscsictl", "apply", "-"], input=json.dumps(document), timeout=600)


def make_wanted(count: int) -> None:
    service_start()
    apply_luns(count)
    wait_online()
    service_stop()
    down()


def wait_online() -> None:
    api = Api()
    # Asked of the bus: a call to the service itself would have systemd start a second one.
    wait_until("the name is owned", lambda: api.bus.call("NameHasOwner", "s", BUS_NAME)[0], 600, 0.02)
    target = api.target(WWN)
    wait_until("all are up", lambda: target.get("State") == "online", 600, 0.02)
    api.close()


class Watch:
    """Made before the start: hears when the target is up. Asking again and again would cost as much as what is measured."""

    def __init__(self):
        self.bus = Bus()
        self.path = f"/org/vhostscsi/target/{WWN.replace('.', '_2e')}"
        self.bus.match(f"type='signal',sender='{DBUS}',interface='{DBUS}',member='NameOwnerChanged',arg0='{BUS_NAME}'")
        self.bus.match(f"type='signal',interface='{DBUS}.Properties',member='PropertiesChanged',path='{self.path}',arg0='{TARGET}'")

    def is_online(self, signal: Signal) -> bool:
        if signal.member == "PropertiesChanged":
            return plain(signal.args[1]).get("State") == "online"
        if signal.member != "NameOwnerChanged" or not signal.args[2]:
            return False
        # What was up before the service took its name is no change that it tells of.
        state = self.bus.call("Get", "ss", TARGET, "State", path=self.path, interface=f"{DBUS}.Properties", dest=BUS_NAME)[0].value
        return state == "online"

    def online(self) -> float:
        """When."""
        self.bus.wait_signal("the target is online", self.is_online, 600)
        self.bus.close()
        return time.monotonic()


def restore_alone() -> float:
    """The process by itself, from its exec to the last LUN online: as the two others are timed."""
    watch = Watch()
    begin = time.monotonic()
    process = subprocess.Popen([DAEMON], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds = watch.online() - begin
    process.terminate()
    process.wait(60)
    down()
    return seconds


def restore_by_systemd() -> tuple[float, int]:
    """From `systemctl start` on, with the modules, the unit's sandbox and its system call filters; and the resident memory when all is
    quiet."""
    watch = Watch()
    begin = time.monotonic()
    service_start()
    seconds = watch.online() - begin
    api = Api()
    api.settled()
    api.close()
    wait_until("no child is left", lambda: run(["pgrep", "-P", str(service_pid())], check=False).stdout == "")
    status = Path(f"/proc/{service_pid()}/status").read_text()
    service_stop()
    down()
    return seconds, int(status.split("VmRSS:")[1].split()[0])


def calls_a_lun(count: int) -> float:
    with ConfigfsTrace() as trace:
        service_start()
        wait_online()
        calls = len(trace.changes(failed=True))
        trace.disarm()
    service_stop()
    down()
    return calls / count


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


def extrapolate(rows: list[Row], count: int) -> float | None:
    """t = a n + b n², through the two largest that were measured."""
    known = [r for r in rows if r.theirs is not None and not r.extrapolated][-2:]
    if len(known) < 2:
        return None
    (n, t), (m, u) = ((r.count, r.theirs) for r in known)
    b = (u / m - t / n) / (m - n)
    return (t / n - b * n) * count + b * count * count


def measure(count: int, runs: int) -> Row:
    row = Row(count)
    make_wanted(count)
    # In turns: what else the machine does hits one as much as the others.
    for _ in range(runs):
        row.floor.append(floor(count))
        row.ours.append(restore_alone())
        seconds, row.rss = restore_by_systemd()
        row.unit.append(seconds)
    row.calls = calls_a_lun(count)
    print(f"  {count:5} LUNs: C floor {listed(row.floor)}, vhscsid from its exec {listed(row.ours)}, by systemctl start {listed(row.unit)} s; "
          f"resident when idle {row.rss / 1024:.2f} MiB", flush=True)
    if count <= THEIRS_MAX:
        row.theirs = targetctl(count)
        print(f"  {count:5} LUNs: targetctl {row.theirs:.2f} s", flush=True)
    return row


def listed(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} ({', '.join(f'{s:.2f}' for s in sorted(seconds))})"


def goals(row: Row, before: Row | None) -> list[tuple[str, float, float, bool]]:
    """(what, figure, bound, whether it is to be at most that)"""
    ours = statistics.median(row.ours)
    found = [("vhscsid / C floor", ours / statistics.median(row.floor), 0.4, True),
             ("changing calls a LUN", row.calls, 20, True),
             ("resident, MiB", row.rss / 1024, 6 + 2 * row.count / 1000, True)]
    if row.theirs:
        how = " (extrapolated)" if row.extrapolated else ""
        found.append((f"targetctl{how} / vhscsid", row.theirs / ours, 60 if row.count >= 256 else 20, False))
    if before and row.count == 4 * before.count and before.count >= 256:
        found.append((f"vhscsid, {row.count} / {before.count} LUNs", ours / statistics.median(before.ours), 4.4, True))
    return found


def main(counts: list[int], runs: int) -> int:
    print(f"restore on null_blk, {os.cpu_count()} CPUs, emulated, Linux {os.uname().release}; median of {runs} runs, in turns, in seconds",
          flush=True)
    make_disks(max(counts))
    (TRACING / "buffer_size_kb").write_text(str(TRACE_KIB))
    rows = [measure(count, runs) for count in sorted(counts)]

    met = True
    for row, before in zip(rows, [None, *rows]):
        if row.theirs is None:
            row.theirs, row.extrapolated = extrapolate(rows, row.count), True
        for what, figure, bound, at_most in goals(row, before):
            reached = figure <= bound if at_most else figure >= bound
            met = met and reached
            print(f"  {'reached' if reached else 'MISSED '}  {row.count:5} LUNs  {what:36} {figure:8.2f}   "
                  f"(to reach: at {'most' if at_most else 'least'} {bound:g})", flush=True)
    return 0 if met else 1


def arguments(argv: list[str]) -> tuple[list[int], int]:
    runs = [int(a.removeprefix("--runs=")) for a in argv if a.startswith("--runs=")]
    return [int(a) for a in argv if a.isdigit()] or [64, 256], (runs or [RUNS])[-1]


if __name__ == "__main__":
    sys.exit(main(*arguments(sys.argv[1:])))
