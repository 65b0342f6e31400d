# SPDX-License-Identifier: LGPL-2.1-or-later
"""What libvirt gives its hook, and what has to come of it: for the client's unit tests, against a mock, and for the lab, against the daemon."""

GUEST, UUID = "vm-a", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
# The operation that asks for targets, those that tell what became of the guest, and those that need nothing of us.
ASKING, TELLING, SILENT = ("prepare",), ("started", "reconnect", "release"), ("start", "stopped", "migrate", "restore", "attach")
BOMB = '<!DOCTYPE d [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>'


def domain(*wwpns: str, uuid: str = UUID, name: str = GUEST, head: str = "", more: str = "") -> str:
    hostdevs = "".join("<hostdev mode='subsystem' type='scsi_host' managed='no'>"
                       f"<source protocol='vhost' wwpn='{w}'/><address type='ccw' cssid='0xfe'/></hostdev>" for w in wwpns)
    return (f"{head}<domain type='kvm' id='3'><name>{name}</name><uuid>{uuid}</uuid><devices>"
            "<hostdev mode='subsystem' type='pci'><source><address domain='0x0000'/></source></hostdev>"
            "<hostdev mode='subsystem' type='scsi'><source protocol='iscsi' name='iqn.x'/></hostdev>"
            f"{hostdevs}{more}</devices></domain>")


def cells(a: str, b: str, c: str) -> list[tuple[str, str, str, int | None]]:
    """Of three WWNs: (operation, name, document, how many targets it names; None: it cannot be read)"""
    domains = [*((f"{n} hostdevs", domain(*(a, b, c)[:n]), n) for n in (3, 1, 0)), ("malformed", domain(a)[:-5], None), ("empty", "", None),
               ("8 MiB", domain(a, more=f"<!--{'x' * (8 << 20)}-->"), None), ("bomb", domain(a, name="&c;", head=BOMB), None)]
    return [(operation, *d) for d in domains for operation in (*ASKING, *TELLING, *SILENT)]


def expected(operation: str, n: int | None, answers: bool) -> tuple[int, int]:
    """Exit status, and lines on standard error. answers: the daemon does."""
    if operation in SILENT or n == 0:
        return 0, 0
    if n is None:
        return (2 if operation in ASKING else 0), 1
    if answers:
        return 0, 0
    # Each target that its guest is started on unchecked is told of, and else that there is no answer.
    return 0, n if operation in ASKING else 1
