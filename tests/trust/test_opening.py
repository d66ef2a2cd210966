from __future__ import annotations

import json
from typing import Any

import pytest

from databom.errors import InputError
from databom.model.manifest import read_manifest
from databom.trust import dsse
from databom.trust.jws import sign_embedded
from databom.trust.keys import PrivateKey
from databom.trust.opening import content_digest, sign_manifest
from databom.trust.statement import PAYLOAD_TYPE, manifest_statement
from trust.making import (
    IDS,
    SCOPES,
    STRANGER,
    A,
    B,
    C,
    article,
    as_root,
    codes,
    detached,
    embedded,
    entry,
    full,
    hinted,
    only,
    opened,
    p256,
    root,
    root_document,
)

# --- the manifest of architecture.md ---------------------------------------------------------------------


@pytest.mark.parametrize("nothing", ["", None, {}, []])
def test_the_example_unsigned_is_refused(nothing: Any) -> None:
    finding = only(opened(json.dumps(article(signature=nothing)).encode(), None, root(A)))
    assert finding.code == "signature.missing"
    assert finding.subject == "hn-imagepack-2026-01@2026-01-10"
    assert "--key FILE" in (finding.do or "")


def test_the_example_without_the_member_is_refused() -> None:
    value = article()
    del value["signature"]
    assert codes(opened(json.dumps(value).encode(), None, root(A))) == ["signature.missing"]


@pytest.mark.parametrize("key", [A, C], ids=lambda key: key.public.keytype)
@pytest.mark.parametrize("embed", [False, True])
@pytest.mark.parametrize("value", [article(), full()], ids=["article", "full"])
def test_the_example_signed_is_believed(key: PrivateKey, embed: bool, value: dict[str, Any]) -> None:
    answer = opened(*sign_manifest(value, key, embed=embed), root(A, C))
    assert answer.findings == ()
    assert answer.keyids == (IDS[key],)
    assert answer.marketplace == "human-native"
    assert answer.forms == (("embedded",) if embed else ("detached",))


# --- sign_manifest ---------------------------------------------------------------------------------------


def test_what_is_written_is_pretty_and_deterministic() -> None:
    value = full(title="Größe")
    raw, envelope = sign_manifest(value, A, embed=False)
    expected = {name: member for name, member in value.items() if name != "signature"} | {"signature": ""}
    assert raw.decode() == json.dumps(expected, indent=2, ensure_ascii=False) + "\n"
    assert (raw, envelope) == sign_manifest(value, A, embed=False)
    raw, none = sign_manifest(value, A, embed=True)
    assert none is None
    assert json.loads(raw)["signature"] == sign_embedded(value, A)
    assert "signature" in value
    assert value["signature"] == ""


def test_an_old_signature_is_replaced() -> None:
    once = json.loads(sign_manifest(article(), A, embed=True)[0])
    assert sign_manifest(once, B, embed=True) == sign_manifest(article(), B, embed=True)


@pytest.mark.parametrize(
    "value",
    [{}, article(assets=[]), article(version=1), article(x=float("nan")), article(x=1.5), article(x="\ud800"),
     article(x=2**60), article(x={1, 2}), article(x=b""), {1: 2}],
)  # fmt: skip
@pytest.mark.parametrize("embed", [False, True])
def test_what_we_would_refuse_is_never_signed(value: dict[str, Any], embed: bool) -> None:
    with pytest.raises(InputError):
        sign_manifest(value, A, embed=embed)


def test_the_content_digest_is_the_same_in_every_spelling() -> None:
    value = full()
    spellings = [
        json.dumps(value).encode(),
        json.dumps(value, indent=7, ensure_ascii=False).encode(),
        json.dumps(dict(reversed(value.items()))).encode(),
        json.dumps({**value, "signature": "x..y"}).encode(),
        json.dumps(value).replace("hn-image", "\\u0068n-image").encode(),
        json.dumps(value, indent=1).replace("\n", "\r\n").encode(),
    ]
    assert len({content_digest(read_manifest(raw)) for raw in spellings}) == 1
    assert len({read_manifest(raw).digest for raw in spellings}) == 6
    assert content_digest(read_manifest(spellings[0])).startswith("sha256:")
    assert content_digest(read_manifest(json.dumps(article()).encode())) != content_digest(
        read_manifest(spellings[0])
    )


def test_every_spelling_verifies_embedded() -> None:
    signed = {**full(), "signature": sign_embedded(full(), A)}
    for raw in (json.dumps(signed, indent=3).encode(), json.dumps(dict(reversed(signed.items()))).encode()):
        assert codes(opened(raw, None, root(A))) == []


# --- other bytes -----------------------------------------------------------------------------------------


def test_a_good_envelope_about_other_bytes_is_invalid() -> None:
    _, envelope = detached(full(), A)
    for other in (full(version="2026-01-11"), full(sequence=8), article()):
        answer = opened(json.dumps(other).encode(), envelope, root(A))
        assert set(codes(answer)) == {"signature.invalid"}
    finding = only(opened(json.dumps(full(), indent=1).encode(), envelope, root(A)))  # respelled, detached
    assert "not the bytes that were signed" in finding.what


