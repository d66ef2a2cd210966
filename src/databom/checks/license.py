"""Does the license allow the intended use?

Asked in this order; everything narrows, nothing widens:

1. is a license stated, and does it hold today (`license.missing`, `license.expired`);
2. the expression against `[use]` and `[policy]` (`deciding`), and the terms stated beside it (`terms`);
3. each license that assets state for themselves, once, with how many assets there are;
4. what the parts say against each other, and what signals of others say against the license (`license.contradiction`).

A permitted license yields no finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from databom.checks.deciding import Decision, Obligation, Outcome, Reason, Rules, decide, rating
from databom.checks.signalling import by_signals
from databom.checks.stated import check_stated
from databom.checks.terms import by_type, by_words, check_dates, contradictions
from databom.model.assets import TOO_MANY
from databom.model.config import RIGHTS, Config, Use
from databom.model.expression import Expression, parse_expression
from databom.model.finding import Finding, Severity
from databom.model.manifest import Manifest
from databom.model.text import printable

MOST_LISTED = 50
"""Licenses of assets that findings are written about, one by one."""
STATED = "the manifest"
"""Stands for a license in an obligation that the manifest itself states."""
_DO = {
    "license.not-permitted": "use another release, or buy a license that permits this; "
    "where [use] says what is not so, correct it",
    "license.review": "whoever may accept a license looks at it and approves it; "
    "databom license explain shows what was read",
    "license.unknown": "ask the marketplace which license this is; "
    'one of its own can be defined in databom.toml, as [license."LicenseRef-…"]',
    "license.contradiction": "ask the marketplace which of the two holds; "
    "until it says so in a new release, whoever may accept a license decides",
}


def check_license(manifest: Manifest, config: Config, now: datetime) -> Iterator[Finding]:
    """`license.*`: every license of the release against `[use]` and `[policy]`."""
    rules, terms = Rules.of(config), manifest.license
    release, stated = manifest.release, terms.spdx or ""
    yield from check_stated(manifest)
    yield from check_dates(terms, release, now)
    decision = decide(stated, rules) if stated.strip() else Decision(Outcome.DENY, None)
    reasons = [*decision.reasons, *by_type(terms, rules.use)]
    reasons += by_words(terms.permits, terms.prohibits, terms.user, terms.geo, rules.use)
    against = list(contradictions(terms, _expression(stated), rules))
    if all(reason.outcome is not Outcome.DENY for reason in reasons):
        signals = list(by_signals(manifest, rules.use))
        reasons += (one for one in signals if one.code != "license.contradiction")
        against += (one.text for one in signals if one.code == "license.contradiction")
    yield from _findings(release, reasons, stated, rules.use)
    yield from _of_assets(manifest, rules, against)
    for what in against:
        code = "license.contradiction"
        yield Finding(code, Severity.BLOCK, release, what, found=printable(stated) or None, do=_DO[code])


def obligations(manifest: Manifest, config: Config) -> tuple[Obligation, ...]:
    """What the licenses of a release ask in return for the use of `[use]`, each once, those of the release first.

    Of a choice, what the branch asks that was decided by. Of a license nobody knows, attribution.
    """
    rules = Rules.of(config)
    texts = [manifest.license.spdx or "", *sorted(manifest.own_licenses)]
    found = [one for text in texts if text.strip() for one in decide(text, rules).obligations]
    attribution = manifest.license.attribution
    if attribution is not None and attribution.required:
        found.append(Obligation("attribution", STATED, "", attribution.url or ""))
    return tuple(dict.fromkeys(found))


def described(use: Use) -> str:
    """A use in words: `train a generative model, commercial, distribute none`."""
    whose = "commercial" if use.commercial else "non-commercial"
    where = f", in {', '.join(use.territory)}" if use.territory else ""
    what = {
        "train": "train a",
        "fine-tune": "fine-tune a",
        "evaluate": "evaluate a",
        "retrieve": "retrieve for a",
    }
    return f"{what[use.purpose]} {use.model} model, {whose}, distribute {use.distribute}{where}"


def _findings(
    subject: str, reasons: Iterable[Reason], stated: str, use: Use, about: str = ""
) -> Iterator[Finding]:
    """One finding a code. What is refused is no question for a person, so then nothing else is said."""
    kept = list(reasons)
    if any(reason.outcome is Outcome.DENY for reason in kept):
        kept = [reason for reason in kept if reason.outcome is Outcome.DENY]
    for code in dict.fromkeys(reason.code for reason in kept):
        what = "; ".join(dict.fromkeys(str(reason) for reason in kept if reason.code == code))
        yield Finding(
            code,
            Severity.BLOCK,
            subject,
            printable(about + what, 1_000),
            expected=f"a license to {described(use)}",
            found=printable(stated) or None,
            do=_DO[code],
        )


def _of_assets(manifest: Manifest, rules: Rules, against: list[str]) -> Iterator[Finding]:
    """Each license that assets state for themselves. What the release's own promises beyond it goes to `against`."""
    stated = manifest.license.spdx or ""
    whole = _expression(stated)
    doubted: list[list[Finding]] = []
    for text, own in sorted(manifest.own_licenses.items()):
        about = f"{own.total:,} asset{'' if own.total == 1 else 's'} ({_first(own.first, own.total)}): "
        if text == TOO_MANY:
            what = f"{about}more licenses than anybody could look at"
            yield Finding("license.review", Severity.BLOCK, manifest.release, what, do=_DO["license.review"])
            continue
        if text.strip() == stated.strip():
            continue
        found = list(
            _findings(f"assets under {printable(text)}", decide(text, rules).reasons, text, rules.use, about)
        )
        if found:
            doubted.append(found)
        if len(doubted) <= MOST_LISTED:
            against += _beyond(whole, _expression(text), rules, about)
    for found in doubted[:MOST_LISTED]:
        yield from found
    if rest := doubted[MOST_LISTED:]:
        codes = {finding.code for found in rest for finding in found}
        code = min(codes, key=list(_DO).index)
        what = f"{len(rest):,} more licenses that assets state for themselves"
        yield Finding(code, Severity.BLOCK, manifest.release, what, do=_DO[code])


_PROMISED = ("commercial_use", "derivatives", "redistribution", "ai_training", "genai_training")


def _beyond(whole: Expression | None, part: Expression | None, rules: Rules, about: str) -> Iterator[str]:
    if whole is None or part is None:
        return
    denied = [
        RIGHTS[right]
        for right in _PROMISED
        if rating(whole, right, rules) == "permit" and rating(part, right, rules) == "deny"
    ]
    if denied:
        ours, theirs = printable(str(whole), 120), printable(str(part), 120)
        yield f"{about}the release's {ours} permits {', '.join(denied)}, and their own {theirs} does not"


def _first(paths: tuple[str, ...], count: int) -> str:
    listed = ", ".join(printable(path, 80) for path in paths)
    return f"{listed}, …" if count > len(paths) else listed


def _expression(text: str) -> Expression | None:
    from databom.errors import InputError

    try:
        return parse_expression(text) if text.strip() else None
    except InputError:
        return None
