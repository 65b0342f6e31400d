# SPDX-License-Identifier: LGPL-2.1-or-later
"""lab: a throw-away machine with a stock Debian kernel, in which vhscsid is installed, shown and tested.

    lab demo                from a multipath LUN of the host to the data in a guest
    lab check               everything: unit tests, then all suites; ends with one line of counts
    lab suite [NAME...]     all suites, or these
    lab test SUITE.TEST     one test
    lab shell               a root shell in a machine with vhscsid installed (nested-guest, vhscsictl, …)
    lab image               builds the machine's image, if it is not there yet
    lab bench [NAME] [N]    figures (slow, not part of check): restore (N LUNs by vhscsid, a C loop, targetctl; the default),
                            autoexport (N maps by a udev rule)
    lab list                the suites

Environment: LAB_ACCEL=kvm uses the host's KVM instead of emulation, where a stock kernel boots under it.
The image lives in ${XDG_CACHE_HOME:-~/.cache}/vhscsid-lab and is rebuilt when its recipe changes.
"""
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from host import demo, image, machine, shell, vm  # noqa: E402
from host.build import unit_tests  # noqa: E402
from host.stages import LabError, elapsed, say  # noqa: E402


def suite(names: list[str]) -> tuple[int, int]:
    lab = machine.Lab()
    passed, failed = 0, []
    for name in names:
        p, f = machine.run_named(lab, name)
        passed += len(p)
        failed += f
    for title in failed:
        print(f"failed: {title}")
    return passed, len(failed)


def totals(passed: int, failed: int) -> int:
    say(f"    {elapsed():.0f} s in all")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


def check() -> int:
    vm.ensure_booted(image.ensure_image())
    passed, failed = unit_tests()
    p, f = suite(machine.suites() + machine.host_suites())
    return totals(passed + p, failed + f)


def main(argv: list[str]) -> int:
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
