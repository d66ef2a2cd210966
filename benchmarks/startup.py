"""What starting costs: an import, `--help`, a small verification, and the MLflow hook in a run."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.loads import DATABOM, databom, sign
from benchmarks.racing import Contestant, Run, environment, run

PROGRAM = Path(__file__).parent / "programs" / "mlflow_hook.py"
TARGETS = {
    "python -c pass": None,
    "import databom": 0.15,
    "databom --help": 0.3,
    "databom verify, two files": 0.5,
}
"""What is started, and the seconds of wall it may take."""
HOOKS = (
    ("no project", None),
    ('tags (`auto = "tags"`)', "tags"),
    ('tags, artifacts, inputs (`auto = "full"`)', "full"),
)


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


def hooks(work: Path, runs: int) -> list[dict[str, object]]:
    """Milliseconds a run takes with MLflow on sqlite: without a project, with tags, with everything."""
    rows: list[dict[str, object]] = []
    for name, auto in HOOKS:
        place = work / "mlflow" / (auto or "none")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        if auto is not None:
            _project(place, auto)
        done = subprocess.run(
            [sys.executable, PROGRAM, str(runs)],
            cwd=place,
            env=environment(),
            check=True,
            capture_output=True,
            text=True,
        )
        whole, asking = map(float, done.stdout.split())
        rows.append({"name": name, "run": whole, "asking": asking})
    return rows


def _project(place: Path, auto: str) -> None:
    market = place.with_name(f"{place.name}-market")
    shutil.rmtree(market, ignore_errors=True)
    (market / "data").mkdir(parents=True)
    (market / "data" / "cat.jpg").write_bytes(b"cat")
    sign(market / "data", market / "data" / "manifest.json", market / "trust.json")
    databom("init", cwd=place)
    shutil.copy(market / "trust.json", place / "provenance" / "trust.json")
    settings = place / "databom.toml"
    settings.write_text(settings.read_text().replace('auto = "full"', f'auto = "{auto}"'))
    databom("add", market / "data" / "manifest.json", "--name", "cats", "--no-dvc", cwd=place)
    databom("sync", cwd=place)


def median(rows: list[dict[str, float]], what: str) -> float:
    """The median of one figure."""
    return statistics.median(row[what] for row in rows)
