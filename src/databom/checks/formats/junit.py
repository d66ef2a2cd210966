"""A report as JUnit XML, for the test report of a CI server.

One test suite a pin. Each code that keeps the pin from passing is a test case: a failure where the answer is no, an
error where there is none. A pin that passes is one test case that passes. Warnings and notes are no tests: they are the
output of the suite's first case.

Only what every reader knows is written: the elements and attributes on which Jenkins' and Surefire's schemas agree.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from xml.etree import ElementTree as ET

from databom.checks.formats.texts import LIMIT, all_of, approvals, is_blocking, lines, title
from databom.model.finding import Finding, Report, Reports, Severity
from databom.model.text import counted, printable

MAX_SHOWN = 100
"""Findings shown of one code; `--format json` has all of them."""


def to_junit(report: Report | Reports) -> str:
    """The report as JUnit XML with a final newline, in ASCII: it is right whatever the encoding of stdout.

    No two cases have one name, not even where two reports are about things of one name: some readers keep only the
    first of them. Where nothing was checked, the one test is an error.
    """
    root = ET.Element("testsuites", name="databom")
    names: set[str] = set()
    for one in all_of(report):
        spellings = (
            f"{title(one)} ({number})" if number > 1 else title(one) for number in itertools.count(1)
        )
        name = next(spelling for spelling in spellings if spelling not in names)
        names.add(name)
        root.append(_suite(one, name))
    if not names:
        suite = ET.SubElement(root, "testsuite", name="databom")
        case = _case(suite, "databom", "verdict")
        ET.SubElement(case, "error", type="verdict", message="nothing was checked")
        _count(suite)
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    ET.indent(root)
    text: bytes = ET.tostring(root, encoding="us-ascii", xml_declaration=False)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text.decode()}\n'


def _suite(report: Report, name: str) -> ET.Element:
    suite = ET.Element("testsuite", name=name)
    properties = ET.SubElement(suite, "properties")
    for key, value in _facts(report):
        ET.SubElement(properties, "property", name=key, value=printable(value, LIMIT))
    blocking = [finding for finding in report.findings if is_blocking(finding)]
    for code, of_code in itertools.groupby(blocking, lambda finding: finding.code):
        _refusal(_case(suite, name, code), code, list(of_code))
    if not blocking:
        _case(suite, name, "verdict")
    first = suite.find("testcase")
    assert first is not None
    notes = [finding for finding in report.findings if not is_blocking(finding)]
    notes.sort(key=lambda finding: finding.severity is Severity.INFO)
    said = [printable(report.sentence(), LIMIT), *_text(notes, with_code=True)]
    ET.SubElement(first, "system-out").text = "\n".join(said)
    _count(suite)
    return suite


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    subject = report.subject
    facts = {
        "verdict": report.verdict.value,
        "release": subject.release,
        "manifest": subject.manifest,
        "tree": subject.tree,
        "trust": report.trust,
        "policy": report.policy,
    }
    yield from ((key, value) for key, value in facts.items() if value is not None)
    yield from (("approval", text) for text in approvals(report))


def _case(suite: ET.Element, name: str, question: str) -> ET.Element:
    # Some readers show the class and not the name, some the name and not the class: each says which pin.
    classname = "databom." + re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return ET.SubElement(suite, "testcase", classname=classname, name=f"{name}: {question}", time="0")


def _refusal(case: ET.Element, code: str, findings: Sequence[Finding]) -> None:
    first, more = findings[0], len(findings) - 1
    message = f"{_about(first)}{printable(first.what, LIMIT)}" + (f" (and {more:,} more)" if more else "")
    kind = "error" if first.is_unanswered else "failure"
    ET.SubElement(case, kind, type=code, message=message).text = "\n".join(_text(findings))


def _text(findings: Sequence[Finding], *, with_code: bool = False) -> Iterable[str]:
    for finding in findings[:MAX_SHOWN]:
        what, *details = lines(finding)
        code = f"{finding.severity.value} {finding.code} " if with_code else ""
        yield f"{code}{_about(finding)}{what}"
        yield from (f"  {line}" for line in details)
    if len(findings) > MAX_SHOWN:
        yield f"{counted(len(findings) - MAX_SHOWN, 'finding')} not shown here; --format json has all of them"


def _about(finding: Finding) -> str:
    return "" if finding.subject is None else f"{printable(finding.subject, LIMIT)}: "


def _count(suite: ET.Element) -> None:
    cases = suite.findall("testcase")
    suite.set("tests", str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("errors", str(sum(case.find("error") is not None for case in cases)))
    suite.set("skipped", "0")
