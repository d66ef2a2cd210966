from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.errors import ConfigError, DatabomError, InputError
from databom.trust.root import Role, parse_draft, parse_root
from databom.trust.root_editing import add_key, draft, new_root, remove_key
from databom.trust.rotation import sign_root
from trust.making import NOW, ed, entry, p256, root, root_document

ONE, TWO, THREE = ed(1), ed(2), p256(3)
ID1, ID2, ID3 = (key.public.keyid for key in (ONE, TWO, THREE))


def test_a_new_root_trusts_nobody_for_a_year() -> None:
    raw = new_root(now=NOW)
    assert raw == new_root(now=NOW)
    assert raw.endswith(b"}\n")
    read = parse_root(raw)
    assert read.expires == NOW + timedelta(days=365)
    assert not read.keys
    assert not read.roles
    assert not read.marketplaces
    assert parse_root(new_root(now=NOW, expires=NOW)).expires == NOW


def test_keys_are_added_one_by_one() -> None:
    raw = add_key(None, ONE.public, role="receipt", development=True, now=NOW)
    raw = add_key(raw, TWO.public, role="marketplace", marketplace="m", datasets=["hn-*"], now=NOW)
    raw = add_key(raw, THREE.public, role="marketplace", marketplace="m", datasets=["hn-*", "x-*"], now=NOW)
    read = parse_root(raw)
    assert read.roles == {"receipt": Role((ID1,), 1)}
    assert read.keys[ID1].development
    assert not read.keys[ID2].development
    (market,) = read.candidates("x-1", "m")
    assert market.keyids == tuple(sorted((ID2, ID3)))
    assert market.datasets == ("hn-*", "x-*")
    assert market.threshold == 1
    assert read.keys[ID2].is_valid_at(datetime(1970, 1, 1, tzinfo=UTC))


def test_adding_twice_changes_nothing() -> None:
    raw = add_key(None, ONE.public, role="marketplace", marketplace="m", datasets=["a", "a"], now=NOW)
    later = NOW + timedelta(days=100)
    assert add_key(raw, ONE.public, role="marketplace", marketplace="m", datasets=["a"], now=later) == raw


def test_other_members_are_preserved() -> None:
    document = root_document(ONE, comment="größe", auditor={"keyids": []})
    document["keys"][ID1] |= {"valid_until": "2026-12-31T00:00:00Z", "note": [1.5, None]}
    document["roles"] |= {"unknown": {"x": 1}}
    document["roles"]["marketplace"]["human-native"]["contact"] = "a@b"
    written = add_key(
        json.dumps(document).encode(),
        TWO.public,
        role="marketplace",
        marketplace="human-native",
        datasets=["hn-*"],
        now=NOW,
    )
    expected = document
    expected["keys"][ID2] = entry(TWO.public, valid_from=None, valid_until=None)
    expected["roles"]["marketplace"]["human-native"]["keyids"].append(ID2)
    assert written.decode() == json.dumps(expected, indent=2, ensure_ascii=False) + "\n"


def test_a_threshold_is_never_lowered() -> None:
    document = root_document(ONE, TWO, threshold=2)
    raw = add_key(
        json.dumps(document).encode(),
        THREE.public,
        role="marketplace",
        marketplace="human-native",
        datasets=["hn-*"],
        now=NOW,
    )
    assert parse_root(raw).marketplaces["human-native"].threshold == 2


def test_a_shared_key_cannot_be_added() -> None:
    raw = add_key(None, ONE.public, role="log", now=NOW)
    with pytest.raises(InputError, match=r"trust\.shared-key"):
        add_key(raw, ONE.public, role="receipt", now=NOW)


@pytest.mark.parametrize("raw", [b"", b"{}", json.dumps(root_document(version=0)).encode()])
def test_only_a_root_is_edited(raw: bytes) -> None:
    with pytest.raises(InputError, match="trust"):
        add_key(raw, ONE.public, role="log", now=NOW)


