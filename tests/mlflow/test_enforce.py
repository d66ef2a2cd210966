"""`enforce`: a run whose data fails the gate is never created, and a resumed one does not go on."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from databom.errors import CheckFailed, ConfigError, DatabomError, PluginError
from support.programs import FIVE_LINES
from support.tracking import databom_tags, environment, run_python

pytestmark = pytest.mark.mlflow


def runs() -> list[Any]:
    from mlflow.tracking import MlflowClient

    return list(MlflowClient().search_runs(["0"]))


def tamper(project: Path) -> None:
    (project / "data/pack/images/cat.jpg").write_bytes(b"a rat\n")


def start_fluent() -> None:
    import mlflow

    mlflow.start_run()


def start_nested() -> None:
    import mlflow

    mlflow.start_run(nested=True)


def start_with_a_client() -> None:
    from mlflow.tracking import MlflowClient

    MlflowClient().create_run("0")


def start_as_lightning_does() -> None:
    from mlflow.tracking import MlflowClient
    from mlflow.tracking.context.registry import resolve_tags

    MlflowClient().create_run(experiment_id="0", tags=resolve_tags({}))


def start_implicitly() -> None:
    import mlflow

    mlflow.log_metric("loss", 1)


@pytest.mark.parametrize(
    "start", [start_fluent, start_nested, start_with_a_client, start_as_lightning_does, start_implicitly]
)
def test_bad_data_never_gets_a_run(inside: Path, door: Any, start: Callable[[], None]) -> None:
    import mlflow

    tamper(inside)
    door.autolog(mode="enforce")
    with pytest.raises(CheckFailed) as refusal:
        start()
    assert [f.code for r in refusal.value.report.reports for f in r.blocking] == ["integrity.mismatch"]
    assert mlflow.active_run() is None
    assert runs() == []


def test_good_data_gets_its_run(inside: Path, door: Any) -> None:
    import mlflow

    door.autolog(mode="enforce")
    with mlflow.start_run() as parent, mlflow.start_run(nested=True):
        pass
    assert len(runs()) == 2
    for run in runs():
        assert databom_tags(run)["databom.verdict"] == "pass"
        assert len(run.inputs.dataset_inputs) == 1
    assert parent.info.run_id


def test_a_child_of_a_gated_run_is_gated_too(inside: Path, door: Any) -> None:
    import mlflow

    door.autolog(mode="enforce")
    with mlflow.start_run():
        with mlflow.start_run(nested=True):
            pass
        tamper(inside)
        with pytest.raises(CheckFailed):
            mlflow.start_run(nested=True)
    assert len(runs()) == 2


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_a_resumed_run_is_refused_and_keeps_its_status(inside: Path, door: Any, status: str) -> None:
    import mlflow
    from mlflow.tracking import MlflowClient

    run = mlflow.start_run()
    mlflow.end_run(status)
    ended = MlflowClient().get_run(run.info.run_id).info.end_time
    tamper(inside)
    door.autolog(mode="enforce")
    with pytest.raises(CheckFailed):
        mlflow.start_run(run_id=run.info.run_id)
    assert mlflow.active_run() is None
    info = MlflowClient().get_run(run.info.run_id).info
    assert (info.status, info.end_time) == (status, ended)


def test_a_resumed_run_on_good_data_goes_on(inside: Path, door: Any) -> None:
    import mlflow

    with mlflow.start_run() as run:
        pass
    door.autolog(mode="enforce")
    with mlflow.start_run(run_id=run.info.run_id):
        mlflow.log_metric("loss", 1)
    assert runs()[0].info.status == "FINISHED"


def test_what_failed_once_cannot_be_made_good_by_resuming(inside: Path, door: Any) -> None:
    import json

    import mlflow

    good = (inside / "data/pack/images/cat.jpg").read_bytes()
    tamper(inside)
    with mlflow.start_run() as run:
        pass
    assert databom_tags(runs()[0])["databom.verdict"] == "fail"
    (inside / "data/pack/images/cat.jpg").write_bytes(good)
    from databom.tasks import sync

    sync(project=inside).require()
    with mlflow.start_run(run_id=run.info.run_id):
        pass
    assert databom_tags(runs()[0])["databom.verdict"] == "fail"
    with mlflow.start_run():
        pass
    assert databom_tags(runs()[0])["databom.verdict"] == "pass"
    report = json.loads(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/databom/report.json"))
    assert report["verdict"] == "fail"
    assert report["pins"][0]["verdict"] == "pass"


def test_the_project_says_enforce_and_no_code_does(project: Path, store: str, metadata: Path) -> None:
    config = project / "databom.toml"
    config.write_text(config.read_text().replace('mode = "observe"', 'mode = "enforce"'))
    env = environment(metadata, MLFLOW_TRACKING_URI=store)
    assert run_python(FIVE_LINES, project, env).returncode == 0
    tamper(project)
    for program in (
        FIVE_LINES,
        "import mlflow\nmlflow.MlflowClient().create_run('0')\n",
        "import mlflow, databom.mlflow\ndatabom.mlflow.autolog(disable=True)\nmlflow.start_run()\n",
    ):
        done = run_python(program, project, env)
        assert done.returncode == 1
        assert re.search(r"^databom\.errors\.CheckFailed: .*fail$", done.stderr, re.MULTILINE), done.stderr
    from mlflow.tracking import MlflowClient

    assert len(MlflowClient(store).search_runs(["0"])) == 1


def test_enforcing_without_a_project_is_refused(
    project: Path, tmp_path: Path, store: str, door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    mlflow.set_tracking_uri(store)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="no project with pins"):
        door.autolog(mode="enforce")
    with mlflow.start_run():  # what was refused is not in force
        pass
    monkeypatch.chdir(project)
    door.autolog(mode="enforce")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="the run is not created"):
        mlflow.start_run()
    assert len(runs()) == 1


def test_a_gate_that_cannot_answer_refuses(inside: Path, door: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    from databom.tasks import gating

    door.autolog(mode="enforce")
    (inside / "databom.lock").write_text("{")
    with pytest.raises(DatabomError):
        mlflow.start_run()
    (inside / "databom.toml").write_text("nonsense")
    with pytest.raises(DatabomError):
        mlflow.start_run()
    assert runs() == []

    def breaks(*_names: str, **_options: Any) -> Any:
        raise MemoryError

    import databom.tasks

    monkeypatch.setattr(gating, "gate", breaks)
    monkeypatch.setattr(databom.tasks, "gate", breaks, raising=False)
    with pytest.raises(PluginError, match="MemoryError"):
        mlflow.start_run()
    assert runs() == []


def test_an_unknown_mode_is_refused(door: Any) -> None:
    with pytest.raises(ConfigError, match="'observe' or 'enforce'"):
        door.autolog(mode="strict")


def test_disabled_records_nothing_and_can_be_enabled_again(inside: Path, door: Any) -> None:
    import mlflow

    door.autolog(disable=True)
    with mlflow.start_run():
        pass
    assert not databom_tags(runs()[0])
    door.autolog()
    with mlflow.start_run():
        pass
    assert databom_tags(runs()[0])["databom.verdict"] == "pass"


def test_saying_it_in_code_outweighs_auto_off(inside: Path, door: Any) -> None:
    import mlflow

    config = inside / "databom.toml"
    config.write_text(config.read_text().replace('auto = "full"', 'auto = "off"'))
    with mlflow.start_run():
        pass
    assert not databom_tags(runs()[0])
    door.autolog()
    with mlflow.start_run():
        pass
    assert "databom.bom" in databom_tags(runs()[0])


def test_autologging_of_mlflow_itself_trains_on_without_a_run(inside: Path, door: Any) -> None:
    """A limit that the door's front page states: MLflow swallows what its own autologging raises."""
    import mlflow.sklearn
    from sklearn.linear_model import LogisticRegression

    tamper(inside)
    door.autolog(mode="enforce")
    mlflow.sklearn.autolog(log_models=False)
    try:
        LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    finally:
        mlflow.sklearn.autolog(disable=True)
    assert runs() == []


def test_without_mlflow_the_door_says_what_to_install(tmp_path: Path, metadata: Path) -> None:
    program = (
        "import sys\nsys.modules['mlflow'] = None\n"
        "import databom, databom.mlflow\n"
        "try: databom.mlflow.autolog()\n"
        "except databom.ConfigError as error: print(error, '|', error.hint)\n"
        "from databom.hosts.tracking import run_tags\n"
        "try: run_tags('x')\n"
        "except databom.DatabomError as error: print(error, '|', error.hint)\n"
    )
    done = run_python(program, tmp_path, environment(metadata))
    assert (
        done.stdout.count("MLflow is not installed in this environment | pip install 'databom[mlflow]'") == 2
    )
