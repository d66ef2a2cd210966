"""How memory grows: not with bytes, on disk or in a bucket, and how much with each file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import remote
from benchmarks.loads import DATABOM, GIB, Load, sign
from benchmarks.racing import Contestant, run

FILES = (100, 10_000, 100_000, 1_000_000)
SHARD = 25_000
"""Files in a shard; releases of more are measured both ways, listed in the manifest and in shards."""
BYTES = (GIB // 16, GIB)
OBJECTS = (GIB, 8 * GIB)


def measure(
    work: Path,
    files: Sequence[int] = FILES,
    sizes: Sequence[int] = BYTES,
    objects: Sequence[int] = OBJECTS,
) -> Iterator[dict[str, object]]:
    """Peak MiB of `databom verify`: of so many files of 16 bytes, of one file and of one object of so many bytes."""
    for count in files:
        load = _load(work, f"files-{count}")
        for number in range(count):
            target = load.data / f"d{number // 1000:04}" / f"{number:07}"
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(b"%016d" % number)
        row = {"files": count, "bytes": 16 * count}
        yield {"where": "disk", **row, "memory": _peak(load)}
        if count > SHARD:
            yield {"where": "disk, in shards", **row, "memory": _peak(load, None, "--shard", SHARD)}
        shutil.rmtree(load.place)
    for size in sizes:
        load = _load(work, f"bytes-{size}")
        _hole(load, size)
        yield {"where": "disk", "files": 1, "bytes": size, "memory": _peak(load)}
        shutil.rmtree(load.place)
    if objects:
        with remote.store(work) as environ:
            for size in objects:
                load = _load(work, f"object-{size}")
                _hole(load, size)
                memory = _peak(load, environ)
                shutil.rmtree(load.place)
                yield {"where": "bucket (SeaweedFS)", "files": 1, "bytes": size, "memory": memory}


def _load(work: Path, name: str) -> Load:
    load = Load(name, "", work / "memory" / name)
    shutil.rmtree(load.place, ignore_errors=True)
    load.data.mkdir(parents=True)
    return load


def _hole(load: Load, size: int) -> None:
    with (load.data / "large").open("wb") as file:
        file.truncate(size)  # a hole reads as zeros, and takes no disk


def _peak(load: Load, environ: dict[str, str] | None = None, *published: object) -> float:
    """Of reading every byte; where an environment leads to a bucket, after all was put there."""
    shutil.rmtree(load.place / "publisher", ignore_errors=True)
    sign(load.data, load.manifest, load.trust, *published)
    if environ is None:
        command: list[object] = ["verify", load.manifest, "--root", load.data, "--full"]
    else:
        remote.upload(load, environ, [path.name for path in load.data.iterdir()])
        command = ["verify", f"s3://{remote.BUCKET}/{load.name}/manifest.json"]
    contestant = Contestant(
        "databom verify", [DATABOM, *command, "--trust", load.trust], load.place, environ or {}
    )
    return run(contestant).memory
