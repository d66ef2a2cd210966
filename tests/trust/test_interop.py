"""Manifests made and signed without a line of ours, as a marketplace with its own tools would."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)
from joserfc import jws
from joserfc.jwk import ECKey, OKPKey
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from databom.trust.keys import PrivateKey
from databom.trust.opening import sign_manifest
from support import nodejose
from trust.making import IDS, VECTORS, A, B, C, codes, detached, embedded, full, only, opened, root


def their_signer(key: PrivateKey, keyid: str | None) -> CryptoSigner:
    private = load_pem_private_key(key.pem(), password=None)
    der = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    name = hashlib.sha256(der).hexdigest() if keyid is None else keyid
    return CryptoSigner(private, SSlibKey.from_crypto(private.public_key(), name))


def their_statement(raw: bytes) -> bytes:
    value = json.loads(raw)
    lines = sorted(f"{asset['path']}\0{asset['sha256']}" for asset in value["assets"])
    listing = "".join(f"{line.split(chr(0))[1]}  {line.split(chr(0))[0]}\n" for line in lines)
    return json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [
                {
                    "name": f"{value['dataset_id']}@{value['version']}",
                    "digest": {
                        "sha256": hashlib.sha256(raw).hexdigest(),
                        "dirHash1": hashlib.sha256(listing.encode()).hexdigest(),
                    },
                }
            ],
            "predicateType": "urn:databom:dataset-manifest:v1",
            "predicate": {
                "datasetId": value["dataset_id"],
                "version": value["version"],
                "sequence": value["sequence"],
                "issuedAt": value["issued_at"],
                "assetCount": len(value["assets"]),
                "totalBytes": sum(asset["size"] for asset in value["assets"]),
            },
        },
        indent=1,
    ).encode()


@pytest.mark.parametrize("keys", [(A,), (C,), (A, B, C)], ids=["ed25519", "p256", "three"])
def test_a_manifest_signed_by_securesystemslib_is_believed(keys: tuple[PrivateKey, ...]) -> None:
    raw = json.dumps(full(), indent=4).encode()
    envelope = Envelope(their_statement(raw), "application/vnd.in-toto+json", {})
    for key in keys:
        envelope.sign(their_signer(key, None))
    answer = opened(raw, json.dumps(envelope.to_dict()).encode(), root(A, B, C, threshold=len(keys)))
    assert codes(answer) == []
    assert len(answer.keyids) == len(keys)


def test_their_own_keyid_is_no_obstacle() -> None:
    raw = json.dumps(full()).encode()
    for keyid in ("", "ab" * 32):
        envelope = Envelope(their_statement(raw), "application/vnd.in-toto+json", {})
        envelope.sign(their_signer(A, None))
        value = envelope.to_dict()
        value["signatures"][0]["keyid"] = keyid
        answer = opened(raw, json.dumps(value).encode(), root(A))
        assert codes(answer) == []
        assert answer.keyids == (A.public.keyid,)


@pytest.mark.parametrize("key", [A, C], ids=["ed25519", "p256"])
def test_our_envelope_is_believed_by_securesystemslib(key: PrivateKey) -> None:
    _, envelope = sign_manifest(full(), key, embed=False)
    public = SSlibKey.from_crypto(load_der_public_key(key.public.spki), key.public.keyid)
    assert Envelope.from_dict(json.loads(envelope or b"")).verify([public], 1)


@pytest.mark.parametrize(
    ("key", "alg", "kind"), [(A, "Ed25519", OKPKey), (C, "ES256", ECKey)], ids=["Ed25519", "ES256"]
)
def test_a_manifest_signed_by_joserfc_is_believed(key: PrivateKey, alg: str, kind: Any) -> None:
    value = full()
    del value["signature"]
    # ASCII names and no floats: here RFC 8785 is sorted, compact and UTF-8.
    payload = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    theirs = kind.import_key(key.pem())
    header, _, signature = jws.serialize_compact(
        {"alg": alg, "kid": key.public.keyid}, payload, theirs, algorithms=[alg]
    ).split(".")
    raw = json.dumps({**value, "signature": f"{header}..{signature}"}).encode()
    answer = opened(raw, None, root(A, C))
    assert codes(answer) == []
    assert answer.keyids == (key.public.keyid,)


# --- PyJWT ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "alg"), [(A, "EdDSA"), (C, "ES256")], ids=["EdDSA", "ES256"])
def test_pyjwt_both_ways(key: PrivateKey, alg: str) -> None:
    payload = nodejose.payload_of(full())
    # PyJWT has a `typ` of its own, which the header may have.
    token = jwt.PyJWS().encode(payload, key.pem(), algorithm=alg, headers={"kid": IDS[key]})
    header, _, signature = token.split(".")
    raw = json.dumps({**full(), "signature": f"{header}..{signature}"}).encode()
    assert codes(opened(raw, None, root(A, C))) == []

    header, _, signature = json.loads(embedded(full(), key))["signature"].split(".")
    middle = base64.urlsafe_b64encode(payload).rstrip(b"=").decode()
    public = key.public.pem()
    assert jwt.PyJWS().decode(f"{header}.{middle}.{signature}", public, algorithms=[alg]) == payload
    other = base64.urlsafe_b64encode(payload + b" ").rstrip(b"=").decode()
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.PyJWS().decode(f"{header}.{other}.{signature}", public, algorithms=[alg])


# --- node's jose ------------------------------------------------------------------------------------------

NODE = json.loads((VECTORS / "node-jose" / "vectors.json").read_text())


@pytest.mark.parametrize("vector", NODE, ids=lambda vector: vector["alg"])
def test_what_node_jose_signed_is_believed(vector: dict[str, Any]) -> None:
    key = A if vector["alg"] == "EdDSA" else C
    answer = opened(json.dumps(vector["manifest"]).encode(), None, root(A, C))
    assert (codes(answer), answer.keyids) == ([], (IDS[key],))
    changed = {**vector["manifest"], "version": "2026-01-11"}
    assert codes(opened(json.dumps(changed).encode(), None, root(A, C))) == ["signature.invalid"]


@pytest.mark.skipif(nodejose.why_not() is not None, reason=str(nodejose.why_not()))
def test_node_jose_both_ways_live() -> None:
    ours = [json.loads(embedded(full(), key))["signature"] for key in (A, C)]
    checks = [
        {
            "op": "verify",
            "alg": alg,
            "spki": key.public.pem(),
            "signature": signature,
            "payload": base64.b64encode(nodejose.payload_of(full(**changes))).decode(),
        }
        for changes in ({}, {"version": "other"})
        for key, alg, signature in zip((A, C), ("EdDSA", "ES256"), ours, strict=True)
    ]
    assert [answer["ok"] for answer in nodejose.run(checks)] == [True, True, False, False]
    for key, answer in zip(
        (A, C), nodejose.run([nodejose.signing(key, full()) for key in (A, C)]), strict=True
    ):
        raw = json.dumps({**full(), **answer}).encode()
        assert opened(raw, None, root(A, C)).keyids == (IDS[key],)


# --- DSSE's encoding of P-256 -----------------------------------------------------------------------------


def test_dsse_with_the_raw_encoding_of_jws_is_refused() -> None:
    raw, envelope = detached(full(), C)
    value = json.loads(envelope)
    r, s = decode_dss_signature(base64.b64decode(value["signatures"][0]["sig"]))
    value["signatures"][0]["sig"] = base64.b64encode(r.to_bytes(32) + s.to_bytes(32)).decode()
    assert only(opened(raw, json.dumps(value).encode(), root(C))).code == "signature.invalid"
