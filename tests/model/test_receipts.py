"""A payment receipt: the published schema and the reader agree, and nothing is guessed."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databom.errors import InputError
from databom.model import times
from databom.model.claims import Share
from databom.model.receipts import format_unsigned, read_receipt, read_unsigned, stated_period, sum_of

GOOD: dict[str, Any] = {
    "model": "subscription",
    "transaction_id": "txn_1",
    "payer": "org:team",
    "payee": "creator:alice",
    "paid_at": "2026-01-09T21:00:00Z",
    "amount": {"value": "120.00", "currency": "USD"},
    "period": {"start": "2026-01-01T00:00:00Z", "end": "2027-01-01T00:00:00Z"},
    "allocation": [{"creator_id": "creator:alice", "share": "0.7"}, {"creator_id": "b", "share": "0.3"}],
}


def is_accepted(predicate: Any) -> bool:
    try:
        read_receipt(predicate, form="dsse", file="f", digest="sha256:x")
    except InputError as error:
        codes = {problem.code for problem in error.problems}
    else:
        return True
    assert codes == {"payment.invalid"}
    return False


def schema() -> dict[str, Any]:
    text = resources.files("databom.model").joinpath("schemas/payment-receipt.v1.json").read_text()
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def validator() -> Any:
    from jsonschema import Draft202012Validator, FormatChecker

    formats = FormatChecker(formats=())
    formats.checks("date-time", raises=ValueError)(
        lambda v: not isinstance(v, str) or times.parse(v) is not None
    )
    Draft202012Validator.check_schema(schema())
    return Draft202012Validator(schema(), format_checker=formats)


VALIDATOR = validator()
VALUES = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            1,
            1.5,
            "",
            "x",
            "a\u202eb",
            "x" * 201,
            "0.5",
            "00.5",
            "1e2",
            "-1",
            "0.5\n",
            "USD",
            "usd",
            [],
            {},
        ]
    ),
    st.sampled_from(
        [
            "2026-01-09T21:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-01-09",
            "one-time",
            "royalty",
            "free",
            "barter",
        ]
    ),
    st.sampled_from(
        [[{}], [{"creator_id": "a", "share": "1"}], [{"creator_id": "a", "share": "1", "more": 1}], ["a"]]
    ),
    st.sampled_from([{"value": "1", "currency": "EUR"}, {"value": "1"}, {"start": "2026-01-09T21:00:00Z"}]),
)


@st.composite
def predicates(draw: st.DrawFn) -> dict[str, Any]:
    """A good receipt with a few members exchanged, dropped or added, at any depth."""
    value: dict[str, Any] = json.loads(json.dumps(GOOD))
    for _ in range(draw(st.integers(0, 3))):
        at: Any = value
        path = draw(st.sampled_from([(), ("amount",), ("period",), ("allocation", 0)]))
        for step in path:
            at = (
                at[step]
                if isinstance(at, dict | list) and at and (isinstance(at, list) or step in at)
                else {}
            )
        if not isinstance(at, dict):
            continue
        name = draw(st.sampled_from([*at, "more"]))
        if draw(st.booleans()):
            at.pop(name, None)
        else:
            at[name] = draw(VALUES)
    return value


@given(predicates())
def test_the_schema_and_the_reader_agree(predicate: dict[str, Any]) -> None:
    by_schema = VALIDATOR.is_valid(predicate)
    accepted = is_accepted(predicate)
    if accepted:
        assert by_schema, predicate
    elif by_schema:  # what a schema cannot say
        amount, period = predicate.get("amount"), predicate.get("period")
        odd_currency = amount is not None and amount["currency"] not in {"USD", "EUR"}
        assert odd_currency or (period is not None and period["start"] >= period["end"]), predicate


@pytest.mark.parametrize("path", [(), ("amount",), ("period",), ("allocation", 0)])
def test_a_member_nobody_knows_is_refused_even_if_it_is_null(path: tuple[str | int, ...]) -> None:
    value = json.loads(json.dumps(GOOD))
    at: Any = value
    for step in path:
        at = at[step]
    at["more"] = None
    assert not VALIDATOR.is_valid(value)
    assert not is_accepted(value)


def test_a_good_one_says_all_of_it() -> None:
    receipt = read_receipt(GOOD, form="dsse", file="f", digest="sha256:x")
    assert (receipt.form, receipt.model, receipt.payer) == ("databom", "subscription", "org:team")
    assert receipt.amount is not None
    assert Decimal(receipt.amount.value) == 120
    assert VALIDATOR.is_valid(GOOD)


@pytest.mark.parametrize("value", [None, 1, "x", [], {"resourceUrl": "https://x"}, {1: 2}])
def test_any_predicate_is_read_or_refused(value: Any) -> None:
    assert not is_accepted(value if isinstance(value, dict) else {"model": value})


@given(st.lists(st.decimals(0, 10**18 - 1, places=18, allow_nan=False), max_size=20))
def test_shares_are_added_exactly(parts: list[Decimal]) -> None:
    shares = tuple(Share(creator_id=str(n), share=f"{part:f}") for n, part in enumerate(parts))
    assert Fraction(sum_of(shares)) == sum((Fraction(part) for part in parts), Fraction(0))


@given(st.binary(max_size=200))
def test_any_bytes_are_unsigned_evidence_or_not(raw: bytes) -> None:
    with pytest.raises(InputError) as caught:
        read_unsigned(raw, file="f", digest="sha256:x")
    assert caught.value.problems[0].code == "payment.invalid"


def test_unsigned_evidence_comes_back_as_it_was_written() -> None:
    manifest, source = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    raw = format_unsigned(manifest, source, "transaction", transaction_id="txn", payer="me")
    about, receipt = read_unsigned(raw, file="f", digest="sha256:x")
    assert (about, receipt.transaction_id, receipt.payer, receipt.form) == (manifest, "txn", "me", "unsigned")


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ({"start": "2026-01-01", "end": "2026-01-31"}, "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
        ({"start": "2026-01-01T12:00:00Z"}, "2026-01-01T12:00:00Z", None),
        ({"end": "2026-01-31"}, None, "2026-02-01T00:00:00Z"),
    ],
)
def test_a_stated_period_in_dates_or_times(period: Any, start: str | None, end: str | None) -> None:
    read = stated_period(period)
    assert read is not None
    assert (read.start and times.format(read.start), read.end and times.format(read.end)) == (start, end)


@pytest.mark.parametrize(
    "period", [None, "2026", {}, {"from": "2026-01"}, {"start": 1, "end": []}, {"start": "soon"}]
)
def test_another_form_of_period_is_not_guessed_at(period: Any) -> None:
    assert stated_period(period) is None
