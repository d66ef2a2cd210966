"""`databom publish`: build and sign the manifest of a release. The marketplace's side, and every test's."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from databom.checks.integrity import measure_all
from databom.errors import ConfigError, InputError
from databom.model import strictjson, times
from databom.model.manifest import Asset, read_manifest
from databom.model.text import printable
from databom.storage import files
from databom.storage.location import parse_location
from databom.storage.posix import storage_error
from databom.storage.tree import Kind, LocalTree
from databom.tasks.keyring import read_private_key
from databom.tasks.progress import Progress, Silent
from databom.tasks.receiving import ENVELOPE_SUFFIX, TIMESTAMPS_SUFFIX
from databom.tasks.sharding import beside
from databom.tasks.writing_shards import Cut, check_folder, index_folder, is_part, remove_parts, write_shards
from databom.trust.opening import sign_manifest

MANIFEST = "manifest.json"
_OURS = frozenset({"assets", "asset_index", "signature"})
_ORDER = (
    "dataset_id",
    "version",
    "sequence",
    "marketplace_id",
    "creator_id",
    "issued_at",
    "license",
    "payment",
)


class Published(Struct, frozen=True):
    """What was written. Digests are `sha256:<hex>`, `bytes` the sum of the assets' sizes."""

    release: str
    manifest_path: Path
    envelope_path: Path | None
    digest: str
    tree: str
    assets: int
    bytes: int
    keyid: str


def template() -> str:
    """A manifest to fill in, without assets: `publish --from` adds them, hashed."""
    value = {
        "dataset_id": "hn-imagepack-2026-01",
        "version": "2026-01-10",
        "sequence": 1,
        "marketplace_id": "human-native",
        "creator_id": "creator:alice",
        "license": {"type": "commercial", "spdx": "CC-BY-4.0", "revocable": False},
        "payment": {"model": "one-time", "transaction_id": "txn_…"},
    }
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def publish(
    directory: Path | str,
    *,
    key: Path | str,
    fields: Mapping[str, Any] | None = None,
    filled: Path | str | None = None,
    embed: bool = False,
    shard: int | None = None,
    shard_format: str = "ndjson",
    output: Path | str | None = None,
    now: datetime | None = None,
    progress: Progress | None = None,
) -> Published:
    """Hash every file below `directory`, write a manifest that lists them, and sign it.

    Args:
        directory: the release's files. The manifest and its envelope may lie in it; they are not assets.
        key: the private key file.
        fields: members of the manifest; None members and empty objects are left out.
        filled: a JSON file with members, as `template()` gives; `fields` win over it.
        embed: sign in the manifest's `signature` member instead of beside it.
        shard: list the assets in shards of so many, beside the manifest, instead of in it.
        shard_format: `ndjson`, or `parquet`.
        output: where the manifest goes; by default `manifest.json` in `directory`.
        now: what `issued_at` says when nobody else does.
        progress: told how far it is.

    Raises:
        ConfigError: no such directory, no files in it, or a member that is missing or refused.
        StorageError: a file cannot be read, or the manifest not be written.
    """
    folder = Path(directory)
    if not files.is_folder(folder):
        raise ConfigError(f"{printable(str(folder))} is not a folder")
    target = Path(output) if output is not None else folder / MANIFEST
    signer = read_private_key(key)
    cut = None if shard is None else Cut(shard, shard_format)
    manifest = _members(fields or {}, filled, times.or_now(now))
    for needed in ("dataset_id", "version", "license"):
        if needed not in manifest:
            raise ConfigError(f"a release needs {needed}", hint="pass it as an option, or with --from FILE")
    index = index_folder(target)
    if cut is not None:
        check_folder(index)
    assets = _assets(folder, target, Path(key), progress or Silent())
    target.parent.mkdir(parents=True, exist_ok=True)
    complete = beside(parse_location(str(target.absolute()))).complete
    if cut is not None:
        manifest["asset_index"] = write_shards(assets, cut, index)
    else:
        manifest["assets"] = assets
    try:
        raw, envelope = sign_manifest(manifest, signer, embed=embed, complete=complete)
        read = complete(read_manifest(raw))
    except InputError as error:
        lines = "; ".join(f"{p.found or p.subject or 'manifest'}: {p.what}" for p in error.problems[:5])
        raise ConfigError(
            f"this would not be a valid manifest: {lines}", hint="rename it, then publish again"
        ) from None
    envelope_path = target.with_name(target.name + ENVELOPE_SUFFIX)
    files.write_atomic(target, raw)
    if envelope is not None:
        files.write_atomic(envelope_path, envelope)
    else:
        files.remove(envelope_path)
    remove_parts(index, keep={shard.uri.rpartition("/")[2] for shard in read.index})
    return Published(
        release=read.release,
        manifest_path=target,
        envelope_path=envelope_path if envelope is not None else None,
        digest=read.digest,
        tree=read.tree,
        assets=len(read.assets),
        bytes=read.total_bytes or 0,
        keyid=signer.public.keyid,
    )


