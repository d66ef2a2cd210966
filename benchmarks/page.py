"""`benchmarks/results.json` to `docs/performance.md`: nothing on the page is written by hand."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from benchmarks.hooks import PROMISED_MS, TROUBLED_PROMISED_SECONDS, added, middle

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "performance.md"

HEAD = """\
# Performance

<!-- Written by `python -m benchmarks page` from benchmarks/results.json. Do not edit. -->

Measured by `python -m benchmarks`, which anybody can run (`pip install '.[bench]'` in a clone installs most peers).
Whole processes with a warm page cache, in turns, each right after a run of what it is compared with; a cell says the
median of the ratios of these pairs, in brackets the lowest and the highest. Memory is the peak of the largest process.
Ratios hold on another machine better than seconds do.
"""
LOCAL = """\
## A folder

**The floor** is a C program that is given paths, sizes and digests, hashes the files with OpenSSL on two threads, and
knows nothing else: no signature, no manifest, no unlisted file. 1.00 is as long as the floor takes. `databom verify` is
the whole job: the signature, the manifest read strictly, every byte, and what the manifest does not list. *Hashing
alone* is its engine with the manifest's list, unsigned and unchecked. Below 1.00 is possible where one file leaves a
core idle: the floor does not read ahead of its hashing, databom does.
"""
REMOTE = """\
## A bucket

A SeaweedFS on the same machine, which shares its cores with whoever reads from it. 1.00 is what `rclone hashsum
--download` takes.
"""
START = "## Starting\n"
HOOK = """\
## In MLflow

What databom adds to a run that logs one metric and ends at once, so that nothing of the hook's work is hidden behind
training: the median of the differences between a run with databom and one without, in pairs, in one process
(`python -m benchmarks hooks`). *Besides uploads* is the same where the server and its artifact store are taken to
answer at once: judging the data, BOM, report, receipt, its signature, the log, every file durable. The uploads are
requests that a run of any other artifacts has too.
"""
MEMORY = """\
## Memory

Peak of `databom verify --full`: it does not grow with bytes. It grows with files by what is kept of their manifest,
unless that lists them in shards.
"""
READING = """\
## Large manifests

A whole process that decides whether a manifest is believed: imports, trust root, strict reading, signature, release and
policy. Each asset has every member that it is likely to have. Last stands the peak, less that of `databom --help`, in
sizes of the document.
"""
LOG = """\
## The log

