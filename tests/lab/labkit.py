# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the suites have in common: the service, its bus API, configfs and the store as they are, waiting without sleeping."""
import contextlib
import json
import os
import pwd
import re
import subprocess
import sys
import time
import unittest
from pathlib import Path
from typing import Any, Callable, Iterator

from minibus import Bus, BusError, Variant, plain

UNIT = "vhscsid.service"
BUS_NAME = "org.vhostscsi"
ROOT = "/org/vhostscsi"
MANAGER, TARGET, LUN = f"{BUS_NAME}.Manager", f"{BUS_NAME}.Target", f"{BUS_NAME}.Lun"
ERROR = f"{BUS_NAME}.Error."
ACCESS_DENIED = "org.freedesktop.DBus.Error.AccessDenied"
INVALID_ARGS = "org.freedesktop.DBus.Error.InvalidArgs"
CONFIGFS = Path("/sys/kernel/config/target")
VHOST, CORE = CONFIGFS / "vhost", CONFIGFS / "core"
STORE = Path("/var/lib/vhscsid")
TRACING = Path("/sys/kernel/tracing")
OPTIONS = {"number": "u", "readonly": "b", "name": "s", "serial": "s", "shareable": "b", "attributes": "a{sv}",
           "force": "b", "dry-run": "b", "if-generation": "t", "timeout": "t", "label": "s", "seed": "s", "nexus": "s",
           "if-absent": "b", "target": "s", "kind": "s", "uuid": "s", "pid": "u", "wait": "t", "running": "b"}


# -- processes and waiting

def run(argv: list[str] | str, timeout: float = 60, check: bool = True, **kw: Any) -> subprocess.CompletedProcess:
    result = subprocess.run(argv, shell=isinstance(argv, str), capture_output=True, text=True, timeout=timeout, **kw)
    if check and result.returncode != 0:
        raise AssertionError(f"{argv}: exit {result.returncode}\n{result.stdout}{result.stderr}")
    return result


def wait_until(what: str, condition: Callable[[], Any], timeout: float = 20, every: float = 0.05) -> Any:
    """Polls until the condition holds; its value is returned. An assertion in it that fails counts as not yet."""
    deadline = time.monotonic() + timeout
    problem: object = ""
    while True:
        try:
            if value := condition():
                return value
            problem = value
        except (AssertionError, BusError, OSError) as e:
            problem = e
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {timeout} s: {what} (last: {problem})")
        time.sleep(every)


def as_user(name: str, function: Callable[[], Any]) -> Any:
    """Runs the function in a child that is that user; its result comes back as JSON, its failure as one."""
    entry = pwd.getpwnam(name)
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
            os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
            answer = {"value": function()}
        except BaseException as e:
            answer = {"error": f"{type(e).__name__}: {e}"}
        os.write(w, json.dumps(answer).encode())
        os._exit(0)
    os.close(w)
    with os.fdopen(r, "rb") as f:
        answer = json.loads(f.read())
    os.waitpid(pid, 0)
    if "error" in answer:
        raise AssertionError(f"as {name}: {answer['error']}")
    return answer["value"]


def fabric() -> str:
    """The module that the service takes when none is loaded: vhscsi with `lab --fabric=bundled`."""
    return "vhscsi" if run(["modprobe", "-n", "-q", "vhscsi"], check=False).returncode == 0 else "vhost_scsi"


# -- the service

def service_start() -> None:
    run(f"systemctl reset-failed {UNIT} 2>/dev/null; systemctl start {UNIT}")


def service_stop() -> None:
    run(["systemctl", "stop", UNIT])


def service_restart() -> None:
    run(f"systemctl reset-failed {UNIT} 2>/dev/null; systemctl restart {UNIT}")


def service_pid() -> int:
    return int(run(["systemctl", "show", "-P", "MainPID", UNIT]).stdout)


def service_kill() -> None:
    """SIGKILL to the daemon and whatever it forked, and it stays down: no unit restarts it behind the test's back."""
    run(f"systemctl kill --signal=KILL {UNIT}; systemctl stop {UNIT}", check=False)
    wait_until("the daemon is gone", lambda: service_pid() == 0)


# -- the bus API

def options(given: dict[str, Any]) -> dict[str, Variant]:
    return {k.replace("_", "-"): v if isinstance(v, Variant) else Variant(OPTIONS[k.replace("_", "-")], v)
            for k, v in given.items()}


