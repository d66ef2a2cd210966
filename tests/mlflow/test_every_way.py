"""Every way to begin a run, with no line of user code, on sqlite and on a real server."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support.programs import EVERY_WAY, FIVE_LINES
from support.tracking import (
    Switchboard,
    artifacts,
    databom_tags,
    environment,
    run_id_of,
    run_python,
    spooled,
    train_and_deliver,
)

pytestmark = pytest.mark.mlflow

WAYS = (
    "client", "client ended by update_run", "lightning", "transformers", "fluent", "early bound, parent", "nested",
    "second nested", "implicit", "thread 0", "thread 1", "thread 2", "raises", "left open", "client left open",
    "grid search parent",
)  # fmt: skip
if sys.platform != "win32":
    WAYS += ("forked",)


class Trained(NamedTuple):
    """What the program that goes every way left behind."""

    client: Any
    runs: dict[str, str]
    project: Path


@pytest.fixture(scope="module", params=["sqlite", "server"])
def trained(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    make_project: Any,
    metadata: Path,
) -> Trained:
    from mlflow.tracking import MlflowClient

    folder = make_project(tmp_path_factory.mktemp("every-way") / "project")
    uri = f"sqlite:///{folder}/mlflow.db" if request.param == "sqlite" else request.getfixturevalue("server")
    done = train_and_deliver(
        EVERY_WAY, folder, environment(metadata, MLFLOW_TRACKING_URI=uri), arguments=("sklearn",)
    )
    assert request.param == "server" or "databom" not in done.stderr
    return Trained(MlflowClient(uri), json.loads((folder / "runs.json").read_text()), folder)


RECEIPT = (
    "databom/receipt.dsse.json",
    "databom/receipt.tlog-proof",
    "databom/run.json",
    "databom/environment.txt",
)


def check_carries(client: Any, run_id: str, project: Path, *, has_ended: bool = True) -> None:
    """The run carries everything that interface.md promises, and each part says the same."""
    import hashlib

    from mlflow.artifacts import download_artifacts

    pin = json.loads((project / "databom.lock").read_text())["pins"]["pack"]
    run = client.get_run(run_id)
    tags = databom_tags(run)
    bom_tag, receipt_tag = tags.pop("databom.bom"), tags.pop("databom.receipt", None)
    anchor = tags.pop("databom.checkpoint", None)
    assert tags == {
        "databom.verdict": "pass",
        "databom.pins": "pack",
        "databom.pack.release": "hn-imagepack@2026-01-10",
        "databom.pack.manifest": pin["manifest"],
        "databom.pack.tree": pin["tree"],
        "databom.pack.license": "CC-BY-4.0",
        "databom.pack.payment": "one-time:txn_7",
        "databom.pack.use": "present",
    }
    kept = project / "provenance" / "manifests"
    assert set(artifacts(client, run_id)) == {
        "databom/bom.cdx.json",
        "databom/report.json",
        "databom/manifests/pack.json",
        "databom/manifests/pack.json.dsse",
        *(RECEIPT if has_ended else ()),
    }
    folder = Path(
        download_artifacts(run_id=run_id, artifact_path="databom", tracking_uri=client.tracking_uri)
    )
    for name in ("pack.json", "pack.json.dsse"):
        assert (folder / "manifests" / name).read_bytes() == (kept / name).read_bytes()
    bom = (folder / "bom.cdx.json").read_bytes()
    assert bom_tag == "sha256:" + hashlib.sha256(bom).hexdigest()
    assert ((receipt_tag is not None), (anchor is not None)) == (has_ended, has_ended)
    if has_ended:
        receipt = (folder / "receipt.dsse.json").read_bytes()
        assert receipt_tag == "sha256:" + hashlib.sha256(receipt).hexdigest()
        assert hashlib.sha256(receipt).hexdigest() in bom.decode()
        assert (folder / "receipt.tlog-proof").read_bytes().endswith(f"\n\n{anchor}".encode())
        assert f"mlflow:{run_id}" in base64.b64decode(json.loads(receipt)["payload"]).decode()
    assert run_id in bom.decode()
    report = json.loads((folder / "report.json").read_bytes())
    assert (report["verdict"], report["run"]) == ("pass", run_id)
    assert [(one["name"], one["verdict"], one["reason"]) for one in report["pins"]] == [
        ("pack", "pass", None)
    ]

    inputs = [one for one in run.inputs.dataset_inputs if one.dataset.name == "pack"]
    assert len(inputs) == 1
    dataset, labels = inputs[0].dataset, {tag.key: tag.value for tag in inputs[0].tags}
    assert dataset.digest == pin["manifest"].removeprefix("sha256:")[:36]
    assert json.loads(dataset.source)["manifest"] == labels["databom.manifest"] == pin["manifest"]
    assert json.loads(dataset.source)["tree"] == labels["databom.tree"] == pin["tree"]
    assert labels["mlflow.data.context"] == "training"


@pytest.mark.parametrize("way", WAYS)
def test_carries_the_evidence(trained: Trained, way: str) -> None:
    # A client that never ends its run has no receipt before somebody closes it as aborted.
    ended = way != "client left open"
    check_carries(trained.client, trained.runs[way], trained.project, has_ended=ended)


def test_children_of_a_grid_search_carry_it_too(trained: Trained) -> None:
    children = [run_id for way, run_id in trained.runs.items() if way.startswith("grid search child")]
    assert len(children) == 2
    for run_id in children:
        check_carries(trained.client, run_id, trained.project)


def test_ends_as_the_program_ended_it(trained: Trained) -> None:
    status = {way: trained.client.get_run(run_id).info.status for way, run_id in trained.runs.items()}
    assert {way for way, value in status.items() if value == "FAILED"} == {
        "client ended by update_run",
        "raises",
    }
    assert {way for way, value in status.items() if value == "RUNNING"} == {"client left open"}
    assert set(status.values()) == {"FAILED", "FINISHED", "RUNNING"}
    run = trained.client.get_run(trained.runs["transformers"])
    assert len(run.data.params) == 200
    assert trained.client.get_run(trained.runs["client ended by update_run"]).data.tags["mine"] == "1"
    assert not spooled(trained.project)


def test_is_found_by_its_manifest(trained: Trained) -> None:
    import mlflow

    pin = json.loads((trained.project / "databom.lock").read_text())["pins"]["pack"]
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(trained.client.tracking_uri)
    try:
        found = mlflow.search_runs(
            ["0"], filter_string=f"tags.`databom.pack.manifest` = '{pin['manifest']}'", output_format="list"
        )
    finally:
        mlflow.set_tracking_uri(before)
    assert {run.info.run_id for run in found} >= set(trained.runs.values())


def test_the_source_is_read_back(trained: Trained) -> None:
    import mlflow.data

    from databom.mlflow import DatabomSource

    run = trained.client.get_run(trained.runs["fluent"])
    source = mlflow.data.get_source(run.inputs.dataset_inputs[0])
    assert isinstance(source, DatabomSource)
    assert (
        source.manifest
        == json.loads((trained.project / "databom.lock").read_text())["pins"]["pack"]["manifest"]
    )
    assert DatabomSource.from_json(source.to_json()).to_dict() == source.to_dict()


def test_five_lines_outside_a_project_pay_nothing(tmp_path: Path, metadata: Path) -> None:
    program = (
        FIVE_LINES + "import sys; print(sorted(name for name in sys.modules if name.startswith('databom')))\n"
    )
    done = run_python(program, tmp_path, environment(metadata))
    assert done.returncode == 0, done.stderr
    run_id, modules = done.stdout.splitlines()
    # The entry points themselves are loaded by MLflow; nothing that wraps, looks or delivers is.
    for module in ("wraps", "runs", "record", "gathering", "delivery", "background"):
        assert f"databom.mlflow.{module}'" not in modules
    from mlflow.tracking import MlflowClient

    run = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run(run_id)
    assert not databom_tags(run)
    assert not run.inputs.dataset_inputs


def test_a_project_without_pins_is_no_project_yet(tmp_path: Path, store: str, metadata: Path) -> None:
    from databom.tasks import init

    init(tmp_path)
    done = run_python(FIVE_LINES, tmp_path, environment(metadata, MLFLOW_TRACKING_URI=store))
    assert done.returncode == 0, done.stderr
    from mlflow.tracking import MlflowClient

    assert not databom_tags(MlflowClient(store).get_run(run_id_of(done)))


def test_databom_project_names_the_project_from_anywhere(
    tmp_path: Path, project: Path, store: str, metadata: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = run_python(
        FIVE_LINES, elsewhere, environment(metadata, DATABOM_PROJECT=str(project), MLFLOW_TRACKING_URI=store)
    )
    assert done.returncode == 0, done.stderr
    from mlflow.tracking import MlflowClient

    check_carries(MlflowClient(store), run_id_of(done), project)


def test_one_pin_costs_ten_calls(
    tmp_path: Path, project: Path, metadata: Path, board: Switchboard, make_project: Any
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    env = environment(metadata, MLFLOW_TRACKING_URI=board.url)
    assert run_python(FIVE_LINES, outside, env).returncode == 0
    without = len(board.calls)
    assert run_python(FIVE_LINES, project, env).returncode == 0
    ours = board.calls[without:]
    assert len(ours) - without <= 10, ours


def test_only_tags_where_the_project_says_so(project: Path, store: str, metadata: Path) -> None:
    config = project / "databom.toml"
    config.write_text(config.read_text().replace('auto = "full"', 'auto = "tags"'))
    done = run_python(FIVE_LINES, project, environment(metadata, MLFLOW_TRACKING_URI=store))
    assert done.returncode == 0, done.stderr
    from mlflow.tracking import MlflowClient

    client = MlflowClient(store)
    run = client.get_run(run_id_of(done))
    assert databom_tags(run)["databom.pack.release"] == "hn-imagepack@2026-01-10"
    assert "databom.bom" not in databom_tags(run)
    assert not artifacts(client, run.info.run_id)
    assert not run.inputs.dataset_inputs


def test_nothing_where_the_project_says_so(project: Path, store: str, metadata: Path) -> None:
    config = project / "databom.toml"
    config.write_text(config.read_text().replace('auto = "full"', 'auto = "off"'))
    done = run_python(FIVE_LINES, project, environment(metadata, MLFLOW_TRACKING_URI=store))
    assert done.returncode == 0, done.stderr
    from mlflow.tracking import MlflowClient

    run = MlflowClient(store).get_run(run_id_of(done))
    assert not databom_tags(run)


def test_a_project_changed_into_after_the_import(
    project: Path, tmp_path: Path, store: str, metadata: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    program = f"import mlflow, os\nos.chdir({str(project)!r})\n" + FIVE_LINES
    env = environment(metadata, MLFLOW_TRACKING_URI=store)
    done = run_python(program, elsewhere, env)
    assert done.returncode == 0, done.stderr
    from mlflow.tracking import MlflowClient

    check_carries(MlflowClient(store), run_id_of(done), project)


def test_a_resumed_run_is_caught_as_the_first_act(project: Path, store: str, metadata: Path) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(store)
    run_id = client.create_run("0").info.run_id  # by a process that knows nothing of the project
    assert not databom_tags(client.get_run(run_id))
    env = environment(metadata, MLFLOW_TRACKING_URI=store, MLFLOW_RUN_ID=run_id)
    done = run_python("import mlflow\nmlflow.log_metric('m', 1)\n", project, env)
    assert done.returncode == 0, done.stderr
    check_carries(client, run_id, project)


def test_waiting_for_mlflow_hides_no_module(project: Path, metadata: Path) -> None:
    """While `import mlflow` goes on every import is asked about by a finder of ours: all of them are still found."""
    program = (
        "import sys\n"
        "from databom.mlflow import RunContext\n"
        "RunContext()\n"  # as MLflow makes it, before any of its classes is there
        "import mlflow.tracking.fluent, mlflow.tracking.client\n"
        "import _symtable, _opcode, xml.dom.minidom\n"
        "assert hasattr(mlflow.MlflowClient.create_run, '__databom_wrap__')\n"
        "import this_is_not_there\n"
    )
    done = run_python(program, project, environment(metadata))
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'this_is_not_there'", (
        done.stderr
    )
