"""What the hook costs a run, in pairs: one run without databom, then one with it, and so on. Prints JSON.

Arguments: the tracking URI; how many pairs; `sends`, or `free` (the server is taken to answer at once), or `troubled`
(every pair is the first of its process, as far as databom remembers); a folder without a project; the project. The
first pairs are not counted. Milliseconds:

    without, with_   a run of one metric, start to end
    start, end       inside of MLflow's calls that create and end it, what the hook took
    uploads          of `end`, while a request of the hook was on its way
    calls            to the server and its artifact store
    asking           what MLflow's asking our context provider takes
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import mlflow

from databom.hosts.tracking import Tracking
from databom.mlflow import RunContext

SENT = ("log_inputs", "put", "set_tags", "put_to_model", "tag_versions")
spans: dict[str, list[tuple[float, float]]] = {}


def timed(owner: Any, name: str, kind: str, instead: Callable[..., Any] | None = None) -> None:
    """Note when a function is at work, or replace it."""
    original = instead or getattr(owner, name)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        began = time.perf_counter()
        try:
            return original(*arguments, **named)
        finally:
            spans.setdefault(kind, []).append((began, time.perf_counter()))

    setattr(owner, name, wrapped)


def nothing(*_: Any, **__: Any) -> None:
    """A server that takes no time."""


def one(folder: str) -> float:
    """A run in a folder; milliseconds."""
    os.chdir(folder)
    spans.clear()
    began = time.perf_counter()
    with mlflow.start_run():
        mlflow.log_metric("loss", 0.5)
    return (time.perf_counter() - began) * 1000


def total(kind: str, within: str | None = None) -> float:
    """Milliseconds of the spans of a kind, as far as they lie in those of another."""
    found = 0.0
    for began, ended in spans.get(kind, ()):
        for low, high in spans.get(within, ()) if within else ((began, ended),):
            found += max(0.0, min(ended, high) - max(began, low))
    return found * 1000


def main() -> None:
    """Measure."""
    uri, pairs, server, outside, project = sys.argv[1:]
    mlflow.set_tracking_uri(uri)
    one(project)
    from databom.mlflow import runs

    for name, kind in (("creating", "start"), ("created", "start"), ("ending", "end")):
        timed(runs, name, kind)
    for name in SENT:
        timed(Tracking, name, "uploads", nothing if server == "free" else None)
    rows = []
    for turn in range(int(pairs) + 3):
        without = one(outside)
        if server == "troubled":
            runs._after_fork()  # noqa: SLF001
        with_ = one(project)
        row = {"without": without, "with": with_, "start": total("start"), "end": total("end")}
        row |= {"uploads": total("uploads", within="end"), "calls": len(spans.get("uploads", ()))}
        if turn >= 3:
            rows.append(row)
    provider = RunContext()
    began = time.perf_counter()
    for _ in range(200):
        if provider.in_context():
            provider.tags()
    asking = (time.perf_counter() - began) * 1000 / 200
    print(json.dumps({"rows": rows, "asking": asking}))


main()
