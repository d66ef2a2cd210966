"""Reports as SARIF: valid by the official schema, and what code scanning does with them."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from hypothesis import given

from databom.checks.formats.sarif import MAX_RESULTS, to_sarif
from databom.model.finding import Report, Reports, Subject
from support.reports import REPORTS, finding, report, sarif_run

LINK = re.compile(r"\[[^]]*\]\(")


@given(REPORTS)
def test_any_report_is_valid_and_says_the_verdict(any_report: Report | Reports) -> None:
    text = to_sarif(any_report)
    assert text == to_sarif(any_report)
    run = sarif_run(text)
    (invocation,) = run["invocations"]
    assert invocation["exitCode"] == any_report.verdict.exit_code
    assert run["properties"]["verdict"] == any_report.verdict.value
    levels = {result["level"] for result in run["results"]}
    if any_report.verdict.value == "pass":
        assert "error" not in levels
    else:
        assert "error" in levels or not invocation["executionSuccessful"]
    reports = any_report.reports if isinstance(any_report, Reports) else (any_report,)
    assert len(run["results"]) == sum(len(one.findings) for one in reports)


@given(REPORTS)
def test_no_text_of_a_document_is_a_link_a_placeholder_or_a_place_elsewhere(
    any_report: Report | Reports,
) -> None:
    run = sarif_run(to_sarif(any_report, folder="a b/ü"))
    for result in run["results"]:
        text = result["message"]["text"]
        assert not LINK.search(text)
        assert "{" not in text.replace("{{", "")
        assert text.replace("\n", "").isprintable()
        uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert uri.startswith("a%20b/%C3%BC/")
        assert uri.isascii()
        assert ".." not in uri.split("/")
        assert not urlsplit(uri).scheme
    marks = [result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]]
    assert len(set(marks)) == len(marks), "one alert would stand for two findings"


def test_a_result_says_all_of_a_finding() -> None:
    run = sarif_run(
        to_sarif(report(finding("integrity.mismatch", subject="images/cat1.jpg", what="other bytes")))
    )
    (rule,) = run["tool"]["driver"]["rules"]
    assert rule["id"] == "integrity.mismatch"
    assert rule["shortDescription"]["text"] == "the bytes are not those the manifest signs"
    assert "databom sync NAME --refetch" in rule["help"]["text"]
    (result,) = run["results"]
    assert (result["ruleId"], result["ruleIndex"], result["level"]) == ("integrity.mismatch", 0, "error")
    assert result["message"]["text"].splitlines() == [
        "pets: images/cat1.jpg",
        "other bytes",
        "expected this",
        "found that",
        "do: look at it",
    ]
    (place,) = result["locations"]
    assert place["physicalLocation"]["artifactLocation"]["uri"] == "provenance/manifests/pets.json"
    assert place["physicalLocation"]["region"]["startLine"] == 1
    assert place["logicalLocations"][0]["fullyQualifiedName"] == "pets/images/cat1.jpg"


@pytest.mark.parametrize(
    ("severity", "code", "level"),
    [
        ("block", "integrity.missing", "error"),
        ("warn", "manifest.incomplete", "warning"),
        ("info", "license.not-judged", "note"),
        ("block", "storage.denied", "error"),
        ("warn", "integrity.unanswered", "error"),
    ],
)
def test_levels(severity: str, code: str, level: str) -> None:
    one = report(finding(code, severity))
    run = sarif_run(to_sarif(one))
    assert run["results"][0]["level"] == level
    assert run["invocations"][0]["executionSuccessful"] is (one.verdict.exit_code != 3)


@pytest.mark.parametrize(
    ("code", "subject", "file"),
    [
        ("policy.weakened", "policy.payment", "databom.toml"),
        ("trust.changed", "provenance/trust.json", "provenance/trust.json"),
        ("trust.changed", "../../etc/passwd", "databom.lock"),
        ("trust.changed", "/etc/passwd", "databom.lock"),
        ("trust.changed", "javascript:alert(1)", "databom.lock"),
        ("trust.rollback", "databom.lock", "databom.lock"),
    ],
)
def test_what_is_about_the_project_is_shown_at_its_own_files(code: str, subject: str, file: str) -> None:
    changes = Report(Subject(), (finding(code, subject=subject),), about="changes since main")
    (result,) = sarif_run(to_sarif(changes))["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == file


def test_without_a_project_there_is_no_file_to_point_at() -> None:
    (result,) = sarif_run(to_sarif(report(finding("signature.missing")), folder=None))["results"]
    assert "physicalLocation" not in result["locations"][0]


def test_an_alert_is_the_same_one_in_the_next_run() -> None:
    def marks(*findings: tuple[str, str]) -> list[str]:
        run = sarif_run(
            to_sarif(report(*(finding("integrity.mismatch", "block", s, w) for s, w in findings)))
        )
        return [result["partialFingerprints"]["primaryLocationLineHash"] for result in run["results"]]

    (before,) = marks(("b.jpg", "other bytes"))
    assert marks(("a.jpg", "other bytes"), ("b.jpg", "in other words"))[1] == before


def test_of_too_many_the_worst_are_kept_and_the_rest_is_counted() -> None:
    many = [finding("manifest.incomplete", "warn", f"{i:05}") for i in range(MAX_RESULTS)]
    run = sarif_run(
        to_sarif(report(*many, finding("signature.missing"), finding("license.not-judged", "info")))
    )
    assert len(run["results"]) == MAX_RESULTS
    assert run["results"][0]["ruleId"] == "signature.missing"
    (notice,) = run["invocations"][0]["toolExecutionNotifications"]
    assert notice["message"]["text"] == "2 findings not shown here; --format json has all of them"


def test_nothing_checked_is_no_success() -> None:
    (invocation,) = sarif_run(to_sarif(Reports(())))["invocations"]
    assert (invocation["exitCode"], invocation["executionSuccessful"]) == (1, False)
