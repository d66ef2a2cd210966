"""The server is down, hangs, answers nonsense or dies: the run does not notice, and the evidence is kept."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from support.programs import FIVE_LINES
from support.tracking import (
    WHOLE,
    Switchboard,
    artifacts,
    databom_tags,
    environment,
    free_port,
    is_evidence,
    run_id_of,
    run_python,
    spooled,
)

pytestmark = pytest.mark.mlflow

PASSWORD = "hunter2-in-the-uri"


@pytest.mark.parametrize("mode", ["hang", "error", "cut"])
def test_trouble_with_the_evidence_alone(
    mode: str, project: Path, metadata: Path, board: Switchboard, server: str
) -> None:
    """MLflow's own settings would wait 120 s a call and retry 7 times: the program must not even notice."""
    from mlflow.tracking import MlflowClient

    board.mode, board.chosen = mode, is_evidence
    uri = board.url.replace("http://", f"http://user:{PASSWORD}@")
    env = environment(metadata, MLFLOW_TRACKING_URI=uri)
    done = run_python(FIVE_LINES, project, env)
    assert done.returncode == 0, done.stderr
    client = MlflowClient(server)
    run = client.get_run(run_id_of(done))
    assert (run.info.status, run.data.params, run.data.metrics) == (
        "FINISHED",
        {"depth": "3"},
        {"accuracy": 0.5},
    )
    # What came with the creation of the run is there; what could not be delivered is kept, and said once.
    assert databom_tags(run)["databom.pack.release"] == "hn-imagepack@2026-01-10"
    kept = spooled(project)
    assert [one["run_id"] for one in kept] == [run.info.run_id]
    assert done.stderr.count("databom:") == 1
    assert ".databom/spool" in done.stderr
    for text in (done.stderr, done.stdout.replace(uri, ""), json.dumps(kept)):
        ours = "\n".join(line for line in text.splitlines() if "databom" in line)
        assert PASSWORD not in ours
    assert kept[0]["tracking"] == board.url

    # The server is well again: the next run brings what is kept, once.
    board.mode = "pass"
    assert run_python(FIVE_LINES, project, env).returncode == 0
    assert not spooled(project)
    run = client.get_run(run.info.run_id)
    assert databom_tags(run)["databom.verdict"] == "pass"
    assert databom_tags(run)["databom.bom"].startswith("sha256:")
    assert len(run.inputs.dataset_inputs) == 1
    assert len(artifacts(client, run.info.run_id)) == WHOLE


def outcome(program: str, folder: Path, env: dict[str, str]) -> tuple[int, str]:
    """Exit code and the last line of a traceback."""
    done = run_python(program, folder, env)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return done.returncode, lines[-1].split(":")[0] if done.returncode else ""


def test_a_server_that_is_down_from_the_start(project: Path, tmp_path: Path, metadata: Path) -> None:
    """MLflow itself refuses; with databom it refuses the same way, and there is no run to keep anything of."""
    outside = tmp_path / "outside"
    outside.mkdir()
    env = environment(
        metadata, MLFLOW_TRACKING_URI=f"http://127.0.0.1:{free_port()}", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0"
    )
    assert outcome(FIVE_LINES, project, env) == outcome(FIVE_LINES, outside, env)
    assert not spooled(project)


