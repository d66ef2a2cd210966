"""I03: whatever is raised in whatever function of ours, the run is what it would be without databom."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import databom

pytestmark = pytest.mark.mlflow

SOURCE = os.path.dirname(databom.__file__)
NET = f"{SOURCE}/mlflow/wraps.py"
"""Stands in for MLflow's own methods, and is the net below everything else: it calls one of both and no more."""
RAISED = (MemoryError, ZeroDivisionError, KeyboardInterrupt, SystemExit)
STEP = 1 if os.environ.get("DATABOM_SEARCH") else 7
Site = tuple[str, str]


def site(frame: FrameType) -> Site | None:
    """A function of ours, in the hook."""
    code = frame.f_code
    if not code.co_filename.startswith(SOURCE) or code.co_filename == NET or code.co_name == "<module>":
        return None
    return code.co_filename, code.co_qualname


@contextmanager
def entering(say: Callable[[Site], None]) -> Iterator[None]:
    """Have `say` called, and what it raises raised, whenever a function of ours is entered, in any new thread too."""

    def trace(frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and (found := site(frame)) is not None:
            say(found)

    before = sys.gettrace()
    threading.settrace(trace)
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)
        threading.settrace(before)  # type: ignore[arg-type]


def train() -> None:
    """What a user's program does."""
    import mlflow

    with mlflow.start_run():
        mlflow.log_param("depth", 3)
        mlflow.log_metrics({"loss": 0.5})
        mlflow.log_text("weights", "model.txt")


def left() -> tuple[object, ...]:
    """What the newest run is to its user."""
    from mlflow.tracking import MlflowClient

    (run,) = MlflowClient().search_runs(["0"], max_results=1)
    made = [one.path for one in MlflowClient().list_artifacts(run.info.run_id) if one.path != "databom"]
    return run.info.run_id, run.info.status, run.data.params, run.data.metrics, made


@pytest.fixture
def sites(inside: Path) -> list[tuple[Site, bool]]:
    """Every function of ours that such a run enters, in a fixed order; whether in the thread of the run."""
    from databom.mlflow import runs

    train()  # imports
    found: dict[Site, bool] = {}

    def note(one: Site) -> None:
        found[one] = found.get(one, False) or threading.current_thread() is threading.main_thread()

    runs._after_fork()
    with entering(note):
        train()
    return sorted(found.items())


@pytest.mark.sampled
def test_i03_any_function_may_raise(
    inside: Path, sites: list[tuple[Site, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception each time the function is entered: it is broken, or there is no memory left."""
    import mlflow

    from databom.mlflow import budget, runs

    assert len(sites) > 200
    monkeypatch.setattr(budget, "RUN_SECONDS", 0.3)
    good = left()[1:]
    assert good == ("FINISHED", {"depth": "3"}, {"loss": 0.5}, ["model.txt"])
    for number, (where, _) in enumerate(sites[::STEP]):
        kind = RAISED[number % 2]

        def broken(one: Site, where: Site = where, kind: type[Exception] = kind) -> None:  # type: ignore[assignment]
            if one == where:
                raise kind

        runs._after_fork()
        with entering(broken):
            train()
        assert left()[1:] == good, (where, kind)
        assert mlflow.active_run() is None


@pytest.mark.sampled
def test_i03_a_ctrl_c_is_a_ctrl_c(
    inside: Path, sites: list[tuple[Site, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, where the function is first entered. In the run's thread it leaves as it is; in ours nobody notices."""
    import mlflow

    from databom.mlflow import budget, runs

    monkeypatch.setattr(budget, "RUN_SECONDS", 0.3)
    good = left()[1:]
    for number, (where, _) in enumerate(sites[:: STEP + 1]):
        kind = RAISED[2 + number % 2]
        was_in: list[bool] = []

        def interrupted(
            one: Site, where: Site = where, kind: type[BaseException] = kind, was_in: list[bool] = was_in
        ) -> None:
            if one == where and not was_in:
                was_in.append(threading.current_thread() is threading.main_thread())
                raise kind

        runs._after_fork()
        before, left_as = left()[0], None
        with entering(interrupted):
            try:
                train()
            except (KeyboardInterrupt, SystemExit) as error:
                left_as = type(error)
        assert mlflow.active_run() is None, where
        after = left()
        if left_as is None:
            assert after[1:] == good, (where, was_in)
        else:
            assert (was_in, left_as) == ([True], kind), where
            # As a Ctrl-C at that moment leaves it without us: no run, one that did not begin, one that failed or ended.
            assert after[0] == before or after[1] in ("RUNNING", "FAILED", "FINISHED"), where
