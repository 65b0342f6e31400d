#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs suites inside the machine: one line a test as it ends, diagnostics where one failed, the counts as JSON at the end.

    runner.py RESULT SUITE[.TEST]...
"""
import importlib
import json
import os
import signal
import sys
import time
import traceback
import unittest

import labkit


# One that was asked for more than usual (suite_storm) may take longer.
TEST_TIMEOUT = 300 if "STORM_COUNT" not in os.environ else 1200


def too_long(*_: object) -> None:
    raise AssertionError(f"the test is not over in {TEST_TIMEOUT} s")


class LineResult(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.passed: list[str] = []
        self.failed: list[str] = []
        self.bad: set[unittest.TestCase] = set()

    @staticmethod
    def title(test: unittest.TestCase) -> str:
        method = getattr(test, "_testMethodName", "")
        return f"{type(test).__module__.removeprefix('suite_')}.{method.removeprefix('test_')}" if method else str(test)

    def startTest(self, test: unittest.TestCase) -> None:
        super().startTest(test)
        self.begin = time.monotonic()
        signal.alarm(TEST_TIMEOUT)

    def problem(self, test: unittest.TestCase, err) -> None:
        if test not in self.bad:
            self.bad.add(test)
            self.failed.append(self.title(test))
            print(f"  FAIL  {self.title(test)}", flush=True)
        print("".join(traceback.format_exception(*err)), flush=True)
        if len(self.failed) <= 5:
            print(labkit.diagnostics(), flush=True)

    def addError(self, test: unittest.TestCase, err) -> None:
        self.problem(test, err)

    def addFailure(self, test: unittest.TestCase, err) -> None:
        self.problem(test, err)

    def addSubTest(self, test: unittest.TestCase, subtest, err) -> None:
        if err is not None:
            print(f"  in {subtest}", flush=True)
            self.problem(test, err)

    def stopTest(self, test: unittest.TestCase) -> None:
        signal.alarm(0)
        if test not in self.bad:
            self.passed.append(self.title(test))
            print(f"  ok    {self.title(test)}  {time.monotonic() - self.begin:.1f} s", flush=True)


def load(name: str) -> unittest.TestSuite:
    suite, _, wanted = name.partition(".")
    module = importlib.import_module(f"suite_{suite}")
    tests = unittest.defaultTestLoader.loadTestsFromModule(module)
    flat = [t for group in tests for t in group]
    if wanted:
        flat = [t for t in flat if getattr(t, "_testMethodName", "") in (wanted, f"test_{wanted}")]
    if not flat:
        raise SystemExit(f"no such test: {name}")
    return unittest.TestSuite(flat)


def crashes() -> list[str]:
    lines = labkit.run(["journalctl", "-b", "-u", labkit.UNIT, "--no-pager", "-o", "cat"]).stdout.splitlines()
    return [line for line in lines if "code=dumped" in line or "Assertion" in line or "runtime error" in line]


def main(argv: list[str]) -> int:
    result = LineResult()
    signal.signal(signal.SIGALRM, too_long)
    for name in argv[1:]:
        before = len(crashes())
        load(name).run(result)
        if new := crashes()[before:]:
            result.failed.append(f"{name}: the daemon crashed")
            print(f"  FAIL  {name}: the daemon crashed\n" + "\n".join(new) + "\n" + labkit.diagnostics(), flush=True)
    with open(argv[0], "w") as f:
        json.dump({"passed": result.passed, "failed": result.failed}, f)
    return 1 if result.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
