# SPDX-License-Identifier: LGPL-2.1-or-later
"""The machine's kernel: the distribution's, or one whose packages are in a directory ($LAB_KERNEL, `lab --kernel=`)."""
import hashlib
import lzma
import os
import re
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from host.stages import LabError


def packages() -> list[Path]:
    """Image, headers and what these need, in the order of their names. None: the distribution's own is taken."""
    where = os.environ.get("LAB_KERNEL")
    if not where:
        return []
    found = sorted(p for p in Path(where).glob("linux-*.deb") if "-dbg_" not in p.name and not p.name.startswith("linux-libc-dev"))
    if len([p for p in found if p.name.startswith("linux-image-")]) != 1:
        raise LabError(f"{where}: packages of one kernel are wanted: linux-image, linux-headers, and what these depend on")
    return found


def identity() -> str:
    """Another one, another image."""
    h = hashlib.sha256()
    for p in packages():
        h.update(p.name.encode() + hashlib.sha256(p.read_bytes()).digest())
    return h.hexdigest() if packages() else ""


def unpack_image(tree: Path) -> None:
    """In the place of the one that is in the tree."""
    image = next(p for p in packages() if p.name.startswith("linux-image-"))
    for old in [*(tree / "boot").iterdir(), *(tree / "usr/lib/modules").iterdir()]:
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    with tempfile.TemporaryDirectory(prefix="vhscsid-lab.") as d:
        subprocess.run(["dpkg-deb", "-x", str(image), d], check=True)
        subprocess.run(["cp", "-a", *map(str, (Path(d) / "boot").iterdir()), str(tree / "boot")], check=True)
        modules = next((Path(d) / "lib/modules").iterdir())
        shutil.copytree(modules, tree / "usr/lib/modules" / modules.name, symlinks=True)
        subprocess.run(["depmod", "-b", str(tree), modules.name], check=True)


def extract_kernel(bzimage: Path, to: Path) -> None:
    """The ELF kernel inside the bzImage: the same code, but an emulated CPU need not unpack it at each boot. Not every kernel boots so (one
    with KASAN does not): of another than the distribution's it is the bzImage itself."""
    data = bzimage.read_bytes()
    if packages():
        to.write_bytes(data)
        return
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = (data[0x1f1] + 1) * 512 + offset
    payload = data[start:start + length]
    if not payload.startswith(b"\xfd7zXZ"):
        raise LabError(f"{bzimage.name} is not compressed with xz")
    to.write_bytes(lzma.LZMADecompressor(format=lzma.FORMAT_XZ).decompress(payload))


def release_of(image: Path) -> str:
    """What `uname -r` says when the kernel in this file runs."""
    data = image.read_bytes()
    if data[0x202:0x206] == b"HdrS":
        where, = struct.unpack_from("<H", data, 0x20e)
        return data[where + 0x200:].split(b" ", 1)[0].decode()
    found = re.search(rb"Linux version (\S+)", data)
    if not found:
        raise LabError("the machine's kernel does not say which it is")
    return found[1].decode()


def module_file(modules: Path, name: str) -> bytes:
    """Its bytes as insmod takes them, whether or not the package has it compressed. name: as modules.dep has it."""
    data = (modules / name).read_bytes()
    return lzma.decompress(data) if name.endswith(".xz") else data
