"""`databom log verify --run`: the log against what MLflow kept of it (H03), MLflow against what the log says (I08)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import databom
from databom.bom.cyclonedx import before_receipt, with_receipt
from databom.errors import PluginError
from databom.model.digest import sha256
from databom.tasks.log_reading import log_verify
from databom.tasks.project import Project
from databom.tasks.remembering import remember
from support.house import House
from support.receipts import logged
from support.tracking import databom_tags

pytestmark = pytest.mark.mlflow


@pytest.fixture(autouse=True)
def first_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    from databom.mlflow import flushing

    flushing._looked.clear()
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)


def client() -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient()


def train(*, with_model: bool = False) -> str:
    """A run with a file, and a model if wanted, which takes MLflow seconds."""
    import mlflow

    with mlflow.start_run() as run:
        databom.use("pack")
        mlflow.log_param("depth", 3)
        mlflow.log_text("weights", "out/weights.txt")
        if with_model:
            from sklearn.linear_model import LinearRegression

            mlflow.sklearn.log_model(LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0]), name="line")
    return str(run.info.run_id)


def artifact(run_id: str, path: str) -> Path:
    """Where the store keeps a file of a run: whoever may write there changes it so."""
    return Path(client().get_run(run_id).info.artifact_uri.removeprefix("file://"), path)


def log_of(project: Path) -> Path:
    return project / ".databom" / "log"


def forget_the_anchors(project: Path) -> None:
    """Another clone, whose git history has lost the newest checkpoints."""
    shutil.rmtree(project / ".databom" / "checkpoints")
    (project / "provenance" / "checkpoint").unlink()


# --- MLflow against the log ------------------------------------------------------------------------------


def test_a_run_that_nobody_touched(inside: Path, house: House) -> None:
    run_id = train()
    tag = databom_tags(client().get_run(run_id))["databom.checkpoint"]
    assert artifact(run_id, "databom/receipt.tlog-proof").read_text().endswith(f"\n\n{tag}")
    client().set_tag(run_id, "team", "vision")  # what is not ours may change
    answer = house.json("log", "verify", "--run", run_id)
    assert (answer.code, answer.blocking) == (0, set()), answer.out
    assert {one.partition(": ")[2] for one in answer.report["log"]["anchors"] if one.startswith("run ")} == {
        "tag databom.checkpoint",
        "databom/receipt.tlog-proof",
    }
    assert "held against 4 kept checkpoints: pass" in answer.err
    assert house.ok("log", "verify", "--run", run_id, "--run", train(), "--all-runs")


def test_a_run_that_went_on(inside: Path, house: House) -> None:
    import mlflow

    run_id = train()
    with mlflow.start_run(run_id=run_id):
        mlflow.log_text("better", "out/weights.txt")
        mlflow.log_text("more", "out/more.txt")
    answer = house.json("log", "verify", "--run", run_id)
    assert (answer.code, answer.blocking) == (0, set()), answer.out
    artifact(run_id, "out/weights.txt").write_text("weights")  # as its first part left it
    assert house.json("log", "verify", "--run", run_id).blocking == {"capture.differs"}


def test_a_project_whose_runs_carry_tags_alone(inside: Path, house: House) -> None:
    path = inside / "databom.toml"
    path.write_text(path.read_text().replace('auto = "full"', 'auto = "tags"'))
    run_id = train()
    answer = house.json("log", "verify", "--run", run_id)
    assert (answer.code, answer.blocking) == (0, set()), answer.out


@pytest.mark.parametrize(
    "tag",
    ["verdict", "pins", "receipt", "bom", "checkpoint"]
    + [f"pack.{one}" for one in ("release", "manifest", "tree", "license", "payment", "use")],
)
def test_i08_a_tag_that_was_edited(inside: Path, house: House, tag: str) -> None:
    """MLflow takes tags after the end of a run."""
    run_id = train()
    client().set_tag(run_id, f"databom.{tag}", "unverified")
    answer = house.json("log", "verify", "--run", run_id)
    assert answer.code == 1
    (finding,) = [one for one in answer.findings if one["severity"] == "block"]
    assert finding["subject"] == f"run {run_id}: tag databom.{tag}"
    assert finding["code"] == ("log.corrupt" if tag == "checkpoint" else "capture.differs")
    if tag == "checkpoint":
        return
    assert finding["found"] == "unverified"
    client().delete_tag(run_id, f"databom.{tag}")
    answer = house.json("log", "verify", "--run", run_id)
    assert (answer.code, answer.blocking) == (1, {"capture.differs"})


def another_bom(run_id: str) -> None:
    """Whoever writes a BOM anew puts its digest into the tag, and the pointer to the receipt stays."""
    path = artifact(run_id, "databom/bom.cdx.json")
    bom = json.loads(before_receipt(path.read_bytes()))
    bom["components"][0]["licenses"] = [{"license": {"id": "CC0-1.0"}}]
    receipt = databom_tags(client().get_run(run_id))["databom.receipt"]
    forged = with_receipt(json.dumps(bom).encode(), receipt)
    path.write_bytes(forged)
    client().set_tag(run_id, "databom.bom", sha256(forged))


def replace(path: str) -> Callable[[str], None]:
    return lambda run_id: artifact(run_id, path).write_text("another") and None


def remove(path: str) -> Callable[[str], None]:
    return lambda run_id: artifact(run_id, path).unlink()


def another_proof(run_id: str) -> None:
    other = artifact(train(), "databom/receipt.tlog-proof").read_bytes()
    artifact(run_id, "databom/receipt.tlog-proof").write_bytes(other)


@pytest.mark.parametrize(
    ("change", "code", "where"),
    [
        *((replace(one), "capture.differs", one) for one in ("out/weights.txt", "databom/report.json")),
        *((replace(f"databom/{one}"), "capture.differs", f"databom/{one}")
          for one in ("receipt.dsse.json", "run.json", "environment.txt", "bom.cdx.json")),
        *((remove(one), "capture.gone", one)
          for one in ("out/weights.txt", "databom/receipt.dsse.json", "databom/receipt.tlog-proof",
                      "databom/bom.cdx.json")),
        (another_bom, "capture.differs", "databom/bom.cdx.json"),
        (another_proof, "capture.differs", "databom/receipt.tlog-proof"),
    ],
)  # fmt: skip
def test_i08_an_artifact_that_was_replaced(
    inside: Path, house: House, change: Callable[[str], None], code: str, where: str
) -> None:
    run_id = train()
    change(run_id)
    answer = house.json("log", "verify", "--run", run_id)
    assert answer.code == 1, answer.out
    shown = where if where.startswith("databom/") else f"artifacts/{where}"
    (finding,) = [one for one in answer.findings if one["severity"] == "block"]
    assert (finding["code"], finding["subject"]) == (code, f"run {run_id}: {shown}")


def test_i08_a_model_that_was_replaced(inside: Path, house: House) -> None:
    import mlflow

    if not hasattr(mlflow, "create_external_model"):
        pytest.skip("MLflow 2 has no logged models")
    run_id = train(with_model=True)
    (made,) = client().get_run(run_id).outputs.model_outputs
    folder = Path(client().get_logged_model(made.model_id).artifact_location.removeprefix("file://"))
    # What MLflow itself writes into a stored model when it is loaded is no change.
    mlflow.sklearn.load_model(f"models:/{made.model_id}")
    assert house.json("log", "verify", "--run", run_id).code == 0
    (weights,) = [one for one in folder.iterdir() if one.name.startswith("model.")]
    good = weights.read_bytes()
    for change, undo, where in (
        (lambda: weights.write_bytes(good + b"x"), lambda: weights.write_bytes(good), weights.name),
        ((folder / "loader.py").touch, (folder / "loader.py").unlink, "loader.py"),
    ):
        change()
        answer = house.json("log", "verify", "--run", run_id)
        assert (answer.code, answer.blocking) == (1, {"capture.differs"})
        assert f"run {run_id}: models/{made.model_id}/{where}" in {one["subject"] for one in answer.findings}
        undo()
    assert house.json("log", "verify", "--run", run_id).code == 0
    client().delete_logged_model(made.model_id)
    assert house.json("log", "verify", "--run", run_id).blocking == {"capture.gone"}


def test_i08_a_deleted_run(inside: Path, house: House) -> None:
    run_id = train()
    client().delete_run(run_id)
    answer = house.json("log", "verify", "--run", run_id)
    assert (answer.code, answer.blocking) == (1, {"capture.gone"})
    # What it was, only the log says then, and it does.
    assert "CC-BY-4.0" in house.ok("explain", run_id).out
    client().restore_run(run_id)
    assert house.json("log", "verify", "--run", run_id).code == 0


def test_i08_a_run_of_which_the_server_knows_nothing(inside: Path, house: House, empty_store: Path) -> None:
    import mlflow

    run_id = train()
    (inside.parent / "other").mkdir()
    shutil.copy(empty_store, inside.parent / "other" / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{inside.parent}/other/mlflow.db")
    answer = house.json("log", "verify", "--run", run_id)
    assert (answer.code, answer.blocking) == (1, {"capture.gone"})
    assert house.ok("explain", run_id)


def test_a_run_without_a_receipt_is_no_answer(inside: Path, house: House) -> None:
    train()
    stranger = client().create_run("0").info.run_id
    for run_id in (stranger, "0" * 32):
        from databom.mlflow import runs

        runs._after_fork()
        answer = house.json("log", "verify", "--run", run_id)
        assert (answer.code, answer.blocking) == (3, {"capture.unanswered"})


def test_a_server_that_is_gone_is_no_answer_and_hides_no_no(
    inside: Path, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    run_id = train()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri("http://user:CANARY@127.0.0.1:9")
    for option in (("--run", run_id), ("--all-runs",)):
        answer = house.json("log", "verify", *option)
        assert (answer.code, answer.blocking) == (3, {"capture.unanswered"})
        assert "CANARY" not in answer.out + answer.err
    for path in log_of(inside).glob("tile/entries/000.p/*"):
        path.write_bytes(path.read_bytes().replace(b"payloadType", b"payloadTypo"))
    answer = house.json("log", "verify", "--run", run_id)
    assert (answer.code, "log.corrupt" in answer.blocking) == (1, True)


def test_no_server_is_named(
    house: House, inside: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from databom.hosts import tracking

    train()
    monkeypatch.setattr(tracking, "is_configured", lambda: False)
    with pytest.raises(PluginError, match="no tracking server is configured"):
        log_verify(all_runs=True)
    assert house.cli("log", "verify", "--run", "0" * 32).code == 3


# --- the log against MLflow --------------------------------------------------------------------------------


def test_h03_a_cut_tail_is_seen_from_any_run_after_the_cut(inside: Path, house: House) -> None:
    """Both halves: the cut log looks whole by itself; a run that was logged after the backup has kept more of it."""
    before = train()
    backup = shutil.copytree(log_of(inside), inside.parent / "backup")
    after = train()
    deleted = train()
    client().delete_run(deleted)
    proof = inside.parent / "kept.tlog-proof"
    shutil.copy(artifact(after, "databom/receipt.tlog-proof"), proof)
    shutil.rmtree(log_of(inside))
    shutil.copytree(backup, log_of(inside))
    forget_the_anchors(inside)
    for nothing in ((), ("--run", before)):
        assert house.json("log", "verify", *nothing).code == 0
        forget_the_anchors(inside)
    for option in (("--run", after), ("--all-runs",), ("--checkpoint", proof)):
        answer = house.json("log", "verify", *option)
        assert (answer.code, answer.blocking) == (1, {"log.rolled-back"}), option
        assert any(after in one["subject"] or one["subject"] == str(proof) for one in answer.findings)
        assert not (inside / "provenance" / "checkpoint").exists(), "a log that went back is not remembered"
    told = {one["subject"] for one in house.json("log", "verify", "--all-runs").findings}
    assert f"run {deleted}: tag databom.checkpoint" in told
    # The tag alone, or the proof alone, is enough.
    client().delete_tag(after, "databom.checkpoint")
    assert house.json("log", "verify", "--run", after).blocking == {"log.rolled-back"}
    artifact(deleted, "databom/receipt.tlog-proof").unlink()
    assert house.json("log", "verify", "--run", deleted).blocking == {"log.rolled-back"}


def test_h04_another_history_is_seen_from_any_run(inside: Path, house: House) -> None:
    run_id = train()
    (receipt,) = logged(inside)
    shutil.rmtree(log_of(inside))
    forget_the_anchors(inside)
    # Whoever holds the log's key writes a longer log, with the same receipt in it.
    event = {"event": "pinned", "name": "other", "time": "2026-01-01T00:00:00Z"}
    from databom.tasks.remembering import remember_entries

    remember(Project.load(inside), *[event] * 20)
    remember_entries(Project.load(inside), [receipt])
    assert house.json("log", "verify").code == 0
    for option in (("--run", run_id), ("--all-runs",)):
        answer = house.json("log", "verify", *option)
        assert (answer.code, answer.blocking) == (1, {"log.forked"})
        assert answer.findings[0]["expected"] != answer.findings[0]["found"]


def test_a_checkpoint_at_the_server_vouches_for_no_key_past_its_window(inside: Path, house: House) -> None:
    """Whoever has an old key, and may write to the server, could have put there what he signed since."""
    run_id = train()
    path = inside / "provenance" / "trust.json"
    root = json.loads(path.read_text())
    (keyid,) = root["roles"]["log"]["keyids"]
    root["keys"][keyid]["valid_until"] = "2026-01-01T00:00:00Z"
    root["keys"][keyid]["valid_from"] = None
    path.write_text(json.dumps(root))
    assert house.json("log", "verify").code == 0  # it was kept here before
    forget_the_anchors(inside)
    for option in ((), ("--run", run_id), ("--all-runs",)):
        answer = house.json("log", "verify", *option)
        assert (answer.code, answer.blocking) == (1, {"signature.expired"}), option


def test_an_auditor_needs_no_project(inside: Path, house: House) -> None:
    run_id = train()
    trust = inside / "provenance" / "trust.json"
    there = ("--log", log_of(inside), "--trust", trust)
    kept = artifact(run_id, "databom/receipt.tlog-proof")
    answer = house.json("log", "verify", *there, "--run", run_id, "--checkpoint", kept, cwd=house.base)
    assert (answer.code, answer.blocking) == (0, set()), answer.out
    client().set_tag(run_id, "databom.pack.license", "CC0-1.0")
    answer = house.json("log", "verify", *there, "--run", run_id, cwd=house.base)
    assert (answer.code, answer.blocking) == (1, {"capture.differs"})


def test_a_checkpoint_of_another_log_says_nothing_about_this_one(inside: Path, house: House) -> None:
    run_id = train()
    other = client().create_run("0").info.run_id
    client().set_tag(other, "databom.checkpoint", "another.example/log\n9999\nAAAA\n")
    assert house.json("log", "verify", "--all-runs").code == 0
    bad = inside.parent / "bad.tlog-proof"
    bad.write_bytes(artifact(run_id, "databom/receipt.tlog-proof").read_bytes().replace(b"index", b"indes"))
    answer = house.json("log", "verify", "--checkpoint", bad)
    assert (answer.code, answer.blocking) == (1, {"log.corrupt"})
    assert answer.findings[0]["subject"] == str(bad)
