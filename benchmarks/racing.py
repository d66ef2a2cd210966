"""Runs contestants: whole processes, each beside a run of the floor, in turns."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

MEASURE = Path(__file__).with_name("programs") / "measure.py"
LONG_SECONDS = 30.0
"""A contestant that takes longer is run once more after the first time, not `runs` times."""


class Run(NamedTuple):
    """One process and all its children: seconds of wall and CPU, peak memory of the largest of them in MiB."""

    wall: float
    cpu: float
    memory: float


@dataclass(frozen=True, slots=True)
class Contestant:
    """Somebody who does the job. `before` is run ahead of every run, outside the measurement."""

    name: str
    command: Sequence[object]
    cwd: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[], object] | None = None


@dataclass(slots=True)
class Result:
    """What was measured of one contestant on one load; `floor` holds the floor's runs of the same pairs."""

    name: str
    runs: list[Run] = field(default_factory=list)
    floor: list[Run] = field(default_factory=list)
    skipped: str | None = None

    def as_json(self) -> dict[str, object]:
        """Every run, so that whoever reads the file can compute what the page does not say."""
        runs, floor = ([one._asdict() for one in group] for group in (self.runs, self.floor))
        return {"name": self.name, "runs": runs, "floor": floor, "skipped": self.skipped}


class FailedError(Exception):
    """A contestant did not do its job."""


def environment() -> dict[str, str]:
    """Of every child: as a user's shell has it. Python may keep its compiled bytecode, and nothing calls home."""
    kept = {key: value for key, value in os.environ.items() if key not in _NOT_A_USERS}
    return kept | {
        "DVC_NO_ANALYTICS": "1",
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "LC_ALL": "C",
    }


_NOT_A_USERS = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONOPTIMIZE", "DATABOM_PROJECT", "DATABOM_TRUST"}


def run(contestant: Contestant) -> Run:
    """Run one process to its end.

    Raises:
        Failed: it answered with anything but 0: a contestant that refuses good data has not won.
    """
    if contestant.before is not None:
        contestant.before()
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result"
        command = [sys.executable, "-I", "-S", MEASURE, result, *contestant.command]
        done = subprocess.run(
            [str(part) for part in command],
            cwd=contestant.cwd,
            env=environment() | contestant.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode != 0:
            last = done.stdout[-600:].decode(errors="replace").strip()
            raise FailedError(f"{contestant.name} ended with {done.returncode}: {last}")
        return Run(*map(float, result.read_text().split()))


def race(contestants: Sequence[Contestant], floor: Contestant | None, runs: int) -> list[Result]:
    """Run every contestant `runs` times, in turns, each run right after one of the floor.

    One run of each before that is not counted: it warms the page cache and writes Python's bytecode. One that fails
    then is skipped, with its last words.
    """
    results = {contestant.name: Result(contestant.name) for contestant in contestants}
    ready = []
    for contestant in contestants:
        try:
            first = run(contestant)
        except (FailedError, OSError) as error:
            results[contestant.name].skipped = str(error)
            _tell(f"  {contestant.name}: skipped, {error}")
        else:
            ready.append((contestant, 1 if first.wall > LONG_SECONDS else runs))
            _tell(f"  {contestant.name}: {first.wall:.2f} s the first time")
    for turn in range(runs):
        for contestant, most in ready[turn % max(1, len(ready)) :] + ready[: turn % max(1, len(ready))]:
            if turn >= most:
                continue
            result = results[contestant.name]
            if floor is not None:
                result.floor.append(run(floor))
            result.runs.append(run(contestant))
    return list(results.values())


def ratios(result: Result, what: str) -> list[float]:
    """Of each pair: the contestant's figure (`wall`, `cpu`) through the floor's."""
    pairs = zip(result.runs, result.floor, strict=True)
    return [getattr(own, what) / max(getattr(floor, what), 1e-6) for own, floor in pairs]


def summary(result: Result) -> str:
    """One line for people who watch."""
    if result.skipped is not None or not result.runs:
        return f"{result.name}: skipped"
    wall = statistics.median(one.wall for one in result.runs)
    memory = max(one.memory for one in result.runs)
    line = f"{result.name}: {wall:.3f} s, {memory:.0f} MiB"
    if result.floor:
        own, cpu = ratios(result, "wall"), ratios(result, "cpu")
        line += f", wall {statistics.median(own):.2f} x ({min(own):.2f}-{max(own):.2f})"
        line += f", cpu {statistics.median(cpu):.2f} x"
        best = min(one.wall for one in result.runs) / min(one.wall for one in result.floor)
        line += f", best against best {best:.2f} x"
    return line


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