class Remote:
    """An object on the bus. `call` is a method of its main interface, `get` a property without its variant."""

    def __init__(self, api: "Api", path: str, interface: str):
        self.api, self.path, self.interface = api, path, interface

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Remote) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __repr__(self) -> str:
        return self.path

    def call(self, member: str, sig: str = "", *args: Any, **kw: Any) -> tuple:
        return self.api.bus.call(member, sig, *args, path=self.path, interface=self.interface, dest=BUS_NAME, **kw)

    def send(self, member: str, sig: str = "", *args: Any) -> int:
        return self.api.bus.send(member, sig, *args, path=self.path, interface=self.interface, dest=BUS_NAME)

    def get(self, name: str) -> Any:
        return plain(self.api.properties(self.path, "Get", "ss", self.interface, name)[0])

    def all(self) -> dict[str, Any]:
        return plain(self.api.properties(self.path, "GetAll", "s", self.interface)[0])


class Lun(Remote):
    def __init__(self, api: "Api", path: str):
        super().__init__(api, path, LUN)

    def remove(self, **opts: Any) -> None:
        self.call("Remove", "a{sv}", options(opts))

    def wait_state(self, state: str, timeout: float = 30) -> None:
        wait_until(f"{self.path} is {state}", lambda: (s := self.get("State")) == state or self.fail_now(s), timeout)

    def fail_now(self, state: str) -> bool:
        raise AssertionError(f"state {state}, {self.get('LastError')}")


class Target(Remote):
    def __init__(self, api: "Api", path: str):
        super().__init__(api, path, TARGET)
        self.wwn = "naa." + path.rsplit("/", 1)[1].removeprefix("naa_2e")

    @property
    def tpg(self) -> Path:
        return VHOST / self.wwn / "tpgt_1"

    def add_lun(self, source: str, **opts: Any) -> Lun:
        return Lun(self.api, self.call("AddLun", "sa{sv}", source, options(opts))[0])

    def remove_lun(self, number: int, **opts: Any) -> None:
        self.call("RemoveLun", "ua{sv}", number, options(opts))

    def destroy(self, **opts: Any) -> None:
        self.call("Destroy", "a{sv}", options(opts))

    def acquire(self, owner: str, **opts: Any) -> None:
        self.api.manager.call("Acquire", "ssa{sv}", self.wwn, owner, options(opts))

    def release(self, owner: str, **opts: Any) -> None:
        self.api.manager.call("Release", "ssa{sv}", self.wwn, owner, options(opts))

    def take_down(self) -> None:
        """As a reboot does it: nothing of the target is in the kernel any more. The service must not be running."""
        for link in self.tpg.glob("lun/lun_*/*"):
            if link.is_symlink():
                store = link.resolve()
                link.unlink()
                store.rmdir()
                store.parent.rmdir()
        for lun in self.tpg.glob("lun/lun_*"):
            lun.rmdir()
        self.tpg.rmdir()
        self.tpg.parent.rmdir()

    def luns(self) -> list[Lun]:
        return [Lun(self.api, p) for p in self.get("Luns")]

    def lun(self, number: int) -> Lun:
        return Lun(self.api, f"{self.path}/lun/{number}")

    def wait_state(self, state: str, timeout: float = 30) -> None:
        wait_until(f"{self.path} is {state}", lambda: self.get("State") == state, timeout)


