# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whole configurations: plan, apply, dump, and targetcli's file in both directions."""
import json
import subprocess
from pathlib import Path

from labdisks import dm_disks, mk_multipath, null_disks, rm_multipath
from labkit import VHOST, Api, ConfigfsTrace, LabTest, run, service_kill, service_restart, service_start, wait_until
from labtargetcli import clear, targetcli
from nested import NestedGuest

NAMES = ["naa.5001405adead0001", "naa.5001405adead0002"]
DOCUMENT = Path("/run/lab-document.json")
SAVED = Path("/run/lab-saveconfig.json")


def ctl(*words: str, status: int = 0, text: str | None = None) -> str:
    out = subprocess.run(["vhscsictl", *words], input=text, capture_output=True, text=True, timeout=180)
    if out.returncode != status:
        raise AssertionError(f"vhscsictl {' '.join(words)}: exit {out.returncode}, not {status}\n{out.stdout}\n{out.stderr}")
    return out.stdout


def actions(*words: str, status: int = 0, text: str | None = None) -> dict[str, str]:
    return {line["object"]: line["action"] for line in json.loads(ctl(*words, "--json=short", status=status, text=text)) if line["action"] not in ("note", "info")}


class ConfigTest(LabTest):
    def guest_view(self) -> dict[str, tuple]:
        out = {}
        for target in sorted(VHOST.glob("naa.*")):
            for lun in sorted((target / "tpgt_1/lun").glob("lun_*")):
                back = next(e for e in lun.iterdir() if e.is_symlink()).resolve()
                out[f"{target.name}/{lun.name}"] = (back.name, (back / "wwn/vpd_unit_serial").read_text(), (target / "tpgt_1/nexus").read_text())
        return out

    def test_plan_apply_dump(self) -> None:
        disks = dm_disks(4)
        wanted = {"format": "vhscsid", "version": 1, "targets": [
            {"wwn": NAMES[0], "label": "web", "luns": [{"number": n, "source": d.device, "readonly": n == 5} for n, d in zip((0, 5, 9), disks)]},
            {"wwn": NAMES[1], "luns": [{"number": 0, "source": "dm-uuid=LAB-that-is-late"}]}]}
        DOCUMENT.write_text(json.dumps(wanted))
        with self.unchanged("plan"):
            plan = actions("plan", str(DOCUMENT), status=45)
        self.assertEqual(set(plan.values()), {"create"})
        self.assertEqual(len(plan), 6)
        self.assertEqual(actions("apply", str(DOCUMENT)), plan)
        self.assertEqual({n: self.api.target(NAMES[0]).lun(n).get("State") for n in (0, 5, 9)}, {0: "online", 5: "online", 9: "online"})
        self.assertEqual(self.api.target(NAMES[1]).lun(0).get("State"), "waiting")

        # A second time: nothing, in the kernel and in the store.
        with self.unchanged("again"), ConfigfsTrace() as trace:
            self.assertEqual(set(actions("apply", str(DOCUMENT)).values()), {"keep"})
            self.assertEqual(actions("plan", str(DOCUMENT)), {o: "keep" for o in plan})
            self.assertEqual(trace.changes(), [])

        # What is dumped brings back the same, the nexus and the serials too, from standard input as well.
        dumped, before = ctl("dump", "native", "--portable"), self.guest_view()
        self.assertEqual(actions("apply", "-", text=json.dumps({"format": "vhscsid", "version": 1, "targets": []})), {})
        self.assertEqual(len(before), 3)
        self.assertEqual(set(actions("apply", "--prune", "-", text='{"format":"vhscsid","version":1,"targets":[]}').values()), {"remove"})
        self.assertEqual(self.guest_view(), {})
        self.assertEqual(set(actions("import", "native", "-", text=dumped).values()), {"create"})
        wait_until("all is up", lambda: self.guest_view() == before)

        # A change of one thing is that one change.
        wanted["targets"][0]["luns"][1] = {"number": 6, "source": disks[3].device}
        DOCUMENT.write_text(json.dumps(wanted))
        changes = actions("apply", str(DOCUMENT), "--prune")
        self.assertEqual({o: a for o, a in changes.items() if a != "keep"}, {f"{NAMES[0]}/lun 5": "remove", f"{NAMES[0]}/lun 6": "create"})

    def test_in_use(self) -> None:
        """What a guest uses is not pruned, and then nothing else is done either."""
        disk, other = null_disks(2)
        target = self.api.create(NAMES[0])
        target.add_lun(disk.device)
        before = json.loads(ctl("history", "--json=short"))[0]["generation"] - 1
        guest = NestedGuest("guest")
        self.addCleanup(guest.stop)
        guest.start(target.wwn)
        wait_until("it is attached", lambda: target.get("Endpoint") == "attached")
        DOCUMENT.write_text(json.dumps({"format": "vhscsid", "version": 1, "targets": [
            {"wwn": NAMES[0], "luns": []}, {"wwn": NAMES[1], "luns": [{"number": 0, "source": other.device}]}]}))
        with self.unchanged("in use"):
            plan = actions("plan", str(DOCUMENT), "--prune", status=46)
            self.assertEqual(plan[f"{NAMES[0]}/lun 0"], "refuse")
            ctl("apply", str(DOCUMENT), "--prune", status=5)
            # Nor by going back to where it was not there yet.
            self.assertEqual(actions("rollback", str(before), "--dry-run", status=46)[f"{NAMES[0]}/lun 0"], "refuse")
            ctl("rollback", str(before), status=5)
        self.assertEqual(len(guest.disks()), 1)
        self.assertEqual(actions("apply", str(DOCUMENT), "--prune", "--force")[f"{NAMES[0]}/lun 0"], "remove")
        guest.stop()

    def test_rollback(self) -> None:
        """A target that was destroyed comes back as the guest knew it, after a restart as well; then the way back from that."""
        self.addCleanup(rm_multipath)
        maps, disk = mk_multipath(2), dm_disks(1)[0]
        target = self.api.create(NAMES[0], label="web")
        for n, device in ((0, maps[0].device), (4, maps[1].device), (7, disk.device)):
            target.add_lun(device, number=n, readonly=n == 7)
        target.remove_lun(0)
        view, then = self.guest_view(), self.api.manager.get("Generation")
        self.assertEqual(sorted(view), [f"{NAMES[0]}/lun_{n}" for n in (4, 7)])
        identity = {n: target.lun(n).get("GuestWwid") for n in (4, 7)}
        dumped = ctl("dump", "native")
        ctl("set-label", NAMES[0], "gone")
        ctl("destroy", NAMES[0])
        self.assertEqual(self.guest_view(), {})
        service_kill()
        service_start()
        self.api.close()
        self.api = Api()

        history = json.loads(ctl("history", "--json=short"))
        self.assertEqual([(e["reason"].split()[0], e["uid"], e["targets"]) for e in history[:3]],
                         [("destroy", 0, [NAMES[0]]), ("set-label", 0, [NAMES[0]]), ("remove-lun", 0, [NAMES[0]])])
        self.assertEqual([e["program"] for e in history[:2]], ["vhscsictl"] * 2)
        self.assertEqual(ctl("dump", "native", f"--generation={then}"), dumped)
        self.assertIn(f"- {NAMES[0]} label=web\n+ {NAMES[0]} label=gone\n", ctl("diff", str(then), str(history[1]["generation"])))
        self.assertIn(f"- {NAMES[0]}/lun 4 ", ctl("diff", str(then)))

        made = {NAMES[0]: "create", f"{NAMES[0]}/lun 4": "create", f"{NAMES[0]}/lun 7": "create"}
        with self.unchanged("dry run"):
            self.assertEqual(actions("rollback", str(then), "--dry-run"), made)
        ctl("rollback", "1", status=3)
        self.assertEqual(actions("rollback", str(then)), made)
        self.assertEqual(self.guest_view(), view)
        target = self.api.target(NAMES[0])
        self.assertEqual({n: target.lun(n).get("GuestWwid") for n in (4, 7)}, identity)
        self.assertEqual((target.get("Label"), ctl("dump", "native")), ("web", dumped))
        with self.unchanged("again"), ConfigfsTrace() as trace:
            self.assertEqual(set(actions("rollback", str(then)).values()), {"keep"})
            self.assertEqual(trace.changes(), [])

        undone = json.loads(ctl("history", "--json=short"))[0]
        self.assertEqual(undone["reason"], f"rollback {then}")
        self.assertEqual(set(actions("rollback", str(undone["generation"] - 1)).values()), {"remove"})
        self.assertEqual(self.guest_view(), {})

    def test_to_targetcli(self) -> None:
        """What dump prints, targetctl restores: the same targets, numbers, names and serials."""
        self.addCleanup(rm_multipath)
        maps, disk = mk_multipath(2), dm_disks(1)[0]
        target = self.api.create(NAMES[0])
        for n, device in ((0, maps[0].device), (4, maps[1].device), (7, disk.device)):
            target.add_lun(device, number=n, readonly=n == 7)
        view = {k: v[:2] for k, v in self.guest_view().items()}
        SAVED.write_text(ctl("dump", "targetcli"))
        target.destroy()
        self.assertEqual(self.guest_view(), {})
        self.addCleanup(clear)
        run(["targetctl", "restore", str(SAVED)], timeout=180)
        self.assertEqual({k: v[:2] for k, v in self.guest_view().items()}, view)

    def test_from_targetcli(self) -> None:
        """One target is live, one is in the file only: adopted, and made."""
        first, second, third = dm_disks(3)
        self.addCleanup(clear)
        self.addCleanup(self.destroy_ours)
        targetcli(*(f"/backstores/block create name=vol{n} dev={d.device}" for n, d in enumerate((first, second, third))),
                  *(f"/vhost create {w}" for w in NAMES[:2]),
                  f"/vhost/{NAMES[0]}/tpg1/luns create /backstores/block/vol0 lun=3", f"/vhost/{NAMES[0]}/tpg1/luns create /backstores/block/vol1 lun=1",
                  f"/vhost/{NAMES[1]}/tpg1/luns create /backstores/block/vol2")
        run(["targetctl", "save", str(SAVED)], timeout=60)
        before = self.guest_view()
        targetcli(f"/vhost delete {NAMES[1]}", "/backstores/block delete vol2")
        with self.unchanged("dry run"):
            dry = actions("import", "targetcli", str(SAVED), "--dry-run")
        self.assertEqual(dry, {NAMES[0]: "adopt", f"{NAMES[0]}/lun 1": "adopt", f"{NAMES[0]}/lun 3": "adopt", NAMES[1]: "create", f"{NAMES[1]}/lun 0": "create"})
        self.assertEqual(actions("import", "targetcli", str(SAVED)), dry)
        after = self.guest_view()
        # The nexus is in no file of theirs: only a live one can be kept.
        self.assertEqual({k: v[:2] for k, v in after.items()}, {k: v[:2] for k, v in before.items()})
        self.assertEqual(after[f"{NAMES[0]}/lun_3"], before[f"{NAMES[0]}/lun_3"])
        self.assertEqual(set(actions("import", "targetcli", str(SAVED)).values()), {"keep"})
        service_restart()
        self.api.close()
        self.api = Api()
        self.api.settled()
        self.assertEqual(self.guest_view(), after)
        ctl("status")
