#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the daemon needs in memory with N LUNs: vhscsid-fake (the daemon on a made-up host, see tests/unit/fake-host.c) starts over a state
directory with them, without the fake kernel's own pages. To be run by hand, built for release:

    VHSCSID_FAKE=build/tests/vhscsid-fake SOURCE_ROOT=. tests/bench/bench_memory.py [N …]

The budget is 6 MiB and 2 MiB for each 1000 LUNs."""

import importlib.util
import json
import pathlib
import sys
import time

UNIT = pathlib.Path(__file__).resolve().parent.parent / "unit"
LUNS_A_TARGET = 16


def load(name: str):
    sys.path.insert(0, str(UNIT))
    spec = importlib.util.spec_from_file_location(name.replace("-", "_"), UNIT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def lun(number: int, disk: int) -> dict:
    return {"number": number, "source": f"wwid=3600{disk}", "name": f"d-{disk:012x}", "serial": f"00000000-0000-5000-8000-{disk:012x}",
            "hba": disk, "readonly": False, "origin": "manual", "wanted": True, "size": 1 << 20}


def fill(state: pathlib.Path, n: int) -> None:
    targets = state / "targets"
    targets.mkdir(parents=True, exist_ok=True)
    for first in range(0, n, LUNS_A_TARGET):
        wwn = f"naa.5001405{first:09x}"
        luns = [lun(i, first + i) for i in range(min(LUNS_A_TARGET, n - first))]
        (targets / f"{wwn}.json").write_text(json.dumps({"version": 1, "wwn": wwn, "label": "", "nexus": "naa.5001405000000001", "wanted": True,
                                                         "luns": luns}))


def memory(pid: int) -> dict[str, float]:
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {key: int(rest.split()[0]) / 1024 for key, rest in (line.split(":", 1) for line in lines) if key.startswith("Rss")}


def measure(bus, n: int) -> float:
    host = bus.Host()
    try:
        host.stop()
        fill(host.dir / "state", n)
        host.start()
        # Four are there from the beginning.
        for disk in range(4, n):
            host.tell(f"disk {disk}")

        client = bus.Bus(host.socket)
        deadline = time.monotonic() + 120
        while (up := count_up(bus, client)) < n:
            if time.monotonic() > deadline:
                raise SystemExit(f"only {up} of {n} LUNs are up\n{host.logged()}")
        m = memory(host.daemon.pid)
        total = m["RssAnon"] + m["RssFile"]
        print(f"{n:5} LUNs: RSS {total:6.2f} MiB ({m['RssAnon']:.2f} of it its own, {m['RssFile']:.2f} programs and libraries), "
              f"budget {6 + 2 * n / 1000:.2f} MiB")
        return total
    finally:
        host.close()


def count_up(bus, client) -> int:
    serial = client.send("GetManagedObjects", "", path=bus.PATH, interface=bus.OBJECT_MANAGER, dest=bus.NAME, flags=0)
    objects = bus.plain(client.wait(serial, 60)[0])
    return sum(i[bus.LUN]["State"] == "online" for i in objects.values() if bus.LUN in i)


def main() -> None:
    bus = load("test-bus")
    sizes = [int(a) for a in sys.argv[1:]] or [16, 256, 1000]
    figures = [(n, measure(bus, n)) for n in sizes]
    for (n, a), (m, b) in zip(figures, figures[1:]):
        print(f"from {n} to {m}: {(b - a) * 1000 / (m - n):.2f} MiB for 1000 LUNs")


if __name__ == "__main__":
    main()
