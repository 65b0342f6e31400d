# SPDX-License-Identifier: LGPL-2.1-or-later
"""A throw-away machine: QEMU over a copy-on-write disk, driven through the agent and QMP."""
import ctypes
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Callable

from host.image import digest, ensure_image, hold, locked, prune
from host.link import Link
from host.qmp import Qmp
from host.stages import LabError, stage

MEMORY = 3072
BOOT_TIMEOUT = 600
CMDLINE = ("root=/dev/vda rw console=ttyS0 mitigations=off quiet loglevel=5 panic=0 oops=panic net.ifnames=0 "
           "systemd.show_status=0 sysrq_always_enabled")
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    _libc.prctl(1, signal.SIGKILL)


def accel() -> list[str]:
    """A stock kernel does not boot under every /dev/kvm (nor is there always one), so emulation is the rule."""
    name = os.environ.get("LAB_ACCEL", "tcg")
    if name == "tcg":
        # Without erms the kernel clears and copies eight bytes a step instead of one, and each step is emulated.
        return ["-accel", "tcg,thread=multi", "-cpu", "max,erms=off"]
    return ["-accel", name, "-cpu", "host"]


class Vm:
    """One machine. Use it as a context manager: whatever happens, QEMU and its files are gone at the end."""

    def __init__(self, image: Path | None = None, fresh: bool = False):
        self.image = image or ensure_image()
        self.fresh = fresh
        self.process: subprocess.Popen | None = None
        self.boot_id = ""
        self.prepare: Callable[["Vm"], None] | None = None

    def __enter__(self) -> "Vm":
        self.locks = [hold(self.image)]
        self.dir = Path(tempfile.mkdtemp(prefix="vhscsid-lab."))
        try:
            if self.fresh:
                with stage("boot"):
                    self.boot(self.image / "root.img", "raw")
            else:
                booted = ensure_booted(self.image)
                self.locks.append(hold(booted))
                with stage("machine, resumed as it was after its boot"):
                    self.resume(booted)
            if self.prepare:
                self.prepare(self)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)
        for lock in self.locks:
            lock.close()

    # -- QEMU

    def make_disk(self, backing: Path, backing_format: str) -> None:
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", backing_format, "-b", str(backing.resolve()),
                        str(self.dir / "disk.qcow2")], check=True)

    def start_qemu(self, *extra: str) -> None:
        disk = self.dir / "disk.qcow2"
        argv = ["qemu-system-x86_64", "-name", "vhscsid-lab", "-machine", "q35", *accel(), "-m", str(MEMORY), "-smp", "2",
                "-nodefaults", "-no-user-config", "-display", "none", "-rtc", "base=utc,clock=host",
                "-serial", f"file:{self.dir}/console", "-qmp", f"unix:{self.dir}/qmp,server=on,wait=off",
                "-kernel", str(self.image / "vmlinux"), "-initrd", str(self.image / "boot.cpio"), "-append", CMDLINE,
                "-drive", f"file={disk},if=virtio,format=qcow2,cache=unsafe,discard=unmap",
                "-device", "virtio-serial-pci", "-chardev", f"socket,id=agent,path={self.dir}/agent,server=on,wait=off",
                "-device", "virtserialport,chardev=agent,name=lab.agent", "-device", "virtio-rng-pci", "-no-reboot", *extra]
        log = open(self.dir / "qemu.log", "w")
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                        preexec_fn=die_with_parent)
        try:
            self.qmp = Qmp(f"{self.dir}/qmp")
        except LabError as e:
            raise LabError(f"{e}\n{(self.dir / 'qemu.log').read_text()}") from None
        self.link = Link(f"{self.dir}/agent")

    def connect(self, timeout: float) -> None:
        try:
            self.boot_id = self.link.connect(timeout)["boot"]
        except LabError as e:
            raise LabError(f"{e}; the console ends so:\n{self.console_tail()}") from None

    def boot(self, backing: Path, backing_format: str) -> None:
        self.make_disk(backing, backing_format)
        self.start_qemu()
        self.connect(BOOT_TIMEOUT)
        self.settle()

    def settle(self) -> None:
        """Booted means: systemd has no job left. (`degraded` is a failed unit, and is said.)"""
        state = self.run("systemctl is-system-running --wait", timeout=BOOT_TIMEOUT, check=False).text.strip()
        if state != "running":
            failed = self.run("systemctl --failed --no-legend --plain", check=False).text
            raise LabError(f"the machine came up {state}:\n{failed}")

    def resume(self, booted: Path) -> None:
        self.make_disk(booted / "disk.qcow2", "qcow2")
        self.start_qemu("-incoming", "defer")
        self.qmp.call("migrate-incoming", uri=f"exec:cat {booted / 'state'}")
        self.wait_migrated()
        self.qmp.call("cont")
        self.connect(60)
        self.set_clock()

    def wait_migrated(self) -> None:
        deadline = time.monotonic() + 120
        while (status := self.qmp.call("query-migrate").get("status")) != "completed":
            if status == "failed" or time.monotonic() > deadline:
                raise LabError(f"QEMU could not save or load the machine: {status}")
            time.sleep(0.05)

    def set_clock(self) -> None:
        self.run(["date", "-u", "-s", f"@{time.time():.3f}"])

    # -- what tests use

    def run(self, argv, **kw):
        return self.link.run(argv, **kw)

    def start(self, argv, **kw):
        return self.link.start(argv, **kw)

    def put_tar(self, data: bytes, where: str = "/") -> None:
        self.run(["tar", "-x", "--no-same-owner", "--keep-directory-symlink", "-C", where], input=data, timeout=120)

    def reboot(self) -> None:
        """A clean one: systemd stops everything."""
        self.link.run(["systemctl", "--no-block", "reboot"])
        self._come_back(180)

    def reset(self) -> None:
        """The power goes, and returns: nothing in the machine gets to say goodbye, and what it had not yet written is lost."""
        self.qmp.call("quit")
        self._come_back(20)

    def _come_back(self, timeout: float) -> None:
        """A new QEMU for each boot: an old one has the last boot's code translated, and looks at each byte that is written over it."""
        old = self.boot_id
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LabError(f"the machine did not go down in {timeout} s; the console ends so:\n{self.console_tail()}") from None
        self.link.disconnect()
        self.start_qemu()
        self.connect(BOOT_TIMEOUT)
        if self.boot_id == old:
            raise LabError("the machine did not reboot")
        self.set_clock()

    def where_it_is(self) -> str:
        """For a machine that hangs: where QEMU has its CPUs, what its kernel says that they do, and which tasks wait for what."""
        try:
            registers = [self.qmp.call("human-monitor-command", **{"command-line": "info registers -a"}) for _ in range(2)]
            for key in ("l", "w"):
                self.qmp.call("send-key", keys=[{"type": "qcode", "data": k} for k in ("alt", "sysrq", key)], **{"hold-time": 100})
                time.sleep(3)       # nobody tells when the kernel has said it all, if it says anything
        except (LabError, OSError) as e:
            return f"(QEMU does not say: {e})"
        at = [" ".join(re.findall(r"^[ER]IP=(\w+)", r, re.M)) for r in registers]
        return f"the CPUs are at {at[0]}, then at {at[1]}; the console ends so:\n{self.console_tail(250)}"

    def console_tail(self, lines: int = 30) -> str:
        try:
            return "\n".join((self.dir / "console").read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""


def ensure_booted(image: Path) -> Path:
    """A machine that has just booted, on disk: resuming it takes seconds. Another QEMU or accelerator, another state."""
    version = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True).stdout
    booted = image / f"booted-{digest(version, *accel(), MEMORY, CMDLINE, Path(__file__).read_text())}"
    if booted.is_dir():
        return booted
    with locked(image / "booted.lock"):
        if booted.is_dir():
            return booted
        prune(image, "booted", 2)
        partial = image / "booted.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        with Vm(image, fresh=True) as vm, stage("keeping the booted machine"):
            vm.run("sync")
            vm.link.disconnect()
            vm.qmp.call("stop")
            vm.qmp.call("migrate-set-parameters", **{"max-bandwidth": 0})
            vm.qmp.call("migrate", uri=f"exec:cat > {partial / 'state'}")
            vm.wait_migrated()
            vm.qmp.call("quit")
            vm.process.wait()
            # The overlay names its backing file by path, and stays in the same directory as it.
            shutil.move(vm.dir / "disk.qcow2", partial / "disk.qcow2")
        partial.rename(booted)
    return booted
