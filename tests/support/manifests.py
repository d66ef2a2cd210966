"""Manifests to start from: the example of the floor plan, and one with every member there is."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CAT, DOG, NOTHING = (hashlib.sha256(data).hexdigest() for data in (b"cat", b"dog", b""))

# The example of the floor plan and of the documentation.
EXAMPLE: dict[str, Any] = {
    "dataset_id": "hn-imagepack-2026-01",
    "version": "2026-01-10",
    "creator_id": "creator:alice",
    "license": {"type": "commercial", "spdx": "CC-BY-4.0", "revocable": False},
    "assets": [{"path": "images/cat1.jpg", "sha256": CAT}, {"path": "images/dog1.jpg", "sha256": DOG}],
    "signature": "",
}

# Every member there is.
FULL: dict[str, Any] = {
    "manifest_version": "1",
    "dataset_id": "hn-imagepack",
    "version": "3",
    "sequence": 3,
    "supersedes": {"sha256": NOTHING},
    "creator_id": "creator:alice",
    "marketplace_id": "human-native",
    "issued_at": "2026-01-10T12:00:00Z",
    "expires_at": "2027-01-10T12:00:00.25Z",
    "license": {
        "type": "commercial",
        "spdx": "CC-BY-4.0 OR LicenseRef-Paid",
        "revocable": True,
        "text": {"uri": "https://example.com/license.txt", "sha256": NOTHING},
        "valid_from": "2026-01-01T00:00:00Z",
        "valid_until": "2028-01-01T00:00:00Z",
        "permits": ["train-ai"],
        "prohibits": ["redistribute"],
        "user": ["commercial"],
        "geo": ["DE", "FR"],
        "attribution": {
            "required": True,
            "text": "Photos by Alice\n\tand Bob",
            "url": "https://example.com/alice",
        },
        "signals": [
            {"kind": "aipref", "value": "train-ai=y", "uri": "https://example.com/"},
            {"kind": "tdmrep", "value": "tdm-reservation: 0"},
        ],
    },
    "payment": {
        "model": "subscription",
        "transaction_id": "tx-1",
        "amount": {"value": "12.50", "currency": "EUR"},
        "payer": "team",
        "payee": "human-native",
        "paid_at": "2026-01-09T00:00:00Z",
        "period": {"from": "2026-01", "months": 12},
        "schedule": [{"due": "2026-02-01"}, "monthly"],
        "allocation": [
            {"creator_id": "creator:alice", "share": "0.5"},
            {"creator_id": "creator:bob", "share": "0.5"},
        ],
    },
    "consents": [
        {
            "subject": "person:1",
            "uri": "https://example.com/consent/1",
            "sha256": NOTHING,
            "scope": ["train"],
            "expires_at": "2030-01-01T00:00:00Z",
        }
    ],
    "provenance": {"source": {"collected": "2025", "by": None, "more": [1, True, None]}},
    "classification": ["public"],
    "data-risk-reducing": ["faces blurred", {"method": "blur", "count": 2}],
    "assets": [
        {
            "path": "images/cat1.jpg",
            "sha256": CAT,
            "size": 3,
            "media_type": "image/jpeg",
            "license": "CC0-1.0",
            "creator_id": "creator:bob",
            "consent": "person:1",
            "flags": ["person", "redacted"],
            "redacted_from": {"sha256": DOG},
        },
        {"path": "empty", "sha256": NOTHING, "size": 0},
    ],
    "signature": "eyJhbGciOiJFZERTQSJ9..c2ln",
}


# Every member there is, of a large release: its assets are listed in shards.
INDEXED: dict[str, Any] = {
    **{name: value for name, value in FULL.items() if name != "assets"},
    "asset_index": [
        {
            "uri": "shards/a.ndjson",
            "sha256": CAT,
            "size": 7,
            "count": 2,
            "media_type": "application/x-ndjson",
        },
        {
            "uri": "https://data.example/b.parquet",
            "sha256": DOG,
            "size": 9,
            "count": 1,
            "media_type": "application/vnd.apache.parquet",
        },
    ],
}


def dump(value: object) -> bytes:
    return json.dumps(value).encode()


def members(value: Any, at: str = "") -> Iterator[str]:
    """The pointer of every member of every object."""
    for name, member in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(value, dict):
            yield f"{at}/{name}"
        if isinstance(member, dict | list):
            yield from members(member, f"{at}/{name}")
