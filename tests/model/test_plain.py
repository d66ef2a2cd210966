"""The quick way to read a manifest: what it reads, the close way reads alike, and it reads most."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from databom.errors import InputError
from databom.model import listings as listing
from databom.model import manifest as reading
from databom.model import strictjson
from support.manifests import CAT, EXAMPLE, FULL, dump

PLAIN = {
    **EXAMPLE,
    "assets": [{"path": f"a:b/{n}".replace(":", "-"), "sha256": CAT, "size": n} for n in range(40)],
}
BASES = [EXAMPLE, FULL, PLAIN, {**PLAIN, "unknown": {"x": [{"y": "a:b"}, {}, True, -0, None]}}]
FRAGMENTS = [
    *(
        '"size":1,',
        '"size":1.0',
        '"size":1e3',
        "null",
        "{}",
        "[]",
        '""',
        '"\\u0073ize":4,',
        ":",
        ",",
        "}",
        "{",
    ),
    *(
        '"@context":1,',
        '"x":[{"a":1},{"a":2}],',
        '"x":1.5,',
        '"x":9007199254740992,',
        "\\",
        '"',
        "-0",
        "},{",
        "]",
    ),
    *('"x":"\\ud800",', '"x":"\\\\",', '"x":"{[:]}",', " ", "\n", "1", "\u202e", '"x":NaN,', '"flags":[],'),
]


def held_together(raw: bytes) -> bool:
    """Whether the quick way reads it; then the close way must read the same."""
    plain = reading._read_plain(raw)
    if plain is not None:
        close = reading._read_closely(raw)
        assert replace(plain, assets=()) == replace(close, assets=())
        assert list(plain.assets) == list(close.assets)
        assert list(listing.in_order(plain.assets)) == list(listing.in_order(close.assets))
    return plain is not None


@pytest.mark.parametrize("base", BASES, ids=range(len(BASES)))
@pytest.mark.parametrize(
    "spelling", [{"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}], ids=str
)
def test_ordinary_manifests_are_plain(base: dict[str, Any], spelling: dict[str, Any]) -> None:
    assert held_together(json.dumps(base, **spelling).encode())


@pytest.mark.parametrize(
    "member",
    [{"new": 1}, {"license": None}, {"flags": []}, {"redacted_from": {"sha256": CAT, "new": 1}}],
    ids=str,
)
def test_what_counting_cannot_prove_is_read_closely(member: dict[str, Any]) -> None:
    document = copy.deepcopy(PLAIN)
    document["assets"][7].update(member)
    assert not held_together(dump(document))
    assert reading.read_manifest(dump(document)).dataset_id == EXAMPLE["dataset_id"]


@pytest.mark.parametrize("number", ["7.0", "7e0", "1E3", "9007199254740992", "-1", "7.5"])
@pytest.mark.parametrize("member", ['"size": 7', '"new": 7'])
def test_numbers_that_are_no_small_integers_are_never_plain(member: str, number: str) -> None:
    raw = json.dumps({**PLAIN, "new": 7}).replace(member, member.replace("7", number), 1).encode()
    assert held_together(raw.replace(number.encode(), b"7"))
    if (member, number) != ('"new": 7', "-1"):
        assert reading._read_plain(raw) is None
        with pytest.raises(InputError):
            reading.read_manifest(raw)


@settings(max_examples=1_000)
@given(
    st.sampled_from(BASES),
    st.lists(st.tuples(st.integers(0, 6_000), st.integers(0, 12), st.sampled_from(FRAGMENTS)), max_size=3),
    st.booleans(),
)
def test_whatever_is_read_quickly_is_read_alike(
    base: dict[str, Any], changes: list[tuple[int, int, str]], long: bool
) -> None:
    raw = dump(base)
    for far, width, fragment in changes:
        place = far % len(raw)
        raw = raw[:place] + fragment.encode("utf-8", "surrogatepass") + raw[place + width :]
    few, part, cut = listing.FEW, listing.PART, reading._LONG
    if long:
        listing.FEW = listing.PART = 2
        reading._LONG = 8
    try:
        held_together(raw)
    except InputError as error:
        pytest.fail(f"the close way refuses what the quick way reads: {error}")
    finally:
        listing.FEW, listing.PART, reading._LONG = few, part, cut


@pytest.mark.parametrize("place", ["before", "after", "in a list", "twice", "unknown"])
@pytest.mark.parametrize("new", [{}, {"new": 1}, {"size": 1.5}, {"@context": "x"}], ids=str)
def test_a_list_that_stands_twice_is_read_alike(place: str, new: dict[str, Any]) -> None:
    """The assets are cut out to read what is around them; the wrong ones may be found."""
    assets = [*PLAIN["assets"], {**PLAIN["assets"][0], "path": "z", **new}]
    rest = {key: value for key, value in EXAMPLE.items() if key not in {"assets", "provenance"}}
    text = json.dumps(assets, separators=(",", ":"))
    mine, other = f'"assets":{text}', f'"provenance":{{"x":{text}}}'
    members = {
        "before": [other, mine],
        "after": [mine, other],
        "in a list": [f'"provenance":{{"x":[{text},{text}]}}', mine],
        "twice": [mine, mine],
        "unknown": [f'"x":{text}', mine],
    }[place]
    raw = f"{json.dumps(rest)[:-1]},{','.join(members)}}}".encode()
    try:
        held_together(raw)
    except InputError as error:
        pytest.fail(f"the close way refuses what the quick way reads: {error}")
    if place == "twice":
        with pytest.raises(InputError):
            reading.read_manifest(raw)


def test_a_document_that_is_nested_without_end_is_refused_and_nothing_else() -> None:
    for inside in (b"[" * 200_000, b'{"a":' * 200_000, b"[" * 200_000 + b"]" * 200_000):
        for raw in (b'{"x":' + inside, b'{"assets":' + inside, b'{"assets":[{"path":"a","x":' + inside):
            with pytest.raises(InputError):
                reading.read_manifest(raw)


def test_flipped_bits_are_read_alike() -> None:
    raw = dump({**PLAIN, "assets": PLAIN["assets"][:3]})
    read = 0
    for place in range(len(raw)):
        for bit in range(8):
            read += held_together(raw[:place] + bytes([raw[place] ^ (1 << bit)]) + raw[place + 1 :])
    assert read > 0


@pytest.mark.parametrize(
    ("raw", "count"),
    [
        (b"{}", 0),
        (b'{"a":1}', 1),
        (b'{"a":{"a":[{"b":1},{"b":"x:y"}]}, "a" : 2}', 5),
        (rb'{"\":":1,"a\\":":","\\\\":"\""}', 3),
        (b'["a:","b:",":"]', 0),
        (rb'{"a":"\ud800"}', None),
    ],
)
def test_members_are_counted_with_those_that_repeat(raw: bytes, count: int | None) -> None:
    assert strictjson.count_members(raw) == count


@given(
    st.lists(st.sampled_from([*FRAGMENTS, "\\\\", '\\"', "é", '"a":"b"', "[[", "]]"]), max_size=30).map(
        "".join
    ),
    st.integers(1, 9),
    st.integers(1, 12),
)
def test_where_windows_end_shows_nowhere(text: str, window: int, most: int) -> None:
    def seen() -> list[object]:
        answers: list[object] = []
        for raw in (text.encode(), text.encode()[:-1]):  # the second may end within a character
            for read in (strictjson.count_members, strictjson.loads):
                try:
                    answers.append(read(raw, max_string=most))
                except InputError as error:
                    answers.append(error.problems)
        return answers

    at_once = seen()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strictjson, "_WINDOW", window)
        assert seen() == at_once


@given(st.text(alphabet='a"\\[é', max_size=40), st.integers(1, 12))
def test_no_long_string_is_overlooked(text: str, most: int) -> None:
    raw = json.dumps({"": text}, ensure_ascii=False).encode()
    if len(text) > most:
        assert strictjson.count_members(raw, max_string=most) is None


def test_a_long_string_takes_a_closer_look() -> None:
    raw = b'{"a":"%b"}' % (b"x" * 100)
    assert strictjson.count_members(raw, max_string=200) == 1
    assert strictjson.count_members(raw, max_string=50) is None