class Api:
    def __init__(self):
        self.bus = Bus()
        self.manager = Remote(self, ROOT, MANAGER)

    def close(self) -> None:
        self.bus.close()

    def properties(self, path: str, member: str, sig: str, *args: Any) -> tuple:
        return self.bus.call(member, sig, *args, path=path, interface="org.freedesktop.DBus.Properties", dest=BUS_NAME)

    def managed(self) -> dict[str, dict]:
        return plain(self.bus.call("GetManagedObjects", path=ROOT, interface="org.freedesktop.DBus.ObjectManager",
                                   dest=BUS_NAME)[0])

    def introspect(self, path: str) -> str:
        return self.bus.call("Introspect", path=path, interface="org.freedesktop.DBus.Introspectable", dest=BUS_NAME)[0]

    def create(self, wwn: str | bytes = "", **opts: Any) -> Target:
        return Target(self, self.manager.call("CreateTarget", "sa{sv}", wwn, options(opts))[0])

    def export(self, device: str, **opts: Any) -> tuple[Target, Lun]:
        target, lun = self.manager.call("Export", "sa{sv}", device, options(opts))
        return Target(self, target), Lun(self, lun)

    def target(self, wwn: str) -> Target:
        return Target(self, self.manager.call("GetTarget", "s", wwn)[0])

    def targets(self) -> list[Target]:
        return [Target(self, path) for path, _ in self.list_targets()]

    def list_targets(self) -> list[tuple[str, str]]:
        """(path, WWN) whichever way round the service gives them."""
        return [tuple(sorted(pair, key=lambda s: not s.startswith("/"))) for pair in self.manager.call("ListTargets")[0]]

    def devices(self) -> list[dict[str, Any]]:
        return plain(self.manager.call("ListDevices", "a{sv}", {})[0])

    def settled(self, timeout: float = 60) -> None:
        """Nothing of ours is in the middle of something."""
        def calm() -> bool:
            assert self.manager.get("State") != "starting", "starting"
            for path, interfaces in self.managed().items():
                state = interfaces.get(LUN, {}).get("State")
                assert state not in ("attaching", "draining"), f"{path} {state}"
                assert interfaces.get(TARGET, {}).get("State") != "removing", f"{path} removing"
            return True
        wait_until("the service has settled", calm, timeout)


# -- what is there, to compare

def configfs_snapshot(top: Path = CONFIGFS, skip: tuple[str, ...] = ()) -> dict[str, str]:
    """Every directory and link with its inode, every attribute with its content; statistics run by themselves."""
    seen: dict[str, str] = {}
    stack = [top] if top.exists() else []
    while stack:
        d = stack.pop()
        for entry in os.scandir(d):
            name = os.path.relpath(entry.path, top)
            if entry.name in ("statistics", "stats") or entry.path in skip:
                continue
            if entry.is_symlink():
                seen[name] = f"link {entry.stat(follow_symlinks=False).st_ino} {os.readlink(entry.path)}"
            elif entry.is_dir():
                seen[name] = f"dir {entry.inode()}"
                stack.append(Path(entry.path))
            else:
                try:
                    with open(entry.path, "rb", buffering=0) as f:
                        seen[name] = f"file {f.read(8192)!r}"
                except OSError as e:
                    seen[name] = f"file errno {e.errno}"
    return seen


def configfs_shape(top: Path = CONFIGFS) -> dict[str, str]:
    """The same without inodes: for comparing two ways to one state."""
    return {k: re.sub(r"^(dir|link) \d+", r"\1", v) for k, v in configfs_snapshot(top).items()}


def store_snapshot() -> dict[str, tuple]:
    """What is wanted. The history is no part of it: of a change that the kernel refused it keeps that it was taken back."""
    seen = {}
    for path in sorted(p for p in STORE.rglob("*") if STORE / "history" not in (p, *p.parents)):
        st = path.lstat()
        seen[str(path)] = (oct(st.st_mode), path.read_bytes() if path.is_file() else b"")
    return seen


def difference(before: dict, after: dict) -> str:
    lines = [f"  {k}:\n    before {before.get(k)}\n    after  {after.get(k)}"
             for k in sorted(before.keys() | after.keys()) if before.get(k) != after.get(k)]
    return "\n".join(lines[:30]) + (f"\n  … {len(lines)} in all" if len(lines) > 30 else "")


class ConfigfsTrace:
    """Counts, in the kernel, every change of configfs that succeeded, by whomever: kretprobes on its four entry points."""

    PROBES = {"mkdir": "configfs_mkdir", "rmdir": "configfs_rmdir", "symlink": "configfs_symlink",
              "unlink": "configfs_unlink", "write": "configfs_write_iter"}

    def __enter__(self) -> "ConfigfsTrace":
        # Armed once and left so: each arming patches the running kernel's code, which an emulated machine is not quick at.
        if not (TRACING / "events/lab").exists():
            (TRACING / "kprobe_events").write_text(
                # An int is but half of the register: with s64 a refusal may look like a success.
                "".join(f"r:lab/{k} {symbol} ret=$retval:s32\n" for k, symbol in self.PROBES.items()))
        if (TRACING / "events/lab/enable").read_text().strip() != "1":
            (TRACING / "events/lab/enable").write_text("1")
        (TRACING / "trace").write_text("")
        return self

    def changes(self, failed: bool = False) -> list[str]:
        """failed: those as well that changed nothing."""
        pattern = re.compile(r"^ *(.+)-(\d+) +\[.*: (\w+): .* ret=(-?\d+)$", re.M)
        return [f"{comm}[{pid}] {what}" for comm, pid, what, ret
                in pattern.findall((TRACING / "trace").read_text()) if failed or int(ret) >= 0]

    def disarm(self) -> None:
        """For who measures time next."""
        (TRACING / "events/lab/enable").write_text("0")

    def __exit__(self, *exc: Any) -> None:
        pass


