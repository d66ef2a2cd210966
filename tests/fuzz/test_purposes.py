"""Each kind of signed statement presented as each other kind: what a key signed for one purpose serves no other."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest

from databom.errors import DatabomError
from databom.model.manifest import read_manifest
from databom.trust import dsse
from databom.trust.encoding import encode64url
from databom.trust.jcs import canonical
from databom.trust.jws import sign_embedded
from databom.trust.keys import PrivateKey
from databom.trust.opening import open_manifest
from databom.trust.root import parse_root
from databom.trust.statement import PAYLOAD_TYPE, PREDICATE_TYPE, STATEMENT_TYPE, manifest_statement
from trust.making import NOW, as_root, ed, full, p256, root_document

KEYS = [ed(1), p256(1)]
# The worst case: one key, or one pair, that may do everything a root lets keys do.
DOCUMENT = root_document(*KEYS)
ROOT = as_root(DOCUMENT)
RAW = json.dumps(full()).encode()
MANIFEST = read_manifest(RAW)
SUBJECT = json.loads(manifest_statement(MANIFEST))["subject"]
ROOT_TYPE = "application/vnd.databom.trust-root+json"
PREDICATES = {
    "manifest": PREDICATE_TYPE,
    "receipt": "urn:databom:receipt:v1",
    "payment": "urn:databom:payment:v1",
    "consent": "urn:databom:consent:v1",
    "revocation": "urn:databom:revocation:v1",
    "oms": "https://model_signing/signature/v1.0",
    "provenance": "https://slsa.dev/provenance/v1",
}


def statement(kind: str) -> bytes:
    """The manifest's own statement, but for its purpose: all else in it is what a manifest's verifier wants."""
    value = json.loads(manifest_statement(MANIFEST))
    return json.dumps({**value, "predicateType": PREDICATES[kind]}).encode()


def enveloped(payload_type: str, payload: bytes, key: PrivateKey) -> dsse.Envelope:
    return dsse.sign(payload_type, payload, [key])


SIGNED: dict[str, Callable[[PrivateKey], Any]] = {
    **{
        kind: lambda key, kind=kind: enveloped(PAYLOAD_TYPE, statement(kind), key)  # type: ignore[misc]
        for kind in PREDICATES
    },
    "trust root": lambda key: enveloped(ROOT_TYPE, json.dumps({**DOCUMENT, "version": 2}).encode(), key),
    "the manifest itself": lambda key: enveloped(PAYLOAD_TYPE, RAW, key),
    "embedded": lambda key: sign_embedded(full(), key),
    "jws over the statement": lambda key: jws_over(manifest_statement(MANIFEST), key),
}


def jws_over(payload: bytes, key: PrivateKey) -> str:
    alg = {"ed25519": "EdDSA", "ecdsa-p256": "ES256"}[key.public.keytype]
    header = encode64url(json.dumps({"alg": alg, "kid": key.public.keyid}, separators=(",", ":")).encode())
    return f"{header}..{encode64url(key.sign_raw(f'{header}.{encode64url(payload)}'.encode()))}"


def signatures_in(signed: Any) -> list[bytes]:
    if isinstance(signed, dsse.Envelope):
        return [one.sig for one in signed.signatures]
    return [base64.urlsafe_b64decode(signed.rpartition(".")[2] + "==")]


# --- doors: what believes a signature --------------------------------------------------------------------


def as_manifest(envelope: dsse.Envelope) -> bool:
    answer = open_manifest(MANIFEST, dsse.format_envelope(envelope), ROOT, now=NOW)
    return not answer.findings


def as_embedded(signature: str) -> bool:
    manifest = read_manifest(json.dumps(full(signature=signature)).encode())
    return not open_manifest(manifest, None, ROOT, now=NOW).findings


def as_plain_root(raw: bytes) -> bool:
    try:
        parse_root(raw)
    except DatabomError:
        return False
    return True


def spellings(signed: Any, key: PrivateKey) -> list[dsse.Envelope]:
    """Envelopes that present it as a manifest's signature: as it is, retyped, and with its signature alone moved."""
    moved = [
        dsse.Envelope(PAYLOAD_TYPE, payload, (dsse.Signature(hint, sig),))
        for sig in signatures_in(signed)
        for hint in (key.public.keyid, "")
        for payload in (manifest_statement(MANIFEST), RAW, canonical(MANIFEST.content()))
    ]
    if not isinstance(signed, dsse.Envelope):
        return moved
    return [signed, dsse.Envelope(PAYLOAD_TYPE, signed.payload, signed.signatures), *moved]


def compact(signed: Any, key: PrivateKey) -> list[str]:
    """`signature` strings that present it as an embedded signature."""
    if isinstance(signed, str):
        return [signed]
    header = sign_embedded(full(), key).partition(".")[0]
    return [f"{header}..{encode64url(sig)}" for sig in signatures_in(signed)] + [
        dsse.format_envelope(signed).decode()
    ]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.public.keytype)
def test_each_is_believed_as_what_it_is(key: PrivateKey) -> None:
    assert as_manifest(SIGNED["manifest"](key))
    assert as_embedded(SIGNED["embedded"](key))
    assert as_plain_root(json.dumps(DOCUMENT).encode())


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.public.keytype)
def test_nothing_else_is_believed_as_a_manifests_signature(key: PrivateKey) -> None:
    others = {kind: make(key) for kind, make in SIGNED.items() if kind != "manifest"}
    assert len(others) == 10
    for kind, signed in others.items():
        assert not any(map(as_manifest, spellings(signed, key))), kind


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.public.keytype)
def test_nothing_else_is_believed_as_an_embedded_signature(key: PrivateKey) -> None:
    for kind, make in SIGNED.items():
        if kind != "embedded":
            assert not any(map(as_embedded, compact(make(key), key))), kind


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.public.keytype)
def test_nothing_else_is_read_as_a_trust_root(key: PrivateKey) -> None:
    for kind, make in SIGNED.items():
        signed = make(key)
        if kind == "trust root":
            continue
        raw = dsse.format_envelope(signed) if isinstance(signed, dsse.Envelope) else RAW
        assert not as_plain_root(raw), kind
        if isinstance(signed, dsse.Envelope):
            assert not as_plain_root(signed.payload), kind


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.public.keytype)
def test_a_signature_of_one_statement_fits_no_other(key: PrivateKey) -> None:
    made = {kind: make(key) for kind, make in SIGNED.items()}
    envelopes = {kind: one for kind, one in made.items() if isinstance(one, dsse.Envelope)}
    accepted = tried = 0
    for one, other in permutations(envelopes, 2):
        moved = dsse.Envelope(
            envelopes[other].payload_type, envelopes[other].payload, envelopes[one].signatures
        )
        accepted += bool(dsse.verified_keyids(moved, ROOT.public_keys()))
        tried += 1
    assert (accepted, tried) == (0, 9 * 8)


def test_one_subject_serves_all_of_them() -> None:
    # Else the kinds above would be told apart by something that a forger chooses.
    for kind in PREDICATES:
        value = json.loads(statement(kind))
        assert (value["_type"], value["subject"]) == (STATEMENT_TYPE, SUBJECT)
