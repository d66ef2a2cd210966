"""What a manifest states beside its license's name: the terms in words, where, for whom, until when.

Everything here narrows. Usage words are RSL's (`all`, `ai-all`, `ai-train`, `ai-input`, `ai-index`, `search`); the
purposes of `[use]` are understood, too. A list of what is permitted permits nothing else, and a word that nobody knows
permits nothing; among what is prohibited it asks a person.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from databom.checks.deciding import Outcome, Reason, Rules, rating, within
from databom.model import times
from databom.model.config import Use
from databom.model.countries import CODES, countries
from databom.model.expression import Expression, atoms
from databom.model.finding import Finding, Severity
from databom.model.manifest import License
from databom.model.rights import terms_of
from databom.model.rsl import words_in
from databom.model.text import printable

_EVERY = frozenset({"train", "fine-tune", "evaluate", "retrieve"})
_TRAINING = frozenset({"train", "fine-tune"})
_INPUT = frozenset({"evaluate", "retrieve"})
USAGES: dict[str, frozenset[str]] = {
    "all": _EVERY,
    "ai-all": _EVERY,
    "ai-train": _TRAINING,
    "train-ai": _TRAINING,
    "ai-train-generative": _TRAINING,
    "data-mining": _TRAINING,
    "ai-input": _INPUT,
    "ai-index": frozenset(),
    "search": frozenset(),
    **{purpose: frozenset({purpose}) for purpose in _EVERY},
}
"""The purposes of `[use]` that each usage word covers."""
_OF_SIGNALS = frozenset({"ai-train-generative", "data-mining"})
"""Words for what signals refuse. Among what is permitted they would say more than RSL does."""
_PASSING_ON = frozenset({"redistribute", "redistribution", "resale"})
_PLAIN = frozenset(
    (
        *(
            "commercial",
            "open",
            "open-data",
            "open-source",
            "public-domain",
            "permissive",
            "royalty-free",
            "standard",
        ),
        *(
            "proprietary",
            "custom",
            "exclusive",
            "non-exclusive",
            "free",
            "paid",
            "subscription",
            "one-time",
            "per-use",
        ),
        *("royalty", "licensed"),
    )
)
"""Types that say nothing against a use."""
_NOT_COMMERCIAL = frozenset({"non-commercial", "noncommercial", "nc"})
_NARROWER = frozenset(
    (
        *("research", "research-only", "academic", "academic-only", "education", "educational", "personal"),
        *("non-commercial-research", "evaluation", "evaluation-only", "trial", "editorial"),
    )
)
"""Types that allow no commercial use, and of another one only a part that `[use]` cannot name."""


def covers(word: str, use: Use) -> bool:
    """Whether a usage word speaks about a use; an unknown one about none."""
    if word in _PASSING_ON:
        return use.purpose == "retrieve" and use.distribute != "none"
    return use.purpose in USAGES.get(word, ())


def by_type(terms: License, use: Use) -> Iterator[Reason]:
    """What `license.type` refuses, or leaves to a person."""
    kind = (terms.type or "").strip().casefold().replace(" ", "-").replace("_", "-")
    if not kind or kind in _PLAIN:
        return
    stated = f"license.type {printable(terms.type or '', 80)!r}"
    if kind in _NOT_COMMERCIAL | _NARROWER and use.commercial:
        yield _no(f"{stated} does not permit commercial use", "commercial_use")
    elif kind in _NARROWER:
        yield _ask(f"{stated} permits less than all non-commercial use, and [use] cannot say which")
    elif kind not in _NOT_COMMERCIAL:
        yield _ask(f"{stated} is a word that databom does not know")


def by_words(
    permits: tuple[str, ...],
    prohibits: tuple[str, ...],
    user: tuple[str, ...],
    geo: tuple[str, ...],
    use: Use,
    where: str = "license.",
) -> Iterator[Reason]:
    """What lists of RSL's words refuse, or leave to a person. An empty list says nothing."""
    allowed, refused, users = map(_words, (permits, prohibits, user))
    if allowed and not any(covers(word, use) for word in allowed if word not in _OF_SIGNALS):
        yield _no(f"{where}permits does not have the use {use.purpose!r}: {_listed(allowed)}")
    for word in refused:
        if word not in USAGES and word not in _PASSING_ON:
            yield _ask(f"{where}prohibits {printable(word, 80)!r}, a word that databom does not know")
        elif covers(word, use):
            yield _no(f"{where}prohibits {word!r}, and the use is {use.purpose!r}")
    if users and use.commercial and "commercial" not in users:
        yield _no(f"{where}user does not have commercial users: {_listed(users)}", "commercial_use")
    elif users and not use.commercial and "non-commercial" not in users:
        yield _ask(
            f"{where}user has only some users, and [use] cannot say whether this is one: {_listed(users)}"
        )
    if places := _words(geo):
        covered = frozenset[str]().union(*map(countries, places))
        if not covered:
            yield _ask(f"{where}geo names no place that databom knows: {_listed(places)}")
        elif covered != CODES:
            yield from within(tuple(covered), use, f"{where}geo permits use in")


def check_dates(terms: License, release: str, now: datetime) -> Iterator[Finding]:
    """`license.expired`: it holds no longer, or not yet."""
    begin, end = terms.valid_from, terms.valid_until
    if end is not None and now >= end:
        what, expected = "the license holds no longer", f"used before {times.format(end)}"
        do = "buy or ask for a new one; until then the data must not be used"
    elif begin is not None and now < begin:
        what, expected = "the license does not hold yet", f"used from {times.format(begin)}"
        do = "wait until it does, or ask the marketplace for a license that does"
    else:
        return
    yield Finding("license.expired", Severity.BLOCK, release, what, expected, times.format(now), do)


def contradictions(terms: License, expression: Expression | None, rules: Rules) -> Iterator[str]:
    """What the stated terms say against each other or against the license's text, each in a sentence."""
    if terms.valid_from and terms.valid_until and terms.valid_from >= terms.valid_until:
        yield "license.valid_from is not before license.valid_until"
    both = set(_words(terms.permits)) & set(_words(terms.prohibits))
    for word in sorted(both):
        yield f"license.permits and license.prohibits both have {printable(word, 80)!r}"
    kind = (terms.type or "").strip().casefold()
    users = _words(terms.user)
    if kind == "commercial" and users and "commercial" not in users:
        yield "license.type is 'commercial', and license.user has no commercial users"
    if expression is None:
        return
    if kind == "commercial" and rating(expression, "commercial_use", rules) == "deny":
        yield f"license.type is 'commercial', and {printable(str(expression))} permits no commercial use"
    if "commercial" in users and rating(expression, "commercial_use", rules) == "deny":
        yield f"license.user has commercial users, and {printable(str(expression))} permits no commercial use"
    rows = [terms_of(atom.base, rules.own) or terms_of(atom.name, rules.own) for atom in atoms(expression)]
    said = {row.revocable[0] if row else "unknown" for row in rows}
    if terms.revocable and said <= {"no", "on-breach"}:
        yield f"license.revocable is true, and {printable(str(expression))} cannot be taken back"
    if terms.revocable is False and said == {"yes"}:
        yield f"license.revocable is false, and {printable(str(expression))} can be taken back"


def _words(listed: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.casefold() for item in listed for word in words_in(item)))


def _listed(words: tuple[str, ...]) -> str:
    return printable(", ".join(words), 120)


def _no(text: str, right: str | None = None) -> Reason:
    return Reason("", Outcome.DENY, "license.not-permitted", text, right)


def _ask(text: str) -> Reason:
    return Reason("", Outcome.REVIEW, "license.review", text)
