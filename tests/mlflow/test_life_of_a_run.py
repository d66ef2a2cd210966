"""From its creation to its end: what becomes known on the way is there at the end, and nothing is claimed early."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from databom.errors import CheckFailed, ConfigError
from support.tracking import WHOLE, artifacts, databom_tags

pytestmark = pytest.mark.mlflow

PATIENCE_SECONDS = 60


def tags_of(run_id: str) -> dict[str, str]:
    from mlflow.tracking import MlflowClient

    return databom_tags(MlflowClient().get_run(run_id))


def artifact(run_id: str, name: str) -> Any:
    import mlflow

    return json.loads(mlflow.artifacts.load_text(f"runs:/{run_id}/databom/{name}"))


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.02)


# --- use ------------------------------------------------------------------------------------------------


def check_use(run_id: str, expected: str) -> None:
    """Tag, report and BOM name the same use, and the tag names this BOM."""
    import hashlib

    import mlflow

    bom = mlflow.artifacts.load_text(f"runs:/{run_id}/databom/bom.cdx.json")
    assert tags_of(run_id)["databom.pack.use"] == expected
    assert tags_of(run_id)["databom.bom"] == "sha256:" + hashlib.sha256(bom.encode()).hexdigest()
    assert [one["use"] for one in artifact(run_id, "report.json")["pins"]] == [expected]
    properties = [
        one for component in json.loads(bom)["components"] for one in component.get("properties", [])
    ]
    assert [one["value"] for one in properties if one["name"].endswith(":use")] == [expected]


def test_what_is_read_during_the_run_is_read_at_its_end(inside: Path) -> None:
    import mlflow

    import databom

    with mlflow.start_run() as run, databom.open("pack", "labels.csv") as file:
        assert tags_of(run.info.run_id)["databom.pack.use"] == "present"
        file.read()
    check_use(run.info.run_id, "read")


def test_what_is_read_after_the_documents_were_written_is_read_too(
    inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    import databom
    from databom.mlflow import record

    monkeypatch.setattr(record, "SETTLE_SECONDS", 0.0)
    with mlflow.start_run() as run:
        eventually(lambda: "databom.bom" in tags_of(run.info.run_id))
        check_use(run.info.run_id, "present")
        databom.use("pack")
    check_use(run.info.run_id, "declared")


def test_a_logged_dataset_under_the_pin_is_input(inside: Path) -> None:
    import mlflow
    import numpy as np

    with mlflow.start_run() as run:
        mlflow.log_input(mlflow.data.from_numpy(np.zeros(3), source=str(inside / "data/pack/labels.csv")))
    check_use(run.info.run_id, "input")
    with mlflow.start_run() as run:
        mlflow.log_input(mlflow.data.from_numpy(np.zeros(3), source=str(inside / "train.csv")))
    check_use(run.info.run_id, "present")


def test_a_running_stage_uses_what_it_depends_on(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    (inside / "dvc.yaml").write_text("stages:\n  train:\n    cmd: python train.py\n    deps: [data/pack]\n")
    monkeypatch.setenv("DVC_STAGE", "train")
    monkeypatch.setenv("DVC_ROOT", str(inside))
    with mlflow.start_run() as run:
        pass
    check_use(run.info.run_id, "stage")


# --- the verdict ------------------------------------------------------------------------------------------


def test_a_check_that_does_not_finish_is_unverified_and_delays_nothing(
    inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    from databom.tasks import recorded

    let_go = threading.Event()
    real = recorded._look

    def slow(root: Path, path: str) -> Any:
        let_go.wait(PATIENCE_SECONDS)
        return real(root, path)

    monkeypatch.setattr(recorded, "_look", slow)
    try:
        with mlflow.start_run() as run:
            pass
        assert tags_of(run.info.run_id)["databom.verdict"] == "unverified"
        (pin,) = artifact(run.info.run_id, "report.json")["pins"]
        assert (pin["verdict"], pin["reason"]) == ("unverified", "its files were not compared yet")
    finally:
        let_go.set()


def test_a_run_created_before_the_check_ended_says_pass_when_it_has(
    inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    from databom.mlflow import record
    from databom.tasks import recorded

    let_go = threading.Event()
    real = recorded._look

    def slow(root: Path, path: str) -> Any:
        let_go.wait(PATIENCE_SECONDS)
        return real(root, path)

    monkeypatch.setattr(recorded, "_look", slow)
    monkeypatch.setattr(record, "SETTLE_SECONDS", 0.0)
    with mlflow.start_run() as run:
        assert tags_of(run.info.run_id)["databom.verdict"] == "unverified"
        let_go.set()
        eventually(lambda: tags_of(run.info.run_id)["databom.verdict"] == "pass")
    assert tags_of(run.info.run_id)["databom.verdict"] == "pass"


def test_the_tree_that_changed_between_two_runs(inside: Path) -> None:
    import mlflow

    with mlflow.start_run() as good:
        pass
    (inside / "data/pack/labels.csv").write_text("dog,cat\n")
    with mlflow.start_run() as bad:
        assert tags_of(bad.info.run_id)["databom.verdict"] != "pass"
    assert tags_of(good.info.run_id)["databom.verdict"] == "pass"
    assert tags_of(bad.info.run_id)["databom.verdict"] == "fail"


def test_a_lock_that_changes_is_read_again(inside: Path, make_project: Callable[..., Path]) -> None:
    import mlflow

    with mlflow.start_run() as first:
        pass
    make_project(inside, "pack", "second")
    with mlflow.start_run() as run:
        pass
    assert tags_of(first.info.run_id)["databom.pins"] == "pack"
    assert tags_of(run.info.run_id)["databom.pins"] == "pack,second"
    assert tags_of(run.info.run_id)["databom.verdict"] == "pass"


def test_a_resumed_run_says_what_its_earlier_part_said(inside: Path) -> None:
    import mlflow

    import databom

    with mlflow.start_run() as run:
        pass
    with mlflow.start_run(run_id=run.info.run_id):
        databom.use("pack")
    check_use(run.info.run_id, "declared")
    earlier = artifact(run.info.run_id, "report.json")["earlier"]
    assert earlier["databom.pack.use"] == "present"


# --- the rest of its life --------------------------------------------------------------------------------


def test_a_client_of_another_store_than_the_default(inside: Path, tmp_path: Path, empty_store: Path) -> None:
    import shutil

    from mlflow.tracking import MlflowClient

    shutil.copy(empty_store, tmp_path / "other.db")
    client = MlflowClient(f"sqlite:///{tmp_path}/other.db")
    experiment = client.create_experiment("mine", (tmp_path / "artifacts").as_uri())
    run_id = client.create_run(experiment).info.run_id
    client.set_terminated(run_id)
    run = client.get_run(run_id)
    assert databom_tags(run)["databom.verdict"] == "pass"
    assert len(artifacts(client, run_id)) == WHOLE
    assert MlflowClient().search_runs(["0"]) == []


def test_ended_twice_and_by_a_stranger(inside: Path) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    run_id = client.create_run("0").info.run_id
    client.set_terminated(run_id)
    before = tags_of(run_id)
    client.set_terminated(run_id, "FAILED")
    client.update_run(run_id, status="FINISHED")
    client.update_run(run_id, name="renamed")
    assert tags_of(run_id) == before
    assert client.get_run(run_id).info.run_name == "renamed"


def test_runs_that_nobody_ends_are_let_go(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    from databom.mlflow import runs

    monkeypatch.setattr(runs, "MAX_OPEN_RUNS", 3)
    client = MlflowClient()
    ids = [client.create_run("0").info.run_id for _ in range(6)]
    assert [record.run_id for record in runs._state.records()] == ids[-3:]
    runs.at_exit()
    for run_id in ids[-3:]:
        assert "databom.bom" in tags_of(run_id)


def test_a_run_that_cannot_be_created_is_nobodys(inside: Path) -> None:
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    from databom.mlflow import runs

    with pytest.raises(MlflowException):
        MlflowClient().create_run("no-such-experiment")
    assert runs._state.records() == []


def test_a_logged_model_carries_the_tags_too(inside: Path) -> None:
    import mlflow

    if not hasattr(mlflow, "create_external_model"):
        pytest.skip("MLflow 2 has no logged models")
    with mlflow.start_run():
        model = mlflow.create_external_model(name="m")
    assert model.tags["databom.pack.release"] == "hn-imagepack@2026-01-10"
    assert model.tags["databom.verdict"] in ("pass", "unverified")


# --- the source of a dataset input --------------------------------------------------------------------------


def test_our_source_is_registered_whichever_is_imported_first() -> None:
    """MLflow loads our entry point while it is being imported itself, perhaps by us."""
    code = (
        "import warnings; warnings.simplefilter('error', UserWarning)\n"
        "from databom.mlflow import DatabomSource\n"
        "from mlflow.data.dataset_source_registry import _dataset_source_registry as registry\n"
        "assert DatabomSource in registry.sources\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_source_loads_what_it_names_after_verifying_it(inside: Path) -> None:
    from databom.mlflow import DatabomSource

    pin = json.loads((inside / "databom.lock").read_text())["pins"]["pack"]
    source = DatabomSource.from_dict({"name": "pack", "manifest": pin["manifest"], "root": 3, "evil": "x"})
    assert source.to_dict() == {
        "name": "pack", "release": None, "manifest": pin["manifest"], "tree": None, "source": None, "root": None,
    }  # fmt: skip
    assert source.load() == str(inside / "data/pack")
    (inside / "data/pack/labels.csv").write_text("changed")
    with pytest.raises(CheckFailed):
        source.load()
    with pytest.raises(ConfigError, match="no pin of"):
        DatabomSource(manifest="sha256:0").load()


def test_a_source_claims_no_uri() -> None:
    from mlflow.data.dataset_source_registry import resolve_dataset_source

    from databom.mlflow import DatabomSource

    assert len(DatabomSource._get_source_type()) <= 36
    for uri in ("s3://bucket/x", "r2://bucket/x", "/tmp/x", "https://host/x", "databom://x", 3):
        assert DatabomSource._can_resolve(uri) is False
    assert not isinstance(resolve_dataset_source("/tmp/x"), DatabomSource)
    with pytest.raises(NotImplementedError):
        DatabomSource._resolve("x")
