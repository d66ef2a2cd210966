"""In `observe` a run with databom ends exactly as it would without, whatever breaks inside databom."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from databom.errors import ConfigError
from support.tracking import PATIENCE_SECONDS, databom_tags, forget

pytestmark = pytest.mark.mlflow

IN_THE_RUNS_THREAD = (
    "databom.mlflow.place",
    "databom.mlflow.provider",
    "databom.mlflow.switch",
    "databom.mlflow.warn",
    "databom.mlflow.runs",
    "databom.mlflow.record",
    "databom.mlflow.gathering",
    "databom.mlflow.background",
    "databom.hosts.tracking",
    "databom.tasks.evidence",
    "databom.tasks.use",
    "databom.mlflow.closing",
    "databom.mlflow.telling",
    "databom.tasks.intents",
)
BEHIND_IT = (
    "databom.mlflow.delivery",
    "databom.mlflow.spool",
    "databom.tasks.recorded",
    "databom.tasks.project",
    "databom.mlflow.flushing",
    "databom.tasks.receipt_ledger",
    "databom.tasks.outputs",
    "databom.tasks.receipting",
    "databom.tasks.receipts",
    "databom.tasks.signers",
    "databom.tasks.surroundings",
)
KINDS = (MemoryError(), ConfigError("broken"))
"""What refuses a run in `enforce`, a ConfigError, must not be able to in `observe`."""
BOTH = bool(os.environ.get("DATABOM_SEARCH"))
"""Whether a call in the run's thread fails in both ways; else they take turns."""
REFUSE = {"_gated", "creating", "activating", "is_ours"}
"""What may raise a DatabomError by its promise (in `enforce`), and what those ask before all else: there only other
exceptions are injected."""


