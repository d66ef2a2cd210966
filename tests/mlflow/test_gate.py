"""`databom gate` decides by the run's signed receipt. Whoever may write to the tracking server opens nothing."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from databom.model.finding import Report
from databom.tasks import gate_model
from support.receipts import logged

pytestmark = pytest.mark.mlflow
DEVELOPMENT = {"receipt.development": "warn"}


def client() -> Any:
    from mlflow.tracking import MlflowClient

    return MlflowClient()


def train(*, use: bool = True) -> str:
    import mlflow

    import databom

    with mlflow.start_run() as run:
        if use:
            databom.use("pack")
    return str(run.info.run_id)


def asked(run_id: str) -> Report:
    return gate_model(f"runs:/{run_id}")


def codes(run_id: str) -> dict[str, str]:
    return {one.code: one.severity.value for one in asked(run_id).findings if one.severity != "info"}


def demand(project: Path) -> None:
    """A policy that this data does not meet."""
    path = project / "databom.toml"
    path.write_text(path.read_text().replace('payment = "declared"', 'payment = "signed"'))


def retag(run_id: str, **tags: str | None) -> None:
    for key, value in tags.items():
        name = f"databom.{key.replace('__', '.')}"
        if value is None:
            client().delete_tag(run_id, name)
        else:
            client().set_tag(run_id, name, value)


@pytest.mark.parametrize(
    "tags",
    [
        {"pack__use": "present"},
        {"pack__use": None},
        {"pins": None},
        {"pins": ""},
        {"pack__manifest": None, "pack__use": "present"},
        {"receipt": None, "pack__use": "present"},
        {"receipt": "sha256:" + "0" * 64, "pack__use": "present"},
    ],
)
def test_a_tag_that_was_edited_after_the_run_hides_nothing(inside: Path, tags: dict[str, str | None]) -> None:
    run_id = train()
    demand(inside)
    assert codes(run_id) == {"payment.missing": "block", **DEVELOPMENT}
    retag(run_id, **tags)
    found = codes(run_id)
    assert found["payment.missing"] == "block"
    if tags != {"pack__use": None}:  # a tag that is not there says nothing else
        assert found["capture.differs"] == "warn"


def test_a_run_whose_tags_are_gone_is_still_known_by_its_receipt(inside: Path) -> None:
    run_id = train()
    for name in [name for name in client().get_run(run_id).data.tags if name.startswith("databom.")]:
        client().delete_tag(run_id, name)
    assert codes(run_id) == {"capture.differs": "warn", **DEVELOPMENT}
    demand(inside)
    assert codes(run_id)["payment.missing"] == "block"


def test_a_verdict_that_was_edited_passes_nothing(inside: Path) -> None:
    picture = inside / "data/pack/images/cat.jpg"
    picture.write_bytes(b"a dog\n")
    run_id = train()
    assert client().get_run(run_id).data.tags["databom.verdict"] != "pass"
    retag(run_id, verdict="pass")
    found = codes(run_id)
    assert found["capture.verdict"] == "block"
    assert found["capture.differs"] == "warn"


def test_a_run_that_failed_is_no_pass(inside: Path) -> None:
    import mlflow

    import databom

    run = mlflow.start_run()
    databom.use("pack")
    mlflow.end_run("FAILED")
    [told] = [one for one in asked(run.info.run_id).findings if one.code == "capture.verdict"]
    assert told.found == "pass, and the run failed"


def test_a_run_without_a_receipt_is_no_pass_and_told_why(inside: Path) -> None:
    """From before there were receipts, or whose log is elsewhere: tags that say all is well are not evidence."""
    run_id = train()
    tags = {
        key: value for key, value in client().get_run(run_id).data.tags.items() if key != "databom.receipt"
    }
    old = client().create_run("0", tags=tags).info.run_id
    report = asked(old)
    [told] = [one for one in report.findings if one.code == "receipt.missing"]
    assert report.blocking
    assert "the log at .databom/log has none" in str(told.found)
    assert "from before there were receipts" in str(told.do)
    assert {one.code for one in report.findings if one.severity == "block"} == {"receipt.missing"}


def test_the_receipt_of_another_run_is_none_of_this_one(inside: Path, tmp_path: Path) -> None:
    good = train()
    shutil.rmtree(inside / ".databom/receipts")
    tags = client().get_run(good).data.tags
    other = client().create_run("0", tags=dict(tags)).info.run_id
    place = tmp_path / "copied"
    place.mkdir()
    for name in ("receipt.dsse.json", "receipt.tlog-proof"):
        client().download_artifacts(good, f"databom/{name}", str(place))
    client().log_artifacts(other, str(place), "databom")
    [told] = [one for one in asked(other).findings if one.code == "receipt.missing"]
    assert "the receipt of another run" in str(told.found)


def test_the_servers_copy_counts_where_its_signature_and_proof_hold(inside: Path, tmp_path: Path) -> None:
    """In a clone that shares no log: the artifact is a hint, and the keys decide."""
    run_id = train()
    for path in (".databom/log", ".databom/receipts", ".databom/checkpoints"):
        shutil.rmtree(inside / path)
    (inside / "provenance/checkpoint").unlink()
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    os.environ["MLFLOW_TRACKING_URI"] = uri or ""
    assert codes(run_id) == DEVELOPMENT

    [proof] = (tmp_path / "store").rglob("receipt.tlog-proof")
    kept = proof.read_bytes()
    proof.unlink()
    assert codes(run_id) == {"receipt.unlogged": "warn", **DEVELOPMENT}
    proof.write_bytes(kept)

    [receipt] = (tmp_path / "store").rglob("databom/receipt.dsse.json")
    envelope = json.loads(receipt.read_bytes())
    envelope["payload"] = envelope["payload"][:-8] + "AAAAAA=="
    receipt.write_bytes(json.dumps(envelope).encode())
    found = codes(run_id)
    assert found["receipt.missing"] == "block"
    [told] = [one for one in asked(run_id).findings if one.code == "receipt.missing"]
    assert "not believed" in str(told.found)


def test_a_key_that_may_sign_no_receipts_any_more_leaves_none(inside: Path) -> None:
    run_id = train()
    path = inside / "provenance/trust.json"
    root = json.loads(path.read_bytes())
    del root["roles"]["receipt"]
    path.write_text(json.dumps(root))
    [told] = [one for one in asked(run_id).findings if one.code == "receipt.missing"]
    assert "receipt.unsigned" in str(told.found)


def test_nobody_believed_is_no_pass(inside: Path) -> None:
    run_id = train()
    path = inside / "provenance/trust.json"
    root = json.loads(path.read_bytes())
    root["expires"] = "2020-01-01T00:00:00Z"
    path.write_text(json.dumps(root))
    report = asked(run_id)
    assert report.blocking
    assert logged(inside)


def test_m02_the_answer_says_how_long_the_log_was(inside: Path) -> None:
    """Between the gate and the deployment something may come: who deploys sees how old the answer is."""
    from databom.tasks import log_verify

    run_id = train()
    [first] = [one for one in gate_model(f"runs:/{run_id}").findings if one.code == "log.seen"]
    stated = log_verify().to_dict()["log"]
    assert (first.subject, first.found) == (stated["origin"], stated["root"])
    assert f"{stated['size']} entries" in first.what
    train()
    [second] = [one for one in gate_model(f"runs:/{run_id}").findings if one.code == "log.seen"]
    assert second.found != first.found
