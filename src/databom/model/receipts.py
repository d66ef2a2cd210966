"""What a payment receipt says, in whichever of its forms, as frozen data.

| form | what it is | signed by |
|---|---|---|
| `databom` | the predicate of a statement about a manifest, `schemas/payment-receipt.v1.json` | the role `payment` |
| `x402` | the payload of an x402 receipt (offer-and-receipt extension), about a URL | the role `payment` |
| `unsigned` | a transaction id or a pay-per-crawl header, written down by `databom attach` | nobody |

Reading is strict: a receipt with a member that is not known here says something that nobody here understands.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Context
from decimal import Decimal as Number
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from databom.errors import InputError, Problem
from databom.model import currencies, members, strictjson, times
from databom.model.claims import Amount, Count, Hex, Instant, PaymentModel, Share, Text, Uri, instant
from databom.model.text import printable

PREDICATE_TYPE = "urn:databom:payment-receipt:v1"
UNSIGNED_TYPE = "urn:databom:unsigned-payment:v1"
SUBSCRIBED = ("subscription", "royalty")
"""Models under which one agreement pays for the releases of a dataset; under any other, for one release."""

_T = TypeVar("_T", bound=msgspec.Struct)
Form = Literal["databom", "x402", "unsigned"]
_EXACT = Context(prec=60)
"""A share has up to 36 digits; no sum of them is rounded."""
_DO = "ask whoever issued it for another one"


class Period(NamedTuple):
    """From when on, and until before when, a payment counts; None is open."""

    start: datetime | None
    end: datetime | None


class Receipt(NamedTuple):
    """One receipt. None is what it does not say; `digest` is of its file's bytes."""

    form: Form
    file: str
    digest: str
    payer: str | None = None
    payee: str | None = None
    paid_at: datetime | None = None
    model: str | None = None
    transaction_id: str | None = None
    amount: Amount | None = None
    period: Period | None = None
    allocation: tuple[Share, ...] = ()
    resource: str | None = None
    """The URL that was paid for (x402)."""


class _Amount(Amount, frozen=True, forbid_unknown_fields=True):
    pass


class _Share(Share, frozen=True, forbid_unknown_fields=True):
    pass