@pytest.mark.parametrize("embed", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {"version": "2026-01-11"},
        {"dataset_id": "hn-imagepack-2026-02"},
        {"creator_id": "creator:mallory"},
        {"license": {"type": "commercial", "spdx": "CC0-1.0", "revocable": False}},
        {"license": {"type": "commercial", "spdx": "CC-BY-4.0", "revocable": True}},
        {"sequence": 8},
        {"issued_at": "2026-01-10T09:30:01Z"},
        {"expires_at": "2030-01-01T00:00:00Z"},
        {"payment": {"model": "one-time", "transaction_id": "txn_2"}},
        {"assets": full()["assets"][:1]},
        {"assets": full()["assets"][::-1]},
        {"assets": [*full()["assets"], {"path": "x", "sha256": "0" * 64, "size": 0}]},
        {"assets": [{**full()["assets"][0], "size": 1}, full()["assets"][1]]},
        {"assets": [{**full()["assets"][0], "path": "images/cat2.jpg"}, full()["assets"][1]]},
        {"unknown": 1},
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_every_signed_field_is_bound(changes: dict[str, Any], embed: bool) -> None:
    raw, envelope = sign_manifest(full(), A, embed=embed)
    answer = opened(json.dumps({**json.loads(raw), **changes}).encode(), envelope, root(A))
    assert set(codes(answer)) == {"signature.invalid"}


@pytest.mark.parametrize("envelope", [b"", b"{}", b"\xff", b"<html>404</html>", b"null"])
def test_a_broken_envelope_beside_a_good_embedded_signature_is_refused(envelope: bytes) -> None:
    answer = opened(embedded(full(), A), envelope, root(A))
    assert codes(answer) == ["signature.invalid"]
    assert answer.forms == ("detached", "embedded")


def test_an_envelope_nobody_signed_is_missing_a_signature() -> None:
    raw, envelope = detached(full())
    assert codes(opened(raw, envelope, root(A))) == ["signature.missing"]


# --- cross-protocol --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["application/json", "application/vnd.in-toto+json ", "APPLICATION/VND.IN-TOTO+JSON"]
)
def test_an_envelope_for_another_purpose_is_invalid(kind: str) -> None:
    raw, _ = detached(full(), A)
    envelope = dsse.format_envelope(dsse.sign(kind, manifest_statement(read_manifest(raw)), [A]))
    finding = only(opened(raw, envelope, root(A)))
    assert finding.code == "signature.invalid"


def test_another_statement_is_invalid() -> None:
    raw, _ = detached(full(), A)
    statement = json.loads(manifest_statement(read_manifest(raw)))
    for predicate in ("https://slsa.dev/provenance/v1", "urn:databom:payment-receipt:v1"):
        payload = json.dumps({**statement, "predicateType": predicate}).encode()
        finding = only(opened(raw, dsse.format_envelope(dsse.sign(PAYLOAD_TYPE, payload, [A])), root(A)))
        assert finding.code == "signature.invalid"
        assert "another purpose" in finding.what


def test_a_signature_of_one_form_is_none_of_the_other() -> None:
    raw, envelope = detached(full(), A)
    sig = json.loads(envelope)["signatures"][0]["sig"].rstrip("=").replace("+", "-").replace("/", "_")
    head = sign_embedded(full(), A).split(".")[0]
    moved = json.dumps({**json.loads(raw), "signature": f"{head}..{sig}"}).encode()
    assert codes(opened(moved, None, root(A))) == ["signature.invalid"]


# --- who -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("embed", [False, True])
def test_an_unknown_key_is_untrusted_and_the_finding_says_what_to_do(embed: bool) -> None:
    finding = only(opened(*sign_manifest(full(), STRANGER, embed=embed), root(A, B)))
    assert finding.code == "signature.untrusted"
    assert IDS[STRANGER] in (finding.found or "")
    assert "human-native" in (finding.expected or "")
    assert IDS[A] in (finding.expected or "")
    assert IDS[B] in (finding.expected or "")
    assert (finding.do or "").endswith(
        "databom trust add FILE.pub --marketplace human-native --datasets hn-imagepack-2026-01"
    )


@pytest.mark.parametrize("embed", [False, True])
@pytest.mark.parametrize("roles", [{}, {"marketplace": {}}])
def test_an_empty_root_trusts_nobody(embed: bool, roles: dict[str, Any]) -> None:
    for keys in ((), (A,)):
        trusted = as_root(root_document(*keys, roles=roles))
        finding = only(opened(*sign_manifest(article(), A, embed=embed), trusted))
        assert finding.code == "signature.untrusted"
        assert "trusts nobody" in (finding.expected or "")
        assert "databom trust add FILE.pub --marketplace ID" in (finding.do or "")


