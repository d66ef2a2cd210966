"""Receipts of MLflow runs, with no line of code: what they say, where they are, and that nothing is lost or hurt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from databom.model.digest import sha256
from databom.tasks import verify_receipt
from support.house import databom
from support.programs import FIVE_LINES
from support.receipts import (
    dependencies_of,
    every_file,
    internal_of,
    left_in,
    logged,
    statement_of,
    subjects_of,
)
from support.tracking import (
    Switchboard,
    databom_tags,
    environment,
    is_evidence,
    run_id_of,
    run_python,
    spooled,
)

pytestmark = pytest.mark.mlflow


@pytest.fixture(autouse=True)
def first_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    from databom.mlflow import flushing

    flushing._looked.clear()
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def inside(project: Path, store: str, door: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory is the project, the tracking store an empty one."""
    import mlflow

    monkeypatch.chdir(project)
    mlflow.set_tracking_uri(store)
    return project


def artifact(run_id: str, name: str, uri: str | None = None) -> bytes:
    from mlflow.artifacts import download_artifacts

    path = download_artifacts(run_id=run_id, artifact_path=f"databom/{name}", tracking_uri=uri)
    return Path(path).read_bytes()


def the_receipt(run_id: str, project: Path, uri: str | None = None) -> bytes:
    """The run's newest receipt: it holds, is in the log once, and tag, BOM and proof are about it."""
    from mlflow.tracking import MlflowClient

    raw = artifact(run_id, "receipt.dsse.json", uri)
    found = verify_receipt(raw, project=project)
    assert [one.code for one in found if one.severity == "block"] == []
    tags = databom_tags(MlflowClient(uri).get_run(run_id))
    assert tags["databom.receipt"] == sha256(raw)
    bom = artifact(run_id, "bom.cdx.json", uri)
    assert tags["databom.bom"] == sha256(bom)
    pointers = json.loads(bom)["metadata"]["component"]["externalReferences"]
    assert [one["type"] for one in pointers] == ["attestation", "log"]
    assert pointers[0]["hashes"][0]["content"] == sha256(raw)[7:]
    assert logged(project).count(raw) == 1
    check_proof(artifact(run_id, "receipt.tlog-proof", uri), raw)
    statement = statement_of(raw)
    assert statement["predicate"]["runDetails"]["metadata"]["invocationId"] == f"mlflow:{run_id}"
    for name in ("report.json", "run.json"):
        product = {
            one["name"]: one["digest"]["sha256"] for one in statement["predicate"]["runDetails"]["byproducts"]
        }[name if name == "report.json" else f"run/{run_id}.json"]
        assert product == sha256(artifact(run_id, name, uri))[7:]
    return raw


def check_proof(proof: bytes, entry: bytes) -> None:
    """By the standard library alone: the entry's leaf leads to the root that the proof's checkpoint states."""
    import base64
    import hashlib

    lines = proof.decode().split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    index = int(lines[1].removeprefix("index "))
    blank = lines.index("")
    hashes = [base64.b64decode(line) for line in lines[2:blank]]
    size, root = int(lines[blank + 2]), base64.b64decode(lines[blank + 3])
    node, last = hashlib.sha256(b"\0" + entry).digest(), size - 1
    for one in hashes:
        if index % 2 or index == last:
            node = hashlib.sha256(b"\1" + one + node).digest()
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            node = hashlib.sha256(b"\1" + node + one).digest()
        index, last = index // 2, last // 2
    assert node == root


# --- what it says ------------------------------------------------------------------------------------------


def test_a_run_with_params_metrics_and_artifacts(inside: Path) -> None:
    import mlflow

    import databom

    (inside / "out").mkdir()
    (inside / "out" / "a.txt").write_text("a")
    with mlflow.start_run() as run:
        databom.use("pack")
        mlflow.log_param("depth", 3)
        mlflow.log_params({"rate": 0.5, "token": "CANARY-param"})
        for step in range(3):
            mlflow.log_metric("loss", 1.0 - step / 4, step=step)
        mlflow.log_metric("loss", 99.0, step=1)
        mlflow.log_metrics({"accuracy": float("nan")})
        mlflow.log_text("weights", "model/weights.txt")
        mlflow.log_artifacts("out", "plots")
    raw = the_receipt(run.info.run_id, inside)
    assert {name: one["digest"]["sha256"] for name, one in subjects_of(raw).items()} == {
        "artifacts/model/weights.txt": sha256(b"weights")[7:],
        "artifacts/plots/a.txt": sha256(b"a")[7:],
    }
    record = json.loads(artifact(run.info.run_id, "run.json"))
    assert record["params"] == {"depth": "3", "rate": "0.5", "token": "CANARY-param"}
    assert record["metrics"] == {"loss": 0.5, "accuracy": "nan"}
    assert (internal_of(raw)["status"], internal_of(raw)["verdict"]) == ("completed", "pass")
    notes = dependencies_of(raw)["pack"]["annotations"]
    assert (notes["use"], notes["payment"], notes["license"]) == ("declared", "one-time:txn_7", "CC-BY-4.0")
    assert b"CANARY" not in raw
    text = json.dumps(statement_of(raw))
    for word in (str(inside), "/tmp", os.path.expanduser("~") + "/"):
        assert word not in text
    assert left_in(inside, "open") == left_in(inside, "pending") == []


