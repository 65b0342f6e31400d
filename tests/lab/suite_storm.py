# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hundreds of disks that come and go at once, with a receive buffer that is too small for it; and the quiet after that."""
import os
import time
from pathlib import Path

from labdisks import NULLB, udev_settle
from labkit import UNIT, Api, LabTest, Target, run, service_pid, service_restart, wait_until

# STORM_COUNT=1000 tests/lab/lab suite storm takes its time.
COUNT = int(os.environ.get("STORM_COUNT", "400"))
ROUNDS = 3
SLICE = Path("/sys/fs/cgroup/system.slice")
DROP_IN = Path(f"/run/systemd/system/{UNIT}.d/storm.conf")
LOST = "News of devices were lost"


class Crowd:
    """null_blk disks by configfs: quick to make, and they can be taken away while they are open."""

    def __init__(self, count: int = COUNT):
        self.count = count
        self.rounds = 0
        run(["modprobe", "null_blk", "nr_devices=0"])

    @staticmethod
    def name(number: int) -> str:
        return f"nullb{5000 + number}"

    def device(self, number: int) -> str:
        return f"/dev/{self.name(number)}"

    def come_one(self, number: int) -> None:
        d = NULLB / self.name(number)
        d.mkdir()
        # Larger each time: who shows what he knew before is found out.
        (d / "size").write_text(str(16 + number % 5 + 8 * self.rounds))
        (d / "power").write_text("1")

    def go_one(self, number: int) -> None:
        d = NULLB / self.name(number)
        if d.exists():
            (d / "power").write_text("0")
            d.rmdir()

    def come(self) -> None:
        self.rounds += 1
        for number in range(self.count):
            self.come_one(number)
        run(["udevadm", "settle", "--timeout=280"], timeout=290)

    def go(self) -> None:
        for number in range(self.count):
            self.go_one(number)
        run(["udevadm", "settle", "--timeout=280"], timeout=290)


def present() -> dict[str, int]:
    """What the kernel has, partitions included."""
    numbers = [Path("/sys/dev/block", n) for n in os.listdir("/sys/dev/block")]
    return {os.path.basename(os.readlink(p)): int((p / "size").read_text()) * 512 for p in numbers}


def known(api: Api) -> dict[str, int]:
    return {d["name"]: d["size"] for d in api.devices() if d["type"] != "file"}


def cpu_seconds(unit: str) -> float:
    return int((SLICE / unit / "cpu.stat").read_text().split()[1]) / 1e6


def cpu_both() -> tuple[float, float]:
    return cpu_seconds(UNIT), cpu_seconds("systemd-udevd.service")


def losses() -> int:
    return run(["journalctl", "-b", "-u", UNIT, "-o", "cat", "--no-pager"]).stdout.count(LOST)


def small_buffer(size: int = 4096) -> None:
    DROP_IN.parent.mkdir(exist_ok=True)
    DROP_IN.write_text(f"[Service]\nEnvironment=VHSCSID_UEVENT_BUFFER={size}\n")
    run(["systemctl", "daemon-reload"])
    service_restart()


def usual_buffer() -> None:
    if DROP_IN.exists():
        DROP_IN.unlink()
        run(["systemctl", "daemon-reload"])
    service_restart()


