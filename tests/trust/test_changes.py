"""Every change of what was signed is refused: each bit, each character, and whatever hypothesis thinks of."""

from __future__ import annotations

import base64
import json
import string
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databom.errors import DatabomError, InputError
from databom.model.manifest import read_manifest
from databom.trust.jws import sign_embedded
from databom.trust.keys import PrivateKey
from databom.trust.opening import open_manifest, sign_manifest
from trust.making import NOW, article, ed, full, hex256, opened, p256, root

A, B = ed(1), p256(1)
ROOT = root(A, B)


def believed(raw: bytes, envelope: bytes | None) -> bool:
    try:
        return not opened(raw, envelope, ROOT).findings
    except InputError:  # the bytes are no manifest any more
        return False


def large() -> dict[str, Any]:
    """A manifest of about 1 KiB with the places where spellings differ: escapes, blanks, empty strings."""
    return full(
        attribution_text="© Alice\u00fc",
        consents=[
            {"subject": "person:1", "uri": "https://c.example/1", "sha256": hex256("c"), "scope": ["train"]}
        ],
        provenance={"source": "camera", "numbers": [0, -1, 9007199254740991]},
        classification=["faces"],
    )


def flips(raw: bytes) -> Any:
    for at in range(len(raw)):
        for bit in range(8):
            changed = bytearray(raw)
            changed[at] ^= 1 << bit
            yield bytes(changed)


@pytest.mark.parametrize("key", [A, B], ids=lambda key: key.public.keytype)
def test_no_flipped_bit_of_a_detached_signed_manifest_is_believed(key: PrivateKey) -> None:
    raw, envelope = sign_manifest(large(), key, embed=False)
    assert 1000 < len(raw) < 4096
    assert believed(raw, envelope)
    assert [changed for changed in flips(raw) if believed(changed, envelope)] == []


@pytest.mark.slow
def test_every_bit_of_four_kibibytes() -> None:
    assets = [{"path": f"images/{number:04}.jpg", "sha256": hex256(str(number))} for number in range(40)]
    raw, envelope = sign_manifest({**large(), "assets": assets}, A, embed=False)
    assert len(raw) >= 4096
    assert believed(raw, envelope)
    assert [changed for changed in flips(raw) if believed(changed, envelope)] == []


@pytest.mark.parametrize("key", [A, B], ids=lambda key: key.public.keytype)
def test_no_flipped_bit_of_an_embedded_signed_manifest_changes_what_is_believed(key: PrivateKey) -> None:
    value = large()
    # Escapes in either case and tabs: the only flips that a JSON reader may take for the same value.
    text = json.dumps({**value, "signature": sign_embedded(value, key)}, indent="\t", ensure_ascii=True)
    raw = text.encode()
    content = read_manifest(raw).content()
    assert believed(raw, None)
    accepted = [changed for changed in flips(raw) if believed(changed, None)]
    assert accepted  # else this proved less than it says
    for changed in accepted:
        assert read_manifest(changed).content() == content
        assert read_manifest(changed).signature == read_manifest(raw).signature


@pytest.mark.parametrize("key", [A, B], ids=lambda key: key.public.keytype)
def test_no_changed_character_of_an_envelopes_payload_or_signature_is_believed(key: PrivateKey) -> None:
    raw, envelope = sign_manifest(large(), key, embed=False)
    value = json.loads(envelope)
    manifest = read_manifest(raw)

    def tries(text: str, alphabet: str) -> Any:
        for at in range(len(text)):
            yield text[:at] + text[at + 1 :]
            for new in alphabet:
                if new != text[at]:
                    yield text[:at] + new + text[at + 1 :]

    def findings(**changes: Any) -> Any:
        changed = json.dumps({**value, **changes}).encode()
        return open_manifest(manifest, changed, ROOT, now=NOW).findings

    signature = value["signatures"][0]
    for changed in tries(signature["sig"], string.ascii_letters + string.digits + "+/-_= \n.\u00e9"):
        assert findings(signatures=[{**signature, "sig": changed}])
    for changed in tries(value["payload"], "AQgw4+/-_= "):
        assert findings(payload=changed)


@pytest.mark.parametrize("key", [A, B], ids=lambda key: key.public.keytype)
def test_no_flipped_bit_of_an_envelope_changes_what_is_believed(key: PrivateKey) -> None:
    raw, envelope = sign_manifest(article(), key, embed=False)
    manifest = read_manifest(raw)
    value = json.loads(envelope)
    for changed in flips(envelope):
        if not open_manifest(manifest, changed, ROOT, now=NOW).findings:
            read = json.loads(changed)
            assert read["payload"] == value["payload"]
            assert read["payloadType"] == value["payloadType"]
            assert [one["sig"] for one in read["signatures"]] == [one["sig"] for one in value["signatures"]]


def test_the_payload_is_what_the_bytes_say_and_not_what_they_resemble() -> None:
    # The same statement in other JSON bytes has not been signed.
    raw, envelope = sign_manifest(article(), A, embed=False)
    value = json.loads(envelope)
    spaced = json.dumps(json.loads(base64.b64decode(value["payload"])), indent=1).encode()
    assert not believed(raw, json.dumps({**value, "payload": base64.b64encode(spaced).decode()}).encode())


# --- hypothesis: nothing but our errors leaves -----------------------------------------------------------

RAW, ENVELOPE = sign_manifest(full(), A, embed=False)
EMBEDDED, _ = sign_manifest(full(), A, embed=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@st.composite
def mangled(draw: st.DrawFn, raw: bytes) -> bytes:
    start = draw(st.integers(0, len(raw)))
    end = draw(st.integers(start, min(len(raw), start + draw(st.sampled_from([0, 1, 4, 200])))))
    return raw[:start] + draw(st.binary(max_size=6)) + raw[end:]


@given(st.binary(max_size=200) | mangled(ENVELOPE))
def test_any_envelope(envelope: bytes) -> None:
    answer = opened(RAW, envelope, ROOT)
    assert all(finding.code.startswith("signature.") for finding in answer.findings)
    if not answer.findings:
        assert json.loads(envelope)["payload"] == json.loads(ENVELOPE)["payload"]


@given(mangled(EMBEDDED))
def test_any_embedded_signature(raw: bytes) -> None:
    if believed(raw, None):
        assert read_manifest(raw).content() == read_manifest(EMBEDDED).content()


@given(st.text(max_size=300))
def test_any_signature_string(text: str) -> None:
    raw = json.dumps(full(signature=text)).encode()
    assert not believed(raw, None)


@settings(max_examples=200)
@given(st.dictionaries(st.sampled_from([*full(), "x"]), JSON, max_size=3), st.booleans())
def test_signing_any_manifest(changes: dict[str, Any], embed: bool) -> None:
    try:
        raw, envelope = sign_manifest({**full(), **changes}, A, embed=embed)
    except DatabomError:
        return
    answer = opened(raw, envelope, ROOT)
    assert {finding.code for finding in answer.findings} <= {"signature.untrusted"}
