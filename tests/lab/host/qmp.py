# SPDX-License-Identifier: LGPL-2.1-or-later
"""QEMU's machine protocol, as much of it as a lab needs."""
import json
import socket
import time

from host.stages import LabError


class Qmp:
    def __init__(self, path: str, timeout: float = 20):
        deadline = time.monotonic() + timeout
        self.sock = socket.socket(socket.AF_UNIX)
        while True:
            try:
                self.sock.connect(path)
                break
            except (FileNotFoundError, ConnectionRefusedError):
                if time.monotonic() > deadline:
                    raise LabError(f"QEMU did not open {path} in {timeout} s") from None
                time.sleep(0.02)
        self.sock.settimeout(0.1)
        self.buffer = b""
        self.events: list[dict] = []
        self._wait(lambda m: "QMP" in m, timeout)
        self.call("qmp_capabilities")

    def _read(self) -> dict | None:
        while b"\n" not in self.buffer:
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                return None
            if not data:
                raise LabError("QEMU is gone")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def _wait(self, wanted, timeout: float) -> dict:
        deadline = time.monotonic() + timeout
        while True:
            message = self._read()
            if message is not None:
                if wanted(message):
                    return message
                if "event" in message:
                    self.events.append(message)
            if time.monotonic() > deadline:
                raise LabError(f"no answer from QEMU in {timeout} s")

    def call(self, command: str, timeout: float = 60, **arguments):
        self.sock.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")
        answer = self._wait(lambda m: "return" in m or "error" in m, timeout)
        if "error" in answer:
            raise LabError(f"QEMU refused {command}: {answer['error']['desc']}")
        return answer["return"]

    def wait_event(self, name: str, timeout: float) -> dict:
        for event in self.events:
            if event["event"] == name:
                self.events.remove(event)
                return event
        return self._wait(lambda m: m.get("event") == name, timeout)
