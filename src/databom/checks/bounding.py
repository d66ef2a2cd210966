"""A storm of findings, told by its first hundred and a count: a million of one kind say no more and bury all others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from databom.model.finding import Finding, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_LISTED = 100
"""Findings of a kind that are written out where somebody else chooses their number; one counts the rest."""


def shown_bounded(findings: Iterable[Finding], most: int = MOST_LISTED) -> list[Finding]:
    """At most `most` findings of each code and severity, the first; one more counts the rest.

    Given its own answer and more findings, it adds up. A finding about nothing in particular counts for itself.
    """
    kept: dict[tuple[str, Severity, bool], list[Finding]] = {}
    rest: dict[tuple[str, Severity, bool], int] = {}
    for finding in findings:
        kind = (finding.code, finding.severity, isinstance(finding, _Rest) or finding.subject is not None)
        if isinstance(finding, _Rest):
            rest[kind] = rest.get(kind, 0) + finding.count
        elif len(kept.setdefault(kind, [])) < most:
            kept[kind].append(finding)
        else:
            rest[kind] = rest.get(kind, 0) + 1
    return [
        one
        for kind, these in kept.items()
        for one in (*these, *([_Rest.of_count(*kind[:2], rest[kind])] if rest.get(kind) else ()))
    ]


class _Rest(Finding, frozen=True):
    """Stands for findings that are not written out."""

    count: int = 0

    @classmethod
    def of_count(cls, code: str, severity: Severity, count: int) -> _Rest:
        what = f"{count:,} more asset{'' if count == 1 else 's'} of the same kind"
        return cls(
            code,
            severity,
            None,
            what,
            do="the first of them are listed; look for what they share",
            count=count,
        )