def switches() -> int:
    """How often a thread of the daemon has gone to sleep, and so been woken."""
    total = 0
    for task in Path(f"/proc/{service_pid()}/task").iterdir():
        total += int((task / "status").read_text().split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return total


class StormTest(LabTest):
    def wanted(self, crowd: Crowd, numbers: list[int]) -> Target:
        target = self.api.create()
        for at, number in enumerate(numbers):
            crowd.come_one(number)
            wait_until("udev knows it", lambda: os.path.exists(crowd.device(number)))
            udev_settle()
            target.add_lun(crowd.device(number), number=at * 7)
        return target

    def check_noticed(self, target: Target, numbers: list[int], come: bool) -> float:
        """What udev has told, no LUN has missed, however long its pass may take. Returns after how long."""
        begin = time.monotonic()

        def noticed() -> bool:
            states = [target.lun(at * 7).get("State") for at in range(len(numbers))]
            assert all((state in ("attaching", "online")) == come for state in states), states
            return True
        wait_until("each LUN knows", noticed, 60, 0.01)
        return time.monotonic() - begin

    def check_luns(self, crowd: Crowd, target: Target, numbers: list[int], state: str) -> float:
        """Each as it should be, with its number, on the disk that is there now. Returns how long that took."""
        begin = time.monotonic()
        for at, number in enumerate(numbers):
            lun = target.lun(at * 7)
            lun.wait_state(state, 60)
            self.assertEqual(lun.get("Source"), f"path={crowd.device(number)}")
            if state == "online":
                place = Path("/sys/kernel/config/target/core", lun.get("Backstore"))
                instance = Path("/sys/block", crowd.name(number), "diskseq").read_text().strip()
                self.assertIn(f"diskseq={instance}", (place / "alias").read_text())
                self.assertEqual(lun.get("Size"), int(Path("/sys/block", crowd.name(number), "size").read_text()) * 512)
        self.assertEqual(len(target.luns()), len(numbers))
        return time.monotonic() - begin

    def test_come_and_go_with_losses(self) -> None:
        crowd = Crowd()
        self.addCleanup(usual_buffer)
        self.addCleanup(crowd.go)
        numbers = [number * crowd.count // 8 for number in range(8)]
        target = self.wanted(crowd, numbers)
        for number in numbers:
            crowd.go_one(number)
        self.check_luns(crowd, target, numbers, "waiting")
        small_buffer()
        self.api = Api()
        target = self.api.target(target.wwn)
        lost = losses()
        used = [0.0, 0.0]

        for turn in range(ROUNDS):
            for what, act, state in (("come", crowd.come, "online"), ("go", crowd.go, "waiting")):
                ours, udevd = cpu_both()
                begin = time.monotonic()
                act()
                acted = time.monotonic() - begin
                noticed = self.check_noticed(target, numbers, what == "come")
                ours1, udevd1 = cpu_both()
                # The very first answer is right.
                self.assertEqual(known(self.api), present())
                took = self.check_luns(crowd, target, numbers, state)
                ours2 = cpu_both()[0]
                print(f"    {turn + 1}: {crowd.count} {what}: {acted:.0f} s; noticed {noticed:.2f} s after udev settled, LUNs {state} "
                      f"{took:.2f} s after the list; CPU of vhscsid and its passes {ours1 - ours:.2f} s until then, {ours2 - ours1:.2f} s "
                      f"for the rest; of udevd {udevd1 - udevd:.1f} s", flush=True)
                used[0] += ours1 - ours
                used[1] += udevd1 - udevd
        print(f"    CPU of vhscsid / udevd's: {used[0] / used[1]:.3f}", flush=True)
        self.assertGreater(losses(), lost, "no event was lost: that tells nothing")

    def test_idle_with_many(self) -> None:
        """In 60 s nothing but the watchdog wakes the daemon (WatchdogSec=2min: at most once)."""
        crowd = Crowd()
        self.addCleanup(crowd.go)
        numbers = list(range(4))
        target = self.wanted(crowd, numbers)
        for number in range(4, crowd.count):
            crowd.come_one(number)
        run(["udevadm", "settle", "--timeout=280"], timeout=290)
        self.assertEqual(known(self.api), present())
        target.add_lun("wwid=36000000000000000", number=1000)
        target.wait_state("incomplete")
        # Nobody on the bus, either.
        self.api.close()

        last = [switches(), time.monotonic()]

        def quiet() -> bool:
            if (now := switches()) != last[0]:
                last[:] = [now, time.monotonic()]
            return time.monotonic() - last[1] > 2
        wait_until("the daemon is quiet", quiet, 60, 0.5)

        before, end = switches(), time.monotonic() + 60
        wait_until("a minute is over, or the daemon awake too often",
                   lambda: time.monotonic() > end or switches() > before + 1, 90, 1)
        woken = switches() - before
        print(f"    {len(present())} devices: woken {woken} times in 60 s", flush=True)
        self.assertLessEqual(woken, 1)
