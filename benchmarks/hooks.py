"""What the MLflow hook adds to a run: on sqlite and on a server, with its uploads and without, and in trouble."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.loads import databom, sign
from benchmarks.racing import environment

PROGRAM = Path(__file__).parent / "programs" / "mlflow_hook.py"
AUTOS = ("tags", "full")
PROMISED_MS = 60
"""Median of what is added besides uploads."""
TROUBLED_PROMISED_SECONDS = 2


def measure(work: Path, pairs: int) -> Iterator[dict[str, Any]]:
    """The hook's cost, one store after the other, then of each trouble."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from support.tracking import Switchboard, is_evidence, mlflow_server

    place = work / "mlflow"
    shutil.rmtree(place, ignore_errors=True)
    (place / "outside").mkdir(parents=True)
    for auto in AUTOS:
        _project(place / auto, auto)
    found: dict[str, Any] = {"costs": [], "troubles": []}
    with mlflow_server(place) as url:
        for store, uri in (("sqlite", f"sqlite:///{place}/mlflow.db"), ("http", url)):
            for auto in AUTOS:
                sends = _run(place, auto, uri, pairs, "sends")
                free = _run(place, auto, uri, pairs, "free")
                found["costs"].append({"store": store, "auto": auto, "sends": sends, "free": free})
                yield found
        for name, mode, chosen in (
            ("it accepts and never answers", "hang", is_evidence),
            ("its artifact store never answers", "hang", lambda _, path: "/databom/" in path),
            ("it answers 500", "error", is_evidence),
            ("it cuts the connection", "cut", is_evidence),
        ):
            board = Switchboard(url)
            board.mode, board.chosen = mode, chosen
            answer = _run(place, "full", board.url, 3, "troubled")
            board.close()
            found["troubles"].append({"name": name, **answer})
            yield found


def added(row: dict[str, float]) -> float:
    """Milliseconds that databom added to a run of one pair."""
    return row["with"] - row["without"]


def middle(rows: list[dict[str, float]], what: Callable[[dict[str, float]], float]) -> float:
    """The median of a figure of pairs."""
    return statistics.median(map(what, rows))


def _run(place: Path, auto: str, uri: str, pairs: int, server: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, PROGRAM, uri, str(pairs), server, place / "outside", place / auto],
        cwd=place,
        env=environment(),
        check=True,
        capture_output=True,
        text=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _project(place: Path, auto: str) -> None:
    market = place.with_name(f"{place.name}-market")
    (market / "data").mkdir(parents=True)
    (market / "data" / "cat.jpg").write_bytes(b"cat")
    sign(market / "data", market / "data" / "manifest.json", market / "trust.json")
    place.mkdir()
    databom("init", cwd=place)
    key = market / "publisher" / "market.pem.pub"
    databom("trust", "add", key, "--marketplace", "bench", "--datasets", "bench-*", cwd=place)
    settings = place / "databom.toml"
    settings.write_text(settings.read_text().replace('auto = "full"', f'auto = "{auto}"'))
    databom("add", market / "data" / "manifest.json", "--name", "cats", "--no-dvc", cwd=place)
    databom("sync", cwd=place)
