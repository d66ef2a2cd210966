"""A report as SARIF 2.1.0, for code scanning (OASIS Standard with Errata 01).

One run. A finding is a result of the rule that has its code's name; it is shown at the file of the project that a
person would open: the kept manifest of its pin, the trust root or the policy that changed, else `databom.lock`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from databom import __version__
from databom.checks.formats.codes import meaning
from databom.checks.formats.texts import LIMIT, all_of, approvals, is_blocking, lines, title
from databom.model.finding import Finding, Report, Reports, Severity, Verdict
from databom.model.text import counted, printable

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
MAX_RESULTS = 5_000
"""Results of one run; GitHub shows no more, and refuses a file with more than 25,000."""

_LEVELS = {Severity.BLOCK: "error", Severity.WARN: "warning", Severity.INFO: "note"}
_RANK = {"error": 0, "warning": 1, "note": 2}
_RELATIVE = re.compile(r"(?!/)(?!(?:.*/)?\.\.?(?:/|$))[^:\\]+")


def to_sarif(report: Report | Reports, *, folder: str | None = "") -> str:
    """The report as a SARIF log: indented JSON with a final newline.

    `executionSuccessful` is false where the verdict is `unanswered`, or nothing was checked. Of more than
    `MAX_RESULTS` findings the worst are kept, and a notification of the run says how many are not shown.

    Args:
        report: what to write.
        folder: where the project is in its repository, as a relative POSIX path, "" for its top: locations are
            relative to the repository. None where there is no project: then findings have no file to be shown at.
    """
    reports = all_of(report)
    found = [(one, finding) for one in reports for finding in one.findings]
    kept = found
    if len(found) > MAX_RESULTS:
        kept = sorted(found, key=lambda pair: _RANK[_level(pair[1])])[:MAX_RESULTS]
    codes = sorted({finding.code for _, finding in kept})
    verdict = report.verdict
    run = {
        "tool": {"driver": {"name": "databom", "version": __version__, "rules": [_rule(c) for c in codes]}},
        "invocations": [
            {
                "executionSuccessful": bool(reports) and verdict is not Verdict.UNANSWERED,
                "exitCode": verdict.exit_code,
                "exitCodeDescription": verdict.value,
                "toolExecutionNotifications": _notices(reports, len(found) - len(kept)),
            }
        ],
        "results": _results(kept, codes, folder),
        "properties": {
            "verdict": verdict.value,
            "approvals": [f"{title(one)}: {text}" for one in reports for text in approvals(one)],
        },
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2, ensure_ascii=False) + "\n"


def _level(finding: Finding) -> str:
    return "error" if is_blocking(finding) else _LEVELS[finding.severity]


def _rule(code: str) -> dict[str, Any]:
    said = meaning(code)
    return {
        "id": code,
        "shortDescription": _message(said.says),
        "fullDescription": _message(said.says),
        "help": _message(f"{said.says}\nWhat to do: {said.do}"),
        "properties": {"tags": [code.partition(".")[0]]},
    }


def _notices(reports: Sequence[Report], hidden: int) -> list[dict[str, Any]]:
    notices = []
    if not reports:
        notices.append({"level": "error", "message": _message("nothing was checked")})
    if hidden:
        text = f"{counted(hidden, 'finding')} not shown here; --format json has all of them"
        notices.append({"level": "warning", "message": _message(text)})
    return notices


def _results(
    kept: Sequence[tuple[Report, Finding]], codes: Sequence[str], folder: str | None
) -> list[dict[str, Any]]:
    index = {code: number for number, code in enumerate(codes)}
    seen: Counter[str] = Counter()
    results = []
    for report, finding in kept:
        mark = _fingerprint(report, finding)
        seen[mark] += 1
        # The second name is our own; the first is the one that GitHub tells alerts apart by.
        once = f"{mark}:{seen[mark]}"
        results.append(
            {
                "ruleId": finding.code,
                "ruleIndex": index[finding.code],
                "level": _level(finding),
                "message": _message("\n".join([_where(report, finding), *lines(finding)])),
                "locations": [_location(report, finding, folder)],
                "partialFingerprints": {"primaryLocationLineHash": once, "databomFinding/v1": once},
            }
        )
    return results


def _where(report: Report, finding: Finding) -> str:
    if finding.subject is None:
        return title(report)
    return f"{title(report)}: {printable(finding.subject, LIMIT)}"


def _fingerprint(report: Report, finding: Finding) -> str:
    """The same for one doubt about one thing in every run, however it is worded and whatever the bytes were."""
    what = json.dumps([report.subject.name, finding.code, finding.subject])
    return hashlib.sha256(what.encode()).hexdigest()[:32]


def _message(text: str) -> dict[str, str]:
    """A message that is only text: no placeholder (3.11.5), and no link, whatever a document says (3.11.6)."""
    return {"text": text.replace("](", "] (").replace("{", "{{").replace("}", "}}")}


def _location(report: Report, finding: Finding, folder: str | None) -> dict[str, Any]:
    name = title(report) if finding.subject is None else printable(finding.subject, LIMIT)
    whole = name if finding.subject is None else f"{title(report)}/{name}"
    place: dict[str, Any] = {
        "logicalLocations": [{"name": name, "fullyQualifiedName": whole, "kind": "resource"}]
    }
    if folder is not None:
        path = f"{folder}/{_file(report, finding)}" if folder else _file(report, finding)
        start = {"startLine": 1, "startColumn": 1, "endLine": 1, "endColumn": 1}
        place["physicalLocation"] = {"artifactLocation": {"uri": _uri(path)}, "region": start}
    return place


def _file(report: Report, finding: Finding) -> str:
    subject = report.subject
    if subject.name is not None and subject.manifest is not None:
        return f"provenance/manifests/{subject.name}.json"
    if finding.code.startswith("policy."):
        return "databom.toml"
    if finding.code == "trust.changed" and _RELATIVE.fullmatch(
        named := printable(finding.subject or "", LIMIT)
    ):
        return named
    return "databom.lock"


def _uri(path: str) -> str:
    """A relative reference to a path: percent-encoded, and never with a first part that looks like a scheme."""
    return quote(path, safe="/", errors="surrogateescape")