def test_a_run_that_made_nothing_is_about_its_record(inside: Path) -> None:
    import mlflow

    with mlflow.start_run() as run:
        pass
    raw = the_receipt(run.info.run_id, inside)
    (name,) = subjects_of(raw)
    assert name == f"run/{run.info.run_id}.json"
    assert subjects_of(raw)[name]["digest"]["sha256"] == sha256(artifact(run.info.run_id, "run.json"))[7:]


def test_a_hash_that_takes_long_holds_nothing_up(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    from databom.mlflow import telling
    from databom.tasks import outputs

    let_go = threading.Event()
    real = outputs.subjects

    def slow(prefix: str, place: Path) -> Any:
        let_go.wait(60)
        return real(prefix, place)

    monkeypatch.setattr(outputs, "subjects", slow)
    monkeypatch.setattr(telling, "HASH_PATIENCE_SECONDS", 0.1)
    (inside / "a.txt").write_text("a")
    with mlflow.start_run() as run:
        mlflow.log_artifact("a.txt")
    raw = the_receipt(run.info.run_id, inside)
    assert "outputs" in internal_of(raw)["unknown"]
    let_go.set()
    with mlflow.start_run() as run:
        mlflow.log_artifact("a.txt")
    assert list(subjects_of(the_receipt(run.info.run_id, inside))) == ["artifacts/a.txt"]


def test_a_logged_model_is_named_and_carries_a_copy(inside: Path, tmp_path: Path) -> None:
    import mlflow
    from mlflow.artifacts import download_artifacts
    from mlflow.tracking import MlflowClient

    if not hasattr(mlflow, "create_external_model"):
        pytest.skip("MLflow 2 has no logged models")
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit([[0.0], [1.0]], [0.0, 1.0])
    with mlflow.start_run() as run:
        for name in ("first", "second"):
            info = mlflow.sklearn.log_model(model, name=name, registered_model_name="doubler")
    raw = the_receipt(run.info.run_id, inside)
    found = subjects_of(raw)
    models = {name: one for name, one in found.items() if "dirHash1" in one["digest"]}
    assert set(models) == {f"models/{one.model_id}" for one in run_outputs(run.info.run_id)}
    assert len({one["digest"]["dirHash1"] for one in models.values()}) == 2
    assert len({one["annotations"]["weights"] for one in models.values()}) == 1
    folder = Path(download_artifacts(info.model_uri, dst_path=str(tmp_path / "back")))
    assert (folder / "databom/receipt.dsse.json").read_bytes() == raw
    assert (folder / "databom/receipt.tlog-proof").exists()
    from databom.tasks.outputs import subjects

    again = {one["name"]: one for one in subjects(f"models/{info.model_id}", folder)}
    assert again[f"models/{info.model_id}"] == found[f"models/{info.model_id}"]
    versions = MlflowClient().search_model_versions("name = 'doubler'")
    assert {one.tags["databom.receipt"] for one in versions} == {sha256(raw)}
    assert len(versions) == 2
    assert mlflow.sklearn.load_model(info.model_uri).predict([[2.0]])[0] == pytest.approx(2.0)


def run_outputs(run_id: str) -> list[Any]:
    from mlflow.tracking import MlflowClient

    return list(MlflowClient().get_run(run_id).outputs.model_outputs)


def test_a_failed_verification_is_said_and_never_a_pass(inside: Path) -> None:
    """I04: the order of writes."""
    import mlflow

    (inside / "data/pack/labels.csv").write_text("changed\n")
    with mlflow.start_run() as run:
        pass
    assert internal_of(the_receipt(run.info.run_id, inside))["verdict"] == "fail"
    assert b'"verdict":"pass"' not in every_file(inside)
    assert b'"verdict": "pass"' not in every_file(inside)


# --- whose it is -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "told"),
    [("FINISHED", "completed"), ("FAILED", "failed"), ("KILLED", "aborted"), (None, "completed")],
)
def test_how_it_ended(inside: Path, status: str | None, told: str) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    run_id = client.create_run("0").info.run_id
    client.set_terminated(run_id, status)
    client.set_terminated(run_id, "FINISHED")  # a second end is nobody's
    assert internal_of(the_receipt(run_id, inside))["status"] == told
    assert len(logged(inside)) == 1


