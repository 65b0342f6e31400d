# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel module of kmod/ for the machine's kernel, built here against that kernel's headers package."""
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from host import kernel
from host.image import cache_dir, digest, ensure_image, locked
from host.stages import LabError, Stage, stage

KEPT = 4                                # modules of earlier sources; headers of other kernels
KMOD = Path(__file__).resolve().parents[3] / "kmod"


def kernel_release() -> str:
    return kernel.release_of(ensure_image() / "vmlinux")


def run_logged(s: Stage, argv: list[str], cwd: Path) -> None:
    result = subprocess.run(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    s.note(result.stdout[-200:])
    if result.returncode != 0:
        raise LabError(f"{' '.join(argv[:4])} … failed:\n{result.stdout[-6000:]}")


def download(s: Stage, package: str, where: Path) -> Path:
    """The .deb, whether or not the package could be installed here."""
    try:
        run_logged(s, ["apt-get", "download", "-qq", package], where)
    except LabError:
        # Package lists that are old, or none.
        run_logged(s, ["apt-get", "update", "-qq"], where)
        run_logged(s, ["apt-get", "download", "-qq", package], where)
    return next(where.glob(f"{package}_*.deb"))


def point_headers_at(headers_dir: Path, top: Path) -> None:
    """They name the half of them that all flavours share by its absolute path, and here that is below another directory."""
    makefile = headers_dir / "Makefile"
    makefile.write_text(makefile.read_text().replace(" /usr/src/", f" {top}/usr/src/"))


def unpack_headers(s: Stage, release: str, to: Path) -> None:
    """Of the packages that the kernel came with, or of apt."""
    if kernel.packages():
        for deb in kernel.packages():
            if not deb.name.startswith("linux-image-"):
                run_logged(s, ["dpkg-deb", "-x", str(deb), str(to)], to.parent)
        return
    with tempfile.TemporaryDirectory(prefix="vhscsid-lab.") as work:
        wanted, seen = [f"linux-headers-{release}"], set()
        while wanted:
            package = wanted.pop()
            seen.add(package)
            deb = download(s, package, Path(work))
            run_logged(s, ["dpkg-deb", "-x", str(deb), str(to)], Path(work))
            depends = subprocess.run(["dpkg-deb", "-f", str(deb), "Depends"], capture_output=True, text=True, check=True).stdout
            # The compiler's package has nothing in it but a dependency on a compiler, and there is one here.
            wanted += [d for d in re.findall(r"linux-(?:headers|kbuild)-[^ ,|]+", depends) if d not in seen]


def headers(release: str) -> Path:
    """What /lib/modules/RELEASE/build would be, were they installed."""
    top = cache_dir() / f"headers-{digest(release, kernel.identity())}"
    if not top.is_dir():
        partial = top.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        with stage(f"headers of {release}") as s:
            unpack_headers(s, release, partial)
        for old in sorted(cache_dir().glob("headers-*"), key=lambda p: p.stat().st_mtime)[:-KEPT]:
            if old != partial:
                shutil.rmtree(old, ignore_errors=True)
        point_headers_at(partial / f"usr/src/linux-headers-{release}", top)
        partial.rename(top)
    return top / f"usr/src/linux-headers-{release}"


def sources() -> list[Path]:
    return sorted(p for p in KMOD.iterdir() if p.suffix in (".c", ".h", ".sh") or p.name in ("Kbuild", "Makefile"))


def built(s: Stage, headers_dir: Path) -> bytes:
    """vhscsi.ko, warnings being errors."""
    with tempfile.TemporaryDirectory(prefix="vhscsid-lab.") as work:
        for p in sources():
            shutil.copy(p, work)
        run_logged(s, ["make", "-j2", f"KDIR={headers_dir}", "VHSCSI_WERROR=1"], Path(work))
        run_logged(s, ["strip", "--strip-debug", "vhscsi.ko"], Path(work))
        return (Path(work) / "vhscsi.ko").read_bytes()


def module() -> bytes:
    """For the machine's kernel. Built once for each version of its sources."""
    with locked(cache_dir() / "module.lock"):
        release = kernel_release()
        kept = cache_dir() / "tools" / f"vhscsi-{release}-{digest(kernel.identity(), *(p.read_text() for p in sources()))}.ko"
        if not kept.exists():
            build = headers(release)
            with stage("kernel module") as s:
                body = built(s, build)
            kept.parent.mkdir(exist_ok=True)
            # Clones with other sources want theirs as well.
            for old in sorted(kept.parent.glob("vhscsi-*.ko"), key=lambda p: p.stat().st_mtime)[:-KEPT]:
                old.unlink()
            kept.write_bytes(body)
        return kept.read_bytes()