def train(uri: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Train in every way a hook sees; everything about the runs that is not databom's, by role."""
    import mlflow
    from mlflow.tracking import MlflowClient
    from mlflow.tracking.context.registry import resolve_tags

    monkeypatch.chdir(folder)
    mlflow.set_tracking_uri(uri)
    client = MlflowClient()
    runs: dict[str, str] = {}
    with mlflow.start_run(tags={"mine": "1"}) as run:
        runs["fluent"] = run.info.run_id
        mlflow.log_param("depth", 3)
        for step in range(3):
            mlflow.log_metric("loss", 1 / (step + 1), step=step)
        mlflow.log_text("weights", "model/weights.txt")
        mlflow.log_input(
            mlflow.data.from_numpy(_array(), source=str(folder / "data" / "pack")), context="eval"
        )
        with mlflow.start_run(nested=True) as child:
            runs["nested"] = child.info.run_id
    with mlflow.start_run(run_id=runs["nested"]):
        mlflow.log_metric("again", 1)
    runs["client"] = client.create_run("0", tags=resolve_tags({"a": "b"})).info.run_id
    client.set_terminated(runs["client"], "KILLED")
    runs["updated"] = client.create_run("0").info.run_id
    client.update_run(runs["updated"], "FAILED", "renamed")
    with contextlib.suppress(ZeroDivisionError), mlflow.start_run() as run:
        runs["raises"] = run.info.run_id
        _ = 1 / 0
    assert mlflow.active_run() is None
    return {role: told(client, run_id) for role, run_id in runs.items()}


@functools.cache
def _array() -> Any:
    import numpy as np

    return np.zeros((2, 2))


def told(client: Any, run_id: str) -> dict[str, Any]:
    """All a run says, without what names it or is ours."""
    run = client.get_run(run_id)
    tags = {k: v for k, v in run.data.tags.items() if not k.startswith(("databom.", "mlflow."))}
    metrics = {
        key: [(m.step, m.value) for m in client.get_metric_history(run_id, key)] for key in run.data.metrics
    }
    files = [one.path for one in client.list_artifacts(run_id) if one.path != "databom"]
    inputs = [
        one.dataset.name for one in run.inputs.dataset_inputs if one.dataset.source_type != "databom_release"
    ]
    return {"status": run.info.status, "params": run.data.params, "metrics": metrics, "tags": tags,
            "files": files, "inputs": inputs, "parent": "mlflow.parentRunId" in run.data.tags}  # fmt: skip


@pytest.fixture(scope="module")
def baseline(shared_store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    import mlflow

    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        yield train(shared_store, tmp_path_factory.mktemp("outside"), patch)
    mlflow.set_tracking_uri(before)


class Site(NamedTuple):
    """A function or a method."""

    owner: Any
    attribute: str
    function: Callable[..., Any]

    def replaced(self, patch: pytest.MonkeyPatch, stand_in: Callable[..., Any]) -> None:
        """Put `stand_in` there, and wherever a module of ours has imported it."""
        stand_in = functools.wraps(self.function)(stand_in)
        patch.setattr(self.owner, self.attribute, stand_in)
        for name, module in list(sys.modules.items()):
            if name.startswith("databom.") and vars(module).get(self.attribute) is self.function:
                patch.setattr(module, self.attribute, stand_in)


def functions_of(module: ModuleType) -> Iterator[Site]:
    """Every function and method a module defines."""
    for name, value in list(vars(module).items()):
        if inspect.isfunction(value) and value.__module__ == module.__name__:
            yield Site(module, name, value)
        elif inspect.isclass(value) and value.__module__ == module.__name__:
            for method, function in list(vars(value).items()):
                if inspect.isfunction(function) and (method == "__init__" or not method.startswith("__")):
                    yield Site(value, method, function)


def finish_what_is_late() -> None:
    """Wait until every thread of ours has done what it was given: what a log says is then given to a server's."""
    from databom.mlflow import runs

    state = runs._state
    for background in (state.ledgers, *(one._background for one in state.servers.values())):
        done = threading.Event()
        background.submit(done.set)
        assert done.wait(PATIENCE_SECONDS)


_called: dict[Site, float] = {}


@pytest.fixture
def called(project: Path, store: str, door: Any, monkeypatch: pytest.MonkeyPatch) -> dict[Site, float]:
    """The functions that a training calls, and the budget of a run, in seconds, with which it does.

    A third of all are not called by it. To break one of those is to train once more with nothing broken.
    """
    from databom.mlflow import budget

    if not _called:
        sites = [
            site for name in (*IN_THE_RUNS_THREAD, *BEHIND_IT) for site in functions_of(import_module(name))
        ]
        for seconds, breaking_with in ((PATIENCE_SECONDS, 0.2), (0.0, 0.0)):
            forget()
            with monkeypatch.context() as patch:
                patch.setattr(budget, "RUN_SECONDS", seconds)
                for site in sites:
                    site.replaced(patch, _listening(site, breaking_with))
                train(store, project, monkeypatch)
                finish_what_is_late()
    return _called


def _listening(site: Site, seconds: float) -> Callable[..., Any]:
    def listening(*arguments: Any, **named: Any) -> Any:
        _called.setdefault(site, seconds)
        return site.function(*arguments, **named)

    return listening


@pytest.mark.sampled
@pytest.mark.parametrize("name", [*IN_THE_RUNS_THREAD, *BEHIND_IT])
def test_any_call_of_a_hook_may_fail(
    name: str,
    project: Path,
    store: str,
    baseline: dict[str, Any],
    called: dict[Site, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from databom.mlflow import budget

    monkeypatch.setattr(threading, "excepthook", lambda _arguments: None)
    sites = [site for site in functions_of(import_module(name)) if site in called]
    assert sites
    for number, site in enumerate(sites):
        kinds = KINDS if BOTH else (KINDS[number % 2],)
        if name in BEHIND_IT or site.attribute in REFUSE:
            kinds = KINDS[:1]
        for error in kinds:

            def broken(*_arguments: Any, _error: Exception = error, **_named: Any) -> Any:
                raise _error

            forget()
            # A run whose delivery is broken waits for its whole budget.
            monkeypatch.setattr(budget, "RUN_SECONDS", called[site])
            with monkeypatch.context() as patch:
                site.replaced(patch, broken)
                assert train(store, project, monkeypatch) == baseline, f"{error!r} in {site} changed a run"


def test_healthy_runs_say_the_same(
    project: Path, store: str, baseline: dict[str, Any], door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(store, project, monkeypatch) == baseline


def test_no_thread_can_be_started(
    project: Path, store: str, baseline: dict[str, Any], door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("databom"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert train(store, project, monkeypatch) == baseline


@pytest.mark.parametrize("file", ["databom.toml", "databom.lock"])
@pytest.mark.parametrize(
    "content", [b"", b"\x00\xff", b"<<<<<<< HEAD\n", b"[" * 100_000, b"[]", b'{"pins": 3}']
)
def test_a_broken_project_breaks_no_run(
    file: str, content: bytes, project: Path, store: str, baseline: dict[str, Any], door: Any,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    import mlflow
    from mlflow.tracking import MlflowClient

    (project / file).write_bytes(content)
    assert train(store, project, monkeypatch) == baseline
    run = MlflowClient().search_runs(["0"], max_results=1)[0]
    assert databom_tags(run).get("databom.verdict") in (None, "fail")
    assert mlflow.active_run() is None


def test_ctrl_c_passes_and_still_ends_the_run(
    project: Path, store: str, door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    from mlflow.tracking import MlflowClient

    from databom.mlflow import place, record

    def interrupted(*_arguments: Any, **_named: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.chdir(project)
    mlflow.set_tracking_uri(store)
    with monkeypatch.context() as patch:
        patch.setattr(place, "find", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mlflow.start_run()
    run = mlflow.start_run()
    with monkeypatch.context() as patch:
        patch.setattr(record.Record, "finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mlflow.end_run("FAILED")
    assert MlflowClient().get_run(run.info.run_id).info.status == "FAILED"


def test_import_mlflow_survives_a_broken_databom(project: Path, store: str, metadata: Path) -> None:
    """A module of the door cannot be imported, in any way there is."""
    from support.programs import FIVE_LINES
    from support.tracking import environment, run_python

    for module, sabotage in (("wraps", "ImportError"), ("runs", "MemoryError"), ("switch", "ValueError")):
        program = (
            "import importlib.abc, importlib.util, sys\n"
            "class Broken(importlib.abc.MetaPathFinder, importlib.abc.Loader):\n"
            "    def find_spec(self, name, path, target=None):\n"
            f"        if name == 'databom.mlflow.{module}':\n"
            "            return importlib.util.spec_from_loader(name, self)\n"
            "    def exec_module(self, module):\n"
            f"        raise {sabotage}\n"
            "sys.meta_path.insert(0, Broken())\n"
        ) + FIVE_LINES
        done = run_python(program, project, environment(metadata, MLFLOW_TRACKING_URI=store))
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr


def test_warnings_are_said_once_and_not_when_silenced(
    project: Path, store: str, door: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import mlflow

    (project / "databom.lock").write_text("{")
    monkeypatch.chdir(project)
    mlflow.set_tracking_uri(store)
    for _ in range(2):
        with mlflow.start_run():
            pass
    said = [
        r.getMessage() for r in caplog.records if r.name == "databom" and "databom.lock" in r.getMessage()
    ]
    assert len([one for one in said if "runs carry no evidence" in one]) == 1
    assert len(said) == len(set(said))  # that the receipt waits is another thing to say
    caplog.clear()
    door.autolog(silent=True)
    (project / "databom.lock").write_text("[")
    with mlflow.start_run():
        pass
    assert not [record for record in caplog.records if record.name == "databom"]


def test_user_code_cannot_say_pass(
    project: Path, store: str, door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    from mlflow.tracking import MlflowClient

    (project / "data/pack/labels.csv").write_text("changed\n")
    monkeypatch.chdir(project)
    mlflow.set_tracking_uri(store)
    with mlflow.start_run(tags={"databom.verdict": "pass", "databom.bom": "sha256:0"}) as run:
        pass
    tags = databom_tags(MlflowClient().get_run(run.info.run_id))
    assert tags["databom.verdict"] == "fail"
    assert tags["databom.bom"] != "sha256:0"
    report = json.loads(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/databom/report.json"))
    assert report["pins"][0]["reason"] == "labels.csv changed since it was verified"
