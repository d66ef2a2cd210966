"""Money: what was paid for which release, with which evidence, and how often each release was used. Views, no claims.

Money is a decimal number in a string and an ISO 4217 code; sums are exact. What is only declared is never added to what
a signed receipt shows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Context, Decimal
from typing import Any, Literal, NamedTuple

from msgspec import Struct, to_builtins

from databom.model.affected import Untold
from databom.model.explanation import MISSING, Line, Strength
from databom.model.text import counted

State = Literal["paid", "over", "disputed", "declared", "free", "unpaid", "none", "lost"]
STATES: dict[State, str] = {
    "paid": "a signed receipt holds, and nothing speaks against it",
    "over": "a signed receipt holds, and now is not in the period it paid for",
    "disputed": "a receipt is kept that the manifest, the policy or another payment contradicts",
    "declared": "somebody says so, and no signed receipt shows it",
    "free": "the manifest says that it is free",
    "unpaid": "a payment is stated, and nothing shows that it was made",
    "none": "the manifest states no payment",
    "lost": "the log says that a receipt was attached, and it is not kept any more",
}
SHOWN: tuple[State, ...] = ("paid", "over")
"""What a signed receipt shows: the states whose money was paid."""
_EXACT = Context(prec=120)


class Part(Struct, frozen=True):
    """A creator's part of a payment; `value` is None where no amount is known."""

    creator: str
    share: str
    value: str | None = None


class Payment(Struct, frozen=True):
    """One payment for one release, or that there is none."""

    release: str
    manifest: str
    pins: tuple[str, ...]
    pinned: bool
    state: State
    strength: Strength
    evidence: str
    model: str | None = None
    transaction: str | None = None
    value: str | None = None
    currency: str | None = None
    payer: str | None = None
    payee: str | None = None
    paid_at: str | None = None
    why: tuple[str, ...] = ()
    """Of a disputed one: the codes and words of what speaks against it."""
    index: int | None = None
    """The entry of the log that says that the receipt was attached."""
    parts: tuple[Part, ...] = ()


class Total(Struct, frozen=True):
    """A sum in one currency to one party: what receipts show, and what is only declared."""

    party: str
    """`payee:NAME`, `creator:ID` as the allocation writes it, or `all`."""
    currency: str
    shown: str
    declared: str


class Ledger(Struct, frozen=True):
    """All payments that a project knows of."""

    payments: tuple[Payment, ...]
    totals: tuple[Total, ...]
    untold: tuple[Untold, ...]
    trust: str

    def sentence(self) -> str:
        """One summary sentence."""
        counts = {state: sum(one.state == state for one in self.payments) for state in STATES}
        told = ", ".join(f"{number} {state}" for state, number in counts.items() if number) or "no payment"
        every = [one for one in self.totals if one.party == "all"]
        sums = [f"{one.shown} {one.currency} shown" for one in every if Decimal(one.shown)]
        end = f"; {'; '.join(sums)}" if sums else ""
        return f"ledger: {told}{end}{_ending(self.untold)}"

    def lines(self) -> Iterator[Line]:
        """The ledger line by line."""
        for one in self.payments:
            money = f"{one.value} {one.currency}" if one.value is not None else "no amount"
            said = [one.state, money, one.model, one.transaction]
            said += [f"to {one.payee}" if one.payee else None, one.paid_at, *one.why]
            told = ", ".join(part for part in said if part)
            logged = f"; log entry {one.index}" if one.index is not None else ""
            yield Line("payments", one.release, told, one.strength, f"{one.evidence}{logged}")
        for total in self.totals:
            told = f"{total.shown} {total.currency} shown by receipts, {total.declared} only declared"
            yield Line("totals", total.party, told, "verified", "")
        yield from _untold(self.untold)

    def to_dict(self) -> dict[str, Any]:
        """The ledger as plain JSON values."""
        return {
            "payments": [to_builtins(one) for one in self.payments],
            "totals": [to_builtins(one) for one in self.totals],
            "untold": [to_builtins(one) for one in self.untold],
            "complete": not self.untold,
            "trust": self.trust,
        }


class Use(Struct, frozen=True):
    """How often one release was used, and what is due for that where the price of a use is known."""

    release: str
    manifest: str
    pins: tuple[str, ...]
    model: str | None
    """The payment's: `per-use`, `royalty`, …"""
    used: int
    """Runs that used it, however they ended."""
    completed: int
    """Of those, the runs that completed."""
    possible: int
    """Runs where it was only present. Nothing is due for them."""
    unsigned: int
    """Of those that used it, the runs that no signed receipt tells of: counted apart, nothing is due yet."""
    price: str | None
    currency: str | None
    due: str | None
    """`price` for each run that used it and has a receipt; None where a use has no price."""
    parts: tuple[Part, ...]
    runs: tuple[str, ...]
    strength: Strength
    """`declared` where a receipt that counts was not signed by a key that is believed now."""


