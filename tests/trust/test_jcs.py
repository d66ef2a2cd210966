from __future__ import annotations

import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from databom.errors import InputError
from databom.trust.jcs import canonical
from trust.making import VECTORS

CASES = sorted((VECTORS / "jcs-rfc8785" / "input").glob("*.json"))
INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


def test_there_are_six_vectors() -> None:
    assert len(CASES) == 6


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_vector(case) -> None:
    expected = (VECTORS / "jcs-rfc8785" / "output" / case.name).read_bytes()
    assert canonical(json.loads(case.read_bytes())) == expected


@given(VALUES)
def test_both_ways_of_writing_are_one(value) -> None:
    # Values without floats and with ASCII names take the fast way; rfc8785 is the reference for all.
    assert canonical(value) == rfc8785.dumps(value)


@given(VALUES)
def test_canonical_form_is_a_fixed_point(value) -> None:
    once = canonical(value)
    # ECMAScript has one kind of number: read without a decimal point, 2**53 is still the float it was.
    assert canonical(json.loads(once, parse_int=float)) == once


def test_names_are_sorted_by_utf16_code_units() -> None:
    # U+1F600 begins with the code unit D83D, before U+FB33; by code point it would come after.
    assert canonical({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()


def endless() -> list[object]:
    loop: list[object] = []
    loop.append(loop)
    return loop


def deep(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        {"a": [-float("inf")]},
        2**53,
        -(2**53),
        10**5000,
        "\ud800",
        {"\udfff": 1},
        {"\udfff": 1.5},
        {1: 2},
        {b"a": 1},
        {("a",): 1},
        b"bytes",
        {1, 2},
        object(),
        endless(),
        deep(100_000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_canonical_form_is_refused(value) -> None:
    with pytest.raises(InputError) as caught:
        canonical(value)
    (problem,) = caught.value.problems
    assert problem.code == "manifest.syntax"
    assert "RFC 8785" in problem.what
    assert problem.do


def test_the_largest_integers_and_deep_values_have_one() -> None:
    assert canonical([2**53 - 1, -(2**53) + 1]) == b"[9007199254740991,-9007199254740991]"
    assert canonical(deep(100)) == b"[" * 100 + b"1" + b"]" * 100


def test_the_value_is_left_as_it_was() -> None:
    value = {"b": [1, {"z": 1, "a": 2}], "a": 0}
    canonical(value)
    assert list(value) == ["b", "a"]
    assert list(value["b"][1]) == ["z", "a"]
