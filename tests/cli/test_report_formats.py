"""`--format sarif|junit|markdown` at the command line: another form of the same answer, and never another answer."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from junitparser import JUnitXml

from support.house import Answer, House, databom
from support.reports import junit_suites, sarif_run

READERS: dict[str, Callable[[str], object]] = {
    "sarif": sarif_run,
    "junit": junit_suites,
    "markdown": lambda text: text.startswith("## databom: ") or pytest.fail(text),
}


def in_every_format(house: House, *command: str) -> dict[str, Answer]:
    """Run a command in each format: code, summary sentence and verdict are those of the report for people."""
    plain = house.cli(*command)
    answers = {"text": plain}
    for name, read in READERS.items():
        answers[name] = answer = house.cli(*command, "--format", name)
        assert (answer.code, answer.err) == (plain.code, plain.err)
        read(answer.out)
    verdict = {0: "pass", 1: "fail", 3: "unanswered"}[plain.code]
    assert sarif_run(answers["sarif"].out)["properties"]["verdict"] == verdict
    assert answers["markdown"].out.startswith(f"## databom: {verdict}\n")
    xml = junit_suites(answers["junit"].out)
    failed, unanswered = int(xml.get("failures", "")), int(xml.get("errors", ""))
    assert (verdict == "pass", verdict == "fail") == (failed + unanswered == 0, failed > 0)
    return answers


@pytest.mark.parametrize("command", [["check"], ["verify"], ["verify", "pets"], ["sync", "pets"]])
def test_yes_and_no_in_every_format(house: House, command: list[str]) -> None:
    house.synced()
    yes = in_every_format(house, *command)
    (case,) = junit_suites(yes["junit"].out).findall("testsuite/testcase")
    assert case.get("name") == "pets: verdict"
    (house.data / "images" / "cat1.jpg").write_bytes(b"a rat\n")
    no = in_every_format(house, *command)
    (result,) = [one for one in sarif_run(no["sarif"].out)["results"] if one["level"] == "error"]
    assert result["ruleId"] in {"integrity.mismatch", "integrity.size"}
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert (house.project / uri).is_file()
    assert "images/cat1.jpg" in no["markdown"].out


def test_could_not_answer_in_every_format(house: House, eager: None) -> None:
    house.synced()
    answers = in_every_format(house, "verify", "pets", "--root", "https://127.0.0.1:9/")
    assert answers["text"].code == 3
    (invocation,) = sarif_run(answers["sarif"].out)["invocations"]
    assert (invocation["exitCode"], invocation["executionSuccessful"]) == (3, False)
    xml = JUnitXml.fromstring(answers["junit"].out.encode())
    assert (xml.failures, xml.errors) == (0, 1)


def test_strict_blocks_in_every_format(house: House) -> None:
    house.synced()
    other = house.base / "trust.json"
    other.write_bytes((house.project / "provenance" / "trust.json").read_bytes())
    warned = in_every_format(house, "check", "--trust", str(other))
    assert warned["text"].code == 0
    assert "warn trust.override" in warned["junit"].out
    answers = in_every_format(house, "check", "--trust", str(other), "--strict")
    assert answers["text"].code == 1
    failed = junit_suites(answers["junit"].out).findall("testsuite/testcase/failure")
    assert [failure.get("type") for failure in failed] == ["trust.override"]


def test_what_a_branch_changed_is_shown_at_the_file_it_changed(house: House) -> None:
    house.synced()
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@localhost")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "base"]):
        assert os.spawnvp(os.P_WAIT, "git", [*git, *command]) == 0
    house.ok("key", "new", house.base / "other.key")
    house.ok("trust", "add", f"{house.base}/other.key.pub", "--marketplace", "x", "--datasets", "*")
    answers = in_every_format(house, "check", "--base", "HEAD")
    (result,) = [one for one in sarif_run(answers["sarif"].out)["results"] if one["level"] == "error"]
    assert result["ruleId"] == "trust.changed"
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri == "provenance/trust.json"
    assert "changes since HEAD: trust.changed" in answers["junit"].out


def test_a_project_below_the_top_of_its_repository(house: House) -> None:
    """Code scanning looks for a file from the top of the repository."""
    house.synced()
    (house.base / ".git").mkdir()
    run = sarif_run(house.ok("verify", "--format", "sarif").out)
    uris = {one["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for one in run["results"]}
    assert uris == {"project/provenance/manifests/pets.json"}


def test_a_manifest_outside_any_project(house: House, tmp_path: Path) -> None:
    manifest = house.pinned()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    trust = house.project / "provenance" / "trust.json"
    answer = house.ok("verify", manifest, "--trust", trust, "--format", "sarif", cwd=elsewhere)
    for result in sarif_run(answer.out)["results"]:
        assert "physicalLocation" not in result["locations"][0]


def test_the_commands_that_change_a_project_answer_in_these_formats_too(house: House) -> None:
    house.init()
    manifest = house.release()
    sarif_run(house.ok("add", manifest, "--name", "pets", "--format", "sarif").out)
    junit_suites(house.ok("update", "pets", "--format", "junit").out)
    manifest.write_bytes(manifest.read_bytes().replace(b"alice", b"mallo"))
    refused = house.cli("add", manifest, "--name", "other", "--format", "junit")
    assert refused.code == 1
    assert "other: signature.invalid" in refused.out
    house.ok("key", "new", house.base / "root.key")
    house.ok("trust", "add", f"{house.base}/root.key.pub", "--role", "root")
    draft = house.base / "next.json"
    house.ok("trust", "draft", draft)
    for name, read in READERS.items():
        answer = house.cli("trust", "diff", draft, "--format", name)
        assert answer.code == 1
        read(answer.out)


def test_exec_that_refuses_says_why_in_the_format(house: House) -> None:
    house.synced()
    (house.data / "images" / "cat1.jpg").write_bytes(b"a rat\n")
    answer = house.cli("exec", "--format", "junit", "--", "true")
    assert answer.code == 1
    assert junit_suites(answer.out).get("failures") == "1"


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("command", [["init"], ["doctor"], ["bom"], ["trust", "show"]])
def test_what_is_no_report_has_no_such_format(house: House, command: list[str], name: str) -> None:
    answer = house.cli(*command, "--format", name)
    assert (answer.code, answer.out) == (2, "")
    assert f"'{name}' is for reports, and this command answers with none: use one of text, json" in answer.err
    answer = house.cli(*command, "--format", "xml")
    assert (answer.code, answer.out) == (2, "")
    assert "'xml' is not one of 'text', 'json'" in answer.err


@pytest.mark.parametrize("name", READERS)
def test_where_no_report_can_be_made_stdout_is_empty(house: House, name: str) -> None:
    """So that nothing stale or empty is taken for a clean report."""
    house.init()
    answer = house.cli("check", "--format", name)
    assert (answer.code, answer.out) == (2, "")


def test_the_bytes_do_not_depend_on_the_machine(house: House) -> None:
    house.synced()
    for name in READERS:
        first = databom("check", "--format", name, cwd=house.project)
        again = databom("check", "--format", name, cwd=house.project, PYTHONHASHSEED="7", TZ="Asia/Tokyo")
        assert first.returncode == 0, first.stderr
        assert first.stdout == again.stdout