def test_nested_parallel_and_again(inside: Path) -> None:
    """I13, I14."""
    import mlflow

    ids: list[str] = []

    def one() -> None:
        with mlflow.start_run() as run:
            ids.append(run.info.run_id)
            mlflow.log_param("me", run.info.run_id)

    with mlflow.start_run() as parent:
        ids.append(parent.info.run_id)
        for _ in range(2):
            with mlflow.start_run(nested=True) as child:
                ids.append(child.info.run_id)
                mlflow.log_param("me", child.info.run_id)
    threads = [threading.Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    one()
    for run_id in ids:
        the_receipt(run_id, inside)
        record = json.loads(artifact(run_id, "run.json"))
        assert record["params"] == ({} if run_id == parent.info.run_id else {"me": run_id})
    assert len(logged(inside)) == len(ids) == 7


def test_a_resumed_run_is_superseded(inside: Path) -> None:
    import mlflow

    with mlflow.start_run() as run:
        mlflow.log_param("part", 1)
    first = the_receipt(run.info.run_id, inside)
    with mlflow.start_run(run_id=run.info.run_id):
        mlflow.log_metric("part", 2)
    second = the_receipt(run.info.run_id, inside)
    assert internal_of(second)["supersedes"] == sha256(first)
    assert "supersedes" not in internal_of(first)
    assert logged(inside) == [first, second]


def test_only_the_first_rank_writes(inside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow
    from mlflow.tracking import MlflowClient

    with mlflow.start_run() as run:
        pass
    monkeypatch.setenv("RANK", "1")
    with mlflow.start_run(run_id=run.info.run_id):
        pass
    assert len(logged(inside)) == 1
    the_receipt_tag = databom_tags(MlflowClient().get_run(run.info.run_id))["databom.receipt"]
    assert the_receipt_tag == sha256(logged(inside)[0])


def test_tags_alone(inside: Path) -> None:
    import mlflow
    from mlflow.tracking import MlflowClient

    path = inside / "databom.toml"
    path.write_text(path.read_text().replace('auto = "full"', 'auto = "tags"'))
    with mlflow.start_run() as run:
        mlflow.log_text("x", "x.txt")
    (raw,) = logged(inside)
    assert databom_tags(MlflowClient().get_run(run.info.run_id))["databom.receipt"] == sha256(raw)
    assert [one.path for one in MlflowClient().list_artifacts(run.info.run_id)] == ["x.txt"]
    assert left_in(inside, "pending") == []


# --- processes that die -----------------------------------------------------------------------------------


def test_a_crash_outside_of_with_failed(project: Path, store: str, metadata: Path) -> None:
    """MLflow says FINISHED (its issue 3932); the receipt says what happened, and the exit code is the program's."""
    program = (
        "import mlflow\nrun = mlflow.start_run()\nprint(run.info.run_id, flush=True)\nraise ValueError('x')\n"
    )
    done = run_python(program, project, environment(metadata, MLFLOW_TRACKING_URI=store))
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith("ValueError: x")
    (raw,) = logged(project)
    assert internal_of(raw)["status"] == "failed"


def test_a_killed_run_is_closed_by_the_next(project: Path, store: str, metadata: Path) -> None:
    """I05: MLflow shows RUNNING for ever."""
    env = environment(metadata, MLFLOW_TRACKING_URI=store)
    program = (
        "import mlflow, os, signal\nrun = mlflow.start_run()\nprint(run.info.run_id, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = run_python(program, project, env)
    assert done.returncode == -signal.SIGKILL
    killed = run_id_of(done)
    assert len(left_in(project, "open")) == 1
    assert run_python(FIVE_LINES, project, env).returncode == 0
    flushed = databom("log", "flush", cwd=project, MLFLOW_TRACKING_URI=store, PYTHONPATH=env["PYTHONPATH"])
    assert flushed.returncode == 0, flushed.stdout + flushed.stderr
    statuses = {
        statement_of(one)["predicate"]["runDetails"]["metadata"]["invocationId"]: internal_of(one)["status"]
        for one in logged(project)
    }
    assert statuses.pop(f"mlflow:{killed}") == "aborted"
    assert list(statuses.values()) == ["completed"]
    raw = artifact(killed, "receipt.dsse.json", store)
    assert raw in logged(project)


# --- what is away ----------------------------------------------------------------------------------------


def flush(project: Path, uri: str, metadata: Path) -> subprocess.CompletedProcess[str]:
    path = environment(metadata)["PYTHONPATH"]
    return databom("log", "flush", cwd=project, MLFLOW_TRACKING_URI=uri, PYTHONPATH=path)


@pytest.mark.parametrize("mode", ["hang", "error"])
def test_a_server_that_is_away_gets_the_receipt_once(
    mode: str, project: Path, metadata: Path, board: Switchboard, server: str
) -> None:
    board.mode, board.chosen = mode, is_evidence
    env = environment(metadata, MLFLOW_TRACKING_URI=board.url)
    done = run_python(FIVE_LINES, project, env)
    assert done.returncode == 0, done.stderr
    run_id = run_id_of(done)
    (raw,) = logged(project)
    assert [one["run_id"] for one in spooled(project)] == [run_id]
    refused = flush(project, server, metadata)
    assert refused.returncode == 3, "it waits for the other address"
    assert board.url in refused.stdout
    board.mode = "pass"
    assert flush(project, board.url, metadata).returncode == 0
    assert the_receipt(run_id, project, server) == raw
    assert not spooled(project)
    assert logged(project) == [raw]


def test_a_log_that_is_away_gets_it_by_the_next_run(
    inside: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import mlflow
    from mlflow.tracking import MlflowClient

    from databom.mlflow import flushing, runs

    key = inside / ".databom/keys/log.pem"
    key.rename(inside.parent / "log.pem")
    with mlflow.start_run() as run:
        pass
    assert "is not in the log yet" in caplog.text
    assert logged(inside) == []
    tags = databom_tags(MlflowClient().get_run(run.info.run_id))
    assert tags["databom.receipt"] == sha256(artifact(run.info.run_id, "receipt.dsse.json"))
    (inside.parent / "log.pem").rename(key)
    flushing._looked.clear()
    runs._after_fork()
    with mlflow.start_run() as other:
        pass
    eventually(lambda: len(logged(inside)) == 2 and not left_in(inside, "pending"))
    flushed = databom("log", "flush", cwd=inside, MLFLOW_TRACKING_URI=mlflow.get_tracking_uri())
    assert flushed.returncode == 0, flushed.stdout
    for run_id in (run.info.run_id, other.info.run_id):
        the_receipt(run_id, inside)


def eventually(condition: Callable[[], bool]) -> None:
    import time

    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.05)


@pytest.mark.parametrize("broken", ["raises", "hangs"])
def test_a_log_that_breaks_hurts_no_run(inside: Path, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    import mlflow
    from mlflow.tracking import MlflowClient

    from databom.mlflow import budget, runs
    from databom.tasks import receipt_ledger as ledger

    let_go = threading.Event()

    def add(*_: Any, **__: Any) -> bytes:
        if broken == "hangs":
            let_go.wait(60)
        raise MemoryError

    monkeypatch.setattr(budget, "RUN_SECONDS", 1.0)
    real = ledger._add
    monkeypatch.setattr(ledger, "_add", add)
    began = time.monotonic()
    with mlflow.start_run() as run:
        mlflow.log_metric("m", 1)
    assert time.monotonic() - began < 30
    assert MlflowClient().get_run(run.info.run_id).info.status == "FINISHED"
    let_go.set()
    eventually(lambda: bool(left_in(inside, "pending")) and not left_in(inside, "open"))
    monkeypatch.setattr(ledger, "_add", real)
    runs._after_fork()

    def done() -> bool:
        uri = mlflow.get_tracking_uri()
        return databom("log", "flush", cwd=inside, MLFLOW_TRACKING_URI=uri).returncode == 0 and bool(
            logged(inside)
        )

    eventually(done)
    the_receipt(run.info.run_id, inside)


def test_a_repository_without_a_key_keeps_what_is_to_be_signed(
    inside: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import mlflow
    from mlflow.tracking import MlflowClient

    (inside / ".databom/keys/receipt.pem").unlink()
    with mlflow.start_run() as run:
        pass
    assert "no key signs the receipts of this project" in caplog.text
    assert "databom.receipt" not in databom_tags(MlflowClient().get_run(run.info.run_id))
    assert len(left_in(inside, "pending")) == 1


def test_metric_calls_after_the_end_and_odd_calls(inside: Path) -> None:
    """A hook hears anything, and minds nothing."""
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    run_id = client.create_run("0").info.run_id
    client.log_metric(run_id, key="m", value=1, step=None)
    client.log_param(run_id=run_id, key="p", value=None)
    with pytest.raises(MlflowException):
        client.log_param(run_id, "p", "another")
    with pytest.raises(Exception):  # noqa: B017
        client.log_artifact(run_id, "/no/such/file")
    client.set_terminated(run_id)
    client.log_metric(run_id, "late", 1)
    raw = the_receipt(run_id, inside)
    record = json.loads(artifact(run_id, "run.json"))
    assert (record["params"], record["metrics"]) == ({"p": "None"}, {"m": 1})
    assert "outputs" in internal_of(raw)["unknown"]
