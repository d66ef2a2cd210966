from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from databom.errors import InputError, Problem
from databom.model.digest import sha256
from databom.trust.root import EXCLUSIVE_ROLES, PLAIN_ROLES, Role, parse_root
from trust.making import as_root, ed, entry, p256, root_document

ONE, TWO, THREE = ed(1), ed(2), p256(3)
ID1, ID2, ID3 = (key.public.keyid for key in (ONE, TWO, THREE))


def role(*keyids: str, threshold: Any = 1, **members: Any) -> dict[str, Any]:
    return {"keyids": list(keyids), "threshold": threshold, **members}


def refusals(document: Any) -> tuple[Problem, ...]:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(InputError) as caught:
        parse_root(raw)
    assert all(problem.what and problem.do for problem in caught.value.problems)
    return caught.value.problems


def with_key(**members: Any) -> dict[str, Any]:
    return root_document(keys={ID1: entry(ONE.public, **members)})


# --- reading ---------------------------------------------------------------------------------------------


def test_the_root_of_the_interface() -> None:
    document = root_document(
        ONE,
        keys={
            ID1: entry(ONE.public, valid_from="2025-12-01T00:00:00Z", valid_until=None),
            ID2: entry(TWO.public, valid_until="2026-06-01T00:00:00Z", development=True),
            ID3: entry(THREE.public),
        },
    )
    document["roles"] |= {"root": role(ID3), "receipt": role(ID2), "log": role(ID3)}
    raw = json.dumps(document).encode()
    read = parse_root(raw)
    assert (read.raw, read.digest, read.version) == (raw, sha256(raw), 1)
    assert read.expires == datetime(2027, 1, 1, tzinfo=UTC)
    assert read.public_keys() == {ID1: ONE.public, ID2: TWO.public, ID3: THREE.public}
    assert read.keys[ID1].valid_from == datetime(2025, 12, 1, tzinfo=UTC)
    assert [read.keys[keyid].development for keyid in (ID1, ID2, ID3)] == [False, True, False]
    assert read.roles == {"root": Role((ID3,), 1), "receipt": Role((ID2,), 1), "log": Role((ID3,), 1)}
    (market,) = read.candidates("hn-imagepack", None)
    assert (market.marketplace, market.keyids, market.datasets) == ("human-native", (ID1,), ("hn-*",))
    assert read == parse_root(raw)
    assert hash(read) == hash(parse_root(raw))


def test_windows_are_half_open() -> None:
    key = as_root(with_key(valid_from="2026-01-01T00:00:00Z", valid_until="2026-02-01T00:00:00Z")).keys[ID1]
    begin, end, tick = (
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 2, 1, tzinfo=UTC),
        timedelta(microseconds=1),
    )
    answers = [key.is_valid_at(when) for when in (begin - tick, begin, end - tick, end)]
    assert answers == [False, True, True, False]
    assert as_root(with_key()).keys[ID1].is_valid_at(datetime(1970, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("dataset", "marketplace", "found"),
    [
        ("hn-1", None, ["a", "b"]),
        ("hn-1", "b", ["b"]),
        ("hn-1", "c", []),
        ("hn-1", "B", []),
        ("hn-1", "unknown", []),
        ("HN-1", None, []),
        ("x-1", None, ["b", "c"]),
        ("x-1", "a", []),
        ("other", None, []),
        ("prefix-hn-1", None, []),
        ("x-", None, ["c"]),
    ],
)
def test_candidates(dataset: str, marketplace: str | None, found: list[str]) -> None:
    scopes = {"b": ["hn-*", "x-?"], "a": ["hn-[0-9]"], "c": ["x-*"], "none": []}
    document = root_document(ONE)
    document["roles"]["marketplace"] = {name: role(ID1, datasets=globs) for name, globs in scopes.items()}
    names = [candidate.marketplace for candidate in as_root(document).candidates(dataset, marketplace)]
    assert names == found


def test_a_root_may_trust_nobody() -> None:
    for roles in ({}, {"marketplace": {}}):
        assert as_root(root_document(ONE, roles=roles)).candidates("hn-1", None) == []


def test_members_and_roles_of_the_future_grant_nothing() -> None:
    document = root_document(ONE, comment="ours", roles={"marketplaces": {"a": role(ID1)}, "auditor": 7})
    document["keys"][ID1]["note"] = {"by": "alice"}
    assert as_root(document).candidates("hn-1", None) == []


# --- refusing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "trust.syntax"),
        (b"{", "trust.syntax"),
        (b"<html>", "trust.syntax"),
        (b'{"_type": 1, "_type": 2}', "trust.syntax"),
        (b'{"expires": NaN}', "trust.syntax"),
        (b" " * (1 << 20) + b"{}", "trust.limit"),
        (b"[" * 50 + b"]" * 50, "trust.limit"),
        (b"[]", "trust.schema"),
        (b"null", "trust.schema"),
        (b"{}", "trust.schema"),
    ],
)
def test_what_is_no_root_is_refused(raw: bytes, code: str) -> None:
    assert [problem.code for problem in refusals(raw)] == [code]