class _Period(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    start: Instant
    end: Instant


class _Predicate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: PaymentModel
    transaction_id: Text
    payer: Text
    payee: Text
    paid_at: Instant
    amount: _Amount | None = None
    period: _Period | None = None
    allocation: tuple[_Share, ...] = ()


class _X402(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    network: Text
    resourceUrl: Uri  # noqa: N815  # the extension's own name
    payer: Text
    issuedAt: Count  # noqa: N815
    transaction: str | None = None
    version: Literal[1] | None = None


class _Unsigned(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["urn:databom:unsigned-payment:v1"]
    manifest: str
    evidence: Literal["crawler-charged", "transaction"]
    source: Hex
    transaction_id: Text | None = None
    amount: _Amount | None = None
    payer: Text | None = None
    payee: Text | None = None


def read_receipt(predicate: Mapping[str, Any], *, form: str, file: str, digest: str) -> Receipt:
    """A signed receipt: the predicate of a statement (`form` is `dsse`), or the payload of an x402 receipt (`jws`).

    Raises:
        InputError: `payment.invalid`: a member is missing, unknown or of another form; an amount in a currency that
            is none; a model without what it needs; a period that ends before it starts.
    """
    if form == "jws":
        said = _convert(predicate, _X402, file)
        return Receipt(
            "x402",
            file,
            digest,
            payer=said.payer,
            paid_at=_seconds(said.issuedAt, file),
            transaction_id=said.transaction or None,
            resource=said.resourceUrl,
        )
    stated = _convert(predicate, _Predicate, file)
    if stated.amount is None and stated.model not in ("royalty", "free"):
        raise invalid(file, f"a receipt for a {stated.model} payment says how much", "amount", "none")
    if stated.period is None and stated.model == "subscription":
        raise invalid(file, "a receipt for a subscription says for when", "period {start, end}", "none")
    if stated.period is not None and stated.period.start >= stated.period.end:
        raise invalid(file, "the period ends before it starts", "start before end", _span(stated.period))
    if stated.amount is not None and stated.amount.currency not in currencies.CODES:
        raise invalid(file, "the amount is in no currency", currencies.EXPECTED, stated.amount.currency)
    return Receipt(
        "databom",
        file,
        digest,
        payer=stated.payer,
        payee=stated.payee,
        paid_at=stated.paid_at,
        model=stated.model,
        transaction_id=stated.transaction_id,
        amount=stated.amount,
        period=Period(stated.period.start, stated.period.end) if stated.period else None,
        allocation=stated.allocation,
    )


def read_unsigned(raw: bytes, *, file: str, digest: str) -> tuple[str, Receipt]:
    """What `format_unsigned` wrote: the manifest it was attached for, and the evidence.

    Raises:
        InputError: `payment.invalid`: it is not that.
    """
    try:
        value = strictjson.loads(raw, prefix="payment", floats=False)
    except InputError as error:
        raise invalid(file, str(error.problems[0].what), "strict JSON", "something else") from None
    if not isinstance(value, dict):
        raise invalid(file, "this is not unsigned evidence of a payment", "an object", type(value).__name__)
    said = _convert(value, _Unsigned, file)
    receipt = Receipt(
        "unsigned",
        file,
        digest,
        payer=said.payer,
        payee=said.payee,
        transaction_id=said.transaction_id,
        amount=said.amount,
    )
    return said.manifest, receipt


def format_unsigned(
    manifest: str,
    source: str,
    evidence: str,
    *,
    transaction_id: str | None = None,
    amount: Mapping[str, str] | None = None,
    payer: str | None = None,
    payee: str | None = None,
) -> bytes:
    """Unsigned evidence as it is kept: only what counts, so that no cookie or token of a response comes along.

    `source` is the digest of what was handed in, `manifest` that of the pin it was handed in for.

    Raises:
        InputError: `payment.invalid`: a value is not of its form.
    """
    said: dict[str, Any] = {
        "type": UNSIGNED_TYPE,
        "manifest": manifest,
        "evidence": evidence,
        "source": source.removeprefix("sha256:"),
        "transaction_id": transaction_id,
        "amount": amount,
        "payer": payer,
        "payee": payee,
    }
    value = {key: one for key, one in said.items() if one is not None}
    known = _convert(value, _Unsigned, "evidence")
    if known.amount is not None and known.amount.currency not in currencies.CODES:
        raise invalid("evidence", "the amount is in no currency", currencies.EXPECTED, known.amount.currency)
    return (json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n").encode()


def invalid(file: str, what: str, expected: str | None, found: str | None, *, do: str = _DO) -> InputError:
    """A refusal of a receipt: `payment.invalid`."""
    found = None if found is None else printable(found)
    return InputError(Problem("payment.invalid", printable(file), printable(what, 400), expected, found, do))


def sum_of(allocation: tuple[Share, ...]) -> Number:
    """What the shares add up to; 1 is the whole."""
    total = Number(0)
    for one in allocation:
        total = _EXACT.add(total, Number(one.share))
    return total


def stated_period(period: str | Mapping[str, Any] | None) -> Period | None:
    """A manifest's `period`, where it is `{start, end}` in times or dates; None for every other form.

    A date's end is the end of that day.
    """
    if not isinstance(period, Mapping):
        return None
    start, end = _moment(period.get("start")), _moment(period.get("end"))
    whole = timedelta(days=1) if _is_date(period.get("end")) else timedelta(0)
    if start is None and end is None:
        return None
    return Period(start, end + whole if end is not None else None)


def _is_date(value: object) -> bool:
    return isinstance(value, str) and len(value) == len("2026-01-10")


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        return times.parse(f"{value}T00:00:00Z" if _is_date(value) else value)
    except ValueError:
        return None


def _convert(value: Mapping[str, Any], kind: type[_T], file: str) -> _T:
    try:
        # A null in place of an optional member says absent, as in a manifest.
        return msgspec.convert(members.prune(value, kind), kind, strict=True, dec_hook=instant)
    except msgspec.ValidationError as error:
        raise invalid(file, f"the receipt does not fit its form: {error}", None, None) from None


def _seconds(since: int, file: str) -> datetime:
    try:
        return datetime.fromtimestamp(since, UTC)
    except (ValueError, OverflowError, OSError):
        raise invalid(file, "issuedAt is no time", "seconds since 1970", str(since)) from None


def _span(period: _Period) -> str:
    return f"{times.format(period.start)} to {times.format(period.end)}"
