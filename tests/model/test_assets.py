"""Long lists of assets: the same answers as short ones, in a fraction of the memory."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from databom.errors import InputError
from databom.model import listings as listing
from databom.model.manifest import Manifest, read_manifest
from support.manifests import CAT, EXAMPLE, FULL, dump

SPELLINGS: list[dict[str, Any]] = [
    {"separators": (",", ":")},
    {"indent": 2},
    {"indent": "\t", "ensure_ascii": False},
    {"separators": (" \r\n ,  ", " : ")},
]


@pytest.fixture(autouse=True)
def short_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists of three are long, and their parts have two assets."""
    monkeypatch.setattr(listing, "PART", 2)
    monkeypatch.setattr(listing, "FEW", 2)


def long_one(count: int = 7, **changes: Any) -> dict[str, Any]:
    rows = [{"path": f"{n:03}/é {{[,]}}.jpg", "sha256": CAT, "size": n} for n in range(count)]
    rows[2].update(FULL["assets"][0], path="x{", consent='a"},{"b')
    return {**FULL, "assets": rows, **changes}


def plain_one(count: int) -> dict[str, Any]:
    return {**EXAMPLE, "assets": [{"path": f"{n:03}", "sha256": CAT, "size": n} for n in range(count)]}


def decoded(document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Manifest:
    with monkeypatch.context() as patch:
        patch.setattr(listing, "FEW", 1_000)
        return read_manifest(dump(document))


@pytest.mark.parametrize("spelling", SPELLINGS, ids=str)
@pytest.mark.parametrize("count", [3, 4, 7])
def test_a_long_list_is_that_of_a_short_one(
    spelling: dict[str, Any], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = long_one(count)
    short = decoded(document, monkeypatch)
    long = read_manifest(json.dumps(document, **spelling).encode())
    assert isinstance(long.assets, listing.Encoded)
    assert isinstance(short.assets, tuple)
    assert tuple(long.assets) == short.assets
    assert (len(long.assets), long.tree, long.total_bytes) == (count, short.tree, short.total_bytes)
    assert max(map(len, listing.parts_of(long.assets))) == 2
    assert list(listing.in_order(long.assets)) == list(listing.in_order(short.assets))
    for index in (0, count - 1, -1, -count):
        assert long.assets[index] == short.assets[index]
    for part in (slice(None), slice(1, 3), slice(None, None, -2), slice(5, 1)):
        assert long.assets[part] == short.assets[part]
    with pytest.raises(IndexError):
        long.assets[count]


def test_an_absent_member_may_be_null_in_a_long_list(monkeypatch: pytest.MonkeyPatch) -> None:
    document = long_one()
    document["assets"][4].update(flags=None, license=None)
    read = read_manifest(dump(document))
    assert tuple(read.assets) == decoded(document, monkeypatch).assets
    assert read.unknown == ()
    assert isinstance(read.assets, listing.Encoded)
    assert not read.assets.is_verbatim


def test_a_part_is_a_list_and_is_handed_over_decoded() -> None:
    read = read_manifest(dump(long_one()))
    assert isinstance(read.assets, listing.Encoded)
    parts = read.assets.small_parts(1_000)
    assert parts is not None
    assert [asset for part in parts for asset in part] == list(read.assets)
    assert [len(part) for part in parts] == [2, 2, 2, 1]
    assert (parts[0][1], parts[0][-1:]) == (read.assets[1], (read.assets[1],))
    sent = pickle.loads(pickle.dumps(parts[1]))
    assert sent == tuple(parts[1])


@pytest.mark.parametrize("change", [{"size": 1_001}, {"size": None}, {"path": "zzz"}], ids=str)
def test_a_list_is_planned_as_a_whole_where_one_part_is_not_like_the_others(change: dict[str, Any]) -> None:
    document = long_one()
    document["assets"][0].update(change)
    document["assets"][0] = {key: value for key, value in document["assets"][0].items() if value is not None}
    read = read_manifest(dump(document))
    assert isinstance(read.assets, listing.Encoded)
    assert read.assets.small_parts(1_000) is None


def test_nobody_is_told_of_a_list_with_an_asset_that_is_described_at_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What it takes to decode a part is bounded before anything was checked."""
    monkeypatch.setattr(listing, "MOST_BYTES", 1_000)
    told: list[object] = []
    document = plain_one(7)
    assert read_manifest(dump(document), meanwhile=told.append).assets is told[-1]
    document["assets"][5]["flags"] = [f"flag {n}" for n in range(100)]
    told.clear()
    read = read_manifest(dump(document), meanwhile=told.append)
    assert told == []
    assert tuple(read.assets) == decoded(document, monkeypatch).assets


def test_a_list_just_beyond_few_is_told_of_too(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    for count in (2, 3, 4):
        read = read_manifest(dump(plain_one(count)), meanwhile=told.append)
        assert read.assets is told[-1]
        assert isinstance(read.assets, tuple) == (count == 2)


@pytest.mark.parametrize("order", ["sorted", "reversed"])
def test_the_tree_does_not_depend_on_the_order(order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    document = long_one()
    document["assets"].sort(key=lambda asset: asset["path"], reverse=order == "reversed")
    assert read_manifest(dump(document)).tree == decoded(long_one(), monkeypatch).tree


BAD = st.sampled_from(
    [
        1,
        "x",
        [],
        {},
        {"path": "a"},
        {"path": "../a", "sha256": CAT},
        {"path": "X{", "sha256": CAT},
        {"path": "x{/y", "sha256": CAT},
        {"path": "a", "sha256": CAT.upper()},
        {"path": "a", "sha256": CAT, "size": -1},
        {"path": "a", "sha256": CAT, "size": 2**53 - 1},
        {"path": "a", "sha256": CAT, "flags": ["\u202e"]},
        {"path": "a", "sha256": CAT, "x": {"y": [{}]}},
        None,
        {"path": "b", "sha256": CAT},
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), BAD), max_size=2))
def test_a_long_list_is_refused_as_a_short_one_is(changes: list[tuple[int, Any]]) -> None:
    document = copy.deepcopy(long_one())
    for at, value in changes:
        document["assets"][at] = value
    raw = dump(document)

    def answer() -> object:
        try:
            read = read_manifest(raw)
        except InputError as error:
            return error.problems
        return (tuple(read.assets), read.tree, read.total_bytes, read.unknown)

    long = answer()
    few, listing.FEW = listing.FEW, 1_000
    try:
        assert long == answer()
    finally:
        listing.FEW = few


def test_a_list_of_two_is_kept_decoded() -> None:
    assert isinstance(read_manifest(dump(EXAMPLE)).assets, tuple)
