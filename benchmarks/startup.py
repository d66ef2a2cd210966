"""What starting costs: an import, `--help`, a small verification."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from benchmarks.loads import DATABOM, sign
from benchmarks.racing import Contestant, Run, run

TARGETS = {
    "python -c pass": None,
    "import databom": 0.15,
    "databom --help": 0.3,
    "databom verify, two files": 0.5,
}
"""What is started, and the seconds of wall it may take."""


def start_ups(work: Path, runs: int) -> list[dict[str, object]]:
    """Seconds of each start, in turns."""
    place = work / "two-files"
    shutil.rmtree(place, ignore_errors=True)
    (place / "data").mkdir(parents=True)
    for name in ("cat.jpg", "dog.jpg"):
        (place / "data" / name).write_bytes(name.encode() * 2600)
    sign(place / "data", place / "manifest.json", place / "trust.json")
    verify = ["verify", place / "manifest.json", "--trust", place / "trust.json", "--root", place / "data"]
    commands: dict[str, list[object]] = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "import databom": [sys.executable, "-c", "import databom"],
        "databom --help": [DATABOM, "--help"],
        "databom verify, two files": [DATABOM, *verify],
    }
    contestants = [Contestant(name, command, place) for name, command in commands.items()]
    found: dict[str, list[Run]] = {name: [] for name in commands}
    for turn in range(runs + 1):
        for contestant in contestants:
            once = run(contestant)
            if turn:
                found[contestant.name].append(once)
    return [
        {"name": name, "target": TARGETS[name], "runs": [one._asdict() for one in found[name]]}
        for name in commands
    ]
