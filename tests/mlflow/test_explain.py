"""`databom explain` of MLflow runs and models: the server says where to look, and is believed in nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from databom.errors import ConfigError, DatabomError, PluginError, StorageError
from databom.model.digest import sha256
from databom.model.explanation import Explanation
from databom.tasks import explain
from support.receipts import logged
from support.tracking import Switchboard

pytestmark = pytest.mark.mlflow


def a_run() -> str:
    import mlflow

    with mlflow.start_run() as run:
        mlflow.log_param("depth", 3)
        mlflow.log_text("weights", "model.txt")
    return str(run.info.run_id)


def answers(found: Explanation) -> dict[str, tuple[str, str, str]]:
    return {one.about: (one.answer, one.strength, one.evidence) for one in found.lines}


def test_a_run_and_its_registered_model(inside: Path) -> None:
    from mlflow.tracking import MlflowClient

    run_id = a_run()
    found = explain(run_id)
    (raw,) = logged(inside)
    assert (found.run, found.receipt) == (f"mlflow:{run_id}", sha256(raw))
    assert answers(found)["artifacts/model.txt"][0] == f"sha256 {sha256(b'weights')[7:]}"
    client = MlflowClient()
    client.create_registered_model("cats")
    version = client.create_model_version("cats", f"runs:/{run_id}/model", run_id=run_id).version
    model = explain(f"models:/cats/{version}")
    assert (model.receipt, model.asked) == (found.receipt, f"models:/cats/{version}")
    assert answers(model)["model"][1] == "declared"
    assert explain(f"runs:/{run_id}").receipt == found.receipt
    client.create_registered_model("dogs")
    stray = client.create_model_version("dogs", "/somewhere/model").version
    with pytest.raises(StorageError, match="names no run"):
        explain(f"models:/dogs/{stray}")
    with pytest.raises(ConfigError):
        explain("models:/cats")


def test_tags_and_artifacts_are_not_believed(inside: Path) -> None:
    """Whoever may write to the server changes nothing of the answer."""
    from mlflow.tracking import MlflowClient

    run_id = a_run()
    before = explain(run_id).to_dict()
    client = MlflowClient()
    client.set_tag(run_id, "databom.receipt", "sha256:" + 64 * "0")
    client.set_tag(run_id, "databom.pack.payment", "one-time:txn_forged")
    client.log_text(run_id, "{}", "databom/receipt.dsse.json")
    assert explain(run_id).to_dict() == before


def test_without_the_log_the_artifact_is_a_hint(inside: Path) -> None:
    from mlflow.tracking import MlflowClient

    run_id, other = a_run(), a_run()
    client = MlflowClient()
    artifact = Path(client.download_artifacts(run_id, "databom/receipt.dsse.json"))
    raw = artifact.read_bytes()
    shutil.rmtree(inside / ".databom/log")
    shutil.rmtree(inside / ".databom/receipts")
    found = explain(run_id)
    assert (found.index, found.receipt) == (None, sha256(raw))
    _, strength, evidence = answers(found)["in the log"]
    assert (strength, evidence[:28]) == ("declared", "receipt.tlog-proof beside it")  # by a development key
    assert "artifact of the MLflow run" in answers(found)["receipt"][2]
    # Another run's receipt, or one that was edited, is none of this run's.
    client.log_text(other, raw.decode(), "databom/receipt.dsse.json")
    with pytest.raises(StorageError, match="the receipt of another run"):
        explain(other)
    edited = json.loads(raw)
    edited["signatures"][0]["sig"] = "AAAA" + edited["signatures"][0]["sig"][4:]
    client.log_text(run_id, json.dumps(edited), "databom/receipt.dsse.json")
    with pytest.raises(StorageError, match=r"receipt\.invalid"):
        explain(run_id)


def test_a_logged_model_is_of_its_run(inside: Path) -> None:
    import mlflow

    if not hasattr(mlflow, "create_external_model"):
        pytest.skip("MLflow 2 has no logged models")
    with mlflow.start_run() as run:
        model = mlflow.create_external_model("net", source_run_id=run.info.run_id)
    found = explain(f"models:/{model.model_id}")
    assert (found.run, found.asked) == (f"mlflow:{run.info.run_id}", f"models:/{model.model_id}")
    with pytest.raises(PluginError):
        explain(f"models:/m-{32 * '0'}")


# --- a server that means no good ----------------------------------------------------------------------------


def _without_the_log(project: Path) -> None:
    shutil.rmtree(project / ".databom/log")
    shutil.rmtree(project / ".databom/receipts")


def test_a_server_that_hangs_is_given_up(
    inside: Path, board: Switchboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    from databom.hosts import tracking

    monkeypatch.setattr(tracking, "READ_SECONDS", 1.0)
    board.mode = "hang"
    mlflow.set_tracking_uri(f"http://user:hunter2@{board.url.partition('//')[2]}")
    for target in (32 * "a", "models:/cats/1", f"models:/m-{32 * '0'}"):
        with pytest.raises(DatabomError) as error:
            explain(target)
        assert "UnreachableError" in str(error.value)
        assert "hunter2" not in str(error.value) + str(error.value.hint)
    board.released.set()


def test_what_is_too_long_is_not_fetched(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.tracking import MlflowClient

    run_id = a_run()
    _without_the_log(inside)
    client = MlflowClient()
    client.log_text(run_id, "[]" * 1000, "databom/receipt.dependencies.json")
    monkeypatch.setattr("databom.tasks.finding_receipts.MAX_LIST_BYTES", 1000)
    fetched: list[str] = []
    real = MlflowClient.download_artifacts

    def download(self: Any, run: str, path: str, place: str | None = None) -> str:
        fetched.append(path)
        return str(real(self, run, path, place))

    monkeypatch.setattr(MlflowClient, "download_artifacts", download)
    assert explain(run_id).index is None
    assert fetched == ["databom/receipt.dsse.json", "databom/receipt.tlog-proof"]
    client.log_text(run_id, " " * 2_000_000, "databom/receipt.dsse.json")
    with pytest.raises(StorageError, match="not there, or too long"):
        explain(run_id)


def test_nobody_makes_a_store_to_ask_it(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("databom.hosts.tracking.is_configured", lambda: False)
    with pytest.raises(PluginError, match="no tracking server"):
        explain("models:/cats/1")
