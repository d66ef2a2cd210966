"""`databom affected` with a tracking server: it adds runs and registered models, and takes nothing away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import databom
from databom.model.affected import Affected
from databom.tasks import affected
from support.tracking import Switchboard

pytestmark = pytest.mark.mlflow


@pytest.fixture
def inside(project: Path, store: str, door: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory is the project, the tracking store an empty one."""
    import mlflow

    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(project)
    mlflow.set_tracking_uri(store)
    return project


def a_run() -> str:
    import mlflow

    databom.use("pack")
    with mlflow.start_run() as run:
        mlflow.log_text("weights", "model.txt")
    return f"mlflow:{run.info.run_id}"


def runs(found: Affected) -> dict[str, str]:
    return {one.run: one.use for one in found.runs}


def versions(found: Affected) -> dict[str, tuple[tuple[str, ...], str]]:
    return {one.uri: (one.aliases, one.run) for one in found.versions}


def test_the_registered_versions_of_its_runs(inside: Path) -> None:
    from mlflow.tracking import MlflowClient

    first, second = a_run(), a_run()
    client = MlflowClient()
    client.create_registered_model("cats")
    for run in (first, second, None):
        ident = run.removeprefix("mlflow:") if run else None
        client.create_model_version("cats", f"runs:/{ident}/m" if run else "/somewhere/m", run_id=ident)
    client.set_registered_model_alias("cats", "champion", "1")
    client.set_registered_model_alias("cats", "beta", "1")
    client.copy_model_version("models:/cats/2", "copied")
    found = affected("creator:alice")
    assert found.is_whole
    assert runs(found) == {first: "declared", second: "declared"}
    assert versions(found) == {
        "models:/cats/1": (("beta", "champion"), first),
        "models:/cats/2": ((), second),
        "models:/copied/1": ((), second),
    }
    assert [line.about for line in found.lines() if line.question == "registered"] == [*versions(found)]
    assert affected("creator:bob").versions == ()


def test_tags_add_runs_and_take_none_away(
    inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    receipted, other = a_run(), a_run()
    client = MlflowClient()
    [release] = affected("pack").releases
    monkeypatch.chdir(tmp_path)  # elsewhere: no pins, no receipts
    ident = client.create_run("0", tags={"databom.pack.manifest": release.manifest}).info.run_id
    used = client.create_run(
        "0", tags={"databom.pack.manifest": release.manifest, "databom.pack.use": "read"}
    ).info.run_id
    monkeypatch.chdir(inside)
    client.create_registered_model("cats")
    client.create_model_version("cats", f"runs:/{used}/m", run_id=used)
    client.create_model_version("cats", f"runs:/{ident}/m", run_id=ident)
    client.delete_run(used)
    for name in ("manifest", "use", "release"):
        client.delete_tag(receipted.removeprefix("mlflow:"), f"databom.pack.{name}")
    found = affected("creator:alice")
    assert runs(found) == {
        receipted: "declared",
        other: "declared",
        f"mlflow:{used}": "read",
        f"mlflow:{ident}": "present",
    }
    [deleted] = [one for one in found.runs if one.run == f"mlflow:{used}"]
    assert (deleted.receipt, deleted.strength, deleted.status) == (None, "declared", "running, deleted")
    assert "no receipt" in deleted.because[1]
    assert [*versions(found)] == ["models:/cats/1"]  # nothing is followed from what was only present


def test_a_server_that_does_not_answer_leaves_it_unanswered(
    inside: Path, board: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    from databom.hosts import tracking

    run = a_run()
    monkeypatch.setattr(tracking, "READ_SECONDS", 1.0)
    board.mode = "hang"
    mlflow.set_tracking_uri(f"http://user:hunter2@{board.url.partition('//')[2]}")
    found = affected("pack")
    assert runs(found) == {run: "declared"}
    [untold] = found.untold
    assert "no answer within" in untold.what
    assert "hunter2" not in str(found.to_dict())
    board.released.set()


def test_nobody_is_asked_where_no_server_is_configured(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_run()
    monkeypatch.setattr("databom.tasks.affected_tracked.is_configured", lambda: False)
    found = affected("pack")
    assert (found.registry, found.is_whole, len(found.runs)) == (None, True, 1)
