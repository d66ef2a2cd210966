"""Findings and reports: the one way to doubt.

Everything databom checks answers with a `Report`: an ordered tuple of `Finding`s, a subject, a summary and a
verdict. The same report is a table in a notebook, JSON on stdout, a DVC metric and an exit code; they cannot
disagree because each is computed from the same findings.

Verdict, in this order: any blocking finding that is an answer makes it `fail` (exit 1); else any finding that
says "could not answer" (`*.unanswered`, `storage.*`) makes it `unanswered` (exit 3); else `pass` (exit 0).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct, field
from msgspec.structs import force_setattr, replace

from databom.errors import CheckFailed, InputError, Problem, StorageError


class Severity(StrEnum):
    """How much a finding weighs. `--strict` turns every WARN into BLOCK."""

    BLOCK = "block"
    WARN = "warn"
    INFO = "info"


class Verdict(StrEnum):
    """The answer of a whole report, and its exit code."""

    PASS = "pass"  # noqa: S105  # not a password
    FAIL = "fail"
    UNANSWERED = "unanswered"

    @property
    def exit_code(self) -> int:
        """0 yes, 1 no, 3 could not answer."""
        return {"pass": 0, "fail": 1, "unanswered": 3}[self.value]


class Finding(Struct, frozen=True):
    """One doubt. Fields are those of the JSON report; texts are safe to print (no control characters)."""

    code: str
    severity: Severity
    subject: str | None
    what: str
    expected: str | None = None
    found: str | None = None
    do: str | None = None

    @classmethod
    def of(cls, problem: Problem, severity: Severity = Severity.BLOCK) -> Finding:
        """Give a problem its weight."""
        return cls(problem.code, severity, *problem[1:])

    @property
    def is_unanswered(self) -> bool:
        """Whether this says "could not answer" rather than "no"."""
        return self.code.startswith("storage.") or self.code.endswith(".unanswered")

    def to_dict(self) -> dict[str, Any]:
        """The finding as the JSON report writes it; unknown members are null."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "subject": self.subject,
            "what": self.what,
            "expected": self.expected,
            "found": self.found,
            "do": self.do,
        }


def findings_of(error: InputError | StorageError) -> tuple[Finding, ...]:
    """The findings an error stands for, all blocking: for places where a report can still be made."""
    if isinstance(error, InputError):
        return tuple(Finding.of(problem) for problem in error.problems)
    return (Finding(error.code, Severity.BLOCK, error.where, str(error), do=error.hint),)


class Subject(Struct, frozen=True):
    """What a report is about; None where it is not known (yet)."""

    name: str | None = None
    release: str | None = None
    manifest: str | None = None
    tree: str | None = None


class Summary(Struct, frozen=True):
    """Counts: assets in the manifest, their bytes that were checked, assets that were checked, assets that failed.

    Of those checked, `hashed` were read now, and `unchanged` have been unchanged since this machine hashed them.
    """

    assets: int = 0
    bytes: int = 0
    checked: int = 0
    failed: int = 0
    hashed: int = 0
    unchanged: int = 0


def _key(finding: Finding) -> tuple[str, str, str]:
    return (finding.code, finding.subject or "", finding.what)


