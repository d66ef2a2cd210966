"""In `observe` a run with databom ends exactly as it would without, whatever breaks inside databom."""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from databom.errors import ConfigError
from support.tracking import databom_tags

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
    "databom.tasks.ledger",
    "databom.tasks.outputs",
    "databom.tasks.receipting",
    "databom.tasks.receipts",
    "databom.tasks.signers",
    "databom.tasks.surroundings",
)
BROKEN = [(name, MemoryError()) for name in (*IN_THE_RUNS_THREAD, *BEHIND_IT)] + [
    # What refuses a run in `enforce` must not be able to in `observe`.
    (name, ConfigError("broken"))
    for name in IN_THE_RUNS_THREAD
]
REFUSE = {"_gated", "creating", "activating"}
"""What may raise a DatabomError by its promise (in `enforce`): only other exceptions are injected there."""


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


@pytest.fixture
def baseline(store: str, tmp_path: Path, door: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    outside = tmp_path / "outside"
    outside.mkdir()
    return train(store, outside, monkeypatch)


@pytest.fixture
def short_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose delivery is broken waits for its whole budget; a hundred of them would take minutes."""
    from databom.mlflow import budget

    monkeypatch.setattr(budget, "RUN_SECONDS", 0.2)


def functions_of(module: ModuleType) -> Iterator[tuple[Any, str, Callable[..., Any]]]:
    """Every function and method a module defines: (owner, name, function)."""
    for name, value in list(vars(module).items()):
        if inspect.isfunction(value) and value.__module__ == module.__name__:
            yield module, name, value
        elif inspect.isclass(value) and value.__module__ == module.__name__:
            for method, function in list(vars(value).items()):
                if inspect.isfunction(function) and (method == "__init__" or not method.startswith("__")):
                    yield value, method, function


@pytest.mark.parametrize(
    ("name", "error"), BROKEN, ids=lambda one: one if isinstance(one, str) else type(one).__name__
)
def test_any_call_of_a_hook_may_fail(
    name: str,
    error: Exception,
    project: Path,
    store: str,
    baseline: dict[str, Any],
    door: Any,
    short_budget: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from importlib import import_module

    monkeypatch.setattr(threading, "excepthook", lambda _arguments: None)
    module = import_module(name)
    tried = 0
    for owner, attribute, function in functions_of(module):
        if attribute in REFUSE and isinstance(error, ConfigError):
            continue

        def broken(*_arguments: Any, **_named: Any) -> Any:
            raise error

        from databom.mlflow import runs

        runs._after_fork()
        with monkeypatch.context() as patch:
            patch.setattr(owner, attribute, functools.wraps(function)(broken))
            assert train(store, project, monkeypatch) == baseline, f"{attribute} of {owner} changed a run"
        tried += 1
    assert tried


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
