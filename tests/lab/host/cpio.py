# SPDX-License-Identifier: LGPL-2.1-or-later
"""Writes an initramfs (cpio, newc)."""
import stat


class Cpio:
    def __init__(self):
        self.data = bytearray()
        self.inode = 1

    def entry(self, name: str, mode: int, body: bytes = b"") -> None:
        encoded = name.encode() + b"\0"
        fields = (self.inode, mode, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(encoded), 0)
        self.inode += 1
        self.data += b"070701" + b"".join(b"%08X" % f for f in fields) + encoded
        self.data += b"\0" * (-len(self.data) % 4) + body
        self.data += b"\0" * (-len(self.data) % 4)

    def directory(self, name: str) -> None:
        self.entry(name, stat.S_IFDIR | 0o755)

    def file(self, name: str, body: bytes, mode: int = 0o644) -> None:
        self.entry(name, stat.S_IFREG | mode, body)

    def symlink(self, name: str, target: str) -> None:
        self.entry(name, stat.S_IFLNK | 0o777, target.encode())

    def finish(self) -> bytes:
        self.entry("TRAILER!!!", 0)
        return bytes(self.data)