@pytest.mark.parametrize(
    "changes",
    [
        {"_type": "urn:databom:trust-root:v2"},
        {"_type": "root"},
        {"_type": None},
        {"version": 0},
        {"version": -1},
        {"version": True},
        {"version": "1"},
        {"version": 1.0},
        {"version": None},
    ],
)
def test_another_type_or_version_is_refused(changes: dict[str, Any]) -> None:
    (problem,) = refusals(root_document(ONE, **changes))
    assert problem.code == "trust.schema"
    assert problem.subject == f"/{next(iter(changes))}"


def test_a_later_version_is_never_plain() -> None:
    (problem,) = refusals(root_document(ONE, version=2))
    assert (problem.code, problem.subject) == ("trust.schema", "/version")
    assert "unsigned" in (problem.found or "")


def roles(**changes: Any) -> dict[str, Any]:
    return root_document(ONE, roles=changes)


def market(**changes: Any) -> dict[str, Any]:
    return roles(marketplace={"a/b": {**role(ID1, datasets=["*"]), **changes}})


@pytest.mark.parametrize(
    ("document", "where"),
    [
        (root_document(ONE, expires=None), "/expires"),
        (root_document(ONE, expires="2027-01-01"), "/expires"),
        (root_document(ONE, expires="2027-01-01T00:00:00+01:00"), "/expires"),
        (root_document(ONE, expires=1), "/expires"),
        (root_document(keys=None), "/keys"),
        (root_document(keys=[]), "/keys"),
        (root_document(roles=None), "/roles"),
        (root_document(roles=[]), "/roles"),
        (root_document(keys={"k": None}), "/keys/k"),
        (root_document(keys={"k": {}}), "/keys/k/public"),
        (root_document(keys={"k": {"public": 1}}), "/keys/k/public"),
        (with_key(keytype="ecdsa-p256"), f"/keys/{ID1}/keytype"),
        (with_key(keytype="rsa"), f"/keys/{ID1}/keytype"),
        (with_key(keytype=None), f"/keys/{ID1}/keytype"),
        (with_key(development="yes"), f"/keys/{ID1}/development"),
        (with_key(development=None), f"/keys/{ID1}/development"),
        (with_key(valid_from="now"), f"/keys/{ID1}/valid_from"),
        (with_key(valid_until=0), f"/keys/{ID1}/valid_until"),
        (
            with_key(valid_from="2026-01-01T00:00:00Z", valid_until="2026-01-01T00:00:00Z"),
            f"/keys/{ID1}/valid_until",
        ),
        (roles(receipt=None), "/roles/receipt"),
        (roles(receipt={"keyids": [ID1]}), "/roles/receipt/threshold"),
        (roles(receipt={"threshold": 1, "keyids": ID1}), "/roles/receipt/keyids"),
        (roles(receipt=role(ID1, threshold=0)), "/roles/receipt/threshold"),
        (roles(receipt=role(ID1, threshold=-1)), "/roles/receipt/threshold"),
        (roles(receipt=role(ID1, threshold=True)), "/roles/receipt/threshold"),
        (roles(receipt=role(ID1, threshold=1.0)), "/roles/receipt/threshold"),
        (roles(receipt=role(ID1, threshold="1")), "/roles/receipt/threshold"),
        (roles(receipt=role(ID1, threshold=2)), "/roles/receipt/threshold"),
        (roles(receipt=role(ID1, ID1, threshold=2)), "/roles/receipt/threshold"),
        (roles(receipt=role()), "/roles/receipt/threshold"),
        (roles(receipt=role(ID2)), "/roles/receipt/keyids"),
        (roles(steward=role(ID1.upper())), "/roles/steward/keyids"),
        (roles(marketplace=[]), "/roles/marketplace"),
        (roles(marketplace={"a": None}), "/roles/marketplace/a"),
        (market(threshold=2), "/roles/marketplace/a~1b/threshold"),
        (market(keyids=[ID1, ID1], threshold=2), "/roles/marketplace/a~1b/threshold"),
        (market(keyids=[ID2]), "/roles/marketplace/a~1b/keyids"),
        (market(datasets=None), "/roles/marketplace/a~1b/datasets"),
        (market(datasets="hn-*"), "/roles/marketplace/a~1b/datasets"),
        (market(datasets=[1]), "/roles/marketplace/a~1b/datasets"),
    ],
)
def test_a_wrong_member_is_named(document: dict[str, Any], where: str) -> None:
    problems = refusals(document)
    assert {problem.code for problem in problems} == {"trust.schema"}
    assert where in [problem.subject for problem in problems]


def test_an_empty_role_is_no_role() -> None:
    assert [problem.subject for problem in refusals(roles(log={}))] == [
        "/roles/log/keyids",
        "/roles/log/threshold",
    ]


def test_a_key_under_another_id_names_both() -> None:
    (problem,) = refusals(root_document(keys={ID2: entry(ONE.public)}))
    assert problem.code == "trust.schema"
    assert (problem.expected, problem.found) == (ID2, ID1)


