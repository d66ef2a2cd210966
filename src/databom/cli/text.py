"""A report as text for people."""

from __future__ import annotations

from collections.abc import Iterator

import click

from databom.checks.formats.texts import approvals
from databom.model.finding import Finding, Report, Reports, Severity

MAX_SHOWN = 100
"""Findings shown of one report; `--format json` has all of them."""

_COLORS = {Severity.BLOCK: "red", Severity.WARN: "yellow", Severity.INFO: "blue"}
_VERDICTS = {"pass": "green", "fail": "red", "unanswered": "yellow"}


def render(report: Report | Reports, *, quiet: bool = False, verbose: bool = False) -> str:
    """The report as text; its last line is `verdict: pass|fail|unanswered`."""
    lines: list[str] = []
    for one in report.reports if isinstance(report, Reports) else (report,):
        lines += _report(one, quiet=quiet, verbose=verbose)
    verdict = report.verdict.value
    lines.append("verdict: " + click.style(verdict, fg=_VERDICTS[verdict], bold=True))
    return "\n".join(lines)


def _report(report: Report, *, quiet: bool, verbose: bool) -> Iterator[str]:
    subject = report.subject
    title = "  ".join(part for part in (subject.name, subject.release) if part) or report.about or "manifest"
    yield click.style(title, bold=True)
    if subject.manifest and not quiet:
        yield f"  manifest {subject.manifest}"
        yield f"  tree     {subject.tree}"
        if report.trust is not None:
            yield f"  trust    {report.trust}"
        summary = report.summary
        yield f"  assets   {summary.checked} of {summary.assets} checked, {summary.bytes:,} bytes"
        if summary.unchanged:
            yield (
                f"           {summary.hashed} hashed now, {summary.unchanged} unchanged since this machine hashed them "
                "(--full hashes all)"
            )
    for text in approvals(report):
        yield f"  accepted {text}"
    shown = [f for f in report.findings if verbose or f.severity is not Severity.INFO]
    for finding in shown[:MAX_SHOWN]:
        yield from _finding(finding)
    if len(shown) > MAX_SHOWN:
        yield f"… and {len(shown) - MAX_SHOWN} more findings; --format json has all of them"
    notes = len(report.findings) - len(shown)
    if notes and not quiet:
        yield "  " + click.style(_notes(report), fg="blue")
    yield ""


def _notes(report: Report) -> str:
    codes = sorted({f.code for f in report.findings if f.severity is Severity.INFO})
    return f"noted: {', '.join(codes)} (-v explains)"


def _finding(finding: Finding) -> Iterator[str]:
    severity = click.style(f"{finding.severity.value.upper():<5}", fg=_COLORS[finding.severity], bold=True)
    yield f"{severity}  {finding.code:<22} {finding.subject or ''}".rstrip()
    yield f"       {finding.what}"
    if finding.expected is not None:
        yield f"       expected {finding.expected}"
    if finding.found is not None:
        yield f"       found    {finding.found}"
    if finding.do is not None:
        yield f"       do: {finding.do}"
