#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""nested-guest: a KVM guest inside the lab's machine, with a vhost-scsi device, and a shell on its serial port.

    nested-guest start NAME WWPN [QEMU ARGUMENT...]    boots it and waits until it obeys
    nested-guest cmd NAME 'COMMAND'                    disks | inquiry | sum sda 8 | rescan | guestio start sda 8 | any shell
    nested-guest log NAME | pause NAME | cont NAME | stop NAME
"""
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

LIB = Path("/usr/local/lib/vhscsid-lab")
RUN = Path("/run/nested-guest")


# KVM_CREATE_VM, and that is all.
HOLD = "import fcntl, os, signal; fcntl.ioctl(os.open('/dev/kvm', os.O_RDWR), 0xAE01, 0); signal.pause()"


class GuestError(Exception):
    pass


def load_kvm() -> None:
    """KVM, and a virtual machine that stays and never runs. The first there is and the last that goes have the kernel patch its scheduler
    (preempt_notifier_key), and an emulated CPU that comes by meanwhile may see the breakpoint of the patch for ever: the whole machine hangs."""
    if not os.path.exists("/dev/kvm"):
        subprocess.run("modprobe kvm_amd || modprobe kvm_intel", shell=True, check=True)
    if subprocess.run(["systemctl", "is-active", "--quiet", "lab-kvm"]).returncode != 0:
        subprocess.run(["systemd-run", "--quiet", "--collect", "--unit=lab-kvm", "python3", "-S", "-E", "-c", HOLD], check=True)


class NestedGuest:
    def __init__(self, name: str):
        self.name = name
        self.dir = RUN / name

    def start(self, wwpn: str, extra: list[str] | None = None, timeout: float = 120, wait: bool = True) -> "NestedGuest":
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True)
        load_kvm()
        initrd = self.dir / "initrd"
        initrd.write_bytes((LIB / "nested/base.cpio").read_bytes() + (LIB / "nested/init.cpio").read_bytes())
        argv = ["qemu-system-x86_64", "-name", self.name, "-machine", "pc", "-accel", "kvm", "-cpu", "host", "-m", "192",
                "-nodefaults", "-no-user-config", "-display", "none",
                "-chardev", f"file,id=log,path={self.dir}/log", "-serial", "chardev:log",
                "-chardev", f"socket,id=shell,path={self.dir}/shell,server=on,wait=off", "-serial", "chardev:shell",
                "-qmp", f"unix:{self.dir}/qmp,server=on,wait=off",
                "-kernel", str(LIB / "nested/vmlinux"), "-initrd", str(initrd),
                "-append", "console=ttyS0 quiet mitigations=off panic=-1 rdinit=/init", "-no-reboot"]
        if wwpn:
            argv += ["-device", f"vhost-scsi-pci,wwpn={wwpn}"]
        # A unit of its own: the guest outlives whoever starts it, and no cgroup of the daemon's holds it.
        subprocess.run(["systemd-run", "--quiet", "--collect", f"--unit=nested-{self.name}",
                        f"--property=StandardError=file:{self.dir}/qemu.log", *argv, *(extra or [])], check=True)
        if wait:
            self.wait_ready(timeout)
        return self

    def alive(self) -> bool:
        return subprocess.run(["systemctl", "is-active", "--quiet", f"nested-{self.name}"]).returncode == 0

    def wait_ready(self, timeout: float = 120) -> None:
        deadline = time.monotonic() + timeout
        with self._connect(deadline) as shell:
            self._read_until(shell, b"@@ready", deadline)

    def _connect(self, deadline: float) -> socket.socket:
        shell = socket.socket(socket.AF_UNIX)
        while True:
            try:
                shell.connect(f"{self.dir}/shell")
                return shell
            except (FileNotFoundError, ConnectionRefusedError):
                if not self.alive() or time.monotonic() > deadline:
                    raise GuestError(f"guest {self.name} does not run:\n{self.diagnosis()}") from None
                time.sleep(0.05)

    def _read_until(self, shell: socket.socket, tag: bytes, deadline: float) -> tuple[str, int]:
        data = b""
        while True:
            shell.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                chunk = shell.recv(65536)
            except TimeoutError:
                raise GuestError(f"guest {self.name}: no answer in time; it said {data[-500:]!r}\n"
                                 + self.diagnosis()) from None
            if not chunk:
                raise GuestError(f"guest {self.name} died:\n{self.diagnosis()}")
            data += chunk.replace(b"\r", b"")
            at = data.find(tag + b" ")
            if at >= 0 and b"\n" in data[at:]:
                return data[:at].decode(errors="replace"), int(data[at + len(tag):].split()[0])

    def cmd(self, line: str, timeout: float = 60, check: bool = True) -> str:
        deadline = time.monotonic() + timeout
        tag = os.urandom(4).hex()
        with self._connect(deadline) as shell:
            shell.sendall(f"\n{tag} {line}\n".encode())
            out, code = self._read_until(shell, f"@@{tag}".encode(), deadline)
        if check and code != 0:
            raise GuestError(f"guest {self.name}: {line!r} gave {code}: {out}")
        return out

    def disks(self) -> list[dict[str, str]]:
        return [dict(word.split("=", 1) for word in shlex.split(line)) for line in self.cmd("disks").splitlines()]

    def block(self, lun: int) -> str:
        """What the guest calls the disk with that number, as soon as it has it."""
        deadline = time.monotonic() + 60
        while True:
            for disk in self.disks():
                if disk["hctl"].rsplit(":", 1)[1] == str(lun):
                    return disk["block"]
            if time.monotonic() > deadline:
                raise AssertionError(f"the guest has no LUN {lun}: {self.disks()}")
            time.sleep(0.2)

    def io_status(self, block: str) -> dict[str, int]:
        return {k: int(v) for k, v in (w.split("=") for w in self.cmd(f"guestio status {block}").split())}

    def qmp(self, command: str, **arguments):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(f"{self.dir}/qmp")
            stream = s.makefile("rw")
            stream.readline()
            for call in ({"execute": "qmp_capabilities"}, {"execute": command, "arguments": arguments}):
                stream.write(json.dumps(call) + "\n")
                stream.flush()
                while "event" in (answer := json.loads(stream.readline())):
                    pass
            return answer

    def stop(self) -> None:
        subprocess.run(["systemctl", "kill", "--signal=KILL", f"nested-{self.name}"], stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while self.alive():
            if time.monotonic() > deadline:
                raise GuestError(f"guest {self.name} does not die")
            time.sleep(0.05)
        subprocess.run(["systemctl", "reset-failed", f"nested-{self.name}"], stderr=subprocess.DEVNULL)

    def log(self) -> str:
        return "".join((self.dir / f).read_text(errors="replace") for f in ("log", "qemu.log") if (self.dir / f).exists())

    def diagnosis(self) -> str:
        return self.log()[-3000:] or "(it said nothing)"


def main(argv: list[str]) -> int:
    if len(argv) < 2 or argv[0] not in ("start", "cmd", "log", "stop", "pause", "cont"):
        print(__doc__, file=sys.stderr)
        return 2
    verb, guest = argv[0], NestedGuest(argv[1])
    try:
        if verb == "start":
            guest.start(argv[2], argv[3:])
        elif verb == "cmd":
            sys.stdout.write(guest.cmd(" ".join(argv[2:])))
        elif verb == "log":
            sys.stdout.write(guest.log())
        elif verb == "stop":
            guest.stop()
        else:
            guest.qmp("stop" if verb == "pause" else "cont")
    except GuestError as e:
        print(e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
