# SPDX-License-Identifier: LGPL-2.1-or-later
"""The VM's disk: a Debian root, a few files of ours on it, two small initramfs. Built once, kept outside the source tree.

Two layers, each named after the hash of its recipe: `root-*` (what Debian's packages gave, minutes) and `image-*` (the disk, the
kernel, the initramfs, and the state of a booted machine, seconds). A changed recipe has another name; what is old is removed.
"""
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import IO

from host import kernel
from host.cpio import Cpio
from host.stages import LabError, say, stage

SUITE = "bookworm"
PACKAGES = """
    linux-image-amd64 systemd systemd-sysv udev dbus polkitd kmod mount util-linux procps e2fsprogs
    multipath-tools kpartx dmsetup lvm2 sg3-utils
    libjson-c5 libkmod2 libmount1 libmd0 libudev1 libsystemd0 libglib2.0-0 libglib2.0-bin
    python3 strace bash-completion
    qemu-system-x86 busybox-static
    libvirt-daemon-system libvirt-clients libvirt-daemon-driver-qemu libxml2-utils
    targetcli-fb python3-rtslib-fb
""".split()
# Nothing here can be plugged into the VM, or read by anybody in it. Half of the bytes.
EXCLUDE = """
    /usr/share/doc/* /usr/share/man/* /usr/share/locale/* /usr/share/info/*
    /lib/modules/*/kernel/drivers/net/* /lib/modules/*/kernel/drivers/gpu/* /lib/modules/*/kernel/drivers/media/*
    /lib/modules/*/kernel/drivers/infiniband/* /lib/modules/*/kernel/drivers/iio/* /lib/modules/*/kernel/sound/*
""".split()
# rtslib's unit clears every fabric when it starts and when it stops, so the suites start it by hand where they need it.
MASKED = """
    rtslib-fb-targetctl.service getty@tty1.service serial-getty@ttyS0.service e2scrub_reap.service
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer
    systemd-pstore.service multipath-tools.service
""".split()
# What only suite_libvirt starts.
DISABLED = """
    libvirtd.service libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirt-guests.service machines.target
    virtlogd.socket virtlogd-admin.socket virtlockd.socket virtlockd-admin.socket logrotate.timer
""".split()
BOOT_MODULES = ["virtio_pci", "virtio_blk", "ext4", "crc32c_generic", "crc32c-intel"]
NESTED_MODULES = ["virtio_pci", "virtio_scsi", "sd_mod", "sg", "crc32c_generic", "crct10dif_common"]
DISK_SIZE = "6G"
BOOT_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
while read -r m; do insmod "/modules/$m"; done < /modules/order
while ! mount -t ext4 /dev/vda /root 2>/dev/null; do usleep 10000; done
for d in dev proc sys; do mount --move /$d /root/$d; done
exec switch_root /root /sbin/init
"""
GUEST = Path(__file__).resolve().parent.parent / "guest"
# What of guest/ is part of the image. The rest is shipped at each run, so that changing it costs nothing.
IMAGE_FILES = {
    "agent.py": "usr/local/lib/vhscsid-lab/agent.py",
    "lab-agent.service": "etc/systemd/system/lab-agent.service",
    "multipath.conf": "etc/multipath.conf",
    "journald.conf": "etc/systemd/journald.conf.d/lab.conf",
}


def cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.environ.get("HOME") or "/var", ".cache")
    path = Path(base) / "vhscsid-lab"
    path.mkdir(parents=True, exist_ok=True)
    return path


def digest(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:12]


def root_key() -> str:
    return digest(SUITE, *PACKAGES, *EXCLUDE)


def image_key() -> str:
    here = Path(__file__)
    return digest(root_key(), kernel.identity(), *((here.parent / name).read_text() for name in (here.name, "cpio.py", "kernel.py")),
                  *((GUEST / name).read_text() for name in IMAGE_FILES))


@contextlib.contextmanager
def locked(path: Path, mode: int = fcntl.LOCK_EX):
    """Two labs at once share what is there and wait for what one of them builds."""
    with open(path, "w") as f:
        try:
            fcntl.flock(f, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"    another lab works on {path.name}; waiting for it")
            fcntl.flock(f, mode)
        yield


def host_apt_options() -> list[str]:
    """A proxy, or a mirror whose dates are off: what apt of this machine was told, mmdebstrap's must know as well."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    wanted = re.compile(r'^(Acquire::(?:Check-Valid-Until|Check-Date|http[^ ]*::Proxy[^ ]*|Retries) ".*");$', re.M)
    return [f"--aptopt={line}" for line in wanted.findall(dump)]


def build_root(target: Path) -> None:
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    argv = ["mmdebstrap", "--mode=root", "--variant=minbase", f"--include={','.join(PACKAGES)}",
            '--aptopt=APT::Install-Recommends "false"', *host_apt_options(),
            *(f"--dpkgopt=path-exclude={p}" for p in EXCLUDE), SUITE, str(partial)]
    log = target.with_suffix(".log")
    with stage(f"Debian {SUITE} root with {len(PACKAGES)} packages and what they need") as s, open(log, "w") as out:
        # INITRD=No: our own initramfs boots the disk, and making Debian's costs more than all of it.
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                 env=dict(os.environ, INITRD="No"))
        for line in child.stdout:
            out.write(line)
            s.note(line)
        if child.wait() != 0:
            raise LabError(f"mmdebstrap failed; see {log}")
    partial.rename(target)


