"""From one version of the trust root to the next (B17), and who may sign it (B09, B10, B13)."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from databom.errors import ConfigError, InputError
from databom.model import times
from databom.model.digest import sha256
from databom.model.finding import Severity
from databom.trust import dsse
from databom.trust.keys import PrivateKey
from databom.trust.root import PAYLOAD_TYPE, TrustRoot, parse_draft, parse_root
from databom.trust.root_editing import add_key, draft, remove_key
from databom.trust.rotation import check_update, sign_root
from databom.trust.statement import PAYLOAD_TYPE as IN_TOTO
from databom.trust.statement import manifest_statement
from trust.making import NOW, article, codes, detached, ed, entry, manifest, opened, p256, root_document

A, B, C, D, MARKET = ed(11), ed(12), p256(13), ed(14), ed(20)
POOL = (A, B, C, D)
LATER = times.format(NOW + timedelta(days=365))


def document(
    version: int, owners: Sequence[PrivateKey], threshold: int = 1, **changes: Any
) -> dict[str, Any]:
    """A root whose `root` role these keys hold, beside one marketplace."""
    value = root_document(MARKET, version=version, expires=LATER)
    value["keys"] |= {key.public.keyid: entry(key.public) for key in owners}
    value["roles"]["root"] = {"keyids": [key.public.keyid for key in owners], "threshold": threshold}
    return {**value, **changes}


def plain(*arguments: Any, **changes: Any) -> bytes:
    return json.dumps(document(*arguments, **changes)).encode()


def enveloped(payload: bytes, *keys: PrivateKey, kind: str = PAYLOAD_TYPE) -> bytes:
    return dsse.format_envelope(dsse.sign(kind, payload, keys))


def refused(current: TrustRoot, raw: bytes, **judged: Any) -> list[str]:
    root, findings = check_update(current, raw, **{"now": NOW, **judged})
    assert root is None
    assert findings
    for finding in findings:
        assert finding.severity is Severity.BLOCK
        assert finding.what
        assert finding.do
    return sorted({finding.code for finding in findings})


def accepted(current: TrustRoot, raw: bytes, **judged: Any) -> TrustRoot:
    root, findings = check_update(current, raw, **{"now": NOW, **judged})
    assert not findings
    assert root is not None
    return root


ONE = parse_root(plain(1, [A, B], 2))
TWO_RAW = enveloped(plain(2, [B, C], 2), A, B, C)
TWO = parse_root(TWO_RAW)


# --- reading ---------------------------------------------------------------------------------------------


def test_a_signed_root_is_read_with_its_signers() -> None:
    assert (TWO.version, TWO.raw, TWO.digest) == (2, TWO_RAW, sha256(TWO_RAW))
    assert TWO.payload == plain(2, [B, C], 2)
    assert TWO.signers == tuple(sorted((B.public.keyid, C.public.keyid)))  # A is no root key of this version
    assert TWO.is_signed
    assert (ONE.is_signed, ONE.signers, ONE.payload) == (False, (), ONE.raw)


def test_version_1_may_be_signed() -> None:
    assert parse_root(enveloped(plain(1, [A]), A)).is_signed


@pytest.mark.parametrize("kind", ["application/json", IN_TOTO, "x"])
def test_other_tools_may_write_another_type(kind: str) -> None:
    assert parse_root(enveloped(plain(2, [A]), A, kind=kind)).version == 2


def unread(raw: bytes, reader: Any = parse_root) -> list[str]:
    with pytest.raises(InputError) as caught:
        reader(raw)
    assert all(problem.what and problem.do for problem in caught.value.problems)
    return sorted({problem.code for problem in caught.value.problems})


def test_an_envelope_must_be_signed_by_its_own_root_keys() -> None:
    payload = plain(2, [A, B], 2)
    assert unread(enveloped(payload, A)) == ["signature.threshold"]
    assert unread(enveloped(payload, A, MARKET, D)) == ["signature.threshold"]
    assert unread(enveloped(payload, D)) == ["signature.threshold"]
    assert unread(enveloped(payload)) == ["signature.missing"]
    assert unread(enveloped(json.dumps(root_document(A, version=2)).encode(), A)) == ["signature.threshold"]


def test_one_key_signs_once_however_often_and_under_whatever_name() -> None:
    payload = plain(2, [A, C], 2)
    message = dsse.pae(PAYLOAD_TYPE, payload)
    hints = (C.public.keyid, A.public.keyid, "", C.public.keyid.upper(), C.public.keyid[:16])
    many = tuple(dsse.Signature(hint, C.sign(message)) for hint in hints)
    raw = dsse.format_envelope(dsse.Envelope(PAYLOAD_TYPE, payload, many))
    assert unread(raw) == ["signature.invalid"]  # one of them names A, who did not sign
    assert parse_draft(raw).signers == (C.public.keyid,)


def test_a_signature_by_another_key_under_a_root_keys_name_is_broken() -> None:
    signed = dsse.sign(PAYLOAD_TYPE, plain(2, [A, B], 2), [A, D])
    renamed = tuple(
        signature._replace(keyid=B.public.keyid) if signature.keyid == D.public.keyid else signature
        for signature in signed.signatures
    )
    assert unread(dsse.format_envelope(replace(signed, signatures=renamed))) == ["signature.invalid"]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "trust.syntax"),
        (b"\xff", "trust.syntax"),
        (b'{"_type": "urn:databom:trust-root:v1", "_type": "x"}', "trust.syntax"),
        (b"[" * 40 + b"]" * 40, "trust.limit"),
        (b"[]", "trust.schema"),
        (plain(0, [A]), "trust.schema"),
        (plain(2, [A], _type="urn:databom:trust-root:v2"), "trust.schema"),
        (plain(2, [A], 0), "trust.schema"),
        (plain(2, [A, A], 2), "trust.schema"),
    ],
)
def test_a_signature_heals_no_document(payload: bytes, code: str) -> None:
    assert unread(enveloped(payload, A)) == [code]


def test_an_envelope_in_an_envelope_is_no_root() -> None:
    assert unread(enveloped(TWO_RAW, A, B, C)) == ["trust.schema"]


def test_no_document_is_a_root_and_an_envelope_at_once() -> None:
    value = document(1, [D]) | json.loads(TWO_RAW)
    for reader in (parse_root, parse_draft):
        assert unread(json.dumps(value).encode(), reader) == ["trust.schema"]


def test_more_root_keys_than_signatures_fit_are_refused() -> None:
    assert unread(plain(1, [ed(number) for number in range(100, 165)])) == ["trust.limit"]


# --- other statements are no roots, roots are no other statements (B13) --------------------------------


def test_what_was_signed_for_another_purpose_is_no_root() -> None:
    statement = manifest_statement(manifest(article()))
    receipt = json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "predicateType": "https://slsa.dev/provenance/v1",
            "subject": [],
            "predicate": {},
            **{name: document(2, [A, B])[name] for name in ("version", "expires", "keys", "roles")},
        }
    ).encode()
    for payload in (statement, receipt):
        for kind in (IN_TOTO, PAYLOAD_TYPE):
            assert refused(ONE, enveloped(payload, A, B, kind=kind)) == ["trust.schema"]
    elsewhere = enveloped(plain(2, [A, B], 2), A, B, kind="application/vnd.databom.checkpoint")
    assert refused(ONE, elsewhere) == ["signature.invalid"]


def test_a_root_is_no_signature_of_a_manifest() -> None:
    trusted = parse_root(json.dumps(root_document(MARKET)).encode())
    raw, good = detached(article(), MARKET)
    assert not codes(opened(raw, good, trusted))
    for kind in (PAYLOAD_TYPE, IN_TOTO):
        for payload in (plain(2, [MARKET]), raw):
            answer = opened(raw, enveloped(payload, MARKET, kind=kind), trusted)
            assert codes(answer) == ["signature.invalid"]
            assert not answer.keyids


# --- one step --------------------------------------------------------------------------------------------


def test_one_step_signed_by_both() -> None:
    assert accepted(ONE, TWO_RAW) == TWO


def test_the_same_bytes_are_no_step_and_no_refusal() -> None:
    for root in (ONE, TWO):
        assert accepted(root, root.raw) is root


def test_each_side_must_reach_its_threshold() -> None:
    payload = plain(2, [B, C], 2)
    assert refused(ONE, enveloped(payload, B, C)) == ["signature.threshold"]  # A is missing for version 1
    assert refused(ONE, enveloped(payload, A, B)) == ["signature.threshold"]  # C is missing for version 2
    assert refused(ONE, enveloped(payload, MARKET, D)) == ["signature.threshold"]
    assert refused(ONE, payload) == ["trust.schema"]  # nobody signed


def test_versions_neither_skip_nor_go_back() -> None:
    for version, code in (
        (0, "trust.schema"),
        (1, "trust.rollback"),
        (2, "trust.rollback"),
        (4, "trust.schema"),
    ):
        assert refused(TWO, enveloped(plain(version, [B, C]), B, C)) == [code]
    assert refused(TWO, ONE.raw) == ["trust.rollback", "trust.schema"]  # older, and unsigned
    (jump,) = check_update(TWO, enveloped(plain(6, [B, C]), B, C), now=NOW)[1]
    assert "versions 3 to 5" in jump.what
    (jump,) = check_update(TWO, enveloped(plain(4, [B, C]), B, C), now=NOW)[1]
    assert jump.what.startswith("version 3 ")


def test_other_signatures_make_another_document_under_the_same_version() -> None:
    assert refused(TWO, enveloped(TWO.payload, B, C)) == ["trust.rollback"]


def test_the_version_in_force_may_have_expired_and_the_new_one_may_not() -> None:
    old = parse_root(plain(1, [A], expires="2020-01-01T00:00:00Z"))
    assert accepted(old, enveloped(plain(2, [A]), A)).version == 2
    for expires in ("2020-01-01T00:00:00Z", times.format(NOW)):
        assert refused(ONE, enveloped(plain(2, [A, B], expires=expires), A, B)) == ["trust.expired"]
    assert accepted(ONE, TWO_RAW, now=TWO.expires - timedelta(seconds=1))
    assert refused(ONE, TWO_RAW, now=TWO.expires) == ["trust.expired"]


def test_a_version_1_without_root_keys_has_no_next_one() -> None:
    empty = parse_root(json.dumps(root_document(MARKET)).encode())
    assert refused(empty, enveloped(plain(2, [A]), A, MARKET)) == ["signature.threshold"]
    (finding,) = check_update(empty, enveloped(plain(2, [A]), A), now=NOW)[1]
    assert "--role root" in (finding.do or "")
    named = parse_root(add_key(empty.raw, A.public, role="root", now=NOW))
    assert accepted(named, enveloped(plain(2, [A]), A)).version == 2


@pytest.mark.parametrize(
    "window",
    [{"valid_until": times.format(NOW)}, {"valid_from": times.format(NOW + timedelta(seconds=1))}],
)
@pytest.mark.parametrize("side", ["old", "new"])
def test_root_keys_count_inside_their_windows_now(side: str, window: dict[str, str]) -> None:
    old, new = document(1, [A]), document(2, [A])
    assert accepted(parse_root(json.dumps(old).encode()), enveloped(json.dumps(new).encode(), A))
    (old if side == "old" else new)["keys"][A.public.keyid] |= window
    current, raw = parse_root(json.dumps(old).encode()), enveloped(json.dumps(new).encode(), A)
    assert refused(current, raw) == ["signature.expired"]


def test_everything_wrong_with_a_step_is_said_at_once() -> None:
    raw = enveloped(plain(7, [B, C], 2, expires="2020-01-01T00:00:00Z"), D)
    assert refused(ONE, raw) == ["signature.threshold", "trust.expired", "trust.schema"]
    assert len(check_update(ONE, raw, now=NOW)[1]) == 4


def test_a_lost_marketplace_key_is_taken_out_without_it() -> None:
    raw = add_key(draft(ONE, now=NOW), D.public, role="marketplace", marketplace="human-native",
                  datasets=["hn-*"], now=NOW)  # fmt: skip
    raw = remove_key(raw, MARKET.public.keyid).raw
    root = accepted(ONE, sign_root(raw, [A, B]))
    assert root.marketplaces["human-native"].keyids == (D.public.keyid,)
    stolen = detached(article(), MARKET)
    assert codes(opened(*stolen, root)) == ["signature.untrusted"]
    assert refused(root, enveloped(plain(3, [MARKET]), MARKET)) == ["signature.threshold"]


# --- signing ---------------------------------------------------------------------------------------------


def test_owners_sign_in_turn_or_at_once() -> None:
    raw = plain(2, [A, B, D], 2)
    at_once = sign_root(raw, [D, A, B])
    in_turn = sign_root(sign_root(sign_root(raw, [B]), [D]), [A])
    assert at_once == in_turn == sign_root(at_once, [B])
    assert parse_root(at_once).payload == raw
    names = [signature["keyid"] for signature in json.loads(at_once)["signatures"]]
    assert names == sorted(names)
    assert accepted(ONE, at_once).signers == tuple(names)


def test_the_outgoing_keys_sign_when_the_version_in_force_is_known() -> None:
    raw = plain(2, [C])
    with pytest.raises(ConfigError, match="no root key"):
        sign_root(raw, [A])
    assert accepted(ONE, sign_root(sign_root(raw, [A, B], current=ONE), [C])).signers == (C.public.keyid,)


def test_signing_again_replaces_a_key_under_any_name() -> None:
    signed = json.loads(sign_root(plain(2, [C]), [C]))
    signed["signatures"][0]["keyid"] = "another tool's name"
    again = json.loads(sign_root(json.dumps(signed).encode(), [C]))
    assert [signature["keyid"] for signature in again["signatures"]] == [C.public.keyid]


@pytest.mark.parametrize("keys", [[], [MARKET], [D], [A, D]])
def test_a_signature_that_would_count_for_nothing_is_refused(keys: list[PrivateKey]) -> None:
    with pytest.raises(ConfigError) as caught:
        sign_root(plain(2, [A, B]), keys, current=ONE)
    assert caught.value.hint


def test_what_is_no_root_is_not_signed() -> None:
    for raw in (b"{}", plain(2, [A], 0), enveloped(manifest_statement(manifest(article())), A)):
        with pytest.raises(InputError):
            sign_root(raw, [A])


# --- any chain, any change ------------------------------------------------------------------------------

ROLES = st.lists(st.sampled_from(POOL), min_size=1, max_size=3, unique=True).flatmap(
    lambda owners: st.tuples(st.just(owners), st.integers(1, len(owners)))
)


@given(st.lists(ROLES, min_size=3, max_size=4))
@settings(deadline=None, max_examples=15)
def test_any_chain_is_taken_step_by_step_and_in_no_other_way(
    chain: list[tuple[list[PrivateKey], int]],
) -> None:
    signed: list[bytes] = []
    for version, (owners, threshold) in enumerate(chain, 1):
        before = chain[version - 2][0] if version > 1 else []
        raw = plain(version, owners, threshold)
        signed.append(raw if version == 1 else enveloped(raw, *dict.fromkeys([*before, *owners])))
    roots = [parse_root(raw) for raw in signed]
    for at, current in enumerate(roots):
        for to, raw in enumerate(signed):
            if to in (at, at + 1):
                assert accepted(current, raw) == roots[to]
            else:
                assert refused(current, raw)


@given(ROLES, ROLES)
@settings(deadline=None, max_examples=15)
def test_every_signature_below_a_threshold_is_missed(
    old: tuple[list[PrivateKey], int], new: tuple[list[PrivateKey], int]
) -> None:
    # Exactly the first keys of each role sign, as many as must: without any of them one side falls short.
    current = parse_root(plain(1, *old))
    payload = plain(2, *new)
    signing = list(dict.fromkeys([*old[0][: old[1]], *new[0][: new[1]]]))
    accepted(current, enveloped(payload, *signing))

    def enough(keys: Sequence[PrivateKey]) -> bool:
        return all(len(set(owners).intersection(keys)) >= threshold for owners, threshold in (old, new))

    for one in signing:
        rest = [key for key in signing if key is not one]
        if not enough(rest):
            codes_ = refused(current, enveloped(payload, *rest))
            assert codes_ in (["signature.threshold"], ["signature.missing"])


def test_every_bit_of_the_signed_bytes_matters() -> None:
    payload = plain(2, [A, B], 2)
    envelope = dsse.sign(PAYLOAD_TYPE, payload, [A, B])
    accepted(ONE, dsse.format_envelope(envelope))
    changed = [replace(envelope, payload=flipped) for flipped in flips(payload, step=7)]
    for at, signature in enumerate(envelope.signatures):
        for sig in flips(signature.sig):
            signatures = list(envelope.signatures)
            signatures[at] = signature._replace(sig=sig)
            changed.append(replace(envelope, signatures=tuple(signatures)))
    for one in changed:
        assert refused(ONE, dsse.format_envelope(one))


def flips(data: bytes, step: int = 1) -> list[bytes]:
    """The data with one bit flipped, for every bit, or every so many."""
    return [(int.from_bytes(data) ^ (1 << bit)).to_bytes(len(data)) for bit in range(0, 8 * len(data), step)]


@pytest.mark.slow
def test_every_bit_of_a_signed_root_file() -> None:
    raw = sign_root(plain(2, [A, B], 2), [A, B])
    good = accepted(ONE, raw)
    refusals = 0
    for changed in flips(raw):
        root, findings = check_update(ONE, changed, now=NOW)
        if root is None:
            assert findings
            refusals += 1
        else:  # a hint, or white space: what was signed is untouched
            assert root.payload == good.payload
            assert root.signers == good.signers
    assert refusals > 8 * len(base64.b64encode(good.payload)) - 1


@given(st.binary(max_size=80), st.booleans())
@settings(deadline=None, max_examples=40)
def test_anything_is_answered(raw: bytes, wrapped: bool) -> None:
    assert refused(ONE, enveloped(raw, A, B) if wrapped else raw)
