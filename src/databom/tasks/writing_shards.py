"""The shards of a release that is being published: cut from the sorted list of assets, so that no two overlap.

They lie beside the manifest, as `<manifest without .json>.index/part-00000-<digest>.ndjson`. No part is overwritten, so
the manifest that was there keeps its shards until the new one has taken its place; then they are removed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from databom.errors import ConfigError
from databom.model import parquet
from databom.model.claims import MAX_SHARD_ASSETS, MAX_SHARD_BYTES, MAX_SHARDS, Shard, ShardType
from databom.model.shards import NDJSON, PARQUET
from databom.storage import files
from databom.storage.posix import storage_error

FORMATS: Mapping[str, ShardType] = {"ndjson": NDJSON, "parquet": PARQUET}
_PART = re.compile(r"part-[0-9]{5}-[0-9a-f]{16}\.(?:ndjson|parquet)")


class Cut(Struct, frozen=True):
    """How a release is cut into shards: so many assets in each, in one of `FORMATS`."""

    assets: int
    format: str = "ndjson"

    def __post_init__(self) -> None:
        if not 1 <= self.assets <= MAX_SHARD_ASSETS:
            raise ConfigError(f"a shard lists 1 to {MAX_SHARD_ASSETS:,} assets, not {self.assets:,}")
        if self.format not in FORMATS:
            raise ConfigError(f"no shards are written as {self.format!r}", hint=f"use {' or '.join(FORMATS)}")


def index_folder(manifest: Path) -> Path:
    """Where the shards of the manifest at this path are written."""
    return manifest.with_name(manifest.name.removesuffix(".json") + ".index")


def is_part(path: str, folder: Path) -> bool:
    """Whether a file is a part that a publication wrote into its folder."""
    parent, _, name = path.rpartition("/")
    return parent == str(folder) and _PART.fullmatch(name) is not None


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything but parts.

    Raises:
        ConfigError: it does.
    """
    if other := sorted(name for name in _names(folder) if _PART.fullmatch(name) is None):
        raise ConfigError(
            f"{folder} is where the shards go, and it holds something else: {other[0]}",
            hint="rename the folder, or write the manifest under another name with -o",
        )


def write_shards(assets: Sequence[dict[str, Any]], cut: Cut, folder: Path) -> list[dict[str, Any]]:
    """Write the assets, which come sorted by path, as shards; gives the manifest's `asset_index`.

    Raises:
        ConfigError: too many shards, one that is too large, or pyarrow is not installed.
        StorageError: one cannot be written.
    """
    count = -(-len(assets) // cut.assets)
    if count > MAX_SHARDS:
        raise ConfigError(
            f"{cut.assets:,} assets a shard make {count:,} shards",
            hint=f"at most {MAX_SHARDS:,}: cut less finely",
        )
    rest = iter(assets)
    index: list[dict[str, Any]] = []
    while part := list(islice(rest, cut.assets)):
        raw = parquet.write(part) if cut.format == "parquet" else b"".join(map(_line, part))
        if len(raw) > MAX_SHARD_BYTES:
            raise ConfigError(
                f"a shard would have {len(raw):,} bytes", hint=f"at most {MAX_SHARD_BYTES:,}: cut more finely"
            )
        digest = hashlib.sha256(raw).hexdigest()
        path = folder / f"part-{len(index):05}-{digest[:16]}.{cut.format}"
        files.write_atomic(path, raw)
        shard = Shard(
            uri=f"{folder.name}/{path.name}",
            sha256=digest,
            size=len(raw),
            count=len(part),
            media_type=FORMATS[cut.format],
        )
        index.append(msgspec.to_builtins(shard))
    return index


def remove_parts(folder: Path, *, keep: AbstractSet[str]) -> None:
    """Remove the parts an earlier publication left but these, and the folder when nothing is left in it."""
    if not files.is_folder(folder):
        return
    for name in _names(folder):
        if _PART.fullmatch(name) and name not in keep:
            (folder / name).unlink(missing_ok=True)
    if not _names(folder):
        folder.rmdir()


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()] if files.is_folder(folder) else []
    except OSError as error:
        raise storage_error(error, str(folder), "list") from error


def _line(asset: dict[str, Any]) -> bytes:
    return msgspec.json.encode(asset) + b"\n"
