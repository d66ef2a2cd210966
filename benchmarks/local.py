"""Who verifies a folder: databom, the tools people use, and the floor they are all measured by."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.loads import DATABOM, Load
from benchmarks.racing import Contestant, environment

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
NAIVE = {
    "naive: 8 KiB reads, serial": "serial",
    "hashlib.file_digest, serial": "file_digest",
    "hashlib, 2 threads": "threads",
    "hashlib, 2 processes": "processes",
}
UUTILS = ("/usr/lib/cargo/bin/coreutils/sha256sum", "uu-sha256sum")
"""Where Debian puts it, and a name for it on the PATH."""

TOO_SLOW = {
    "W1": {"dvc status", "git-annex fsck"},
    "W4": {"dvc status", "git-annex fsck", "quilt3 verify"},
    "W5": {"git-annex fsck"},
}
"""Contestants that take minutes to prepare there, or to run."""


def floor(work: Path) -> Path | None:
    """Compile the floor, once; None without a C compiler or OpenSSL's headers."""
    source = HERE / "floor.c"
    target = work / f"floor-{hashlib.sha256(source.read_bytes()).hexdigest()[:12]}"
    if not target.exists():
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            return None
        command = [compiler, "-O3", "-pthread", str(source), "-o", str(target), "-lcrypto"]
        if subprocess.run(command, check=False).returncode != 0:
            return None
    return target


def floor_on(load: Load, work: Path) -> Contestant | None:
    """The floor as a contestant."""
    program = floor(work)
    return (
        None
        if program is None
        else Contestant("C floor (OpenSSL, 2 threads)", [program, _sized(load)], load.data)
    )


def _sized(load: Load) -> Path:
    """The floor's list of a load."""
    target = load.place / "SIZED"
    if not target.exists():
        lines = (f"{digest} {(load.data / path).stat().st_size} {path}\n" for digest, path in load.listed())
        target.write_text("".join(lines))
    return target


def contestants(load: Load) -> Iterator[tuple[str, Callable[[], Contestant | None]]]:
    """(name, what makes the contestant). Making may take minutes; it gives None for a peer that is not here."""
    python, sums, data = sys.executable, load.sums, load.data
    whole = [DATABOM, "verify", load.manifest, "--trust", load.trust, "--root", data, "--full"]
    uutils = next((found for name in UUTILS if (found := shutil.which(name))), None)
    coreutils, rclone = shutil.which("sha256sum"), _beside("rclone")
    commands: dict[str, Callable[[], list[object] | None]] = {
        "databom verify": lambda: whole,
        "databom, hashing alone": lambda: [python, PROGRAMS / "hashing_alone.py", load.manifest, data],
        "model_signing verify": lambda: _model_signing(load),
        "uutils sha256sum": lambda: [uutils, "-c", "--quiet", sums] if uutils else None,
        "coreutils sha256sum": lambda: [coreutils, "-c", "--quiet", sums] if coreutils else None,
        "openssl dgst (compares nothing)": lambda: _openssl(load),
        **{name: _naive(sums, how) for name, how in NAIVE.items()},
        "pooch": lambda: _library(load, "pooch"),
        "pooch.file_hash alone": lambda: _library(load, "pooch_hash", "pooch"),
        "in-toto": lambda: _library(load, "in-toto"),
        "rclone checksum": lambda: [rclone, "checksum", "sha256", sums, data, "-q"] if rclone else None,
        "bagit, 2 processes": lambda: _bagit(load),
        "quilt3 verify": lambda: _quilt3(load),
    }
    for name, command in commands.items():
        yield name, functools.partial(_one, name, command, load)
    yield "dvc status (state dropped)", functools.partial(_dvc, load)
    yield "git-annex fsck -J2", functools.partial(_annex, load)


def _one(name: str, command: Callable[[], list[object] | None], load: Load) -> Contestant | None:
    found = command() if name not in TOO_SLOW.get(load.name, ()) else None
    return None if found is None else Contestant(name, found, load.data)


def _naive(sums: Path, how: str) -> Callable[[], list[object]]:
    return lambda: [sys.executable, PROGRAMS / "naive.py", sums, how]


def _library(load: Load, which: str, package: str | None = None) -> list[object] | None:
    command = [sys.executable, PROGRAMS / "libraries.py", load.sums, load.data, which]
    return command if _has(package or which) else None


def _beside(name: str) -> str | None:
    beside = Path(sys.executable).with_name(name)
    return str(beside) if beside.exists() else shutil.which(name)


