"""The data: five shapes of a folder, each with a signed release and what the peers need to verify it."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

KIB, MIB, GIB = 1024, 1024**2, 1024**3
DATABOM = Path(sys.executable).with_name("databom")

SHAPES = {
    "W1": ("one file of 2 GiB", ((1, 2 * GIB),)),
    "W2": ("64 files of 32 MiB", ((64, 32 * MIB),)),
    "W3": ("20,000 files of 16 KiB", ((20_000, 16 * KIB),)),
    "W4": ("200,000 files of 1 KiB", ((200_000, KIB),)),
    "W5": ("one file of 1 GiB and 10,000 of 4 KiB", ((1, GIB), (10_000, 4 * KIB))),
    "R1": ("5,000 objects of 20 KiB", ((5_000, 20 * KIB),)),
    "R2": ("one object of 1 GiB", ((1, GIB),)),
}
"""What a load is in words, and as (number of files, size of each)."""

LARGE = MIB
"""Above this size a scaled load has smaller files, below it fewer."""
FILES_A_FOLDER = 100
_CHUNK = 8 * MIB


@dataclass(frozen=True, slots=True)
class Load:
    """One folder with its signed release. Everything lies in `place`, the files below `place/data`."""

    name: str
    what: str
    place: Path

    @property
    def data(self) -> Path:
        return self.place / "data"

    @property
    def sums(self) -> Path:
        """`sha256sum`'s list of `data`, with paths relative to it."""
        return self.place / "SHA256SUMS"

    @property
    def manifest(self) -> Path:
        return self.place / "manifest.json"

    @property
    def trust(self) -> Path:
        return self.place / "trust.json"

    def listed(self) -> list[tuple[str, str]]:
        """(hex digest, path relative to `data`) of every file."""
        return [(line[:64], line[66:]) for line in self.sums.read_text().splitlines()]


def make(name: str, work: Path, scale: float) -> Load:
    """Make a load below `work`, or find it there as an earlier run left it."""
    what, shape = SHAPES[name]
    load = Load(name, what, work / f"{name}-{scale:g}")
    if load.trust.exists():
        return load
    shutil.rmtree(load.place, ignore_errors=True)
    load.data.mkdir(parents=True)
    dice = random.Random(name)
    lines: list[str] = []
    for path, size in _files(shape, scale):
        target = load.data / path
        target.parent.mkdir(exist_ok=True)
        lines.append(f"{_write(target, size, dice)}  {path}\n")
    load.sums.write_text("".join(lines))
    sign(load.data, load.manifest, load.trust)
    return load


def _files(shape: tuple[tuple[int, int], ...], scale: float) -> Iterator[tuple[str, int]]:
    for count, size in shape:
        number, length = (count, int(size * scale)) if size >= LARGE else (max(1, int(count * scale)), size)
        if number <= 64:
            yield from ((f"part-{i:04}.bin", length) for i in range(number))
        else:
            yield from ((f"d{i // FILES_A_FOLDER:04}/f{i:06}.bin", length) for i in range(number))


def _write(target: Path, size: int, dice: random.Random) -> str:
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for at in range(0, size, _CHUNK):
            chunk = dice.randbytes(min(_CHUNK, size - at))
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


def sign(data: Path, manifest: Path, trust: Path, *more: object) -> None:
    """Publish a folder by the command line, and write a trust root that believes its key; `more` are options."""
    place = trust.parent / "publisher"
    place.mkdir(exist_ok=True)
    key = place / "market.pem"
    databom("init", cwd=place)
    databom("key", "new", key, cwd=place)
    databom("trust", "add", f"{key}.pub", "--marketplace", "bench", "--datasets", "bench-*", cwd=place)
    fields = (
        "--dataset-id",
        "bench-data",
        "--version",
        "1",
        "--license",
        "CC-BY-4.0",
        "--creator",
        "creator:bench",
    )
    signed = ("--marketplace", "bench", "--key", key, "-o", manifest)
    databom("publish", data, *fields, *signed, *more, cwd=place)
    shutil.copy(place / "provenance" / "trust.json", trust)
    assert json.loads(trust.read_text())["roles"]["marketplace"]


def databom(*arguments: object, cwd: Path) -> None:
    """Run the command line beside this interpreter."""
    subprocess.run([DATABOM, *map(str, arguments), "-q"], cwd=cwd, check=True, stdout=subprocess.DEVNULL)
