# SPDX-License-Identifier: LGPL-2.1-or-later
"""README's first command, as a test."""
from host import demo
from host.vm import Vm


def guest_reads_what_the_host_wrote(vm: Vm) -> None:
    demo.walk(vm)


TESTS = [guest_reads_what_the_host_wrote]
