"""Large releases made by hand: shards of any bytes, an index of any claims, signed all the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from databom.trust import dsse
from databom.trust.keys import PrivateKey

NDJSON = "application/x-ndjson"
PARQUET = "application/vnd.apache.parquet"
Row = dict[str, Any]


def row(path: str, data: bytes = b"", **more: Any) -> Row:
    """An asset as a shard spells it."""
    return {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), **more}


def lines(rows: Iterable[Row]) -> bytes:
    """Rows as NDJSON."""
    return b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in rows)


def entry(uri: str, raw: bytes, count: int, **changes: Any) -> Row:
    """What an index says of a shard."""
    digest = hashlib.sha256(raw).hexdigest()
    return {"uri": uri, "sha256": digest, "size": len(raw), "count": count, "media_type": NDJSON, **changes}


def manifest_of(index: Sequence[Row], **more: Any) -> Row:
    """A manifest with this index."""
    head = {"dataset_id": "hn-pets", "version": "1", "creator_id": "c", "issued_at": "2026-01-10T12:00:00Z"}
    return {**head, "license": {"spdx": "CC-BY-4.0"}, "asset_index": list(index), **more}


def signed(manifest: Row, rows: Sequence[Row], key: PrivateKey, **predicate: Any) -> tuple[bytes, bytes]:
    """The manifest's bytes and its detached signature, whose statement is about these rows."""
    raw = json.dumps(manifest).encode()
    text = "".join(
        f"{one['sha256']}  {one['path']}\n" for one in sorted(rows, key=lambda one: one["path"].encode())
    )
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {
                "name": f"{manifest['dataset_id']}@{manifest['version']}",
                "digest": {
                    "sha256": hashlib.sha256(raw).hexdigest(),
                    "dirHash1": hashlib.sha256(text.encode()).hexdigest(),
                },
            }
        ],
        "predicateType": "urn:databom:dataset-manifest:v1",
        "predicate": {"assetCount": len(rows), "totalBytes": sum(one["size"] for one in rows), **predicate},
    }
    payload = json.dumps(statement).encode()
    return raw, dsse.format_envelope(dsse.sign("application/vnd.in-toto+json", payload, [key]))


def write(folder: Path, shards: Mapping[str, bytes], raw: bytes, envelope: bytes) -> Path:
    """A release's documents below a folder; the path of its manifest."""
    for uri, data in shards.items():
        (folder / uri).parent.mkdir(parents=True, exist_ok=True)
        (folder / uri).write_bytes(data)
    (folder / "manifest.json").write_bytes(raw)
    (folder / "manifest.json.dsse").write_bytes(envelope)
    return folder / "manifest.json"