def _has(package: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _prepare(*command: object, cwd: Path, extra: dict[str, str] | None = None) -> None:
    subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        check=True,
        env=environment() | (extra or {}),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _openssl(load: Load) -> list[object] | None:
    openssl, xargs = shutil.which("openssl"), shutil.which("xargs")
    if openssl is None or xargs is None:
        return None
    names = load.place / "names"
    names.write_text("".join(f"{path}\n" for _, path in load.listed()))
    return [xargs, "-a", names, "-n", "2000", openssl, "dgst", "-sha256", "-r"]


def _model_signing(load: Load) -> list[object] | None:
    program, openssl = _beside("model_signing"), shutil.which("openssl")
    if program is None or openssl is None:
        return None
    private, public, signature = (load.place / name for name in ("oms.pem", "oms.pub", "oms.sig"))
    if not signature.exists():
        _prepare(
            openssl, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private, cwd=load.place
        )
        _prepare(openssl, "ec", "-in", private, "-pubout", "-out", public, cwd=load.place)
        _prepare(
            program,
            "sign",
            "key",
            load.data,
            "--private_key",
            private,
            "--signature",
            signature,
            cwd=load.place,
        )
    return [program, "verify", "key", load.data, "--signature", signature, "--public_key", public]


def _bagit(load: Load) -> list[object] | None:
    if not _has("bagit"):
        return None
    (load.place / "bagit.txt").write_text("BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-8\n")
    lines = (f"{digest}  data/{path}\n" for digest, path in load.listed())
    (load.place / "manifest-sha256.txt").write_text("".join(lines))
    return [sys.executable, "-m", "bagit", "--validate", "--quiet", "--processes", "2", load.place]


def _quilt3(load: Load) -> list[object] | None:
    if not _has("quilt3"):
        return None
    package = load.place / "quilt3.jsonl"
    command = [sys.executable, PROGRAMS / "libraries.py", load.sums, load.data]
    if not package.exists():
        _prepare(*command, "make-quilt3", package, cwd=load.place, extra={"HOME": str(load.place / "home")})
    return [*command, "quilt3", package]


def _copied(load: Load, name: str) -> Path:
    """A folder of its own with a copy of the data: databom's must have no second names."""
    place = load.place / name
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(load.data, place / "data")
    return place


def _dvc(load: Load) -> Contestant | None:
    name, dvc = "dvc status (state dropped)", _beside("dvc")
    if dvc is None or "dvc status" in TOO_SLOW.get(load.name, ()):
        return None
    place, state = load.place / "dvc", load.place / "dvc-state"
    own = {"DVC_SITE_CACHE_DIR": str(state), "DVC_GLOBAL_CONFIG_DIR": str(load.place / "dvc-global")}
    if not (place / "data.dvc").exists():
        _copied(load, "dvc")
        _prepare(dvc, "init", "--no-scm", cwd=place, extra=own)
        _prepare(dvc, "config", "cache.type", "hardlink,copy", cwd=place, extra=own)
        _prepare(dvc, "add", "data", cwd=place, extra=own)

    def drop() -> None:
        shutil.rmtree(state, ignore_errors=True)

    return Contestant(name, [dvc, "status", "-q"], place, own, before=drop)


def _annex(load: Load) -> Contestant | None:
    name, git, annex = "git-annex fsck -J2", shutil.which("git"), _beside("git-annex")
    if git is None or annex is None or "git-annex fsck" in TOO_SLOW.get(load.name, ()):
        return None
    place = load.place / "annex"
    own = {
        "HOME": str(load.place / "home"),
        "PATH": os.pathsep.join((str(Path(annex).parent), os.environ.get("PATH", ""))),
        "GIT_AUTHOR_NAME": "bench",
        "GIT_AUTHOR_EMAIL": "bench@localhost",
        "GIT_COMMITTER_NAME": "bench",
        "GIT_COMMITTER_EMAIL": "bench@localhost",
    }
    if not (place / ".git" / "annex" / "made").exists():
        _copied(load, "annex")
        for command in (
            ("init", "-q"),
            ("annex", "init", "-q"),
            ("annex", "add", "-q", "data"),
            ("commit", "-qm", "x"),
        ):
            _prepare(git, *command, cwd=place, extra=own)
        (place / ".git" / "annex" / "made").touch()
    return Contestant(name, [git, "annex", "fsck", "-q", "-J2"], place, own)
