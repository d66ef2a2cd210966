"""How memory grows: not with bytes, and how much with each file."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.loads import DATABOM, GIB, sign
from benchmarks.racing import Contestant, run

FILES = (100, 10_000, 100_000)
BYTES = (GIB // 16, GIB)


def measure(
    work: Path, files: Sequence[int] = FILES, sizes: Sequence[int] = BYTES
) -> list[dict[str, object]]:
    """Peak MiB of `databom verify` for so many files of 16 bytes, and for one file of so many bytes."""
    rows: list[dict[str, object]] = []
    for count in files:
        place = _place(work, f"files-{count}")
        for number in range(count):
            target = place / "data" / f"d{number // 1000:04}" / f"{number:07}"
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(b"%016d" % number)
        rows.append({"files": count, "bytes": 16 * count, "memory": _peak(place)})
    for size in sizes:
        place = _place(work, f"bytes-{size}")
        with (place / "data" / "large").open("wb") as file:
            file.truncate(size)  # a hole reads as zeros, and takes no disk
        rows.append({"files": 1, "bytes": size, "memory": _peak(place)})
    return rows


def _place(work: Path, name: str) -> Path:
    place = work / "memory" / name
    shutil.rmtree(place, ignore_errors=True)
    (place / "data").mkdir(parents=True)
    return place


def _peak(place: Path) -> float:
    sign(place / "data", place / "manifest.json", place / "trust.json")
    command = [
        DATABOM,
        "verify",
        place / "manifest.json",
        "--trust",
        place / "trust.json",
        "--root",
        place / "data",
    ]
    peak = run(Contestant("databom verify", [*command, "--full"], place)).memory
    shutil.rmtree(place)
    return peak