def test_a_prefix_of_an_id_is_not_the_id() -> None:
    (problem,) = refusals(root_document(keys={ID1[:16]: entry(ONE.public)}))
    assert problem.found == ID1


@pytest.mark.parametrize(
    "public", ["", "garbage", "\u2028", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"]
)
def test_a_key_that_cannot_be_believed_is_weak(public: str) -> None:
    (problem,) = refusals(root_document(keys={"k": {"keytype": "ed25519", "public": public}}))
    assert (problem.code, problem.subject) == ("trust.weak-key", "k")


def test_one_key_in_two_spellings_is_one_key() -> None:
    spelled = ONE.public.pem().replace("\n", "\r\n")
    twice = {ID1: entry(ONE.public), ID2: {**entry(ONE.public), "public": spelled}}
    (problem,) = refusals(root_document(keys=twice))
    assert (problem.code, problem.subject, problem.found) == ("trust.schema", f"/keys/{ID2}", ID1)


def test_an_id_has_one_spelling_and_one_entry() -> None:
    (problem,) = refusals(root_document(keys={ID1.upper(): entry(ONE.public)}))
    assert (problem.expected, problem.found) == (ID1.upper(), ID1)
    one = json.dumps({ID1: entry(ONE.public)})[1:-1]
    (problem,) = refusals(json.dumps(root_document(keys={})).replace("{}", f"{{{one}, {one}}}", 1).encode())
    assert problem.code == "trust.syntax"


@pytest.mark.parametrize("hidden", ["\u202e", "\u200b", "\n", "\x1b"])
def test_what_a_reviewer_cannot_see_is_refused(hidden: str) -> None:
    for scope in ({f"m{hidden}": role(ID1, datasets=["a"])}, {"m": role(ID1, datasets=[f"a{hidden}*"])}):
        (problem,) = refusals(root_document(ONE, roles={"marketplace": scope}))
        assert problem.code == "trust.schema"
        assert hidden not in repr(problem)


def test_a_low_order_key_is_weak() -> None:
    low = Ed25519PublicKey.from_public_bytes(b"\1" + b"\0" * 31)  # the identity: loads without a word
    pem = low.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    (problem,) = refusals(root_document(keys={"k": {"keytype": "ed25519", "public": pem}}))
    assert problem.code == "trust.weak-key"
    assert "low order" in problem.what


def test_a_private_key_in_the_root_is_refused_and_not_shown() -> None:
    pem = ONE.pem().decode()
    (problem,) = refusals(root_document(keys={ID1: {"keytype": "ed25519", "public": pem}}))
    assert problem.code == "trust.weak-key"
    assert pem.splitlines()[1] not in repr(problem)


def test_everything_wrong_is_said_at_once() -> None:
    document = with_key(keytype="rsa", valid_from="now") | {
        "expires": "never",
        "roles": {"log": role(ID2, threshold=0)},
    }
    assert len(refusals(document)) == 5


@pytest.mark.parametrize("first", EXCLUSIVE_ROLES)
@pytest.mark.parametrize("second", EXCLUSIVE_ROLES)
def test_roles_that_must_be_apart(first: str, second: str) -> None:
    if first == second:
        return
    document = root_document(ONE, TWO, roles={})
    for name in (first, second):
        document["roles"][name] = (
            {"m": role(ID1, datasets=["*"])} if name == "marketplace" else role(ID1, ID2)
        )
    problems = refusals(document)
    assert {problem.code for problem in problems} == {"trust.shared-key"}
    assert ID1 in [problem.subject for problem in problems]
    assert set((problems[0].found or "").split(", ")) == {first, second}


def test_one_key_may_hold_several_of_the_other_roles() -> None:
    free = [name for name in PLAIN_ROLES if name not in EXCLUSIVE_ROLES]
    document = root_document(ONE, roles={name: role(ID1) for name in [*free, "log"]})
    assert set(as_root(document).roles) == {*free, "log"}


def test_one_key_may_speak_for_two_marketplaces() -> None:
    document = root_document(ONE)
    document["roles"]["marketplace"]["other"] = role(ID1, datasets=["*"])
    assert len(as_root(document).candidates("hn-1", None)) == 2


# --- never anything but our errors -----------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
PLACES = [
    tuple(place.split())
    for place in (
        "expires",
        "keys",
        f"keys {ID1}",
        f"keys {ID1} public",
        f"keys {ID1} valid_until",
        "roles",
        "roles log",
        "roles log keyids",
        "roles marketplace",
        "roles marketplace human-native",
        "roles marketplace human-native threshold",
        "roles marketplace human-native datasets",
    )
]


@given(st.sampled_from(PLACES), JSON)
def test_any_value_anywhere(place: tuple[str, ...], value: Any) -> None:
    document = root_document(ONE)
    document["roles"]["log"] = role(ID1)
    inner = document
    for name in place[:-1]:
        inner = inner[name]
    inner[place[-1]] = value
    problems: tuple[Problem, ...] = ()
    try:
        parse_root(json.dumps(document).encode())
    except InputError as error:
        problems = error.problems
    assert all(problem.code.startswith("trust.") for problem in problems)
