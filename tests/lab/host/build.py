# SPDX-License-Identifier: LGPL-2.1-or-later
"""Builds the tree outside of it: `release` is what the machine gets, `dev` is what the unit tests run from (sanitizers), `fuzz` has the fuzzers."""
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from host.image import cache_dir, digest, locked
from host.stages import LabError, Stage, say, stage

SOURCE = Path(__file__).resolve().parents[3]
SETUP = {
    "release": ["--prefix=/usr", "--sysconfdir=/etc", "--localstatedir=/var", "--buildtype=release"],
    "dev": ["--native-file", str(SOURCE / "tests/build-dev.ini")],
    "fuzz": ["-Dfuzz=true", "-Dtests=false", "-Dman=disabled", "--buildtype=release"],
}
ENVIRONMENT = {"fuzz": {"CC": "clang"}}


def build_dir(kind: str) -> Path:
    """Of this source directory; those of directories that are gone go as well."""
    top = cache_dir() / "build"
    top.mkdir(exist_ok=True)
    for other in top.iterdir():
        origin = other / "source"
        if origin.exists() and not Path(origin.read_text()).exists():
            shutil.rmtree(other, ignore_errors=True)
    mine = top / digest(SOURCE)
    mine.mkdir(exist_ok=True)
    (mine / "source").write_text(str(SOURCE))
    return mine / kind


def run_logged(s: Stage, argv: list[str], **kw) -> None:
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)
    lines = []
    for line in child.stdout:
        lines.append(line)
        s.note(line)
    if child.wait() != 0:
        raise LabError(f"{' '.join(argv[:4])} … failed:\n" + "".join(lines)[-6000:])


def build(kind: str) -> Path:
    where = build_dir(kind)
    # meson and ninja do not wait for another that is at work in the same directory: they fail.
    with locked(where.with_suffix(".lock")), stage(f"build ({kind})") as s:
        stamp = where / "lab-setup"
        recipe = json.dumps(SETUP[kind])
        if not stamp.exists() or stamp.read_text() != recipe:
            shutil.rmtree(where, ignore_errors=True)
            run_logged(s, ["meson", "setup", *SETUP[kind], str(where), str(SOURCE)], env=os.environ | ENVIRONMENT.get(kind, {}))
            stamp.write_text(recipe)
        run_logged(s, ["ninja", "-C", str(where)])
    return where


def installed_tar() -> bytes:
    """What `meson install` installs, as a tar of /."""
    where = build("release")
    with locked(where.with_suffix(".lock")), stage("meson install") as s, tempfile.TemporaryDirectory(prefix="vhscsid-lab.") as dest:
        os.chmod(dest, 0o755)
        run_logged(s, ["meson", "install", "-C", str(where), "--no-rebuild", "--destdir", dest])
        return tar_of(Path(dest))


def tar_of(top: Path) -> bytes:
    """All that is below it, root's."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path in sorted(top.rglob("*")):
            tar.add(path, path.relative_to(top), recursive=False, filter=as_root)
    return out.getvalue()


def test_tools() -> dict[str, bytes]:
    """Programs of the build that are not installed, and that suites run."""
    where = build_dir("release") / "tests"
    return {p.name: p.read_bytes() for p in sorted(where.glob("cfs-conformance-*")) if p.is_file()}


def as_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    return info


def unit_tests() -> tuple[int, int]:
    """(passed, failed) of `meson test` under the sanitizers. A skipped test is said and counts as neither."""
    where = build("dev")
    log = where / "meson-logs/testlog.json"
    log.unlink(missing_ok=True)
    with stage("unit tests (ASan, UBSan)"):
        result = subprocess.run(["meson", "test", "-C", str(where), "--no-rebuild", "--print-errorlogs"],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    results = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    passed = sum(r["result"] in ("OK", "EXPECTEDFAIL") for r in results)
    skipped = [r["name"] for r in results if r["result"] == "SKIP"]
    failed = len(results) - passed - len(skipped)
    if result.returncode != 0:
        say(result.stdout[-12000:])
        failed = max(failed, 1)
    for name in skipped:
        say(f"    skipped: {name}")
    return passed, failed


def fuzz() -> tuple[int, int]:
    """(passed, failed) of the fuzzers, all together one test: the ring's for a minute, the others for seconds."""
    try:
        where = build("fuzz")
    except LabError as e:
        print(f"  FAIL  fuzz: {e}\nfailed: fuzz", flush=True)
        return 0, 1
    begin = time.monotonic()
    result = subprocess.run(["meson", "test", "-C", str(where), "--no-rebuild", "--suite", "fuzz", "--print-errorlogs"],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(f"  {'FAIL' if result.returncode else 'ok'}    fuzz  {time.monotonic() - begin:.1f} s", flush=True)
    if result.returncode:
        say(result.stdout[-12000:])
        print("failed: fuzz")
    return (0, 1) if result.returncode else (1, 0)
