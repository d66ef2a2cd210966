"""What an approval or a waiver may say: the reader and the published schemas agree, and nothing else escapes."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.errors import InputError
from databom.model.approvals import parse_approval, parse_waiver

APPROVAL = {
    "policy": "sha256:" + "0" * 64,
    "role": "legal",
    "settles": [{"code": "license.review", "subject": "risk"}],
    "reason": "read on Monday",
    "expires_at": "2027-01-01T00:00:00Z",
}
WAIVER = {
    "waives": "illustration",
    "assets": ["sha256:" + "1" * 64],
    "reason": "drawn",
    "expires_at": "2027-01-01T00:00:00Z",
}
CASES = [(parse_approval, "approval", APPROVAL), (parse_waiver, "waiver", WAIVER)]


def schema(name: str) -> dict[str, Any]:
    return json.loads((files("databom.model") / "schemas" / f"{name}.v1.json").read_text())


def is_read(parse: Any, value: Any) -> bool:
    try:
        parse(value, file="f")
    except InputError as error:
        return {problem.code for problem in error.problems} != {"approval.invalid"}
    return True


@pytest.mark.parametrize(("parse", "name", "good"), CASES)
def test_good_ones_are_read_and_the_schema_agrees(parse: Any, name: str, good: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))
    jsonschema.validate(good, schema(name))
    assert is_read(parse, good)


@pytest.mark.parametrize(
    ("parse", "good", "typo", "nearest"),
    [
        (parse_approval, APPROVAL, "expires", "`expires_at`"),
        (parse_approval, APPROVAL, "settle", "`settles`"),
        (parse_waiver, WAIVER, "asset", "`assets`"),
        (parse_waiver, WAIVER, "polic", "`policy`"),
    ],
)
def test_a_member_that_is_not_known_is_refused_and_the_nearest_named(
    parse: Any, good: dict[str, Any], typo: str, nearest: str
) -> None:
    with pytest.raises(InputError, match=f"did you mean {nearest}"):
        parse({**good, typo: "x"}, file="f")


WRONG = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=5),
    st.lists(st.text(max_size=3), max_size=2),
    st.sampled_from(
        [
            "",
            "sha256:" + "0" * 63,
            "SHA256:" + "0" * 64,
            "2027-01-01",
            "2027-13-01T00:00:00Z",
            "boss",
            "unscanned:",
            "unscanned:image/png",
            "unscanned:image/*",
            [],
            [{"code": "license.review"}],
            [{"code": "license.review", "subject": None}],
            [{"code": "no code", "subject": None}],
            [{"code": "license.review", "subject": "a", "more": 1}],
        ]
    ),
)


@pytest.mark.parametrize(("parse", "name", "good"), CASES)
@given(data=st.data())
def test_reader_and_schema_refuse_the_same(parse: Any, name: str, good: dict[str, Any], data: Any) -> None:
    member = data.draw(st.sampled_from([*good, "policy", "more"]))
    changed = {**good, member: data.draw(WRONG)}
    if data.draw(st.booleans()):
        changed.pop(data.draw(st.sampled_from(sorted(good))), None)
    accepted = jsonschema.Draft202012Validator(schema(name)).is_valid(changed)
    if changed.get("expires_at") == "2027-13-01T00:00:00Z":  # a schema knows no calendar
        accepted = False
    assert is_read(parse, changed) == accepted


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=2),
            max_leaves=3,
        ),
        max_size=4,
    )
)
def test_nothing_else_escapes(value: dict[str, Any]) -> None:
    assert not is_read(parse_approval, value)
    assert not is_read(parse_waiver, value)
