# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every example of vhscsid.rules(7), as it is printed there, read by udev and matched against a disk that it means."""
import re
from pathlib import Path

from labdisks import DmDisk, NullDisk, rm_multipath, udev_settle
from labkit import LabTest, run, wait_until

PAGE = Path("/usr/share/man/man7/vhscsid.rules.7")
RULES = Path("/run/udev/rules.d")
KEYS = ("VHOSTSCSI_TARGET", "VHOSTSCSI_LUN", "VHOSTSCSI_READONLY", "VHOSTSCSI_IGNORE")


def examples() -> dict[str, tuple[int, str]]:
    """What is said of it, without markup -> number that its file's name needs, the rule."""
    section = re.search(r"^\.SH EXAMPLES$(.*?)^\.SH ", PAGE.read_text(), re.M | re.S)[1]
    found = {}
    for title, rule in re.findall(r"^\.P\n([^.\n][^\n]*)\n\.P\n\.nf\n\.RS 4\n(.*?)^\.fi$", section, re.M | re.S):
        title = re.sub(r"\\(?:f[A-Z]|&)", "", title)
        found[title] = (61 if "61- file" in title else 58, rule.replace(r"\&", "").replace("\\\\", "\\").replace(r"\-", "-"))
    return found


class ExamplesTest(LabTest):
    def setUp(self) -> None:
        super().setUp()
        self.files: list[Path] = []
        self.addCleanup(self.no_rules)

    def no_rules(self) -> None:
        for file in self.files:
            file.unlink(missing_ok=True)
        run(["udevadm", "control", "--reload"])

    def write(self, name: str, text: str) -> None:
        RULES.mkdir(parents=True, exist_ok=True)
        self.files.append(RULES / name)
        self.files[-1].write_text(text)

    def outcome(self, device: str) -> dict[str, str]:
        """What udev makes of an event for the device with the rules as they are now. Nothing is kept, nobody is told."""
        path = run(["udevadm", "info", "-q", "path", device]).stdout.strip()
        result = run(["udevadm", "test", "-a", "add", path])
        wrong = [line for line in result.stderr.splitlines() if "-lab-" in line and not line.startswith("Reading rules file")
                 and re.search(r"(?i)invalid|unknown|ignor|fail|error|warn", line)]
        self.assertEqual(wrong, [])
        return {k: m[1] for k in KEYS if (m := re.search(rf"^{k}=(.*)$", result.stdout, re.M))}

    def check(self, title: str, meant: str, expected: dict[str, str], others: list[str], helper: str = "") -> None:
        number, rule = self.all.pop(title)
        with self.subTest(title):
            if helper:
                self.write("60-zz-lab-helper.rules", helper)
            self.write(f"{number}-lab-example.rules", rule)
            self.assertEqual(self.outcome(meant), expected)
            for other in others:
                self.assertEqual(self.outcome(other), {}, f"{other} is not meant")
            self.no_rules()

    def dm(self, **kw: str) -> str:
        disk = DmDisk(NullDisk(48).device, **kw)
        self.addCleanup(disk.remove)
        udev_settle()
        return disk.device

    def test_every_example(self) -> None:
        self.all = examples()
        array = self.dm(name="labarray", uuid="mpath-360060e8007c6f2000030c6f200001234")
        images, backup, other = self.dm(name="web1-images"), self.dm(name="backup"), self.dm(name="web1")
        volumes = self.dm(name="labvolumes")
        run(f"pvcreate -qy {volumes} && vgcreate -qy guests {volumes} && lvcreate -qy -n web1-root -L 8M guests && "
            "lvcreate -qy -n web2-root -L 8M guests")
        self.addCleanup(run, "vgchange -qan guests", check=False)
        run(["modprobe", "scsi_debug", "inq_vendor=HITACHI", "add_host=1", "max_luns=2", "vpd_use_hostno=0"])
        self.addCleanup(rm_multipath)
        first, second = wait_until("two disks", lambda: sorted(f"/dev/{d.name}" for d in Path("/sys/block").glob("sd*"))[:2]
                                   if len(list(Path("/sys/block").glob("sd*"))) == 2 else None, 30)
        udev_settle()
        # The lab has no fibre channel: its ID_PATH is made up, all else is not.
        def fc(lun: int, disk: str = first) -> str:
            return f'KERNEL=="{disk[5:]}", ENV{{ID_PATH}}="pci-0000:05:00.0-fc-0x50060e8007c6f200-lun-{lun}"\n'

        self.check("All maps, one guest's:", array, {"VHOSTSCSI_TARGET": "seed:web1"}, [images, first])
        self.check("Maps by their WWID, here of one array:", array, {"VHOSTSCSI_TARGET": "naa.50014051f2c6e1a7"}, [images, first])
        self.check("A map by the alias that multipath.conf(5) gives it, as LUN 3, read-only:", images,
                   {"VHOSTSCSI_TARGET": "seed:web1", "VHOSTSCSI_LUN": "3", "VHOSTSCSI_READONLY": "1"}, [other, array])
        self.check("Volumes of this host's LVM, a guest by the first part of the name:", "/dev/guests/web1-root",
                   {"VHOSTSCSI_TARGET": "seed:web1"}, ["/dev/guests/web2-root", images, volumes])
        self.check("Disks by vendor (a 61- file; the vendor that udev knows, without blanks):", first,
                   {"VHOSTSCSI_TARGET": "seed:db1"}, [array, "/dev/vda"])
        self.check("All that is behind one port of a SAN (without multipath; a 61- file):", first,
                   {"VHOSTSCSI_TARGET": "seed:db1"}, [second, array], fc(12))
        self.check("A guest by a range of the array's LUNs, here 10 to 19, and with the array's numbers (a 61- file):", first,
                   {"VHOSTSCSI_TARGET": "seed:web2", "VHOSTSCSI_LUN": "12"}, [second, array], fc(12) + fc(20, second))
        self.check("Never this one:", backup, {"VHOSTSCSI_IGNORE": "1"}, [images])
        self.assertEqual(self.all, {}, "an example that no test looks at")

    def test_a_broken_rule_is_noticed(self) -> None:
        """The check above can fail."""
        device = self.dm(name="web1-images")
        for rule in ('ENV{DM_NAME}="web1-images" ENV{VHOSTSCSI_TARGET=="x"', 'ENV{DM_NAME}=="web1-images", NOSUCHKEY=="1"'):
            with self.subTest(rule), self.assertRaisesRegex(AssertionError, "58-lab-example.rules:1"):
                self.write("58-lab-example.rules", rule + "\n")
                self.outcome(device)
