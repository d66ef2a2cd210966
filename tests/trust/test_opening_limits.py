"""Opening manifests: how many keys, when, and both forms of signature at once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from databom.model import times
from databom.model.finding import Severity
from databom.trust.jws import sign_embedded
from databom.trust.keys import PrivateKey
from databom.trust.opening import sign_manifest
from trust.making import (
    IDS,
    NOW,
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
    root,
    root_document,
)

# --- how many --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signers", "believed"),
    [
        ((A, B), True),
        ((A, C), True),
        ((A, B, C), True),
        ((A,), False),
        ((A, A), False),
        ((A, STRANGER), False),
    ],
)
def test_two_of_three(signers: tuple[PrivateKey, ...], believed: bool) -> None:
    raw, envelope = detached(full(), *signers)
    answer = opened(raw, envelope, root(A, B, C, threshold=2))
    if believed:
        assert codes(answer) == []
        assert answer.keyids == tuple(sorted(IDS[key] for key in signers))
        return
    finding = only(answer)
    assert finding.code == "signature.threshold"
    assert finding.expected == f"2 of {', '.join(sorted([IDS[A], IDS[B], IDS[C]]))}"
    assert finding.found == f"1: {IDS[A]}"


def test_duplicates_under_no_name_count_once() -> None:
    raw, envelope = detached(full(), C)
    again = detached(full(), C)[1]  # another signature by the same key: ECDSA is randomized
    value = json.loads(envelope)
    value["signatures"] += json.loads(again)["signatures"]
    both = hinted(json.dumps(value).encode(), None, "")
    assert value["signatures"][0]["sig"] != value["signatures"][1]["sig"]
    assert codes(opened(raw, both, root(A, B, C, threshold=2))) == ["signature.threshold"]


def test_keys_of_two_marketplaces_do_not_add_up() -> None:
    document = root_document(A, B)
    scope = {"threshold": 2, "datasets": ["*"]}
    document["keys"][IDS[C]] = entry(C.public)
    document["roles"]["marketplace"] = {
        "a": {"keyids": [IDS[A], IDS[C]], **scope},
        "b": {"keyids": [IDS[B], IDS[C]], **scope},
    }
    raw, envelope = detached(article(), A, B)
    assert codes(opened(raw, envelope, as_root(document))) == ["signature.threshold"]
    raw, envelope = detached(article(), B, C)
    answer = opened(raw, envelope, as_root(document))
    assert (answer.marketplace, answer.keyids) == ("b", tuple(sorted((IDS[B], IDS[C]))))


def test_an_embedded_signature_alone_meets_a_threshold_of_one() -> None:
    finding = only(opened(embedded(full(), A), None, root(A, B, threshold=2)))
    assert finding.code == "signature.threshold"
    assert "manifest.json.dsse" in (finding.do or "")


# --- both forms ------------------------------------------------------------------------------------------


def both(value: dict[str, Any], inner: PrivateKey, *outer: PrivateKey) -> tuple[bytes, bytes]:
    return detached({**value, "signature": sign_embedded(value, inner)}, *outer)


def test_both_forms_must_hold() -> None:
    answer = opened(*both(full(), B, A), root(A, B))
    assert codes(answer) == []
    assert answer.forms == ("detached", "embedded")
    assert answer.keyids == tuple(sorted((IDS[A], IDS[B])))
    assert codes(opened(*both(full(), STRANGER, A), root(A))) == ["signature.untrusted"]
    assert codes(opened(*both(full(), A, STRANGER), root(A))) == ["signature.untrusted"]
    assert codes(opened(*both(full(), STRANGER, STRANGER), root(A))) == ["signature.untrusted"] * 2


def test_a_bad_embedded_signature_is_not_healed_by_a_good_envelope() -> None:
    for inner in ("x", "a..b", sign_embedded(full(version="1"), A), embedded(full(), A).decode()[:100]):
        raw, envelope = detached(full(signature=inner), A)
        assert codes(opened(raw, envelope, root(A))) == ["signature.invalid"]


def test_the_envelope_carries_the_threshold() -> None:
    assert codes(opened(*both(full(), A, B, C), root(A, B, C, threshold=2))) == []
    assert codes(opened(*both(full(), A, B), root(A, B, C, threshold=2))) == ["signature.threshold"]


def test_both_forms_must_be_accepted_by_one_marketplace() -> None:
    value = article(dataset_id="hn-shared-1")
    answer = opened(*both(value, A, B), as_root(SCOPES))
    assert codes(answer) == ["signature.untrusted"]


# --- when ------------------------------------------------------------------------------------------------


def windowed(key: PrivateKey, *others: PrivateKey, threshold: int = 1, **window: Any) -> Any:
    document = root_document(key, *others, threshold=threshold)
    document["keys"][key.public.keyid] |= window
    return as_root(document)


MARCH = datetime(2026, 3, 1, tzinfo=UTC)
IN_MARCH = {"valid_from": "2026-03-01T00:00:00Z", "valid_until": "2026-04-01T00:00:00Z"}


@pytest.mark.parametrize("embed", [False, True])
@pytest.mark.parametrize(
    ("now", "believed"),
    [
        (MARCH, True),
        (MARCH - timedelta(seconds=1), False),
        (datetime(2026, 3, 31, 23, 59, 59, tzinfo=UTC), True),
        (datetime(2026, 4, 1, tzinfo=UTC), False),
        (NOW, False),
    ],
)
def test_a_key_counts_inside_its_window(now: datetime, believed: bool, embed: bool) -> None:
    raw, envelope = sign_manifest(full(), A, embed=embed)
    answer = opened(raw, envelope, windowed(A, **IN_MARCH), now=now)
    if believed:
        assert codes(answer) == []
        return
    finding = only(answer)
    assert (finding.code, finding.subject) == ("signature.expired", IDS[A])
    assert finding.expected == "valid from 2026-03-01T00:00:00Z until 2026-04-01T00:00:00Z"
    assert finding.found == times.format(now)


def test_the_manifests_own_date_does_not_matter() -> None:
    value = full(expires_at="2030-01-01T00:00:00Z") | {"issued_at": "2026-03-15T00:00:00Z"}
    assert codes(opened(*sign_manifest(value, A, embed=False), windowed(A, **IN_MARCH))) == [
        "signature.expired"
    ]


def test_open_windows_are_told_as_such() -> None:
    finding = only(
        opened(*sign_manifest(full(), A, embed=False), windowed(A, valid_from="2027-01-01T00:00:00Z"))
    )
    assert finding.expected == "valid from 2027-01-01T00:00:00Z until further notice"
    finding = only(
        opened(*sign_manifest(full(), A, embed=False), windowed(A, valid_until="2026-01-01T00:00:00Z"))
    )
    assert finding.expected == "valid from the beginning until 2026-01-01T00:00:00Z"


def test_an_expired_key_does_not_help_to_a_threshold() -> None:
    raw, envelope = detached(full(), A, B)
    assert codes(opened(raw, envelope, windowed(A, B, C, threshold=2, **IN_MARCH))) == ["signature.expired"]
    raw, envelope = detached(full(), A)
    answer = opened(raw, envelope, windowed(A, B, C, threshold=2, **IN_MARCH))
    assert codes(answer) == ["signature.expired", "signature.threshold"]
    assert answer.findings[1].found == "none that is valid"
    raw, envelope = detached(full(), A, B, C)
    answer = opened(raw, envelope, windowed(A, B, C, threshold=2, **IN_MARCH))
    assert codes(answer) == []
    assert IDS[A] not in answer.keyids


def test_an_expired_root_blocks_whatever_the_rest() -> None:
    end = datetime(2027, 1, 1, tzinfo=UTC)
    raw, envelope = sign_manifest(full(), A, embed=False)
    assert codes(opened(raw, envelope, root(A), now=end - timedelta(seconds=1))) == []
    answer = opened(raw, envelope, root(A), now=end)
    assert codes(answer) == ["trust.expired"]
    assert answer.findings[0].severity is Severity.BLOCK
    assert answer.findings[0].found == "2027-01-01T00:00:00Z"
    assert codes(opened(raw, None, root(A), now=end)) == ["trust.expired", "signature.missing"]


# --- and again -------------------------------------------------------------------------------------------


def test_one_opening_leaves_no_trace_in_the_next() -> None:
    trusted = root(A)
    good, bad = sign_manifest(full(), A, embed=False), sign_manifest(article(), STRANGER, embed=False)
    alone = [opened(*case, trusted) for case in (good, bad)]
    assert [opened(*case, trusted) for case in (bad, good, bad, good)] == [
        alone[1],
        alone[0],
        alone[1],
        alone[0],
    ]


def test_every_text_of_every_finding_can_be_printed() -> None:
    value = article(dataset_id="ünïcode ☃", marketplace_id="m" * 200)
    for form in (True, False):
        for trusted in (root(A), as_root(root_document()), as_root(SCOPES)):
            for finding in opened(*sign_manifest(value, STRANGER, embed=form), trusted).findings:
                assert all((text or "").isprintable() for text in finding.to_dict().values())
