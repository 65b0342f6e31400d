#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs commands for the host. Frames travel over a virtio-serial port: kind, id, length, payload.

From the host:  R run (JSON)   I input   C close the input   K signal   P ping (nonce)
To the host:    O output       E error output      X exit status (JSON)       P pong (nonce, JSON)

The port outlives us: at a reboot the host reconnects and pings, and whatever came before the pong is stale.
"""
import json
import os
import pty
import selectors
import signal
import struct
import subprocess
import sys
import time

PORT = "/dev/virtio-ports/lab.agent"
HEADER = struct.Struct(">cII")
CHUNK = 64 * 1024


class Command:
    """A child of ours, its output pipes, and input that the child was too slow to take."""

    def __init__(self, ident: int, spec: dict):
        self.ident = ident
        self.pending = bytearray()
        self.input_closed = False
        self.outputs: dict[int, bytes] = {}
        env = dict(os.environ, **spec.get("env", {}))
        if spec.get("pty"):
            leader, follower = pty.openpty()
            self.child = subprocess.Popen(spec["argv"], stdin=follower, stdout=follower, stderr=follower, env=env,
                                          cwd=spec.get("cwd", "/root"), preexec_fn=take_terminal)
            os.close(follower)
            self.stdin = leader
            self.outputs[leader] = b"O"
        else:
            self.child = subprocess.Popen(spec["argv"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                          stderr=subprocess.PIPE, env=env, cwd=spec.get("cwd", "/root"),
                                          start_new_session=True)
            self.stdin = os.dup(self.child.stdin.fileno())
            self.child.stdin.close()
            self.outputs[os.dup(self.child.stdout.fileno())] = b"O"
            self.outputs[os.dup(self.child.stderr.fileno())] = b"E"
            self.child.stdout.close()
            self.child.stderr.close()
            os.set_blocking(self.stdin, False)


def take_terminal() -> None:
    import fcntl
    import termios
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Agent:
    def __init__(self):
        self.port = os.open(PORT, os.O_RDWR)
        self.selector = selectors.DefaultSelector()
        self.commands: dict[int, Command] = {}
        self.buffer = bytearray()
        os.set_blocking(self.port, False)
        self.selector.register(self.port, selectors.EVENT_READ, None)

    def send(self, kind: bytes, ident: int, payload: bytes = b"") -> None:
        data = memoryview(HEADER.pack(kind, ident, len(payload)) + payload)
        while data:
            try:
                data = data[os.write(self.port, data):]
            except BlockingIOError:
                time.sleep(0.002)

    def handle(self, kind: bytes, ident: int, payload: bytes) -> None:
        if kind == b"P":
            with open("/proc/sys/kernel/random/boot_id") as f:
                self.send(b"P", ident, json.dumps({"boot": f.read().strip()}).encode())
            return
        if kind == b"R":
            try:
                command = self.commands[ident] = Command(ident, json.loads(payload))
            except OSError as e:
                self.send(b"E", ident, f"{e}\n".encode())
                self.send(b"X", ident, b'{"code": 127}')
                return
            for fd in command.outputs:
                self.selector.register(fd, selectors.EVENT_READ, command)
            return
        command = self.commands.get(ident)
        if command is None:
            return
        if kind == b"I":
            command.pending += payload
        elif kind == b"C":
            command.input_closed = True
        elif kind == b"K":
            try:
                os.killpg(command.child.pid, int(payload))
            except ProcessLookupError:
                pass
        self.feed(command)

    def feed(self, command: Command) -> None:
        """Input never blocks us: what the pipe does not take waits until the child has read some."""
        try:
            while command.pending and command.stdin >= 0:
                written = os.write(command.stdin, command.pending[:CHUNK])
                del command.pending[:written]
        except BlockingIOError:
            return
        except OSError:
            command.pending.clear()
        if command.input_closed and command.stdin >= 0 and command.stdin not in command.outputs:
            os.close(command.stdin)
            command.stdin = -1

    def read_port(self) -> None:
        try:
            data = os.read(self.port, CHUNK)
        except BlockingIOError:
            return
        if not data:
            # Nobody at the other end. The port polls as readable then, so do not spin.
            self.buffer.clear()
            time.sleep(0.05)
            return
        self.buffer += data
        while len(self.buffer) >= HEADER.size:
            kind, ident, length = HEADER.unpack_from(self.buffer)
            if len(self.buffer) < HEADER.size + length:
                return
            payload = bytes(self.buffer[HEADER.size:HEADER.size + length])
            del self.buffer[:HEADER.size + length]
            self.handle(kind, ident, payload)

    def read_output(self, command: Command, fd: int) -> None:
        try:
            data = os.read(fd, CHUNK)
        except OSError:             # the last process on the terminal went away
            data = b""
        if data:
            self.send(command.outputs[fd], command.ident, data)
            return
        self.selector.unregister(fd)
        del command.outputs[fd]
        if command.stdin == fd:
            command.stdin = -1
        os.close(fd)

    def reap(self) -> None:
        for command in list(self.commands.values()):
            if command.pending:
                self.feed(command)
            code = command.child.poll()
            if code is None:
                continue
            # A daemon the command left behind may hold the pipes for ever: take what is there, then let go.
            for fd, kind in list(command.outputs.items()):
                os.set_blocking(fd, False)
                while fd in command.outputs:
                    try:
                        data = os.read(fd, CHUNK)
                    except OSError:
                        data = b""
                    if not data:
                        self.selector.unregister(fd)
                        del command.outputs[fd]
                        os.close(fd)
                        if command.stdin == fd:
                            command.stdin = -1
                    else:
                        self.send(kind, command.ident, data)
            if command.stdin >= 0:
                os.close(command.stdin)
            del self.commands[command.ident]
            self.send(b"X", command.ident, json.dumps({"code": code}).encode())

    def run(self) -> None:
        # SIGCHLD wakes the selector through the pipe; the timeout is for input that waits for a slow child.
        wake_r, wake_w = os.pipe()
        os.set_blocking(wake_r, False)
        os.set_blocking(wake_w, False)
        signal.set_wakeup_fd(wake_w)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(wake_r, selectors.EVENT_READ, "child")
        while True:
            busy = any(c.pending for c in self.commands.values())
            for key, _ in self.selector.select(0.01 if busy else None):
                if key.data is None:
                    self.read_port()
                elif key.data == "child":
                    os.read(wake_r, 4096)
                elif key.fd in key.data.outputs:
                    self.read_output(key.data, key.fd)
            self.reap()


if __name__ == "__main__":
    sys.exit(Agent().run())