def test_the_command_cannot_be_made_to_do_something_else() -> None:
    value = article(dataset_id="hn-$(touch x)", marketplace_id="m; rm -rf ~ '")
    finding = only(opened(*sign_manifest(value, STRANGER, embed=False), root(A)))
    assert (finding.do or "").endswith("""--marketplace 'm; rm -rf ~ '"'"'' --datasets 'hn-$(touch x)'""")


@pytest.mark.parametrize("embed", [False, True])
@pytest.mark.parametrize(
    ("key", "dataset", "marketplace", "speaks"),
    [
        (A, "hn-1", None, "human-native"),
        (A, "hn-1", "human-native", "human-native"),
        (A, "hn-1", "other", None),
        (A, "hn-1", "nobody", None),
        (A, "HN-1", None, None),
        (A, "x-1", None, None),
        (B, "hn-1", None, None),
        (B, "hn-1", "human-native", None),
        (B, "hn-shared-1", None, "other"),
        (A, "hn-shared-1", None, "human-native"),
        (B, "hn-shared-1", "human-native", None),
        (B, "x-1", None, "other"),
        (B, "x-1", "other", "other"),
        (C, "hn-1", None, None),
        (C, "hn-1", "human-native", None),
    ],
)
def test_a_key_speaks_for_its_scope_only(
    key: PrivateKey, dataset: str, marketplace: str | None, speaks: str | None, embed: bool
) -> None:
    value = article(dataset_id=dataset)
    if marketplace is not None:
        value["marketplace_id"] = marketplace
    answer = opened(*sign_manifest(value, key, embed=embed), as_root(SCOPES))
    assert answer.marketplace == speaks
    assert codes(answer) == ([] if speaks else ["signature.untrusted"])
    if not speaks:
        finding = only(answer)
        assert "may not speak for" in finding.what
        assert IDS[key] in (finding.found or "")


def test_the_finding_says_what_the_key_may_do_instead() -> None:
    finding = only(opened(*sign_manifest(article(), C, embed=False), as_root(SCOPES)))
    assert finding.found == f"{IDS[C]}, which may act as payment"
    finding = only(opened(*sign_manifest(article(dataset_id="y"), B, embed=False), as_root(SCOPES)))
    assert "marketplace other (hn-shared-*, x-*)" in (finding.found or "")
    assert "human-native: hn-*; other: hn-shared-*, x-*" in (finding.expected or "")
    bare = as_root(root_document(A, keys={key.public.keyid: entry(key.public) for key in (A, B)}))
    assert (
        only(opened(*sign_manifest(article(), B, embed=False), bare)).found
        == f"{IDS[B]}, which holds no role"
    )


def test_a_signature_without_hint_is_tried_with_every_key() -> None:
    raw, envelope = detached(full(), A)
    for hint in (None, ""):
        assert codes(opened(raw, hinted(envelope, hint), root(B, A))) == []
        finding = only(opened(raw, hinted(envelope, hint), root(B)))
        assert finding.code == "signature.untrusted"
        assert "names no key" in (finding.found or "")


def test_another_tools_own_keyid_is_no_obstacle_and_no_help() -> None:
    """DSSE leaves the form of `keyid` to the signer: securesystemslib's own ids are not ours."""
    raw, envelope = detached(full(), A)
    for hint in ("my-key", IDS[STRANGER], IDS[A][:32]):
        answer = opened(raw, hinted(envelope, hint), root(A, B))
        assert codes(answer) == []
        assert answer.keyids == (IDS[A],)
        assert only(opened(raw, hinted(envelope, hint), root(B))).code == "signature.untrusted"


def test_a_trusted_name_on_a_strangers_signature_is_invalid() -> None:
    raw, envelope = detached(full(), STRANGER)
    finding = only(opened(raw, hinted(envelope, IDS[A]), root(A)))
    assert finding.code == "signature.invalid"
    assert IDS[A] in (finding.expected or "")


def test_a_broken_signature_is_invalid_whichever_marketplace_its_key_belongs_to() -> None:
    raw, envelope = detached(article(dataset_id="hn-shared-1"), STRANGER)
    for key in (A, B):
        finding = only(opened(raw, hinted(envelope, IDS[key]), as_root(SCOPES)))
        assert finding.code == "signature.invalid"
        assert IDS[key] in (finding.expected or "")


def test_the_name_of_a_key_without_a_say_is_untrusted() -> None:
    raw, envelope = detached(article(), STRANGER)
    assert codes(opened(raw, hinted(envelope, IDS[C]), as_root(SCOPES))) == ["signature.untrusted"]


def test_countersignatures_are_ignored() -> None:
    raw, envelope = detached(full(), STRANGER, A, p256(77))
    answer = opened(raw, envelope, root(A))
    assert codes(answer) == []
    assert answer.keyids == (IDS[A],)


def test_hints_are_shown_harmlessly() -> None:
    raw, envelope = detached(full(), STRANGER)
    finding = only(opened(raw, hinted(envelope, "\x1b[2Jevil\u202e" + "x" * 500), root(A)))
    assert (finding.found or "").isprintable()
    assert len(finding.found or "") < 200
