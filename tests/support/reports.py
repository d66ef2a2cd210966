"""Reports with whatever a document may have put into their texts, and what the readers of their formats say."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import xmlschema
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from databom.model.finding import Finding, Report, Reports, Severity, Subject, Summary

VECTORS = Path(__file__).resolve().parents[1] / "vectors"

HOSTILE = (
    "a|b",
    "a\\|b",
    "`code` ``",
    "<script>alert(1)</script>",
    "[click](https://evil.example)",
    "](",
    "https://evil.example/x",
    "www.evil.example",
    "@everyone",
    "someone@evil.example",
    "#1",
    "**pass**",
    "{0} {1}",
    "]]>",
    "&amp;",
    "&#124;",
    "\x00\x08\x1b[31m",
    "\ud800",
    "\ufffe",
    "\u202e",
    "a\nb\r\n\n# pass",
    "::set-output name=x::y",
    "$x$",
    "~~a~~",
    "- a",
    "1. a",
    "🙂 ä",
    "",
    "  a  ",
    "x" * 3000,
)
TEXTS = (
    st.sampled_from(HOSTILE)
    | st.text(st.characters(), max_size=40)
    | st.text("|\\`<>[]()@#*_ a", max_size=12)
)
CODES = st.sampled_from(
    (
        *("integrity.mismatch", "manifest.incomplete", "license.not-judged", "storage.unreachable"),
        *("integrity.unanswered", "trust.changed", "policy.weakened", "not.known"),
    )
)
FINDINGS = st.builds(
    Finding,
    CODES,
    st.sampled_from(Severity),
    st.none() | TEXTS,
    TEXTS,
    *[st.none() | TEXTS] * 3,
)
PINS = st.builds(
    Report,
    st.builds(
        Subject,
        st.none() | st.sampled_from(("pets", "iris")),
        st.none() | TEXTS,
        st.none() | st.just("sha256:" + "0" * 64),
    ),
    st.lists(FINDINGS, max_size=5).map(tuple),
    st.just(Summary(3, 1234, 3, 1)),
    about=st.none() | TEXTS,
)
REPORTS = PINS | st.lists(PINS, max_size=4).map(lambda pins: Reports(tuple(pins)))


def report(*findings: Finding, name: str | None = "pets") -> Report:
    """The report of one pin of three assets."""
    return Report(Subject(name, "hn-pets@1", "sha256:" + "1" * 64), findings, Summary(3, 1234, 3, 1))


def finding(
    code: str, severity: str = "block", subject: str | None = None, what: str = "it is so"
) -> Finding:
    """A finding with every text."""
    return Finding(code, Severity(severity), subject, what, "this", "that", "look at it")


@functools.cache
def _sarif_validator() -> Draft4Validator:
    schema = json.loads((VECTORS / "sarif" / "sarif-schema-2.1.0.json").read_text())
    return Draft4Validator(schema, format_checker=Draft4Validator.FORMAT_CHECKER)


def sarif_run(text: str) -> dict[str, Any]:
    """The one run of a log that the official schema accepts."""
    log = json.loads(text)
    _sarif_validator().validate(log)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    return run


@functools.cache
def _xsd(name: str) -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(VECTORS / "junit" / name)


def junit_suites(text: str) -> ET.Element:
    """The root of a report that Jenkins' schema accepts, and Surefire's each suite of."""
    root = ET.fromstring(text)
    _xsd("junit-10.xsd").validate(root)
    for suite in root:
        _xsd("surefire-test-report.xsd").validate(suite)
    return root
