# SPDX-License-Identifier: LGPL-2.1-or-later
"""vhscsictl: its verbs, its JSON, its exit statuses, its one-line errors."""
import contextlib
import json
import os
import subprocess
from typing import Any

from labdisks import dm_disks, mk_multipath, null_disks
from labkit import LabTest, run, service_start, service_stop, wait_until

EXIT = {"NotFound": 3, "AlreadyExists": 4, "InUse": 5, "Foreign": 6, "InvalidWwn": 7, "InvalidSource": 8, "InvalidArgs": 9,
        "AccessDenied": 10, "LunConflict": 11, "LunOutOfRange": 12, "DeviceNotFound": 13, "DeviceBusy": 14, "DeviceIsPathMember": 15,
        "DeviceUnsafe": 16, "SerialConflict": 17, "GenerationMismatch": 20}


def ctl(*argv: str, status: int = 0) -> str:
    result = run(["vhscsictl", "--no-pager", *argv], check=False)
    if result.returncode != status:
        raise AssertionError(f"vhscsictl {argv}: exit {result.returncode}, not {status}\n{result.stdout}{result.stderr}")
    return result.stdout if status == 0 else result.stderr


def ctl_json(*argv: str) -> Any:
    return json.loads(ctl("--json=short", *argv))


class ClientTest(LabTest):
    def wwn(self, *argv: str) -> str:
        out = ctl("create", *argv)
        return next(word.strip(".,") for word in out.split() if word.startswith("naa."))

    def test_first_target(self) -> None:
        m, = mk_multipath(1)
        wwn = self.wwn("--label=Mail")
        out = ctl("add-lun", wwn, m.device)
        self.assertIn("0", out.split())
        out = ctl("list")
        self.assertIn(wwn, out)
        self.assertIn("Mail", out)
        self.assertIn("1/1", out)
        out = ctl("show", "Mail")
        self.assertIn(f"dm-uuid={m.uuid}", out)
        self.assertEqual(ctl("status").count("\n") > 2, True)
        self.assertIn(m.name, ctl("add-lun", wwn, f"/dev/{m.paths[0]}", status=EXIT["DeviceIsPathMember"]))
        out = ctl("devices")
        self.assertIn(m.name, out)
        ctl("remove-lun", wwn, "0")
        ctl("destroy", wwn)
        self.assertEqual(self.api.list_targets(), [])
        out = ctl("export", m.device)
        self.assertRegex(out, r"naa\.5001405[0-9a-f]{9}")

    def test_json(self) -> None:
        disk, = dm_disks(1)
        created = ctl_json("create", "--label=J")
        wwn = created["wwn"]
        ctl_json("add-lun", wwn, disk.device, "--lun=12", "--readonly", "--name=j")
        target = next(t for t in ctl_json("list") if t["wwn"] == wwn)
        self.assertEqual((target["label"], target["state"]), ("J", "online"))
        shown = ctl_json("show", wwn)
        lun, = shown["luns"]
        api = self.api.target(wwn).lun(12).all()
        self.assertEqual((lun["number"], lun["read_only"], lun["state"], lun["unit_serial"], lun["guest_wwid"], lun["size"]),
                         (12, True, "online", api["UnitSerial"], api["GuestWwid"], api["Size"]))
        device = next(d for d in ctl_json("devices") if any(x.get("wwn") == wwn for x in d["luns"]))
        self.assertEqual(device["size"], 32 << 20)
        self.assertEqual(ctl_json("status")["verdict"], "ok")
        self.assertIn("\n ", ctl("--json=pretty", "list"))
        for out in (ctl("--json=short", "list"), ctl("--json=short", "show", wwn)):
            self.assertEqual(out.count("\n"), 1, "short is one line")

    def test_exit_statuses(self) -> None:
        disk, other = dm_disks(2)
        run(f"mkfs.ext4 -q {other.device} && mount {other.device} /mnt")
        self.addCleanup(run, "umount /mnt", check=False)
        wwn = self.wwn()
        ctl("add-lun", wwn, disk.device)
        cases = [(("show", "naa.5001405ffffffff0"), "NotFound"), (("create", wwn), "AlreadyExists"), (("create", "naa.zz"), "InvalidWwn"),
                 (("add-lun", wwn, "rubbish"), "InvalidSource"), (("add-lun", wwn, "/dev/nosuch"), "DeviceNotFound"),
                 (("add-lun", wwn, other.device), "DeviceUnsafe"), (("remove-lun", wwn, "7"), "NotFound"),
                 (("add-lun", wwn, "by-id=never", "--lun=0"), "LunConflict"), (("add-lun", wwn, "by-id=never", "--lun=16384"), "LunOutOfRange"),
                 (("destroy", wwn, "--if-generation=1"), "GenerationMismatch")]
        for argv, name in cases:
            with self.subTest(argv), self.unchanged(str(argv)):
                err = ctl(*argv, status=EXIT[name])
                self.assertNotIn("org.vhostscsi", err)
                self.assertLessEqual(err.strip().count("\n"), 1, err)
                self.assertNotIn("\x1b", err)
        for argv in ((), ("nosuchverb",), ("show",), ("list", "x"), ("list", "--force"), ("--json=xml", "list"), ("add-lun", wwn),
                     ("add-lun", wwn, "x", "--lun=x"), ("--nosuch",)):
            with self.subTest(argv), self.unchanged(str(argv)):
                if argv:
                    ctl(*argv, status=2)
        ctl("--help")
        ctl("--version")

    def test_denied(self) -> None:
        with self.unchanged("create"):
            result = run(["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "vhscsictl", "--no-ask-password", "create"],
                         check=False)
        self.assertEqual(result.returncode, EXIT["AccessDenied"], result.stderr)

    def test_status_says_it_by_its_exit(self) -> None:
        ctl("status")
        wwn = self.wwn()
        ctl("add-lun", wwn, "dm-uuid=LAB-nobody")
        result = run(["vhscsictl", "status"], check=False)
        self.assertEqual(result.returncode, 40, result.stdout)
        ctl("destroy", wwn)
        ctl("status")

    def test_dry_run(self) -> None:
        disk, = dm_disks(1)
        wwn = self.wwn()
        with self.unchanged("dry run"):
            ctl("create", "--dry-run")
            ctl("add-lun", wwn, disk.device, "--dry-run")
            ctl("add-lun", wwn, "/dev/vda", "--dry-run", status=EXIT["DeviceUnsafe"])
            ctl("destroy", wwn, "--dry-run")

    def test_no_colours_and_no_shortening_in_a_pipe(self) -> None:
        disk, = null_disks(1)
        wwn = self.wwn("--label=" + "long label " * 20)
        ctl("add-lun", wwn, disk.device)
        for verb in (("list",), ("show", wwn), ("devices",), ("status",)):
            out = ctl(*verb)
            self.assertNotIn("\x1b", out)
            self.assertNotIn("…", out, verb)

    def test_monitor(self) -> None:
        monitor = subprocess.Popen(["vhscsictl", "--json=short", "monitor"], stdout=subprocess.PIPE)
        self.addCleanup(monitor.stdout.close)
        self.addCleanup(monitor.wait)
        self.addCleanup(monitor.kill)
        os.set_blocking(monitor.stdout.fileno(), False)
        seen = ""

        def grown(text: str) -> bool:
            nonlocal seen
            with contextlib.suppress(BlockingIOError):
                seen += os.read(monitor.stdout.fileno(), 1 << 20).decode()
            return text in seen
        # The monitor is on when it reports something; creating until then is not waiting.
        names = []

        def first() -> bool:
            names.append(self.wwn())
            return grown(names[0]) or any(grown(n) for n in names)
        wait_until("the monitor reports", first, 20, 0.3)
        wwn = names[-1]
        ctl("destroy", wwn)
        wait_until("it tells the end", lambda: grown('"removed"') and wwn in seen)
        for line in seen.splitlines()[:-1]:
            self.assertIn("event", json.loads(line))

    def test_without_a_daemon(self) -> None:
        run(["systemctl", "mask", "--runtime", "vhscsid"])
        service_stop()
        try:
            self.assertTrue(ctl("list", status=28))
        finally:
            run(["systemctl", "unmask", "--runtime", "vhscsid"])
            service_start()
