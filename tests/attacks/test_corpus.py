"""Every case of the corpus, by the command line and by Python: they must say the same (R1, R2, B18)."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import databom
from attacks import make, run
from attacks.run import Answer
from databom.errors import DatabomError

CASES = [
    pytest.param(folder, id=folder.name, marks=[pytest.mark.slow] if run.load(folder).get("slow") else [])
    for folder in run.folders()
]
SPOKEN = (
    "b01_good_pass",
    "a04_nested_arrays_100000_fail",
    "d13_fifo_fail",
    "b16_empty_file_fail",
    "c01_rollback_fail",
)


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing in the environment, and no user's own trust root, decides anything."""
    for name in os.environ:
        if name.startswith("DATABOM_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    old = os.umask(0o022)
    yield
    os.umask(old)


@pytest.mark.parametrize("folder", CASES)
def test_b18_by_the_command_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from databom.cli import main

    def execute(argv: list[str], place: Path) -> Answer:
        capfd.readouterr()
        with monkeypatch.context() as patch:
            patch.chdir(place)
            patch.setattr(sys, "argv", ["databom", *argv])
            with pytest.raises(SystemExit) as stop:
                main()
        assert isinstance(stop.value.code, int)
        answer = Answer(stop.value.code, *capfd.readouterr())
        agree(answer)
        return answer

    assert run.play(run.load(folder), run.prepare(folder, tmp_path / "case"), execute) == []


def agree(answer: Answer) -> None:
    """The last line on stderr says what the exit code says, and no control character reaches the terminal."""
    assert "Traceback" not in answer.err
    assert all(character.isprintable() or character == "\n" for character in answer.err)
    last = answer.err.strip().splitlines()[-1]
    if answer.out.startswith("{"):
        verdict = run.VERDICTS[answer.code]
        assert last.endswith((verdict, "fetches its assets")), last
        assert answer.code == 0 or last.endswith(verdict), last
    else:
        assert answer.code == 2
        assert not last.endswith("pass")


@pytest.mark.parametrize("folder", CASES)
def test_by_python(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def execute(argv: list[str], place: Path) -> Answer:
        with monkeypatch.context() as patch:
            patch.chdir(place)
            try:
                report = ask(argv)
            except DatabomError as error:
                return Answer(error.exit_code, "", str(error))
        return Answer(report.verdict.exit_code, report.to_json(), report.sentence())

    assert run.play(run.load(folder), run.prepare(folder, tmp_path / "case"), execute) == []
    assert capfd.readouterr() == ("", "")


def ask(argv: list[str]) -> databom.Report | databom.Reports:
    """What a command line asks, asked in Python."""
    words = [word for word in argv if word not in ("--format", "json", "--strict", "--no-dvc")]
    options = {word[2:]: value for word, value in pairwise(words) if word.startswith("--")}
    targets = [word for word in words[1:] if not word.startswith("--") and word not in options.values()]
    match words[0]:
        case "verify":
            report = databom.verify(*targets, **options)
        case "check":
            report = databom.check()
        case "sync":
            report = databom.sync(*targets)
        case "add":
            report = databom.add(*targets, **options, dvc=False)
        case "trust":
            from databom.tasks.rotating import trust_update

            report = trust_update(Path(targets[-1])).report
        case other:
            raise AssertionError(other)
    return report.strict() if "--strict" in argv else report


def runner(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(run.HERE / "run.py"), *argv], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", SPOKEN)
def test_by_the_runner(name: str) -> None:
    done = runner("--command", shlex.join([sys.executable, "-m", "databom"]), "--only", name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 cases, 0 different" in done.stdout


def test_the_runner_sees_who_always_says_yes_or_no() -> None:
    """A runner that cannot fail would show nothing."""
    yes, no = (shlex.join([sys.executable, "-c", f"raise SystemExit({code})"]) for code in (0, 1))
    assert runner("--command", yes, "--only", "b01_stranger").returncode == 2
    for command, name in ((yes, "b04_stranger_fail"), (no, "b01_good_pass")):
        done = runner("--command", command, "--only", name, "--exit-only")
        assert done.returncode == 1
        assert "DIFFERS" in done.stdout


def test_the_corpus_is_what_make_writes(tmp_path: Path) -> None:
    make.make(tmp_path)
    assert contents(tmp_path) == contents(run.HERE)


def contents(base: Path) -> dict[str, bytes]:
    folders = [path.parent for path in base.glob("*/case.json")]
    files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
    return {file.relative_to(base).as_posix(): file.read_bytes() for file in files}


def test_the_corpus_is_small_and_names_its_verdicts() -> None:
    held = contents(run.HERE)
    assert max(map(len, held.values())) < 100_000
    assert sum(map(len, held.values())) < 3_000_000
    for folder in run.folders():
        case = run.load(folder)
        assert folder.name.startswith(case["id"].lower() + "_")
        assert folder.name.endswith("_fail" if case["expect"]["exit"] else "_pass")
        assert case["title"]
