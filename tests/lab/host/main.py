# SPDX-License-Identifier: LGPL-2.1-or-later
"""lab: a throw-away machine with a stock Debian kernel, in which vhscsid is installed, shown and tested.

    lab demo                from a multipath LUN of the host to the data in a guest
    lab check               everything: unit tests, then all suites but libvirt and hook; ends with one line of counts
    lab suite [NAME...]     all suites, or these
    lab test SUITE.TEST     one test
    lab shell               a root shell in a machine with vhscsid installed (nested-guest, vhscsictl, …)
    lab image               builds the machine's image, if it is not there yet
    lab bench [NAME] [N…]   figures (slow, not part of check): restore (N LUNs by vhscsid, a C loop, targetctl; the default),
                            luns (one more LUN at N, list, a start over them, memory),
                            autoexport (N maps by a udev rule), events (N disks, from udev's word to the LUN),
                            kmod (the bundled module beside vhost_scsi), dkms (DKMS builds, installs and removes it),
                            guest (fio, sg3_utils and libiscsi's tests in a guest, on both)
    lab list                the suites

    lab --fabric=bundled …  the same with our own kernel module in the machine, in the place of vhost_scsi
    lab --kernel=DIR …      the same with the kernel whose packages are in DIR: linux-image, linux-headers, and what these depend on

Environment: LAB_ACCEL=kvm uses the host's KVM instead of emulation, where a stock kernel boots under it.
The image lives in ${XDG_CACHE_HOME:-~/.cache}/vhscsid-lab and is rebuilt when its recipe changes.
"""
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from host import demo, image, machine, shell, vm  # noqa: E402
from host.build import build, fuzz, unit_tests  # noqa: E402
from host.stages import LabError, elapsed, say  # noqa: E402


# Two machines at once: what a suite does is waiting, for the most part, for a disk, for a guest's boot, for a grace period of the kernel.
LANES = 2
children: list[subprocess.Popen] = []
COUNTS = re.compile(r"(\d+) passed, (\d+) failed\n\Z")


def one_suite(lab: machine.Lab, name: str) -> tuple[int, list[str]]:
    passed, failed = machine.run_named(lab, name)
    return len(passed), failed


def in_a_lane(name: str) -> tuple[int, list[str]]:
    """In a process of its own, whose output comes in one piece."""
    say(f"  … suite {name}")
    with subprocess.Popen([sys.executable, __file__, "suite", name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        children.append(child)
        out, _ = child.communicate()
    counts = COUNTS.search(out)
    print(out[:counts.start()] if counts else out, end="", flush=True)
    failed = re.findall(r"^failed: (.*)$", out, re.MULTILINE)
    if not counts or int(counts[2]) != len(failed):
        failed = [name]         # it ended before it could say
    return int(counts[1]) if counts else 0, failed


def suite(names: list[str]) -> tuple[int, int]:
    lab = machine.Lab()
    if len(names) == 1:
        results = [one_suite(lab, names[0])]
    else:
        build("release")        # once, before the lanes ask for it together
        with ThreadPoolExecutor(LANES) as lanes:
            try:
                results = list(lanes.map(in_a_lane, names))
            except KeyboardInterrupt:
                lanes.shutdown(wait=False, cancel_futures=True)
                for child in children:
                    child.terminate()
                raise
    failed = [title for _, titles in results for title in titles]
    for title in failed:
        print(f"failed: {title}")
    return sum(passed for passed, _ in results), len(failed)


def totals(passed: int, failed: int) -> int:
    say(f"    {elapsed():.0f} s in all")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


# In suite libvirt the emulated machine had hung twice in a few runs: see nested.load_kvm, which has yet to prove that it was that. Suite hook has
# real deadlines, which a machine that is busy with other things misses.
BY_NAME = ("hook", "libvirt")


def check() -> int:
    vm.ensure_booted(image.ensure_image())
    passed, failed = unit_tests()
    say(f"    not among them: {', '.join(BY_NAME)} (`lab suite NAME`)")
    with ThreadPoolExecutor(1) as beside:
        fuzzers = beside.submit(fuzz)
        # The longest are in front, lest one lane is left with them in the end.
        p, f = suite(machine.host_suites() + [name for name in machine.suites() if name not in BY_NAME])
        fuzzed, found = fuzzers.result()
    return totals(passed + p + fuzzed, failed + f + found)


def main(argv: list[str]) -> int:
    # The environment, for the lanes' sake.
    while argv and argv[0].startswith("--") and "=" in argv[0]:
        name, _, value = argv.pop(0)[2:].partition("=")
        if name == "fabric" and value in ("bundled", "in-tree"):
            os.environ["LAB_FABRIC"] = value
        elif name == "kernel":
            os.environ["LAB_KERNEL"] = str(Path(value).resolve())
        else:
            raise LabError("options are --fabric=bundled, --fabric=in-tree and --kernel=DIRECTORY")
    verb, arguments = (argv[0] if argv else "--help"), argv[1:]
    if verb in ("-h", "--help", "help"):
        print(__doc__)
        return 0
    if verb == "image":
        print(vm.ensure_booted(image.ensure_image()).parent)
        return 0
    if verb == "list":
        print("\n".join(machine.suites() + machine.host_suites()))
        return 0
    if verb == "check":
        return check()
    if verb == "demo":
        return demo.demo(machine.Lab())
    if verb == "bench":
        name = arguments.pop(0) if arguments and not arguments[0].isdigit() else "restore"
        return demo.bench(machine.Lab(), name, arguments)
    if verb == "shell":
        return shell.shell(machine.Lab(), arguments)
    if verb == "suite":
        return totals(*suite(arguments or machine.suites() + machine.host_suites()))
    if verb == "test" and len(arguments) == 1 and "." in arguments[0]:
        return totals(*suite(arguments))
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    # SIGTERM as Ctrl-C: the machine and its files go with us either way.
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        sys.exit(main(sys.argv[1:]))
    except LabError as e:
        say(f"lab: {e}")
        sys.exit(1)
    except KeyboardInterrupt:
        say("\nlab: interrupted")
        sys.exit(130)