@pytest.mark.parametrize(
    "arguments",
    [
        {"role": "reciept"},
        {"role": ""},
        {"role": "marketplace"},
        {"role": "marketplace", "marketplace": "m"},
        {"role": "marketplace", "datasets": ["*"]},
        {"role": "marketplace", "marketplace": "", "datasets": ["*"]},
        {"role": "marketplace", "marketplace": "m", "datasets": [""]},
        {"role": "marketplace", "marketplace": "m\u202e", "datasets": ["*"]},
        {"role": "marketplace", "marketplace": "m", "datasets": ["*\n"]},
        {"role": "marketplace", "marketplace": "\udc80", "datasets": ["*"]},
        {"role": "log", "marketplace": "m"},
        {"role": "log", "datasets": ["*"]},
        {"role": "log", "marketplace": "m", "datasets": ["*"]},
    ],
)
def test_what_cannot_be_meant_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        add_key(None, ONE.public, now=NOW, **arguments)
    assert caught.value.hint


# --- thresholds, removing, drafts ------------------------------------------------------------------------


def test_a_threshold_is_set_with_the_key_that_makes_it_possible() -> None:
    raw = add_key(None, ONE.public, role="root", now=NOW)
    raw = add_key(raw, TWO.public, role="root", threshold=2, now=NOW)
    assert parse_root(raw).roles["root"].threshold == 2
    assert (
        parse_root(add_key(raw, TWO.public, role="root", threshold=1, now=NOW)).roles["root"].threshold == 1
    )
    for threshold in (0, -1, 3):
        with pytest.raises(ConfigError, match="cannot sign") as caught:
            add_key(raw, TWO.public, role="root", threshold=threshold, now=NOW)
        assert caught.value.hint


def test_a_key_leaves_every_role() -> None:
    document = root_document(ONE, TWO, comment="ours")
    document["roles"] |= {
        "root": {"keyids": [ID1], "threshold": 1},
        "auditor": {"keyids": [ID2, ID1], "x": 1},
    }
    raw, held, emptied = remove_key(json.dumps(document).encode(), ID1)
    assert held == ("auditor", "marketplace human-native", "root")
    assert emptied == ("root",)
    assert ID1 not in raw.decode()
    assert json.loads(raw)["roles"]["auditor"] == {"keyids": [ID2], "x": 1}
    assert json.loads(raw)["comment"] == "ours"
    last = remove_key(raw, ID2)
    assert last.emptied == ("auditor", "marketplace human-native")
    assert not parse_root(last.raw).marketplaces


@pytest.mark.parametrize("keyid", ["", ID3, ID1[:16], ID1.upper()])
def test_only_a_key_that_is_there_is_removed(keyid: str) -> None:
    with pytest.raises(ConfigError, match="holds no key"):
        remove_key(root(ONE).raw, keyid)


def test_a_role_is_not_left_with_fewer_keys_than_must_sign() -> None:
    with pytest.raises(ConfigError, match="human-native would be left with 1 key, and 2 must sign") as caught:
        remove_key(root(ONE, TWO, threshold=2).raw, ID1)
    assert caught.value.hint


def test_a_draft_is_the_next_version_with_everything_kept() -> None:
    document = root_document(ONE, comment="größe", expires="2026-01-01T00:00:00Z")
    document["roles"] |= {"unknown": {"x": 1}, "root": {"keyids": [ID1], "threshold": 1}}
    first = parse_root(json.dumps(document).encode())
    raw = draft(first, now=NOW)
    assert json.loads(raw) == document | {"version": 2, "expires": "2027-11-23T12:00:00Z"}
    signed = parse_root(sign_root(raw, [ONE]))
    assert json.loads(draft(signed, now=NOW))["version"] == 3


def test_a_draft_is_edited_and_a_signed_root_is_not() -> None:
    raw = add_key(draft(root(ONE), now=NOW), TWO.public, role="root", now=NOW)
    read = parse_draft(raw)
    assert (read.version, read.is_signed, read.roles["root"].keyids) == (2, False, (ID2,))
    with pytest.raises(ConfigError, match="last root key"):
        remove_key(raw, ID2)
    signed = sign_root(raw, [TWO])
    for edit in (lambda: add_key(signed, THREE.public, role="log", now=NOW), lambda: remove_key(signed, ID1)):
        with pytest.raises(ConfigError, match="cannot be edited"):
            edit()


@given(
    st.binary(max_size=60),
    st.text(max_size=5),
    st.text(max_size=5),
    st.lists(st.text(max_size=5), max_size=2),
)
def test_editing_anything(raw: bytes, role: str, marketplace: str, datasets: list[str]) -> None:
    for start in (raw, None, root(ONE).raw):
        for name in (role, "marketplace"):
            with contextlib.suppress(DatabomError):
                add_key(start, THREE.public, role=name, marketplace=marketplace, datasets=datasets, now=NOW)
