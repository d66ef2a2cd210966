"""May data under these licenses be used so? The decision, with its reasons.

    deny > review > allow

1. Each license alone: `[policy] deny`, then `[policy] allow`, then each right that the use needs (`needs`), by the
   rights table. permit allows; conditional and unknown ask a person; deny refuses.
2. AND is the worst of its parts, OR the best: the licensee chooses, here the branch that allows most and asks least.
3. An exception (WITH) on the SPDX list gives more than the license does and is not counted on; an unknown one asks a
   person. A license nobody knows asks a person. NONE refuses.

Nothing is ever widened: what is not known to be permitted is not permitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum
from typing import NamedTuple, TypeVar

from msgspec import Struct, field

from databom.errors import InputError
from databom.model.config import RIGHTS, Config, Use
from databom.model.expression import NOASSERTION, NONE, Atom, Expression, Joint, parse_expression
from databom.model.rights import VALUES, Terms, Value, own_terms, terms_of
from databom.model.spdx_ids import EXCEPTIONS
from databom.model.text import printable

_T = TypeVar("_T")


class Outcome(IntEnum):
    """What is decided; the larger one wins."""

    ALLOW = 0
    REVIEW = 1
    DENY = 2

    def __str__(self) -> str:
        return self.name.lower()


class Reason(Struct, frozen=True):
    """Why a license alone has its outcome. Texts are safe to print."""

    license: str
    outcome: Outcome
    code: str
    text: str
    right: str | None = None
    clause: str = ""
    note: str = ""

    def __str__(self) -> str:
        where = f" ({_section(self.clause)})" if self.clause else ""
        return f"{self.text}{where}"


class Obligation(Struct, frozen=True):
    """What a license asks in return. `clause` and `url` are "" where they are not known."""

    name: str
    license: str
    clause: str = ""
    url: str = ""


class Decision(Struct, frozen=True):
    """What is decided about an expression, by which of its branches, why, and what is asked in return."""

    outcome: Outcome
    branch: Expression | None
    """What was chosen of the expression; None where it is none."""
    reasons: tuple[Reason, ...] = ()
    """All that keeps it from being allowed; of a denied choice, in every branch."""
    obligations: tuple[Obligation, ...] = ()
    terms: tuple[Terms, ...] = ()
    """The rows that were read for the branch."""


class Rules(Struct, frozen=True):
    """What a project decided that concerns licenses."""

    use: Use
    allow: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()
    own: Mapping[str, Terms] = field(default_factory=dict)

    @classmethod
    def of(cls, config: Config, use: Use | None = None) -> Rules:
        """The rules of a `databom.toml`, for its use or another one."""
        own = own_terms(config.licenses)
        allow, deny = (
            frozenset(_key(parse_expression(one), own) for one in ids)
            for ids in (config.policy.allow, config.policy.deny)
        )
        return cls(use or config.use, allow, deny, own)


class _Need(NamedTuple):
    right: str
    if_denied: Outcome = Outcome.DENY


def needs(use: Use) -> tuple[_Need, ...]:
    """The rights that a use needs. A narrower use never needs a right that a wider one does without."""
    found = [_Need("reproduction")]
    if use.commercial:
        found.append(_Need("commercial_use"))
    if use.purpose in ("train", "fine-tune"):
        found.append(_Need("ai_training"))
        if use.model == "generative":
            found.append(_Need("genai_training"))
        if use.distribute == "weights":
            found.append(_Need("sublicense_model"))
    elif use.purpose == "retrieve" and use.distribute != "none":
        # What is found is shown to others; what is made from it may be an adaptation, or not.
        found += [_Need("redistribution"), _Need("derivatives", Outcome.REVIEW)]
    return tuple(found)


def decide(text: str, rules: Rules) -> Decision:
    """The decision about what a manifest states as its license. Nothing is raised, whatever the text."""
    try:
        expression = parse_expression(text)
    except InputError as error:
        shown = printable(text)
        reason = Reason(shown, Outcome.REVIEW, "license.unknown", error.problems[0].what)
        return Decision(Outcome.REVIEW, None, (reason,), _obligations(None, shown))
    return _decide(expression, rules)


def rating(expression: Expression, right: str, rules: Rules) -> Value:
    """What an expression says of one right: the best of a choice, the worst of what holds together."""
    if isinstance(expression, Atom):
        terms = terms_of(expression.base, rules.own) or terms_of(expression.name, rules.own)
        return "unknown" if terms is None else terms.value(right)
    ranks = [VALUES.index(rating(part, right, rules)) for part in expression.parts]
    return VALUES[min(ranks) if expression.operator == "OR" else max(ranks)]


def _decide(expression: Expression, rules: Rules) -> Decision:
    if isinstance(expression, Atom):
        return _alone(expression, rules)
    parts = [_decide(part, rules) for part in expression.parts]
    if expression.operator == "OR":
        best = min(parts, key=lambda part: (part.outcome, len({one.name for one in part.obligations})))
        if best.outcome is not Outcome.DENY:
            return best
        return Decision(Outcome.DENY, expression, _distinct(one for part in parts for one in part.reasons))
    return Decision(
        outcome=max(part.outcome for part in parts),
        branch=Joint("AND", tuple(part.branch for part in parts if part.branch is not None)),
        reasons=_distinct(one for part in parts for one in part.reasons),
        obligations=_distinct(one for part in parts for one in part.obligations),
        terms=tuple({one.id: one for part in parts for one in part.terms}.values()),
    )


def _alone(atom: Atom, rules: Rules) -> Decision:
    shown = printable(str(atom))
    terms = terms_of(atom.base, rules.own) or terms_of(atom.name, rules.own)
    asked, rows = _obligations(terms, shown), (terms,) if terms else ()
    names = set(_keys(atom, rules.own))

    def no(outcome: Outcome, code: str, text: str) -> Reason:
        return Reason(shown, outcome, code, f"{shown} {text}")

    if names & rules.deny:
        never = no(Outcome.DENY, "license.not-permitted", "is never allowed here, says [policy] deny")
        return Decision(Outcome.DENY, atom, (never,), asked, rows)
    if atom.name == NONE:
        nothing = no(Outcome.DENY, "license.not-permitted", "says that there is no license")
        return Decision(Outcome.DENY, atom, (nothing,))
    if _key(atom, rules.own) in rules.allow:
        return Decision(Outcome.ALLOW, atom, (), asked, rows)
    reasons = list(_by_terms(terms, shown, rules)) if terms else [_without_terms(atom, shown)]
    if atom.exception and atom.exception not in EXCEPTIONS:
        reasons.append(
            no(Outcome.REVIEW, "license.unknown", "has an exception that the SPDX list does not have")
        )
    outcome = max((reason.outcome for reason in reasons), default=Outcome.ALLOW)
    return Decision(outcome, atom, tuple(reasons), asked, rows)


def _without_terms(atom: Atom, shown: str) -> Reason:
    if atom.is_known:
        what = "is an SPDX license that the rights table does not have"
        return Reason(shown, Outcome.REVIEW, "license.review", f"{shown} {what}")
    if atom.name == NOASSERTION:
        what = "says that nobody looked"
    elif atom.is_reference:
        what = "is not defined in databom.toml"
    else:
        what = "is no SPDX license id"
    return Reason(shown, Outcome.REVIEW, "license.unknown", f"{shown} {what}")


_SAYS = {
    "deny": "does not permit {}",
    "conditional": "permits {} only on conditions, which a person has to look at",
    "unknown": "does not say whether it permits {}",
}


def _by_terms(terms: Terms, shown: str, rules: Rules) -> Iterator[Reason]:
    for need in needs(rules.use):
        value = terms.value(need.right)
        if value == "permit":
            continue
        outcome = need.if_denied if value == "deny" else Outcome.REVIEW
        text = f"{shown} {_SAYS[value].format(RIGHTS[need.right])}"
        yield Reason(shown, outcome, _CODES[outcome], text, need.right, terms.clause(need.right), terms.note)
    yield from within(terms.territory, rules.use, f"{shown} holds only in")


def within(countries: tuple[str, ...], use: Use, what: str) -> Iterator[Reason]:
    """Why terms for some countries do not cover a use; nothing when they do. `what` comes before the list."""
    if not countries:
        return
    listed = ", ".join(sorted(countries))
    text = printable(f"{what} {listed if len(listed) <= 120 else f'{len(countries)} countries'}")
    if not use.territory:
        said = f"{text}, and [use] territory does not say where it is used"
        yield Reason("", Outcome.REVIEW, "license.review", said)
    elif outside := sorted(set(use.territory) - set(countries)):
        yield Reason("", Outcome.DENY, "license.not-permitted", f"{text}, and not in {', '.join(outside)}")


_OR_LATER = "-or-later"
_CODES = {Outcome.REVIEW: "license.review", Outcome.DENY: "license.not-permitted"}


def _obligations(terms: Terms | None, shown: str) -> tuple[Obligation, ...]:
    if terms is None:
        # Nobody knows what it asks, so it asks for the least that most licenses do.
        return (Obligation("attribution", shown),)
    return tuple(Obligation(name, shown, clause, terms.url) for name, clause in terms.obligations.items())


def _keys(atom: Atom, own: Mapping[str, Terms]) -> Iterator[str]:
    """The names by which `[policy] deny` can mean a license: itself, any later version of it, any exception to it."""
    yield _key(atom, own)
    yield _key(Atom(atom.name, atom.or_later), own)
    plain = _key(Atom(atom.name), own)
    yield plain
    # The GNU licenses name what others write with a plus.
    if plain.endswith(_OR_LATER):
        yield plain.removesuffix(_OR_LATER) + "-only"


def _key(expression: Expression, own: Mapping[str, Terms]) -> str:
    """One name for all the names of a license."""
    assert isinstance(expression, Atom), "parse_config takes no others"
    terms = terms_of(expression.base, own)
    base = terms.id if terms else expression.base
    return (f"{base} WITH {expression.exception}" if expression.exception else base).casefold()


def _section(clause: str) -> str:
    return f"section {clause}" if clause[:1].isdigit() else clause


def _distinct(items: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(dict.fromkeys(items))