# -- tests

class LabTest(unittest.TestCase):
    """A test begins with a running service that has no target of its own, and leaves it so."""

    api: Api
    maxDiff = 4000

    def setUp(self) -> None:
        service_start()
        self.api = Api()
        self.addCleanup(self.clean)

    def clean(self) -> None:
        with contextlib.suppress(OSError):
            self.api.close()
        service_start()
        self.api = Api()
        self.destroy_ours()
        wait_until("the test's targets are gone",
                   lambda: not [t for t in self.api.targets() if t.get("ManagedBy") != "foreign"], 60)
        self.api.close()

    def destroy_ours(self) -> None:
        for target in self.api.targets():
            if target.get("ManagedBy") != "foreign":
                with contextlib.suppress(BusError):
                    target.destroy(force=True)

    @contextlib.contextmanager
    def unchanged(self, what: str = "") -> Iterator[None]:
        """Kernel and store are byte for byte what they were."""
        kernel, store = configfs_snapshot(), store_snapshot()
        yield
        kernel2, store2 = configfs_snapshot(), store_snapshot()
        self.assertTrue(kernel == kernel2, f"{what}: configfs changed:\n{difference(kernel, kernel2)}")
        self.assertTrue(store == store2, f"{what}: the store changed:\n{difference(store, store2)}")

    @contextlib.contextmanager
    def refused(self, *names: str, saying: str = "") -> Iterator[list[BusError]]:
        """The block fails with one of our errors (short names; none means any of ours) and says that."""
        caught: list[BusError] = []
        try:
            yield caught
        except BusError as e:
            caught.append(e)
            wanted = [n if "." in n else ERROR + n for n in names]
            if wanted:
                self.assertIn(e.name, wanted, e.message)
            else:
                self.assertTrue(e.name.startswith(ERROR), f"{e.name}: {e.message}")
            self.assertTrue(e.message and "\n" not in e.message, f"not one line: {e.message!r}")
            if saying:
                self.assertRegex(e.message, saying)
            return
        self.fail(f"was not refused (wanted: {', '.join(names) or 'any error'})")


def diagnostics() -> str:
    commands = (f"journalctl -b -u {UNIT} -n 80 --no-pager -o short-monotonic", "dmesg | tail -n 25",
                f"systemctl status --no-pager -n 0 {UNIT}", f"ls -la {STORE} {STORE}/targets; tail -n +1 {STORE}/targets/*.json",
                f"cd {CONFIGFS} && find vhost core -maxdepth 5 \\( -type d -o -type l \\) ! -path '*/attrib*' ! -path '*/wwn*' "
                "! -path '*/pr*' ! -path '*/alua*' ! -path '*/statistics*' ! -path '*/param*' ! -path '*/acls*' ! -path '*/np*' "
                "! -path '*/auth*' ! -path '*/action*'",
                "ps -eo pid,ppid,stat,wchan:24,args | grep -E 'vhscsi|[q]emu' | grep -v ' nested.py' | cut -c1-160",
                "multipath -ll; lsblk -o NAME,MAJ:MIN,SIZE,TYPE,MOUNTPOINT 2>/dev/null | grep -v nullb | head -n 40")
    parts = []
    for command in commands:
        try:
            result = run(command, timeout=20, check=False)
            parts.append(f"    $ {command[:90]}\n" + (result.stdout + result.stderr)[-6000:])
        except subprocess.TimeoutExpired:
            parts.append(f"    $ {command[:90]}\n(hangs)")
    return "\n".join(parts)


def warn(text: str) -> None:
    print(f"    {text}", file=sys.stderr, flush=True)
