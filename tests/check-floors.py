#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""No floor of the daemon looks up: base < model < kernel | store < engine < bus, and kernel and store never meet.

Also that an include of our own says its floor ("model/target.h", never "target.h" or "../model/target.h") and names a file that exists."""

import pathlib
import re
import sys

BELOW = {
    "base": {"base"},
    "model": {"base", "model"},
    "kernel": {"base", "model", "kernel"},
    "store": {"base", "model", "store"},
    "engine": {"base", "model", "kernel", "store", "engine"},
    "bus": {"base", "model", "kernel", "store", "engine", "bus"},
    # The wiring in daemon/ itself may know everyone.
    "": {"base", "model", "kernel", "store", "engine", "bus"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
# What is neither ours nor the C library's, and which floors may know it.
LIBRARIES = {
    re.compile(r"<(systemd/sd-bus|systemd/sd-bus-vtable)"): {"bus", "engine", ""},
    re.compile(r"<systemd/"): {"kernel", "engine", "bus", ""},
    re.compile(r"<(libudev|libmount|libkmod)"): {"kernel"},
    re.compile(r"<(json-c/|json)"): {"store", "model"},     # model: only to hand on keys that we do not know
    re.compile(r"<(glib|gio)"): set(),
}
SYSTEM_INCLUDE = re.compile(r"^\s*#\s*include\s*(<[^>]+>)")


def check(root: pathlib.Path) -> list[str]:
    daemon = root / "daemon"
    wrong = []

    for file in sorted(daemon.rglob("*.[ch]")):
        parts = file.relative_to(daemon).parts
        floor = parts[0] if len(parts) > 1 else ""
        where = file.relative_to(root)

        if floor not in BELOW:
            wrong.append(f"{where}: no such floor: {floor}")
            continue

        for number, line in enumerate(file.read_text().splitlines(), 1):
            if m := SYSTEM_INCLUDE.match(line):
                for pattern, floors in LIBRARIES.items():
                    if pattern.match(m[1]):
                        if floor not in floors:
                            wrong.append(f"{where}:{number}: {m[1]} does not belong on floor {floor or 'daemon'}")
                        break
                continue

            if not (m := INCLUDE.match(line)):
                continue

            name = m[1]
            if name == "config.h" or name.startswith("dbus/"):
                if name.startswith("dbus/") and not (root / name).is_file():
                    wrong.append(f"{where}:{number}: no such file: {name}")
                continue

            target = name.split("/")[0] if "/" in name else ""
            if ".." in name.split("/") or (not target and floor):
                wrong.append(f'{where}:{number}: "{name}" does not show its floor')
            elif target and target not in BELOW[floor]:
                wrong.append(f'{where}:{number}: "{name}" is upward or sideways of {floor}')
            elif not (daemon / name).is_file():
                wrong.append(f"{where}:{number}: no such file: {name}")

    return wrong


def main() -> int:
    wrong = check(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
