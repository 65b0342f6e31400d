#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a reviewer should not have to say: files with two nouns in them, files named after no duty, notes to self, goto, stray blanks."""

import pathlib
import re
import sys

LINES = 600
COLUMNS = 160       # far off; .clang-format knows the right width
NO_DUTY = {"manager", "util", "utils", "helper", "helpers", "common", "misc"}
PARTS = ("daemon", "client", "dbus", "tests", "kmod")
NOTE = re.compile(r"\b(TODO|FIXME|XXX)\b")
GOTO = re.compile(r"^\s*goto\s")


def check(root: pathlib.Path) -> list[str]:
    wrong = []

    for part in PARTS:
        for file in sorted((root / part).rglob("*.[ch]")):
            where = file.relative_to(root)
            ours = part != "kmod"       # the kernel has a style of its own
            lines = file.read_text().splitlines()

            if NO_DUTY & set(re.split(r"[-_.]", file.stem)) - ({"manager"} if file.stem == "bus-manager" else set()):
                wrong.append(f"{where}: named after no duty")
            if len(lines) > LINES and ours:
                wrong.append(f"{where}: {len(lines)} lines: a file of {LINES} lines has two nouns in it")
            if not lines or "SPDX-License-Identifier:" not in lines[0]:
                wrong.append(f"{where}:1: no licence")

            for number, line in enumerate(lines, 1):
                if NOTE.search(line):
                    wrong.append(f"{where}:{number}: a note to self")
                if line != line.rstrip():
                    wrong.append(f"{where}:{number}: blanks at the end")
                if ours and "\t" in line:
                    wrong.append(f"{where}:{number}: a tab")
                if ours and len(line) > COLUMNS:
                    wrong.append(f"{where}:{number}: {len(line)} columns")
                # The shim speaks for the kernel, whose own macros jump.
                if ours and GOTO.match(line) and file.name != "kernel-shim.h":
                    wrong.append(f"{where}:{number}: goto")

    return wrong


def main() -> int:
    wrong = check(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
