from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.errors import Problem
from databom.trust.dsse import MAX_ENVELOPE_BYTES
from databom.trust.statement import check_statement, manifest_statement
from trust.making import article, full, hex256, manifest

FULL = manifest(full())
BARE = manifest(article())


def statement(**changes: Any) -> dict[str, Any]:
    return {**json.loads(manifest_statement(FULL)), **changes}


def check(value: Any, of: Any = FULL) -> list[Problem]:
    problems = check_statement(json.dumps(value).encode(), of)
    assert all(problem.code == "signature.invalid" and problem.do for problem in problems)
    return problems


def test_it_is_exactly_what_the_interface_promises() -> None:
    lines = f"{hex256('cat')}  images/cat1.jpg\n{hex256('dog')}  images/dög1.jpg\n"
    assert statement() == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {
                "name": "hn-imagepack-2026-01@2026-01-10",
                "digest": {
                    "sha256": hashlib.sha256(FULL.raw).hexdigest(),
                    "dirHash1": hashlib.sha256(lines.encode()).hexdigest(),
                },
            }
        ],
        "predicateType": "urn:databom:dataset-manifest:v1",
        "predicate": {
            "datasetId": "hn-imagepack-2026-01",
            "version": "2026-01-10",
            "sequence": 7,
            "issuedAt": "2026-01-10T09:30:00Z",
            "assetCount": 2,
            "totalBytes": 36_484,
        },
    }


def test_what_the_manifest_does_not_say_is_null() -> None:
    predicate = json.loads(manifest_statement(BARE))["predicate"]
    assert [predicate[name] for name in ("sequence", "issuedAt", "totalBytes")] == [None, None, None]


@pytest.mark.parametrize("of", [FULL, BARE])
def test_a_statement_fits_its_manifest(of: Any) -> None:
    assert check_statement(manifest_statement(of), of) == []
    assert manifest_statement(of) == manifest_statement(of)


def test_it_fits_no_other_manifest() -> None:
    assert check_statement(manifest_statement(FULL), BARE)
    respelled = manifest({**full(), "signature": None})  # the same release, assets and content
    (problem,) = check_statement(manifest_statement(FULL), respelled)
    assert problem.subject == "/subject/0/digest/sha256"
    assert problem.expected == FULL.digest  # what was signed
    assert problem.found == respelled.digest  # what is here


def test_fewer_or_more_members_in_the_predicate_are_fine() -> None:
    assert check(statement(predicate={})) == []
    assert check(statement(predicate={"version": "2026-01-10", "creatorId": "creator:alice"})) == []
    assert check(statement(extra=1)) == []


def test_one_instant_may_be_spelled_in_two_ways() -> None:
    assert check(statement(predicate={"issuedAt": "2026-01-10T09:30:00.000Z"})) == []


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("datasetId", "hn-imagepack-2026-02"),
        ("datasetId", None),
        ("version", "2026-01-11"),
        ("sequence", 8),
        ("sequence", 7.0),
        ("sequence", "7"),
        ("sequence", None),
        ("issuedAt", "2026-01-10T09:30:01Z"),
        ("issuedAt", "2026-01-10T10:30:00+01:00"),
        ("issuedAt", "yesterday"),
        ("issuedAt", None),
        ("issuedAt", 1),
        ("assetCount", 3),
        ("assetCount", True),
        ("totalBytes", 36_485),
        ("totalBytes", None),
        ("totalBytes", {}),
    ],
)
def test_a_predicate_that_disagrees_is_refused(member: str, value: Any) -> None:
    (problem,) = check(statement(predicate={**statement()["predicate"], member: value}))
    assert problem.subject == f"/predicate/{member}"
    assert problem.expected != problem.found


@pytest.mark.parametrize("value", [0, True, 1])
def test_absent_is_null_and_nothing_else(value: Any) -> None:
    one = manifest(article(sequence=1))
    assert bool(check({**json.loads(manifest_statement(one)), "predicate": {"sequence": value}}, one)) == (
        value is not 1  # noqa: F632  # True == 1, and must be refused
    )


def subject(**changes: Any) -> list[Any]:
    return [{**statement()["subject"][0], **changes}]


def digests(**changes: Any) -> list[Any]:
    return subject(digest={**statement()["subject"][0]["digest"], **changes})


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "/_type"),
        ({"_type": None}, "/_type"),
        ({"predicateType": "https://slsa.dev/provenance/v1"}, "/predicateType"),
        ({"predicateType": "urn:databom:dataset-manifest:v2"}, "/predicateType"),
        ({"predicateType": None}, "/predicateType"),
        ({"subject": []}, "/subject"),
        ({"subject": subject() * 2}, "/subject"),
        ({"subject": {}}, "/subject"),
        ({"subject": ["text"]}, "/subject"),
        ({"subject": None}, "/subject"),
        ({"subject": subject(name="hn-imagepack-2026-01")}, "/subject/0/name"),
        ({"subject": subject(name=None)}, "/subject/0/name"),
        ({"subject": digests(sha256=hex256("other"))}, "/subject/0/digest/sha256"),
        ({"subject": digests(sha256=FULL.digest)}, "/subject/0/digest/sha256"),
        ({"subject": digests(sha256=None)}, "/subject/0/digest/sha256"),
        ({"subject": digests(dirHash1=hex256("other"))}, "/subject/0/digest/dirHash1"),
        ({"subject": digests(dirHash1=None)}, "/subject/0/digest/dirHash1"),
        ({"predicate": None}, "/predicate"),
        ({"predicate": []}, "/predicate"),
    ],
)
def test_any_other_statement_is_refused(changes: dict[str, Any], where: str) -> None:
    assert [problem.subject for problem in check(statement(**changes))] == [where]


@pytest.mark.parametrize("digest", [None, {}, [], "text"])
def test_both_digests_must_be_there(digest: Any) -> None:
    assert [problem.subject for problem in check(statement(subject=subject(digest=digest)))] == [
        "/subject/0/digest/sha256",
        "/subject/0/digest/dirHash1",
    ]


def test_another_digest_beside_them_is_ignored() -> None:
    assert check(statement(subject=digests(sha512="00"))) == []


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"null",
        b"\xff",
        b'{"_type": 1, "_type": 2}',
        b" " * MAX_ENVELOPE_BYTES + b"{}",
    ],
)
def test_a_payload_that_is_no_statement_is_refused(payload: bytes) -> None:
    (problem,) = check_statement(payload, FULL)
    assert problem.code == "signature.invalid"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(st.sampled_from(["_type", "subject", "predicateType", "predicate"]), JSON)
def test_any_value_anywhere_is_judged_without_raising(member: str, value: Any) -> None:
    problems = check(statement(**{member: value}))
    assert problems or member == "predicate"
