"""Run the attack corpus against any implementation. Standard library only; see README.md.

    python tests/attacks/run.py --command "databom"

Each case is copied to a folder of its own before its steps are taken there. Prints a table; exits 1 on any
difference, 2 when nothing was run.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
COMMAND = ["verify", "manifest.json", "--trust", "trust.json", "--root", "assets", "--format", "json"]
"""What a case without steps runs."""
VERDICTS = {0: "pass", 1: "fail", 3: "unanswered"}
CHUNK = 4096


class Answer(NamedTuple):
    """What a command answered: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


Execute = Callable[[list[str], Path], Answer]
"""Runs `<implementation> ARGV` in a folder."""


def folders(wanted: str = "") -> list[Path]:
    """The cases, in order; those whose name begins with `wanted`."""
    return sorted(
        path.parent for path in HERE.glob("*/case.json") if path.parent.name.startswith(wanted.lower())
    )


def load(folder: Path) -> dict[str, Any]:
    """A case."""
    case: dict[str, Any] = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    return case


def prepare(folder: Path, place: Path) -> Path:
    """A copy of the case's files that belongs to us and that nobody else may write."""
    shutil.copytree(folder, place, copy_function=shutil.copyfile)
    for path in [place, *place.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    (place / "case.json").unlink()
    return place


def play(case: dict[str, Any], place: Path, execute: Execute) -> list[str]:
    """Take a case's steps in `place`; every difference from what is expected, in words."""
    differences = []
    for step in case.get("steps", [{"run": COMMAND, "expect": case["expect"]}]):
        if "run" in step:
            answer = execute(step["run"], place)
            said = compare(answer, step.get("expect", {"exit": 0}))
            differences += [f"{shlex.join(step['run'][:2])}: {one}" for one in said]
        else:
            do(step, place)
    return differences


def compare(answer: Answer, expect: dict[str, Any]) -> Iterator[str]:
    """How an answer differs from what is expected: exit code, verdict, codes of blocking findings."""
    if answer.code != expect["exit"]:
        yield f"exit {answer.code}, expected {expect['exit']}: {(answer.err.strip() or answer.out.strip())[-300:]}"
    try:
        report = json.loads(answer.out)
    except ValueError:
        report = {}
    if not isinstance(report, dict) or "verdict" not in report:
        if expect.get("codes"):
            yield "no JSON report on stdout"
        return
    if report["verdict"] != VERDICTS.get(answer.code):
        yield f"the report says {report['verdict']}, the exit code is {answer.code}"
    if "codes" in expect and (found := blocking(report)) != sorted(expect["codes"]):
        yield f"blocking findings {found}, expected {sorted(expect['codes'])}"
    if missing := set(expect.get("warns", ())) - {one["code"] for one in findings(report)}:
        yield f"nothing said {sorted(missing)}"


def findings(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The findings of a report, or of all its reports."""
    return [one for part in report.get("reports", [report]) for one in part["findings"]]


def blocking(report: dict[str, Any]) -> list[str]:
    """The codes of what blocks, sorted, each once."""
    return sorted({one["code"] for one in findings(report) if one["severity"] == "block"})


def do(step: dict[str, Any], place: Path) -> None:  # noqa: C901  # one branch a word of the vocabulary
    """One file operation of the vocabulary in README.md."""
    [word] = {"write", "copy", "symlink", "fifo", "mkdir", "chmod", "hardlink", "touch", "flip"} & step.keys()
    path = place / step[word]
    if word in {"write", "copy", "symlink", "fifo", "mkdir", "hardlink"}:
        path.parent.mkdir(parents=True, exist_ok=True)
    if word in {"symlink", "fifo"} or (word == "copy" and path.is_symlink()):
        path.unlink(missing_ok=True)
    if word == "write" and "repeat" in step:
        _repeat(path, step["repeat"])
    elif word == "write":
        path.write_bytes(base64.b64decode(step["base64"]) if "base64" in step else step["text"].encode())
    elif word == "copy":
        shutil.copyfile(place / step["from"], path)
    elif word == "symlink":
        path.symlink_to(step["to"])
    elif word == "fifo":
        os.mkfifo(path)
    elif word == "mkdir":
        path.mkdir(exist_ok=True)
    elif word == "chmod":
        path.chmod(int(step["mode"], 8))
    elif word == "hardlink":
        os.link(place / step["to"], path)
    elif word == "touch":
        os.utime(path, (step["mtime"], step["mtime"]))
    elif word == "flip":
        _flip(path, step["at"], step["bit"])


def _flip(path: Path, at: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        (byte,) = file.read(1)
        file.seek(at)
        file.write(bytes([byte ^ (1 << bit)]))


def _repeat(path: Path, what: dict[str, Any]) -> None:
    """`before`, then `unit` as often as `times` (`#` is the number), then `after`."""
    unit, times = what["unit"], what["times"]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(what.get("before", ""))
        for start in range(0, times, CHUNK):
            count = min(CHUNK, times - start)
            if "#" in unit:
                file.write("".join(unit.replace("#", str(start + index)) for index in range(count)))
            else:
                file.write(unit * count)
        file.write(what.get("after", ""))


def environment(place: Path) -> dict[str, str]:
    """This process's environment without what could decide a verdict."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DATABOM_")}
    return {**kept, "XDG_CONFIG_HOME": str(place.parent / "config"), "HOME": str(place.parent)}


def by_process(command: list[str], timeout: float = 120) -> Execute:
    """Runs an implementation as a process."""

    def execute(argv: list[str], place: Path) -> Answer:
        try:
            done = subprocess.run(
                [*command, *argv],
                cwd=place,
                env=environment(place),
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Answer(-1, "", f"no answer in {timeout:.0f} s")
        return Answer(
            done.returncode, *(part.decode("utf-8", "replace") for part in (done.stdout, done.stderr))
        )

    return execute


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Run the attack corpus against an implementation.")
    parser.add_argument("--command", default="databom", help="the implementation, as a shell would call it")
    parser.add_argument("--only", default="", metavar="PREFIX", help="cases whose name begins so, as a01")
    parser.add_argument("--exit-only", action="store_true", help="compare exit codes, not finding codes")
    parser.add_argument("--single", action="store_true", help="only cases of one `verify`: no project needed")
    parser.add_argument("--slow", action="store_true", help="also cases that write hundreds of megabytes")
    options = parser.parse_args()
    execute = by_process(shlex.split(options.command))
    ran = different = 0
    for folder in folders(options.only):
        case = load(folder)
        if (case.get("slow") and not options.slow) or (options.single and "steps" in case):
            continue
        if options.exit_only:
            for expect in [case["expect"], *(step.get("expect", {}) for step in case.get("steps", []))]:
                expect.pop("codes", None)
                expect.pop("warns", None)
        with tempfile.TemporaryDirectory() as base:
            said = play(case, prepare(folder, Path(base) / "case"), execute)
        ran += 1
        different += bool(said)
        print(f"{'DIFFERS' if said else 'ok':8}{case['id']:5}{folder.name}")
        for one in said:
            print(f"        {one}")
    print(f"{ran} cases, {different} different")
    return 1 if different else 0 if ran else 2


if __name__ == "__main__":
    sys.exit(main())