def test_a_server_that_hangs_from_the_start(project: Path, tmp_path: Path, metadata: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        env = environment(
            metadata,
            MLFLOW_TRACKING_URI=f"http://127.0.0.1:{listener.getsockname()[1]}",
            MLFLOW_HTTP_REQUEST_MAX_RETRIES="0",
            MLFLOW_HTTP_REQUEST_TIMEOUT="2",
        )
        assert outcome(FIVE_LINES, project, env) == outcome(FIVE_LINES, outside, env)


@pytest.mark.parametrize("inside", [True, False], ids=["with", "without"])
def test_a_server_that_dies_in_mid_run(
    inside: bool, project: Path, tmp_path: Path, server: str, door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    from mlflow.exceptions import MlflowException

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.chdir(project if inside else tmp_path)
    board = Switchboard(server)
    mlflow.set_tracking_uri(board.url)
    run = mlflow.start_run()
    board.close()
    with pytest.raises(MlflowException):
        mlflow.log_metric("loss", 1)
    with pytest.raises(MlflowException):
        mlflow.end_run()
    assert mlflow.active_run() is None
    assert [one["run_id"] for one in spooled(project)] == ([run.info.run_id] if inside else [])


def test_after_one_failure_the_server_is_left_alone(
    project: Path, board: Switchboard, door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One failure is told by the first run; the others ask nothing and wait for nothing."""
    import mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.chdir(project)
    mlflow.set_tracking_uri(board.url)
    board.mode, board.chosen = "error", is_evidence
    for _ in range(5):
        with mlflow.start_run():
            pass
    assert len([call for call in board.calls if is_evidence(*call)]) == 1
    assert len(spooled(project)) == 5


def test_a_server_that_answers_late_gets_everything_and_nobody_waits_twice(
    project: Path, board: Switchboard, server: str, door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    from mlflow.tracking import MlflowClient

    from databom.mlflow import budget

    monkeypatch.setattr(budget, "RUN_SECONDS", 0.3)
    monkeypatch.chdir(project)
    mlflow.set_tracking_uri(board.url)
    board.mode, board.chosen = "late", is_evidence
    ids = []
    for _ in range(4):
        with mlflow.start_run() as run:
            ids.append(run.info.run_id)
    assert {one["run_id"] for one in spooled(project)} == set(ids)
    board.released.set()
    deadline = time.monotonic() + 60
    while spooled(project):
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)
    for run_id in ids:
        assert databom_tags(MlflowClient(server).get_run(run_id))["databom.bom"]
        assert len(artifacts(MlflowClient(server), run_id)) == WHOLE


def test_a_spool_that_came_with_the_repository_is_not_delivered(
    project: Path, board: Switchboard, server: str, door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow
    from mlflow.tracking import MlflowClient

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    victim = MlflowClient(server).create_run("0").info.run_id
    monkeypatch.chdir(project)
    mlflow.set_tracking_uri(board.url)
    board.mode, board.chosen = "error", is_evidence
    with mlflow.start_run():
        pass
    (entry,) = (project / ".databom" / "spool").glob("*.json")
    honest = json.loads(entry.read_text())
    for forged in (
        {"machine": "0" * 32},
        {"tags": {"mlflow.runName": "gotcha"}},
        {"files": {"../outside": "x"}},
        {"files": {"model/MLmodel": "x"}},
        {"manifests": {"../../databom.toml": "sha256:0"}},
        {"tags": {"databom.verdict": 3}},
        {"version": 2},
    ):
        entry.with_name(f"{victim}.json").write_text(json.dumps({**honest, "run_id": victim, **forged}))
        board.mode = "pass"
        _again(door)
        with mlflow.start_run():
            pass
        run = MlflowClient(server).get_run(victim)
        assert "gotcha" not in run.data.tags.get("mlflow.runName", "")
        assert not artifacts(MlflowClient(server), victim)
        assert not [tag for tag in databom_tags(run) if tag != "databom.verdict"]
    entry.with_name(f"{victim}.json").write_bytes(b"\xff{")
    _again(door)
    with mlflow.start_run():
        pass


def _again(door: Any) -> None:
    """Forget that the server failed, as a new process would."""
    from databom.mlflow import runs

    runs._after_fork()


def test_a_deleted_run_is_not_tried_for_ever(
    project: Path, board: Switchboard, server: str, door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.chdir(project)
    mlflow.set_tracking_uri(board.url)
    board.mode, board.chosen = "error", is_evidence
    with mlflow.start_run():
        pass
    (entry,) = (project / ".databom" / "spool").glob("*.json")
    value = json.loads(entry.read_text())
    nobody = "0" * 32
    entry.with_name(f"{nobody}.json").write_text(json.dumps({**value, "run_id": nobody}))
    os.utime(
        entry.with_name(f"{nobody}.json"), (0, 0)
    )  # the oldest: it must not stand in the way of the others
    board.mode = "pass"
    _again(door)
    with mlflow.start_run():
        pass
    assert not spooled(project)
    assert [path.name for path in entry.parent.iterdir()] == [f"{nobody}.undeliverable"]


def test_a_full_or_unwritable_spool_is_said_and_hurts_nobody(
    project: Path,
    board: Switchboard,
    door: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import mlflow

    from databom.mlflow import spool

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(spool, "MAX_ENTRIES", 0)
    monkeypatch.chdir(project)
    mlflow.set_tracking_uri(board.url)
    board.mode, board.chosen = "error", is_evidence
    with mlflow.start_run():
        pass
    assert "could not be kept either" in caplog.text
    caplog.clear()
    (project / ".databom" / "spool").rmdir()
    (project / ".databom" / "spool").write_text("not a folder")
    with mlflow.start_run():
        pass
    assert mlflow.active_run() is None
