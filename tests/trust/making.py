"""Keys, manifests and trust roots for the tests of this room: fixed, small, and spelled out."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from databom.model.finding import Finding, Severity
from databom.model.manifest import Manifest, read_manifest
from databom.trust import dsse
from databom.trust.jws import sign_embedded
from databom.trust.keys import PrivateKey, PublicKey
from databom.trust.opening import Opened, open_manifest
from databom.trust.root import TrustRoot, parse_root
from databom.trust.statement import PAYLOAD_TYPE, manifest_statement

VECTORS = Path(__file__).parents[1] / "vectors"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def ed(number: int) -> PrivateKey:
    """The Ed25519 key with this number; the same in every run."""
    return PrivateKey(ed25519.Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32))


def p256(number: int) -> PrivateKey:
    """The P-256 key with this number."""
    return PrivateKey(ec.derive_private_key(number, ec.SECP256R1()))


def hex256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def article(**changes: Any) -> dict[str, Any]:
    """The manifest of architecture.md, with digests where it has dots."""
    return {
        "dataset_id": "hn-imagepack-2026-01",
        "version": "2026-01-10",
        "creator_id": "creator:alice",
        "license": {"type": "commercial", "spdx": "CC-BY-4.0", "revocable": False},
        "assets": [
            {"path": "images/cat1.jpg", "sha256": hex256("cat")},
            {"path": "images/dog1.jpg", "sha256": hex256("dog")},
        ],
        "signature": "",
        **changes,
    }


def full(**changes: Any) -> dict[str, Any]:
    """A manifest in which everything the statement repeats is there."""
    return article(
        **{
            "sequence": 7,
            "marketplace_id": "human-native",
            "issued_at": "2026-01-10T09:30:00Z",
            "assets": [
                {"path": "images/cat1.jpg", "sha256": hex256("cat"), "size": 18_234},
                {"path": "images/dög1.jpg", "sha256": hex256("dog"), "size": 18_250},
            ],
            "payment": {"model": "one-time", "transaction_id": "txn_01J9ZK"},
            **changes,
        }
    )


def manifest(value: dict[str, Any]) -> Manifest:
    return read_manifest(json.dumps(value).encode())


def entry(key: PublicKey, **members: Any) -> dict[str, Any]:
    return {"keytype": key.keytype, "public": key.pem(), **members}


def root_document(*keys: PrivateKey, threshold: int = 1, **changes: Any) -> dict[str, Any]:
    """A root in which these keys are the marketplace `human-native`, for `hn-*`."""
    keyids = [key.public.keyid for key in keys]
    role = {"keyids": keyids, "threshold": threshold, "datasets": ["hn-*"]}
    return {
        "_type": "urn:databom:trust-root:v1",
        "version": 1,
        "expires": "2027-01-01T00:00:00Z",
        "keys": {key.public.keyid: entry(key.public) for key in keys},
        "roles": {"marketplace": {"human-native": role}} if keys else {},
        **changes,
    }


def as_root(document: dict[str, Any]) -> TrustRoot:
    return parse_root(json.dumps(document).encode())


def root(*keys: PrivateKey, threshold: int = 1) -> TrustRoot:
    return as_root(root_document(*keys, threshold=threshold))


def opened(
    raw: bytes,
    envelope: bytes | None,
    trusted: TrustRoot,
    *,
    now: datetime = NOW,
    timestamps: bytes | None = None,
) -> Opened:
    return open_manifest(read_manifest(raw), envelope, trusted, now=now, timestamps=timestamps)


def codes(answer: Opened) -> list[str]:
    return [finding.code for finding in answer.findings]


def detached(value: dict[str, Any], *keys: PrivateKey) -> tuple[bytes, bytes]:
    raw = json.dumps(value).encode()
    statement = manifest_statement(read_manifest(raw))
    return raw, dsse.format_envelope(dsse.sign(PAYLOAD_TYPE, statement, keys))


def embedded(value: dict[str, Any], key: PrivateKey) -> bytes:
    return json.dumps({**value, "signature": sign_embedded(value, key)}).encode()


def only(answer: Any) -> Finding:
    (finding,) = answer.findings
    assert finding.severity is Severity.BLOCK
    assert finding.what
    assert finding.do
    assert not answer.keyids
    assert answer.marketplace is None
    return finding


def hinted(envelope: bytes, *hints: str | None) -> bytes:
    value = json.loads(envelope)
    value["signatures"] = [
        {**signature, "keyid": hint} if hint is not None else {"sig": signature["sig"]}
        for signature, hint in zip(value["signatures"], hints, strict=True)
    ]
    return json.dumps(value).encode()


A, B, C, STRANGER = ed(1), ed(2), p256(3), ed(9)
IDS = {key: key.public.keyid for key in (A, B, C, STRANGER)}

# Two marketplaces whose globs overlap, and a payment key.
SCOPES = root_document(A)
SCOPES["keys"] |= {IDS[B]: entry(B.public), IDS[C]: entry(C.public)}
SCOPES["roles"] |= {
    "marketplace": {
        "human-native": {"keyids": [IDS[A]], "threshold": 1, "datasets": ["hn-*"]},
        "other": {"keyids": [IDS[B]], "threshold": 1, "datasets": ["hn-shared-*", "x-*"]},
    },
    "payment": {"keyids": [IDS[C]], "threshold": 1},
}
