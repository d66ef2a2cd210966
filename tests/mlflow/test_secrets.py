"""Secrets that are planted around a training are nowhere afterwards: K01, K03, K04, K06."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

import databom
from support.fixtures_r2 import Web
from support.house import House
from support.programs import FIVE_LINES
from support.receipts import logged, statement_of
from support.tracking import Switchboard, environment, is_evidence, run_id_of, run_python

pytestmark = pytest.mark.mlflow


def holders(folder: Path, word: str) -> list[str]:
    return [
        path.relative_to(folder).as_posix()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and word.encode() in path.read_bytes()
    ]


def test_k01_a_presigned_url_is_nowhere_after_a_run(
    house: House, market: Any, web: Web, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The whole chain: pinned from a URL that is a password, fetched, trained on, in log, BOM and receipt."""
    import mlflow
    from mlflow.tracking import MlflowClient

    for path in market.manifest.parent.rglob("*"):
        if path.is_file():
            web.put("/hn/" + path.relative_to(market.manifest.parent).as_posix(), path.read_bytes())
    query = "X-Amz-Credential=CANARY&X-Amz-Security-Token=CANARY&X-Amz-Signature=CANARY"
    url = f"{web.proxy.url}/hn/manifest.json?{query}"
    said = []
    with caplog.at_level(logging.DEBUG):
        said.append(house.ok("add", url, "--name", "presigned", "-v"))
        said.append(house.ok("sync", "-v"))
        said.append(house.ok("verify", "presigned", "-v"))
        with mlflow.start_run() as run:
            databom.use("presigned")
        said.append(house.ok("bom", "-o", "bom.cdx.json"))
        said.append(house.ok("explain", run.info.run_id, "--html", "run.html"))
        said.append(house.ok("log", "verify", "--run", run.info.run_id))
    inputs = MlflowClient().get_run(run.info.run_id).inputs.dataset_inputs
    assert any("presigned" in one.dataset.name for one in inputs)
    assert holders(tmp_path, "CANARY") == []  # store, artifacts, project, log, spool
    assert "CANARY" not in caplog.text + "".join(one.out + one.err for one in said)
    assert (house.project / ".databom" / "log").is_dir()


def test_k03_the_password_of_a_tracking_uri_is_in_none_of_our_words(
    project: Path, metadata: Path, board: Switchboard, house: House, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    import mlflow

    uri = board.url.replace("http://", "http://CANARY-user:CANARY-pass@")
    board.mode, board.chosen = "error", is_evidence
    done = run_python(FIVE_LINES, project, environment(metadata, MLFLOW_TRACKING_URI=uri))
    run_id = run_id_of(done)
    ours = "\n".join(line for line in (done.stdout + done.stderr).splitlines() if "databom" in line)
    assert ("delivered later" in ours, "CANARY" in ours) == (True, False)
    assert holders(project, "CANARY") == []  # spool, receipts and log among them
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    mlflow.set_tracking_uri(uri)
    board.mode, board.chosen = "error", lambda _method, _path: True
    with caplog.at_level(logging.DEBUG, logger="databom"):
        for command in (
            ("gate", f"runs:/{run_id}"), ("gate", "models:/cats/1"), ("bom", "--run", run_id), ("explain", run_id),
            ("explain", "models:/cats/1"), ("explain", "0" * 32), ("log", "flush"), ("log", "verify", "--run", run_id),
            ("log", "verify", "--all-runs"), ("doctor",),
        ):  # fmt: skip
            answer = house.cli(*command)
            assert "CANARY" not in answer.out + answer.err, command
            assert "Traceback" not in answer.err, command
    assert "CANARY" not in "".join(
        one.getMessage() for one in caplog.records if one.name.startswith("databom")
    )
    assert holders(project, "CANARY") == []


SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "CANARY-secret",
    "AWS_SESSION_TOKEN": "CANARY-session",
    "DATABOM_TOKEN_PACK": "CANARY-token",
    "MLFLOW_TRACKING_URI": "https://user:CANARY-uri@127.0.0.1:9/?token=CANARY-query",
    "MLFLOW_TRACKING_PASSWORD": "CANARY-password",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
}


def test_k04_what_is_set_is_named_and_never_shown(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pem = (house.project / ".databom/keys/log.pem").read_text()
    for name, value in {**SECRETS, "DATABOM_LOG_KEY": pem, "DATABOM_RECEIPT_KEY_PEM": pem}.items():
        monkeypatch.setenv(name, value)
    with caplog.at_level(logging.DEBUG):
        told = [
            house.cli(*command)
            for command in (
                ("doctor", "-v"), ("check", "-v"), ("verify", "pack", "-v"), ("trust", "show"), ("log", "verify", "-v"),
                ("log", "show"), ("bom",), ("incident", "list"), ("explain", "0" * 32),
                ("sync", "pack", "-v"),
            )
        ]  # fmt: skip
    everything = caplog.text + "".join(one.out + one.err for one in told)
    assert "DATABOM_TOKEN_PACK" in told[0].out + told[0].err
    for secret in ("CANARY", pem.splitlines()[1]):
        assert secret not in everything
        for path in house.project.rglob("*"):
            if path.is_file() and "keys" not in path.parts:
                assert secret.encode() not in path.read_bytes(), path


# --- K06 ---------------------------------------------------------------------------------------------------

MEMBERS = {
    "predicate.buildDefinition.externalParameters.command",
    "predicate.buildDefinition.externalParameters.complete",
    "predicate.buildDefinition.internalParameters.developmentKey",
    "predicate.buildDefinition.internalParameters.status",
    "predicate.buildDefinition.internalParameters.unknown",
    "predicate.buildDefinition.internalParameters.verdict",
}
NOTES = {
    *("use", "license", "decision", "decisionReport", "payment", "fetchedAt"),  # of a pin
    *("python", "platform", "params", "version", "before"),
}


def test_k06_a_receipt_says_only_what_is_listed_here(inside: Path) -> None:
    """The policy of fields: a new one that names persons or places has to be added here, and thought about."""
    import mlflow

    with mlflow.start_run() as run:
        databom.use("pack")
        mlflow.log_param("who", "CANARY")
        mlflow.log_text("x", "x.txt")
    (raw,) = logged(inside)
    statement = statement_of(raw)
    definition = statement["predicate"]["buildDefinition"]
    found = {
        f"predicate.buildDefinition.{kind}.{name}"
        for kind in ("externalParameters", "internalParameters")
        for name in definition[kind]
    }
    assert found <= MEMBERS
    assert statement.keys() == {"_type", "subject", "predicateType", "predicate"}
    assert definition.keys() == {
        *("buildType", "externalParameters", "internalParameters", "resolvedDependencies"),
    }
    assert statement["predicate"]["runDetails"].keys() == {"builder", "metadata", "byproducts"}
    assert statement["predicate"]["runDetails"]["metadata"].keys() == {
        *("invocationId", "startedOn", "finishedOn"),
    }
    everything = [
        *statement["subject"],
        *definition["resolvedDependencies"],
        *statement["predicate"]["runDetails"]["byproducts"],
    ]
    for one in everything:
        assert one.keys() <= {"name", "uri", "digest", "annotations"}
        assert set(one.get("annotations", {})) <= NOTES, one
        assert not one["name"].startswith("/")
    text = json.dumps(statement)
    # The creator is in the manifest, which is named by digest; a receipt alone does not tell whom it is about.
    for word in ("creator", "alice", "CANARY", str(inside), "/home", "/tmp"):
        assert word not in text, word
    assert run.info.run_id in text
