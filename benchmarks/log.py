"""The log: appending to a directory, alone and in groups; then a million entries: opening, proving, verifying."""

from __future__ import annotations

import random
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path

from databom.checks.log import audit
from databom.log.appending import Log
from databom.log.checkpoint import Speakers
from databom.log.reading import LogReader
from databom.model import times
from databom.storage.location import parse_location
from databom.storage.shelf import open_shelf, open_writable_shelf
from databom.trust.keys import PrivateKey

ORIGIN = "benchmark.example/log"
ENTRIES = 1_000_000
GROUP = 256
_BYTES = 400


def measure(work: Path, entries: int = ENTRIES) -> list[dict[str, object]]:
    """Each figure: what, how much, its unit, and what it may be."""
    key = PrivateKey.generate()
    speakers = Speakers.by_keys([key.public])
    rows = [_appending(work / "log-appends", key, speakers, group) for group in (1, GROUP)]
    folder = work / "log-large"
    shutil.rmtree(folder, ignore_errors=True)
    where = parse_location(str(folder))
    writer = Log(open_writable_shelf(where), ORIGIN, [key], speakers)
    for start in range(0, entries, 16_384):
        writer.append([_entry(number) for number in range(start, min(entries, start + 16_384))])

    def opened() -> LogReader:
        return LogReader.open(open_shelf(where), speakers, ORIGIN, now=times.now())

    chance = random.Random(1)
    proofs = [_seconds(lambda: opened().prove(chance.randrange(entries))) for _ in range(200)]
    reader = opened()
    verified = _seconds(lambda: _require(audit(reader, {}, speakers).findings == ()))
    rows += [
        _row(
            f"open a log of {entries:,}", statistics.median(_seconds(opened) for _ in range(50)) * 1e3, "ms"
        ),
        _row(
            f"an entry of {entries:,} and its proof, from opening on: median",
            statistics.median(proofs) * 1e3,
            "ms",
            5,
        ),
        _row("the same: slowest of 200", max(proofs) * 1e3, "ms"),
        _row(f"verify a log of {entries:,}", verified, "s", 10),
    ]
    shutil.rmtree(folder)
    return rows


def _appending(folder: Path, key: PrivateKey, speakers: Speakers, group: int) -> dict[str, object]:
    shutil.rmtree(folder, ignore_errors=True)
    writer = Log(open_writable_shelf(parse_location(str(folder))), ORIGIN, [key], speakers)
    commits = 200 if group == 1 else 80
    took = _seconds(
        lambda: [
            writer.append([_entry(n) for n in range(at * group, (at + 1) * group)]) for at in range(commits)
        ]
    )
    shutil.rmtree(folder)
    what = "appends, one by one" if group == 1 else f"appends in groups of {group}"
    return _row(what, commits * group / took, "entries/s", None if group == 1 else 2000)


def _entry(number: int) -> bytes:
    return b"%0*d" % (_BYTES, number)


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _require(holds: bool) -> None:
    if not holds:
        raise RuntimeError("the log that was measured does not hold")


def _row(what: str, value: float, unit: str, target: float | None = None) -> dict[str, object]:
    return {"name": what, "value": value, "unit": unit, "target": target}
