# SPDX-License-Identifier: LGPL-2.1-or-later
"""The host's end of the guest agent (guest/agent.py tells the frames)."""
import json
import os
import queue
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass

from host.stages import LabError

HEADER = struct.Struct(">cII")


@dataclass
class Result:
    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        return self.out.decode(errors="replace")


class CommandFailed(LabError):
    def __init__(self, what: str, result: Result):
        tail = (result.out + result.err).decode(errors="replace").strip()[-2000:]
        super().__init__(f"{what}: exit {result.code}\n{tail}")
        self.result = result


class Command:
    """A command that runs in the guest. Its output comes in as it is made."""

    def __init__(self, link: "Link", ident: int, what: str):
        self.link, self.ident, self.what = link, ident, what
        self.queue: queue.Queue[tuple[bytes, bytes]] = queue.Queue()

    def feed(self, data: bytes) -> None:
        for start in range(0, len(data), 256 * 1024):
            self.link.send(b"I", self.ident, data[start:start + 256 * 1024])

    def close(self) -> None:
        self.link.send(b"C", self.ident)

    def signal(self, number: int) -> None:
        self.link.send(b"K", self.ident, str(number).encode())

    def wait(self, timeout: float, on_output=None, silence: float = float("inf")) -> Result:
        """Until it ends; no longer than the timeout, nor than it may be silent."""
        deadline = time.monotonic() + timeout
        out, err = [], []
        while True:
            left = max(0.0, deadline - time.monotonic())
            try:
                kind, data = self.queue.get(timeout=min(left, silence))
            except queue.Empty:
                self.signal(9)
                why = f"not finished in {timeout:.0f} s" if left <= silence else f"not a word in {silence:.0f} s"
                raise LabError(f"{self.what}: {why}; so far:\n" + b"".join(out + err).decode(errors="replace")[-2000:]) from None
            if kind == b"X":
                return Result(json.loads(data)["code"], b"".join(out), b"".join(err))
            if kind == b"":
                raise LabError(f"{self.what}: the machine went away")
            (out if kind == b"O" else err).append(data)
            if on_output:
                on_output(kind, data)


class Link:
    def __init__(self, path: str):
        self.path = path
        self.lock = threading.Lock()
        self.commands: dict[int, Command] = {}
        self.pongs: queue.Queue[tuple[int, dict]] = queue.Queue()
        self.ident = 0
        self.sock: socket.socket | None = None

    def connect(self, timeout: float) -> dict:
        """(Re)connects and waits for the agent; what was under way before is over."""
        self.disconnect()
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)
        threading.Thread(target=self._reader, args=(self.sock,), daemon=True).start()
        self.ident += 1
        self.send(b"P", self.ident)
        deadline = time.monotonic() + timeout
        while True:
            try:
                ident, answer = self.pongs.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise LabError(f"the machine's agent did not answer in {timeout:.0f} s") from None
            if ident == self.ident:
                return answer

    def disconnect(self) -> None:
        if self.sock:
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            self.sock.close()
            self.sock = None
        self._hang_up()

    def _hang_up(self) -> None:
        for command in list(self.commands.values()):
            command.queue.put((b"", b""))
        self.commands.clear()

    def _reader(self, sock: socket.socket) -> None:
        buffer = bytearray()
        synced = False
        while True:
            try:
                data = sock.recv(262144)
            except OSError:
                data = b""
            if not data:
                if sock is self.sock:
                    self._hang_up()
                return
            buffer += data
            # After a reset the port may first hand out the rest of a frame of the dead system.
            if not synced:
                at = buffer.find(b"P" + struct.pack(">I", self.ident))
                if at < 0:
                    continue
                del buffer[:at]
                synced = True
            while len(buffer) >= HEADER.size:
                kind, ident, length = HEADER.unpack_from(buffer)
                if len(buffer) < HEADER.size + length:
                    break
                payload = bytes(buffer[HEADER.size:HEADER.size + length])
                del buffer[:HEADER.size + length]
                if kind == b"P":
                    self.pongs.put((ident, json.loads(payload)))
                elif ident in self.commands:
                    self.commands[ident].queue.put((kind, payload))
                    if kind == b"X":
                        del self.commands[ident]

    def send(self, kind: bytes, ident: int, payload: bytes = b"") -> None:
        sock = self.sock
        if sock is None:
            raise LabError("the machine is not connected")
        try:
            with self.lock:
                sock.sendall(HEADER.pack(kind, ident, len(payload)) + payload)
        except OSError as e:
            raise LabError(f"the machine went away: {e}") from None

    def start(self, argv: list[str], **spec) -> Command:
        self.ident += 1
        command = Command(self, self.ident, " ".join(argv)[:200])
        self.commands[self.ident] = command
        self.send(b"R", self.ident, json.dumps({"argv": argv, **spec}).encode())
        return command

    def run(self, argv: list[str] | str, timeout: float = 60, check: bool = True, input: bytes = b"",
            echo: bool = False, silence: float = float("inf"), **spec) -> Result:
        """Runs a command (a string is given to sh) and returns its result; raises if it failed and `check`."""
        if isinstance(argv, str):
            argv = ["/bin/sh", "-c", argv]
        command = self.start(argv, **spec)
        command.feed(input)
        command.close()
        result = command.wait(timeout, _echo if echo else None, silence)
        if check and result.code != 0:
            raise CommandFailed(command.what, result)
        return result


def _echo(kind: bytes, data: bytes) -> None:
    os.write(sys.stdout.fileno() if kind == b"O" else sys.stderr.fileno(), data)
