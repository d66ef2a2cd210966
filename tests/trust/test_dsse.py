from __future__ import annotations

import base64
import json
import string
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as TheirEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from databom.errors import InputError
from databom.trust.dsse import (
    MAX_ENVELOPE_BYTES,
    MAX_SIGNATURES,
    Envelope,
    Signature,
    format_envelope,
    pae,
    parse_envelope,
    sign,
    verified_keyids,
)
from databom.trust.keys import PrivateKey, PublicKey
from trust.making import VECTORS, ed, p256

KIND = "application/vnd.in-toto+json"
PAYLOAD = b'{"hello": "w\xc3\xb6rld"}'
KEYS = [ed(1), p256(1)]
ALPHABETS = string.ascii_letters + string.digits + "+/-_="


def keyring(*keys: PrivateKey) -> dict[str, PublicKey]:
    return {key.public.keyid: key.public for key in keys}


def document(**changes: Any) -> dict[str, Any]:
    value = json.loads(format_envelope(sign(KIND, PAYLOAD, [ed(1)])))
    return {**value, **changes}


def parse(value: Any) -> Envelope:
    return parse_envelope(json.dumps(value).encode())


def refusal(value: Any) -> str:
    with pytest.raises(InputError) as caught:
        parse(value)
    (problem,) = caught.value.problems
    assert problem.do
    return problem.code


# --- the specification's own vector ----------------------------------------------------------------------


def test_the_vector_of_the_specification() -> None:
    vector = json.loads((VECTORS / "dsse" / "dsse_vector.json").read_text())
    envelope = parse(vector["envelope"])
    assert envelope.payload == vector["payload_utf8"].encode()
    message = pae(envelope.payload_type, envelope.payload)
    assert message == vector["pae_utf8"].encode()
    numbers = ec.EllipticCurvePublicNumbers(int(vector["key"]["x"]), int(vector["key"]["y"]), ec.SECP256R1())
    point = b"\x04" + numbers.x.to_bytes(32) + numbers.y.to_bytes(32)
    key = PublicKey.from_raw("ecdsa-p256", point)
    (signature,) = envelope.signatures
    assert signature.keyid == ""
    # The vector's signature is raw r‖s; in-toto and Sigstore use DER in DSSE, and so do we.
    assert key.verify_raw(signature.sig, message)
    assert verified_keyids(envelope, {key.keyid: key}) == frozenset()


def test_lengths_are_of_bytes() -> None:
    assert pae("é", "ö".encode()) == b"DSSEv1 2 \xc3\xa9 2 \xc3\xb6"
    assert pae("", b"") == b"DSSEv1 0  0 "


# --- an independent implementation -----------------------------------------------------------------------


def their_signer(key: PrivateKey, keyid: str | None = None) -> CryptoSigner:
    theirs = load_pem_private_key(key.pem(), password=None)
    public = SSlibKey.from_crypto(theirs.public_key(), keyid or key.public.keyid)
    return CryptoSigner(theirs, public)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.public.keytype)
def test_their_envelope_verifies_with_us(key: PrivateKey) -> None:
    theirs = TheirEnvelope(PAYLOAD, KIND, {})
    theirs.sign(their_signer(key))
    envelope = parse(theirs.to_dict())
    assert envelope.payload == PAYLOAD
    assert verified_keyids(envelope, keyring(*KEYS)) == {key.public.keyid}


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.public.keytype)
def test_our_envelope_verifies_with_them(key: PrivateKey) -> None:
    theirs = TheirEnvelope.from_dict(json.loads(format_envelope(sign(KIND, PAYLOAD, [key]))))
    public = SSlibKey.from_crypto(load_der_public_key(key.public.spki), key.public.keyid)
    assert list(theirs.verify([public], 1)) == [key.public.keyid]
    theirs.payload += b" "
    with pytest.raises(VerificationError):
        theirs.verify([public], 1)


# --- which keys signed -----------------------------------------------------------------------------------


def test_several_keys_each_once() -> None:
    envelope = sign(KIND, PAYLOAD, [ed(2), p256(1), ed(1)])
    assert [signature.keyid for signature in envelope.signatures] == sorted(
        key.public.keyid for key in (ed(1), ed(2), p256(1))
    )
    twice = Envelope(KIND, PAYLOAD, envelope.signatures * 2)
    assert verified_keyids(twice, keyring(ed(1), p256(1))) == {ed(1).public.keyid, p256(1).public.keyid}


def test_two_ecdsa_signatures_of_one_key_are_one_key() -> None:
    signatures = sign(KIND, PAYLOAD, [p256(1)]).signatures + sign(KIND, PAYLOAD, [p256(1)]).signatures
    assert signatures[0].sig != signatures[1].sig
    assert len(verified_keyids(Envelope(KIND, PAYLOAD, signatures), keyring(p256(1)))) == 1


def test_a_key_listed_under_two_names_is_one_key() -> None:
    key = ed(1).public
    signatures = tuple(Signature(name, ed(1).sign(pae(KIND, PAYLOAD))) for name in ("a", "b"))
    assert verified_keyids(Envelope(KIND, PAYLOAD, signatures), {"a": key, "b": key}) == {key.keyid}