class Meter(Struct, frozen=True):
    """The uses of all releases in a time."""

    since: str | None
    until: str | None
    uses: tuple[Use, ...]
    untold: tuple[Untold, ...]
    trust: str

    def sentence(self) -> str:
        """One summary sentence."""
        runs = len({run for use in self.uses for run in use.runs})
        due: dict[str, Decimal] = {}
        for use in self.uses:
            if use.due is not None and use.currency is not None:
                due[use.currency] = add(due.get(use.currency, Decimal(0)), Decimal(use.due))
        sums = "".join(f"; {value:f} {currency} due" for currency, value in sorted(due.items()))
        many = counted(runs, "run")
        return (
            f"meter: {many} used {sum(use.used > 0 for use in self.uses)} of {len(self.uses)} releases{sums}"
            + (_ending(self.untold))
        )

    def lines(self) -> Iterator[Line]:
        """The uses line by line."""
        for one in self.uses:
            told = f"{one.used:,} used it ({one.completed:,} completed)"
            told += f", {one.possible:,} where it was only present" if one.possible else ""
            told += f", {one.unsigned:,} without a receipt" if one.unsigned else ""
            told += f"; {one.model or 'no payment stated'}"
            told += f", {one.price} {one.currency} a use: {one.due} due" if one.due is not None else ""
            yield Line("uses", one.release, told, one.strength, "the signed receipts")
            for part in one.parts:
                value = f", {part.value} {one.currency}" if part.value is not None else ""
                yield Line(
                    "shares", part.creator, f"{part.share} of {one.release}{value}", "declared", one.manifest
                )
        yield from _untold(self.untold)

    def to_dict(self) -> dict[str, Any]:
        """The uses as plain JSON values."""
        return {
            "since": self.since,
            "until": self.until,
            "uses": [to_builtins(one) for one in self.uses],
            "untold": [to_builtins(one) for one in self.untold],
            "complete": not self.untold,
            "trust": self.trust,
        }


def add(one: Decimal, other: Decimal) -> Decimal:
    """An exact sum."""
    return _EXACT.add(one, other)


def times_of(value: str, factor: str | int) -> str:
    """An exact product, as a decimal number without an exponent."""
    return f"{_EXACT.multiply(Decimal(value), Decimal(factor)):f}"


def parts_of(allocation: Iterable[tuple[str, str]], value: str | None) -> tuple[Part, ...]:
    """Who gets which part of an amount; exact, and not rounded to what a currency can pay."""
    return tuple(
        Part(creator, share, times_of(value, share) if value is not None else None)
        for creator, share in allocation
    )


def totals_of(payments: Iterable[Payment]) -> Iterator[Total]:
    """Sums by party and currency; a transaction counts once, and what a receipt shows is not declared as well."""
    sums: dict[tuple[str, str], list[Decimal]] = {}
    seen: dict[str, set[_Counted]] = {}
    summed = [one for one in payments if one.state in (*SHOWN, "declared")]
    for one in sorted(summed, key=lambda one: (_column(one), one.payee is None)):
        if one.value is None or one.currency is None:
            continue
        column = _column(one)
        this = _Counted(column, one.payee, one.currency, Decimal(one.value))
        before = seen.setdefault(one.transaction or one.evidence, set())
        if any(this.is_told_by(other) for other in before):
            continue
        before.add(this)
        parties = [
            ("all", one.value),
            *((f"payee:{one.payee}", one.value) for _ in (one.payee,) if one.payee),
        ]
        parties += [(part.creator, part.value) for part in one.parts if part.value is not None]
        for party, value in parties:
            entry = sums.setdefault((party, one.currency), [Decimal(0), Decimal(0)])
            entry[column] = add(entry[column], Decimal(value))
    for (party, currency), (shown, declared) in sorted(
        sums.items(), key=lambda pair: (pair[0][0] != "all", pair[0])
    ):
        yield Total(party, currency, f"{shown:f}", f"{declared:f}")


class _Counted(NamedTuple):
    """What was counted of one transaction."""

    column: int
    payee: str | None
    currency: str
    value: Decimal

    def is_told_by(self, other: _Counted) -> bool:
        """Whether another one that was counted is this money: a receipt's word stands for what is only declared."""
        is_same = (self.currency, self.value) == (other.currency, other.value)
        is_payee = self.payee == other.payee or None in (self.payee, other.payee)
        return is_payee and (is_same or other.column < self.column)


def _column(one: Payment) -> int:
    """0 for what a receipt shows, 1 for what is only declared."""
    return 0 if one.state in SHOWN and one.strength == "verified" else 1


def _ending(untold: tuple[Untold, ...]) -> str:
    if not untold:
        return ""
    return f"; {counted(len(untold), 'thing')} could not be looked at: unanswered"


def _untold(untold: tuple[Untold, ...]) -> Iterator[Line]:
    for one in untold:
        yield Line("not told", one.about, one.what, MISSING, one.do)
