# SPDX-License-Identifier: LGPL-2.1-or-later
"""QEMU and libvirt as Debian has them: they take what qemu-args and libvirt-xml print, and the guest sees what show has told."""
import json
import re
import shlex
import shutil
import subprocess
import uuid

from labdisks import dm_disks, mk_multipath, rm_multipath, sha256, write_pattern
from labkit import STORE, Api, run, service_start, service_stop, wait_until
from lablibvirt import Domain, LibvirtCase, ctl, virsh
from nested import RUN, NestedGuest


def device_properties(argument: str) -> dict[str, str]:
    """Of what follows -device, as libvirt writes it (JSON) or as we do."""
    if argument.startswith("{"):
        words = {"True": "on", "False": "off"}
        return {k: words.get(str(v), str(v)) for k, v in json.loads(argument).items()}
    driver, _, rest = argument.partition(",")
    return {"driver": driver} | dict(part.split("=", 1) for part in rest.split(","))


class LibvirtTest(LibvirtCase):
    def test_valid(self) -> None:
        """Every form is what libvirt's own schema has; of those for this machine libvirt makes the device that qemu-args prints."""
        target = self.api.create()
        target.add_lun(dm_disks(1)[0].device, number=0)
        wwn = target.wwn
        everything = ("--boot=2", "--queues=3")
        for words in ((), ("--address=0000:00:05.0",), ("--address=fe.0.1000",), ("--address=0x6.1", *everything), ("--qemu-version=10.2",)):
            with self.subTest(words):
                domain = Domain("valid", ctl("libvirt-xml", wwn, *words))
                run(["virt-xml-validate", str(domain.file), "domain"])
        broken = Domain("broken", ctl("libvirt-xml", wwn).replace("wwpn", "wwn"))
        self.assertNotEqual(run(["virt-xml-validate", str(broken.file), "domain"], check=False).returncode, 0)

        for theirs, ours in ((("--address=0x5",), ("--addr=0x5",)), (("--address=0000:00:06.1", *everything), ("--addr=6.1", *everything))):
            with self.subTest(theirs):
                domain = Domain("native", ctl("libvirt-xml", wwn, *theirs))
                argv = shlex.split(virsh("domxml-to-native", "qemu-argv", str(domain.file)).stdout)
                made, = (d for a, b in zip(argv, argv[1:]) if a == "-device" and (d := device_properties(b))["driver"].startswith("vhost-scsi"))
                printed = device_properties(ctl("qemu-args", wwn, *ours).split()[1])
                self.assertEqual({k: made.get(k) for k in printed}, printed)

    def test_libvirt_guest(self) -> None:
        """define, start, what the guest sees and reads; destroy frees the target."""
        self.addCleanup(rm_multipath)
        self.addCleanup(self.destroy_ours)
        maps, disk = mk_multipath(1), dm_disks(1)[0]
        write_pattern(maps[0].device, 8, "libvirt")
        target = self.api.create()
        target.add_lun(maps[0].device, number=0)
        target.add_lun(disk.device, number=17, readonly=True)
        guest = self.domain("guest", ctl("libvirt-xml", target.wwn, "--address=0000:00:05.0", "--queues=2")).start()
        self.assert_sees(guest, target)
        guest.cmd("ls -d /sys/bus/pci/devices/0000:00:05.0/virtio*/host*")
        self.assertEqual(guest.cmd(f"sum {guest.block(0)} 8").strip(), sha256(maps[0].device, 8))
        wait_until("it is attached", lambda: target.get("Endpoint") == "attached")
        with self.refused("InUse"):
            target.destroy()
        guest.stop()
        wait_until("it is idle", lambda: target.get("Endpoint") == "idle")
        target.destroy()

    def test_qemu_guest_and_another_host(self) -> None:
        """qemu-args as printed starts the guest. After dump --portable, a host that knows nothing and import, it sees the same disks."""
        first, second = dm_disks(2)
        seed = str(uuid.uuid4())
        target = self.api.create(seed=seed)
        target.add_lun(first.device, number=3)
        target.add_lun(second.device, number=9, name="data", serial="0123456789abcdef0123456789")
        nexus = target.get("Nexus")

        def boot() -> list[dict[str, str]]:
            guest = NestedGuest("qemu")
            self.addCleanup(guest.stop)
            guest.start("", ctl("qemu-args", target.wwn, "--addr=0x6", "--queues=2").split())
            self.assert_sees(guest, target)
            guest.cmd("ls -d /sys/bus/pci/devices/0000:00:06.0/virtio*/host*")
            seen = [{k: v for k, v in d.items() if k != "block"} for d in guest.disks()]
            guest.stop()
            wait_until("it is idle", lambda: target.get("Endpoint") == "idle")
            return sorted(seen, key=lambda d: d["hctl"])

        before = boot()
        self.assertEqual([bool(d["pg80"] and d["pg83"]) for d in before], [True, True])
        dumped = ctl("dump", "native", "--portable", f"--target={target.wwn}")
        target.destroy()
        service_stop()
        for path in STORE.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        service_start()
        self.api.close()
        self.api = Api()
        self.assertEqual(self.api.list_targets(), [])

        # Two hosts come to one WWN without the document, too.
        self.assertEqual(ctl("create", f"--seed={seed}", "--dry-run").strip(), target.wwn)
        ctl("import", "native", "-", text=dumped)
        target = self.api.target(target.wwn)
        self.assertEqual(target.get("Nexus"), nexus)
        self.assertEqual(ctl("dump", "native", "--portable", f"--target={target.wwn}"), dumped)
        self.assertEqual(boot(), before)

    def test_boot_from_lun_0(self) -> None:
        """The firmware finds LUN 0 by bootindex and boot_tpgt; with QEMU's own portal group, 0, it does not."""
        disk, = dm_disks(1)
        word = b"this is LUN 0"
        # Each letter to the serial port, then rest: mov dx, 0x3f8; mov al, LETTER; out dx, al; …; hlt.
        code = b"\xba\xf8\x03" + b"".join(b"\xb0" + bytes([c]) + b"\xee" for c in word) + b"\xf4\xeb\xfd"
        with open(disk.device, "r+b", buffering=0) as f:
            f.write(code.ljust(510, b"\0") + b"\x55\xaa")
        target = self.api.create()
        target.add_lun(disk.device, number=0)
        device = ctl("qemu-args", target.wwn, "--boot=1").split()
        RUN.mkdir(parents=True, exist_ok=True)

        def boot(arguments: list[str], says: str) -> None:
            serial, firmware = RUN / "serial", RUN / "firmware"
            for path in (serial, firmware):
                path.unlink(missing_ok=True)
            argv = ["qemu-system-x86_64", "-machine", "pc", "-accel", "kvm", "-cpu", "host", "-m", "64", "-nodefaults", "-no-user-config",
                    "-display", "none", "-boot", "strict=on", "-serial", f"file:{serial}", "-chardev", f"file,id=log,path={firmware}",
                    "-device", "isa-debugcon,iobase=0x402,chardev=log", *arguments]
            with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as qemu:
                try:
                    wait_until(says, lambda: says in serial.read_text() + firmware.read_text(), 60)
                finally:
                    qemu.kill()
            wait_until("it is idle", lambda: target.get("Endpoint") == "idle")

        boot(device, word.decode())
        boot([device[0], re.sub(r",boot_tpgt=\d+", "", device[1])], "No bootable device")
