# SPDX-License-Identifier: LGPL-2.1-or-later
"""libvirt as Debian has it, and guests of nested.py that it runs."""
import json
import shutil
import subprocess
import uuid
from pathlib import Path

from labkit import LabTest, Target, run
from nested import LIB, NestedGuest, load_kvm

QEMU_CONF = Path("/etc/libvirt/qemu.conf")
# The guest of nested.py, run by libvirt.
DOMAIN = """<domain type='kvm'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>192</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{lib}/nested/vmlinux</kernel>
    <initrd>{dir}/initrd</initrd>
    <cmdline>console=ttyS0 quiet mitigations=off panic=-1 rdinit=/init</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='host-passthrough'/>
  <on_reboot>destroy</on_reboot>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <serial type='file'><source path='{dir}/log'/><target port='0'/></serial>
    <serial type='unix'><source mode='bind' path='{dir}/shell'/><target port='1'/></serial>
{hostdev}  </devices>
{override}</domain>
"""


def ctl(*words: str, text: str | None = None) -> str:
    return run(["vhscsictl", *words], input=text).stdout


def virsh(*words: str, check: bool = True) -> subprocess.CompletedProcess:
    return run(["virsh", "--quiet", *words], timeout=180, check=check)


class Domain(NestedGuest):
    """A guest that libvirt runs. parts: what libvirt-xml printed for it, of any number of targets."""

    def __init__(self, name: str, *parts: str):
        super().__init__(name)
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir(parents=True)
        (self.dir / "initrd").write_bytes((LIB / "nested/base.cpio").read_bytes() + (LIB / "nested/init.cpio").read_bytes())
        split = [part.partition("<qemu:override") for part in parts]
        self.uuid = str(uuid.uuid5(uuid.NAMESPACE_DNS, name))
        self.xml = DOMAIN.format(name=name, uuid=self.uuid, lib=LIB, dir=self.dir, hostdev="".join(before for before, _, _ in split),
                                 override="".join(tag + after for _, tag, after in split))
        self.file = self.dir / "domain.xml"
        self.file.write_text(self.xml)

    def define(self) -> "Domain":
        virsh("define", "--validate", str(self.file))
        return self

    def start(self) -> "Domain":
        virsh("start", self.name)
        self.wait_ready()
        return self

    def diagnosis(self) -> str:
        """With what QEMU itself has said."""
        log = Path(f"/var/log/libvirt/qemu/{self.name}.log")
        return f"{super().diagnosis()}\n{log.read_text(errors='replace')[-2000:] if log.exists() else ''}"

    def alive(self) -> bool:
        return virsh("domstate", self.name, check=False).stdout.strip() in ("running", "paused")

    def stop(self) -> None:
        virsh("destroy", self.name, check=False)

    def undefine(self) -> None:
        self.stop()
        virsh("undefine", self.name, check=False)


class LibvirtCase(LabTest):
    @classmethod
    def setUpClass(cls) -> None:
        QEMU_CONF.write_text('user = "root"\ngroup = "root"\nsecurity_driver = "none"\nstdio_handler = "file"\n')
        load_kvm()
        run(["systemctl", "start", "libvirtd"], timeout=120)

    @staticmethod
    def restart_libvirt() -> None:
        run(["systemctl", "restart", "libvirtd"], timeout=120)

    @classmethod
    def tearDownClass(cls) -> None:
        run("systemctl stop libvirtd libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket", check=False)

    def domain(self, name: str, *parts: str) -> Domain:
        domain = Domain(name, *parts)
        self.addCleanup(domain.undefine)
        return domain.define()

    def assert_sees(self, guest: NestedGuest, target: Target) -> None:
        """Address, model, size and WWID of each disk are those that show tells, and there is no other disk."""
        shown = json.loads(ctl("show", target.wwn, "--json"))
        seen = {d["hctl"].split(":", 1)[1]: (d["vendor"].strip(), d["model"].strip(), int(d["size"]), "wwn-0x" + d["wwid"].removeprefix("naa."))
                for d in guest.disks()}
        self.assertEqual(seen, {f"0:{shown['portal_group']}:{lun['number']}":
                                ("LIO-ORG", lun["backstore"].partition("/")[2][:16], lun["size"], lun["guest_wwid"]) for lun in shown["luns"]})
        table = ctl("show", target.wwn)
        for address in seen:
            self.assertIn(f"[?:{address}]", table)
        # What the documents tell an admin to look for in the guest's log.
        self.assertEqual(len(guest.cmd("inquiry").splitlines()), len(seen))
