# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine with vhscsid installed, and the suites run in it."""
import json
import os
import sys
import time
from pathlib import Path

from host.build import installed_tar, test_tools
from host.payload import LAB, LIB, payload
from host.stages import LabError, stage
from host.vm import Vm

SUITE_TIMEOUT = 1500
TEST_SILENCE = 400          # the longest of them says something after a quarter of that
# As DKMS would, and the in-tree module out of the way.
INSTALL_MODULE = (f"modprobe -r vhost_scsi; d=/lib/modules/$(uname -r)/updates && install -D -m 644 -t $d /{LIB}/vhscsi.ko && "
                  f"install -m 644 /{LIB}/vhscsi.conf /etc/modprobe.d/ && depmod -a")


class Lab:
    """Builds once, then gives a new machine to everyone who asks."""

    def __init__(self):
        self._installed: bytes | None = None
        self._tools: dict[str, bytes] = {}

    def machine(self) -> Vm:
        if self._installed is None:
            self._installed = installed_tar()
            self._tools = test_tools()
        vm = Vm()
        vm.prepare = self.install
        return vm

    def install(self, vm: Vm) -> None:
        with stage("install into the machine"):
            vm.put_tar(payload(self._tools))
            vm.put_tar(self._installed)
            # One reload, which is dear under emulation. The sync is for suites that cut the power: what we installed is not on trial.
            if os.environ.get("LAB_FABRIC") == "bundled":
                vm.run(INSTALL_MODULE)
            vm.run("systemctl --no-reload enable --quiet vhscsid && systemctl daemon-reload && systemctl reload dbus && "
                   "udevadm control --reload && sync")


def suites() -> list[str]:
    return sorted(p.stem.removeprefix("suite_") for p in LAB.glob("suite_*.py"))


def host_suites() -> list[str]:
    return sorted(p.stem.removeprefix("hostsuite_") for p in LAB.glob("hostsuite_*.py"))


def run_suite(lab: Lab, name: str) -> tuple[list[str], list[str]]:
    """Runs a suite (or SUITE.TEST) in a machine of its own; (passed, failed)."""
    with lab.machine() as vm:
        return run_guest_suite(vm, name)


def run_guest_suite(vm: Vm, name: str) -> tuple[list[str], list[str]]:
    begin = time.monotonic()
    print(f"suite {name}", flush=True)
    failure = ""
    try:
        settings = [f"{k}={v}" for k, v in os.environ.items() if k == "STORM_COUNT"]
        vm.run(["env", *settings, "python3", f"/{LIB}/runner.py", "/run/lab-result", name], timeout=SUITE_TIMEOUT, silence=TEST_SILENCE,
               check=False, echo=True)
        result = json.loads(vm.run(["cat", "/run/lab-result"]).text)
    except (LabError, json.JSONDecodeError) as e:
        failure = f"{e}\n{vm.where_it_is()}\n{host_diagnostics(vm)}"
        result = {"passed": [], "failed": [f"{name}: the suite did not finish"]}
    if failure:
        print(f"  FAIL  {name}: {failure}", flush=True)
    print(f"suite {name}: {len(result['passed'])} passed, {len(result['failed'])} failed in "
          f"{time.monotonic() - begin:.0f} s", flush=True)
    return result["passed"], result["failed"]


def run_host_suite(lab: Lab, name: str, wanted: str = "") -> tuple[list[str], list[str]]:
    """Tests that drive the machine from outside: they reboot it and cut its power. Each gets a machine of its own."""
    sys.path.insert(0, str(LAB))
    module = __import__(f"hostsuite_{name}")
    passed, failed = [], []
    print(f"suite {name}", flush=True)
    begin = time.monotonic()
    for test in module.TESTS:
        title = f"{name}.{test.__name__}"
        if wanted not in ("", test.__name__):
            continue
        start = time.monotonic()
        with lab.machine() as vm:
            try:
                test(vm)
            except (AssertionError, LabError) as e:
                failed.append(title)
                print(f"  FAIL  {title}\n{e}", flush=True)
                print(host_diagnostics(vm), flush=True)
                continue
        passed.append(title)
        print(f"  ok    {title}  {time.monotonic() - start:.1f} s", flush=True)
    if not passed and not failed:
        raise LabError(f"no such test: {name}.{wanted}")
    print(f"suite {name}: {len(passed)} passed, {len(failed)} failed in {time.monotonic() - begin:.0f} s", flush=True)
    return passed, failed


def host_diagnostics(vm: Vm) -> str:
    code = f"import sys; sys.path.insert(0, '/{LIB}'); import labkit; print(labkit.diagnostics())"
    try:
        return vm.run(["python3", "-c", code], timeout=120, check=False).text
    except LabError as e:
        return f"(no diagnostics: {e})\n{vm.console_tail()}"


def run_named(lab: Lab, name: str) -> tuple[list[str], list[str]]:
    suite, _, test = name.partition(".")
    if suite in suites():
        return run_suite(lab, name)
    if suite in host_suites():
        return run_host_suite(lab, suite, test)
    raise LabError(f"no suite {suite}; there are: {', '.join(suites() + host_suites())}")