def _members(fields: Mapping[str, Any], filled: Path | str | None, now: datetime) -> dict[str, Any]:
    base: dict[str, Any] = {}
    if filled is not None:
        try:
            value = strictjson.loads(files.read_bounded(Path(filled), 16 << 20))
        except InputError as error:
            raise ConfigError(f"{filled}: {error}", hint=error.hint) from None
        if not isinstance(value, dict):
            raise ConfigError(f"{filled} is not a manifest: it must be a JSON object")
        base = {name: item for name, item in value.items() if name not in _OURS}
    for name, given in fields.items():
        value = _stated(given)
        old = base.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            base[name] = {**old, **value}
        elif value not in (None, {}):
            base[name] = value
    base.setdefault("issued_at", times.format(now))
    return {**{name: base[name] for name in _ORDER if name in base}, **base}


def _stated(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: item for name, item in value.items() if item is not None}
    return value


def _assets(folder: Path, target: Path, key: Path, progress: Progress) -> list[dict[str, Any]]:
    tree = LocalTree(folder)
    suffixes = ("", ENVELOPE_SUFFIX, TIMESTAMPS_SUFFIX)
    own = {str(target.with_name(target.name + suffix).resolve()) for suffix in suffixes}
    index, private = index_folder(target).resolve(), key.stat()
    root = str(folder.resolve())  # what the walk gives below it goes through no link: its texts are resolved
    sizes: dict[str, int] = {}
    for path, kind in tree.walk():
        full = f"{root}/{path}"
        if full in own or is_part(full, index) or kind is Kind.EMPTY:
            continue
        if kind is not Kind.FILE:
            raise ConfigError(
                f"{folder / path} is a {kind.value}; a release holds regular files only",
                hint="replace it by a file, or move it out of the folder",
            )
        try:
            status = os.stat(full)  # noqa: PTH116  # a million times: no Path objects
        except OSError as error:  # gone meanwhile
            raise storage_error(error, full, "look at") from error
        if (status.st_dev, status.st_ino) == (private.st_dev, private.st_ino):
            # As an asset it would be uploaded, and whoever fetched the release could sign the next one.
            raise ConfigError(
                f"the private key {key} lies in the folder that would be published",
                hint="move it out; if it has been uploaded already, make a new one with `databom key new FILE`",
            )
        sizes[path] = status.st_size
    paths = sorted(sizes)
    if not paths:
        raise ConfigError(f"{folder} holds no files", hint="a release has at least one asset")
    progress.start(str(folder), assets=len(paths), size=sum(sizes.values()))
    try:
        wanted = [Asset(path=path, sha256="", size=None) for path in paths]
        rows = [*measure_all(wanted, tree, progress=progress.update)]
    finally:
        progress.stop()
    assets = []
    for row in sorted(rows, key=lambda one: one.path):
        if row.error is not None or row.sha256 is None:
            problem = row.error
            raise ConfigError(f"{row.path}: {problem.what if problem else 'cannot be hashed'}")
        assets.append({"path": row.path, "sha256": row.sha256, "size": row.size})
    return assets
