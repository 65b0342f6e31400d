#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kill test of tests/unit/test-crash.c on rtslib's save: RTSRoot.save_to_file() (rtslib_fb/root.py) writes a configuration over another one
and is killed (strace --inject) at each of its system calls that touch the file. Lost: afterwards there is neither the old nor the new one.
Beside it, in the same run, our own: the daemon is killed at each call of two changes and what follows from them.

    tests/bench/crash_rtslib.py [--ours=BUILD/tests/unit/test-crash] [DIRECTORY OF rtslib_fb]"""
import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

OBJECTS = 1000
ROOT = Path(__file__).resolve().parent.parent.parent
# What test-crash says of a row, as TAP's comment.
ROW = re.compile(r"^# save +kill +(\d+) points +\d+ told +(\d+) lost +(\d+) wrong +(\d+) foreign$", re.M)

# The configuration is ours, and so is what configfs and udev would be asked: only the save is rtslib's.
SAVE = """
import sys, types
sys.path.insert(0, sys.argv[1])
for name in ("pyudev", "six", "six.moves", "ethtool"):
    try:
        __import__(name)
    except ImportError:
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__getattr__ = lambda attribute: object
from rtslib_fb.root import RTSRoot
class Root(RTSRoot):
    def __init__(self):
        pass
    def dump(self):
        return {"storage_objects": [{"name": "disk%d" % i, "label": sys.argv[3]} for i in range(int(sys.argv[4]))], "targets": []}
Root().save_to_file(sys.argv[2])
"""


def save(rtslib: str, file: Path, label: str, strace: list[str]) -> str:
    command = [sys.executable, "-c", SAVE, rtslib, str(file), label, str(OBJECTS)]
    paths = [word for name in (file, f"{file}.temp") for word in ("-P", str(name))]
    done = subprocess.run(["strace", "-qq", *paths, *strace, *command], capture_output=True, text=True, check=False)
    return done.stderr


def verdict(file: Path) -> str:
    try:
        objects = json.loads(file.read_text())["storage_objects"]
    except (OSError, ValueError, KeyError):
        return "lost"
    labels = {o["label"] for o in objects}
    return labels.pop() if len(objects) == OBJECTS and len(labels) == 1 else "lost"


def kill_rtslib(rtslib: str) -> tuple[int, int]:
    """Points, and how many of them have lost everything."""
    found = {"old": 0, "new": 0, "lost": 0}

    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "saveconfig.json"
        save(rtslib, file, "old", [])
        if verdict(file) != "old":
            sys.exit(f"rtslib_fb of {rtslib} did not save")
        calls = re.findall(r"^(\w+)\(", save(rtslib, file, "new", []), re.M)
        assert verdict(file) == "new" and calls

        for name in dict.fromkeys(calls):
            for n in range(1, calls.count(name) + 1):
                save(rtslib, file, "old", [])
                save(rtslib, file, "new", [f"--inject={name}:signal=KILL:when={n}"])
                result = verdict(file)
                found[result] += 1
                if result == "lost":
                    print(f"killed at {name} {n}: {file.stat().st_size} bytes, unreadable")

    print(f"rtslib's save: {sum(found.values())} points, {found['lost']} lost ({found['old']} the old file, {found['new']} the new one)")
    return sum(found.values()), found["lost"]


def kill_ours(test_crash: Path) -> tuple[int, int]:
    """The same of our save; wrong states and foreign objects that were touched count as lost."""
    done = subprocess.run([test_crash, "-k", "--stride=1", "-p", "/crash/kill/save"], capture_output=True, text=True, check=False)
    row = ROW.search(done.stdout)
    if not row:
        sys.exit(f"{test_crash} said nothing of it:\n{done.stdout}{done.stderr}")
    points, lost, wrong, foreign = map(int, row.groups())
    print(f"ours: {points} points, {lost} lost, {wrong} wrong, {foreign} foreign touched")
    return points, lost + wrong + foreign


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", type=Path, default=ROOT / "build/tests/unit/test-crash")
    parser.add_argument("rtslib", nargs="?", default="/usr/lib/python3/dist-packages")
    arguments = parser.parse_args()
    if not arguments.ours.exists():
        parser.error(f"there is no {arguments.ours}: build it, or name it with --ours")

    theirs, ours = kill_rtslib(arguments.rtslib), kill_ours(arguments.ours.resolve())
    print(f"lost: rtslib {theirs[1]} of {theirs[0]}, ours {ours[1]} of {ours[0]}")
    sys.exit(1 if ours[1] else 0)


if __name__ == "__main__":
    main()
