"""Reports as JUnit XML: valid by Surefire's and Jenkins' schemas, and read by a common reader."""

from __future__ import annotations

from hypothesis import given
from junitparser import Error, Failure, JUnitXml

from databom.checks.formats.junit import MAX_SHOWN, to_junit
from databom.model.finding import Report, Reports, Verdict
from support.reports import REPORTS, finding, junit_suites, report


@given(REPORTS)
def test_any_report_is_valid_and_its_counts_are_those_of_its_cases(any_report: Report | Reports) -> None:
    text = to_junit(any_report)
    assert text == to_junit(any_report)
    assert text.isascii()
    root = junit_suites(text)
    kinds = {"tests": "", "failures": "/failure", "errors": "/error"}
    for key, path in kinds.items():
        assert int(root.get(key, "")) == len(root.findall(f"testsuite/testcase{path}"))
        for suite in root:
            assert int(suite.get(key, "")) == len(suite.findall(f"testcase{path}"))
    failed = bool(root.findall("testsuite/testcase/failure"))
    unanswered = bool(root.findall("testsuite/testcase/error"))
    assert (any_report.verdict is Verdict.PASS) is not (failed or unanswered)
    if isinstance(any_report, Report) or any_report.reports:
        assert (any_report.verdict is Verdict.FAIL) is failed
    assert root.findall("testsuite/testcase")
    names = [case.get("name") for case in root.findall("testsuite/testcase")]
    assert len(set(names)) == len(names), "a reader that keeps the first would lose one"


def test_a_reader_sees_what_passed_failed_and_stayed_open() -> None:
    bad = report(
        finding("integrity.mismatch", subject="images/cat1.jpg", what="other bytes"),
        finding("integrity.mismatch", subject="images/dog1.jpg", what="other bytes"),
        finding("storage.denied", what="403"),
        finding("manifest.incomplete", "warn", what="no issued_at"),
    )
    xml = JUnitXml.fromstring(to_junit(Reports((bad, report(name="iris")))).encode())
    assert (xml.tests, xml.failures, xml.errors) == (3, 1, 1)
    pets, iris = xml
    assert [(case.classname, case.name) for case in pets] == [
        ("databom.pets", "pets: integrity.mismatch"),
        ("databom.pets", "pets: storage.denied"),
    ]
    first, second = pets
    (failure,) = first.result
    assert isinstance(failure, Failure)
    assert (failure.type, failure.message) == (
        "integrity.mismatch",
        "images/cat1.jpg: other bytes (and 1 more)",
    )
    assert failure.text.splitlines() == [
        "images/cat1.jpg: other bytes",
        "  expected this",
        "  found that",
        "  do: look at it",
        "images/dog1.jpg: other bytes",
        "  expected this",
        "  found that",
        "  do: look at it",
    ]
    assert "warn manifest.incomplete no issued_at" in first.system_out
    (error,) = second.result
    assert isinstance(error, Error)
    assert {p.name: p.value for p in pets.properties()}["release"] == "hn-pets@1"
    (passed,) = iris
    assert passed.name == "iris: verdict"
    assert passed.is_passed


def test_many_findings_of_one_code_are_counted() -> None:
    root = junit_suites(to_junit(report(*(finding("integrity.missing", subject=f"{i}") for i in range(150)))))
    (failure,) = root.iter("failure")
    assert failure.text is not None
    assert (
        failure.text.splitlines()[-1]
        == f"{150 - MAX_SHOWN} findings not shown here; --format json has all of them"
    )


def test_reports_about_things_of_one_name_are_told_apart() -> None:
    names = ("pets", "pets", "pets (2)", "pets")
    root = junit_suites(to_junit(Reports(tuple(report(name=name) for name in names))))
    assert [suite.get("name") for suite in root] == ["pets", "pets (2)", "pets (2) (2)", "pets (3)"]


def test_nothing_checked_is_an_error() -> None:
    root = junit_suites(to_junit(Reports(())))
    assert (root.get("tests"), root.get("errors")) == ("1", "1")
