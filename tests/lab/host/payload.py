# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the host ships into the machine at each run: the suites and their tools. Not part of the image, so cheap to change."""
import io
import subprocess
import tarfile
from pathlib import Path

from host.cpio import Cpio
from host.image import GUEST, cache_dir, digest, locked
from host.module import KMOD, module
from host.stages import LabError, say

LAB = GUEST.parent
BENCH = LAB.parent / "bench"
KMOD_TESTS = LAB.parent / "kmod"
INITIATOR = ("initiator.c", "bad-chains.c", "batch-checks.c", "bench.c", "bench.h", "checks.c", "checks.h", "device.c", "device.h",
             "setup-checks.c", "talk.c", "talk.h")
LIB = "usr/local/lib/vhscsid-lab"


def compiled(source: Path, *more: Path) -> bytes:
    """A static program (the nested guest has no libraries), built once for each version of its sources."""
    tools = cache_dir() / "tools"
    binary = tools / f"{source.stem}-{digest(*(s.read_text() for s in (source, *more)))}"
    tools.mkdir(exist_ok=True)
    # Two lanes want the same ones at once.
    with locked(tools / "build.lock"):
        if not binary.exists():
            for old in tools.glob(f"{source.stem}-*"):
                old.unlink()
            partial = binary.with_suffix(".partial")
            subprocess.run(["cc", "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-o", str(partial), str(source),
                            *(str(s) for s in more if s.suffix == ".c")], check=True)
            partial.rename(binary)
        return binary.read_bytes()


def nested_init() -> bytes:
    cpio = Cpio()
    cpio.file("init", (GUEST / "nested-init").read_bytes(), 0o755)
    cpio.file("bin/guestio", compiled(GUEST / "guestio.c"), 0o755)
    return cpio.finish()


def payload(tools: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        def add(name: str, body: bytes, mode: int = 0o644) -> None:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(body), mode
            tar.addfile(info, io.BytesIO(body))

        def link(name: str, target: str) -> None:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)

        for source in [*sorted(LAB.glob("*.py")), GUEST / "nested.py"]:
            add(f"{LIB}/{source.name}", source.read_bytes(), 0o755)
        for source in sorted(BENCH.glob("*.py")):
            add(f"{LIB}/{source.name}", source.read_bytes(), 0o755)
        add(f"{LIB}/floor", compiled(BENCH / "floor.c"), 0o755)
        for name, body in tools.items():
            add(f"{LIB}/{name}", body, 0o755)
        try:
            add(f"{LIB}/vhscsi.ko", module())
            add(f"{LIB}/vhscsi.conf", (KMOD / "modprobe.conf").read_bytes())
        except LabError as e:
            # The suites of the daemon do without; suite_kmod fails, and here is why.
            say(f"    no kernel module: {e}")
        add(f"{LIB}/kmod-initiator", compiled(*(KMOD_TESTS / name for name in INITIATOR)), 0o755)
        add(f"{LIB}/nested/init.cpio", nested_init())
        link("usr/local/bin/nested-guest", f"/{LIB}/nested.py")
    return out.getvalue()
