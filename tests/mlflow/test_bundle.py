"""Audit bundles of MLflow runs: what the tracking server has counts by the digest that the receipt names."""

from __future__ import annotations

from pathlib import Path

import pytest

from databom.model.digest import sha256
from databom.tasks import bundle, verify_bundle
from support.bundled import files_of, put_together

pytestmark = pytest.mark.mlflow


def a_run() -> str:
    import mlflow

    with mlflow.start_run() as run:
        mlflow.log_param("api_token", "s3cr3t-param")
        mlflow.log_text("weights", "model.txt")
    return str(run.info.run_id)


def codes(file: Path, project: Path) -> dict[str, str]:
    trust = sha256((project / "provenance/trust.json").read_bytes())
    report = verify_bundle(file, trust_digest=trust).report
    return {one.code: str(one.subject) for one in report.findings if one.severity.value != "info"}


def test_bom_and_report_come_from_the_server_if_they_are_what_the_receipt_names(
    inside: Path, tmp_path: Path
) -> None:
    from mlflow.tracking import MlflowClient

    run_id, file = a_run(), tmp_path / "run.zip"
    bundle(run_id, file)
    raw = file.read_bytes()
    files = files_of(raw)
    assert {"run/bom.cdx.json", "run/report.json", "run/environment.txt"} <= files.keys()
    assert b"s3cr3t-param" not in raw
    found = codes(file, inside)
    assert not {"bundle.incomplete", "bundle.mismatch", "bundle.unanswered"} & found.keys(), found
    bent = files["run/bom.cdx.json"].replace(b'"metadata"', b'"metadate"', 1)
    file.write_bytes(put_together({**files, "run/bom.cdx.json": bent}, raw))
    assert codes(file, inside)["bundle.mismatch"] == "run/bom.cdx.json"
    # Somebody edits the artifact: it is not enclosed, and that is said.
    (tmp_path / "bom.cdx.json").write_bytes(bent)
    MlflowClient().log_artifact(run_id, str(tmp_path / "bom.cdx.json"), "databom")
    second = tmp_path / "second.zip"
    report = bundle(run_id, second).report
    assert {one.subject for one in report.findings if one.severity.value == "warn"} >= {"bom.cdx.json"}
    assert "run/bom.cdx.json" not in files_of(second.read_bytes())
    assert "bundle.incomplete" in codes(second, inside)
    # A line that is taken out of the index is told as well.
    file.write_bytes(put_together(files_of(second.read_bytes()), raw))
    assert codes(file, inside)["bundle.incomplete"] == "run/bom.cdx.json"
