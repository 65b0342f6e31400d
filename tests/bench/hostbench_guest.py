# SPDX-License-Identifier: LGPL-2.1-or-later
"""`lab bench guest [TESTS]`: fio's verification, sg3_utils and libiscsi's conformance tests (`iscsi-test-cu -t TESTS`, ALL) in a nested guest,
on vhost_scsi and on vhscsi, test by test. Ours must do no worse anywhere."""
from host.image import GUEST
from host.payload import LIB
from host.vm import Vm
from morepackages import install_packages


def bench(vm: Vm, arguments: list[str]) -> int:
    install_packages(vm, "fio", "libiscsi-bin", "sg3-utils")
    vm.run(["tee", f"/{LIB}/cpio.py"], input=(GUEST.parent / "host/cpio.py").read_bytes())
    return vm.run(["python3", f"/{LIB}/guestconformance.py", *arguments], timeout=3600, check=False, echo=True).code