In a directory on this machine's disk, entries of 400 bytes, every commit durable before it is acknowledged. In one
process, after the imports.
"""


def render(results: dict[str, Any]) -> str:
    """The page."""
    parts = [HEAD, _about(results)]
    if results.get("local"):
        parts += [LOCAL, _races(results["local"])]
    if results.get("remote"):
        parts += [REMOTE, _races(results["remote"])]
    if results.get("startup"):
        parts += [START, _starts(results["startup"])]
    if results.get("hooks"):
        parts += [HOOK, _hooks(results["hooks"])]
    if results.get("memory"):
        parts += [MEMORY, _memory(results["memory"])]
    if results.get("reading"):
        parts += [READING, _reading(results["reading"])]
    if results.get("log"):
        parts += [LOG, _log(results["log"])]
    return "\n".join(parts)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def _about(results: dict[str, Any]) -> str:
    machine = results["machine"]
    rows = [[name, value] for name, value in machine.items()]
    rows += [[name, version] for name, version in sorted(results["versions"].items())]
    return _table(["", ""], rows)


def _races(loads: dict[str, Any]) -> str:
    names = list(dict.fromkeys(one["name"] for load in loads.values() for one in load["results"]))
    found = {(label, one["name"]): one for label, load in loads.items() for one in load["results"]}
    blocks = []
    what = [[label, _scaled(load), load["date"], _seconds(load)] for label, load in loads.items()]
    blocks.append(_table(["load", "", "measured", "1.00 is"], what))
    for title, cell in (("Wall", _wall), ("CPU", _cpu), ("Peak memory, MiB", _peak)):
        rows = [[name, *(cell(found.get((label, name))) for label in loads)] for name in names]
        blocks.append(f"**{title}**\n\n" + _table(["", *loads], rows))
    skipped = [
        f"{one['name']} on {label}: {one['skipped']}" for (label, _), one in found.items() if one["skipped"]
    ]
    if skipped:
        blocks.append("Skipped:\n\n" + "".join(f"- {line}\n" for line in skipped))
    return "\n".join(blocks)


def _scaled(load: dict[str, Any]) -> str:
    return load["what"] + ("" if load["scale"] == 1 else f", scaled by {load['scale']:g}")


def _seconds(load: dict[str, Any]) -> str:
    floor = [run["wall"] for one in load["results"] for run in one["floor"]]
    return f"{statistics.median(floor):.2f} s ({min(floor):.2f}–{max(floor):.2f})" if floor else "–"


def _ratios(one: dict[str, Any], what: str) -> list[float]:
    return [run[what] / floor[what] for run, floor in zip(one["runs"], one["floor"], strict=True)]


def _wall(one: dict[str, Any] | None) -> str:
    if one is None or not one["runs"] or not one["floor"]:
        return "–"
    own = _ratios(one, "wall")
    return f"{statistics.median(own):.2f}" + (
        f" ({min(own):.2f}–{max(own):.2f})" if len(own) > 1 else " (once)"
    )


def _cpu(one: dict[str, Any] | None) -> str:
    return (
        "–"
        if one is None or not one["runs"] or not one["floor"]
        else f"{statistics.median(_ratios(one, 'cpu')):.2f}"
    )


def _peak(one: dict[str, Any] | None) -> str:
    return "–" if one is None or not one["runs"] else f"{max(run['memory'] for run in one['runs']):.0f}"


def _starts(rows: list[dict[str, Any]]) -> str:
    body = []
    for row in rows:
        wall, cpu = ([run[what] for run in row["runs"]] for what in ("wall", "cpu"))
        target = f"{row['target']} s" if row["target"] else "–"
        body.append(
            [
                row["name"],
                f"{statistics.median(wall):.3f} s ({min(wall):.3f}–{max(wall):.3f})",
                f"{statistics.median(cpu):.3f} s",
                target,
            ]
        )
    return _table(["", "wall", "CPU", "may take"], body)


def _hooks(found: dict[str, Any]) -> str:
    head = [
        *("store", "`auto`", "a run without", "added", "besides uploads", "promised"),
        *("of it at the start", "requests", "asking the provider once"),
    ]
    body = []
    for one in found["costs"]:
        sends, free = one["sends"]["rows"], one["free"]["rows"]
        own = [added(row) for row in free]
        body.append(
            [
                one["store"],
                f"`{one['auto']}`",
                f"{middle(sends, lambda row: row['without']):.0f} ms",
                f"{middle(sends, added):+.0f} ms",
                f"{statistics.median(own):+.0f} ms ({min(own):.0f} to {max(own):.0f})",
                f"under {PROMISED_MS} ms",
                f"{middle(free, lambda row: row['start']):.1f} ms",
                f"{middle(sends, lambda row: row['calls']):.0f}",
                f"{one['sends']['asking']:.2f} ms",
            ]
        )
    troubles = [
        [
            one["name"],
            f"{max(map(added, one['rows'])) / 1000:.2f} s",
            f"under {TROUBLED_PROMISED_SECONDS} s",
        ]
        for one in found["troubles"]
    ]
    worst = _table(["the server is well, but not to databom", "added at most", "promised"], troubles)
    about = f"Measured on {found['date']}, at a load of {found['load']:g} over the last minute.\n"
    return "\n".join([about, _table(head, body), worst])


def _memory(rows: list[dict[str, Any]]) -> str:
    body = [
        [row.get("where", "disk"), f"{row['files']:,}", f"{row['bytes']:,}", f"{row['memory']:.0f} MiB"]
        for row in rows
    ]
    return _table(["on", "files", "bytes", "peak"], body)


def _reading(rows: list[dict[str, Any]]) -> str:
    body = [
        [
            f"{row['assets']:,}",
            f"{row['bytes'] / 1e6:.0f} MB",
            row["form"],
            f"{row['cpu']:.2f} s",
            f"{row['memory']:.0f} MiB",
            f"{row['times']:.2f}",
        ]
        for row in rows
    ]
    return _table(["assets", "document", "signature", "CPU", "peak", "times the document"], body)


def _log(rows: list[dict[str, Any]]) -> str:
    def shown(row: dict[str, Any]) -> list[str]:
        wanted = row["target"]
        may = (
            "–"
            if wanted is None
            else f"{'at least' if row['unit'].endswith('/s') else 'under'} {wanted:,} {row['unit']}"
        )
        figure = f"{row['value']:,.0f}" if row["value"] >= 100 else f"{row['value']:.2f}"
        return [row["name"], f"{figure} {row['unit']}", may]

    return _table(["", "", "promised"], [shown(row) for row in rows])