def test_a_hint_that_names_a_key_narrows_and_any_other_does_not() -> None:
    sig = ed(1).sign(pae(KIND, PAYLOAD))
    ring = keyring(ed(1), ed(2))
    for hint, found in [
        ("", {ed(1).public.keyid}),
        (ed(1).public.keyid, {ed(1).public.keyid}),
        (ed(2).public.keyid, set()),
        (ed(1).public.keyid[:16], {ed(1).public.keyid}),
        ("unknown", {ed(1).public.keyid}),
    ]:
        assert verified_keyids(Envelope(KIND, PAYLOAD, (Signature(hint, sig),)), ring) == found


@pytest.mark.parametrize("signature", [{}, {"keyid": None}, {"keyid": ""}])
def test_an_unset_hint_is_an_empty_one(signature: dict[str, Any]) -> None:
    sig = document()["signatures"][0]["sig"]
    assert parse(document(signatures=[{**signature, "sig": sig}])).signatures[0].keyid == ""


def test_the_type_is_part_of_what_is_signed() -> None:
    envelope = sign("application/json", PAYLOAD, [ed(1)])
    moved = Envelope(KIND, envelope.payload, envelope.signatures)
    assert verified_keyids(envelope, keyring(ed(1)))
    assert not verified_keyids(moved, keyring(ed(1)))


# --- reading ---------------------------------------------------------------------------------------------


@given(
    st.binary(max_size=60),
    st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=80)), min_size=1, max_size=4),
)
def test_format_and_parse_are_a_pair(payload: bytes, signatures: list[tuple[str, bytes]]) -> None:
    envelope = Envelope(KIND, payload, tuple(Signature(*pair) for pair in signatures))
    raw = format_envelope(envelope)
    assert raw.endswith(b"\n")
    assert parse_envelope(raw) == envelope
    assert hash(parse_envelope(raw)) == hash(envelope)


def test_unknown_members_are_ignored_as_dsse_demands() -> None:
    value = document(extra={"a": 1})
    value["signatures"][0]["cert"] = "-----BEGIN CERTIFICATE-----"
    assert parse(value) == parse(document())


@pytest.mark.parametrize(
    "value",
    [
        [],
        "text",
        None,
        {},
        document(payload=None),
        document(payload=1),
        document(payloadType=None),
        document(payloadType=""),
        document(payloadType="a b"),
        document(payloadType="ä"),
        document(payloadType="a" * 256),
        document(signatures=None),
        document(signatures={}),
        document(signatures=["text"]),
        document(signatures=[{"keyid": "a"}]),
        document(signatures=[{"keyid": 1, "sig": ""}]),
        document(signatures=[{"keyid": "a", "sig": 1}]),
        document(signatures=[{"keyid": "a", "sig": "AA=="}] * (MAX_SIGNATURES + 1)),
        document(padding="x" * MAX_ENVELOPE_BYTES),
        document(number=2**60),
    ],
)
def test_what_is_no_envelope_is_refused(value: Any) -> None:
    assert refusal(value) == "signature.invalid"


def test_an_envelope_without_signatures_is_unsigned() -> None:
    assert refusal(document(signatures=[])) == "signature.missing"


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"<html>", b"\xff", b'{"payload": "", "payload": ""}', b'{"a": NaN}', b"[" * 100_000],
)
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(InputError) as caught:
        parse_envelope(raw)
    assert {problem.code for problem in caught.value.problems} == {"signature.invalid"}


# --- base64 ----------------------------------------------------------------------------------------------


def test_both_alphabets_are_read() -> None:
    payload = b"\xfb\xef\xff" * 4  # '++//' and '--__'
    standard, url_safe = base64.b64encode(payload).decode(), base64.urlsafe_b64encode(payload).decode()
    assert standard != url_safe
    for text in (standard, url_safe):
        assert parse(document(payload=text)).payload == payload


@pytest.mark.parametrize(
    "text",
    ["A", "AA", "AAA", "AA=", "A===", "AA==A", "AB==", "AAB=", " AA==", "AA==\n", "A A==", "AA\u00a0=",
     "+_==", "-A==", "A-A=", "ÄÄ==", "AA==AA==", "====", "="],
)  # fmt: skip
def test_only_canonical_base64_is_read(text: str) -> None:
    assert refusal(document(payload=text)) == "signature.invalid"
    assert refusal(document(signatures=[{"sig": text}])) == "signature.invalid"


@given(st.binary(min_size=1, max_size=40), st.booleans(), st.data())
def test_no_one_character_change_keeps_the_bytes(data: bytes, url_safe: bool, draw: st.DataObject) -> None:
    text = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(data).decode()
    at = draw.draw(st.integers(0, len(text) - 1))
    new = draw.draw(st.sampled_from(ALPHABETS + " \n.é") | st.characters())
    changed = draw.draw(
        st.sampled_from(
            [text[:at] + new + text[at + 1 :], text[:at] + text[at + 1 :], text[:at] + new + text[at:]]
        )
    )

    def read(spelling: str) -> bytes | None:
        try:
            return parse(document(payload=spelling)).payload
        except InputError:
            return None

    assert read(text) in (data, None)
    if changed != text:
        assert read(changed) is None or read(changed) != data
