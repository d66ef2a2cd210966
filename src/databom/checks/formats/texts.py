"""What the formats have in common: names, and a finding in lines."""

from __future__ import annotations

from collections.abc import Iterator

from databom.model.finding import Finding, Report, Reports
from databom.model.text import printable

LIMIT = 1000
"""Characters shown of one text of a finding."""


def all_of(report: Report | Reports) -> tuple[Report, ...]:
    """The reports under one verdict, in their order."""
    return report.reports if isinstance(report, Reports) else (report,)


def title(report: Report) -> str:
    """What a report is about, in one line, safe to print: the pin's name, or the best there is."""
    subject = report.subject
    return printable(subject.name or subject.release or report.about or "manifest", LIMIT)


def is_blocking(finding: Finding) -> bool:
    """Whether the finding keeps the verdict from `pass`."""
    return finding.severity.value == "block" or finding.is_unanswered


def lines(finding: Finding) -> Iterator[str]:
    """What, expected, found, do: each on its line, safe to print."""
    yield printable(finding.what, LIMIT)
    for word, text in (("expected", finding.expected), ("found", finding.found), ("do:", finding.do)):
        if text is not None:
            yield f"{word} {printable(text, LIMIT)}"


def approvals(report: Report) -> Iterator[str]:
    """What people accepted of a report: each approval in a line, safe to print."""
    if report.approvals:
        from databom.model.approvals import shown

        yield from map(shown, report.approvals)
