# SPDX-License-Identifier: LGPL-2.1-or-later
"""A D-Bus client in the standard library: error names, exact types, signals, other users, and strings no library would send."""
import array
import os
import socket
import struct
import time
from typing import Any, Callable, NamedTuple

CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
ALIGN = {"y": 1, "b": 4, "n": 2, "q": 2, "i": 4, "u": 4, "h": 4, "x": 8, "t": 8, "d": 8, "s": 4, "o": 4, "g": 1, "v": 1,
         "a": 4, "(": 8, "{": 8}
FIXED = {"y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "h": "I", "x": "q", "t": "Q", "d": "d"}
SYSTEM_BUS = "/run/dbus/system_bus_socket"


class BusError(Exception):
    def __init__(self, name: str, message: str):
        super().__init__(f"{name}: {message}")
        self.name, self.message = name, message


class Variant(NamedTuple):
    sig: str
    value: Any


class Signal(NamedTuple):
    path: str
    interface: str
    member: str
    args: tuple
    when: float


def split(sig: str) -> list[str]:
    """The single complete types of a signature."""
    types, i = [], 0
    while i < len(sig):
        j = i
        while sig[j] == "a":
            j += 1
        if sig[j] in "({":
            depth = 0
            while True:
                depth += (sig[j] in "({") - (sig[j] in ")}")
                if depth == 0:
                    break
                j += 1
        types.append(sig[i:j + 1])
        i = j + 1
    return types


class Writer:
    def __init__(self):
        self.data = bytearray()
        self.fds: list[int] = []

    def pad(self, n: int) -> None:
        self.data += b"\0" * (-len(self.data) % n)

    def put(self, sig: str, value: Any) -> None:
        kind = sig[0]
        self.pad(ALIGN[kind])
        if kind == "h":
            self.fds.append(value)
            value = len(self.fds) - 1
        if kind in FIXED:
            self.data += struct.pack("<" + FIXED[kind], value)
        elif kind in "so":
            raw = value if isinstance(value, bytes) else value.encode()
            self.data += struct.pack("<I", len(raw)) + raw + b"\0"
        elif kind == "g":
            self.data += bytes([len(value)]) + value.encode() + b"\0"
        elif kind == "v":
            self.put("g", value.sig)
            self.put(value.sig, value.value)
        elif kind == "a":
            at = len(self.data)
            self.data += b"\0" * 4
            self.pad(ALIGN[sig[1]])
            start = len(self.data)
            for item in (value.items() if sig[1] == "{" else value):
                self.put(sig[1:], item)
            struct.pack_into("<I", self.data, at, len(self.data) - start)
        else:
            for part, item in zip(split(sig[1:-1]), value, strict=True):
                self.put(part, item)


class Reader:
    def __init__(self, data: bytes, fds: list[int] = []):
        self.data, self.at, self.fds = data, 0, fds

    def pad(self, n: int) -> None:
        self.at += -self.at % n

    def raw(self, n: int) -> bytes:
        self.at += n
        return self.data[self.at - n:self.at]

    def get(self, sig: str) -> Any:
        kind = sig[0]
        self.pad(ALIGN[kind])
        if kind in FIXED:
            value, = struct.unpack("<" + FIXED[kind], self.raw(struct.calcsize("<" + FIXED[kind])))
            return bool(value) if kind == "b" else self.fds[value] if kind == "h" else value
        if kind in "so":
            return self.raw(self.get("u") + 1)[:-1].decode()
        if kind == "g":
            return self.raw(self.get("y") + 1)[:-1].decode()
        if kind == "v":
            inner = self.get("g")
            return Variant(inner, self.get(inner))
        if kind == "a":
            length = self.get("u")
            self.pad(ALIGN[sig[1]])
            end, items = self.at + length, []
            while self.at < end:
                items.append(self.get(sig[1:]))
            return dict(items) if sig[1] == "{" else items
        return tuple(self.get(part) for part in split(sig[1:-1]))


def plain(value: Any) -> Any:
    """Without the variants: what a test compares."""
    if isinstance(value, Variant):
        return plain(value.value)
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return tuple(plain(v) for v in value) if isinstance(value, tuple) else value


class Bus:
    def __init__(self, path: str = SYSTEM_BUS):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.sock.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
        self._line(b"OK ")
        self.sock.sendall(b"NEGOTIATE_UNIX_FD\r\n")
        self._line(b"AGREE_UNIX_FD")
        self.sock.sendall(b"BEGIN\r\n")
        self.buffer = b""
        self.fds: list[int] = []
        self.serial = 0
        self.signals: list[Signal] = []
        self.answers: dict[int, tuple] = {}
        self.name = self.call("Hello")[0]

    def _line(self, expected: bytes) -> None:
        line = b""
        while not line.endswith(b"\r\n"):
            line += self.sock.recv(1) or b"\r\n"
        if not line.startswith(expected):
            raise BusError("auth", line.decode())

    def close(self) -> None:
        self.sock.close()

    def send(self, member: str, sig: str = "", *args: Any, path: str = "/org/freedesktop/DBus",
             interface: str = "org.freedesktop.DBus", dest: str = "org.freedesktop.DBus", flags: int = 0) -> int:
        """Sends a call and returns its serial; `wait` takes the answer."""
        self.serial += 1
        body = Writer()
        for part, value in zip(split(sig), args, strict=True):
            body.put(part, value)
        head = Writer()
        head.data += struct.pack("<cBBBII", b"l", CALL, flags, 1, len(body.data), self.serial)
        fields = [(1, Variant("o", path)), (2, Variant("s", interface)), (3, Variant("s", member)), (6, Variant("s", dest))]
        if sig:
            fields.append((8, Variant("g", sig)))
        if body.fds:
            fields.append((9, Variant("u", len(body.fds))))
        head.put("a(yv)", fields)
        head.pad(8)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", body.fds))] if body.fds else []
        data = bytes(head.data + body.data)
        sent = self.sock.sendmsg([data], ancillary)
        self.sock.sendall(data[sent:])
        return self.serial

    def _receive(self, timeout: float) -> bool:
        """Takes one message in; False when none came in time."""
        deadline = time.monotonic() + timeout
        while (total := self._complete()) is None:
            self.sock.settimeout(max(0.0001, deadline - time.monotonic()))
            try:
                data, fds, _, _ = socket.recv_fds(self.sock, 262144, 16)
            except (TimeoutError, BlockingIOError):
                return False
            if not data:
                raise BusError("disconnected", "the bus closed the connection")
            self.buffer += data
            self.fds += fds
        message, self.buffer = self.buffer[:total], self.buffer[total:]
        self._dispatch(message)
        return True

    def _complete(self) -> int | None:
        if len(self.buffer) < 16:
            return None
        body, _, fields = struct.unpack_from("<III", self.buffer, 4)
        total = 16 + fields + -fields % 8 + body
        return total if len(self.buffer) >= total else None

    def _dispatch(self, message: bytes) -> None:
        kind = message[1]
        reader = Reader(message)
        reader.at = 12
        fields = {k: v.value for k, v in reader.get("a(yv)")}
        reader.pad(8)
        count = fields.get(9, 0)
        body = Reader(message[reader.at:], self.fds[:count])
        del self.fds[:count]
        args = tuple(body.get(part) for part in split(fields.get(8, "")))
        if kind == SIGNAL:
            self.signals.append(Signal(fields[1], fields[2], fields[3], args, time.monotonic()))
        elif kind == RETURN:
            self.answers[fields[5]] = (None, args)
        elif kind == ERROR:
            self.answers[fields[5]] = (fields[4], args)

    def wait(self, serial: int, timeout: float = 30) -> tuple:
        deadline = time.monotonic() + timeout
        while serial not in self.answers:
            if not self._receive(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                raise BusError("lab.Timeout", f"no answer in {timeout} s")
        error, args = self.answers.pop(serial)
        if error:
            raise BusError(error, args[0] if args and isinstance(args[0], str) else "")
        return args

    def answered(self, serial: int) -> bool:
        """Whether `wait` would return at once."""
        while serial not in self.answers and self._receive(0.0):
            pass
        return serial in self.answers

    def call(self, member: str, sig: str = "", *args: Any, timeout: float = 30, **to: Any) -> tuple:
        return self.wait(self.send(member, sig, *args, **to), timeout)

    def match(self, rule: str) -> None:
        self.call("AddMatch", "s", rule)

    def wait_signal(self, what: str, wanted: Callable[[Signal], bool], timeout: float = 60) -> Signal:
        """The first that is wanted, of those since the last look; the ones before it are gone then. Costs nobody anything meanwhile."""
        deadline = time.monotonic() + timeout
        while True:
            while self.signals:
                if wanted(signal := self.signals.pop(0)):
                    return signal
            if not self._receive(max(0.0, deadline - time.monotonic())) and time.monotonic() >= deadline:
                raise AssertionError(f"no signal in {timeout} s: {what}")

    def drain(self, quiet: float = 0.0) -> list[Signal]:
        """The signals so far, and those that still come until it has been quiet for so long."""
        while self._receive(quiet):
            pass
        taken, self.signals = self.signals, []
        return taken