class Report(Struct, frozen=True):
    """Findings about one subject, sorted by (code, subject). Byte-identical for identical inputs.

    `trust` and `policy` are the digests (`sha256:<hex>`) of the trust root and the policy it was judged by. `about`
    says for people what a report is about that is about no release, such as a whole project.
    """

    subject: Subject
    findings: tuple[Finding, ...] = ()
    summary: Summary = field(default_factory=Summary)
    trust: str | None = None
    policy: str | None = None
    about: str | None = None
    approvals: tuple[dict[str, Any], ...] = ()
    """What people accepted, and on whose word; sorted."""
    scanners: tuple[dict[str, Any], ...] = ()
    """Which scanners looked, in which versions, and at how many assets; sorted by name."""

    def __post_init__(self) -> None:
        force_setattr(self, "findings", tuple(sorted(self.findings, key=_key)))

    @property
    def verdict(self) -> Verdict:
        """`fail` if any blocking answer, else `unanswered` if anything could not be answered, else `pass`."""
        if any(f.severity is Severity.BLOCK and not f.is_unanswered for f in self.findings):
            return Verdict.FAIL
        if any(f.is_unanswered for f in self.findings):
            return Verdict.UNANSWERED
        return Verdict.PASS

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """The findings that keep the verdict from `pass`."""
        return tuple(f for f in self.findings if f.severity is Severity.BLOCK or f.is_unanswered)

    def strict(self) -> Report:
        """The same report with every warning blocking (`--strict`)."""
        raised = (
            replace(f, severity=Severity.BLOCK) if f.severity is Severity.WARN else f for f in self.findings
        )
        return replace(self, findings=tuple(raised))

    def plus(self, findings: Iterable[Finding]) -> Report:
        """The same report with more findings."""
        return replace(self, findings=(*self.findings, *findings))

    def require(self) -> Report:
        """Return self when the verdict is `pass`.

        Raises:
            CheckFailed: the verdict is anything else; the error carries this report.
        """
        if self.verdict is not Verdict.PASS:
            raise CheckFailed(f"{self.sentence()}{_first(self)}", self)
        return self

    def sentence(self) -> str:
        """One summary sentence, plurals right, ending in the verdict."""
        name = self.subject.name or self.subject.release or "manifest"
        count = len(self.blocking)
        doubts = "" if not count else f", {count} blocking finding{'' if count == 1 else 's'}"
        if self.about is not None:
            return f"{self.about}{doubts}: {self.verdict.value}"
        total, unchanged = self.summary.assets, self.summary.unchanged
        still = f" ({unchanged} unchanged since hashed)" if unchanged else ""
        return (
            f"{name}: {self.summary.checked} of {total} asset{'' if total == 1 else 's'} checked{still}, "
            f"{self.summary.failed} failed{doubts}: {self.verdict.value}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as `--format json` writes it."""
        subject, summary = self.subject, self.summary
        return {
            "verdict": self.verdict.value,
            "subject": {
                "name": subject.name,
                "release": subject.release,
                "manifest": subject.manifest,
                "tree": subject.tree,
            },
            "summary": {
                "assets": summary.assets,
                "bytes": summary.bytes,
                "checked": summary.checked,
                "failed": summary.failed,
            },
            "reading": {"hashed": summary.hashed, "unchanged": summary.unchanged},
            "trust": self.trust,
            "policy": self.policy,
            "approvals": list(self.approvals),
            "scanners": list(self.scanners),
            "findings": [f.to_dict() for f in self.findings],
        }

    def to_json(self) -> str:
        """`to_dict()` as indented JSON text with a final newline."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    def _repr_html_(self) -> str:
        return _html([self])


def _first(report: Report) -> str:
    """The first thing that keeps a report from passing, and what kinds of others do, for an exception's message."""
    if not report.blocking:
        return ""
    finding = report.blocking[0]
    others = sorted({one.code for one in report.blocking} - {finding.code})
    also = f"; also {', '.join(others)}" if others else ""
    return f" ({finding.code} {finding.subject or ''}: {finding.what}{also})"


def overall(reports: Sequence[Report]) -> Verdict:
    """The verdict over several reports: the worst one; no reports at all is never a pass."""
    verdicts = {report.verdict for report in reports}
    if Verdict.FAIL in verdicts or not verdicts:
        return Verdict.FAIL
    return Verdict.UNANSWERED if Verdict.UNANSWERED in verdicts else Verdict.PASS


class Reports(Struct, frozen=True):
    """Several reports under one verdict: what `check` and a `verify` of several names answer."""

    reports: tuple[Report, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict; `fail` when there are no reports."""
        return overall(self.reports)

    def strict(self) -> Reports:
        """Every report with its warnings blocking."""
        return Reports(tuple(report.strict() for report in self.reports))

    def require(self) -> Reports:
        """Return self when every verdict is `pass`.

        Raises:
            CheckFailed: any verdict is something else; the error carries this object.
        """
        if self.verdict is not Verdict.PASS:
            bad = [report for report in self.reports if report.verdict is not Verdict.PASS]
            shown = "".join(
                f"{report.subject.name or report.about}: {report.verdict.value}{_first(report)}. "
                for report in bad[:5]
            )
            raise CheckFailed(f"{shown}{self.sentence()}", self)
        return self

    def sentence(self) -> str:
        """One summary sentence over all reports, ending in the verdict."""
        pins = [report for report in self.reports if report.about is None]
        good = sum(1 for report in pins if report.verdict is Verdict.PASS)
        total = len(pins)
        others = "".join(
            f"; {report.about}: {report.verdict.value}" for report in self.reports if report.about is not None
        )
        return f"{good} of {total} {'pin holds' if total == 1 else 'pins hold'}{others}: {self.verdict.value}"

    def to_dict(self) -> dict[str, Any]:
        """`{"verdict", "reports": [...]}`."""
        return {"verdict": self.verdict.value, "reports": [report.to_dict() for report in self.reports]}

    def to_json(self) -> str:
        """`to_dict()` as indented JSON text with a final newline."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    def _repr_html_(self) -> str:
        return _html(self.reports)


_COLORS = {"pass": "#1a7f37", "fail": "#cf222e", "unanswered": "#9a6700"}


def _html(reports: Sequence[Report]) -> str:
    """Self-contained tables for a notebook; every text is escaped, since subjects come from documents."""
    import html

    blocks = []
    for report in reports:
        verdict = report.verdict.value
        rows = "".join(
            "<tr>"
            + "".join(f"<td style='text-align:left'>{html.escape(cell or '')}</td>" for cell in cells)
            + "</tr>"
            for cells in (
                (f.severity.value, f.code, f.subject, f.what, f.expected, f.found, f.do)
                for f in report.findings
            )
        )
        heads = "".join(
            f"<th style='text-align:left'>{head}</th>"
            for head in ("severity", "code", "subject", "what", "expected", "found", "do")
        )
        table = f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>" if rows else ""
        blocks.append(
            f"<div><b style='color:{_COLORS[verdict]}'>{verdict}</b> "
            f"{html.escape(report.subject.release or '')} – {html.escape(report.sentence())}"
            f"<br><small>manifest {html.escape(report.subject.manifest or '')}</small>{table}</div>"
        )
    return "".join(blocks)
