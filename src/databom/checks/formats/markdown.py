"""A report as Markdown (GitHub's and GitLab's), for a job summary or a comment.

A heading with the verdict, a table of the pins, and for each pin with findings a table of them. Texts from documents
are written in character references wherever a character means something to Markdown: a reference is only ever text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from databom.checks.formats.texts import all_of, approvals, is_blocking, title
from databom.model.finding import Finding, Report, Reports, Severity, Verdict
from databom.model.text import counted, printable

T = TypeVar("T")

MAX_CHARACTERS = 60_000
"""A comment on GitHub takes 65,536 characters, a job summary a mebibyte."""
_ROOM_FOR_THE_REST = 200
_FIELD = 500
"""Characters shown of one text."""

_SPECIAL = re.compile(r"""[&<>"'|\\`*_\[\]~^$!{}]|://|(?i:www)\.""")
_WORTH = {Severity.BLOCK: 0, Severity.WARN: 1, Severity.INFO: 2}


def to_markdown(report: Report | Reports, *, verbose: bool = False) -> str:
    """The report as Markdown, never longer than `MAX_CHARACTERS`, with a final newline.

    Pins that do not pass come first, and so do blocking findings. What does not fit is counted. Information is named
    only, as in the report for people, unless `verbose`.
    """
    reports = sorted(all_of(report), key=lambda one: one.verdict is Verdict.PASS)
    page = _Page()
    page.add(f"## databom: {report.verdict.value}\n\n{_sentence(report.sentence())}\n")
    heads = (
        "\n| what | release | verdict | assets checked | blocking | warnings |\n|---|---|---|---|--:|--:|\n"
    )
    hidden = page.table(heads, reports, _row, room=MAX_CHARACTERS // 2)
    if hidden:
        page.add(f"\n… and {counted(hidden, 'more report')}; `--format json` has all of them.\n")
    hidden = 0
    for one in reports:
        shown = [f for f in one.findings if verbose or is_blocking(f) or f.severity is not Severity.INFO]
        shown.sort(key=lambda finding: 0 if is_blocking(finding) else _WORTH[finding.severity])
        if shown:
            heads = f"\n### {_prose(title(one))}\n{_facts(one)}\n| | finding | what |\n|---|---|---|\n"
            hidden += page.table(heads, shown, _finding)
        elif one.approvals:
            page.add(
                "".join(f"\nAccepted for {_prose(title(one))}: {_prose(text)}\n" for text in approvals(one))
            )
        noted = sorted({finding.code for finding in one.findings} - {finding.code for finding in shown})
        if noted:
            page.add(f"\nNoted for {_prose(title(one))}: {', '.join(map(_code, noted))} (`-v` explains).\n")
    if hidden:
        page.text += f"\n… and {counted(hidden, 'more finding')}; `--format json` has all of them.\n"
    return page.text


class _Page:
    """Text up to the limit, less what it takes to say that there is more."""

    def __init__(self) -> None:
        self.text = ""

    def add(self, part: str, room: int = MAX_CHARACTERS) -> bool:
        """Append, unless that is too long; whether it was appended."""
        fits = len(self.text) + len(part) <= min(room, MAX_CHARACTERS - _ROOM_FOR_THE_REST)
        if fits:
            self.text += part
        return fits

    def table(
        self, heads: str, items: Sequence[T], row: Callable[[T], str], room: int = MAX_CHARACTERS
    ) -> int:
        """Append a table, or as many of its rows as fit, in order; how many did not."""
        for number, item in enumerate(items):
            # A table without a row says nothing: its heads need room for the first.
            if not self.add(row(item) if number else heads + row(item), room):
                return len(items) - number
        return 0


def _row(report: Report) -> str:
    summary = report.summary
    blocking = sum(map(is_blocking, report.findings))
    warnings = sum(f.severity is Severity.WARN and not is_blocking(f) for f in report.findings)
    release = "" if report.subject.release is None else _code(report.subject.release)
    assets = f"{summary.checked:,} of {summary.assets:,}" if report.about is None else ""
    cells = (
        _prose(title(report)),
        release,
        f"**{report.verdict.value}**",
        assets,
        str(blocking),
        str(warnings),
    )
    return f"| {' | '.join(cells)} |\n"


def _facts(report: Report) -> str:
    subject = report.subject
    facts = (("manifest", subject.manifest), ("tree", subject.tree), ("trust", report.trust))
    shown = [f"{name} {_code(value)}" for name, value in facts if value is not None]
    shown += [f"accepted {_prose(text)}" for text in approvals(report)]
    return "\n" + "<br>".join(shown) + "\n" if shown else ""


def _finding(finding: Finding) -> str:
    weight = "unanswered" if finding.is_unanswered else finding.severity.value
    weight = f"**{weight}**" if is_blocking(finding) else weight
    name = _code(finding.code) + ("" if finding.subject is None else f"<br>{_code(finding.subject)}")
    return f"| {weight} | {name} | {'<br>'.join(_lines(finding))} |\n"


def _lines(finding: Finding) -> Iterator[str]:
    yield _prose(finding.what)
    if finding.expected is not None:
        yield f"expected {_code(finding.expected)}"
    if finding.found is not None:
        yield f"found {_code(finding.found)}"
    if finding.do is not None:
        yield f"do: {_prose(finding.do)}"


def _sentence(text: str) -> str:
    """A text that begins a paragraph: its first characters do not make it a list, or another block."""
    if re.match(r"[\w@#](?<!\d)|\d+(?![\d.)])", text):
        return _prose(text)
    return f"&#{ord(text[0])};{_prose(text[1:])}" if text else ""


def _prose(text: str) -> str:
    """A text that is only text. In code, `@` and `#` neither mention a person nor refer to an issue."""
    parts = re.split(r"([@#])", printable(text, _FIELD))
    return "".join(f"<code>{part}</code>" if part in {"@", "#"} else _inert(part) for part in parts)


def _code(text: str) -> str:
    """The same in a fixed-width font. `<wbr>` parts what would be taken for an address of mail."""
    # A code span of Markdown cannot hold every text inside a table: a backslash before a bar ends the cell.
    return f"<code>{_inert(printable(text, _FIELD)).replace('@', '<wbr>@')}</code>"


def _inert(text: str) -> str:
    """Character references for what means something, at the one character that makes it so."""
    return _SPECIAL.sub(_refer, text)


def _refer(special: re.Match[str]) -> str:
    text = special[0]
    if text == "://":
        return "&#58;//"
    return f"{text[:-1]}&#{ord(text[-1])};"