def module_order(modules: Path, wanted: list[str]) -> list[str]:
    """Files to load, each after those it needs."""
    needs: dict[str, list[str]] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        name, rest = line.split(":")
        needs[name] = rest.split()
    by_name = {Path(p).name.partition(".")[0].replace("-", "_"): p for p in needs}
    order: list[str] = []

    def add(path: str) -> None:
        for other in reversed(needs[path]):
            add(other)
        if path not in order:
            order.append(path)

    for name in wanted:
        path = by_name.get(name.replace("-", "_"))
        if path is None:
            if name in (modules / "modules.builtin").read_text():
                continue
            raise LabError(f"this kernel has no module {name}")
        add(path)
    return order


def make_initramfs(root: Path, to: Path, wanted: list[str], init: str | None) -> None:
    modules = next((root / "lib/modules").iterdir())
    order = module_order(modules, wanted)
    cpio = Cpio()
    for d in ("bin", "dev", "proc", "sys", "root", "modules", "run"):
        cpio.directory(d)
    cpio.file("bin/busybox", (root / "bin/busybox").read_bytes(), 0o755)
    cpio.symlink("bin/sh", "busybox")
    for path in order:
        cpio.file(f"modules/{Path(path).name.removesuffix('.xz')}", kernel.module_file(modules, path))
    cpio.file("modules/order", "".join(f"{Path(p).name.removesuffix('.xz')}\n" for p in order).encode())
    if init is not None:
        cpio.file("init", init.encode(), 0o755)
    to.write_bytes(cpio.finish())


def build_image(root: Path, target: Path) -> None:
    partial = target.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    tree = partial / "tree"
    partial.mkdir()
    with stage("disk image, kernel, initramfs"):
        subprocess.run(["cp", "-a", "--reflink=auto", str(root), str(tree)], check=True)
        if kernel.packages():
            kernel.unpack_image(tree)
        kernel.extract_kernel(next((tree / "boot").glob("vmlinuz-*")), partial / "vmlinux")
        make_initramfs(tree, partial / "boot.cpio", BOOT_MODULES, BOOT_INIT)
        make_initramfs(tree, partial / "nested.cpio", NESTED_MODULES, None)
        nested = tree / "usr/local/lib/vhscsid-lab/nested"
        nested.mkdir(parents=True)
        shutil.copy(partial / "vmlinux", nested / "vmlinux")
        shutil.copy(partial / "nested.cpio", nested / "base.cpio")
        for name, where in IMAGE_FILES.items():
            path = tree / where
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(GUEST / name, path)
        units = tree / "etc/systemd/system"
        for unit in MASKED:
            path = units / unit
            path.unlink(missing_ok=True)
            path.symlink_to("/dev/null")
        for link in [p for unit in DISABLED for p in units.glob(f"*.wants/{unit}")]:
            link.unlink()
        wants = units / "multi-user.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / "lab-agent.service").symlink_to("/etc/systemd/system/lab-agent.service")
        (tree / "etc/fstab").write_text("/dev/vda / ext4 rw,noatime 0 1\n")
        (tree / "etc/hostname").write_text("lab\n")
        shutil.rmtree(tree / "var/lib/apt/lists", ignore_errors=True)
        disk = partial / "root.img"
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", "lab", "-E", "lazy_itable_init=1", "-d", str(tree), str(disk),
                        DISK_SIZE], check=True)
        shutil.rmtree(tree)
    partial.rename(target)


def prune(directory: Path, kind: str, keep: int = 3) -> None:
    """Removes what has not been used for long: two clones with different recipes must not take each other's away."""
    found = sorted((p for p in directory.glob(f"{kind}-*") if p.is_dir()), key=lambda p: used(p).stat().st_mtime, reverse=True)
    for path in found[keep:]:
        with open(used(path)) as f:
            try:
                fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue                # a machine runs from it
            shutil.rmtree(path, ignore_errors=True)
            path.with_suffix(".log").unlink(missing_ok=True)


def used(path: Path) -> Path:
    """The file whose lock says that somebody uses the directory now, and whose time says when it was used last."""
    lock = path.with_name(f"{path.name}.lock")
    if not lock.exists():
        lock.touch()
    return lock


def hold(path: Path) -> IO:
    lock = open(used(path))
    fcntl.flock(lock, fcntl.LOCK_SH)
    os.utime(lock.fileno())
    return lock


def ensure_image() -> Path:
    """The directory of the image that this recipe makes."""
    cache = cache_dir()
    root = cache / f"root-{root_key()}"
    image = cache / f"image-{image_key()}"
    if image.is_dir():
        return image
    if os.geteuid() != 0:
        raise LabError("building the image needs root (it is a Debian system with its own files' owners)")
    with locked(cache / "build.lock"):
        if not root.is_dir():
            build_root(root)
        if not image.is_dir():
            build_image(root, image)
        hold(root).close()
        hold(image).close()
        prune(cache, "root", 2)
        prune(cache, "image")
    return image
